"""Every family, at toy size with the real classes: trained, saved, and loaded into its own diffusers pipeline."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline

from lora3d.adapter import load_adapter, use_adapters
from lora3d.base import load_base
from lora3d.base.plain import base_name, join_tiles, read_schedule, split_tiles
from lora3d.card import read_card
from lora3d.diffusion import error_gain, mix, target
from lora3d.errors import InputError
from lora3d.generate import load
from lora3d.grid import PRESETS, GridError
from lora3d.sampling import Given, Reference, sample
from lora3d.train import train
from tests.test_train import GRID, make_rows
from tests.toy_bases import FAMILIES, TOY_RUN, save_toy

PROMPT = "a red box"
NO_T5 = {"text_encoder_3": None, "tokenizer_3": None}


# Every family, and every kind of layer and of adapter: (family, what the recipe says besides).
TRAINED = {family: (family, {}) for family in FAMILIES}
TRAINED |= {"sd15_conv": ("sd15", {"targets": ("attention", "conv")}), "sd15_dora": ("sd15", {"dora": True})}


@pytest.fixture(scope="module", params=TRAINED)
def trained(request, boxes, tmp_path_factory):
    """The base's folder, and an adapter of two steps."""
    family, change = TRAINED[request.param]
    folder = save_toy(family, tmp_path_factory.mktemp("base") / family)
    config = replace(TOY_RUN, base=str(folder), steps=2, batch=2, learning_rate=0.02, **change)
    out = tmp_path_factory.mktemp("run") / "run"
    return folder, train(config, boxes, out, progress=False, report=lambda text: None).adapter


def ours(base, noise, steps=2, guidance=3.0):
    nothing = torch.zeros(noise.shape[:2], dtype=torch.bool)
    given = Given(torch.zeros_like(noise), nothing, torch.full((len(noise), 2), torch.nan))
    with torch.no_grad():
        made = sample(base, noise, given, base.embed([PROMPT]), steps, guidance, torch.float32)
    return join_tiles(made, base.grid.columns)


def theirs(pipeline, noise, columns, steps=2, guidance=3.0):
    canvas = join_tiles(noise, columns)
    height, width = (8 * s for s in canvas.shape[2:])
    return pipeline(
        PROMPT,
        height=height,
        width=width,
        num_inference_steps=steps,
        guidance_scale=guidance,
        latents=canvas,
        output_type="latent",
    ).images


def test_the_familys_own_pipeline_answers_as_ours_with_the_adapter_without_it_and_at_weight_zero(trained):
    folder, adapter = trained
    base = load_base(folder, grid=GRID)
    noise = torch.randn(1, *base.latent_shape, generator=torch.Generator().manual_seed(0))
    absent = {} if (folder / "text_encoder_3").is_dir() or base.component == "unet" else NO_T5
    pipeline = DiffusionPipeline.from_pretrained(folder, **absent)
    pipeline.set_progress_bar_config(disable=True)
    if base.component == "unet":
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    plain = theirs(pipeline, noise, GRID.columns)
    assert torch.allclose(ours(base, noise), plain, atol=1e-5)
    pipeline.load_lora_weights(adapter)
    load_adapter(base, adapter, "trained")
    use_adapters(base, {"trained": 1.0})
    adapted = theirs(pipeline, noise, GRID.columns)
    assert (adapted - plain).abs().max() > 1e-3
    assert torch.allclose(ours(base, noise), adapted, atol=1e-5)
    if read_card(adapter).recipe["dora"]:
        pipeline.disable_lora()  # its magnitudes count at any weight: it has no other zero
    else:
        pipeline.set_adapters(pipeline.get_active_adapters(), 0.0)
    assert torch.allclose(theirs(pipeline, noise, GRID.columns), plain, atol=1e-5)
    use_adapters(base, {"trained": 0.0})
    assert torch.allclose(ours(base, noise), plain, atol=1e-5)


def test_a_generator_takes_the_grid_from_the_adapter_and_holds_the_drawing(trained):
    folder, adapter = trained
    generator = load(folder, {adapter: 1.0}, precision="fp32")
    assert generator.base.grid == GRID
    with pytest.raises(InputError, match="without a grid of its own"):
        load(folder)
    row = make_rows()[0]
    drawing = Reference(row.tiles[0], row.tiles[7][..., 0])
    with_it, without = generator.answers([drawing, None], ["a box", "a box"], [0, 0], steps=1)
    assert with_it.tiles.shape == (14, 64, 64, 3) and (with_it.tiles[0] == drawing.rgb).all()
    assert not (with_it.tiles[1:7] == without.tiles[1:7]).all()
    assert with_it.prior is None  # a plain base guesses no solid


def test_vae_levels_and_moments_come_from_the_bases_files(trained):
    folder, _ = trained
    base = load_base(folder, grid=GRID)
    config = json.loads((folder / "vae" / "config.json").read_text())
    tiles = torch.rand(1, 14, 64, 64, 3, generator=torch.Generator().manual_seed(0))
    raw = base.vae.encode(tiles[0, 3:4].movedim(-1, 1) * 2 - 1).latent_dist.mode()
    expected = (raw - (config.get("shift_factor") or 0)) * config["scaling_factor"]
    assert torch.allclose(base.encode(tiles)[0, 3], expected[0], atol=1e-5)
    t = torch.tensor([0.001, 0.5, 0.999])
    alpha, sigma = base.levels(t)
    if base.prediction == "flow_prediction":
        assert torch.allclose(alpha + sigma, torch.ones(3)) and torch.equal(sigma, t)
    else:
        schedule = DDIMScheduler.from_pretrained(folder / "scheduler")
        clean, noise = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
        steps = (t * 1000).round().long()
        assert torch.allclose(
            mix(clean, noise, alpha, sigma), schedule.add_noise(clean, noise, steps), atol=1e-6
        )
        assert torch.allclose(
            target("v_prediction", clean, noise, alpha, sigma),
            schedule.get_velocity(clean, noise, steps),
            atol=1e-6,
        )


def test_joining_tiles_is_undone_by_splitting_and_lies_as_pixels_do():
    tiles = torch.arange(6).reshape(1, 6, 1, 1, 1).expand(1, 6, 2, 3, 3).float()
    canvas = join_tiles(tiles, 3)
    assert canvas.shape == (1, 2, 6, 9) and torch.equal(split_tiles(canvas, 2, 3), tiles)
    assert canvas[0, 0, ::3, ::3].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("prediction", ["sample", "epsilon", "v_prediction", "flow_prediction"])
def test_an_error_of_the_answer_is_the_gain_times_that_of_the_clean_latents(prediction):
    """The clean latents that follow from an answer are linear in it, so any two answers tell the gain."""
    g = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 2, 50, generator=g, dtype=torch.float64)
    t = torch.tensor([0.3, 0.8], dtype=torch.float64)
    alpha, sigma = (1 - t, t) if prediction == "flow_prediction" else ((1 - t**2).sqrt(), t)
    x = mix(clean, noise, alpha, sigma)
    a, s = alpha[:, None], sigma[:, None]
    to_clean = {
        "sample": lambda y: y,
        "epsilon": lambda y: (x - s * y) / a,
        "v_prediction": lambda y: a * x - s * y,
        "flow_prediction": lambda y: x - s * y,
    }[prediction]
    wanted = target(prediction, clean, noise, alpha, sigma)
    assert torch.allclose(to_clean(wanted), clean)
    wrong = wanted + torch.randn(2, 50, generator=g, dtype=torch.float64)
    of_answer = (wrong - wanted).square().sum(1)
    of_clean = (to_clean(wrong) - clean).square().sum(1)
    assert torch.allclose(of_answer, error_gain(prediction, alpha, sigma) * of_clean)


def test_a_tile_that_the_base_cannot_hold_is_refused_with_the_sizes_that_fit(tmp_path):
    folder = save_toy("sd15", tmp_path / "sd15")
    with pytest.raises(
        GridError, match="multiple of 16 px.*tiles of 72: make the dataset with --tile 64 or 80"
    ):
        load_base(folder, grid=GRID.with_tile(72))
    folder = save_toy("sd3_without_t5", tmp_path / "sd3")
    with pytest.raises(GridError, match="canvas of 512 px a side.*896×256: tiles of 64 px fit"):
        load_base(folder, grid=GRID.with_tile(128))


def test_a_folder_that_is_no_base_of_a_known_family_is_refused(tmp_path):
    folder = save_toy("sd15", tmp_path / "sd15")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "FluxPipeline"}))
    with pytest.raises(InputError, match="'FluxPipeline'; expected StableDiffusionPipeline"):
        load_base(folder, grid=GRID)
    (folder / "model_index.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        load_base(folder, grid=GRID)
    with pytest.raises(InputError, match="expected 'mini', a folder"):
        load_base(tmp_path / "absent", grid=GRID)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("hub/models--someone--sd-15.v2/snapshots/451f4fe16113bff5", "someone/sd-15.v2"),
        ("hub/models--gpt2/snapshots/451f4fe16113bff5", "gpt2"),
        ("bases/sd15", "sd15"),
        ("snapshots/sd15", "sd15"),
    ],
)
def test_a_model_of_the_hub_is_called_by_its_name_not_by_its_commit(folder, name):
    assert base_name(Path(folder)) == name


def test_weights_that_are_no_safetensors_are_refused(tmp_path):
    folder = save_toy("sd15", tmp_path / "sd15")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(InputError, match="expected diffusers layout with safetensors"):
        load_base(folder, grid=GRID)


def test_a_schedule_of_another_length_or_prediction_is_refused():
    config = dict(DDIMScheduler().config)
    assert read_schedule(config, "x")[1] == "epsilon" and not read_schedule(config, "x")[0].config.clip_sample
    with pytest.raises(InputError, match="500 training timesteps"):
        read_schedule({**config, "num_train_timesteps": 500}, "x")
    with pytest.raises(InputError, match="predicts 'sample'"):
        read_schedule({**config, "prediction_type": "sample"}, "x")


def test_the_datasets_grid_may_be_any_that_the_base_can_hold(tmp_path):
    grid = PRESETS["zero123plus"].with_tile(32)
    base = load_base(save_toy("sd15", tmp_path / "sd15"), grid=grid)
    assert base.slots == 6 and base.slot_channels == ("rgb",) * 6 and base.latent_shape == (6, 4, 4, 4)
