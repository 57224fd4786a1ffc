"""Named families: figures. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.families_animals import eyes, lump
from lora3d.data_prep.paint import Paint, Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, one, pair
from lora3d.data_prep.primitives import Solid


def person(rng: Rng, p: Palette) -> Design:
    skin, shirt, trousers = p("skin", 0.0), p("any", 0.25), p("any", 0.0)
    style = int(rng.integers(0, 3))
    leg, body, head = rng.uniform(0.25, 0.6), rng.uniform(0.35, 0.55), rng.uniform(0.22, 0.5)
    w, d = rng.uniform(0.28, 0.45), rng.uniform(0.16, 0.26)
    foot = g.box(w * 0.42, d * 0.9, leg + 0.03) if style == 1 else g.cylinder(w * 0.2, leg + 0.03, 8)
    parts = pair(foot.at(w * 0.25), trousers, "legs")
    shoe = g.soft_box(w * 0.44, d * 1.4, 0.09, 0.03)
    parts += pair(shoe.at(w * 0.25, -d * 0.2), p("dark", 0.0), "shoes")
    words = []
    if coin(rng, 0.25):
        dress = g.lathe([(w * rng.uniform(0.6, 1.1), 0), (w * 0.45, body + leg * 0.5)], 10).size(1, 0.7, 1)
        parts += one(dress.at(0, 0, leg * 0.5), shirt, "dress")
        words.append("with a dress")
    else:
        torso = g.soft_box(w, d, body, 0.06)
        if style == 0:
            torso = g.lathe([(w * 0.45, 0), (w * 0.55, body * 0.8), (w * 0.3, body)], 10).size(
                1, d / w * 1.1, 1
            )
        parts += one(torso.at(0, 0, leg), shirt, "shirt")
    top = leg + body
    parts += one(lump(head, head * 0.9, head, style).at(0, 0, top - 0.02), skin, "head")
    parts += eyes(p("dark", 0.0), head * 0.2, -head * 0.42, top + head * 0.55, head * 0.065)
    raised = rng.uniform(0, 180) if coin(rng, 0.3) else rng.uniform(0, 40)
    r, length = w * 0.13, body * rng.uniform(0.75, 1.0)
    arm = g.box(2 * r, 2 * r, length) if style == 1 else g.capsule(r, length, 7)
    hand = g.sphere(r * 1.2, 7, 5).at(0, 0, -length - r * 1.2)
    shoulder = (w * 0.5 + r * 0.8, 0, top - r)
    parts += pair(
        arm.at(0, 0, -length).turn("y", -raised).at(*shoulder), shirt if coin(rng) else skin, "sleeves"
    )
    parts += pair(hand.turn("y", -raised).at(*shoulder), skin, "hands")
    hair = _hair(rng, p, head, style)
    if any(q.name == "hat" for q in hair):
        words.append("with a hat")
    return parts + [q.map(lambda s: s.at(0, 0, top)) for q in hair], words


def _hair(rng: Rng, p: Palette, head: float, style: int) -> list[Part]:
    """Hair, a hat or nothing, on a head that stands on the origin."""
    kind = int(rng.integers(0, 5))
    hair = p("fur", 0.0)
    if kind == 4:
        return []
    if kind == 3:
        hat = p("any", 0.1)
        z, up = head * 0.75, head * rng.uniform(0.3, 0.9)
        crown = g.cylinder(head * 0.48, up, 12, top=rng.uniform(0.0, 1.0))
        return one(g.cylinder(head * rng.uniform(0.55, 0.95), 0.04, 12).at(0, 0, z), hat) + one(
            crown.at(0, 0, z), hat, "hat"
        )
    cap = g.box(head * 1.06, head, head * 0.35)
    if style != 1:
        cap = g.sphere(head * 0.56, 10, 4, share=0.5).size(1, 0.98, rng.uniform(0.7, 1.2))
    parts = one(cap.at(0, head * 0.06, head * 0.6), hair, "hair")
    if kind == 2:
        tress = g.soft_box(head, head * 0.3, head * rng.uniform(0.8, 1.5), 0.04)
        parts += one(tress.turn("x", 180).at(0, head * 0.42, head * 0.9), hair, "hair")
    return parts


def robot(rng: Rng, p: Palette) -> Design:
    body, trim, glow = p("metal", 0.1) if coin(rng) else p("vivid", 0.1), p("any", 0.0), p("vivid", 0.0)
    x, y, z = rng.uniform(0.35, 0.65), rng.uniform(0.25, 0.4), rng.uniform(0.35, 0.6)
    leg, k = rng.uniform(0.1, 0.45), rng.uniform(0.2, 0.45)
    square = coin(rng)
    trunk = g.soft_box(x, y, z, 0.04) if square else g.cylinder(x / 2, z, 10)
    kind = int(rng.integers(0, 3))
    parts = one(trunk.at(0, 0, leg), body, "body") + _robot_legs(kind, x, y, leg, body, trim)
    panel = g.box(x * 0.45, 0.04, z * 0.3)
    parts += one(panel.at(0, -y / 2 if square else -x / 2, leg + z * 0.5), glow, "panel")
    top = leg + z
    heads = (
        g.soft_box(k * 1.2, k, k, 0.04),
        g.sphere(k * 0.6, 10, 5, share=0.55),
        g.cylinder(k * 0.55, k, 8),
    )
    head = pick(rng, heads)
    parts += one(g.cylinder(k * 0.2, 0.1, 8).at(0, 0, top - 0.02), trim)
    parts += one(head.at(0, 0, top + 0.05), body, "head")
    front = float(head.v[:, 1].min())
    if coin(rng, 0.6):
        eye = g.cylinder(k * 0.14, 0.06, 8).turn("x", 90)
        parts += pair(eye.at(k * 0.26, front + 0.03, top + 0.05 + k * 0.5), glow, "eyes")
    else:
        visor = g.box(k * 0.8, 0.06, k * 0.25)
        parts += one(visor.at(0, front + 0.01, top + 0.05 + k * 0.4), glow, "visor")
    r, length = rng.uniform(0.04, 0.08), z * rng.uniform(0.6, 1.0)
    arm = g.join([g.capsule(r, length, 6), g.sphere(r * 1.5, 6, 4).at(0, 0, -r * 1.5)])
    swung = arm.at(0, 0, -length).turn("x", -rng.uniform(0, 70))
    parts += pair(swung.at(x / 2 + r, 0, top - 0.06), trim, "arms")
    words = [("walking", "tracked", "wheeled")[kind]]
    if coin(rng, 0.6):
        parts += one(g.cylinder(0.015, 0.2, 5).at(0, 0, top + k), trim)
        parts += one(g.sphere(0.045, 7, 5).at(0, 0, top + k + 0.18), glow, "antenna")
        words.append("with an antenna")
    return parts, words


def _robot_legs(kind: int, x: float, y: float, leg: float, body: Paint, trim: Paint) -> list[Part]:
    if kind == 0:
        foot = g.soft_box(x * 0.36, y * 1.1, 0.1, 0.03).at(x * 0.27, -0.04)
        return pair(g.box(x * 0.25, x * 0.25, leg + 0.02).at(x * 0.27), trim, "legs") + pair(
            foot, trim, "feet"
        )
    if kind == 1:
        half = [(y * 0.8, 0.0), (y * 0.95, leg * 0.5), (y * 0.7, leg)]
        track = g.plate_x([*half, *[(-a, b) for a, b in half[::-1]]], x * 0.25)
        base = g.box(x * 0.7, y * 0.8, leg * 0.6)
        return pair(track.at(x * 0.42), trim, "tracks") + one(base.at(0, 0, leg * 0.45), body)
    wheel = g.cylinder(leg * 0.6 + 0.06, x * 0.35, 12).turn("y", 90)
    return one(g.cylinder(x * 0.15, leg, 8), trim) + one(wheel.at(-x * 0.175, 0, leg * 0.5), trim, "wheel")


def ghost(rng: Rng, p: Palette) -> Design:
    sheet, dark = p("light", 0.0) if coin(rng, 0.6) else p("any", 0.0), p("dark", 0.0)
    r, h, n = rng.uniform(0.25, 0.4), rng.uniform(0.6, 1.1), 16
    s = g.lathe(
        [(r * rng.uniform(1.0, 1.4), 0), (r * 0.95, h * 0.4), (r, h * 0.65), (r * 0.75, h * 0.88), (0, h)], n
    )
    v = s.v.copy()
    v[:n, 2] += (np.arange(n) % 2) * rng.uniform(0.05, 0.2)
    parts = [Part(Solid(v, s.f, True), sheet, "sheet")]
    e = r * rng.uniform(0.15, 0.28)
    parts += pair(g.sphere(e, 8, 5).size(1, 0.6, 1.4).at(r * 0.36, -r * 0.88, h * 0.58), dark, "eyes")
    if coin(rng, 0.6):
        parts += one(g.sphere(e, 8, 5).size(1, 0.6, 1).at(0, -r * 0.95, h * 0.38), dark, "mouth")
    if coin(rng, 0.6):
        parts += pair(g.sphere(r * 0.3, 8, 5).at(r * 1.0, -0.05, h * rng.uniform(0.35, 0.55)), sheet, "hands")
    return parts, ["tall"] if h > 0.95 else []


def snowman(rng: Rng, p: Palette) -> Design:
    snow, dark, nose = p.named("white"), p("dark", 0.0), p("fire", 0.0)
    n, r, z = int(rng.integers(2, 4)), rng.uniform(0.32, 0.45), 0.0
    parts: list[Part] = []
    k = rng.uniform(0.65, 0.85)
    for i in range(n):
        parts += one(g.sphere(r, 12, 8).at(0, 0, z), snow, "balls")
        if i == n - 2:
            parts += [
                Part(g.sphere(0.04, 6, 4).at(0, -r * 0.97, z + r * (0.75 + 0.4 * j)), dark, "buttons")
                for j in range(2)
            ]
            arm = g.rod((r * 0.8, 0, z + r * 1.2), (r * 1.9, -0.05, z + r * rng.uniform(1.2, 2.2)), 0.03, 5)
            parts += pair(arm, p("wood", 0.0), "arms")
        z += r * 1.65
        r *= k
    r, z = r / k, z - r / k * 1.65
    parts += eyes(dark, r * 0.35, -r * 0.85, z + r * 1.35, 0.04)
    parts.append(
        Part(
            g.cylinder(0.05, r * rng.uniform(0.6, 1.3), 6, top=0.0).turn("x", 90).at(0, -r * 0.9, z + r),
            nose,
            "nose",
        )
    )
    words = []
    if coin(rng, 0.6):
        parts += one(g.ring(r * 0.75, 0.06, 12, 5).at(0, 0, z + r * 0.1), p("vivid", 0.2), "scarf")
        words.append("with a scarf")
    if coin(rng, 0.6):
        top = p("dark", 0.0)
        parts += one(g.cylinder(r * 0.95, 0.05, 12).at(0, 0, z + r * 1.7), top)
        parts += one(g.cylinder(r * 0.6, r * rng.uniform(0.5, 1.1), 12).at(0, 0, z + r * 1.72), top, "hat")
    return parts, words


FAMILIES: dict[str, Family] = {
    "person": person,
    "robot": robot,
    "ghost": ghost,
    "snowman": snowman,
}
