"""Named families: vehicles on land. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

from lora3d.data_prep import deform
from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, one, pair
from lora3d.data_prep.primitives import Solid


def wheel(r: float, w: float, n: int = 12) -> Solid:
    """A wheel that stands on the ground and rolls along y."""
    return g.cylinder(r, w, n).turn("y", 90).at(-w / 2, 0, r)


def car(rng: Rng, p: Palette) -> Design:
    body, glass, dark, trim = p("vivid"), p("glass", 0.0), p("dark", 0.0), p("metal", 0.0)
    w, length = rng.uniform(0.7, 1.0), rng.uniform(1.5, 2.4)
    h, cabin, r = rng.uniform(0.25, 0.45), rng.uniform(0.25, 0.5), rng.uniform(0.15, 0.26)
    z, y = r * 0.7, length / 2
    nose = rng.uniform(0.0, 0.3) * h
    side = [(-y, z), (y, z), (y, z + h * rng.uniform(0.85, 1.0)), (-y * 0.4, z + h), (-y, z + h - nose)]
    parts = [Part(g.plate_x(side, w), body, "body")]
    kind = int(rng.integers(0, 4))
    a, b = (
        (-0.35, 0.5)
        if kind == 0
        else (-0.3, 0.95)
        if kind == 1
        else (-0.75, -0.15)
        if kind == 2
        else (-0.1, 0.45)
    )
    slope = rng.uniform(0.05, 0.25)
    top = z + h + cabin
    roof = [(a * y, z + h * 0.98), (b * y, z + h * 0.98), (b * y - slope * 0.5, top), (a * y + slope, top)]
    parts += one(g.plate_x(roof, w * 0.86), glass, "windows")
    parts += one(
        g.box(w * 0.88, (b - a) * y - slope * 1.4, 0.05).at(0, ((a + b) * y + slope * 0.5) / 2, top - 0.02),
        body,
        "roof",
    )
    wheel = g.cylinder(r, 0.16, 12).turn("y", 90)
    hub = g.cylinder(r * 0.5, 0.18, 8).turn("y", 90)
    for q in (-0.62, 0.62):
        for s in (1, -1):
            at = (s * (w / 2 - 0.08) - 0.08, q * y, r)
            parts += one(wheel.at(*at), dark, "wheels")
            parts += one(hub.at(at[0] - 0.01, at[1], at[2]), trim)
    for s in (1, -1):
        lamp = g.box(w * 0.18, 0.04, h * 0.25)
        parts += one(lamp.at(s * w * 0.32, -y, z + (h - nose) * 0.55), p("light", 0.0), "headlights")
        parts += one(lamp.at(s * w * 0.34, y, z + h * 0.5), p("fire", 0.0))
    parts += one(g.box(w * 1.02, 0.06, h * 0.25).at(0, -y, z), trim, "bumper")
    return parts, [("saloon", "estate", "pickup", "coupe")[kind]]


def truck(rng: Rng, p: Palette) -> Design:
    cab, dark, glass = p("vivid"), p("dark", 0.0), p("glass", 0.0)
    w, r, bed = rng.uniform(0.6, 0.85), rng.uniform(0.14, 0.22), rng.uniform(0.9, 1.8)
    c, h = rng.uniform(0.4, 0.6), rng.uniform(0.55, 0.8)
    z, front, back = r * 1.1, -(c + bed) / 2, (c + bed) / 2
    parts = one(g.box(w * 0.8, c + bed, 0.12).at(0, 0, z), dark, "frame")
    nose = rng.uniform(0.0, 0.25)
    side = [(front, z), (front + c, z), (front + c, z + h), (front + nose * 0.5 + 0.06, z + h)]
    parts += one(g.plate_x([*side, (front, z + h * rng.uniform(0.5, 0.9))], w), cab, "cab")
    pane = g.box(w * 0.85, 0.04, h * 0.33).turn("x", -8 if nose else 0)
    parts += one(pane.at(0, front + nose * 0.22 + 0.015, z + h * 0.58), glass, "windscreen")
    parts += pair(g.box(0.03, c * 0.45, h * 0.3).at(w / 2, front + c * 0.55, z + h * 0.58), glass, "windows")
    kind = int(rng.integers(0, 4))
    carried = _load(rng, p, kind, w, bed)
    parts += [q.map(lambda s: s.at(0, front + c + bed / 2 + 0.03, z + 0.12)) for q in carried]
    for y in (front + c * 0.5, back - r * 1.2, back - r * 3.4)[: 3 if bed > 1.2 else 2]:
        parts += pair(wheel(r, 0.14).at(w / 2 - 0.04, y), dark, "wheels")
    parts += pair(g.box(0.1, 0.03, 0.07).at(w * 0.33, front, z + 0.1), p("light", 0.0), "headlights")
    return parts, [("box", "dump", "tank", "logging")[kind]]


def _load(rng: Rng, p: Palette, kind: int, w: float, y: float) -> list[Part]:
    """What a truck carries on a bed of w by y that is centred on the origin."""
    paint = p("any", 0.15)
    if kind == 0:
        return one(g.box(w, y - 0.06, rng.uniform(0.4, 1.0)), paint, "box")
    if kind == 1:
        ends = [g.box(w, 0.05, 0.25).at(0, s * (y / 2 - 0.06)) for s in (1, -1)]
        flanks = [g.box(0.05, y - 0.08, 0.25).at(s * (w / 2 - 0.025)) for s in (1, -1)]
        parts = one(g.join([*ends, *flanks, g.box(w, y - 0.08, 0.05)]), paint, "bed")
        if coin(rng, 0.6):
            heap = deform.lumps(g.sphere(0.5, 8, 4, share=0.5), rng, 0.2).size(w * 0.9, y * 0.85, 0.7)
            parts += one(heap, p("earth", 0.2), "load")
        return parts
    if kind == 2:
        return one(
            g.cylinder(w * 0.48, y - 0.08, 12).turn("x", 90).at(0, y / 2 - 0.04, w * 0.46), paint, "tank"
        )
    log, wood = g.cylinder(0.14, y * 0.95, 8).turn("x", 90).at(0, y * 0.48), p("wood")
    spots = ((-0.14, 0.14), (0.14, 0.14), (0.0, 0.38))
    return [Part(log.at(x, 0, z), wood, "logs") for x, z in spots]


def bus(rng: Rng, p: Palette) -> Design:
    body, glass, dark, band = p("vivid"), p("glass", 0.0), p("dark", 0.0), p("any", 0.0)
    w, y, h, r = (
        rng.uniform(0.6, 0.75),
        rng.uniform(1.6, 2.4),
        rng.uniform(0.55, 0.75),
        rng.uniform(0.13, 0.18),
    )
    decks = 2 if coin(rng, 0.25) else 1
    z = r * 0.9
    top = h * (1.0 if decks == 1 else 1.75)
    parts = [Part(g.soft_box(w, y, top, rng.uniform(0.03, 0.12)).at(0, 0, z), body, "body")]
    n = int(rng.integers(3, 7))
    for level in range(decks):
        at = z + h * (0.5 + 0.8 * level)
        for i in range(n):
            parts += one(
                g.box(w * 1.02, y / n * 0.72, h * 0.3).at(0, (i + 0.5 - n / 2) * y / n * 0.94, at),
                glass,
                "windows",
            )
        parts += one(g.box(w * 0.85, 0.04, h * 0.35).at(0, -y / 2, at - 0.02), glass, "windscreen")
    parts += one(g.box(w * 1.015, y * 0.96, h * 0.1).at(0, 0, z + h * rng.uniform(0.2, 0.36)), band, "stripe")
    for q in (-0.33, 0.33):
        parts += pair(wheel(r, 0.12).at(w / 2 - 0.04, q * y), dark, "wheels")
    parts += pair(g.box(0.1, 0.03, 0.07).at(w * 0.33, -y / 2, z + h * 0.12), p("light", 0.0), "headlights")
    return parts, ["double-decker"] if decks == 2 else []


def train(rng: Rng, p: Palette) -> Design:
    body, dark, trim = p("vivid"), p("dark", 0.0), p("gold", 0.0)
    w, y, r = rng.uniform(0.4, 0.55), rng.uniform(1.2, 1.8), rng.uniform(0.12, 0.18)
    b, cab = rng.uniform(0.16, 0.24), rng.uniform(0.3, 0.45)
    z = r * 1.3
    parts = [Part(g.box(w, y, 0.1).at(0, 0, z), dark, "frame")]
    boiler = g.cylinder(b, y - cab - 0.05, 12).turn("x", 90).at(0, y / 2 - cab, z + 0.1 + b)
    parts += one(boiler, body, "boiler")
    h = rng.uniform(0.5, 0.75)
    parts += one(g.box(w, cab, h).at(0, y / 2 - cab / 2, z + 0.05), body, "cab")
    parts += one(g.box(w * 1.15, cab * 1.25, 0.06).at(0, y / 2 - cab / 2, z + h + 0.05), dark, "roof")
    parts += one(
        g.box(w * 1.02, cab * 0.5, h * 0.3).at(0, y / 2 - cab / 2, z + h * 0.6), p("glass", 0.0), "windows"
    )
    top = z + 0.05 + 2 * b
    k = rng.uniform(1.0, 2.2)
    parts += one(
        g.lathe([(0.06, 0), (0.06 * k, 0.25), (0.07 * k, 0.3)], 10).at(0, -y * 0.36, top), dark, "chimney"
    )
    for q in (-0.12, 0.08):
        parts += one(g.sphere(0.08, 8, 5).at(0, q * y, top - 0.03), trim, "domes")
    parts += one(g.cylinder(b * 1.05, 0.06, 12).turn("x", 90).at(0, -y / 2 + 0.06, z + 0.1 + b), trim, "ring")
    plough = g.plate_x([(-y / 2 - 0.18, r * 0.3), (-y / 2, r * 0.3), (-y / 2, z + 0.05)], w * 0.9)
    parts += one(plough, dark, "plough")
    m = int(rng.integers(2, 5))
    for i in range(m):
        s = r * (1.35 if i == m - 1 and coin(rng) else 1.0)
        parts += pair(
            wheel(s, 0.07).at(w / 2, (-0.35 + 0.75 * i / max(m - 1, 1)) * y),
            p("vivid", 0.0) if i == 0 else parts[-1].paint,
            "wheels",
        )
    return parts, ["steam"]


def tank(rng: Rng, p: Palette) -> Design:
    body, dark = p("leaf", 0.1) if coin(rng) else p("earth", 0.1), p("dark", 0.0)
    w, y, h = rng.uniform(0.7, 0.95), rng.uniform(1.0, 1.5), rng.uniform(0.18, 0.3)
    t, track = rng.uniform(0.16, 0.26), rng.uniform(0.25, 0.35)
    outline = [
        (-y / 2, track * 0.6),
        (-y / 2 + 0.15, 0),
        (y / 2 - 0.15, 0),
        (y / 2, track * 0.6),
        (y / 2 - 0.08, track),
        (-y / 2 + 0.08, track),
    ]
    parts = pair(g.plate_x(outline, t).at(w / 2), dark, "tracks")
    for i in range(4):
        parts += pair(
            g.cylinder(track * 0.3, t * 1.08, 8)
            .turn("y", 90)
            .at(w / 2 - t * 0.54, (i - 1.5) * y * 0.2, track * 0.42),
            body,
            "wheels",
        )
    hull = [
        (-y / 2 - 0.05, track * 0.7),
        (y / 2, track * 0.7),
        (y / 2 - 0.05, track + h),
        (-y / 2 + rng.uniform(0.1, 0.4), track + h),
    ]
    parts += one(g.plate_x(hull, w), body, "hull")
    r, k = rng.uniform(0.22, 0.36), rng.uniform(0.15, 0.28)
    turret = g.lathe([(r, 0), (r * 0.75, k)], pick(rng, (4, 6, 8, 12)), phase=0.5).at(
        0, 0.05, track + h - 0.01
    )
    parts += one(turret, body, "turret")
    length = rng.uniform(0.5, 1.0)
    z = track + h + k * 0.5
    parts += one(
        g.rod((0, 0, z), (0, -length, z + rng.uniform(0, 0.15)), rng.uniform(0.035, 0.07), 8), body, "gun"
    )
    parts += one(g.cylinder(0.1, 0.05, 8).at(0.08, 0.12, track + h + k - 0.01), dark, "hatch")
    return parts, []


FAMILIES: dict[str, Family] = {
    "car": car,
    "truck": truck,
    "bus": bus,
    "train": train,
    "tank": tank,
}
