"""Named families: plants and ground. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, legs, pair
from lora3d.data_prep.primitives import Solid


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


FAMILIES: dict[str, Family] = {
    "tree": tree,
    "mushroom": mushroom,
}
