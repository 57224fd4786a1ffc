"""The trainer on a toy base: it learns, resumes to the same bytes, and refuses what is wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from lora3d.adapter import verify
from lora3d.adapter_publish import publish
from lora3d.base.text import Text
from lora3d.batches import made_ahead, make_batch, make_batches, mask_seed, rate_at
from lora3d.cache import Cached
from lora3d.card import read_card
from lora3d.checkpoint import checkpoints, run_folder
from lora3d.cli import main
from lora3d.dataset import Row, write_dataset
from lora3d.drawing import fit_reference
from lora3d.errors import InputError
from lora3d.generate import load
from lora3d.grid import PRESETS
from lora3d.mesh import glb_bytes
from lora3d.recipe import TrainConfig
from lora3d.render import render_tiles
from lora3d.train import example_losses, train
from tests.conftest import make_box

GRID = PRESETS["box6"]


def make_rows() -> list[Row]:
    """Ten boxes of two artists' colours; the last three are held out."""
    rows = []
    for i in range(10):
        mesh = make_box((1, 0.4 + 0.05 * i, 0.3 + 0.06 * i), (0.7, 0.1 + 0.02 * i, 0.05))
        tiles = render_tiles(mesh, GRID)
        rgba = np.concatenate([tiles[1], (tiles[8][..., :1] > 0).astype(np.float32)], axis=-1)
        rgb, alpha = fit_reference(GRID, rgba)
        tiles[GRID.indices("reference")[0]] = rgb
        tiles[GRID.indices("reference_alpha")[0]] = alpha[..., None]
        rows.append(
            Row(
                f"box{i}",
                tiles,
                f"box {i}",
                f"box{i}",
                "test" if i > 6 else "train",
                "CC-BY-4.0",
                "Ada",
                "",
                glb_bytes(mesh),
            )
        )
    return rows


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "boxes"
    write_dataset(make_rows(), folder, GRID)
    return folder


@pytest.fixture(scope="module")
def config(toy_base) -> TrainConfig:
    return TrainConfig(
        base=str(toy_base),
        rank=4,
        steps=12,
        batch=2,
        learning_rate=5e-3,
        warmup=2,
        validation_share=0,
        held_out_every=6,
        sample_every=0,
        checkpoint_every=4,
        device="cpu",
        precision="fp32",
        trigger="inkfold",
    )


def quiet(*args, **kwargs):
    return train(*args, progress=False, report=lambda text: None, **kwargs)


@pytest.fixture(scope="module")
def run(config, dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "whole"
    return out, quiet(config, dataset, out)


@pytest.fixture(scope="module")
def second(config, dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("second") / "whole"
    return out, quiet(config, dataset, out)


def test_the_run_leaves_an_adapter_that_does_something(run, config):
    out, result = run
    card = read_card(result.adapter)
    assert verify(result.adapter, config.base)["largest_change"] > 0
    assert card.licenses == ["CC-BY-4.0"] and card.artists == ["Ada"] and card.assets == 7
    assert card.trigger == "inkfold" and card.metrics["steps"] == 12 and card.metrics["held_out_loss"] > 0
    records = [json.loads(line) for line in (out / "train.log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == list(range(1, 13))
    assert [r["step"] for r in records if "held_out" in r] == [6, 12]


def test_two_equal_runs_end_in_the_same_bytes(run, second):
    assert second[1].adapter.read_bytes() == run[1].adapter.read_bytes()


@pytest.mark.parametrize("stop", [4, 8])
def test_a_resumed_run_ends_in_the_same_bytes(run, second, config, dataset, tmp_path, stop):
    """Killed after ``stop`` steps: what a later checkpoint or step wrote is gone."""
    out, result = run
    again = tmp_path / "again"
    again.mkdir()
    shutil.copy(out / "recipe.json", again)
    lines = (out / "train.log.jsonl").read_text().splitlines(keepends=True)
    (again / "train.log.jsonl").write_text("".join(lines[: stop + 2]))
    for folder in sorted((second[0] / "checkpoints").glob("step-*")):
        if int(folder.name[5:]) <= stop:
            shutil.copytree(folder, again / "checkpoints" / folder.name)
    resumed = quiet(config, dataset, again, resume=True)
    assert resumed.adapter.read_bytes() == result.adapter.read_bytes()


def test_a_second_run_into_the_same_folder_wants_resume(run, config, dataset):
    with pytest.raises(InputError, match="--resume"):
        quiet(config, dataset, run[0])


def test_resuming_a_finished_run_gives_the_same_adapter(run, config, dataset):
    before = run[1].adapter.read_bytes()
    assert quiet(config, dataset, run[0], resume=True).adapter.read_bytes() == before


def test_resume_refuses_another_recipe_by_name(run, config, dataset):
    with pytest.raises(InputError, match="another rank"):
        quiet(replace(config, rank=8), dataset, run[0], resume=True)


def test_two_trainers_do_not_share_a_folder(tmp_path):
    with (
        run_folder(tmp_path / "run", resume=False),
        pytest.raises(InputError, match="in use by another trainer"),
        run_folder(tmp_path / "run", resume=True),
    ):
        pass


def test_a_dataset_of_another_grid_is_refused_with_both_names(config, tmp_path):
    other = GRID.with_tile(32)
    mesh = make_box()
    row = Row("box", render_tiles(mesh, other), "box", "box", "train", "CC0-1.0", "", "", glb_bytes(mesh))
    write_dataset([row], tmp_path / "data", other)
    with pytest.raises(InputError, match="dataset data.*tile is 32 against 64"):
        quiet(config, tmp_path / "data", tmp_path / "run")


def test_a_loss_that_is_not_finite_names_step_and_assets_and_keeps_no_adapter_that_is_unsound(
    config, dataset, tmp_path
):
    wild = replace(config, learning_rate=1e30, warmup=1, clip=1e30)
    with pytest.raises(InputError, match=r"at step \d+; the batch was box\d.*learnt before it is not kept"):
        quiet(wild, dataset, tmp_path / "run")
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"recipe.json", "train.log.jsonl", ".lock"}


@pytest.mark.parametrize("broken", [0, 6])
def test_what_was_learnt_before_a_loss_that_is_not_finite_is_kept(
    run, config, dataset, tmp_path, monkeypatch, broken
):
    """Its adapter loads and does something, and the run goes on from there to the bytes of an undisturbed one."""
    out = tmp_path / "run"

    def spoilt(run, batch):
        return example_losses(run, batch) * (torch.nan if run.state.step == broken else 1.0)

    monkeypatch.setattr("lora3d.train.example_losses", spoilt)
    kept = "Nothing was learnt" if not broken else "is kept: .*adapter.last-good.safetensors and a checkpoint"
    with pytest.raises(InputError, match=rf"loss is nan .*at step {broken}; .*{kept}"):
        quiet(config, dataset, out)
    good = out / "adapter.last-good.safetensors"
    assert [c.name for c in checkpoints(out)] == (["step-00000004", "step-00000006"] if broken else [])
    assert good.exists() == bool(broken) and not list(out.glob("*.unproved"))
    if broken:
        assert verify(good, config.base)["largest_change"] > 0
        assert read_card(good).metrics["steps"] == broken
        monkeypatch.undo()
        assert quiet(config, dataset, out, resume=True).adapter.read_bytes() == run[1].adapter.read_bytes()


def test_every_row_is_seen_equally_often(config):
    rows = blank_rows(5)
    seen = [i for step in range(10) for i in make_batch(rows, config, step)["rows"].tolist()]
    assert sorted(seen) == sorted(list(range(5)) * 4)
    assert all(sorted(seen[k : k + 5]) == list(range(5)) for k in range(0, 20, 5))


def test_a_batch_depends_on_seed_and_step_alone(config):
    rows = blank_rows(3)
    first, again, next_one = (make_batch(rows, config, step) for step in (5, 5, 6))
    assert all(torch.equal(first[k].nan_to_num(-1), again[k].nan_to_num(-1)) for k in first)
    assert not torch.equal(first["noise"], next_one["noise"])


def test_batches_made_ahead_are_those_of_their_steps_and_its_faults_come_when_due(config):
    rows = blank_rows(3)

    def make(step):
        if step == 8:
            raise InputError("row 2 cannot be read")
        return make_batch(rows, config, step)

    ahead, plain = made_ahead(make, 5), make_batches(rows, config, 5, torch.device("cpu"))
    for _ in range(3):
        one, two = next(ahead), next(plain)
        assert all(torch.equal(one[k].nan_to_num(-1), two[k].nan_to_num(-1)) for k in one | two)
    with pytest.raises(InputError, match="row 2 cannot be read"):
        next(ahead)


def test_no_two_processes_or_steps_draw_dropout_from_one_seed(config):
    seeds = {mask_seed(config, step, i, 3) for step in range(20) for i in range(3)}
    assert len(seeds) == 60


def test_what_is_given_counts_nothing_and_one_of_drawing_and_sentence_stays(config):
    batch = make_batch(
        blank_rows(3), replace(config, batch=64, reference_dropout=0.5, caption_dropout=0.5), 0
    )
    said = ~batch["seen"].isnan().any(1)
    assert 20 < said.sum() < 60 and torch.equal(batch["seen"][said], blank_rows(3).seen[batch["rows"]][said])
    known, weight = batch["known"], batch["weight"]
    assert not weight[known].any() and torch.all(weight[~known] > 0)
    assert torch.all(weight[~known[:, 0], 0] == config.reference_weight)
    assert not known[:, 1:].any() and not (batch["silent"] & ~known[:, 0]).any()
    assert 0 < known[:, 0].sum() < 64 and 0 < batch["silent"].sum() < 64


def blank_rows(n: int) -> Cached:
    said, texts = torch.zeros(n, dtype=torch.long), Text(torch.zeros(1, 2, 3))
    slots, seen = ("reference", *["rgb"] * 6), torch.arange(2.0 * n).reshape(n, 2)
    return Cached([str(i) for i in range(n)], torch.zeros(n, 7, 1, 1, 1), said, texts, n, slots, seen)


def test_the_rate_warms_up_stays_and_falls_to_zero():
    config = TrainConfig(steps=100, warmup=10, decay_share=0.2)
    rates = [rate_at(i, config) for i in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[50] == 1 and rates[99] == pytest.approx(0.05)
    assert rates[9:81] == [1.0] * 72 and rates == sorted(rates[:10]) + rates[10:80] + sorted(
        rates[80:], reverse=True
    )


def test_a_non_commercial_asset_is_in_the_adapter_its_page_and_its_models(config, toy_base, tmp_path, capsys):
    rows = make_rows()
    rows[2] = replace(rows[2], license="CC-BY-NC-4.0")
    write_dataset(rows, tmp_path / "data", GRID)
    adapter = quiet(replace(config, steps=2), tmp_path / "data", tmp_path / "run").adapter
    assert main(["adapter", "show", str(adapter), "--json"]) == 0
    assert not json.loads(capsys.readouterr().out)["terms"]["commercial"]
    publish(adapter, str(tmp_path / "hub"))
    assert "NO commercial use" in (tmp_path / "hub" / "README.md").read_text()
    made = load(toy_base, {adapter: 1.0}, precision="fp32").generate(prompt="a box", steps=2)
    doc = json.loads(made.save(tmp_path / "out", format="gltf").read_text())
    assert "CC-BY-NC-4.0" in doc["asset"]["copyright"]
    asked = ["generate", "--base", str(toy_base), "--adapter", str(adapter), "--prompt", "x", "--out", "o"]
    assert main([*asked, "--require", "commercial"]) == 1
    assert "NO commercial use" in capsys.readouterr().err
