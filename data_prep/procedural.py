"""Shapes that this repository makes: named families for words, random assemblies for shape in general.

The embedded base learns from these alone, so everything here is invented: no mesh, palette or proportion
comes from an art pack. A shape is a function of its seed; fronts face −Y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lora3d.data_prep import families_beings as beings
from lora3d.data_prep import families_buildings as buildings
from lora3d.data_prep import families_furniture as furniture
from lora3d.data_prep import families_household as household
from lora3d.data_prep import families_kitchen as kitchen
from lora3d.data_prep import families_nature as nature
from lora3d.data_prep import families_tools as tools
from lora3d.data_prep import families_vehicles as vehicles
from lora3d.data_prep.assemblies import assembly
from lora3d.data_prep.paint import Rng, coin, palette, pick
from lora3d.data_prep.parts import Family, Part, build_mesh
from lora3d.mesh import Mesh

_FAMILIES: dict[str, Family] = {
    **furniture.FAMILIES,
    **household.FAMILIES,
    **kitchen.FAMILIES,
    **nature.FAMILIES,
    **buildings.FAMILIES,
    **vehicles.FAMILIES,
    **tools.FAMILIES,
    **beings.FAMILIES,
}
FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
NUMBERS = ("no", "a", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


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


def _colors(parts: list[Part]) -> tuple[str, ...]:
    """Colour names by the area of their parts' bounding boxes."""
    area: dict[str, float] = {}
    for p in parts:
        x, y, z = np.ptp(p.solid.v, axis=0)
        size = float(x * y + y * z + z * x)
        area[p.paint.name] = area.get(p.paint.name, 0.0) + size
        if p.paint.second:
            area[p.paint.second] = area.get(p.paint.second, 0.0) + 0.4 * size
        if p.top:
            area[p.top.name] = area.get(p.top.name, 0.0) + float(x * y)
    return tuple(sorted(area, key=lambda name: -area[name]))


def article(phrase: str) -> str:
    """The phrase with "a" or "an" before it."""
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
    link = " on " if a > b + 0.6 * (top - b) else " under " if top < a + 1e-9 or b > a + 0.3 * (top - b) else " with "
    text = phrases[0] + link + phrases[1]
    if len(phrases) == 2:
        return text
    joint = " and " if link == " with " else " with "
    return text + (f"{joint}{phrases[2]}" if len(phrases) == 3 else f"{joint}{phrases[2]} and {phrases[3]}")


def _named_caption(rng: Rng, family: str, parts: list[Part], words: list[str]) -> str:
    """Colour, kind, and some of: an adjective, a detail, the colours of other parts."""
    before = [w for w in words if not w.startswith("with")]
    after = [w for w in words if w.startswith("with")]
    colors = _colors(parts)
    main = max(parts, key=lambda p: float(np.prod(np.ptp(p.solid.v, axis=0) + 0.02))).paint
    look = main.name if coin(rng, 0.8) or not main.word else f"{main.word} {main.name}"
    noun = " ".join([look, *before[:1], family]) if coin(rng) else " ".join([*before[:1], look, family])
    others = {p.name: p.paint.name for p in parts if p.name and p.paint is not main}
    details = after[:1] if coin(rng, 0.6) else []
    if others and coin(rng, 0.6):
        name = pick(rng, sorted(others))
        one = f"{others[name]} {name}"
        details.append("with " + (one if name.endswith("s") else article(one)))
    elif len(colors) > 1 and coin(rng, 0.3):
        details.append(f"in {colors[0]} and {colors[1]}")
    text = " ".join([article(noun), *details])
    return text.replace(" with ", " and ", 2).replace(" and ", " with ", 1) if text.count(" with ") > 1 else text
