"""Named families: craft of water, air and space. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import deform
from lora3d.data_prep import primitives as g
from lora3d.data_prep.families_vehicles import wheel
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, one, pair
from lora3d.data_prep.primitives import Solid


def boat(rng: Rng, p: Palette) -> Design:
    hull, deck, cloth = p("any", 0.1), p("wood"), p("light", 0.2)
    w, y, h = rng.uniform(0.4, 0.7), rng.uniform(1.1, 2.0), rng.uniform(0.2, 0.45)
    rings = []
    for t, k, up in (
        (-0.5, 0.04, 1.3),
        (-0.36, 0.55, 1.1),
        (-0.1, 0.95, 1.0),
        (0.2, 1.0, 1.0),
        (0.5, rng.uniform(0.3, 0.85), 1.1),
    ):
        a, b = w / 2 * k, w / 2 * k * 0.55
        rings.append([(-b, t * y, 0.0), (b, t * y * 0.96, 0.0), (a, t * y, h * up), (-a, t * y, h * up)])
    # Rings run toward +y, so they must turn the other way round.
    parts = [Part(g.loft(np.array(rings)[::-1]), hull, "hull")]
    parts += one(g.loft(np.array(rings)[::-1] * (0.8, 0.85, 0.1) + (0, 0.04, h * 0.98)), deck, "deck")
    kind = int(rng.integers(0, 4))
    if kind == 0:
        m = y * rng.uniform(0.6, 1.0)
        parts += one(g.cylinder(0.03, m + h, 6), deck, "mast")
        sail = [(0.02, h + 0.15), (y * 0.42, h + 0.15), (0.02, h + m * 0.92)]
        parts += one(g.plate_x(sail, 0.03), cloth, "sails")
        parts += one(
            g.plate_x([(-y * 0.4, h + 0.1), (-0.03, h + 0.1), (-0.03, h + m * 0.75)], 0.03), cloth, "sails"
        )
    elif kind == 1:
        k = rng.uniform(0.2, 0.35)
        parts += one(g.box(w * 0.6, y * 0.3, k).at(0, y * 0.12, h), p("any"), "cabin")
        parts += one(g.box(w * 0.7, y * 0.36, 0.05).at(0, y * 0.12, h + k), p("vivid", 0.0), "roof")
        parts += one(
            g.box(w * 0.62, y * 0.2, k * 0.4).at(0, y * 0.12, h + k * 0.4), p("glass", 0.0), "windows"
        )
        parts += one(g.cylinder(0.07, 0.3, 8).at(0, y * 0.22, h + k), p("vivid", 0.0), "funnel")
    elif kind == 2:
        for q in (-0.1, 0.2):
            parts += one(g.box(w * 0.85, 0.12, 0.05).at(0, q * y, h), deck, "seats")
        oar = g.rod((w * 0.4, 0.1, h + 0.05), (w * 1.4, -0.15, h * 0.3), 0.025, 5)
        parts += pair(oar, deck, "oars")
        parts += pair(g.box(0.3, 0.12, 0.03).at(w * 1.4, -0.15, h * 0.25), deck, "oars")
    else:
        for t, s in ((-0.2, 0.8), (0.1, 1.0), (0.33, 0.7)):
            m = y * 0.55 * s
            parts += one(g.cylinder(0.025, m + h, 6).at(0, t * y), deck, "masts")
            belly = (
                deform.bend(g.box(0.03, w * 1.3 * s, m * 0.75, cuts=2), 40.0)
                .turn("z", -90)
                .at(0, t * y - 0.05, h + m * 0.2)
            )
            parts += one(belly, cloth, "sails")
    return parts, [("sailing", "motor", "rowing", "tall-masted")[kind]]


def aeroplane(rng: Rng, p: Palette) -> Design:
    body, wing, glass = p("any"), p("vivid"), p("glass", 0.0)
    r, y = rng.uniform(0.12, 0.25), rng.uniform(1.3, 2.0)
    n = pick(rng, (6, 8, 12))
    nose = (
        g.lathe([(0, 0), (r * 0.6, 0.08), (r, 0.3), (r, y * 0.6), (r * 0.35, y), (0, y)], n)
        .turn("x", -90)
        .at(0, -y / 2, r)
    )
    if coin(rng):
        wing = body
    parts = [Part(nose, body, "body")]
    span, chord, swept = rng.uniform(0.6, 1.1), rng.uniform(0.2, 0.45), rng.uniform(-0.05, 0.5)
    tip = chord * rng.uniform(0.4, 1.0)
    at = -y * rng.uniform(0.05, 0.2)

    def blade(span: float, root: float, tip: float, back: float) -> Solid:
        return g.extrude([(0, 0), (span, back), (span, back + tip), (0, root)], 0.04)

    low = r * rng.uniform(0.5, 1.7)
    parts += pair(
        blade(span, chord, tip, swept).turn("y", -rng.uniform(0, 8)).at(r * 0.3, at, low), wing, "wings"
    )
    double = coin(rng, 0.25)
    if double:
        parts += pair(blade(span, chord, tip, swept).at(0, at, low + 0.35), wing, "wings")
        parts += pair(
            g.rod((span * 0.7, at + swept + 0.1, low), (span * 0.7, at + swept + 0.1, low + 0.37), 0.015, 5),
            body,
            "struts",
        )
        parts += pair(g.rod((r * 0.5, at + 0.1, low), (r * 0.5, at + 0.1, low + 0.37), 0.015, 5), body, "")
    parts += pair(blade(span * 0.4, chord * 0.6, chord * 0.4, 0.1).at(0, y * 0.36, r * 1.2), wing, "tail")
    fin = [(y * 0.3, r * 1.2), (y * 0.5, r * 1.2), (y * 0.52, r + 0.4), (y * 0.42, r + 0.4)]
    parts += one(g.plate_x(fin, 0.04), wing, "fin")
    parts += one(g.sphere(r * 0.75, 8, 5).size(1, 1.8, 1).at(0, -y * 0.22, r * 0.9), glass, "cockpit")
    jet = coin(rng, 0.4)
    if jet:
        pod = g.pipe(0.08, 0.35, 0.02, 8).turn("x", 90)
        parts += pair(
            pod.at(span * 0.45, at + swept * 0.45 + chord * 0.5, low - 0.07), p("metal", 0.0), "engines"
        )
    else:
        prop = p("dark", 0.0)
        parts.append(
            Part(
                g.box(0.07, 0.03, r * 3.4)
                .turn("y", rng.uniform(0, 90))
                .at(0, -y / 2 - 0.03, r - r * 1.7 * 0),
                prop,
                "propeller",
            ).map(lambda s: s.at(0, 0, r - float(s.v[:, 2].mean())))
        )
        parts += pair(g.rod((r * 0.5, at, r * 0.5), (r * 1.4, at, -r * 0.6), 0.02, 5), prop, "")
        parts += pair(wheel(0.07, 0.05, 8).at(r * 1.4, at, -r * 0.6 - 0.07), prop, "wheels")
    return parts, ["jet" if jet else "double-winged" if double else "small"]


def helicopter(rng: Rng, p: Palette) -> Design:
    body, dark, glass = p("vivid"), p("dark", 0.0), p("glass", 0.0)
    r, tail = rng.uniform(0.25, 0.4), rng.uniform(0.6, 1.1)
    z = r * 0.6
    parts = [Part(g.sphere(r, 10, 7).size(0.85, rng.uniform(1.1, 1.5), 0.95).at(0, 0, z), body, "body")]
    parts += one(g.sphere(r * 0.8, 10, 6).size(0.9, 1, 0.85).at(0, -r * 0.55, z + r * 0.35), glass, "cockpit")
    parts.append(Part(g.rod((0, r * 0.8, z + r), (0, r + tail, z + r * 1.2), 0.1, 6, top=0.4), body, "tail"))
    parts += one(
        g.plate_x(
            [
                (r + tail - 0.12, z + r),
                (r + tail + 0.1, z + r),
                (r + tail + 0.16, z + r + 0.35),
                (r + tail, z + r + 0.35),
            ],
            0.04,
        ),
        body,
        "fin",
    )
    top = z + r * 1.9
    parts += one(g.cylinder(0.04, 0.2, 6).at(0, 0, top - 0.08), dark, "mast")
    n, length = int(rng.integers(2, 5)), rng.uniform(0.6, 1.0)
    a = rng.uniform(0, 180)
    for i in range(n):
        parts += one(
            g.box(length, 0.08, 0.025).at(length / 2).turn("z", a + 360 / n * i).at(0, 0, top + 0.1),
            dark,
            "rotor",
        )
    parts += one(
        g.box(0.03, 0.05, 0.35).turn("x", rng.uniform(0, 90)).at(0.06, r + tail + 0.05, z + r * 1.1), dark
    )
    parts += pair(g.box(0.04, r * 2.2, 0.04).at(r * 0.65, 0, 0), dark, "skids")
    for q in (-0.5, 0.5):
        parts += pair(g.rod((r * 0.65, q * r, 0.02), (r * 0.35, q * r, z + r * 0.2), 0.02, 5), dark, "")
    return parts, []


def rocket(rng: Rng, p: Palette) -> Design:
    body, trim, glass = p("light", 0.15), p("vivid", 0.0), p("glass", 0.0)
    r, h = rng.uniform(0.18, 0.35), rng.uniform(0.9, 1.6)
    n = pick(rng, (6, 8, 12))
    belly, k = rng.uniform(1.0, 1.4), rng.uniform(0.55, 0.75)
    z = rng.uniform(0.1, 0.3)
    parts = [Part(g.lathe([(r * 0.7, 0), (r * belly, h * 0.35), (r, h * k)], n).at(0, 0, z), body, "body")]
    parts += one(
        g.lathe([(r, 0), (r * 0.6, h * (1 - k) * 0.6), (0, h * (1 - k))], n).at(0, 0, z + h * k), trim, "nose"
    )
    parts += one(g.lathe([(r * 0.75, 0), (r * 0.45, 0.14)], n).at(0, 0, z - 0.12), p("dark", 0.0), "engine")
    m = int(rng.integers(3, 6))
    out, up = rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.5)
    fin = (
        g.extrude([(r * 0.6, z), (r + out, 0), (r + out, up * 0.6), (r * 0.9, z + up)], 0.06)
        .turn("x", 90)
        .at(0, 0.03)
    )
    for i in range(m):
        parts += one(fin.turn("z", 360 / m * i - 90), trim, "fins")
    for i in range(int(rng.integers(1, 4))):
        at = z + h * (0.5 - 0.17 * i)
        port = g.cylinder(0.09, 0.1, 10).turn("x", 90).at(0, -r * (1.0 + (belly - 1) * 0.5) + 0.07, at)
        parts += one(port, glass, "windows")
    words = ["slim"] if r < 0.22 else ["fat"] if r > 0.3 else []
    if coin(rng, 0.3):
        parts += one(
            g.lathe([(0, 0), (r * 0.4, 0.25), (r * 0.3, 0.4)], 8).at(0, 0, z - 0.48), p("fire", 0.0), "flame"
        )
    return parts, words


def _saucer(rng: Rng, p: Palette) -> Design:
    hull, trim, glass = p("metal", 0.1) if coin(rng) else p("any", 0.1), p("vivid", 0.0), p("glass", 0.0)
    r, h, n = rng.uniform(0.5, 0.8), rng.uniform(0.12, 0.3), pick(rng, (8, 12, 18))
    profile = [(0, 0), (r * 0.4, 0), (r, h * 0.6), (r * 0.45, h * 1.2), (0, h * 1.2)]
    parts = one(g.lathe(profile, n), hull, "hull")
    parts += one(g.sphere(r * 0.42, 12, 5, share=0.5).at(0, 0, h * 1.1), glass, "dome")
    for x, y in g.disc(r * 0.72, int(rng.integers(5, 10))):
        parts += one(g.sphere(0.06, 6, 4).at(x, y, h * 0.78), trim, "lights")
    if coin(rng):
        for x, y in g.disc(r * 0.5, 3, 0.25):
            parts += one(g.rod((x * 0.8, y * 0.8, h * 0.3), (x * 1.5, y * 1.5, -0.3), 0.03, 5), trim, "legs")
    return parts, ["saucer-shaped"]


def spaceship(rng: Rng, p: Palette) -> Design:
    if coin(rng, 0.3):
        return _saucer(rng, p)
    hull, trim, glass = p("metal", 0.1) if coin(rng) else p("any", 0.1), p("vivid", 0.0), p("glass", 0.0)
    y, w, h = rng.uniform(1.2, 1.9), rng.uniform(0.3, 0.5), rng.uniform(0.2, 0.4)
    n = pick(rng, (4, 6, 8))
    section = g.disc(0.5, n, 0.5) * (1.41 if n == 4 else 1)
    rings = []
    for t, k in (
        (0.5, rng.uniform(0.5, 0.9)),
        (0.2, 1.0),
        (-0.1, rng.uniform(0.7, 1.0)),
        (-0.5, rng.uniform(0.05, 0.4)),
    ):
        rings.append(np.column_stack([section[:, 0] * w * k, np.full(n, t * y), section[:, 1] * h * k]))
    parts = [Part(g.loft(rings), hull, "hull")]
    parts += one(
        g.sphere(0.5, 8, 5).size(w * 0.55, y * 0.3, h * 0.7).at(0, -y * 0.12, h * 0.1), glass, "cockpit"
    )
    for _ in range(int(rng.integers(1, 3))):
        span, chord, back, tip = (
            rng.uniform(0.3, 0.8),
            rng.uniform(0.3, 0.7),
            rng.uniform(-0.3, 0.5),
            rng.uniform(0.1, 0.3),
        )
        s = g.extrude([(0, 0), (span, back), (span, back + tip), (0, chord)], 0.05).turn(
            "y", -rng.uniform(-25, 35)
        )
        parts += pair(s.at(w * 0.3, rng.uniform(-0.1, 0.15) * y, 0), trim if coin(rng) else hull, "wings")
        if coin(rng):
            parts += pair(
                g.cylinder(0.04, 0.5, 6)
                .turn("x", 90)
                .at(w * 0.3 + span * 0.9, back * 0.9 + 0.3, 0.02 - span * 0.02),
                p("dark", 0.0),
                "guns",
            )
    e = rng.uniform(0.08, 0.14)
    engine = g.lathe([(e * 0.7, 0), (e, 0.25), (e * 0.7, 0.25), (0, 0.12)], 8).turn("x", -90)
    sides = (1, -1) if coin(rng, 0.7) else (0,)
    for s in sides:
        parts += one(engine.at(s * w * 0.28, y * 0.44, 0), p("dark", 0.0), "engines")
        parts += one(
            g.cylinder(e * 0.65, 0.02, 8).turn("x", -90).at(s * w * 0.28, y * 0.44 + 0.16, 0),
            p("fire", 0.0),
            "thrusters",
        )
    return parts, ["twin-engined" if len(sides) == 2 else "single-engined"]


FAMILIES: dict[str, Family] = {
    "boat": boat,
    "aeroplane": aeroplane,
    "helicopter": helicopter,
    "rocket": rocket,
    "spaceship": spaceship,
}
