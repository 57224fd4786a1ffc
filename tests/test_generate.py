"""Generation on a toy base: determinism, known cells, batches, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lora3d import load
from lora3d.drawing import fit_reference
from lora3d.errors import InputError
from lora3d.generate import to_image
from lora3d.grid import unpack


@pytest.fixture(scope="module")
def generator(toy_base):
    return load(toy_base, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def drawing() -> np.ndarray:
    rgba = np.zeros((90, 120, 4), np.float32)
    rgba[20:70, 30:100] = (0.9, 0.4, 0.1, 1)
    rgba[30:50, 50:60] = (0.1, 0.2, 0.8, 1)
    return rgba


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(generator, drawing):
    first = generator.generate(drawing, "a red box", seed=3, steps=3)
    again = generator.generate(drawing, "a red box", seed=3, steps=3)
    other = generator.generate(drawing, "a red box", seed=4, steps=3)
    assert np.array_equal(first.tiles, again.tiles)
    assert not np.array_equal(first.tiles, other.tiles)


def test_the_drawing_is_kept_as_it_was_framed(generator, drawing):
    grid = generator.base.grid
    made = generator.generate(drawing, seed=0, steps=2)
    rgb, alpha = fit_reference(grid, drawing)
    assert np.array_equal(made.tiles[grid.indices("reference")[0]], rgb)
    assert np.array_equal(made.tiles[grid.indices("reference_alpha")[0]][..., 0], alpha)


def test_the_answer_depends_on_the_drawing_and_on_the_sentence(generator, drawing):
    plain = generator.generate(drawing, seed=0, steps=2).tiles
    assert not np.allclose(plain, generator.generate(np.flip(drawing, 1), seed=0, steps=2).tiles, atol=1e-4)
    assert not np.allclose(plain, generator.generate(drawing, "two chairs", seed=0, steps=2).tiles, atol=1e-4)


def test_neither_drawing_nor_sentence_is_an_answer_too(generator):
    assert np.isfinite(generator.generate(steps=2).tiles).all()


def test_a_grid_in_a_batch_equals_the_grid_alone(generator, drawing):
    reference = fit_reference(generator.base.grid, drawing)
    both = generator.generate_tiles([None, reference], ["a red box", None], [5, 6], steps=2)
    alone = generator.generate_tiles([reference], [None], [6], steps=2)
    assert np.abs(both[1] - alone[0]).max() < 1e-4


def test_guidance_of_one_is_off_and_more_changes_the_answer(generator, drawing):
    plain = generator.generate(drawing, seed=0, steps=2, guidance=1.0).tiles
    assert not np.allclose(plain, generator.generate(drawing, seed=0, steps=2, guidance=3.0).tiles, atol=1e-4)


def test_the_record_lists_what_is_needed_to_do_it_again(generator, drawing):
    record = generator.generate(drawing, "a box", seed=9, steps=2).record
    assert record["seed"] == 9 and record["steps"] == 2 and record["base_revision"] == generator.base.revision
    assert json.loads(json.dumps(record)) == record


def test_the_picture_is_the_packed_grid(generator, drawing):
    made = generator.generate(drawing, seed=0, steps=2)
    canvas = np.asarray(made.grid)
    assert made.grid.size == generator.base.grid.size and len(made.views) == 6
    tiles = unpack(generator.base.grid, canvas)
    assert np.abs(tiles / 255 - made.tiles).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(np.asarray(made.views[0]), np.asarray(to_image(made.tiles[1])))


def test_no_steps_are_refused(generator):
    with pytest.raises(InputError, match="at least 1"):
        generator.generate(steps=0)
