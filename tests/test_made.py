"""Held-out shapes as a dataset: all on the test side, the truth turned like its views, the same bytes again."""

from __future__ import annotations

import numpy as np

from lora3d.data_prep.made import HELD_OUT_SEED, make_dataset
from lora3d.data_prep.shapes import turn_views
from lora3d.data_prep.stream import make_example
from lora3d.dataset import read_dataset
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
