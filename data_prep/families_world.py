"""Named families: buildings, plants, vehicles. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.families_home import Design
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Part


def house(rng: Rng, p: Palette) -> Design:
    wall, roof, glass, door = p("wall", 0.25), p("roof", 0.25, ("bricks", "bands", "checks")), p("glass", 0.0), p("wood")
    x, y, h, rise = rng.uniform(0.8, 1.6), rng.uniform(0.7, 1.4), rng.uniform(0.5, 1.3), rng.uniform(0.25, 0.9)
    over = rng.uniform(0.03, 0.15)
    parts = [Part(g.box(x, y, h), wall, "walls")]
    kind = int(rng.integers(0, 4))
    words = []
    if kind == 0:
        gable = [(-x / 2 - over, 0), (x / 2 + over, 0), (0, rise)]
        parts.append(Part(g.plate_y(gable, y + 2 * over).at(0, 0, h), roof, "roof"))
    elif kind == 1:
        gable = [(-y / 2 - over, 0), (y / 2 + over, 0), (0, rise)]
        parts.append(Part(g.plate_x(gable, x + 2 * over).at(0, 0, h), roof, "roof"))
    elif kind == 2:
        parts.append(Part(g.box(x + 2 * over, y + 2 * over, rise, top=float(rng.uniform(0.02, 0.5))).at(0, 0, h), roof, "roof"))
        words.append("with a hipped roof")
    else:
        parts.append(Part(g.box(x + over, y + over, 0.08).at(0, 0, h), roof, "roof"))
        words.append("with a flat roof")
    dw, dh = rng.uniform(0.15, 0.25), min(rng.uniform(0.3, 0.45), h * 0.8)
    side = pick(rng, (0.0, 0.0, -0.25, 0.25)) * x
    parts.append(Part(g.box(dw, 0.05, dh).at(side, -y / 2, 0), door, "door"))
    w = rng.uniform(0.12, 0.22)
    floors = 2 if h > 0.95 else 1
    for level in range(floors):
        z = h * (0.55 if floors == 1 else 0.3 + 0.4 * level) - w * 0.4
        for s in (-0.32, 0.0, 0.32):
            if abs(s * x - side) > (dw + w) / 2 or level:
                parts.append(Part(g.box(w, 0.04, w * 1.2).at(s * x, -y / 2, z), glass, "windows"))
        for s in (1, -1):
            for q in (-0.25, 0.25):
                parts.append(Part(g.box(0.04, w, w * 1.2).at(s * x / 2, q * y, z), glass, "windows"))
    if kind < 3 and coin(rng, 0.5):
        c = rng.uniform(0.1, 0.18)
        parts.append(Part(g.box(c, c, rise * 0.9).at(pick(rng, (-0.25, 0.25)) * x, y * 0.2, h + rise * 0.3), p("stone", 0.3), "chimney"))
    return parts, words + (["two-storey"] if floors == 2 else [])


def tree(rng: Rng, p: Palette) -> Design:
    bark, leaf = p("wood"), p("leaf", 0.15)
    h, r = rng.uniform(0.3, 1.0), rng.uniform(0.04, 0.12)
    kind = int(rng.integers(0, 5))
    parts = [Part(g.cylinder(r * 1.3, h * 1.15, 7, top=0.6), bark, "trunk")]
    words = []
    crown = rng.uniform(0.3, 0.6)
    if kind == 0:
        n = int(rng.integers(2, 6))
        tall = rng.uniform(0.6, 1.4)
        for i in range(n):
            s = crown * (1 - 0.6 * i / n)
            parts.append(Part(g.cylinder(s, tall / n * 1.6, pick(rng, (6, 8, 10)), top=0.0).at(0, 0, h * 0.7 + tall * i / n), leaf, "needles"))
        words.append("conifer")
    elif kind == 1:
        s = g.sphere(crown, 8, 5)
        if coin(rng):
            s = g.lumps(s, rng, 0.25)
        parts.append(Part(s.size(1, 1, float(rng.uniform(0.7, 1.5))).at(0, 0, h * 0.9), leaf, "crown"))
        words.append("round")
    elif kind == 2:
        for _ in range(int(rng.integers(3, 8))):
            s = crown * rng.uniform(0.4, 0.8)
            x, y = rng.uniform(-0.5, 0.5, 2) * crown
            parts.append(Part(g.sphere(s, 7, 5).at(x, y, h * 0.9 + rng.uniform(-0.2, 0.5) * crown), leaf, "leaves"))
        words.append("bushy")
    elif kind == 3:
        for _ in range(int(rng.integers(2, 5))):
            x, y = rng.uniform(-1, 1, 2) * crown
            z = h + rng.uniform(0.1, 0.5)
            parts.append(Part(g.rod((0, 0, h * 0.8), (x, y, z), r * 0.6, 5, top=0.5), bark, "branches"))
            s = crown * rng.uniform(0.4, 0.7)
            parts.append(Part(g.box(2 * s, 2 * s, s).at(x, y, z - s / 2), leaf, "leaves"))
        words.append("blocky")
    else:
        parts = [Part(g.bend(g.lathe([(r * 1.3, 0), (r, 0.5), (r, 1.0), (r * 0.8, 1.4)], 7), float(rng.uniform(0, 40))), bark, "trunk")]
        tip = parts[0].solid.v[-7:].mean(0)
        n = int(rng.integers(5, 9))
        for i in range(n):
            c, s = g.disc(1.0, n)[i]
            path = [tip, tip + (c * 0.25, s * 0.25, 0.1), tip + (c * 0.55, s * 0.55, -0.15)]
            section = np.array([(-0.09, -0.02), (0.09, -0.02), (0.09, 0.02), (-0.09, 0.02)])[:, ::1]
            parts.append(Part(g.sweep(path, section, [1.0, 1.2, 0.15]), leaf, "fronds"))
        words.append("palm")
    return parts, words


def car(rng: Rng, p: Palette) -> Design:
    body, glass, dark, trim = p("vivid"), p("glass", 0.0), p("dark", 0.0), p("metal", 0.0)
    w, length = rng.uniform(0.7, 1.0), rng.uniform(1.5, 2.4)
    h, cabin, r = rng.uniform(0.25, 0.45), rng.uniform(0.25, 0.5), rng.uniform(0.15, 0.26)
    z, y = r * 0.7, length / 2
    nose = rng.uniform(0.0, 0.3) * h
    side = [(-y, z), (y, z), (y, z + h * rng.uniform(0.85, 1.0)), (-y * 0.4, z + h), (-y, z + h - nose)]
    parts = [Part(g.plate_x(side, w), body, "body")]
    kind = int(rng.integers(0, 4))
    a, b = (-0.35, 0.5) if kind == 0 else (-0.3, 0.95) if kind == 1 else (-0.75, -0.15) if kind == 2 else (-0.1, 0.45)
    slope = rng.uniform(0.05, 0.25)
    top = z + h + cabin
    roof = [(a * y, z + h * 0.98), (b * y, z + h * 0.98), (b * y - slope * 0.5, top), (a * y + slope, top)]
    parts.append(Part(g.plate_x(roof, w * 0.86), glass, "windows"))
    parts.append(Part(g.box(w * 0.88, (b - a) * y - slope * 1.4, 0.05).at(0, ((a + b) * y + slope * 0.5) / 2, top - 0.02), body, "roof"))
    wheel = g.cylinder(r, 0.16, 12).turn("y", 90)
    hub = g.cylinder(r * 0.5, 0.18, 8).turn("y", 90)
    for q in (-0.62, 0.62):
        for s in (1, -1):
            at = (s * (w / 2 - 0.08) - 0.08, q * y, r)
            parts.append(Part(wheel.at(*at), dark, "wheels"))
            parts.append(Part(hub.at(at[0] - 0.01, at[1], at[2]), trim, ""))
    for s in (1, -1):
        lamp = g.box(w * 0.18, 0.04, h * 0.25)
        parts.append(Part(lamp.at(s * w * 0.32, -y, z + (h - nose) * 0.55), p("light", 0.0), "headlights"))
        parts.append(Part(lamp.at(s * w * 0.34, y, z + h * 0.5), p("fire", 0.0), ""))
    parts.append(Part(g.box(w * 1.02, 0.06, h * 0.25).at(0, -y, z), trim, "bumper"))
    return parts, [("saloon", "estate", "pickup", "coupe")[kind]]


def mushroom(rng: Rng, p: Palette) -> Design:
    cap, stem = p("vivid", 0.1), p("light", 0.0)
    parts = []
    words = []
    n = 1 if coin(rng, 0.7) else int(rng.integers(2, 4))
    for i in range(n):
        k = 1.0 if i == 0 else rng.uniform(0.35, 0.7)
        h, r, c = rng.uniform(0.3, 0.9) * k, rng.uniform(0.06, 0.2) * k, rng.uniform(0.25, 0.6) * k
        x = 0.0 if i == 0 else pick(rng, (-1, 1)) * (0.35 + 0.1 * i)
        y = 0.0 if i == 0 else rng.uniform(-0.3, 0.2)
        stalk = g.lathe([(r * 1.3, 0), (r, h * 0.3), (r * 0.9, h)], 8)
        parts.append(Part(stalk.at(x, y), stem, "stem"))
        shape = pick(rng, ([(0.2, 0.05), (1, 0), (0.9, 0.3), (0.55, 0.6), (0, 0.7)], [(0.2, 0.1), (1, 0), (0, 0.9)], [(0.2, 0.0), (0.9, -0.1), (1, 0.1), (0.8, 0.3), (0, 0.35)]))
        dome = g.lathe([(u * c, v * c) for u, v in shape], pick(rng, (8, 12)))
        parts.append(Part(dome.at(x, y, h * 0.92), cap, "cap"))
        if coin(rng, 0.6):
            dot = p("light", 0.0)
            for q in range(5):
                u, v = g.disc(0.62 * c, 5, 0.25)[q]
                parts.append(Part(g.sphere(c * 0.14, 6, 4).at(x + u, y + v, h * 0.92 + shape[-2][1] * c * 0.7), dot, "spots"))
    if n > 1:
        words.append("cluster")
    return parts, words


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
    parts.append(Part(g.tube(path, rng.uniform(0.02, 0.05), 6), clay if coin(rng, 0.6) else p("any"), "handle"))
    words = []
    if coin(rng, 0.5):
        parts.append(Part(g.cylinder(mid * 0.9, 0.02, 12).at(0, 0, h * rng.uniform(0.55, 0.85)), p("earth", 0.0), "drink"))
        words.append("full")
    return parts, words
