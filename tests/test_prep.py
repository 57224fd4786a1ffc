"""The prep step: every model file is accounted for, drawings are matched, and nothing stops the run."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import SHARED, make_box
from PIL import Image
from test_match import make_chair, make_sign

from lora3d.camera import orbit
from lora3d.data_prep.asset import Task, prepare
from lora3d.data_prep.drawings import draw
from lora3d.data_prep.folder import PrepReport, prep
from lora3d.data_prep.from_parquet import shards_of, unpack
from lora3d.data_prep.resume import recall, remember, work_folder
from lora3d.data_prep.sources import Asset, find_assets
from lora3d.data_prep.workers import Failure
from lora3d.dataset import Dataset, read_dataset
from lora3d.dataset_rows import decode_row
from lora3d.drawing import fit_reference
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.mesh import Mesh, glb_bytes, load_glb_bytes, turn
from lora3d.render import render_tiles

GRID = PRESETS["box6"].with_tile(32)
CHAIR = make_chair()


def save_drawing(path: Path, mesh: Mesh, azimuth_deg: float, elevation_deg: float = 25) -> None:
    rgba = draw(mesh, orbit(azimuth_deg, elevation_deg, 1.5, ortho_scale=1.04), "shaded", size=96)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((rgba * 255).round().astype(np.uint8)).save(path)


def save_obj(path: Path, mesh: Mesh) -> None:
    """Geometry alone, Y up: x, z, −y."""
    lines = [f"v {x:.6f} {z:.6f} {-y:.6f}" for x, y, z in mesh.vertices]
    lines += ["f " + " ".join(str(i + 1) for i in face) for face in mesh.faces]
    path.write_text("\n".join(lines) + "\n")


def files_of(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as artists have them: models with and without drawings, variants, twins, wreckage."""
    root = tmp_path_factory.mktemp("pack")
    models = root / "models"
    models.mkdir()
    (root / "LICENSE.txt").write_text("CC0 1.0 Universal")
    (models / "chair.glb").write_bytes(glb_bytes(CHAIR))
    (models / "chair_copy.glb").write_bytes(glb_bytes(CHAIR, name="another"))
    save_obj(models / "chair.obj", CHAIR)
    (models / "roadSign.glb").write_bytes(glb_bytes(make_sign()))
    for i, (name, size) in enumerate(
        (("crate", (1, 1, 1)), ("crate_long", (3, 1, 1)), ("plank", (9, 1, 0.3)))
    ):
        (models / f"{name}.glb").write_bytes(glb_bytes(make_box(size, (0.2 * i, 0.5, 0.3))))
    (models / "broken.glb").write_bytes(b"glTF nothing more")
    (models / "empty.obj").write_bytes(b"")
    for other in ("scene.blend", "old.dae", "all.zip"):
        (models / other).write_bytes(b"?")
    save_drawing(root / "drawings" / "chair.png", CHAIR, 130)
    save_drawing(root / "drawings" / "roadSign@-30,25.webp", make_sign(), -30)
    (root / "drawings" / "crate.png").write_bytes(b"no picture")
    (root / "notes.txt").write_text("not a model")
    return root


@pytest.fixture(scope="module")
def prepared(pack: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PrepReport, Dataset]:
    out = tmp_path_factory.mktemp("prepared") / "set"
    report = prep(pack, out, grid=GRID, workers=2, min_test=2)
    return report, read_dataset(out)


def rejected_of(dataset: Dataset) -> dict[str, str]:
    lines = (dataset.path / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert all(list(line) == ["file", "reason"] for line in found)
    assert len({line["file"] for line in found}) == len(found)
    return {line["file"]: line["reason"] for line in found}


# -- the whole step ----------------------------------------------------------------------------------


def test_every_model_file_gives_rows_or_one_line(pack: Path, prepared: tuple[PrepReport, Dataset]) -> None:
    report, dataset = prepared
    models = {p.relative_to(pack).as_posix() for p in (pack / "models").iterdir()}
    rejected = rejected_of(dataset)
    kept = {row.file for row in dataset.rows()}
    assert kept | set(rejected) == models and not kept & set(rejected)
    assert report.files == len(models) and report.rows == len(dataset) == len(kept)
    assert sum(report.rejected.values()) == len(rejected) and report.content_hash == dataset.content_hash
    assert (
        rejected["models/chair_copy.glb"] == rejected["models/chair.obj"] == "a duplicate of models/chair.glb"
    )
    assert "archive" in rejected["models/all.zip"] and "export it as GLB" in rejected["models/scene.blend"]
    assert not any(reason.startswith(Path(file).name) for file, reason in rejected.items())


def test_rows_say_what_they_are(prepared: tuple[PrepReport, Dataset]) -> None:
    report, dataset = prepared
    rows = {row.file: row for row in dataset.rows()}
    assert {row.caption for row in rows.values()} == {"chair", "road sign", "crate", "crate long", "plank"}
    assert all(row.license == "CC0-1.0" for row in rows.values())
    assert rows["models/crate.glb"].subject == rows["models/crate_long.glb"].subject
    assert "drawing left out" in rows["models/crate.glb"].warnings
    assert any("crate.png" in warning for warning in report.warnings)
    assert rows["models/plank.glb"].drawing == "rendered" and rows["models/plank.glb"].reference_iou is None
    assert abs((rows["models/plank.glb"].azimuth_deg + 180) % 360 - 180) <= 40
    assert report.train + report.test == 5 and report.test == 2


def test_the_grid_is_turned_to_the_drawing(prepared: tuple[PrepReport, Dataset]) -> None:
    _, dataset = prepared
    rows = {row.file: row for row in dataset.rows()}
    chair, sign = rows["models/chair.glb"], rows["models/roadSign.glb"]
    assert chair.drawing == "drawings/chair.png" and abs(chair.azimuth_deg - 130) <= 8
    assert chair.turn_deg == 90 and chair.reference_iou is not None and chair.reference_iou > 0.9
    assert (sign.azimuth_deg, sign.elevation_deg, sign.turn_deg) == (330, 25, 0)

    views = [i for i, cell in enumerate(GRID.cells) if cell.camera is not None]
    truth = render_tiles(turn(CHAIR, 90), GRID)
    assert np.abs(chair.tiles - truth)[views].max() < 0.02
    back = render_tiles(load_glb_bytes(chair.glb), GRID)
    assert np.abs(back - truth)[views].mean() < 1e-3, "the mesh column is turned as the views are"
    assert chair.reference is not None
    rgb, alpha = fit_reference(GRID, chair.reference.astype(np.float32) / 255)
    assert np.abs(chair.tiles[GRID.indices("reference")[0]] - rgb).max() < 0.003
    assert np.abs(chair.tiles[GRID.indices("reference_alpha")[0]][..., 0] - alpha).max() < 0.003


def test_the_bytes_do_not_depend_on_the_workers(
    pack: Path, prepared: tuple[PrepReport, Dataset], tmp_path: Path
) -> None:
    report, dataset = prepared
    calls: list[tuple[int, int]] = []
    again = prep(
        pack, tmp_path / "b", grid=GRID, workers=1, min_test=2, progress=lambda n, of: calls.append((n, of))
    )
    assert files_of(tmp_path / "b") == files_of(dataset.path)
    assert again.content_hash == report.content_hash
    assert calls[-1][0] == calls[-1][1] == len(calls) and [p.name for p in tmp_path.iterdir()] == ["b"]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(
    pack: Path, prepared: tuple[PrepReport, Dataset], tmp_path: Path
) -> None:
    out, work = tmp_path / "set", tmp_path / ".set.parts"
    text = (
        "import sys; from pathlib import Path; from lora3d.data_prep.folder import prep; "
        "from lora3d.grid import PRESETS\n"
        "if __name__ == '__main__':\n"
        "    grid = PRESETS['box6'].with_tile(32)\n"
        "    prep(Path(sys.argv[1]), Path(sys.argv[2]), grid=grid, workers=1, min_test=2)"
    )
    script = tmp_path / "run.py"
    script.write_text(text)
    process = subprocess.Popen([sys.executable, str(script), str(pack), str(out)])
    while process.poll() is None and len(list(work.glob("*.parquet"))) < 2:
        time.sleep(0.01)
    process.kill()
    process.wait()
    # A worker outlives its run by the asset it is at: more may come to be finished, never less.
    finished = set(work.glob("*.parquet"))
    assert not out.exists() and len(finished) >= 2
    with pytest.raises(InputError, match="SPDX"):
        prep(pack, out, grid=GRID, license="all mine", min_test=2)
    assert finished <= set(work.glob("*.parquet")), "a slip does not cost what is finished"
    calls: list[tuple[int, int]] = []
    prep(pack, out, grid=GRID, workers=1, min_test=2, progress=lambda n, of: calls.append((n, of)))
    assert files_of(out) == files_of(prepared[1].path)
    assert len(calls) <= calls[-1][1] - len(finished), "what was finished is not made again"
    assert {p.name for p in tmp_path.iterdir()} == {"set", "run.py"}


def test_metadata_is_exhaustive_and_one_drawing_is_one_row(tmp_path: Path) -> None:
    src = tmp_path / "src"
    src.mkdir()
    (src / "a.glb").write_bytes(glb_bytes(CHAIR))
    (src / "b.glb").write_bytes(glb_bytes(make_box()))
    (src / "c.glb").write_bytes(glb_bytes(make_box((2, 1, 1))))
    for azimuth in (45, 135, 225, 315):
        save_drawing(src / "d" / f"{azimuth}.png", CHAIR, azimuth, 35)
    save_drawing(src / "d" / "top.png", CHAIR, 180, 90)
    drawings = ";".join(f"d/{n}.png" for n in (45, 135, 225, 315, "top", "missing"))
    (src / "metadata.csv").write_text(
        "\ufefffile,caption,licence,artist,source,drawing,mood\n"
        f'a.glb,"seat, red",cc-by-4.0,Ann,shop,{drawings},happy\n'
        "b.glb,box,all mine,,,,\n"
        "../outside.glb,x,MIT,,,,\n"
        "gone.glb,x,MIT,,,,\n",
        encoding="utf-8",
    )
    report = prep(src, tmp_path / "out", grid=GRID, artist="Someone", trigger="annstyle", min_test=0)
    dataset = read_dataset(tmp_path / "out")
    assert set(rejected_of(dataset)) == {"b.glb", "c.glb", "../outside.glb", "gone.glb"}
    assert rejected_of(dataset)["c.glb"] == "not listed in metadata.csv"
    assert rejected_of(dataset)["b.glb"].startswith("unlicensed: license 'all mine'")
    rows = list(dataset.rows())
    assert [row.turn_deg for row in rows] == [0, 90, 180, 270, 180]
    assert len({row.id for row in rows}) == 5 and {row.subject for row in rows} == {rows[0].subject}
    assert (
        rows[0].caption == "annstyle seat, red" and rows[0].license == "CC-BY-4.0" and rows[0].artist == "Ann"
    )
    assert rows[4].elevation_deg > 80
    text = " ".join(report.warnings)
    assert "columns not used: mood" in text and "d/missing.png is not there" in text
    assert dataset.assets("train") == 1


def test_a_parquet_data_set_is_a_source_and_ours_goes_round(
    prepared: tuple[PrepReport, Dataset], tmp_path: Path
) -> None:
    _, first = prepared
    prep(first.path, tmp_path / "again", grid=GRID, min_test=2)
    again = {row.caption: row for row in read_dataset(tmp_path / "again").rows()}
    rows = {row.caption: row for row in first.rows()}
    assert set(again) == set(rows) and {row.license for row in again.values()} == {"CC0-1.0"}
    views = [i for i, cell in enumerate(GRID.cells) if cell.camera is not None]
    sign, before = again["road sign"], rows["road sign"]
    assert sign.drawing.endswith("-drawing.png") and np.abs(sign.tiles - before.tiles)[views].mean() < 2e-3

    table = pa.table({"text": ["a box", "nothing"], "glb": [glb_bytes(make_box()), b"glTF"], "mood": [1, 2]})
    pq.write_table(table, tmp_path / "own.parquet")
    own = find_assets(unpack(shards_of(tmp_path / "own.parquet"), tmp_path / "own"))
    assert [(a.file, a.caption) for a in own.assets] == [
        ("row000000.glb", "a box"),
        ("row000001.glb", "nothing"),
    ]
    assert [(own.root / a.file).read_bytes() for a in own.assets] == table["glb"].to_pylist()
    pq.write_table(table.select(["text"]), tmp_path / "none.parquet")
    with pytest.raises(InputError, match="no column of models: expected one of mesh, glb, model, found text"):
        prep(tmp_path / "none.parquet", tmp_path / "x")
    assert not (tmp_path / ".x.parts").exists()


def test_another_parquet_source_is_read_anew(tmp_path: Path) -> None:
    """What was unpacked for one source is not taken for another of the same output."""
    for name in "ab":
        pq.write_table(
            pa.table({"text": [name], "glb": [glb_bytes(make_box())]}), tmp_path / f"{name}.parquet"
        )
    first, second, again = (unpack([tmp_path / f"{name}.parquet"], tmp_path / "work") for name in "aba")
    assert first == again != second
    assert [a.caption for a in find_assets(second).assets] == ["b"]


def test_what_an_output_of_a_like_name_left_is_not_touched(tmp_path: Path) -> None:
    """Half-written and put-aside datasets are mended only under their own output's name."""
    theirs = [tmp_path / name for name in (".set.v2.12.old", ".set.v2.12.partial", ".set.x.old")]
    ours = [tmp_path / name for name in (".set.12.partial", ".set.13.old")]
    for folder in (*theirs, *ours):
        folder.mkdir()
    with work_folder(tmp_path / "set"):
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
            [*(p.name for p in theirs), "set", ".set.parts"]
        )


def test_what_the_machine_lacked_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "a.glb").write_bytes(glb_bytes(make_box()))
    task = Task(tmp_path, Asset("a.glb"), GRID, 0, tmp_path / "part.parquet")
    remember(task, Failure("it took longer than 1 seconds"))
    assert recall(task) is None
    remember(task, Failure("no faces", lasting=True))
    assert recall(task) == Failure("no faces", lasting=True)


def test_references_without_a_drawing_are_drawn_in_the_styles_asked_for(tmp_path: Path) -> None:
    (tmp_path / "chair.glb").write_bytes(glb_bytes(CHAIR))
    pictures = {}
    for style in ("render", "silhouette", "blueprint"):
        task = Task(tmp_path, Asset("chair.glb"), GRID, 0, tmp_path / style, styles=(style,))
        prepare(task)
        row = decode_row(pq.read_table(task.part).to_pylist()[0], GRID)
        assert row.reference is not None and row.drawing.startswith("rendered")
        pictures[style] = row.reference
    seen = pictures["silhouette"][pictures["silhouette"][..., 3] > 0]
    assert len(np.unique(seen[:, :3], axis=0)) == 1
    assert len(np.unique(pictures["render"][..., :3].reshape(-1, 3), axis=0)) > 2
    with pytest.raises(InputError, match="no drawing style 'oil'"):
        prep(tmp_path, tmp_path / "x", styles=("oil",))


def test_nothing_usable_names_the_reasons(tmp_path: Path) -> None:
    src = tmp_path / "src"
    src.mkdir()
    with pytest.raises(InputError, match="holds no model"):
        prep(src, tmp_path / "out")
    (src / "a.glb").write_bytes(glb_bytes(make_box()))
    (src / "b.fbx").write_bytes(b"?")
    with pytest.raises(InputError, match=r"none of the 2 model files .* --license") as error:
        prep(src, tmp_path / "out")
    assert "1 × unlicensed" in str(error.value) and "1 × a format that is not read" in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["src"]


@pytest.mark.parametrize(
    ("src", "message"),
    [("missing", "there is nothing"), ("a.glb", "found a .glb file"), ("metadata.txt", "found a .txt file")],
)
def test_a_source_is_a_folder_or_a_manifest(src: str, message: str, tmp_path: Path) -> None:
    if src != "missing":
        (tmp_path / src).write_text("x")
    with pytest.raises(InputError, match=message):
        prep(tmp_path / src, tmp_path / "out")


def test_what_is_not_ours_is_refused_before_any_work(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    start = time.monotonic()
    with pytest.raises(InputError, match=r"holds 'mine.txt'"):
        prep(pack, tmp_path, overwrite=True)
    assert time.monotonic() - start < 1 and (tmp_path / "mine.txt").read_text() == "mine"


# -- real folders ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["art/awkward", "robust"])
def test_odd_files_are_kept_if_they_are_usable(folder: str, tmp_path: Path) -> None:
    import csv

    src = SHARED / folder
    if not src.is_dir():
        pytest.skip(f"the shared files of {folder} are not here")
    report = prep(src, tmp_path / "out", grid=GRID, allow_unlicensed=True)
    dataset = read_dataset(tmp_path / "out")
    rejected = rejected_of(dataset)
    with (src / "expected.csv").open(newline="", encoding="utf-8") as file:
        usable = [
            row["file"].removeprefix("awkward/") for row in csv.DictReader(file) if row["usable"] == "y"
        ]
    refused = {rejected[f] for f in usable if f in rejected and "duplicate" not in rejected[f]}
    # Four of the validator's own files name no data for their positions: by glTF's rules they are all 0.
    assert refused <= {"all vertices of the model lie in one point: it has no shape"}
    assert len([f for f in usable if rejected.get(f) in refused]) == (4 if folder == "robust" else 0)
    assert report.files == report.assets + len(rejected)
    for row in dataset.rows():
        assert (row.tiles[list(GRID.indices("depth"))] > 0).any(), f"{row.file} is blank"
