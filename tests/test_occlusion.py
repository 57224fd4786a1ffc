"""Ambient occlusion in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from lora3d.camera import orbit
from lora3d.light import FILL, FILL_STRENGTH, KEY, KEY_STRENGTH, SKY
from lora3d.mesh import Material, merge
from lora3d.occlusion import directions
from lora3d.render import _sky_maps, render
from tests.toy_scenes import FRONT, LENS, cube, linear, mesh_of, same, soup, sphere

GREY = Material(base_color=(0.5, 0.5, 0.5, 1))


def test_directions_are_turned_frames_spread_evenly() -> None:
    axes = directions(128)
    np.testing.assert_allclose(axes @ axes.transpose(0, 2, 1), np.tile(np.eye(3), (128, 1, 1)), atol=1e-12)
    assert np.allclose(np.linalg.det(axes), 1)
    back = axes[:, 2]
    assert np.abs(back.mean(0)).max() < 0.01
    np.testing.assert_allclose(back.T @ back / 128, np.eye(3) / 3, atol=0.01)


def test_nothing_occludes_a_convex_body() -> None:
    for body in (cube(0.5, material=GREY), sphere(0.4)):
        plain, occluded = (
            render(body, [LENS], 64, shading="studio", occlusion=o).rgba for o in (False, True)
        )
        assert np.abs(plain - occluded).max() < 0.02


def test_beside_a_wall_half_of_the_sky_is_open() -> None:
    """A floor at the foot of a high and wide wall; far from it all is open, between them it grows."""
    floor = mesh_of([(-4, -4, 0), (4, -4, 0), (4, 0, 0), (-4, 0, 0)], [(0, 1, 2), (0, 2, 3)], GREY)
    wall = mesh_of([(-4, 0, 0), (4, 0, 0), (4, 0, 4), (-4, 0, 4)], [(0, 1, 2), (0, 2, 3)], GREY)
    above = orbit(0, 90, 6, ortho_scale=8)
    views = render(merge([floor, wall]), [above], 64, shading="studio", occlusion=True)
    lamps = KEY_STRENGTH * KEY[2] + FILL_STRENGTH * FILL[2]
    open_share = (linear(views.rgba[0, 32:, 32, 0]) / 0.5 - lamps) / SKY
    assert open_share[1] == pytest.approx(0.5, abs=0.06) and open_share[31] > 0.8
    assert (np.diff(open_share[1:]) > -0.02).all()


def test_it_is_the_same_each_time_and_belongs_to_the_studio() -> None:
    mesh = soup(3)
    first = render(mesh, [FRONT, LENS], 32, shading="studio", occlusion=True)
    _sky_maps.cache_clear()
    assert same(first, render(mesh, [FRONT, LENS], 32, shading="studio", occlusion=True))
    without = render(mesh, [FRONT, LENS], 32, shading="studio")
    assert first.rgba[..., :3].mean() < without.rgba[..., :3].mean()
    np.testing.assert_array_equal(first.depth, without.depth)
    with pytest.raises(ValueError, match="needs shading='studio'"):
        render(mesh, [FRONT], 8, occlusion=True)
