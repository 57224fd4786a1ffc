"""Shapes that this repository makes: named families for words, random assemblies for shape in general.

The embedded base learns from these alone, so everything here is invented: no mesh, palette or proportion
comes from an art pack. A shape is a function of its seed; fronts face −Y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lora3d.data_prep import (
    families_animals,
    families_buildings,
    families_craft,
    families_creatures,
    families_figures,
    families_food,
    families_furniture,
    families_harvest,
    families_household,
    families_nature,
    families_street,
    families_tools,
    families_treasure,
    families_vehicles,
)
from lora3d.data_prep.assemblies import assembly
from lora3d.data_prep.paint import Rng, coin, palette, pick
from lora3d.data_prep.parts import Family, Part, build_mesh
from lora3d.mesh import Mesh

_FAMILIES: dict[str, Family] = {
    **families_furniture.FAMILIES,
    **families_household.FAMILIES,
    **families_food.FAMILIES,
    **families_harvest.FAMILIES,
    **families_nature.FAMILIES,
    **families_buildings.FAMILIES,
    **families_street.FAMILIES,
    **families_vehicles.FAMILIES,
    **families_craft.FAMILIES,
    **families_tools.FAMILIES,
    **families_treasure.FAMILIES,
    **families_animals.FAMILIES,
    **families_creatures.FAMILIES,
    **families_figures.FAMILIES,
}
FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
NUMBERS = (
    "no",
    "a",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


@dataclass(frozen=True, eq=False)
class Shape:
    """One procedural object.

    Attributes:
        mesh: normalised; up to about 2,000 triangles, all outward.
        caption: one phrase of plain words.
        family: one of `FAMILIES`, or "assembly".
        colors: names of its colours, the largest area first.
    """

    mesh: Mesh
    caption: str
    family: str
    colors: tuple[str, ...]


def make_shape(seed: int, kind: Literal["named", "assembly"]) -> Shape:
    """Shape number `seed` of a kind: the same one wherever it is made."""
    rng = np.random.default_rng([seed, int(kind == "named")])
    if kind == "assembly":
        parts = assembly(rng)
        smooth = coin(rng)
        caption, family = _assembly_caption(rng, parts), "assembly"
    else:
        family = pick(rng, FAMILIES)
        parts, words = _FAMILIES[family](rng, palette(rng))
        smooth = coin(rng)
        caption = _named_caption(rng, family, parts, words)
    return Shape(build_mesh(parts, smooth=smooth), caption, family, _colors(parts))


def _areas(parts: list[Part]) -> np.ndarray:
    """The surface of each part, (n,) float64."""
    areas = []
    for p in parts:
        a, b, c = (p.solid.v[p.solid.f[:, i]] for i in range(3))
        u, w = b - a, c - a
        x = u[:, 1] * w[:, 2] - u[:, 2] * w[:, 1]
        y = u[:, 2] * w[:, 0] - u[:, 0] * w[:, 2]
        z = u[:, 0] * w[:, 1] - u[:, 1] * w[:, 0]
        areas.append(float(np.sqrt(x * x + y * y + z * z).sum()) / 2)
    return np.array(areas)


def _colors(parts: list[Part]) -> tuple[str, ...]:
    """Colour names, the largest area first."""
    shares: dict[str, float] = {}
    for p, area in zip(parts, _areas(parts), strict=True):
        second = 0.4 if p.paint.second else 0.0
        top = 0.25 if p.top else 0.0
        shares[p.paint.name] = shares.get(p.paint.name, 0.0) + area * (1 - second) * (1 - top)
        if p.paint.second:
            shares[p.paint.second] = shares.get(p.paint.second, 0.0) + area * second * (1 - top)
        if p.top:
            shares[p.top.name] = shares.get(p.top.name, 0.0) + area * top
    return tuple(sorted(shares, key=lambda name: -shares[name]))


# Nouns that take no article although they do not end in s.
_MASS = (
    "water",
    "grass",
    "glass",
    "soup",
    "fruit",
    "hair",
    "feet",
    "teeth",
    "wax",
    "ice",
    "earth",
    "drink",
    "corn",
)


def article(phrase: str) -> str:
    """The phrase with "a" or "an" before it, where it takes one."""
    noun = phrase.split(" with ")[0].split()[-1]
    if noun in _MASS or (noun.endswith("s") and not noun.endswith(("ss", "us"))):
        return phrase
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _plural(noun: str) -> str:
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun if noun.endswith("s") else noun + "es"
    return noun[:-1] + "ves" if noun.endswith("shelf") else noun + "s"


def _counted(n: int, color: str, noun: str) -> str:
    if n == 1:
        return article(f"{color} {noun}".strip())
    return f"{NUMBERS[n] if n < len(NUMBERS) else 'many'} {color} {_plural(noun)}"


def _assembly_caption(rng: Rng, parts: list[Part]) -> str:
    """The largest parts, counted, and how the first lies to the second."""
    groups: dict[tuple[str, str], list[Part]] = {}
    for p in parts:
        if p.name:
            look = f"{p.paint.word} {p.paint.name}".strip()
            groups.setdefault((look, p.name), []).append(p)

    def bulk(group: list[Part]) -> float:
        return sum(float(np.prod(np.ptp(p.solid.v, axis=0) + 0.02)) for p in group)

    ranked = sorted(groups.items(), key=lambda item: -bulk(item[1]))[: int(rng.integers(1, 5))]
    phrases = [_counted(len(group), *key) for key, group in ranked]
    if len(ranked) < 2:
        return phrases[0]
    a, b = (min(float(p.solid.v[:, 2].min()) for p in group) for _, group in ranked[:2])
    top = max(float(p.solid.v[:, 2].max()) for p in ranked[1][1])
    link = (
        " on "
        if a > b + 0.6 * (top - b)
        else " under "
        if top < a + 1e-9 or b > a + 0.3 * (top - b)
        else " with "
    )
    text = phrases[0] + link + phrases[1]
    if len(phrases) == 2:
        return text
    joint = " and " if link == " with " else " with "
    return text + (f"{joint}{phrases[2]}" if len(phrases) == 3 else f"{joint}{phrases[2]} and {phrases[3]}")


# Of the words that families give: these stand before the colour, all others after it.
_SIZES = (
    *(
        "tall",
        "low",
        "long",
        "short",
        "slim",
        "small",
        "old",
        "open",
        "fat",
        "thick",
        "thin",
        "shallow",
        "deep",
    ),
    *("lying", "single", "stacked"),
)


def _named_caption(rng: Rng, family: str, parts: list[Part], words: list[str]) -> str:
    """Colour and kind, and some of: an adjective, a detail, the colours of other parts."""
    colors, areas = _colors(parts), _areas(parts)
    shares: dict[int, float] = {}
    for p, area in zip(parts, areas, strict=True):
        shares[id(p.paint)] = shares.get(id(p.paint), 0.0) + area
    main = max((p.paint for p in parts), key=lambda paint: shares[id(paint)])
    look = f"{main.word} {main.name}" if main.word and coin(rng, 0.5) else main.name
    before = [w for w in words if w in _SIZES][:1]
    after = [w for w in words if w not in _SIZES and not w.startswith(("with", "on a "))][:1]
    details = [w for w in words if w.startswith(("with", "on a "))][:1]
    noun = " ".join([*before, look, *after, family]) if coin(rng, 0.75) else f"{look} {family}"
    others = {
        p.name: p.paint.name
        for p in parts
        if p.name and p.paint is not main and p.name not in " ".join(details)
    }
    if details and not coin(rng, 0.6):
        details = []
    if others and coin(rng, 0.6):
        name = pick(rng, sorted(others))
        one = f"{others[name]} {name}"
        details.append(("and " if details else "with ") + article(one))
    elif len(colors) > 1 and coin(rng, 0.35):
        details.append(f"in {colors[0]} and {colors[1]}")
    return " ".join([article(noun), *details])
