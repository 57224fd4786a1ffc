"""How a drawing was seen, and what the views see of it: projections, planes, places."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from lora3d.base import load_base
from lora3d.base.box import look
from lora3d.base.pose import (
    PoseNet,
    mirror_projection,
    pose_matrix,
    projection_error,
    turn_projection,
    viewpoint_of,
)
from lora3d.base.sweep import PLANE_CHANNELS, PLANES, REACH, SWEEP_CHANNELS
from lora3d.camera import orbit, project, projection, viewpoint
from lora3d.data_prep.stream import make_example
from lora3d.drawing import fit_reference, frame_projection, split_viewpoint
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.render import render
from tests.conftest import make_box

GRID = PRESETS["box6"]
CAMERAS = (
    orbit(0, 0, 1.5, ortho_scale=1.04),
    orbit(-35, 28, 1.5, ortho_scale=0.9),
    orbit(25, -8, 2.0, fov_deg=30),
    orbit(40, 50, 1.3, fov_deg=45),
)
POINTS = np.random.default_rng(0).uniform(-0.3, 0.3, (40, 3))


def image(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    at = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return at[:, :2] / at[:, 2:]


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_projection_matrix_is_the_projection(camera):
    matrix = projection(camera)
    assert matrix[2, 3] == pytest.approx(1)
    assert np.allclose(image(matrix, POINTS), project(camera, POINTS)[0], atol=1e-9)


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (-35, 28), (170, -60), (90, 10)])
def test_the_viewpoint_is_the_inverse_of_the_orbit(azimuth, elevation):
    assert viewpoint(orbit(azimuth, elevation, 2.0, fov_deg=20)) == pytest.approx((azimuth, elevation))


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_framed_projection_finds_a_point_on_the_framed_drawing(camera):
    """A small red box on a large white one: the middle of the red on the tile is where its centre projects."""
    seen = render(make_box((1, 0.6, 0.8), (0.1, 0.1, 0.1)), [camera], 256).rgba[0]
    mark = np.array([[0.05, -0.2, 0.1]])
    x, y = project(camera, mark)[0][0] * 256
    i, j = np.indices((256, 256)) + 0.5
    seen[(i - y) ** 2 + (j - x) ** 2 < 36] = (1, 0, 0, 1)
    rgb, _ = fit_reference(GRID, seen)
    red = rgb[..., 0] - rgb[..., 1]
    rows, columns = (np.indices(red.shape) + 0.5) / GRID.tile
    found = np.array([(columns * red).sum(), (rows * red).sum()]) / red.sum()
    assert np.allclose(image(frame_projection(GRID, seen, camera), mark)[0], found, atol=0.01)


def test_pose_numbers_make_the_projection_of_a_camera():
    camera = orbit(-35, 28, 2.0, fov_deg=30)
    numbers = torch.tensor([[0.4, 0.0, 0.0, 1.0]])  # k = 0.5 is a distance of 2
    found = pose_matrix(torch.tensor([[-35.0, 28.0]]), numbers)[0].double().numpy()
    scale = math.exp(0.05 + 0.3 * 0.4)
    true = (project(camera, POINTS)[0] - 0.5) * scale * 2 * camera.half_extent * 2.0 + 0.5
    assert np.allclose(image(found, POINTS), true, atol=1e-5)


def test_what_is_said_of_the_viewpoint_is_kept():
    net = PoseNet()
    torch.nn.init.normal_(net.conv_out.weight, std=0.1)
    drawing = torch.rand(2, 4, 64, 64)
    said, unsaid = torch.tensor([[12.0, 34.0]]).expand(2, 2), torch.full((2, 2), torch.nan)
    stated, guessed = net(drawing, said), net(drawing, unsaid)
    # The direction to the viewer is the one that a projection takes to nothing.
    back = torch.tensor(orbit(12, 34, 1.0, ortho_scale=1.0).matrix[:3, 2]).float()
    middle = stated[:, :2, 3:] * stated[:, 2:, :3]
    assert torch.allclose((stated[:, :2, :3] - middle) @ back, torch.zeros(2, 2), atol=1e-5)
    assert not torch.allclose(stated, guessed)


def test_a_turned_projection_is_one_from_another_azimuth():
    seen, numbers = torch.tensor([[10.0, 20.0], [-40.0, 35.0]]), torch.randn(2, 4)
    matrix = pose_matrix(seen, numbers)
    assert torch.allclose(viewpoint_of(matrix), seen, atol=1e-3)
    for quarters in (-1, 0, 1, 2):
        turned = turn_projection(matrix, torch.tensor([quarters, 0]))
        other = pose_matrix(seen + torch.tensor([[90.0 * quarters, 0.0], [0.0, 0.0]]), numbers)
        assert torch.allclose(turned, other, atol=1e-5)


def test_a_guessed_azimuth_is_continuous_across_a_corner():
    """Seen from 45° or from -45°: the numbers behind them meet, so that what lies between is no front view."""
    net = PoseNet()
    torch.nn.init.zeros_(net.conv_out.weight)
    found = []
    for sine in (1e-3, -1e-3):
        with torch.no_grad():
            net.conv_out.bias.copy_(torch.tensor([sine, -2.0, 0, 0, 0, 0, 0]))
            found.append(
                float(viewpoint_of(net(torch.rand(1, 4, 64, 64), torch.full((1, 2), torch.nan)))[0, 0])
            )
    assert found == pytest.approx([45, -45], abs=0.1)


def test_mirroring_twice_is_nothing_and_once_mirrors_the_image():
    matrix = torch.from_numpy(np.stack([projection(c) for c in CAMERAS])).float()
    assert torch.allclose(mirror_projection(mirror_projection(matrix)), matrix, atol=1e-6)
    mirrored = mirror_projection(matrix)[1].double().numpy()
    x, y = image(matrix[1].double().numpy(), POINTS * (-1, 1, 1)).T
    assert np.allclose(image(mirrored, POINTS), np.stack([1 - x, y], axis=1), atol=1e-5)
    assert projection_error(matrix, matrix).max() < 2e-3


def test_an_example_projects_into_its_drawing():
    """The object's points lie, projected, within the coverage of the drawing."""
    example = make_example(1, GRID, drawings=3)
    for drawing, matrix, side in zip(example.drawings, example.projections, example.sides, strict=True):
        assert drawing[..., 3].max() == 255 and 0 <= side < 4
        x, y = image(matrix.astype(np.float64), np.zeros((1, 3)))[0]
        assert 0.2 < x < 0.8 and 0.2 < y < 0.8


@pytest.mark.parametrize("view", range(6))
def test_a_view_swept_from_its_own_camera_shows_the_drawing_on_every_plane(toy_base, view):
    """Along its own rays a parallel view sees the same pixel at every depth."""
    base = load_base(toy_base)
    camera = GRID.cameras("rgb")[view]
    g = torch.Generator().manual_seed(view)
    picture = torch.nn.functional.interpolate(torch.rand(1, 4, 8, 8, generator=g), size=64, mode="bilinear")
    matrix = torch.from_numpy(projection(camera)).float()[None]
    swept = base.sweep.paint(picture, matrix, torch.ones(1, dtype=torch.bool))[0, 1 + view]
    planes = swept[: PLANES * PLANE_CHANNELS].unflatten(0, (PLANES, PLANE_CHANNELS))
    mean, deviation = base.moments[:, :PLANE_CHANNELS, None, None]
    own = (base.sweep.linear(picture)[0, :PLANE_CHANNELS] - mean) / deviation
    assert torch.allclose(planes, own.expand_as(planes), atol=2e-3)
    places = swept[PLANES * PLANE_CHANNELS :]
    axis = (torch.arange(8) + 0.5) / 4 - 1
    assert torch.allclose(places[0], axis.expand(8, 8), atol=1e-4)
    assert torch.allclose(places[1], axis[:, None].expand(8, 8), atol=1e-4)
    assert torch.allclose(places[2:4], torch.zeros(2, 8, 8), atol=1e-4)


def test_a_wall_facing_the_viewer_is_found_on_its_plane(toy_base):
    """Seen from the side, a dot at depth d on the front view's ray appears on the plane at d and nowhere near."""
    base = load_base(toy_base)
    camera = orbit(90, 0, 1.0, ortho_scale=1.04)
    picture = torch.ones(1, 4, 64, 64)
    picture[:, 3] = 0
    depth = torch.linspace(-REACH, REACH, PLANES)[2]
    x, y = project(camera, np.array([[0.0, float(depth), 0.0]]))[0][0] * 64
    picture[0, :, int(y) - 2 : int(y) + 2, int(x) - 2 : int(x) + 2] = torch.tensor([0, 0, 0, 1])[
        :, None, None
    ]
    matrix = torch.from_numpy(projection(camera)).float()[None]
    swept = base.sweep.paint(picture, matrix, torch.ones(1, dtype=torch.bool))[0, 1]
    planes = swept[: PLANES * PLANE_CHANNELS].unflatten(0, (PLANES, PLANE_CHANNELS))
    nothing = torch.tensor([1.0, 1.0, 1.0, 0.0])[:, None, None].expand(1, 4, 64, 64)
    blank = base.sweep.paint(nothing, matrix, torch.ones(1, dtype=torch.bool))
    empty = blank[0, 1, : PLANES * PLANE_CHANNELS].unflatten(0, (PLANES, PLANE_CHANNELS))
    off = (planes - empty).abs().amax((1, 2, 3))
    assert off.argmax() == 2 and off[[0, 4, 5, 6, 7]].max() < 1e-4


def test_a_drawing_that_is_not_known_says_nothing(toy_base):
    base = load_base(toy_base)
    drawing = base.encode(torch.rand(2, 14, 64, 64, 3))[:, 0]
    unsaid = torch.full((2, 2), torch.nan)
    laid = base.sweep(drawing, unsaid, torch.tensor([True, False]))
    assert laid.planes.shape == (2, 7, SWEEP_CHANNELS, 8, 8) and laid.guess.shape == (2, 7, 64, 8, 8)
    for part in (laid.planes, laid.guess):
        assert not part[1].any() and part[0].any() and torch.isfinite(part).all()
    assert not laid.planes[0, 0, : PLANES * PLANE_CHANNELS].any() and not laid.guess[0, 0].any()
    nothing = base.sweep(drawing, unsaid, torch.tensor([False, False]))
    assert not nothing.planes.any() and nothing.guess.shape == laid.guess.shape


def test_asking_draws_no_random_numbers_and_is_answered_the_same(toy_base):
    """What is timed or drawn by chance on the way would end a resumed training in other bytes."""
    base = load_base(toy_base)
    drawing = base.encode(torch.rand(2, 14, 64, 64, 3))[:, 0]
    unsaid, known = torch.full((2, 2), torch.nan), torch.tensor([True, True])
    before = torch.get_rng_state()
    with torch.autocast("cpu", torch.bfloat16):
        first, again = (base.sweep(drawing, unsaid, known) for _ in range(2))
        fresh = replace(base.sweep, remembered={})(drawing, unsaid, known)
    assert torch.equal(torch.get_rng_state(), before)
    for other in (again, fresh):
        assert torch.equal(first.guess, other.guess) and torch.equal(first.planes, other.planes)


def test_what_is_remembered_is_of_that_drawing_viewpoint_and_precision_alone(toy_base, monkeypatch):
    monkeypatch.setattr("lora3d.base.sweep.REMEMBERED", 10)  # of twelve
    base = load_base(toy_base)
    torch.nn.init.normal_(base.sweep.space.pose.conv_out.weight, std=0.1)
    drawing = base.encode(torch.rand(2, 14, 64, 64, 3))[:, 0]
    asked = [(i, (a, 10.0)) for i in (0, 1) for a in (0.0, 30.0, math.nan)]
    for precise in (True, False, True, True):
        for i, seen in asked:
            where, one = torch.tensor([seen]), drawing[i : i + 1]
            with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
                found = base.sweep(one, where, torch.tensor([True]))
                fresh = replace(base.sweep, remembered={})(one, where, torch.tensor([True]))
            assert torch.equal(found.guess, fresh.guess) and torch.equal(found.planes, fresh.planes)
            assert 0 < len(base.sweep.remembered) <= 10


def test_the_guess_is_the_volume_as_the_views_see_it(toy_base):
    """Decoded, the guessed latents are the volume's views, as well as the codec keeps them."""
    base = load_base(toy_base)
    picture = torch.nn.functional.interpolate(torch.rand(1, 4, 8, 8), size=64, mode="bilinear")
    drawing = base.sweep.linear(picture)
    laid = base.sweep(drawing, torch.full((1, 2), torch.nan), torch.tensor([True]))
    mean, deviation = base.moments[:, :, None, None]
    shown = base.sweep.inverse(laid.guess[0, 1:] * deviation + mean)
    space = base.sweep.space(base.sweep.inverse(drawing).clamp(0, 1), torch.full((1, 2), torch.nan))
    views = look(torch.sigmoid(space.opacity), space.colour, GRID)[0]
    kept = base.sweep.inverse(base.sweep.linear(views))
    assert torch.allclose(shown, kept, atol=2e-2)


def test_a_drawing_says_where_it_was_seen_from(tmp_path):
    (tmp_path / "odd@1,2.png").touch()
    (tmp_path / "plain@x.png").touch()
    assert split_viewpoint(tmp_path / "a.png@-30,20.5") == (tmp_path / "a.png", (-30.0, 20.5))
    assert split_viewpoint(tmp_path / "odd@1,2.png") == (tmp_path / "odd@1,2.png", (1.0, 2.0))
    assert split_viewpoint("b.png")[1] is None and split_viewpoint(tmp_path / "plain@x.png")[1] is None
    with pytest.raises(InputError, match="elevation"):
        split_viewpoint("b.png@30")
