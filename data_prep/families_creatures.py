"""Named families: other animals. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.families_animals import eyes, lump
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, legs, one, pair


def bird(rng: Rng, p: Palette) -> Design:
    coat, belly, beak, dark = p("any", 0.1), p("light", 0.0), p("fire", 0.0), p("dark", 0.0)
    h, r = rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.32)
    leg_z = rng.uniform(0.05, 0.35)
    style = int(rng.integers(0, 3))
    parts = [Part(lump(2 * r, 2 * r * rng.uniform(0.9, 1.5), h, style).at(0, 0, leg_z), coat, "body")]
    parts += one(
        g.sphere(r * 0.8, 8, 6).size(1, 0.6, h / r * 0.5).at(0, -r * 0.62, leg_z + h * 0.05), belly, "belly"
    )
    k = r * rng.uniform(0.7, 1.0)
    hz = leg_z + h * rng.uniform(0.75, 1.1)
    parts += one(g.sphere(k, 9, 6).at(0, -r * 0.3, hz), coat, "head")
    length = rng.uniform(0.12, 0.35)
    bill = g.cylinder(k * 0.35, length, pick(rng, (4, 6)), top=0.0 if coin(rng) else 0.7).size(
        1, rng.uniform(0.5, 1.0), 1
    )
    parts += one(bill.turn("x", 90).at(0, -r * 0.3 - k * 0.85, hz + k * 0.9), beak, "beak")
    parts += eyes(dark, k * 0.5, -r * 0.3 - k * 0.75, hz + k * 1.25, k * 0.14)
    wing = g.sphere(0.5, 8, 5).size(0.1, r * rng.uniform(1.4, 2.4), h * 0.6)
    spread = rng.uniform(40, 100) if coin(rng, 0.35) else rng.uniform(0, 20)
    parts += pair(
        wing.at(0, 0.05, -h * 0.6).turn("y", -spread).at(r * 0.95, 0, leg_z + h * 0.75),
        coat if coin(rng) else p("any", 0.0),
        "wings",
    )
    parts += one(
        g.box(r * 0.8, 0.35, 0.05).turn("x", rng.uniform(-10, 50)).at(0, r * 1.1, leg_z + h * 0.25),
        coat,
        "tail",
    )
    if leg_z > 0.08:
        parts += pair(g.cylinder(0.025, leg_z + 0.1, 5).at(r * 0.4), beak, "legs")
    parts += pair(g.box(0.11, 0.16, 0.03).at(r * 0.4, -0.05), beak, "feet")
    if coin(rng, 0.25):
        parts += [
            Part(
                g.cylinder(0.04, 0.14, 5, top=0.0).at(0, -r * 0.3 + a, hz + 2 * k - 0.05),
                p("vivid", 0.0),
                "crest",
            )
            for a in (-0.06, 0.0, 0.06)
        ]
    return parts, ["long-legged"] if leg_z > 0.25 else []


def fish(rng: Rng, p: Palette) -> Design:
    skin, fin, dark = p("any", 0.3, ("stripes", "bands", "spots")), p("any", 0.0), p("dark", 0.0)
    y, z, x = rng.uniform(0.7, 1.2), rng.uniform(0.25, 0.7), rng.uniform(0.18, 0.35)
    n = pick(rng, (6, 8, 10))
    body = g.lathe([(0, 0), (0.25, 0.08), (0.48, 0.3), (0.5, 0.5), (0.3, 0.8), (0.1, 1.0), (0, 1.0)], n)
    parts = [Part(body.turn("x", -90).size(x, y, z).at(0, -y / 2, z / 2), skin, "body")]
    t = rng.uniform(0.2, 0.45)
    tail = [
        (y * 0.42, z / 2),
        (y * 0.5 + t, z / 2 - t * 0.8),
        (y * 0.5 + t * 0.6, z / 2),
        (y * 0.5 + t, z / 2 + t * 0.8),
    ]
    parts += one(g.plate_x(tail, 0.05), fin, "tail")
    up = rng.uniform(0.1, 0.35)
    parts += one(
        g.plate_x(
            [
                (-y * 0.2, z * 0.9),
                (y * 0.25, z * 0.75),
                (y * 0.3, z * 0.9 + up),
                (y * 0.02, z * 0.95 + up),
            ],
            0.04,
        ),
        fin,
        "fins",
    )
    side = g.extrude([(0, 0), (0.3 * z + 0.1, 0.12), (0.3 * z + 0.08, 0.25), (0, 0.12)], 0.03).turn(
        "y", rng.uniform(10, 60)
    )
    parts += pair(side.at(x * 0.42, -y * 0.12, z * 0.42), fin, "fins")
    parts += eyes(p("light", 0.0), x * 0.3, -y * 0.33, z * 0.62, 0.065)
    parts += eyes(dark, x * 0.3 + 0.02, -y * 0.33 - 0.035, z * 0.61, 0.045)
    return parts, ["slim" if z < 0.35 else "tall"] if z < 0.35 or z > 0.55 else []


def snail(rng: Rng, p: Palette) -> Design:
    skin, shell, dark = p("skin", 0.0), p("any", 0.3, ("stripes", "bands", "spots")), p("dark", 0.0)
    y, r = rng.uniform(0.8, 1.2), rng.uniform(0.2, 0.38)
    path = [
        (0, y * 0.5, 0.05),
        (0, y * 0.2, 0.1),
        (0, -y * 0.3, 0.12),
        (0, -y * 0.45, 0.3),
        (0, -y * 0.48, 0.42),
    ]
    parts = [Part(g.tube(path, [0.03, 0.11, 0.13, 0.11, 0.09], 8), skin, "body")]
    spiral = coin(rng)
    if spiral:
        t = np.linspace(0, 1, 22)
        a, k = 4 * np.pi * t, r * (1 - 0.85 * t)
        coil = np.stack([0.14 * t, k * np.cos(a) * 0.6 + 0.08, 0.18 + r * 0.6 + k * np.sin(a) * 0.6], 1)
        parts += one(g.tube(coil, r * 0.5 * (1 - 0.7 * t), 6), shell, "shell")
    else:
        parts += one(g.sphere(r, 10, 6).size(0.8, 1, 1).at(0, 0.08, 0.12), shell, "shell")
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
    parts += one(g.sphere(k / 2, 9, 6).at(0, -y * 0.42, h + z * 0.2), dark if coin(rng) else shell, "head")
    parts += eyes(p("light", 0.0), k * 0.3, -y * 0.42 - k * 0.4, h + z * 0.2 + k * 0.6, k * 0.13)
    for i in (-1, 0, 1):
        a = y * 0.25 * i + 0.05
        parts += pair(
            g.tube(
                [(x * 0.3, a, h + z * 0.4), (x * 0.65, a * 1.3, h + z * 0.45), (x * 0.8, a * 1.6, 0)],
                0.025,
                5,
            ),
            dark,
            "legs",
        )
    parts += pair(
        g.tube(
            [
                (k * 0.2, -y * 0.5, h + z * 0.2 + k * 0.8),
                (k * 0.5, -y * 0.6, h + z + 0.1),
                (k * 0.7, -y * 0.7, h + z + 0.1),
            ],
            0.015,
            5,
        ),
        dark,
        "feelers",
    )
    if coin(rng, 0.5):
        s = rng.uniform(0.3, 0.6)
        leaf = (
            g.sphere(0.5, 8, 4)
            .size(s * 1.6, s * 0.8, 0.04)
            .at(s * 0.8, 0, 0)
            .turn("y", -rng.uniform(10, 50))
            .turn("z", rng.uniform(-10, 40))
        )
        parts += pair(leaf.at(0.03, 0.0, h + z * 0.9), wing, "wings")
        return parts, ["flying"]
    return parts, []


def dinosaur(rng: Rng, p: Palette) -> Design:
    skin, belly, dark, spike = (
        p("leaf", 0.2) if coin(rng) else p("any", 0.2),
        p("light", 0.0),
        p("dark", 0.0),
        p("vivid", 0.0),
    )
    upright = coin(rng)
    parts: list[Part] = []
    h = rng.uniform(0.3, 0.5)
    if upright:
        path = np.array(
            [(0, 1.0, 0.12), (0, 0.55, 0.2), (0, 0.15, h + 0.1), (0, -0.05, h + 0.4), (0, -0.15, h + 0.75)]
        )
        parts += one(g.tube(path, [0.03, 0.12, 0.28, 0.24, 0.16], 8), skin, "body")
        top = h + 0.75
        parts += one(g.soft_box(0.32, 0.5, 0.3, 0.06).at(0, -0.32, top - 0.02), skin, "head")
        parts += one(g.box(0.26, 0.4, 0.05).at(0, -0.36, top - 0.07), belly, "jaw")
        parts += eyes(dark, 0.15, -0.32, top + 0.24, 0.04)
        parts += pair(g.box(0.16, 0.2, h + 0.15).at(0.2, 0.12), skin, "legs")
        parts += pair(g.box(0.18, 0.32, 0.08).at(0.2, 0.04), skin, "feet")
        parts += pair(g.rod((0.18, -0.15, h + 0.45), (0.2, -0.35, h + 0.35), 0.045, 5), skin, "arms")
    else:
        neck = rng.uniform(0.4, 1.0)
        path = np.array(
            [
                (0, 1.1, 0.15),
                (0, 0.6, h),
                (0, 0.2, h + 0.15),
                (0, -0.25, h + 0.15),
                (0, -0.55, h + 0.15 + neck * 0.6),
                (0, -0.65, h + 0.2 + neck),
            ]
        )
        parts += one(g.tube(path, [0.03, 0.14, 0.28, 0.26, 0.12, 0.09], 8), skin, "body")
        parts += one(g.sphere(0.5, 8, 5).size(0.22, 0.4, 0.22).at(0, -0.74, h + 0.12 + neck), skin, "head")
        parts += eyes(dark, 0.09, -0.78, h + 0.29 + neck, 0.03)
        parts += one(legs(g.cylinder(0.09, h + 0.1, 7), 0.18, 0.28).at(0, -0.02), skin, "legs")
    words = ["upright"] if upright else ["long-necked"]
    if coin(rng, 0.7):
        k = rng.uniform(0.1, 0.25)
        for a, b in pairwise(path[1:]):
            for t in (0.0, 0.5):
                at = a + (b - a) * t
                parts += one(
                    g.plate_x([(-k * 0.5, 0), (k * 0.5, 0), (0, k)], 0.05).at(
                        0,
                        float(at[1]) + (0.22 if upright else 0),
                        float(at[2]) + (0.05 if upright else 0.2),
                    ),
                    spike,
                    "plates",
                )
        words.append("with back plates")
    return parts, words


def octopus(rng: Rng, p: Palette) -> Design:
    skin, dark = p("vivid", 0.2, ("spots", "noise")), p("dark", 0.0)
    r, n = rng.uniform(0.25, 0.4), int(rng.integers(5, 9))
    z = rng.uniform(0.1, 0.3)
    parts = [Part(g.sphere(r, 10, 7).size(1, 1, rng.uniform(0.9, 1.4)).at(0, 0, z), skin, "head")]
    out, lift = rng.uniform(0.3, 0.7), rng.uniform(0.0, 0.3)
    for i in range(n):
        path = [
            (r * 0.4, 0, z + 0.1),
            (r + out * 0.4, 0, 0.08),
            (r + out * 0.8, 0, 0.06),
            (r + out, 0, 0.06 + lift),
        ]
        arm = g.tube(path, [0.12, 0.09, 0.06, 0.03], 6).turn("z", 360 / n * (i + 0.5) - 90)
        parts += one(arm, skin, "arms")
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
        path = np.stack(
            [rng.uniform(0.1, 0.25) * np.sin(t * rng.uniform(8, 16)), 0.8 - 1.6 * t, np.full(24, r)], 1
        )
        words = ["long"]
    path[-5:, 2] += np.linspace(0.05, 0.35, 5)
    radius = r * np.minimum(1.0, 0.2 + t * 4)
    parts = [Part(g.tube(path, radius, 7), skin, "body")]
    x, y, z = (float(c) for c in path[-1])
    parts += one(g.sphere(r * 1.4, 8, 5).size(1, 1.5, 0.7).at(x, y - r * 0.7, z - r), skin, "head")
    for s in (1, -1):
        parts += one(g.sphere(r * 0.3, 6, 4).at(x + s * r * 0.7, y - r * 1.5, z + r * 0.2), dark, "eyes")
    parts += one(g.box(r * 0.3, r * 2.5, 0.015).at(x, y - r * 3.2, z - r * 0.1), p.named("red"), "tongue")
    return parts, words


FAMILIES: dict[str, Family] = {
    "bird": bird,
    "fish": fish,
    "snail": snail,
    "bug": bug,
    "dinosaur": dinosaur,
    "octopus": octopus,
    "snake": snake,
}
