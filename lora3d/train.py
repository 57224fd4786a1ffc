"""Trains an adapter on a dataset; one loop that reads top to bottom as the experiment.

Everything random is drawn from (seed, step), so a resumed run takes the very steps that an undisturbed one
takes. What lies in the run's folder: ``adapter.safetensors`` (the result), ``recipe.json``,
``train.log.jsonl``, ``checkpoints/``, ``samples/``.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from lora3d.adapter import (
    AdapterCard,
    adapter_tensors,
    attach,
    effect,
    load_adapter,
    save_adapter,
    use_adapters,
)
from lora3d.base import Base, load_base
from lora3d.base.mini import Text
from lora3d.cache import Cached, cache_rows
from lora3d.checkpoint import check_resume, last_records, load_checkpoint, run_folder, save_checkpoint
from lora3d.dataset import Dataset, read_dataset
from lora3d.device import choose_device, choose_dtype
from lora3d.diffusion import held_out_times, interpolate, logit_normal_times, masked_mse
from lora3d.errors import InputError
from lora3d.generate import GUIDANCE, STEPS, sample, to_image
from lora3d.grid import pack, require_same_grid
from lora3d.recipe import TrainConfig, to_fields

HELD_OUT_TIMES = 4


@dataclass(frozen=True)
class TrainResult:
    """The adapter's file, and the last numbers."""

    adapter: Path
    steps: int
    loss: float
    held_out: float | None
    seconds: float
    examples_per_second: float


def train(
    config: TrainConfig,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    progress: bool = True,
    report: Callable[[str], None] = print,
) -> TrainResult:
    """Trains and proves one adapter; returns where it lies.

    Raises InputError for a dataset that is empty or made for another grid, a run folder in use or already
    used (without ``resume``), and a loss that is not finite, naming the step and the assets.
    """
    with run_folder(out, resume):
        dataset = read_dataset(data)
        device = choose_device(config.device)
        dtype = choose_dtype(device, config.precision)
        accelerator = Accelerator(
            cpu=device.type == "cpu", mixed_precision="bf16" if dtype == torch.bfloat16 else "no"
        )
        base = load_base(config.base, device)
        require_same_grid(dataset.grid, f"dataset {data.name}", base.grid, f"base {base.name!r}")
        if not dataset.count("train"):
            raise InputError(f"dataset {data} has no rows to train on; see its rejected.jsonl")
        check_resume(out, config, dataset, base)
        train_rows = cache_rows(base, dataset, config, "train", config.variants)
        test_rows = cache_rows(base, dataset, config, "test")
        report(
            f"{train_rows.own} rows and {len(train_rows) - train_rows.own} variants to train on, "
            f"{len(test_rows)} rows held out; {device.type}, {str(dtype)[6:]}"
        )
        return _run(config, dataset, base, accelerator, train_rows, test_rows, out, dtype, progress, report)


@dataclass
class Run:
    """What goes from step to step; ``average`` is the moving average of ``parameters``, ``nothing`` says nothing."""

    config: TrainConfig
    base: Base
    accelerator: Accelerator
    rows: Cached
    nothing: Tensor
    parameters: list[nn.Parameter]
    average: list[Tensor]
    optimiser: torch.optim.Optimizer
    step: int


def _run(
    config: TrainConfig,
    dataset: Dataset,
    base: Base,
    accelerator: Accelerator,
    rows: Cached,
    held_out: Cached,
    out: Path,
    dtype: torch.dtype,
    progress: bool,
    report: Callable[[str], None],
) -> TrainResult:
    before = effect(base)
    parameters = attach(base, config.rank, config.alpha, config.targets, config.seed)
    optimiser = torch.optim.AdamW(
        parameters, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    average = [p.detach().clone() for p in parameters]
    first = load_checkpoint(out, parameters, average, optimiser, base.device)
    nothing = base.embed([""]).tokens[0]
    run = Run(config, base, accelerator, rows, nothing, parameters, average, optimiser, first)
    started = time.monotonic()
    running: float | None = None
    score: float | None = None
    bar = tqdm(total=config.steps, initial=first, disable=not progress, unit="step", dynamic_ncols=True)
    with bar, (out / "train.log.jsonl").open("a", encoding="utf-8") as log:
        while run.step < config.steps:
            record = take_step(run)
            running = record["loss"] if running is None else 0.95 * running + 0.05 * record["loss"]
            bar.update()
            bar.set_postfix(loss=f"{running:.4f}")
            if _due(run.step, config.held_out_every, config) and len(held_out):
                with _averaged(parameters, average):
                    score = held_out_loss(base, held_out, nothing, config, accelerator)
                record["held_out"] = score
            record["seconds"] = round(time.monotonic() - started, 3)
            log.write(json.dumps(record) + "\n")
            log.flush()
            if _due(run.step, config.sample_every, config) and len(held_out):
                with _averaged(parameters, average):
                    save_samples(base, held_out, out / "samples" / f"step-{run.step:06}.png", dtype)
            if _due(run.step, config.checkpoint_every, config):
                save_checkpoint(out, run.step, parameters, average, optimiser, config.keep)
    seconds = time.monotonic() - started
    loss = _finish(run, dataset, out, before, report)
    rate = max(1, run.step - first) * config.batch / max(seconds, 1e-9)
    return TrainResult(out / "adapter.safetensors", run.step, loss, score, seconds, rate)


def take_step(run: Run) -> dict[str, Any]:
    """One step of the optimiser and the average; what to log of it. Raises InputError for a loss that is no number."""
    config, base = run.config, run.base
    batch = make_batch(run.rows, run.nothing, config, run.step, base.device)
    with run.accelerator.autocast():
        guess = base.denoise(batch["noisy"], batch["t"], Text(batch["text"]), batch["known"])
    loss = masked_mse(guess.float(), batch["clean"], batch["weight"], base.moments[1]).mean()
    run.accelerator.backward(loss)
    norm = nn.utils.clip_grad_norm_(run.parameters, config.clip)
    if not torch.isfinite(loss) or not torch.isfinite(norm):
        names = ", ".join(run.rows.ids[i] for i in batch["rows"].tolist())
        raise InputError(
            f"the loss is {loss.item():g} (gradient {norm.item():g}) at step {run.step}; the batch was {names}. "
            "Nothing of this step was saved; lower learning_rate or look at these assets"
        )
    for group in run.optimiser.param_groups:
        group["lr"] = config.learning_rate * rate_at(run.step, config)
    run.optimiser.step()
    run.optimiser.zero_grad(set_to_none=True)
    run.step += 1
    _update_average(run.average, run.parameters, config.ema, run.step)
    return {"step": run.step, "loss": loss.item(), "gradient": norm.item()}


def _finish(run: Run, dataset: Dataset, out: Path, before: Tensor, report: Callable[[str], None]) -> float:
    """Saves the averaged adapter with its card and proves the file; returns the last loss."""
    with torch.no_grad():
        for parameter, mean in zip(run.parameters, run.average, strict=True):
            parameter.copy_(mean)
    last = last_records(out)
    metrics: dict[str, Any] = {
        "steps": run.step,
        "examples": run.step * run.config.batch,
        "loss": last["loss"],
        "held_out_loss": last.get("held_out"),
    }
    adapter = out / "adapter.safetensors"
    card = make_card(run.config, dataset, run.base, metrics)
    save_adapter(adapter, adapter_tensors(run.base), card, target_modules_of(run.base))
    prove(adapter, run.base, before, run.config)
    report(f"{adapter}: {os.path.getsize(adapter) / 2**20:.1f} MiB, loss {metrics['loss']:.4f}")
    return float(metrics["loss"])


def rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate's factor: linear warm-up, constant, linear decay to zero."""
    left = (config.steps - step) / max(1, round(config.steps * config.decay_share))
    return min(1.0, (step + 1) / max(1, config.warmup), left)


def make_batch(
    rows: Cached, nothing: Tensor, config: TrainConfig, step: int, device: torch.device
) -> dict[str, Tensor]:
    """Step ``step``'s batch; a function of (seed, step) and the rows alone.

    Rows come in shuffled rounds, so that each is seen equally often; variants take every other place.
    """
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    picked = [_row_at(step * config.batch + i, rows, config.seed) for i in range(config.batch)]
    index = torch.tensor(picked)
    clean = rows.latents[index].to(device, torch.float32)
    text = rows.sentences[index].to(device, torch.float32)
    t = logit_normal_times(config.batch, config.time_mean, config.time_deviation, generator).to(device)
    noise = torch.randn(clean.shape, generator=generator).to(device)
    silent = torch.rand(config.batch, generator=generator) < config.caption_dropout
    unseen = torch.rand(config.batch, generator=generator) < config.reference_dropout
    # An example with neither would teach only what the base says unasked; a sentence stays then.
    silent &= ~unseen
    known = torch.zeros(clean.shape[:2], dtype=torch.bool)
    known[:, 0] = ~unseen
    known = known.to(device)
    weight = (~known).float()
    weight[:, 0] *= config.reference_weight
    return {
        "rows": index,
        "clean": clean,
        "noisy": torch.where(known[:, :, None, None, None], clean, interpolate(clean, noise, t)),
        "t": t,
        "text": torch.where(silent.to(device)[:, None, None], nothing, text),
        "known": known,
        "weight": weight,
    }


def _row_at(position: int, rows: Cached, seed: int) -> int:
    others = len(rows) - rows.own
    first, n = 0, rows.own
    if others:
        position, odd = divmod(position, 2)
        first, n = (rows.own, others) if odd else (0, rows.own)
    lap, place = divmod(position, n)
    return first + int(np.random.default_rng([seed, lap, first]).permutation(n)[place])


@torch.no_grad()
def held_out_loss(
    base: Base, rows: Cached, nothing: Tensor, config: TrainConfig, accelerator: Accelerator, most: int = 64
) -> float:
    """Mean loss on held-out rows, drawing and sentence given, at fixed times and noise, so that runs compare."""
    times = held_out_times(HELD_OUT_TIMES, config.time_mean, config.time_deviation)
    losses = []
    for start in range(0, min(len(rows), most), 8):
        clean = rows.latents[start : start + 8].to(base.device, torch.float32)
        text = rows.sentences[start : start + 8].to(base.device, torch.float32)
        known = torch.zeros(clean.shape[:2], dtype=torch.bool, device=base.device)
        known[:, 0] = True
        for k, value in enumerate(times):
            generator = torch.Generator().manual_seed(start * HELD_OUT_TIMES + k)
            noise = torch.randn(clean.shape, generator=generator).to(base.device)
            t = value.expand(len(clean)).to(base.device)
            noisy = torch.where(known[:, :, None, None, None], clean, interpolate(clean, noise, t))
            with accelerator.autocast():
                guess = base.denoise(noisy, t, Text(text), known)
            losses.extend(masked_mse(guess.float(), clean, (~known).float(), base.moments[1]).tolist())
    return sum(losses) / len(losses)


@torch.no_grad()
def save_samples(base: Base, rows: Cached, path: Path, dtype: torch.dtype, most: int = 4) -> None:
    """Grids for the first held-out drawings from fixed seeds, one below the other, the truth beside each."""
    path.parent.mkdir(exist_ok=True)
    n = min(most, len(rows))
    clean = rows.latents[:n].to(base.device, torch.float32)
    known = torch.zeros(clean.shape[:2], dtype=torch.bool, device=base.device)
    known[:, 0] = True
    text = Text(rows.sentences[:n].to(base.device, torch.float32))
    noise = torch.stack(
        [torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(i)) for i in range(n)]
    )
    made = sample(base, noise.to(base.device), clean, known, text, STEPS, GUIDANCE, dtype)
    both = [
        np.concatenate([pack(base.grid, base.decode(x[None])[0].cpu().numpy()) for x in pair], axis=1)
        for pair in zip(made, clean, strict=True)
    ]
    to_image(np.concatenate(both)).save(path)


def make_card(config: TrainConfig, dataset: Dataset, base: Base, metrics: dict[str, Any]) -> AdapterCard:
    """The card, from what happened."""
    return AdapterCard(
        base=base.name,
        base_revision=base.revision,
        grid=base.grid.to_dict(),
        trigger=config.trigger,
        rank=config.rank,
        alpha=config.alpha,
        targets=list(config.targets),
        dataset=dataset.content_hash,
        assets=dataset.assets("train"),
        drawings=dataset.count("train"),
        licenses=list(dataset.licenses),
        artists=list(dataset.artists),
        sources=list(dataset.sources),
        recipe=to_fields(config),
        metrics=metrics,
        versions={p: version(p) for p in ("lora3d", "torch", "diffusers", "peft")},
    )


def target_modules_of(base: Base) -> list[str]:
    """The names of the layers that carry the adapter being trained."""
    suffix = ".lora_A.style"
    return sorted(n.removesuffix(suffix) for n, _ in base.unet.named_modules() if n.endswith(suffix))


def prove(adapter: Path, base: Base, before: Tensor, config: TrainConfig) -> None:
    """Loads the file into a fresh base: its effect must equal the trained one's, and must not be nothing."""
    with torch.no_grad():
        trained = effect(base)
        fresh = load_base(config.base, base.device)
        load_adapter(fresh, adapter, "proof")
        use_adapters(fresh, {"proof": 1.0})
        loaded = effect(fresh)
    moved = (trained - before).abs().max().item()
    off = (loaded - trained).abs().max().item()
    if moved <= 1e-6 or off > 1e-4 * max(1.0, trained.abs().max().item()):
        adapter.rename(adapter.with_suffix(".broken"))
        raise InputError(
            f"the saved adapter was loaded back and moves the output by {moved:.2g}, {off:.2g} away from the "
            "trained one: it is not kept as a result"
        )


def _due(step: int, every: int, config: TrainConfig) -> bool:
    return bool(every) and (step % every == 0 or step == config.steps)


def _update_average(average: list[Tensor], parameters: list[nn.Parameter], decay: float, step: int) -> None:
    with torch.no_grad():
        for mean, parameter in zip(average, parameters, strict=True):
            mean.lerp_(parameter, 1 - min(decay, (1 + step) / (10 + step)))


@contextmanager
def _averaged(parameters: list[nn.Parameter], average: list[Tensor]) -> Iterator[None]:
    """Runs the block with the averaged weights in place."""
    current = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for p, mean in zip(parameters, average, strict=True):
            p.copy_(mean)
        yield
        for p, value in zip(parameters, current, strict=True):
            p.copy_(value)
