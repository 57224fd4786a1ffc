"""A Parquet data set as a source: its meshes, pictures and words laid out as the folder that `prep` reads.

A row without a mesh is a drawing without a model.

What the Hugging Face Hub keeps (`datasets`' Mesh and Image columns) and what lora3d itself writes.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lora3d.assets import MAX_BYTES
from lora3d.data_prep.sources import READABLE, walk
from lora3d.errors import InputError

MESHES, PICTURES = ("mesh", "glb", "model"), ("drawing", "reference", "image")
WORDS = {
    "caption": ("caption", "text", "prompt", "description"),
    "license": ("license", "licence"),
    "artist": ("artist", "author"),
    "source": ("source", "url"),
    "subject": ("subject",),
}


def shards_of(src: Path) -> list[Path]:
    """The Parquet files that a source is: the file itself, or all below a folder without models, by their paths."""
    if src.is_dir():
        files = [(path.suffix.lower(), path) for path in walk(src)]
        models = any(suffix in READABLE for suffix, _ in files)
        return [] if models else [path for suffix, path in files if suffix == ".parquet" and path.is_file()]
    return [src] if src.suffix.lower() == ".parquet" and src.is_file() else []


def unpack(shards: list[Path], work: Path) -> Path:
    """The folder in ``work`` with a model a row, its picture beside it or alone, and metadata.csv.

    It is named after the shards, their sizes and times of change: what was unpacked of just these is kept.

    Columns, by name: mesh, glb or model (bytes, or {bytes, path}); drawing, reference or image; caption, text, …
    Raises InputError where there is neither a column of meshes nor one of pictures, or a file is no Parquet.
    """
    stamps = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in shards]
    folder = work / f"unpacked-{hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:16]}"
    return lay_out(folder, _lines(shards, folder))


def lay_out(folder: Path, lines: Iterable[dict[str, str]]) -> Path:
    """The folder with a metadata.csv of ``lines``, which write its files as they come; one that is whole is kept."""
    done = folder / "metadata.csv"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "metadata.tmp"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["file", "drawing", *WORDS])
        writer.writeheader()
        writer.writerows(lines)
    temporary.replace(done)
    return folder


def _lines(shards: list[Path], folder: Path) -> Iterator[dict[str, str]]:
    at = 0
    for shard in shards:
        try:
            file = pq.ParquetFile(shard)
            names = file.schema_arrow.names
            mesh = next((n for n in MESHES if n in names), None)
            picture = next((n for n in PICTURES if n in names and pa.types.is_struct(_kind(file, n))), None)
            if mesh is None and picture is None:
                raise InputError(
                    f"{shard} has no column of models: expected one of {', '.join(MESHES)}, "
                    f"found {', '.join(names[:8])}; nor one of pictures ({', '.join(PICTURES)})"
                )
            words = {key: next((n for n in ways if n in names), None) for key, ways in WORDS.items()}
            chosen = [n for n in (mesh, picture, *words.values()) if n]
            for batch in file.iter_batches(batch_size=8, columns=chosen):
                for row in batch.to_pylist():
                    said = {key: str(row[name] or "") if name else "" for key, name in words.items()}
                    found = _files(mesh and row[mesh], picture and row[picture], f"{at:06d}", folder)
                    yield {**found, **said}
                    at += 1
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{shard} cannot be read as Parquet: {error}") from error


def _kind(file: pq.ParquetFile, name: str) -> pa.DataType:
    return file.schema_arrow.field(name).type


def _files(mesh: Any, picture: Any, number: str, folder: Path) -> dict[str, str]:
    """Writes a row's files; the names that rows carry are data, and only their endings are used."""
    drawing = ""
    if picture and picture.get("bytes"):
        drawing = _write(picture, folder / f"row{number}-drawing", (".png", ".jpg", ".webp"), ".png")
    if mesh is None and drawing:
        return {"file": drawing, "drawing": ""}
    return {"file": _write(mesh, folder / f"row{number}", READABLE, ".glb"), "drawing": drawing}


def _write(value: Any, stem: Path, endings: tuple[str, ...], otherwise: str) -> str:
    data, name = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    ending = Path(str(name or "")).suffix.lower()
    path = stem.with_name(stem.name + (ending if ending in endings else otherwise))
    # Too large a one is left empty, so that it is rejected by name like any other file.
    return write_file(path, data if isinstance(data, bytes) and len(data) <= MAX_BYTES else b"")


def write_file(path: Path, data: bytes) -> str:
    """Writes a file of `lay_out`; its name. The same time whenever it is made: an interrupted run goes on."""
    path.write_bytes(data)
    os.utime(path, (0, 0))
    return path.name
