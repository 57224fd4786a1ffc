"""Named families: plants and ground. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import deform
from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, one
from lora3d.data_prep.primitives import Solid


def tree(rng: Rng, p: Palette) -> Design:
    kind = int(rng.integers(0, 6))
    if kind == 5:
        return _palm(rng, p)
    bark, leaf = p("wood"), p("leaf", 0.15)
    h, r = rng.uniform(0.3, 1.0), rng.uniform(0.04, 0.12)
    crown = rng.uniform(0.3, 0.6)
    parts = one(g.cylinder(r * 1.3, h * 1.15, 7, top=0.6), bark, "trunk")
    if kind == 0:
        n, tall, sides = int(rng.integers(2, 6)), rng.uniform(0.6, 1.4), pick(rng, (4, 6, 8, 10))
        for i in range(n):
            cone = g.cylinder(crown * (1 - 0.6 * i / n), tall / n * 1.6, sides, top=0.0)
            parts += one(cone.at(0, 0, h * 0.7 + tall * i / n), leaf, "needles")
    elif kind == 1:
        ball = g.sphere(crown, 8, 5)
        ball = deform.lumps(ball, rng, 0.25) if coin(rng) else ball
        parts += one(ball.size(1, 1, float(rng.uniform(0.7, 1.5))).at(0, 0, h * 0.9), leaf, "crown")
    elif kind == 2:
        for _ in range(int(rng.integers(3, 8))):
            x, y = rng.uniform(-0.5, 0.5, 2) * crown
            ball = g.sphere(crown * rng.uniform(0.4, 0.8), 7, 5)
            parts += one(ball.at(x, y, h * 0.9 + rng.uniform(-0.2, 0.5) * crown), leaf, "leaves")
    else:
        for _ in range(int(rng.integers(2, 6))):
            x, y = rng.uniform(-1, 1, 2) * crown
            z = h + rng.uniform(0.1, 0.5)
            parts += one(g.rod((0, 0, h * 0.8), (x, y, z), r * 0.6, 5, top=0.5), bark, "branches")
            s = crown * rng.uniform(0.4, 0.7)
            if kind == 3:
                parts += one(g.box(2 * s, 2 * s, s).at(x, y, z - s / 2), leaf, "leaves")
    return parts, [("conifer", "round", "bushy", "blocky", "bare")[kind]]


def _palm(rng: Rng, p: Palette) -> Design:
    bark, leaf = p("wood"), p("leaf", 0.1)
    r, h = rng.uniform(0.05, 0.1), rng.uniform(0.8, 1.5)
    stem = g.lathe([(r * 1.3, 0), (r, h * 0.35), (r, h * 0.7), (r * 0.8, h)], 7)
    trunk = deform.bend(stem, float(rng.uniform(0, 40)))
    tip = trunk.v[-7:].mean(0)
    parts = one(trunk, bark, "trunk")
    section = g.rect(0.18, 0.04)
    out, droop = rng.uniform(0.4, 0.7), rng.uniform(0.05, 0.35)
    for x, y in g.disc(1.0, int(rng.integers(5, 9))):
        bow = np.array([(0, 0, 0), (x * out * 0.45, y * out * 0.45, 0.1), (x * out, y * out, -droop)])
        parts += one(g.sweep(tip + bow, section, [1.0, 1.2, 0.15]), leaf, "fronds")
    if coin(rng, 0.4):
        for x, y in g.disc(r * 1.4, 3):
            parts += one(
                g.sphere(0.06, 6, 4).at(*(tip + np.array((x, y, -0.12)))), p("earth", 0.0), "coconuts"
            )
    return parts, ["palm"]


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
        parts += one(stalk.at(x, y), stem, "stem")
        shape = pick(
            rng,
            (
                [(0.2, 0.05), (1, 0), (0.9, 0.3), (0.55, 0.6), (0, 0.7)],
                [(0.2, 0.1), (1, 0), (0, 0.9)],
                [(0.2, 0.0), (0.9, -0.1), (1, 0.1), (0.8, 0.3), (0, 0.35)],
            ),
        )
        dome = g.lathe([(u * c, v * c) for u, v in shape], pick(rng, (8, 12)))
        parts += one(dome.at(x, y, h * 0.92), cap, "cap")
        if coin(rng, 0.6):
            dot = p("light", 0.0)
            for q in range(5):
                u, v = g.disc(0.62 * c, 5, 0.25)[q]
                parts += one(
                    g.sphere(c * 0.14, 6, 4).at(x + u, y + v, h * 0.92 + shape[-2][1] * c * 0.7), dot, "spots"
                )
    if n > 1:
        words.append("cluster")
    return parts, words


def flower(rng: Rng, p: Palette) -> Design:
    petal, heart, green = p("vivid", 0.0), p("fire", 0.0), p("leaf", 0.0)
    h, n, r = rng.uniform(0.4, 1.1), int(rng.integers(4, 10)), rng.uniform(0.1, 0.2)
    sway = rng.uniform(-0.15, 0.15)
    parts = [Part(g.tube([(0, 0, 0), (sway, 0, h * 0.5), (0, 0, h)], 0.025, 5), green, "stem")]
    kind = int(rng.integers(0, 3))
    if kind == 2:
        for i in range(n // 2 + 2):
            cup = g.plate_y(
                [(-r * 0.6, 0), (r * 0.6, 0), (r * 0.8, r * 1.4), (0, r * 2.6), (-r * 0.8, r * 1.4)], 0.03
            )
            parts += one(
                cup.turn("x", 14).at(0, -r * 0.6).turn("z", 720 / n * i).at(0, 0, h), petal, "petals"
            )
        parts += one(g.sphere(r * 0.7, 8, 5).at(0, 0, h - r * 0.3), petal)
    else:
        length, wide, tilt = rng.uniform(1.0, 2.4) * r, rng.uniform(0.3, 0.6) * r, rng.uniform(-30, 40)
        blade = g.sphere(1.0, 7, 4).size(length / 2, wide, 0.03 + 0.2 * wide)
        turned = 90.0 if kind == 0 else 0.0
        for i in range(n):
            part = blade.at(length / 2 + r * 0.6).turn("y", -tilt).turn("z", 360 / n * i)
            parts += one(part.turn("x", turned * 0.8).at(0, 0, h), petal, "petals")
        parts += one(
            g.sphere(r * 0.75, 8, 5).size(1, 1, 0.7).turn("x", turned * 0.8).at(0, 0, h - r * 0.3),
            heart,
            "heart",
        )
    for s in (1, -1):
        if coin(rng, 0.8):
            size = rng.uniform(0.12, 0.25)
            leaf = (
                g.sphere(1, 6, 4).size(size, size * 0.4, 0.03).at(size, 0, 0).turn("y", -rng.uniform(10, 50))
            )
            parts += one(
                (leaf if s > 0 else leaf.mirror()).at(0, 0, h * rng.uniform(0.15, 0.5)), green, "leaves"
            )
    words = ["tall"] if h > 0.9 else []
    if coin(rng, 0.3):
        parts = [q.map(lambda s: s.at(0, 0, 0.3)) for q in parts]
        parts += one(
            g.lathe([(0, 0), (0.15, 0), (0.22, 0.35), (0.19, 0.35), (0.17, 0.3), (0, 0.3)], 10),
            p("clay", 0.1),
            "pot",
        )
        words.append("with a pot")
    return parts, words


def cactus(rng: Rng, p: Palette) -> Design:
    green, pot = p("leaf", 0.2), p("clay", 0.1)
    h, r = rng.uniform(0.5, 1.4), rng.uniform(0.12, 0.25)
    n = pick(rng, (6, 8, 10))
    z = 0.0
    parts = []
    if coin(rng, 0.6):
        z = rng.uniform(0.2, 0.4)
        w = r * rng.uniform(1.2, 1.8)
        parts += one(
            g.lathe([(0, 0), (w * 0.75, 0), (w, z), (w * 1.1, z), (w * 1.1, z + 0.06), (0, z + 0.06)], 12),
            pot,
            "pot",
        )
    if coin(rng, 0.3):
        parts += one(g.sphere(r * 1.6, n, 6).size(1, 1, rng.uniform(0.8, 1.2)).at(0, 0, z), green, "body")
        h = 3 * r
        words = ["round"]
    else:
        parts += one(g.capsule(r, h, n).at(0, 0, z), green, "body")
        for s in (1, -1):
            if coin(rng, 0.75):
                a, out = rng.uniform(0.25, 0.55) * h, r + rng.uniform(0.15, 0.3)
                up = a + rng.uniform(0.15, 0.45) * h
                q = r * rng.uniform(0.5, 0.75)
                arm = g.tube(
                    [(0, 0, a), (s * out * 0.8, 0, a), (s * out, 0, a + 0.1), (s * out, 0, up)], q, 8
                )
                parts += one(arm.at(0, 0, z), green, "arms")
                parts += one(g.sphere(q, 8, 4).at(s * out, 0, z + up - q), green)
        words = ["tall"] if h > 1.1 else []
    if coin(rng, 0.4):
        parts += one(
            g.lathe([(0, 0), (0.08, 0.06), (0, 0.1)], 6).at(0, 0, z + h - 0.03), p("vivid", 0.0), "flower"
        )
    return parts, words


def bush(rng: Rng, p: Palette) -> Design:
    leaf = p("leaf", 0.2)
    x, y, z = rng.uniform(0.6, 1.4), rng.uniform(0.5, 0.9), rng.uniform(0.4, 0.9)
    kind = int(rng.integers(0, 3))
    parts: list[Part] = []
    if kind == 0:
        parts += one(g.sphere(0.5, 8, 5).size(x * 0.8, y * 0.8, z * 0.8), leaf, "leaves")
        for _ in range(int(rng.integers(2, 8))):
            s = rng.uniform(0.25, 0.55) * z
            at = rng.uniform(-0.4, 0.4, 2) * (x, y)
            parts += one(g.sphere(s, 7, 5).at(*at, rng.uniform(0, 0.2) * z), leaf, "leaves")
        words = ["round"]
    elif kind == 1:
        parts += one(g.soft_box(x * 1.4, y * 0.7, z, rng.uniform(0.05, 0.15)), leaf, "hedge")
        words = ["clipped"]
    else:
        n = int(rng.integers(8, 18))
        for i in range(n):
            a, tilt = 137.5 * i, rng.uniform(5, 50)
            blade = g.rod((0, 0, 0), (0, 0, z * rng.uniform(0.6, 1.0)), 0.07, 4, top=0.05)
            parts += one(blade.turn("y", tilt).turn("z", a), leaf, "blades")
        words = ["spiky"]
    if coin(rng, 0.4) and kind < 2:
        berry = p("vivid", 0.0)
        cloud = np.concatenate([q.solid.v for q in parts])
        for i in rng.integers(0, len(cloud), 8):
            parts += one(g.sphere(0.05, 6, 4).at(*cloud[i]), berry, "berries")
        words.append("with berries")
    return parts, words


def rock(rng: Rng, p: Palette) -> Design:
    stone, moss = p("stone", 0.2), p("leaf", 0.0)
    parts = []
    n = int(rng.integers(1, 5))
    grown = coin(rng, 0.3)
    for i in range(n):
        s = g.sphere(0.5, pick(rng, (5, 6, 7, 8)), pick(rng, (3, 4, 5)))
        s = Solid(s.v * (1 + 0.5 * (rng.random((len(s.v), 1)) - 0.5)), s.f)
        k = 1.0 if i == 0 else rng.uniform(0.25, 0.6)
        at = (0.0, 0.0) if i == 0 else rng.uniform(-0.7, 0.7, 2)
        s = s.fit(*(rng.uniform(0.5, 1.3, 3) * k)).at(*at)
        parts += one(s, stone, "stones", moss if grown else None)
    return parts, (["mossy"] if grown else []) + (["with pebbles"] if n > 2 else [])


def log(rng: Rng, p: Palette) -> Design:
    bark, wood = p("wood", 0.2), p.named(pick(rng, ("beige", "tan", "peach")))
    r, h = rng.uniform(0.15, 0.35), rng.uniform(0.2, 1.4)
    n = pick(rng, (7, 9, 12))
    upright = h < 0.6
    parts = [Part(g.lathe([(r * rng.uniform(1.0, 1.5), 0), (r, h * 0.3), (r, h)], n), bark, "bark")]
    for z in (h - 0.01, -0.01):
        parts += one(g.cylinder(r * 0.85, 0.02, n).at(0, 0, z), wood, "rings")
    if coin(rng, 0.6):
        a = rng.uniform(0.4, 0.8) * h
        parts.append(Part(g.rod((0, 0, a), (r * 1.8, 0, a + 0.15), 0.06, 6, top=0.8), bark, "branch"))
    if upright:
        for i in range(int(rng.integers(0, 6))):
            root = g.rod((0, 0, 0.12), (r * 1.9, 0, 0.0), 0.09, 5, top=0.3).turn("z", 67 * i)
            parts += one(root, bark, "roots")
        if coin(rng, 0.3):
            parts += one(
                g.sphere(r * 0.5, 8, 4, share=0.5).at(r * 0.9, 0, h * 0.5), p("vivid", 0.0), "fungus"
            )
        return parts, ["upright"]
    return [q.map(lambda s: s.turn("y", 90).at(0, 0, r)) for q in parts], ["long"] if h > 1 else []


def crystal(rng: Rng, p: Palette) -> Design:
    gem, stone = p("vivid", 0.1, ("fade",)), p("stone", 0.1)
    parts = []
    n = int(rng.integers(1, 8))
    for i in range(n):
        h = rng.uniform(0.5, 1.0) if i == 0 else rng.uniform(0.2, 0.7)
        r = h * rng.uniform(0.12, 0.25)
        k = rng.uniform(0.5, 0.85)
        s = g.lathe([(r * 0.7, 0), (r, h * k), (0, h)], pick(rng, (4, 5, 6)))
        if i:
            s = s.turn("y", rng.uniform(10, 55)).turn("z", rng.uniform(0, 360))
        parts += one(s.at(0, 0, -0.03), gem, "crystals")
    if coin(rng, 0.6):
        parts += one(
            deform.lumps(g.sphere(0.35, 8, 4, share=0.5).size(1, 1, 0.4), rng, 0.2).at(0, 0, -0.06),
            stone,
            "rock",
        )
    return parts, ["single" if n == 1 else "clustered"]


def island(rng: Rng, p: Palette) -> Design:
    earth, grass = p("earth", 0.2), p("leaf", 0.0)
    n, r = pick(rng, (6, 8, 12)), rng.uniform(0.5, 0.8)
    h, k = rng.uniform(0.25, 1.0), rng.uniform(0.0, 0.7)
    foot = (
        [(0, 0), (r * 0.55 * (0.4 + k), h * 0.4), (r, h)]
        if k < 0.4
        else [(r * k, 0), (r * (0.5 + k / 2), h * 0.5), (r, h)]
    )
    body = g.lathe(foot, n)
    parts = [Part(deform.lumps(body, rng, 0.06) if coin(rng) else body, earth, "earth")]
    t = rng.uniform(0.06, 0.2)
    parts += one(
        g.lathe([(r * 1.03, 0), (r * 1.05, t * 0.5), (r, t)], n).at(0, 0, h - t * 0.3), grass, "grass"
    )
    top = h + t * 0.7
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.uniform(-0.6, 0.6, 2) * r
        kind = int(rng.integers(0, 3))
        if kind == 0:
            parts += one(g.cylinder(0.04, 0.25, 6).at(x, y, top), p.named("brown"))
            parts.append(
                Part(
                    g.cylinder(0.2, rng.uniform(0.3, 0.6), 7, top=0.0).at(x, y, top + 0.15),
                    p("leaf", 0.0),
                    "trees",
                )
            )
        elif kind == 1:
            parts += one(
                g.sphere(rng.uniform(0.08, 0.2), 6, 4).at(x, y, top - 0.05), p("stone", 0.0), "stones"
            )
        else:
            parts += one(g.box(0.25, 0.2, 0.18).at(x, y, top), p("wall", 0.0))
            parts += one(
                g.plate_y([(-0.16, 0), (0.16, 0), (0, 0.16)], 0.24).at(x, y, top + 0.18),
                p("roof", 0.0),
                "huts",
            )
    return parts, ["floating"] if k < 0.4 else []


FAMILIES: dict[str, Family] = {
    "tree": tree,
    "mushroom": mushroom,
    "flower": flower,
    "cactus": cactus,
    "bush": bush,
    "rock": rock,
    "log": log,
    "crystal": crystal,
    "island": island,
}
