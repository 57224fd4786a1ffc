"""Colours from the views onto a mesh: an unwrapped texture, baked texel by texel.

A texel takes its colour from the views that see it, the straighter the more. What no view sees takes the
colours of the nearest seen surface that faces the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import xatlas
from scipy import ndimage
from scipy.spatial import cKDTree

from lora3d.camera import Array
from lora3d.compiled import njit
from lora3d.lift.fuse import in_frame, pack, project
from lora3d.lift.surface import creased_normals
from lora3d.lift.views import NEIGHBOURS, UNKNOWN, GridViews
from lora3d.mesh import Material, Mesh, MeshError, face_normals, face_tangents
from lora3d.render import render

RIM_WEIGHT = 0.02
"""Weight of pixels at the edge of what they show: their colour is mixed with what lies behind."""


# xatlas' destructor tells its threads to end and waits for them, for ever if one is just going to sleep: it gives the
# notice without the lock (TaskScheduler; seen once, as a run that never ended). So an atlas goes when the next is made.
_last_atlas: list[xatlas.Atlas] = []


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
    _last_atlas[:] = [atlas]
    return np.ascontiguousarray(uv[corners.astype(np.int64)], dtype=np.float32)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _gather(views, rgb, weights, drawn, points, normals):
    """Colours (n, v, 3) that the views give surface points, and their weights (n, v); 0 is unseen.

    drawn: (v, s, s) the mesh's own depth, which decides visibility; a view's depth decides how far to
    trust it there. The weight is that of the pixels times the sixth power of the cosine.
    """
    size, fine = views.depth.shape[1], drawn.shape[1]
    colour = np.zeros((len(points), len(drawn), 3), dtype=np.float32)
    total = np.zeros((len(points), len(drawn)), dtype=np.float32)
    toward, found = np.empty(3), np.empty(3)
    for i in range(len(points)):
        for v in range(len(drawn)):
            column, row, at, pixel = project(views, v, points[i, 0], points[i, 1], points[i, 2])
            if not in_frame(column, row, at, size):
                continue
            cosine, away = 0.0, 0.0
            for k in range(3):
                toward[k] = (
                    views.centre[v, k] - points[i, k] if views.perspective[v] else views.rotation[v, k, 2]
                )
                cosine += toward[k] * normals[i, k]
                away += toward[k] ** 2
            cosine /= math.sqrt(away)
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
            found[:] = 0.0
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
                    found[j] += w * rgb[v, r, c, j]
            if sum_weight < 1e-6:
                continue
            for j in range(3):
                colour[i, v, j] = found[j] / sum_weight
            total[i, v] = cosine**6 * sum_weight
    return colour, total


def _levelled(colour: Array, weight: Array) -> Array:
    """Colours (n, v, 3) with one offset a view and channel, where that is most of what the views differ in.

    Least squares over pairs of views, as in gain compensation (Brown and Lowe 2007, eq. 29); offsets are held
    toward 0, where overlaps are few. Views of a generated grid often differ in what they show: offsets would
    carry one view's hue all over the others.
    """
    count = colour.shape[1]
    matrix, right = np.zeros((count, count)), np.zeros((count, 3))
    pairs = []
    for a in range(count):
        for b in range(a):
            share = np.sqrt(weight[:, a] * weight[:, b])
            both = share > 0.01
            if not both.any():
                continue
            apart = colour[both, a] - colour[both, b]
            # The median: where a seam is off, single texels differ by a whole edge.
            middle = np.median(apart, axis=0)
            total = float(share[both].sum())
            pairs.append((a, b, apart, total))
            matrix[a, a] += total
            matrix[b, b] += total
            matrix[a, b] -= total
            matrix[b, a] -= total
            right[a] -= total * middle
            right[b] += total * middle
    held = 0.1 * max(float(np.trace(matrix)) / count, 1e-9)
    offset = np.linalg.solve(matrix + held * np.eye(count), right).astype(np.float32)
    before = sum(total * np.abs(apart).mean() for _, _, apart, total in pairs)
    after = sum(total * np.abs(apart + offset[a] - offset[b]).mean() for a, b, apart, total in pairs)
    return colour + offset if after < 0.5 * before else colour


def _blended(colour: Array, weight: Array) -> tuple[Array, Array]:
    """The two best views' mean (n, 3) and their weight (n,)."""
    if weight.shape[1] > 2:
        weight = np.where(weight >= np.partition(weight, -2, axis=1)[:, -2:-1], weight, 0)
    total = weight.sum(axis=1)
    return (colour * weight[..., None]).sum(axis=1) / np.maximum(total, 1e-12)[:, None], total


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


def bake(
    vertices: Array,
    faces: Array,
    views: GridViews,
    size: int,
    *,
    unlit: bool,
    fine: Callable[[Array], Array] | None = None,
) -> Mesh:
    """The mesh with one material whose texture (size, size) is baked from the views; unlit: see `Material`.

    vertices (v, 3) float32, faces (f, 3) int32, closed and outward; fine: see `paint`.
    """
    plain = Mesh(vertices, faces, np.zeros(len(faces), np.int32), (Material(),))
    drawn = render(plain, views.cameras, 2 * views.depth.shape[1], samples=1).depth
    rgb, weights = _own_colours(views)

    def colours(points: Array, normals: Array) -> Array:
        colour, weight = _gather(pack(views), rgb, weights, drawn, points, normals)
        colour, total = _blended(_levelled(colour, weight), weight)
        return _spread(colour, total > 0, points, normals)

    return paint(vertices, faces, colours, size, unlit=unlit, fine=fine)


def paint(
    vertices: Array,
    faces: Array,
    colours: Callable[[Array, Array], Array],
    size: int,
    *,
    unlit: bool,
    fine: Callable[[Array], Array] | None = None,
) -> Mesh:
    """The mesh unwrapped, with one texture (size, size) that is painted texel by texel.

    colours: of points (n, 3) on the surface with their unit normals (n, 3), sRGB (n, 3) in [0, 1].
    fine: unit normals (n, 3) of the fine surface near points (n, 3), for a normal map; None makes none.
    """
    uv = unwrap(vertices, faces, size)
    corners = vertices[faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    face, position = _texels(uv.astype(np.float64), corners, size)
    used = face >= 0
    texture = np.full((size, size, 4), 255, np.uint8)
    texture[used, :3] = np.clip(colours(position[used], normal[face[used]]) * 255 + 0.5, 0, 255)
    # Every texel outside the charts takes the nearest one inside: no filter bleeds a seam.
    _, (row, column) = ndimage.distance_transform_edt(~used, return_indices=True)
    mesh = Mesh(vertices, faces, np.zeros(len(faces), np.int32), (Material(),), corner_uv=uv)
    relief = None
    if fine is not None:
        relief = np.full((size, size, 4), (128, 128, 255, 255), np.uint8)
        relief[used, :3] = _in_tangents(mesh, face[used], fine(position[used])) * 127.5 + 128
    material = Material(
        name="lifted",
        texture=texture[row, column],
        normal_map=None if relief is None else relief[row, column],
        wrap=("clamp", "clamp"),
        double_sided=False,
        unlit=unlit,
    )
    # A normal map speaks of the flat faces: without one, facets that only approximate a curve are shaded as the curve.
    shaded = None if fine is not None else creased_normals(vertices, faces)
    return replace(mesh, materials=(material,), corner_normal=shaded)


def _in_tangents(mesh: Mesh, face: Array, normals: Array) -> Array:
    """World normals (n, 3) at texels of faces (n,), in each face's right, up and out, unit vectors (n, 3).

    One that would point below its face is the face's own: there the fine surface is another one.
    """
    out, tangent = face_normals(mesh)[face], face_tangents(mesh)[face]
    up = np.cross(out, tangent[:, :3]) * tangent[:, 3:]
    local = np.stack([(normals * axis).sum(axis=1) for axis in (tangent[:, :3], up, out)], axis=1)
    return np.where(local[:, 2:] > 0.2, local, (0.0, 0.0, 1.0))


def field_normals(field: Array, half: float) -> Callable[[Array], Array]:
    """Unit normals (n, 3) at points (n, 3) near the surface of a field (m, m, m) over [−half, half]³: its gradient."""
    slopes = np.gradient(ndimage.gaussian_filter(field, 1.0))

    def normals(points: Array) -> Array:
        index = (points.T / half + 1) * ((len(field) - 1) / 2)
        slope = np.stack([ndimage.map_coordinates(s, index, order=1, mode="nearest") for s in slopes], axis=1)
        return slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)

    return normals


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
