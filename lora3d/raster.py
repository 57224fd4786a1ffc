"""Numba kernels of the renderer: a visibility buffer, then deferred shading.

Edges are homogeneous (Olano and Greer 1997, "Triangle scan conversion using 2D homogeneous coordinates"):
a triangle that crosses the near plane needs no new vertices, and an edge shared by two triangles gets
exactly opposite values from both, so that no sample on it is lost or covered twice.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from lora3d.camera import Array

OPAQUE, MASK, BLEND = 0, 1, 2
REPEAT, CLAMP, MIRROR = 0, 1, 2
NO_TEXTURE = -1


class Scene(NamedTuple):
    """A mesh as flat arrays (f faces, v vertices, m materials, t texels).

    vertices (v, 3) float64; faces (f, 3) int32; normal (f, 3) float64, unit, counter-clockwise;
    corner_normal (f, 3, 3), corner_uv (f, 3, 2), corner_color (f, 3, 4) float32, each with no rows where the
    mesh has none; material (f,) int32; base (m, 4) and emissive (m, 3) float32 linear; mode (m,) int32;
    cutoff (m,) float32; double_sided (m,) bool; unlit (m,) bool; texture (m, 6) int64: first texel or
    NO_TEXTURE, height, width, wrap of u, wrap of v, nearest; texels (t, 4) uint8 sRGB straight alpha.
    """

    vertices: Array
    faces: Array
    normal: Array
    corner_normal: Array
    corner_uv: Array
    corner_color: Array
    material: Array
    base: Array
    emissive: Array
    mode: Array
    cutoff: Array
    double_sided: Array
    unlit: Array
    texture: Array
    texels: Array


class Lens(NamedTuple):
    """A camera for the kernels: pose (4, 4) camera-to-world; half_extent; whether it is perspective."""

    pose: Array
    half_extent: float
    perspective: bool


def _srgb_to_linear(value: Array) -> Array:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _linear_to_srgb(value: Array) -> Array:
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


DECODE = _srgb_to_linear(np.arange(256) / 255).astype(np.float32)
# Linear interpolation in 4096 steps is within 2e-5 of the curve.
ENCODE_STEPS = 4096
ENCODE = np.append(_linear_to_srgb(np.arange(ENCODE_STEPS + 1) / ENCODE_STEPS), 1.0).astype(np.float32)

# The studio rig, fixed to the object's frame: direction toward the light and its strength.
KEY = np.array([-0.48, -0.64, 0.60])
FILL = np.array([0.64, 0.48, 0.60])
KEY_STRENGTH, FILL_STRENGTH, SKY, GROUND = 0.55, 0.25, 0.45, 0.25


@njit(nogil=True, cache=True, inline="always")
def _encode(value):
    scaled = min(max(value, 0.0), 1.0) * ENCODE_STEPS
    index = int(scaled)
    return ENCODE[index] + (ENCODE[index + 1] - ENCODE[index]) * (scaled - index)


@njit(nogil=True, cache=True)
def _wrap(index, count, mode):
    if mode == REPEAT:
        return index % count
    if mode == MIRROR:
        index = index % (2 * count)
        return index if index < count else 2 * count - 1 - index
    return min(max(index, 0), count - 1)


@njit(nogil=True, cache=True)
def _texel(scene, m, x, y, opaque):
    """Linear premultiplied rgba of one texel; alpha is 1 where it does not count."""
    _, height, width, wrap_u, wrap_v, _ = scene.texture[m]
    t = scene.texture[m, 0] + _wrap(y, height, wrap_v) * width + _wrap(x, width, wrap_u)
    a = np.float32(1.0) if opaque else scene.texels[t, 3] * np.float32(1 / 255)
    texel = scene.texels[t]
    return DECODE[texel[0]] * a, DECODE[texel[1]] * a, DECODE[texel[2]] * a, a


@njit(nogil=True, cache=True)
def _sample(scene, m, u, v, opaque):
    """The texture of material m at (u, v): linear premultiplied rgba."""
    if not (abs(u) < 1e6 and abs(v) < 1e6):
        u, v = 0.0, 0.0
    x, y = u * scene.texture[m, 2], v * scene.texture[m, 1]
    if scene.texture[m, 5]:
        return _texel(scene, m, math.floor(x), math.floor(y), opaque)
    left, top = math.floor(x - 0.5), math.floor(y - 0.5)
    s, t = np.float32(x - 0.5 - left), np.float32(y - 0.5 - top)
    r, g, b, a = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for j in range(2):
        for i in range(2):
            weight = (s if i else 1 - s) * (t if j else 1 - t)
            tr, tg, tb, ta = _texel(scene, m, left + i, top + j, opaque)
            r += weight * tr
            g += weight * tg
            b += weight * tb
            a += weight * ta
    return r, g, b, a


@njit(nogil=True, cache=True)
def _albedo(scene, f, b1, b2):
    """Base colour of face f at barycentrics (1 - b1 - b2, b1, b2): linear premultiplied rgba."""
    m = scene.material[f]
    b0 = 1 - b1 - b2
    opaque = scene.mode[m] == OPAQUE
    r, g, b, a = scene.base[m, 0], scene.base[m, 1], scene.base[m, 2], scene.base[m, 3]
    if len(scene.corner_color):
        c = scene.corner_color[f]
        r *= b0 * c[0, 0] + b1 * c[1, 0] + b2 * c[2, 0]
        g *= b0 * c[0, 1] + b1 * c[1, 1] + b2 * c[2, 1]
        b *= b0 * c[0, 2] + b1 * c[1, 2] + b2 * c[2, 2]
        a *= b0 * c[0, 3] + b1 * c[1, 3] + b2 * c[2, 3]
    if opaque:
        a = np.float32(1)
    r, g, b = r * a, g * a, b * a
    if scene.texture[m, 0] != NO_TEXTURE and len(scene.corner_uv):
        uv = scene.corner_uv[f]
        u = b0 * uv[0, 0] + b1 * uv[1, 0] + b2 * uv[2, 0]
        v = b0 * uv[0, 1] + b1 * uv[1, 1] + b2 * uv[2, 1]
        tr, tg, tb, ta = _sample(scene, m, u, v, opaque)
        r, g, b, a = r * tr, g * tg, b * tb, a * ta
    return r, g, b, a


@njit(nogil=True, cache=True)
def _normal(scene, f, b1, b2, d):
    """The shading normal of face f, turned to the side that a ray along d sees."""
    n = scene.normal[f]
    sign = -1.0 if n[0] * d[0] + n[1] * d[1] + n[2] * d[2] > 0 else 1.0
    x, y, z = sign * n[0], sign * n[1], sign * n[2]
    if not len(scene.corner_normal):
        return x, y, z
    c = scene.corner_normal[f]
    b0 = 1 - b1 - b2
    sx = b0 * c[0, 0] + b1 * c[1, 0] + b2 * c[2, 0]
    sy = b0 * c[0, 1] + b1 * c[1, 1] + b2 * c[2, 1]
    sz = b0 * c[0, 2] + b1 * c[1, 2] + b2 * c[2, 2]
    # Files disagree on winding and on which side their normals are: the visible side decides.
    if sx * x + sy * y + sz * z < 0:
        sx, sy, sz = -sx, -sy, -sz
    # At a silhouette an interpolated normal may look away: bend it until it is seen edge-on.
    away = (sx * d[0] + sy * d[1] + sz * d[2]) / (d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    if away > 0:
        sx, sy, sz = sx - away * d[0], sy - away * d[1], sz - away * d[2]
    length = math.sqrt(sx * sx + sy * sy + sz * sz)
    if length < 1e-6:
        return x, y, z
    return sx / length, sy / length, sz / length


@njit(nogil=True, cache=True)
def _light(x, y, z):
    """Irradiance of the studio rig on a unit normal: two lamps and a sky over a ground."""
    key = max(0.0, x * KEY[0] + y * KEY[1] + z * KEY[2])
    fill = max(0.0, x * FILL[0] + y * FILL[1] + z * FILL[2])
    return KEY_STRENGTH * key + FILL_STRENGTH * fill + GROUND + (SKY - GROUND) * (z + 1) / 2


@njit(nogil=True, cache=True)
def _ray(lens, x, y, size, origin, direction):
    """Writes origin and direction of the ray through image point (x, y) in pixels: camera.rays."""
    cx = (x / size * 2 - 1) * lens.half_extent
    cy = -(y / size * 2 - 1) * lens.half_extent
    for k in range(3):
        across = lens.pose[k, 0] * cx + lens.pose[k, 1] * cy
        origin[k] = lens.pose[k, 3] + (0.0 if lens.perspective else across)
        direction[k] = (across if lens.perspective else 0.0) - lens.pose[k, 2]


@njit(nogil=True, cache=True)
def _bounds(p0, p1, p2, near, size):
    """Pixels that a triangle of homogeneous points can touch: x from, x to, y from, y to (exclusive)."""
    x_min = y_min = np.inf
    x_max = y_max = -np.inf
    for k in range(3):
        a = p0 if k == 0 else (p1 if k == 1 else p2)
        b = p1 if k == 0 else (p2 if k == 1 else p0)
        if a[2] >= near:
            x, y = a[0] / a[2], a[1] / a[2]
            x_min, x_max = min(x_min, x), max(x_max, x)
            y_min, y_max = min(y_min, y), max(y_max, y)
        if (a[2] < near) != (b[2] < near):
            t = (near - a[2]) / (b[2] - a[2])
            x, y = (a[0] + t * (b[0] - a[0])) / near, (a[1] + t * (b[1] - a[1])) / near
            x_min, x_max = min(x_min, x), max(x_max, x)
            y_min, y_max = min(y_min, y), max(y_max, y)
    # One part in 10^6 of a pixel of slack: rounding here must not undo the edges' exactness.
    x0, x1 = math.ceil(max(x_min - 0.500001, 0.0)), math.floor(min(x_max - 0.499999, size - 1.0)) + 1
    y0, y1 = math.ceil(max(y_min - 0.500001, 0.0)), math.floor(min(y_max - 0.499999, size - 1.0)) + 1
    return x0, x1, y0, y1


@njit(nogil=True, cache=True)
def _edge(p, q):
    """Coefficients of the line through two homogeneous points; exactly negated when they are swapped."""
    return p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]


@njit(nogil=True, cache=True)
def _inside(e, a, b):
    """Whether a sample with edge value e is in: on the edge itself the top-left rule decides."""
    return e > 0 or (e == 0 and (a > 0 or (a == 0 and b > 0)))


@njit(nogil=True, cache=True)
def _insert(prim, bary, depth, f, z, b1, b2, tie):
    """Puts a fragment into its place among the layers of one sample, nearest first; ties keep order."""
    layers = len(prim)
    for k in range(layers):
        if z < depth[k] - tie:
            for i in range(layers - 1, k, -1):
                prim[i], depth[i] = prim[i - 1], depth[i - 1]
                bary[i, 0], bary[i, 1] = bary[i - 1, 0], bary[i - 1, 1]
            prim[k], depth[k], bary[k, 0], bary[k, 1] = f, z, b1, b2
            return


@njit(nogil=True, cache=True)
def rasterise(scene, points, chosen, cutoff, near, tie, prim, bary, depth):
    """Draws the chosen faces (ascending ids) into the layers (s, s, k), in place.

    points (v, 4) float64: x·w and y·w in pixels, w, depth. cutoff (m,): a fragment with less alpha is no
    surface; negative: not looked at. near: the least depth, −inf for an orthographic camera. depth holds
    the limit to begin with, prim −1.
    """
    size = prim.shape[0]
    for f in chosen:
        m = scene.material[f]
        p0, p1, p2 = points[scene.faces[f, 0]], points[scene.faces[f, 1]], points[scene.faces[f, 2]]
        if not (p0[2] >= near or p1[2] >= near or p2[2] >= near):
            continue
        x0, x1, y0, y1 = _bounds(p0, p1, p2, near, size)
        if x0 >= x1 or y0 >= y1:
            continue
        a0, b0, c0 = _edge(p1, p2)
        a1, b1, c1 = _edge(p2, p0)
        a2, b2, c2 = _edge(p0, p1)
        area = p0[0] * a0 + p0[1] * b0 + p0[2] * c0
        # The image's y points down, so that counter-clockwise faces have a negative area.
        if not abs(area) > 0 or (area > 0 and not scene.double_sided[m]):
            continue
        if area < 0:
            a0, b0, c0, a1, b1, c1, a2, b2, c2 = -a0, -b0, -c0, -a1, -b1, -c1, -a2, -b2, -c2
        for row in range(y0, y1):
            y = row + 0.5
            r0, r1, r2 = b0 * y + c0, b1 * y + c1, b2 * y + c2
            for column in range(x0, x1):
                x = column + 0.5
                e0, e1, e2 = a0 * x + r0, a1 * x + r1, a2 * x + r2
                if e0 < 0 or e1 < 0 or e2 < 0:
                    continue
                if not (_inside(e0, a0, b0) and _inside(e1, a1, b1) and _inside(e2, a2, b2)):
                    continue
                share = 1 / (e0 + e1 + e2)
                z = (e0 * p0[3] + e1 * p1[3] + e2 * p2[3]) * share
                if z >= near and z < depth[row, column, -1] - tie:
                    u, v = np.float32(e1 * share), np.float32(e2 * share)
                    if cutoff[m] >= 0 and _albedo(scene, f, u, v)[3] < cutoff[m]:
                        continue
                    _insert(prim[row, column], bary[row, column], depth[row, column], f, z, u, v, tie)


@njit(nogil=True, cache=True)
def surface(scene, lens, prim, bary, depth, out_depth, out_normal, out_position):
    """Depth, normal and position of the first layer at every sample, into arrays of that size."""
    size = prim.shape[0]
    origin, direction = np.empty(3), np.empty(3)
    for row in range(size):
        for column in range(size):
            f = prim[row, column, 0]
            if f < 0:
                continue
            z = depth[row, column, 0]
            _ray(lens, column + 0.5, row + 0.5, size, origin, direction)
            n = _normal(scene, f, bary[row, column, 0, 0], bary[row, column, 0, 1], direction)
            out_depth[row, column] = z
            for k in range(3):
                out_normal[row, column, k] = n[k]
                out_position[row, column, k] = origin[k] + z * direction[k]


@njit(nogil=True, cache=True)
def _radiance(scene, f, b1, b2, studio, direction):
    """What a fragment sends toward the viewer: linear premultiplied rgba."""
    m = scene.material[f]
    r, g, b, a = _albedo(scene, f, b1, b2)
    if studio and not scene.unlit[m]:
        n = _normal(scene, f, b1, b2, direction)
        light = _light(n[0], n[1], n[2])
        r, g, b = r * light, g * light, b * light
    e = scene.emissive[m]
    # A screen shows no more than white; clipped before averaging, or bright texels would eat the edges.
    return min(r + a * e[0], a), min(g + a * e[1], a), min(b + a * e[2], a), a


@njit(nogil=True, cache=True)
def shade(scene, lens, samples, studio, solid_prim, solid_bary, blend_prim, blend_bary, rgba):
    """Colours (s, s, 4) sRGB straight alpha from layers (s·samples, s·samples, k): the solid one lies behind.

    Averages are premultiplied and linear. blend_prim may have no layer.
    """
    size = rgba.shape[0]
    layers = blend_prim.shape[2]
    origin, direction = np.empty(3), np.empty(3)
    weight = 1.0 / (samples * samples)
    for row in range(size):
        for column in range(size):
            red, green, blue, alpha = 0.0, 0.0, 0.0, 0.0
            for s in range(samples * samples):
                i, j = row * samples + s // samples, column * samples + s % samples
                clear = 1.0
                if studio:
                    _ray(lens, j + 0.5, i + 0.5, size * samples, origin, direction)
                for k in range(layers + 1):
                    f = blend_prim[i, j, k] if k < layers else solid_prim[i, j, 0]
                    if f < 0:
                        continue
                    c = blend_bary[i, j, k] if k < layers else solid_bary[i, j, 0]
                    r, g, b, a = _radiance(scene, f, c[0], c[1], studio, direction)
                    if k == layers:  # what a MASK keeps is solid
                        r, g, b, a = r / a, g / a, b / a, np.float32(1)
                    red += clear * r
                    green += clear * g
                    blue += clear * b
                    alpha += clear * a
                    clear *= 1 - a
            if alpha > 0:
                rgba[row, column, 0] = _encode(red / alpha)
                rgba[row, column, 1] = _encode(green / alpha)
                rgba[row, column, 2] = _encode(blue / alpha)
                rgba[row, column, 3] = min(alpha * weight, 1.0)
