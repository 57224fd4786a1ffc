"""Colours, palettes and small textures for the procedural shapes. Colours are sRGB in [0, 1] here."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Array = np.ndarray
Rng = np.random.Generator
Rgb = tuple[float, float, float]
T = TypeVar("T")

COLORS: dict[str, Rgb] = {
    "white": (0.95, 0.95, 0.94),
    "light grey": (0.75, 0.76, 0.77),
    "grey": (0.52, 0.53, 0.55),
    "dark grey": (0.29, 0.30, 0.32),
    "black": (0.09, 0.09, 0.10),
    "red": (0.84, 0.15, 0.15),
    "dark red": (0.50, 0.09, 0.10),
    "orange": (0.95, 0.53, 0.13),
    "yellow": (0.97, 0.83, 0.20),
    "gold": (0.83, 0.64, 0.20),
    "lime": (0.65, 0.82, 0.22),
    "green": (0.28, 0.66, 0.26),
    "dark green": (0.12, 0.38, 0.18),
    "olive": (0.47, 0.47, 0.20),
    "mint": (0.60, 0.87, 0.72),
    "teal": (0.12, 0.58, 0.56),
    "cyan": (0.30, 0.80, 0.88),
    "light blue": (0.56, 0.75, 0.94),
    "blue": (0.18, 0.40, 0.82),
    "navy": (0.12, 0.17, 0.42),
    "purple": (0.49, 0.25, 0.69),
    "lilac": (0.76, 0.65, 0.90),
    "magenta": (0.80, 0.18, 0.60),
    "pink": (0.96, 0.62, 0.72),
    "peach": (0.98, 0.76, 0.60),
    "brown": (0.48, 0.30, 0.17),
    "dark brown": (0.28, 0.17, 0.10),
    "tan": (0.76, 0.59, 0.40),
    "beige": (0.89, 0.81, 0.66),
}
_NAMES = tuple(COLORS)
_TABLE = np.array(list(COLORS.values()))

# What things are naturally made of: colour names, and the pattern that may lie on them.
ROLES: dict[str, tuple[str, ...]] = {
    "wood": ("brown", "dark brown", "tan", "brown", "tan", "beige"),
    "leaf": ("green", "dark green", "lime", "green", "olive", "orange", "teal", "pink"),
    "stone": ("grey", "light grey", "dark grey", "beige", "tan"),
    "metal": ("light grey", "grey", "dark grey", "black", "gold", "white"),
    "gold": ("gold", "yellow", "light grey", "orange"),
    "wall": ("white", "beige", "tan", "light grey", "red", "peach", "light blue", "yellow"),
    "roof": ("red", "dark red", "brown", "dark grey", "orange", "navy", "green", "teal"),
    "glass": ("light blue", "cyan", "navy", "dark grey", "white"),
    "skin": ("peach", "tan", "brown", "beige", "dark brown", "pink"),
    "fur": ("brown", "dark brown", "tan", "white", "grey", "black", "orange", "beige"),
    "earth": ("brown", "dark brown", "tan", "beige", "grey"),
    "dark": ("black", "dark grey", "dark brown", "navy"),
    "light": ("white", "beige", "light grey", "yellow", "peach"),
    "fire": ("orange", "yellow", "red"),
    "any": _NAMES,
    "vivid": (
        "red",
        "orange",
        "yellow",
        "lime",
        "green",
        "teal",
        "cyan",
        "blue",
        "purple",
        "magenta",
        "pink",
    ),
    "cloth": _NAMES,
    "bread": ("tan", "brown", "beige", "gold"),
    "clay": ("orange", "brown", "tan", "dark red", "white", "light blue"),
}
_NEUTRALS = (
    "white",
    "white",
    "light grey",
    "grey",
    "dark grey",
    "black",
    "brown",
    "dark brown",
    "tan",
    "beige",
)
PATTERNS = ("stripes", "bands", "checks", "bricks", "spots", "noise", "planks", "fade", "grid", "zigzag")
_WORDS = {
    "stripes": "striped",
    "bands": "striped",
    "checks": "chequered",
    "bricks": "brick",
    "spots": "spotted",
    "noise": "mottled",
    "planks": "planked",
    "grid": "tiled",
    "zigzag": "zigzag",
}


@dataclass(frozen=True, eq=False)
class Paint:
    """One material of a shape.

    Attributes:
        rgb: sRGB.
        name: the colour's name in captions.
        texture: (h, w, 3) uint8 sRGB, or None.
        repeats: how often the texture repeats over the object's longest side.
        word: what the texture looks like, or "".
        second: the name of the texture's other colour, or "".
        fade: factors on linear colour at a part's foot and at its top, at most 1.
    """

    rgb: Rgb
    name: str
    texture: Array | None = None
    repeats: int = 3
    word: str = ""
    second: str = ""
    fade: tuple[float, float] = (1.0, 1.0)


def pick(rng: Rng, items: Sequence[T]) -> T:
    """One of the items, all alike."""
    return items[int(rng.random() * len(items))]


def coin(rng: Rng, p: float = 0.5) -> bool:
    return bool(rng.random() < p)


def color_name(rgb: Sequence[float]) -> str:
    """The nearest of `COLORS` in a space where hue counts more than lightness."""
    d = _TABLE - np.asarray(rgb)
    luma = d @ (0.35, 0.5, 0.15)
    chroma = d - luma[:, None]
    return _NAMES[int(np.argmin(luma**2 * 1.2 + (chroma**2).sum(1)))]


def jitter(rng: Rng, rgb: Rgb, amount: float = 0.06) -> Rgb:
    """A neighbour of a colour that mostly keeps its name."""
    h, s, v = colorsys.rgb_to_hsv(*rgb)
    a, b, c = rng.normal(size=3)
    h = (h + 0.15 * amount * a) % 1
    s = min(max(s * (1 + amount * 1.5 * b), 0.0), 1.0)
    v = min(max(v * (1 + amount * 1.2 * c), 0.02), 1.0)
    return colorsys.hsv_to_rgb(h, s, v)


def harmony(rng: Rng, n: int) -> list[Rgb]:
    """n colours that go together: a scheme of hues, a mood of saturation and value, some neutrals."""
    base = rng.random()
    steps = pick(
        rng, ((0.0, 0.5), (0.0, 0.1, -0.1), (0.0, 0.33, 0.67), (0.0, 0.42, 0.58), (0.0, 0.25), (), ())
    )
    moods = ("vivid", "vivid", "vivid", "pastel", "dark", "muted", "earth", "grey", "named", "named", "named")
    mood = pick(rng, moods)
    sat, val = {
        "vivid": ((0.65, 1.0), (0.6, 1.0)),
        "pastel": ((0.15, 0.45), (0.8, 1.0)),
        "dark": ((0.3, 0.9), (0.08, 0.45)),
        "muted": ((0.2, 0.55), (0.35, 0.8)),
        "earth": ((0.3, 0.7), (0.25, 0.8)),
        "grey": ((0.0, 0.12), (0.05, 1.0)),
        "named": ((0.0, 1.0), (0.0, 1.0)),
    }[mood]
    colors: list[Rgb] = []
    for i in range(n):
        if mood == "named" or coin(rng, 0.3):
            neutral = coin(rng, 0.3 if mood == "named" else 0.65)
            colors.append(jitter(rng, COLORS[pick(rng, _NEUTRALS if neutral else _NAMES)]))
            continue
        hue = base + (steps[i % len(steps)] if steps else rng.random()) + 0.03 * rng.normal()
        if mood == "earth":
            hue = 0.03 + 0.12 * rng.random()
        value = rng.uniform(*val)
        if (
            colors and abs(value - max(colors[-1])) < 0.2
        ):  # One more draw, so that neighbours can be told apart.
            value = rng.uniform(*val)
        colors.append(colorsys.hsv_to_rgb(hue % 1, rng.uniform(*sat), value))
    return colors


def pattern(rng: Rng, kind: str, a: Rgb, b: Rgb, *, size: int = 32) -> Array:
    """A texture (size, size, 3) uint8 that tiles, of two sRGB colours."""
    y, x = _grid(size)
    n = 2 if coin(rng) else 1
    cell = size // n
    if kind == "stripes":
        m = (x * n % size) < size * rng.uniform(0.25, 0.7)
    elif kind == "bands":
        m = (y * n % size) < size * rng.uniform(0.25, 0.7)
    elif kind == "checks":
        m = ((x * n * 2 // size) + (y * n * 2 // size)) % 2 == 0
    elif kind in ("bricks", "planks"):
        rows = 4 if kind == "bricks" else 3
        row = y * rows // size
        shift = (row % 2) * (size // 2) if kind == "bricks" else row * 11
        line = ((y * rows % size) < rows * 2) | (((x * (2 if kind == "bricks" else 1) + shift) % size) < 2)
        shade = (0.9 + 0.2 * rng.random(rows))[row]
        tint = np.asarray(a) * shade[..., None]
        return _bytes(np.where(line[..., None], b, tint))
    elif kind == "grid":
        m = ((x % cell) >= 2) & ((y % cell) >= 2)
    elif kind == "spots":
        centre = rng.random((5, 2)) * size
        radius = rng.uniform(0.08, 0.2, 5) * size
        dx = np.abs(x[..., None] - centre[:, 0])
        dy = np.abs(y[..., None] - centre[:, 1])
        dx, dy = np.minimum(dx, size - dx), np.minimum(dy, size - dy)
        m = ~((dx * dx + dy * dy) < radius**2).any(-1)
    elif kind == "zigzag":
        m = (y + np.abs(x % (size // 2) - size // 4)) * n % size < size // 2
    elif kind == "fade":
        t = np.abs(y / size * 2 - 1)[..., None]
        return _bytes(np.asarray(a) * t + np.asarray(b) * (1 - t))
    else:
        coarse = rng.random((8, 8))
        fine = np.kron(coarse, np.ones((size // 8, size // 8))) * 0.6 + 0.4 * rng.random((size, size))
        t = fine[..., None]
        return _bytes(np.asarray(a) * t + np.asarray(b) * (1 - t))
    return _bytes(np.where(m[..., None], a, b))


def _grid(size: int) -> tuple[Array, Array]:
    i = np.arange(size)
    return np.broadcast_to(i[:, None], (size, size)), np.broadcast_to(i, (size, size))


def _bytes(rgb: Array) -> Array:
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)


def paint(
    rng: Rng,
    rgb: Rgb,
    other: Rgb | None = None,
    *,
    patterned: float = 0.0,
    kinds: Sequence[str] = PATTERNS,
    name: str = "",
) -> Paint:
    """A paint of a colour; with chance `patterned` it carries a pattern with another colour."""
    name = name or color_name(rgb)
    fade = (1.0, 1.0)
    if coin(rng, 0.12):
        dark = float(rng.uniform(0.3, 0.8))
        fade = (dark, 1.0) if coin(rng, 0.75) else (1.0, dark)
    if not coin(rng, patterned):
        return Paint(rgb, name, fade=fade)
    kind = pick(rng, kinds)
    if other is None or kind in ("bricks", "planks", "noise", "grid"):
        k = rng.uniform(0.5, 0.85) if coin(rng, 0.7) else rng.uniform(1.1, 1.4)
        other = (min(rgb[0] * k, 1.0), min(rgb[1] * k, 1.0), min(rgb[2] * k, 1.0))
    second = color_name(other)
    texture = pattern(rng, kind, rgb, other)
    repeats = int(rng.integers(1, 5))
    return Paint(rgb, name, texture, repeats, _WORDS.get(kind, ""), second if second != name else "")


@dataclass(frozen=True, eq=False)
class Palette:
    """The paints of one shape: call it with a role ("wood", "leaf", … see `ROLES`)."""

    rng: Rng
    style: str
    scheme: tuple[Rgb, ...]

    def __call__(self, role: str, patterned: float = 0.12, kinds: Sequence[str] = PATTERNS) -> Paint:
        rng = self.rng
        if self.style != "natural" and coin(rng, 0.8):
            rgb = jitter(rng, pick(rng, self.scheme), 0.04)
            name = color_name(rgb)
        else:
            name = pick(rng, ROLES[role])
            rgb = jitter(rng, COLORS[name])
        if role == "wood":
            kinds = ("planks", "noise", "bands", "stripes")
        elif role in ("wall", "stone"):
            kinds = ("bricks", "noise", "planks", "grid", "bands")
        elif role in ("metal", "glass", "skin", "leaf", "earth", "bread"):
            kinds = ("noise", "bands", "grid", "fade")
        return paint(
            rng, rgb, jitter(rng, pick(rng, self.scheme)), patterned=patterned, kinds=kinds, name=name
        )

    def named(self, name: str, patterned: float = 0.0) -> Paint:
        """A paint of one colour, whatever the scheme: an orange is orange."""
        rgb = jitter(self.rng, COLORS[name])
        return paint(self.rng, rgb, patterned=patterned, kinds=("noise", "fade"), name=name)


def palette(rng: Rng, natural: float = 0.65) -> Palette:
    """A palette in a random style: natural colours of things, or a scheme that paints everything."""
    style = "natural" if coin(rng, natural) else "scheme"
    return Palette(rng, style, tuple(harmony(rng, int(rng.integers(2, 6)))))
