"""Lifting: a grid of views to one textured, closed mesh. One file a method; `fuse` needs no training."""

from __future__ import annotations

from typing import Literal

from scipy.ndimage import gaussian_filter

from lora3d.camera import Array
from lora3d.errors import InputError
from lora3d.grid import ViewGrid
from lora3d.lift.fuse import HALF, disagreement, signed_field
from lora3d.lift.surface import clear, extract
from lora3d.lift.texture import bake
from lora3d.lift.views import DepthViews, read_views
from lora3d.mesh import Mesh

METHODS: tuple[str, ...] = ("fuse",)


def lift(
    tiles: Array,
    grid: ViewGrid,
    *,
    method: Literal["fuse"] = "fuse",
    faces: int = 5000,
    texture: int = 512,
    resolution: int | None = None,
    seed: int = 0,
) -> Mesh:
    """One closed mesh with a baked texture, in the grid's frame, from its rgb and depth cells.

    Args:
        tiles: (cells, t, t, 3) float32 in [0, 1], as `grid.unpack` or a generator gives them.
        method: ``fuse``: signed distances on a voxel grid, see `lora3d.lift.fuse`.
        faces: at most this many triangles; flat parts take fewer.
        texture: side of the square texture in texels.
        resolution: voxels along the side of the fused cube; by default 1.5 a pixel, from 64 to 160.
        seed: for methods that draw numbers; ``fuse`` draws none.

    Raises InputError for an unknown method, a budget that no solid fits, a grid without rgb and depth cells of
    the same cameras, and tiles that show no object.
    """
    if method not in METHODS:
        raise InputError(f"no lift method {method!r}: expected one of {', '.join(METHODS)}")
    if faces < 100 or texture < 16:
        raise InputError(f"a lift needs at least 100 faces and a 16 px texture, found {faces} and {texture}")
    views = read_views(tiles, grid)
    n = min(max(grid.tile * 3 // 2, 64), 160) if resolution is None else resolution
    if not 16 <= n <= 512:
        raise InputError(f"a lift's resolution is 16 to 512 voxels, found {n}")
    field = solid_field(views, n)
    vertices, triangles = extract(field, HALF, faces)
    # Studio grids carry their light in the colours: lit again, it would count twice.
    return bake(vertices, triangles, views, texture, unlit=grid.shading == "studio")


def solid_field(views: DepthViews, resolution: int) -> Array:
    """The field (resolution,)³ of the solid that is kept, below 0 inside; see `lora3d.lift.fuse.signed_field`."""
    doubt = disagreement(views)
    # Views that disagree are smoothed, in voxels, and leave loose pieces where they happen to meet; true ones
    # (doubt about 0) keep every edge and every piece. Grids of a small base stand at 0.2 to 0.4.
    field = gaussian_filter(signed_field(views, resolution, doubt), min(8 * doubt, 2.0))
    return clear(field, 1e-3 + 0.05 * doubt)
