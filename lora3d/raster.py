"""Numba kernels that find what is visible: triangles into visibility buffers.

Edges are homogeneous (Olano and Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates"):
a triangle that crosses the near plane needs no new vertices, and an edge shared by two triangles gets
exactly opposite values from both, so that no sample on it is lost or covered twice. Triangles are set up
once a view (`project`, `set_up`) and drawn on as many lattices of samples as are wanted (`fill`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lora3d.camera import Array
from lora3d.compiled import borrowed
from lora3d.texels import ALPHA, NO_TEXTURE, U, V, coverage, helper, kernel

# The columns of a projected vertex: homogeneous pixel coordinates, depth, and pixel coordinates.
XW, YW, W, Z, X, Y = range(6)
# Stands for "more than 0" in a comparison by ≥.
TINY = 1e-300
# Rows of a triangle up to this many samples wide are tried whole: to narrow them would cost more.
NARROW = 4


class Triangles(NamedTuple):
    """n triangles that face the viewer, within the frame, ready to be drawn.

    face (n,) int32, ascending; edges (n, 3, 3): a x + b y + c of the edge opposite to each corner, positive
    inside; depth (n, 3) of the corners; box (n, 4): least and greatest x, then y, in pixels. All float64.
    """

    face: Array
    edges: Array
    depth: Array
    box: Array


@kernel
def project(vertices, lens, size):
    """Vertices (v, 3) as seen by a lens: (v, 6) float64, see XW; w is 1 in front of an orthographic camera."""
    pose, half = lens.pose, size / 2
    points = np.empty((len(vertices), 6))
    for i in range(len(vertices)):
        dx, dy, dz = vertices[i, 0] - pose[0, 3], vertices[i, 1] - pose[1, 3], vertices[i, 2] - pose[2, 3]
        x = (dx * pose[0, 0] + dy * pose[1, 0] + dz * pose[2, 0]) / lens.half_extent
        y = (dx * pose[0, 1] + dy * pose[1, 1] + dz * pose[2, 1]) / lens.half_extent
        z = -(dx * pose[0, 2] + dy * pose[1, 2] + dz * pose[2, 2])
        w = z if lens.perspective else 1.0
        points[i, XW], points[i, YW], points[i, W], points[i, Z] = (w + x) * half, (w - y) * half, w, z
        scale = 1 / w if w > 0 else 1.0
        points[i, X], points[i, Y] = points[i, XW] * scale, points[i, YW] * scale
    return points


@kernel
def farthest(points):
    """The greatest absolute depth of points of `project`."""
    found = 0.0
    for i in range(len(points)):
        found = max(found, abs(points[i, Z]))
    return found


@kernel
def extent(box):
    """What boxes (n, 4) of `Triangles` cover together, as one of them; of none, (inf, -inf, inf, -inf)."""
    x_min = y_min = np.inf
    x_max = y_max = -np.inf
    for n in range(len(box)):
        x_min, x_max = min(x_min, box[n, 0]), max(x_max, box[n, 1])
        y_min, y_max = min(y_min, box[n, 2]), max(y_max, box[n, 3])
    return x_min, x_max, y_min, y_max


@kernel
def _clipped(points, i0, i1, i2, near):
    """The bounding box, in pixels, of that part of a triangle that lies beyond the near plane."""
    x_min = y_min = np.inf
    x_max = y_max = -np.inf
    for k in range(3):
        i, j = (i0, i1, i2)[k], (i1, i2, i0)[k]
        if points[i, W] >= near:
            x_min, x_max = min(x_min, points[i, X]), max(x_max, points[i, X])
            y_min, y_max = min(y_min, points[i, Y]), max(y_max, points[i, Y])
        if (points[i, W] >= near) != (points[j, W] >= near):
            t = (near - points[i, W]) / (points[j, W] - points[i, W])
            x = (points[i, XW] + t * (points[j, XW] - points[i, XW])) / near
            y = (points[i, YW] + t * (points[j, YW] - points[i, YW])) / near
            x_min, x_max, y_min, y_max = min(x_min, x), max(x_max, x), min(y_min, y), max(y_max, y)
    return x_min, x_max, y_min, y_max


@helper
def _bounds(points, i0, i1, i2, near):
    """The bounding box of a triangle in pixels, (least x, greatest x, least y, greatest y)."""
    if min(points[i0, W], points[i1, W], points[i2, W]) < near:
        return _clipped(points, i0, i1, i2, near)
    x0, x1, x2 = points[i0, X], points[i1, X], points[i2, X]
    y0, y1, y2 = points[i0, Y], points[i1, Y], points[i2, Y]
    return min(x0, x1, x2), max(x0, x1, x2), min(y0, y1, y2), max(y0, y1, y2)


@helper
def _samples(low, high, density, count):
    """The samples (from, to), of ``density`` a pixel, that may lie between two coordinates."""
    # A millionth of slack: rounding here must not undo the exactness of the edges.
    first = math.ceil(max(low * density - 0.500001, 0.0))
    return first, math.floor(min(high * density - 0.499999, count - 1.0)) + 1


@helper
def _hits(low, high, density, size):
    """Whether `_samples` finds any; without branches, so that many are tested at once."""
    first, last = low * density - 0.500001, high * density - 0.499999
    first, last = first if first > 0 else 0.0, last if last < size * density - 1 else size * density - 1.0
    return np.ceil(first) <= np.floor(last)


@helper
def _edge(points, i, j, flip):
    """The line (a, b, c) through two homogeneous points, exactly negated when they are swapped."""
    a = points[i, YW] * points[j, W] - points[i, W] * points[j, YW]
    b = points[i, W] * points[j, XW] - points[i, XW] * points[j, W]
    c = points[i, XW] * points[j, YW] - points[i, YW] * points[j, XW]
    if flip:
        a, b, c = -a, -b, -c
    return a, b, c


@kernel
def set_up(scene, points, near, size, density):
    """The faces as arrays of `Triangles`, for lattices of 1 and of ``density`` a pixel."""
    faces, face_material, materials = scene.faces, scene.face_material, scene.materials
    count, n = len(faces), 0
    face, edges = np.empty(count, np.int32), np.empty((count, 3, 3))
    depth, box = np.empty((count, 3)), np.empty((count, 4))
    for f in range(count):
        i0, i1, i2 = faces[f, 0], faces[f, 1], faces[f, 2]
        x_min, x_max, y_min, y_max = _bounds(points, i0, i1, i2, near)
        if not x_min <= x_max:  # wholly before the near plane
            continue
        if not (_hits(x_min, x_max, density, size) or _hits(x_min, x_max, 1, size)):
            continue
        if not (_hits(y_min, y_max, density, size) or _hits(y_min, y_max, 1, size)):
            continue
        a, b, c = _edge(points, i1, i2, False)
        area = points[i0, XW] * a + points[i0, YW] * b + points[i0, W] * c
        # The image's y points down, so that counter-clockwise faces have a negative area.
        if not abs(area) > 0 or (area > 0 and not materials[face_material[f]].double_sided):
            continue
        edges[n, 0, 0], edges[n, 0, 1], edges[n, 0, 2] = _edge(points, i1, i2, area < 0)
        edges[n, 1, 0], edges[n, 1, 1], edges[n, 1, 2] = _edge(points, i2, i0, area < 0)
        edges[n, 2, 0], edges[n, 2, 1], edges[n, 2, 2] = _edge(points, i0, i1, area < 0)
        depth[n, 0], depth[n, 1], depth[n, 2] = points[i0, Z], points[i1, Z], points[i2, Z]
        box[n, 0], box[n, 1], box[n, 2], box[n, 3] = x_min, x_max, y_min, y_max
        face[n] = f
        n += 1
    return face[:n], edges[:n], depth[:n], box[:n]


@helper
def _least(a, b):
    """The least value of a x + b y + c that is inside: on the line itself the top-left rule decides."""
    return 0.0 if a > 0 or (a == 0 and b > 0) else TINY


@helper
def _steep(a, b, c, size):
    """1 / a, or 0 for a line so level that rounding would move its crossing with a row of samples."""
    return 1 / a if abs(a) * 1e8 > abs(b) * size + abs(c) else 0.0


@helper
def _steeps(a, b, c, size):
    """`_steep` of three lines."""
    return _steep(a[0], b[0], c[0], size), _steep(a[1], b[1], c[1], size), _steep(a[2], b[2], c[2], size)


@helper
def _span(steep, r, low, high):
    """Narrows a stretch of a row to where a x + r can be positive."""
    crossing = -r * steep
    if steep > 0:
        low = max(low, crossing)
    if steep < 0:
        high = min(high, crossing)
    return low, high


@helper
def _narrowed(steeps, r0, r1, r2, low, high, density, count):
    """The samples (from, to) of a row that may lie inside all three edges."""
    low, high = _span(steeps[0], r0, low, high)
    low, high = _span(steeps[1], r1, low, high)
    low, high = _span(steeps[2], r2, low, high)
    return _samples(low, high, density, count)


@helper
def _three(corners, f, k, scale):
    """Column k of a face's three corners, scaled."""
    return corners[f, 0, k] * scale, corners[f, 1, k] * scale, corners[f, 2, k] * scale


@helper
def _three_edges(edges, n, k):
    """Column k of a triangle's three lines."""
    return edges[n, 0, k], edges[n, 1, k], edges[n, 2, k]


@helper
def _blend(three, j, k):
    """What lies at barycentrics (1 - j - k, j, k) between three values."""
    return (np.float32(1) - j - k) * three[0] + j * three[1] + k * three[2]


@kernel
def _touched(box, density, size):
    """Which boxes (n, 4) of `Triangles` may hold a sample, (n,) bool."""
    touched = np.empty(len(box), np.bool_)
    for n in range(len(box)):
        across = _hits(box[n, 0], box[n, 1], density, size)
        touched[n] = across & _hits(box[n, 2], box[n, 3], density, size)
    return touched


@helper
def _least_alpha(alpha_range, f, cutoff):
    """From which alpha on face f is drawn: −1 where nothing is asked, since it is solid all over; inf: nowhere."""
    if cutoff < 0 or alpha_range[f, 0] >= cutoff:
        return np.float32(-1)
    return np.float32(np.inf) if alpha_range[f, 1] < cutoff else cutoff


@helper
def _alpha_corners(corners, f, alpha, least_alpha):
    """Alpha, u and v of a face's corners. Of a solid one they are not read: a fine mesh's do not fit the caches."""
    if least_alpha < 0:
        return (np.float32(1), np.float32(1), np.float32(1)), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    return _three(corners, f, ALPHA, alpha), _three(corners, f, U, 1.0), _three(corners, f, V, 1.0)


@helper
def _draw_row(slot, depth, start, x0, x1, step, slopes, rests, least, shown, corner_z, n, near, tie):
    """Samples x0 to x1 of a row that starts at ``start``, in a single layer; without a call, so that many go at once.

    slopes, rests: of the edges along the row; shown: how far alpha at each corner is above what is drawn.
    """
    (a0, a1, a2), (r0, r1, r2), (least0, least1, least2) = slopes, rests, least
    (t0, t1, t2), (z0, z1, z2) = shown, corner_z
    for column in range(x0, x1):
        x = (column + 0.5) * step
        e0, e1, e2 = a0 * x + r0, a1 * x + r1, a2 * x + r2
        inside = (e0 >= least0) & (e1 >= least1) & (e2 >= least2)
        if inside & (e0 * t0 + e1 * t1 + e2 * t2 >= 0):
            z = (e0 * z0 + e1 * z1 + e2 * z2) / (e0 + e1 + e2)
            at = np.uint64(start + column)
            if z >= near and z < depth[at] - tie:
                slot[at], depth[at] = n, z


@helper
def _measure_row(row_z, row_alpha, row_u, row_v, x0, x1, step, slopes, rests, least, corners, corner_z, near):
    """Depth, alpha, u and v of samples x0 to x1 into arrays as long as a row; infinite depth beside the triangle."""
    (a0, a1, a2), (r0, r1, r2), (least0, least1, least2) = slopes, rests, least
    (tints, us, vs), (z0, z1, z2) = corners, corner_z
    for column in range(x0, x1):
        x = (column + 0.5) * step
        e0, e1, e2 = a0 * x + r0, a1 * x + r1, a2 * x + r2
        share = 1 / (e0 + e1 + e2)
        z = (e0 * z0 + e1 * z1 + e2 * z2) * share
        inside = (e0 >= least0) & (e1 >= least1) & (e2 >= least2) & (z >= near)
        j, k = np.float32(e1 * share), np.float32(e2 * share)
        at = np.uint64(column)
        row_z[at] = z if inside else np.inf
        row_alpha[at], row_u[at], row_v[at] = _blend(tints, j, k), _blend(us, j, k), _blend(vs, j, k)


@kernel
def fill(scene, face, edges, corner_depth, box, density, cutoff, near, tie, slot, depth):
    """Draws `Triangles` into the layers (k, s, s) of a `Visibility`, ``density`` samples a pixel, in place.

    cutoff (m,): a fragment with less alpha is no surface; negative: not looked at; inf: nothing of the material
    is drawn. near: the least depth, −inf for an orthographic camera. depth holds the limit to begin with, slot −1.
    """
    scene, face, edges, corner_depth, box = borrowed((scene, face, edges, corner_depth, box))
    corners, alphas = scene.corners, scene.alphas
    count, step = slot.shape[1], 1 / density
    size, layer, last = count * step, count * count, (slot.shape[0] - 1) * count * count
    # One dimension and indices without sign let the compiler test and store many samples at once.
    slot, depth = borrowed((slot.reshape(-1), depth.reshape(-1)))
    row_z, row_u, row_v = np.empty(count), np.empty(count), np.empty(count)
    row_alpha = np.empty(count, np.float32)
    touched = _touched(box, density, count // density)
    for n in range(len(face)):
        if not touched[n]:
            continue
        y0, y1 = _samples(box[n, 2], box[n, 3], density, count)
        first, end = _samples(box[n, 0], box[n, 1], density, count)
        f = np.uint64(face[n])
        material = scene.materials[scene.face_material[f]]
        limit = _least_alpha(scene.alpha_range, f, cutoff[scene.face_material[f]])
        if limit == np.inf:
            continue
        asked = _alpha_corners(corners, f, material.alpha, limit)
        shown = asked[0][0] - limit, asked[0][1] - limit, asked[0][2] - limit
        plain = last == 0 and (limit < 0 or material.first == NO_TEXTURE)
        a, b, c = _three_edges(edges, n, 0), _three_edges(edges, n, 1), _three_edges(edges, n, 2)
        least = _least(a[0], b[0]), _least(a[1], b[1]), _least(a[2], b[2])
        z = corner_depth[n, 0], corner_depth[n, 1], corner_depth[n, 2]
        wide, steeps = end - first > NARROW, (0.0, 0.0, 0.0)
        if wide:
            steeps = _steeps(a, b, c, size)
        for row in range(y0, y1):
            y, start = (row + 0.5) * step, row * count
            rests = b[0] * y + c[0], b[1] * y + c[1], b[2] * y + c[2]
            x0, x1 = first, end
            if wide:
                x0, x1 = _narrowed(steeps, *rests, box[n, 0], box[n, 1], density, count)
            if plain:
                _draw_row(slot, depth, start, x0, x1, step, a, rests, least, shown, z, n, near, tie)
                continue
            _measure_row(row_z, row_alpha, row_u, row_v, x0, x1, step, a, rests, least, asked, z, near)
            for column in range(x0, x1):
                i, at = np.uint64(column), start + column
                if row_z[i] < depth[np.uint64(last + at)] - tie and (
                    limit < 0 or coverage(material, alphas, row_alpha[i], row_u[i], row_v[i]) >= limit
                ):
                    _insert(slot, depth, at, layer, last, n, row_z[i], tie)


@helper
def _insert(slot, depth, at, layer, last, n, z, tie):
    """Puts a fragment into its place among the layers of one sample, nearest first; ties keep order."""
    k = at
    while z >= depth[np.uint64(k)] - tie:
        k += layer
    for i in range(at + last, k, -layer):
        slot[np.uint64(i)], depth[np.uint64(i)] = slot[np.uint64(i - layer)], depth[np.uint64(i - layer)]
    slot[np.uint64(k)], depth[np.uint64(k)] = n, z
