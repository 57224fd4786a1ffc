"""Named families: animals on four legs. Each takes a generator and a palette; fronts face −Y."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import Paint, Palette, Rng, coin, pick
from lora3d.data_prep.parts import Design, Family, Part, legs, one, pair
from lora3d.data_prep.primitives import Solid


def lump(x: float, y: float, z: float, style: int) -> Solid:
    """A body part of this size in one of three styles: round, boxy with soft edges, faceted."""
    if style == 0:
        return g.sphere(0.5, 10, 7).size(x, y, z)
    if style == 1:
        return g.soft_box(x, y, z, 0.18 * min(x, y, z))
    return g.sphere(0.5, 7, 5).size(x, y, z)


def eyes(paint: Paint, x: float, y: float, z: float, r: float) -> list[Part]:
    """Two small balls at (±x, y, z)."""
    return pair(g.sphere(r, 6, 4).at(x, y, z - r), paint, "eyes")


@dataclass(frozen=True)
class Animal:
    """Proportions of an animal on four legs, its kinds of ears and tail, and its colours."""

    length: float
    height: float
    width: float
    leg: float
    head: float
    neck: float
    snout: float
    ears: str
    tail: str
    colors: str


ANIMALS: dict[str, Animal] = {
    "cat": Animal(
        0.7, 0.28, 0.25, 0.25, 0.3, 0.12, 0.05, "pointed", "long", "orange, grey, black, white, tan"
    ),
    "dog": Animal(0.75, 0.32, 0.28, 0.3, 0.3, 0.15, 0.18, "hanging", "up", "tan, brown, white, black"),
    "horse": Animal(
        1.0, 0.42, 0.34, 0.55, 0.26, 0.45, 0.28, "pointed", "hair", "brown, dark brown, white, black"
    ),
    "cow": Animal(1.0, 0.5, 0.45, 0.35, 0.32, 0.1, 0.18, "side", "rope", "white, brown, black, tan"),
    "pig": Animal(0.8, 0.45, 0.42, 0.18, 0.34, 0.0, 0.1, "pointed", "curl", "pink, peach, brown"),
    "sheep": Animal(0.75, 0.5, 0.5, 0.25, 0.26, 0.1, 0.08, "side", "scut", "white, beige, black, grey"),
    "elephant": Animal(1.0, 0.7, 0.6, 0.35, 0.48, 0.1, 0.0, "fan", "rope", "grey, light grey, light blue"),
    "rabbit": Animal(0.4, 0.32, 0.28, 0.12, 0.28, 0.15, 0.0, "tall", "scut", "white, grey, tan, beige"),
    "fox": Animal(0.7, 0.28, 0.25, 0.25, 0.28, 0.1, 0.16, "pointed", "bush", "orange, dark red, white"),
    "bear": Animal(
        0.85, 0.55, 0.5, 0.25, 0.42, 0.1, 0.12, "round", "scut", "brown, dark brown, white, black"
    ),
}


def quadruped(rng: Rng, p: Palette, *, kind: str) -> Design:
    a = ANIMALS[kind]
    length, height, width, leg_z, head = (
        k * rng.uniform(0.75, 1.3) for k in (a.length, a.height, a.width, a.leg, a.head)
    )
    fur = p.named(pick(rng, a.colors.split(", ")), 0.15) if coin(rng, 0.75) else p("any", 0.2)
    light, dark = p("light", 0.0), p("dark", 0.0)
    style = int(rng.integers(0, 3))
    parts = one(lump(width, length, height, style).at(0, 0, leg_z), fur, "body")
    r, z = width * rng.uniform(0.13, 0.2), leg_z + height * 0.3
    leg = g.box(1.8 * r, 1.8 * r, z) if style == 1 else g.cylinder(r, z, 7, top=1.2)
    sock = fur if coin(rng, 0.6) else pick(rng, (light, dark))
    parts += one(legs(leg, width * 0.28, length * 0.33), sock, "legs")
    z = leg_z + height * 0.5
    y, top = (
        -length / 2 - head * 0.15,
        leg_z + height * rng.uniform(0.6, 0.9) + a.neck * rng.uniform(0.7, 1.2),
    )
    if a.neck > 0.2:
        throat = g.rod((0, -length * 0.35, z), (0, y, top + head * 0.4), width * 0.28, 7, top=0.75)
        mane = g.beam((0, -length * 0.3, z + 0.15), (0, y + head * 0.4, top + head), 0.06, 0.1)
        parts += one(throat, fur, "neck") + one(mane, dark, "mane")
    parts += one(lump(head, head * 0.95, head * 0.9, style).at(0, y, top), fur, "head")
    parts += [q.map(lambda s: s.at(0, y, top)) for q in _face(rng, a, kind, head, style, fur, light, dark)]
    return parts + _tail(rng, a.tail, length, z, fur, light), []


def _face(
    rng: Rng, a: Animal, kind: str, head: float, style: int, fur: Paint, light: Paint, dark: Paint
) -> list[Part]:
    """Muzzle, eyes, ears and what only some animals have; the head stands on the origin."""
    front = -head * 0.47
    parts: list[Part] = []
    if a.snout:
        reach = a.snout * rng.uniform(0.8, 1.3)
        muzzle = lump(head * 0.5, reach * 2, head * 0.42, style).at(0, front, head * 0.08)
        nose = g.box(head * 0.2, 0.03, head * 0.12).at(0, front - reach, head * 0.35)
        parts += one(muzzle, fur if coin(rng) else light, "muzzle") + one(nose, dark, "nose")
    parts += eyes(dark, head * 0.26, front + head * 0.1, head * 0.66, head * 0.075)
    parts += pair(_ear(a.ears, head), fur, "ears")
    if kind == "cow" or (kind == "sheep" and coin(rng, 0.3)):
        path = [(head * 0.3, 0, head * 0.8), (head * 0.6, 0, head * 0.95), (head * 0.65, -0.05, head * 1.25)]
        parts += pair(g.tube(path, [0.045, 0.035, 0.01], 6), light, "horns")
    if kind == "elephant":
        low = -head * rng.uniform(0.2, 0.7)
        trunk = [(0, front + 0.05, head * 0.4), (0, front - 0.15, head * 0.2), (0, front - 0.2, low)]
        parts += one(
            g.tube([*trunk, (0, front - 0.32, low - 0.07)], [0.11, 0.09, 0.06, 0.05], 8), fur, "trunk"
        )
        tusk = [(head * 0.25, front, 0.05), (head * 0.3, front - 0.2, 0), (head * 0.3, front - 0.3, 0.1)]
        parts += pair(g.tube(tusk, [0.04, 0.03, 0.01], 5), light, "tusks")
    return parts


def _ear(kind: str, head: float) -> Solid:
    """The left one of two ears, of a head that stands on the origin."""
    x, top = head * 0.3, head * 0.78
    if kind == "pointed":
        return g.cylinder(head * 0.17, head * 0.42, 4, top=0.0).at(x, 0, top)
    if kind == "round":
        return g.sphere(head * 0.17, 8, 5).size(1, 0.5, 1).at(x * 1.2, 0, top - 0.02)
    if kind == "tall":
        return g.capsule(head * 0.13, head * 1.1, 7).size(1, 0.5, 1).turn("y", 8).at(x * 0.7, 0, top)
    if kind == "hanging":
        return g.sphere(0.5, 7, 5).size(head * 0.18, head * 0.35, head * 0.6).at(head * 0.5, 0, head * 0.25)
    if kind == "fan":
        return g.sphere(0.5, 9, 5).size(head * 0.9, 0.08, head * 1.05).turn("z", 25).at(head * 0.75, 0.1)
    return g.sphere(0.5, 7, 4).size(head * 0.45, head * 0.14, head * 0.22).at(head * 0.6, 0.05, head * 0.6)


def _tail(rng: Rng, kind: str, length: float, z: float, fur: Paint, tip: Paint) -> list[Part]:
    """A tail that starts at the rump, z high."""
    up = rng.uniform(0.1, 0.5)
    path, radius = {
        "hair": ([(0, 0, 0.12), (0, 0.2, 0), (0, 0.22, -0.4)], [0.05, 0.08, 0.03]),
        "bush": ([(0, 0, 0), (0, 0.25, 0.05), (0, 0.5, 0.2)], [0.05, 0.12, 0.1]),
        "rope": ([(0, 0, 0.1), (0, 0.1, 0), (0, 0.12, -0.3)], [0.03, 0.02, 0.02]),
        "up": ([(0, 0, 0), (0, 0.15, up * 0.5), (0.02, 0.18, up)], [0.05, 0.04, 0.03]),
        "long": (
            [(0, 0, 0), (0, 0.25, up * 0.3), (0.02, 0.3, up), (0.05, 0.2, up + 0.15)],
            [0.045, 0.04, 0.035, 0.03],
        ),
    }.get(kind, ([], []))
    y = length * 0.46
    if kind == "scut":
        return one(g.sphere(0.08, 7, 5).at(0, y, z), tip if coin(rng) else fur, "tail")
    if kind == "curl":
        t = np.linspace(0, 1, 8)
        coil = np.stack([0.06 * np.sin(12 * t), 0.18 * t, 0.06 * np.cos(12 * t)], 1)
        return one(g.tube(coil, 0.022, 5).at(0, y, z), fur, "tail")
    parts = one(g.tube(path, radius, 6).at(0, y, z), tip if kind == "hair" else fur, "tail")
    if kind == "bush":
        parts += one(g.lathe([(0.1, 0), (0, 0.2)], 7).turn("x", -60).at(0, y + 0.5, z + 0.2), tip, "tip")
    return parts


FAMILIES: dict[str, Family] = {
    **{kind: partial(quadruped, kind=kind) for kind in ANIMALS},
}
