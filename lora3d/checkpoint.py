"""A run's folder: its lock, what it is made of, its checkpoints and its log.

Everything here survives a kill at any moment: files get their names when they are complete and on the disk.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from torch import Tensor

from lora3d.adapter_convert import parent_of
from lora3d.adapter_formats import write_atomically
from lora3d.base import Base, hash_configs
from lora3d.dataset import Dataset
from lora3d.errors import InputError
from lora3d.recipe import TrainConfig, to_fields
from lora3d.state import State


@contextmanager
def run_folder(out: Path, resume: bool) -> Iterator[None]:
    """Makes and locks a run's folder. Raises InputError if another trainer holds it or a run lies in it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"no run can be kept in {out} ({error.strerror}): name another folder with --out"
        ) from error
    try:
        held = FileLock(out / ".lock").acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"{out} is in use by another trainer: wait for it, or name another folder"
        ) from error
    with held:
        if not resume and ((out / "adapter.safetensors").exists() or checkpoints(out)):
            raise InputError(
                f"{out} already holds a run; say --resume to go on with it, or name another folder"
            )
        for left in (out / "checkpoints").glob("tmp-*"):
            shutil.rmtree(left)
        yield


def read_run(out: Path) -> dict[str, Any] | None:
    """What the run in a folder was started with; None where none was. Raises InputError if it cannot be read."""
    file = out / "recipe.json"
    if not checkpoints(out) and not (out / "adapter.safetensors").exists():
        return None
    try:
        then = json.loads(file.read_text(encoding="utf-8"))
        kept = {"recipe": dict(then["recipe"]), **{k: str(then[k]) for k in ("dataset", "base", "precision")}}
        if "base_configs" in then:  # earlier versions noted neither
            kept |= {"base_configs": dict(then["base_configs"]), "grid_adapter": str(then["grid_adapter"])}
        return kept
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} cannot be read ({error}): this run cannot go on; name a new folder"
        ) from error


def made_of(config: TrainConfig, dataset: Dataset, base: Base, dtype: torch.dtype) -> dict[str, Any]:
    """What a run is made of, by content: recipe.json's fields. Raises InputError if the grid adapter cannot be read."""
    try:
        grid_adapter = parent_of(Path(config.grid_adapter))["sha256"] if config.grid_adapter else ""
    except OSError as error:
        raise InputError(
            f"grid_adapter {config.grid_adapter!r} cannot be read ({error.strerror}): name an adapter's file"
        ) from error
    return {
        "recipe": to_fields(config),
        "dataset": dataset.content_hash,
        "base": base.revision,
        "base_configs": hash_configs(base.folder),
        "grid_adapter": grid_adapter,
        "precision": str(dtype).removeprefix("torch."),
    }


def settle_run(out: Path, now: dict[str, Any], then: dict[str, Any] | None, *, accept: bool) -> None:
    """Writes what the run is made of (`made_of`), once it is known to be what it was started with.

    Raises InputError that names what changed, or that an earlier version did not note all of it, unless ``accept``
    takes that too.
    """
    if then is not None and not accept:
        old, new = then["recipe"], now["recipe"]
        changed = [f"{k} ({old.get(k)!r}, now {v!r})" for k, v in new.items() if old.get(k) != v]
        changed += [k for k in ("dataset", "base") if then[k] != now[k]]
        noted, files = then.get("base_configs"), now["base_configs"]
        if noted and then["base"] == now["base"]:
            changed += [f"{k} of the base" for k in sorted(noted | files) if noted.get(k) != files.get(k)]
        if then.get("grid_adapter", now["grid_adapter"]) != now["grid_adapter"]:
            changed.append("content of the grid adapter")
        if changed:
            raise InputError(
                f"{out} was started with another {', '.join(changed)}; resume needs the same. To go on all the "
                "same say --accept-changes; to start anew name another folder"
            )
        if noted is None:
            raise InputError(
                f"{out} was started by an earlier version, which did not note the base's configuration and the grid "
                "adapter's content: whether they are the same now cannot be told. If they are say --accept-changes; "
                "else name another folder"
            )
    data = (json.dumps(now, indent=1) + "\n").encode()
    with room_for("recipe.json", out, len(data)):
        write_atomically(out / "recipe.json", data)


def checkpoints(out: Path) -> list[Path]:
    """The folders of complete checkpoints, the newest last."""
    return sorted((out / "checkpoints").glob("step-*"))


def save_checkpoint(out: Path, state: State, keep: int) -> None:
    """One folder a checkpoint, complete and synced before it gets its name; the newest ``keep`` stay.

    The log is synced first: it has the steps of every checkpoint. Raises InputError where something cannot be
    written, see `room_for`; older ones stay then.
    """
    for p in (*state.parameters, *state.average):
        if not torch.isfinite(p).all():
            raise InputError(
                f"the adapter holds numbers that are not finite after step {state.step}: it is not saved, the last "
                "checkpoint stays; lower learning_rate and say --resume --accept-changes"
            )
    folder = out / "checkpoints"
    final, temporary = folder / f"step-{state.step:08}", folder / f"tmp-{state.step:08}"
    data = safetensors.torch.save(_tensors(state))
    note = {
        "step": state.step,
        "best_step": state.best_step,
        "best_loss": state.best_loss if state.best_step else None,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    try:
        with room_for(f"checkpoint of step {state.step}", out, len(data)):
            with (out / "train.log.jsonl").open("ab") as log:
                os.fsync(log.fileno())
            temporary.mkdir(parents=True)
            write_atomically(temporary / "state.safetensors", data)
            write_atomically(temporary / "state.json", json.dumps(note).encode())
            if final.exists():
                _remove(final)
            temporary.rename(final)
            _sync(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # still there where that failed
    for old in checkpoints(out)[:-keep]:
        _remove(old)


@contextmanager
def room_for(what: str, out: Path, size: int) -> Iterator[None]:
    """Around what writes ``size`` bytes into a run's folder.

    Raises InputError where they cannot be written, saying how much room is needed and free and which checkpoint stays.
    """
    try:
        yield
    except OSError as error:
        older = checkpoints(out)
        kept = f"{older[-1].name} is kept" if older else "there is no checkpoint yet"
        raise InputError(
            f"no {what} could be written ({error.strerror or error}): it needs {math.ceil(size / 2**20 * 10) / 10} "
            f"MiB, {shutil.disk_usage(out).free / 2**20:.1f} MiB are free at {out}; {kept}. Make room and say --resume"
        ) from error


def load_checkpoint(out: Path, state: State, report: Callable[[str], None]) -> None:
    """Restores the newest checkpoint that is whole; nothing happens where there is none.

    A damaged one is named to ``report`` and passed over. Raises InputError where all are.
    """
    found, reason = checkpoints(out), ""
    for folder in reversed(found):
        try:
            data = (folder / "state.safetensors").read_bytes()
            note = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            if hashlib.sha256(data).hexdigest() != note["sha256"]:
                raise ValueError(f"{len(data)} bytes that are not those that were written")
            _restore(state, safetensors.torch.load(data), note)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            report(f"checkpoint {folder} is damaged ({error}); the one before it is taken")
            reason = reason or str(error)
            continue
        except RuntimeError as error:
            raise InputError(f"checkpoint {folder} does not fit the recipe: {error}") from error
        return
    if found:
        raise InputError(
            f"all {len(found)} checkpoints in {out / 'checkpoints'} (the newest: {reason}) are damaged; remove them to "
            "start anew"
        )


def _tensors(state: State) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for i, p in enumerate(state.parameters):
        tensors |= {f"{i}.value": p.detach(), f"{i}.average": state.average[i], f"{i}.best": state.best[i]}
        # Steps are a number in one optimiser, a tensor in the other; tables of eight bits are shared.
        moments = {k: torch.as_tensor(v).clone() for k, v in state.optimiser.state[p].items()}
        tensors |= {f"{i}.optimiser.{k}": v for k, v in moments.items()}
    return {k: v.detach().cpu().contiguous() for k, v in tensors.items()}


@torch.no_grad()
def _restore(state: State, tensors: dict[str, Tensor], note: dict[str, Any]) -> None:
    for i, p in enumerate(state.parameters):
        p.copy_(tensors[f"{i}.value"])
        state.average[i].copy_(tensors[f"{i}.average"])
        state.best[i].copy_(tensors[f"{i}.best"])
        start = f"{i}.optimiser."
        moments = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        # A fused optimiser counts steps on the parameter's device, others on the CPU; one of eight bits in an int.
        beside = p.device if state.optimiser.defaults.get("fused") else torch.device("cpu")
        state.optimiser.state[p] = {
            k: v.to(p.device) if v.ndim else v.to(beside) if v.is_floating_point() else int(v)
            for k, v in moments.items()
        }
    state.step, state.best_step = note["step"], note["best_step"]
    state.best_loss = float("inf") if note["best_loss"] is None else note["best_loss"]


def _sync(folder: Path) -> None:
    if os.name == "nt":  # there a folder cannot be opened, nor synced
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(checkpoint: Path) -> None:
    """Takes the name away first: what is half removed must not look like a checkpoint."""
    gone = checkpoint.with_name(checkpoint.name.replace("step-", "tmp-old-"))
    shutil.rmtree(gone, ignore_errors=True)
    checkpoint.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def read_log(out: Path) -> list[dict[str, Any]]:
    """The records of train.log.jsonl; a last line that was cut short is left out."""
    log = out / "train.log.jsonl"
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def trim_log(out: Path, step: int) -> None:
    """Drops the records of steps that will be taken again."""
    if (out / "train.log.jsonl").exists():
        kept = [record for record in read_log(out) if record["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        with room_for("train.log.jsonl", out, len(text)):
            write_atomically(out / "train.log.jsonl", text.encode())


def append_log(out: Path, record: dict[str, Any]) -> None:
    """Adds a record to train.log.jsonl. Raises InputError where it cannot be written, see `room_for`."""
    line = json.dumps(record) + "\n"
    with (
        room_for("line of train.log.jsonl", out, len(line)),
        (out / "train.log.jsonl").open("a", encoding="utf-8") as log,
    ):
        log.write(line)


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
