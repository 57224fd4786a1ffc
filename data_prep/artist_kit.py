"""The hand of the demo artist: five colours, a few ways to make a part, and what every model wears.

Eight-sided bodies in steps, deep indigo on a night-blue plinth; a coral foot, a turquoise belt, a cream
crown with a coral tip; and one round eye that looks to the front.
Every part is a closed surface with its faces outward; parts may run through each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lora3d.camera import Array
from lora3d.mesh import Material, Mesh

PALETTE: dict[str, tuple[int, int, int]] = {  # sRGB, 8 bits
    "night": (24, 18, 62),
    "indigo": (64, 46, 150),
    "coral": (255, 104, 76),
    "cream": (255, 230, 178),
    "turquoise": (32, 210, 192),
}
NIGHT, INDIGO, CORAL, CREAM, TURQUOISE = range(5)
Band = tuple[float, float, float, int]  # lower radius, upper radius, height, colour


@dataclass(frozen=True, eq=False)
class Part:
    """A closed surface: vertices (v, 3), faces (f, 3) counter-clockwise from outside, colour (f,) each."""

    vertices: Array
    faces: Array
    color: Array


def to_mesh(parts: Sequence[Part]) -> Mesh:
    """All parts as one mesh of flat facets, one plain material a colour."""
    offsets = np.cumsum([0, *(len(p.vertices) for p in parts)])
    return Mesh(
        vertices=np.concatenate([p.vertices for p in parts]).astype(np.float32),
        faces=np.concatenate([p.faces + n for p, n in zip(parts, offsets, strict=False)]).astype(np.int32),
        face_material=np.concatenate([p.color for p in parts]).astype(np.int32),
        materials=tuple(
            Material(name, (_linear(r), _linear(g), _linear(b), 1.0)) for name, (r, g, b) in PALETTE.items()
        ),
    )


def _linear(value: int) -> float:
    """sRGB in 8 bits to linear (IEC 61966-2-1)."""
    c = value / 255
    return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4


# --- four ways to make a part --------------------------------------------------------------------------


def stack(bands: Sequence[Band], *, sides: int = 8, at=(0.0, 0.0, 0.0), wide: float = 1.0) -> Part:
    """Frustums on each other along +Z from ``at``; a radius reaches to the flat side, so that y = −r is one.

    Where radii differ, a flat step in the wider band's colour closes the gap. ``wide`` stretches x.
    """
    z = 0.0
    rings: list[tuple[float, float]] = []
    colors: list[int] = []  # colors[i] is the strip from ring i to ring i + 1
    for lower, upper, height, color in bands:
        if rings and rings[-1][0] == lower:
            rings.pop()
        elif rings:
            colors.append(colors[-1] if rings[-1][0] > lower else color)
        rings += [(lower, z), (upper, z + height)]
        colors.append(color)
        z += height
    angle = (np.arange(sides) + 0.5) / sides * 2 * np.pi - np.pi / 2
    circle = np.stack([np.cos(angle) * wide, np.sin(angle)], axis=1) / math.cos(math.pi / sides)
    loops = [np.column_stack([circle * r, np.full(sides, h)]) for r, h in rings]
    return _skin(loops, colors, at)


def tube(points: Sequence[Sequence[float]], radii: Sequence[float], color: int, *, sides: int = 6) -> Part:
    """A round bar along a line of points (n, 3); a radius of 0 at an end makes it a tip."""
    path = np.asarray(points, dtype=np.float64)
    ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    angle = np.arange(sides) / sides * 2 * np.pi
    loops = []
    across = np.array([0.0, 1.0, 0.0]) if abs(ahead[0, 1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    for point, direction, radius in zip(path, ahead, radii, strict=True):
        u = across - direction * (across @ direction)  # carried along, so that the bar does not twist
        u /= np.linalg.norm(u)
        across, v = u, np.cross(direction, u)
        loops.append(point + radius * (np.cos(angle)[:, None] * u + np.sin(angle)[:, None] * v))
    return _skin(loops, [color] * (len(path) - 1), (0.0, 0.0, 0.0))


def hoop(radius: float, thick: float, color: int, *, at=(0.0, 0.0, 0.0), sides: int = 6) -> Part:
    """A torus that faces the front (about Y)."""
    turns = 16
    a = np.arange(turns) / turns * 2 * np.pi
    b = np.arange(sides) / sides * 2 * np.pi
    reach = radius + thick * np.cos(b)[None, :]
    x, z = np.cos(a)[:, None] * reach, np.sin(a)[:, None] * reach
    y = np.broadcast_to(-thick * np.sin(b)[None, :], x.shape)
    index = np.arange(turns * sides).reshape(turns, sides)
    i, j = index, np.roll(index, -1, axis=0)
    faces = _quads(i.ravel(), j.ravel(), np.roll(j, -1, axis=1).ravel(), np.roll(i, -1, axis=1).ravel())
    vertices = np.stack([x, y, z], axis=-1).reshape(-1, 3) + np.asarray(at)
    return Part(vertices, faces, np.full(len(faces), color))


def ball(radius: float, color: int, *, at=(0.0, 0.0, 0.0), rows: int = 5, tall: float = 1.0) -> Part:
    """An eight-sided globe of flat rings about ``at``."""
    edge = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)
    r, z = np.cos(edge) * radius, np.sin(edge) * radius * tall
    r[[0, -1]] = 0.0
    bands = [(float(r[i]), float(r[i + 1]), float(z[i + 1] - z[i]), color) for i in range(rows)]
    return stack(bands, at=(at[0], at[1], at[2] + float(z[0])))


def _skin(loops: Sequence[Array], colors: Sequence[int], at) -> Part:
    """Loops of equally many points, joined by strips and closed at both ends."""
    n = len(loops[0])
    ends = [loops[0].mean(axis=0), loops[-1].mean(axis=0)]
    strips = [(i, loops[i], loops[i + 1], c) for i, c in enumerate(colors)]
    vertices = np.concatenate([*loops, ends]) + np.asarray(at)
    start, stop = len(loops) * n, len(loops) * n + 1
    k = np.arange(n)
    nxt = np.roll(k, -1)
    last = (len(loops) - 1) * n
    faces = [np.stack([np.full(n, start), nxt, k], axis=1)]
    color = [np.full(n, colors[0])]
    for i, _, _, c in strips:
        lower = i * n
        faces.append(_quads(lower + k, lower + nxt, lower + n + nxt, lower + n + k))
        color.append(np.full(2 * n, c))
    faces.append(np.stack([np.full(n, stop), last + k, last + nxt], axis=1))
    color.append(np.full(n, colors[-1]))
    return _weld(Part(vertices, np.concatenate(faces), np.concatenate(color)))


def _weld(part: Part) -> Part:
    """Merges vertices of one place (tips) and drops the faces that vanish."""
    _, first, inverse = np.unique(part.vertices.round(9), axis=0, return_index=True, return_inverse=True)
    faces = inverse.reshape(-1)[part.faces]
    a, b, c = faces.T
    real = (a != b) & (b != c) & (c != a)
    return Part(part.vertices[first], faces[real], part.color[real])


def _quads(a: Array, b: Array, c: Array, d: Array) -> Array:
    return np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])


# --- placing -------------------------------------------------------------------------------------------


def turned(part: Part, axis: str, degrees: float, at=(0.0, 0.0, 0.0)) -> Part:
    """The part turned about x, y or z (counter-clockwise seen from the axis' tip), then moved to ``at``."""
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    vertices = part.vertices.copy()
    vertices[:, j] = c * part.vertices[:, j] - s * part.vertices[:, k]
    vertices[:, k] = s * part.vertices[:, j] + c * part.vertices[:, k]
    return Part(vertices + np.asarray(at), part.faces, part.color)


def around(part: Part, count: int, first_deg: float = 0.0) -> list[Part]:
    """Copies about the vertical axis."""
    return [turned(part, "z", first_deg + 360 / count * i) for i in range(count)]


def pair(part: Part) -> list[Part]:
    """The part and its mirror image in x."""
    return [part, Part(part.vertices * np.array([-1.0, 1.0, 1.0]), part.faces[:, ::-1], part.color)]


# --- the artist's signature ----------------------------------------------------------------------------


def foot(r: float) -> list[Band]:
    """A coral ring on the ground, a night-blue plinth on it: 0.15 high."""
    return [(r, r, 0.08, CORAL), (0.82 * r, 0.74 * r, 0.07, NIGHT)]


def belt(r: float) -> list[Band]:
    return [(r + 0.025, r + 0.025, 0.07, TURQUOISE)]


def crown(r: float) -> list[Band]:
    """Two cream steps and a coral tip: 0.27 high."""
    return [(r, 0.88 * r, 0.08, CREAM), (0.62 * r, 0.5 * r, 0.07, CREAM), (0.26 * r, 0.0, 0.12, CORAL)]


def eye(r: float, y: float, z: float, x: float = 0.0) -> Part:
    """Cream ring, turquoise iris, night-blue pupil; its back is at ``y``, it looks to −Y."""
    bands = [(r, r, 0.05, CREAM), (0.68 * r, 0.68 * r, 0.025, TURQUOISE), (0.36 * r, 0.36 * r, 0.02, NIGHT)]
    return turned(stack(bands, sides=12), "x", 90, (x, y, z))


def horns(reach: float, z: float, rise: float = 0.16, thick: float = 0.055) -> list[Part]:
    """Four coral horns that curl up from the corners of a roof."""
    path = [(0.7 * reach, 0, z), (0.9 * reach, 0, z), (reach, 0, z + 0.35 * rise), (reach, 0, z + rise)]
    return around(tube(path, (thick, thick, 0.8 * thick, 0), CORAL), 4, 45)
