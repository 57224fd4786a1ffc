"""Silhouettes alone to a signed field: the visual hull (Laurentini 1994), what no outline excludes."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from lora3d.camera import Array, rays
from lora3d.compiled import njit, prange
from lora3d.lift.fuse import HALF, Packed, in_frame, pack, project
from lora3d.lift.views import GridViews

RADIUS = 0.5
"""Objects are normalised to a ball of this radius; beyond it, and beyond all frames, is nothing."""

Mirror = tuple[bool, tuple[int, ...]]
"""Of an upright plane through the centre: whether x and y change places, and which axes turn about."""

MIRRORS: tuple[Mirror, ...] = ((False, (0,)), (False, (1,)), (True, ()), (True, (0, 1)))
"""Along the axes and their diagonals."""

UNCOVERED = 5e-3
"""The share of a silhouette that a mirrored solid may leave bare: edges of pixels, no parts."""


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


def mirrored_hull(views: GridViews, resolution: int) -> tuple[Array, tuple[Mirror, ...]]:
    """`hull_field`, carved by its own mirror images, and the mirrors taken.

    Most made things are mirror images of themselves, and a view of such a thing is two views (Thrun and
    Wegbreit 2005). A mirror is taken where what is left still covers every silhouette; the best first.
    """
    field = hull_field(views, resolution)
    bare = _bare(field, views)
    carved = [np.maximum(field, mirror_image(field, mirror)) for mirror in MIRRORS]
    taken: list[Mirror] = []
    for i in np.argsort([(_bare(c, views) - bare).max() for c in carved], kind="stable"):
        left = np.maximum(field, mirror_image(field, MIRRORS[i]))
        if (_bare(left, views) - bare).max() < UNCOVERED:
            field = left
            taken.append(MIRRORS[i])
    return field, tuple(taken)


def mirror_image(field: Array, mirror: Mirror) -> Array:
    """A field (n, n, n, …) as the mirror shows it."""
    swap, flipped = mirror
    return np.flip(field.swapaxes(0, 1) if swap else field, flipped)


def _bare(field: Array, views: GridViews) -> Array:
    """The share of each view's shown pixels (views,) whose ray does not come within half a voxel of the solid."""
    n = len(field)
    voxel = 2 * HALF / (n - 1)
    shares = np.zeros(len(views.cameras))
    for i, camera in enumerate(views.cameras):
        stride = max(1, views.depth.shape[1] // 64)
        shown = np.isfinite(views.depth[i])[::stride, ::stride]
        if not shown.any():
            continue
        origin, direction = (r[::stride, ::stride][shown] for r in rays(camera, views.depth.shape[1]))
        length = np.linalg.norm(direction, axis=1, keepdims=True)
        nearest = -(origin * direction).sum(1, keepdims=True) / length
        along = nearest + np.linspace(-1, 1, 2 * n) * HALF * math.sqrt(3)
        points = origin[:, None] + along[..., None] * (direction / length)[:, None]
        index = (points.reshape(-1, 3).T + HALF) / voxel
        least = ndimage.map_coordinates(field, index, order=1, mode="nearest").reshape(len(origin), -1).min(1)
        shares[i] = (least > voxel / 2).mean()
    return shares


@njit(cache=True, nogil=True, parallel=True)
def _hull(views: Packed, outline, n, step):
    field = np.empty((n, n, n), dtype=np.float32)
    size = outline.shape[1]
    for i in prange(n):
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
