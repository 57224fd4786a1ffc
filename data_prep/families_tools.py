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


FAMILIES: dict[str, Family] = {
    "sword": sword,
}
