"""The dataset: grids, drawings and meshes in Parquet, with a card; one folder that other tools open.

    data-00000.parquet …   one row a drawing; `datasets.load_dataset("parquet", data_files=…)` opens them
    grid.json              the ViewGrid of every row
    README.md              the card, with YAML front matter
    rejected.jsonl         one line {file, reason} for each model file that gave no row
    report.json            how it was made
    sheet.html             every row in pictures, where `lora3d prep` made it
    strike.txt             rows that a person struck out: one row id or model file a line

Equal rows, grid and card give equal bytes: no clock, host or path is written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lora3d.camera import Array
from lora3d.dataset_card import count_rows, make_card
from lora3d.dataset_index import SPLITS, Index, check_index, hash_index
from lora3d.dataset_rows import (
    ADDED,
    COLUMNS,
    PLAIN,
    RENDERED,
    DatasetError,
    Row,
    decode_row,
    encode_rows,
    hash_row,
    make_schema,
    seen_from,
)
from lora3d.grid import ViewGrid, read_grid, require_same_grid, write_grid
from lora3d.sheet import STRIKE, STRIKE_HELP, read_strikes, write_sheet

__all__ = [
    "Dataset",
    "DatasetError",
    "Row",
    "encode_rows",
    "hash_row",
    "read_dataset",
    "write_dataset",
    "write_tables",
]

# A shard ends with whichever comes first; its index is held until then, some 20 kB a row group.
SHARD_BYTES, SHARD_ROWS = 256 * 2**20, 2048
ROW_GROUP = 32
GROUP_BYTES = 256 * 2**20  # of its files; a row group is read at once, and Arrow joins no more than 2 GiB


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk; rows are read when asked for.

    Attributes:
        path: its folder.
        grid: of every row.
        content_hash: SHA-256 over the grid and, in order, each row's id, subject, split and content hash.
        index: the plain columns of every row (no pictures), in the order of the rows; without what was struck out.
        struck: how many rows were.
    """

    path: Path
    grid: ViewGrid
    content_hash: str
    index: Sequence[dict[str, Any]]
    struck: int = 0

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, split: str | None = None) -> Iterator[Row]:
        """The rows of one split (None: all), one after the other. Raises DatasetError for a damaged row."""
        if split is not None and split not in SPLITS:
            raise DatasetError(f"no split {split!r}: expected one of {', '.join(SPLITS)}")
        wanted = {row["id"] for row in self._of(split)}
        for shard in _shards(self.path):
            file = pq.ParquetFile(shard)
            # A batch that reaches over several groups may hold more bytes than Arrow joins.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(batch_size=ROW_GROUP, row_groups=[group]):
                    for values in batch.to_pylist():
                        if values["id"] in wanted:
                            yield decode_row(values, self.grid)

    def count(self, split: str | None = None) -> int:
        """How many rows, that is, drawings."""
        return len(self._of(split))

    def assets(self, split: str | None = None) -> int:
        """How many models."""
        return len({row["file"] or row["id"] for row in self._of(split)})

    def drawn_from(self, split: str | None = None) -> list[tuple[float, float] | None]:
        """Where each of the artist's own drawings was seen from, as `Row.seen_deg` says; renderings are left out."""
        return [seen_from(row) for row in self._of(split) if row["drawing"] not in RENDERED]

    def _of(self, split: str | None) -> list[dict[str, Any]]:
        return [row for row in self.index if split is None or row["split"] == split]

    def _all(self, column: str) -> tuple[str, ...]:
        return tuple(sorted({row[column] for row in self.index if row[column]}))

    @property
    def licenses(self) -> tuple[str, ...]:
        return self._all("license")

    @property
    def artists(self) -> tuple[str, ...]:
        return self._all("artist")

    @property
    def sources(self) -> tuple[str, ...]:
        return self._all("source")

    @property
    def subjects(self) -> tuple[str, ...]:
        return self._all("subject")

    def verify(self) -> list[str]:
        """The ids of rows whose content is not what their hash says. Reads everything."""
        return [row.id for row in self.rows() if row.content_hash != hash_row(row)]


def read_dataset(path: Path | str) -> Dataset:
    """Opens a dataset folder. Raises DatasetError for a folder that is none, or whose shards disagree."""
    path = Path(path)
    shards = _shards(path) if path.is_dir() else []
    if not shards or not (path / "grid.json").is_file():
        raise DatasetError(
            f"{path} is no dataset: expected grid.json and data-00000.parquet; make one with 'lora3d prep'"
        )
    grid = read_grid(path / "grid.json")
    tables: list[pa.Table] = []
    for shard in shards:
        try:
            file = pq.ParquetFile(shard)
            missing = [name for name in COLUMNS if name not in (*file.schema_arrow.names, *ADDED)]
            if missing:
                raise DatasetError(f"{shard} lacks the columns {', '.join(missing)}: make the dataset anew")
            own = (file.schema_arrow.metadata or {}).get(b"lora3d_grid")
            if own is not None:
                own_grid = ViewGrid.from_dict(json.loads(own))
                require_same_grid(grid, str(path / "grid.json"), own_grid, str(shard))
            tables.append(_plain(file))
        except (pa.ArrowException, OSError, json.JSONDecodeError) as error:
            raise DatasetError(f"{shard} cannot be read as Parquet: {error}") from error
    return _without_struck(path, grid, Index(pa.concat_tables(tables)))


def _plain(file: pq.ParquetFile) -> pa.Table:
    """A shard's plain columns, in order; null where an older version wrote none."""
    found = file.read(columns=[n for n in PLAIN if n in file.schema_arrow.names], use_threads=False)
    columns = {n: found[n] if n in found.schema.names else pa.nulls(len(found), COLUMNS[n][0]) for n in PLAIN}
    return pa.table(columns).cast(pa.schema([(n, COLUMNS[n][0]) for n in PLAIN]))


def _without_struck(path: Path, grid: ViewGrid, index: Sequence[dict[str, Any]]) -> Dataset:
    """The dataset of the rows that strike.txt leaves."""
    count, struck = len(index), set(read_strikes(path))
    if struck:
        unknown = struck - {row[column] for row in index for column in ("id", "file")}
        if unknown:
            raise DatasetError(
                f"{path / STRIKE} names {min(unknown)!r}, which is no row id and no model file here"
            )
        index = tuple(row for row in index if not struck & {row["id"], row["file"]})
        if not index:
            raise DatasetError(f"{path / STRIKE} strikes out every row: leave some")
    return Dataset(path, grid, hash_index(grid, index), index, count - len(index))


def write_dataset(
    rows: Iterable[Row],
    out: Path,
    grid: ViewGrid,
    *,
    title: str = "A lora3d dataset",
    rejected: Iterable[dict[str, str]] = (),
    report: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> Dataset:
    """Writes rows in the order given; see `write_tables` for the rest."""
    tables = (encode_rows([row], grid) for row in rows)
    return write_tables(tables, out, grid, title=title, rejected=rejected, report=report, overwrite=overwrite)


def write_tables(
    tables: Iterable[pa.Table],
    out: Path,
    grid: ViewGrid,
    *,
    title: str = "A lora3d dataset",
    rejected: Iterable[dict[str, str]] = (),
    report: dict[str, Any] | None = None,
    strips: Iterable[bytes] | None = None,
    overwrite: bool = False,
) -> Dataset:
    """Writes tables of `encode_rows` as a dataset folder, beside ``out`` at first and renamed when complete.

    strips: of `make_strip`, one a row; with them comes a contact sheet. What was struck out of a dataset that is
    overwritten stays struck out where it is still there. Raises DatasetError where ``out`` exists and is not an
    empty folder, unless it is a dataset of ours and ``overwrite`` is set; for an id or a split that cannot be;
    and for no rows at all.
    """
    check_out(out, overwrite)
    staging = out.parent / f".{out.name}.{os.getpid()}.partial"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        write_grid(grid, staging / "grid.json")
        _write_shards(tables, staging, grid)
        dataset = read_dataset(staging)
        check_index(dataset.index)
        rejections = list(rejected)
        lines = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in rejections)
        (staging / "rejected.jsonl").write_text(lines, encoding="utf-8")
        full = {**count_rows(dataset.index), "content_hash": dataset.content_hash, **(report or {})}
        text = json.dumps(full, indent=1, ensure_ascii=False) + "\n"
        (staging / "report.json").write_text(text, encoding="utf-8")
        card = make_card(title, grid, dataset.index, dataset.content_hash, len(rejections))
        (staging / "README.md").write_text(card, encoding="utf-8")
        if strips is not None:
            write_sheet(staging / "sheet.html", title, dataset.index, strips)
        strikes = read_strikes(out)
        if strikes:
            names = {row[column] for row in dataset.index for column in ("id", "file")}
            strikes = [line for line in strikes if line in names]
        if strikes or strips is not None:
            (staging / STRIKE).write_text("\n".join([STRIKE_HELP, *strikes, ""]), encoding="utf-8")
        old = out.parent / f".{out.name}.{os.getpid()}.old"
        if out.exists():
            out.rename(old)
        staging.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return _without_struck(out, grid, dataset.index) if strikes else replace(dataset, path=out)


def check_out(out: Path, overwrite: bool) -> None:
    """Raises DatasetError where `write_tables` would refuse to write, before hours are spent."""
    if not out.exists() and not out.is_symlink():
        return
    if not out.is_dir() or out.is_symlink():
        raise DatasetError(f"{out} exists and is no folder of its own: choose another name for the dataset")
    entries = sorted(p.name for p in out.iterdir())
    if not entries:
        return
    ours = {
        "grid.json",
        "README.md",
        "rejected.jsonl",
        "report.json",
        "sheet.html",
        STRIKE,
        *(p.name for p in _shards(out)),
    }
    foreign = [name for name in entries if name not in ours]
    if "grid.json" not in entries or "data-00000.parquet" not in entries or foreign:
        what = f"holds {foreign[0]!r}" if foreign else "is no dataset"
        raise DatasetError(f"{out} exists and {what}: it is left as it is; choose another folder")
    if not overwrite:
        raise DatasetError(f"{out} is a dataset already: choose another folder, or ask for overwriting")


def _write_shards(tables: Iterable[pa.Table], folder: Path, grid: ViewGrid) -> None:
    """Fixed row groups, whatever the tables' sizes, so that equal rows give equal files."""
    writer: pq.ParquetWriter | None = None
    shard, written, rows = 0, 0, 0
    try:
        for group in _regrouped(tables):
            if writer is None or written >= SHARD_BYTES or rows >= SHARD_ROWS:
                if writer is not None:
                    writer.close()
                path = folder / f"data-{shard:05d}.parquet"
                # Rows hardly repeat, pictures never: dictionaries would be built to be thrown away.
                writer = pq.ParquetWriter(
                    path,
                    make_schema(grid),
                    compression="zstd",
                    use_dictionary=False,
                    write_statistics=False,
                )
                shard, written, rows = shard + 1, 0, 0
            writer.write_table(group.cast(make_schema(grid)), row_group_size=ROW_GROUP)
            written, rows = written + group.nbytes, rows + len(group)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise DatasetError("there are no rows to write: every asset was rejected, or none was found")


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows, ROW_GROUP a table; fewer where their files have more than GROUP_BYTES together."""
    waiting: list[pa.Table] = []
    held = 0
    for table in tables:
        for i, size in enumerate(_file_bytes(table)):
            if waiting and (len(waiting) == ROW_GROUP or held + size > GROUP_BYTES):
                yield pa.concat_tables(waiting).combine_chunks()
                waiting, held = [], 0
            waiting.append(table.slice(i, 1))
            held += size
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _file_bytes(table: pa.Table) -> Array:
    """How many bytes the files of each row have, (rows,) int64."""
    files = (name for name, (kind, _) in COLUMNS.items() if pa.types.is_struct(kind))
    sizes = (pc.binary_length(pc.struct_field(table[name], "bytes")) for name in files)
    return sum((pc.fill_null(size, 0).to_numpy() for size in sizes), np.zeros(len(table), np.int64))


def _shards(path: Path) -> list[Path]:
    return sorted(path.glob("data-[0-9][0-9][0-9][0-9][0-9].parquet"))
