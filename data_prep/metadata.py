"""metadata.csv, metadata.jsonl and manifests of other names: their columns and rows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from lora3d.errors import InputError

COLUMNS = ("file", "caption", "license", "artist", "source", "drawing", "subject")
_SYNONYMS = {
    "licence": "license",
    "file_name": "file",
    "filename": "file",
    "drawings": "drawing",
    "author": "artist",
}
_MAX_BYTES = 64 * 2**20


def read_metadata(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """The rows that name a file, by known column names, values stripped; and warnings. Raises InputError."""
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(f"{path} has more than {_MAX_BYTES // 2**20} MiB: is it a table of models?")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    raw = _json_lines(path, text) if path.suffix.lower() == ".jsonl" else _csv_lines(path, text)
    if not raw:
        raise InputError(f"{path} lists no model: expected the columns {', '.join(COLUMNS)} and a row a file")
    named = [{_column(key): value for key, value in row.items() if key} for row in raw]
    rows = [{column: _value(column, value) for column, value in row.items()} for row in named]
    names = list(dict.fromkeys(key for row in rows for key in row))
    if "file" not in names:
        raise InputError(f"{path} has no column 'file': found {', '.join(names[:8])}")
    unknown = [name for name in names if name not in COLUMNS]
    warnings = [f"{path.name}: columns not used: {', '.join(unknown)}"] if unknown else []
    return [row for row in rows if row.get("file")], warnings


def _csv_lines(path: Path, text: str) -> list[dict[Any, Any]]:
    head, _, rest = text.partition("\n")
    delimiter = max(",;\t", key=head.count)
    table = rest if head.lower().startswith("sep=") else text  # Excel's own first line
    try:
        return list(csv.DictReader(io.StringIO(table, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise InputError(f"{path} is no table: {error}. Is a quotation mark left open?") from error


def _json_lines(path: Path, text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number} is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: expected an object, found {type(row).__name__}")
        rows.append(row)
    return rows


def _column(name: str) -> str:
    plain = _value("", name).lower()
    return _SYNONYMS.get(plain, plain)


def _value(column: str, value: Any) -> str:
    """A cell as text in one line; the spaces inside a file's name are its own."""
    if isinstance(value, list):
        return ";".join(_value(column, v) for v in value)
    # JSON can spell what is no Unicode (lone surrogates) and could not be written.
    text = "" if value is None else str(value).encode("utf-8", "replace").decode()
    return text.strip() if column in ("file", "drawing") else " ".join(text.split())
