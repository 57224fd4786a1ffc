"""Named families: vehicles. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, legs, pair
from lora3d.data_prep.primitives import Solid


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


FAMILIES: dict[str, Family] = {
    "car": car,
}
