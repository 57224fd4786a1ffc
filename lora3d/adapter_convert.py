"""Export and import: an adapter's file in the form that another tool loads, and back."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lora3d.adapter_formats import (
    FORMATS,
    diffusers_metadata,
    guess_family,
    peft_config,
    read_layers,
    require_effect,
    safetensors_bytes,
    to_tensors,
    write_atomically,
)
from lora3d.adapter_header import card_metadata, hashes, kohya_keys, modelspec, sample_pictures
from lora3d.adapter_layers import Layers
from lora3d.adapter_names import COMPONENTS, FAMILIES
from lora3d.base import Base
from lora3d.card import AdapterCard, AdapterError, card_of, read_header, safe_name, shown
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, require_same_grid


def export(
    file: Path, to: str, out: Path, *, family: str | None = None, picture: Path | None = None
) -> dict[str, Any]:
    """Writes an adapter in another format; returns what was written.

    Args:
        file: an adapter in any format; its card goes along where it has one.
        to: one of `FORMATS`.
        out: a file; a folder for peft.
        family: sd1, sd2, sdxl or sd3, where the names and widths do not tell.
        picture: for the thumbnail; by default the newest sample beside the file.

    Raises AdapterError for a file that cannot be read or has no equal in that format.
    """
    if to not in FORMATS or (family is not None and family not in FAMILIES):
        raise InputError(
            f"--to is one of {', '.join(FORMATS)} and the family one of {', '.join(FAMILIES)}; "
            f"found {shown(to)} and {shown(family)}"
        )
    layers = read_layers(file)
    card = find_card(file)
    picture = picture or next(iter(sample_pictures(file)), None)
    if to == "peft":
        write_peft(layers, out, card)
    else:
        write_file(layers, out, card, to=to, family=family, title=safe_name(file.stem), picture=picture)
    return {
        "file": str(out),
        "format": to,
        "family": family or guess_family(layers),
        "layers": len(layers),
        "ranks": sorted({x.rank for x in layers.values()}),
        "card": card is not None,
    }


def check_fits(card: AdapterCard, base: Base, path: Path) -> None:
    """Refuses another grid or base, naming both sides; warns of other weights under the same name.

    The same weights are the same base, whatever their folder is called.
    """
    file = shown(path.name)
    try:
        grid = ViewGrid.from_dict(card.grid)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise AdapterError(f"adapter {file}: its card holds no proper grid ({shown(error)})") from error
    require_same_grid(grid, f"adapter {file}", base.grid, f"base {base.name!r}")
    if card.base_revision == base.revision:
        return
    if card.base != base.name:
        raise AdapterError(
            f"adapter {file} was trained on base {shown(card.base)!r}; this is base {base.name!r}"
        )
    warnings.warn(
        f"adapter {file} was trained on {shown(card.base)} {shown(card.base_revision[:12])}, this is "
        f"{base.revision[:12]}: same architecture, other weights; its effect may differ",
        stacklevel=2,
    )


def find_card(file: Path) -> AdapterCard | None:
    """The card of a file or of PEFT's folder, None where it carries none. A broken card is an error."""
    if file.is_dir():
        beside = file / "lora3d.json"
        if not beside.is_file():
            return None
        return card_of({"lora3d": beside.read_text(encoding="utf-8")}, beside)
    metadata = read_header(file)["__metadata__"]
    return card_of(metadata, file) if "lora3d" in metadata else None


def write_file(
    layers: Layers,
    out: Path,
    card: AdapterCard | None,
    *,
    to: str = "diffusers",
    family: str | None = None,
    title: str = "adapter",
    picture: Path | None = None,
) -> None:
    """One safetensors file with all that the format's readers look for in a header. See `export`."""
    family = family or guess_family(layers)
    tensors = to_tensors(layers, to, family)
    require_effect(tensors, str(out))
    training: dict[str, str] = {}
    metadata = {"format": "pt"}
    if card is not None:
        metadata = card_metadata(card) | modelspec(card, family, title, picture)
        training = kohya_keys(card, layers, family, title)
    if to == "diffusers":
        metadata["lora_adapter_metadata"] = json.dumps(diffusers_metadata(layers), sort_keys=True)
    metadata |= training
    metadata |= hashes(safetensors_bytes(tensors, metadata), safetensors_bytes(tensors, training))
    write_atomically(out, safetensors_bytes(tensors, metadata))


def write_peft(layers: Layers, out: Path, card: AdapterCard | None) -> None:
    """A folder for each component, as `PeftModel.from_pretrained` reads it; the card beside them."""
    for component in COMPONENTS:
        config = peft_config(layers, component)
        if not config:
            continue
        folder = out / component
        folder.mkdir(parents=True, exist_ok=True)
        own = {n: layer for n, layer in layers.items() if n.partition(".")[0] == component}
        tensors = {
            f"base_model.model.{key.partition('.')[2]}": value
            for key, value in to_tensors(own, "diffusers").items()
        }
        config = {"peft_type": "LORA", "task_type": None, "base_model_name_or_path": None, **config}
        if card is not None:
            config["base_model_name_or_path"] = card.base
        write_atomically(folder / "adapter_model.safetensors", safetensors_bytes(tensors, {"format": "pt"}))
        text = json.dumps(config, indent=1, sort_keys=True) + "\n"
        (folder / "adapter_config.json").write_text(text, encoding="utf-8")
    if card is not None:
        (out / "lora3d.json").write_text(card_metadata(card)["lora3d"] + "\n", encoding="utf-8")


def take_in(
    file: Path, out: Path, *, base: str, base_revision: str, grid: dict[str, Any], license: str | None = None
) -> dict[str, Any]:
    """Imports another trainer's adapter: diffusers' layout, and a card that says only what is known.

    A file that already has a card keeps it. ``license`` is an SPDX identifier, NOASSERTION where nobody says.
    """
    layers = read_layers(file)
    card = find_card(file)
    if card is None:
        card = AdapterCard(
            base=base,
            base_revision=base_revision,
            grid=grid,
            trigger="",
            rank=Counter(x.rank for x in layers.values()).most_common(1)[0][0],
            alpha=Counter(x.alpha for x in layers.values()).most_common(1)[0][0],
            targets=[],
            dataset="",
            assets=0,
            drawings=0,
            licenses=[license or "NOASSERTION"],
            artists=[],
            sources=[],
            recipe={},
            metrics={},
            parents=[parent_of(file)],
        )
    float_layers = {n: replace(x, down=x.down.float(), up=x.up.float()) for n, x in layers.items()}
    write_file(float_layers, out, card, title=safe_name(out.stem))
    return {"file": str(out), "layers": len(layers), "base": card.base, "licenses": card.licenses}


def parent_of(file: Path, weight: float = 1.0) -> dict[str, Any]:
    """How a file is named among another's parents: cleaned name, SHA-256, weight."""
    weights = sorted(file.rglob("*.safetensors")) if file.is_dir() else [file]
    digest = hashlib.sha256()
    for path in weights:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest() if file.is_dir() else stream.read())
    return {"file": safe_name(file.name), "sha256": digest.hexdigest(), "weight": weight}


def rewrite_header(file: Path, out: Path, card: AdapterCard) -> None:
    """The same tensors, byte for byte, under a changed card.

    Raises AdapterError for a file without a card: its terms and scores would be made up.
    """
    find_card(file) or card_of({}, file)
    header = read_header(file)
    metadata = header["__metadata__"] | card_metadata(card)
    if "modelspec.license" in metadata:
        from lora3d.adapter_license import terms_of

        metadata["modelspec.license"] = terms_of(card).license
    data = file.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    text = json.dumps({**header, "__metadata__": metadata}, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write_atomically(out, len(text).to_bytes(8, "little") + text + data[start:])


def same_layers(a: Layers, b: Layers) -> bool:
    """Whether two adapters are the same update within rounding, whatever their files are called."""
    if a.keys() != b.keys():
        return False
    for name, layer in a.items():
        mass, other = layer.magnitude, b[name].magnitude
        if (mass is None) != (other is None):
            return False
        if mass is not None and other is not None and not torch.allclose(mass, other, atol=1e-6):
            return False
        if not torch.allclose(layer.delta(), b[name].delta(), rtol=1e-4, atol=1e-6):
            return False
    return True
