"""Named families: buildings and street furniture. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, legs, pair
from lora3d.data_prep.primitives import Solid


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


FAMILIES: dict[str, Family] = {
    "house": house,
}
