"""Numba kernels of `lora3d.data_prep.match`: what is compared of two small pictures, and how alike they are."""

from __future__ import annotations

import math

import numpy as np

from lora3d.compiled import njit
from lora3d.texels import helper, kernel

# Sums may be taken in any order, so that several are taken at once.
sums = njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})

# A Gaussian of deviation 1, cut at 4.
_WEIGHTS = np.exp(-0.5 * np.arange(-4, 5) ** 2)
GAUSS = (_WEIGHTS / _WEIGHTS.sum()).astype(np.float32)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@helper
def _reflected(i, n):
    return -1 - i if i < 0 else (2 * n - 1 - i if i >= n else i)


@kernel
def _blur(plane, out):
    """A square plane (s, s) float32 blurred by GAUSS into ``out``; its edges reflect."""
    size = len(plane)
    rows, padded = np.zeros(size, np.float32), np.zeros(size + 8, np.float32)
    for i in range(size):
        rows[:] = 0
        for k in range(9):
            source = _reflected(i + k - 4, size)
            for j in range(size):
                rows[j] += GAUSS[k] * plane[source, j]
        for j in range(-4, size + 4):
            padded[j + 4] = rows[_reflected(j, size)]
        out[i] = 0
        for k in range(9):
            for j in range(size):
                out[i, j] += GAUSS[k] * padded[j + k]


@helper
def _step(plane, i, j):
    """The larger step to the left and to the upper neighbour."""
    left = abs(plane[i, j] - plane[i, max(j - 1, 0)])
    return max(left, abs(plane[i, j] - plane[max(i - 1, 0), j]))


@kernel
def features(rgba, normals, brightness, cover, colour, edges):
    """Fills cover (n, s, s), colour (n, 4, s, s) and edges (n, 1, s, s) float32 from straight rgba (n, s, s, 4).

    Colours are blurred a little, but not mixed with the background: what differs from grey, and ``brightness``
    times luminance. normals (n, s, s, 3), or none: creases, half of what normals change, show in a drawing even
    where the colour does not change.
    """
    size = rgba.shape[1]
    plane, edge = np.empty((size, size), np.float32), np.empty((size, size), np.float32)
    for n in range(len(rgba)):
        cover[n] = rgba[n, :, :, 3]
        weight = np.empty((size, size), np.float32)
        _blur(cover[n], weight)
        edge[:] = 0
        for c in range(3):
            plane[:] = rgba[n, :, :, c] * cover[n]
            _blur(plane, colour[n, c])
            for i in range(size):
                for j in range(size):
                    colour[n, c, i, j] /= max(weight[i, j], np.float32(1e-3))
            for i in range(size):
                for j in range(size):
                    edge[i, j] = max(edge[i, j], _step(colour[n, c], i, j))
        for c in range(3 if len(normals) else 0):
            plane[:] = normals[n, :, :, c]
            for i in range(size):
                for j in range(size):
                    edge[i, j] = max(edge[i, j], np.float32(0.5) * _step(plane, i, j))
        _blur(edge, edges[n, 0])
        for i in range(size):
            for j in range(size):
                r, g, b = colour[n, 0, i, j], colour[n, 1, i, j], colour[n, 2, i, j]
                luma = LUMA[0] * r + LUMA[1] * g + LUMA[2] * b
                colour[n, 0, i, j], colour[n, 1, i, j], colour[n, 2, i, j] = r - luma, g - luma, b - luma
                colour[n, 3, i, j] = brightness * luma


@sums
def _moments(a, b, weight):
    """Sums over planes (s, s) of w, w a, w b, w a b, w a², w b²."""
    w = wa = wb = ab = aa = bb = np.float32(0)
    for i in range(len(a)):
        for j in range(len(a)):
            x, y = weight[i, j] * a[i, j], weight[i, j] * b[i, j]
            w += weight[i, j]
            wa += x
            wb += y
            ab += x * b[i, j]
            aa += x * a[i, j]
            bb += y * b[i, j]
    return np.float64(w), np.float64(wa), np.float64(wb), np.float64(ab), np.float64(aa), np.float64(bb)


@helper
def _correlation(a, b, weight):
    """Weighted correlation of pictures (c, s, s); near 0 where either is plain."""
    total = both = size_a = size_b = 0.0
    for c in range(len(a)):
        total, wa, wb, ab, aa, bb = _moments(a[c], b[c], weight)
        total += 1e-6
        both += ab - wa * wb / total
        size_a += aa - wa * wa / total
        size_b += bb - wb * wb / total
    return both / (math.sqrt(max(size_a, 0.0) * max(size_b, 0.0)) + 2e-3 * total)


@sums
def _overlap(a, b, both):
    """Fills the lesser of two coverages (s, s); returns its sum and that of the greater."""
    shared = either = np.float32(0)
    for i in range(len(a)):
        for j in range(len(a)):
            both[i, j] = min(a[i, j], b[i, j])
            shared += both[i, j]
            either += max(a[i, j], b[i, j])
    return shared, either


@helper
def _shrink(plane, rim, rows, out):
    """The least value within ``rim`` pixels in rows and columns of a plane (s, s)."""
    size = len(plane)
    for i in range(size):
        rows[i] = plane[i]
        for y in range(max(i - rim, 0), min(i + rim + 1, size)):
            for j in range(size):
                rows[i, j] = min(rows[i, j], plane[y, j])
    for i in range(size):
        for j in range(size):
            least = rows[i, j]
            for x in range(max(j - rim, 0), min(j + rim + 1, size)):
                least = min(least, rows[i, x])
            out[i, j] = least


@kernel
def compare(cover, colour, edges, target_cover, target_colour, target_edges, rim):
    """(n, 3) float64: IoU of the coverages, and the correlations of colours and of edges, ``rim`` pixels inside."""
    size = cover.shape[1]
    found = np.empty((len(cover), 3))
    both, rows, inner = np.empty((3, size, size), np.float32)
    for n in range(len(cover)):
        shared, either = _overlap(cover[n], target_cover, both)
        _shrink(both, rim, rows, inner)
        found[n, 0] = shared / max(either, np.float32(1e-6))
        found[n, 1] = _correlation(colour[n], target_colour, inner)
        found[n, 2] = _correlation(edges[n], target_edges, inner)
    return found
