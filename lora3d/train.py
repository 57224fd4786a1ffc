"""Trains an adapter on a dataset; one loop that reads top to bottom as the experiment.

Everything random is drawn from (seed, step), so a resumed run takes the very steps that an undisturbed one
takes. What lies in the run's folder: ``adapter.safetensors`` (the result), ``recipe.json``,
``train.log.jsonl``, ``checkpoints/``, ``samples/``; ``adapter.last-good.safetensors`` where a loss was not finite.

``accelerate launch -m lora3d train …`` shares each batch out among processes. All hold the same adapter; gradients
are summed, so that N processes take the steps of one, but for the masks of LoRA's dropout, which each draws for its
own examples. Only the main one writes the run's folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list
from torch import Tensor, nn
from tqdm import tqdm

from lora3d.adapter import load_adapter, set_dropout, without
from lora3d.adapter_formats import write_atomically
from lora3d.base import Base, load_base
from lora3d.batches import Batch, make_batches, mask_seed, rate_at
from lora3d.cache import Cached, cache_rows, text_of
from lora3d.checkpoint import (
    load_checkpoint,
    made_of,
    read_log,
    read_run,
    room_for,
    run_folder,
    save_checkpoint,
    settle_run,
    stoppable,
    trim_log,
)
from lora3d.dataset import Dataset, read_dataset
from lora3d.device import autocast, choose_device, choose_dtype
from lora3d.diffusion import loss_weight, masked_mse, mix, target
from lora3d.errors import InputError
from lora3d.estimate import require_memory
from lora3d.grid import require_same_grid
from lora3d.progress import (
    fixed_loss,
    mean_loss,
    merit,
    overfit,
    split_validation,
    spread,
    start_tracker,
)
from lora3d.proof import finish, keep_last_good, sound_effect
from lora3d.recipe import TrainConfig
from lora3d.run import Run, TrainResult, note, warn
from lora3d.state import averaged, is_finished, keep_best, prepare, update_average

WATCHED = 16


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
    device = choose_device(config.device)
    waits = InitProcessGroupKwargs(timeout=timedelta(days=7))  # for others that encode for hours
    crew = Accelerator(cpu=device.type == "cpu", kwargs_handlers=[waits])
    if not crew.is_main_process:
        report, progress = (lambda text: None), False
    with run_folder(out, resume) if crew.is_main_process else nullcontext():
        crew.wait_for_everyone()
        run = set_up(config, data, out, crew, accept_changes, report)
        damaged: list[str] = []
        load_checkpoint(out, run.state, damaged.append)
        if crew.is_main_process:
            trim_log(out, run.state.step or -1)  # without a checkpoint nothing of it holds
        crew.wait_for_everyone()
        run.history = read_log(out)
        for text in damaged:
            warn(run, text)
        seconds, first = take_steps(run, progress)
        return finish(run, seconds, (run.state.step - first) * config.batch)


def set_up(
    config: TrainConfig, data: Path, out: Path, crew: Accelerator, accept: bool, report: Callable[[str], None]
) -> Run:
    """The run before its first step."""
    dataset = read_dataset(data)
    if not dataset.count("train"):
        raise InputError(f"dataset {data} has no rows to train on; see its rejected.jsonl")
    base, dtype = open_base(config, dataset, out, crew, accept)
    rows = cache_rows(base, dataset, config, "train", config.variants, crew)
    held_out = spread(cache_rows(base, dataset, config, "test", crew=crew), dataset, 4 * WATCHED)
    base.release()
    rows, validation = split_validation(rows, dataset, config)
    if config.grid_adapter:
        load_adapter(base, Path(config.grid_adapter), "grid")
    said = None if config.text_rate else rows.nothing
    report(
        f"{rows.own} rows and {len(rows) - rows.own} variants to train on, {len(validation)} rows to stop by, "
        f"{dataset.count('test')} held out; {crew.device.type}, {str(dtype)[6:]}"
    )
    if config.validation_share and not len(validation):
        report("too few models to keep some aside: nothing says when to stop, all steps are taken")
    return Run(
        config=config,
        dataset=dataset,
        base=base,
        crew=crew,
        dtype=dtype,
        rows=rows,
        validation=spread(validation, dataset, WATCHED),
        probe=spread(rows, dataset, WATCHED // 2),
        held_out=held_out,
        said=said,
        before=sound_effect(base, said),
        state=prepare(base, config),
        out=out,
        report=report,
    )


def open_base(
    config: TrainConfig, dataset: Dataset, out: Path, crew: Accelerator, accept: bool
) -> tuple[Base, torch.dtype]:
    """The base in the run's precision, once the run is known to be what it was started as."""
    then = read_run(out)
    # Measured anew, a choice could differ; a run goes on as it began, and all processes as the first.
    dtype = choose_dtype(crew.device, config.precision) if then is None else getattr(torch, then["precision"])
    dtype = broadcast_object_list([dtype])[0]
    require_memory(config, dataset.grid, crew.device, dtype)
    base = load_base(config.base, crew.device, grid=dataset.grid, dtype=dtype, quantise=config.quantise)
    require_same_grid(dataset.grid, f"dataset {dataset.path.name}", base.grid, f"base {base.name!r}")
    if crew.is_main_process:
        settle_run(out, made_of(config, dataset, base, dtype), then, accept=accept)
    return base, dtype


def take_steps(run: Run, progress: bool) -> tuple[float, int]:
    """The loop. Returns its seconds and the step it began with.

    Raises InputError when asked to stop (Ctrl-C), with a checkpoint saved.
    """
    config, state, main = run.config, run.state, run.crew.is_main_process
    first, started = state.step, time.monotonic()
    bar = tqdm(total=config.steps, initial=first, disable=not progress, unit="step", dynamic_ncols=True)
    batches = make_batches(run.rows, config, first, run.crew.device)
    with bar, stoppable() as asked, closing(batches), start_tracker(config, run.out, main) as track:
        if not state.step and len(run.validation):
            record = {"step": 0, **look(run)}
            note(run, record)
            track(record)
        while not is_finished(state, config):
            record = take_step(run, next(batches), asked())
            stop = record.pop("asked")
            bar.update()
            bar.set_postfix(loss=mean_loss([*run.history[-19:], record], state.step))
            if _due(state.step, config.validate_every, config) and len(run.validation):
                record |= look(run)
                keep_best(state, merit(record, config.stop_on))
            if config.held_out_every and state.step % config.held_out_every == 0 and len(run.held_out):
                record["held_out"] = look_at(run, run.held_out)
            if main and _due(state.step, config.sample_every, config) and len(run.held_out):
                picture, scores = make_samples(run, run.held_out, f"step-{state.step:06}")
                record |= scores
                track({"step": state.step, "samples": picture})
            record["seconds"] = round(time.monotonic() - started, 3)
            note(run, record)
            track(record)
            warning = overfit(run.history) if "validation" in record else None
            if warning:
                warn(run, warning)
            ends = is_finished(state, config) or stop
            saves = ends or (config.checkpoint_every and state.step % config.checkpoint_every == 0)
            if main and saves:
                save_checkpoint(run.out, state, config.keep)
            if stop and not is_finished(state, config):
                raise InputError(
                    f"stopped as asked after step {state.step} of {config.steps}; it is saved: "
                    "the same command with --resume goes on"
                )
    return time.monotonic() - started, first


def take_step(run: Run, batch: Batch, asked: bool = False) -> dict[str, Any]:
    """One step of the optimiser and the average; what to log of it. Raises InputError for a loss that is no number,
    with what was good before it saved.

    asked: whether this process was asked to stop; the record says whether any was.
    """
    config, state, crew = run.config, run.state, run.crew
    if config.dropout:
        torch.manual_seed(mask_seed(config, state.step, crew.process_index, crew.num_processes))
        set_dropout(run.base, True)
    share = range(config.batch)[crew.process_index :: crew.num_processes]
    size = config.micro_batch or config.batch
    sums = torch.tensor([0.0, float(asked)], device=crew.device)
    for start in range(0, len(share), size):
        part = share[start : start + size]
        some = slice(part.start, part.stop, part.step)  # a view: what is pinned stays pinned
        loss = example_losses(run, {k: v[some] for k, v in batch.items()}).sum() / config.batch
        loss.backward()
        sums[0] += loss.detach()
    if config.dropout:
        set_dropout(run.base, False)
    if crew.num_processes > 1:
        sums = add_up(crew, state.parameters, sums)
    norm = nn.utils.clip_grad_norm_(state.parameters, config.clip)
    if not torch.isfinite(sums[0]) or not torch.isfinite(norm):
        names = ", ".join(run.rows.ids[i] for i in batch["rows"].tolist())
        kept = keep_last_good(run)
        crew.wait_for_everyone()  # a launcher ends all processes once one has failed
        raise InputError(
            f"the loss is {sums[0].item():g} (gradient {norm.item():g}) at step {state.step}; the batch was {names}. "
            f"{kept}. Lower learning_rate or look at these assets"
        )
    for group in state.optimiser.param_groups:
        group["lr"] = config.learning_rate * group["times"] * rate_at(state.step, config)
    state.optimiser.step()
    state.optimiser.zero_grad(set_to_none=True)
    state.step += 1
    update_average(state, config.ema)
    return {"step": state.step, "loss": sums[0].item(), "gradient": norm.item(), "asked": bool(sums[1] > 0)}


def add_up(crew: Accelerator, parameters: list[Tensor], sums: Tensor) -> Tensor:
    """Sums gradients over the processes in one message, ``sums`` with them; a process without rows has zeros."""
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    whole = crew.reduce(torch.cat([sums, *(g.flatten() for g in grads)]), "sum")
    parts = whole[len(sums) :].split([p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)
    return whole[: len(sums)]


def example_losses(run: Run, batch: Batch) -> Tensor:
    """The losses (b,) of a batch of `make_batch`, on the base's device.

    With ``prior``, w times the distance from what the network says without the adapter to the same grids under
    their captions without the trigger is added (after Ruiz et al. 2023, eq. 2, whose base draws its own pictures).
    """
    base, rows, config = run.base, run.rows, run.config
    pinned = base.device.type == "cuda"
    here = {
        k: v.to(base.device, non_blocking=pinned) for k, v in batch.items() if k not in ("rows", "silent")
    }
    index, clean = batch["rows"], here["clean"].float()
    alpha, sigma = base.levels(here["t"])
    noisy = torch.where(here["known"][:, :, None, None, None], clean, mix(clean, here["noise"], alpha, sigma))

    def ask(said: Tensor) -> Tensor:
        text = text_of(base, rows, said)
        with autocast(base.device, run.dtype):
            return base.denoise(noisy, here["t"], text, here["known"], here["seen"]).float()

    wanted = target(base.prediction, clean, here["noise"], alpha, sigma)
    # The first sentence is the empty one.
    found = ask(rows.said[index] * ~batch["silent"])
    losses = masked_mse(found, wanted, here["weight"], base.moments[1])
    if rows.plain is not None:
        with torch.no_grad(), without(base, "style"):
            kept = ask(rows.plain[index])
        apart = masked_mse(ask(rows.plain[index]), kept, here["weight"], base.moments[1])
        losses = losses + config.prior * apart
    return losses * loss_weight(config.weighting, base.prediction, alpha, sigma, config.gamma)


def look(run: Run) -> dict[str, float]:
    """The averaged adapter's loss on the models kept aside and on some of those trained on; scores where they decide.

    With ``stop_on`` a score, those of sample grids for the models kept aside, as ``aside_psnr`` and so on.
    """
    found = {"validation": look_at(run, run.validation), "trained": look_at(run, run.probe)}
    if run.config.stop_on != "loss":
        scores: dict[str, float] = {}
        if run.crew.is_main_process:
            scores = make_samples(run, run.validation, f"aside-{run.state.step:06}")[1]
        found |= {f"aside_{name}": x for name, x in broadcast_object_list([scores])[0].items()}
    return found


# Compiled is a step alone: every other shape would be compiled for itself.
@torch.compiler.set_stance("force_eager")
def look_at(run: Run, rows: Cached) -> float:
    """`fixed_loss` of the averaged adapter, the main process's number for all."""
    loss = 0.0
    if run.crew.is_main_process:
        with averaged(run.state):
            loss = fixed_loss(run.base, rows, run.config, run.dtype)
    return float(broadcast_object_list([loss])[0])


@torch.compiler.set_stance("force_eager")
def make_samples(run: Run, rows: Cached, name: str) -> tuple[Path, dict[str, float]]:
    """Sample grids of the averaged adapter for the first drawings: the picture's file, and their scores."""
    from lora3d.samples import draw_samples

    path = run.out / "samples" / f"{name}.png"
    few = rows.pick(list(range(min(4, len(rows)))))
    with averaged(run.state):
        picture, copies, scores = draw_samples(run.base, few, run.rows, run.dtype)
    with room_for("sample grid", run.out, len(picture)):
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, picture)
    for line in copies:
        warn(run, f"step {run.state.step}: {line}")
    run.base.release()
    return path, scores


def _due(step: int, every: int, config: TrainConfig) -> bool:
    return bool(every) and (step % every == 0 or step == config.steps)
