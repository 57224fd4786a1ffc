"""Grids of views to 3D. One file a method; `lift` chooses by what the grid holds."""

from __future__ import annotations

import manifold3d
import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from lora3d.camera import Array
from lora3d.errors import InputError
from lora3d.grid import ViewGrid
from lora3d.lift.fuse import HALF, disagreement, fuse
from lora3d.lift.texture import textured
from lora3d.lift.views import read_views
from lora3d.mesh import Mesh

CRUMB = 0.01  # parts below this share of the largest part's volume go


def lift(
    tiles: Array,
    grid: ViewGrid,
    *,
    method: str = "fuse",
    faces: int = 5000,
    texture: int = 512,
    resolution: int = 96,
    seed: int = 0,
) -> Mesh:
    """A closed, textured mesh from a grid's tiles (cells, t, t, 3) in [0, 1], in the grid's frame.

    Args:
        method: ``fuse``, from rgb and depth cells.
        faces: at most about so many triangles.
        texture: side of the baked texture in texels.
        resolution: voxels along each side of the fused volume.
        seed: unused by ``fuse``, which is deterministic.

    Raises InputError for a grid without what the method needs, and for one that shows no object.
    """
    if method != "fuse":
        raise InputError(f"no lift {method!r}: expected 'fuse'")
    if not grid.indices("depth") or not grid.indices("rgb"):
        raise InputError(f"lift 'fuse' needs rgb and depth cells; grid {grid.name!r} has {sorted({c.channel for c in grid.cells})}")
    views = read_views(tiles, grid)
    if not np.isfinite(views.depth).any():
        raise InputError("the grid shows no object: every depth cell is background; nothing to lift")
    vertices, triangles = surface(fuse(views, resolution, disagreement(views)), resolution, faces)
    cameras = [c.camera for c in grid.cells if c.channel == "depth"]
    return textured(vertices, triangles, cameras, views.rgb, views.depth, size=texture, unlit=grid.shading == "unlit")


def surface(field: Array, resolution: int, faces: int) -> tuple[Array, Array]:
    """The zero level of a signed distance field (n, n, n), negative inside: vertices (v, 3) and faces (f, 3).

    One closed manifold, wound outward (marching cubes, Lewiner et al. 2003), without crumbs, reduced to
    about ``faces`` triangles. Raises InputError where nothing is inside.
    """
    labels, count = ndimage.label(field < 0)
    if count == 0:
        raise InputError("the views agree on no object: their outlines and depths carve everything away")
    volumes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    crumbs = np.flatnonzero(volumes < CRUMB * volumes.max()) + 1
    field = np.where(np.isin(labels, crumbs), np.abs(field), field)
    # No vertex may fall on a grid point, where two sheets could touch.
    field = np.where(np.abs(field) < 1e-6, 1e-6, field)
    field = np.pad(field, 1, constant_values=float(np.abs(field).max()))
    step = 2 * HALF / (resolution - 1)
    vertices, triangles, _, _ = marching_cubes(field, 0.0)
    return decimate((vertices - 1) * step - HALF, triangles, faces, step)


def decimate(vertices: Array, triangles: Array, faces: int, step: float) -> tuple[Array, Array]:
    """Collapses edges within a growing tolerance until at most ``faces`` remain; stays manifold throughout."""
    solid = manifold3d.Manifold(
        manifold3d.Mesh(vertices.astype(np.float32), triangles.astype(np.uint32))
    )
    if solid.status() != manifold3d.Error.NoError:
        raise RuntimeError(f"marching cubes gave no manifold: {solid.status()}")
    if solid.volume() < 0:
        return decimate(vertices, triangles[:, ::-1], faces, step)
    tolerance = step / 16
    while solid.num_tri() > faces and tolerance < 4 * step:
        solid = solid.simplify(tolerance)
        tolerance *= 1.5
    mesh = solid.to_mesh()
    return np.asarray(mesh.vert_properties)[:, :3].astype(np.float64), np.asarray(mesh.tri_verts).astype(np.int32)
