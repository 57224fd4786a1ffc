"""What an adapter's file says of itself, read from its header alone; imports nothing heavy.

A safetensors file is eight bytes with the length of a JSON header, that header, and the tensors' bytes. Here
every claim of the header is checked against the file before anyone maps a byte of it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lora3d.errors import InputError

MAX_HEADER = 16 << 20  # bytes; a card is a few kilobytes
MAX_FILE = 32 << 30
MAX_TENSORS = 100_000
MAX_NAME = 1000  # characters of a tensor's name
ITEM_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


class AdapterError(InputError):
    """An adapter file that is broken, foreign, or without effect."""


@dataclass(frozen=True)
class AdapterCard:
    """What an adapter says of itself; derived from what happened.

    Attributes:
        base, base_revision: name and weight hash of the base it was trained on.
        grid: the ViewGrid, as plain JSON.
        trigger: the word before every caption; empty for none.
        rank, alpha, targets: of the low-rank update.
        dataset: content hash; ``assets`` and ``drawings`` in it that were trained on.
        licenses, artists, sources: of those assets.
        recipe: every key of it.
        metrics: training and held-out loss, examples seen; ``scores`` holds `eval`'s, base and ceiling beside.
        versions: of the libraries that made it.
        base_license: SPDX identifier of the base's weights; empty where the card's writer did not say.
        consent: the artist's own statement, word for word; empty for none.
        viewpoints: that its artist's drawings share, see `lora3d.viewpoints`.
        palette: the colours that its artist's views share, see `lora3d.palette`.
        parents: of a merged, resized or imported file: name, SHA-256 and weight of each.
    """

    base: str
    base_revision: str
    grid: dict[str, Any]
    trigger: str
    rank: int
    alpha: float
    targets: list[str]
    dataset: str
    assets: int
    drawings: int
    licenses: list[str]
    artists: list[str]
    sources: list[str]
    recipe: dict[str, Any]
    metrics: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    base_license: str = ""
    consent: str = ""
    viewpoints: list[dict[str, Any]] = field(default_factory=list)
    palette: list[dict[str, Any]] = field(default_factory=list)
    parents: list[dict[str, Any]] = field(default_factory=list)
    format: str = "lora3d-adapter-1"

    @staticmethod
    def from_dict(values: dict[str, Any]) -> AdapterCard:
        """Unknown keys are dropped. Raises TypeError for a missing key or a value of another type."""
        known = {f.name: str(f.type) for f in fields(AdapterCard)}
        card = AdapterCard(**{k: v for k, v in values.items() if k in known})
        for name, kind in known.items():
            if not _is(getattr(card, name), kind):
                raise TypeError(f"{name} is no {kind}")
        return card


def _is(value: Any, kind: str) -> bool:
    if kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e30
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind.startswith("list"):
        item: type = str if kind == "list[str]" else dict
        return isinstance(value, list) and all(isinstance(v, item) for v in value)
    return isinstance(value, str if kind == "str" else dict)


def read_card(path: Path) -> AdapterCard:
    """The card in a file's header, without reading its tensors. Raises AdapterError if it is no adapter of ours."""
    return card_of(read_header(path)["__metadata__"], path)


def card_of(metadata: dict[str, str], path: Path) -> AdapterCard:
    """The card in a header's metadata; raises AdapterError where there is none."""
    try:
        return AdapterCard.from_dict(json.loads(metadata["lora3d"], parse_constant=_refuse_constant))
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError) as error:
        raise AdapterError(
            f"{shown(path)} carries no lora3d card: expected an adapter that `lora3d train` wrote, or one that "
            "`lora3d adapter import` took in"
        ) from error


def prompt_hint(card: AdapterCard) -> str:
    """How to ask, in one line."""
    words = f"{card.trigger} " if card.trigger else ""
    return f"a drawing, or a sentence such as '{words}a red chair'" + (
        f"; begin with '{card.trigger}'" if card.trigger else ""
    )


def read_header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file; its length is checked before it is read, its tensors before use.

    ``__metadata__`` is there even where the file has none. Raises AdapterError unless every tensor has a
    floating dtype, a shape and offsets that agree, and the tensors cover the rest of the file without gap or
    overlap.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER, size - 8):
                raise AdapterError(
                    f"{shown(path)} is no safetensors file: its header claims {length} bytes, the file has {size}"
                )
            header = json.loads(
                stream.read(length), object_pairs_hook=_unique, parse_constant=_refuse_constant
            )
    except FileNotFoundError as error:
        raise AdapterError(f"{shown(path)}: there is no such adapter file") from error
    except AdapterError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise AdapterError(f"{shown(path)} is no safetensors file: {shown(error)}") from error
    if not isinstance(header, dict):
        raise AdapterError(f"{shown(path)} is no safetensors file: its header is no object")
    metadata = header.setdefault("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise AdapterError(f"{shown(path)}: the header's metadata must be strings")
    _check_tensors(header, size - 8 - length, path)
    return header


def _check_tensors(header: dict[str, Any], size: int, path: Path) -> None:
    """Raises AdapterError unless the tensors lie in ``size`` bytes one behind the other."""
    if size > MAX_FILE or len(header) > MAX_TENSORS:
        raise AdapterError(f"{shown(path)} is too large: {len(header)} tensors in {size} bytes")
    spans = []
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = _span(name, entry, path)
        spans.append((begin, end, name))
    place = 0
    for begin, end, name in sorted(spans):
        if begin != place:
            raise AdapterError(f"{shown(path)}: {shown(name)} begins at byte {begin}, expected {place}")
        place = end
    if place != size:
        raise AdapterError(f"{shown(path)}: the tensors take {place} bytes, the file holds {size}")


def _span(name: str, entry: Any, path: Path) -> tuple[int, int]:
    """Where a tensor lies; raises AdapterError for an entry whose parts do not agree."""
    if not isinstance(entry, dict) or len(name) > MAX_NAME or not name.isprintable():
        raise AdapterError(f"{shown(path)}: {shown(name)} is no entry of a tensor")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in ITEM_SIZES:
        raise AdapterError(
            f"{shown(path)}: {shown(name)} is of type {shown(dtype)}, expected one of {', '.join(ITEM_SIZES)}"
        )
    if not _counts(shape, 6) or not _counts(offsets, 2) or len(offsets) != 2:
        raise AdapterError(f"{shown(path)}: {shown(name)} has no proper shape and offsets")
    needed = math.prod(shape) * ITEM_SIZES[dtype]
    if offsets[1] - offsets[0] != needed:
        raise AdapterError(
            f"{shown(path)}: {shown(name)} takes {offsets[1] - offsets[0]} bytes, its shape says {shown(needed)}"
        )
    return offsets[0], offsets[1]


def _counts(values: Any, most: int) -> bool:
    """A short list of whole numbers that a file can have."""
    return (
        isinstance(values, list)
        and len(values) <= most
        and all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= MAX_FILE for v in values)
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object without names that come twice: readers differ on which of two they take."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name comes twice in its header")
    return result


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def shown(value: Any, most: int = 120) -> str:
    """A foreign name as it may stand in a message or on a page: one line, printable, not long."""
    text = "".join(c if c.isprintable() else "�" for c in str(value))
    return text if len(text) <= most else text[: most - 1] + "…"


def safe_name(text: str) -> str:
    """A foreign name as it may become a file's: letters, digits, ``-_.``; never empty, hidden or a path."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)
    return kept.strip("._")[:80] or "adapter"
