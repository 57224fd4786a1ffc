"""Random assemblies that follow the plan of a thing: furniture, figures, crafts, walls, machines.

Each fills about x by y by z, stands on 0 and takes its colours from a few paints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Paint, Rng, coin, pick
from lora3d.data_prep.parts import Part, one, pair
from lora3d.data_prep.solids import random_solid


def random_part(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float) -> Part:
    solid, name = random_solid(rng, x, y, z)
    top = pick(rng, paints) if coin(rng, 0.16) else None
    return Part(solid, pick(rng, paints), name, top)


def mirrored(parts: list[Part]) -> list[Part]:
    return [p.map(g.Solid.mirror) for p in parts]


def cabinet(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float) -> list[Part]:
    """Plates with compartments, drawers and knobs: shelves, chests, machines."""
    t = min(x, y, z) * float(rng.uniform(0.03, 0.12))
    a, b, c = (pick(rng, paints) for _ in range(3))
    side = g.box(t, y, z)
    plates = [
        side.at(x / 2 - t / 2),
        side.at(t / 2 - x / 2),
        g.box(x - 2 * t, y, t),
        g.box(x - 2 * t, y, t).at(0, 0, z - t),
    ]
    back = t if coin(rng, 0.7) else y * 0.9
    plates.append(g.box(x - 2 * t, back, z - 2 * t).at(0, y / 2 - back / 2, t))
    parts = [Part(g.join(plates), a, "open shelf")]
    n, m = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    w, h = (x - 2 * t) / m, (z - 2 * t) / n
    filled = float(rng.uniform(0, 1))
    for i in range(n):
        for j in range(m):
            at = (t - x / 2 + (j + 0.5) * w, t + i * h)
            if coin(rng, filled):
                parts += one(
                    g.box(w * 0.93, y * 0.6, h * 0.93).at(at[0], -y * 0.22, at[1] + h * 0.035), b, "box"
                )
                knob = g.box(w * 0.2, t * 1.5, min(h * 0.12, t * 2))
                parts += one(knob.at(at[0], -y * 0.52 - t / 2, at[1] + h * rng.uniform(0.4, 0.7)), c)
            elif coin(rng, 0.35):
                thing = random_part(rng, paints, w * 0.6, y * 0.5, h * float(rng.uniform(0.3, 0.8)))
                parts.append(thing.map(lambda s, at=at: s.at(at[0], -y * 0.15, at[1] + t / 2)))
        if i:
            parts += one(g.box(x - 2 * t, y * 0.95, t * 0.8).at(0, 0.01, t + i * h - t / 2), a)
    return parts


def voxels(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float) -> list[Part]:
    """Boxes on a grid, filled by a symmetric random rule."""
    n, m, k = int(rng.integers(1, 3)), int(rng.integers(1, 4)), int(rng.integers(2, 6))
    fill = rng.random((n + 1, m, k)) < rng.uniform(0.4, 0.8)
    fill[0, m // 2, :] = True
    w, d, h = x / (2 * n + 1), y / m, z / k
    layer = [pick(rng, paints) for _ in range(k)]
    parts = []
    solid = g.box(w, d, h) if coin(rng, 0.6) else g.soft_box(w, d, h, 0.12 * min(w, d, h))
    for i, j, level in np.argwhere(fill):
        color = layer[level] if coin(rng, 0.8) else pick(rng, paints)
        for sign in (1, -1) if i else (1,):
            parts += one(solid.at(sign * i * w, (j - (m - 1) / 2) * d, level * h), color, "cube")
    return parts


def creature(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float) -> list[Part]:
    """A body with limbs in pairs and a head: figures, animals, robots."""
    skin, cloth, dark = (pick(rng, paints) for _ in range(3))
    upright = coin(rng)
    leg = z * float(rng.uniform(0.1, 0.45))
    bx, by = x * rng.uniform(0.4, 0.8), y * rng.uniform(0.3, 0.6) if upright else y
    bz = (z - leg) * float(rng.uniform(0.4, 0.7))
    parts = [random_part(rng, (cloth,), float(bx), float(by), bz).map(lambda s: s.at(0, 0, leg * 0.95))]
    hx = float(rng.uniform(0.4, 1.0)) * bx
    head = random_part(
        rng, (skin,), hx, hx * float(rng.uniform(0.8, 1.2)), z - leg - bz if upright else bz * 0.8
    )
    at = (
        (0.0, 0.0, leg * 0.9 + bz)
        if upright
        else (0.0, -by / 2 - hx * 0.2, leg + bz * float(rng.uniform(0.3, 0.9)))
    )
    parts.append(head.map(lambda s: s.at(*at)))
    w = bx * float(rng.uniform(0.15, 0.4))
    limb = random_part(rng, (pick(rng, paints),), w, w, leg)
    for sy in (0.0,) if upright else (-0.35, 0.35):
        foot = limb.map(lambda s, sy=sy: s.at(bx * 0.3, sy * by, 0))
        parts += [foot, *mirrored([foot])]
    if upright or coin(rng, 0.4):
        arm = random_part(rng, (skin,), w * 0.9, w * 0.9, bz * float(rng.uniform(0.5, 1.0)))
        solid = (
            arm.solid.at(0, 0, -bz * 0.8)
            .turn("y", float(rng.uniform(-100, 10)))
            .at(bx * 0.5 + w * 0.3, 0, leg + bz * 0.85)
        )
        parts += [Part(solid, arm.paint, arm.name), Part(solid.mirror(), arm.paint, arm.name)]
    if coin(rng, 0.7):
        e = hx * float(rng.uniform(0.08, 0.2))
        low, high = parts[1].solid.v.min(0), parts[1].solid.v.max(0)
        eye = g.sphere(e, 6, 4).at(
            hx * 0.22, float(low[1]) + 0.3 * e, float(low[2] + 0.55 * (high[2] - low[2]))
        )
        parts += [Part(eye, dark), Part(eye.mirror(), dark)]
    return parts


def craft(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float) -> list[Part]:
    """A hull along the y axis with wings, wheels or engines in pairs, and a cabin."""
    y = max(x, y) * float(rng.uniform(1.0, 2.0))
    body, wing, glass = (pick(rng, paints) for _ in range(3))
    k, n = int(rng.integers(3, 7)), pick(rng, (4, 6, 8, 12))
    w, h = x * float(rng.uniform(0.25, 0.7)), z * float(rng.uniform(0.3, 0.8))
    rings = np.zeros((k, n, 3))
    circle = g.disc(0.5, n, 0.5) * (math.sqrt(2) if n == 4 else 1)
    for i in range(k):
        s = rng.uniform(0.5, 1.0) if 0 < i < k - 1 else rng.uniform(0.1, 0.9)
        rings[i, :, 0] = circle[:, 0] * w * s
        rings[i, :, 2] = circle[:, 1] * h * s * rng.uniform(0.8, 1.1)
        rings[i, :, 1] = (0.5 - i / (k - 1)) * y
    parts = [Part(g.loft(rings), body, "hull")]
    for _ in range(int(rng.integers(1, 4))):
        a, c, t = rng.uniform(0.15, 0.6) * y, rng.uniform(0.1, 0.6) * y, rng.uniform(0.03, 0.1) * h + 0.01
        span, back = float(rng.uniform(0.2, 0.9)) * x, float(rng.uniform(-0.4, 0.5)) * y
        flat = g.oriented(np.array([(0, 0), (span, back), (span, back + c), (0, a)]), True)
        roll = float(rng.uniform(-30, 90)) if coin(rng, 0.5) else 0.0
        s = (
            g.extrude(flat, float(t))
            .turn("y", -roll)
            .at(w * 0.2, float(rng.uniform(-0.5, 0.2)) * y, float(rng.uniform(-0.2, 0.2)) * h)
        )
        parts += [Part(s, wing, "wing"), Part(s.mirror(), wing, "wing")]
    cabin = random_part(rng, (glass,), w * 0.6, y * float(rng.uniform(0.15, 0.4)), h * 0.6)
    parts.append(cabin.map(lambda s: s.at(0, float(rng.uniform(-0.3, 0.2)) * y, h * 0.2)))
    if coin(rng, 0.7):
        r = float(rng.uniform(0.1, 0.35)) * h
        pod = random_part(rng, (pick(rng, paints),), 2 * r, y * float(rng.uniform(0.1, 0.5)), 2 * r)
        p = pod.map(
            lambda s: s.at(
                w * 0.5 + r * 0.5, float(rng.uniform(-0.2, 0.4)) * y, -h * float(rng.uniform(0.1, 0.6))
            )
        )
        parts += [p, *mirrored([p])]
    return parts


def plant(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float) -> list[Part]:
    """A stem with blobs, discs or cones upon it."""
    stem, crown = pick(rng, paints), pick(rng, paints)
    h = z * float(rng.uniform(0.2, 0.7))
    r = min(x, y) * float(rng.uniform(0.03, 0.15))
    parts = [Part(g.cylinder(r, h * 1.1, 6, top=float(rng.uniform(0.4, 1))), stem, "post")]
    first = random_part(rng, (crown,), x, y, (z - h) * 0.8)
    n = int(rng.integers(1, 5))
    kind = coin(rng)
    for i in range(n):
        s = 1.0 - 0.65 * i / n if kind else float(rng.uniform(0.3, 0.9))
        at = (0.0, 0.0) if kind or i == 0 else rng.uniform(-0.35, 0.35, 2) * (x, y)
        lift = (z - h) * (i / n if kind else rng.uniform(0, 0.7))
        solid = first.solid.size(s, s, s if not kind else 1.2 / n + 0.2).at(
            at[0], at[1], h * 0.95 + lift * 0.8
        )
        parts += one(solid, crown if coin(rng, 0.8) else pick(rng, paints), first.name, first.top)
    return parts


def panelled(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float) -> list[Part]:
    """A body with plates, bars, knobs and vents on its faces: machines, houses, containers."""
    body = (
        random_part(rng, paints, x, y, z)
        if coin(rng, 0.3)
        else Part(g.box(x, y, z), pick(rng, paints), "box")
    )
    parts = [body]
    t = float(rng.uniform(0.01, 0.06)) * min(x, y, z)
    for axis, (w, d) in enumerate(((x, y), (y, x))):
        for _ in range(int(rng.integers(1, 5))):
            u, v = rng.uniform(0.08, 0.9, 2)
            pw, ph = (u, v) if coin(rng) else (u, 0.08 + 0.1 * v)
            at, low = rng.uniform(-0.5, 0.5) * (1 - pw) * w, rng.uniform(0, 1) * (1 - ph) * z
            color = pick(rng, paints)
            kind = rng.random()
            if kind < 0.7:
                s = g.box(pw * w, 2 * t, ph * z).at(at, -d / 2, low)
            elif kind < 0.85:
                r = min(pw * w, ph * z) / 2
                s = g.cylinder(r, 2 * t, 10).turn("x", 90).at(at, t - d / 2, low + r)
            else:
                n = int(rng.integers(2, 6))
                s = g.join(
                    [
                        g.box(pw * w, 2 * t, ph * z / n * 0.5).at(at, -d / 2, low + i * ph * z / n)
                        for i in range(n)
                    ]
                )
            if axis:
                parts += pair(s.turn("z", 90), color, "panel")
            else:
                parts += one(s, color, "panel")
                if coin(rng, 0.4):
                    parts += one(s.turn("z", 180), color, "panel")
    if coin(rng, 0.5):
        w, d, h = rng.uniform(0.2, 1.1) * x, rng.uniform(0.2, 1.1) * y, rng.uniform(0.05, 0.4) * z
        parts.append(random_part(rng, paints, w, d, h).map(lambda s: s.at(0, 0, z * 0.995)))
    return parts


def wall(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float) -> list[Part]:
    """An upright or lying plate with openings, frames, posts and a plinth: pieces of a building kit."""
    x, t = max(x, z * 0.6), y * float(rng.uniform(0.05, 0.3))
    n = int(rng.integers(1, 4))
    holes, parts = [], []
    face, trim = pick(rng, paints), pick(rng, paints)
    step = x / n
    arched = coin(rng, 0.3)
    w, h = step * rng.uniform(0.25, 0.7), z * rng.uniform(0.25, 0.6)
    low = 0.04 * z if coin(rng, 0.4) else (z - h) * rng.uniform(0.2, 0.7)
    for i in range(n):
        if coin(rng, 0.75):
            at = (i - (n - 1) / 2) * step
            hole = np.add(g.rect(w, h), (at, low + h / 2))
            if arched:
                arc = g.disc(w / 2, 12)[:7] * (1, min(1.0, (z - low - h) / w)) + (at, low + h - 0.01 * z)
                hole = np.concatenate([[(at + w / 2, low)], arc, [(at - w / 2, low)]])
            holes.append(hole)
            if coin(rng, 0.6):
                parts += one(g.box(w * 1.2, t * 1.5, z * 0.04).at(at, 0, low - z * 0.02), trim, "sill")
            if coin(rng, 0.4):
                parts += one(g.box(w * 0.08, t * 0.6, h).at(at, 0, low), trim, "bar")
                parts += one(g.box(w, t * 0.6, h * 0.06).at(at, 0, low + h / 2), trim, "bar")
    parts += one(g.plate_y(np.add(g.rect(x, z), (0, z / 2)), t, holes=holes), face, "wall")
    if coin(rng, 0.5):
        parts += one(g.box(x * 1.02, t * 1.4, z * float(rng.uniform(0.03, 0.15))), trim, "plinth")
    if coin(rng, 0.5):
        top = random_part(
            rng, paints, x * 1.03, t * float(rng.uniform(1.1, 2.5)), z * float(rng.uniform(0.03, 0.2))
        )
        parts.append(top.map(lambda s: s.at(0, 0, z * 0.99)))
    if coin(rng, 0.4):
        post = random_part(rng, paints, t * 1.8, t * 1.8, z * float(rng.uniform(0.9, 1.15)))
        parts += pair(post.solid.at(x / 2), post.paint, post.name)
    if coin(rng, 0.2):
        parts = [p.map(lambda s: s.turn("x", 90).at(0, z / 2, t / 2)) for p in parts]
    return parts


def profile(rng: Rng, paints: Sequence[Paint], x: float, y: float, z: float) -> list[Part]:
    """A side view pulled across, on wheels, legs or the ground, with plates on its flanks."""
    y = max(x, y) * float(rng.uniform(1.0, 2.0))
    body, trim, dark = (pick(rng, paints) for _ in range(3))
    lift = z * float(rng.uniform(0.0, 0.35))
    k = int(rng.integers(3, 8))
    t = np.sort(np.concatenate([[0.0, 1.0], rng.uniform(0.08, 0.92, k - 2)]))
    t = np.maximum.accumulate(t + np.arange(k) * 0.02) / (1 + (k - 1) * 0.02)
    high = z * rng.uniform(0.3, 1.0, k)
    if coin(rng, 0.6):  # Steps rather than slopes: bonnet, cabin, boot.
        t, high = np.repeat(t, 2)[1:-1], np.repeat(high, 2)[:-2]
        t = t + np.tile((-0.02, 0.02), len(t) // 2 + 1)[: len(t)] * float(rng.uniform(0.1, 2.0))
    top = np.stack([(t - 0.5) * y, np.maximum(high, lift + 0.15 * z)], 1)[::-1]
    edge = np.array([(top[-1, 0], lift), (top[0, 0], lift)])
    parts = [Part(g.plate_x(np.concatenate([edge, top]), x), body, "body")]
    for _ in range(int(rng.integers(0, 4))):
        at = float(rng.uniform(-0.4, 0.4)) * y
        roof = float(np.interp(at, top[::-1, 0], top[::-1, 1]))
        h = (roof - lift) * float(rng.uniform(0.15, 0.5))
        plate = g.box(x * 1.03, y * float(rng.uniform(0.05, 0.3)), h)
        parts += one(plate.at(0, at, lift + (roof - lift - h) * float(rng.uniform(0, 0.8))), trim, "panel")
    r = max(lift * float(rng.uniform(0.7, 1.2)), 0.04 * z)
    for i in range(n := int(rng.integers(2, 5)) if lift > 0.08 * z else 0):
        at = (0.76 * i / max(n - 1, 1) - 0.38) * y
        if coin(rng, 0.85):
            foot = g.cylinder(r, x * 0.2, 10).turn("y", 90).at(-x * 0.1, 0, r)
        else:
            foot = g.box(x * 0.15, x * 0.15, lift * 1.05)
        parts += pair(foot.at(x * 0.45, at), dark, "wheel")
    if coin(rng, 0.4):
        w, d, h = rng.uniform(0.3, 0.9) * x, rng.uniform(0.1, 0.5) * y, rng.uniform(0.1, 0.5) * z
        at = float(rng.uniform(-0.3, 0.3)) * y
        roof = float(np.interp(at, top[::-1, 0], top[::-1, 1]))
        parts.append(random_part(rng, paints, w, d, h).map(lambda s: s.at(0, at, roof - 0.1 * h)))
    return parts
