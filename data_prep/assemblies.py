"""Random assemblies of primitives, in the manner of Zeroverse (Xie et al. 2024, LRM-Zero, section 3).

Zeroverse places primitives at random. Here most of them follow rules of layout that game art has too:
parts stand on each other, touch, repeat, and mirror left to right; a share stays fully random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lora3d.data_prep import deform, plans
from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import PATTERNS, Paint, Rng, coin, harmony, paint, pick
from lora3d.data_prep.parts import Part, one
from lora3d.data_prep.plans import mirrored, random_part

MAX_FACES = 2000


def assembly(rng: Rng) -> list[Part]:
    """The parts of one random assembly, at most `MAX_FACES` triangles."""
    paints = _paints(rng)
    while True:
        x, y, z = (float(s) for s in np.exp(rng.normal(0, 0.35, 3)))
        parts = _group(rng, paints, x, y, z, depth=2)
        if sum(len(p.solid.f) for p in parts) <= MAX_FACES and len(parts) <= 60:
            return _globally(rng, _recoloured(rng, paints, parts))


def _paints(rng: Rng) -> tuple[Paint, ...]:
    n = pick(rng, (1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5))
    colors = harmony(rng, n)
    share = pick(rng, (0.0, 0.0, 0.0, 0.3, 0.8))
    return tuple(paint(rng, c, pick(rng, colors), patterned=share, kinds=PATTERNS) for c in colors)


def _recoloured(rng: Rng, paints: Sequence[Paint], parts: list[Part]) -> list[Part]:
    """Where chance gave everything one paint although there are several, names decide anew."""
    if len(paints) == 1 or any(p.paint is not parts[0].paint or p.top for p in parts) or coin(rng, 0.2):
        return parts
    if len({p.name for p in parts}) == 1:
        other = pick(rng, paints)
        if len(parts) == 1:
            return [replace(parts[0], top=other)]
        return [replace(p, paint=other) if i % 2 else p for i, p in enumerate(parts)]
    first = int(rng.random() * len(paints))
    names = list(dict.fromkeys(p.name for p in parts))
    return [replace(p, paint=paints[(first + names.index(p.name)) % len(paints)]) for p in parts]


def _group(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float, depth: int) -> list[Part]:
    """A layout that fills about (x, y, z), or a single part: all the more, the deeper it lies."""
    if depth < 2 and not coin(rng, 0.4 * depth):
        return [random_part(rng, paints, x, y, z)]
    k = int(np.searchsorted(_CUMULATIVE, rng.random() * _CUMULATIVE[-1]))
    return _LAYOUTS[k][1](rng, paints, x, y, z, depth - 1)


def _moved(parts: list[Part], x: float, y: float, z: float) -> list[Part]:
    return [p.map(lambda s: s.at(x, y, z)) for p in parts]


def _top(parts: list[Part]) -> float:
    return max(float(p.solid.v[:, 2].max()) for p in parts)


def _stack(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float, depth: int) -> list[Part]:
    """Parts that stand on each other."""
    n = int(rng.integers(2, 6))
    heights = rng.uniform(0.1, 1.0, n)
    heights *= z / heights.sum()
    shrink = float(rng.uniform(0.6, 1.1))
    parts: list[Part] = []
    base = 0.0
    w, d = x, y
    for h in heights:
        more = _group(rng, paints, w, d, float(h), depth)
        dx, dy = (rng.uniform(-0.2, 0.2, 2) * (w, d)) if coin(rng, 0.15) else (0.0, 0.0)
        parts += _moved(more, dx, dy, base)
        base = max(_top(parts), base)
        w, d = w * shrink * rng.uniform(0.6, 1.25), d * shrink * rng.uniform(0.6, 1.25)
    return parts


def _attach(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float, depth: int) -> list[Part]:
    """A body, and parts that touch its sides, mirrored left to right or not."""
    body = _group(rng, paints, x, y, z, depth)
    parts = list(body)
    symmetric = coin(rng, 0.7)
    for _ in range(int(rng.integers(1, 5))):
        w, d, h = rng.uniform(0.12, 0.7, 3) * (x, y, z)
        more = _group(rng, paints, w, d, h, depth - 1)
        side = int(rng.integers(0, 5))
        u, v = rng.uniform(-0.4, 0.4, 2)
        sink = float(rng.uniform(0.0, 0.3))
        if symmetric and side in (1, 2, 4) and coin(rng, 0.6):
            u = 0.0
        if side in (0, 3):
            at = (x / 2 + w / 2 - sink * w, u * (y - d), (v + 0.5) * max(z - h, 0.0))
        elif side in (1, 2):
            at = (
                u * (x - w),
                (y / 2 + d / 2 - sink * d) * (1 if side == 1 else -1),
                (v + 0.5) * max(z - h, 0.0),
            )
        else:
            at = (u * (x - w), v * (y - d), z - sink * h)
        more = _moved(more, *at)
        parts += more
        if symmetric and (side in (0, 3) or abs(u) > 0.12):
            parts += mirrored(more)
    return parts


def _table(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float, depth: int) -> list[Part]:
    """A board or a body on legs, with a back or things on top."""
    share = float(rng.uniform(0.08, 0.6))
    leg = z * (1 - share)
    inset = float(rng.uniform(0.0, 0.25))
    w = min(x, y) * float(rng.uniform(0.05, 0.25))
    parts = _moved(_group(rng, paints, x, y, z * share, depth - 1 if share < 0.2 else depth), 0, 0, leg)
    post = random_part(rng, paints, w, w, leg * 1.01)
    px, py = x / 2 * (1 - inset) - w / 2, y / 2 * (1 - inset) - w / 2
    spots: list[tuple[float, float]]
    spots = pick(
        rng, ([(px, py), (px, -py)], [(px, py), (px, -py)], [(px, 0.0)], [(0.0, 0.0)], [(0.0, py), (px, -py)])
    )
    for sx, sy in spots:
        more = post.map(lambda s, sx=sx, sy=sy: s.at(sx, sy, 0.0))
        parts += [more] if sx == 0 else [more, more.map(g.Solid.mirror)]
    if coin(rng, 0.3):
        parts += one(
            g.box(2 * px + w, 2 * py + w, z * 0.05).at(0, 0, leg * rng.uniform(0.1, 0.6)),
            pick(rng, paints),
            "box",
        )
    if coin(rng, 0.4):
        h, t = z * float(rng.uniform(0.3, 1.2)), y * float(rng.uniform(0.05, 0.2))
        parts += _moved(
            _group(rng, paints, x * rng.uniform(0.7, 1), t, h, depth - 1), 0, y / 2 - t / 2, z * 0.98
        )
    return parts


def _radial(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float, depth: int) -> list[Part]:
    """A core with copies of a part around it."""
    r = min(x, y) / 2
    core = r * float(rng.uniform(0.2, 0.8))
    n = int(rng.integers(3, 9))
    parts = _group(rng, paints, 2 * core, 2 * core, z, depth - 1) if coin(rng, 0.85) else []
    width = min(1.8 * r * math.pi / n, r) * float(rng.uniform(0.2, 0.8))
    h = z * float(rng.uniform(0.1, 1.0))
    arm = random_part(rng, paints, (r - core) * 1.15, width, h)
    tilt = float(rng.uniform(-50, 50)) if coin(rng, 0.4) else 0.0
    base = float(rng.uniform(0, 1)) * max(z - h, 0.0)
    copy = arm.solid.at((r - core) / 2, 0, -h / 2).turn("y", tilt).at(core * 0.95, 0, h / 2 + base)
    for i in range(n):
        parts += one(copy.turn("z", 360.0 * i / n + 90.0), arm.paint, arm.name, arm.top)
    return parts


def _row(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float, depth: int) -> list[Part]:
    """Equal parts in a row or a grid, on a base or between rails."""
    n = int(rng.integers(2, 8))
    m = int(rng.integers(2, 4)) if coin(rng, 0.2) else 1
    step, gap = x / n, float(rng.uniform(0.0, 0.6))
    unit = _group(rng, paints, step * (1 - gap), y / m * (0.9 if m > 1 else 1.0), z, 0)
    wave = rng.uniform(0.0, 0.5) if coin(rng, 0.3) else 0.0
    other = pick(rng, paints) if coin(rng, 0.3) else None
    parts: list[Part] = []
    for j in range(m):
        for i in range(n):
            k = 1 - wave * abs(2 * i / max(n - 1, 1) - 1)
            for p in unit:
                s = p.solid.size(1.0, 1.0, float(k)).at((i - (n - 1) / 2) * step, (j - (m - 1) / 2) * y / m)
                parts += one(s, other if other and i % 2 else p.paint, p.name, p.top)
    if gap > 0.15 and coin(rng, 0.8):
        bar = g.box(x, y * float(rng.uniform(0.3, 0.9)), z * float(rng.uniform(0.04, 0.2)))
        for level in pick(rng, ((0.0,), (0.2, 0.7), (0.9,), (0.0, 0.9))):
            parts += one(bar.at(0, 0, level * z), pick(rng, paints), "box")
    if coin(rng, 0.3):
        parts = [p.map(lambda s: s.turn("z", 90.0)) for p in parts]
    return parts


def _scatter(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float, depth: int) -> list[Part]:
    """Zeroverse's own rule: primitives anywhere, turned anyhow."""
    parts = []
    for _ in range(int(rng.integers(2, 9))):
        w, d, h = np.exp(rng.normal(-0.7, 0.5, 3)) * (x * y * z) ** (1 / 3)
        p = random_part(rng, paints, float(w), float(d), float(h))
        angles = rng.uniform(0, 360, 3)
        at = rng.uniform(-0.4, 0.4, 3) * (x, y, z)
        free = coin(rng, 0.6)
        solid = p.solid.turn("z", angles[0])
        if free:
            solid = solid.turn("x", angles[1]).turn("y", angles[2])
        parts += one(solid.at(*at), p.paint, p.name, p.top)
    if coin(rng, 0.3):
        parts += mirrored(parts)
    return parts


def _terrain(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float, depth: int) -> list[Part]:
    """A block of ground: layers, a chamfer, things upon it."""
    x = y = max(x, y)
    h = z * float(rng.uniform(0.2, 1.0))
    crust = h * float(rng.uniform(0.08, 0.4))
    ground, cover = pick(rng, paints), pick(rng, paints)
    kind = int(rng.integers(0, 4))
    over = float(rng.uniform(0.98, 1.08))
    r = float(rng.uniform(0.02, 0.12)) * x
    if kind == 0:
        low, high = g.box(x, y, h - crust), g.box(x * over, y * over, crust)
    elif kind == 1:
        low = g.soft_box(x, y, h - crust * 0.9, min(r, h * 0.2))
        high = g.soft_box(x * over, y * over, crust, min(r, crust * 0.4))
    elif kind == 2:
        n = pick(rng, (6, 8, 12))
        low, high = g.cylinder(x / 2, h - crust, n), g.cylinder(x / 2 * over, crust, n)
    else:
        low = g.lathe(
            [(x * 0.5 * rng.uniform(0.2, 0.8), 0), (x * 0.5, h - crust)], pick(rng, (4, 6, 8)), phase=0.5
        )
        high = g.lathe([(x * 0.5, 0), (x * 0.5 * over, crust)], pick(rng, (4, 6, 8)), phase=0.5)
    parts = [Part(low, ground, "block"), Part(high.at(0, 0, h - crust), cover, "slab")]
    for _ in range(int(rng.integers(0, 5))):
        w, d, k = rng.uniform(0.1, 0.5) * x, rng.uniform(0.1, 0.5) * y, rng.uniform(0.1, 1.0) * x * 0.6
        at = rng.uniform(-0.5, 0.5, 2) * (x - w, y - d)
        parts += _moved(
            _group(rng, paints, float(w), float(d), float(k), depth - 1), float(at[0]), float(at[1]), h * 0.99
        )
    return parts


_Plan = Callable[[Rng, Sequence[Paint], float, float, float], list[Part]]
_Layout = Callable[[Rng, Sequence[Paint], float, float, float, int], list[Part]]


def _flat(plan: _Plan) -> _Layout:
    """A plan has no groups within."""
    return lambda rng, paints, x, y, z, depth: plan(rng, paints, x, y, z)


def _single(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float) -> list[Part]:
    return [random_part(rng, paints, x, y, z)]


_LAYOUTS: tuple[tuple[float, _Layout], ...] = (
    (15, _stack),
    (16, _attach),
    (9, _table),
    (7, _radial),
    (9, _row),
    (9, _scatter),
    (8, _terrain),
    (4, _flat(_single)),
    (6, _flat(plans.cabinet)),
    (4, _flat(plans.voxels)),
    (6, _flat(plans.creature)),
    (6, _flat(plans.craft)),
    (5, _flat(plans.plant)),
    (6, _flat(plans.panelled)),
    (5, _flat(plans.wall)),
    (6, _flat(plans.profile)),
)
_CUMULATIVE = np.cumsum([weight for weight, _ in _LAYOUTS])


def _globally(rng: Rng, parts: list[Part]) -> list[Part]:
    """What happens to a whole: stretched, laid down, turned, bent, twisted."""
    if coin(rng, 0.3):
        k = np.exp(rng.normal(0, 0.5, 3))
        parts = [p.map(lambda s: s.size(*k)) for p in parts]
    if coin(rng, 0.25):
        quarter = 90.0 * int(rng.integers(1, 4))
        parts = [p.map(lambda s: s.turn("z", quarter)) for p in parts]
    if coin(rng, 0.06):
        parts = [p.map(lambda s: s.turn("x", 90.0)) for p in parts]
    if coin(rng, 0.1):
        free, tilt = float(rng.uniform(0, 360)), float(rng.uniform(-90, 90)) if coin(rng, 0.4) else 0.0
        parts = [p.map(lambda s: s.turn("x", tilt).turn("z", free)) for p in parts]
    if coin(rng, 0.06):
        # One field for the whole, so that parts stay together.
        whole = g.join([p.solid for p in parts])
        kind, amount = int(rng.integers(0, 4)), float(rng.uniform(0.3, 1.0))
        if kind == 0:
            whole = deform.taper(whole, 1.4 - amount)
        elif kind == 1:
            whole = deform.twist(whole, 70 * amount)
        elif kind == 2:
            whole = deform.lumps(whole, rng, 0.25 * amount, 1.0)
        else:
            whole = deform.shear(whole.at(0, 0, -float(whole.v[:, 2].min())), 0.5 * amount, 0.0)
        cuts = np.cumsum([len(p.solid.v) for p in parts])[:-1]
        moved = np.split(whole.v, cuts)
        parts = [
            Part(g.Solid(v, p.solid.f), p.paint, p.name, p.top) for v, p in zip(moved, parts, strict=True)
        ]
    return parts
