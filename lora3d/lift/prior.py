"""What was guessed of the solid before any view was drawn, joined with what the views show."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.special import logit

from lora3d.camera import Array
from lora3d.lift.fuse import HALF

# Chosen on models kept aside (docs/decisions.md): how much a prior counts for views of a doubt of 1, how far its
# volume decides from a doubt of CERTAIN on, and beyond how many voxels, or log odds, neither is surer.
WEIGHT, VOLUME, CERTAIN, VOXELS, ODDS = 1.3, 0.5, 0.15, 3.0, 5.0


def with_prior(field: Array, doubt: float, prior: Array) -> Array:
    """A field (n, n, n) below 0 inside, over [−HALF, HALF]³, of what views and a prior say together.

    A signed distance is taken for log odds of being outside, those of the prior are added in proportion to the
    views' doubt (a logarithmic opinion pool, Genest and Zidek 1986), and the level is moved until the solid's volume
    is the geometric mean of the views' and the prior's: views that disagree make things too large. The less they do,
    the more their own volume counts; views that agree need no prior.

    Args:
        field, doubt: see `lora3d.lift.fuse.signed_field`.
        prior: (m, m, m), the probability that a cell is inside, indexed x, y, z over the same cube.
    """
    n, m = len(field), len(prior)
    odds = np.clip(logit(np.clip(prior.astype(np.float32), 1e-6, 1 - 1e-6)), -ODDS, ODDS)
    # The field runs from the first cell's edge to the last's.
    inside = ndimage.affine_transform(
        odds, np.full(3, m / (n - 1)), -0.5, (n, n, n), order=1, mode="constant", cval=-ODDS
    )
    pooled = np.clip(field * ((n - 1) / (2 * HALF * VOXELS)), -1, 1) - WEIGHT * doubt * inside
    # Of the probabilities as they are: cut odds would add up to thousands of cells of empty space.
    shown, expected = np.count_nonzero(field < 0), float(prior.mean(dtype=np.float64)) * field.size
    share = VOLUME * min(doubt / CERTAIN, 1.0)
    solid = int(shown ** (1 - share) * expected**share)
    level: Array = np.partition(pooled, solid, axis=None)[solid]
    return pooled - level
