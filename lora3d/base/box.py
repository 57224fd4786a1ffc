"""A volume of cells and the six views of the box around it, each of which looks along an axis of the volume.

A volume (..., n, n, n) is indexed [z, y, x] in the grid's frame, and fills the cube of side `EXTENT` about the
origin, which is what a view of `box6` shows. Turned to a view, its axes are [away from the viewer, down, right].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lora3d.grid import PRESETS, ViewGrid, decode_depth, encode_depth

EXTENT = PRESETS["box6"].cameras("rgb")[0].ortho_scale or 1.0
# Of each view, front, right, back, left, top, bottom: the volume's axes in its order, then those reversed.
_TURNS: tuple[tuple[tuple[int, int, int], tuple[int, ...]], ...] = (
    ((1, 0, 2), (1,)),
    ((2, 0, 1), (0, 1)),
    ((1, 0, 2), (0, 1, 2)),
    ((2, 0, 1), (1, 2)),
    ((0, 1, 2), (0, 1)),
    ((0, 1, 2), ()),
)
VIEWS = len(_TURNS)


def centres(n: int, device: torch.device | None = None) -> Tensor:
    """Coordinates (n,) of the cells' centres along any axis, in world units."""
    return ((torch.arange(n, device=device) + 0.5) / n - 0.5) * EXTENT


def to_view(volume: Tensor, view: int) -> Tensor:
    """A volume [..., z, y, x] as view number ``view`` sees it: [..., away, down, right]."""
    axes, reversed_ = _TURNS[view]
    first = volume.ndim - 3
    turned = volume.permute(*range(first), *(first + a for a in axes))
    return turned.flip([a - 3 for a in reversed_])


def from_view(seen: Tensor, view: int) -> Tensor:
    """The inverse of `to_view`."""
    axes, reversed_ = _TURNS[view]
    first = seen.ndim - 3
    back = (axes.index(a) for a in range(3))
    return seen.flip([a - 3 for a in reversed_]).permute(*range(first), *(first + a for a in back))


def carve(near: Tensor, grid: ViewGrid) -> Tensor:
    """What six views leave of the cube, (b, n, n, n) bool.

    Args:
        near: (b, 6, n, n), the depth cells, encoded as the grid does, on the CPU.

    A cell is empty where a view sees past it, or sees background (space carving, Kutulakos and Seitz 2000).
    """
    n = near.shape[-1]
    hit = torch.from_numpy(decode_depth(grid, near.numpy())) - 1
    # Half a cell of tolerance: what lies on a surface is kept.
    away = (centres(n) + EXTENT / n / 2)[:, None, None]
    kept = [from_view(away >= hit[:, i, None], i) for i in range(VIEWS)]
    return torch.stack(kept).all(0)


def coverage(opacity: Tensor, view: int) -> Tensor:
    """Which share (b, n, n, n) of a view's light each cell stops, [away, down, right]; opacity in [0, 1].

    w_i = o_i · Π_{j<i} (1 − o_j) (Porter and Duff 1984); the sum over the first axis is the outline.
    """
    seen = to_view(opacity, view)
    passed = torch.cumprod(1 - seen, 1)
    return torch.cat([seen[:, :1], passed[:, :-1] * seen[:, 1:]], 1)


def look(opacity: Tensor, colour: Tensor, grid: ViewGrid) -> Tensor:
    """The six views (b, 6, 4, n, n) of a volume: rgb over the background, and depth as the grid encodes it.

    Args:
        opacity: (b, n, n, n) in [0, 1].
        colour: (b, 3, m, m, m) in [0, 1], m dividing n.
    """
    n, m = opacity.shape[-1], colour.shape[-1]
    front = 1 + centres(n) - EXTENT / n / 2  # of each cell, from the cameras' distance
    near = torch.from_numpy(encode_depth(grid, front.numpy())).to(opacity.device)
    ground = torch.tensor(grid.background, device=opacity.device)[:, None, None]
    views = []
    for i in range(VIEWS):
        share = coverage(opacity, i)
        depth = (share * near[:, None, None]).sum(1, keepdim=True)
        # Colours are coarser than outlines: mixed on their own cells, then divided by what those stop.
        coarse = F.avg_pool3d(share[:, None], n // m) * (n // m)
        mixed = torch.cat([(coarse * to_view(colour, i)).sum(2), coarse.sum(2)], 1)
        fine = F.interpolate(mixed, size=n, mode="bilinear")
        alpha = share.sum(1, keepdim=True)
        rgb = fine[:, :3] / fine[:, 3:].clamp_min(1e-3) * alpha + ground * (1 - alpha)
        views.append(torch.cat([rgb.clamp(0, 1), depth], 1))
    return torch.stack(views, 1)
