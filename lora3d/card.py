"""What an adapter's file says of itself, read from its header alone; imports nothing heavy."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lora3d.errors import InputError

MAX_HEADER = 16 << 20  # bytes; a card is a few kilobytes


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
        metrics: training and held-out loss, examples seen.
        versions: of the libraries that made it.
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
    format: str = "lora3d-adapter-1"

    @staticmethod
    def from_dict(values: dict[str, Any]) -> AdapterCard:
        known = {f.name for f in fields(AdapterCard)}
        return AdapterCard(**{k: v for k, v in values.items() if k in known})


def read_card(path: Path) -> AdapterCard:
    """The card in a file's header, without reading its tensors. Raises AdapterError if it is no adapter of ours."""
    metadata = read_header(path).get("__metadata__", {})
    try:
        return AdapterCard.from_dict(json.loads(metadata["lora3d"]))
    except (KeyError, TypeError, ValueError) as error:
        raise AdapterError(
            f"{path} carries no lora3d card: expected an adapter that `lora3d train` wrote"
        ) from error


def read_header(path: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file, its length checked before it is read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER, size - 8):
                raise AdapterError(f"{path} is no safetensors file: its header claims {length} bytes")
            header = json.loads(stream.read(length))
    except FileNotFoundError as error:
        raise AdapterError(f"{path}: there is no such adapter file") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise AdapterError(f"{path} is no safetensors file: {error}") from error
    if not isinstance(header, dict):
        raise AdapterError(f"{path} is no safetensors file: its header is no object")
    return header
