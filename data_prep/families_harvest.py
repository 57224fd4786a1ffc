"""Named families: fruit and vegetables. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

from functools import partial

import numpy as np

from lora3d.data_prep import deform
from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Paint, Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, one, pair
from lora3d.data_prep.primitives import Solid

# Profiles (radius, z) and the colours they ripen to.
ROUND_FRUIT: dict[str, tuple[list[tuple[float, float]], tuple[str, ...]]] = {
    "apple": (
        [(0, 0.06), (0.2, 0), (0.42, 0.25), (0.45, 0.5), (0.28, 0.72), (0.1, 0.7), (0, 0.62)],
        ("red", "lime", "green", "dark red"),
    ),
    "pear": (
        [(0, 0.04), (0.2, 0), (0.42, 0.25), (0.36, 0.55), (0.18, 0.85), (0.1, 1.0), (0, 1.02)],
        ("lime", "yellow", "olive"),
    ),
    "strawberry": (
        [(0, 0), (0.15, 0.12), (0.35, 0.5), (0.36, 0.65), (0.2, 0.8), (0, 0.82)],
        ("red", "pink"),
    ),
    "onion": (
        [(0, 0), (0.15, 0.03), (0.35, 0.25), (0.3, 0.45), (0.08, 0.62), (0.04, 0.9), (0, 0.9)],
        ("tan", "purple", "white"),
    ),
}


def leaf_blade(length: float) -> Solid:
    """A flat leaf along x from the origin."""
    return g.sphere(0.5, 6, 4).size(length, length * 0.5, length * 0.2).at(length / 2, 0, -length * 0.1)


def ripe(rng: Rng, p: Palette, names: tuple[str, ...]) -> Paint:
    """Mostly a natural colour."""
    return p.named(pick(rng, names), 0.1) if coin(rng, 0.85) else p("vivid", 0.2)


def round_fruit(rng: Rng, p: Palette, *, kind: str) -> Design:
    profile, colors = ROUND_FRUIT[kind]
    points = np.array(profile)
    points[:, 0] *= rng.uniform(0.8, 1.2, len(points)) * rng.uniform(0.8, 1.25)
    stretch = rng.uniform(0.7, 1.3)
    body = g.lathe(points, pick(rng, (6, 8, 12))).size(1, 1, stretch)
    if kind != "strawberry" and coin(rng, 0.4):
        body = deform.bend(body, float(rng.uniform(5, 30)))
    green, stem = p.named(pick(rng, ("green", "dark green", "lime"))), p.named("dark brown")
    parts = one(body, ripe(rng, p, colors))
    tip = body.v[body.v[:, 2].argmax()] - (0, 0, 0.05)
    if kind == "strawberry":
        parts += one(g.extrude(g.star(6, 0.15, rng.uniform(0.3, 0.5)), 0.05).at(*tip), green, "leaves")
        seed = p.named("yellow")
        for x, y in g.disc(1.0, 7):
            z = rng.uniform(0.35, 0.75) * tip[2]
            r = float(np.interp(z, points[:, 1] * stretch, points[:, 0])) * 0.93
            parts += one(g.box(0.06, 0.06, 0.06).at(x * r, y * r, z), seed, "seeds")
    elif kind == "onion":
        for x in (-0.08, 0.0, 0.08):
            shoot = np.add(tip, (x, 0.0, rng.uniform(0.1, 0.4)))
            parts += one(g.rod(tip, shoot, 0.04, 5, top=0.3), green, "shoots")
    else:
        lean = rng.uniform(-0.15, 0.15)
        path = tip + np.array([(0, 0, 0), (lean * 0.4, 0, 0.12), (lean, 0, rng.uniform(0.15, 0.3))])
        parts += one(g.tube(path, 0.025, 5), stem, "stem")
        for turned in (0.0, 180.0)[: int(rng.integers(0, 3))]:
            blade = leaf_blade(rng.uniform(0.2, 0.4)).turn("y", -rng.uniform(0, 50)).turn("z", turned)
            parts += one(blade.at(tip[0], tip[1], tip[2] + 0.12), green, "leaf")
    return parts, []


def banana(rng: Rng, p: Palette) -> Design:
    flesh, stem = ripe(rng, p, ("yellow", "lime", "gold")), p.named("dark brown")
    s, bow = rng.uniform(0.45, 0.75), rng.uniform(0.2, 0.6)
    t = np.linspace(0, 1, 7)
    path = np.stack([np.sin((t - 0.5) * 2) * s, 0 * t, bow - np.cos((t - 0.5) * 2.4) * bow], 1)
    radius = np.array([0.03, 0.1, 0.13, 0.14, 0.13, 0.09, 0.03]) * rng.uniform(0.7, 1.3)
    parts: list[Part] = []
    for i in range(int(rng.integers(1, 4))):
        parts += one(g.tube(path, radius, 6).turn("z", 20 * i).at(0, 0.17 * i, 0), flesh)
    parts += one(g.sphere(0.045, 5, 3).at(*(path[-1] - (0, 0, 0.03))), stem, "tip")
    return parts, []


def cherries(rng: Rng, p: Palette) -> Design:
    red, green, stem = ripe(rng, p, ("red", "dark red", "pink")), p.named("green"), p.named("dark brown")
    top = (0.0, 0.0, rng.uniform(0.5, 0.9))
    r, wide = rng.uniform(0.14, 0.24), rng.uniform(0.9, 1.6)
    parts: list[Part] = []
    for x in (-r * wide, r * wide):
        parts += one(g.sphere(r, 8, 6).at(x, 0, rng.uniform(0, 0.12)), red)
        parts += one(g.tube([(x, 0, r), (x * 0.8, 0, 0.5), top], 0.02, 5), stem, "stems")
    if coin(rng, 0.75):
        parts += one(leaf_blade(rng.uniform(0.25, 0.45)).at(0, 0, top[2] - 0.02), green, "leaf")
    return parts, []


def watermelon(rng: Rng, p: Palette) -> Design:
    rind, flesh, seed = p.named("dark green"), ripe(rng, p, ("red", "pink")), p.named("black")
    half = coin(rng)
    arc = g.disc(0.6, 20)[10:] if half else g.disc(0.6, 20)[int(rng.integers(11, 13)) : 17]
    edge = np.concatenate([arc, [(0.6, 0.0)] if half else [(0.0, 0.0)]]) + np.array((0.0, 0.6))
    depth = rng.uniform(0.1, 0.45)
    parts = one(g.plate_y(edge, depth), rind, "rind")
    inner = edge * 0.88 + np.array((0.0, 0.075))
    parts += one(g.plate_y(inner, depth * 1.04), flesh, "flesh")
    for x in (-0.2, 0.0, 0.2) if half else (0.0,):
        parts += one(g.box(0.03, depth * 1.08, 0.06).at(x, 0, 0.3), seed, "seeds")
    return parts, []


def carrot(rng: Rng, p: Palette) -> Design:
    root, green = ripe(rng, p, ("orange", "orange", "purple")), p("leaf", 0.0)
    k, z = rng.uniform(0.6, 1.5), rng.uniform(0.7, 1.3)
    body = g.lathe([(0, 0), (0.06 * k, 0.1), (0.16 * k, 0.6), (0.2 * k, 0.9), (0.1, 1.0), (0, 1.0)], 8)
    parts = one(body.size(1, 1, z), root, "root")
    for x, y in g.disc(rng.uniform(0.08, 0.3), int(rng.integers(3, 6))):
        tip = (x, y, z + rng.uniform(0.2, 0.6))
        parts += one(g.rod((0, 0, z - 0.05), tip, 0.06, 5, top=0.2), green, "leaves")
    return parts, []


def pumpkin(rng: Rng, p: Palette) -> Design:
    shell, green = ripe(rng, p, ("orange", "orange", "gold", "white", "olive")), p.named("green")
    k, ribs = rng.uniform(0.6, 1.5), pick(rng, (8, 12, 16))
    body = g.lathe([(0, 0.05), (0.25, 0), (0.5, 0.2), (0.5, 0.45), (0.25, 0.62), (0, 0.55)], ribs)
    groove = np.where(np.arange(len(body.v)) % 2 == 0, 1.0, rng.uniform(0.8, 1.0))[:, None]
    wave = np.concatenate([groove, groove, np.full_like(groove, k)], axis=1)
    parts = one(Solid(body.v * wave, body.f, True), shell, "shell")
    path = [(0, 0, 0.5 * k), (0.02, 0, 0.6 * k + 0.1), (0.12, 0, 0.6 * k + 0.2)]
    parts += one(g.tube(path, [0.08, 0.06, 0.05], 6), green, "stem")
    words = []
    if coin(rng, 0.4):
        dark = p.named("black")
        eye = g.plate_y([(-0.08, 0), (0.08, 0), (0, 0.12)], 0.2)
        parts += pair(eye.at(0.16, -0.4, 0.33 * k), dark, "eyes")
        parts += one(g.box(0.3, 0.2, 0.07).at(0, -0.42, 0.17 * k), dark, "mouth")
        words.append("with a face")
    return parts, words


def corn(rng: Rng, p: Palette) -> Design:
    cob, green = ripe(rng, p, ("yellow", "yellow", "gold")), p("leaf", 0.0)
    k, z = rng.uniform(0.7, 1.4), rng.uniform(0.8, 1.4)
    body = g.lathe([(0, 0), (0.17, 0.08), (0.2, 0.5), (0.12, 0.95), (0, 1.05)], pick(rng, (6, 10)))
    parts = one(body.size(k, k, z), cob, "cob")
    n, tilt = int(rng.integers(2, 5)), rng.uniform(2, 35)
    for i in range(n):
        husk = g.plate_y([(-0.12, 0), (0.12, 0), (0.14, 0.35), (0, 0.75)], 0.04).turn("x", tilt)
        parts += one(husk.at(0, -0.2 * k, 0).turn("z", 360 / n * i + 60), green, "husk")
    return parts, []


def aubergine(rng: Rng, p: Palette) -> Design:
    skin, green = ripe(rng, p, ("purple", "navy", "white")), p("leaf", 0.0)
    k = rng.uniform(0.7, 1.5)
    body = g.lathe([(0, 0), (0.2 * k, 0.04), (0.27 * k, 0.25), (0.2 * k, 0.6), (0.1, 0.9), (0, 0.92)], 9)
    body = deform.bend(body, float(rng.uniform(0, 60)))
    parts = one(body, skin, "body")
    tip = body.v[body.v[:, 2].argmax()]
    parts += one(g.cylinder(0.16, 0.1, 6, top=0.4).at(tip[0], tip[1], tip[2] - 0.06), green, "stem")
    return parts, []


FAMILIES: dict[str, Family] = {
    **{kind: partial(round_fruit, kind=kind) for kind in ROUND_FRUIT},
    "banana": banana,
    "cherries": cherries,
    "watermelon": watermelon,
    "carrot": carrot,
    "pumpkin": pumpkin,
    "corn": corn,
    "aubergine": aubergine,
}
