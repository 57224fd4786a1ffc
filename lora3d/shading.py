"""Numba kernels that shade: the packed scene, its materials, and what each visible sample looks like."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from lora3d.camera import Array

OPAQUE, MASK, BLEND = 0, 1, 2
REPEAT, CLAMP, MIRROR = 0, 1, 2
NO_TEXTURE = -1


# One row a material. cutoff is alpha_cutoff; first is the index of the texture's first texel, or NO_TEXTURE.
MATERIAL = np.dtype(
    [
        *((name, np.float32) for name in ("red", "green", "blue", "alpha", "cutoff")),
        *((name, np.float32) for name in ("emissive_red", "emissive_green", "emissive_blue")),
        *((name, np.int32) for name in ("mode", "wrap_u", "wrap_v")),
        *((name, np.bool_) for name in ("nearest", "double_sided", "unlit")),
        *((name, np.int64) for name in ("first", "height", "width")),
    ]
)
# The columns of Scene.corners: texture coordinates, linear rgba, unit normal.
U, V, RED, GREEN, BLUE, ALPHA, NX, NY, NZ = range(9)


class Scene(NamedTuple):
    """A mesh as flat arrays (f faces, v vertices, m materials, t texels).

    vertices (v, 3) float64; faces (f, 3) int32; face_material (f,) int32; face_normal (f, 3) float32, unit,
    toward the side that sees the corners counter-clockwise; corners (f, 3, 9) float32, see U, RED, NX;
    smooth: whether the corners' normals differ from the face's; materials (m,) MATERIAL; texels (t, 4) uint8
    sRGB straight alpha, rows top-down, texture by texture.
    """

    vertices: Array
    faces: Array
    face_material: Array
    face_normal: Array
    corners: Array
    smooth: bool
    materials: Array
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


# A kernel is compiled once and kept on disk; helpers are folded into it. Helpers take arrays, never the
# Scene: each use of a tuple's array inside a loop would cost an atomic reference count.
kernel = njit(nogil=True, cache=True, error_model="numpy")
helper = njit(nogil=True, cache=True, error_model="numpy", forceinline=True)


@helper
def _encode(value):
    scaled = min(max(value, 0.0), 1.0) * ENCODE_STEPS
    index = int(scaled)
    return ENCODE[index] + (ENCODE[index + 1] - ENCODE[index]) * (scaled - index)


@helper
def _wrap(index, count, mode):
    if mode == REPEAT:
        return index % count
    if mode == MIRROR:
        index = index % (2 * count)
        return index if index < count else 2 * count - 1 - index
    return min(max(index, 0), count - 1)


@helper
def _texel(material, texels, x, y):
    """Linear premultiplied rgba of one texel; alpha is 1 where it does not count."""
    row = _wrap(y, material.height, material.wrap_v)
    t = material.first + row * material.width + _wrap(x, material.width, material.wrap_u)
    a = np.float32(1.0) if material.mode == OPAQUE else texels[t, 3] * np.float32(1 / 255)
    return DECODE[texels[t, 0]] * a, DECODE[texels[t, 1]] * a, DECODE[texels[t, 2]] * a, a


@kernel
def _sample(materials, texels, m, u, v):
    """The texture of material m at (u, v): linear premultiplied rgba."""
    material = materials[m]
    if not (abs(u) < 1e6 and abs(v) < 1e6):
        u, v = np.float32(0), np.float32(0)
    x, y = u * material.width, v * material.height
    if material.nearest:
        return _texel(material, texels, math.floor(x), math.floor(y))
    left, top = math.floor(x - 0.5), math.floor(y - 0.5)
    s, t = np.float32(x - 0.5 - left), np.float32(y - 0.5 - top)
    r, g, b, a = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for j in range(2):
        for i in range(2):
            weight = (s if i else 1 - s) * (t if j else 1 - t)
            tr, tg, tb, ta = _texel(material, texels, left + i, top + j)
            r += weight * tr
            g += weight * tg
            b += weight * tb
            a += weight * ta
    return r, g, b, a


@helper
def _mix(corners, f, k, u, v):
    """Column k of the corners of face f at barycentrics (1 - u - v, u, v)."""
    return (np.float32(1) - u - v) * corners[f, 0, k] + u * corners[f, 1, k] + v * corners[f, 2, k]


@helper
def albedo(materials, texels, corners, m, f, u, v):
    """Base colour of face f: linear premultiplied rgba."""
    material = materials[m]
    r = material.red * _mix(corners, f, RED, u, v)
    g = material.green * _mix(corners, f, GREEN, u, v)
    b = material.blue * _mix(corners, f, BLUE, u, v)
    a = material.alpha * _mix(corners, f, ALPHA, u, v)
    if material.mode == OPAQUE:
        a = np.float32(1)
    r, g, b = r * a, g * a, b * a
    if material.first != NO_TEXTURE:
        tu, tv = _mix(corners, f, U, u, v), _mix(corners, f, V, u, v)
        tr, tg, tb, ta = _sample(materials, texels, m, tu, tv)
        r, g, b, a = r * tr, g * tg, b * tb, a * ta
    return r, g, b, a


@helper
def _normal(face_normal, corners, smooth, f, u, v, dx, dy, dz):
    """The shading normal of face f, turned to the side that a ray along d sees."""
    x, y, z = np.float64(face_normal[f, 0]), np.float64(face_normal[f, 1]), np.float64(face_normal[f, 2])
    if x * dx + y * dy + z * dz > 0:
        x, y, z = -x, -y, -z
    if not smooth:
        return x, y, z
    sx = np.float64(_mix(corners, f, NX, u, v))
    sy = np.float64(_mix(corners, f, NY, u, v))
    sz = np.float64(_mix(corners, f, NZ, u, v))
    # Files disagree on winding and on which side their normals are: the visible side decides.
    if sx * x + sy * y + sz * z < 0:
        sx, sy, sz = -sx, -sy, -sz
    # At a silhouette an interpolated normal may look away: bend it until it is seen edge-on.
    away = sx * dx + sy * dy + sz * dz
    if away > 0:
        away /= dx * dx + dy * dy + dz * dz
        sx, sy, sz = sx - away * dx, sy - away * dy, sz - away * dz
    square = sx * sx + sy * sy + sz * sz
    if square < 1e-12:
        return x, y, z
    scale = 1 / math.sqrt(square)
    return sx * scale, sy * scale, sz * scale


@helper
def _light(x, y, z):
    """Irradiance of the studio rig on a unit normal: two lamps and a sky over a ground."""
    key = max(0.0, x * KEY[0] + y * KEY[1] + z * KEY[2])
    fill = max(0.0, x * FILL[0] + y * FILL[1] + z * FILL[2])
    return KEY_STRENGTH * key + FILL_STRENGTH * fill + GROUND + (SKY - GROUND) * (z + 1) / 2


@helper
def _direction(pose, perspective, cx, cy):
    """The direction of the ray through (cx, cy), the image point in units of the frame at depth 1."""
    dx, dy, dz = -pose[0, 2], -pose[1, 2], -pose[2, 2]
    if perspective:
        dx += pose[0, 0] * cx + pose[0, 1] * cy
        dy += pose[1, 0] * cx + pose[1, 1] * cy
        dz += pose[2, 0] * cx + pose[2, 1] * cy
    return dx, dy, dz


@kernel
def surface_into(scene, lens, face, barycentric, depth, out_depth, out_normal, out_position):
    """Depth, normal and position of the first layer at every sample, into arrays of that size."""
    face_normal, corners, smooth = scene.face_normal, scene.corners, scene.smooth
    pose, half_extent, perspective = lens.pose, lens.half_extent, lens.perspective
    size = face.shape[0]
    step = 2 * half_extent / size
    for row in range(size):
        cy = half_extent - (row + 0.5) * step
        for column in range(size):
            f = face[row, column, 0]
            if f < 0:
                continue
            z, cx = depth[row, column, 0], (column + 0.5) * step - half_extent
            dx, dy, dz = _direction(pose, perspective, cx, cy)
            u, v = barycentric[row, column, 0, 0], barycentric[row, column, 0, 1]
            nx, ny, nz = _normal(face_normal, corners, smooth, f, u, v, dx, dy, dz)
            out_normal[row, column, 0], out_normal[row, column, 1], out_normal[row, column, 2] = nx, ny, nz
            out_depth[row, column] = z
            scale = z if perspective else 1.0
            for k in range(3):
                across = (pose[k, 0] * cx + pose[k, 1] * cy) * scale
                out_position[row, column, k] = pose[k, 3] + across - pose[k, 2] * z


@helper
def _lit(material, r, g, b, a, light):
    """What is seen of a base colour under a light: at most white, premultiplied as before."""
    r = r * light + a * material.emissive_red
    g = g * light + a * material.emissive_green
    b = b * light + a * material.emissive_blue
    # Clipped before averaging, or bright samples would eat the edges.
    return min(r, a), min(g, a), min(b, a)


@helper
def _uniform(face, i, j, samples):
    """Whether all samples of a pixel see the same face, or none."""
    same = True
    for s in range(1, samples * samples):
        same &= face[i + s // samples, j + s % samples, 0] == face[i, j, 0]
    return same


@helper
def _mean(barycentric, i, j, samples):
    """The mean barycentrics of a pixel's samples."""
    u, v = np.float32(0), np.float32(0)
    for s in range(samples * samples):
        u += barycentric[i + s // samples, j + s % samples, 0, 0]
        v += barycentric[i + s // samples, j + s % samples, 0, 1]
    return np.float32(u / (samples * samples)), np.float32(v / (samples * samples))


@kernel
def shade_into(scene, lens, samples, studio, face, barycentric, rgba):
    """Colours (s, s, 4) sRGB straight alpha from layers (s·samples, s·samples, k), in place.

    Layers are composed front to back, samples averaged; both premultiplied and linear.
    """
    materials, texels, corners = scene.materials, scene.texels, scene.corners
    face_material, face_normal, smooth = scene.face_material, scene.face_normal, scene.smooth
    pose, half_extent, perspective = lens.pose, lens.half_extent, lens.perspective
    size, layers = rgba.shape[0], face.shape[2]
    step = 2 * half_extent / (size * samples)
    for row, column in np.ndindex(size, size):
        count = samples * samples
        if layers == 1 and _uniform(face, row * samples, column * samples, samples):
            f = face[row * samples, column * samples, 0]
            if f < 0:
                continue
            if materials[face_material[f]].first == NO_TEXTURE:
                count = 1
        red, green, blue, alpha = 0.0, 0.0, 0.0, 0.0
        for s in range(count):
            i, j = row * samples + s // samples, column * samples + s % samples
            clear = 1.0
            for k in range(layers):
                f = face[i, j, k]
                if f < 0:
                    continue
                m, u, v = face_material[f], barycentric[i, j, k, 0], barycentric[i, j, k, 1]
                if count < samples * samples:
                    u, v = _mean(barycentric, i, j, samples)
                r, g, b, a = albedo(materials, texels, corners, m, f, u, v)
                if materials[m].mode == MASK and a > 0:  # what is not cut out is solid
                    r, g, b, a = r / a, g / a, b / a, np.float32(1)
                light = 1.0
                if studio and not materials[m].unlit:
                    cx, cy = (j + 0.5) * step - half_extent, half_extent - (i + 0.5) * step
                    dx, dy, dz = _direction(pose, perspective, cx, cy)
                    nx, ny, nz = _normal(face_normal, corners, smooth, f, u, v, dx, dy, dz)
                    light = _light(nx, ny, nz)
                r, g, b = _lit(materials[m], r, g, b, a, np.float32(light))
                red += clear * r
                green += clear * g
                blue += clear * b
                alpha += clear * a
                clear *= 1 - a
        if alpha > 0:
            rgba[row, column, 0] = _encode(red / alpha)
            rgba[row, column, 1] = _encode(green / alpha)
            rgba[row, column, 2] = _encode(blue / alpha)
            rgba[row, column, 3] = min(alpha / count, 1.0)
