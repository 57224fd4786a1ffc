"""Named families: tools and weapons. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import deform
from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, one


def axe(rng: Rng, p: Palette) -> Design:
    steel, wood = p("metal", 0.0), p("wood", 0.1)
    h, r = rng.uniform(0.7, 1.3), rng.uniform(0.025, 0.045)
    parts = [Part(g.cylinder(r, h, 7, top=0.9), wood, "handle")]
    x, z, k = rng.uniform(0.18, 0.4), rng.uniform(0.1, 0.3), rng.uniform(0.05, 0.12)
    edge = [(x, -z), (x * 1.12, -z * 0.4), (x * 1.15, z * 0.3), (x, z)]
    head = np.array([(0, -k), *edge, (0, k)])
    words = []
    parts += one(g.plate_y(head, 0.06).at(0, 0, h * 0.86), steel, "blade")
    kind = int(rng.integers(0, 3))
    if kind == 0:
        parts += one(g.plate_y(head, 0.06).mirror().at(0, 0, h * 0.86), steel, "blade")
        words.append("double")
    elif kind == 1:
        parts += one(g.box(0.14, 0.07, 2 * k).at(-0.06, 0, h * 0.86 - k), steel)
    parts += one(g.cylinder(r * 1.3, h * 0.2, 7), p("any", 0.0), "grip")
    if coin(rng, 0.4):
        parts.append(Part(g.cylinder(r * 1.5, 0.12, 6, top=0.0).at(0, 0, h), steel, "spike"))
    return parts, words


def hammer(rng: Rng, p: Palette) -> Design:
    steel, wood = p("metal", 0.1), p("wood", 0.0)
    h, r = rng.uniform(0.6, 1.1), rng.uniform(0.03, 0.05)
    x, k = rng.uniform(0.25, 0.6), rng.uniform(0.06, 0.18)
    parts = [
        Part(g.cylinder(r, h, 7), wood, "handle"),
        Part(g.cylinder(r * 1.35, h * 0.25, 7), p("any", 0.0), "grip"),
    ]
    kind = int(rng.integers(0, 4))
    if kind == 0:
        head = g.soft_box(x, 2 * k, 2 * k, 0.03).at(0, 0, -k)
    elif kind == 1:
        head = (
            g.lathe(
                [(k, 0), (k, x * 0.2), (k * 0.6, x * 0.25), (k * 0.6, x * 0.75), (k, x * 0.8), (k, x)], 10
            )
            .turn("y", 90)
            .at(-x / 2)
        )
    elif kind == 2:
        claw = [
            (-0.05, -k * 0.6),
            (x * 0.3, -k * 0.5),
            (x * 0.6, -k),
            (x * 0.62, -k * 0.7),
            (x * 0.3, k * 0.4),
            (-0.05, k * 0.6),
        ]
        head = g.join([g.plate_y(claw, k), g.cylinder(k * 0.75, x * 0.4, 8).turn("y", -90)])
    else:
        head = g.box(x, k * 1.6, k * 2).at(0, 0, -k)
        parts += one(g.box(x * 0.12, k * 1.7, k * 2.1).at(x * 0.4, 0, h - k * 2.05), p("gold", 0.0), "bands")
        parts += one(g.box(x * 0.12, k * 1.7, k * 2.1).at(-x * 0.4, 0, h - k * 2.05), p("gold", 0.0), "bands")
    parts += one(head.at(0, 0, h - k), steel, "head")
    return parts, [("block", "round", "claw", "war")[kind]]


def pickaxe(rng: Rng, p: Palette) -> Design:
    steel, wood = p("metal", 0.0), p("wood", 0.1)
    h, x, drop = rng.uniform(0.8, 1.2), rng.uniform(0.35, 0.6), rng.uniform(0.05, 0.25)
    parts = [Part(g.box(0.07, 0.06, h), wood, "handle")]
    t = np.linspace(-1, 1, 7)
    path = np.stack([t * x, 0 * t, h * 0.92 - drop * t * t], 1)
    section = np.array([(-0.05, -0.05), (0.05, -0.05), (0.05, 0.05), (-0.05, 0.05)])
    flat = coin(rng)
    parts += one(g.sweep(path, section, [0.9 if flat else 0.1, 0.6, 0.9, 1.1, 0.9, 0.6, 0.1]), steel, "head")
    parts += one(g.box(0.13, 0.13, 0.16).at(0, 0, h * 0.86), p("metal", 0.0))
    return parts, []


def sword(rng: Rng, p: Palette) -> Design:
    steel, grip, guard = p("metal", 0.0), p("wood", 0.0), p("gold", 0.0)
    length, w = rng.uniform(0.6, 1.4), rng.uniform(0.04, 0.16)
    tip = rng.uniform(0.05, 0.35) * length
    curve = rng.uniform(-25, 25) if coin(rng, 0.35) else 0.0
    rings = []
    for z, s in (
        (0.0, 1.0),
        ((length - tip) * 0.5, rng.uniform(0.8, 1.2)),
        (length - tip, rng.uniform(0.7, 1.2)),
        (length, 0.03),
    ):
        rings.append(
            [(-w / 2 * s, 0, z), (0, -0.02 * min(s, 1.0), z), (w / 2 * s, 0, z), (0, 0.02 * min(s, 1.0), z)]
        )
    g_h = rng.uniform(0.15, 0.4)
    blade = g.loft(rings)
    if curve:
        blade = deform.bend(blade, curve)
    parts = [Part(blade.at(0, 0, g_h), steel, "blade")]
    parts += one(g.cylinder(0.025, g_h, 8), grip, "grip")
    parts += one(g.sphere(rng.uniform(0.03, 0.06), 8, 5).at(0, 0, -0.04), guard, "pommel")
    span = rng.uniform(0.12, 0.4)
    kind = int(rng.integers(0, 3))
    if kind == 0:
        cross = g.box(span, 0.06, 0.05)
    elif kind == 1:
        cross = g.plate_y(
            [(-span / 2, 0.08), (0, 0), (span / 2, 0.08), (span / 2, 0.12), (0, 0.06), (-span / 2, 0.12)],
            0.06,
        )
    else:
        cross = g.cylinder(span * 0.35, 0.03, 10)
    parts += one(cross.at(0, 0, g_h - 0.02), guard, "guard")
    return parts, ["curved"] if curve else []


def spear(rng: Rng, p: Palette) -> Design:
    steel, wood = p("metal", 0.0), p("wood", 0.0)
    h, r = rng.uniform(1.0, 1.6), rng.uniform(0.018, 0.03)
    parts = [Part(g.cylinder(r, h, 6), wood, "shaft")]
    kind = int(rng.integers(0, 3))
    z, w = rng.uniform(0.2, 0.4), rng.uniform(0.05, 0.12)
    if kind == 0:
        tip = g.lathe([(r, 0), (w, z * 0.3), (0, z)], 4).size(1, 0.35, 1)
        parts += one(tip.at(0, 0, h - 0.01), steel, "tip")
    elif kind == 1:
        x = rng.uniform(0.12, 0.2)
        for s in (-1, 0, 1):
            parts.append(
                Part(g.cylinder(0.025, z * (1.0 if s else 1.2), 6, top=0.0).at(s * x, 0, h), steel, "prongs")
            )
        parts += one(g.box(2 * x + 0.05, 0.05, 0.05).at(0, 0, h - 0.03), steel)
    else:
        blade = [(0, -0.05), (0.3, -0.02), (0.22, 0.2), (0, 0.15)]
        parts += one(g.plate_y(blade, 0.04).at(0, 0, h - 0.1), steel, "blade")
        parts += one(g.lathe([(r, 0), (0.05, 0.08), (0, z)], 5).at(0, 0, h), steel, "tip")
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
    parts += one(g.rod(path[0], path[-1], 0.01, 4), string, "string")
    parts += one(g.cylinder(0.05, h * 0.18, 8).at(d, 0, h * 0.41), p("any", 0.0), "grip")
    if coin(rng, 0.5):
        z = h / 2
        parts += one(g.rod((-0.1, 0, z), (d + 0.25, 0, z), 0.012, 5), p("wood", 0.0), "arrow")
        parts.append(
            Part(g.cylinder(0.04, 0.1, 5, top=0.0).turn("y", 90).at(d + 0.25, 0, z), p("metal", 0.0), "tip")
        )
        parts += one(g.box(0.12, 0.01, 0.09).at(-0.06, 0, z - 0.045), p("vivid", 0.0), "feathers")
        return parts, ["with an arrow"]
    return parts, []


def shield(rng: Rng, p: Palette) -> Design:
    face, rim, boss = (
        p("vivid", 0.3, ("stripes", "checks", "bands", "zigzag")),
        p("metal", 0.0),
        p("gold", 0.0),
    )
    w, h, t = rng.uniform(0.5, 0.8), rng.uniform(0.6, 1.0), rng.uniform(0.04, 0.09)
    kind = int(rng.integers(0, 4))
    if kind == 0:
        shape = g.disc(w / 2, pick(rng, (6, 8, 20)), 0.5)
    elif kind == 1:
        k = rng.uniform(0.2, 0.45)
        side = [
            (w / 2 * c, -h * k + (h * (k - 1)) * s * 0.9 + h / 2)
            for c, s in ((1, 0.05), (0.9, 0.35), (0.6, 0.7), (0, 1.05))
        ]
        shape = np.array(
            [
                (-w / 2, h / 2),
                *[(-x, z) for x, z in side[:-1]],
                side[-1],
                *side[-2::-1],
                (w / 2, h / 2),
                (0, h * rng.uniform(0.42, 0.6)),
            ]
        )
    elif kind == 2:
        shape = g.rounded(w * 0.9, h, rng.uniform(0.02, 0.2), 2)
    else:
        shape = np.array(
            [(0, -h * 0.6), (w / 2, -h * 0.1), (w / 2, h * 0.5), (-w / 2, h * 0.5), (-w / 2, -h * 0.1)]
        )
    inner = shape * rng.uniform(0.8, 0.92)
    z = h * 0.6
    parts = [
        Part(g.plate_y(shape, t).at(0, 0, z), rim, "rim"),
        Part(g.plate_y(inner, t).at(0, -0.03, z), face, "face"),
    ]
    emblem = int(rng.integers(0, 4))
    if emblem == 0:
        parts += one(g.sphere(w * 0.15, 10, 5, share=0.5).turn("x", 90).at(0, -0.03 - t / 2, z), boss, "boss")
    elif emblem == 1:
        parts += one(g.box(w * 0.14, t, h * 0.55).at(0, -0.045, z - h * 0.27), boss, "cross")
        parts += one(g.box(w * 0.55, t, w * 0.14).at(0, -0.047, z), boss, "cross")
    elif emblem == 2:
        parts += one(
            g.plate_y(g.star(int(rng.integers(4, 7)), 0.09, 0.2) * w / 0.7, t).at(0, -0.05, z), boss, "star"
        )
    return parts, [("round", "pointed", "rectangular", "five-sided")[kind]]


def blaster(rng: Rng, p: Palette) -> Design:
    body, trim, glow = p("any"), p("dark", 0.0), p("vivid", 0.0)
    y, h, w = rng.uniform(0.5, 1.1), rng.uniform(0.14, 0.25), rng.uniform(0.1, 0.18)
    side = [
        (-y * 0.3, 0),
        (y * 0.5, 0),
        (y * 0.55, h * 0.7),
        (y * 0.35, h),
        (-y * 0.25, h),
        (-y * 0.36, h * 0.6),
    ]
    z = rng.uniform(0.25, 0.35)
    parts = [Part(g.plate_x(side, w).at(0, 0, z), body, "body")]
    parts += one(
        g.plate_x([(0.02, 0), (0.16, 0), (0.1, z + 0.02), (-0.06, z + 0.02)], w * 0.7).at(0, y * 0.25),
        trim,
        "grip",
    )
    r = rng.uniform(0.03, 0.07)
    length = rng.uniform(0.2, 0.5)
    parts += one(
        g.rod((0, -y * 0.25, z + h * 0.5), (0, -y * 0.3 - length, z + h * 0.5), r, 8), trim, "barrel"
    )
    for i in range(int(rng.integers(0, 4))):
        parts += one(
            g.ring(r * 1.3, r * 0.4, 10, 5).turn("x", 90).at(0, -y * 0.36 - i * 0.09, z + h * 0.5),
            glow,
            "rings",
        )
    if coin(rng, 0.5):
        parts += one(g.cylinder(0.04, y * 0.35, 8).turn("x", 90).at(0, y * 0.2, z + h + 0.05), trim, "scope")
        parts += one(g.box(0.03, 0.06, 0.08).at(0, 0.05, z + h - 0.03), trim)
    if coin(rng, 0.4):
        parts += one(
            g.plate_x([(y * 0.45, 0), (y * 0.9, -0.15), (y * 0.95, h * 0.5), (y * 0.5, h * 0.8)], w * 0.6).at(
                0, 0, z
            ),
            trim,
            "stock",
        )
    parts += one(g.box(w * 1.05, y * 0.3, h * 0.2).at(0, 0.02, z + h * 0.5), glow, "stripe")
    return parts, ["long" if y > 0.9 else "small"] if y > 0.9 or y < 0.65 else []


def bomb(rng: Rng, p: Palette) -> Design:
    shell, fuse = p("dark", 0.1) if coin(rng, 0.7) else p("vivid", 0.1), p("light", 0.0)
    r = rng.uniform(0.3, 0.45)
    n = pick(rng, (8, 12, 16))
    parts = [Part(g.sphere(r, n, n // 2 + 1), shell, "shell")]
    parts += one(g.cylinder(r * 0.32, r * 0.3, 10).at(0, 0, r * 1.88), p("metal", 0.0), "cap")
    d, up = rng.uniform(0.05, 0.25), rng.uniform(0.12, 0.35)
    z = r * 2.15
    parts += one(
        g.tube([(0, 0, z - 0.03), (d * 0.2, 0, z + up * 0.6), (d, 0, z + up), (d * 1.6, 0, z + up)], 0.03, 5),
        fuse,
        "fuse",
    )
    if coin(rng, 0.7):
        parts += one(
            g.extrude(g.star(6, 0.06, 0.13), 0.1).turn("x", 90).at(d * 1.6, 0.05, z + up),
            p("fire", 0.0),
            "spark",
        )
    if coin(rng, 0.3):
        parts += [
            Part(
                g.cylinder(0.05, 0.14, 6, top=0.0)
                .at(0, 0, r - 0.03)
                .turn("y", 90)
                .turn("z", 60 * i)
                .at(0, 0, r),
                p("metal", 0.0),
                "spikes",
            )
            for i in range(6)
        ]
        return parts, ["spiked"]
    return parts, []


FAMILIES: dict[str, Family] = {
    "axe": axe,
    "hammer": hammer,
    "pickaxe": pickaxe,
    "sword": sword,
    "spear": spear,
    "bow": bow,
    "shield": shield,
    "blaster": blaster,
    "bomb": bomb,
}
