"""Generation on a toy base: determinism, known cells, batches, refusals."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from lora3d import load
from lora3d.adapter import AdapterCard, adapter_tensors, attach, save_adapter, scales, trained_modules
from lora3d.base import load_base
from lora3d.drawing import fit_reference
from lora3d.errors import InputError
from lora3d.export import require_spared
from lora3d.formats import FORMATS
from lora3d.generate import to_image, written
from lora3d.grid import PRESETS, combine_samples, settle_depth, unpack
from lora3d.sampling import encode_references


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


def test_the_answer_depends_on_where_the_drawing_was_seen_from(generator, drawing):
    first, other = (generator.generate(drawing, seed=0, steps=2, seen_deg=v) for v in ((0, 0), (30, 20)))
    assert not np.allclose(first.tiles, other.tiles, atol=1e-4)
    assert (
        other.record["seen_deg"] == [30, 20]
        and generator.generate(drawing, steps=1).record["seen_deg"] is None
    )
    around = [generator.reference(drawing, (az, 20)).seen_deg for az in (30, 390, -330, 120, 210)]
    assert all(
        seen == pytest.approx((30, 20)) for seen in around
    )  # the side nearest to the viewer is the front
    with pytest.raises(InputError, match="elevation"):
        generator.generate(drawing, seen_deg=(0, 120))
    with pytest.raises(InputError, match="without a drawing"):
        generator.generate(prompt="a box", seen_deg=(0, 0))


def test_neither_drawing_nor_sentence_is_an_answer_too(generator):
    assert np.isfinite(generator.generate(steps=2).tiles).all()


def test_a_grid_in_a_batch_equals_the_grid_alone(generator, drawing):
    reference = generator.reference(drawing)
    none, both = generator.answers([None, reference], ["a red box", None], [5, 6], steps=2)
    (alone,) = generator.answers([reference], [None], [6], steps=2)
    assert np.abs(both.tiles - alone.tiles).max() < 1e-4 and np.array_equal(both.prior, alone.prior)
    assert none.prior is None


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


def test_a_retrained_adapter_makes_another_record_and_its_trigger_is_a_word(toy_base, tmp_path):
    base = load_base(toy_base)
    parameters = attach(base, 2, 2.0, ("attention",), 0)
    card = AdapterCard(
        base=base.name,
        base_revision=base.revision,
        grid=base.grid.to_dict(),
        trigger="ken",
        rank=2,
        alpha=2.0,
        targets=["attention"],
        dataset="d" * 64,
        assets=3,
        drawings=3,
        licenses=["CC0-1.0"],
        artists=["Ken"],
        sources=[],
        recipe={},
        metrics={},
    )
    file, records = tmp_path / "adapter.safetensors", []
    for value in (1.0, 2.0):
        with torch.no_grad():
            for p in parameters:
                p.fill_(value)
        save_adapter(file, adapter_tensors(base), card, trained_modules(base), scales(base))
        adapted = load(toy_base, {file: 1.0}, precision="fp32")
        records.append(adapted.record(None, "a box", seed=0))
        assert records[-1]["adapters"][0]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert records[0] != records[1]
    assert adapted.sentence("a chicken") == "ken a chicken"
    assert adapted.sentence("a box by ken, red") == "a box by ken, red"


def test_a_drawing_that_the_grid_has_no_cell_for_is_refused(generator, drawing):
    other = replace(generator, base=replace(generator.base, grid=PRESETS["zero123plus"]))
    with pytest.raises(InputError, match="zero123plus.*no cell for a drawing.*box6, ortho4"):
        other.reference(drawing)


def test_the_drawing_is_never_overwritten(generator, drawing, tmp_path):
    path = tmp_path / "mug.png"
    to_image(drawing).save(path)
    before = path.read_bytes()
    made = generator.generate(path, seed=0, steps=1)
    with pytest.raises(InputError, match=r"mug\.png was given and would be overwritten"):
        made.save(tmp_path, "mug")
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("format", FORMATS)
def test_no_file_of_a_model_has_the_name_of_another(tmp_path, format):
    paths = written(tmp_path, "mug", format)
    require_spared(paths, [])
    with pytest.raises(InputError, match=r"mug\.png would be written twice"):
        require_spared([*paths, tmp_path / "a" / ".." / "mug.png"], [])


@pytest.mark.parametrize("steps", [0, 1001])
def test_steps_that_the_sampler_does_not_have_are_refused(generator, steps):
    with pytest.raises(InputError, match="steps must be from 1 to 1000"):
        generator.generate(steps=steps)


def test_several_samples_are_one_answer_of_their_own_seeds(generator):
    """The first is what one sample is; colours are means; each depth is one of those drawn; a batch changes nothing."""
    assert generator.samples == generator.base.samples
    generator, three = (replace(generator, samples=n) for n in (1, 3))
    grid = generator.base.grid
    ask = {"references": [None], "prompts": ["a red box"], "steps": 2}
    made = three.answers(**ask, seeds=[5])[0].tiles
    two = replace(generator, samples=2).answers(**ask, seeds=[5])[0].tiles
    one = generator.answers(**ask, seeds=[5])[0].tiles
    rgb = list(grid.indices("rgb"))
    # What the second and the third must have been.
    second = 2 * two[rgb] - one[rgb]
    third = 3 * made[rgb] - one[rgb] - second
    assert np.abs(second - one[rgb]).max() > 0.01 and np.abs(third - second).max() > 0.01
    assert all(x.min() > -1e-5 and x.max() < 1 + 1e-5 for x in (second, third))
    both = three.answers([None, None], ["a blue box", "a red box"], [9, 5], steps=2)[1].tiles
    assert np.allclose(both, made, atol=1e-4)
    assert three.record(None, "a red box", seed=5)["samples"] == 3
    assert "samples" not in generator.record(None, "a red box", seed=5)


def test_what_is_guessed_of_a_drawing_joins_the_colours_alone(generator, drawing):
    """The guess is 0.6 of each sample in the mean, whatever their number; depths are those drawn."""
    base, grid = generator.base, generator.base.grid
    reference = generator.reference(drawing)
    given = encode_references(base, [reference])
    guess = base.guess(given.clean[:, 0], given.seen)[0][0].numpy()
    one, two = (
        replace(generator, samples=n).answers([reference], [None], [5], steps=2)[0].tiles for n in (1, 2)
    )
    rgb, depth = (list(grid.indices(channel)) for channel in ("rgb", "depth"))
    first = 1.6 * one[rgb] - 0.6 * guess[rgb]
    second = 2 * (1.6 * two[rgb] - 0.6 * guess[rgb]) - first
    assert all(x.min() > -1e-4 and x.max() < 1 + 1e-4 for x in (first, second))
    assert np.abs(second - first).max() > 0.01
    # Settled depth is background or no farther than the grid goes; of two the median is the higher.
    assert (two[depth] >= one[depth] - 1e-4).all()
    assert np.abs(settle_depth(grid, guess)[depth] - one[depth]).max() > 0.1


def test_colours_are_means_and_depths_are_medians():
    grid = PRESETS["box6"].with_tile(8)
    drawn = np.random.default_rng(0).random((5, len(grid.cells), 8, 8, 3)).astype(np.float32)
    depth, rgb = (list(grid.indices(channel)) for channel in ("depth", "rgb"))
    made = combine_samples(grid, drawn)
    assert np.allclose(made[rgb], drawn[:, rgb].mean(0), atol=1e-6)
    assert np.array_equal(made[depth], np.median(drawn[:, depth], axis=0))
    # Half surface, half background: surface, as it was drawn, and nothing between.
    half = np.where(np.arange(4)[:, None, None, None, None] < 2, 0, drawn[:4])
    assert np.isin(combine_samples(grid, half)[depth], half[:, depth]).all()
    assert np.array_equal(combine_samples(grid, drawn[:1]), drawn[0])
    joined = combine_samples(grid, drawn[:4], drawn[4], 0.5)
    assert np.allclose(joined[rgb], (drawn[:4, rgb].mean(0) + 0.5 * drawn[4, rgb]) / 1.5, atol=1e-6)
    assert np.array_equal(joined[depth], combine_samples(grid, drawn[:4])[depth])


def test_an_answer_of_no_sample_is_refused(toy_base):
    with pytest.raises(InputError, match="at least one sample, found 0"):
        load(toy_base, samples=0)
