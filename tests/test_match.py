"""The viewpoint fit: known cameras are found again, mirror twins told apart; which side becomes the front."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED, make_box
from hypothesis import given
from hypothesis import strategies as st

from lora3d.camera import Camera, orbit, project
from lora3d.data_prep.drawings import draw
from lora3d.data_prep.match import (
    FILL,
    Gallery,
    fit_view,
    framed_camera,
    make_gallery,
    nearest_side,
    turn_for,
)
from lora3d.drawing import read_drawing
from lora3d.grid import PRESETS
from lora3d.mesh import Mesh, load_mesh, merge, normalise


def moved(mesh: Mesh, x: float, y: float, z: float) -> Mesh:
    return replace(mesh, vertices=mesh.vertices + np.array([x, y, z], np.float32))


def make_chair() -> Mesh:
    """No symmetry: a seat, a red back rest behind it, one green arm on its left (−X)."""
    parts = [
        moved(make_box((1, 1, 0.3), (0.5, 0.4, 0.2)), 0, 0, 0),
        moved(make_box((1, 0.15, 1), (0.8, 0.05, 0.05)), 0, 0.3, 0.35),
        moved(make_box((0.2, 1, 0.5), (0.05, 0.6, 0.1)), -0.4, -0.1, 0.3),
    ]
    return normalise(merge(parts))


def make_sign() -> Mesh:
    """A board that is its own mirror image in outline: blue in front (−Y), yellow behind."""
    front, back = make_box((1, 0.1, 0.6), (0.05, 0.1, 0.8)), make_box((1, 0.1, 0.6), (0.8, 0.6, 0.05))
    return normalise(merge([front, moved(back, 0, 0.08, 0)]))


@pytest.fixture(scope="module")
def chair() -> Gallery:
    return make_gallery(make_chair())


def off(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


# -- framing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fov_deg", [None, 25.0, 45.0])
@pytest.mark.parametrize(("azimuth_deg", "elevation_deg"), [(0, 0), (130, 35), (270, 90), (215, -20)])
def test_a_framed_camera_centres_and_fills(
    azimuth_deg: float, elevation_deg: float, fov_deg: float | None
) -> None:
    mesh = make_chair()
    at, _ = project(framed_camera(mesh, azimuth_deg, elevation_deg, fov_deg), mesh.vertices)
    low, high = at.min(axis=0), at.max(axis=0)
    tolerance = 1e-5 if fov_deg is None else 0.02
    assert np.allclose((low + high) / 2, 0.5, atol=tolerance)
    assert (high - low).max() == pytest.approx(FILL, abs=3 * tolerance)


# -- the fit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["render", "shaded", "line"])
@pytest.mark.parametrize(
    ("azimuth_deg", "elevation_deg"), [(0, 0), (33, 12), (128, 45), (200, 30), (315, 35)]
)
def test_a_known_viewpoint_is_found(
    chair: Gallery, azimuth_deg: float, elevation_deg: float, style: str
) -> None:
    picture = draw(chair.mesh, orbit(azimuth_deg, elevation_deg, 1.5, ortho_scale=1.04), style, size=128)
    fit = fit_view(chair, picture)
    assert off(fit.azimuth_deg, azimuth_deg) <= 6 and abs(fit.elevation_deg - elevation_deg) <= 6
    assert fit.iou > 0.9


def test_a_perspective_is_found(chair: Gallery) -> None:
    camera = orbit(40, 20, 1.4, fov_deg=45)
    fit = fit_view(chair, draw(chair.mesh, camera, "render", size=128))
    assert off(fit.azimuth_deg, 40) <= 8 and abs(fit.elevation_deg - 20) <= 8 and fit.iou > 0.93


def test_a_drawing_from_above_is_found(chair: Gallery) -> None:
    for azimuth_deg in (0, 90, 180, 270):
        fit = fit_view(
            chair, draw(chair.mesh, orbit(azimuth_deg, 90, 1.5, ortho_scale=1.04), "render", size=128)
        )
        assert fit.elevation_deg > 80 and off(fit.azimuth_deg, azimuth_deg) <= 6


def test_colours_tell_mirror_twins_apart() -> None:
    gallery = make_gallery(make_sign())
    for azimuth_deg in (30, 150, 210, 330):
        camera = orbit(azimuth_deg, 10, 1.5, ortho_scale=1.04)
        fit = fit_view(gallery, draw(gallery.mesh, camera, "shaded", size=128))
        assert off(fit.azimuth_deg, azimuth_deg) < 30


def test_between_equals_the_front_wins() -> None:
    cube = make_gallery(make_box())
    fit = fit_view(cube, draw(cube.mesh, orbit(190, 10, 1.5, ortho_scale=1.04), "render", size=128))
    assert off(fit.azimuth_deg, 0) <= 15


def test_what_is_stated_is_kept(chair: Gallery) -> None:
    picture = draw(chair.mesh, orbit(60, 25, 1.5, ortho_scale=1.04), "render", size=128)
    both = fit_view(chair, picture, azimuth_deg=-100, elevation_deg=5)
    assert (both.azimuth_deg, both.elevation_deg) == (260, 5) and both.iou < 0.9
    one = fit_view(chair, picture, azimuth_deg=60)
    assert one.azimuth_deg == 60 and abs(one.elevation_deg - 25) <= 5 and one.iou > 0.95


def test_another_thing_fits_badly(chair: Gallery) -> None:
    ring = np.zeros((64, 64, 4), np.float32)
    radius = np.hypot(*(np.mgrid[:64, :64] - 31.5))
    ring[(radius > 22) & (radius < 30)] = 1
    assert fit_view(chair, ring).iou < 0.5


# -- which side --------------------------------------------------------------------------------------


@given(st.floats(-720, 720))
def test_the_front_is_a_side_within_reach(azimuth_deg: float) -> None:
    side = nearest_side(azimuth_deg)
    assert side in (0, 90, 180, 270)
    relative = (azimuth_deg - side + 180) % 360 - 180
    assert -40 - 1e-9 <= relative <= 50 + 1e-9


@given(st.integers(0, 3), st.floats(-4.9, 4.9))
def test_four_corners_have_four_fronts_whatever_the_last_digit(corner: int, error: float) -> None:
    assert nearest_side(45 + 90 * corner + error) == 90 * corner


def test_only_boxes_turn_to_sides() -> None:
    assert turn_for(PRESETS["box6"], 130.0) == turn_for(PRESETS["ortho4"], 130.0) == 90
    for name in ("zero123plus", "mvadapter6", "rgbnormal2x4"):
        assert turn_for(PRESETS[name], 130.0) == 130.0
    tilted = Camera(orbit(0, 10, 1.0, ortho_scale=1.04).camera_to_world, None, 1.04)
    cells = (replace(PRESETS["box6"].cells[1], camera=tilted),) * 14
    assert turn_for(replace(PRESETS["box6"], cells=cells), 130.0) == 130.0


# -- real drawings -----------------------------------------------------------------------------------

ART = SHARED / "art"
CORNERS = {"NE": 315, "NW": 45, "SE": 135, "SW": 225}


@pytest.mark.slow
@pytest.mark.skipif(not ART.is_dir(), reason="the shared art packs are not here")
@pytest.mark.parametrize(
    ("pack", "name"),
    [("kenney_furniture", n) for n in ("chair", "kitchenStove", "laptop")]
    + [("kenney_platformer", n) for n in ("flag", "key", "fenceBroken")],
)
def test_an_artists_four_corners_are_ninety_degrees_apart(pack: str, name: str) -> None:
    folder: Path = ART / pack
    gallery = make_gallery(normalise(load_mesh(folder / "glb" / f"{name}.glb")))
    fits = {c: fit_view(gallery, read_drawing(folder / "isometric" / f"{name}_{c}.png")) for c in CORNERS}
    for corner, fit in fits.items():
        assert off(fit.azimuth_deg, CORNERS[corner]) <= 10 and fit.iou > 0.8
    assert sorted(nearest_side(fit.azimuth_deg) for fit in fits.values()) == [0, 90, 180, 270]
