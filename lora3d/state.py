"""What goes from step to step of a run, and what is made of it: the moving average, and the best of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from lora3d.adapter import attach, networks, use_adapters
from lora3d.base import Base
from lora3d.device import require_compiler
from lora3d.errors import InputError
from lora3d.heap import keep_freed_memory, return_freed_memory
from lora3d.lora_linear import use_lora_linear
from lora3d.recipe import TrainConfig
from lora3d.recompute import recompute


@dataclass
class State:
    """All that goes from step to step, and so all that a checkpoint holds.

    Whatever is random is drawn from (seed, step), the learning rate follows from the step, and rows come in an
    order that follows from it too: there are no other states.

    Attributes:
        parameters: of the adapter.
        average: their moving average.
        best: the average at the best validation; as ``average`` before the first.
        best_step, best_loss: when that was, and its `lora3d.progress.merit`.
        outer: the parameters B of ΔW = B·A, which begin at 0.
        blend: how much of them is used and saved, see `put_in_place`.
    """

    parameters: list[Tensor]
    optimiser: torch.optim.Optimizer
    average: list[Tensor]
    best: list[Tensor]
    outer: Sequence[Tensor]
    blend: float
    best_step: int = 0
    best_loss: float = float("inf")
    step: int = 0


def new_adapter(base: Base, config: TrainConfig) -> list[Tensor]:
    """The recipe's adapter on the base; its parameters."""
    return attach(
        base,
        config.rank,
        config.alpha,
        config.targets,
        config.seed,
        ranks=config.ranks,
        dropout=config.dropout,
        rslora=config.rslora,
        dora=config.dora,
        text=bool(config.text_rate),
    )


def prepare(base: Base, config: TrainConfig) -> State:
    """A fresh adapter on the base, and its optimiser."""
    parameters = new_adapter(base, config)
    if config.grid_adapter:
        use_adapters(base, {"grid": 1.0, "style": 1.0})
        for network in networks(base).values():
            network.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_(True)
    for network in networks(base).values():
        use_lora_linear(network)
    if config.checkpointing:
        return_freed_memory()
        recompute(base.network, keep_dear=base.device.type == "cpu")
    else:
        keep_freed_memory()
    if config.compile:
        require_compiler(base.device)
        base.network.compile(dynamic=False)
    groups: dict[float, list[Tensor]] = {}
    outer: list[Tensor] = []
    trained = {id(p) for p in parameters}
    for component, network in networks(base).items():
        rate = 1.0 if component == base.component else config.text_rate
        for name, p in network.named_parameters():
            if id(p) in trained:
                if "lora_B" in name:
                    outer.append(p)
                groups.setdefault(rate * (config.plus if "lora_B" in name else 1.0), []).append(p)
    how: dict[str, Any] = {
        "lr": config.learning_rate,
        "betas": (0.9, 0.99),
        "weight_decay": config.weight_decay,
    }
    parts = [{"params": some, "times": times} for times, some in groups.items()]
    if config.optimiser == "adamw8bit":
        optimiser = _adamw8bit()(parts, **how)
    else:
        optimiser = torch.optim.AdamW(parts, **how, fused=base.device.type in ("cpu", "cuda"))
    return new_state(parameters, optimiser, outer, config.blend)


def _adamw8bit() -> Any:
    """AdamW with moments of eight bits (Dettmers et al. 2022) where a tensor has 4,096 numbers or more."""
    if not find_spec("bitsandbytes"):
        raise InputError("optimiser 'adamw8bit' is not installed: pip install 'lora3d[8bit]'")
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit


def new_state(
    parameters: list[Tensor],
    optimiser: torch.optim.Optimizer,
    outer: Sequence[Tensor] = (),
    blend: float = 1.0,
) -> State:
    start = [p.detach().clone() for p in parameters]
    return State(parameters, optimiser, start, [p.clone() for p in start], outer, blend)


def update_average(state: State, decay: float) -> None:
    """mean ← d·mean + (1 − d)·parameter with d = min(decay, (1 + n)/(10 + n)) after n steps."""
    with torch.no_grad():
        torch._foreach_lerp_(
            state.average, state.parameters, 1 - min(decay, (1 + state.step) / (10 + state.step))
        )


@torch.no_grad()
def put_in_place(state: State, weights: list[Tensor]) -> None:
    """Writes ``weights``, the average or the best, into the parameters: ΔW = blend·B·A.

    Between the base and what was trained on it lie weights that may beat both where the examples are few
    (Wortsman et al. 2022, WiSE-FT, eq. 1: θ = (1 − α)·θ₀ + α·θ₁).
    """
    torch._foreach_copy_(state.parameters, weights)
    for parameter in state.outer:
        parameter.mul_(state.blend)


@contextmanager
def averaged(state: State) -> Iterator[None]:
    """Runs the block with the averaged weights in place."""
    current = [p.detach().clone() for p in state.parameters]
    put_in_place(state, state.average)
    with torch.no_grad():
        yield
        torch._foreach_copy_(state.parameters, current)


def keep_best(state: State, loss: float) -> None:
    """Keeps the average if its loss (a `lora3d.progress.merit`) is the least so far."""
    if loss < state.best_loss:
        state.best_loss, state.best_step = loss, state.step
        for best, mean in zip(state.best, state.average, strict=True):
            best.copy_(mean)


def is_finished(state: State, config: TrainConfig) -> bool:
    """All steps taken, or none of the last looks better than the best."""
    waited = state.step - state.best_step
    stale = bool(config.patience and state.best_step and waited >= config.patience * config.validate_every)
    return state.step >= config.steps or stale
