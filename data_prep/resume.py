"""What an interrupted run of `prep` left behind, and which of it still holds."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import overload

import pyarrow as pa
from filelock import FileLock, Timeout

from lora3d.data_prep.asset import Prepared, Task, read_prepared
from lora3d.data_prep.captions import Captioner
from lora3d.data_prep.sources import READABLE, Asset, Found, walk
from lora3d.data_prep.workers import Failure
from lora3d.errors import InputError
from lora3d.grid import ViewGrid


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """The folder beside ``out`` that holds finished assets until the dataset is written; one run at a time.

    It stays where the run is interrupted, and goes when it succeeds, or where nothing is finished. Raises InputError
    while another run holds it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    work = out.parent / f".{out.name}.parts"
    work.mkdir(exist_ok=True)
    try:
        held = FileLock(work / "lock").acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{out} is being made by another process: wait, or choose another name") from error
    with held:
        _mend(out)
        try:
            yield work
        except InputError:
            # A slip on the command line must not cost what is finished.
            if not any(work.glob("*.parquet")):
                shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)


def _mend(out: Path) -> None:
    """Undoes what a process killed while it wrote the dataset left: half of the new, the old put aside."""
    # By process number: what another output whose name begins alike left is not ours.
    left = re.compile(rf"\.{re.escape(out.name)}\.\d+\.(partial|old)")
    for path in sorted(p for p in out.parent.iterdir() if left.fullmatch(p.name)):
        if path.suffix == ".old" and not out.exists():
            path.rename(out)
        else:
            shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class Tasks(Sequence[Task]):
    """A task an asset, made when asked for: of thousands only those at work are held.

    Attributes:
        assets: whose tasks these are.
        marks: what the part of each asset's file is called, as bytes.
        likewise: a task of whichever asset, for what all have in common.
    """

    assets: Sequence[Asset]
    marks: Mapping[str, bytes]
    likewise: Task

    def __len__(self) -> int:
        return len(self.assets)

    @overload
    def __getitem__(self, at: int) -> Task: ...
    @overload
    def __getitem__(self, at: slice) -> Tasks: ...
    def __getitem__(self, at: int | slice) -> Task | Tasks:
        if isinstance(at, slice):
            return replace(self, assets=self.assets[at])
        asset = self.assets[at]
        return replace(self.likewise, asset=asset, part=self.part(asset.file))

    def part(self, file: str) -> Path:
        """Where the rows of an asset lie once they are made."""
        return self.likewise.part.with_name(f"{self.marks[file].hex()}.parquet")


def make_tasks(
    found: Found, grid: ViewGrid, seed: int, styles: tuple[str, ...], captioner: Captioner | None, work: Path
) -> Tasks:
    """A task an asset; the name of its part says all that its rows depend on.

    That is: what is stated of the asset, its file, every file that is no model (drawings, textures, buffers), by
    size and time of change, the grid, the seed, the styles, the captioner, and this program's version.
    """
    root = found.root.absolute()
    settings = [grid.to_dict(), seed, styles, captioner and asdict(captioner), version("lora3d")]
    beside = hashlib.sha256(json.dumps(settings).encode())
    for path in walk(root):
        if path.suffix.lower() not in READABLE:
            beside.update(_stamp(path, root))
    marks = {}
    for asset in found.assets:
        key = beside.copy()
        key.update(json.dumps(asdict(asset)).encode() + _stamp(root / asset.file, root))
        marks[asset.file] = key.digest()[:16]
    likewise = Task(root, Asset(""), grid, seed, work.absolute() / "any.parquet", styles, captioner)
    return Tasks(found.assets, marks, likewise)


def _stamp(path: Path, root: Path) -> bytes:
    try:
        stat = path.stat()
    except OSError:
        return b"gone"
    return json.dumps([str(path.relative_to(root)), stat.st_size, stat.st_mtime_ns]).encode()


def remember(task: Task, failure: Failure) -> None:
    """Keeps why an asset gave no rows, where that lies in its file: what this machine lacked is tried again."""
    if not failure.lasting:
        return
    temporary = task.part.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(failure.reason), encoding="utf-8")
    temporary.replace(task.part.with_suffix(".json"))


def recall(task: Task) -> Prepared | Failure | None:
    """What an earlier run made of an asset; None if it did not come to it."""
    try:
        if task.part.exists():
            return read_prepared(task.part)
        why = task.part.with_suffix(".json")
        return Failure(json.loads(why.read_text(encoding="utf-8")), lasting=True) if why.exists() else None
    except (OSError, pa.ArrowException, KeyError, ValueError):
        # A disk that was full, or lost what was not yet written when the power went: it is made again.
        return None
