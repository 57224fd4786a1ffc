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


def wheel(r: float, w: float, n: int = 12) -> Solid:
    """A wheel that stands on the ground and rolls along y."""
    return g.cylinder(r, w, n).turn("y", 90).at(-w / 2, 0, r)


def truck(rng: Rng, p: Palette) -> Design:
    cab, load, dark, glass = p("vivid"), p("any", 0.15), p("dark", 0.0), p("glass", 0.0)
    w, r, bed = rng.uniform(0.6, 0.85), rng.uniform(0.14, 0.22), rng.uniform(0.9, 1.8)
    c, h = rng.uniform(0.4, 0.6), rng.uniform(0.55, 0.8)
    z = r * 1.1
    length = c + bed
    front = -length / 2
    parts = [Part(g.box(w * 0.8, length, 0.12).at(0, 0, z), dark, "frame")]
    nose = rng.uniform(0.0, 0.25)
    side = [(front, z), (front + c, z), (front + c, z + h), (front + nose * 0.5 + 0.06, z + h), (front, z + h * (0.5 if nose else 0.9))]
    parts.append(Part(g.plate_x(side, w), cab, "cab"))
    parts.append(Part(g.box(w * 0.85, 0.04, h * 0.33).turn("x", -8 if nose else 0).at(0, front + nose * 0.22 + 0.015, z + h * 0.58), glass, "windscreen"))
    parts += pair(g.box(0.03, c * 0.45, h * 0.3).at(w / 2, front + c * 0.55, z + h * 0.58), glass, "windows")
    kind = int(rng.integers(0, 4))
    y = front + c + bed / 2 + 0.03
    k, base = rng.uniform(0.5, 1.0), z + 0.12
    if kind == 0:
        parts.append(Part(g.box(w, bed - 0.06, k).at(0, y, base), load, "box"))
    elif kind == 1:
        walls = [g.box(w, 0.05, 0.25).at(0, y + s * (bed / 2 - 0.06)) for s in (1, -1)] + [g.box(0.05, bed - 0.08, 0.25).at(s * (w / 2 - 0.025), y) for s in (1, -1)]
        parts.append(Part(g.join([*walls, g.box(w, bed - 0.08, 0.05).at(0, y)]).at(0, 0, base), load, "bed"))
        if coin(rng, 0.6):
            parts.append(Part(g.lumps(g.sphere(0.5, 8, 4, share=0.5), rng, 0.2).size(w * 0.9, bed * 0.85, 0.7).at(0, y, base), p("earth", 0.2), "load"))
    elif kind == 2:
        tank = g.cylinder(w * 0.48, bed - 0.08, 12).turn("x", 90).at(0, y + bed / 2 - 0.04, base + w * 0.46)
        parts.append(Part(tank, load, "tank"))
    else:
        for i in range(3):
            parts.append(Part(g.cylinder(0.14, bed * 0.95, 8).turn("x", 90).at((i - 1) * 0.27 if i < 2 else 0.135 - 0.27, y + bed * 0.48, base + (0.14 if i < 2 else 0.37)), p("wood"), "logs"))
    for q in (front + c * 0.5, length / 2 - r * 1.2, length / 2 - r * 3.4):
        parts += pair(wheel(r, 0.14).at(w / 2 - 0.04, q), dark, "wheels")
    parts += pair(g.box(0.1, 0.03, 0.07).at(w * 0.33, front, z + 0.1), p("light", 0.0), "headlights")
    return parts, [("box", "dump", "tank", "logging")[kind]]


def bus(rng: Rng, p: Palette) -> Design:
    body, glass, dark, band = p("vivid"), p("glass", 0.0), p("dark", 0.0), p("any", 0.0)
    w, y, h, r = rng.uniform(0.6, 0.75), rng.uniform(1.6, 2.4), rng.uniform(0.55, 0.75), rng.uniform(0.13, 0.18)
    decks = 2 if coin(rng, 0.25) else 1
    z = r * 0.9
    top = h * (1.0 if decks == 1 else 1.75)
    parts = [Part(g.soft_box(w, y, top, rng.uniform(0.03, 0.12)).at(0, 0, z), body, "body")]
    n = int(rng.integers(3, 7))
    for level in range(decks):
        at = z + h * (0.5 + 0.8 * level)
        for i in range(n):
            parts.append(Part(g.box(w * 1.02, y / n * 0.72, h * 0.3).at(0, (i + 0.5 - n / 2) * y / n * 0.94, at), glass, "windows"))
        parts.append(Part(g.box(w * 0.85, 0.04, h * 0.35).at(0, -y / 2, at - 0.02), glass, "windscreen"))
    parts.append(Part(g.box(w * 1.015, y * 0.96, h * 0.1).at(0, 0, z + h * rng.uniform(0.2, 0.36)), band, "stripe"))
    for q in (-0.33, 0.33):
        parts += pair(wheel(r, 0.12).at(w / 2 - 0.04, q * y), dark, "wheels")
    parts += pair(g.box(0.1, 0.03, 0.07).at(w * 0.33, -y / 2, z + h * 0.12), p("light", 0.0), "headlights")
    return parts, ["double-decker"] if decks == 2 else []


def boat(rng: Rng, p: Palette) -> Design:
    hull, deck, cloth = p("any", 0.1), p("wood"), p("light", 0.2)
    w, y, h = rng.uniform(0.4, 0.7), rng.uniform(1.1, 2.0), rng.uniform(0.2, 0.45)
    rings = []
    for t, k, up in ((-0.5, 0.04, 1.3), (-0.36, 0.55, 1.1), (-0.1, 0.95, 1.0), (0.2, 1.0, 1.0), (0.5, rng.uniform(0.3, 0.85), 1.1)):
        a, b = w / 2 * k, w / 2 * k * 0.55
        rings.append([(-b, t * y, 0.0), (b, t * y * 0.96, 0.0), (a, t * y, h * up), (-a, t * y, h * up)])
    # Rings run toward +y, so they must turn the other way round.
    parts = [Part(g.loft(np.array(rings)[::-1]), hull, "hull")]
    parts.append(Part(g.loft(np.array(rings)[::-1] * (0.8, 0.85, 0.1) + (0, 0.04, h * 0.98)), deck, "deck"))
    kind = int(rng.integers(0, 4))
    if kind == 0:
        m = y * rng.uniform(0.6, 1.0)
        parts.append(Part(g.cylinder(0.03, m + h, 6), deck, "mast"))
        sail = [(0.02, h + 0.15), (y * 0.42, h + 0.15), (0.02, h + m * 0.92)]
        parts.append(Part(g.plate_x(sail, 0.03), cloth, "sails"))
        parts.append(Part(g.plate_x([(-y * 0.4, h + 0.1), (-0.03, h + 0.1), (-0.03, h + m * 0.75)], 0.03), cloth, "sails"))
    elif kind == 1:
        k = rng.uniform(0.2, 0.35)
        parts.append(Part(g.box(w * 0.6, y * 0.3, k).at(0, y * 0.12, h), p("any"), "cabin"))
        parts.append(Part(g.box(w * 0.7, y * 0.36, 0.05).at(0, y * 0.12, h + k), p("vivid", 0.0), "roof"))
        parts.append(Part(g.box(w * 0.62, y * 0.2, k * 0.4).at(0, y * 0.12, h + k * 0.4), p("glass", 0.0), "windows"))
        parts.append(Part(g.cylinder(0.07, 0.3, 8).at(0, y * 0.22, h + k), p("vivid", 0.0), "funnel"))
    elif kind == 2:
        for q in (-0.1, 0.2):
            parts.append(Part(g.box(w * 0.85, 0.12, 0.05).at(0, q * y, h), deck, "seats"))
        oar = g.rod((w * 0.4, 0.1, h + 0.05), (w * 1.4, -0.15, h * 0.3), 0.025, 5)
        parts += pair(oar, deck, "oars")
        parts += pair(g.box(0.3, 0.12, 0.03).at(w * 1.4, -0.15, h * 0.25), deck, "oars")
    else:
        for t, s in ((-0.2, 0.8), (0.1, 1.0), (0.33, 0.7)):
            m = y * 0.55 * s
            parts.append(Part(g.cylinder(0.025, m + h, 6).at(0, t * y), deck, "masts"))
            belly = g.bend(g.box(0.03, w * 1.3 * s, m * 0.75, cuts=2), 40.0).turn("z", -90).at(0, t * y - 0.05, h + m * 0.2)
            parts.append(Part(belly, cloth, "sails"))
    return parts, [("sailing", "motor", "rowing", "tall-masted")[kind]]


def aeroplane(rng: Rng, p: Palette) -> Design:
    body, wing, glass = p("any"), p("vivid"), p("glass", 0.0)
    r, y = rng.uniform(0.12, 0.25), rng.uniform(1.3, 2.0)
    n = pick(rng, (6, 8, 12))
    nose = g.lathe([(0, 0), (r * 0.6, 0.08), (r, 0.3), (r, y * 0.6), (r * 0.35, y), (0, y)], n).turn("x", -90).at(0, -y / 2, r)
    if coin(rng):
        wing = body
    parts = [Part(nose, body, "body")]
    span, chord, swept = rng.uniform(0.6, 1.1), rng.uniform(0.2, 0.45), rng.uniform(-0.05, 0.5)
    tip = chord * rng.uniform(0.4, 1.0)
    at = -y * rng.uniform(0.05, 0.2)

    def blade(span: float, root: float, tip: float, back: float) -> Solid:
        return g.extrude([(0, 0), (span, back), (span, back + tip), (0, root)], 0.04)

    low = r * rng.uniform(0.5, 1.7)
    parts += pair(blade(span, chord, tip, swept).turn("y", -rng.uniform(0, 8)).at(r * 0.3, at, low), wing, "wings")
    double = coin(rng, 0.25)
    if double:
        parts += pair(blade(span, chord, tip, swept).at(0, at, low + 0.35), wing, "wings")
        parts += pair(g.rod((span * 0.7, at + swept + 0.1, low), (span * 0.7, at + swept + 0.1, low + 0.37), 0.015, 5), body, "struts")
        parts += pair(g.rod((r * 0.5, at + 0.1, low), (r * 0.5, at + 0.1, low + 0.37), 0.015, 5), body, "")
    parts += pair(blade(span * 0.4, chord * 0.6, chord * 0.4, 0.1).at(0, y * 0.36, r * 1.2), wing, "tail")
    fin = [(y * 0.3, r * 1.2), (y * 0.5, r * 1.2), (y * 0.52, r + 0.4), (y * 0.42, r + 0.4)]
    parts.append(Part(g.plate_x(fin, 0.04), wing, "fin"))
    parts.append(Part(g.sphere(r * 0.75, 8, 5).size(1, 1.8, 1).at(0, -y * 0.22, r * 0.9), glass, "cockpit"))
    jet = coin(rng, 0.4)
    if jet:
        pod = g.pipe(0.08, 0.35, 0.02, 8).turn("x", 90)
        parts += pair(pod.at(span * 0.45, at + swept * 0.45 + chord * 0.5, low - 0.07), p("metal", 0.0), "engines")
    else:
        prop = p("dark", 0.0)
        parts.append(Part(g.box(0.07, 0.03, r * 3.4).turn("y", rng.uniform(0, 90)).at(0, -y / 2 - 0.03, r - r * 1.7 * 0), prop, "propeller").map(lambda s: s.at(0, 0, r - float(s.v[:, 2].mean()))))
        parts += pair(g.rod((r * 0.5, at, r * 0.5), (r * 1.4, at, -r * 0.6), 0.02, 5), prop, "")
        parts += pair(wheel(0.07, 0.05, 8).at(r * 1.4, at, -r * 0.6 - 0.07), prop, "wheels")
    return parts, ["jet" if jet else "double-winged" if double else "small"]


def rocket(rng: Rng, p: Palette) -> Design:
    body, trim, glass = p("light", 0.15), p("vivid", 0.0), p("glass", 0.0)
    r, h = rng.uniform(0.18, 0.35), rng.uniform(0.9, 1.6)
    n = pick(rng, (6, 8, 12))
    belly, k = rng.uniform(1.0, 1.4), rng.uniform(0.55, 0.75)
    z = rng.uniform(0.1, 0.3)
    parts = [Part(g.lathe([(r * 0.7, 0), (r * belly, h * 0.35), (r, h * k)], n).at(0, 0, z), body, "body")]
    parts.append(Part(g.lathe([(r, 0), (r * 0.6, h * (1 - k) * 0.6), (0, h * (1 - k))], n).at(0, 0, z + h * k), trim, "nose"))
    parts.append(Part(g.lathe([(r * 0.75, 0), (r * 0.45, 0.14)], n).at(0, 0, z - 0.12), p("dark", 0.0), "engine"))
    m = int(rng.integers(3, 6))
    out, up = rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.5)
    fin = g.extrude([(r * 0.6, z), (r + out, 0), (r + out, up * 0.6), (r * 0.9, z + up)], 0.06).turn("x", 90).at(0, 0.03)
    for i in range(m):
        parts.append(Part(fin.turn("z", 360 / m * i - 90), trim, "fins"))
    for i in range(int(rng.integers(1, 4))):
        at = z + h * (0.5 - 0.17 * i)
        port = g.cylinder(0.09, 0.1, 10).turn("x", 90).at(0, -r * (1.0 + (belly - 1) * 0.5) + 0.07, at)
        parts.append(Part(port, glass, "windows"))
    words = ["slim"] if r < 0.22 else ["fat"] if r > 0.3 else []
    if coin(rng, 0.3):
        parts.append(Part(g.lathe([(0, 0), (r * 0.4, 0.25), (r * 0.3, 0.4)], 8).at(0, 0, z - 0.48), p("fire", 0.0), "flame"))
    return parts, words


def train(rng: Rng, p: Palette) -> Design:
    body, dark, trim = p("vivid"), p("dark", 0.0), p("gold", 0.0)
    w, y, r = rng.uniform(0.4, 0.55), rng.uniform(1.2, 1.8), rng.uniform(0.12, 0.18)
    b, cab = rng.uniform(0.16, 0.24), rng.uniform(0.3, 0.45)
    z = r * 1.3
    parts = [Part(g.box(w, y, 0.1).at(0, 0, z), dark, "frame")]
    boiler = g.cylinder(b, y - cab - 0.05, 12).turn("x", 90).at(0, y / 2 - cab, z + 0.1 + b)
    parts.append(Part(boiler, body, "boiler"))
    h = rng.uniform(0.5, 0.75)
    parts.append(Part(g.box(w, cab, h).at(0, y / 2 - cab / 2, z + 0.05), body, "cab"))
    parts.append(Part(g.box(w * 1.15, cab * 1.25, 0.06).at(0, y / 2 - cab / 2, z + h + 0.05), dark, "roof"))
    parts.append(Part(g.box(w * 1.02, cab * 0.5, h * 0.3).at(0, y / 2 - cab / 2, z + h * 0.6), p("glass", 0.0), "windows"))
    top = z + 0.05 + 2 * b
    k = rng.uniform(1.0, 2.2)
    parts.append(Part(g.lathe([(0.06, 0), (0.06 * k, 0.25), (0.07 * k, 0.3)], 10).at(0, -y * 0.36, top), dark, "chimney"))
    for q in (-0.12, 0.08):
        parts.append(Part(g.sphere(0.08, 8, 5).at(0, q * y, top - 0.03), trim, "domes"))
    parts.append(Part(g.cylinder(b * 1.05, 0.06, 12).turn("x", 90).at(0, -y / 2 + 0.06, z + 0.1 + b), trim, "ring"))
    plough = g.plate_x([(-y / 2 - 0.18, r * 0.3), (-y / 2, r * 0.3), (-y / 2, z + 0.05)], w * 0.9)
    parts.append(Part(plough, dark, "plough"))
    m = int(rng.integers(2, 5))
    for i in range(m):
        s = r * (1.35 if i == m - 1 and coin(rng) else 1.0)
        parts += pair(wheel(s, 0.07).at(w / 2, (-0.35 + 0.75 * i / max(m - 1, 1)) * y), p("vivid", 0.0) if i == 0 else parts[-1].paint, "wheels")
    return parts, ["steam"]


def tank(rng: Rng, p: Palette) -> Design:
    body, dark = p("leaf", 0.1) if coin(rng) else p("earth", 0.1), p("dark", 0.0)
    w, y, h = rng.uniform(0.7, 0.95), rng.uniform(1.0, 1.5), rng.uniform(0.18, 0.3)
    t, track = rng.uniform(0.16, 0.26), rng.uniform(0.25, 0.35)
    outline = [(-y / 2, track * 0.6), (-y / 2 + 0.15, 0), (y / 2 - 0.15, 0), (y / 2, track * 0.6), (y / 2 - 0.08, track), (-y / 2 + 0.08, track)]
    parts = pair(g.plate_x(outline, t).at(w / 2), dark, "tracks")
    for i in range(4):
        parts += pair(g.cylinder(track * 0.3, t * 1.08, 8).turn("y", 90).at(w / 2 - t * 0.54, (i - 1.5) * y * 0.2, track * 0.42), body, "wheels")
    hull = [(-y / 2 - 0.05, track * 0.7), (y / 2, track * 0.7), (y / 2 - 0.05, track + h), (-y / 2 + rng.uniform(0.1, 0.4), track + h)]
    parts.append(Part(g.plate_x(hull, w), body, "hull"))
    r, k = rng.uniform(0.22, 0.36), rng.uniform(0.15, 0.28)
    turret = g.lathe([(r, 0), (r * 0.75, k)], pick(rng, (4, 6, 8, 12)), phase=0.5).at(0, 0.05, track + h - 0.01)
    parts.append(Part(turret, body, "turret"))
    length = rng.uniform(0.5, 1.0)
    z = track + h + k * 0.5
    parts.append(Part(g.rod((0, 0, z), (0, -length, z + rng.uniform(0, 0.15)), rng.uniform(0.035, 0.07), 8), body, "gun"))
    parts.append(Part(g.cylinder(0.1, 0.05, 8).at(0.08, 0.12, track + h + k - 0.01), dark, "hatch"))
    return parts, []


def helicopter(rng: Rng, p: Palette) -> Design:
    body, dark, glass = p("vivid"), p("dark", 0.0), p("glass", 0.0)
    r, tail = rng.uniform(0.25, 0.4), rng.uniform(0.6, 1.1)
    z = r * 0.6
    parts = [Part(g.sphere(r, 10, 7).size(0.85, rng.uniform(1.1, 1.5), 0.95).at(0, 0, z), body, "body")]
    parts.append(Part(g.sphere(r * 0.8, 10, 6).size(0.9, 1, 0.85).at(0, -r * 0.55, z + r * 0.35), glass, "cockpit"))
    parts.append(Part(g.rod((0, r * 0.8, z + r), (0, r + tail, z + r * 1.2), 0.1, 6, top=0.4), body, "tail"))
    parts.append(Part(g.plate_x([(r + tail - 0.12, z + r), (r + tail + 0.1, z + r), (r + tail + 0.16, z + r + 0.35), (r + tail, z + r + 0.35)], 0.04), body, "fin"))
    top = z + r * 1.9
    parts.append(Part(g.cylinder(0.04, 0.2, 6).at(0, 0, top - 0.08), dark, "mast"))
    n, length = int(rng.integers(2, 5)), rng.uniform(0.6, 1.0)
    a = rng.uniform(0, 180)
    for i in range(n):
        parts.append(Part(g.box(length, 0.08, 0.025).at(length / 2).turn("z", a + 360 / n * i).at(0, 0, top + 0.1), dark, "rotor"))
    parts.append(Part(g.box(0.03, 0.05, 0.35).turn("x", rng.uniform(0, 90)).at(0.06, r + tail + 0.05, z + r * 1.1), dark, ""))
    parts += pair(g.box(0.04, r * 2.2, 0.04).at(r * 0.65, 0, 0), dark, "skids")
    for q in (-0.5, 0.5):
        parts += pair(g.rod((r * 0.65, q * r, 0.02), (r * 0.35, q * r, z + r * 0.2), 0.02, 5), dark, "")
    return parts, []


def cart(rng: Rng, p: Palette) -> Design:
    wood, iron = p("wood", 0.3), p("wood")
    w, y, h, r = rng.uniform(0.5, 0.7), rng.uniform(0.7, 1.3), rng.uniform(0.15, 0.35), rng.uniform(0.18, 0.35)
    z = r * 1.05
    t = 0.05
    walls = [g.box(t, y, h).at(s * (w - t) / 2) for s in (1, -1)] + [g.box(w, t, h).at(0, s * (y - t) / 2) for s in (1, -1)]
    parts = [Part(g.join([*walls, g.box(w, y, t)]).at(0, 0, z), wood, "body")]
    for q in (0.0,) if coin(rng) else (-0.32, 0.32):
        at = (w / 2 + 0.05, q * y, r)
        parts += pair(g.ring(r * 0.9, r * 0.1, 12, 5).turn("y", 90).at(at[0] - r * 0.1, at[1], r), iron, "wheels")
        for i in range(3):
            parts += pair(g.box(0.03, 0.04, r * 1.8).at(0, 0, -r * 0.9).turn("x", 60 * i).at(*at), iron, "spokes")
        parts.append(Part(g.rod((-at[0], at[1], r), at, 0.035, 6), iron, "axle"))
    parts += pair(g.beam((w * 0.4, -y * 0.45, z), (w * 0.3, -y * 0.5 - 0.5, z * rng.uniform(0.5, 1.3)), 0.04, 0.04), iron, "shafts")
    words = []
    kind = int(rng.integers(0, 4))
    if kind == 0:
        parts.append(Part(g.lumps(g.sphere(0.5, 8, 4, share=0.5), rng, 0.2).size(w * 0.9, y * 0.9, 0.6).at(0, 0, z + h * 0.7), p("any", 0.3, ("noise", "spots")), "load"))
        words.append("with a load")
    elif kind == 1:
        n = 8
        arc = g.disc(w * 0.52, 2 * n)[: n + 1]
        parts.append(Part(g.plate_y(arc, y).at(0, 0, z + h * 0.95), p("light", 0.2, ("stripes", "bands")), "cover"))
        words.append("covered")
    return parts, words


def spaceship(rng: Rng, p: Palette) -> Design:
    hull, trim, glass = p("metal", 0.1) if coin(rng) else p("any", 0.1), p("vivid", 0.0), p("glass", 0.0)
    words = []
    if coin(rng, 0.35):
        r, h = rng.uniform(0.5, 0.8), rng.uniform(0.12, 0.3)
        n = pick(rng, (8, 12, 18))
        parts = [Part(g.lathe([(0, 0), (r * 0.4, 0), (r, h * 0.6), (r * 0.45, h * 1.2), (0, h * 1.2)], n), hull, "hull")]
        parts.append(Part(g.sphere(r * 0.42, 12, 5, share=0.5).at(0, 0, h * 1.1), glass, "dome"))
        for x, y in g.disc(r * 0.72, int(rng.integers(5, 10))):
            parts.append(Part(g.sphere(0.06, 6, 4).at(x, y, h * 0.78), trim, "lights"))
        if coin(rng):
            for i in range(3):
                x, y = g.disc(r * 0.5, 3, 0.25)[i]
                parts.append(Part(g.rod((x * 0.8, y * 0.8, h * 0.3), (x * 1.5, y * 1.5, -0.3), 0.03, 5), trim, "legs"))
        return parts, ["saucer-shaped"]
    y, w, h = rng.uniform(1.2, 1.9), rng.uniform(0.3, 0.5), rng.uniform(0.2, 0.4)
    n = pick(rng, (4, 6, 8))
    section = g.disc(0.5, n, 0.5) * (1.41 if n == 4 else 1)
    rings = []
    for t, k in ((0.5, rng.uniform(0.5, 0.9)), (0.2, 1.0), (-0.1, rng.uniform(0.7, 1.0)), (-0.5, rng.uniform(0.05, 0.4))):
        rings.append(np.column_stack([section[:, 0] * w * k, np.full(n, t * y), section[:, 1] * h * k]))
    parts = [Part(g.loft(rings), hull, "hull")]
    parts.append(Part(g.sphere(0.5, 8, 5).size(w * 0.55, y * 0.3, h * 0.7).at(0, -y * 0.12, h * 0.1), glass, "cockpit"))
    for _ in range(int(rng.integers(1, 3))):
        span, chord, back, tip = rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.7), rng.uniform(-0.3, 0.5), rng.uniform(0.1, 0.3)
        s = g.extrude([(0, 0), (span, back), (span, back + tip), (0, chord)], 0.05).turn("y", -rng.uniform(-25, 35))
        parts += pair(s.at(w * 0.3, rng.uniform(-0.1, 0.15) * y, 0), trim if coin(rng) else hull, "wings")
        if coin(rng):
            parts += pair(g.cylinder(0.04, 0.5, 6).turn("x", 90).at(w * 0.3 + span * 0.9, back * 0.9 + 0.3, 0.02 - span * 0.02), p("dark", 0.0), "guns")
    e = rng.uniform(0.08, 0.14)
    engine = g.lathe([(e * 0.7, 0), (e, 0.25), (e * 0.7, 0.25), (0, 0.12)], 8).turn("x", -90)
    for s in (1, -1) if coin(rng, 0.7) else (0,):
        parts.append(Part(engine.at(s * w * 0.28, y * 0.44, 0), p("dark", 0.0), "engines"))
        parts.append(Part(g.cylinder(e * 0.65, 0.02, 8).turn("x", -90).at(s * w * 0.28, y * 0.44 + 0.16, 0), p("fire", 0.0), "thrusters"))
    return parts, words


FAMILIES: dict[str, Family] = {
    "car": car,
    "truck": truck,
    "bus": bus,
    "boat": boat,
    "aeroplane": aeroplane,
    "rocket": rocket,
    "train": train,
    "tank": tank,
    "helicopter": helicopter,
    "cart": cart,
    "spaceship": spaceship,
}
