"""What a recipe is said to need is what a step keeps."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from lora3d.adapter import attach
from lora3d.base import load_base
from lora3d.batches import make_batch
from lora3d.cli import main
from lora3d.dataset import write_dataset
from lora3d.errors import InputError
from lora3d.estimate import estimate, free_memory, inspect_recipe, require_memory
from lora3d.grid import PRESETS, write_grid
from lora3d.recipe import TrainConfig
from lora3d.train import set_up, take_step
from tests.test_train import make_rows
from tests.toy_bases import TOY_RUN, save_toy

GRID = PRESETS["box6"]


@pytest.fixture(scope="module", params=["sd15", "sdxl", "sd3"])
def folder(request, tmp_path_factory):
    return save_toy(request.param, tmp_path_factory.mktemp("toy") / request.param)


def kept_by(work: Callable[[], torch.Tensor], frozen: set[int]) -> tuple[torch.Tensor, float]:
    """What some work answers, and the MiB that autograd keeps of it beside parameters."""
    kept: dict[int, int] = {}

    def keep(value):
        if not isinstance(value, torch.nn.Parameter):
            kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        answer = work()
    return answer, sum(n for where, n in kept.items() if where not in frozen) / 2**20


def test_memory_follows_what_a_real_step_keeps_and_saving_saves(folder):
    config = TrainConfig(base=str(folder), targets=("attention",), rank=2, batch=2)
    found = estimate(config, GRID, torch.float32, True)
    base = load_base(folder, grid=GRID)
    parameters = attach(base, 2, 16.0, ("attention",), 0)
    assert found.trained == sum(p.numel() for p in parameters)
    assert found.parameters == sum(p.numel() for p in base.network.parameters()) - found.trained
    latents = torch.randn(2, *base.latent_shape)
    text = base.embed(["", "a red box"])
    frozen = {p.untyped_storage().data_ptr() for p in base.network.parameters()}
    t, known = torch.full((2,), 0.5), torch.zeros(2, 14, dtype=torch.bool)
    real = kept_by(lambda: base.denoise(latents, t, text, known).square().mean(), frozen)[1]
    assert found.activations == pytest.approx(real, rel=0.25)
    twice = estimate(replace(config, batch=4), GRID, torch.float32, True)
    assert twice.activations == pytest.approx(2 * found.activations, rel=0.1)
    assert twice.flops == pytest.approx(2 * found.flops, rel=0.1)
    parts = estimate(replace(config, batch=4, micro_batch=2), GRID, torch.float32, True)
    assert parts.activations == found.activations and parts.flops == pytest.approx(twice.flops)
    assert (
        estimate(replace(config, checkpointing=True), GRID, torch.float32, True).activations
        < found.activations
    )


def test_text_encoders_that_learn_are_counted(folder):
    """Their weights, their adapter and what their backward pass keeps: as of the base with an adapter on all."""
    config = TrainConfig(base=str(folder), targets=("attention",), rank=2, batch=2)
    alone, both = (estimate(c, GRID, torch.float32, True) for c in (config, replace(config, text_rate=1.0)))
    base = load_base(folder, grid=GRID)
    frozen = sum(p.numel() for e in base.text_encoders.values() for p in e.parameters())
    assert both.parameters - alone.parameters == frozen
    assert both.trained == sum(p.numel() for p in attach(base, 2, 16.0, ("attention",), 0, text=True))
    said, real = kept_by(lambda: base.embed(["", "a red box"]).tokens, set())
    assert said.requires_grad
    assert both.activations - alone.activations == pytest.approx(real, rel=0.25)


def test_a_canvas_too_large_for_memory_is_refused_with_a_tile_that_fits(folder, monkeypatch):
    config = TrainConfig(base=str(folder), targets=("attention",), rank=2, batch=2)
    cpu = torch.device("cpu")
    # SD 3's toy places no larger canvas; of its sentence's 333 tokens it keeps as much as of the canvas.
    half = estimate(config, GRID.with_tile(32), torch.float32, True)
    monkeypatch.setattr("lora3d.estimate.free_memory", lambda device: half.memory + 0.1)
    with pytest.raises(
        InputError, match=r"448×128 px needs about \d+ MiB.*are free; try .*checkpointing = true"
    ) as refusal:
        require_memory(config, GRID, cpu, torch.float32)
    (tile,) = re.findall(r"tiles of (\d+) px \(prep --tile \1\)", str(refusal.value))
    assert int(tile) == 32
    require_memory(config, GRID.with_tile(int(tile)), cpu, torch.float32)
    monkeypatch.setattr("lora3d.estimate.free_memory", lambda device: half.weights)
    with pytest.raises(InputError, match="are free; try micro_batch = 1"):
        require_memory(config, GRID, cpu, torch.float32)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux says so in a file")
def test_what_is_kept_of_files_counts_as_free():
    """Free memory in Linux's narrow sense shrinks with every file that is read."""
    words = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(words["MemAvailable"].split()[0]) / 1024
    assert free_memory(torch.device("cpu")) == pytest.approx(available, rel=0.1)


def test_doctor_says_it_for_a_recipe(tmp_path, capsys):
    recipe = tmp_path / "recipe.toml"
    folder = save_toy("sd15", tmp_path / "sd15")
    recipe.write_text(f'base = "{folder}"\ntargets = ["attention"]\nrank = 2\nbatch = 1\ndevice = "cpu"\n')
    assert main(["doctor", str(recipe)]) == 1
    assert "say --data DATASET" in capsys.readouterr().err
    (tmp_path / "data").mkdir()
    write_grid(GRID, tmp_path / "data" / "grid.json")
    assert main(["doctor", str(recipe), "--data", str(tmp_path / "data"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["verdict"] == "fits" and said["seconds_a_step"] >= 0 and said["device"] == "cpu"


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxes") / "data"
    write_dataset(make_rows()[:4], folder, GRID)
    return folder


@pytest.mark.slow
def test_a_step_takes_about_the_seconds_that_were_said(boxes, tmp_path):
    """Of `mini` itself, with what prior asks; the least of several, as the machine may be busy with other work."""
    config = replace(TOY_RUN, base="mini", batch=2, prior=1.0, trigger="inkfold")
    run = set_up(config, boxes, tmp_path, Accelerator(cpu=True), False, lambda text: None)
    taken = []
    for step in range(4):
        batch = make_batch(run.rows, config, step)
        start = time.perf_counter()
        take_step(run, batch)
        taken.append(time.perf_counter() - start)
    said = inspect_recipe(config, boxes)
    assert 0.25 < said["seconds_a_step"] / min(taken) < 4
    assert said["minutes"] == pytest.approx(said["seconds_a_step"] * config.steps / 60, abs=0.06)
