"""An artist's colours: found, kept in the card, and taken by what is generated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lora3d.adapter import attach
from lora3d.base import load_base
from lora3d.errors import InputError
from lora3d.generate import Generator
from lora3d.grid import PRESETS, coverage
from lora3d.palette import (
    COLOURS,
    FOREIGN,
    draw_toward,
    from_entries,
    join_palettes,
    shared_palette,
    to_entries,
    view_colours,
)
from tests.test_adapter import card_for

BOX = PRESETS["box6"].with_tile(16)
PAINT = np.array([[212, 167, 108], [42, 53, 53], [232, 123, 77]]) / 255


def grid_of(pixels: np.ndarray) -> np.ndarray:
    """A grid whose rgb cells show the pixels (6, 16, 8, 3) in their left half, and background in the right."""
    tiles = np.zeros((len(BOX.cells), 16, 16, 3), np.float32)
    tiles[list(BOX.indices("rgb"))] = BOX.background
    tiles[list(BOX.indices("rgb")), :, :8] = pixels
    tiles[list(BOX.indices("depth")), :, :8] = 0.6
    return tiles


def painted(rng: np.random.Generator, noise: float) -> np.ndarray:
    mixed = PAINT[rng.integers(0, len(PAINT), (6, 16, 8))] + rng.normal(0, noise, (6, 16, 8, 3))
    return grid_of(mixed.clip(0, 1))


def off(tiles: np.ndarray) -> float:
    """The mean distance of the object's pixels from PAINT."""
    pixels = tiles[list(BOX.indices("rgb"))][coverage(BOX, tiles)]
    return float(np.linalg.norm(pixels[:, None] - PAINT, axis=-1).min(axis=1).mean())


def test_flat_paint_is_found_with_its_shares():
    pixels = np.repeat(PAINT, [50, 30, 20], axis=0)
    colours, shares = shared_palette(pixels)
    assert np.allclose(colours, PAINT) and np.allclose(shares, [0.5, 0.3, 0.2])


def test_of_many_colours_a_few_are_kept_and_of_a_rainbow_they_are_little():
    rng = np.random.default_rng(0)
    colours, shares = shared_palette(rng.random((20_000, 3)))
    assert len(colours) <= COLOURS and shares.sum() < 0.3
    near = PAINT[rng.integers(0, 3, 5000)] + rng.normal(0, 0.01, (5000, 3))
    colours, shares = shared_palette(near)
    assert shares.sum() > 0.95 and np.linalg.norm(colours[:, None] - PAINT, axis=-1).min(axis=1).max() < 0.05
    assert [len(part) for part in shared_palette(np.zeros((0, 3)))] == [0, 0]


def test_colours_are_those_of_the_object_alone():
    tiles = painted(np.random.default_rng(0), 0)
    pixels = view_colours(BOX, [tiles] * 3, 3)
    assert len(pixels) == 3 * 6 * 16 * 8 and np.abs(pixels[:, None] - PAINT).max(-1).min(1).max() < 1e-6


def test_what_strays_comes_nearer_and_what_is_right_or_background_stays():
    rng = np.random.default_rng(0)
    palette = PAINT, np.array([0.5, 0.3, 0.2])
    astray = painted(rng, 0.06)
    drawn = draw_toward(BOX, astray, palette)
    assert off(drawn) < 0.6 * off(astray)
    background = ~coverage(BOX, astray)
    cells = list(BOX.indices("rgb"))
    assert np.array_equal(drawn[cells][background], astray[cells][background])
    others = [i for i in range(len(BOX.cells)) if i not in cells]
    assert np.array_equal(drawn[others], astray[others])
    right = painted(rng, 0)
    assert np.abs(draw_toward(BOX, right, palette) - right).max() < 0.01


def test_a_colour_that_the_artist_never_used_stays():
    green = grid_of(np.broadcast_to([0.1, 0.9, 0.1], (6, 16, 8, 3)))
    assert np.linalg.norm(PAINT - green[BOX.indices("rgb")[0], 0, 0], axis=1).min() > 1.5 * FOREIGN
    palette = PAINT, np.array([0.5, 0.3, 0.2])
    assert np.abs(draw_toward(BOX, green, palette) - green).max() < 1e-3


def test_it_is_drawn_as_far_as_the_work_is_its_palette_and_the_adapter_counts():
    astray = painted(np.random.default_rng(0), 0.06)
    shares = np.array([0.5, 0.3, 0.2])
    whole = draw_toward(BOX, astray, (PAINT, shares)) - astray
    half = draw_toward(BOX, astray, (PAINT, shares), 0.5) - astray
    assert np.allclose(half, whole / 2, atol=1e-6)
    assert np.array_equal(draw_toward(BOX, astray, (PAINT, shares), 0.0), astray)
    assert np.array_equal(draw_toward(BOX, astray, (np.zeros((0, 3)), np.zeros(0))), astray)
    photographs = draw_toward(BOX, astray, (PAINT, shares * 0.1)) - astray
    assert np.abs(photographs).max() < 0.15 * np.abs(whole).max()


def test_palettes_join_by_weight_and_survive_the_card():
    one, two = (PAINT[:1], np.array([1.0])), (PAINT[1:], np.array([0.6, 0.4]))
    colours, shares = join_palettes([(one, 1.0), (two, 3.0)])
    assert np.array_equal(colours, PAINT) and np.allclose(shares, [0.25, 0.45, 0.3])
    assert [len(x) for x in join_palettes([(one, 0.0)])] == [0, 0]
    again = from_entries(to_entries((colours, shares)))
    assert np.allclose(again[0], colours) and np.allclose(again[1], shares)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"rgb": [1, 2, 3]},
        {"rgb": [1, 2], "share": 1},
        {"rgb": "red", "share": 1},
        {"rgb": [0, 0, 256], "share": 1},
        {"rgb": [0, 0, 0], "share": float("nan")},
        {"rgb": [0, 0, 0], "share": 2},
        {"rgb": [0, 0, 0], "share": -1},
    ],
)
def test_a_strangers_card_without_colours_is_refused(entry):
    with pytest.raises(InputError, match="palette"):
        from_entries([entry])


def test_an_answer_takes_the_adapters_colours_and_without_it_none(toy_base):
    base = load_base(toy_base)
    attach(base, 2, 2.0, ("attention",), 0)
    red = replace(card_for(base), palette=[{"rgb": [255, 0, 0], "share": 1.0}])
    plain, painted_by, unused = (
        Generator(base, {"style": card}, {"style": weight}, {}, base.network.dtype, samples=1)
        for card, weight in ((card_for(base), 1.0), (red, 1.0), (red, 0.0))
    )
    before, after, none = (g.answers([None], [None], [0])[0].tiles for g in (plain, painted_by, unused))
    mask = coverage(base.grid, before)
    assert mask.any()
    cells = list(base.grid.indices("rgb"))
    wanted = draw_toward(base.grid, before, (np.array([[1.0, 0.0, 0.0]]), np.ones(1)))
    assert np.allclose(after, wanted, atol=1e-6) and not np.allclose(after[cells], before[cells], atol=1e-3)
    assert np.allclose(none, before, atol=1e-4)
