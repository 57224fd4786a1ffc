"""ViewGrid: pack and unpack, depth, JSON, presets, refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora3d.camera import orbit
from lora3d.errors import InputError
from lora3d.grid import (
    PRESETS,
    GridError,
    View,
    ViewGrid,
    decode_depth,
    encode_depth,
    pack,
    read_grid,
    require_same_grid,
    settle_depth,
    unpack,
    write_grid,
)


@given(
    st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(1, 4), st.sampled_from(["u1", "f4"])
)
@settings(max_examples=40, deadline=None)
def test_unpack_is_the_exact_inverse_of_pack(rows, columns, tile, channels, dtype):
    grid = ViewGrid("any", (View("empty"),) * (rows * columns), columns, tile)
    tiles = np.random.default_rng(0).integers(0, 255, (rows * columns, tile, tile, channels)).astype(dtype)
    canvas = pack(grid, tiles)
    assert canvas.shape == (rows * tile, columns * tile, channels) and canvas.dtype == tiles.dtype
    assert np.array_equal(unpack(grid, canvas), tiles)
    assert np.array_equal(pack(grid, unpack(grid, canvas)), canvas)


def test_cells_lie_in_reading_order():
    grid = ViewGrid("two", (View("empty"),) * 4, 2, 1)
    assert pack(grid, np.arange(4).reshape(4, 1, 1, 1))[..., 0].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_json(name, tmp_path):
    grid = PRESETS[name]
    assert ViewGrid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid
    write_grid(grid, tmp_path / "grid.json")
    assert read_grid(tmp_path / "grid.json") == grid
    require_same_grid(grid, "a", read_grid(name), "b")


def test_the_six_views_of_zero123plus_are_those_its_authors_state():
    cameras = PRESETS["zero123plus"].cameras()
    for i, camera in enumerate(cameras):
        x, y, z = camera.matrix[:3, 3]
        assert np.degrees(np.arctan2(x, -y)) % 360 == pytest.approx(30 + 60 * i)
        assert np.degrees(np.arcsin(z / 1.866)) == pytest.approx((20, -10)[i % 2])
        assert camera.fov_deg == 30


def test_wonder3d_turns_about_the_first_views_upright_to_its_right():
    """Its published poses: the cameras of front and right stand on each other's horizontal axes."""
    grid = PRESETS["wonder3d"]
    front, front_right, right, back, left, _ = (camera.matrix[:3, :3] for camera in grid.cameras("normal"))
    assert np.allclose(right[:, 2], front[:, 0]) and np.allclose(left[:, 2], -front[:, 0])
    assert np.allclose(back[:, 2], -front[:, 2]) and np.allclose(right[:, 1], front[:, 1])
    assert np.allclose(front_right[:, 2], (front[:, 2] + right[:, 2]) / np.sqrt(2))
    # Normals are in the front camera's axes: those of the right side point right in the right view too.
    assert np.allclose(np.array([1.0, 0, 0]) @ grid.normal_axes(grid.cameras("normal")[2]).T, right[:, 2])


def test_depth_survives_and_background_stays_background():
    grid = PRESETS["box6"]
    near, far = grid.depth_range
    depth = np.array([near, (near + far) / 2, far, np.inf])
    value = encode_depth(grid, depth)
    assert value[0] == 1 and value[2] == pytest.approx(grid.depth_floor) and value[3] == 0
    assert np.allclose(decode_depth(grid, value)[:3], depth[:3]) and np.isinf(decode_depth(grid, value)[3])
    eight_bits = np.round(value * 255) / 255
    assert np.abs(decode_depth(grid, eight_bits)[:3] - depth[:3]).max() < 0.004


def test_a_canvas_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(GridError, match="448×128.*100×128"):
        unpack(PRESETS["box6"], np.zeros((128, 100, 3)))
    with pytest.raises(GridError, match="packs 14 tiles"):
        pack(PRESETS["box6"], np.zeros((13, 64, 64, 3)))


def test_grids_that_contradict_themselves_are_refused():
    with pytest.raises(GridError, match="do not fill"):
        ViewGrid("odd", (View("empty"),) * 3, 2, 8)
    with pytest.raises(GridError, match="needs a camera"):
        ViewGrid("blind", (View("rgb"),), 1, 8)
    with pytest.raises(GridError, match="unknown channel"):
        ViewGrid("strange", (View("smell", orbit(0, 0, 1, fov_deg=30)),), 1, 8)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "broken", [{}, {"cells": 3}, {"cells": [{"channel": "rgb"}], "columns": 1}, {"nonsense": 1}]
)
def test_json_that_is_no_grid_is_refused(broken):
    with pytest.raises(GridError):
        ViewGrid.from_dict(broken)


def test_a_mismatch_names_both_sides_and_the_field():
    grid = PRESETS["box6"]
    with pytest.raises(InputError, match=r"dataset x.*base y.*tile is 64 against 128"):
        require_same_grid(grid, "dataset x", grid.with_tile(128), "base y")
    other = replace(grid, cells=(*grid.cells[:-1], View("empty")))
    with pytest.raises(InputError, match="cells differ"):
        require_same_grid(grid, "a", other, "b")


def test_an_unknown_preset_lists_the_known():
    with pytest.raises(GridError, match="zero123plus"):
        read_grid("zero321")


def test_generated_depth_in_doubt_is_background():
    grid = PRESETS["box6"]
    depth, floor = list(grid.indices("depth")), grid.depth_floor
    tiles = np.random.default_rng(0).random((2, len(grid.cells), 8, 8, 3)).astype(np.float32)
    other = [i for i in range(len(grid.cells)) if i not in depth]
    assert np.array_equal(settle_depth(grid, tiles)[:, other], tiles[:, other])
    # One depth d, shown with probability p: what is answered is p·d.
    for d in (floor, 0.5, 0.9):
        shown = np.zeros((len(grid.cells), 8, 8, 3), np.float32)
        shown[depth, :, 2:] = d
        assert np.array_equal(settle_depth(grid, shown), shown)
        doubted = shown.copy()
        doubted[depth, :, 1], doubted[depth, :, 2] = 0.45 * d, 0.55 * d
        settled = settle_depth(grid, doubted)[depth]
        assert (settled[:, :, :2] == 0).all() and (settled[:, :, 2:] >= floor).all()
        assert np.array_equal(settled[:, :, 3:], shown[depth][:, :, 3:])
    faint = np.random.default_rng(0).random(shown.shape).astype(np.float32) * floor / 2
    assert (settle_depth(grid, faint)[depth] == 0).all()
