"""A volume and the six views of its box."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lora3d.base.box import EXTENT, VIEWS, carve, centres, coverage, from_view, look, to_view
from lora3d.camera import project
from lora3d.data_prep.stream import make_example
from lora3d.grid import PRESETS

GRID = PRESETS["box6"]
CAMERAS = GRID.cameras("rgb")


@pytest.mark.parametrize("view", range(VIEWS))
def test_a_cell_lies_where_its_camera_sees_it(view):
    """Away, down and right are the camera's depth, row and column of the cell's centre."""
    n = 8
    axis = centres(n).double().numpy()
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    at, depth = project(CAMERAS[view], points)
    wanted = np.stack([(depth - 1) / EXTENT + 0.5, at[:, 1], at[:, 0]], -1).reshape(n, n, n, 3)
    turned = to_view(torch.from_numpy(wanted).movedim(-1, 0), view)
    along = torch.arange(n, dtype=torch.float64).add(0.5) / n
    for i, part in enumerate(turned):
        assert torch.allclose(part.movedim(i, -1), along.expand(n, n, n), atol=1e-6)


@pytest.mark.parametrize("view", range(VIEWS))
def test_turning_back_is_the_inverse(view):
    volume = torch.rand(2, 3, 4, 4, 4)
    assert torch.equal(from_view(to_view(volume, view), view), volume)
    assert torch.equal(to_view(from_view(volume, view), view), volume)


def test_a_line_of_sight_is_stopped_in_its_order():
    """Half opaque cells stop a half, a quarter, an eighth; the whole is what is not let through."""
    opacity = torch.full((1, 4, 4, 4), 0.5)
    for view in range(VIEWS):
        share = coverage(opacity, view)
        assert torch.allclose(share[0, :, 0, 0], torch.tensor([1 / 2, 1 / 4, 1 / 8, 1 / 16]))
    random = torch.rand(2, 6, 6, 6)
    assert torch.allclose(coverage(random, 3).sum(1), 1 - (1 - to_view(random, 3)).prod(1), atol=1e-6)


@pytest.mark.parametrize("seed", [3, 11, 40])
def test_carved_from_true_views_the_volume_looks_like_them(seed):
    views = torch.from_numpy(make_example(seed, GRID).views).movedim(-1, 1).float()[None] / 255
    filled = carve(views[:, :, 3], GRID).float()
    seen = look(filled, torch.ones(1, 3, 32, 32, 32), GRID)
    true, found = views[:, :, 3] > 0.125, seen[:, :, 3] > 0.125
    assert (true & found).sum() / (true | found).sum() > 0.97
    both = true & found
    off = (views[:, :, 3] - seen[:, :, 3])[both].abs()
    assert off.median() < 0.75 * EXTENT / GRID.tile  # a cell's thickness in the units of a depth cell


def test_a_red_cube_is_red_from_all_sides_on_the_background():
    opacity = torch.zeros(1, 16, 16, 16)
    opacity[:, 4:12, 4:12, 4:12] = 1
    colour = torch.zeros(1, 3, 8, 8, 8)
    colour[:, 0] = 1
    seen = look(opacity, colour, GRID)
    assert seen.shape == (1, 6, 4, 16, 16)
    middle, corner = seen[0, :, :, 8, 8], seen[0, :, :, 1, 1]
    assert torch.allclose(middle[:, :3], torch.tensor([1.0, 0.0, 0.0]).expand(6, 3), atol=1e-4)
    near, far = GRID.depth_range
    depth = 1 - 0.25 * EXTENT
    wanted = 1 - (1 - GRID.depth_floor) * (depth - near) / (far - near)
    assert torch.allclose(middle[:, 3], torch.tensor(wanted).float().expand(6), atol=1e-5)
    assert torch.allclose(corner, torch.tensor([*GRID.background, 0.0]).expand(6, 4))
