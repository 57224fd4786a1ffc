"""Numba kernel that finds what is visible: triangles into a visibility buffer.

Edges are homogeneous (Olano and Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates"):
a triangle that crosses the near plane needs no new vertices, and an edge shared by two triangles gets
exactly opposite values from both, so that no sample on it is lost or covered twice.
"""

from __future__ import annotations

import math

import numpy as np

from lora3d.shading import albedo, helper, kernel

# The columns of a projected vertex: homogeneous pixel coordinates, depth, and pixel coordinates.
XW, YW, W, Z, X, Y = range(6)
# Stands for "more than 0" in a comparison by ≥.
TINY = 1e-300


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
def _pixels(low, high, size):
    """The pixels (from, to) whose centres may lie between two coordinates."""
    # A millionth of a pixel of slack: rounding here must not undo the exactness of the edges.
    return math.ceil(max(low - 0.500001, 0.0)), math.floor(min(high - 0.499999, size - 1.0)) + 1


@helper
def _edge(points, i, j, flip):
    """The line (a, b, c) through two homogeneous points, exactly negated when they are swapped; and the
    least value of a x + b y + c that is inside: on the line itself the top-left rule decides."""
    a = points[i, YW] * points[j, W] - points[i, W] * points[j, YW]
    b = points[i, W] * points[j, XW] - points[i, XW] * points[j, W]
    c = points[i, XW] * points[j, YW] - points[i, YW] * points[j, XW]
    if flip:
        a, b, c = -a, -b, -c
    return a, b, c, 0.0 if a > 0 or (a == 0 and b > 0) else TINY


@helper
def _steep(a, b, c, size):
    """1 / a, or 0 for a line so level that rounding would move its crossing with a row of pixels."""
    return 1 / a if abs(a) * 1e8 > abs(b) * size + abs(c) else 0.0


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
def _insert(face, barycentric, depth, row, column, f, z, u, v, tie):
    """Puts a fragment into its place among the layers of one sample, nearest first; ties keep order."""
    k = 0
    while z >= depth[row, column, k] - tie:
        k += 1
    for i in range(depth.shape[2] - 1, k, -1):
        face[row, column, i] = face[row, column, i - 1]
        depth[row, column, i] = depth[row, column, i - 1]
        barycentric[row, column, i, 0] = barycentric[row, column, i - 1, 0]
        barycentric[row, column, i, 1] = barycentric[row, column, i - 1, 1]
    face[row, column, k] = f
    depth[row, column, k] = z
    barycentric[row, column, k, 0] = u
    barycentric[row, column, k, 1] = v


@kernel
def rasterise(scene, points, chosen, cutoff, near, tie, face, barycentric, depth):
    """Draws the chosen faces (ascending ids) into the layers (s, s, k) of a `Visibility`, in place.

    points (v, 6) float64: see X; w is 1 in front of an orthographic camera. cutoff (m,): a fragment with
    less alpha is no surface; negative: not looked at. near: the least depth, −inf for an orthographic camera.
    depth holds the limit to begin with, face −1.
    """
    materials, texels, corners = scene.materials, scene.texels, scene.corners
    faces, face_material = scene.faces, scene.face_material
    size, last = face.shape[0], face.shape[2] - 1
    for f in chosen:
        m, i0, i1, i2 = face_material[f], faces[f, 0], faces[f, 1], faces[f, 2]
        x_min, x_max = (
            min(points[i0, X], points[i1, X], points[i2, X]),
            max(points[i0, X], points[i1, X], points[i2, X]),
        )
        y_min, y_max = (
            min(points[i0, Y], points[i1, Y], points[i2, Y]),
            max(points[i0, Y], points[i1, Y], points[i2, Y]),
        )
        if min(points[i0, W], points[i1, W], points[i2, W]) < near:
            x_min, x_max, y_min, y_max = _clipped(points, i0, i1, i2, near)
        x0, x1 = _pixels(x_min, x_max, size)
        y0, y1 = _pixels(y_min, y_max, size)
        if x0 >= x1 or y0 >= y1:
            continue
        a, b, c, _ = _edge(points, i1, i2, False)
        area = points[i0, XW] * a + points[i0, YW] * b + points[i0, W] * c
        # The image's y points down, so that counter-clockwise faces have a negative area.
        if not abs(area) > 0 or (area > 0 and not materials[m].double_sided):
            continue
        a0, b0, c0, least0 = _edge(points, i1, i2, area < 0)
        a1, b1, c1, least1 = _edge(points, i2, i0, area < 0)
        a2, b2, c2, least2 = _edge(points, i0, i1, area < 0)
        steep0, steep1, steep2 = _steep(a0, b0, c0, size), _steep(a1, b1, c1, size), _steep(a2, b2, c2, size)
        z0, z1, z2 = points[i0, Z], points[i1, Z], points[i2, Z]
        for row in range(y0, y1):
            y = row + 0.5
            r0, r1, r2 = b0 * y + c0, b1 * y + c1, b2 * y + c2
            low, high = _span(steep0, r0, x_min, x_max)
            low, high = _span(steep1, r1, low, high)
            low, high = _span(steep2, r2, low, high)
            x0, x1 = _pixels(low, high, size)
            for column in range(x0, x1):
                x = column + 0.5
                e0, e1, e2 = a0 * x + r0, a1 * x + r1, a2 * x + r2
                if not (e0 >= least0 and e1 >= least1 and e2 >= least2):
                    continue
                share = 1 / (e0 + e1 + e2)
                z = (e0 * z0 + e1 * z1 + e2 * z2) * share
                if z >= near and z < depth[row, column, last] - tie:
                    u, v = np.float32(e1 * share), np.float32(e2 * share)
                    if cutoff[m] < 0 or albedo(materials, texels, corners, m, f, u, v)[3] >= cutoff[m]:
                        _insert(face, barycentric, depth, row, column, f, z, u, v, tie)
