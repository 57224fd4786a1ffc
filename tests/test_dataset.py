"""The dataset on disk: a round trip, one set of bytes, and nothing overwritten that is not ours."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import make_box

from lora3d.dataset import (
    Dataset,
    DatasetError,
    Row,
    encode_rows,
    hash_row,
    read_dataset,
    write_dataset,
    write_tables,
)
from lora3d.dataset_index import Index, hash_index
from lora3d.dataset_rows import BLUEPRINT_SHEET
from lora3d.errors import InputError
from lora3d.grid import PRESETS, ViewGrid, unpack, write_grid
from lora3d.mesh import glb_bytes, load_glb_bytes

GRID = PRESETS["box6"].with_tile(16)


def make_rows(count: int, grid: ViewGrid = GRID) -> list[Row]:
    """Rows of noise: five subjects, every fifth row held out."""
    rng = np.random.default_rng(0)
    glb = glb_bytes(make_box())
    shape = (len(grid.cells), grid.tile, grid.tile, 3)
    return [
        Row(
            id=f"thing_{i}",
            tiles=rng.random(shape, dtype=np.float32),
            caption=f"thing number {i}",
            subject=f"subject {i % 5}",
            split="train" if i % 5 else "test",
            license="CC0-1.0" if i % 2 else "MIT",
            artist='Ann "the | pen" O\'Neil',
            source="",
            glb=glb,
            file=f"models/{i // 2 * 2 if i % 5 > 1 else i}.glb",
            drawing="rendered" if i % 2 else f"drawings/{i}.png",
            azimuth_deg=10.0 * i,
            elevation_deg=-5.5,
            turn_deg=90.0 * (i % 4),
            reference_iou=None if i % 2 else 0.75,
            warnings="" if i else "something; another thing",
            reference=rng.integers(0, 256, (5 + i, 9, 4), dtype=np.uint8),
        )
        for i in range(count)
    ]


def files_of(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(make_rows(40), tmp_path_factory.mktemp("data") / "set", GRID, title="Things")


# -- a round trip ------------------------------------------------------------------------------------


def test_what_is_written_is_read(dataset: Dataset) -> None:
    read = read_dataset(dataset.path)
    assert read.content_hash == dataset.content_hash and read.grid == GRID and len(read) == 40
    for row, back in zip(make_rows(40), read.rows(), strict=True):
        assert np.abs(row.tiles - back.tiles).max() <= 0.5 / 255 + 1e-6
        assert back.reference is not None and (back.reference == row.reference).all()
        plain = {"tiles": None, "reference": None, "content_hash": ""}
        assert vars(replace(back, **plain)) == vars(replace(row, **plain))
    assert read.verify() == []
    assert len(load_glb_bytes(next(read.rows()).glb).faces) == 12


def test_splits_and_counts(dataset: Dataset) -> None:
    assert [row.split for row in dataset.rows("test")] == ["test"] * 8
    assert dataset.count("train") + dataset.count("test") == len(dataset) == dataset.count()
    assert dataset.assets() == len({row.file for row in dataset.rows()}) < len(dataset)
    assert dataset.licenses == ("CC0-1.0", "MIT") and dataset.sources == () and len(dataset.artists) == 1
    with pytest.raises(DatasetError, match="expected one of train, test"):
        list(dataset.rows("validation"))


def test_without_a_drawing_of_its_own_the_reference_is_the_tile(tmp_path: Path) -> None:
    row = make_rows(1)[0]
    tiles = row.tiles.copy()
    cover = np.zeros((16, 16, 1), np.float32)
    cover[4:12, 4:12] = 1
    tiles[0] = cover * np.array([0.2, 0.4, 0.6], np.float32) + (1 - cover)
    tiles[GRID.indices("reference_alpha")[0]] = cover
    back = next(write_dataset([replace(row, tiles=tiles, reference=None)], tmp_path / "set", GRID).rows())
    assert back.reference is not None
    assert (back.reference[..., 3:] == cover * 255).all()
    assert (back.reference[8, 8] == [51, 102, 153, 255]).all()


@pytest.mark.slow
def test_any_tool_opens_it(dataset: Dataset, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = str(dataset.path / "data-*.parquet")
    table = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path))
    kinds = {name: type(feature).__name__ for name, feature in table.features.items()}
    assert kinds["grid"] == kinds["reference"] == "Image" and kinds["mesh"] == "Mesh"
    assert table[3]["grid"].size == GRID.size
    assert len(table[3]["mesh"].to_mesh().faces) == 12


@pytest.mark.slow
def test_any_tool_streams_it(dataset: Dataset) -> None:
    """Row by row, nothing kept on disk: what comes first is the first row that was written."""
    datasets = pytest.importorskip("datasets")
    files = str(dataset.path / "data-*.parquet")
    first = next(iter(datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)))
    row = make_rows(1)[0]
    assert (first["id"], first["caption"], first["license"]) == (row.id, row.caption, row.license)
    tiles = unpack(GRID, np.asarray(first["grid"].convert("RGB"), np.float32) / 255)
    assert np.abs(tiles - row.tiles).max() <= 0.5 / 255 + 1e-6
    corners = load_glb_bytes(row.glb).vertices[load_glb_bytes(row.glb).faces]
    upright = np.stack([corners[..., 0], corners[..., 2], -corners[..., 1]], axis=-1)  # a GLB is Y up
    assert np.allclose(first["mesh"].to_mesh().triangles, upright, atol=1e-6)


# -- one set of bytes --------------------------------------------------------------------------------


def test_a_shard_ends_after_so_many_rows_and_the_dataset_is_the_same(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora3d.dataset.SHARD_ROWS", 3)
    monkeypatch.setattr("lora3d.dataset.ROW_GROUP", 2)
    cut = write_dataset(dataset.rows(), tmp_path / "set", dataset.grid)
    assert len(list((tmp_path / "set").glob("*.parquet"))) == -(-len(cut) // 4) > 1
    assert cut.content_hash == dataset.content_hash


def test_equal_rows_give_equal_bytes_however_they_come(dataset: Dataset, tmp_path: Path) -> None:
    rows = make_rows(40)
    tables = (encode_rows(rows[i : i + 7], GRID) for i in range(0, 40, 7))
    again = write_tables(tables, tmp_path / "other name", GRID, title="Things")
    assert files_of(again.path) == files_of(dataset.path)


def test_groups_of_large_files_are_smaller(dataset: Dataset, tmp_path: Path, monkeypatch) -> None:
    rows = [replace(row, glb=row.glb * (1 + 9 * (i == 3))) for i, row in enumerate(make_rows(7))]
    monkeypatch.setattr("lora3d.dataset.GROUP_BYTES", 60_000)
    one = write_dataset(rows, tmp_path / "one", GRID)
    tables = (encode_rows(some, GRID) for some in (rows[:5], rows[5:]))
    other = write_tables(tables, tmp_path / "other", GRID)
    assert files_of(one.path) == files_of(other.path)
    file = pq.ParquetFile(one.path / "data-00000.parquet")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert len(sizes) > 1 and max(sizes) > 1 and sum(sizes) == 7
    assert [row.glb for row in one.rows()] == [row.glb for row in rows]


@pytest.mark.parametrize(
    "change",
    [
        {"caption": "another thing"},
        {"license": "MIT"},
        {"azimuth_deg": 11.0},
        {"reference_iou": 0.5},
        {"glb": b"glTF"},
        {"split": "test"},
        {"subject": "subject 9"},
        {"id": "other"},
        {"tiles": np.zeros((14, 16, 16, 3), np.float32)},
        {"reference": np.zeros((3, 3, 4), np.uint8)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_hash_covers_every_field(change: dict, tmp_path: Path) -> None:
    row = replace(make_rows(2)[1], reference_iou=0.1)
    one = write_dataset([row], tmp_path / "one", GRID)
    other = write_dataset([replace(row, **change)], tmp_path / "other", GRID)
    assert one.content_hash != other.content_hash
    of_others = "split" in change or "subject" in change
    assert (hash_row(row) == hash_row(replace(row, **change))) == of_others


def test_the_index_is_the_list_of_its_rows() -> None:
    rows = [{"id": str(i), "iou": None if i % 3 else i / 7, "truth": [True] * (i % 2)} for i in range(700)]
    index = Index(pa.concat_tables([pa.Table.from_pylist(rows[:300]), pa.Table.from_pylist(rows[300:])]))
    assert len(index) == 700 and list(index) == rows and list(index) == rows, "more than once"
    assert index[0] == rows[0] and index[-1] == rows[-1] and rows[512] in index
    assert list(index[290:310:3]) == rows[290:310:3]
    with pytest.raises(IndexError):
        index[700]


def test_shards_that_other_tools_wrote_anew_are_read(dataset: Dataset, tmp_path: Path) -> None:
    """Large strings for strings are the same rows; numbers for a caption are told of."""
    copy = Path(shutil.copytree(dataset.path, tmp_path / "copy"))
    shard = copy / "data-00000.parquet"
    table = pq.read_table(shard)
    at = table.schema.get_field_index("caption")
    pq.write_table(table.set_column(at, "caption", table["caption"].cast(pa.large_string())), shard)
    assert list(read_dataset(copy).index) == list(dataset.index)
    pq.write_table(table.set_column(at, "caption", pa.array([[1.5]] * len(table))), shard)
    with pytest.raises(DatasetError, match="cannot be read as Parquet"):
        read_dataset(copy)


def test_the_hash_is_that_of_one_json_text(dataset: Dataset) -> None:
    rows = [[r[name] for name in ("id", "subject", "split", "content_hash")] for r in dataset.index]
    text = json.dumps([GRID.to_dict(), rows])
    assert (
        dataset.content_hash == hash_index(GRID, dataset.index) == hashlib.sha256(text.encode()).hexdigest()
    )


def test_what_is_returned_is_what_is_read(tmp_path: Path) -> None:
    written = write_dataset(make_rows(7), tmp_path / "set", GRID)
    (tmp_path / "set" / "strike.txt").write_text("thing_2\n")
    again = write_dataset(make_rows(7), tmp_path / "set", GRID, overwrite=True)
    assert (len(written), len(again), again.struck) == (7, 6, 1)
    for found in (again, read_dataset(tmp_path / "set")):
        assert found.path == tmp_path / "set" and found.content_hash == again.content_hash
        assert list(found.index) == [row for row in written.index if row["id"] != "thing_2"]


def test_the_hash_covers_the_grid(tmp_path: Path) -> None:
    rows = make_rows(2)
    other = write_dataset(rows, tmp_path / "b", replace(GRID, reference_fit=0.8))
    assert write_dataset(rows, tmp_path / "a", GRID).content_hash != other.content_hash


def test_a_changed_row_is_found(dataset: Dataset, tmp_path: Path) -> None:
    shard = dataset.path / "data-00000.parquet"
    table = pq.read_table(shard)
    captions = ["tampered", *table.column("caption").to_pylist()[1:]]
    at = table.schema.get_field_index("caption")
    changed = table.set_column(at, table.schema.field(at), [captions])
    write_grid(GRID, tmp_path / "grid.json")
    pq.write_table(changed, tmp_path / shard.name)
    assert read_dataset(tmp_path).verify() == ["thing_0"]


# -- the card ----------------------------------------------------------------------------------------


def test_the_card_has_front_matter_that_yaml_reads(dataset: Dataset) -> None:
    text = (dataset.path / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == ["cc0-1.0", "mit"] and front["rows"] == 40
    assert front["artists"] == list(dataset.artists)
    assert front["content_hash"] == dataset.content_hash and front["split"] == {"train": 32, "test": 8}
    report = json.loads((dataset.path / "report.json").read_text(encoding="utf-8"))
    assert report["rows"] == 40 and report["splits"]["test"]["subjects"] == 1


# -- what is refused ---------------------------------------------------------------------------------


def test_nothing_of_anybody_else_is_overwritten(tmp_path: Path) -> None:
    rows = make_rows(2)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"holds 'notes.txt'"):
        write_dataset(rows, tmp_path, GRID, overwrite=True)
    with pytest.raises(DatasetError, match="no folder"):
        write_dataset(rows, tmp_path / "notes.txt", GRID, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_dataset_is_replaced_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "set"
    write_dataset(make_rows(2), out, GRID)
    before = files_of(out)
    with pytest.raises(DatasetError, match="is a dataset already"):
        write_dataset(make_rows(3), out, GRID)
    assert files_of(out) == before
    assert len(write_dataset(make_rows(3), out, GRID, overwrite=True)) == len(read_dataset(out)) == 3
    (out / "my_notes.md").write_text("mine")
    with pytest.raises(DatasetError, match="my_notes"):
        write_dataset(make_rows(3), out, GRID, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_run_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "set"
    write_dataset(make_rows(2), out, GRID)
    before = files_of(out)

    def broken():
        yield from make_rows(40)
        raise RuntimeError("the power went out")

    with pytest.raises(RuntimeError, match="power"):
        write_dataset(broken(), out, GRID, overwrite=True)
    assert files_of(out) == before and [p.name for p in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "thing_0"}, "occurs twice"),
        ({"id": "../thing"}, "cannot name a file"),
        ({"split": "validation"}, "expected split train or test"),
        ({"subject": "subject 0"}, "subject 'subject 0' is in both splits"),
        ({"file": "models/0.glb"}, "file 'models/0.glb' is in both splits"),
    ],
)
def test_rows_that_contradict_each_other_are_refused(change: dict, reason: str, tmp_path: Path) -> None:
    first, second = make_rows(2)
    with pytest.raises(DatasetError, match=reason):
        write_dataset([first, replace(second, **change)], tmp_path / "set", GRID)
    assert list(tmp_path.iterdir()) == []


def test_no_rows_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no rows"):
        write_dataset([], tmp_path / "set", GRID)


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(DatasetError, match="is no dataset"):
            read_dataset(path)
    (tmp_path / "data-00000.parquet").write_bytes(b"PAR1 not really")
    write_grid(GRID, tmp_path / "grid.json")
    with pytest.raises(DatasetError, match="cannot be read as Parquet"):
        read_dataset(tmp_path)


def test_a_grid_that_is_not_the_rows_own_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "data-00000.parquet").write_bytes((dataset.path / "data-00000.parquet").read_bytes())
    write_grid(GRID.with_tile(32), tmp_path / "grid.json")
    with pytest.raises(InputError, match="tile is 32 against 16"):
        read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("azimuth", "turned", "seen"), [(100, 90, 10), (355, 0, -5), (80, 90, -10), (10, 270, 100)]
)
def test_a_drawing_is_seen_from_its_azimuth_less_the_turn(azimuth, turned, seen):
    row = replace(
        make_rows(1)[0],
        reference_iou=0.9,
        azimuth_deg=float(azimuth),
        turn_deg=float(turned),
        elevation_deg=25.0,
    )
    assert row.seen_deg == pytest.approx((seen, 25.0))
    for unknown in (
        {"truth": (True,) * len(GRID.cells)},
        {"drawing": BLUEPRINT_SHEET},
        {"reference_iou": 0.5},
    ):
        assert replace(row, **unknown).seen_deg is None
