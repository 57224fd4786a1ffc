"""Numba helpers that read textures: materials, bilinear filtering, and which alpha a face can have."""

from __future__ import annotations

import math

import numpy as np

from lora3d.camera import Array
from lora3d.compiled import njit

OPAQUE, MASK, BLEND = 0, 1, 2
REPEAT, CLAMP, MIRROR = 0, 1, 2
NO_TEXTURE = -1
# Of a face that spans more texels than these, no bounds of alpha are sought.
MOST_TEXELS = 1024


# One row a material. cutoff is alpha_cutoff; first is the index of the texture's first texel, or NO_TEXTURE;
# fine_ the same of the texture of roughness and metalness, glow_ of that of emission.
MATERIAL = np.dtype(
    [
        *(
            (name, np.float32)
            for name in ("red", "green", "blue", "alpha", "cutoff", "metallic", "roughness")
        ),
        *((name, np.float32) for name in ("emissive_red", "emissive_green", "emissive_blue")),
        *((name, np.int32) for name in ("mode", "wrap_u", "wrap_v")),
        *((name, np.bool_) for name in ("nearest", "double_sided", "unlit")),
        *((name, np.int64) for name in ("first", "height", "width")),
        *((name, np.int64) for name in ("fine_first", "fine_height", "fine_width")),
        *((name, np.int64) for name in ("glow_first", "glow_height", "glow_width")),
    ]
)
# The columns of Scene.corners: texture coordinates, linear rgba, unit normal.
U, V, RED, GREEN, BLUE, ALPHA, NX, NY, NZ = range(9)


def _srgb_to_linear(value: Array) -> Array:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


DECODE = _srgb_to_linear(np.arange(256) / 255).astype(np.float32)


# A kernel is compiled once and kept on disk until its own file changes; helpers are folded into it, so that after a
# change of a helper the caches in __pycache__ (*.nbi) must be deleted. Helpers take arrays, never the
# Scene: each use of a tuple's array inside a loop would cost an atomic reference count.
kernel = njit(nogil=True, cache=True, error_model="numpy")
helper = njit(nogil=True, cache=True, error_model="numpy", forceinline=True)


@helper
def _wrap(index, count, mode):
    if mode == REPEAT:
        return index % count
    if mode == MIRROR:
        index = index % (2 * count)
        return index if index < count else 2 * count - 1 - index
    return min(max(index, 0), count - 1)


@helper
def _taps(material, first, width, height, u, v):
    """Bilinear filtering at (u, v): four texels (upper left, upper right, lower left, lower right), two weights.

    Of the texture from ``first`` on, by the sampler of the material. For ``nearest`` all four are one texel.
    """
    if not (abs(u) < 1e6 and abs(v) < 1e6):
        u, v = np.float32(0), np.float32(0)
    x, y = u * np.float64(width), v * np.float64(height)
    if material.nearest:
        x, y = math.floor(x) + 0.5, math.floor(y) + 0.5
    left, top = math.floor(x - 0.5), math.floor(y - 0.5)
    s, t = np.float32(x - 0.5 - left), np.float32(y - 0.5 - top)
    right, below = left + 1, top + 1
    if left < 0 or right >= width:
        left, right = _wrap(left, width, material.wrap_u), _wrap(right, width, material.wrap_u)
    if top < 0 or below >= height:
        top, below = _wrap(top, height, material.wrap_v), _wrap(below, height, material.wrap_v)
    upper, lower = first + top * width, first + below * width
    upper_left, upper_right = np.uint64(upper + left), np.uint64(upper + right)
    return upper_left, upper_right, np.uint64(lower + left), np.uint64(lower + right), s, t


@helper
def _texel(texels, t, opaque):
    """Linear premultiplied rgba of one texel."""
    if opaque:
        return DECODE[texels[t, 0]], DECODE[texels[t, 1]], DECODE[texels[t, 2]], np.float32(1)
    a = texels[t, 3] * np.float32(1 / 255)
    return DECODE[texels[t, 0]] * a, DECODE[texels[t, 1]] * a, DECODE[texels[t, 2]] * a, a


@helper
def sample(material, texels, first, width, height, opaque, u, v):
    """A texture of a material at (u, v): linear premultiplied rgba; ``opaque``: alpha is 1, whatever it says."""
    i, j, k, n, s, t = _taps(material, first, width, height, u, v)
    ri, gi, bi, ai = _texel(texels, i, opaque)
    rj, gj, bj, aj = _texel(texels, j, opaque)
    rk, gk, bk, ak = _texel(texels, k, opaque)
    rn, gn, bn, an = _texel(texels, n, opaque)
    wj, wk, wn = s * (1 - t), (1 - s) * t, s * t
    wi = (1 - s) * (1 - t)
    return (
        wi * ri + wj * rj + wk * rk + wn * rn,
        wi * gi + wj * gj + wk * gk + wn * gn,
        wi * bi + wj * bj + wk * bk + wn * bn,
        wi * ai + wj * aj + wk * ak + wn * an,
    )


@kernel
def finish(material, texels, u, v):
    """What the second texture of a material multiplies roughness and metalness by at (u, v)."""
    width, height = material.fine_width, material.fine_height
    i, j, k, n, s, t = _taps(material, material.fine_first, width, height, u, v)
    wj, wk, wn = s * (1 - t), (1 - s) * t, s * t
    wi = (1 - s) * (1 - t)
    rough = wi * texels[i, 1] + wj * texels[j, 1] + wk * texels[k, 1] + wn * texels[n, 1]
    metal = wi * texels[i, 2] + wj * texels[j, 2] + wk * texels[k, 2] + wn * texels[n, 2]
    return rough / 255, metal / 255


@helper
def coverage(material, alphas, tint, u, v):
    """Alpha of a surface at texture coordinates (u, v), whatever its mode; tint: the alpha of factor and corners."""
    if material.first == NO_TEXTURE:
        return tint
    i, j, k, n, s, t = _taps(material, material.first, material.width, material.height, u, v)
    upper = (1 - s) * alphas[i] + s * alphas[j]
    lower = (1 - s) * alphas[k] + s * alphas[n]
    return tint * ((1 - t) * upper + t * lower) * np.float32(1 / 255)


@helper
def _texel_range(material, alphas, u_min, u_max, v_min, v_max):
    """The least and the greatest alpha that bilinear filtering can read within a box of texture coordinates."""
    if not (u_min > -1e6 and u_max < 1e6 and v_min > -1e6 and v_max < 1e6):
        return np.float32(0), np.float32(1)
    width, height = material.width, material.height
    left, right = math.floor(u_min * width - 0.5), math.floor(u_max * width - 0.5) + 1
    top, bottom = math.floor(v_min * height - 0.5), math.floor(v_max * height - 0.5) + 1
    if (right - left + 1) * (bottom - top + 1) > MOST_TEXELS:
        return np.float32(0), np.float32(1)
    low, high = 255, 0
    for y in range(top, bottom + 1):
        line = material.first + _wrap(y, height, material.wrap_v) * width
        for x in range(left, right + 1):
            alpha = alphas[np.uint64(line + _wrap(x, width, material.wrap_u))]
            low, high = min(low, alpha), max(high, alpha)
    return low * np.float32(1 / 255), high * np.float32(1 / 255)


@kernel
def alpha_ranges(face_material, materials, corners, alphas, out):
    """Fills ``out`` (f, 2) float32 with bounds of each face's alpha; (0, greatest) where to look would take long."""
    for f in range(len(face_material)):
        material, c = materials[face_material[f]], corners[f]
        low, high = np.float32(1), np.float32(1)
        if material.first != NO_TEXTURE and material.mode != OPAQUE:
            low, high = _texel_range(
                material, alphas, c[:, U].min(), c[:, U].max(), c[:, V].min(), c[:, V].max()
            )
        out[f, 0] = material.alpha * c[:, ALPHA].min() * low
        out[f, 1] = material.alpha * c[:, ALPHA].max() * high
