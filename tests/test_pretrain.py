"""The base's training stream and loop, at toy size."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from lora3d.base import MINI, load_base
from lora3d.base.codec import (
    decode_network,
    new_codec,
    principal_components,
    psnr,
    set_encoder,
    train_decoder,
)
from lora3d.base.networks import load_networks
from lora3d.base.pretrain import make_batch, pretrain, rate_at
from lora3d.base.sweep import new_sweep
from lora3d.base.train_space import SPACE_BATCH
from lora3d.data_prep.procedural import make_shape
from lora3d.data_prep.shapes import turn_views
from lora3d.data_prep.stream import make_example
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.mesh import turn
from lora3d.recipe import MiniSize, PretrainConfig
from lora3d.render import render_tiles

GRID = PRESETS["box6"]
TOY = PretrainConfig(
    size=MiniSize(channels=(32, 32), heads=(1, 1), text_width=32, text_layers=1, tokens=16, vocabulary=600),
    steps=6,
    batch=4,
    pool=16,
    drawings=2,
    warmup=2,
    codec_shapes=12,
    codec_steps=1,
    space_steps=2,
)


def test_example_n_is_the_same_bytes_everywhere():
    first, again, other = make_example(5, GRID), make_example(5, GRID), make_example(6, GRID)
    assert np.array_equal(first.views, again.views) and np.array_equal(first.drawings, again.drawings)
    assert first.caption == again.caption and not np.array_equal(first.views, other.views)
    assert first.views.shape == (6, 64, 64, 4) and first.drawings.shape == (4, 64, 64, 4)


@pytest.mark.parametrize("side", range(4))
@pytest.mark.parametrize("seed", [0, 7])
def test_turning_views_equals_turning_the_object(seed, side):
    mesh = make_shape(seed, "assembly").mesh

    def views(m):
        rows = render_tiles(m, GRID).reshape(2, 7, 64, 64, 3)
        return np.concatenate([rows[0, 1:], rows[1, 1:, ..., :1]], axis=-1)

    off = np.abs(turn_views(views(mesh), side) - views(turn(mesh, 90.0 * side)))
    # A pixel on an edge may fall to either side.
    assert (off.max(axis=(1, 2, 3)) < 1e-3).sum() >= 4 and off.mean() < 1e-3


def test_other_grids_are_refused():
    with pytest.raises(InputError, match="box6"):
        make_example(0, PRESETS["zero123plus"])


def test_views_are_turned_to_the_front_that_an_unsaid_drawing_is_laid_by():
    networks = load_networks(MINI, GRID)
    sweep = new_sweep(networks.space, networks.vae, networks.moments, GRID)
    config = replace(TOY, stated_share=0.0, reference_share=1.0, extra_share=0.0, game_share=1.0)
    examples = [make_example(seed, GRID, drawings=1, game_share=1.0) for seed in range(12)]
    choices, rng = np.zeros(12, int), np.random.default_rng(0)
    batch = make_batch(examples, choices, networks.tokenizer, sweep, config, rng)
    guessed = sweep.viewpoint(batch["latents"][:, 0])[:, 0].tolist()
    taken = []
    for example, azimuth, latents in zip(examples, guessed, batch["latents"], strict=True):
        turned = [turn_views(example.views, int(example.sides[0]) - quarters) for quarters in range(-1, 3)]
        pixels = torch.from_numpy(np.stack(turned)).movedim(-1, 2).flatten(0, 1).float() / 255
        off = (sweep.linear(pixels).unflatten(0, (4, -1)) - latents[1:]).abs().amax((1, 2, 3, 4))
        # Of a thing that looks alike from two sides both are right.
        fits = [90 * (i - 1) for i in range(4) if off[i] < 1e-4]
        apart = [(azimuth - float(example.viewpoints[0, 0]) - turn + 180) % 360 - 180 for turn in fits]
        assert min(abs(a) for a in apart) <= 45.01
        taken.append(0 in fits)
    assert any(taken) and not all(taken)


def test_the_rate_is_a_trapezoid():
    config = replace(TOY, steps=100, warmup=10, decay_share=0.3)
    rates = [rate_at(i, config) for i in range(100)]
    assert rates[0] == pytest.approx(0.1) and set(rates[9:71]) == {1.0} and rates[99] == pytest.approx(1 / 30)


@pytest.mark.slow
def test_the_decoder_learns():
    torch.manual_seed(0)
    coarse = torch.rand(48, 4, 8, 8)
    pictures = (torch.nn.functional.interpolate(coarse, size=64, mode="bilinear") * 255).to(torch.uint8)
    codec = new_codec()
    set_encoder(codec, *principal_components(pictures.float() / 255))
    before = psnr(decode_network(codec), codec, pictures[:16])
    train_decoder(codec, pictures, steps=40, batch=8, report_every=20)
    after = psnr(decode_network(codec), codec, pictures[:16])
    assert after[0] > before[0] + 3 and after[1] > before[1] + 3


@pytest.mark.slow
@pytest.mark.parametrize("tile", [64, 128])
def test_the_base_trains_stops_and_resumes(tmp_path, tile):
    out = tmp_path / "run"
    config = replace(TOY, tile=tile, steps=3)
    pretrain(config, out, precision="fp32", device_name="cpu", log_every=1, save_every=3)
    folder = pretrain(
        replace(config, steps=6),
        out,
        resume=True,
        precision="fp32",
        device_name="cpu",
        log_every=1,
        save_every=3,
    )
    records = [json.loads(line) for line in (out / "train.log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [1, 2, 3, 4, 5, 6] and records[-1]["seen"] == 24
    assert all(np.isfinite(r["loss"]) for r in records) and "held_out" in records[-1]
    base = load_base(folder)
    assert base.grid.tile == tile and base.revision != load_base(out / "init").revision
    if tile == 64:
        pretrain(config, tmp_path / "on", init=folder, precision="fp32", device_name="cpu", log_every=1)
        on = [json.loads(line) for line in (tmp_path / "on" / "train.log.jsonl").read_text().splitlines()]
        first, then = (
            json.loads((f / "training.json").read_text()) for f in (folder, tmp_path / "on" / "base")
        )
        assert on[0]["seen"] == records[-1]["seen"] + TOY.batch and then["seen"] == on[-1]["seen"]
        assert then["distinct"] > on[0]["distinct"] > records[-1]["distinct"] == first["distinct"]
        # The space network learns on too, on shapes of its own that it has not seen.
        assert then["space_seen"] == 2 * first["space_seen"] == 2 * TOY.space_steps * SPACE_BATCH
        assert then["space_distinct"] == 2 * first["space_distinct"] > 0
        pretrain(replace(config, steps=1, space_steps=0), tmp_path / "on", init=folder, device_name="cpu")
        left = json.loads((tmp_path / "on" / "base" / "training.json").read_text())
        assert left["space_seen"] == first["space_seen"]
