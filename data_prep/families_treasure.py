"""Named families: treasure. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import deform
from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, one


def key(rng: Rng, p: Palette) -> Design:
    metal = p("gold", 0.0)
    h, r = rng.uniform(0.5, 0.9), rng.uniform(0.03, 0.05)
    n = pick(rng, (3, 4, 6, 14))
    k = rng.uniform(0.13, 0.24)
    parts = [Part(g.cylinder(r, h, 7), metal, "shaft")]
    parts += one(
        g.plate_y(
            g.disc(k, n, 0.75 if n == 3 else 0.5),
            0.07,
            holes=[g.disc(k * 0.55, n, 0.75 if n == 3 else 0.5)],
        ).at(0, 0, h + k * 0.8),
        metal,
        "bow",
    )
    for i in range(int(rng.integers(1, 4))):
        x = rng.uniform(0.12, 0.25)
        parts += one(g.box(x, 0.05, 0.06).at(x / 2, 0, 0.02 + i * 0.1), metal, "teeth")
    parts += one(g.ring(r * 1.3, r * 0.6, 8, 5).at(0, 0, h * 0.85), p("gold", 0.0), "collar")
    return parts, ["long"] if h > 0.75 else []


def potion(rng: Rng, p: Palette) -> Design:
    liquid, glass, cork = p("vivid", 0.1), p("glass", 0.0), p("wood", 0.0)
    r, h = rng.uniform(0.25, 0.4), rng.uniform(0.4, 0.7)
    n = pick(rng, (4, 6, 10, 14))
    kind = int(rng.integers(0, 3))
    body = (
        [(0, 0), (r * 0.6, 0), (r, h * 0.35), (r * 0.9, h * 0.7), (0.09, h)],
        [(0, 0), (r, 0), (r * 0.9, 0.1), (0.1, h)],
        [(0, 0), (r * 0.6, 0), (r * 0.65, h * 0.8), (0.1, h)],
    )[kind]
    parts = [Part(g.lathe([*body, (0, h)], n), liquid, "liquid")]
    parts += one(
        g.lathe([(0.1, 0), (0.09, 0.15), (0.14, 0.15), (0.14, 0.2), (0, 0.2)], 10).at(0, 0, h - 0.02),
        glass,
        "neck",
    )
    parts.append(Part(g.cylinder(0.08, 0.14, 8, top=1.3).at(0, 0, h + 0.15), cork, "cork"))
    if coin(rng, 0.5):
        parts += one(g.ring(0.13, 0.02, 10, 4).at(0, 0, h - 0.01), p("gold", 0.0), "band")
        parts += one(g.box(0.12, 0.02, 0.16).at(0.0, -0.16, h - 0.18), p("light", 0.0), "tag")
    return parts, [("round", "conical", "tall")[kind]]


def gem(rng: Rng, p: Palette) -> Design:
    paint = p("vivid", 0.1, ("fade",))
    n = pick(rng, (4, 5, 6, 8))
    r, up, low, table = (
        rng.uniform(0.3, 0.5),
        rng.uniform(0.1, 0.35),
        rng.uniform(0.2, 0.7),
        rng.uniform(0.0, 0.75),
    )
    profile = (
        [(0, 0), (r, low), (r * table, low + up), (0, low + up)]
        if table > 0.15
        else [(0, 0), (r, low), (0, low + up * 2)]
    )
    parts = [Part(g.lathe(profile, n).size(1, rng.uniform(0.5, 1.0), 1), paint, "stone")]
    if coin(rng, 0.4):
        parts += one(
            g.lathe([(r * 1.0, 0), (r * 1.06, 0.03), (r * 1.0, 0.06), (r * 0.5, 0.03)], n, closed=True).at(
                0, 0, low - 0.03
            ),
            p("gold", 0.0),
            "setting",
        )
    return parts, ["flat-topped" if table > 0.15 else "pointed"]


def coin_pile(rng: Rng, p: Palette) -> Design:
    metal = p("gold", 0.0)
    r, t = rng.uniform(0.3, 0.45), rng.uniform(0.05, 0.1)
    n = pick(rng, (6, 8, 12, 18))
    count = int(rng.integers(1, 9))
    if count == 1:
        parts = [Part(g.cylinder(r, t, n).turn("x", 90).at(0, t / 2, r), metal, "disc")]
        mark = (
            g.extrude(g.star(5, r * 0.25, r * 0.6), t * 1.3)
            if coin(rng)
            else g.box(r * 0.3, r * 1.0, t * 1.3)
        )
        parts += one(mark.turn("x", 90).at(0, t * 0.65, r), p("gold", 0.0), "mark")
        return parts, ["standing"]
    parts = []
    for i in range(count):
        x, y = rng.uniform(-0.08, 0.08, 2)
        parts += one(
            g.cylinder(r, t * 0.95, n).at(x, y, i * t), metal if coin(rng, 0.7) else p("gold", 0.0), "discs"
        )
    return parts, ["stacked"]


def crown(rng: Rng, p: Palette) -> Design:
    metal, jewel = p("gold", 0.0), p("vivid", 0.0)
    n, r = int(rng.integers(4, 10)), rng.uniform(0.3, 0.4)
    low, up, flare = rng.uniform(0.1, 0.25), rng.uniform(0.1, 0.35), rng.uniform(1.0, 1.25)
    m = 4 * n
    circle = g.disc(1.0, m)
    height = np.where(np.arange(m) % 4 == 2, low + up, np.where(np.arange(m) % 2 == 1, low + up * 0.45, low))
    outer = np.column_stack([circle * r * flare, height])
    inner = np.column_stack([circle * (r * flare - 0.04), height])
    rings = [
        np.column_stack([circle * r, np.zeros(m)]),
        outer,
        inner,
        np.column_stack([circle * (r - 0.04), np.zeros(m)]),
    ]
    parts = [Part(g.loft(rings, closed=True), metal, "band")]
    for i in range(n):
        x, y = circle[4 * i + 2]
        parts += one(g.sphere(0.035, 6, 4).at(x * r * flare, y * r * flare, low + up - 0.02), jewel, "jewels")
        if coin(rng, 0.6):
            parts += one(g.sphere(0.045, 6, 4).at(x * r * 1.04, y * r * 1.04, low * 0.3), jewel, "jewels")
    if coin(rng, 0.4):
        parts += one(g.sphere(r * 0.9, 10, 4, share=0.5).at(0, 0, low * 0.3), p("vivid", 0.0), "cap")
    return parts, []


def hat(rng: Rng, p: Palette) -> Design:
    felt, band = p("any", 0.2), p("vivid", 0.0)
    r, h, brim = rng.uniform(0.22, 0.32), rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.4)
    kind = int(rng.integers(0, 4))
    n = pick(rng, (8, 12, 16))
    parts = [Part(g.cylinder(r + brim, 0.04, n), felt, "brim")]
    if kind == 0:
        parts += one(g.lathe([(r, 0), (r * rng.uniform(0.9, 1.1), h)], n), felt, "crown")
    elif kind == 1:
        cone = g.lathe([(r, 0), (r * 0.6, h * 0.6), (r * 0.3, h), (0, h * 1.4)], n)
        parts += one(deform.bend(cone, float(rng.uniform(-50, 50))), felt, "cone")
    elif kind == 2:
        parts += one(g.sphere(r, n, 5, share=0.5).size(1, 1.1, 0.8 + h), felt, "dome")
    else:
        parts = [Part(g.sphere(r, n, 5, share=0.5), felt, "dome")]
        parts += one(g.sphere(r * 0.95, n, 4).size(0.9, 0.8, 0.12).at(0, -r * 0.85, 0), band, "peak")
        parts += one(g.sphere(0.04, 6, 4).at(0, 0, r * 0.97), band, "button")
    if kind < 3:
        parts += one(
            g.lathe([(r * 1.06, 0.03), (r * 1.04, 0.13), (r * 0.5, 0.13), (r * 0.5, 0.03)], n, closed=True),
            band,
            "band",
        )
    return parts, [("top", "pointed", "bowler", "peaked")[kind]]


FAMILIES: dict[str, Family] = {
    "key": key,
    "potion": potion,
    "gem": gem,
    "coin": coin_pile,
    "crown": crown,
    "hat": hat,
}
