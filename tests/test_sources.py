"""Finding an artist's files: what is a model, whose drawing is whose, what is left out and why."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import make_box

from lora3d.data_prep.asset import Reference, require_visible, row_ids
from lora3d.data_prep.shapes import look_of
from lora3d.data_prep.sources import UNREADABLE, find_assets
from lora3d.errors import InputError
from lora3d.mesh import Mesh


def touch(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"x")


def test_hidden_files_links_and_formats(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(
        root, "a.GLB", "sub/deep/b.obj", "._a.glb", ".git/c.glb", "__MACOSX/d.glb", "e.png", "f.mtl", "g.bin"
    )
    touch(root, *(f"odd{suffix}" for suffix in UNREADABLE))
    touch(tmp_path, "outside.glb")
    (root / "link.glb").symlink_to(tmp_path / "outside.glb")
    found = find_assets(root)
    assert [asset.file for asset in found.assets] == ["a.GLB", "sub/deep/b.obj"]
    rejected = {line["file"]: line["reason"] for line in found.rejected}
    assert set(rejected) == {"._a.glb", "link.glb", *(f"odd{s}" for s in UNREADABLE)}
    assert "leads out" in rejected["link.glb"]


def test_drawings_bear_the_models_name(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "glb/chair.glb",
        "iso/chair.png",
        "side/Chair@90.JPG",
        "glb/sub/chair.webp",
        "iso/chair_NE.png",
    )
    touch(
        tmp_path, "other/deep/chair.png", "chair.gif", "table/table.obj", "table/table.png", "table/table.mtl"
    )
    (tmp_path / "table" / "table.mtl").write_text("map_Kd textures\\table.png\n")
    touch(tmp_path, "x/lamp.glb", "y/lamp.glb", "y/lamp.png")
    found = {asset.file: [d.file for d in asset.drawings] for asset in find_assets(tmp_path).assets}
    assert found["glb/chair.glb"] == ["glb/sub/chair.webp", "iso/chair.png", "side/Chair@90.JPG"]
    assert found["table/table.obj"] == [], "a texture is no drawing"
    assert found["x/lamp.glb"] == [] and found["y/lamp.glb"] == ["y/lamp.png"]


def test_a_drawing_may_state_where_it_was_drawn_from(tmp_path: Path) -> None:
    touch(tmp_path, "a.glb", "d.png", "d@2x.png")
    drawings = "d.png@-30,12.5;d@2x.png;d.png@90;d.png@0,99"
    (tmp_path / "list.jsonl").write_text(json.dumps({"file_name": "a.glb", "drawing": drawings}) + "\n")
    asset = find_assets(tmp_path / "list.jsonl").assets[0]
    assert [(d.file, d.azimuth_deg, d.elevation_deg) for d in asset.drawings] == [
        ("d.png", -30.0, 12.5),
        ("d@2x.png", None, None),
        ("d.png", 90.0, None),
    ]
    assert "elevation" in asset.warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("caption,license\nbox,MIT\n", "no column 'file': found caption, license"),
        ("", "lists no model"),
        (b"file,caption\nb\xe4r.glb,x\n", "not UTF-8"),
    ],
)
def test_metadata_that_cannot_be_read(text: str | bytes, message: str, tmp_path: Path) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "metadata.csv").write_bytes(data)
    with pytest.raises(InputError, match=message):
        find_assets(tmp_path)


def test_ids_are_unique_and_fit_file_names() -> None:
    pixels = np.zeros((1, 1, 4), np.uint8)
    files = ["a/é.glb", "a/è.glb", "a/e.glb", "a/e.obj", "a_e.glb", "x" * 300 + ".glb", "日本.glb"]
    references = [Reference("d/1.png", pixels, 0, 0), Reference("d/1.png", pixels, 90, 0)]
    ids = [
        i for f in files for r in (references, [Reference("rendered", pixels, 0, 0)]) for i in row_ids(f, r)
    ]
    assert len(set(ids)) == len(ids) == 3 * len(files)
    assert all(i.isascii() and "/" not in i and len(i) < 160 and not i.startswith(".") for i in ids)


def test_sheets_are_seen_from_both_sides_or_not_at_all() -> None:
    sheet = Mesh(
        np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1]], np.float32) - np.float32(0.5),
        np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        np.zeros(2, np.int32),
        make_box().materials,
    )
    require_visible(sheet, look_of(sheet))
    for fields, reason in (({"double_sided": False}, "one side only"), ({"alpha_mode": "BLEND"}, "blank")):
        base = (1, 1, 1, 0) if "alpha_mode" in fields else (1, 1, 1, 1)
        material = type(sheet.materials[0])(base_color=base, **fields)
        hidden = Mesh(sheet.vertices, sheet.faces, sheet.face_material, (material,))
        with pytest.raises(InputError, match=reason):
            require_visible(hidden, look_of(hidden))
