"""From the last step to a file that is proved before it gets its name."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora3d.adapter import (
    AdapterCard,
    adapter_tensors,
    effect,
    load_adapter,
    remove_adapter,
    save_adapter,
    scales,
    trained_modules,
    use_adapters,
)
from lora3d.adapter_convert import parent_of
from lora3d.base import Base
from lora3d.base.text import Text
from lora3d.checkpoint import room_for, save_checkpoint
from lora3d.dataset import Dataset
from lora3d.errors import InputError
from lora3d.palette import shared_palette, to_entries, view_colours
from lora3d.progress import fixed_loss, mean_loss, merit
from lora3d.recipe import TrainConfig, to_fields
from lora3d.run import Run, TrainResult, warn
from lora3d.state import averaged, put_in_place
from lora3d.viewpoints import shared_viewpoints


def make_card(config: TrainConfig, dataset: Dataset, base: Base, metrics: dict[str, Any]) -> AdapterCard:
    """The card, from what happened. A local path in the recipe becomes the name that it stands for."""
    grid = Path(config.grid_adapter) if config.grid_adapter else None
    named = {"base": base.name, "grid_adapter": grid.name if grid else ""}
    views = (row.tiles for row in dataset.rows("train") if row.truth is None)
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
        recipe=to_fields(config) | named,
        metrics=metrics,
        versions={p: version(p) for p in ("lora3d", "torch", "diffusers", "peft")},
        viewpoints=shared_viewpoints(dataset.drawn_from("train")),
        palette=to_entries(shared_palette(view_colours(base.grid, views, dataset.count("train")))),
        parents=[parent_of(grid)] if grid else [],
    )


@torch.no_grad()
def sound_effect(base: Base, said: Text | None) -> Tensor:
    """`effect`, checked to be finite. Raises InputError naming the first damaged weight."""
    found = effect(base, said)
    if not torch.isfinite(found).all():
        bad = [n for n, p in base.network.named_parameters() if not torch.isfinite(p).all()]
        what = f"{bad[0]} and {len(bad) - 1} more hold numbers" if bad else "its answer holds numbers"
        raise InputError(f"base {base.name!r} is damaged: {what} that are not finite; get its files anew")
    return found


def save_proved(path: Path, base: Base, card: AdapterCard, before: Tensor, said: Text | None) -> None:
    """Saves the adapter ``style``, loads the file in its place, and names it ``path`` if it does the same.

    before: `effect` without the adapter, asked with ``said``. Raises InputError for a file that does something else,
    or nothing, and for one that cannot be written, see `room_for`.
    """
    unproved, tensors = path.with_suffix(".unproved"), adapter_tensors(base)
    with room_for(path.name, path.parent, sum(x.nbytes for x in tensors.values())):
        save_adapter(unproved, tensors, card, trained_modules(base), scales(base))
    trained = effect(base, said)
    others = {name: 1.0 for name in base.network.active_adapters() if name != "style"}
    remove_adapter(base, "style")
    load_adapter(base, unproved, "proof")
    use_adapters(base, {**others, "proof": 1.0})
    loaded = effect(base, said)
    moved = (trained - before).abs().max().item()
    off = (loaded - trained).abs().max().item()
    if not moved > 1e-6 or not off <= 1e-4 * max(1.0, trained.abs().max().item()):
        raise InputError(
            f"the saved adapter was loaded back and moves the output by {moved:.2g}, {off:.2g} away from the "
            f"trained one: it stays {unproved.name} and is not kept as a result"
        )
    unproved.replace(path)


@torch.compiler.set_stance("force_eager")
def finish(run: Run, seconds: float, examples: int) -> TrainResult:
    """Saves the adapter of the best step, or of the last one's average where nothing was kept aside."""
    config, state = run.config, run.state
    adapter = run.out / "adapter.safetensors"
    kept, step = (state.best, state.best_step) if state.best_step else (state.average, state.step)
    looks = {r["step"]: r for r in run.history if "validation" in r}
    validation = looks[step]["validation"] if state.best_step and step in looks else None
    loss, held_out = mean_loss(run.history, step), None
    rate = examples / max(seconds, 1e-9)
    result = TrainResult(adapter, state.step, step, loss, validation, held_out, seconds, rate)
    if not run.crew.is_main_process:
        return result
    put_in_place(state, kept)
    if len(run.held_out):
        held_out = fixed_loss(run.base, run.held_out, config, run.dtype)
    save_step(run, adapter, step, validation, held_out)
    if state.best_step and 0 in looks and state.best_loss >= (first := merit(looks[0], config.stop_on)):
        warn(
            run,
            f"on the models kept aside the adapter ({config.stop_on} {abs(state.best_loss):.4f}) is no better than "
            f"the base ({abs(first):.4f}): lower learning_rate, or give it more models",
        )
    size = os.path.getsize(adapter) / 2**20
    said = "loss not known: train.log.jsonl is gone" if loss is None else f"loss {loss:.4f}"
    run.report(f"{adapter}: step {step} of {state.step}, {size:.1f} MiB, {said}")
    warnings = tuple(r["warning"] for r in run.history if "warning" in r)
    return replace(result, held_out=held_out, warnings=warnings)


def save_step(run: Run, path: Path, step: int, validation: float | None, held_out: float | None) -> None:
    """`save_proved` of the weights in place, which are those of ``step``, with their card."""
    metrics = {
        "steps": step,
        "examples": step * run.config.batch,
        "loss": mean_loss(run.history, step),
        "validation_loss": validation,
        "held_out_loss": held_out,
    }
    card = make_card(run.config, run.dataset, run.base, metrics)
    save_proved(path, run.base, card, run.before, run.said)


@torch.compiler.set_stance("force_eager")
def keep_last_good(run: Run) -> str:
    """Saves what was learnt before a step that failed, and says where: its averaged adapter and, if that is sound, all.

    No older checkpoint makes room for this one, since a run may have gone wrong long before it broke.
    """
    state, path = run.state, run.out / "adapter.last-good.safetensors"
    if not run.crew.is_main_process:
        return "What was learnt before it is the main process's to save"
    if not state.step:
        return "Nothing was learnt before it"
    try:
        with averaged(state):
            save_step(run, path, state.step, None, None)
        save_checkpoint(run.out, state, run.config.keep + 1)
    except InputError as error:
        path.with_suffix(".unproved").unlink(missing_ok=True)
        return f"What was learnt before it is not kept ({error})"
    return f"What was learnt before it is kept: {path} and a checkpoint, for --resume --accept-changes"
