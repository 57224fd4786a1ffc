"""Sources that are no folder here: a dataset of the Hub, nested Parquet; and what is nothing at all."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_box
from huggingface_hub.errors import LocalEntryNotFoundError

from lora3d.data_prep.folder import prep
from lora3d.data_prep.from_parquet import shards_of
from lora3d.data_prep.places import place_of
from lora3d.data_prep.sources import find_assets
from lora3d.dataset import read_dataset
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.mesh import glb_bytes

GRID = PRESETS["box6"].with_tile(16)
BOX = glb_bytes(make_box())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The network: what one dataset holds, kept as the Hub's cache does, in blobs and links to them."""
    held: dict[str, bytes] = {}

    def snapshot_download(name: str, *, repo_type: str, allow_patterns: list[str], **more: list[str]) -> str:
        assert (name, repo_type, more) == ("ann/relics", "dataset", {"ignore_patterns": []})
        snapshot = tmp_path / "cache" / "snapshots" / "0a1b2c"
        snapshot.mkdir(parents=True, exist_ok=True)
        for i, (file, data) in enumerate(held.items()):
            if any(fnmatchcase(file, pattern) for pattern in allow_patterns):
                blob, link = tmp_path / "cache" / f"blob{i}", snapshot / file
                blob.write_bytes(data)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(blob)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.chdir(tmp_path)
    return held


def test_models_of_the_hub_are_a_folder(hub: dict[str, bytes], tmp_path: Path) -> None:
    hub |= {"models/box.GLB": BOX, "LICENSE": b"CC0 1.0 Universal", "README.md": b"-", "run.py": b"-"}
    hub |= {"models/w.bin": b"-", "models/box.png": b"-", "weights.pt": b"-", "deep/down/License.txt": b"-"}
    hub["metadata.csv"] = b"file,caption\nmodels/box.GLB,a box\n"
    place = place_of(Path("ann/relics"), tmp_path / "work")
    files = {p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file() and not p.is_symlink()}
    assert files == set(hub) - {"README.md", "run.py", "weights.pt"}
    report = prep("ann/relics", tmp_path / "out", grid=GRID, workers=1)
    (row,) = read_dataset(tmp_path / "out").rows()
    assert report.files == 1 and (row.caption, row.license) == ("a box", "CC0-1.0")
    assert "relics" in (tmp_path / "out" / "README.md").read_text().lower()


def test_parquet_of_the_hub_is_found_however_deep(hub: dict[str, bytes], tmp_path: Path) -> None:
    for file, words in (("data/train/0.parquet", "first"), ("data/train/1.parquet", "second")):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"text": [words], "mesh": [BOX]}), sink)
        hub[file] = sink.getvalue().to_pybytes()
    found = find_assets(place_of(Path("ann/relics"), tmp_path / "work"))
    assert [asset.caption for asset in found.assets] == ["first", "second"]
    hub["box.glb"] = BOX
    place_of(Path("ann/relics"), tmp_path / "other")
    assert shards_of(tmp_path / "cache" / "snapshots" / "0a1b2c") == [], "models go before tables"


def test_a_missing_folder_is_answered_in_both_readings(tmp_path: Path, monkeypatch) -> None:
    def unreachable(*args: Any, **wanted: Any) -> str:
        raise LocalEntryNotFoundError("nothing answers")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match="'models/chairs' is no folder here and cannot be had from the Hub: noth"
    ):
        prep("models/chairs", tmp_path / "out")
    (tmp_path / "models").mkdir()
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)  # a slip does not go to the network
    with pytest.raises(InputError, match="no such folder or file in models; for a dataset of the Hub"):
        prep("models/chairs", tmp_path / "out")
    with pytest.raises(
        InputError, match=r"expected a folder of models.*owner/name.*procedural:N; there is nothing"
    ):
        prep("a/b/c", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["models"]
