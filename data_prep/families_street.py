"""Named families: things of streets and paths. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import deform
from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, one, pair


def fence(rng: Rng, p: Palette) -> Design:
    wood = p("wood", 0.1)
    n, h, w = int(rng.integers(3, 9)), rng.uniform(0.5, 1.0), rng.uniform(0.06, 0.16)
    step = rng.uniform(0.18, 0.3)
    kind = int(rng.integers(0, 4))
    parts = []
    for i in range(n):
        x = (i - (n - 1) / 2) * step
        if kind == 0:
            post = g.plate_y([(-w / 2, 0), (w / 2, 0), (w / 2, h * 0.85), (0, h), (-w / 2, h * 0.85)], 0.05)
        elif kind == 1:
            post = g.cylinder(w / 2, h * rng.uniform(0.85, 1.05), 7, top=0.9)
        elif kind == 2:
            post = g.join([g.cylinder(0.02, h, 6), g.cylinder(0.045, 0.12, 6, top=0.0).at(0, 0, h)])
        else:
            post = g.box(w, w, h) if i in (0, n - 1) else g.box(w * 0.4, w * 0.4, h * 0.8)
        parts += one(post.at(x), wood, "posts")
    length = (n - 1) * step + w
    rail = wood if coin(rng, 0.7) else p("wood")
    for z in pick(rng, ((0.3, 0.7), (0.25, 0.5, 0.75), (0.6,))):
        parts += one(g.box(length, 0.04, 0.07).at(0, 0.03, z * h), rail, "rails")
    return parts, [("picket", "log", "iron", "board")[kind]]


def bridge(rng: Rng, p: Palette) -> Design:
    stone, rail = p("stone", 0.3) if coin(rng) else p("wood", 0.3), p("wood")
    y, x, h = rng.uniform(1.2, 2.2), rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.7)
    arched = coin(rng, 0.65)
    n = 9
    t = np.linspace(-1, 1, n)
    rise = h if arched else 0.0
    top = np.stack([t * y / 2, 0.12 + h * (0 if arched else 1) + rise * (1 - t * t)], 1)
    thick = rng.uniform(0.08, 0.16)
    low = top[::-1] - (0, thick)
    if arched and coin(rng, 0.6):
        low = np.concatenate(
            [
                [(y / 2, 0.0), (y * 0.36, 0.0)],
                [(u * y * 0.36, h * 0.85 * np.sqrt(1 - u * u)) for u in np.linspace(0.9, -0.9, 7)],
                [(-y * 0.36, 0), (-y / 2, 0)],
            ]
        )
    parts = [Part(g.plate_x(np.concatenate([low[::-1], top[::-1]]), x), stone, "deck")]
    if not arched:
        for q in (-0.35, 0.0, 0.35):
            parts += pair(g.box(0.08, 0.08, h + 0.05).at(x * 0.4, q * y), stone, "pillars")
    k = rng.uniform(0.12, 0.3)
    for s in (1, -1):
        path = [(s * x * 0.46, a, b + k) for a, b in top]
        parts += one(g.tube(path, 0.025, 4), rail, "rails")
        for a, b in top[:: pick(rng, (1, 2))]:
            parts += one(g.box(0.04, 0.04, k + 0.05).at(s * x * 0.46, a, b - 0.05), rail, "posts")
    return [q.map(lambda s: s.turn("z", 90)) for q in parts], ["arched"] if arched else ["flat"]


def signpost(rng: Rng, p: Palette) -> Design:
    wood, board = p("wood"), p("any")
    h, w = rng.uniform(0.8, 1.4), rng.uniform(0.05, 0.1)
    post = g.box(w, w, h) if coin(rng) else g.cylinder(w * 0.6, h, 8)
    parts = [Part(post, wood, "post")]
    kind = int(rng.integers(0, 3))
    if kind == 0:
        for i in range(int(rng.integers(1, 4))):
            x, z = rng.uniform(0.35, 0.6), rng.uniform(0.13, 0.2)
            arrow = [(-x * 0.4, 0), (x * 0.5, 0), (x * 0.75, z / 2), (x * 0.5, z), (-x * 0.4, z)]
            s = g.plate_y(arrow, 0.05).at(0, -w * 0.6 - 0.02, h * 0.9 - z - 0.25 * i)
            parts += one(s if coin(rng) else s.mirror(), board if coin(rng) else wood, "boards")
    elif kind == 1:
        n = pick(rng, (3, 4, 6, 8, 16))
        r = rng.uniform(0.2, 0.35)
        phase = 0.25 if n == 3 else 0.0 if n == 4 else 0.5
        parts += one(
            g.plate_y(g.disc(r, n, phase if n != 3 else 0.75), 0.04).at(0, -w * 0.6, h), board, "board"
        )
        parts += one(
            g.plate_y(g.disc(r * 0.75, n, phase if n != 3 else 0.75), 0.05).at(0, -w * 0.6 - 0.005, h),
            p("light", 0.0),
        )
        parts += one(g.box(r * 0.2, 0.06, r * 0.7).at(0, -w * 0.6 - 0.01, h - r * 0.3), p("dark", 0.0))
    else:
        x, z = rng.uniform(0.6, 1.0), rng.uniform(0.3, 0.5)
        parts = [
            *pair(post.at(x * 0.4), wood, "posts"),
            Part(g.box(x, 0.06, z).at(0, -w * 0.6, h * 0.6), board, "board"),
        ]
        parts += one(g.plate_x([(-0.15, 0), (0.15, 0), (0, 0.12)], x * 1.1).at(0, 0, h), wood, "roof")
    return parts, [("wooden", "road", "notice")[kind]]


def street_lamp(rng: Rng, p: Palette) -> Design:
    iron, light = p("dark", 0.0) if coin(rng, 0.7) else p("any", 0.0), p("light", 0.0)
    h, r = rng.uniform(1.0, 1.8), rng.uniform(0.02, 0.045)
    parts = [Part(g.lathe([(r * 4, 0), (r * 3, 0.1), (r * 1.3, 0.16), (r, h)], 8), iron, "post")]
    kind = int(rng.integers(0, 3))
    n = pick(rng, (4, 6, 8))
    lantern = [
        Part(g.lathe([(0.06, 0), (0.12, 0.22)], n, phase=0.5), light, "lantern"),
        Part(g.lathe([(0.16, 0), (0, rng.uniform(0.08, 0.16))], n, phase=0.5).at(0, 0, 0.22), iron, ""),
    ]
    if kind == 0:
        parts += [q.map(lambda s: s.at(0, 0, h)) for q in lantern]
    elif kind == 1:
        out = rng.uniform(0.25, 0.5)
        sides = (1,) if coin(rng) else (1, -1)
        for s in sides:
            parts += one(
                g.tube(
                    [
                        (0, 0, h - 0.1),
                        (s * out * 0.3, 0, h + 0.1),
                        (s * out, 0, h + 0.1),
                        (s * out, 0, h),
                    ],
                    r * 0.7,
                    6,
                ),
                iron,
                "arms",
            )
            parts += [q.map(lambda v, s=s: v.at(s * out, 0, h - 0.3)) for q in lantern]
    else:
        parts += one(g.sphere(rng.uniform(0.1, 0.2), 10, 6).at(0, 0, h - 0.02), light, "globe")
    return parts, ["tall"] if h > 1.4 else []


def fountain(rng: Rng, p: Palette) -> Design:
    stone, water = p("stone", 0.2), p("glass", 0.0)
    n = pick(rng, (6, 8, 12, 16))
    r, h = rng.uniform(0.5, 0.8), rng.uniform(0.15, 0.3)
    parts = [
        Part(g.pipe(r, h, 0.08, n), stone, "basin"),
        Part(g.cylinder(r - 0.04, h * 0.75, n), water, "water"),
    ]
    z = 0.0
    for i in range(int(rng.integers(1, 4))):
        up, k = rng.uniform(0.3, 0.5), r * (0.6 - 0.15 * i)
        parts += one(
            g.lathe([(k * 0.3, 0), (k * 0.15, up * 0.5), (k * 0.25, up)], 8).at(0, 0, z), stone, "column"
        )
        z += up
        parts += one(
            g.lathe([(0, 0), (k * 0.3, 0), (k, 0.12), (k * 0.9, 0.12), (0, 0.06)], n).at(0, 0, z - 0.02),
            stone,
            "bowls",
        )
        parts += one(g.cylinder(k * 0.8, 0.02, n).at(0, 0, z + 0.07), water)
    parts += one(g.lathe([(0.03, 0), (0.06, 0.2), (0, 0.35)], 6).at(0, 0, z), water, "jet")
    return parts, ["tiered"] if z > 0.7 else []


def cart(rng: Rng, p: Palette) -> Design:
    wood, iron = p("wood", 0.3), p("wood")
    w, y, h, r = (
        rng.uniform(0.5, 0.7),
        rng.uniform(0.7, 1.3),
        rng.uniform(0.15, 0.35),
        rng.uniform(0.18, 0.35),
    )
    z = r * 1.05
    t = 0.05
    walls = [g.box(t, y, h).at(s * (w - t) / 2) for s in (1, -1)] + [
        g.box(w, t, h).at(0, s * (y - t) / 2) for s in (1, -1)
    ]
    parts = [Part(g.join([*walls, g.box(w, y, t)]).at(0, 0, z), wood, "body")]
    for q in (0.0,) if coin(rng) else (-0.32, 0.32):
        at = (w / 2 + 0.05, q * y, r)
        parts += pair(
            g.ring(r * 0.9, r * 0.1, 12, 5).turn("y", 90).at(at[0] - r * 0.1, at[1], r), iron, "wheels"
        )
        for i in range(3):
            parts += pair(
                g.box(0.03, 0.04, r * 1.8).at(0, 0, -r * 0.9).turn("x", 60 * i).at(*at), iron, "spokes"
            )
        parts += one(g.rod((-at[0], at[1], r), at, 0.035, 6), iron, "axle")
    parts += pair(
        g.beam((w * 0.4, -y * 0.45, z), (w * 0.3, -y * 0.5 - 0.5, z * rng.uniform(0.5, 1.3)), 0.04, 0.04),
        iron,
        "shafts",
    )
    words = []
    kind = int(rng.integers(0, 4))
    if kind == 0:
        parts += one(
            deform.lumps(g.sphere(0.5, 8, 4, share=0.5), rng, 0.2)
            .size(w * 0.9, y * 0.9, 0.6)
            .at(0, 0, z + h * 0.7),
            p("any", 0.3, ("noise", "spots")),
            "load",
        )
        words.append("with a load")
    elif kind == 1:
        n = 8
        arc = g.disc(w * 0.52, 2 * n)[: n + 1]
        parts += one(g.plate_y(arc, y).at(0, 0, z + h * 0.95), p("light", 0.2, ("stripes", "bands")), "cover")
        words.append("covered")
    return parts, words


FAMILIES: dict[str, Family] = {
    "fence": fence,
    "bridge": bridge,
    "signpost": signpost,
    "street lamp": street_lamp,
    "fountain": fountain,
    "cart": cart,
}
