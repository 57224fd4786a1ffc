"""Teaches the network of `lora3d.base.space` on freshly rendered shapes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lora3d.base.box import VIEWS, carve, look, to_view
from lora3d.base.codec import Inverse, Linear
from lora3d.base.optimiser import Optimiser, update_average
from lora3d.base.pose import (
    mirror_projection,
    projection_error,
    quarters_apart,
    turn_projection,
    viewpoint_of,
)
from lora3d.base.space import CELLS, Space, SpaceNet
from lora3d.data_prep.shapes import turn_views
from lora3d.device import autocast
from lora3d.grid import ViewGrid
from lora3d.recipe import PretrainConfig

if TYPE_CHECKING:
    from lora3d.data_prep.stream import Example

SPACE_BATCH = 16
TRUE_SHARE = 0.5  # of drawings laid through space as they truly were, not as guessed


def train_space(
    net: SpaceNet,
    examples: Iterator[Example],
    grid: ViewGrid,
    codec: tuple[Linear, Inverse],
    config: PretrainConfig,
    dtype: torch.dtype,
    *,
    batch: int = SPACE_BATCH,
    capacity: int = 20_000,
    report_every: int = 100,
) -> SpaceNet:
    """Fits a network, new or taught before, to drawings of known shapes on the CPU; returns it, averaged over steps.

    Half of the drawings are mirrored; `stated_share` come with their viewpoint. They are seen as the codec
    leaves them, as they will be.

    Args:
        config: its ``space_steps`` of ``batch`` drawings, of which ``fresh_share`` are of new shapes, and its learning
            rates, which fall over the second half.
        capacity: shapes are picked from so many that came last; each takes 160 kB at 64 px.
    """
    net.train().requires_grad_(True)
    linear, inverse = codec
    optimiser, steps = Optimiser(net, config), config.space_steps
    fresh = max(1, round(batch * config.fresh_share))
    average = {k: v.detach().clone() for k, v in net.state_dict().items()}
    rng = np.random.default_rng(config.seed)
    pool: list[Example] = []
    running = np.zeros(4)
    for step in range(steps):
        pool += itertools.islice(examples, fresh if step else min(12 * batch, config.pool))
        del pool[:-capacity]
        picked = [pool[i] for i in rng.integers(0, len(pool), batch)]
        drawings, seen, true, chosen, flip = _mirrored_half(picked, rng)
        seen[torch.from_numpy(rng.random(batch) >= config.stated_share)] = math.nan
        with torch.no_grad():
            drawings = inverse(linear(drawings)).clamp(0, 1).contiguous(memory_format=torch.channels_last)
            guessed = net.pose(drawings, seen)
        # The front is that which the network took.
        quarters = quarters_apart(viewpoint_of(guessed), viewpoint_of(true))
        true, views = turn_projection(true, quarters), _views(picked, chosen, flip, quarters)
        told = torch.from_numpy(rng.random(batch) < TRUE_SHARE)[:, None, None]
        with autocast(drawings.device, dtype):
            space = net(drawings, seen, torch.where(told, true, guessed))
        losses = space_losses(space, true, views, grid)
        (losses * torch.tensor([4.0, 4.0, 2.0, 2.0])).sum().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step(min(1.0, (step + 1) / 50, (steps - step) / (0.5 * steps)))
        update_average(average, net, min(0.99, (1 + step) / (10 + step)))
        running = running * 0.98 + losses.detach().numpy() * 0.02 if step else losses.detach().numpy()
        if (step + 1) % report_every == 0:
            names = ("projection", "opacity", "outline", "colour")
            print(
                {"space_step": step + 1, **dict(zip(names, running.round(4).tolist(), strict=True))},
                flush=True,
            )
    net.load_state_dict(average)
    return net.eval().requires_grad_(False)


def _mirrored_half(
    examples: list[Example], rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor, list[int], Tensor]:
    """A drawing of each example (b, 4, t, t), its viewpoint (b, 2) and projection (b, 3, 4); half are mirrored.

    Returns besides which of the example's drawings it is, and which are mirrored, (b,) bool.
    """
    chosen = [int(rng.integers(0, len(e.drawings))) for e in examples]
    drawings, seen, true = (
        torch.from_numpy(np.stack(part))
        for part in zip(
            *(
                (e.drawings[c], e.viewpoints[c], e.projections[c])
                for e, c in zip(examples, chosen, strict=True)
            ),
            strict=True,
        )
    )
    drawings = drawings.movedim(-1, -3).float() / 255
    flip = torch.from_numpy(rng.random(len(examples)) < 0.5)
    return (
        torch.where(flip[:, None, None, None], drawings.flip(-1), drawings),
        torch.where(flip[:, None], seen * torch.tensor([-1.0, 1.0]), seen),
        torch.where(flip[:, None, None], mirror_projection(true), true),
        chosen,
        flip,
    )


def _views(examples: list[Example], chosen: list[int], flip: Tensor, quarters: Tensor) -> Tensor:
    """The true views (b, 6, 4, t, t) of drawings by `_mirrored_half`, turned as `turn_projection` turns them."""
    # Turned before it is mirrored, an object turns the other way.
    turns = torch.where(flip, quarters, -quarters).tolist()
    turned = [
        turn_views(e.views, int(e.sides[c]) + q) for e, c, q in zip(examples, chosen, turns, strict=True)
    ]
    views = torch.from_numpy(np.stack(turned)).movedim(-1, -3).float() / 255
    # Mirrored, what was seen from the right is seen from the left.
    mirrored = views.flip(-1)[:, [0, 3, 2, 1, 4, 5]]
    return torch.where(flip[:, None, None, None, None], mirrored, views)


def space_losses(space: Space, true: Tensor, views: Tensor, grid: ViewGrid) -> Tensor:
    """Of the projection (in tiles), the opacity (nats a cell), and the outlines and colours of six views (squared).

    Args:
        true: (b, 3, 4), the projections.
        views: (b, 6, 4, t, t), the true views, rgb and depth in [0, 1].
    """
    fine = F.interpolate(views.flatten(0, 1), size=2 * CELLS, mode="area").unflatten(0, views.shape[:2])
    filled = carve(fine[:, :, 3], grid).float()
    opacity = F.avg_pool3d(torch.sigmoid(space.opacity)[:, None], 2)[:, 0]
    coarse = F.avg_pool2d(
        torch.cat([fine[:, :, :3], (fine[:, :, 3:] >= grid.depth_floor / 2).float()], 2).flatten(0, 1), 2
    ).unflatten(0, views.shape[:2])
    outline = torch.stack([1 - (1 - to_view(opacity, i)).prod(1) for i in range(VIEWS)], 1)
    rgb = look(opacity, space.colour, grid)[:, :, :3]
    return torch.stack(
        [
            projection_error(space.projection, true).mean(),
            F.binary_cross_entropy_with_logits(space.opacity, filled),
            (outline - coarse[:, :, 3]).square().mean(),
            (rgb - coarse[:, :, :3]).square().mean(),
        ]
    )
