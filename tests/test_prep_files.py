"""What prep promises of an artist's files: limits a model, files that models name, notes, the sheet, strikes."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import make_box
from PIL import Image
from toy_gltf import POINTS, UV, Builder

import lora3d.data_prep.folder
from lora3d.cli import main
from lora3d.data_prep.asset import Prepared, Task
from lora3d.data_prep.folder import prep
from lora3d.dataset import read_dataset, write_dataset
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.mesh import glb_bytes
from lora3d.sheet import STRIKE

# Where the models of a folder look for their files; "" stands for an absolute path.
NAMED = {"sibling": "../shared/", "beyond": "../../", "absolute": "", "network": "http://127.0.0.1:9/"}
GRID = PRESETS["box6"].with_tile(32)
prepare_one = lora3d.data_prep.folder._prepare


def rejected_of(out: Path) -> dict[str, str]:
    lines = (out / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["file"]: line["reason"] for line in map(json.loads, lines)}


# -- limits ------------------------------------------------------------------------------------------


def hang_on_one(task: Task) -> Prepared:
    if task.asset.file == "hangs.glb":
        time.sleep(600)
    return prepare_one(task)


@pytest.mark.slow
def test_what_hangs_or_is_huge_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src, out = tmp_path / "src", tmp_path / "out"
    src.mkdir()
    for i, name in enumerate(("first", "hangs", "last")):
        (src / f"{name}.glb").write_bytes(glb_bytes(make_box((1, 1 + i, 1))))
    corners = "".join(f"v {x} {y} {x}\nvt {x} {y}\n" for x, y in ((0, 0), (1, 0), (1, 1), (0, 1)))
    (src / "huge.obj").write_text(f"mtllib huge.mtl\n{corners}usemtl huge\nf 1/1 2/2 3/3 4/4\n")
    (src / "huge.mtl").write_text("newmtl huge\nmap_Kd huge.png\n")
    Image.new("L", (8000, 8000)).save(src / "huge.png")  # 256 MB once decoded, several times
    monkeypatch.setattr("lora3d.data_prep.folder._prepare", hang_on_one)
    limits = ["--time-limit", "8", "--memory", "700"]
    assert main(["prep", str(src), "--out", str(out), "--license", "CC0-1.0", "--tile", "32", *limits]) == 0
    assert rejected_of(out) == {
        "hangs.glb": "it took longer than 8 seconds",
        "huge.obj": "it needs more memory than one model may take",
    }
    assert {row["file"] for row in read_dataset(out).index} == {"first.glb", "last.glb"}


@pytest.mark.parametrize(
    ("limits", "said"), [({"time_limit_s": 0}, "more than 0"), ({"memory_mb": 64}, "512 MiB for itself")]
)
def test_limits_that_leave_nothing_are_refused(limits: dict, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        prep(tmp_path, tmp_path / "out", **limits)


# -- what models name, and what is said of them ------------------------------------------------------


def shape(i: int) -> Builder:
    """A tetrahedron of its own, painted."""
    built = Builder((POINTS * (1, 1 + i / 4, 1)).astype(np.float32), TEXCOORD_0=UV)
    built.texture(np.full((2, 2, 3), 90, np.uint8))
    return built


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("named")
    src = root / "pack"
    for folder in (src / "shared", root, *(src / name for name in NAMED)):
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (40, 90, 200 if folder.name == "shared" else 20)).save(folder / "paint.png")
    for i, (name, start) in enumerate(NAMED.items()):
        start = start or f"{root.as_posix()}/"
        painted, cut = shape(i), shape(i + len(NAMED))
        painted.doc["images"] = [{"uri": f"{start}paint.png"}]
        (src / name / "picture.glb").write_bytes(painted.glb())
        cut.doc["buffers"] = [{"uri": f"{start}{name}.bin", "byteLength": len(cut.blob)}]
        (src / name / "buffer.gltf").write_text(json.dumps(cut.doc))
        for folder in (src / "shared", root):
            (folder / f"{name}.bin").write_bytes(cut.blob)
    unity = Builder()
    unity.doc["asset"]["generator"] = "UniGLTF-1.24"
    unity.material(pbrMetallicRoughness={"baseColorFactor": [0.5, 0.25, 0.1, 1]})
    (src / "unity.glb").write_bytes(unity.glb())
    (src / "box.glb").write_bytes(glb_bytes(make_box()))
    prep(src, root / "out", grid=GRID, license="CC0-1.0", min_test=0)
    return root / "out"


def test_a_model_may_name_files_of_the_source_and_no_others(prepared: Path) -> None:
    rows = {row.file: row for row in read_dataset(prepared).rows()}
    colours = rows["sibling/picture.glb"].tiles[list(GRID.indices("rgb"))].reshape(-1, 3)
    assert (np.abs(colours - np.array([40, 90, 200]) / 255).max(axis=-1) < 0.005).any(), "the shared texture"
    assert "left out" not in rows["sibling/picture.glb"].warnings and "sibling/buffer.gltf" in rows
    # Without its buffer a model is nothing; without its picture it is bare.
    refused = {
        "beyond": "lies outside",
        "absolute": "lies outside",
        "network": "only files beside it are read",
    }
    rejected = rejected_of(prepared)
    assert set(rejected) == {f"{name}/buffer.gltf" for name in refused}
    for name, why in refused.items():
        assert why in rejected[f"{name}/buffer.gltf"]
        assert "image 0 is left out" in rows[f"{name}/picture.glb"].warnings
        assert why in rows[f"{name}/picture.glb"].warnings


def test_a_note_about_a_file_reaches_the_ledger(prepared: Path) -> None:
    note = "its exporter (UniGLTF 1.x) stores base colours as sRGB"
    said = {row["file"]: row["warnings"] for row in read_dataset(prepared).index}
    assert note in said["unity.glb"] and note not in said["box.glb"]
    report = json.loads((prepared / "report.json").read_text(encoding="utf-8"))
    assert any(line.startswith("unity.glb: ") and note in line for line in report["warnings"])


# -- the sheet and what is struck out ----------------------------------------------------------------


def test_prep_writes_a_sheet_of_every_row(prepared: Path) -> None:
    page = (prepared / "sheet.html").read_text(encoding="utf-8")
    index = read_dataset(prepared).index
    assert page.count("<article") == page.count('src="data:image/webp;base64,') == len(index) == 7
    assert all(f"<code>{row['id']}</code>" in page for row in index)
    assert page.count("class=doubt") == sum(bool(row["warnings"]) for row in index) > 0


def test_what_was_struck_out_stays_so_when_a_dataset_is_written_anew(prepared: Path, tmp_path: Path) -> None:
    src, out = tmp_path / "src", tmp_path / "out"
    shutil.copytree(prepared, out)
    src.mkdir()
    for file in ("box.glb", "unity.glb"):
        shutil.copy(prepared.parent / "pack" / file, src)
    (out / STRIKE).write_text("box.glb\nsibling/picture.glb\n", encoding="utf-8")
    make = ["prep", str(src), "--out", str(out), "--license", "CC0-1.0", "--tile", "32", "--min-test", "0"]
    assert main(make) == 1, "nothing is overwritten unasked"
    assert main([*make, "--overwrite"]) == 0
    found = read_dataset(out)
    assert [row["file"] for row in found.index] == ["unity.glb"] and found.struck == 1
    (out / STRIKE).write_text("")
    rows = list(read_dataset(out).rows())
    (out / STRIKE).write_text(f"{rows[1].id}\n")
    again = write_dataset(rows, out, GRID, overwrite=True)
    assert [row["file"] for row in again.index] == ["box.glb"] and again.struck == 1
