"""The index of a dataset: the plain columns of its rows, without pictures and models."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import pyarrow as pa

from lora3d.dataset_rows import DatasetError
from lora3d.grid import ViewGrid

SPLITS = ("train", "test")
_AT_ONCE = 256  # rows that are Python objects at the same time


@dataclass(frozen=True, eq=False)
class Index(Sequence[dict[str, Any]]):
    """The rows of a table as dictionaries, made when asked for: a fifth of the memory that they all would take."""

    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for batch in self.table.to_batches(max_chunksize=_AT_ONCE):
            yield from batch.to_pylist()

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> Index: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | Index:
        chosen = range(len(self))[at]
        if isinstance(chosen, range):
            return Index(self.table.take(pa.array(chosen, pa.int64())))
        row: dict[str, Any] = self.table.slice(chosen, 1).to_pylist()[0]
        return row


def hash_index(grid: ViewGrid, index: Iterable[dict[str, Any]]) -> str:
    """SHA-256 of the JSON of [grid, [[id, subject, split, content hash] of each row]], a row at a time."""
    digest = hashlib.sha256(f"[{json.dumps(grid.to_dict())}, [".encode())
    for i, row in enumerate(index):
        text = json.dumps([row["id"], row["subject"], row["split"], row["content_hash"]])
        digest.update(f"{', ' if i else ''}{text}".encode())
    digest.update(b"]]")
    return digest.hexdigest()


def check_index(index: Iterable[dict[str, Any]]) -> None:
    """Ids are unique and fit for file names; splits are known; no subject or model is on both sides.

    Only what has a model is held out: scores compare with all of it.
    """
    seen: set[str] = set()
    sides: dict[tuple[str, str], str] = {}
    for row in index:
        name, split = row["id"], row["split"]
        if name in seen or not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", name):
            what = "occurs twice" if name in seen else "cannot name a file"
            raise DatasetError(f"row id {name!r} {what}: expected unique letters, digits and ._- only")
        seen.add(name)
        if split not in SPLITS:
            raise DatasetError(f"row {name!r}: expected split train or test, found {split!r}")
        if split == "test" and row["truth"] is not None:
            raise DatasetError(f"row {name!r} has no model and is held out: expected split train")
        for column in ("subject", "file"):
            key = (column, row[column])
            if row[column] and sides.setdefault(key, split) != split:
                raise DatasetError(f"{column} {row[column]!r} is in both splits: keep its rows on one side")
