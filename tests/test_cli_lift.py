"""`lora3d lift` as a user meets it: files, levels, places, clips, stacks, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora3d.cli import main
from lora3d.generate import to_image
from lora3d.grid import PRESETS, pack
from lora3d.mesh import load_mesh
from lora3d.render import render_tiles
from tests.conftest import make_box

GRID = PRESETS["box6"]


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "grid.png"
    to_image(pack(GRID, render_tiles(make_box((1.0, 0.5, 0.7)), GRID))).save(path)
    return path


def run(capsys, *words) -> dict:
    assert main(["lift", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_levels_a_place_and_a_clip(picture, tmp_path, capsys):
    out = tmp_path / "new" / "box.glb"
    flags = ("--lods", 1, "--faces", 2000, "--pivot", "base", "--size", 2, "--turntable", "--texture", 64)
    found = run(capsys, picture, "--grid", "box6", "--out", out, *flags)
    assert found["glb"] == str(out) and found["faces"] <= 2000
    for level in (out, out.with_name("box_lod1.glb")):
        mesh = load_mesh(level)
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        assert (high - low).max() == pytest.approx(2, rel=1e-4) and low[2] == pytest.approx(0, abs=1e-5)
        assert len(mesh.faces) <= (2000 if level == out else 500)
    with Image.open(out.with_name("box_turn.webp")) as clip:
        assert clip.n_frames == 36


def test_a_transparent_grid_lifts_as_its_background_does(picture, tmp_path, capsys):
    canvas = np.asarray(Image.open(picture).convert("RGB"))
    alpha = np.where((canvas == 255).all(-1), 0, 255).astype(np.uint8)
    hidden = np.where(alpha[..., None] > 0, canvas, [255, 0, 255]).astype(np.uint8)
    clear = tmp_path / "clear.png"
    Image.fromarray(np.dstack([hidden, alpha])).save(clear)
    for source, name in ((picture, "a.stl"), (clear, "b.stl")):
        run(capsys, source, "--grid", "box6", "--out", tmp_path / name)
    assert (tmp_path / "a.stl").read_bytes() == (tmp_path / "b.stl").read_bytes()


def test_a_stack_is_lifted(tmp_path, capsys):
    (tmp_path / "scan").mkdir()
    for i in range(12):
        page = np.zeros((16, 16), np.uint8)
        if 3 <= i < 9:
            page[4:12, 4:12] = 220
        Image.fromarray(page).save(tmp_path / "scan" / f"{i:02}.png")
    words = (tmp_path / "scan", "--slices", 1, "--out", tmp_path / "cube.obj", "--texture", 64)
    assert run(capsys, *words)["faces"] > 0
    extent = np.ptp(load_mesh(tmp_path / "cube.obj").vertices, axis=0)
    assert np.allclose(extent, np.array([8, 8, 6]) / np.linalg.norm([16, 16, 12]), atol=0.02)


def test_what_is_given_is_spared_and_what_is_asked_is_written(picture, tmp_path, capsys):
    given, asked = tmp_path / "my_mug_v2.png", tmp_path / "my mug (v2).OBJ"
    given.write_bytes(picture.read_bytes())
    found = run(capsys, given, "--grid", "box6", "--out", asked, "--texture", 16)
    assert found["obj"] == str(asked) and load_mesh(asked).materials[0].texture is not None
    assert [Path(p).name for p in found["beside"]] == ["my_mug_v2_texture.png", "my_mug_v2.mtl"]
    assert given.read_bytes() == picture.read_bytes()

    clash = given.rename(tmp_path / "a_texture.png")
    assert main(["lift", str(clash), "--grid", "box6", "--out", str(tmp_path / "a.obj")]) == 1
    assert "a_texture.png was given and would be overwritten" in capsys.readouterr().err
    assert clash.read_bytes() == picture.read_bytes()


def test_what_does_not_go_together_is_refused(picture, tmp_path, capsys):
    for words in (
        ("--grid", "box6", "--out", tmp_path / "a.vox", "--lods", "2"),
        ("--slices", "1", "--out", tmp_path / "a.vox"),
        ("--grid", "box6", "--out", tmp_path / "a.npz", "--size", "1"),
    ):
        assert main(["lift", str(picture), *map(str, words)]) == 1
        said = capsys.readouterr().err
        assert "expected glb, gltf, obj, ply, stl" in said and "Traceback" not in said
