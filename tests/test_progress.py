"""What a run says of itself: who is kept aside, when it stops, and what it warns of."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lora3d.base import load_base
from lora3d.base.text import Text
from lora3d.cache import Cached, cache_rows
from lora3d.checkpoint import read_log
from lora3d.dataset import read_dataset, write_dataset
from lora3d.metrics import PSNR_LIMIT
from lora3d.progress import mean_loss, merit, overfit, split_validation, spread
from lora3d.recipe import TrainConfig
from lora3d.samples import draw_samples, score_samples
from lora3d.state import is_finished, keep_best, new_state
from lora3d.train import train
from tests.test_train import GRID, config, dataset, make_rows, quiet  # noqa: F401


class Rows:
    """A dataset's index alone: 8 subjects of 2 models of 3 drawings."""

    index = tuple(
        {"id": f"s{s}m{m}d{d}", "subject": f"s{s}", "file": f"s{s}m{m}.glb", "split": "train"}
        for s in range(8)
        for m in range(2)
        for d in range(3)
    )


def all_rows(variants: int = 2) -> Cached:
    own = [row["id"] for row in Rows.index]
    others = [f"s{s}m{m}d0~{k}" for s in range(8) for m in range(2) for k in range(variants)]
    n = len(own) + len(others)
    said = torch.zeros(n, dtype=torch.long)
    latents = torch.arange(n, dtype=torch.float).reshape(n, 1, 1, 1, 1)
    return Cached(
        own + others, latents, said, Text(torch.zeros(1, 1, 1)), len(own), ("rgb",), torch.zeros(n, 2)
    )


def test_a_subject_is_trained_on_or_kept_aside_with_all_its_models_and_variants():
    rows = all_rows()
    train_rows, aside = split_validation(rows, Rows(), TrainConfig(validation_share=0.2))
    seen, hidden = ({name[:2] for name in part.ids} for part in (train_rows, aside))
    assert not seen & hidden and len(hidden) == 2 and len(aside) == len(hidden) * 6
    assert aside.own == len(aside) and train_rows.own == 6 * 6 and len(train_rows) == 6 * 6 + 6 * 4
    for part in (train_rows, aside):
        assert [rows.ids[int(x)] for x in part.latents().flatten()] == part.ids
    other = split_validation(rows, Rows(), TrainConfig(validation_share=0.2, seed=1))[1]
    assert other.ids != aside.ids


def test_nothing_is_kept_aside_where_not_asked_or_too_few():
    rows = all_rows()
    few = rows.pick([i for i, name in enumerate(rows.ids) if name[:2] in ("s0", "s1")])
    assert not len(split_validation(rows, Rows(), TrainConfig(validation_share=0))[1])
    assert not len(split_validation(few, Rows(), TrainConfig(validation_share=0.5))[1])


def test_looks_see_every_model_before_a_second_drawing_of_one():
    picked = spread(all_rows(), Rows(), 20).ids
    assert len({name[:4] for name in picked[:16]}) == 16 and len(picked) == 20
    assert all("~" not in name for name in picked)


def test_the_best_average_is_kept_and_waiting_ends():
    config = TrainConfig(steps=100, validate_every=10, patience=2)  # noqa: F811
    state = new_state([torch.zeros(2)], torch.optim.AdamW([torch.zeros(2, requires_grad=True)]))
    losses = {10: 1.0, 20: 0.5, 30: 0.7, 40: 0.6}
    ended = []
    for step, loss in losses.items():
        state.step = step
        state.average[0].fill_(step)
        keep_best(state, loss)
        ended.append(is_finished(state, config))
    assert state.best_step == 20 and state.best_loss == 0.5 and state.best[0].tolist() == [20, 20]
    assert ended == [False, False, False, True]
    assert not is_finished(state, replace(config, patience=0))


def test_overfitting_is_said_once_and_only_where_the_two_losses_part():
    def log(*pairs):
        return [{"step": i, "validation": v, "trained": t} for i, (v, t) in enumerate(pairs, 1)]

    apart = log((1.0, 1.0), (0.9, 0.8), (0.95, 0.6))
    assert "since step 2" in overfit(apart) and "0.9000 to 0.9500" in overfit(apart)
    assert overfit(apart + log((0.97, 0.5))) is None
    assert overfit(log((1.0, 1.0), (1.2, 1.1))) is None  # both rise: not learned by heart
    assert overfit(log((1.0, 1.0), (1.01, 0.5))) is None and overfit([]) is None


def test_samples_are_scored_as_eval_scores_them():
    """The truth scores best; noise lies far from every palette."""
    true = np.stack([row.tiles for row in make_rows()[:2]])
    noise = np.random.default_rng(0).random(true.shape, dtype=np.float32)
    best, worst = (score_samples(GRID, made, true, true) for made in (true, noise))
    assert best["psnr"] == PSNR_LIMIT and best["silhouette_iou"] == 1 and best["palette_distance"] < 0.01
    assert worst["psnr"] < 20 and worst["silhouette_iou"] < 1 and worst["palette_distance"] > 0.1
    nothing = np.zeros_like(true) + np.asarray(GRID.background, np.float32)
    nothing[:, list(GRID.indices("depth"))] = 0
    assert "palette_distance" not in score_samples(GRID, nothing, true, true)


def test_scores_of_samples_stand_in_the_log(config, dataset, tmp_path):  # noqa: F811
    quiet(replace(config, steps=2, sample_every=2), dataset, tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "train.log.jsonl").read_text().splitlines()]
    assert "psnr" not in log[0] and {"psnr", "silhouette_iou"} < log[1].keys()


def test_a_run_may_stop_by_a_score_of_the_models_kept_aside(config, dataset, tmp_path):  # noqa: F811
    """Scores of the models kept aside stand in the log; less distance or more of a score is better."""
    asked = replace(config, steps=2, validation_share=0.3, validate_every=2, stop_on="palette_distance")
    result = quiet(asked, dataset, tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "train.log.jsonl").read_text().splitlines()]
    looks = {r["step"]: r for r in log if "validation" in r}
    assert list(looks) == [0, 2] and all(
        {"aside_psnr", "aside_silhouette_iou"} < r.keys() for r in looks.values()
    )
    assert result.kept_step == 2 and result.validation == looks[2]["validation"]
    assert (
        merit(looks[2], "psnr") == -looks[2]["aside_psnr"]
        and merit(looks[2], "loss") == looks[2]["validation"]
    )
    assert merit({"validation": 1.0}, "palette_distance") == math.inf


def test_the_mean_loss_is_of_the_steps_before_the_one_that_is_kept():
    history = [{"step": 0, "validation": 1.0}, *({"step": i, "loss": float(i)} for i in range(1, 50))]
    assert mean_loss(history, 30) == np.mean(np.arange(11, 31))


@pytest.fixture(scope="module")
def stopped(config, dataset, tmp_path_factory):  # noqa: F811
    """A run that soon gets no better: a rate far too high, a look at every other step."""
    asked = replace(
        config, steps=80, learning_rate=0.1, validation_share=0.3, validate_every=2, patience=3, ema=0
    )
    out = tmp_path_factory.mktemp("stopped") / "run"
    said: list[str] = []
    return out, train(asked, dataset, out, progress=False, report=said.append), asked, said


def test_a_run_stops_by_models_kept_aside_and_keeps_its_best_step(stopped):
    out, result, asked, _ = stopped
    log = [json.loads(line) for line in (out / "train.log.jsonl").read_text().splitlines()]
    looks = {r["step"]: r["validation"] for r in log if "validation" in r and r["step"]}
    best = min(looks, key=looks.get)
    assert result.kept_step == best and result.validation == looks[best]
    assert result.steps == best + 6 < asked.steps and log[0]["step"] == 0
    assert result.held_out is not None


def test_what_a_run_warned_of_stands_in_its_log_and_its_result(stopped):
    out, result, _, said = stopped
    logged = [r["warning"] for r in read_log(out) if "warning" in r]
    assert logged and tuple(logged) == result.warnings and set(logged) < set(said)
    assert "no better than the base" in logged[-1]


def test_over_fitting_and_copies_are_warned_of_at_their_steps(config, dataset, tmp_path, monkeypatch):  # noqa: F811
    """Two steps learn nothing by heart, so both are made up."""

    def copying(*given):
        picture, _, scores = draw_samples(*given)
        return picture, ["the sample for 'box7' is a copy of 'box0'"], scores

    monkeypatch.setattr("lora3d.samples.draw_samples", copying)
    monkeypatch.setattr("lora3d.train.overfit", lambda history: f"over-fit at {history[-1]['step']}")
    asked = replace(config, steps=2, sample_every=2, validation_share=0.3, validate_every=1)
    quiet(asked, dataset, tmp_path / "run")
    logged = [(r["step"], r["warning"]) for r in read_log(tmp_path / "run") if "warning" in r]
    copied = (2, "step 2: the sample for 'box7' is a copy of 'box0'")
    assert logged[:3] == [(1, "over-fit at 1"), copied, (2, "over-fit at 2")]


def test_a_run_that_stopped_early_resumes_to_the_same_bytes(stopped, dataset):  # noqa: F811
    out, result, asked, _ = stopped
    before = result.adapter.read_bytes()
    result.adapter.unlink()
    again = quiet(asked, dataset, out, resume=True)
    assert again.steps == result.steps and again.adapter.read_bytes() == before


def test_a_run_that_learns_its_models_and_unlearns_those_kept_aside_says_so_once(config, dataset, tmp_path):  # noqa: F811
    """Those kept aside are the negatives of what is trained on: what is learnt of one is wrong of the other."""
    asked = replace(
        config, steps=12, learning_rate=0.005, variants=0, validation_share=0.3, validate_every=4, ema=0
    )
    known = read_dataset(dataset)
    aside = split_validation(cache_rows(load_base(config.base), known, asked, "train"), known, asked)[1].ids
    rows = [
        replace(row, tiles=1 - row.tiles, content_hash="") if row.id in aside else row for row in make_rows()
    ]
    write_dataset(rows, tmp_path / "data", GRID)
    said: list[str] = []
    result = train(asked, tmp_path / "data", tmp_path / "run", progress=False, report=said.append)
    warnings = [line for line in said if line.startswith("over-fit since step 4:")]
    assert result.kept_step == 4 and len(warnings) == 1 == sum("over-fit" in line for line in said)
    assert "the adapter of step 4 is kept" in warnings[0]
