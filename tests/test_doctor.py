"""The contact sheet, what is struck out of it, and what the doctor says of a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import make_box

from lora3d.cli import main
from lora3d.dataset import read_dataset, write_dataset
from lora3d.dataset_rows import DatasetError, Row
from lora3d.doctor import inspect_dataset
from lora3d.grid import PRESETS
from lora3d.mesh import Material, glb_bytes
from lora3d.render import render_tiles
from lora3d.sheet import STRIKE, make_strip, write_sheet

GRID = PRESETS["box6"].with_tile(32)


def make_row(i: int) -> Row:
    box = make_box((1 + i % 5, 1, 1 + i // 5), (0.04 * i, 0.5, 0.3))
    faces = np.arange(len(box.faces), dtype=np.int32)
    mesh = replace(box, materials=(*box.materials, Material()), face_material=faces % 2)
    return Row(
        id=f"box{i}",
        tiles=render_tiles(mesh, GRID),
        caption=f"box {i}",
        subject=f"box{i}",
        split="test" if i < 8 else "train",
        license="CC0-1.0",
        artist="",
        source="",
        glb=glb_bytes(mesh),
        file=f"box{i}.glb",
    )


ROWS = [make_row(i) for i in range(24)]


def findings_of(rows: list[Row], folder: Path) -> list[tuple[str, str]]:
    write_dataset(rows, folder / "set", GRID)
    return [(f["level"], f["text"]) for f in inspect_dataset(folder / "set")["findings"]]


def test_nothing_is_wrong_with_a_good_dataset(tmp_path: Path) -> None:
    assert findings_of(ROWS, tmp_path) == []
    found = inspect_dataset(tmp_path / "set")
    assert found["verdict"] == "fine" and (found["rows"], found["held_out"]) == (24, 8)
    assert found["captions"]["with"] == 24 and found["captions"]["words"]["box"] == 24


def test_a_licence_that_asks_for_the_artists_name_wants_one(tmp_path: Path) -> None:
    rows = [
        replace(ROWS[0], license="CC-BY-4.0"),
        replace(ROWS[1], license="CC-BY-4.0", artist="Ann"),
        *ROWS[2:],
    ]
    (finding,) = findings_of(rows, tmp_path)
    assert finding[0] == "warning" and finding[1].startswith("1 rows are licensed for naming their artist")


def white(row: Row) -> Row:
    tiles = row.tiles.copy()
    tiles[list(GRID.indices("rgb"))] = 1
    return replace(row, tiles=tiles)


def blank(row: Row) -> Row:
    tiles = white(row).tiles
    tiles[list(GRID.indices("depth"))] = 0
    return replace(row, tiles=tiles)


def cut_off(row: Row) -> Row:
    tiles = row.tiles.copy()
    tiles[GRID.indices("rgb")[0]][:, :4] = 0.2
    return replace(row, tiles=tiles)


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        (lambda row: replace(row, caption=""), "warning", "1 rows have no caption"),
        (lambda row: replace(row, caption="very " * 60), "warning", "more than 50 words"),
        (lambda row: replace(row, license="NOASSERTION"), "warning", "no licence"),
        (lambda row: replace(row, license="CC-BY-ND-4.0"), "warning", "no derivatives"),
        (lambda row: replace(row, license="CC-BY-NC-4.0"), "note", "so is what is made of them"),
        (lambda row: replace(row, drawing="a.png", reference_iou=0.5), "warning", "IoU below 0.8"),
        (lambda row: replace(row, tiles=ROWS[5].tiles), "warning", "the same views as another model"),
        (lambda row: replace(row, content_hash="0" * 64), "error", "not what it was"),
        (blank, "error", "blank"),
        (white, "warning", "the background's colour"),
        (cut_off, "warning", "cut off by its frame"),
    ],
)
def test_each_fault_is_named(change, level: str, words: str, tmp_path: Path) -> None:
    rows = [*ROWS[:-1], change(ROWS[-1])]
    write_dataset(rows, tmp_path / "set", GRID)
    if "hash" in words or "not what" in words:
        spoil_hash(tmp_path / "set")
    found = inspect_dataset(tmp_path / "set")["findings"]
    assert [f["rows"] for f in found if f["level"] == level and words in f["text"]] == [["box23"]]


def spoil_hash(folder: Path) -> None:
    """The last row's caption is changed after it was written."""
    path = folder / "data-00000.parquet"
    table = pq.read_table(path)
    captions = table["caption"].to_pylist()
    at = table.schema.get_field_index("caption")
    changed = table.set_column(at, "caption", [[*captions[:-1], "another"]])
    pq.write_table(changed.cast(table.schema), path)


def test_few_models_and_one_subject_are_named(tmp_path: Path) -> None:
    rows = [replace(row, subject="box", split="train") for row in ROWS[:6]]
    texts = " ".join(text for _, text in findings_of(rows, tmp_path))
    assert "6 models to train on" in texts and "0 models are held out" in texts
    assert "6 of 6 models are of one subject, 'box'" in texts


def test_what_is_struck_out_is_gone_until_it_is_taken_back(tmp_path: Path) -> None:
    whole = write_dataset(ROWS, tmp_path / "set", GRID)
    (tmp_path / "set" / STRIKE).write_text("# a comment\nbox3\n\nbox9.glb\n")
    some = read_dataset(tmp_path / "set")
    ids = [row.id for row in some.rows()]
    assert ids == [f"box{i}" for i in range(24) if i not in (3, 9)] == [r["id"] for r in some.index]
    assert some.struck == 2 and some.content_hash != whole.content_hash
    (tmp_path / "set" / STRIKE).write_text("")
    assert read_dataset(tmp_path / "set").content_hash == whole.content_hash
    (tmp_path / "set" / STRIKE).write_text("box99\n")
    with pytest.raises(DatasetError, match=r"strike\.txt names 'box99'"):
        read_dataset(tmp_path / "set")
    (tmp_path / "set" / STRIKE).write_text("\n".join(row.id for row in ROWS))
    with pytest.raises(DatasetError, match="every row"):
        read_dataset(tmp_path / "set")
    (tmp_path / "set" / STRIKE).write_text("box3\n", encoding="utf-16")
    with pytest.raises(DatasetError, match="save it as UTF-8"):
        read_dataset(tmp_path / "set")


def test_the_sheet_shows_every_row_and_escapes_what_it_says(tmp_path: Path) -> None:
    rows = [replace(ROWS[0], caption="<script>alert(1)</script>", warnings="odd & wrong"), *ROWS[1:]]
    index = write_dataset(rows, tmp_path / "set", GRID).index
    strips = [make_strip(row.tiles, GRID) for row in rows]
    write_sheet(tmp_path / "sheet.html", "Boxes & co", index, strips)
    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert text.count("<article") == text.count("data:image/webp;base64,") == 24
    assert "<script>alert" not in text and "odd &amp; wrong" in text and "Boxes &amp; co" in text
    assert text.count("class=doubt") == 1 and "only rows with warnings (1)" in text


def test_the_command_says_it_in_words_and_in_json(tmp_path: Path, capsys) -> None:
    write_dataset([*ROWS[:-1], blank(ROWS[-1])], tmp_path / "set", GRID)
    assert main(["doctor", str(tmp_path / "set")]) == 0
    assert "error  1 rows: the views are blank" in capsys.readouterr().out
    assert main(["doctor", str(tmp_path)]) == 1
    assert "is no dataset" in capsys.readouterr().err
