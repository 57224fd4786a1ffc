"""Who made an asset and under which terms: what its row, its own file and the licence files beside it say.

glTF files speak for themselves: ``asset.copyright``, ``asset.extras`` with author, license and source as
Sketchfab writes them, and the digital source type in KHR_xmp_json_ld, by which `lora3d.export` marks what a
machine made.
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

from lora3d.data_prep.licenses import (
    NOTHING,
    Statement,
    license_beside,
    licenses_in,
    several,
    spdx_of,
    spdx_of_text,
)
from lora3d.data_prep.sources import Asset, Found
from lora3d.errors import InputError

MAX_JSON = 8 * 2**20  # parsed, it takes up to twenty times as much
MAX_WORDS = 300


def said_in(path: Path) -> Statement:
    """What a .glb or .gltf file says of itself; nothing for other files and for one that cannot be read.

    A damaged file is no error here: it is named, with the reason, when it is loaded.
    """
    if path.suffix.lower() not in (".glb", ".gltf") or not path.is_file():
        return Statement()
    try:
        doc = json.loads(_json_of(path))
        asset, packets = doc["asset"], doc.get("extensions", {}).get("KHR_xmp_json_ld", "")
        extras = asset.get("extras") if isinstance(asset.get("extras"), dict) else {}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError, struct.error):
        return Statement()
    texts = (_words(extras.get("license")), _words(asset.get("copyright")))
    text = next((text for text in texts if licenses_in(text)), "")
    names = licenses_in(text)
    return Statement(
        spdx_of_text(text),
        why=several(names) if len(names) > 1 else "",
        artist=_words(extras.get("author")),
        source=_words(extras.get("source")),
        made_by_machine="trainedalgorithmicmedia" in json.dumps(packets).lower(),
    )


def _json_of(path: Path) -> bytes:
    """The JSON of a glTF file, without its buffers; empty where it is larger than MAX_JSON."""
    with path.open("rb") as file:
        head = file.read(20)
        if head[:4] != b"glTF":
            file.seek(0)
            text = file.read(MAX_JSON + 1)
        else:
            (length,) = struct.unpack_from("<I", head, 12)
            text = file.read(min(length, MAX_JSON + 1))
    return text.removeprefix(b"\xef\xbb\xbf") if len(text) <= MAX_JSON else b""


def _words(value: Any) -> str:
    """A short line of a JSON text; what is no Unicode there (lone surrogates) cannot be written and becomes "?"."""
    words = " ".join(value.split())[:MAX_WORDS] if isinstance(value, str) else ""
    return words.encode("utf-8", "replace").decode()


def state_origins(found: Found, license: str, artist: str, allow_unlicensed: bool, unstated: str) -> Found:
    """Gives every asset a licence, an artist and a source; those without a licence are rejected unless allowed.

    A row's own licence counts first, then ``license`` (SPDX or empty), then what the model's file says, then the
    licence files beside it; what is said there but is no one licence grants nothing. The artist's name is looked
    for in that order too, ``artist`` last.
    """
    assets: list[Asset] = []
    rejected = list(found.rejected)
    warnings = list(found.warnings)
    beside: dict[Path, Statement] = {}
    for asset in found.assets:
        path = found.root / asset.file
        if path.parent not in beside:
            beside[path.parent] = license_beside(path.parent, found.root)
        own, around = said_in(path), beside[path.parent]
        why = ""
        try:
            name = spdx_of(asset.license) or license
        except InputError as error:
            name, why = "", str(error)
        warnings += _disagreements(asset.file, name if name == license else "", own, around)
        if own.made_by_machine:
            warnings.append(f"{asset.file} says that a machine made it: it is not the artist's hand")
        if own.why and not (name or why):
            why = f"it {own.why}"
        name = name or ("" if why else own.license or around.license or "")
        if why and allow_unlicensed:
            warnings.append(f"{asset.file}: {why}")
        if name or allow_unlicensed:
            who = asset.artist or own.artist or around.artist or artist
            source = asset.source or own.source or around.source
            assets.append(replace(asset, license=name or unstated, artist=who, source=source))
        else:
            rejected.append({"file": asset.file, "reason": f"unlicensed: {why or around.why}"})
    return replace(found, assets=tuple(assets), rejected=rejected, warnings=list(dict.fromkeys(warnings)))


def _disagreements(file: str, told: str, own: Statement, around: Statement) -> list[str]:
    """Warnings where a licence that was told (or, without one, the file's own) is not what is said elsewhere."""
    if told:
        elsewhere = {"it says itself": own.license, "a licence file beside it says": around.license}
        texts = [f"{who} {name}" for who, name in elsewhere.items() if name and name != told]
        texts += [f"it {own.why}"] if own.why else []
        texts += [around.why] if around.why not in ("", NOTHING) else []
        return [f"{file} is taken as {told} as told, but {text}" for text in texts]
    if own.license and around.license and own.license != around.license:
        return [f"{file} says that it is {own.license}; a licence file beside it says {around.license}"]
    return []
