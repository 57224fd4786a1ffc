"""What a resumed run is compared with: all that decides what it learns, by content."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lora3d.base import find_folder, hash_configs, load_base
from lora3d.base.single import unpack
from lora3d.cache import cache_rows
from lora3d.checkpoint import load_checkpoint, read_run, save_checkpoint
from lora3d.dataset import read_dataset
from lora3d.errors import InputError
from lora3d.state import new_state
from lora3d.train import train
from tests.test_train import GRID
from tests.toy_bases import TOY_RUN, save_toy
from tests.toy_files import save_single


@pytest.fixture
def plain(tmp_path):
    return save_toy("sd15", tmp_path / "sd15")


def run(config, boxes, out, **more):
    return train(config, boxes, out, progress=False, report=lambda text: None, **more)


def change(file: Path, how: Callable[[dict[str, Any]], object]) -> None:
    fields = json.loads(file.read_text())
    how(fields)
    file.write_text(json.dumps(fields))


def double_scale(fields: dict[str, Any]) -> None:
    fields["scaling_factor"] *= 2


def test_another_scale_of_the_vae_makes_latents_anew_and_is_named_on_resume(plain, boxes, tmp_path):
    config, out = replace(TOY_RUN, base=str(plain), steps=2), tmp_path / "run"
    dataset = read_dataset(boxes)
    run(config, boxes, out)
    before = cache_rows(load_base(plain, grid=GRID), dataset, config, "train")
    change(plain / "vae" / "config.json", double_scale)
    base = load_base(plain, grid=GRID)
    after = cache_rows(base, dataset, config, "train")
    assert torch.allclose(after.stored.float(), 2 * before.stored.float(), rtol=2e-3, atol=1e-4)
    with pytest.raises(InputError, match=r"another vae/config.json of the base; .* say --accept-changes"):
        run(config, boxes, out, resume=True)
    run(config, boxes, out, resume=True, accept_changes=True)
    assert read_run(out)["base_configs"] == hash_configs(plain)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("scheduler/scheduler_config.json", lambda fields: fields.update(prediction_type="v_prediction")),
        ("tokenizer/tokenizer.json", lambda fields: fields["model"]["vocab"].update(zzz=9999)),
    ],
)
def test_what_is_said_of_weights_is_told_apart_file_by_file(plain, name, how):
    before = hash_configs(plain)
    assert hash_configs(shutil.copytree(plain, plain.with_name("copy"))) == before
    change(plain / name, how)
    after = hash_configs(plain)
    assert after.keys() == before.keys() and {k for k in after if after[k] != before[k]} == {name}


def test_a_single_files_are_those_beside_it(plain, tmp_path):
    file = save_single("sd15", plain, tmp_path / "one.safetensors")
    before = hash_configs(find_folder(file))
    change(tmp_path / "one" / "vae" / "config.json", double_scale)
    unpack.cache_clear()  # which a new process would not have
    after = hash_configs(find_folder(file))
    assert {k for k in after if after[k] != before[k]} == {"vae/config.json"}


def test_minis_moments_are_its_configuration_which_earlier_versions_did_not_note(toy_base, boxes, tmp_path):
    base, out = shutil.copytree(toy_base, tmp_path / "base"), tmp_path / "run"
    config = replace(TOY_RUN, base=str(base), steps=1)
    run(config, boxes, out)
    file = base / "latents.json"
    file.write_text(file.read_text() + " ")
    with pytest.raises(InputError, match="another latents.json of the base"):
        run(config, boxes, out, resume=True)

    def forget(fields: dict[str, Any]) -> None:
        del fields["base_configs"], fields["grid_adapter"]

    change(out / "recipe.json", forget)
    with pytest.raises(InputError, match="earlier version, which did not note the base's configuration"):
        run(config, boxes, out, resume=True)
    run(config, boxes, out, resume=True, accept_changes=True)
    assert read_run(out)["base_configs"] == hash_configs(base)


def test_another_grid_adapter_under_the_same_name_is_named(toy_base, boxes, tmp_path):
    config = replace(TOY_RUN, base=str(toy_base), steps=1)
    grid = run(config, boxes, tmp_path / "grid").adapter
    asked, out = replace(config, grid_adapter=str(grid)), tmp_path / "run"
    run(asked, boxes, out)
    with safe_open(grid, "pt") as file:
        words = file.metadata()
    save_file({k: 2 * v for k, v in load_file(grid).items()}, grid, words)
    with pytest.raises(InputError, match="another content of the grid adapter; resume needs the same"):
        run(asked, boxes, out, resume=True)
    grid.unlink()
    with pytest.raises(InputError, match=r"grid_adapter .* cannot be read \(No such file"):
        run(asked, boxes, out, resume=True)


@pytest.mark.parametrize(("fused", "where"), [(True, "meta"), (False, "cpu")])
def test_a_restored_count_of_steps_lies_where_its_optimiser_makes_it(tmp_path, fused, where):
    """A fused AdamW on a GPU wants it beside the parameter (pytorch issue 124133); any other device shows it."""

    def state_on(device: str):
        parameter = torch.zeros(2, 3, device=device, requires_grad=True)
        return new_state([parameter], torch.optim.AdamW([parameter], fused=fused))

    before, after = state_on("cpu"), state_on("meta")
    before.parameters[0].grad = torch.ones(2, 3)
    before.optimiser.step()
    before.step = 1
    save_checkpoint(tmp_path, before, keep=1)
    load_checkpoint(tmp_path, after, lambda text: None)
    devices = {k: v.device.type for k, v in after.optimiser.state[after.parameters[0]].items()}
    assert devices == {"step": where, "exp_avg": "meta", "exp_avg_sq": "meta"}
