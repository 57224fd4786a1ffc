"""Shapes as a source of prep, and held-out ones as a dataset: the truth turned like its views, the same bytes again."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from lora3d.data_prep.folder import prep
from lora3d.data_prep.made import HELD_OUT_SEED, make_dataset, seeds_of
from lora3d.data_prep.procedural import make_shape
from lora3d.data_prep.shapes import turn_views
from lora3d.data_prep.stream import make_example
from lora3d.dataset import read_dataset
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.mesh import load_glb_bytes
from lora3d.render import render_tiles

GRID = PRESETS["box6"].with_tile(32)


def test_views_are_those_of_the_mesh_beside_them(tmp_path):
    made = make_dataset(tmp_path / "shapes", GRID, 6)
    rows = list(read_dataset(tmp_path / "shapes").rows("test"))
    assert len(rows) == 6 == made.count("test") and made.count("train") == 0
    for row in rows:
        again = render_tiles(load_glb_bytes(row.glb), GRID)
        views = [*GRID.indices("rgb"), *GRID.indices("depth")]
        off = np.abs(again[views] - row.tiles[views]).max(axis=-1)
        assert (off > 0.02).mean() < 0.01  # 8-bit pictures, and textures turned by 90 degrees
    assert make_dataset(tmp_path / "again", GRID, 6).content_hash == made.content_hash


def test_a_row_is_the_streams_example(tmp_path):
    row = next(iter(make_dataset(tmp_path / "shapes", GRID, 1).rows("test")))
    example = make_example(HELD_OUT_SEED, GRID, drawings=1)
    views = turn_views(example.views, int(example.sides[0]))
    assert np.array_equal((row.tiles[list(GRID.indices("rgb"))] * 255).round(), views[..., :3])
    assert row.caption == example.caption


@pytest.mark.slow
def test_shapes_are_a_source_like_any_other(tmp_path):
    """Subjects, split and licence as everywhere; whatever the workers, and wherever a seed stands among others."""
    for workers in (1, 2):
        prep("procedural:3-8", tmp_path / f"by{workers}", grid=GRID, workers=workers, min_test=2)
    one, two = (
        {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (tmp_path / f"by{w}").iterdir()}
        for w in (1, 2)
    )
    assert one == two
    rows = list(read_dataset(tmp_path / "by1").rows())
    assert sorted(int(row.file[:-4].rpartition("-")[2]) for row in rows) == list(range(3, 9))
    assert {row.split for row in rows} == {"train", "test"} and {row.license for row in rows} == {"CC0-1.0"}
    assert {row.artist for row in rows} == {"lora3d"} and not (tmp_path / ".by1.parts").exists()
    for row in rows:
        example = make_example(int(row.file[:-4].rpartition("-")[2]), GRID, drawings=1)
        assert row.caption == example.caption
        own = make_shape(example.seed, "assembly" if example.family == "assembly" else "named").mesh
        assert len(load_glb_bytes(row.glb).faces) == len(own.faces)


def test_seeds_are_said_and_held_out_ones_stay_so():
    assert seeds_of("procedural:3") == range(3) and seeds_of("procedural:5-7") == range(5, 8)
    for name in (
        "procedural:0",
        "procedural:7-5",
        f"procedural:9-{HELD_OUT_SEED}",
        f"procedural:{HELD_OUT_SEED + 1}",
    ):
        with pytest.raises(InputError, match="expected seeds from 0 to below 1000000000"):
            seeds_of(name)
    for name in ("procedural:", "procedural:-3", "procedural:1-2-3", "procedural:x", "procedural:3 "):
        with pytest.raises(InputError, match="expected procedural:N"):
            seeds_of(name)
