"""What a recipe can ask for: each option does what its equation says, and its file says so too."""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lora3d.adapter import attach, effect, scales, set_dropout, trained_modules
from lora3d.adapter_formats import read_layers
from lora3d.base import load_base
from lora3d.card import read_card
from lora3d.dataset import write_dataset
from lora3d.diffusion import loss_weight
from lora3d.errors import InputError
from lora3d.generate import load
from lora3d.recipe import to_fields
from lora3d.train import train
from tests.test_train import GRID, make_rows
from tests.toy_bases import TOY_RUN, save_toy


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("options") / "data"
    write_dataset(make_rows(), folder, GRID)
    return folder


@pytest.fixture(scope="module")
def config(toy_base):
    return replace(TOY_RUN, base=str(toy_base), batch=4, learning_rate=0.01)


def run(config, data, out, **more):
    return train(config, data, out, progress=False, report=lambda text: None, **more)


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "train.log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("change", [{"micro_batch": 3}, {"checkpointing": True}])
def test_what_saves_memory_changes_no_step(config, data, tmp_path, change):
    run(config, data, tmp_path / "plain")
    run(replace(config, **change), data, tmp_path / "saving")
    # Sums in another order: float32's rounding, which Adam makes larger step by step.
    assert losses(tmp_path / "saving") == pytest.approx(losses(tmp_path / "plain"), rel=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"rslora": True, "rank": 4},
        {"dora": True},
        {"targets": ("attention", "conv"), "ranks": {"conv": 1, "to_q": 3}},
        {"rslora": True, "rank": 4, "ranks": {"to_q": 1}},
        {"dropout": 0.3, "plus": 8.0, "weighting": "min_snr", "noise_offset": 0.1},
    ],
)
def test_every_kind_of_adapter_is_proved_from_its_file(config, data, tmp_path, change):
    """`train` refuses to keep a file that does not do what was trained."""
    asked = replace(config, steps=2, **change)
    result = run(asked, data, tmp_path / "run")
    assert read_card(result.adapter).recipe == to_fields(asked) | {"base": Path(asked.base).name}
    layers = read_layers(result.adapter)
    if "ranks" in change and "conv" in change["ranks"]:
        ranks = {name.rsplit(".", 1)[1]: x.rank for name, x in layers.items()}
        assert ranks["conv1"] == 1 and ranks["to_q"] == 3 and ranks["to_k"] == 2
        assert {x.scale for x in layers.values()} == {1.0}
    if "dora" in change:
        assert all(x.magnitude is not None for x in layers.values())
    if "rslora" in change:
        assert all(math.isclose(x.scale, 2 / math.sqrt(4)) for x in layers.values())


def test_a_blend_is_the_same_training_saved_nearer_to_the_base(config, data, tmp_path):
    whole, half = (run(replace(config, blend=x), data, tmp_path / str(x)) for x in (1.0, 0.5))
    assert losses(tmp_path / "1.0") == losses(tmp_path / "0.5")
    assert whole.held_out != half.held_out
    a, b = (load_file(result.adapter) for result in (whole, half))
    for name, weight in a.items():
        assert torch.equal(b[name], weight * 0.5 if "lora_B" in name or "lora.up" in name else weight), name
    with pytest.raises(InputError, match="blend must be above 0, and 1 with dora"):
        replace(config, blend=0.5, dora=True)


def test_no_path_of_this_machine_is_in_the_file(config, data, tmp_path):
    adapter = run(replace(config, steps=1), data, tmp_path / "run").adapter
    assert str(Path(config.base).parent).encode() not in adapter.read_bytes()


@pytest.mark.extra
def test_moments_of_eight_bits_resume_to_the_same_bytes(config, data, tmp_path):
    pytest.importorskip("bitsandbytes", reason="the extra `8bit` is not installed")
    asked = replace(config, optimiser="adamw8bit", rank=128, alpha=128.0, steps=4, checkpoint_every=2)
    wanted = run(asked, data, tmp_path / "run").adapter
    whole = wanted.read_bytes()
    last = tmp_path / "run" / "checkpoints" / "step-00000004" / "state.safetensors"
    held = load_file(last)
    wide = [k for k, v in held.items() if k.endswith(".value") and v.numel() >= 4096]
    assert wide and all(held[k.replace("value", "optimiser.state1")].dtype == torch.uint8 for k in wide)
    wanted.unlink()
    last.write_bytes(b"cut")
    assert run(asked, data, tmp_path / "run", resume=True).adapter.read_bytes() == whole


def test_an_optimiser_that_is_not_installed_is_named(config, data, tmp_path, monkeypatch):
    monkeypatch.setattr("lora3d.state.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lora3d\[8bit\]'"):
        run(replace(config, optimiser="adamw8bit"), data, tmp_path / "run")


def test_dropout_is_off_but_in_a_step(toy_base):
    base = load_base(toy_base)
    for p in attach(base, 2, 2.0, ("attention",), 0, dropout=0.5):
        torch.nn.init.normal_(p, std=0.3)
    assert torch.equal(effect(base), effect(base))
    set_dropout(base, True)
    assert not torch.equal(effect(base), effect(base))
    assert scales(base)["unet.lora_alpha"] == 2.0 and trained_modules(base)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_is_the_published_weight(prediction):
    """Hang et al. 2023: min(SNR, γ)/SNR for ε and min(SNR, γ)/(SNR + 1) for v; debiased is 1/√SNR for ε."""
    sigma = torch.tensor([0.1, 0.5, 0.95])
    alpha = (1 - sigma**2).sqrt()
    snr = (alpha / sigma) ** 2
    below = snr if prediction == "epsilon" else snr + 1
    assert torch.allclose(loss_weight("min_snr", prediction, alpha, sigma, 5.0), snr.clamp(max=5) / below)
    assert torch.allclose(loss_weight("none", prediction, alpha, sigma, 5.0), torch.ones(3))
    if prediction == "epsilon":
        assert torch.allclose(loss_weight("debiased", prediction, alpha, sigma, 5.0), snr**-0.5)


def test_an_adapter_on_top_of_another_leaves_that_one_as_it_is(config, data, tmp_path):
    grid = run(config, data, tmp_path / "grid").adapter
    before = grid.read_bytes()
    asked = replace(config, grid_adapter=str(grid), seed=1, steps=2)
    style = run(asked, data, tmp_path / "style").adapter
    assert grid.read_bytes() == before
    card = read_card(style)
    assert [parent["file"] for parent in card.parents] == ["adapter.safetensors"]
    both = load(config.base, {grid: 1.0, style: 1.0}, precision="fp32")
    alone = load(config.base, {grid: 1.0}, precision="fp32")
    made = [g.answers([None], ["a box"], [0], steps=2)[0].tiles for g in (both, alone)]
    assert abs(made[0] - made[1]).max() > 1e-4


@pytest.mark.extra
def test_wandb_needs_no_account_and_is_given_losses_and_samples(config, data, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    asked = replace(config, steps=2, sample_every=2, tracker="wandb")
    run(asked, data, tmp_path / "run")
    noted = list((tmp_path / "run").glob("wandb/offline-run-*/run-*.wandb"))
    assert noted and noted[0].stat().st_size > 1000
    pictures = list((tmp_path / "run").glob("wandb/offline-run-*/files/media/images/*.png"))
    assert len(pictures) == 1


@pytest.mark.extra
def test_tensorboard_is_given_the_logs_losses_and_the_samples_pixels(config, data, tmp_path):
    """Both are read back from the event file."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    run(replace(config, steps=2, sample_every=2, tracker="tensorboard"), data, out)
    noted = EventAccumulator(str(out / "lora3d")).Reload()
    assert [x.step for x in noted.Scalars("loss")] == [1, 2]
    assert [x.value for x in noted.Scalars("loss")] == pytest.approx(losses(out), rel=1e-6)  # float32 there
    (picture,) = noted.Images("samples")
    with Image.open(out / "samples" / "step-000002.png") as made:
        assert picture.step == 2
        assert np.array_equal(Image.open(io.BytesIO(picture.encoded_image_string)), made.convert("RGB"))


def test_a_tracker_that_is_not_installed_is_named(config, data, tmp_path, monkeypatch):
    monkeypatch.setattr("lora3d.progress.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lora3d\[tensorboard\]'"):
        run(replace(config, tracker="tensorboard"), data, tmp_path / "run")


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(config, data, tmp_path, monkeypatch):
    """Same global batch, gloo on the CPU: the latents, the loss curve and the adapter of one process.

    Each encodes its share of the latents and waits for the other however long it takes.
    """
    asked = replace(config, steps=50, batch=3, validation_share=0.3, validate_every=25)
    monkeypatch.setenv("LORA3D_CACHE", str(tmp_path / "cache-one"))
    monkeypatch.setattr(
        "lora3d.cache.BATCH", 2
    )  # as tests.two_processes has it, so that there is something to share
    run(asked, data, tmp_path / "one")
    recipe = tmp_path / "recipe.toml"
    words = {k: v for k, v in to_fields(asked).items() if k != "ranks"}
    recipe.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in words.items()))
    # On a CPU accelerate's own launcher starts one process, however many are asked for.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launch += ["-m", "tests.two_processes"]
    (tmp_path / "shares").mkdir()
    command = [*launch, "train", str(recipe), "--data", str(data), "--out", str(tmp_path / "two"), "--json"]
    root = Path(__file__).parents[1]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "SHARES": str(tmp_path / "shares")}
    env |= {"LORA3D_CACHE": str(tmp_path / "cache-two")}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    caches = [
        {file.name: load_file(file) for file in (tmp_path / f"cache-{name}").rglob("*.*")}
        for name in ("one", "two")
    ]
    assert caches[0].keys() == caches[1].keys() and len(caches[0]) == 4  # both splits' latents and sentences
    for name, tensors in caches[0].items():
        assert all(torch.equal(caches[1][name][k], x) for k, x in tensors.items()), name
    encoded = [
        [json.loads(line) for line in (tmp_path / "shares" / rank).read_text().splitlines()] for rank in "01"
    ]
    # Batches in turns, of 7 rows and of the 3 held out.
    assert [[n for n, _ in some] for some in encoded] == [[2, 2, 2], [2, 1, 1]]
    assert all(seconds >= 24 * 3600 for some in encoded for _, seconds in some)
    logs = [
        [json.loads(line) for line in (tmp_path / name / "train.log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for one, two in zip(*logs, strict=True):
        for key in ("loss", "gradient", "validation"):
            assert one.get(key) == pytest.approx(two.get(key), abs=1e-5), key
    one, two = (read_layers(tmp_path / name / "adapter.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(one[k].delta(), two[k].delta(), atol=1e-5) for k in one)


def test_compiling_wants_a_compiler_and_says_so(config, data, tmp_path, monkeypatch):
    """What a compiled step gains is measured in tests/benchmarks/train_peer.py."""
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match=r"C\+\+ compiler, there is no 'no-such-compiler' here"):
        run(replace(config, compile=True), data, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(os.environ.get("CXX", "g++")), reason="no C++ compiler to compile with")
def test_compiled_steps_are_the_same_steps(data, tmp_path):
    # What compiles soonest: of the toys this one, with little to go back through.
    base = save_toy("sd3_without_t5", tmp_path / "base")
    asked = replace(
        TOY_RUN, base=str(base), steps=2, learning_rate=0.02, targets=("transformer_blocks.1.ff.net.2",)
    )
    run(asked, data, tmp_path / "plain")
    run(replace(asked, compile=True), data, tmp_path / "compiled")
    logs = [(tmp_path / name / "train.log.jsonl").read_text().splitlines() for name in ("plain", "compiled")]
    for plain, compiled in zip(*([json.loads(line) for line in log] for log in logs), strict=True):
        for key in ("loss", "gradient"):
            assert compiled[key] == pytest.approx(plain[key], rel=1e-4), key
