"""Lifting: a grid of views to one textured, closed mesh. One file a method, from views to a signed field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from lora3d.camera import Array
from lora3d.errors import InputError
from lora3d.formats import LIFTS, Lift
from lora3d.grid import ViewGrid
from lora3d.lift.fuse import HALF, signed_field
from lora3d.lift.hull import hull_field
from lora3d.lift.prior import with_prior
from lora3d.lift.surface import clear, extract
from lora3d.lift.texture import bake, field_normals
from lora3d.lift.views import UNKNOWN, GridViews, read_views
from lora3d.mesh import Material, Mesh
from lora3d.render import render

# Of views that disagree by a doubt of 1: the blur in voxels, the rounds of smoothing of the mesh, and what each is at
# most (docs/decisions.md).
SMOOTHING, MOST_SMOOTHED = 3.0, 0.8
ROUNDS, MOST_ROUNDS = 20.0, 6


def lift(
    tiles: Array,
    grid: ViewGrid,
    *,
    method: Lift | None = None,
    faces: int = 5000,
    texture: int = 512,
    resolution: int | None = None,
    seed: int = 0,
    prior: Array | None = None,
) -> Mesh:
    """One closed mesh with a baked texture, in the grid's frame, from the views of its rgb cells; see `lift_levels`."""
    return lift_levels(
        tiles, grid, (faces,), method=method, texture=texture, resolution=resolution, seed=seed, prior=prior
    )[0]


def lift_levels(
    tiles: Array,
    grid: ViewGrid,
    budgets: Sequence[int],
    *,
    method: Lift | None = None,
    texture: int = 512,
    resolution: int | None = None,
    seed: int = 0,
    normal_map: bool = False,
    prior: Array | None = None,
) -> list[Mesh]:
    """Levels of detail: closed meshes of one solid, each with a baked texture, in the grid's frame.

    Args:
        tiles: (cells, t, t, 3) float32 in [0, 1], as `grid.unpack` or a generator gives them.
        method: ``fuse``: rgb and depth (or positions) to signed distances, see `lora3d.lift.fuse`;
            ``normals``: rgb and normals, and ``field``: rgb alone, fitted until they are drawn again, see
            `lora3d.lift.field`; ``hull``: silhouettes alone. By default the first of these whose cells the grid has.
        budgets: at most this many triangles each; flat parts take fewer.
        texture: side of the square texture in texels.
        resolution: voxels along the side of the solid's cube; by default 1.5 a pixel, from 64 to 160.
        seed: of ``normals`` and ``field``; the others draw no numbers.
        normal_map: bake the fine surface's normals too; for grids without light of their own.
        prior: what was guessed of the solid beside the views, see `lora3d.lift.prior`; ``fuse`` alone asks it.

    Raises InputError for an unknown method, a budget that no solid fits, a grid without the cells that the
    method needs, a normal map where light is in the colours, and tiles that show no object.
    """
    if min(budgets) < 100 or texture < 16:
        found = f"{min(budgets)} and {texture}"
        raise InputError(f"a lift needs at least 100 faces and a 16 px texture, found {found}")
    if normal_map and grid.shading == "studio":
        raise InputError(f"a normal map would be lit twice: grid {grid.name!r} has its light in the colours")
    views = read_views(tiles, grid, prior)
    n = min(max(grid.tile * 3 // 2, 64), 160) if resolution is None else resolution
    field, doubt = solid_field(views, n, method=method, seed=seed)
    shapes = [extract(field, HALF, faces, min(round(ROUNDS * doubt), MOST_ROUNDS)) for faces in budgets]
    if not has_depth(views):
        views = _with_depth_of(views, *shapes[0])
    fine = field_normals(field, HALF) if normal_map else None
    # Studio grids carry their light in the colours: lit again, it would count twice.
    return [bake(*shape, views, texture, unlit=grid.shading == "studio", fine=fine) for shape in shapes]


def solid_field(
    views: GridViews, resolution: int, *, method: Lift | None = None, seed: int = 0
) -> tuple[Array, float]:
    """The field (resolution,)³ of the solid, below 0 inside, over [−HALF, HALF]³ in world units; see `lift`.

    Beside it how far the views disagree, `lora3d.lift.fuse.signed_field`'s doubt; 0 by methods that do not ask.
    """
    if not 16 <= resolution <= 512:
        raise InputError(f"a lift's resolution is 16 to 512 voxels, found {resolution}")
    if method is None:
        method = "fuse" if has_depth(views) else "field" if views.normal is None else "normals"
    if method not in LIFTS:
        raise InputError(f"no lift method {method!r}: expected one of {', '.join(LIFTS)}")
    if method == "fuse":
        if not has_depth(views):
            raise InputError(
                "fuse needs depth (or position) cells of the same cameras as the rgb cells; found no such pair: "
                "use a grid with depth, as the preset box6, or the method field"
            )
        field, doubt = signed_field(views, resolution)
        # Views that disagree are smoothed, in voxels, and leave loose pieces where they happen to meet; true ones
        # (doubt about 0) keep every edge and every piece. Grids of a small base stand at 0.2 to 0.4.
        settled = (
            _smoothed(field, min(SMOOTHING * doubt, MOST_SMOOTHED))
            if views.prior is None
            else with_prior(field, doubt, views.prior)
        )
        return clear(settled, 1e-3 + 0.05 * doubt), doubt
    if method == "hull":
        return clear(hull_field(views, resolution), 0.01), 0.0
    from lora3d.lift.field import fit_field  # it brings torch

    if method == "normals" and views.normal is None:
        raise InputError("the method normals needs a normal cell for every rgb cell: use the method field")
    if method == "field":
        views = replace(views, normal=None)
    return clear(fit_field(views, resolution, seed=seed).solid(resolution), 0.01), 0.0


def _smoothed(field: Array, deviation: float) -> Array:
    """A field blurred by so many voxels whose solid keeps its volume, so that thin parts do not melt away.

    Only whether a voxel is inside, and how nearly, is blurred: distances are cut at a voxel.
    """
    if deviation < 0.3:
        return field
    voxel = 2 * HALF / (len(field) - 1)
    solid = np.count_nonzero(field < 0)
    blurred = gaussian_filter(np.clip(field, -voxel, voxel), deviation)
    level: Array = np.partition(blurred, solid, axis=None)[solid]
    return blurred - level


def has_depth(views: GridViews) -> bool:
    return bool((np.isfinite(views.depth) & (views.depth != UNKNOWN)).any())


def _with_depth_of(views: GridViews, vertices: Array, faces: Array) -> GridViews:
    """The views with the depth of a mesh where both show something; it decides what sees a texel."""
    mesh = Mesh(vertices, faces, np.zeros(len(faces), np.int32), (Material(),))
    drawn = render(mesh, views.cameras, views.depth.shape[1], samples=1).depth.astype(np.float64)
    return replace(views, depth=np.where(np.isfinite(views.depth), drawn, np.inf))
