"""Named families: furniture. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Paint, Palette, Rng, coin, pick
from lora3d.data_prep.parts import Part
from lora3d.data_prep.primitives import Solid

Design = tuple[list[Part], list[str]]


def legs(solid: Solid, x: float, y: float) -> Solid:
    """Four copies of one leg at (±x, ±y)."""
    pair = [solid.at(x, y), solid.at(x, -y)]
    return g.join([*pair, *(s.mirror() for s in pair)])


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
        return g.lathe([(w * 0.3, 0), (w * 0.4, h * 0.2), (w * 0.6, h * 0.6), (w * 0.4, h * 0.7), (w * 0.6, h)], 8)
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
    parts.append(Part(seat.at(0, 0, h), seat_paint, "seat"))
    words = []
    kind = int(rng.integers(0, 5))
    z, y = h + t * 0.5, d / 2 - lw / 2
    posts = [g.box(lw, lw, back).at(s * (w / 2 - lw / 2), y, z) for s in (1, -1)]
    if kind == 0:
        parts.append(Part(g.box(w, lw * 0.7, back).at(0, y, z), wood, "back"))
    elif kind == 1:
        n = int(rng.integers(2, 5))
        rails = [g.box(w, lw * 0.5, back / n * 0.5).at(0, y, z + back * (i + 0.4) / n) for i in range(n)]
        parts.append(Part(g.join(posts + rails), wood, "back"))
        words.append("with a ladder back")
    elif kind == 2:
        n = int(rng.integers(2, 6))
        bars = [g.box(lw * 0.4, lw * 0.4, back).at((i + 0.5 - n / 2) / n * (w - lw), y, z) for i in range(n)]
        parts.append(Part(g.join([*posts, *bars, g.box(w, lw, lw * 1.5).at(0, y, z + back)]), wood, "back"))
        words.append("with a slatted back")
    elif kind == 3:
        parts.append(Part(g.join(posts), wood, ""))
        cushion = g.soft_box(w * 0.85, max(lw, 0.06), back * 0.6, 0.02).at(0, y - lw * 0.2, z + back * 0.4)
        parts.append(Part(cushion, seat_paint, "cushion"))
    else:
        arc = g.disc(w / 2, 16)[:9]
        outline = np.concatenate([[(w / 2, 0)], arc * (1, back * 0.6 / w * 2) + (0, back * 0.4), [(-w / 2, 0)]])
        parts.append(Part(g.plate_y(outline, lw * 0.7).at(0, y, z), wood, "back"))
        words.append("with a round back")
    if coin(rng, 0.3):
        high = h + t + rng.uniform(0.12, 0.2)
        arm = g.join([g.box(lw, d, lw * 0.6).at(w / 2, 0, high), g.box(lw, lw, high - h).at(w / 2, -d / 2 + lw, h)])
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
        parts.append(Part(g.rod(a, b, rng.uniform(0.02, 0.022) * (1 + r), 6), wood, "legs"))
    seat = g.cylinder(r, t, 14) if coin(rng, 0.7) else g.soft_box(2 * r, 2 * r, t, t * 0.3)
    parts.append(Part(seat.at(0, 0, h), top, "seat"))
    if coin(rng):
        parts.append(Part(g.ring(r * 0.75 * (splay + 0.6) / 1.6, 0.012, 12, 5).at(0, 0, h * 0.35), wood, "ring"))
    return parts, ["tall" if h > 0.6 else "low"] if h > 0.6 or h < 0.35 else []


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
        parts.append(Part(legs(leg(rng, lw, h), x / 2 - lw, y / 2 - lw), wood, "legs"))
        if coin(rng):
            parts.append(Part(g.box(x - 2 * lw, y - 2 * lw, t).at(0, 0, h - t), wood, ""))
        if coin(rng, 0.25):
            parts.append(Part(g.box(x - 2 * lw, y - 2 * lw, t * 0.6).at(0, 0, h * 0.25), wood, "shelf"))
    elif kind == 2:
        parts = [Part(g.cylinder(x / 2, t, 18).at(0, 0, h), top, "top")]
        foot = g.lathe([(x * 0.25, 0), (x * 0.22, 0.03), (lw * 0.6, 0.1), (lw * 0.8, h * 0.6), (lw * 0.5, h)], 10)
        parts.append(Part(foot, wood, "foot"))
        words.append("round")
    elif kind == 3:
        parts = [Part(g.box(x, y, t).at(0, 0, h), top, "top")]
        for s in (1, -1):
            parts.append(Part(g.box(lw, y * 0.9, h).at(s * (x / 2 - lw), 0), wood, "sides"))
        parts.append(Part(g.box(x - 2 * lw, t, h * 0.4).at(0, 0, h * 0.3), wood, ""))
    else:
        parts = [Part(g.soft_box(x, y, t, t * 0.4).at(0, 0, h), top, "top")]
        for s in (1, -1):
            for q in (1, -1):
                parts.append(Part(g.beam((s * x * 0.4, q * y * 0.4, 0), (s * x * 0.4, -q * y * 0.3, h), lw, lw), wood, "legs"))
        words.append("with crossed legs")
    if coin(rng, 0.2):
        cloth = p("cloth", 0.4)
        parts.append(Part(g.box(x * 0.4, y * 1.02, t * 1.2).at(0, 0, h), cloth, "runner"))
    return parts, words


def shelf(rng: Rng, p: Palette) -> Design:
    wood = p("wood")
    x, y, z = rng.uniform(0.4, 1.2), rng.uniform(0.2, 0.4), rng.uniform(0.5, 1.8)
    t, n = rng.uniform(0.02, 0.06), int(rng.integers(2, 6))
    side = g.box(t, y, z).at(x / 2 - t / 2)
    boards = [side, side.mirror()]
    boards += [g.box(x - 2 * t, y * 0.98, t).at(0, 0, i * (z - t) / n) for i in range(n + 1)]
    parts = [Part(g.join(boards), wood, "boards")]
    if coin(rng, 0.6):
        parts.append(Part(g.box(x - t, t, z).at(0, y / 2 - t / 2), p("wood") if coin(rng) else wood, "back"))
    books = [p("any") for _ in range(3)]
    filled = rng.uniform(0, 1)
    for i in range(n):
        left = -x / 2 + t
        h = (z - t) / n - t
        while left < x / 2 - t - 0.06 and coin(rng, filled):
            w = rng.uniform(0.04, 0.12)
            if coin(rng, 0.85):
                k = rng.uniform(0.5, 0.95)
                parts.append(Part(g.box(w * 0.9, y * 0.7, h * k).at(left + w / 2, -y * 0.05, t + i * (z - t) / n), pick(rng, books), "books"))
            left += w
    return parts, ["tall"] if z > 1.4 else []


def chest(rng: Rng, p: Palette) -> Design:
    wood, metal = p("wood", 0.4), p("metal")
    x, y, h = rng.uniform(0.5, 1.0), rng.uniform(0.35, 0.6), rng.uniform(0.2, 0.5)
    parts = [Part(g.box(x, y, h), wood, "box")]
    lid = rng.uniform(0.08, 0.3)
    n = int(rng.integers(1, 7))
    arc = [(y / 2 * np.cos(np.pi * i / n), lid * np.sin(np.pi * i / n)) for i in range(n + 1)] if n > 1 else []
    flat = n == 1
    section = [(-y / 2, 0), (y / 2, 0), (y / 2, lid), (-y / 2, lid)] if flat else arc
    open_deg = rng.uniform(20, 100) if coin(rng, 0.3) else 0.0

    def hinge(s: Solid) -> Solid:
        return s.at(0, -y / 2, 0).turn("x", -open_deg).at(0, y / 2, h)

    lid_paint = wood if coin(rng, 0.7) else p("wood", 0.4)
    parts.append(Part(hinge(g.plate_x(section, x)), lid_paint, "lid"))
    band = rng.uniform(0.05, 0.12)
    for s in (1, -1):
        at = s * (x / 2 - band)
        parts.append(Part(g.box(band, y * 1.05, h * 1.0).at(at, 0, 0.001), metal, "bands"))
        grown = g.plate_x(np.asarray(section) * 1.06, band).at(at)
        parts.append(Part(hinge(grown), metal, "bands"))
    parts.append(Part(g.box(x * 0.14, 0.06, h * 0.4).at(0, -y / 2, h * 0.65), p("gold"), "lock"))
    return parts, ["open"] if open_deg else []


def lamp(rng: Rng, p: Palette) -> Design:
    metal, shade = p("metal"), p("light", 0.25)
    h, r = rng.uniform(0.4, 1.6), rng.uniform(0.12, 0.3)
    parts = [Part(g.lathe([(r * 0.8, 0), (r * 0.8, 0.03), (0.03, 0.07)], 12), metal, "foot")]
    if coin(rng, 0.3):
        body = g.lathe([(0.05, 0.03), (r * 0.7, h * 0.25), (r * 0.5, h * 0.55), (0.03, h * 0.75), (0.02, h)], 12)
        parts.append(Part(body, p("any"), "body"))
    parts.append(Part(g.cylinder(rng.uniform(0.012, 0.03), h, 6), metal, "pole"))
    sh, top = rng.uniform(0.15, 0.35), rng.uniform(0.3, 1.1)
    r2 = rng.uniform(1.0, 1.4) * r
    section = [(r2, 0), (r2 * top, sh), (r2 * top - 0.015, sh), (r2 - 0.015, 0)]
    parts.append(Part(g.lathe(section, 14, closed=True).at(0, 0, h - sh * 0.5), shade, "shade"))
    parts.append(Part(g.sphere(0.045, 8, 5).at(0, 0, h - sh * 0.2), p("light", 0.0), "bulb"))
    return parts, ["floor-standing"] if h > 1.1 else []


def barrel(rng: Rng, p: Palette) -> Design:
    wood, metal = p("wood", 0.5, ("planks", "stripes")), p("metal")
    r, h, belly = rng.uniform(0.2, 0.4), rng.uniform(0.5, 1.0), rng.uniform(1.0, 1.4)
    n = pick(rng, (8, 10, 12, 16))

    def radius(t: float) -> float:
        return r * (1 + (belly - 1) * (1 - (2 * t - 1) ** 2))

    parts = [Part(g.lathe([(radius(t), t * h) for t in np.linspace(0, 1, 6)], n), wood, "staves")]
    for t in pick(rng, ((0.12, 0.88), (0.1, 0.35, 0.65, 0.9), (0.05, 0.3, 0.7, 0.95), (0.5,))):
        a, b = max(t - 0.04, 0.0), min(t + 0.04, 1.0)
        hoop = [(radius(a) + 0.015, a * h), (radius(b) + 0.015, b * h), (r * 0.5, b * h), (r * 0.5, a * h)]
        parts.append(Part(g.lathe(hoop, n, closed=True), metal, "hoops"))
    words = []
    lid = p("wood")
    if coin(rng, 0.5):
        parts.append(Part(g.cylinder(r * 0.9, 0.03, n).at(0, 0, h * 0.985), lid, "lid"))
    if coin(rng, 0.2):
        parts = [q.map(lambda s: s.turn("y", 90).at(0, 0, radius(0.5))) for q in parts]
        words.append("lying")
    return parts, words


def bed(rng: Rng, p: Palette) -> Design:
    wood, sheet, pillow = p("wood"), p("cloth", 0.3), p("light")
    x, y, h = rng.uniform(0.8, 1.6), rng.uniform(1.7, 2.1), rng.uniform(0.2, 0.45)
    head, foot, t = rng.uniform(0.4, 1.1), rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.1)
    parts = [Part(g.box(x, y, h * 0.5).at(0, 0, h * 0.4), wood, "frame")]
    parts.append(Part(g.box(x, t, head).at(0, y / 2), wood, "headboard"))
    parts.append(Part(g.box(x, t, foot).at(0, -y / 2), wood, ""))
    parts.append(Part(g.soft_box(x * 0.95, y * 0.97, 0.2, 0.05).at(0, 0, h * 0.8), pillow, "mattress"))
    cover = g.soft_box(x * 1.0, y * 0.65, 0.2, 0.04).at(0, -y * 0.15, h * 0.8 + 0.03)
    parts.append(Part(cover, sheet, "blanket"))
    n = 2 if x > 1.2 else 1
    for i in range(n):
        at = (i - (n - 1) / 2) * x * 0.46
        parts.append(Part(g.soft_box(x * 0.4 if n == 2 else x * 0.7, 0.3, 0.12, 0.05).at(at, y * 0.36, h * 0.8 + 0.17), pillow, "pillows"))
    words = []
    if coin(rng, 0.15):
        z = h + 1.2
        post = g.box(t, t, z)
        parts.append(Part(legs(post, x / 2, y / 2), wood, "posts"))
        parts.append(Part(g.box(x + t, y + t, 0.06).at(0, 0, z), sheet, "canopy"))
        words.append("with a canopy")
    else:
        parts.append(Part(legs(leg(rng, t * 1.3, h * 0.6), x / 2 - t, y / 2 - t), wood, "legs"))
    return parts, words + (["double"] if x > 1.2 else [])


def paints_of(parts: list[Part]) -> list[Paint]:
    """The paints in the order of the parts, each once."""
    return list({id(q.paint): q.paint for q in parts}.values())
