"""What a guessed solid changes of a lift: next to nothing for views that agree, volume and surface for others."""

from __future__ import annotations

import numpy as np
import pytest

from lora3d.base import load_base
from lora3d.generate import load
from lora3d.grid import PRESETS
from lora3d.lift import lift, solid_field
from lora3d.lift.fuse import HALF, signed_field
from lora3d.lift.prior import with_prior
from lora3d.lift.views import read_views
from lora3d.mesh import glb_bytes
from lora3d.render import render_tiles
from lora3d.sampling import encode_references
from tests.test_lift import SHAPES

GRID = PRESETS["box6"]


def ball(radius: float, n: int) -> np.ndarray:
    """The signed distance of a ball, (n, n, n), at places from −HALF to HALF."""
    axis = np.linspace(-HALF, HALF, n)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2) - radius


def cells(inside: np.ndarray) -> np.ndarray:
    """A sharp prior of 32 cells a side, of a function's sign at their centres."""
    return np.where(inside < 0, 0.99, 0.01).astype(np.float16)


def centred(radius: float) -> np.ndarray:
    axis = ((np.arange(32) + 0.5) / 32 - 0.5) * 2 * HALF
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2) - radius


def volume(field: np.ndarray) -> float:
    return float((field < 0).mean())


def volume_between(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a < 0) ^ (b < 0)).mean())


def test_the_volume_lies_between_the_views_and_the_priors():
    views, prior = ball(0.45, 64), cells(centred(0.3))
    joined = volume(with_prior(views, 0.3, prior))
    assert volume(ball(0.3, 64)) < joined < volume(views)
    # Of views and a prior that say the same, nothing moves by more than a cell of the prior.
    same = with_prior(ball(0.3, 64), 0.3, prior)
    assert ((same < 0) ^ (ball(0.3, 64) < 0))[abs(ball(0.3, 64)) > 2 * HALF / 32].sum() == 0


def test_the_volume_is_the_geometric_mean_however_small_the_thing():
    """Space that is surely empty adds nothing to what the prior expects."""
    prior = np.where(centred(0.12) < 0, 0.97, 1e-4).astype(np.float16)
    views = ball(0.2, 64)
    joined = volume(with_prior(views, 0.3, prior))
    assert joined == pytest.approx((volume(views) * prior.mean(dtype=np.float64)) ** 0.5, rel=0.01)


def test_doubt_decides_between_two_that_disagree():
    """A ball that only the prior knows comes where the views doubt, and not where they are sure."""
    near, far = np.array([-0.2, 0.0, 0.0]), np.array([0.25, 0.0, 0.0])

    def around(place: np.ndarray, radius: float, axis: np.ndarray) -> np.ndarray:
        x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
        return np.sqrt((x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2) - radius

    fine, coarse = np.linspace(-HALF, HALF, 64), ((np.arange(32) + 0.5) / 32 - 0.5) * 2 * HALF
    views = around(near, 0.15, fine)
    both = np.minimum(around(near, 0.15, coarse), around(far, 0.15, coarse))
    at = tuple(np.abs(fine[:, None] - far).argmin(axis=0))
    assert with_prior(views, 0.4, cells(both))[at] < 0 < with_prior(views, 0.05, cells(both))[at]


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_true_views_need_no_prior(name):
    """Their doubt is about 0, and even a false one moves next to nothing."""
    tiles = render_tiles(SHAPES[name], GRID)
    plain, false = (solid_field(read_views(tiles, GRID, p), 64)[0] for p in (None, cells(centred(0.2))))
    _, doubt = signed_field(read_views(tiles, GRID), 64)
    assert doubt < 0.02 and volume_between(plain, false) < 0.05 * volume(plain)


def test_the_base_guesses_a_solid_of_a_drawing_where_the_drawing_shows_it():
    """Cells, tiles and axes agree: seen from each side, the guessed solid covers what the guessed view covers."""
    base = load_base("mini")
    generator = load("mini", precision="fp32", samples=1)
    rgba = np.zeros((64, 64, 4), np.float32)
    rgba[10:60, 24:34] = (0.8, 0.2, 0.1, 1.0)
    rgba[44:60, 34:52] = (0.8, 0.2, 0.1, 1.0)  # no two sides alike
    given = encode_references(base, [generator.reference(rgba, (0.0, 0.0))])
    tiles, solid = (x[0].numpy() for x in base.guess(given.clean[:, 0], given.seen))
    assert solid.shape == (64, 64, 64) and solid.min() >= 0 and solid.max() <= 1
    cover = 1 - np.prod(1 - solid, axis=1)  # along y, as the front view sees it: [x, z]
    front = tiles[GRID.indices("depth")[0]][..., 0]
    seen = front[::-1].T  # a picture's rows go down, z goes up
    shown = seen > 0.5 * front.max()
    assert cover[shown].min() > 0.4 and cover[seen < 0.02].max() < 0.1
    answer = generator.answers([generator.reference(rgba, (0.0, 0.0))], [None], [0], steps=1)[0]
    alone = glb_bytes(lift(answer.tiles, GRID, texture=64))
    assert alone != glb_bytes(lift(answer.tiles, GRID, texture=64, prior=answer.prior))
