"""Tasks that are made when asked for, and memory that is given back while tables come and go."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from conftest import make_box

from lora3d.data_prep.resume import Tasks, make_tasks
from lora3d.data_prep.sources import find_assets
from lora3d.grid import PRESETS
from lora3d.heap import frugal_arrow
from lora3d.mesh import glb_bytes

GRID = PRESETS["box6"].with_tile(32)


def test_a_task_is_made_when_asked_for_and_its_part_says_what_its_rows_depend_on(tmp_path: Path) -> None:
    src = tmp_path / "models"
    src.mkdir()
    for name in "abc":
        (src / f"{name}.glb").write_bytes(glb_bytes(make_box()))

    def tasks(seed: int = 0) -> Tasks:
        return make_tasks(find_assets(src), GRID, seed, ("render",), None, tmp_path)

    first = tasks()
    assert [task.asset.file for task in first] == ["a.glb", "b.glb", "c.glb"] and len(first[1:]) == 2
    assert [task.part for task in first] == [first.part(f"{name}.glb") for name in "abc"]
    assert len({*(task.part for task in first), *(task.part for task in tasks(1))}) == 6
    before = first.part("a.glb")
    (src / "a.glb").write_bytes(glb_bytes(make_box()) + b"    ")
    # A run stays with what it began with; the next one makes the changed file anew, and only that.
    assert first[0].part == before != tasks()[0].part
    assert first[1].part == tasks()[1].part


def test_arrow_has_its_own_pool_again_afterwards() -> None:
    pool = pa.default_memory_pool().backend_name
    with pytest.raises(KeyError), frugal_arrow():
        assert pa.default_memory_pool().backend_name == "system"
        raise KeyError
    assert pa.default_memory_pool().backend_name == pool
