"""Where an asset's licence, artist and source come from, and what is said where they disagree."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from conftest import make_box

from lora3d.data_prep.licenses import UNSTATED, Statement
from lora3d.data_prep.sources import Asset, find_assets
from lora3d.data_prep.statements import said_in, state_origins
from lora3d.export import xmp_packet
from lora3d.mesh import glb_bytes

BY = "CC-BY-4.0 (http://creativecommons.org/licenses/by/4.0/)"
SKETCHFAB = f"""Model Information:
* title:\tA chair
* source:\thttps://sketchfab.com/3d-models/chair
* author:\tJane (https://sketchfab.com/jane)

Model License:
* license type:\t{BY}
* requirements:\tAuthor must be credited.
"""


def write_glb(path: Path, **asset: Any) -> Path:
    """A box whose ``asset`` says more; ``xmp`` among it becomes the file's first packet."""
    data = glb_bytes(make_box())
    (length,) = struct.unpack_from("<I", data, 12)
    doc, rest = json.loads(data[20 : 20 + length]), data[20 + length :]
    if "xmp" in asset:
        doc.setdefault("extensions", {})["KHR_xmp_json_ld"] = {"packets": [asset.pop("xmp")]}
    doc["asset"] |= asset
    text = json.dumps(doc).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A)
    path.write_bytes(head + text + rest)
    return path


def origins(root: Path, license: str = "", artist: str = "") -> dict[str, Asset]:
    found = state_origins(find_assets(root), license, artist, False, UNSTATED)
    return {asset.file: asset for asset in found.assets}


def test_a_model_speaks_for_itself(tmp_path: Path) -> None:
    extras = {"author": "Jane\n(https://x)", "license": BY, "source": "https://y", "title": "A chair"}
    said = said_in(write_glb(tmp_path / "a.glb", extras=extras))
    assert said == Statement("CC-BY-4.0", artist="Jane (https://x)", source="https://y")
    assert said_in(write_glb(tmp_path / "b.glb", copyright="2020 Ann, CC0 1.0")).license == "CC0-1.0"
    assert said_in(write_glb(tmp_path / "c.glb", copyright="2020 Ann")) == Statement()
    assert said_in(write_glb(tmp_path / "e.glb", extras={"author": "Jane \ud800"})).artist == "Jane ?"
    (tmp_path / "d.gltf").write_text(json.dumps({"asset": {"version": "2.0", "extras": extras}}))
    assert said_in(tmp_path / "d.gltf") == said


@pytest.mark.parametrize(
    "content", [b"", b"glTF", b"glTF\2\0\0\0\xff\xff\xff\xff\xff\xff\xff\xffJSON{", b"[1]", b"{}"]
)
def test_a_damaged_file_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.glb").write_bytes(content)
    assert said_in(tmp_path / "a.glb") == Statement()


@pytest.mark.parametrize("extras", [["CC0"], "CC0", {"license": 7, "author": None}])
def test_extras_may_be_anything(tmp_path: Path, extras: Any) -> None:
    assert said_in(write_glb(tmp_path / "a.glb", extras=extras)) == Statement()


def test_what_counts_is_the_row_then_the_file_then_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "license.txt").write_text(SKETCHFAB)
    write_glb(tmp_path / "beside.glb")
    write_glb(tmp_path / "itself.glb", extras={"author": "Bob", "license": "CC0-1.0"})
    found = state_origins(find_assets(tmp_path), "", "Someone", False, UNSTATED)
    beside, itself = (next(a for a in found.assets if a.file == f"{n}.glb") for n in ("beside", "itself"))
    assert (beside.license, beside.artist) == ("CC-BY-4.0", "Jane (https://sketchfab.com/jane)")
    assert beside.source == "https://sketchfab.com/3d-models/chair"
    assert (itself.license, itself.artist) == ("CC0-1.0", "Bob")
    assert found.warnings == ["itself.glb says that it is CC0-1.0; a licence file beside it says CC-BY-4.0"]
    told = state_origins(find_assets(tmp_path), "MIT", "", False, UNSTATED)
    assert {a.license for a in told.assets} == {"MIT"}
    assert len([w for w in told.warnings if "is taken as MIT as told" in w]) == 3
    (tmp_path / "metadata.csv").write_text("file,license,artist\nitself.glb,CC-BY-SA-4.0,Ann\n")
    assert origins(tmp_path)["itself.glb"].license == "CC-BY-SA-4.0"
    assert origins(tmp_path)["itself.glb"].artist == "Ann"


def test_a_row_that_says_no_licence_is_not_overruled(tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb")
    (tmp_path / "metadata.csv").write_text("file,license\na.glb,All rights reserved\n")
    found = state_origins(find_assets(tmp_path), "CC0-1.0", "", False, UNSTATED)
    assert not found.assets and "'All rights reserved' is no SPDX" in found.rejected[0]["reason"]
    kept = state_origins(find_assets(tmp_path), "CC0-1.0", "", True, UNSTATED)
    assert kept.assets[0].license == UNSTATED and "is no SPDX" in kept.warnings[0]


def test_a_model_that_names_several_licences_has_none(tmp_path: Path) -> None:
    (tmp_path / "license.txt").write_text("CC0")
    write_glb(tmp_path / "a.glb", extras={"license": "CC-BY-NC-4.0, textures CC0"})
    found = state_origins(find_assets(tmp_path), "", "", False, UNSTATED)
    assert found.rejected[0]["reason"].endswith("it names several licences: CC-BY-NC-4.0, CC0-1.0")
    told = state_origins(find_assets(tmp_path), "CC-BY-NC-4.0", "", False, UNSTATED)
    assert told.assets[0].license == "CC-BY-NC-4.0" and len(told.warnings) == 2


def test_without_any_word_the_told_artist_is_named(tmp_path: Path) -> None:
    write_glb(tmp_path / "a.glb")
    assert origins(tmp_path) == {}
    assert origins(tmp_path, "MIT", "Someone")["a.glb"].artist == "Someone"


def test_a_model_that_a_machine_made_is_pointed_out(tmp_path: Path) -> None:
    """The mark that our own models carry is understood when they come back."""
    write_glb(tmp_path / "a.glb", xmp=xmp_packet({"base": "mini"}))
    write_glb(tmp_path / "b.glb", xmp={"dc:creator": {"@list": ["Ann"]}})
    found = state_origins(find_assets(tmp_path), "MIT", "", False, UNSTATED)
    assert found.warnings == ["a.glb says that a machine made it: it is not the artist's hand"]
