"""What a run is made of, what it says, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from lora3d.base import Base
from lora3d.base.text import Text
from lora3d.cache import Cached
from lora3d.checkpoint import append_log
from lora3d.dataset import Dataset
from lora3d.recipe import TrainConfig
from lora3d.state import State


@dataclass(frozen=True)
class TrainResult:
    """The adapter's file, and the numbers of the step that it is of; ``loss`` is None where the log of it is gone.

    ``warnings`` are all that the log has, those of before a resume too.
    """

    adapter: Path
    steps: int
    kept_step: int
    loss: float | None
    validation: float | None
    held_out: float | None
    seconds: float
    examples_per_second: float
    warnings: tuple[str, ...] = ()


@dataclass
class Run:
    """What a run is made of; `State` is what changes in it.

    ``validation``, ``probe`` and ``held_out`` are looked at only: models kept aside, some trained on, the test side.
    ``before`` is the `effect` of no adapter, asked with ``said``. ``history`` are the records of the log.
    """

    config: TrainConfig
    dataset: Dataset
    base: Base
    crew: Accelerator
    dtype: torch.dtype
    rows: Cached
    validation: Cached
    probe: Cached
    held_out: Cached
    said: Text | None
    before: Tensor
    state: State
    out: Path
    report: Callable[[str], None]
    history: list[dict[str, Any]] = field(default_factory=list)


def note(run: Run, record: dict[str, Any]) -> None:
    """Keeps a record of a step, in memory and, by the main process, in the log."""
    run.history.append(record)
    if run.crew.is_main_process:
        append_log(run.out, record)


def warn(run: Run, text: str) -> None:
    """Says it to people and to the log, where a script finds it; there once, however often a run is resumed."""
    run.report(text)
    record = {"step": run.state.step, "warning": text}
    if record not in run.history:
        note(run, record)
