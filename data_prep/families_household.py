"""Named families: things of a household. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, legs, one, pair
from lora3d.data_prep.primitives import Solid


def lamp(rng: Rng, p: Palette) -> Design:
    metal, shade = p("metal"), p("light", 0.25)
    h, r = rng.uniform(0.4, 1.6), rng.uniform(0.12, 0.3)
    parts = [Part(g.lathe([(r * 0.8, 0), (r * 0.8, 0.03), (0.03, 0.07)], 12), metal, "foot")]
    if coin(rng, 0.3):
        body = g.lathe(
            [(0.05, 0.03), (r * 0.7, h * 0.25), (r * 0.5, h * 0.55), (0.03, h * 0.75), (0.02, h)], 12
        )
        parts += one(body, p("any"), "body")
    parts += one(g.cylinder(rng.uniform(0.012, 0.03), h, 6), metal, "pole")
    sh, top = rng.uniform(0.15, 0.35), rng.uniform(0.3, 1.1)
    r2 = rng.uniform(1.0, 1.4) * r
    section = [(r2, 0), (r2 * top, sh), (r2 * top - 0.015, sh), (r2 - 0.015, 0)]
    parts += one(g.lathe(section, 14, closed=True).at(0, 0, h - sh * 0.5), shade, "shade")
    parts += one(g.sphere(0.045, 8, 5).at(0, 0, h - sh * 0.2), p("light", 0.0), "bulb")
    return parts, ["floor-standing"] if h > 1.1 else []


def clock(rng: Rng, p: Palette) -> Design:
    case, face, hand = p("wood"), p("light", 0.0), p("dark", 0.0)
    r, d = rng.uniform(0.2, 0.32), rng.uniform(0.08, 0.2)
    tall = coin(rng, 0.5)
    z = rng.uniform(1.0, 1.5) if tall else r * rng.uniform(1.0, 1.3)
    parts: list[Part] = []
    if tall:
        parts += one(g.box(r * 1.7, d * 1.2, z), case, "case")
        parts += one(g.box(r * 2.5, d * 1.6, z * 0.18), case)
        parts += one(g.box(r * 2.4, d * 1.5, r * 2.4).at(0, 0, z - r * 0.3), case)
        parts += one(g.box(r * 1.1, d * 0.2, z * 0.55).at(0, -d * 0.55, z * 0.25), p("glass", 0.0), "window")
        parts += one(
            g.cylinder(r * 0.35, 0.03, 10).turn("x", 90).at(0, -d * 0.65, z * 0.4), p("gold", 0.0), "pendulum"
        )
        gable = [(-r * 1.2, 0), (r * 1.2, 0), (0, r * rng.uniform(0.4, 1.2))]
        parts += one(g.plate_y(gable, d * 1.5).at(0, 0, z + r * 2.1), case)
        z += r * 0.9
    else:
        body = g.cylinder(r * 1.15, d, 18) if coin(rng, 0.6) else g.box(r * 2.3, r * 2.3, d).at(0, 0, 0)
        parts += one(body.turn("x", 90).at(0, d / 2, z), case, "case")
        foot = g.rod((0.6 * r, 0, z - 0.7 * r), (r, 0, 0), 0.03, 6)
        parts += pair(foot, case, "feet")
        if coin(rng):
            bell = g.sphere(r * 0.4, 8, 4, share=0.5).turn("y", 30).at(r * 0.6, 0, z + r * 0.95)
            parts += pair(bell, p("gold", 0.0), "bells")
    y = -d * (0.76 if tall else 0.5)
    parts += one(g.cylinder(r, 0.03, 18).turn("x", 90).at(0, y + 0.005, z), face, "face")
    for length, angle in ((0.8, rng.uniform(0, 360)), (0.5, rng.uniform(0, 360))):
        parts += one(g.box(0.035, 0.02, r * length).turn("y", angle).at(0, y - 0.035, z), hand, "hands")
    return parts, ["grandfather"] if tall else ["alarm"]


def television(rng: Rng, p: Palette) -> Design:
    case, screen = p("dark", 0.1) if coin(rng, 0.6) else p("any"), p("glass", 0.1)
    x, z = rng.uniform(0.6, 1.3), rng.uniform(0.45, 0.75)
    old = coin(rng)
    y = rng.uniform(0.35, 0.5) if old else rng.uniform(0.05, 0.1)
    foot = rng.uniform(0.06, 0.2)
    parts = [Part((g.soft_box(x, y, z, 0.04) if old else g.box(x, y, z)).at(0, 0, foot), case, "case")]
    w = x * (0.65 if old else 0.93)
    at = -x * 0.13 if old else 0.0
    parts += one(
        g.box(w, 0.03, z * (0.75 if old else 0.88)).at(at, -y / 2, foot + z * (0.12 if old else 0.06)),
        screen,
        "screen",
    )
    if old:
        for i in range(int(rng.integers(2, 4))):
            parts += one(
                g.cylinder(0.04, 0.05, 8).turn("x", 90).at(x * 0.36, -y / 2, foot + z * (0.75 - 0.22 * i)),
                p("metal", 0.0),
                "knobs",
            )
        if coin(rng, 0.7):
            parts += pair(
                g.rod(
                    (0.02, 0, foot + z),
                    (x * rng.uniform(0.2, 0.5), 0, foot + z + rng.uniform(0.2, 0.5)),
                    0.012,
                    5,
                ),
                p("metal", 0.0),
                "antennas",
            )
        parts += one(legs(g.cylinder(0.03, foot * 1.1, 6), x * 0.4, y * 0.35), case, "feet")
    else:
        parts += one(g.box(x * 0.5, 0.25, 0.03), case, "foot")
        parts += one(g.box(0.1, 0.06, foot * 1.2), case)
    return parts, ["old"] if old else ["flat"]


def mirror(rng: Rng, p: Palette) -> Design:
    frame, glass = p("wood") if coin(rng) else p("gold"), p("glass", 0.0)
    w, h, t = rng.uniform(0.25, 0.6), rng.uniform(0.5, 1.2), rng.uniform(0.03, 0.1)
    oval = coin(rng)
    shape = g.disc(0.5, 20) * (w, h) if oval else g.rounded(w, h, 0.02 + rng.uniform(0, 0.15) * w, 3)
    inner = shape * (1 - 2 * t / w, 1 - 2 * t / h)
    stand = coin(rng, 0.6)
    z = h / 2 + (rng.uniform(0.1, 0.3) if stand else 0.0)
    parts = [Part(g.plate_y(shape, 0.06, holes=[inner]).at(0, 0, z), frame, "frame")]
    parts += one(g.plate_y(inner * 1.02, 0.03).at(0, 0.005, z), glass, "glass")
    if stand:
        parts += pair(g.box(0.05, 0.06, z + 0.1).at(w / 2 + 0.045), frame, "stand")
        parts += pair(g.box(0.06, 0.4, 0.05).at(w / 2 + 0.045), frame, "")
        parts += one(g.box(w + 0.1, 0.05, 0.05).at(0, 0, 0.06), frame)
    return parts, ["oval"] if oval else []


def bathtub(rng: Rng, p: Palette) -> Design:
    tub, water, metal = p("light", 0.1), p("glass", 0.0), p("gold", 0.0)
    x, y, h = rng.uniform(0.6, 0.8), rng.uniform(1.2, 1.7), rng.uniform(0.4, 0.6)
    foot, n = rng.uniform(0.0, 0.15), 16
    k = float(rng.uniform(0.6, 0.95))
    outer = [(0.42 * k, 0), (0.5 * k, 0.15 * h), (0.5, h), (0.54, h), (0.54, h + 0.04)]
    inner = [(0.47, h + 0.04), (0.44 * k, 0.12), (0, 0.12)]
    parts = [Part(g.lathe([(0, 0), *outer, *inner], n).size(x, y, 1).at(0, 0, foot), tub, "tub")]
    if coin(rng, 0.6):
        parts += one(
            g.cylinder(0.475 * (0.5 + 0.5 * k), 0.02, n).size(x, y, 1).at(0, 0, foot + h * 0.7),
            water,
            "water",
        )
    if foot > 0.04:
        parts += one(legs(g.sphere(foot * 0.7, 6, 4), x * 0.2, y * 0.2), metal, "feet")
    tap = g.tube(
        [
            (0, y * 0.5, foot + h),
            (0, y * 0.5, foot + h + 0.2),
            (0, y * 0.38, foot + h + 0.2),
            (0, y * 0.36, foot + h + 0.1),
        ],
        0.025,
        6,
    )
    parts += one(tap, metal, "tap")
    return parts, ["long"] if y > 1.5 else []


def chest(rng: Rng, p: Palette) -> Design:
    wood, metal = p("wood", 0.4), p("metal")
    x, y, h = rng.uniform(0.5, 1.0), rng.uniform(0.35, 0.6), rng.uniform(0.2, 0.5)
    parts = [Part(g.box(x, y, h), wood, "box")]
    lid = rng.uniform(0.08, 0.3)
    n = int(rng.integers(1, 7))
    arc = (
        [(y / 2 * np.cos(np.pi * i / n), lid * np.sin(np.pi * i / n)) for i in range(n + 1)] if n > 1 else []
    )
    flat = n == 1
    section = [(-y / 2, 0), (y / 2, 0), (y / 2, lid), (-y / 2, lid)] if flat else arc
    open_deg = rng.uniform(20, 100) if coin(rng, 0.3) else 0.0

    def hinge(s: Solid) -> Solid:
        return s.at(0, -y / 2, 0).turn("x", -open_deg).at(0, y / 2, h)

    lid_paint = wood if coin(rng, 0.7) else p("wood", 0.4)
    parts += one(hinge(g.plate_x(section, x)), lid_paint, "lid")
    band = rng.uniform(0.05, 0.12)
    for s in (1, -1):
        at = s * (x / 2 - band)
        parts += one(g.box(band, y * 1.05, h * 1.0).at(at, 0, 0.001), metal, "bands")
        grown = g.plate_x(np.asarray(section) * 1.06, band).at(at)
        parts += one(hinge(grown), metal, "bands")
    parts += one(g.box(x * 0.14, 0.06, h * 0.4).at(0, -y / 2, h * 0.65), p("gold"), "lock")
    return parts, ["open"] if open_deg else []


def barrel(rng: Rng, p: Palette) -> Design:
    wood, metal = p("wood", 0.5, ("planks", "stripes")), p("metal")
    r, h, belly = rng.uniform(0.2, 0.4), rng.uniform(0.5, 1.0), rng.uniform(1.0, 1.4)
    n = pick(rng, (8, 10, 12, 16))

    def radius(t: float) -> float:
        return r * (1 + (belly - 1) * (1 - (2 * t - 1) ** 2))

    parts = [Part(g.lathe([(radius(t), t * h) for t in np.linspace(0, 1, 6)], n), wood, "staves")]
    for t in pick(rng, ((0.12, 0.88), (0.1, 0.35, 0.65, 0.9), (0.05, 0.3, 0.7, 0.95), (0.5,))):
        a, b = max(t - 0.04, 0.0), min(t + 0.04, 1.0)
        hoop = [(radius(a) + 0.015, a * h), (radius(b) + 0.015, b * h), (r * 0.5, b * h), (r * 0.5, a * h)]
        parts += one(g.lathe(hoop, n, closed=True), metal, "hoops")
    words = []
    lid = p("wood")
    if coin(rng, 0.5):
        parts += one(g.cylinder(r * 0.9, 0.03, n).at(0, 0, h * 0.985), lid, "lid")
    if coin(rng, 0.2):
        parts = [q.map(lambda s: s.turn("y", 90).at(0, 0, radius(0.5))) for q in parts]
        words.append("lying")
    return parts, words


def crate(rng: Rng, p: Palette) -> Design:
    wood = p("wood", 0.5, ("planks",))
    rim = wood if coin(rng, 0.4) else p("wood", 0.0)
    x, y, z = rng.uniform(0.6, 1.0, 3)
    if coin(rng, 0.5):
        x = y = z
    t = rng.uniform(0.05, 0.14) * min(x, y, z)
    parts = []
    opened = coin(rng, 0.25)
    if opened:
        side, front = g.box(t, y, z), g.box(x - 2 * t, t, z)
        walls = [
            side.at(x / 2 - t / 2),
            side.at(t / 2 - x / 2),
            front.at(0, y / 2 - t / 2),
            front.at(0, t / 2 - y / 2),
        ]
        parts += one(g.join([*walls, g.box(x - t, y - t, t)]), wood, "walls")
    else:
        parts += one(g.box(x - t, y - t, z - t).at(0, 0, t / 2), wood, "panels")
    post = g.box(t * 1.5, t * 1.5, z * 1.002)
    parts += one(legs(post, x / 2 - t * 0.6, y / 2 - t * 0.6), rim, "edges")
    for h in (0.0, z - t * 1.5):
        for s in (1, -1):
            parts += one(g.box(x, t * 1.45, t * 1.5).at(0, s * (y / 2 - t * 0.6), h), rim, "edges")
            parts += one(g.box(t * 1.45, y, t * 1.5).at(s * (x / 2 - t * 0.6), 0, h), rim)
    if coin(rng, 0.6):
        for s in (1, -1):
            parts += one(
                g.beam(
                    (-x / 2 + t, s * (y / 2 - t * 0.4), t),
                    (x / 2 - t, s * (y / 2 - t * 0.4), z - t),
                    t,
                    t * 1.5,
                ),
                rim,
                "braces",
            )
            parts += one(
                g.beam(
                    (s * (x / 2 - t * 0.4), y / 2 - t, t),
                    (s * (x / 2 - t * 0.4), -y / 2 + t, z - t),
                    t,
                    t * 1.5,
                ),
                rim,
            )
    return parts, ["open"] if opened else []


def book(rng: Rng, p: Palette) -> Design:
    cover, page, trim = p("any", 0.2), p("light", 0.0), p("gold", 0.0)
    x, z, t = rng.uniform(0.4, 0.7), rng.uniform(0.55, 0.8), rng.uniform(0.06, 0.25)
    if coin(rng, 0.35):
        half = [(0, 0.02), (x * 0.5, t), (x, 0.03 + t * 0.5), (x, 0.03), (0, 0.0)][::-1]
        parts = pair(
            g.extrude(np.array([(a, b + 0.03) for a, b in half]), z).turn("x", 90).at(0, z / 2), page, "pages"
        )
        parts += one(g.box(2 * x + 0.08, z + 0.06, 0.03), cover, "cover")
        return parts, ["open"]
    parts = [Part(g.box(x * 0.96, t, z * 0.95).at(-0.01, 0, z * 0.025), page, "pages")]
    board = g.box(x, 0.035, z)
    parts += [Part(board.at(0, s * (t / 2 + 0.015)), cover, "cover") for s in (1, -1)]
    parts += one(g.box(0.04, t + 0.06, z).at(-x / 2), cover, "spine")
    if coin(rng, 0.6):
        parts += one(g.box(x * 0.5, 0.02, z * 0.2).at(0, -t / 2 - 0.035, z * 0.6), trim, "title")
    if coin(rng, 0.4):
        parts += [
            Part(g.box(0.1, t + 0.1, 0.1).at(x / 2 - 0.05, 0, a), trim, "corners") for a in (-0.01, z - 0.09)
        ]
    if coin(rng):
        parts = [q.map(lambda s: s.turn("x", 90)) for q in parts]
        return parts, ["lying", "thick"] if t > 0.18 else ["lying"]
    return parts, ["thick"] if t > 0.18 else ["thin"] if t < 0.1 else []


def candle(rng: Rng, p: Palette) -> Design:
    wax, holder, flame = p("light", 0.1) if coin(rng) else p("any", 0.1), p("gold", 0.0), p("fire", 0.0)
    parts: list[Part] = []
    n = int(rng.integers(1, 5))
    single = n < 3
    spots = [(0.0, 0.0)] if single else [(-0.3, 0.3), (0.0, 0.45), (0.3, 0.3)]
    if single:
        r = rng.uniform(0.15, 0.3)
        parts += one(
            g.lathe([(0, 0), (r, 0), (r * 1.1, 0.07), (r * 0.95, 0.05), (0, 0.05)], 14), holder, "dish"
        )
        parts += one(g.ring(0.06, 0.02, 8, 5).turn("x", 90).at(r + 0.05, 0, 0.06), holder, "handle")
    else:
        parts += one(g.lathe([(0.2, 0), (0.15, 0.05), (0.03, 0.1), (0.03, 0.45)], 10), holder, "stand")
        for x, z in spots:
            if x:
                parts += one(g.tube([(0, 0, 0.2), (x * 0.7, 0, 0.15), (x, 0, z)], 0.025, 5), holder, "arms")
            parts.append(Part(g.cylinder(0.05, 0.05, 8, top=1.5).at(x, 0, z), holder, "cups"))
    for x, z in spots:
        r, h = rng.uniform(0.04, 0.06) * (2.0 if single else 1.0), rng.uniform(0.15, 0.5)
        parts.append(Part(g.cylinder(r, h, 8, top=0.92).at(x, 0, z + 0.03), wax, "wax"))
        parts += one(g.lathe([(0, 0), (r * 0.7, 0.05), (0, 0.18)], 6).at(x, 0, z + h + 0.04), flame, "flames")
    return parts, ["three-armed"] if not single else []


FAMILIES: dict[str, Family] = {
    "lamp": lamp,
    "clock": clock,
    "television": television,
    "mirror": mirror,
    "bathtub": bathtub,
    "chest": chest,
    "barrel": barrel,
    "crate": crate,
    "book": book,
    "candle": candle,
}
