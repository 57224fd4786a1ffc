"""Named families: tools, weapons and treasure. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, legs, pair
from lora3d.data_prep.primitives import Solid


def sword(rng: Rng, p: Palette) -> Design:
    steel, grip, guard = p("metal", 0.0), p("wood", 0.0), p("gold", 0.0)
    length, w = rng.uniform(0.6, 1.4), rng.uniform(0.04, 0.16)
    tip = rng.uniform(0.05, 0.35) * length
    curve = rng.uniform(-25, 25) if coin(rng, 0.35) else 0.0
    rings = []
    for z, s in ((0.0, 1.0), ((length - tip) * 0.5, rng.uniform(0.8, 1.2)), (length - tip, rng.uniform(0.7, 1.2)), (length, 0.03)):
        rings.append([(-w / 2 * s, 0, z), (0, -0.02 * min(s, 1.0), z), (w / 2 * s, 0, z), (0, 0.02 * min(s, 1.0), z)])
    g_h = rng.uniform(0.15, 0.4)
    blade = g.loft(rings)
    if curve:
        blade = g.bend(blade, curve)
    parts = [Part(blade.at(0, 0, g_h), steel, "blade")]
    parts.append(Part(g.cylinder(0.025, g_h, 8), grip, "grip"))
    parts.append(Part(g.sphere(rng.uniform(0.03, 0.06), 8, 5).at(0, 0, -0.04), guard, "pommel"))
    span = rng.uniform(0.12, 0.4)
    kind = int(rng.integers(0, 3))
    if kind == 0:
        cross = g.box(span, 0.06, 0.05)
    elif kind == 1:
        cross = g.plate_y([(-span / 2, 0.08), (0, 0), (span / 2, 0.08), (span / 2, 0.12), (0, 0.06), (-span / 2, 0.12)], 0.06)
    else:
        cross = g.cylinder(span * 0.35, 0.03, 10)
    parts.append(Part(cross.at(0, 0, g_h - 0.02), guard, "guard"))
    return parts, ["curved"] if curve else []


def axe(rng: Rng, p: Palette) -> Design:
    steel, wood = p("metal", 0.0), p("wood", 0.1)
    h, r = rng.uniform(0.7, 1.3), rng.uniform(0.025, 0.045)
    parts = [Part(g.cylinder(r, h, 7, top=0.9), wood, "handle")]
    x, z, k = rng.uniform(0.18, 0.4), rng.uniform(0.1, 0.3), rng.uniform(0.05, 0.12)
    edge = [(x, -z), (x * 1.12, -z * 0.4), (x * 1.15, z * 0.3), (x, z)]
    head = np.array([(0, -k), *edge, (0, k)])
    words = []
    parts.append(Part(g.plate_y(head, 0.06).at(0, 0, h * 0.86), steel, "blade"))
    kind = int(rng.integers(0, 3))
    if kind == 0:
        parts.append(Part(g.plate_y(head, 0.06).mirror().at(0, 0, h * 0.86), steel, "blade"))
        words.append("double")
    elif kind == 1:
        parts.append(Part(g.box(0.14, 0.07, 2 * k).at(-0.06, 0, h * 0.86 - k), steel, ""))
    parts.append(Part(g.cylinder(r * 1.3, h * 0.2, 7), p("any", 0.0), "grip"))
    if coin(rng, 0.4):
        parts.append(Part(g.cylinder(r * 1.5, 0.12, 6, top=0.0).at(0, 0, h), steel, "spike"))
    return parts, words


def hammer(rng: Rng, p: Palette) -> Design:
    steel, wood = p("metal", 0.1), p("wood", 0.0)
    h, r = rng.uniform(0.6, 1.1), rng.uniform(0.03, 0.05)
    x, k = rng.uniform(0.25, 0.6), rng.uniform(0.06, 0.18)
    parts = [Part(g.cylinder(r, h, 7), wood, "handle"), Part(g.cylinder(r * 1.35, h * 0.25, 7), p("any", 0.0), "grip")]
    kind = int(rng.integers(0, 4))
    if kind == 0:
        head = g.soft_box(x, 2 * k, 2 * k, 0.03).at(0, 0, -k)
    elif kind == 1:
        head = g.lathe([(k, 0), (k, x * 0.2), (k * 0.6, x * 0.25), (k * 0.6, x * 0.75), (k, x * 0.8), (k, x)], 10).turn("y", 90).at(-x / 2)
    elif kind == 2:
        claw = [(-0.05, -k * 0.6), (x * 0.3, -k * 0.5), (x * 0.6, -k), (x * 0.62, -k * 0.7), (x * 0.3, k * 0.4), (-0.05, k * 0.6)]
        head = g.join([g.plate_y(claw, k), g.cylinder(k * 0.75, x * 0.4, 8).turn("y", -90)])
    else:
        head = g.box(x, k * 1.6, k * 2).at(0, 0, -k)
        parts.append(Part(g.box(x * 0.12, k * 1.7, k * 2.1).at(x * 0.4, 0, h - k * 2.05), p("gold", 0.0), "bands"))
        parts.append(Part(g.box(x * 0.12, k * 1.7, k * 2.1).at(-x * 0.4, 0, h - k * 2.05), p("gold", 0.0), "bands"))
    parts.append(Part(head.at(0, 0, h - k), steel, "head"))
    return parts, [("block", "round", "claw", "war")[kind]]


def pickaxe(rng: Rng, p: Palette) -> Design:
    steel, wood = p("metal", 0.0), p("wood", 0.1)
    h, x, drop = rng.uniform(0.8, 1.2), rng.uniform(0.35, 0.6), rng.uniform(0.05, 0.25)
    parts = [Part(g.box(0.07, 0.06, h), wood, "handle")]
    t = np.linspace(-1, 1, 7)
    path = np.stack([t * x, 0 * t, h * 0.92 - drop * t * t], 1)
    section = np.array([(-0.05, -0.05), (0.05, -0.05), (0.05, 0.05), (-0.05, 0.05)])
    flat = coin(rng)
    parts.append(Part(g.sweep(path, section, [0.9 if flat else 0.1, 0.6, 0.9, 1.1, 0.9, 0.6, 0.1]), steel, "head"))
    parts.append(Part(g.box(0.13, 0.13, 0.16).at(0, 0, h * 0.86), p("metal", 0.0), ""))
    return parts, []


def spear(rng: Rng, p: Palette) -> Design:
    steel, wood = p("metal", 0.0), p("wood", 0.0)
    h, r = rng.uniform(1.0, 1.6), rng.uniform(0.018, 0.03)
    parts = [Part(g.cylinder(r, h, 6), wood, "shaft")]
    kind = int(rng.integers(0, 3))
    z, w = rng.uniform(0.2, 0.4), rng.uniform(0.05, 0.12)
    if kind == 0:
        tip = g.lathe([(r, 0), (w, z * 0.3), (0, z)], 4).size(1, 0.35, 1)
        parts.append(Part(tip.at(0, 0, h - 0.01), steel, "tip"))
    elif kind == 1:
        x = rng.uniform(0.12, 0.2)
        for s in (-1, 0, 1):
            parts.append(Part(g.cylinder(0.025, z * (1.0 if s else 1.2), 6, top=0.0).at(s * x, 0, h), steel, "prongs"))
        parts.append(Part(g.box(2 * x + 0.05, 0.05, 0.05).at(0, 0, h - 0.03), steel, ""))
    else:
        blade = [(0, -0.05), (0.3, -0.02), (0.22, 0.2), (0, 0.15)]
        parts.append(Part(g.plate_y(blade, 0.04).at(0, 0, h - 0.1), steel, "blade"))
        parts.append(Part(g.lathe([(r, 0), (0.05, 0.08), (0, z)], 5).at(0, 0, h), steel, "tip"))
    if coin(rng, 0.6):
        parts.append(Part(g.cylinder(r * 1.5, 0.15, 8, top=1.6).at(0, 0, h - 0.2), p("vivid", 0.0), "band"))
    return parts, [("simple", "trident-like", "halberd-like")[kind]]


def bow(rng: Rng, p: Palette) -> Design:
    wood, string = p("wood", 0.0), p("light", 0.0)
    h, d, curl = rng.uniform(0.9, 1.4), rng.uniform(0.15, 0.4), rng.uniform(0.0, 0.2)
    t = np.linspace(-1, 1, 11)
    x = d * (1 - t * t) - curl * np.sin(np.abs(t) * np.pi) * (np.abs(t) > 0.5)
    path = np.stack([x, 0 * t, (t + 1) / 2 * h], 1)
    radius = 0.035 * (1 - 0.6 * np.abs(t)) + 0.008
    parts = [Part(g.tube(path, radius, 6), wood, "limbs")]
    parts.append(Part(g.rod(path[0], path[-1], 0.01, 4), string, "string"))
    parts.append(Part(g.cylinder(0.05, h * 0.18, 8).at(d, 0, h * 0.41), p("any", 0.0), "grip"))
    if coin(rng, 0.5):
        z = h / 2
        parts.append(Part(g.rod((-0.1, 0, z), (d + 0.25, 0, z), 0.012, 5), p("wood", 0.0), "arrow"))
        parts.append(Part(g.cylinder(0.04, 0.1, 5, top=0.0).turn("y", 90).at(d + 0.25, 0, z), p("metal", 0.0), "tip"))
        parts.append(Part(g.box(0.12, 0.01, 0.09).at(-0.06, 0, z - 0.045), p("vivid", 0.0), "feathers"))
        return parts, ["with an arrow"]
    return parts, []


def shield(rng: Rng, p: Palette) -> Design:
    face, rim, boss = p("vivid", 0.3, ("stripes", "checks", "bands", "zigzag")), p("metal", 0.0), p("gold", 0.0)
    w, h, t = rng.uniform(0.5, 0.8), rng.uniform(0.6, 1.0), rng.uniform(0.04, 0.09)
    kind = int(rng.integers(0, 4))
    if kind == 0:
        shape = g.disc(w / 2, pick(rng, (6, 8, 20)), 0.5)
    elif kind == 1:
        k = rng.uniform(0.2, 0.45)
        side = [(w / 2 * c, -h * k + (h * (k - 1)) * s * 0.9 + h / 2) for c, s in ((1, 0.05), (0.9, 0.35), (0.6, 0.7), (0, 1.05))]
        shape = np.array([(-w / 2, h / 2), *[(-x, z) for x, z in side[:-1]], side[-1], *side[-2::-1], (w / 2, h / 2), (0, h * rng.uniform(0.42, 0.6))])
    elif kind == 2:
        shape = g.rounded(w * 0.9, h, rng.uniform(0.02, 0.2), 2)
    else:
        shape = np.array([(0, -h * 0.6), (w / 2, -h * 0.1), (w / 2, h * 0.5), (-w / 2, h * 0.5), (-w / 2, -h * 0.1)])
    inner = shape * rng.uniform(0.8, 0.92)
    z = h * 0.6
    parts = [Part(g.plate_y(shape, t).at(0, 0, z), rim, "rim"), Part(g.plate_y(inner, t).at(0, -0.03, z), face, "face")]
    emblem = int(rng.integers(0, 4))
    if emblem == 0:
        parts.append(Part(g.sphere(w * 0.15, 10, 5, share=0.5).turn("x", 90).at(0, -0.03 - t / 2, z), boss, "boss"))
    elif emblem == 1:
        parts.append(Part(g.box(w * 0.14, t, h * 0.55).at(0, -0.045, z - h * 0.27), boss, "cross"))
        parts.append(Part(g.box(w * 0.55, t, w * 0.14).at(0, -0.047, z), boss, "cross"))
    elif emblem == 2:
        parts.append(Part(g.plate_y(g.star(int(rng.integers(4, 7)), 0.09, 0.2) * w / 0.7, t).at(0, -0.05, z), boss, "star"))
    return parts, [("round", "pointed", "rectangular", "five-sided")[kind]]


def blaster(rng: Rng, p: Palette) -> Design:
    body, trim, glow = p("any"), p("dark", 0.0), p("vivid", 0.0)
    y, h, w = rng.uniform(0.5, 1.1), rng.uniform(0.14, 0.25), rng.uniform(0.1, 0.18)
    side = [(-y * 0.3, 0), (y * 0.5, 0), (y * 0.55, h * 0.7), (y * 0.35, h), (-y * 0.25, h), (-y * 0.36, h * 0.6)]
    z = rng.uniform(0.25, 0.35)
    parts = [Part(g.plate_x(side, w).at(0, 0, z), body, "body")]
    parts.append(Part(g.plate_x([(0.02, 0), (0.16, 0), (0.1, z + 0.02), (-0.06, z + 0.02)], w * 0.7).at(0, y * 0.25), trim, "grip"))
    r = rng.uniform(0.03, 0.07)
    length = rng.uniform(0.2, 0.5)
    parts.append(Part(g.rod((0, -y * 0.25, z + h * 0.5), (0, -y * 0.3 - length, z + h * 0.5), r, 8), trim, "barrel"))
    for i in range(int(rng.integers(0, 4))):
        parts.append(Part(g.ring(r * 1.3, r * 0.4, 10, 5).turn("x", 90).at(0, -y * 0.36 - i * 0.09, z + h * 0.5), glow, "rings"))
    if coin(rng, 0.5):
        parts.append(Part(g.cylinder(0.04, y * 0.35, 8).turn("x", 90).at(0, y * 0.2, z + h + 0.05), trim, "scope"))
        parts.append(Part(g.box(0.03, 0.06, 0.08).at(0, 0.05, z + h - 0.03), trim, ""))
    if coin(rng, 0.4):
        parts.append(Part(g.plate_x([(y * 0.45, 0), (y * 0.9, -0.15), (y * 0.95, h * 0.5), (y * 0.5, h * 0.8)], w * 0.6).at(0, 0, z), trim, "stock"))
    parts.append(Part(g.box(w * 1.05, y * 0.3, h * 0.2).at(0, 0.02, z + h * 0.5), glow, "stripe"))
    return parts, ["long" if y > 0.9 else "small"] if y > 0.9 or y < 0.65 else []


def key(rng: Rng, p: Palette) -> Design:
    metal = p("gold", 0.0)
    h, r = rng.uniform(0.5, 0.9), rng.uniform(0.03, 0.05)
    n = pick(rng, (3, 4, 6, 14))
    k = rng.uniform(0.13, 0.24)
    parts = [Part(g.cylinder(r, h, 7), metal, "shaft")]
    parts.append(Part(g.plate_y(g.disc(k, n, 0.75 if n == 3 else 0.5), 0.07, holes=[g.disc(k * 0.55, n, 0.75 if n == 3 else 0.5)]).at(0, 0, h + k * 0.8), metal, "bow"))
    for i in range(int(rng.integers(1, 4))):
        x = rng.uniform(0.12, 0.25)
        parts.append(Part(g.box(x, 0.05, 0.06).at(x / 2, 0, 0.02 + i * 0.1), metal, "teeth"))
    parts.append(Part(g.ring(r * 1.3, r * 0.6, 8, 5).at(0, 0, h * 0.85), p("gold", 0.0), "collar"))
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
    parts.append(Part(g.lathe([(0.1, 0), (0.09, 0.15), (0.14, 0.15), (0.14, 0.2), (0, 0.2)], 10).at(0, 0, h - 0.02), glass, "neck"))
    parts.append(Part(g.cylinder(0.08, 0.14, 8, top=1.3).at(0, 0, h + 0.15), cork, "cork"))
    if coin(rng, 0.5):
        parts.append(Part(g.ring(0.13, 0.02, 10, 4).at(0, 0, h - 0.01), p("gold", 0.0), "band"))
        parts.append(Part(g.box(0.12, 0.02, 0.16).at(0.0, -0.16, h - 0.18), p("light", 0.0), "tag"))
    return parts, [("round", "conical", "tall")[kind]]


def bomb(rng: Rng, p: Palette) -> Design:
    shell, fuse = p("dark", 0.1) if coin(rng, 0.7) else p("vivid", 0.1), p("light", 0.0)
    r = rng.uniform(0.3, 0.45)
    n = pick(rng, (8, 12, 16))
    parts = [Part(g.sphere(r, n, n // 2 + 1), shell, "shell")]
    parts.append(Part(g.cylinder(r * 0.32, r * 0.3, 10).at(0, 0, r * 1.88), p("metal", 0.0), "cap"))
    d, up = rng.uniform(0.05, 0.25), rng.uniform(0.12, 0.35)
    z = r * 2.15
    parts.append(Part(g.tube([(0, 0, z - 0.03), (d * 0.2, 0, z + up * 0.6), (d, 0, z + up), (d * 1.6, 0, z + up)], 0.03, 5), fuse, "fuse"))
    if coin(rng, 0.7):
        parts.append(Part(g.extrude(g.star(6, 0.06, 0.13), 0.1).turn("x", 90).at(d * 1.6, 0.05, z + up), p("fire", 0.0), "spark"))
    if coin(rng, 0.3):
        parts += [Part(g.cylinder(0.05, 0.14, 6, top=0.0).at(0, 0, r - 0.03).turn("y", 90).turn("z", 60 * i).at(0, 0, r), p("metal", 0.0), "spikes") for i in range(6)]
        return parts, ["spiked"]
    return parts, []


def gem(rng: Rng, p: Palette) -> Design:
    paint = p("vivid", 0.1, ("fade",))
    n = pick(rng, (4, 5, 6, 8))
    r, up, low, table = rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.35), rng.uniform(0.2, 0.7), rng.uniform(0.0, 0.75)
    profile = [(0, 0), (r, low), (r * table, low + up), (0, low + up)] if table > 0.15 else [(0, 0), (r, low), (0, low + up * 2)]
    parts = [Part(g.lathe(profile, n).size(1, rng.uniform(0.5, 1.0), 1), paint, "stone")]
    if coin(rng, 0.4):
        parts.append(Part(g.lathe([(r * 1.0, 0), (r * 1.06, 0.03), (r * 1.0, 0.06), (r * 0.5, 0.03)], n, closed=True).at(0, 0, low - 0.03), p("gold", 0.0), "setting"))
    return parts, ["flat-topped" if table > 0.15 else "pointed"]


def coin_pile(rng: Rng, p: Palette) -> Design:
    metal = p("gold", 0.0)
    r, t = rng.uniform(0.3, 0.45), rng.uniform(0.05, 0.1)
    n = pick(rng, (6, 8, 12, 18))
    count = int(rng.integers(1, 9))
    if count == 1:
        parts = [Part(g.cylinder(r, t, n).turn("x", 90).at(0, t / 2, r), metal, "disc")]
        mark = g.extrude(g.star(5, r * 0.25, r * 0.6), t * 1.3) if coin(rng) else g.box(r * 0.3, r * 1.0, t * 1.3)
        parts.append(Part(mark.turn("x", 90).at(0, t * 0.65, r), p("gold", 0.0), "mark"))
        return parts, ["standing"]
    parts = []
    for i in range(count):
        x, y = rng.uniform(-0.08, 0.08, 2)
        parts.append(Part(g.cylinder(r, t * 0.95, n).at(x, y, i * t), metal if coin(rng, 0.7) else p("gold", 0.0), "discs"))
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
    rings = [np.column_stack([circle * r, np.zeros(m)]), outer, inner, np.column_stack([circle * (r - 0.04), np.zeros(m)])]
    parts = [Part(g.loft(rings, closed=True), metal, "band")]
    for i in range(n):
        x, y = circle[4 * i + 2]
        parts.append(Part(g.sphere(0.035, 6, 4).at(x * r * flare, y * r * flare, low + up - 0.02), jewel, "jewels"))
        if coin(rng, 0.6):
            parts.append(Part(g.sphere(0.045, 6, 4).at(x * r * 1.04, y * r * 1.04, low * 0.3), jewel, "jewels"))
    if coin(rng, 0.4):
        parts.append(Part(g.sphere(r * 0.9, 10, 4, share=0.5).at(0, 0, low * 0.3), p("vivid", 0.0), "cap"))
    return parts, []


def hat(rng: Rng, p: Palette) -> Design:
    felt, band = p("any", 0.2), p("vivid", 0.0)
    r, h, brim = rng.uniform(0.22, 0.32), rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.4)
    kind = int(rng.integers(0, 4))
    n = pick(rng, (8, 12, 16))
    parts = [Part(g.cylinder(r + brim, 0.04, n), felt, "brim")]
    if kind == 0:
        parts.append(Part(g.lathe([(r, 0), (r * rng.uniform(0.9, 1.1), h)], n), felt, "crown"))
    elif kind == 1:
        cone = g.lathe([(r, 0), (r * 0.6, h * 0.6), (r * 0.3, h), (0, h * 1.4)], n)
        parts.append(Part(g.bend(cone, float(rng.uniform(-50, 50))), felt, "cone"))
    elif kind == 2:
        parts.append(Part(g.sphere(r, n, 5, share=0.5).size(1, 1.1, 0.8 + h), felt, "dome"))
    else:
        parts = [Part(g.sphere(r, n, 5, share=0.5), felt, "dome")]
        parts.append(Part(g.sphere(r * 0.95, n, 4).size(0.9, 0.8, 0.12).at(0, -r * 0.85, 0), band, "peak"))
        parts.append(Part(g.sphere(0.04, 6, 4).at(0, 0, r * 0.97), band, "button"))
    if kind < 3:
        parts.append(Part(g.lathe([(r * 1.06, 0.03), (r * 1.04, 0.13), (r * 0.5, 0.13), (r * 0.5, 0.03)], n, closed=True), band, "band"))
    return parts, [("top", "pointed", "bowler", "peaked")[kind]]


def book(rng: Rng, p: Palette) -> Design:
    cover, page, trim = p("any", 0.2), p("light", 0.0), p("gold", 0.0)
    x, z, t = rng.uniform(0.4, 0.7), rng.uniform(0.55, 0.8), rng.uniform(0.06, 0.25)
    if coin(rng, 0.35):
        half = [(0, 0.02), (x * 0.5, t), (x, 0.03 + t * 0.5), (x, 0.03), (0, 0.0)][::-1]
        parts = pair(g.extrude(np.array([(a, b + 0.03) for a, b in half]), z).turn("x", 90).at(0, z / 2), page, "pages")
        parts.append(Part(g.box(2 * x + 0.08, z + 0.06, 0.03), cover, "cover"))
        return parts, ["open"]
    parts = [Part(g.box(x * 0.96, t, z * 0.95).at(-0.01, 0, z * 0.025), page, "pages")]
    board = g.box(x, 0.035, z)
    parts += [Part(board.at(0, s * (t / 2 + 0.015)), cover, "cover") for s in (1, -1)]
    parts.append(Part(g.box(0.04, t + 0.06, z).at(-x / 2), cover, "spine"))
    if coin(rng, 0.6):
        parts.append(Part(g.box(x * 0.5, 0.02, z * 0.2).at(0, -t / 2 - 0.035, z * 0.6), trim, "title"))
    if coin(rng, 0.4):
        parts += [Part(g.box(0.1, t + 0.1, 0.1).at(x / 2 - 0.05, 0, a), trim, "corners") for a in (-0.01, z - 0.09)]
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
        parts.append(Part(g.lathe([(0, 0), (r, 0), (r * 1.1, 0.07), (r * 0.95, 0.05), (0, 0.05)], 14), holder, "dish"))
        parts.append(Part(g.ring(0.06, 0.02, 8, 5).turn("x", 90).at(r + 0.05, 0, 0.06), holder, "handle"))
    else:
        parts.append(Part(g.lathe([(0.2, 0), (0.15, 0.05), (0.03, 0.1), (0.03, 0.45)], 10), holder, "stand"))
        for x, z in spots:
            if x:
                parts.append(Part(g.tube([(0, 0, 0.2), (x * 0.7, 0, 0.15), (x, 0, z)], 0.025, 5), holder, "arms"))
            parts.append(Part(g.cylinder(0.05, 0.05, 8, top=1.5).at(x, 0, z), holder, "cups"))
    for x, z in spots:
        r, h = rng.uniform(0.04, 0.06) * (2.0 if single else 1.0), rng.uniform(0.15, 0.5)
        parts.append(Part(g.cylinder(r, h, 8, top=0.92).at(x, 0, z + 0.03), wax, "wax"))
        parts.append(Part(g.lathe([(0, 0), (r * 0.7, 0.05), (0, 0.18)], 6).at(x, 0, z + h + 0.04), flame, "flames"))
    return parts, ["three-armed"] if not single else []


FAMILIES: dict[str, Family] = {
    "sword": sword,
    "axe": axe,
    "hammer": hammer,
    "pickaxe": pickaxe,
    "spear": spear,
    "bow": bow,
    "shield": shield,
    "blaster": blaster,
    "key": key,
    "potion": potion,
    "bomb": bomb,
    "gem": gem,
    "coin": coin_pile,
    "crown": crown,
    "hat": hat,
    "book": book,
    "candle": candle,
}
