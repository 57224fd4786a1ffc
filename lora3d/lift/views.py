"""The grid's cells as views for the lifts: read, and mended where generated pixels lie.

A generated depth cell is soft: at an outline it runs through all values down to the background's 0, which
decode to surfaces far behind. Grids of true views have no such pixels and pass unchanged but for
parts that are too thin for a depth sample and show in colour alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lora3d.camera import Array, Camera
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, decode_depth, encode_depth

NEIGHBOURS = np.ones((1, 3, 3))
UNKNOWN = 0.0
"""Depth of a pixel that shows the object at a depth that cannot be told: it carves nothing."""


@dataclass(frozen=True, eq=False)
class GridViews:
    """v views of t × t pixels, each of rgb and what else the grid holds, in the layout that the kernels want.

    Attributes:
        cameras: v cameras.
        rotation: (v, 3, 3) float64, camera-to-world.
        centre: (v, 3) float64, the cameras' positions in the world.
        half: (v,) float64, `Camera.half_extent`.
        perspective: (v,) bool.
        depth: (v, t, t) float64 metric; inf is background, `UNKNOWN` the object at no known depth.
        normal: (v, t, t, 3) float32 unit, world frame; 0 where there is none, None in a grid without.
        rgb: (v, t, t, 3) float32 sRGB in [0, 1] over the background.
        background: (3,) float32 sRGB.
        prior: (m, m, m) or None, see `lora3d.lift.prior`.
    """

    cameras: tuple[Camera, ...]
    rotation: Array
    centre: Array
    half: Array
    perspective: Array
    depth: Array
    normal: Array | None
    rgb: Array
    background: Array
    prior: Array | None = None

    @property
    def pixel(self) -> float:
        """A pixel's side in world units at the origin, mean over views."""
        away = np.where(self.perspective, np.linalg.norm(self.centre, axis=1), 1.0)
        return float(np.mean(2 * self.half * away / self.depth.shape[1]))


def read_views(tiles: Array, grid: ViewGrid, prior: Array | None = None) -> GridViews:
    """The rgb cells with the depth (or position) and normal cells of their cameras.

    Where some views have depth, those without are left out; where none has, coverage is told from colour
    and depth is `UNKNOWN`. tiles: (cells, t, t, 3) in [0, 1]; prior: as in `GridViews`.

    Raises InputError for another shape, values that are no numbers, a grid without rgb cells, and views
    that show nothing.
    """
    expected = (len(grid.cells), grid.tile, grid.tile, 3)
    if tiles.shape != expected:
        raise InputError(f"grid {grid.name!r} lifts tiles of shape {expected}, found {tiles.shape}")
    if not np.isfinite(tiles).all():
        raise InputError("the tiles hold values that are no numbers (NaN or inf): generate the grid again")
    cells = {
        channel: {grid.cells[i].camera: i for i in grid.indices(channel)}
        for channel in ("rgb", "depth", "position", "normal")
    }
    deep = "depth" if cells["depth"] else "position"
    paired = [camera for camera in cells["rgb"] if camera in cells[deep]]
    cameras = tuple(camera for camera in paired or cells["rgb"] if camera is not None)
    if not cameras:
        raise InputError(f"a lift needs rgb cells, grid {grid.name!r} has none")
    rgb = tiles[[cells["rgb"][camera] for camera in cameras]].astype(np.float32)
    views = GridViews(
        cameras,
        np.stack([camera.matrix[:3, :3] for camera in cameras]),
        np.stack([camera.matrix[:3, 3] for camera in cameras]),
        np.array([camera.half_extent for camera in cameras]),
        np.array([camera.ortho_scale is None for camera in cameras]),
        np.full(rgb.shape[:3], np.inf),
        _normals(tiles, grid, cameras, cells["normal"]),
        rgb,
        _background(rgb, grid),
        prior,
    )
    if paired:
        shapes = tiles[[cells[deep][camera] for camera in cameras]].astype(np.float64)
        views.depth[:] = _depths(views, grid, shapes, deep)
    else:
        shown = silhouettes(rgb, views.background)
        if views.normal is not None:
            shown |= (views.normal != 0).any(axis=-1)
        views.depth[shown] = UNKNOWN
    if not np.isfinite(views.depth).any():
        raise InputError("the grid shows no object: every view is background; generate it again")
    return views


def _depths(views: GridViews, grid: ViewGrid, shapes: Array, channel: str) -> Array:
    """Depth cells or positions (v, t, t, 3) to `GridViews.depth`."""
    if channel == "depth":
        value = shapes.mean(axis=-1)
    else:
        local = np.einsum("vijk,vk->vij", shapes - 0.5, -views.rotation[:, :, 2])
        at = local + np.einsum("vk,vk->v", views.centre, views.rotation[:, :, 2])[:, None, None]
        value = encode_depth(grid, np.where(shapes.any(axis=-1), at, np.inf)).astype(np.float64)
    near, far = grid.depth_range
    slope = views.pixel * (1 - grid.depth_floor) / (far - near)
    soft = is_soft(value, grid.depth_floor)
    value, unknown = mend(value, grid.depth_floor, slope, soft=soft)
    solid = value >= grid.depth_floor / 2
    unknown |= _only_in_colour(solid, views.rgb, views.background, 2 if soft else 1)
    depth = np.where(unknown, UNKNOWN, decode_depth(grid, value))
    if not np.isfinite(depth).any():
        raise InputError("the grid shows no object: every depth cell is background; generate it again")
    return depth


def _normals(tiles: Array, grid: ViewGrid, cameras: tuple[Camera, ...], cells: dict) -> Array | None:
    """The normal cells (v, t, t, 3) in the world frame; None unless every camera has one."""
    if not all(camera in cells for camera in cameras):
        return None
    normal = 2 * tiles[[cells[camera] for camera in cameras]].astype(np.float64) - 1
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    # Backgrounds, whatever their colour, are no unit vectors.
    normal = np.where(np.abs(length - 1) < 0.3, normal / np.maximum(length, 1e-6), 0.0)
    axes = np.stack([grid.normal_axes(camera) for camera in cameras])
    normal = np.einsum("vab,vijb->vija", axes, normal)
    return normal.astype(np.float32)


def _background(rgb: Array, grid: ViewGrid) -> Array:
    """The colour of most of the border of the rgb cells, as other tools may not paint the grid's own."""
    border = np.concatenate([rgb[:, [0, -1]].reshape(-1, 3), rgb[:, :, [0, -1]].reshape(-1, 3)])
    own = np.asarray(grid.background, np.float32)
    return own if np.abs(border - own).max(axis=-1).min() < 0.02 else np.median(border, axis=0)


def silhouettes(rgb: Array, background: Array) -> Array:
    """Where the object is, (v, t, t) bool, told from a plain background.

    What is like it and reaches the border is background; so is what the object encloses, if very like it.
    """
    away = np.abs(rgb - background).max(axis=-1)
    border = np.concatenate([away[:, [0, -1]].ravel(), away[:, :, [0, -1]].ravel()])
    noise = float(np.median(border))
    plain = away <= max(0.02, 4 * noise)
    labels, _ = ndimage.label(
        plain, np.array([[[0] * 3] * 3, [[0, 1, 0], [1] * 3, [0, 1, 0]], [[0] * 3] * 3])
    )
    edge = np.concatenate([labels[:, [0, -1]].ravel(), labels[:, :, [0, -1]].ravel()])
    outside = np.isin(labels, np.unique(edge[edge > 0]))
    return ~outside & ~(away <= max(0.008, 2 * noise))


def noise_level(value: Array, inside: Array) -> float:
    """The standard deviation of white noise in depth values (v, t, t), robustly; 0 where too little is seen.

    From second differences, which surfaces leave near 0: their median magnitude.
    """
    inner = ndimage.binary_erosion(inside, NEIGHBOURS, iterations=2)
    across = (value[:, :, 2:] - 2 * value[:, :, 1:-1] + value[:, :, :-2])[inner[:, :, 1:-1]]
    down = (value[:, 2:] - 2 * value[:, 1:-1] + value[:, :-2])[inner[:, 1:-1]]
    both = np.abs(np.concatenate([across, down]))
    return min(1.4826 * float(np.median(both)) / np.sqrt(6), 0.03) if len(both) > 200 else 0.0


def is_soft(value: Array, floor: float) -> bool:
    """Whether outlines in depth values (v, t, t) are blurred: no true view has values between 0 and `floor`."""
    inside = value >= floor / 2
    margin = max(0.03, 2.5 * noise_level(value, value > floor))
    between = (value > margin) & (value < floor - margin)
    return bool(between.sum() > 0.15 * _rim(inside).sum())


def mend(value: Array, floor: float, slope: float, *, soft: bool) -> tuple[Array, Array]:
    """Depth values (v, t, t) with crisp edges and less noise, and where a depth cannot be trusted (bool).

    In a soft grid outlines are drawn again at part of the value inside, rims take their depth from further
    in, steps go to their nearer side, and ridges under three pixels, whose peaks a blur lowers, count as
    unknown. Noise is measured and filtered in any grid.

    Args:
        floor: `ViewGrid.depth_floor`.
        slope: change of value over a pixel, on a surface at 45 degrees to the view.
        soft: see `is_soft`.
    """
    noise = noise_level(value, value > floor)
    inside = value >= floor / 2
    unknown = np.zeros(value.shape, dtype=bool)
    if soft:
        step = 4 * slope + 3 * noise
        highest = ndimage.maximum_filter(value, size=(1, 5, 5))
        inside &= value > 0.4 * highest
        value = np.where(inside, value, 0.0)
        unknown = inside & (value - ndimage.grey_opening(value, size=(1, 3, 3)) > step)
        lowered = _rim(inside) & (value < 0.9 * highest)
        value = _fill(value, inside & ~unknown & ~lowered, inside & ~unknown)
        up = ndimage.maximum_filter(value, size=(1, 3, 3)) - value
        down = value - ndimage.minimum_filter(np.where(inside, value, np.inf), size=(1, 3, 3))
        ramp = inside & (np.minimum(up, down) > step / 2)
        value = np.where(ramp, value + np.where(up < down, up, -down), value)
    value = np.where(inside, value, 0.0)
    if noise > 1e-3:
        for width in (3.0, 1.5):
            value = _bilateral(value, inside & ~unknown, width * noise)
    return value, unknown


def _rim(inside: Array) -> Array:
    return inside & ndimage.binary_dilation(~inside, NEIGHBOURS)


def _fill(value: Array, good: Array, wanted: Array) -> Array:
    """Wanted pixels that are not good take the mean of good neighbours, twice around."""
    for _ in range(2):
        count = ndimage.convolve(good.astype(np.float64), NEIGHBOURS, mode="constant")
        total = ndimage.convolve(np.where(good, value, 0.0), NEIGHBOURS, mode="constant")
        fill = wanted & ~good & (count > 0)
        value = np.where(fill, total / np.maximum(count, 1), value)
        good = good | fill
    return value


def _bilateral(value: Array, inside: Array, width: float) -> Array:
    """Bilateral filter (Tomasi and Manduchi 1998) of 5 × 5 pixels that looks at `inside` alone."""
    size = value.shape[1]
    padded = np.pad(value, ((0, 0), (2, 2), (2, 2)))
    weight = np.pad(inside.astype(np.float64), ((0, 0), (2, 2), (2, 2)))
    total, weights = np.zeros_like(value), np.full_like(value, 1e-12)
    for row in range(5):
        for column in range(5):
            there = (slice(None), slice(row, row + size), slice(column, column + size))
            away = ((row - 2) ** 2 + (column - 2) ** 2) / 4.5 + ((padded[there] - value) / width) ** 2 / 2
            w = weight[there] * np.exp(-away)
            total += w * padded[there]
            weights += w
    return np.where(inside, total / weights, value)


def _only_in_colour(solid: Array, rgb: Array, background: Array, rim: int) -> Array:
    """Pixels (v, t, t) of parts that slip between depth samples: coloured, and away from what depth shows.

    Colour is averaged over a pixel, depth taken at its centre, so a pole thinner than a pixel can be
    missing from depth. The half-covered rim of what depth does show, `rim` pixels wide, stays background.
    """
    contrast = np.abs(rgb - background).max(axis=-1)
    empty = contrast[~solid]
    if not len(empty):
        return np.zeros(solid.shape, dtype=bool)
    seen = (contrast > max(0.06, 6 * float(np.median(empty)))) & ~solid
    lone = seen & ~ndimage.binary_dilation(solid, NEIGHBOURS, iterations=rim)
    return seen & ndimage.binary_dilation(lone, NEIGHBOURS, iterations=rim)
