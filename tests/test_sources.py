"""Finding an artist's files: what is a model, whose drawing is whose, what is left out and why."""

from __future__ import annotations

import json
import os
import unicodedata
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


def test_a_texture_is_known_by_the_materials_in_the_models_folder(tmp_path: Path) -> None:
    """Wherever it lies; and a drawing beside it that is called alike is still one."""
    touch(tmp_path, "crate.obj", "textures/crate.png", "art/crate.png", "green crate.obj", "green crate.png")
    (tmp_path / "crate.mtl").write_text("newmtl m\nmap_Kd textures/crate.png\nbump -bm 2 green crate.png\n")
    touch(tmp_path, "gltf/big box.gltf", "gltf/big box.png", "gltf/é.png", "gltf/é.glb", "ply/mug.png")
    uris = ["big%20box.png", "data:image/png;base64,AA==", "é.png"]
    (tmp_path / "gltf/big box.gltf").write_text(json.dumps({"images": [{"uri": uri} for uri in uris]}))
    (tmp_path / "ply/mug.ply").write_bytes(b"ply\ncomment TextureFile mug.png\nend_header\n\xff")
    touch(tmp_path, "win/lamp.obj", "win/lamp.png")
    (tmp_path / "win/lamp.mtl").write_text("map_Kd -s 1 1 1 C:\\art\\Lamp.PNG\n")
    found = {asset.file: [d.file for d in asset.drawings] for asset in find_assets(tmp_path).assets}
    assert found.pop("crate.obj") == ["art/crate.png"]
    assert len(found) == 5 and not any(found.values())


def test_names_match_however_the_disk_spells_them(tmp_path: Path) -> None:
    """macOS writes é as two characters (NFD), a table as one (NFC)."""
    nfd = unicodedata.normalize("NFD", "café")
    touch(tmp_path, f"{nfd}/{nfd}.glb", f"{nfd}/view.png", "big  chair.glb", f"{nfd}.obj", "CAFÉ@90.png")
    assert [d.file for d in find_assets(tmp_path).assets[1].drawings] == ["CAFÉ@90.png"]
    table = "sep=;\r\nfile;drawing\r\ncafé\\café.glb;café/view.png@30\r\nbig  chair.glb;\r\n"
    (tmp_path / "Metadata.CSV").write_text(table, encoding="utf-8-sig")
    found = find_assets(tmp_path)
    assert [asset.file for asset in found.assets] == ["big  chair.glb", f"{nfd}/{nfd}.glb"]
    assert [(d.file, d.azimuth_deg) for d in found.assets[1].drawings] == [(f"{nfd}/view.png", 30.0)]
    assert [line["reason"] for line in found.rejected] == ["not listed in Metadata.CSV"]


def test_what_cannot_be_a_model_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "good.obj")
    os.mkfifo(tmp_path / "pipe.glb")
    os.mkfifo(tmp_path / "good.png")
    (tmp_path / "loop.glb").symlink_to("loop.glb")
    for name in (b"caf\xe9.obj", b"caf\xe9.fbx", b"caf\xe9.png"):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(b"x")
    found = find_assets(tmp_path)
    assert [(asset.file, asset.drawings) for asset in found.assets] == [("good.obj", ())]
    reasons = {line["file"]: line["reason"].split(":")[0] for line in found.rejected}
    odd = {f"caf\\xe9.{suffix}": "its name is not UTF-8" for suffix in ("obj", "fbx", "png")}
    pipe = "no regular file (a pipe, or a link to nothing)"
    assert reasons == {"pipe.glb": pipe, "loop.glb": pipe, **odd}


def test_frames_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(tmp_path, "secret.png")
    touch(root, "mug/own.png")
    for i in range(2):
        (root / f"mug/m{i}.png").symlink_to(tmp_path / "secret.png")
    (root / "metadata.csv").write_text("file\nmug\n")
    assert find_assets(root).rejected == [{"file": "mug", "reason": "a folder with no frames of a turntable"}]


def test_hostile_names_in_a_table_cost_their_row(tmp_path: Path) -> None:
    touch(tmp_path, "a.obj")
    (tmp_path / "loop").symlink_to("loop")
    rows: list[dict[str, str]] = [
        {"file": name} for name in ("b\0.obj", "x" * 5000, "loop/x.obj", "\ud800.obj", "../a.obj")
    ]
    rows.append({"file": "a.obj", "drawing": "d\0.png;" + "y" * 5000, "caption": "two\u2028lines \ud800"})
    text = "\n".join(json.dumps(row) for row in rows)
    (tmp_path / "metadata.jsonl").write_text(text.replace("\\u2028", "\u2028"), encoding="utf-8")
    found = find_assets(tmp_path)
    assert [asset.caption for asset in found.assets] == ["two lines ?"] and len(found.assets[0].warnings) == 2
    assert len(found.rejected) == 5
    json.dumps(found.rejected, ensure_ascii=False).encode()


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
        ("file,caption\na.glb," + "word " * 30_000, "is no table: field larger"),
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
