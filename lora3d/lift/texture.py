"""UVs and one baked texture: the views' colours on a mesh."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import xatlas
from scipy import ndimage
from scipy.spatial import cKDTree

from lora3d.camera import Array, Camera, project
from lora3d.mesh import Material, Mesh

MARGIN = 2  # texels between charts; twice that is filled beyond each edge
GRAZING = 3.0  # weight = cos(angle to the view)^GRAZING


def unwrap(vertices: Array, faces: Array, size: int) -> Array:
    """Corner UVs (f, 3, 2) float32 in glTF's convention (v down), one atlas of ``size`` texels with margins."""
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices.astype(np.float32), faces.astype(np.uint32))
    charts = xatlas.ChartOptions()
    charts.max_iterations = 1
    pack = xatlas.PackOptions()
    pack.padding = 2 * MARGIN
    pack.resolution = size
    pack.bruteForce = False
    atlas.generate(charts, pack)
    _, corners, uv = atlas[0]
    # xatlas keeps the order of faces; its vertices are ours, split along the seams.
    return uv[corners].astype(np.float32)


@numba.njit(cache=True)
def _rasterise(uv: Array, size: int) -> tuple[Array, Array]:
    """Face (size, size) int32 (−1: none) and barycentrics (size, size, 3) at each texel's centre."""
    face = np.full((size, size), -1, np.int32)
    weights = np.zeros((size, size, 3), np.float32)
    for f in range(uv.shape[0]):
        x = uv[f, :, 0] * size - 0.5
        y = uv[f, :, 1] * size - 0.5
        area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
        if abs(area) < 1e-12:
            continue
        for r in range(max(0, int(np.floor(y.min()))), min(size - 1, int(np.ceil(y.max()))) + 1):
            for c in range(max(0, int(np.floor(x.min()))), min(size - 1, int(np.ceil(x.max()))) + 1):
                a = ((x[1] - c) * (y[2] - r) - (x[2] - c) * (y[1] - r)) / area
                b = ((x[2] - c) * (y[0] - r) - (x[0] - c) * (y[2] - r)) / area
                if a >= -1e-5 and b >= -1e-5 and 1 - a - b >= -1e-5:
                    face[r, c] = f
                    weights[r, c, 0], weights[r, c, 1], weights[r, c, 2] = a, b, 1 - a - b
    return face, weights


def extend_colours(rgb: Array, covered: Array) -> Array:
    """Colours (t, t, 3) with the outline's and the background's pixels replaced by the object's own colour.

    A pixel on the outline mixes object and background; sampled as it is, it would leave a fringe. Inside
    pixels keep their colour; a part too thin to have any takes, pixel by pixel, the neighbour least like the
    background; all else takes the nearest of these.
    """
    if covered.all() or not covered.any():
        return rgb
    inside = ndimage.binary_erosion(covered)
    background = np.median(rgb[~covered], axis=0)
    unlike = np.where(covered, np.abs(rgb - background).sum(-1), -1.0)
    best, strongest = rgb.copy(), unlike.copy()
    for shift in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        moved, strength = np.roll(rgb, shift, (0, 1)), np.roll(unlike, shift, (0, 1))
        better = strength > strongest
        best[better], strongest[better] = moved[better], strength[better]
    thin = covered & ~ndimage.binary_dilation(inside, iterations=2)
    colours = np.where(thin[..., None], best, rgb)
    nearest = ndimage.distance_transform_edt(~(inside | thin), return_distances=False, return_indices=True)
    return colours[nearest[0], nearest[1]]


def bake(
    vertices: Array, faces: Array, cameras: Sequence[Camera], rgb: Array, depth: Array, *, size: int
) -> tuple[Array, Array]:
    """A texture (size, size, 3) float32 in [0, 1] and the corner UVs (f, 3, 2) it lies under.

    Each texel takes the mean of the views that see it, weighted by the cosine to the view's ray to the power
    `GRAZING`. What no view sees takes the colour of the nearest seen point of the surface.

    Args:
        rgb: (views, t, t, 3) float32 sRGB. depth: (views, t, t) metric, inf is background.
    """
    uv = unwrap(vertices, faces, size)
    face, barycentric = _rasterise(uv, size)
    used = face >= 0
    points = np.einsum("nk,nkd->nd", barycentric[used], vertices[faces[face[used]]])
    edges = vertices[faces[:, 1:]] - vertices[faces[:, :1]]
    normals = _unit(np.cross(edges[:, 0], edges[:, 1]))[face[used]]
    colours, weight = np.zeros((len(points), 3)), np.zeros(len(points))
    for camera, view, distances in zip(cameras, rgb, depth, strict=True):
        share, seen = _look(camera, points, normals, view, distances)
        colours += share[:, None] * seen
        weight += share
    found = weight > 1e-4
    colours[found] /= weight[found, None]
    if found.any() and not found.all():
        _, nearest = cKDTree(points[found]).query(points[~found])
        colours[~found] = colours[found][nearest]
    texture = np.zeros((size, size, 3), np.float32)
    texture[used] = colours
    around = ndimage.distance_transform_edt(~used, return_distances=False, return_indices=True)
    return texture[around[0], around[1]], uv


def _look(camera: Camera, points: Array, normals: Array, view: Array, depth: Array) -> tuple[Array, Array]:
    """How much one view counts at each point (n,), and the colour it shows there (n, 3)."""
    size = depth.shape[0]
    at, away = project(camera, points)
    covered = np.isfinite(depth)
    pose = camera.matrix
    toward = pose[:3, 2] if camera.ortho_scale is not None else _unit(pose[:3, 3] - points)
    cosine = np.clip((normals * toward).sum(-1), 0, 1)
    pixel = at * size - 0.5
    inside = (pixel > -0.5).all(1) & (pixel < size - 0.5).all(1)
    where = pixel[:, ::-1].T
    nearest = ndimage.map_coordinates(extend_depth(depth), where, order=1, mode="nearest")
    step = 2 * camera.half_extent / size * (1 if camera.ortho_scale is not None else 1.5)
    # A slope within one pixel, and the rounding of the surface, are no occlusion.
    slack = step * (1.5 + 1.5 / np.maximum(cosine, 0.3))
    visible = inside & (np.abs(away - nearest) < slack)
    colours = extend_colours(view, covered)
    sampled = [ndimage.map_coordinates(colours[..., c], where, order=1, mode="nearest") for c in range(3)]
    return np.where(visible, cosine**GRAZING, 0.0), np.stack(sampled, axis=-1)


def extend_depth(depth: Array) -> Array:
    """Depth (t, t) with the background replaced by the nearest object's depth."""
    covered = np.isfinite(depth)
    if not covered.any():
        return np.full_like(depth, 1e6)
    nearest = ndimage.distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return depth[nearest[0], nearest[1]]


def _unit(vectors: Array) -> Array:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def textured(
    vertices: Array, faces: Array, cameras: Sequence[Camera], rgb: Array, depth: Array, *, size: int, unlit: bool
) -> Mesh:
    """The mesh with its atlas and one material; see `bake`."""
    picture, uv = bake(vertices, faces, cameras, rgb, depth, size=size)
    rgba = np.full((size, size, 4), 255, np.uint8)
    rgba[..., :3] = (picture * 255 + 0.5).clip(0, 255).astype(np.uint8)
    material = Material("baked", texture=rgba, wrap=("clamp", "clamp"), double_sided=False, unlit=unlit)
    return Mesh(
        vertices.astype(np.float32), faces.astype(np.int32), np.zeros(len(faces), np.int32), (material,), corner_uv=uv
    )
