"""Closed solids for the procedural shapes: outlines, lofts, lathes, sweeps, and what bends them.

Every builder winds its faces outward. Unless said otherwise a solid stands on z = 0, centred in x and y.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import mapbox_earcut
import numpy as np

Array = np.ndarray
Points = Sequence[tuple[float, float]] | Array
Path = Sequence[Sequence[float]] | Sequence[Array] | Array


@dataclass(frozen=True, eq=False)
class Solid:
    """A closed triangle mesh.

    Attributes:
        v: (n, 3) float64 vertices.
        f: (m, 3) int64 faces, counter-clockwise seen from outside.
        round: its texture runs around the vertical axis instead of over the sides of a box.
    """

    v: Array
    f: Array
    round: bool = False

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Solid:
        """Moved."""
        return replace(self, v=np.add(self.v, (x, y, z)))

    def size(self, x: float, y: float, z: float) -> Solid:
        """Scaled about the origin; a mirror image keeps its faces outward."""
        f = self.f if x * y * z > 0 else self.f[:, ::-1]
        return replace(self, v=self.v * (x, y, z), f=f)

    def mirror(self) -> Solid:
        """The left-right mirror image (x → −x)."""
        return self.size(-1.0, 1.0, 1.0)

    def turn(self, axis: str, deg: float) -> Solid:
        """Rotated about a world axis through the origin, counter-clockwise seen from its tip."""
        return replace(self, v=self.v @ rotation(axis, deg).T, round=self.round and axis == "z")

    def fit(self, x: float, y: float, z: float) -> Solid:
        """Scaled and moved so that its bounding box has this size, stands on 0 and is centred."""
        low, high = self.v.min(0), self.v.max(0)
        scale = np.array((x, y, z)) / np.maximum(high - low, 1e-6)
        centre = (low + high) / 2
        centre[2] = low[2]
        return replace(self, v=(self.v - centre) * scale)


def rotation(axis: str, deg: float) -> Array:
    """(3, 3) float64, about x, y or z."""
    c, s = math.cos(math.radians(deg)), math.sin(math.radians(deg))
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def join(solids: Sequence[Solid]) -> Solid:
    """Several solids as one."""
    counts = np.cumsum([0] + [len(s.v) for s in solids])
    f = np.concatenate([s.f + n for s, n in zip(solids, counts, strict=False)])
    return Solid(np.concatenate([s.v for s in solids]), f, solids[0].round)


# Topologies


@cache
def _circle(n: int, phase: float = 0.0) -> Array:
    angle = [2 * math.pi * (i + phase) / n for i in range(n)]
    return np.array([(math.cos(a), math.sin(a)) for a in angle])


@cache
def _wall(k: int, n: int, closed: bool) -> Array:
    """Faces of k rings of n points; rings run counter-clockwise seen from the end they run to."""
    i, j = np.divmod(np.arange((k if closed else k - 1) * n), n)
    a, b = i * n + j, i * n + (j + 1) % n
    up = ((i + 1) % k - i) * n
    return np.concatenate([np.stack([a, b, b + up], 1), np.stack([a, b + up, a + up], 1)])


@cache
def _fan(n: int, start: int, flip: bool) -> Array:
    i = np.arange(1, n - 1)
    fan = np.stack([np.zeros_like(i), i, i + 1], 1) + start
    return fan[:, ::-1] if flip else fan


@cache
def _loft_faces(k: int, n: int) -> Array:
    return np.concatenate([_wall(k, n, False), _fan(n, 0, True), _fan(n, (k - 1) * n, False)])


@cache
def _lathe_faces(k: int, n: int, foot: bool, tip: bool) -> Array:
    """Faces of k rings of n points, after which come the pole at the foot and that at the tip."""
    j = np.arange(n)
    parts = [_wall(k, n, False)]
    last = (k - 1) * n
    if foot:
        parts.append(np.stack([np.full(n, k * n), (j + 1) % n, j], 1))
    else:
        parts.append(_fan(n, 0, True))
    if tip:
        parts.append(np.stack([np.full(n, k * n + foot), last + j, last + (j + 1) % n], 1))
    else:
        parts.append(_fan(n, last, False))
    return np.concatenate(parts)


# Builders


def loft(rings: Array | Sequence[Array], *, closed: bool = False) -> Solid:
    """A skin over convex rings (k, n, 3), counter-clockwise seen from the end they run to, with caps."""
    rings = np.asarray(rings, dtype=np.float64)
    k, n = rings.shape[:2]
    return Solid(rings.reshape(-1, 3), _wall(k, n, True) if closed else _loft_faces(k, n))


def box(x: float, y: float, z: float, *, top: float = 1.0, cuts: int = 0) -> Solid:
    """A box; `top` scales its upper side, `cuts` more rings let it be bent."""
    square = np.array([(-x, -y), (x, -y), (x, y), (-x, y)]) / 2
    if not cuts:
        rings = np.zeros((2, 4, 3))
        rings[0, :, :2] = square
        rings[1, :, :2] = square * top
        rings[1, :, 2] = z
        return loft(rings)
    side = np.linspace(0, 1, cuts + 1)[:-1, None]
    ring = np.concatenate([square[i] + (square[(i + 1) % 4] - square[i]) * side for i in range(4)])
    t = np.linspace(0, 1, cuts + 2)[:, None, None]
    flat = ring * (1 + (top - 1) * t)
    return loft(np.concatenate([flat, np.broadcast_to(t * z, (*flat.shape[:2], 1))], axis=2))


def soft_box(x: float, y: float, z: float, r: float, *, steps: int = 1) -> Solid:
    """A box with its edges chamfered (steps 1) or rounded by r."""
    r = min(r, 0.499 * min(x, y, z))
    corner = np.repeat(np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], dtype=np.float64), steps + 1, axis=0)
    middle = corner * (x / 2 - r, y / 2 - r)
    turn = [math.pi / 2 * i / steps for i in range(steps + 1)]
    arc = np.array([(math.cos(a), math.sin(a)) for a in turn])
    out = np.concatenate([arc @ rotation("z", 90.0 * q)[:2, :2].T for q in range(4)])
    rings = []
    for low in (True, False):
        for a in turn if not low else reversed(turn):
            # A sliver of the corner stays at the caps, so that no edge of the ring has length 0.
            flat = middle + out * r * max(math.cos(a), 0.02)
            height = r - r * math.sin(a) if low else z - r + r * math.sin(a)
            rings.append(np.column_stack([flat, np.full(len(flat), height)]))
    return loft(rings)


def lathe(profile: Points, n: int = 12, *, closed: bool = False, phase: float = 0.0) -> Solid:
    """A profile of (radius, z) turned about the z axis: upward on the outside, downward inside.

    Radius 0 at an end makes a pole; otherwise the end is capped. `closed` joins the last point to the
    first (a ring).
    """
    points = np.asarray(profile, dtype=np.float64)
    circle = _circle(n, phase)
    if closed:
        rings = np.empty((len(points), n, 3))
        rings[..., :2] = points[:, None, :1] * circle
        rings[..., 2] = points[:, 1:]
        return Solid(rings.reshape(-1, 3), _wall(len(points), n, True), True)
    foot, tip = points[0, 0] < 1e-9, points[-1, 0] < 1e-9
    inner = points[int(foot) : len(points) - int(tip)]
    k = len(inner)
    v = np.zeros((k * n + foot + tip, 3))
    v[: k * n, :2] = (inner[:, None, :1] * circle).reshape(-1, 2)
    v[: k * n, 2] = np.repeat(inner[:, 1], n)
    if foot:
        v[k * n, 2] = points[0, 1]
    if tip:
        v[-1, 2] = points[-1, 1]
    return Solid(v, _lathe_faces(k, n, bool(foot), bool(tip)), True)


def cylinder(r: float, h: float, n: int = 12, *, top: float = 1.0) -> Solid:
    """A cylinder, frustum (`top` scales the upper radius) or cone (top 0)."""
    return lathe([(r, 0), (r * top, h)] if top > 0 else [(r, 0), (0, h)], n)


def sphere(r: float, n: int = 12, m: int = 7, *, share: float = 1.0) -> Solid:
    """A sphere that stands on 0; `share` < 1 keeps only its upper part (0.5: a dome)."""
    low = math.pi * share
    points = [(r * math.sin(low - low * i / m), r * math.cos(low - low * i / m)) for i in range(m + 1)]
    floor = points[0][1]
    points = [(x, z - floor) for x, z in points]
    points[-1] = (0.0, points[-1][1])
    if share == 1.0:
        points[0] = (0.0, 0.0)
    return lathe(points, n)


def capsule(r: float, h: float, n: int = 10, m: int = 3) -> Solid:
    """A cylinder with round ends, h tall in all."""
    r = min(r, h / 2)
    arc = [math.pi / 2 * i / m for i in range(m + 1)]
    low = [(r * math.sin(a), r - r * math.cos(a)) for a in arc]
    high = [(r * math.cos(a), h - r + r * math.sin(a)) for a in arc]
    high[-1] = (0.0, h)
    return lathe(low + high, n)


def ring(r: float, tube: float, n: int = 16, m: int = 8) -> Solid:
    """A torus that lies on the ground: r to the middle of the tube."""
    return lathe(_circle(m) * tube + (r, tube), n, closed=True)


def pipe(r: float, h: float, wall: float, n: int = 14) -> Solid:
    """A hollow cylinder, open at both ends."""
    return lathe([(r, 0), (r, h), (r - wall, h), (r - wall, 0)], n, closed=True)


def extrude(outline: Points, h: float, *, holes: Sequence[Points] = (), top: float = 1.0) -> Solid:
    """A simple polygon (counter-clockwise) pulled up by h; holes are clockwise or not, as they come."""
    loops = [np.asarray(outline, dtype=np.float64)]
    loops += [oriented(np.asarray(hole, dtype=np.float64), False) for hole in holes]
    flat = np.concatenate(loops)
    ends = np.cumsum([len(loop) for loop in loops]).astype(np.uint32)
    cap = mapbox_earcut.triangulate_float64(flat, ends).reshape(-1, 3).astype(np.int64)
    # Earcut does not promise an orientation: take that of the triangles' summed area.
    a, b, c = flat[cap[:, 0]], flat[cap[:, 1]], flat[cap[:, 2]]
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    if area.sum() < 0:
        cap = cap[:, ::-1]
    n = len(flat)
    faces = [cap[:, ::-1], cap + n]
    start = 0
    for loop in loops:
        i = np.arange(len(loop))
        j, k = start + i, start + (i + 1) % len(loop)
        faces += [np.stack([j, k, k + n], 1), np.stack([j, k + n, j + n], 1)]
        start += len(loop)
    v = np.zeros((2 * n, 3))
    v[:n, :2] = flat
    v[n:, :2] = flat * top
    v[n:, 2] = h
    return Solid(v, np.concatenate(faces))


def plate_y(outline: Points, depth: float, *, holes: Sequence[Points] = ()) -> Solid:
    """An outline in (x, z), seen from the front, pulled along y and centred there."""
    s = extrude(outline, depth, holes=holes)
    return Solid(np.stack([s.v[:, 0], depth / 2 - s.v[:, 2], s.v[:, 1]], 1), s.f)


def plate_x(outline: Points, width: float, *, holes: Sequence[Points] = ()) -> Solid:
    """An outline in (y, z), a side view whose front is at −y, pulled along x and centred there."""
    s = extrude(outline, width, holes=holes)
    return Solid(np.stack([s.v[:, 2] - width / 2, s.v[:, 0], s.v[:, 1]], 1), s.f)


def sweep(
    path: Path, section: Array, scale: Sequence[float] | Array | float = 1.0, *, closed: bool = False
) -> Solid:
    """A convex section (n, 2), counter-clockwise, moved along a path (k, 3); `scale` per point."""
    p = np.asarray(path, dtype=np.float64)
    if closed:
        t = np.roll(p, -1, 0) - np.roll(p, 1, 0)
    else:
        t = np.empty_like(p)
        t[1:-1] = p[2:] - p[:-2]
        t[0], t[-1] = p[1] - p[0], p[-1] - p[-2]
    t /= np.sqrt((t * t).sum(1, keepdims=True)) + 1e-12
    # The axis that the path least runs along keeps the frames from flipping; ties go to the last.
    lean = np.abs(t).max(0) - (0.0, 1e-6, 2e-6)
    ref = np.eye(3)[int(np.argmin(lean))]
    n1 = np.cross(ref, t)
    n1 /= np.sqrt((n1 * n1).sum(1, keepdims=True)) + 1e-12
    n2 = np.cross(t, n1)
    s = np.broadcast_to(np.asarray(scale, dtype=np.float64), (len(p),))[:, None, None]
    rings = p[:, None] + s * (section[:, :1] * n1[:, None] + section[:, 1:] * n2[:, None])
    return loft(rings, closed=closed)


def tube(path: Path, r: float | Sequence[float] | Array, n: int = 6, *, closed: bool = False) -> Solid:
    """A round sweep with radius r, or one radius a point."""
    return sweep(path, _circle(n, 0.5), r, closed=closed)


def rod(a: Sequence[float], b: Sequence[float], r: float, n: int = 6, *, top: float = 1.0) -> Solid:
    """A straight round bar from a to b."""
    return tube([a, b], [r, r * top], n)


def beam(a: Sequence[float], b: Sequence[float], w: float, h: float) -> Solid:
    """A straight square bar from a to b, w by h across."""
    return sweep([a, b], np.array([(-w, -h), (w, -h), (w, h), (-w, h)]) / 2)


def heightfield(z: Array) -> Solid:
    """Heights (n, m) over the unit square centred on the origin, closed down to z = 0."""
    n, m = z.shape
    y, x = np.meshgrid(np.linspace(-0.5, 0.5, n), np.linspace(-0.5, 0.5, m), indexing="ij")
    top = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    faces, edge = _field_faces(n, m)
    low = top[edge] * (1.0, 1.0, 0.0)
    return Solid(np.concatenate([top, low]), faces)


@cache
def _field_faces(n: int, m: int) -> tuple[Array, Array]:
    index = np.arange(n * m).reshape(n, m)
    a, b, c, d = (q.ravel() for q in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    edge = np.concatenate([index[0, :-1], index[:-1, -1], index[-1, :0:-1], index[:0:-1, 0]])
    k = len(edge)
    low = n * m + np.arange(k)
    faces = [np.stack([a, b, c], 1), np.stack([a, c, d], 1)]
    faces += [
        np.stack([low, np.roll(low, -1), np.roll(edge, -1)], 1),
        np.stack([low, np.roll(edge, -1), edge], 1),
    ]
    faces.append(_fan(k, n * m, True))
    return np.concatenate(faces), edge


# Outlines: counter-clockwise, about 1 across


def oriented(p: Array, counter: bool) -> Array:
    """The polygon (n, 2), counter-clockwise or clockwise as wanted."""
    x, y = p[:, 0], p[:, 1]
    positive = float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) > 0
    return p if positive == counter else p[::-1]


def disc(r: float, n: int = 16, phase: float = 0.0) -> Array:
    """A regular polygon (n, 2)."""
    return _circle(n, phase) * r


def rect(x: float, y: float) -> Array:
    """A rectangle (4, 2) centred on the origin."""
    return np.array([(-x, -y), (x, -y), (x, y), (-x, y)]) / 2


def rounded(x: float, y: float, r: float, steps: int = 3) -> Array:
    """A rectangle x by y whose corners are rounded by r, (4 steps + 4, 2)."""
    r = min(r, 0.499 * min(x, y)) if r > 0 else 0.0
    corners = ((1, 1), (-1, 1), (-1, -1), (1, -1))
    points = []
    for q, (sx, sy) in enumerate(corners):
        for i in range(steps + 1):
            a = math.pi / 2 * (q + i / steps)
            points.append((sx * (x / 2 - r) + r * math.cos(a), sy * (y / 2 - r) + r * math.sin(a)))
    return np.array(points)


def star(n: int, inner: float, outer: float = 0.5) -> Array:
    """A star with n points, or a cog where a caller doubles them."""
    p = _circle(2 * n, 0.5) * outer
    p[1::2] *= inner / outer
    return p


def gear(n: int, depth: float) -> Array:
    """A cog wheel with n teeth, radius 0.5."""
    p = _circle(4 * n) * 0.5
    p[2::4] *= 1 - depth
    p[3::4] *= 1 - depth
    return p
