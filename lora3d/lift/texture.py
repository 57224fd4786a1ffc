"""Colours from the views onto a mesh: an unwrapped texture, baked texel by texel.

A texel takes its colour from the views that see it, the straighter the more. What no view sees takes the
colours of the nearest seen surface that faces the same way.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import xatlas
from scipy import ndimage
from scipy.spatial import cKDTree

from lora3d.camera import Array
from lora3d.lift.fuse import in_frame, pack, project
from lora3d.lift.views import NEIGHBOURS, UNKNOWN, GridViews
from lora3d.mesh import Material, Mesh, MeshError, face_normals
from lora3d.render import render

RIM_WEIGHT = 0.02
"""Weight of pixels at the edge of what they show: their colour is mixed with what lies behind."""


def unwrap(vertices: Array, faces: Array, size: int) -> Array:
    """Texture coordinates (f, 3, 2) float32 in [0, 1], v down, for a texture of size² texels, by xatlas."""
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces.astype(np.uint32))
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_iterations = 1
    packing.resolution = size
    packing.padding = 2
    packing.bilinear = True
    atlas.generate(charts, packing)
    _, corners, uv = atlas[0]
    return np.ascontiguousarray(uv[corners.astype(np.int64)], dtype=np.float32)


@numba.njit(cache=True, nogil=True)
def _texels(uv, corners, size):
    """Which face each texel's centre lies in (size, size) int32, −1 for none, and where (size, size, 3)."""
    face = np.full((size, size), -1, dtype=np.int32)
    position = np.zeros((size, size, 3))
    for f in range(len(uv)):
        ax, ay = uv[f, 0, 0] * size - 0.5, uv[f, 0, 1] * size - 0.5
        bx, by = uv[f, 1, 0] * size - 0.5 - ax, uv[f, 1, 1] * size - 0.5 - ay
        cx, cy = uv[f, 2, 0] * size - 0.5 - ax, uv[f, 2, 1] * size - 0.5 - ay
        area = bx * cy - by * cx
        if area == 0.0:
            continue
        low_x, high_x = max(math.ceil(ax + min(0.0, bx, cx)), 0), min(ax + max(0.0, bx, cx), size - 1)
        low_y, high_y = max(math.ceil(ay + min(0.0, by, cy)), 0), min(ay + max(0.0, by, cy), size - 1)
        for y in range(int(low_y), int(math.floor(high_y)) + 1):
            for x in range(int(low_x), int(math.floor(high_x)) + 1):
                b = ((x - ax) * cy - (y - ay) * cx) / area
                c = (bx * (y - ay) - by * (x - ax)) / area
                if b < -1e-6 or c < -1e-6 or b + c > 1 + 1e-6:
                    continue
                face[y, x] = f
                for i in range(3):
                    position[y, x, i] = (
                        (1 - b - c) * corners[f, 0, i] + b * corners[f, 1, i] + c * corners[f, 2, i]
                    )
    return face, position


def _own_colours(views: GridViews) -> tuple[Array, Array]:
    """The views' colours freed of what lies behind an edge, (v, t, t, 3), and how far to trust them, (v, t, t).

    A pixel on an edge is a mixture of both sides. It takes the mean of its neighbours within the surface
    or, where a part is too thin to have any, the colour about it that is farthest from the background's. It
    has little weight in any case; the background has none.
    """
    covered = np.isfinite(views.depth)
    high = ndimage.maximum_filter(np.where(covered, views.depth, 1e3), size=(1, 3, 3))
    low = ndimage.minimum_filter(views.depth, size=(1, 3, 3))
    inner = covered & (views.depth != UNKNOWN) & (high - low < 6 * views.pixel)
    rgb = views.rgb.astype(np.float64)
    ring = ndimage.binary_dilation(inner, NEIGHBOURS) & covered & ~inner
    count = ndimage.convolve(inner.astype(np.float64), NEIGHBOURS, mode="constant")
    total = ndimage.convolve(np.where(inner[..., None], rgb, 0.0), NEIGHBOURS[..., None], mode="constant")
    rgb[ring] = total[ring] / count[ring][:, None]
    alone = covered & ~inner & ~ring
    contrast = np.where(covered, np.abs(views.rgb - views.background).max(axis=-1), -1.0)
    best = np.zeros_like(contrast)
    for row, column in np.ndindex(3, 3):
        there = np.roll(contrast, (row - 1, column - 1), (1, 2))
        better = alone & (there > best)
        best[better] = there[better]
        rgb[better] = np.roll(views.rgb, (row - 1, column - 1), (1, 2))[better]
    return rgb, np.where(covered, np.where(inner, 1.0, RIM_WEIGHT), 0.0)


@numba.njit(cache=True, nogil=True)
def _gather(views, rgb, weights, drawn, points, normals):
    """Colours (n, 3) of surface points from the views that see them, and their weights (n,); 0 is unseen.

    drawn: (v, s, s) the mesh's own depth, which decides visibility; a view's depth decides how far to
    trust it there. The two best views are blended, by the sixth power of the cosine.
    """
    colour = np.zeros((len(points), 3))
    total = np.zeros(len(points))
    size, fine = views.depth.shape[1], drawn.shape[1]
    for i in range(len(points)):
        x, y, z = points[i]
        best, second, first_view, second_view = 0.0, 0.0, -1, -1
        found = np.zeros((len(drawn), 3))
        for v in range(len(drawn)):
            column, row, at, pixel = project(views, v, x, y, z)
            if not in_frame(column, row, at, size):
                continue
            toward = np.empty(3)
            for k in range(3):
                toward[k] = (
                    views.centre[v, k] - points[i, k] if views.perspective[v] else views.rotation[v, k, 2]
                )
            cosine = 0.0
            for k in range(3):
                cosine += toward[k] * normals[i, k]
            cosine /= math.sqrt(toward[0] ** 2 + toward[1] ** 2 + toward[2] ** 2)
            if cosine < 0.05:
                continue
            # A pixel of slack along the surface, times its slope.
            slack = pixel * min(1.0 + math.sqrt(1 - min(cosine * cosine, 1.0)) / cosine, 6.0)
            u = min(max(int((column + 0.5) / size * fine), 0), fine - 1)
            t = min(max(int((row + 0.5) / size * fine), 0), fine - 1)
            if at - drawn[v, t, u] > slack:
                continue
            left, top = int(math.floor(column)), int(math.floor(row))
            sum_weight = 0.0
            for k in range(4):
                r = min(max(top + (k >> 1), 0), size - 1)
                c = min(max(left + (k & 1), 0), size - 1)
                share = (row - top if k >> 1 else top + 1 - row) * (
                    column - left if k & 1 else left + 1 - column
                )
                w = share * weights[v, r, c]
                if w > 0 and views.depth[v, r, c] != UNKNOWN:
                    apart = (views.depth[v, r, c] - at) / (2 * slack)
                    w *= 1 / (1 + apart**4)
                sum_weight += w
                for j in range(3):
                    found[v, j] += w * rgb[v, r, c, j]
            if sum_weight < 1e-6:
                continue
            for j in range(3):
                found[v, j] /= sum_weight
            weight = cosine**6 * sum_weight
            if weight > best:
                second, second_view = best, first_view
                best, first_view = weight, v
            elif weight > second:
                second, second_view = weight, v
        total[i] = best + second
        if first_view < 0:
            continue
        for j in range(3):
            colour[i, j] = best * found[first_view, j]
            if second_view >= 0:
                colour[i, j] += second * found[second_view, j]
            colour[i, j] /= total[i]
    return colour, total


def _spread(colour: Array, seen: Array, points: Array, normals: Array) -> Array:
    """Colours (n, 3) with the unseen ones filled from seen points that are near and face the same way."""
    if seen.all() or not seen.any():
        return colour
    features = np.concatenate([points, 0.1 * normals], axis=1)
    source = np.flatnonzero(seen)
    source = source[:: max(len(source) // 20_000, 1)]
    away, index = cKDTree(features[source]).query(features[~seen], k=min(8, len(source)))
    away, index = away.reshape(len(away), -1), index.reshape(len(index), -1)
    weight = 1 / (away + 1e-3) ** 2
    colour = colour.copy()
    colour[~seen] = (colour[source][index] * weight[..., None]).sum(axis=1) / weight.sum(axis=1)[:, None]
    return colour


def bake(vertices: Array, faces: Array, views: GridViews, size: int, *, unlit: bool) -> Mesh:
    """The mesh with one material whose texture (size, size) is baked from the views; unlit: see `Material`.

    vertices (v, 3) float32, faces (f, 3) int32, closed and outward.
    """
    uv = unwrap(vertices, faces, size)
    plain = np.zeros(len(faces), np.int32)
    corners = vertices[faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    face, position = _texels(uv.astype(np.float64), corners, size)
    used = face >= 0
    points, normals = position[used], normal[face[used]]
    drawn = render(
        Mesh(vertices, faces, plain, (Material(),)), views.cameras, 2 * views.depth.shape[1], samples=1
    ).depth
    rgb, weights = _own_colours(views)
    colour, weight = _gather(pack(views), rgb, weights, drawn, points, normals)
    colour = _spread(colour, weight > 0, points, normals)
    texture = np.full((size, size, 4), 255, np.uint8)
    texture[used, :3] = np.clip(colour * 255 + 0.5, 0, 255)
    # Every texel outside the charts takes the nearest one inside: no filter bleeds a seam.
    _, (row, column) = ndimage.distance_transform_edt(~used, return_indices=True)
    texture = texture[row, column]
    material = Material(
        name="lifted", texture=texture, wrap=("clamp", "clamp"), double_sided=False, unlit=unlit
    )
    return Mesh(vertices, faces, plain, (material,), corner_uv=uv)


def painted_points(mesh: Mesh) -> tuple[Array, Array, Array]:
    """A baked mesh as points, one a texel: positions (n, 3), colours (n, 3) uint8 sRGB, unit normals (n, 3).

    Raises MeshError for a mesh without a texture.
    """
    texture = mesh.materials[0].texture
    if texture is None or mesh.corner_uv is None:
        raise MeshError("points are painted from a baked mesh: this one has no texture")
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    face, position = _texels(mesh.corner_uv.astype(np.float64), corners, texture.shape[0])
    used = face >= 0
    return position[used], texture[used, :3], face_normals(mesh)[face[used]]
