"""A run's folder: its lock, what it is made of, its checkpoints and its log."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora3d.base import Base
from lora3d.dataset import Dataset
from lora3d.errors import InputError
from lora3d.recipe import TrainConfig, to_fields


@contextmanager
def run_folder(out: Path, resume: bool) -> Iterator[None]:
    """Makes and locks a run's folder. Raises InputError if another trainer holds it or a run lies in it."""
    out.mkdir(parents=True, exist_ok=True)
    if not resume and ((out / "adapter.safetensors").exists() or (out / "checkpoints").exists()):
        raise InputError(f"{out} already holds a run; say --resume to go on with it, or name another folder")
    with (out / ".lock").open("w") as lock:
        os.set_inheritable(lock.fileno(), False)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{out} is in use by another trainer") from error
        yield


def check_resume(out: Path, config: TrainConfig, dataset: Dataset, base: Base) -> None:
    """Writes what the run is made of, or compares it with what is there."""
    now: dict[str, Any] = {
        "recipe": to_fields(config),
        "dataset": dataset.content_hash,
        "base": base.revision,
    }
    file = out / "recipe.json"
    if not file.exists():
        file.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        return
    then = json.loads(file.read_text(encoding="utf-8"))
    changed = [k for k in now["recipe"] if then["recipe"].get(k) != now["recipe"][k]]
    changed += [k for k in ("dataset", "base") if then[k] != now[k]]
    if changed:
        raise InputError(
            f"{out} was started with another {', '.join(changed)}; resume needs the same, or a new folder"
        )


def save_checkpoint(out: Path, step: int, parameters, average, optimiser, keep: int) -> None:
    """One folder a checkpoint, complete before it gets its name; the newest ``keep`` stay."""
    folder = out / "checkpoints"
    final, temporary = folder / f"step-{step:08}", folder / f"tmp-{step:08}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    tensors: dict[str, Tensor] = {}
    for i, (p, mean) in enumerate(zip(parameters, average, strict=True)):
        state = optimiser.state[p]
        tensors |= {
            f"{i}.value": p.detach(),
            f"{i}.average": mean,
            f"{i}.m": state["exp_avg"],
            f"{i}.v": state["exp_avg_sq"],
        }
    save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, temporary / "state.safetensors")
    (temporary / "step.json").write_text(json.dumps({"step": step}), encoding="utf-8")
    for file in temporary.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    temporary.rename(final)
    for old in sorted(folder.glob("step-*"))[:-keep]:
        shutil.rmtree(old)


def load_checkpoint(out: Path, parameters, average, optimiser, device) -> int:
    """Restores the newest checkpoint; returns its step, 0 where there is none."""
    found = sorted((out / "checkpoints").glob("step-*"))
    if not found:
        trim_log(out / "train.log.jsonl", 0)
        return 0
    state = load_file(found[-1] / "state.safetensors")
    step = json.loads((found[-1] / "step.json").read_text(encoding="utf-8"))["step"]
    with torch.no_grad():
        for i, (p, mean) in enumerate(zip(parameters, average, strict=True)):
            p.copy_(state[f"{i}.value"])
            mean.copy_(state[f"{i}.average"])
            optimiser.state[p] = {
                "step": torch.tensor(float(step)),
                "exp_avg": state[f"{i}.m"].to(device),
                "exp_avg_sq": state[f"{i}.v"].to(device),
            }
    trim_log(out / "train.log.jsonl", step)
    return step


def trim_log(log: Path, step: int) -> None:
    """Drops the records of steps that will be taken again."""
    if log.exists():
        kept = [
            line for line in log.read_text(encoding="utf-8").splitlines() if json.loads(line)["step"] <= step
        ]
        log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def last_records(out: Path) -> dict[str, float]:
    """The means of the last 20 losses and the last held-out loss, from the log."""
    records = [
        json.loads(line) for line in (out / "train.log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    scores = [r["held_out"] for r in records if "held_out" in r]
    tail = [r["loss"] for r in records[-20:]]
    return {"loss": sum(tail) / len(tail), **({"held_out": scores[-1]} if scores else {})}
