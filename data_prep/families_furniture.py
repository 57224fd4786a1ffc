"""Named families: furniture. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, legs, one, pair
from lora3d.data_prep.primitives import Solid


def leg(rng: Rng, w: float, h: float) -> Solid:
    """One leg: square, round, tapered or turned."""
    kind = int(rng.integers(0, 5))
    if kind == 0:
        return g.box(w, w, h)
    if kind == 1:
        return g.cylinder(w / 2, h, 8)
    if kind == 2:
        return g.box(w, w, h, top=0.6).turn("x", 180).at(0, 0, h)
    if kind == 3:
        return g.lathe(
            [(w * 0.3, 0), (w * 0.4, h * 0.2), (w * 0.6, h * 0.6), (w * 0.4, h * 0.7), (w * 0.6, h)], 8
        )
    return g.cylinder(w * 0.6, h, 6, top=0.6)


def chair(rng: Rng, p: Palette) -> Design:
    wood, seat_paint = p("wood"), p("cloth")
    w, d = rng.uniform(0.35, 0.6), rng.uniform(0.35, 0.55)
    h, t = rng.uniform(0.3, 0.6), rng.uniform(0.03, 0.1)
    back, lw = rng.uniform(0.3, 0.8), rng.uniform(0.035, 0.09)
    if coin(rng, 0.5):
        seat_paint = wood
    parts = [Part(legs(leg(rng, lw, h), w / 2 - lw / 2, d / 2 - lw / 2), wood, "legs")]
    seat = g.soft_box(w, d, t, t * 0.3) if coin(rng) else g.box(w, d, t)
    if coin(rng, 0.15):
        seat = g.cylinder(w / 2, t, 12).size(1, d / w, 1)
    parts += one(seat.at(0, 0, h), seat_paint, "seat")
    words = []
    kind = int(rng.integers(0, 5))
    z, y = h + t * 0.5, d / 2 - lw / 2
    posts = [g.box(lw, lw, back).at(s * (w / 2 - lw / 2), y, z) for s in (1, -1)]
    if kind == 0:
        parts += one(g.box(w, lw * 0.7, back).at(0, y, z), wood, "back")
    elif kind == 1:
        n = int(rng.integers(2, 5))
        rails = [g.box(w, lw * 0.5, back / n * 0.5).at(0, y, z + back * (i + 0.4) / n) for i in range(n)]
        parts += one(g.join(posts + rails), wood, "back")
        words.append("with a ladder back")
    elif kind == 2:
        n = int(rng.integers(2, 6))
        bars = [g.box(lw * 0.4, lw * 0.4, back).at((i + 0.5 - n / 2) / n * (w - lw), y, z) for i in range(n)]
        parts += one(g.join([*posts, *bars, g.box(w, lw, lw * 1.5).at(0, y, z + back)]), wood, "back")
        words.append("with a slatted back")
    elif kind == 3:
        parts += one(g.join(posts), wood)
        cushion = g.soft_box(w * 0.85, max(lw, 0.06), back * 0.6, 0.02).at(0, y - lw * 0.2, z + back * 0.4)
        parts += one(cushion, seat_paint, "cushion")
    else:
        arc = g.disc(w / 2, 16)[:9]
        outline = np.concatenate(
            [[(w / 2, 0)], arc * (1, back * 0.6 / w * 2) + (0, back * 0.4), [(-w / 2, 0)]]
        )
        parts += one(g.plate_y(outline, lw * 0.7).at(0, y, z), wood, "back")
        words.append("with a round back")
    if coin(rng, 0.3):
        high = h + t + rng.uniform(0.12, 0.2)
        arm = g.join(
            [g.box(lw, d, lw * 0.6).at(w / 2, 0, high), g.box(lw, lw, high - h).at(w / 2, -d / 2 + lw, h)]
        )
        parts += [Part(arm, wood, "armrests"), Part(arm.mirror(), wood, "armrests")]
    return parts, words


def stool(rng: Rng, p: Palette) -> Design:
    wood, top = p("wood"), p("cloth")
    r, h, t = rng.uniform(0.15, 0.3), rng.uniform(0.25, 0.8), rng.uniform(0.03, 0.12)
    n = int(rng.integers(3, 5))
    splay = rng.uniform(0.5, 1.3)
    parts = []
    for i in range(n):
        c, s = g.disc(1.0, n, 0.5)[i]
        a, b = (c * r * splay, s * r * splay, 0), (c * r * 0.6, s * r * 0.6, h)
        parts += one(g.rod(a, b, rng.uniform(0.02, 0.022) * (1 + r), 6), wood, "legs")
    seat = g.cylinder(r, t, 14) if coin(rng, 0.7) else g.soft_box(2 * r, 2 * r, t, t * 0.3)
    parts += one(seat.at(0, 0, h), top, "seat")
    if coin(rng):
        parts += one(g.ring(r * 0.75 * (splay + 0.6) / 1.6, 0.012, 12, 5).at(0, 0, h * 0.35), wood, "ring")
    return parts, ["tall" if h > 0.6 else "low"] if h > 0.6 or h < 0.35 else []


def sofa(rng: Rng, p: Palette) -> Design:
    cloth, wood = p("cloth", 0.15), p("wood")
    cushion = cloth if coin(rng) else p("cloth")
    seats = int(rng.integers(1, 5))
    x, y, h = 0.55 * seats + 0.3, rng.uniform(0.6, 0.9), rng.uniform(0.3, 0.45)
    arm, back, low = rng.uniform(0.08, 0.22), rng.uniform(0.3, 0.7), rng.uniform(0.04, 0.15)
    r = rng.uniform(0.02, 0.08)
    parts = [Part(g.soft_box(x, y, h - low, r).at(0, 0, low), cloth, "base")]
    parts += one(g.soft_box(x, 0.2, back + h - low, r).at(0, y / 2 - 0.1, low), cloth, "back")
    high = h + rng.uniform(0.08, 0.3)
    if coin(rng, 0.85):
        side = (
            g.soft_box(arm, y, high - low, r)
            if coin(rng, 0.7)
            else g.capsule(arm / 2, y).turn("x", 90).at(0, y / 2, high - low)
        )
        parts += pair(side.at(x / 2, 0, low), cloth, "armrests")
    w = (x - arm) / seats
    for i in range(seats):
        at = (i - (seats - 1) / 2) * w
        parts += one(
            g.soft_box(w * 0.95, y * 0.8, 0.14, 0.05).at(at, -y * 0.06, h - 0.02), cushion, "cushions"
        )
        if coin(rng, 0.8):
            parts += one(
                g.soft_box(w * 0.9, 0.15, back * 0.7, 0.05).turn("x", -10).at(at, y * 0.22, h + 0.12), cushion
            )
    parts += one(legs(g.box(0.06, 0.06, low * 1.1), x / 2 - 0.08, y / 2 - 0.08), wood, "legs")
    return parts, [("single-seat", "two-seat", "three-seat", "long")[seats - 1]]


def bench(rng: Rng, p: Palette) -> Design:
    wood, frame = p("wood", 0.1), p("metal")
    x, y, h = rng.uniform(0.9, 1.8), rng.uniform(0.3, 0.5), rng.uniform(0.3, 0.5)
    n = int(rng.integers(1, 5))
    slat = y / n
    parts = [
        Part(
            g.join([g.box(x, slat * 0.85, 0.05).at(0, (i - (n - 1) / 2) * slat, h) for i in range(n)]),
            wood,
            "seat",
        )
    ]
    words = []
    if coin(rng, 0.5):
        side = g.box(rng.uniform(0.04, 0.2), y, h)
    else:
        side = g.join(
            [
                g.beam((0, y * 0.4, h), (0, y * 0.5, 0), 0.05, 0.05),
                g.beam((0, -y * 0.4, h), (0, -y * 0.5, 0), 0.05, 0.05),
                g.box(0.05, y * 0.8, 0.05).at(0, 0, h - 0.05),
            ]
        )
    parts += pair(side.at(x * rng.uniform(0.35, 0.46)), frame, "legs")
    if coin(rng, 0.6):
        b = rng.uniform(0.3, 0.5)
        k = int(rng.integers(1, 4))
        boards = [g.box(x, 0.04, b / k * 0.7).at(0, y / 2 + 0.03 * i, h + 0.1 + b * i / k) for i in range(k)]
        parts += one(g.join(boards), wood, "back")
        parts += pair(g.box(0.05, 0.05, b + 0.1).at(x * 0.4, y / 2 + 0.03, h), frame, "")
        words.append("with a back")
    return parts, words


def table(rng: Rng, p: Palette) -> Design:
    wood, top = p("wood"), p("wood")
    if coin(rng):
        top = wood
    x, y, h = rng.uniform(0.5, 1.8), rng.uniform(0.45, 0.9), rng.uniform(0.3, 0.9)
    t, lw = rng.uniform(0.03, 0.1), rng.uniform(0.04, 0.12)
    kind = int(rng.integers(0, 5))
    words = []
    if kind < 2:
        parts = [Part(g.box(x, y, t).at(0, 0, h), top, "top")]
        parts += one(legs(leg(rng, lw, h), x / 2 - lw, y / 2 - lw), wood, "legs")
        if coin(rng):
            parts += one(g.box(x - 2 * lw, y - 2 * lw, t).at(0, 0, h - t), wood)
        if coin(rng, 0.25):
            parts += one(g.box(x - 2 * lw, y - 2 * lw, t * 0.6).at(0, 0, h * 0.25), wood, "shelf")
    elif kind == 2:
        parts = [Part(g.cylinder(x / 2, t, 18).at(0, 0, h), top, "top")]
        foot = g.lathe(
            [(x * 0.25, 0), (x * 0.22, 0.03), (lw * 0.6, 0.1), (lw * 0.8, h * 0.6), (lw * 0.5, h)], 10
        )
        parts += one(foot, wood, "foot")
        words.append("round")
    elif kind == 3:
        parts = [Part(g.box(x, y, t).at(0, 0, h), top, "top")]
        for s in (1, -1):
            parts += one(g.box(lw, y * 0.9, h).at(s * (x / 2 - lw), 0), wood, "sides")
        parts += one(g.box(x - 2 * lw, t, h * 0.4).at(0, 0, h * 0.3), wood)
    else:
        parts = [Part(g.soft_box(x, y, t, t * 0.4).at(0, 0, h), top, "top")]
        for s in (1, -1):
            for q in (1, -1):
                parts += one(
                    g.beam((s * x * 0.4, q * y * 0.4, 0), (s * x * 0.4, -q * y * 0.3, h), lw, lw),
                    wood,
                    "legs",
                )
        words.append("with crossed legs")
    if coin(rng, 0.2):
        cloth = p("cloth", 0.4)
        parts += one(g.box(x * 0.4, y * 1.02, t * 1.2).at(0, 0, h), cloth, "runner")
    return parts, words


def desk(rng: Rng, p: Palette) -> Design:
    wood, other = p("wood"), p("any")
    x, y, h, t = rng.uniform(0.9, 1.6), rng.uniform(0.5, 0.8), rng.uniform(0.6, 0.85), rng.uniform(0.03, 0.07)
    parts = [Part(g.box(x, y, t).at(0, 0, h), wood, "top")]
    block = rng.uniform(0.25, 0.42) * x
    drawers = int(rng.integers(1, 5))
    sides = (1, -1) if coin(rng, 0.3) else (pick(rng, (1, -1)),)
    for s in (1, -1):
        if s not in sides:
            post = (
                g.box(0.06, y * 0.9, h)
                if coin(rng, 0.4)
                else g.join([g.box(0.06, 0.06, h).at(0, q * (y / 2 - 0.05)) for q in (1, -1)])
            )
            parts += one(post.at(s * (x / 2 - 0.05)), wood, "legs")
            continue
        at = s * (x / 2 - block / 2 - 0.02)
        parts += one(g.box(block, y * 0.92, h - 0.05).at(at, 0, 0.05), wood)
        for i in range(drawers):
            k = (h - 0.08) / drawers
            parts += one(
                g.box(block * 0.88, 0.05, k * 0.85).at(at, -y * 0.46, 0.07 + i * k), other, "drawers"
            )
            parts += one(
                g.box(block * 0.3, 0.06, 0.03).at(at, -y * 0.47 - 0.02, 0.07 + (i + 0.45) * k),
                p("metal", 0.0),
            )
    words = []
    if coin(rng, 0.4):
        parts += one(g.box(0.5, 0.04, 0.32).at(0, y * 0.2, h + t + 0.08), p("dark", 0.0), "screen")
        parts += one(g.box(0.42, 0.045, 0.25).at(0, y * 0.2 - 0.005, h + t + 0.115), p("glass", 0.0))
        parts += one(g.box(0.2, 0.14, 0.02).at(0, y * 0.2, h + t), p("dark", 0.0))
        parts += one(g.box(0.06, 0.03, 0.1).at(0, y * 0.21, h + t), p("dark", 0.0))
        words.append("with a screen")
    return parts, words


def bed(rng: Rng, p: Palette) -> Design:
    wood, sheet, pillow = p("wood"), p("cloth", 0.3), p("light")
    x, y, h = rng.uniform(0.8, 1.6), rng.uniform(1.7, 2.1), rng.uniform(0.2, 0.45)
    head, foot, t = rng.uniform(0.4, 1.1), rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.1)
    parts = [Part(g.box(x, y, h * 0.5).at(0, 0, h * 0.4), wood, "frame")]
    parts += one(g.box(x, t, head).at(0, y / 2), wood, "headboard")
    parts += one(g.box(x, t, foot).at(0, -y / 2), wood)
    parts += one(g.soft_box(x * 0.95, y * 0.97, 0.2, 0.05).at(0, 0, h * 0.8), pillow, "mattress")
    cover = g.soft_box(x * 1.0, y * 0.65, 0.2, 0.04).at(0, -y * 0.15, h * 0.8 + 0.03)
    parts += one(cover, sheet, "blanket")
    n = 2 if x > 1.2 else 1
    for i in range(n):
        at = (i - (n - 1) / 2) * x * 0.46
        parts += one(
            g.soft_box(x * 0.4 if n == 2 else x * 0.7, 0.3, 0.12, 0.05).at(at, y * 0.36, h * 0.8 + 0.17),
            pillow,
            "pillows",
        )
    words = []
    if coin(rng, 0.15):
        z = h + 1.2
        post = g.box(t, t, z)
        parts += one(legs(post, x / 2, y / 2), wood, "posts")
        parts += one(g.box(x + t, y + t, 0.06).at(0, 0, z), sheet, "canopy")
        words.append("with a canopy")
    else:
        parts += one(legs(leg(rng, t * 1.3, h * 0.6), x / 2 - t, y / 2 - t), wood, "legs")
    return parts, words + (["double"] if x > 1.2 else [])


def shelf(rng: Rng, p: Palette) -> Design:
    wood = p("wood")
    x, y, z = rng.uniform(0.4, 1.2), rng.uniform(0.2, 0.4), rng.uniform(0.5, 1.8)
    t, n = rng.uniform(0.02, 0.06), int(rng.integers(2, 6))
    side = g.box(t, y, z).at(x / 2 - t / 2)
    boards = [side, side.mirror()]
    boards += [g.box(x - 2 * t, y * 0.98, t).at(0, 0, i * (z - t) / n) for i in range(n + 1)]
    parts = [Part(g.join(boards), wood, "boards")]
    if coin(rng, 0.6):
        parts += one(g.box(x - t, t, z).at(0, y / 2 - t / 2), p("wood") if coin(rng) else wood, "back")
    books = [p("any") for _ in range(3)]
    filled = rng.uniform(0, 1)
    for i in range(n):
        left = -x / 2 + t
        h = (z - t) / n - t
        while left < x / 2 - t - 0.06 and coin(rng, filled):
            w = rng.uniform(0.04, 0.12)
            if coin(rng, 0.85):
                k = rng.uniform(0.5, 0.95)
                parts += one(
                    g.box(w * 0.9, y * 0.7, h * k).at(left + w / 2, -y * 0.05, t + i * (z - t) / n),
                    pick(rng, books),
                    "books",
                )
            left += w
    return parts, ["tall"] if z > 1.4 else []


def cabinet(rng: Rng, p: Palette) -> Design:
    wood, knob_paint = p("wood", 0.15), p("metal", 0.0)
    front = wood if coin(rng) else p("wood", 0.1)
    x, y, z = rng.uniform(0.4, 1.3), rng.uniform(0.35, 0.55), rng.uniform(0.5, 1.9)
    base = rng.uniform(0.03, 0.15)
    over = rng.uniform(0.0, 0.05)
    parts = [Part(g.box(x, y, z).at(0, 0, base), wood, "body")]
    parts += one(g.box(x + 2 * over, y + 2 * over, 0.04).at(0, 0, base + z), wood, "top")
    parts += one(legs(leg(rng, 0.07, base * 1.02), x / 2 - 0.05, y / 2 - 0.05), wood, "legs")
    rows, columns = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    if z > 1.3 and coin(rng, 0.6):
        rows, columns = 1, 2
    w, h = x / columns, z / rows
    sphere = g.sphere(0.03, 6, 4) if coin(rng) else g.box(min(0.12, w * 0.5), 0.04, 0.025)
    for i in range(rows):
        for j in range(columns):
            at = (-x / 2 + (j + 0.5) * w, base + i * h + h * 0.06)
            parts += one(
                g.box(w * 0.9, 0.05, h * 0.88).at(at[0], -y / 2 - 0.01, at[1]),
                front,
                "doors" if rows == 1 else "drawers",
            )
            side = 0.32 * w * (1 if j == 0 else -1) if rows == 1 else 0.0
            parts += one(sphere.at(at[0] + side, -y / 2 - 0.055, at[1] + h * 0.42), knob_paint, "knobs")
    words = ["tall"] if z > 1.5 else ["low"] if z < 0.8 else []
    return parts, words


FAMILIES: dict[str, Family] = {
    "chair": chair,
    "stool": stool,
    "sofa": sofa,
    "bench": bench,
    "table": table,
    "desk": desk,
    "bed": bed,
    "shelf": shelf,
    "cabinet": cabinet,
}
