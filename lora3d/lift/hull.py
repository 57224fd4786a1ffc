"""Silhouettes alone to a signed field: the visual hull (Laurentini 1994), what no outline excludes."""

from __future__ import annotations

import math

import numba
import numpy as np
from scipy import ndimage

from lora3d.camera import Array
from lora3d.lift.fuse import HALF, Packed, in_frame, pack, project
from lora3d.lift.views import GridViews

RADIUS = 0.5
"""Objects are normalised to a ball of this radius; beyond it, and beyond all frames, is nothing."""


def hull_field(views: GridViews, resolution: int) -> Array:
    """The field (resolution,)³ float32 in world units over [−HALF, HALF]³, below 0 inside.

    At each voxel the distance to the outline that excludes it most, across the line of sight.
    """
    shown = np.isfinite(views.depth)
    outline = np.stack(
        [ndimage.distance_transform_edt(~s) - ndimage.distance_transform_edt(s) for s in shown]
    )
    # Pixels are whole; the outline runs between an outer and an inner one, half a pixel from both.
    outline -= 0.5 * np.sign(outline)
    step = 2 * HALF / (resolution - 1)
    return ndimage.gaussian_filter(_hull(pack(views), outline, resolution, step), 0.5)


@numba.njit(cache=True, nogil=True, parallel=True)
def _hull(views: Packed, outline, n, step):
    field = np.empty((n, n, n), dtype=np.float32)
    size = outline.shape[1]
    for i in numba.prange(n):
        for j in range(n):
            for k in range(n):
                x, y, z = i * step - HALF, j * step - HALF, k * step - HALF
                value = math.sqrt(x * x + y * y + z * z) - RADIUS
                for v in range(len(outline)):
                    column, row, at, side = project(views, v, x, y, z)
                    if not in_frame(column, row, at, size):
                        continue
                    left, top = int(math.floor(column)), int(math.floor(row))
                    distance = 0.0
                    for corner in range(4):
                        r = min(max(top + (corner >> 1), 0), size - 1)
                        c = min(max(left + (corner & 1), 0), size - 1)
                        share = (row - top if corner >> 1 else top + 1 - row) * (
                            column - left if corner & 1 else left + 1 - column
                        )
                        distance += share * outline[v, r, c]
                    value = max(value, distance * side)
                field[i, j, k] = value
    return field
