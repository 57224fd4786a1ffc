"""Busy backgrounds: rembg's own session on a small real model; and transparency that the object's colour shares."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora3d.drawing import read_drawing, read_tiles
from lora3d.errors import InputError
from lora3d.grid import PRESETS, pack
from lora3d.lift.views import read_views
from lora3d.matting import _session, cut_out

GRID = replace(PRESETS["zero123plus"].with_tile(32), name="small")


@pytest.fixture
def redness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """In place of a model that would be fetched, one that takes for object what is red: a 1 × 1 convolution."""
    pytest.importorskip("rembg", reason="rembg comes with the extra 'matting'")
    onnx = pytest.importorskip("onnx", reason="a model is written with the package onnx")
    h = onnx.helper
    shape = ["n", 3, 320, 320]
    weight = h.make_tensor("w", onnx.TensorProto.FLOAT, [1, 3, 1, 1], [1.0, -1.0, -1.0])
    graph = h.make_graph(
        [h.make_node("Conv", ["x", "w"], ["y"])],
        "redness",
        [h.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [h.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 1, 320, 320])],
        [weight],
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8)
    monkeypatch.setenv("U2NET_HOME", str(tmp_path))
    monkeypatch.setenv("MODEL_CHECKSUM_DISABLED", "1")
    onnx.save(model, str(tmp_path / "u2netp.onnx"))
    _session.cache_clear()
    yield "u2netp"
    _session.cache_clear()


def on_a_busy_ground(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A red square on stripes of green and blue, (size, size, 4), and where it is."""
    picture = np.ones((size, size, 4), np.float32)
    picture[..., :3] = np.where(np.arange(size)[:, None, None] % 8 < 4, (0.1, 0.6, 0.2), (0.1, 0.2, 0.7))
    inside = np.zeros((size, size), bool)
    inside[size // 4 : -size // 4, size // 4 : -size // 4] = True
    picture[inside, :3] = (0.9, 0.1, 0.1)
    return picture, inside


@pytest.mark.extra
def test_a_model_tells_the_object_from_a_busy_ground(redness, tmp_path):
    picture, inside = on_a_busy_ground(64)
    Image.fromarray((picture[..., :3] * 255).astype(np.uint8)).save(tmp_path / "a.png")
    assert np.array_equal(read_drawing(tmp_path / "a.png", redness)[..., 3] > 0.5, inside)
    assert (read_drawing(tmp_path / "a.png")[..., 3] > 0.5).mean() > inside.mean(), "paper has one colour"


@pytest.mark.extra
def test_the_views_of_a_grid_are_cut_out_one_by_one(redness, tmp_path):
    picture, inside = on_a_busy_ground(32)
    canvas = pack(GRID, np.stack([picture] * 6))
    Image.fromarray((canvas[..., :3] * 255).astype(np.uint8)).save(tmp_path / "a.png")
    tiles, grid = read_tiles(tmp_path / "a.png", GRID, redness)
    assert np.array_equal(np.isfinite(read_views(tiles, grid).depth), np.stack([inside] * 6))


@pytest.mark.extra
@pytest.mark.parametrize("name", ["no-such-model", "atlascloud", "u2net_custom"])
def test_a_model_that_is_unknown_or_elsewhere_is_refused(name):
    pytest.importorskip("rembg", reason="rembg comes with the extra 'matting'")
    with pytest.raises(InputError, match="expected one of"):
        cut_out(np.ones((4, 4, 4), np.float32), name)


@pytest.mark.skipif(find_spec("rembg") is not None, reason="rembg is installed")
def test_without_rembg_the_answer_says_what_to_install():
    with pytest.raises(InputError, match=r"lora3d\[matting\]"):
        cut_out(np.ones((4, 4, 4), np.float32), "isnet-general-use")


def test_transparency_is_believed_where_the_object_has_the_grounds_colour(tmp_path):
    """A grey disc on a grid whose background is grey; its outline half transparent."""
    y, x = np.mgrid[:32, :32] + 0.5
    alpha = np.clip(10.5 - np.hypot(x - 16, y - 16), 0, 1).astype(np.float32)
    tile = np.dstack([np.full((32, 32, 3), 0.5, np.float32), alpha])
    canvas = pack(GRID, np.stack([tile] * 6))
    Image.fromarray((canvas * 255 + 0.5).astype(np.uint8)).save(tmp_path / "a.png")
    tiles, grid = read_tiles(tmp_path / "a.png", GRID)
    views = read_views(tiles, grid)
    assert np.array_equal(np.isfinite(views.depth[0]), alpha >= 0.5)
    assert np.abs(tiles[0][alpha >= 0.5] - 0.5).max() < 0.01, "no mixture at the outline"


def test_a_free_background_is_kept(tmp_path):
    tile = np.zeros((32, 32, 4), np.float32)
    tile[8:24, 8:24] = (0.9, 0.1, 0.1, 1.0)
    Image.fromarray((pack(GRID, np.stack([tile] * 6)) * 255).astype(np.uint8)).save(tmp_path / "a.png")
    tiles, _ = read_tiles(tmp_path / "a.png", GRID)
    assert np.allclose(tiles[0][0, 0], GRID.background, atol=0.01)
