"""Named families: buildings. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, one, pair


def house(rng: Rng, p: Palette) -> Design:
    wall, roof, glass, door = (
        p("wall", 0.25),
        p("roof", 0.25, ("bricks", "bands", "checks")),
        p("glass", 0.0),
        p("wood"),
    )
    x, y, h, rise = (
        rng.uniform(0.8, 1.6),
        rng.uniform(0.7, 1.4),
        rng.uniform(0.5, 1.3),
        rng.uniform(0.25, 0.9),
    )
    over = rng.uniform(0.03, 0.15)
    parts = [Part(g.box(x, y, h), wall, "walls")]
    kind = int(rng.integers(0, 4))
    words = []
    if kind == 0:
        gable = [(-x / 2 - over, 0), (x / 2 + over, 0), (0, rise)]
        parts += one(g.plate_y(gable, y + 2 * over).at(0, 0, h), roof, "roof")
    elif kind == 1:
        gable = [(-y / 2 - over, 0), (y / 2 + over, 0), (0, rise)]
        parts += one(g.plate_x(gable, x + 2 * over).at(0, 0, h), roof, "roof")
    elif kind == 2:
        parts.append(
            Part(
                g.box(x + 2 * over, y + 2 * over, rise, top=float(rng.uniform(0.02, 0.5))).at(0, 0, h),
                roof,
                "roof",
            )
        )
        words.append("with a hipped roof")
    else:
        parts += one(g.box(x + over, y + over, 0.08).at(0, 0, h), roof, "roof")
        words.append("with a flat roof")
    dw, dh = rng.uniform(0.15, 0.25), min(rng.uniform(0.3, 0.45), h * 0.8)
    side = pick(rng, (0.0, 0.0, -0.25, 0.25)) * x
    parts += one(g.box(dw, 0.05, dh).at(side, -y / 2, 0), door, "door")
    w = rng.uniform(0.12, 0.22)
    floors = 2 if h > 0.95 else 1
    for level in range(floors):
        z = h * (0.55 if floors == 1 else 0.3 + 0.4 * level) - w * 0.4
        for s in (-0.32, 0.0, 0.32):
            if abs(s * x - side) > (dw + w) / 2 or level:
                parts += one(g.box(w, 0.04, w * 1.2).at(s * x, -y / 2, z), glass, "windows")
        for s in (1, -1):
            for q in (-0.25, 0.25):
                parts += one(g.box(0.04, w, w * 1.2).at(s * x / 2, q * y, z), glass, "windows")
    if kind < 3 and coin(rng, 0.5):
        c = rng.uniform(0.1, 0.18)
        parts += one(
            g.box(c, c, rise * 0.9).at(pick(rng, (-0.25, 0.25)) * x, y * 0.2, h + rise * 0.3),
            p("stone", 0.3),
            "chimney",
        )
    return parts, words + (["two-storey"] if floors == 2 else [])


def tower(rng: Rng, p: Palette) -> Design:
    wall, roof, dark = p("stone", 0.5), p("roof", 0.2), p("dark", 0.0)
    r, h = rng.uniform(0.25, 0.45), rng.uniform(0.8, 1.8)
    n = pick(rng, (4, 6, 8, 14))
    k = rng.uniform(0.75, 1.05)
    parts = [Part(g.lathe([(r, 0), (r * k, h)], n, phase=0.5), wall, "walls")]
    top = r * k
    rim = rng.uniform(1.05, 1.35) * top
    parts += one(g.lathe([(top, 0), (rim, 0.1), (rim, 0.25)], n, phase=0.5).at(0, 0, h - 0.05), wall)
    words = []
    if coin(rng):
        m = n if n > 4 else 8
        tooth = g.box(rim * 0.35, rim * 0.35, rng.uniform(0.1, 0.2))
        for i in range(m):
            x, y = g.disc(rim * (0.82 if n > 4 else 1.0), m, 0.5)[i]
            if n == 4:
                x, y = np.clip((x, y), -0.6 * rim, 0.6 * rim)
            parts += one(tooth.at(x, y, h + 0.19), wall, "battlements")
        words.append("with battlements")
    else:
        up = rng.uniform(0.3, 1.0)
        parts += one(g.lathe([(rim * 1.15, 0), (0, up)], n, phase=0.5).at(0, 0, h + 0.2), roof, "roof")
        if coin(rng):
            parts += one(g.cylinder(0.012, 0.3, 5).at(0, 0, h + up + 0.15), dark)
            parts += one(
                g.plate_y([(0, 0), (0.25, 0.07), (0, 0.14)], 0.02).at(0, 0, h + up + 0.29),
                p("vivid", 0.0),
                "flag",
            )
            words.append("with a flag")
    front = -r * (0.72 if n == 4 else 0.93)
    arch = np.concatenate([[(0.12, 0)], np.add(g.disc(0.12, 12)[:7], (0, 0.25)), [(-0.12, 0)]])
    parts += one(g.plate_y(arch, 0.16).at(0, front, 0), dark, "door")
    for i in range(int(rng.integers(0, 4))):
        z = h * (0.4 + 0.18 * i)
        parts += one(g.box(0.08, 0.14, 0.15).at(0, front * (1 - (1 - k) * z / h), z), dark, "windows")
    return parts, words + (["tall"] if h > 1.5 else [])


def castle(rng: Rng, p: Palette) -> Design:
    wall, roof, dark = p("stone", 0.3), p("roof", 0.1), p("dark", 0.0)
    x, y, h = rng.uniform(1.0, 1.6), rng.uniform(0.8, 1.4), rng.uniform(0.35, 0.7)
    t, r, up = 0.1, rng.uniform(0.13, 0.22), rng.uniform(1.1, 1.7)
    n = pick(rng, (4, 6, 10))
    parts = []
    for s in (1, -1):
        parts += one(g.box(x, t, h).at(0, s * y / 2), wall, "walls")
        parts += one(g.box(t, y, h).at(s * x / 2), wall)
    m = int(x / 0.16)
    teeth = [
        g.box(0.08, t, 0.09).at((i + 0.5 - m / 2) * x / m, s * y / 2, h - 0.005)
        for i in range(m)
        for s in (1, -1)
    ]
    parts += one(g.join(teeth), wall, "battlements")
    pointed = coin(rng)
    for s in (1, -1):
        for q in (1, -1):
            at = (s * x / 2, q * y / 2)
            parts += one(g.lathe([(r, 0), (r * 0.95, h * up)], n, phase=0.5).at(*at), wall, "towers")
            cap = g.lathe(
                [(r * 1.3, 0), (0, rng.uniform(0.3, 0.5))] if pointed else [(r * 1.2, 0), (r * 1.25, 0.12)],
                n,
                phase=0.5,
            )
            parts += one(cap.at(*at, h * up - 0.01), roof if pointed else wall, "roofs" if pointed else "")
    if coin(rng, 0.6):
        k, z = rng.uniform(0.3, 0.5), h * rng.uniform(1.5, 2.3)
        parts += one(g.box(k, k, z).at(0, y * 0.12), wall, "keep")
        parts += one(g.lathe([(k * 0.8, 0), (0, k)], 4, phase=0.5).at(0, y * 0.12, z - 0.01), roof)
    gate = np.concatenate([[(0.14, 0)], np.add(g.disc(0.14, 12)[:7], (0, 0.16)), [(-0.14, 0)]])
    parts += one(g.plate_y(gate, t * 1.3).at(0, -y / 2), dark, "gate")
    return parts, ["with pointed towers"] if pointed else []


def well(rng: Rng, p: Palette) -> Design:
    stone, wood, roof = p("stone", 0.5), p("wood"), p("roof", 0.1)
    r, h, t = rng.uniform(0.3, 0.45), rng.uniform(0.25, 0.5), 0.09
    n = pick(rng, (6, 8, 12))
    parts = [
        Part(g.pipe(r, h, t, n), stone, "ring"),
        Part(g.cylinder(r - t / 2, h * 0.5, n), p("glass", 0.0), "water"),
    ]
    z = h + rng.uniform(0.4, 0.7)
    parts += pair(g.box(0.07, 0.07, z).at(r - 0.03), wood, "posts")
    k, up = r * rng.uniform(1.15, 1.5), rng.uniform(0.2, 0.4)
    if coin(rng, 0.75):
        cover = (
            g.plate_y([(-k, 0), (k, 0), (0, up)], 2 * k)
            if coin(rng)
            else g.plate_x([(-k, 0), (k, 0), (0, up)], 2 * k)
        )
    else:
        cover = g.lathe([(k * 1.3, 0), (0, up)], 4, phase=0.5)
    parts += one(cover.at(0, 0, z), roof, "roof")
    parts += one(g.rod((-r, 0, z - 0.15), (r, 0, z - 0.15), 0.04, 6), wood, "beam")
    parts += one(g.rod((0, 0, h * 0.9), (0, 0, z - 0.15), 0.012, 4), p.named("tan"))
    parts.append(Part(g.cylinder(0.08, 0.15, 8, top=1.25).at(0, 0, h * 0.8), wood, "bucket"))
    return parts, []


def windmill(rng: Rng, p: Palette) -> Design:
    wall, roof, sail = p("wall", 0.2), p("roof", 0.1), p("wood")
    r, h = rng.uniform(0.28, 0.42), rng.uniform(0.8, 1.3)
    n = pick(rng, (4, 6, 8, 12))
    k = rng.uniform(0.55, 0.8)
    parts = [Part(g.lathe([(r, 0), (r * k, h)], n, phase=0.5), wall, "walls")]
    cap = (
        g.lathe([(r * k * 1.15, 0), (0, rng.uniform(0.25, 0.5))], n, phase=0.5)
        if coin(rng)
        else g.sphere(r * k * 1.1, n, 4, share=0.5)
    )
    parts += one(cap.at(0, 0, h - 0.01), roof, "roof")
    hub = (0.0, -r * k - 0.1, h * 0.95)
    parts += one(g.rod((0, 0, hub[2]), (0, hub[1] - 0.05, hub[2]), 0.05, 6), sail)
    length, wide, m = rng.uniform(0.6, 0.95), rng.uniform(0.1, 0.22), pick(rng, (3, 4, 4, 4, 6))
    turned = rng.uniform(0, 90)
    cloth = p("cloth", 0.2)
    for i in range(m):
        bar = g.box(0.04, 0.04, length).turn("y", 360 / m * i + turned).at(*hub)
        sheet = (
            g.box(wide, 0.02, length * 0.75)
            .at(wide * 0.5, 0.0, length * 0.22)
            .turn("y", 360 / m * i + turned)
            .at(*hub)
        )
        parts += [Part(bar, sail, "sails"), Part(sheet, cloth, "sails")]
    parts += one(g.box(0.2, 0.06, 0.32).at(0, -r * (0.71 if n == 4 else 0.93), 0), p("wood"), "door")
    return parts, ["tall"] if h > 1.1 else []


def tent(rng: Rng, p: Palette) -> Design:
    cloth, pole = p("cloth", 0.3, ("stripes", "bands", "checks")), p("wood")
    x, y, h = rng.uniform(0.7, 1.2), rng.uniform(0.8, 1.6), rng.uniform(0.5, 0.9)
    kind = int(rng.integers(0, 3))
    if kind == 0:
        parts = [Part(g.plate_y([(-x / 2, 0), (x / 2, 0), (0, h)], y), cloth, "cloth")]
        parts += one(
            g.plate_y([(-x * 0.2, 0), (x * 0.2, 0), (0, h * 0.75)], 0.04).at(0, -y / 2, 0),
            p("dark", 0.0),
            "entrance",
        )
        for q in (-1, 1):
            parts += one(g.rod((0, q * y * 0.5, 0), (0, q * y * 0.5, h * 1.15), 0.02, 5), pole, "poles")
    elif kind == 1:
        n = int(rng.integers(6, 11))
        parts = [Part(g.lathe([(x * 0.6, 0), (x * 0.06, h * 1.4)], n, phase=0.5), cloth, "cloth")]
        for i in range(3):
            parts += one(
                g.rod((0, 0, h * 1.2), (0.1 * np.cos(2.1 * i), 0.1 * np.sin(2.1 * i), h * 1.65), 0.02, 5),
                pole,
                "poles",
            )
        parts += one(
            g.plate_y([(-0.14, 0), (0.14, 0), (0, 0.5)], 0.06).turn("x", -22).at(0, -x * 0.56, 0),
            p("dark", 0.0),
            "entrance",
        )
    else:
        n = int(rng.integers(8, 15))
        wall = rng.uniform(0.3, 0.6)
        parts = [Part(g.cylinder(x * 0.6, wall, n), cloth, "walls")]
        parts += one(
            g.lathe([(x * 0.68, 0), (x * 0.3, h * 0.4), (0, h)], n).at(0, 0, wall - 0.01),
            p("vivid", 0.4, ("stripes",)),
            "roof",
        )
        parts += one(g.box(0.26, 0.06, wall * 0.9).at(0, -x * 0.58, 0), p("dark", 0.0), "entrance")
        parts += one(
            g.plate_y([(0, 0), (0.2, 0.06), (0, 0.12)], 0.02).at(0, 0, wall + h), p("vivid", 0.0), "flag"
        )
        parts += one(g.cylinder(0.015, 0.2, 5).at(0, 0, wall + h - 0.06), pole)
    return parts, [("ridge", "conical", "circus")[kind]]


def gate(rng: Rng, p: Palette) -> Design:
    stone, door = p("stone", 0.3), p("wood", 0.3)
    x, h, t = rng.uniform(0.8, 1.4), rng.uniform(0.8, 1.3), rng.uniform(0.15, 0.35)
    w = x * rng.uniform(0.14, 0.25)
    arched = coin(rng)
    span = x - 2 * w
    parts = pair(g.box(w, t, h).at((x - w) / 2), stone, "pillars")
    if arched:
        r = span / 2
        out = g.disc(1.0, 20)[:11]
        block = np.concatenate(
            [[(x / 2, 0), (x / 2, r + w * 0.7), (-x / 2, r + w * 0.7), (-x / 2, 0)], out[::-1] * r]
        )
        parts += one(g.plate_y(block, t).at(0, 0, h - 0.01), stone, "arch")
    else:
        parts += one(
            g.box(x * rng.uniform(1.05, 1.4), t * 1.2, rng.uniform(0.1, 0.25)).at(0, 0, h - 0.01),
            stone,
            "lintel",
        )
        if coin(rng, 0.4):
            parts += one(g.box(x * 0.95, t * 0.7, 0.08).at(0, 0, h * 0.82), stone)
    if coin(rng, 0.6):
        opened = rng.uniform(20, 100) if coin(rng, 0.4) else 0.0
        leaf = g.box(span / 2, 0.05, h * 0.96).at(-span / 4).turn("z", opened).at(span / 2 - 0.01)
        parts += pair(leaf, door, "doors")
    else:
        parts += [
            Part(g.cylinder(0.02, h, 5).at((i - 2.5) / 6 * span), p("dark", 0.0), "bars") for i in range(6)
        ]
    return parts, ["arched"] if arched else []


FAMILIES: dict[str, Family] = {
    "house": house,
    "tower": tower,
    "castle": castle,
    "well": well,
    "windmill": windmill,
    "tent": tent,
    "gate": gate,
}
