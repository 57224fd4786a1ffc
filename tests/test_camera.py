"""The conventions of camera.py as laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora3d.camera import Camera, orbit, project, rays, turn_z

angles = st.floats(-720, 720)
elevations = st.floats(-90, 90)
lenses = st.one_of(
    st.floats(5, 120).map(lambda f: {"fov_deg": f}), st.floats(0.1, 5).map(lambda s: {"ortho_scale": s})
)
points = st.tuples(*[st.floats(-0.5, 0.5)] * 3).map(lambda p: np.array([p]))


@given(angles, elevations, lenses)
def test_an_orbit_is_a_rotation_that_looks_at_the_origin(azimuth, elevation, lens):
    camera = orbit(azimuth, elevation, 2.0, **lens)
    rotation = camera.matrix[:3, :3]
    assert np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    at, depth = project(camera, np.zeros((1, 3)))
    assert np.allclose(at, 0.5) and depth[0] == pytest.approx(2.0)
    assert camera.matrix[2, 1] >= -1e-9, "up never points down"


def test_azimuth_zero_sees_the_front_and_growing_azimuth_moves_toward_plus_x():
    assert np.allclose(orbit(0, 0, 1, fov_deg=30).matrix[:3, 3], [0, -1, 0])
    assert np.allclose(orbit(90, 0, 1, fov_deg=30).matrix[:3, 3], [1, 0, 0])
    assert np.allclose(orbit(0, 90, 1, fov_deg=30).matrix[:3, 3], [0, 0, 1])


def test_right_is_right_and_up_is_up_in_the_front_view():
    camera = orbit(0, 0, 2, ortho_scale=1)
    at, _ = project(camera, np.array([[0.25, 0, 0], [0, 0, 0.25]]))
    assert np.allclose(at, [[0.75, 0.5], [0.5, 0.25]])


def test_from_above_the_front_lies_at_the_bottom():
    at, _ = project(orbit(0, 90, 2, ortho_scale=1), np.array([[0, -0.25, 0]]))
    assert np.allclose(at, [[0.5, 0.75]])


@given(points, angles, st.floats(-89, 89), lenses)
def test_turning_the_object_equals_orbiting_the_camera(point, azimuth, elevation, lens):
    orbited = project(orbit(azimuth, elevation, 2, **lens), point)
    turned = project(orbit(0, elevation, 2, **lens), point @ turn_z(azimuth).T)
    assert np.allclose(orbited[0], turned[0], atol=1e-9) and np.allclose(orbited[1], turned[1], atol=1e-9)


@given(angles, elevations, lenses)
def test_a_point_on_a_ray_projects_to_its_pixel(azimuth, elevation, lens):
    camera = orbit(azimuth, elevation, 2.0, **lens)
    origins, directions = rays(camera, 5)
    for depth in (0.5, 1.7):
        at, found = project(camera, (origins + depth * directions).reshape(-1, 3))
        centres = (np.stack(np.meshgrid(np.arange(5), np.arange(5)), -1).reshape(-1, 2) + 0.5) / 5
        assert np.allclose(at, centres, atol=1e-9) and np.allclose(found, depth)


@given(angles, elevations, lenses)
def test_a_camera_survives_json(azimuth, elevation, lens):
    camera = orbit(azimuth, elevation, 2.0, **lens)
    assert Camera.from_dict(camera.to_dict()) == camera


def test_a_camera_needs_exactly_one_lens():
    with pytest.raises(ValueError, match="exactly one"):
        orbit(0, 0, 1)
    with pytest.raises(ValueError, match="exactly one"):
        orbit(0, 0, 1, fov_deg=30, ortho_scale=1)
    with pytest.raises(ValueError, match="16 numbers"):
        Camera((1.0,) * 9, fov_deg=30)


def test_what_lies_behind_a_perspective_camera_has_no_image():
    at, depth = project(orbit(0, 0, 1, fov_deg=30), np.array([[0, -3.0, 0]]))
    assert np.isnan(at).all() and depth[0] < 0
