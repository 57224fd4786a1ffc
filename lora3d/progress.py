"""What a run says of itself: losses at fixed noise, sample grids, and whether it still learns the style."""

from __future__ import annotations

import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.tracking import TensorBoardTracker, WandBTracker
from PIL import Image
from torch import Tensor

from lora3d.base import Base
from lora3d.cache import Cached, text_of
from lora3d.dataset import Dataset
from lora3d.device import autocast
from lora3d.diffusion import held_out_times, masked_mse, mix, target
from lora3d.errors import InputError
from lora3d.recipe import TrainConfig, to_fields

FIXED_TIMES = 4
FEW_MODELS = 5
OVERFIT = 1.02


def split_validation(rows: Cached, dataset: Dataset, config: TrainConfig) -> tuple[Cached, Cached]:
    """The training side in two, by subject: what is trained on, and what tells when to stop.

    Variants of a model go where the model goes; none are looked at. The second part is empty where
    ``validation_share`` is 0 or there are fewer than `FEW_MODELS` models or two subjects.
    """
    about = {row["id"]: row for row in dataset.index}
    models: dict[str, set[str]] = defaultdict(set)
    for name in rows.ids[: rows.own]:
        models[about[name]["subject"]].add(about[name]["file"] or name)
    total = sum(map(len, models.values()))
    aside: set[str] = set()
    if config.validation_share and total >= FEW_MODELS:
        for subject in sorted(models, key=lambda s: hashlib.sha256(f"{config.seed} {s}".encode()).digest()):
            if (
                len(aside) + 1 < len(models)
                and sum(len(models[s]) for s in aside) < config.validation_share * total
            ):
                aside.add(subject)
    kept_aside = [about[name.partition("~")[0]]["subject"] in aside for name in rows.ids]
    train = [i for i, hidden in enumerate(kept_aside) if not hidden]
    watched = [i for i, hidden in enumerate(kept_aside[: rows.own]) if hidden]
    return rows.pick(train), rows.pick(watched)


def spread(rows: Cached, dataset: Dataset, most: int) -> Cached:
    """At most so many of the dataset's own rows: one of each model first, then the second of each, …"""
    about = {row["id"]: row["file"] or row["id"] for row in dataset.index}
    turn: dict[str, int] = defaultdict(int)
    order = []
    for i, name in enumerate(rows.ids[: rows.own]):
        order.append((turn[about[name]], i))
        turn[about[name]] += 1
    return rows.pick([i for _, i in sorted(order)[:most]])


def slot_weights(rows: Cached, index: list[int], config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Which slots of the rows at ``index`` hold a drawing to give, bool, and how much each counts if not given.

    Both (b, slots). A slot without truth counts nothing. A drawing that is all there is is not given but learned.
    """
    drawn = torch.tensor([s.startswith("reference") for s in rows.slots])
    empty = torch.tensor([s == "empty" for s in rows.slots])
    weight = torch.where(drawn, config.reference_weight, torch.where(empty, config.empty_weight, 1.0))
    truth = torch.ones(len(index), len(drawn), dtype=torch.bool) if rows.truth is None else rows.truth[index]
    return drawn & (truth & ~drawn).any(1, keepdim=True), weight * truth


@torch.no_grad()
def fixed_loss(base: Base, rows: Cached, config: TrainConfig, dtype: torch.dtype) -> float:
    """Mean loss, drawing and sentence given, at fixed times and noise for each row, so that runs compare."""
    times = held_out_times(FIXED_TIMES, config.time_mean, config.time_deviation).to(base.device)
    losses = []
    for start in range(0, len(rows), 8):
        index = torch.arange(start, min(start + 8, len(rows)))
        clean = rows.latents(index).to(base.device, torch.float32)
        drawn, weight = slot_weights(rows, index.tolist(), config)
        known, counted = drawn.to(base.device), (weight * ~drawn).to(base.device)
        text, seen = text_of(base, rows, rows.said[index]), rows.seen[index].to(base.device)
        for k, value in enumerate(times):
            noise = fixed_noise(base, [i * FIXED_TIMES + k for i in index.tolist()])
            t = value.expand(len(clean))
            alpha, sigma = base.levels(t)
            noisy = torch.where(known[:, :, None, None, None], clean, mix(clean, noise, alpha, sigma))
            with autocast(base.device, dtype):
                answer = base.denoise(noisy, t, text, known, seen).float()
            wanted = target(base.prediction, clean, noise, alpha, sigma)
            losses.extend(masked_mse(answer, wanted, counted, base.moments[1]).tolist())
    return sum(losses) / len(losses)


def fixed_noise(base: Base, seeds: list[int]) -> Tensor:
    """Noise (b, slots, c, h, w), each grid from its own seed."""
    made = [torch.randn(base.latent_shape, generator=torch.Generator().manual_seed(s)) for s in seeds]
    return torch.stack(made).to(base.device)


def merit(record: dict[str, Any], stop_on: str) -> float:
    """What a look is judged by, the less the better: its loss, a distance, or a score times −1.

    Infinite where the samples show nothing to score.
    """
    if stop_on == "loss":
        return float(record["validation"])
    score = record.get(f"aside_{stop_on}")
    if score is None:
        return math.inf
    return float(score) if stop_on == "palette_distance" else -float(score)


def overfit(history: list[dict[str, Any]]) -> str | None:
    """A warning when the loss rises on the models kept aside and falls on those trained on; said once.

    history: the records of the log; ``validation`` and ``trained`` are losses at the same fixed noise.
    """
    looks = [r for r in history if "validation" in r and r["step"]]
    apart = [_is_apart(looks[: n + 1]) for n in range(len(looks))]
    if not apart or not apart[-1] or any(apart[:-1]):
        return None
    best, last = min(looks, key=lambda r: r["validation"]), looks[-1]
    return (
        f"over-fit since step {best['step']}: on the models kept aside the loss went from "
        f"{best['validation']:.4f} to {last['validation']:.4f}, on those trained on from {best['trained']:.4f} to "
        f"{last['trained']:.4f}; the adapter of step {best['step']} is kept. More models, variants or a lower "
        "rank would help"
    )


def _is_apart(looks: list[dict[str, Any]]) -> bool:
    best, last = min(looks, key=lambda r: r["validation"]), looks[-1]
    return last["validation"] > OVERFIT * best["validation"] and last["trained"] < best["trained"]


@contextmanager
def start_tracker(config: TrainConfig, out: Path, main: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """What notes a record, or a picture's file under ``samples``, in wandb or tensorboard; neither needs an account.

    wandb writes into the run's folder where nobody is logged in. Raises InputError where the tracker is not
    installed.
    """
    if config.tracker == "none" or not main:
        yield lambda record: None
        return
    if not find_spec(config.tracker):
        raise InputError(
            f"tracker {config.tracker!r} is not installed: pip install 'lora3d[{config.tracker}]'"
        )
    if config.tracker == "wandb" and not os.environ.get("WANDB_API_KEY"):
        os.environ.setdefault("WANDB_MODE", "offline")
    kinds = {"wandb": WandBTracker, "tensorboard": TensorBoardTracker}
    where: dict[str, Any] = {"dir": str(out)} if config.tracker == "wandb" else {"logging_dir": str(out)}
    tracker = kinds[config.tracker]("lora3d", **where)
    tracker.start()
    plain = {k: v if isinstance(v, int | float | str) else str(v) for k, v in to_fields(config).items()}
    tracker.store_init_configuration(plain)

    def note(record: dict[str, Any]) -> None:
        step, rest = record["step"], {k: v for k, v in record.items() if k != "step"}
        picture = rest.pop("samples", None)
        if picture is not None:
            with Image.open(picture) as image:
                pixels = np.asarray(image.convert("RGB"))
            grids = {
                "samples": pixels[None] if config.tracker == "tensorboard" else [Image.fromarray(pixels)]
            }
            extra = {"dataformats": "NHWC"} if config.tracker == "tensorboard" else {}
            tracker.log_images(grids, step=step, **extra)
        if rest:
            tracker.log(rest, step=step)

    try:
        yield note
    finally:
        tracker.finish()


def mean_loss(history: list[dict[str, Any]], step: int, last: int = 20) -> float | None:
    """The mean of the last losses up to a step; None where the history has none."""
    losses = [r["loss"] for r in history if "loss" in r and r["step"] <= step][-last:]
    return sum(losses) / len(losses) if losses else None
