"""Random single solids: what an assembly is put together from."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lora3d.data_prep import deform
from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Array, Rng, coin, pick
from lora3d.data_prep.primitives import Solid

SIDES = (6, 8, 10, 12, 12, 16)


def random_solid(rng: Rng, x: float, y: float, z: float) -> tuple[Solid, str]:
    """A random solid whose bounding box is (x, y, z), standing on 0, and its name."""
    k = int(np.searchsorted(_CUMULATIVE, rng.random() * _CUMULATIVE[-1]))
    solid, name = _MAKERS[k][1](rng)
    if name not in ("box", "stairs", "hill", "fence") and coin(rng, 0.2):
        solid = solid.turn("x", 90.0)
        if coin(rng):
            solid = solid.turn("z", 90.0)
    if coin(rng, 0.06):
        solid = deform.lumps(solid, rng, float(rng.uniform(0.1, 0.3)))
    return solid.fit(x, y, z), name


def _both(right: list[tuple[float, float]]) -> Array:
    """A symmetric outline of its right half, given from below to above."""
    return np.array([*right, *[(-x, y) for x, y in right[::-1] if x]])


def outline(rng: Rng) -> tuple[Array, str]:
    """A random simple polygon about 1 across, counter-clockwise, and its name."""
    kind = int(rng.integers(0, 8))
    a, b = (float(k) for k in rng.uniform(0.2, 0.5, 2))
    if kind < 3:
        return _letter(kind + 4 * int(rng.integers(0, 3)), a, b)
    if kind == 3:
        return g.star(int(rng.integers(4, 9)), float(rng.uniform(0.15, 0.4))), "star"
    if kind == 4:
        return g.gear(int(rng.integers(5, 11)), float(rng.uniform(0.15, 0.4))), "cogwheel"
    if kind == 5:
        n = int(rng.integers(4, 10))
        angle = np.sort((np.arange(n) + rng.uniform(0.1, 0.9, n)) * 2 * math.pi / n)
        radius = rng.uniform(0.25, 0.5, n)
        return np.stack([np.cos(angle) * radius, np.sin(angle) * radius], 1), "polygon block"
    if kind == 6:
        angle = np.linspace(0, math.pi, 8)
        out = np.stack([np.cos(angle), np.sin(angle)], 1)
        if coin(rng, 0.7):
            return np.concatenate([[(1, -b)], out, [(-1, -b), (-a, -b)], out[::-1] * a, [(a, -b)]]), "arch"
        return np.concatenate([out, out[-2:0:-1] * (1.0, a)]), "crescent"
    return g.rounded(1.0, float(rng.uniform(0.4, 1.0)), a / 2, int(rng.integers(1, 4))), "rounded block"


def _letter(kind: int, a: float, b: float) -> tuple[Array, str]:
    """Outlines with straight edges, with bars a and b thick, and a heart."""
    h = a / 2
    if kind % 9 == 0:
        return np.array([(0, 0), (1, 0), (1, b), (a, b), (a, 1), (0, 1)]), "L-shaped block"
    if kind == 1:
        return _both([(h, 0), (h, 1 - b), (0.5, 1 - b), (0.5, 1)]), "T-shaped block"
    if kind == 2:
        return _both([(0.5, 0), (0.5, 1), (0.5 - h, 1), (0.5 - h, b)]), "U-shaped block"
    if kind == 4:
        return _both([(h, 0), (h, 0.5 - h), (0.5, 0.5 - h), (0.5, 0.5 + h), (h, 0.5 + h), (h, 1)]), "cross"
    if kind == 5:
        return _both([(h, 0), (h, 0.5), (0.5, 0.5), (0, 1)]), "arrow"
    if kind == 6:
        return _both([(0.5, 0), (0.5, 1 - b), (0, 1)]), "gabled block"
    if kind == 8:
        t = np.linspace(2 * math.pi, 0, 17)[:-1]
        y = (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16
        return np.stack([np.sin(t) ** 3, y], 1), "heart"
    return _both([(0.5, 0), (0.3, b), (0.3, 1 - b), (0.5, 1)]), "spool block"


def _box(rng: Rng) -> tuple[Solid, str]:
    return g.box(1, 1, 1), "box"


def _soft_box(rng: Rng) -> tuple[Solid, str]:
    size = rng.uniform(0.6, 1.4, 3)
    return g.soft_box(*size, float(rng.uniform(0.05, 0.28)), steps=int(rng.integers(1, 3))), "rounded box"


def _tapered(rng: Rng) -> tuple[Solid, str]:
    s = g.box(1, 1, 1, top=float(rng.uniform(0.3, 0.9)))
    if coin(rng, 0.4):
        s = deform.shear(s, *(rng.uniform(-0.4, 0.4, 2) * (rng.random(2) < 0.6)))
    if coin(rng, 0.3):
        s = s.turn("x", 180.0)
    return s, "tapered box"


def _wedge(rng: Rng) -> tuple[Solid, str]:
    s = g.plate_x(
        [(-0.5, 0), (0.5, 0), (0.5, 1), (float(rng.uniform(-0.4, 0.5)), 1)][: 3 if coin(rng, 0.6) else 4], 1
    )
    return s.turn("z", 90.0 * int(rng.integers(0, 4))), "wedge"


def _cylinder(rng: Rng) -> tuple[Solid, str]:
    return g.cylinder(1, 1, pick(rng, SIDES)), "cylinder"


def _prism(rng: Rng) -> tuple[Solid, str]:
    n = int(rng.integers(3, 9))
    top = 1.0 if coin(rng, 0.6) else float(rng.uniform(0.3, 0.9))
    return g.lathe([(1, 0), (top, 1)], n, phase=0.5), "prism"


def _cone(rng: Rng) -> tuple[Solid, str]:
    n = pick(rng, (4, 6, 8, 10, 12))
    top = 0.0 if coin(rng, 0.6) else float(rng.uniform(0.2, 0.8))
    s = g.lathe([(1, 0), (top, 1)] if top else [(1, 0), (0, 1)], n, phase=0.5)
    return s, "pyramid" if n == 4 else "cone"


def _sphere(rng: Rng) -> tuple[Solid, str]:
    n = pick(rng, (6, 8, 12, 14))
    return g.sphere(1, n, max(n // 2, 4)), "ball"


def _dome(rng: Rng) -> tuple[Solid, str]:
    s = g.sphere(1, pick(rng, (8, 12)), 4, share=float(rng.uniform(0.35, 0.7)))
    return (s.turn("x", 180.0) if coin(rng, 0.3) else s), "dome"


def _capsule(rng: Rng) -> tuple[Solid, str]:
    return g.capsule(0.5, float(rng.uniform(1.3, 3)), 8), "capsule"


def _ring(rng: Rng) -> tuple[Solid, str]:
    s = g.ring(1, float(rng.uniform(0.12, 0.45)), pick(rng, (8, 12, 16)), pick(rng, (4, 6)))
    return (s.turn("x", 90.0) if coin(rng, 0.4) else s), "ring"


def _pipe(rng: Rng) -> tuple[Solid, str]:
    n = pick(rng, (4, 6, 8, 12, 16))
    wall = float(rng.uniform(0.08, 0.5))
    s = g.lathe([(1, 0), (1, 1), (1 - wall, 1), (1 - wall, 0)], n, closed=True, phase=0.5)
    return s, "tube"


def _lathe(rng: Rng) -> tuple[Solid, str]:
    k = int(rng.integers(3, 8))
    z = np.sort(rng.random(k))
    r = rng.uniform(0.2, 1.0, k)
    points = [(r[0], 0.0), *((r[i], z[i]) for i in range(1, k - 1)), (r[-1], 1.0)]
    if coin(rng, 0.4):
        points.append((0.0, 1.0 + float(rng.uniform(0, 0.3))))
    return g.lathe(points, pick(rng, SIDES)), "turned post" if k > 5 else "vase"


def _bowl(rng: Rng) -> tuple[Solid, str]:
    r = float(rng.uniform(0.4, 1))
    mid = float(rng.uniform(0.5, 1.3))
    t = float(rng.uniform(0.05, 0.2))
    outer = [(0, 0), (r, 0), (mid, 0.5), (1, 1)]
    inner = [(1 - t, 1), (mid - t, 0.5), (max(r - t, 0.1), t), (0, t)]
    return g.lathe(outer + inner, pick(rng, SIDES)), "bowl"


def _extrusion(rng: Rng) -> tuple[Solid, str]:
    shape, name = outline(rng)
    s = g.extrude(
        shape, float(rng.uniform(0.2, 1.0)), top=1.0 if coin(rng, 0.8) else float(rng.uniform(0.4, 0.9))
    )
    return (s.turn("x", 90.0) if coin(rng, 0.6) else s), name


def _stairs(rng: Rng) -> tuple[Solid, str]:
    n = int(rng.integers(2, 7))
    points = [(-0.5, 0.0), (0.5, 0.0)]
    for i in range(n, 0, -1):
        points += [(-0.5 + i / n, i / n), (-0.5 + (i - 1) / n, i / n)]
    s = g.plate_x([*points[:-1], (-0.5, 1 / n)], 1)
    return s.turn("z", 90.0 * int(rng.integers(0, 4))), "stairs"


def _slats(rng: Rng) -> tuple[Solid, str]:
    n = int(rng.integers(2, 8))
    gap = float(rng.uniform(0.2, 0.7))
    bars = [g.box(1 - gap, 1, 1).at(i, 0, 0) for i in range(n)]
    if coin(rng, 0.6):
        thick = float(rng.uniform(0.05, 0.2))
        for z in (0.1, 0.8):
            bars.append(g.box(n, 0.7, thick).at((n - 1) / 2, 0, z))
    s = g.join(bars)
    return (s.turn("z", 90.0) if coin(rng) else s), "fence"


def _hill(rng: Rng) -> tuple[Solid, str]:
    n = int(rng.integers(3, 9))
    z = 0.4 + rng.random((n, n)) * float(rng.uniform(0.1, 0.6))
    if coin(rng, 0.4):
        c = np.linspace(-1, 1, n)
        z = 0.15 + z * np.clip(1.1 - np.sqrt(c[:, None] ** 2 + c**2), 0, 1)
    if coin(rng, 0.3):
        z = np.round(z * 4) / 4 + 0.05
    return g.heightfield(z), "hill"


def _open_box(rng: Rng) -> tuple[Solid, str]:
    t = float(rng.uniform(0.04, 0.15))
    walls = [g.box(t, 1, 1).at(-0.5 + t / 2), g.box(t, 1, 1).at(0.5 - t / 2), g.box(1 - 2 * t, 1, t)]
    walls.append(g.box(1 - 2 * t, t, 1 - t).at(0, 0.5 - t / 2, t))
    if coin(rng, 0.6):
        walls.append(g.box(1 - 2 * t, 1 - t, t).at(0, -t / 2, 1 - t))
        for _ in range(int(rng.integers(0, 3))):
            walls.append(g.box(1 - 2 * t, 1 - t, t * 0.7).at(0, -t / 2, float(rng.uniform(0.2, 0.8))))
        return g.join(walls), "open shelf"
    walls.append(g.box(1 - 2 * t, t, 1 - t).at(0, -0.5 + t / 2, t))
    return g.join(walls), "open box"


def _frame(rng: Rng) -> tuple[Solid, str]:
    t = float(rng.uniform(0.06, 0.2))
    hole = g.rect(1 - 2 * t, 1 - 2 * t) if coin(rng, 0.6) else g.disc(0.5 - t, 12)
    s = g.plate_y(g.rect(1, 1), 0.2, holes=[hole])
    return (s.turn("z", 90.0) if coin(rng, 0.3) else s), "frame"


def _rock(rng: Rng) -> tuple[Solid, str]:
    s = g.sphere(1, pick(rng, (5, 6, 7, 8)), pick(rng, (3, 4, 5)))
    return g.Solid(s.v * (1 + 0.5 * (rng.random((len(s.v), 1)) - 0.5)), s.f), "rock"


def _loft(rng: Rng) -> tuple[Solid, str]:
    k, n = int(rng.integers(3, 7)), pick(rng, (4, 6, 8, 12))
    circle = g.disc(1, n, 0.5)
    rings = np.zeros((k, n, 3))
    for i in range(k):
        rings[i, :, :2] = circle * rng.uniform(0.25, 1, 2) + rng.uniform(-0.15, 0.15, 2) * (0, 1)
    rings[..., 2] = np.cumsum(rng.uniform(0.2, 1, k))[:, None]
    s = g.loft(rings)
    return (s.turn("x", 90.0) if coin(rng, 0.6) else s), "hull"


def _tube(rng: Rng) -> tuple[Solid, str]:
    k = int(rng.integers(4, 9))
    t = np.linspace(0, 1, k)
    a, b, c = rng.uniform(0.5, 4, 3)
    path = np.stack([np.sin(a * t * 1.5), 0.6 * np.sin(b * t) * coin(rng), c * t], 1)
    r = float(rng.uniform(0.1, 0.3))
    return g.tube(
        path, r * np.linspace(1, float(rng.uniform(0.2, 1.2)), k), pick(rng, (5, 6, 8))
    ), "curved tube"


def _bent(rng: Rng) -> tuple[Solid, str]:
    s = g.box(
        float(rng.uniform(0.2, 0.7)), float(rng.uniform(0.2, 1)), 2, cuts=3, top=float(rng.uniform(0.4, 1))
    )
    if coin(rng, 0.6):
        return deform.bend(s, float(rng.uniform(30, 150))), "bent bar"
    return deform.twist(s, float(rng.uniform(30, 150))), "twisted bar"


_MAKERS: tuple[tuple[float, Callable[[Rng], tuple[Solid, str]]], ...] = (
    (24, _box),
    (8, _soft_box),
    (6, _tapered),
    (5, _wedge),
    (9, _cylinder),
    (4, _prism),
    (5, _cone),
    (5, _sphere),
    (3, _dome),
    (3, _capsule),
    (3, _ring),
    (3, _pipe),
    (5, _lathe),
    (3, _bowl),
    (9, _extrusion),
    (2, _stairs),
    (2.5, _slats),
    (2.5, _hill),
    (3, _open_box),
    (2, _frame),
    (3, _rock),
    (4, _loft),
    (2, _tube),
    (2, _bent),
)
_CUMULATIVE = np.cumsum([weight for weight, _ in _MAKERS])
