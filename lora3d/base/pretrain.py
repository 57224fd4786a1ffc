"""Trains `mini` from scratch on freshly rendered shapes; reads top to bottom as the experiment.

``lora3d base train RECIPE --out DIR [--init DIR]``. The optimiser's state stays in DIR, for `--resume`; only
the averaged weights, in fp16 and diffusers layout under DIR/base, are meant to be kept.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPTokenizer

from lora3d.base.mini import denoise_strip, lay_out, ray_channels, tokenize
from lora3d.base.networks import (
    Networks,
    example_of,
    fresh_examples,
    load_networks,
    new_networks,
    save_networks,
    teach_space,
)
from lora3d.base.optimiser import Optimiser, update_average
from lora3d.base.pose import quarters_apart
from lora3d.base.sweep import Sweep, new_sweep
from lora3d.base.train_space import SPACE_BATCH
from lora3d.data_prep.made import HELD_OUT_SEED
from lora3d.data_prep.shapes import turn_views
from lora3d.data_prep.stream import Example
from lora3d.device import autocast, choose_device, choose_dtype
from lora3d.diffusion import held_out_times, interpolate, masked_mse, mixed_times
from lora3d.grid import PRESETS, ViewGrid
from lora3d.recipe import PretrainConfig, to_fields

STATE = "state.pt"


@torch.no_grad()
def make_batch(
    examples: list[Example],
    choices: np.ndarray,
    tokenizer: CLIPTokenizer,
    sweep: Sweep,
    config: PretrainConfig,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Latents (b, slots, c, h, w), ids (b, n), known (b, slots), seen (b, 2) as in `Base`; on the sweep's device."""
    b, m, device = len(examples), 1 + len(examples[0].views), sweep.ground.device
    known = np.zeros((b, m), dtype=bool)
    known[:, 0] = rng.random(b) < config.reference_share
    extra = rng.random(b) < config.extra_share
    known[:, 1:] = extra[:, None] & (rng.random((b, m - 1)) < rng.random((b, 1)) * 0.7)
    say = rng.random(b) < np.where(known[:, 0], config.text_share, 0.9)
    captions = [e.caption if s else "" for e, s in zip(examples, say, strict=True)]
    seen = torch.from_numpy(np.stack([e.viewpoints[c] for e, c in zip(examples, choices, strict=True)]))
    unsaid = torch.from_numpy(rng.random(b) >= config.stated_share)

    def encode(pictures: np.ndarray) -> Tensor:
        return sweep.linear(torch.from_numpy(pictures).to(device).movedim(-1, 1).float() / 255)

    drawings = encode(np.stack([e.drawings[c] for e, c in zip(examples, choices, strict=True)]))
    # The front is that which the drawing is laid through space by.
    quarters = quarters_apart(sweep.viewpoint(drawings).cpu(), seen) * unsaid * torch.from_numpy(known[:, 0])
    views = [
        turn_views(e.views, int(e.sides[c]) - q)
        for e, c, q in zip(examples, choices, quarters.tolist(), strict=True)
    ]
    seen[unsaid] = math.nan
    return {
        "latents": torch.cat([drawings[:, None], encode(np.concatenate(views)).unflatten(0, (b, -1))], 1),
        "ids": tokenize(tokenizer, captions).to(device),
        "known": torch.from_numpy(known).to(device),
        "seen": seen.to(device),
    }


def loss_of(run: Training, batch: dict[str, Tensor], t: Tensor, noise: Tensor) -> Tensor:
    """Loss (b,): squared error of the clean latents where a slot is not given, flat in t.

    Channels count by their deviation, half way from latents to pixels: the many faint ones cannot be foretold.
    """
    clean, known, networks = batch["latents"], batch["known"], run.networks
    noisy = torch.where(known[:, :, None, None, None], clean, interpolate(clean, noise, t))
    with autocast(clean.device, run.dtype):
        tokens = networks.text_encoder(batch["ids"]).last_hidden_state
        laid = run.sweep(clean[:, 0], batch["seen"], known[:, 0])
        guess = denoise_strip(networks.unet, noisy, t, tokens, known, laid, run.rays, networks.moments)
    weight = (~known).float()
    weight[:, 0] *= run.config.reference_weight
    return masked_mse(guess.float(), clean, weight, networks.moments[1])


def rate_at(step: int, config: PretrainConfig) -> float:
    """The learning rate's factor, a trapezoid: warm-up, constant, linear decay to zero."""
    left = (config.steps - step) / max(1, round(config.steps * config.decay_share))
    return min(1.0, (step + 1) / config.warmup, left)


@dataclass
class Training:
    """What goes from step to step, and into the file that a run resumes from.

    Attributes:
        average: moving average of the weights, by their names; what is scored and saved.
        step, seen, fresh: steps done, examples seen, shapes rendered for them.
    """

    config: PretrainConfig
    networks: Networks
    model: nn.ModuleDict
    optimiser: Optimiser
    average: dict[str, Tensor]
    rays: Tensor
    sweep: Sweep
    dtype: torch.dtype
    step: int = 0
    seen: int = 0
    fresh: int = 0


def pretrain(
    config: PretrainConfig,
    out: Path,
    *,
    init: Path | None = None,
    resume: bool = False,
    device_name: str = "auto",
    precision: str = "auto",
    log_every: int = 50,
    save_every: int = 500,
    max_seconds: float | None = None,
) -> Path:
    """Runs the recipe; returns the folder of the averaged weights, ``out``/base.

    Args:
        init: a saved base whose weights, codec and tokenizer to start from; its space network learns on as well, by
            ``space_steps``. Its shapes are not drawn again.
        resume: go on from ``out``'s state if there is one.
        max_seconds: of the steps; start the decay early enough to end about then. None runs all steps.
    """
    run = _start(config, out, init, resume, choose_device(device_name), precision)
    grid = PRESETS["box6"].with_tile(config.tile)
    rng = np.random.default_rng([config.seed, run.step])
    generator = torch.Generator().manual_seed(config.seed + run.step)
    held_out = _held_out(config, grid, run)
    stream = fresh_examples(config, grid, run.fresh)
    pool: list[Example] = []
    started, first, running = time.monotonic(), run.step, 0.0
    try:
        with (out / "train.log.jsonl").open("a", encoding="utf-8") as log:
            while run.step < run.config.steps:
                elapsed = time.monotonic() - started
                if max_seconds and run.step % 50 == 0 and elapsed > 60:
                    run.config = _end_in_time(run.config, run.step, run.step - first, elapsed, max_seconds)
                run.fresh += _refill(pool, stream, config, run.fresh)
                loss = _take_step(run, pool, rng, generator)
                running = loss if running == 0 else 0.98 * running + 0.02 * loss
                done = run.step == run.config.steps
                if run.step % log_every == 0 or done:
                    record: dict[str, float] = {"step": run.step, "seen": run.seen, "distinct": run.fresh}
                    record |= {"loss": round(running, 4), "seconds": round(time.monotonic() - started, 1)}
                    if run.step % save_every == 0 or done:
                        record["held_out"] = round(_held_out_loss(run, held_out), 4)
                        _save_state(run, out / STATE)
                    print(json.dumps(record), flush=True)
                    log.write(json.dumps(record) + "\n")
                    log.flush()
    finally:
        stream.close()
    run.model.load_state_dict(run.average)
    save_networks(out / "base", run.networks, grid, config)
    counts = _counts(out / "init") | {"seen": run.seen, "distinct": run.fresh}
    _write_counts(out / "base", counts, run.config)
    return out / "base"


def _counts(folder: Path | None) -> dict[str, int]:
    """Examples seen by a saved base and by its space network, and the distinct shapes among them, numbered from 0."""
    fields: dict[str, int] = {}
    if folder and (folder / "training.json").exists():
        fields = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return {key: fields.get(key, 0) for key in ("seen", "distinct", "space_seen", "space_distinct")}


def _write_counts(folder: Path, counts: dict[str, int], config: PretrainConfig) -> None:
    text = json.dumps({**counts, "recipe": to_fields(config)}, indent=1)
    (folder / "training.json").write_text(text + "\n", encoding="utf-8")


def _start(
    config: PretrainConfig, out: Path, init: Path | None, resume: bool, device: torch.device, precision: str
) -> Training:
    """From ``out``'s state, the weights of ``init``, or anew; arguments as in `pretrain`."""
    out.mkdir(parents=True, exist_ok=True)
    dtype = choose_dtype(device, precision)
    torch.manual_seed(config.seed)
    grid = PRESETS["box6"].with_tile(config.tile)
    if not (out / "init").exists() or (init is not None and not resume):
        _prepare(config, out, init, grid, dtype)
    # Always from disk, so that training sees the codec as it ships: rounded to fp16.
    run = _new_training(config, load_networks(out / "init", grid), grid, device, dtype)
    counts = _counts(out / "init")
    run.seen, run.fresh = counts["seen"], counts["distinct"]
    if resume and (out / STATE).exists():
        _restore(run, out / STATE)
    return run


def _prepare(
    config: PretrainConfig, out: Path, init: Path | None, grid: ViewGrid, dtype: torch.dtype
) -> None:
    """Into ``out``/init what the steps begin with; whole or not at all, and what is there is not made again."""
    networks = load_networks(init, grid) if init else new_networks(config, grid, dtype)
    counts = _counts(init)
    if config.space_steps:
        counts["space_distinct"] = teach_space(networks, config, grid, dtype, counts["space_distinct"])
        counts["space_seen"] += config.space_steps * SPACE_BATCH
    temporary = out / "init.tmp"
    save_networks(temporary, networks, grid, config)
    _write_counts(temporary, counts, config)
    shutil.rmtree(out / "init", ignore_errors=True)
    temporary.rename(out / "init")


def _new_training(
    config: PretrainConfig, networks: Networks, grid: ViewGrid, device: torch.device, dtype: torch.dtype
) -> Training:
    model = networks.trained().to(device)
    lay_out(networks.unet, device)
    networks.moments = networks.moments.to(device)
    average = {k: v.detach().float().clone() for k, v in model.state_dict().items()}
    rays = ray_channels(grid).to(device)
    sweep = new_sweep(networks.space, networks.vae, networks.moments, grid)
    return Training(config, networks, model, Optimiser(model, config), average, rays, sweep, dtype)


def _take_step(
    run: Training, pool: list[Example], rng: np.random.Generator, generator: torch.Generator
) -> float:
    """One step on examples of the pool; its loss. Raises RuntimeError where that is no number."""
    config, device = run.config, run.rays.device
    picked = [pool[i] for i in rng.integers(0, len(pool), config.batch)]
    choices = rng.integers(0, config.drawings, config.batch)
    batch = make_batch(picked, choices, run.networks.tokenizer, run.sweep, config, rng)
    t = mixed_times(config.batch, config.time_mean, config.time_deviation, config.middle_share, generator)
    noise = torch.randn(batch["latents"].shape, generator=generator)
    loss = loss_of(run, batch, t.to(device), noise.to(device)).mean()
    if not torch.isfinite(loss):
        raise RuntimeError(f"loss is {loss.item()} at step {run.step}; seeds {[e.seed for e in picked]}")
    loss.backward()
    nn.utils.clip_grad_norm_(list(run.model.parameters()), 1.0)
    run.optimiser.step(rate_at(run.step, config))
    run.step, run.seen = run.step + 1, run.seen + config.batch
    update_average(run.average, run.model, min(config.ema, (1 + run.step) / (10 + run.step)))
    return loss.item()


def _end_in_time(
    config: PretrainConfig, step: int, done: int, elapsed: float, limit: float
) -> PretrainConfig:
    """The recipe with as many steps as fit at the speed so far, so that the decay of the rate ends with the time."""
    return replace(config, steps=step + max(1, int(max(1, done) * (limit - elapsed) / elapsed)))


def _refill(pool: list[Example], stream: Iterator[Example], config: PretrainConfig, fresh: int) -> int:
    """Takes this step's share of new examples from the stream; the oldest leave a full pool."""
    first = min(32 * config.batch, config.pool)
    wanted = max(1, round(config.batch * config.fresh_share)) if pool else first
    for i in range(wanted):
        example = next(stream)
        if len(pool) < config.pool:
            pool.append(example)
        else:
            pool[(fresh + i) % config.pool] = example
    return wanted


def _held_out(config: PretrainConfig, grid: ViewGrid, run: Training) -> list[dict[str, Tensor]]:
    """Four batches of fixed examples, always with the drawing given, its viewpoint in the usual share, nothing else."""
    batches = []
    given = replace(config, reference_share=1.0, extra_share=0.0)
    for start in range(0, 4 * config.batch, config.batch):
        examples = [example_of(config, grid, HELD_OUT_SEED + start + i) for i in range(config.batch)]
        choices = np.zeros(config.batch, dtype=int)
        rng = np.random.default_rng(start)
        batches.append(make_batch(examples, choices, run.networks.tokenizer, run.sweep, given, rng))
    return batches


@torch.no_grad()
def _held_out_loss(run: Training, held_out: list[dict[str, Tensor]]) -> float:
    """Of the averaged weights, at fixed times and noise."""
    current = {k: v.clone() for k, v in run.model.state_dict().items()}
    run.model.load_state_dict(run.average)
    device = run.rays.device
    times = held_out_times(run.config.batch, run.config.time_mean, run.config.time_deviation).to(device)
    losses = []
    for i, batch in enumerate(held_out):
        noise = torch.randn(batch["latents"].shape, generator=torch.Generator().manual_seed(i))
        losses.append(loss_of(run, batch, times, noise.to(device)).mean().item())
    run.model.load_state_dict(current)
    return sum(losses) / len(losses)


def _save_state(run: Training, path: Path) -> None:
    state: dict[str, Any] = {
        "model": run.model.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "average": run.average,
        "step": run.step,
        "seen": run.seen,
        "fresh": run.fresh,
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _restore(run: Training, path: Path) -> None:
    device = run.rays.device
    state = torch.load(path, weights_only=True, map_location=device)
    run.model.load_state_dict(state["model"])
    run.optimiser.load_state_dict(state["optimiser"])
    run.average = {k: v.to(device) for k, v in state["average"].items()}
    run.step, run.seen, run.fresh = state["step"], state["seen"], state["fresh"]
