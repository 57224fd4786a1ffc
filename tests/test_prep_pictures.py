"""Pictures without models: drawings alone and turntables, from the folder to the weights of a training step."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import SHARED, make_box
from PIL import Image

from lora3d.base import load_base
from lora3d.batches import make_batch
from lora3d.cache import cache_rows
from lora3d.camera import orbit
from lora3d.data_prep.asset import Task
from lora3d.data_prep.folder import prep
from lora3d.data_prep.from_parquet import unpack
from lora3d.data_prep.pictures import prepare_picture
from lora3d.data_prep.sources import Asset, Drawing, find_assets
from lora3d.data_prep.turntables import angle_between, prepare_turntable
from lora3d.dataset import DatasetError, Row, read_dataset, write_dataset
from lora3d.dataset_rows import blank_tiles, decode_row, encode_rows
from lora3d.doctor import inspect_dataset
from lora3d.errors import InputError
from lora3d.grid import PRESETS, ViewGrid
from lora3d.mesh import glb_bytes
from lora3d.recipe import TrainConfig
from lora3d.render import render, render_tiles
from lora3d.train import train

GRID = PRESETS["box6"]
BOX = make_box((1, 1, 0.6))


def save_frame(path: Path, azimuth_deg: float, elevation_deg: float = 0.0, paper: bool = False) -> None:
    """A frame of 128 px that shows 1.3 units about the origin; on plain grey paper if asked."""
    camera = orbit(azimuth_deg, elevation_deg, 1, ortho_scale=1.3)
    rgba = render(BOX, [camera], 128, shading="studio").rgba[0]
    if paper:
        rgba = np.concatenate([rgba[..., :3] * rgba[..., 3:] + 0.5 * (1 - rgba[..., 3:])], axis=-1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((rgba * 255).round().astype(np.uint8)).save(path)


def made(folder: Path, asset: Asset, grid: ViewGrid = GRID) -> Row:
    task = Task(folder, asset, grid, 0, folder / "part.parquet")
    (prepare_turntable if asset.frames else prepare_picture)(task)
    return decode_row(pq.read_table(task.part).to_pylist()[0], grid)


# -- what is in a folder -----------------------------------------------------------------------------


def test_pictures_are_assets_where_there_is_no_model(tmp_path: Path) -> None:
    names = ("cat.png", "fox1.png", "fox2.png", "top/mug@0.png", "top/mug@90,20.png", "seat@30.png")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = {a.file: a for a in find_assets(tmp_path).assets}
    assert list(found) == ["cat.png", "fox1.png", "fox2.png", "seat@30.png", "top/mug@0.png"]
    assert found["seat@30.png"].drawings == (Drawing("seat@30.png", 30.0),) and not found["cat.png"].frames
    mug = (Drawing("top/mug@0.png", 0.0), Drawing("top/mug@90,20.png", 90.0, 20.0))
    assert found["top/mug@0.png"].frames == mug
    turned = {a.file: a for a in find_assets(tmp_path, turntables=True).assets}
    assert turned["fox1.png"].frames == (Drawing("fox1.png", 0.0), Drawing("fox2.png", 180.0))
    for name in ("9.png", "10.png"):
        (tmp_path / "hat").mkdir(exist_ok=True)
        (tmp_path / "hat" / name).write_bytes(b"x")
    hat = next(a for a in find_assets(tmp_path, turntables=True).assets if a.file == "hat")
    assert [(d.file, d.azimuth_deg) for d in hat.frames] == [("hat/9.png", 0.0), ("hat/10.png", 180.0)]

    (tmp_path / "m.glb").write_bytes(b"x")
    assert [a.file for a in find_assets(tmp_path).assets] == ["m.glb"], (
        "beside models a picture may be anything"
    )
    with pytest.raises(InputError, match=r"holds models, such as m\.glb: name the folders"):
        find_assets(tmp_path, turntables=True)
    (tmp_path / "metadata.csv").write_text(
        "file,caption\nm.glb,m\ncat.png,a cat\ntop,a mug\n.,all\nempty,none\n"
    )
    (tmp_path / "empty").mkdir()
    listed = find_assets(tmp_path)
    assert {a.file: len(a.frames) for a in listed.assets} == {"m.glb": 0, "cat.png": 0, "top": 2, ".": 4}
    assert listed.rejected == [{"file": "empty", "reason": "a folder with no frames of a turntable"}]


# -- what becomes of them ----------------------------------------------------------------------------


def test_of_a_drawing_only_its_cells_are_known(tmp_path: Path) -> None:
    save_frame(tmp_path / "box.png", 30, 25)
    row = made(tmp_path, Asset("box.png", caption="box", drawings=(Drawing("box.png", 30.0),)))
    known = [i for i, cell in enumerate(GRID.cells) if cell.channel in ("reference", "reference_alpha")]
    assert row.truth is not None and [i for i, true in enumerate(row.truth) if true] == known
    others = [i for i in range(len(GRID.cells)) if i not in known]
    assert np.array_equal(row.tiles[others], blank_tiles(GRID)[others]) and row.tiles[known[1]].max() == 1
    assert row.glb == b"" and row.azimuth_deg == 30 and row.drawing == row.file == "box.png"
    with pytest.raises(InputError, match="'zero123plus' has no cell for a drawing"):
        made(tmp_path, Asset("box.png", drawings=(Drawing("box.png"),)), PRESETS["zero123plus"])


@pytest.mark.parametrize("paper", [False, True])
def test_frames_are_the_views_that_the_cameras_would_see(tmp_path: Path, paper: bool) -> None:
    """Frames 45° apart see the box's corners, so that its size is measured as it is."""
    grid = replace(GRID, shading="studio")
    for i in range(8):
        save_frame(tmp_path / f"t_{i:02}.png", 45 * i, paper=paper)
    (asset,) = find_assets(tmp_path, turntables=True).assets
    row = made(tmp_path, asset, grid)
    sides = list(grid.indices("rgb")[:4])
    known = {*sides, *grid.indices("reference"), *grid.indices("reference_alpha")}
    assert row.truth == tuple(i in known for i in range(len(grid.cells)))
    assert np.abs(row.tiles - render_tiles(BOX, grid))[sides].mean() < 0.02
    assert row.drawing == "t_00.png" and "4 of 6 views are known" in row.warnings
    reference = grid.indices("reference_alpha")[0]
    covered = np.flatnonzero(row.tiles[reference, ..., 0].max(0) > 0.5)
    assert np.ptp(covered) + 1 == pytest.approx(grid.reference_fit * grid.tile, abs=1.5)


def test_frames_stand_at_cameras_within_a_degree_or_not_at_all(tmp_path: Path) -> None:
    for name, azimuth, elevation in (
        ("a@10", 10, 0),
        ("a@90.6", 90, 0),
        ("a@182", 180, 0),
        ("a@0,90", 0, 90),
    ):
        save_frame(tmp_path / f"{name}.png", azimuth, elevation)
    (asset,) = find_assets(tmp_path).assets
    row = made(tmp_path, asset)
    assert row.truth is not None and row.drawing == "a@10.png" and row.turn_deg == 0
    assert [i for i, cell in enumerate(GRID.indices("rgb")) if row.truth[cell]] == [1, 4]
    save_frame(tmp_path / "drawn.png", 100, 20)
    drawn = made(tmp_path, replace(asset, drawings=(Drawing("drawn.png", 100.0, 20.0),)))
    assert drawn.drawing == "drawn.png" and drawn.turn_deg == 90 and drawn.truth is not None
    assert [i for i, cell in enumerate(GRID.indices("rgb")) if drawn.truth[cell]] == [0]
    with pytest.raises(InputError, match="none of its 4 frames stands within 1° of a camera"):
        made(tmp_path, asset, PRESETS["zero123plus"].with_tile(32))
    assert angle_between(orbit(350, 0, 1, fov_deg=9), orbit(-7, 0, 1, fov_deg=9)) == pytest.approx(3)
    Image.new("RGB", (9, 9)).resize((64, 32)).save(tmp_path / "a@5.png")
    with pytest.raises(InputError, match="no object"):
        made(tmp_path, find_assets(tmp_path).assets[0])


def test_rows_of_parquet_without_a_mesh_are_drawings_alone(tmp_path: Path) -> None:
    save_frame(tmp_path / "box.png", 30, 25)
    picture = {"bytes": (tmp_path / "box.png").read_bytes(), "path": "x/../box.PNG"}
    pq.write_table(pa.table({"image": [picture, picture], "text": ["a", "b"]}), tmp_path / "images.parquet")
    table = {"mesh": [{"bytes": b"glTF", "path": None}, None], "image": [picture, picture]}
    pq.write_table(pa.table(table), tmp_path / "both.parquet")
    found = {}
    for name in ("images", "both"):
        assets = find_assets(unpack([tmp_path / f"{name}.parquet"], tmp_path / name)).assets
        found[name] = [(a.file, a.caption, len(a.drawings)) for a in assets]
    assert found["images"] == [("row000000-drawing.png", "a", 1), ("row000001-drawing.png", "b", 1)]
    assert found["both"] == [("row000000.glb", "", 1), ("row000001-drawing.png", "", 1)]


# -- through the dataset into a step -----------------------------------------------------------------


def test_what_nobody_knows_is_blank_whoever_wrote_it(tmp_path: Path) -> None:
    grid = GRID.with_tile(16)
    truth = tuple(i % 3 == 0 for i in range(len(grid.cells)))
    noise = np.random.default_rng(0).random((len(grid.cells), 16, 16, 3), dtype=np.float32)
    row = Row("a", noise, "a", "a", "train", "MIT", "", "", b"", truth=truth)
    table = encode_rows([row], grid)
    (stored,) = table.to_pylist()
    foreign = {**stored, "grid": encode_rows([replace(row, truth=None)], grid).to_pylist()[0]["grid"]}
    assert foreign["grid"]["bytes"] != stored["grid"]["bytes"]
    there, here = decode_row(foreign, grid), decode_row(stored, grid)
    assert np.array_equal(there.tiles, here.tiles) and there.truth == truth
    assert np.array_equal(here.tiles[~np.array(truth)], blank_tiles(grid)[~np.array(truth)])
    with pytest.raises(DatasetError, match="has no model and is held out"):
        write_dataset([replace(row, split="test")], tmp_path / "x", grid)
    with pytest.raises(DatasetError, match="says of 2 cells"):
        encode_rows([replace(row, truth=(True, False))], grid)


def test_a_dataset_without_the_column_is_all_true(tmp_path: Path) -> None:
    grid = GRID.with_tile(16)
    row = Row("a", render_tiles(BOX, grid), "a", "a", "train", "MIT", "", "", glb_bytes(BOX))
    made = write_dataset([row], tmp_path / "set", grid)
    shard = tmp_path / "set" / "data-00000.parquet"
    old = pq.read_table(shard).drop_columns(["truth"])
    pq.write_table(old, shard)
    again = read_dataset(tmp_path / "set")
    assert next(again.rows()).truth is None and again.index[0]["truth"] is None
    assert again.verify() == [] and again.content_hash == made.content_hash


@pytest.mark.slow
def test_pictures_beside_models_are_learned_from_and_not_scored(tmp_path: Path, toy_base: Path) -> None:
    src = tmp_path / "src"
    src.mkdir()
    names = ["mug", "seat", "lamp"]
    for i, name in enumerate(names):
        (src / f"{name}.glb").write_bytes(glb_bytes(make_box((1, 0.3 + 0.2 * i, 0.5))))
    for azimuth in (0, 90):
        save_frame(src / "turn" / f"f@{azimuth}.png", azimuth)
    save_frame(src / "cat.png", 20, 10)
    save_frame(src / "twin.png", 20, 10)
    for i, name in enumerate(names):
        save_frame(src / f"{name}_sketch.png", 20, 20 + 10 * i)
    alone = ("turn", "cat.png", "twin.png", *(f"{n}_sketch.png" for n in names))
    lines = "".join(f"{file}\n" for file in (*alone, *(f"{n}.glb" for n in names)))
    (src / "metadata.csv").write_text("file\n" + lines)
    report = prep(src, tmp_path / "set", license="MIT", min_test=1, workers=1, test_share=0.34)
    assert (report.assets, report.alone, report.test) == (7, 4, 1)
    assert report.rejected == {"a duplicate": 1, "a picture of 'seat', which is held out": 1}
    dataset = read_dataset(tmp_path / "set")
    rows = {row["file"]: row for row in dataset.index}
    assert all(row["truth"] is None for row in dataset.index if row["split"] == "test")
    pictures = {row["id"] for row in rows.values() if row["truth"] is not None}
    assert {"turn", "cat.png"} < {row["file"] for row in rows.values() if row["id"] in pictures}
    held_out = {row["subject"] for row in rows.values() if row["split"] == "test"}
    assert not held_out & {row["subject"] for row in rows.values() if row["split"] == "train"}
    assert not any(f["level"] == "error" for f in inspect_dataset(dataset.path)["findings"])

    config = TrainConfig(
        base=str(toy_base),
        rank=2,
        steps=2,
        batch=16,
        micro_batch=4,
        variants=1,
        validation_share=0,
        sample_every=0,
    )
    cached = cache_rows(load_base(toy_base), dataset, config, "train", variants=1)
    batch = make_batch(cached, replace(config, reference_dropout=0.0, caption_dropout=1.0), 0)
    # `mini` joins colour and depth, which a turntable does not tell: its drawing is learned like one alone.
    alone = torch.tensor([cached.ids[i] in pictures for i in batch["rows"].tolist()])
    assert alone.any() and not alone.all()
    assert torch.equal(batch["known"][:, 0], ~alone) and not batch["known"][:, 1:].any()
    assert not batch["weight"][alone, 1:].any() and (batch["weight"][alone, 0] > 0).all()
    assert (batch["weight"][~alone, 1:] > 0).all() and torch.equal(batch["silent"], ~alone)
    train(replace(config, batch=2), dataset.path, tmp_path / "run", progress=False, report=lambda text: None)


@pytest.mark.slow
@pytest.mark.parametrize("pack", ["emoji_paired", "kenney2d_animals"])
def test_packs_of_pictures_go_through_whole(pack: str, tmp_path: Path) -> None:
    """One thing in six or eight hands is one subject, and its folder says in which."""
    src = SHARED / "art" / pack
    if not src.is_dir():
        pytest.skip("../shared/art is not here")
    report = prep(
        src, tmp_path / "set", grid=GRID.with_tile(16), caption="{name}, {folder}", allow_unlicensed=True
    )
    pictures = {path.relative_to(src).as_posix() for path in src.rglob("*.png")}
    rows = {row.file: row for row in read_dataset(tmp_path / "set").rows()}
    gone = [json.loads(line) for line in (tmp_path / "set" / "rejected.jsonl").read_text().splitlines()]
    assert set(rows) | {line["file"] for line in gone} == pictures and len(rows) + len(gone) == len(pictures)
    assert all(line["reason"].startswith("a duplicate of ") for line in gone)
    assert report.subjects == len({Path(file).stem for file in pictures}) and report.train == len(rows)
    for file, row in rows.items():
        folder, name = Path(file).with_suffix("").parts
        assert row.caption == f"{name}, {folder}".replace("_", " ")
        assert row.reference is not None and (row.reference[..., 3] > 0).any() and row.truth is not None
