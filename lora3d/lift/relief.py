"""One view and its depth to a relief: the picture as a surface, cut where one thing lies before another."""

from __future__ import annotations

import numpy as np

from lora3d.camera import Array, rays
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, decode_depth
from lora3d.mesh import Material, Mesh

JUMP = 4.0  # pixels; neighbours whose depths differ by more lie on different surfaces


def relief(tiles: Array, grid: ViewGrid, view: int = 0) -> Mesh:
    """An open mesh of one rgb and depth pair, a vertex a pixel, textured with the view; in the world frame.

    Args:
        tiles: (cells, t, t, 3) float32 in [0, 1].
        view: which of the depth cells.

    Raises InputError for a view that the grid has no depth of, and one that shows no surface.
    """
    pairs = [
        (camera, depth, rgb)
        for depth in grid.indices("depth")
        for rgb in grid.indices("rgb")
        if (camera := grid.cells[depth].camera) is not None and camera == grid.cells[rgb].camera
    ]
    if not 0 <= view < len(pairs):
        raise InputError(f"grid {grid.name!r} has {len(pairs)} views with depth, found view {view}")
    camera, depth_cell, rgb_cell = pairs[view]
    size = grid.tile
    depth = decode_depth(grid, tiles[depth_cell].mean(axis=-1, dtype=np.float64))
    seen = np.isfinite(depth)
    origins, directions = rays(camera, size)
    points = origins + directions * np.where(seen, depth, 0.0)[..., None]
    pixel = (
        2
        * camera.half_extent
        / size
        * (1.0 if camera.ortho_scale is not None else np.where(seen, depth, 1.0))
    )
    square = np.stack([depth[:-1, :-1], depth[1:, :-1], depth[1:, 1:], depth[:-1, 1:]])
    with np.errstate(invalid="ignore"):
        whole = np.isfinite(square).all(0) & (
            np.ptp(square, axis=0) < JUMP * np.broadcast_to(pixel, depth.shape)[1:, 1:]
        )
    if not whole.any():
        raise InputError("the view shows no surface: its depth is background throughout")
    index = np.arange(size * size).reshape(size, size)
    a, b, c, d = (i[whole] for i in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    row, column = np.divmod(faces, size)
    uv = (np.stack([column, row], axis=-1) + 0.5) / size
    used, faces = np.unique(faces, return_inverse=True)
    texture = np.full((size, size, 4), 255, np.uint8)
    texture[..., :3] = np.clip(tiles[rgb_cell] * 255 + 0.5, 0, 255)
    return Mesh(
        points.reshape(-1, 3)[used].astype(np.float32),
        faces.reshape(-1, 3).astype(np.int32),
        np.zeros(len(row), np.int32),
        (Material(name="relief", texture=texture, wrap=("clamp", "clamp"), unlit=grid.shading == "studio"),),
        corner_uv=uv.astype(np.float32),
    )
