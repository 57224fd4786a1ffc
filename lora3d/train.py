"""Trains an adapter on a dataset; one loop that reads top to bottom as the experiment.

Everything random is drawn from (seed, step), so a resumed run takes the very steps that an undisturbed one
takes. What lies in the run's folder: ``adapter.safetensors`` (the result), ``recipe.json``,
``train.log.jsonl``, ``checkpoints/``, ``samples/``.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from lora3d.adapter import (
    AdapterCard,
    adapter_tensors,
    attach,
    effect,
    load_adapter,
    save_adapter,
    trained_modules,
    use_adapters,
)
from lora3d.base import Base, load_base
from lora3d.base.text import Text
from lora3d.cache import Cached, cache_rows
from lora3d.checkpoint import (
    State,
    load_checkpoint,
    new_state,
    read_log,
    read_run,
    run_folder,
    save_checkpoint,
    settle_run,
)
from lora3d.dataset import Dataset, read_dataset
from lora3d.device import autocast, choose_device, choose_dtype
from lora3d.diffusion import logit_normal_times, masked_mse, mix, target
from lora3d.errors import InputError
from lora3d.grid import require_same_grid
from lora3d.progress import (
    fixed_loss,
    mean_loss,
    overfit,
    save_samples,
    slot_weights,
    split_validation,
    spread,
)
from lora3d.recipe import TrainConfig, to_fields

WATCHED = 16


@dataclass(frozen=True)
class TrainResult:
    """The adapter's file, and the numbers of the step that it is of."""

    adapter: Path
    steps: int
    kept_step: int
    loss: float
    validation: float | None
    held_out: float | None
    seconds: float
    examples_per_second: float


@dataclass
class Run:
    """What a run is made of; `State` is what changes in it.

    ``validation``, ``probe`` and ``held_out`` are looked at only: models kept aside, some trained on, the test side.
    """

    config: TrainConfig
    dataset: Dataset
    base: Base
    dtype: torch.dtype
    rows: Cached
    validation: Cached
    probe: Cached
    held_out: Cached
    state: State
    out: Path
    report: Callable[[str], None]
    history: list[dict[str, Any]] = field(default_factory=list)


def train(
    config: TrainConfig,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    accept_changes: bool = False,
    progress: bool = True,
    report: Callable[[str], None] = print,
) -> TrainResult:
    """Trains and proves one adapter; returns where it lies.

    Raises InputError for a dataset that is empty or made for another grid, a run folder in use or already
    used (without ``resume``), another recipe or dataset on resume (without ``accept_changes``), and a loss that
    is not finite, naming the step and the assets.
    """
    with run_folder(out, resume):
        dataset = read_dataset(data)
        if not dataset.count("train"):
            raise InputError(f"dataset {data} has no rows to train on; see its rejected.jsonl")
        device = choose_device(config.device)
        then = read_run(out)
        # Measured anew, a choice could differ; a run goes on as it began.
        dtype = choose_dtype(device, config.precision) if then is None else getattr(torch, then["precision"])
        base = load_base(config.base, device, grid=dataset.grid, dtype=dtype)
        require_same_grid(dataset.grid, f"dataset {data.name}", base.grid, f"base {base.name!r}")
        made_of = {
            "recipe": to_fields(config),
            "dataset": dataset.content_hash,
            "base": base.revision,
            "precision": str(dtype).removeprefix("torch."),
        }
        settle_run(out, made_of, then, accept=accept_changes)
        rows = cache_rows(base, dataset, config, "train", config.variants)
        held_out = spread(cache_rows(base, dataset, config, "test"), dataset, 4 * WATCHED)
        rows, validation = split_validation(rows, dataset, config)
        before = answer(base, rows.nothing)
        state = new_state(*prepare(base, config))
        run = Run(
            config,
            dataset,
            base,
            dtype,
            rows,
            spread(validation, dataset, WATCHED),
            spread(rows, dataset, WATCHED // 2),
            held_out,
            state,
            out,
            report,
        )
        load_checkpoint(out, state, report)
        run.history = read_log(out)
        report(
            f"{rows.own} rows and {len(rows) - rows.own} variants to train on, {len(validation)} rows to stop by, "
            f"{dataset.count('test')} held out; {device.type}, {str(dtype)[6:]}"
        )
        if config.validation_share and not len(validation):
            report("too few models to keep some aside: nothing says when to stop, all steps are taken")
        seconds, first = take_steps(run, progress)
        return finish(run, before, seconds, (state.step - first) * config.batch)


def prepare(base: Base, config: TrainConfig) -> tuple[list[Tensor], torch.optim.Optimizer]:
    """A fresh adapter on the base, and its optimiser."""
    parameters = attach(base, config.rank, config.alpha, config.targets, config.seed)
    optimiser = torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=config.weight_decay,
        fused=base.device.type in ("cpu", "cuda"),
    )
    return parameters, optimiser


def take_steps(run: Run, progress: bool) -> tuple[float, int]:
    """The loop. Returns its seconds and the step it began with.

    Raises InputError when asked to stop (Ctrl-C), with a checkpoint saved.
    """
    config, state = run.config, run.state
    first, started = state.step, time.monotonic()
    bar = tqdm(total=config.steps, initial=first, disable=not progress, unit="step", dynamic_ncols=True)
    with bar, stoppable() as asked, (run.out / "train.log.jsonl").open("a", encoding="utf-8") as log:
        if not run.history and len(run.validation):
            write_record(run, log, {"step": 0, **look(run)})
        while not is_finished(state, config):
            record = take_step(run)
            bar.update()
            bar.set_postfix(loss=f"{mean_loss([*run.history[-19:], record], state.step):.4f}")
            if _due(state.step, config.validate_every, config) and len(run.validation):
                record |= look(run)
                keep_best(state, record["validation"])
            if config.held_out_every and state.step % config.held_out_every == 0 and len(run.held_out):
                with averaged(state.parameters, state.average):
                    record["held_out"] = fixed_loss(run.base, run.held_out, config, run.dtype)
            record["seconds"] = round(time.monotonic() - started, 3)
            write_record(run, log, record)
            warning = overfit(run.history) if "validation" in record else None
            if warning:
                run.report(warning)
            if _due(state.step, config.sample_every, config) and len(run.held_out):
                make_samples(run)
            ends = is_finished(state, config) or asked()
            if ends or (config.checkpoint_every and state.step % config.checkpoint_every == 0):
                os.fsync(log.fileno())
                save_checkpoint(run.out, state, config.keep)
            if asked() and not is_finished(state, config):
                raise InputError(
                    f"stopped as asked after step {state.step} of {config.steps}; it is saved: "
                    "the same command with --resume goes on"
                )
    return time.monotonic() - started, first


def take_step(run: Run) -> dict[str, Any]:
    """One step of the optimiser and the average; what to log of it. Raises InputError for a loss that is no number."""
    config, state = run.config, run.state
    batch = make_batch(run.rows, config, state.step)
    size = config.micro_batch or config.batch
    loss = torch.zeros(())
    for start in range(0, config.batch, size):
        part = example_losses(run, batch, slice(start, start + size)).sum() / config.batch
        part.backward()
        loss += part.detach().cpu()
    norm = nn.utils.clip_grad_norm_(state.parameters, config.clip)
    if not torch.isfinite(loss) or not torch.isfinite(norm):
        names = ", ".join(run.rows.ids[i] for i in batch["rows"].tolist())
        raise InputError(
            f"the loss is {loss.item():g} (gradient {norm.item():g}) at step {state.step}; the batch was {names}. "
            "Nothing of this step was saved; lower learning_rate or look at these assets"
        )
    for group in state.optimiser.param_groups:
        group["lr"] = config.learning_rate * rate_at(state.step, config)
    state.optimiser.step()
    state.optimiser.zero_grad(set_to_none=True)
    state.step += 1
    update_average(state.average, state.parameters, config.ema, state.step)
    return {"step": state.step, "loss": loss.item(), "gradient": norm.item()}


def example_losses(run: Run, batch: dict[str, Tensor], part: slice) -> Tensor:
    """The losses (b,) of a part of a batch of `make_batch`, on the base's device."""
    base, rows = run.base, run.rows
    here = {k: v[part].to(base.device) for k, v in batch.items() if k != "rows"}
    index = batch["rows"][part]
    clean = rows.latents[index].to(base.device, torch.float32)
    said = rows.text(index).to(base.device)
    text: Text = said.where(~here["silent"], rows.nothing.to(base.device))
    alpha, sigma = base.levels(here["t"])
    noisy = torch.where(here["known"][:, :, None, None, None], clean, mix(clean, here["noise"], alpha, sigma))
    with autocast(base.device, run.dtype):
        found = base.denoise(noisy, here["t"], text, here["known"])
    wanted = target(base.prediction, clean, here["noise"], alpha, sigma)
    return masked_mse(found.float(), wanted, here["weight"], base.moments[1])


def make_batch(rows: Cached, config: TrainConfig, step: int) -> dict[str, Tensor]:
    """Step ``step``'s batch; a function of (seed, step) and the rows alone.

    Returns ``rows`` (b,), ``noise`` (b, slots, c, h, w), ``t`` (b,), ``silent`` (b,) bool: the sentence is left
    out, ``known`` (b, slots) bool and ``weight`` (b, slots). Rows come in shuffled rounds, so that each is seen
    equally often; variants take every other place.
    """
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    n = config.batch
    picked = [row_at(step * n + i, rows, config.seed) for i in range(n)]
    t = logit_normal_times(n, config.time_mean, config.time_deviation, generator)
    noise = torch.randn(n, *rows.latents.shape[1:], generator=generator)
    silent = torch.rand(n, generator=generator) < config.caption_dropout
    unseen = torch.rand(n, generator=generator) < config.reference_dropout
    drawn, weight = slot_weights(rows.slots, config)
    known = drawn & ~unseen[:, None]
    return {
        "rows": torch.tensor(picked),
        "noise": noise,
        "t": t,
        # An example with neither would teach only what the base says unasked; a sentence stays then.
        "silent": silent & known.any(1),
        "known": known,
        "weight": weight * ~known,
    }


def row_at(position: int, rows: Cached, seed: int) -> int:
    """The row at a place of the endless order of rows."""
    others = len(rows) - rows.own
    first, n = 0, rows.own
    if others:
        position, odd = divmod(position, 2)
        first, n = (rows.own, others) if odd else (0, rows.own)
    lap, place = divmod(position, n)
    return first + int(np.random.default_rng([seed, lap, first]).permutation(n)[place])


def rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate's factor: linear warm-up, constant, linear decay to zero."""
    left = (config.steps - step) / max(1, round(config.steps * config.decay_share))
    return min(1.0, (step + 1) / max(1, config.warmup), left)


def look(run: Run) -> dict[str, float]:
    """The averaged adapter's loss on the models kept aside and on some of those trained on."""
    with averaged(run.state.parameters, run.state.average):
        return {
            "validation": fixed_loss(run.base, run.validation, run.config, run.dtype),
            "trained": fixed_loss(run.base, run.probe, run.config, run.dtype),
        }


def keep_best(state: State, loss: float) -> None:
    """Keeps the average if its loss is the least so far."""
    if loss < state.best_loss:
        state.best_loss, state.best_step = loss, state.step
        for best, mean in zip(state.best, state.average, strict=True):
            best.copy_(mean)


def is_finished(state: State, config: TrainConfig) -> bool:
    """All steps taken, or none of the last looks better than the best."""
    waited = state.step - state.best_step
    stale = bool(config.patience and state.best_step and waited >= config.patience * config.validate_every)
    return state.step >= config.steps or stale


def make_samples(run: Run) -> None:
    with averaged(run.state.parameters, run.state.average):
        path = run.out / "samples" / f"step-{run.state.step:06}.png"
        for line in save_samples(
            run.base, run.held_out.pick(list(range(min(4, len(run.held_out))))), run.rows, path, run.dtype
        ):
            run.report(f"step {run.state.step}: {line}")


def finish(run: Run, before: Tensor, seconds: float, examples: int) -> TrainResult:
    """Saves the adapter with its card once the file is proved."""
    config, state, out = run.config, run.state, run.out
    kept, step = (state.best, state.best_step) if state.best_step else (state.average, state.step)
    with torch.no_grad():
        for parameter, value in zip(state.parameters, kept, strict=True):
            parameter.copy_(value)
    held_out = fixed_loss(run.base, run.held_out, config, run.dtype) if len(run.held_out) else None
    validation = state.best_loss if state.best_step else None
    loss = mean_loss(run.history, step)
    metrics: dict[str, Any] = {
        "steps": step,
        "examples": step * config.batch,
        "loss": loss,
        "validation_loss": validation,
        "held_out_loss": held_out,
    }
    adapter, unproved = out / "adapter.safetensors", out / "adapter.unproved"
    card = make_card(config, run.dataset, run.base, metrics)
    save_adapter(unproved, adapter_tensors(run.base), card, trained_modules(run.base))
    prove(unproved, run.base, before, run.rows.nothing)
    unproved.replace(adapter)
    looks = [r["validation"] for r in run.history if "validation" in r]
    if validation is not None and validation >= looks[0]:
        run.report(
            f"on the models kept aside the adapter ({validation:.4f}) is no better than the base ({looks[0]:.4f}): "
            "lower learning_rate, or give it more models"
        )
    run.report(
        f"{adapter}: step {step} of {state.step}, {os.path.getsize(adapter) / 2**20:.1f} MiB, loss {loss:.4f}"
    )
    rate = examples / max(seconds, 1e-9)
    return TrainResult(adapter, state.step, step, loss, validation, held_out, seconds, rate)


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


@torch.no_grad()
def answer(base: Base, nothing: Text) -> Tensor:
    """`effect`, checked to be finite. Raises InputError naming the first damaged weight."""
    found = effect(base, nothing)
    if not torch.isfinite(found).all():
        bad = [n for n, p in base.network.named_parameters() if not torch.isfinite(p).all()]
        what = f"{bad[0]} and {len(bad) - 1} more hold numbers" if bad else "its answer holds numbers"
        raise InputError(f"base {base.name!r} is damaged: {what} that are not finite; get its files anew")
    return found


def prove(file: Path, base: Base, before: Tensor, nothing: Text) -> None:
    """Loads the file in place of what was trained: its effect must be the same, and must not be nothing."""
    trained = effect(base, nothing)
    base.network.delete_adapters("style")
    load_adapter(base, file, "proof")
    use_adapters(base, {"proof": 1.0})
    loaded = effect(base, nothing)
    moved = (trained - before).abs().max().item()
    off = (loaded - trained).abs().max().item()
    if not moved > 1e-6 or not off <= 1e-4 * max(1.0, trained.abs().max().item()):
        raise InputError(
            f"the saved adapter was loaded back and moves the output by {moved:.2g}, {off:.2g} away from the "
            f"trained one: it stays {file.name} and is not kept as a result"
        )


def write_record(run: Run, log: Any, record: dict[str, Any]) -> None:
    run.history.append(record)
    log.write(json.dumps(record) + "\n")
    log.flush()


def _due(step: int, every: int, config: TrainConfig) -> bool:
    return bool(every) and (step % every == 0 or step == config.steps)


def update_average(average: list[Tensor], parameters: list[Tensor], decay: float, step: int) -> None:
    with torch.no_grad():
        torch._foreach_lerp_(average, parameters, 1 - min(decay, (1 + step) / (10 + step)))


@contextmanager
def averaged(parameters: list[Tensor], average: list[Tensor]) -> Iterator[None]:
    """Runs the block with the averaged weights in place."""
    current = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        torch._foreach_copy_(parameters, average)
        yield
        torch._foreach_copy_(parameters, current)


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Says whether Ctrl-C was pressed (or the process told to end); the second time it works as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed: list[int] = []
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def press(number: int, frame: object) -> None:
        pressed.append(number)
        for each, handler in earlier.items():
            signal.signal(each, handler)

    for number in earlier:
        signal.signal(number, press)
    try:
        yield lambda: bool(pressed)
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
