"""Named families: kitchen and food. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, one, pair


def mug(rng: Rng, p: Palette) -> Design:
    clay = p("any", 0.25)
    r, h, t = rng.uniform(0.25, 0.4), rng.uniform(0.4, 0.9), rng.uniform(0.02, 0.05)
    foot, mid = r * rng.uniform(0.6, 1.1), r * rng.uniform(0.85, 1.2)
    outer = [(0, 0), (foot, 0), (mid, h * 0.5), (r, h)]
    inner = [(r - t, h), (mid - t, h * 0.5), (foot - t, t), (0, t)]
    parts = [Part(g.lathe(outer + inner, 16), clay, "cup")]
    a, b = h * rng.uniform(0.2, 0.3), h * rng.uniform(0.7, 0.85)
    d = rng.uniform(0.12, 0.25)
    x = (r + mid) / 2
    path = [(x - t, 0, b), (x + d * 0.8, 0, b), (x + d, 0, (a + b) / 2), (x + d * 0.8, 0, a), (x - t, 0, a)]
    parts += one(g.tube(path, rng.uniform(0.02, 0.05), 6), clay if coin(rng, 0.6) else p("any"), "handle")
    words = []
    if coin(rng, 0.5):
        parts += one(
            g.cylinder(mid * 0.9, 0.02, 12).at(0, 0, h * rng.uniform(0.55, 0.85)), p("earth", 0.0), "drink"
        )
        words.append("full")
    return parts, words


def bottle(rng: Rng, p: Palette) -> Design:
    glass, cap = p("any", 0.1), p("any", 0.0)
    r, h = rng.uniform(0.12, 0.3), rng.uniform(0.4, 0.9)
    neck, k = r * rng.uniform(0.2, 0.5), rng.uniform(0.55, 0.8)
    shoulder = rng.uniform(0.0, 0.2)
    profile = [(0, 0), (r * 0.95, 0), (r, 0.03), (r * rng.uniform(0.75, 1.1), h * k * 0.5), (r, h * k)]
    profile += [(neck * 1.1, h * min(k + shoulder, 0.85)), (neck, h), (0, h)]
    n = pick(rng, (6, 10, 14))
    parts = [Part(g.lathe(profile, n), glass, "body")]
    lid = rng.uniform(0.05, 0.15)
    parts += one(g.cylinder(neck * 1.2, lid, 10).at(0, 0, h - lid * 0.3), cap, "cap")
    if coin(rng, 0.7):
        a, b = h * k * rng.uniform(0.15, 0.35), h * k * rng.uniform(0.65, 0.85)
        label = [(r * 1.02, a), (r * 1.02, b), (r * 0.5, b), (r * 0.5, a)]
        parts += one(g.lathe(label, n, closed=True), p("light", 0.4), "label")
    return parts, ["slim"] if r < 0.17 else []


def teapot(rng: Rng, p: Palette) -> Design:
    clay, trim = p("any", 0.25), p("any", 0.0)
    r, h = rng.uniform(0.3, 0.45), rng.uniform(0.35, 0.7)
    if coin(rng, 0.6):
        trim = clay
    a, b = rng.uniform(0.5, 1.0), rng.uniform(0.3, 0.7)
    body = [(0, 0), (r * a * 0.8, 0), (r, h * 0.4), (r * 0.9, h * 0.7), (r * b, h), (0, h)]
    parts = [Part(g.lathe(body, 14), clay, "body")]
    lid = [(r * b * 1.05, 0), (r * b * 0.8, 0.08), (0.03, 0.12), (0.05, 0.16), (0.05, 0.2), (0, 0.22)]
    parts += one(g.lathe(lid, 12).at(0, 0, h), trim, "lid")
    d, up = rng.uniform(0.2, 0.4), h * rng.uniform(0.8, 1.2)
    spout = [(-r * 0.8, 0, h * 0.3), (-r - d * 0.5, 0, h * 0.5), (-r - d, 0, up)]
    parts += one(g.tube(spout, [0.1, 0.06, 0.04], 8), clay, "spout")
    if coin(rng, 0.65):
        e = rng.uniform(0.15, 0.3)
        path = [(r * 0.8, 0, h * 0.85), (r + e * 0.8, 0, h * 0.9), (r + e, 0, h * 0.5), (r * 0.9, 0, h * 0.2)]
    else:
        top = h + rng.uniform(0.3, 0.5)
        path = [
            (-r * 0.8, 0, h * 0.8),
            (-r * 0.7, 0, top * 0.9),
            (0, 0, top),
            (r * 0.7, 0, top * 0.9),
            (r * 0.8, 0, h * 0.8),
        ]
    parts += one(g.tube(path, 0.035, 6), trim, "handle")
    return parts, []


def pot(rng: Rng, p: Palette) -> Design:
    metal, trim = p("metal", 0.1) if coin(rng) else p("any", 0.1), p("dark", 0.0)
    r, h, t = rng.uniform(0.25, 0.45), rng.uniform(0.15, 0.55), 0.025
    pan = h < 0.25
    parts = [
        Part(g.lathe([(0, 0), (r * 0.9, 0), (r, h), (r - t, h), (r * 0.9 - t, t), (0, t)], 16), metal, "body")
    ]
    if pan or coin(rng, 0.3):
        length = rng.uniform(0.4, 0.8)
        parts += one(
            g.beam((r * 0.9, 0, h * 0.8), (r + length, 0, h * 0.8 + rng.uniform(0, 0.15)), 0.07, 0.04),
            trim,
            "handle",
        )
    else:
        ear = [
            (r - 0.02, 0.1, h * 0.75),
            (r + 0.1, 0.08, h * 0.75),
            (r + 0.1, -0.08, h * 0.75),
            (r - 0.02, -0.1, h * 0.75),
        ]
        parts += pair(g.tube(ear, 0.025, 5), trim, "handles")
    words = ["shallow"] if pan else []
    if coin(rng, 0.5):
        parts += one(
            g.lathe([(r * 1.03, 0), (r * 1.03, 0.02), (r * 0.6, 0.08), (0, 0.1)], 16).at(0, 0, h),
            metal,
            "lid",
        )
        parts.append(Part(g.cylinder(0.05, 0.06, 8, top=1.3).at(0, 0, h + 0.09), trim, "knob"))
        words.append("with a lid")
    elif coin(rng, 0.6):
        parts += one(
            g.cylinder(r * 0.93, 0.02, 14).at(0, 0, h * 0.6), p("fire", 0.3, ("spots", "noise")), "soup"
        )
    return parts, words


def bowl(rng: Rng, p: Palette) -> Design:
    clay = p("any", 0.2)
    r, h, t = rng.uniform(0.35, 0.5), rng.uniform(0.12, 0.4), 0.03
    foot = r * rng.uniform(0.3, 0.6)
    bulge = rng.uniform(0.75, 1.0)
    outer = [(0, 0), (foot, 0), (foot, 0.04), (r * bulge, h * 0.5), (r, h)]
    inner = [(r - t, h), (r * bulge - t, h * 0.5 + t), (foot * 0.8, 0.06), (0, 0.05)]
    parts = [Part(g.lathe(outer + inner, 16), clay, "bowl")]
    kind = int(rng.integers(0, 3))
    if kind == 1:
        parts += one(
            g.cylinder(r * 0.88, 0.02, 14).at(0, 0, h * 0.75), p("any", 0.3, ("spots", "noise")), "soup"
        )
        return parts, ["with soup"]
    if kind == 2:
        fruit = [p("vivid", 0.0) for _ in range(3)]
        s = r * rng.uniform(0.3, 0.4)
        for i in range(6):
            x, y = g.disc(r * 0.5, 5)[i] if i < 5 else (0.0, 0.0)
            parts += one(
                g.sphere(s, 8, 5).at(x, y, h * 0.6 + (s * 0.8 if i == 5 else 0)), pick(rng, fruit), "fruit"
            )
        return parts, ["with fruit"]
    return parts, ["shallow"] if h < 0.2 else ["deep"] if h > 0.32 else []


def cake(rng: Rng, p: Palette) -> Design:
    base, cream, berry = p("bread", 0.1), p("light", 0.1), p("vivid", 0.0)
    tiers = int(rng.integers(1, 4))
    r, z = rng.uniform(0.4, 0.6), 0.0
    n = pick(rng, (8, 14, 18))
    square = coin(rng, 0.15)
    parts = [Part(g.cylinder(r * 1.25, 0.03, 18), p("light", 0.0), "plate")]
    for i in range(tiers):
        h, k = rng.uniform(0.2, 0.4) / (1 + 0.3 * tiers), r * (1 - 0.28 * i)
        layer = g.box(k * 1.7, k * 1.7, h) if square else g.cylinder(k, h, n)
        parts += one(layer.at(0, 0, z + 0.03), base if i % 2 == 0 or coin(rng) else cream, "layers")
        ice = g.box(k * 1.76, k * 1.76, 0.06) if square else g.cylinder(k * 1.04, 0.06, n, top=0.97)
        parts += one(ice.at(0, 0, z + h), cream, "icing")
        z += h + 0.03
    top = r * (1 - 0.28 * (tiers - 1))
    kind = int(rng.integers(0, 3))
    words = [("single", "two-tier", "three-tier")[tiers - 1]]
    if kind == 0:
        m = int(rng.integers(1, 7))
        for x, y in g.disc(top * 0.6 if m > 1 else 0.0, m):
            parts += one(g.cylinder(0.025, 0.22, 6).at(x, y, z), p("vivid", 0.0), "candles")
            parts.append(
                Part(g.cylinder(0.03, 0.08, 5, top=0.0).at(x, y, z + 0.22), p("fire", 0.0), "flames")
            )
        words.append("with candles")
    elif kind == 1:
        m = int(rng.integers(4, 9))
        for x, y in g.disc(top * 0.75, m):
            parts += one(g.sphere(top * 0.15, 7, 4).at(x, y, z), berry, "berries")
        words.append("with berries")
    return parts, words


def burger(rng: Rng, p: Palette) -> Design:
    bun = p("bread", 0.0)
    r, z = rng.uniform(0.4, 0.55), rng.uniform(0.12, 0.2)
    n = pick(rng, (10, 14, 18))
    parts = [Part(g.lathe([(r * 0.9, 0), (r, z * 0.5), (r * 0.97, z)], n), bun, "bun")]
    fills = (
        ("dark brown", "patty", 0.12, 1.03, n),
        ("green", "lettuce", 0.04, 1.15, 9),
        ("yellow", "cheese", 0.035, 1.1, 4),
        ("red", "tomato", 0.05, 0.95, n),
    )
    layers = [fills[0], *(fills[int(rng.integers(0, 4))] for _ in range(int(rng.integers(1, 5))))]
    paints = {}
    for color, name, thick, wide, sides in layers:
        if name not in paints:
            paints[name] = p("any", 0.0) if p.style != "natural" else p.named(color)
        k = thick * rng.uniform(0.8, 1.8)
        parts += one(g.cylinder(r * wide, k, sides).at(0, 0, z), paints[name], name)
        z += k
    h = rng.uniform(0.2, 0.4)
    parts += one(
        g.lathe([(r * 0.98, 0), (r, h * 0.25), (r * 0.8, h * 0.7), (r * 0.4, h * 0.95), (0, h)], n).at(
            0, 0, z
        ),
        bun,
        "bun",
    )
    if coin(rng, 0.5):
        seed = p("light", 0.0)
        for x, y in (*g.disc(r * 0.55, 6), (0, 0)):
            parts += one(
                g.sphere(0.03, 5, 3).size(1, 1.5, 1).at(x, y, z + h * (0.84 if x or y else 0.98)),
                seed,
                "seeds",
            )
    return parts, ["tall"] if z > 0.55 else []


def ice_cream(rng: Rng, p: Palette) -> Design:
    cone = p("bread", 0.5, ("grid", "checks", "stripes"))
    h, r = rng.uniform(0.5, 0.9), rng.uniform(0.18, 0.28)
    words = []
    if coin(rng, 0.7):
        parts = [Part(g.lathe([(0, 0), (r, h), (0, h)], pick(rng, (8, 12))), cone, "cone")]
        z = h
        m = int(rng.integers(1, 4))
        for i in range(m):
            s = r * (1.15 - 0.12 * i)
            parts += one(
                g.sphere(s, 10, 6).at(0, 0, z - 0.35 * s), p("any", 0.15, ("spots", "noise")), "scoops"
            )
            z += s * 1.35
        words.append(("one-scoop", "two-scoop", "three-scoop")[m - 1])
        if coin(rng, 0.5):
            parts += one(g.sphere(0.07, 7, 4).at(0, 0, z - 0.1), p("vivid", 0.0), "cherry")
    else:
        w = rng.uniform(0.3, 0.5)
        parts = [
            Part(
                g.plate_y(g.rounded(w, h, w * rng.uniform(0.1, 0.5), 3), 0.16).at(0, 0, h / 2 + 0.3),
                p("any", 0.2),
                "ice",
            )
        ]
        parts += one(g.box(0.08, 0.05, 0.4), p.named("tan"), "stick")
        if coin(rng):
            parts += one(g.box(w * 1.03, 0.18, h * 0.3).at(0, 0, h * 0.5 + 0.3), p("any", 0.0), "stripe")
        words.append("on a stick")
    return parts, words


def donut(rng: Rng, p: Palette) -> Design:
    dough, icing = p("bread", 0.0), p("any", 0.15, ("stripes", "spots"))
    r, t = rng.uniform(0.28, 0.4), rng.uniform(0.12, 0.2)
    n = pick(rng, (10, 14, 18))
    parts = [Part(g.ring(r, t, n, 8).size(1, 1, rng.uniform(0.7, 1.1)), dough, "dough")]
    z = float(parts[0].solid.v[:, 2].max())
    upper = [(t * np.cos(a), t * np.sin(a) * z / (2 * t)) for a in np.linspace(-0.1, np.pi + 0.1, 6)]
    glaze = [(r + 1.06 * x, z / 2 + 1.08 * y) for x, y in upper]
    parts += one(g.lathe(glaze, n, closed=True), icing, "icing")
    if coin(rng, 0.6):
        colors = [p("vivid", 0.0) for _ in range(3)]
        for i, (x, y) in enumerate(g.disc(r, 12, 0.3)):
            k = 1 + rng.uniform(-0.25, 0.25)
            parts += one(
                g.box(0.08, 0.025, 0.03).turn("z", rng.uniform(0, 180)).at(x * k, y * k, z),
                colors[i % 3],
                "sprinkles",
            )
        return parts, ["with sprinkles"]
    return parts, []


FAMILIES: dict[str, Family] = {
    "mug": mug,
    "bottle": bottle,
    "teapot": teapot,
    "pot": pot,
    "bowl": bowl,
    "cake": cake,
    "burger": burger,
    "ice cream": ice_cream,
    "donut": donut,
}
