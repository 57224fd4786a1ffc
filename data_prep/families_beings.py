"""Named families: animals and figures. Each takes a generator and a palette; they look toward −Y."""

from __future__ import annotations

from functools import partial

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Paint, Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, legs, pair
from lora3d.data_prep.primitives import Solid


def lump(rng: Rng, x: float, y: float, z: float, style: int) -> Solid:
    """A body part of this size in one of three styles: round, boxy with soft edges, faceted."""
    if style == 0:
        return g.sphere(0.5, 10, 7).size(x, y, z)
    if style == 1:
        return g.soft_box(x, y, z, 0.18 * min(x, y, z))
    return g.sphere(0.5, 7, 5).size(x, y, z)


def eyes(paint: Paint, x: float, y: float, z: float, r: float) -> list[Part]:
    """Two small balls at (±x, y, z)."""
    return pair(g.sphere(r, 6, 4).at(x, y, z - r), paint, "eyes")


# Of a quadruped: body length, height, width; leg length; head; neck rise; snout; ear kind; tail kind; colours.
ANIMALS: dict[str, tuple[float, float, float, float, float, float, float, str, str, tuple[str, ...]]] = {
    "cat": (0.7, 0.28, 0.25, 0.25, 0.3, 0.12, 0.05, "pointed", "long", ("orange", "grey", "black", "white", "tan")),
    "dog": (0.75, 0.32, 0.28, 0.3, 0.3, 0.15, 0.18, "hanging", "up", ("tan", "brown", "white", "black", "dark brown")),
    "horse": (1.0, 0.42, 0.34, 0.55, 0.26, 0.45, 0.28, "pointed", "hair", ("brown", "dark brown", "white", "tan", "black")),
    "cow": (1.0, 0.5, 0.45, 0.35, 0.32, 0.1, 0.18, "side", "rope", ("white", "brown", "black", "tan")),
    "pig": (0.8, 0.45, 0.42, 0.18, 0.34, 0.0, 0.1, "pointed", "curl", ("pink", "peach", "brown")),
    "sheep": (0.75, 0.5, 0.5, 0.25, 0.26, 0.1, 0.08, "side", "stub", ("white", "beige", "black", "grey")),
    "elephant": (1.0, 0.7, 0.6, 0.35, 0.48, 0.1, 0.05, "fan", "rope", ("grey", "light grey", "light blue")),
    "rabbit": (0.4, 0.32, 0.28, 0.12, 0.28, 0.15, 0.03, "tall", "stub", ("white", "grey", "tan", "beige")),
    "fox": (0.7, 0.28, 0.25, 0.25, 0.28, 0.1, 0.16, "pointed", "bush", ("orange", "dark red", "white")),
    "bear": (0.85, 0.55, 0.5, 0.25, 0.42, 0.1, 0.12, "round", "stub", ("brown", "dark brown", "white", "black")),
}  # fmt: skip


def quadruped(rng: Rng, p: Palette, *, kind: str) -> Design:
    length, height, width, leg_z, head, neck, snout, ear, tail, colors = ANIMALS[kind]
    length, height, width, leg_z, head = (k * rng.uniform(0.8, 1.25) for k in (length, height, width, leg_z, head))
    fur = p.named(pick(rng, colors), 0.15) if coin(rng, 0.75) else p("any", 0.2)
    light, dark = p("light", 0.0), p("dark", 0.0)
    style = int(rng.integers(0, 3))
    z = leg_z + height * 0.5
    body = lump(rng, width, length, height, style).at(0, 0, leg_z)
    parts = [Part(body, fur, "body")]
    r = width * rng.uniform(0.13, 0.2)
    leg = g.box(1.8 * r, 1.8 * r, leg_z + height * 0.3) if style == 1 else g.cylinder(r, leg_z + height * 0.3, 7, top=1.2)
    sock = fur if coin(rng, 0.6) else pick(rng, (light, dark))
    parts.append(Part(legs(leg, width * 0.28, length * 0.33), sock, "legs"))
    hz = leg_z + height * rng.uniform(0.6, 0.9) + neck * rng.uniform(0.7, 1.2)
    hy = -length / 2 - head * 0.15
    if neck > 0.2:
        parts.append(Part(g.rod((0, -length * 0.35, z), (0, hy, hz + head * 0.4), width * 0.28, 7, top=0.75), fur, "neck"))
        mane = g.beam((0, -length * 0.3, z + 0.15), (0, hy + head * 0.4, hz + head), 0.06, 0.1)
        parts.append(Part(mane, dark, "mane"))
    parts.append(Part(lump(rng, head, head * 0.95, head * 0.9, style).at(0, hy, hz), fur, "head"))
    face = hy - head * 0.47
    if snout > 0.04:
        nose = fur if coin(rng) else light
        parts.append(Part(lump(rng, head * 0.5, snout * 2, head * 0.42, style).at(0, face, hz + head * 0.08), nose, "muzzle"))
        parts.append(Part(g.box(head * 0.2, 0.03, head * 0.12).at(0, face - snout, hz + head * 0.35), dark, "nose"))
    parts += eyes(dark, head * 0.26, face + head * 0.1, hz + head * 0.66, head * 0.075)
    parts += _ears(ear, head, hy, hz, fur, light)
    parts += _tail(rng, tail, length, z, fur, light)
    if kind == "cow" or (kind == "sheep" and coin(rng, 0.3)):
        horn = g.tube([(head * 0.3, hy, hz + head * 0.8), (head * 0.6, hy, hz + head * 0.95), (head * 0.65, hy - 0.05, hz + head * 1.25)], [0.045, 0.035, 0.01], 6)
        parts += pair(horn, light, "horns")
    if kind == "elephant":
        trunk = [(0, face + 0.05, hz + head * 0.4), (0, face - 0.15, hz + head * 0.2), (0, face - 0.2, hz - head * 0.4), (0, face - 0.32, hz - head * 0.55)]
        parts.append(Part(g.tube(trunk, [0.11, 0.09, 0.06, 0.05], 8), fur, "trunk"))
        parts += pair(g.tube([(head * 0.25, face, hz + 0.05), (head * 0.3, face - 0.2, hz), (head * 0.3, face - 0.3, hz + 0.1)], [0.04, 0.03, 0.01], 5), light, "tusks")
    return parts, []


def _ears(kind: str, head: float, y: float, z: float, fur: Paint, inner: Paint) -> list[Part]:
    x, top = head * 0.3, z + head * 0.78
    if kind == "pointed":
        ear = g.cylinder(head * 0.17, head * 0.42, 4, top=0.0).at(x, y, top)
    elif kind == "round":
        ear = g.sphere(head * 0.17, 8, 5).size(1, 0.5, 1).at(x * 1.2, y, top - 0.02)
    elif kind == "tall":
        ear = g.capsule(head * 0.13, head * 1.1, 7).size(1, 0.5, 1).turn("y", 8).at(x * 0.7, y, top)
    elif kind == "hanging":
        ear = g.sphere(0.5, 7, 5).size(head * 0.18, head * 0.35, head * 0.6).at(head * 0.5, y, z + head * 0.25)
    elif kind == "fan":
        ear = g.sphere(0.5, 9, 5).size(head * 0.9, 0.08, head * 1.05).turn("z", 25).at(head * 0.75, y + 0.1, z)
    else:
        ear = g.sphere(0.5, 7, 4).size(head * 0.45, head * 0.14, head * 0.22).at(head * 0.6, y + 0.05, z + head * 0.6)
    return pair(ear, fur, "ears")


def _tail(rng: Rng, kind: str, length: float, z: float, fur: Paint, tip: Paint) -> list[Part]:
    y = length * 0.46
    if kind == "stub":
        return [Part(g.sphere(0.08, 7, 5).at(0, y, z), tip if coin(rng) else fur, "tail")]
    if kind == "hair":
        return [Part(g.tube([(0, y, z + 0.12), (0, y + 0.2, z), (0, y + 0.22, z - 0.4)], [0.05, 0.08, 0.03], 6), tip, "tail")]
    if kind == "bush":
        parts = [Part(g.tube([(0, y, z), (0, y + 0.25, z + 0.05), (0, y + 0.5, z + 0.2)], [0.05, 0.12, 0.1], 7), fur, "tail")]
        return [*parts, Part(g.lathe([(0.1, 0), (0, 0.2)], 7).turn("x", -60).at(0, y + 0.5, z + 0.2), tip, "tip")]
    if kind == "rope":
        return [Part(g.tube([(0, y, z + 0.1), (0, y + 0.1, z), (0, y + 0.12, z - 0.3)], [0.03, 0.02, 0.02], 5), fur, "tail")]
    if kind == "curl":
        t = np.linspace(0, 1, 8)
        path = np.stack([0.06 * np.sin(12 * t), y + 0.18 * t, z + 0.06 * np.cos(12 * t)], 1)
        return [Part(g.tube(path, 0.022, 5), fur, "tail")]
    up = rng.uniform(0.1, 0.5)
    path = [(0, y, z), (0, y + 0.18, z + up * 0.4), (0.02, y + 0.22, z + up), (0.05, y + 0.15, z + up + 0.12)]
    return [Part(g.tube(path, [0.045, 0.04, 0.035, 0.03], 6), fur, "tail")]


def bird(rng: Rng, p: Palette) -> Design:
    coat, belly, beak, dark = p("any", 0.1), p("light", 0.0), p("fire", 0.0), p("dark", 0.0)
    h, r = rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.32)
    leg_z = rng.uniform(0.05, 0.35)
    style = int(rng.integers(0, 3))
    parts = [Part(lump(rng, 2 * r, 2 * r * rng.uniform(0.9, 1.5), h, style).at(0, 0, leg_z), coat, "body")]
    parts.append(Part(g.sphere(r * 0.8, 8, 6).size(1, 0.6, h / r * 0.5).at(0, -r * 0.62, leg_z + h * 0.05), belly, "belly"))
    k = r * rng.uniform(0.7, 1.0)
    hz = leg_z + h * rng.uniform(0.75, 1.1)
    parts.append(Part(g.sphere(k, 9, 6).at(0, -r * 0.3, hz), coat, "head"))
    length = rng.uniform(0.12, 0.35)
    bill = g.cylinder(k * 0.35, length, pick(rng, (4, 6)), top=0.0 if coin(rng) else 0.7).size(1, rng.uniform(0.5, 1.0), 1)
    parts.append(Part(bill.turn("x", 90).at(0, -r * 0.3 - k * 0.85, hz + k * 0.9), beak, "beak"))
    parts += eyes(dark, k * 0.5, -r * 0.3 - k * 0.75, hz + k * 1.25, k * 0.14)
    wing = g.sphere(0.5, 8, 5).size(0.1, r * rng.uniform(1.4, 2.4), h * 0.6)
    spread = rng.uniform(40, 100) if coin(rng, 0.35) else rng.uniform(0, 20)
    parts += pair(wing.at(0, 0.05, -h * 0.6).turn("y", -spread).at(r * 0.95, 0, leg_z + h * 0.75), coat if coin(rng) else p("any", 0.0), "wings")
    parts.append(Part(g.box(r * 0.8, 0.35, 0.05).turn("x", rng.uniform(-10, 50)).at(0, r * 1.1, leg_z + h * 0.25), coat, "tail"))
    if leg_z > 0.08:
        parts += pair(g.cylinder(0.025, leg_z + 0.1, 5).at(r * 0.4), beak, "legs")
    parts += pair(g.box(0.11, 0.16, 0.03).at(r * 0.4, -0.05), beak, "feet")
    if coin(rng, 0.25):
        parts += [Part(g.cylinder(0.04, 0.14, 5, top=0.0).at(0, -r * 0.3 + a, hz + 2 * k - 0.05), p("vivid", 0.0), "crest") for a in (-0.06, 0.0, 0.06)]
    return parts, ["long-legged"] if leg_z > 0.25 else []


def fish(rng: Rng, p: Palette) -> Design:
    skin, fin, dark = p("any", 0.3, ("stripes", "bands", "spots")), p("any", 0.0), p("dark", 0.0)
    y, z, x = rng.uniform(0.7, 1.2), rng.uniform(0.25, 0.7), rng.uniform(0.18, 0.35)
    n = pick(rng, (6, 8, 10))
    body = g.lathe([(0, 0), (0.25, 0.08), (0.48, 0.3), (0.5, 0.5), (0.3, 0.8), (0.1, 1.0), (0, 1.0)], n)
    parts = [Part(body.turn("x", -90).size(x, y, z).at(0, -y / 2, z / 2), skin, "body")]
    t = rng.uniform(0.2, 0.45)
    tail = [(y * 0.42, z / 2), (y * 0.5 + t, z / 2 - t * 0.8), (y * 0.5 + t * 0.6, z / 2), (y * 0.5 + t, z / 2 + t * 0.8)]
    parts.append(Part(g.plate_x(tail, 0.05), fin, "tail"))
    up = rng.uniform(0.1, 0.35)
    parts.append(Part(g.plate_x([(-y * 0.2, z * 0.9), (y * 0.25, z * 0.75), (y * 0.3, z * 0.9 + up), (y * 0.02, z * 0.95 + up)], 0.04), fin, "fins"))
    side = g.extrude([(0, 0), (0.3 * z + 0.1, 0.12), (0.3 * z + 0.08, 0.25), (0, 0.12)], 0.03).turn("y", rng.uniform(10, 60))
    parts += pair(side.at(x * 0.42, -y * 0.12, z * 0.42), fin, "fins")
    parts += eyes(p("light", 0.0), x * 0.3, -y * 0.33, z * 0.62, 0.065)
    parts += eyes(dark, x * 0.3 + 0.02, -y * 0.33 - 0.035, z * 0.61, 0.045)
    return parts, ["slim" if z < 0.35 else "tall"] if z < 0.35 or z > 0.55 else []


def snail(rng: Rng, p: Palette) -> Design:
    skin, shell, dark = p("skin", 0.0), p("any", 0.3, ("stripes", "bands", "spots")), p("dark", 0.0)
    y, r = rng.uniform(0.8, 1.2), rng.uniform(0.2, 0.38)
    path = [(0, y * 0.5, 0.05), (0, y * 0.2, 0.1), (0, -y * 0.3, 0.12), (0, -y * 0.45, 0.3), (0, -y * 0.48, 0.42)]
    parts = [Part(g.tube(path, [0.03, 0.11, 0.13, 0.11, 0.09], 8), skin, "body")]
    spiral = coin(rng)
    if spiral:
        t = np.linspace(0, 1, 22)
        a, k = 4 * np.pi * t, r * (1 - 0.85 * t)
        coil = np.stack([0.14 * t, k * np.cos(a) * 0.6 + 0.08, 0.18 + r * 0.6 + k * np.sin(a) * 0.6], 1)
        parts.append(Part(g.tube(coil, r * 0.5 * (1 - 0.7 * t), 6), shell, "shell"))
    else:
        parts.append(Part(g.sphere(r, 10, 6).size(0.8, 1, 1).at(0, 0.08, 0.12), shell, "shell"))
    stalk = g.rod((0.05, -y * 0.48, 0.48), (0.1, -y * 0.55, 0.66), 0.02, 5)
    parts += pair(stalk, skin, "stalks")
    parts += eyes(dark, 0.1, -y * 0.55, 0.68, 0.04)
    return parts, ["with a spiral shell"] if spiral else []


def bug(rng: Rng, p: Palette) -> Design:
    shell, dark, wing = p("vivid", 0.3, ("spots", "bands", "stripes")), p("dark", 0.0), p("light", 0.0)
    x, y, z = rng.uniform(0.4, 0.7), rng.uniform(0.5, 1.0), rng.uniform(0.25, 0.45)
    h = rng.uniform(0.05, 0.15)
    parts = [Part(g.sphere(0.5, 10, 6).size(x, y, z).at(0, 0.1, h), shell, "body")]
    k = x * rng.uniform(0.4, 0.7)
    parts.append(Part(g.sphere(k / 2, 9, 6).at(0, -y * 0.42, h + z * 0.2), dark if coin(rng) else shell, "head"))
    parts += eyes(p("light", 0.0), k * 0.3, -y * 0.42 - k * 0.4, h + z * 0.2 + k * 0.6, k * 0.13)
    for i in (-1, 0, 1):
        a = y * 0.25 * i + 0.05
        parts += pair(g.tube([(x * 0.3, a, h + z * 0.4), (x * 0.65, a * 1.3, h + z * 0.45), (x * 0.8, a * 1.6, 0)], 0.025, 5), dark, "legs")
    parts += pair(g.tube([(k * 0.2, -y * 0.5, h + z * 0.2 + k * 0.8), (k * 0.5, -y * 0.6, h + z + 0.1), (k * 0.7, -y * 0.7, h + z + 0.1)], 0.015, 5), dark, "feelers")
    if coin(rng, 0.5):
        s = rng.uniform(0.3, 0.6)
        leaf = g.sphere(0.5, 8, 4).size(s * 1.6, s * 0.8, 0.04).at(s * 0.8, 0, 0).turn("y", -rng.uniform(10, 50)).turn("z", rng.uniform(-10, 40))
        parts += pair(leaf.at(0.03, 0.0, h + z * 0.9), wing, "wings")
        return parts, ["flying"]
    return parts, []


def dinosaur(rng: Rng, p: Palette) -> Design:
    skin, belly, dark, spike = p("leaf", 0.2) if coin(rng) else p("any", 0.2), p("light", 0.0), p("dark", 0.0), p("vivid", 0.0)
    upright = coin(rng)
    parts: list[Part] = []
    h = rng.uniform(0.3, 0.5)
    if upright:
        path = np.array([(0, 1.0, 0.12), (0, 0.55, 0.2), (0, 0.15, h + 0.1), (0, -0.05, h + 0.4), (0, -0.15, h + 0.75)])
        parts.append(Part(g.tube(path, [0.03, 0.12, 0.28, 0.24, 0.16], 8), skin, "body"))
        top = h + 0.75
        parts.append(Part(g.soft_box(0.32, 0.5, 0.3, 0.06).at(0, -0.32, top - 0.02), skin, "head"))
        parts.append(Part(g.box(0.26, 0.4, 0.05).at(0, -0.36, top - 0.07), belly, "jaw"))
        parts += eyes(dark, 0.15, -0.32, top + 0.24, 0.04)
        parts += pair(g.box(0.16, 0.2, h + 0.15).at(0.2, 0.12), skin, "legs")
        parts += pair(g.box(0.18, 0.32, 0.08).at(0.2, 0.04), skin, "feet")
        parts += pair(g.rod((0.18, -0.15, h + 0.45), (0.2, -0.35, h + 0.35), 0.045, 5), skin, "arms")
    else:
        neck = rng.uniform(0.4, 1.0)
        path = np.array([(0, 1.1, 0.15), (0, 0.6, h), (0, 0.2, h + 0.15), (0, -0.25, h + 0.15), (0, -0.55, h + 0.15 + neck * 0.6), (0, -0.65, h + 0.2 + neck)])
        parts.append(Part(g.tube(path, [0.03, 0.14, 0.28, 0.26, 0.12, 0.09], 8), skin, "body"))
        parts.append(Part(g.sphere(0.5, 8, 5).size(0.22, 0.4, 0.22).at(0, -0.74, h + 0.12 + neck), skin, "head"))
        parts += eyes(dark, 0.09, -0.78, h + 0.29 + neck, 0.03)
        parts.append(Part(legs(g.cylinder(0.09, h + 0.1, 7), 0.18, 0.28).at(0, -0.02), skin, "legs"))
    words = ["upright"] if upright else ["long-necked"]
    if coin(rng, 0.7):
        k = rng.uniform(0.1, 0.25)
        for a, b in zip(path[1:-1], path[2:], strict=True):
            for t in (0.0, 0.5):
                at = a + (b - a) * t
                parts.append(Part(g.plate_x([(-k * 0.5, 0), (k * 0.5, 0), (0, k)], 0.05).at(0, float(at[1]) + (0.22 if upright else 0), float(at[2]) + (0.05 if upright else 0.2)), spike, "plates"))
        words.append("with back plates")
    return parts, words


def octopus(rng: Rng, p: Palette) -> Design:
    skin, dark = p("vivid", 0.2, ("spots", "noise")), p("dark", 0.0)
    r, n = rng.uniform(0.25, 0.4), int(rng.integers(5, 9))
    z = rng.uniform(0.1, 0.3)
    parts = [Part(g.sphere(r, 10, 7).size(1, 1, rng.uniform(0.9, 1.4)).at(0, 0, z), skin, "head")]
    out, lift = rng.uniform(0.3, 0.7), rng.uniform(0.0, 0.3)
    for i in range(n):
        path = [(r * 0.4, 0, z + 0.1), (r + out * 0.4, 0, 0.08), (r + out * 0.8, 0, 0.06), (r + out, 0, 0.06 + lift)]
        arm = g.tube(path, [0.12, 0.09, 0.06, 0.03], 6).turn("z", 360 / n * (i + 0.5) - 90)
        parts.append(Part(arm, skin, "arms"))
    parts += eyes(p("light", 0.0), r * 0.4, -r * 0.82, z + r * 1.15, r * 0.24)
    parts += eyes(dark, r * 0.4, -r * 1.0, z + r * 1.13, r * 0.13)
    return parts, []


def snake(rng: Rng, p: Palette) -> Design:
    skin, dark = p("vivid", 0.4, ("bands", "checks", "zigzag", "stripes")), p("dark", 0.0)
    r = rng.uniform(0.05, 0.1)
    t = np.linspace(0, 1, 24)
    if coin(rng):
        turns = rng.uniform(1.5, 3.0)
        a, k = 2 * np.pi * turns * (1 - t) - np.pi / 2, 0.2 + 0.3 * (1 - t)
        path = np.stack([k * np.cos(a), k * np.sin(a), r + 1.6 * r * turns * t * 0.8], 1)
        words = ["coiled"]
    else:
        path = np.stack([rng.uniform(0.1, 0.25) * np.sin(t * rng.uniform(8, 16)), 0.8 - 1.6 * t, np.full(24, r)], 1)
        words = ["long"]
    path[-5:, 2] += np.linspace(0.05, 0.35, 5)
    radius = r * np.minimum(1.0, 0.2 + t * 4)
    parts = [Part(g.tube(path, radius, 7), skin, "body")]
    x, y, z = (float(c) for c in path[-1])
    parts.append(Part(g.sphere(r * 1.4, 8, 5).size(1, 1.5, 0.7).at(x, y - r * 0.7, z - r), skin, "head"))
    for s in (1, -1):
        parts.append(Part(g.sphere(r * 0.3, 6, 4).at(x + s * r * 0.7, y - r * 1.5, z + r * 0.2), dark, "eyes"))
    parts.append(Part(g.box(r * 0.3, r * 2.5, 0.015).at(x, y - r * 3.2, z - r * 0.1), p.named("red"), "tongue"))
    return parts, words


def person(rng: Rng, p: Palette) -> Design:
    skin, shirt, trousers, hair, dark = p("skin", 0.0), p("any", 0.25), p("any", 0.0), p("fur", 0.0), p("dark", 0.0)
    style = int(rng.integers(0, 3))
    leg, body, head = rng.uniform(0.25, 0.6), rng.uniform(0.35, 0.55), rng.uniform(0.22, 0.5)
    w, d = rng.uniform(0.28, 0.45), rng.uniform(0.16, 0.26)
    foot = g.box(w * 0.42, d * 0.9, leg + 0.03) if style == 1 else g.cylinder(w * 0.2, leg + 0.03, 8)
    parts = pair(foot.at(w * 0.25), trousers, "legs")
    parts += pair(g.soft_box(w * 0.44, d * 1.4, 0.09, 0.03).at(w * 0.25, -d * 0.2), dark, "shoes")
    skirt = coin(rng, 0.25)
    if skirt:
        parts.append(Part(g.lathe([(w * 0.9, 0), (w * 0.45, body + leg * 0.5)], 10).size(1, 0.7, 1).at(0, 0, leg * 0.5), shirt, "dress"))
    else:
        torso = g.soft_box(w, d, body, 0.06) if style else g.lathe([(w * 0.45, 0), (w * 0.55, body * 0.8), (w * 0.3, body)], 10).size(1, d / w * 1.1, 1)
        parts.append(Part(torso.at(0, 0, leg), shirt, "shirt"))
    top = leg + body
    parts.append(Part(lump(rng, head, head * 0.9, head, style).at(0, 0, top - 0.02), skin, "head"))
    parts += eyes(dark, head * 0.2, -head * 0.42, top + head * 0.55, head * 0.065)
    raised = rng.uniform(0, 180) if coin(rng, 0.3) else rng.uniform(0, 40)
    r, length = w * 0.13, body * rng.uniform(0.75, 1.0)
    arm = g.box(2 * r, 2 * r, length) if style == 1 else g.capsule(r, length, 7)
    arm = arm.at(0, 0, -length).turn("y", -raised).at(w * 0.5 + r * 0.8, 0, top - r)
    parts += pair(arm, shirt if coin(rng) else skin, "sleeves")
    hand = g.sphere(r * 1.2, 7, 5).at(0, 0, -length - r * 1.2).turn("y", -raised).at(w * 0.5 + r * 0.8, 0, top - r)
    parts += pair(hand, skin, "hands")
    words = ["with a dress"] if skirt else []
    kind = int(rng.integers(0, 5))
    if kind < 3:
        cap = g.sphere(head * 0.56, 10, 4, share=0.5).size(1, 0.98, rng.uniform(0.7, 1.2)) if style != 1 else g.box(head * 1.06, head, head * 0.35)
        parts.append(Part(cap.at(0, head * 0.06, top + head * 0.6), hair, "hair"))
        if kind == 2:
            parts.append(Part(g.soft_box(head * 1.0, head * 0.3, head * 1.1, 0.04).at(0, head * 0.42, top - head * 0.2), hair, "hair"))
    elif kind == 3:
        parts.append(Part(g.cylinder(head * 0.85, 0.04, 12).at(0, 0, top + head * 0.75), hair, ""))
        parts.append(Part(g.cylinder(head * 0.48, head * rng.uniform(0.3, 0.8), 12, top=rng.uniform(0.0, 1.0)).at(0, 0, top + head * 0.75), hair, "hat"))
        words.append("with a hat")
    return parts, words


def robot(rng: Rng, p: Palette) -> Design:
    body, trim, glow = p("metal", 0.1) if coin(rng) else p("vivid", 0.1), p("any", 0.0), p("vivid", 0.0)
    x, y, z, leg = rng.uniform(0.35, 0.65), rng.uniform(0.25, 0.4), rng.uniform(0.35, 0.6), rng.uniform(0.1, 0.45)
    parts = [Part(g.soft_box(x, y, z, 0.04) if coin(rng) else g.cylinder(x / 2, z, 10), body, "body").map(lambda s: s.at(0, 0, leg))]
    kind = int(rng.integers(0, 3))
    if kind == 0:
        parts += pair(g.box(x * 0.25, x * 0.25, leg + 0.02).at(x * 0.27), trim, "legs")
        parts += pair(g.soft_box(x * 0.36, y * 1.1, 0.1, 0.03).at(x * 0.27, -0.04), trim, "feet")
    elif kind == 1:
        track = g.plate_x([(-y * 0.8, 0.0), (y * 0.8, 0.0), (y * 0.95, leg * 0.5), (y * 0.7, leg), (-y * 0.7, leg), (-y * 0.95, leg * 0.5)], x * 0.25)
        parts += pair(track.at(x * 0.42), trim, "tracks")
        parts.append(Part(g.box(x * 0.7, y * 0.8, leg * 0.6).at(0, 0, leg * 0.45), body, ""))
    else:
        parts.append(Part(g.cylinder(x * 0.15, leg, 8), trim, ""))
        parts.append(Part(g.cylinder(leg * 0.6 + 0.06, x * 0.35, 12).turn("y", 90).at(-x * 0.175, 0, leg * 0.5), trim, "wheel"))
    k = rng.uniform(0.2, 0.45)
    top = leg + z
    head = (g.soft_box(k * 1.2, k, k, 0.04), g.sphere(k * 0.6, 10, 5, share=0.55), g.cylinder(k * 0.55, k, 8))[int(rng.integers(0, 3))]
    parts.append(Part(g.cylinder(k * 0.2, 0.1, 8).at(0, 0, top - 0.02), trim, ""))
    parts.append(Part(head.at(0, 0, top + 0.05), body, "head"))
    front = float(head.v[:, 1].min())
    if coin(rng, 0.6):
        parts += pair(g.cylinder(k * 0.14, 0.06, 8).turn("x", 90).at(k * 0.26, front + 0.03, top + 0.05 + k * 0.5), glow, "eyes")
    else:
        parts.append(Part(g.box(k * 0.8, 0.06, k * 0.25).at(0, front + 0.01, top + 0.05 + k * 0.4), glow, "visor"))
    r, length = rng.uniform(0.04, 0.08), z * rng.uniform(0.6, 1.0)
    swing = rng.uniform(0, 70)
    arm = g.join([g.capsule(r, length, 6), g.sphere(r * 1.5, 6, 4).at(0, 0, -r * 1.5)]).at(0, 0, -length).turn("x", -swing)
    parts += pair(arm.at(x / 2 + r, 0, top - 0.06), trim, "arms")
    words = []
    if coin(rng, 0.6):
        parts.append(Part(g.cylinder(0.015, 0.2, 5).at(0, 0, top + k), trim, ""))
        parts.append(Part(g.sphere(0.045, 7, 5).at(0, 0, top + k + 0.18), glow, "antenna"))
        words.append("with an antenna")
    parts.append(Part(g.box(x * 0.45, 0.04, z * 0.3).at(0, -y / 2 if len(parts[0].solid.v) > 30 else -x / 2, leg + z * 0.5), glow, "panel"))
    return parts, words + [("walking", "tracked", "wheeled")[kind]]


def ghost(rng: Rng, p: Palette) -> Design:
    sheet, dark = p("light", 0.0) if coin(rng, 0.6) else p("any", 0.0), p("dark", 0.0)
    r, h, n = rng.uniform(0.25, 0.4), rng.uniform(0.6, 1.1), 16
    s = g.lathe([(r * rng.uniform(1.0, 1.4), 0), (r * 0.95, h * 0.4), (r, h * 0.65), (r * 0.75, h * 0.88), (0, h)], n)
    v = s.v.copy()
    v[:n, 2] += (np.arange(n) % 2) * rng.uniform(0.05, 0.2)
    parts = [Part(Solid(v, s.f, True), sheet, "sheet")]
    e = r * rng.uniform(0.15, 0.28)
    parts += pair(g.sphere(e, 8, 5).size(1, 0.6, 1.4).at(r * 0.36, -r * 0.88, h * 0.58), dark, "eyes")
    if coin(rng, 0.6):
        parts.append(Part(g.sphere(e, 8, 5).size(1, 0.6, 1).at(0, -r * 0.95, h * 0.38), dark, "mouth"))
    if coin(rng, 0.6):
        parts += pair(g.sphere(r * 0.3, 8, 5).at(r * 1.0, -0.05, h * rng.uniform(0.35, 0.55)), sheet, "hands")
    return parts, ["tall"] if h > 0.95 else []


def snowman(rng: Rng, p: Palette) -> Design:
    snow, dark, nose = p.named("white"), p("dark", 0.0), p("fire", 0.0)
    n, r, z = int(rng.integers(2, 4)), rng.uniform(0.32, 0.45), 0.0
    parts: list[Part] = []
    k = rng.uniform(0.65, 0.85)
    for i in range(n):
        parts.append(Part(g.sphere(r, 12, 8).at(0, 0, z), snow, "balls"))
        if i == n - 2:
            parts += [Part(g.sphere(0.04, 6, 4).at(0, -r * 0.97, z + r * (0.75 + 0.4 * j)), dark, "buttons") for j in range(2)]
            arm = g.rod((r * 0.8, 0, z + r * 1.2), (r * 1.9, -0.05, z + r * rng.uniform(1.2, 2.2)), 0.03, 5)
            parts += pair(arm, p("wood", 0.0), "arms")
        z += r * 1.65
        r *= k
    r, z = r / k, z - r / k * 1.65
    parts += eyes(dark, r * 0.35, -r * 0.85, z + r * 1.35, 0.04)
    parts.append(Part(g.cylinder(0.05, r * rng.uniform(0.6, 1.3), 6, top=0.0).turn("x", 90).at(0, -r * 0.9, z + r), nose, "nose"))
    words = []
    if coin(rng, 0.6):
        parts.append(Part(g.ring(r * 0.75, 0.06, 12, 5).at(0, 0, z + r * 0.1), p("vivid", 0.2), "scarf"))
        words.append("with a scarf")
    if coin(rng, 0.6):
        top = p("dark", 0.0)
        parts.append(Part(g.cylinder(r * 0.95, 0.05, 12).at(0, 0, z + r * 1.7), top, ""))
        parts.append(Part(g.cylinder(r * 0.6, r * rng.uniform(0.5, 1.1), 12).at(0, 0, z + r * 1.72), top, "hat"))
    return parts, words


FAMILIES: dict[str, Family] = {
    **{kind: partial(quadruped, kind=kind) for kind in ANIMALS},
    "bird": bird,
    "fish": fish,
    "snail": snail,
    "bug": bug,
    "dinosaur": dinosaur,
    "octopus": octopus,
    "snake": snake,
    "person": person,
    "robot": robot,
    "ghost": ghost,
    "snowman": snowman,
}
