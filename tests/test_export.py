"""Every format is read back by trimesh or by our own readers with the same shape, axes and colours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from lora3d.errors import InputError
from lora3d.export import AI_MADE, file_names, model_files, placed, rights_of, view_files
from lora3d.formats import FORMATS, MESHES, PIVOTS
from lora3d.grid import PRESETS
from lora3d.lift import lift, lift_levels
from lora3d.lift.voxels import cubes, lift_voxels
from lora3d.mesh import Mesh, glb_bytes, load_mesh
from lora3d.metrics import psnr
from lora3d.render import render_tiles
from tests.conftest import make_box

GRID = PRESETS["box6"]
VALIDATOR = "gltf-validator@2.0.0-dev.3.10"
RECORD = {
    "base": "mini",
    "base_revision": "ab" * 32,
    "seed": 7,
    "license": "CC-BY-4.0",
    "adapters": [{"name": "inkfold", "artists": ["A. Maker", "B. Other"]}],
    "versions": {"lora3d": "0.1"},
}


@pytest.fixture(scope="module")
def model() -> Mesh:
    """A box that tells its axes apart, lifted from true views."""
    return lift(render_tiles(make_box((1.0, 0.5, 0.7)), GRID), GRID, texture=64)


@pytest.mark.parametrize("format", MESHES)
def test_shape_and_axes_come_back(model, tmp_path, format):
    files = model_files(model, "a box/of: mine", format, RECORD)
    for name, data in files.items():
        assert "/" not in name and " " not in name
        (tmp_path / name).write_bytes(data)
    first = tmp_path / next(iter(files))
    again = load_mesh(first)
    for a, b in (
        (again.vertices.min(0), model.vertices.min(0)),
        (again.vertices.max(0), model.vertices.max(0)),
    ):
        assert np.allclose(a, b, atol=1e-5)
    assert len(again.faces) == len(model.faces)
    theirs = trimesh.load(first, force="mesh")
    assert theirs.is_watertight or format != "stl"
    assert abs(theirs.volume) == pytest.approx(1.0 * 0.5 * 0.7 * model_scale(model) ** 3, rel=0.05)


def model_scale(model: Mesh) -> float:
    return float(np.ptp(model.vertices[:, 0]))


@pytest.mark.parametrize("format", ["glb", "gltf", "obj", "ply"])
def test_colours_come_back(model, tmp_path, format):
    files = model_files(model, "box", format, RECORD)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    again = load_mesh(tmp_path / next(iter(files)))
    assert psnr(GRID, render_tiles(again, GRID), render_tiles(model, GRID)) > 35


@pytest.mark.parametrize("pivot", PIVOTS)
def test_a_model_is_placed_and_sized_for_an_engine(model, pivot):
    moved = replace(model, vertices=model.vertices + np.float32([0.1, -0.2, 0.3]))
    mesh = placed(moved, pivot, 1.8)
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    assert (high - low).max() == pytest.approx(1.8, rel=1e-5)
    assert np.allclose(low[:2] + high[:2], 0, atol=1e-5)
    assert (low[2] if pivot == "base" else low[2] + high[2]) == pytest.approx(0, abs=1e-5)
    assert np.array_equal(placed(moved).vertices, moved.vertices)
    with pytest.raises(InputError, match="positive number of metres"):
        placed(model, pivot, -1)


def test_the_origin_travels_inside(model):
    doc = json.loads(model_files(model, "box", "gltf", RECORD)["box.gltf"])
    assert "CC-BY-4.0" in doc["asset"]["copyright"] and "A. Maker" in doc["asset"]["copyright"]
    packet = doc["extensions"]["KHR_xmp_json_ld"]["packets"][
        doc["asset"]["extensions"]["KHR_xmp_json_ld"]["packet"]
    ]
    assert packet["Iptc4xmpExt:DigitalSourceType"] == AI_MADE
    assert packet["dc:contributor"]["@set"] == ["A. Maker", "B. Other"]
    assert "inkfold" in packet["dc:creator"]["@list"][0]
    assert "KHR_xmp_json_ld" in doc["extensionsUsed"] and doc["asset"]["extras"]["lora3d"] == RECORD
    assert "CC-BY-4.0" in model_files(model, "box", "obj", RECORD)["box.obj"].decode().splitlines()[0]


def test_a_foreign_artist_adds_no_line_to_an_obj():
    artists = ["Ken\nmtllib /etc/passwd", "\x1b", "x" * 500, " \n"]
    line = rights_of({"adapters": [{"name": "a", "artists": artists}]})
    assert "learned from Ken mtllib /etc/passwd, " in line
    assert line.isprintable() and len(line) < 300


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "field"])
def test_every_format_is_made_from_views(model, format):
    files = view_files(render_tiles(model, GRID), GRID, "box", format, RECORD)
    starts = {
        "glb": b"glTF",
        "relief": b"glTF",
        "cubes": b"glTF",
        "vox": b"VOX ",
        "npz": b"PK",
        "splats": b"ply",
        "ply": b"ply",
    }
    assert next(iter(files.values())).startswith(starts.get(format, b""))
    assert all(files.values())
    assert list(files) == file_names("box", format)


def test_another_format_is_refused(model):
    with pytest.raises(InputError, match="glb, gltf, obj, ply, stl"):
        model_files(model, "box", "fbx", RECORD)
    with pytest.raises(InputError, match="splats, relief"):
        view_files(render_tiles(model, GRID), GRID, "box", "fbx", RECORD)


@pytest.fixture(scope="session")
def validator() -> Path:
    """The Khronos glTF validator as a Node package, installed once into the user's cache."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("the glTF validator needs node and npm")
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lora3d-tests" / VALIDATOR
    package = home / "node_modules" / "gltf-validator"
    if not package.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        command = [
            "npm",
            "install",
            "--prefix",
            str(home),
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            VALIDATOR,
        ]
        got = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if got.returncode:
            pytest.skip(f"{VALIDATOR} could not be installed: {got.stderr[-200:]}")
    return package


def test_the_khronos_validator_has_nothing_to_say(model, validator, tmp_path):
    """No error, no warning; what is left is that it does not know KHR_xmp_json_ld."""
    tiles = render_tiles(model, GRID)
    files = model_files(model, "textured", "glb", RECORD) | model_files(model, "two files", "gltf", RECORD)
    files |= view_files(tiles, GRID, "relief", "relief", RECORD)
    bumpy = lift_levels(tiles, GRID, (500,), texture=64, normal_map=True)[0]
    files |= model_files(bumpy, "normal map", "glb", RECORD)
    files["cubes.glb"] = glb_bytes(cubes(lift_voxels(tiles, GRID, 12, mesh=model)))
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    scenes = [str(tmp_path / name) for name in files if not name.endswith(".bin")]
    script = Path(__file__).with_name("gltf_validator.js")
    got = subprocess.run(
        ["node", str(script), str(validator), *scenes], capture_output=True, text=True, timeout=120
    )
    assert got.returncode == 0, got.stderr
    found = json.loads(got.stdout)
    assert len(found) == len(scenes)
    for issues in found.values():
        assert issues["numErrors"] == issues["numWarnings"] == 0, issues["messages"]
        assert {message["code"] for message in issues["messages"]} <= {"UNSUPPORTED_EXTENSION"}
