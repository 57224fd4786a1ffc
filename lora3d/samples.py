"""Samples while a training runs: their pictures and their scores.

Apart from `lora3d.progress`, for a training that never looks need not load what draws and measures views.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from lora3d import metrics
from lora3d.base import Base
from lora3d.cache import Cached, text_of
from lora3d.camera import Array
from lora3d.generate import to_image
from lora3d.grid import ViewGrid, object_pixels, pack, settle_depth
from lora3d.progress import fixed_noise
from lora3d.sampling import Given, sample

PALETTE_ROWS = 16


@torch.no_grad()
def draw_samples(
    base: Base, rows: Cached, trained: Cached, dtype: torch.dtype
) -> tuple[bytes, list[str], dict[str, float]]:
    """Grids for the rows' drawings from fixed seeds, one below the other, the truth beside each: a PNG's bytes.

    Returns also a line for each sample that copies, whose views lie much nearer to one of ``trained`` than to its
    truth; and `score_samples`.
    """
    clean = rows.latents().to(base.device, torch.float32)
    known = torch.tensor([s.startswith("reference") for s in rows.slots], device=base.device)
    text = text_of(base, rows, rows.said)
    noise = fixed_noise(base, list(range(len(rows))))
    given = Given(clean, known.expand(len(rows), -1), rows.seen.to(base.device))
    made = sample(base, noise, given, text, base.steps, base.guidance, dtype)
    shown, true = (np.stack([_tiles(base, x) for x in some]) for some in (made, clean))
    shown = settle_depth(base.grid, shown)
    both = [
        np.concatenate([pack(base.grid, x) for x in pair], axis=1) for pair in zip(shown, true, strict=True)
    ]
    picture = io.BytesIO()
    to_image(np.concatenate(both)).save(picture, "PNG")
    own = trained.latents(slice(trained.own)).to(base.device, torch.float32)[:, ~known].flatten(1)
    views = made[:, ~known].flatten(1)
    distance = torch.cdist(views, own)
    off = (views - clean[:, ~known].flatten(1)).norm(dim=1)
    copies = [
        f"the sample for {rows.ids[i]!r} is a copy of {trained.ids[int(distance[i].argmin())]!r}"
        for i in range(len(rows))
        if distance[i].min() < 0.5 * off[i]
    ]
    few = trained.latents(slice(0, trained.own, -(-trained.own // PALETTE_ROWS)))
    scores = score_samples(base.grid, shown, true, np.stack([_tiles(base, x) for x in few]))
    return picture.getvalue(), copies, scores


def _tiles(base: Base, latents: Tensor) -> Array:
    """One grid's latents to its tiles (cells, t, t, 3) float32."""
    return base.decode(latents[None].to(base.device, torch.float32))[0].float().cpu().numpy()


def score_samples(grid: ViewGrid, made: Array, true: Array, trained: Array) -> dict[str, float]:
    """`eval`'s scores of content and style without its meshes, means over samples; tiles (n, cells, t, t, 3).

    psnr and silhouette_iou against the true views; palette_distance from the colours of the views trained on, left
    out where a sample shows nothing.
    """

    colours = metrics.palette(np.concatenate([object_pixels(grid, x) for x in trained]))
    shown = [p for x in made if len(p := object_pixels(grid, x)) and len(colours)]
    far = [metrics.palette_distance(p, colours) for p in shown]
    pairs = list(zip(made, true, strict=True))
    return {
        "psnr": float(np.mean([metrics.psnr(grid, *pair) for pair in pairs])),
        "silhouette_iou": float(np.mean([metrics.silhouette_iou(grid, *pair) for pair in pairs])),
        **({"palette_distance": float(np.mean(far))} if far else {}),
    }
