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
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lora3d.camera import Array, rays
from lora3d.compiled import njit, prange
from lora3d.lift.views import UNKNOWN, GridViews
from lora3d.metrics import directions

HALF = 0.52
"""Half the side of the cube that is fused, in world units; objects lie in a ball of radius 0.5."""
THINNEST = 1.5
"""The least thickness of a sheet, in voxels: any thinner falls between them."""
JUMP = 3.0
"""Neighbouring pixels whose depths differ by more than this many pixels show different layers."""
SLACK = 0.75
"""How far an outline is off, in pixels, where another view sees the surface itself."""
BOUNDS = 90
"""Planes that stand in for the convex hull of what is seen."""
UNSEEN = -1e3
"""The distance to a surface that lies outside a view's frame."""


class Packed(NamedTuple):
    """`GridViews` for the kernels, and what follows from them; v views of t × t pixels, all float64.

    rotation (v, 3, 3), centre (v, 3), half (v,), perspective (v,) bool, depth (v, t, t): as there; cosine
    (v, t, t): between the line of sight and the surface's normal; beside (v, t, t): of a background pixel,
    the distance to the outline in pixels; pixel: a pixel's side at the origin, mean over views.
    """

    rotation: Array
    centre: Array
    half: Array
    perspective: Array
    depth: Array
    cosine: Array
    beside: Array
    pixel: float


def pack(views: GridViews) -> Packed:
    outside = np.isinf(views.depth)
    beside = np.stack([ndimage.distance_transform_edt(o) - 0.5 * o for o in outside])
    return Packed(
        views.rotation,
        views.centre,
        views.half,
        views.perspective,
        views.depth,
        _cosines(views),
        beside,
        views.pixel,
    )


def _cosines(views: GridViews) -> Array:
    """From the smaller of the two one-sided differences along each axis, so that edges are no slopes."""
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


@njit(cache=True, nogil=True, inline="always")
def project(views, v, x, y, z):
    """Where a point lies in view v: column and row in pixels (centres are integers), depth, a pixel's side."""
    dx, dy, dz = x - views.centre[v, 0], y - views.centre[v, 1], z - views.centre[v, 2]
    rotation = views.rotation[v]
    across = rotation[0, 0] * dx + rotation[1, 0] * dy + rotation[2, 0] * dz
    up = rotation[0, 1] * dx + rotation[1, 1] * dy + rotation[2, 1] * dz
    depth = -(rotation[0, 2] * dx + rotation[1, 2] * dy + rotation[2, 2] * dz)
    scale = views.half[v] * max(depth, 1e-6) if views.perspective[v] else views.half[v]
    size = views.depth.shape[1]
    column = (across / scale + 1.0) * 0.5 * size - 0.5
    row = (1.0 - up / scale) * 0.5 * size - 0.5
    return column, row, depth, 2.0 * scale / size


@njit(cache=True, nogil=True, inline="always")
def in_frame(column, row, depth, size):
    return depth > 0 and -0.5 <= column <= size - 0.5 and -0.5 <= row <= size - 0.5


@njit(cache=True, nogil=True)
def signed_distance(views, v, column, row, z, pixel, reach):
    """How far a point lies in front of (+) or behind (−) what view v shows; its surface alone; the cosine.

    Both distances are along the ray, in world units, at most `reach`; that to a surface of unknown depth
    is −inf. The four pixels about the point fall into a near and a far layer where depth jumps. What is
    shown is then (behind the near surface and within its outline) or behind the far one; the outline runs
    where bilinear coverage by the near layer is one half, which is exact for straight edges.
    """
    last = views.depth.shape[1] - 1
    left, top = math.floor(column), math.floor(row)
    c0, c1 = min(max(int(left), 0), last), min(max(int(left) + 1, 0), last)
    r0, r1 = min(max(int(top), 0), last), min(max(int(top) + 1, 0), last)
    fc, fr = column - left, row - top
    at = ((r0, c0), (r0, c1), (r1, c0), (r1, c1))
    w = ((1 - fr) * (1 - fc), (1 - fr) * fc, fr * (1 - fc), fr * fc)
    nearest = np.inf
    for r, c in at:
        nearest = min(nearest, views.depth[v, r, c])
    near, far, covered, cosine, beside = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(4):
        r, c = at[k]
        d = views.depth[v, r, c]
        beside += w[k] * views.beside[v, r, c]
        if d - nearest < JUMP * pixel:
            near += w[k] * d
            covered += w[k]
            cosine += w[k] * views.cosine[v, r, c]
        else:
            far += w[k] * min(max(d - z, -reach), reach)
    if nearest == np.inf:
        return min(beside * pixel, reach), reach, 1.0
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


@njit(cache=True, nogil=True)
def _contradicted(views, points, source, reach):
    """Which surface points (n, 3) of the views `source` another view calls free and no view confirms."""
    out = np.zeros(len(points), dtype=np.bool_)
    for i in range(len(points)):
        x, y, z = points[i]
        for v in range(len(views.depth)):
            if v == source[i]:
                continue
            column, row, at, side = project(views, v, x, y, z)
            if not in_frame(column, row, at, views.depth.shape[1]):
                continue
            s, _, _ = signed_distance(views, v, column, row, at, side, reach)
            if abs(s) < 1.5 * side:
                out[i] = False
                break
            out[i] |= s > 0
    return out


def surface_seen(views: GridViews) -> tuple[Array, float]:
    """Points (n, 3) on all that the pixels show, and the share of ghosts among the pixels, which are left out.

    A ghost is called free by another view by over 1.5 pixels, and confirmed by none. Their share tells how
    far the views disagree: 0.00 for true ones; about 0.05 for slightly blurred and noisy ones, 0.2 and 0.4
    where outlines are off by 1 and 2 pixels (root mean square). A pixel of unknown depth gives all points of
    its line of sight that no view calls free.
    """
    points, source, lines, through = [], [], [], []
    for v, camera in enumerate(views.cameras):
        origin, direction = rays(camera, views.depth.shape[1])
        depth = views.depth[v]
        shown, unknown = np.isfinite(depth) & (depth != UNKNOWN), depth == UNKNOWN
        points.append(origin[shown] + direction[shown] * depth[shown][:, None])
        source.append(np.full(shown.sum(), v))
        along = np.arange(-0.5, 0.5, views.pixel) + np.linalg.norm(views.centre[v])
        line = origin[unknown][:, None] + direction[unknown][:, None] * along[:, None]
        lines.append(line[np.linalg.norm(line, axis=-1) < 0.5])
        through.append(np.full(len(lines[-1]), v))
    packed, reach = pack(views), 8 * views.pixel
    ghost = _contradicted(packed, np.concatenate(points), np.concatenate(source), reach)
    free = _contradicted(packed, np.concatenate(lines), np.concatenate(through), reach)
    doubt = float(ghost.mean()) if len(ghost) else 0.0
    return np.concatenate([np.concatenate(points)[~ghost], np.concatenate(lines)[~free]]), doubt


@njit(cache=True, nogil=True, inline="always")
def _vote(s, d, cosine, band, pixel):
    """The field at a voxel: the farthest carve, or the balance of votes where there is support as well.

    A view carves with its distance, up to `band`; it supports from 0 at its surface up to `band`, and back to
    0 at twice that. Distances to surfaces are true ones (times the cosine), so that a view at a grazing
    angle, whose depth is coarse, counts for less. An outline carves four times its distance, once it is
    past the slack; a surface of unknown depth supports all along the ray, so weakly that it takes three
    such views to outvote a carve.
    """
    slack = 0.0
    for v in range(len(s)):
        if abs(d[v] * cosine[v]) < pixel:
            slack = SLACK * pixel
    free, support, best = 0.0, 0.0, -np.inf
    for v in range(len(s)):
        carve = s[v] * cosine[v] if s[v] == d[v] else 4.0 * (s[v] - slack)
        best = max(best, carve)
        if carve > 0:
            free += min(carve, band)
        elif d[v] == -np.inf:
            support += 0.4 * band
        elif -2 * band < d[v] < 0:
            support += min(min(-d[v] * cosine[v], band), 2 * band + d[v])
    return free - support if free > 0 and support > 0 else best


@njit(cache=True, nogil=True, inline="always")
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


@njit(cache=True, nogil=True, parallel=True)
def _fuse(views, facing, n, band, step):
    field = np.empty((n, n, n), dtype=np.float32)
    count, size = views.depth.shape[0], views.depth.shape[1]
    cross = 4.0 * step
    reach = max(cross, band)
    for i in prange(n):
        s, d, cosine = np.empty(count), np.empty(count), np.ones(count)
        x = i * step - HALF
        for j in range(n):
            y = j * step - HALF
            for k in range(n):
                z = k * step - HALF
                seen = False
                for v in range(count):
                    # What lies outside a frame is unknown to that view: neither carved nor supported.
                    s[v], d[v] = -reach, UNSEEN
                    column, row, at, side = project(views, v, x, y, z)
                    if in_frame(column, row, at, size):
                        s[v], d[v], cosine[v] = signed_distance(views, v, column, row, at, side, reach)
                        seen = True
                value = reach  # where no view looks, there is nothing
                if seen:
                    value = _vote(s, d, cosine, band, views.pixel)
                    value = min(value, _sheet(s, d, facing, THINNEST * step, cross))
                field[i, j, k] = min(max(value, -reach), reach)
    return field


@njit(cache=True, nogil=True, parallel=True)
def _bound(field, planes, bounds, step):
    """Raises the field to the distance beyond the farthest of the planes, in place."""
    n = len(field)
    for i in prange(n):
        for j in range(n):
            for k in range(n):
                value = field[i, j, k]
                if value < 0:
                    for m in range(len(bounds)):
                        x, y, z = i * step - HALF, j * step - HALF, k * step - HALF
                        along = planes[m, 0] * x + planes[m, 1] * y + planes[m, 2] * z
                        value = max(value, along - bounds[m])
                    field[i, j, k] = value


def signed_field(views: GridViews, resolution: int) -> tuple[Array, float]:
    """The field (resolution,)³ float32 in world units, indexed x, y, z, over [−HALF, HALF]³; inside is below 0.

    Also returns the share of ghosts, see `surface_seen`; it sets the band of the vote from 1 to 6 pixels.
    """
    points, doubt = surface_seen(views)
    band = min(1 + 25 * max(doubt - 0.05, 0.0), 6.0) * views.pixel
    back = views.rotation[:, :, 2]
    step = 2 * HALF / (resolution - 1)
    field = _fuse(pack(views), np.ascontiguousarray(back @ back.T), resolution, band, step)
    # Half a voxel smooths the steps that pixels leave, and spares sheets of the least thickness.
    field = ndimage.gaussian_filter(field, 0.5)
    # Space that no view looks into, behind the object or beyond the frames, would count as solid. What lies
    # outside the convex hull of all that is seen, here of planes, is empty.
    planes = np.concatenate([np.eye(3), -np.eye(3), directions(BOUNDS)])
    _bound(field, planes, (points @ planes.T).max(axis=0, initial=-1.0) + views.pixel, step)
    return field, doubt
