"""What can be wrong with the views of a row, seen by `prep` when it writes it and by the doctor later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from lora3d.camera import Array
from lora3d.dataset_rows import to_bytes
from lora3d.grid import ViewGrid

# Shares of a picture: less of the background covered than this is nearly blank; more of its border is cut off.
BLANK, CUT = 0.002, 0.05
# Steps of 255: colours this close to the background's are hardly seen, and this close to each other are one.
HARDLY, ONE_COLOUR = 5, 2
RIM = 2  # pixels along an outline that anti-aliasing may mix
Level = Literal["error", "warning", "note"]


def view_faults(tiles: Array, grid: ViewGrid, truth: tuple[bool, ...] | None) -> Iterator[tuple[Level, str]]:
    """What is wrong with the rgb views that are true, and how much it matters; tiles and truth as in `Row`."""
    known = [i for i in grid.indices("rgb") if truth is None or truth[i]]
    if not known:
        return
    views = to_bytes(tiles[known]).astype(np.int16)
    background = to_bytes(np.asarray(grid.background)).astype(np.int16)
    shown = np.zeros(views.shape[:3], bool)
    for c in range(3):
        shown |= np.abs(views[..., c] - background[c]) > HARDLY
    if shown.mean(axis=(1, 2)).max() < BLANK:
        # White on white is still seen in depth.
        if grid.indices("depth") and tiles[list(grid.indices("depth"))].any():
            yield "warning", "the views have the background's colour"
        else:
            yield "error", "the views are blank"
    elif _is_plain(views, _covered(tiles, grid, truth, shown)):
        yield "note", "the views are of a single colour"
    border = np.concatenate([shown[:, 0], shown[:, -1], shown[:, :, 0], shown[:, :, -1]], axis=1)
    # Zero123++'s views may be cut by up to 4 % by design.
    if border.mean(axis=1).max() > CUT:
        yield "warning", "a view is cut off by its frame"


def _covered(tiles: Array, grid: ViewGrid, truth: tuple[bool, ...] | None, shown: Array) -> Array:
    """Where the views show the object (n, t, t) bool: by their depth, which sees white on white, or by colour."""
    if truth is not None or grid.cameras("depth") != grid.cameras("rgb"):
        return shown
    return np.asarray(tiles[list(grid.indices("depth")), ..., 0] > 0)


def _is_plain(views: Array, covered: Array) -> bool:
    """Whether views (n, t, t, 3) have one colour where the object (n, t, t) is, its outline aside."""
    size = covered.shape[1]
    inner = covered[:, RIM:-RIM, RIM:-RIM].copy()
    for at in range(2 * RIM + 1):
        inner &= (
            covered[:, at : size - 2 * RIM + at, RIM:-RIM] & covered[:, RIM:-RIM, at : size - 2 * RIM + at]
        )
    middle = views[:, RIM:-RIM, RIM:-RIM]
    return bool(inner.any()) and all(np.ptp(middle[..., c][inner]) <= ONE_COLOUR for c in range(3))
