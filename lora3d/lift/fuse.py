"""Depth views to a signed field on a voxel grid, below 0 inside the object.

Each view says of a voxel how far in front of its surface (free) or behind it (unseen) the voxel lies. What
no view has seen to be free is solid (space carving; Curless and Levoy 1996, section 4), so that six views
close an object without holes. Two changes make that work for generated views and for thin parts:

- Carving and support are kept apart. Where one view calls free what lies just behind the surface of others,
  they vote, over a band as wide as the views are found to disagree. True views agree, and carve exactly.
- Two opposite views whose surfaces lie closer than a voxel can show have seen a sheet. It is kept midway
  between them, at the least thickness, whatever the views say that see it edge-on and miss it.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from scipy import ndimage

from lora3d.camera import Array, rays
from lora3d.lift.views import UNKNOWN, DepthViews

HALF = 0.52
"""Half the side of the cube that is fused, in world units; objects lie in a ball of radius 0.5."""
SLACK = 0.75
THINNEST = 1.5
"""The least thickness of a sheet, in voxels: any thinner falls between them."""


@numba.njit(cache=True, nogil=True, inline="always")
def project(rotation, centre, half, perspective, size, x, y, z):
    """Column and row in pixels (centres are integers), depth, and a pixel's side at that depth."""
    dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
    across = rotation[0, 0] * dx + rotation[1, 0] * dy + rotation[2, 0] * dz
    up = rotation[0, 1] * dx + rotation[1, 1] * dy + rotation[2, 1] * dz
    depth = -(rotation[0, 2] * dx + rotation[1, 2] * dy + rotation[2, 2] * dz)
    scale = half * max(depth, 1e-6) if perspective else half
    column = (across / scale + 1.0) * 0.5 * size - 0.5
    row = (1.0 - up / scale) * 0.5 * size - 0.5
    return column, row, depth, 2.0 * scale / size


@numba.njit(cache=True, nogil=True, inline="always")
def in_frame(column, row, depth, size):
    return depth > 0 and -0.5 <= column <= size - 0.5 and -0.5 <= row <= size - 0.5


@numba.njit(cache=True, nogil=True)
def signed_distance(depth, slant, margin, column, row, z, pixel, reach):
    """How far a point lies in front of (+) or behind (−) what one view shows; of its surface there alone; cosine.

    Along the ray, in world units, at most `reach`; the cosine is the surface's, from `slant`. The four
    pixels about the point fall into a near and a far layer where depth jumps. What is shown is then (behind the near surface and within its outline) or
    behind the far one; the outline runs where bilinear coverage by the near layer is one half, which is
    exact for straight edges.
    """
    size = depth.shape[0]
    left, top = math.floor(column), math.floor(row)
    c0, c1 = min(max(int(left), 0), size - 1), min(max(int(left) + 1, 0), size - 1)
    r0, r1 = min(max(int(top), 0), size - 1), min(max(int(top) + 1, 0), size - 1)
    fc, fr = column - left, row - top
    d = (depth[r0, c0], depth[r0, c1], depth[r1, c0], depth[r1, c1])
    c = (slant[r0, c0], slant[r0, c1], slant[r1, c0], slant[r1, c1])
    w = ((1 - fr) * (1 - fc), (1 - fr) * fc, fr * (1 - fc), fr * fc)
    nearest = min(min(d[0], d[1]), min(d[2], d[3]))
    if nearest == np.inf:
        beside = w[0] * margin[r0, c0] + w[1] * margin[r0, c1] + w[2] * margin[r1, c0] + w[3] * margin[r1, c1]
        return min(beside * pixel, reach), reach, 1.0
    near, far, covered, cosine = 0.0, 0.0, 0.0, 0.0
    for k in range(4):
        if d[k] - nearest < 3.0 * pixel:
            near += w[k] * d[k]
            covered += w[k]
            cosine += w[k] * c[k]
        else:
            far += w[k] * min(max(d[k] - z, -reach), reach)
    surface = -np.inf
    if nearest != UNKNOWN:
        surface = min((near / covered if covered > 0 else nearest) - z, reach)
    cosine = cosine / covered if covered > 0 else 1.0
    if covered > 1.0 - 1e-9:
        return surface, surface, cosine
    outline = (0.5 - covered) * pixel
    far /= 1.0 - covered
    s = min(max(surface, outline), far)
    return (s, surface, cosine) if outline < 0 else (s, far, 1.0)


@numba.njit(cache=True, nogil=True)
def _contradicted(rotation, centre, half, perspective, depth, slant, margin, points, source, reach):
    """Which surface points (n, 3) of the views `source` another view calls free and no view confirms."""
    out = np.zeros(len(points), dtype=np.bool_)
    size = depth.shape[1]
    for i in range(len(points)):
        x, y, z = points[i]
        for v in range(len(depth)):
            if v == source[i]:
                continue
            column, row, at, pixel = project(rotation[v], centre[v], half[v], perspective[v], size, x, y, z)
            if not in_frame(column, row, at, size):
                continue
            s, _, _ = signed_distance(depth[v], slant[v], margin[v], column, row, at, pixel, reach)
            if abs(s) < 1.5 * pixel:
                out[i] = False
                break
            out[i] |= s > 0
    return out


def cosines(views: DepthViews) -> Array:
    """The cosine between the line of sight and the surface's normal at each pixel, (v, t, t) in (0, 1].

    From the smaller of the two one-sided differences along each axis, so that edges do not count as slopes.
    """
    shown = np.isfinite(views.depth) & (views.depth != UNKNOWN)
    depth = np.where(shown, views.depth, np.nan)
    squares = np.zeros_like(depth)
    for axis in (1, 2):
        after = np.abs(np.diff(depth, axis=axis, append=np.nan))
        before = np.abs(np.diff(depth, axis=axis, prepend=np.nan))
        squares += np.nan_to_num(np.fmin(after, before)) ** 2
    away = np.where(shown & views.perspective[:, None, None], views.depth, 1.0)
    pixel = 2 * views.half[:, None, None] * away / depth.shape[1]
    return 1 / np.sqrt(1 + squares / pixel**2)


def disagreement(views: DepthViews) -> float:
    """The share of seen surface that another view calls free by over 1.5 pixels, and none confirms.

    0.00 for true views; about 0.05 for slightly blurred and noisy ones, 0.2 and 0.4 where outlines are off by
    1 and 2 pixels (root mean square).
    """
    points, source = [], []
    for v, camera in enumerate(views.cameras):
        shown = np.isfinite(views.depth[v]) & (views.depth[v] != UNKNOWN)
        origin, direction = rays(camera, views.depth.shape[1])
        points.append(origin[shown] + direction[shown] * views.depth[v][shown][:, None])
        source.append(np.full(shown.sum(), v))
    found = _contradicted(*_arrays(views), np.concatenate(points), np.concatenate(source), 8 * views.pixel)
    return float(found.mean()) if len(found) else 0.0


@numba.njit(cache=True, nogil=True, inline="always")
def _vote(s, d, cosine, band, pixel):
    """The field at a voxel: the farthest carve, or the balance of votes where there is support as well.

    A view carves with its distance, up to `band`; it supports from 0 at its surface up to `band`, and back to
    0 at twice that. Where it knows no depth it supports all along the ray, so weakly that it takes three
    such views to outvote a carve.
    """
    slack = 0.0
    for v in range(len(s)):
        if abs(d[v] * cosine[v]) < pixel:
            slack = SLACK * pixel
    free, support, best = 0.0, 0.0, -np.inf
    for v in range(len(s)):
        # True distances, so that a view at a grazing angle, whose depth is coarse, counts for less.
        carve = s[v] * cosine[v] if s[v] == d[v] else 4.0 * (s[v] - slack)
        best = max(best, carve)
        if carve > 0:
            free += min(carve, band)
        elif d[v] == -np.inf:
            support += 0.4 * band
        elif -2 * band < d[v] < 0:
            support += min(min(-d[v] * cosine[v], band), 2 * band + d[v])
    return free - support if free > 0 and support > 0 else best


@numba.njit(cache=True, nogil=True, inline="always")
def _sheet(s, d, facing, thinnest, cross):
    """The field of a sheet that two opposite views see at this voxel; inf where there is none.

    With d the distances to the two surfaces, −(d₁ + d₂) is the thickness; below `thinnest` (noise makes it
    negative) a sheet of that thickness takes their middle. Views from the side are not asked.
    """
    value = np.inf
    for a in range(len(s)):
        for b in range(a):
            thickness = -(d[a] + d[b])
            if facing[a, b] > -0.7 or abs(d[a]) > cross or abs(d[b]) > cross:
                continue
            if thickness > thinnest or thickness < -cross:
                continue
            sheet = (abs(d[a] - d[b]) - thinnest) / 2
            for v in range(len(s)):
                within = s[v] <= d[v] if v == a or v == b else abs(facing[a, v]) <= 0.5
                if not within:
                    sheet = max(sheet, s[v])
            value = min(value, sheet)
    return value


@numba.njit(cache=True, nogil=True, parallel=True)
def _fuse(rotation, centre, half, perspective, depth, slant, margin, facing, n, band, pixel, step):
    field = np.empty((n, n, n), dtype=np.float32)
    views, size = depth.shape[0], depth.shape[1]
    cross = 4.0 * step
    reach = max(cross, band)
    for i in numba.prange(n):
        s, d, cosine = np.empty(views), np.empty(views), np.ones(views)
        x = i * step - HALF
        for j in range(n):
            y = j * step - HALF
            for k in range(n):
                z = k * step - HALF
                seen = False
                for v in range(views):
                    # What lies outside a frame is unknown to that view: neither carved nor supported.
                    s[v], d[v] = -reach, -1e3
                    column, row, at, side = project(
                        rotation[v], centre[v], half[v], perspective[v], size, x, y, z
                    )
                    if in_frame(column, row, at, size):
                        s[v], d[v], cosine[v] = signed_distance(
                            depth[v], slant[v], margin[v], column, row, at, side, reach
                        )
                        seen = True
                if not seen:
                    field[i, j, k] = reach  # no view looks here
                    continue
                value = min(_vote(s, d, cosine, band, pixel), _sheet(s, d, facing, THINNEST * step, cross))
                field[i, j, k] = min(max(value, -reach), reach)
    return field


def _arrays(views: DepthViews) -> tuple[Array, ...]:
    outside = np.isinf(views.depth)
    margin = np.stack([ndimage.distance_transform_edt(o) - 0.5 * o for o in outside])
    return views.rotation, views.centre, views.half, views.perspective, views.depth, cosines(views), margin


def signed_field(views: DepthViews, resolution: int, doubt: float) -> Array:
    """The field (resolution,)³ float32 in world units, indexed x, y, z, over [−HALF, HALF]³; inside is below 0.

    doubt: `disagreement` of the views, which sets the band of the vote from 1 to 6 pixels.
    """
    band = min(1 + 25 * max(doubt - 0.05, 0.0), 6.0) * views.pixel
    back = views.rotation[:, :, 2]
    step = 2 * HALF / (resolution - 1)
    field = _fuse(*_arrays(views), np.ascontiguousarray(back @ back.T), resolution, band, views.pixel, step)
    # Half a voxel smooths the steps that pixels leave, and spares sheets of the least thickness.
    return ndimage.gaussian_filter(field, 0.5)
