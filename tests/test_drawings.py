"""Drawings of models: coverage is the rendering's, styles differ, seeds repeat."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import make_box
from toy_meshes import box

from lora3d.camera import orbit, project
from lora3d.data_prep.drawings import STYLES, draw, draw_blueprint, random_camera
from lora3d.data_prep.procedural import make_shape
from lora3d.errors import InputError
from lora3d.mesh import Material, Mesh, merge, turn
from lora3d.render import render

CAMERA = orbit(30, 20, 1.5, ortho_scale=1.04)


@pytest.fixture(scope="module")
def mesh() -> Mesh:
    return make_shape(5, "named").mesh


@pytest.mark.parametrize("style", STYLES)
def test_alpha_is_the_rendering_s_coverage(mesh: Mesh, style: str) -> None:
    expected = render(mesh, [CAMERA], 64).rgba[0, ..., 3]
    picture = draw(mesh, CAMERA, style, size=64, seed=3)
    assert picture.shape == (64, 64, 4) and picture.dtype == np.float32
    assert picture.min() >= 0 and picture.max() <= 1
    np.testing.assert_allclose(picture[..., 3], expected, atol=1e-6)
    assert not picture[picture[..., 3] == 0].any()


@pytest.mark.parametrize("style", STYLES)
def test_a_seed_is_a_drawing(mesh: Mesh, style: str) -> None:
    first = draw(mesh, CAMERA, style, size=48, seed=1)
    assert (first == draw(mesh, CAMERA, style, size=48, seed=1)).all()
    different = any((first != draw(mesh, CAMERA, style, size=48, seed=s)).any() for s in range(2, 6))
    assert different == (style not in ("render", "shaded"))


def test_styles_differ_from_each_other(mesh: Mesh) -> None:
    pictures = [draw(mesh, CAMERA, style, size=48) for style in STYLES]
    for i, a in enumerate(pictures):
        for b in pictures[i + 1 :]:
            assert np.abs(a - b).max() > 0.05


def test_line_art_is_dark_on_light_along_the_outline() -> None:
    mesh = make_shape(12, "named").mesh
    for seed in range(8):
        picture = draw(mesh, CAMERA, "line", size=96, seed=seed)
        inside = picture[..., 3] > 0.99
        rim = inside & ~(
            np.roll(inside, 1, 0) & np.roll(inside, -1, 0) & np.roll(inside, 1, 1) & np.roll(inside, -1, 1)
        )
        luma = picture[..., :3].mean(-1)
        assert luma[rim].mean() < luma[inside & ~rim].mean()


def block(x: tuple[float, float], y: tuple[float, float], colour: tuple[float, float, float]) -> Mesh:
    """A box 0.8 high between two x and two y."""
    low, high = np.array([x[0], y[0], -0.4]), np.array([x[1], y[1], 0.4])
    corners = (low + box().vertices * (high - low)).astype(np.float32)
    return box(vertices=corners, materials=(Material(base_color=(*colour, 1.0)),))


GREEN, RED = (0.1, 0.6, 0.2), (0.7, 0.1, 0.1)
LEFT = block((-0.4, 0), (-0.2, 0.2), GREEN)
CORNER = block((-0.28, 0.28), (-0.28, 0.28), GREEN)
# What has an edge at x = 0, seen from the front, for one reason alone; and what has none there.
EDGES = {
    "depth": merge([LEFT, block((0, 0.4), (0.0, 0.2), GREEN)]),
    "crease": turn(CORNER, 45),
    "colour": merge([LEFT, block((0, 0.4), (-0.2, 0.2), RED)]),
    "none": merge([LEFT, block((0, 0.4), (-0.2, 0.2), GREEN)]),
}


@pytest.mark.parametrize("kind", EDGES)
def test_each_kind_of_edge_is_a_line(kind: str) -> None:
    front = orbit(0, 0, 1.5, ortho_scale=1.04)
    for seed in range(6):
        picture = draw(EDGES[kind], front, "line", size=96, seed=seed)
        luma = picture[24:72, :, :3].mean(axis=(0, 2))
        line, sides = luma[43:53].min(), np.concatenate([luma[26:40], luma[56:70]])
        assert (line < sides.min() - 0.1) == (kind != "none")


def test_a_silhouette_has_one_dark_colour(mesh: Mesh) -> None:
    picture = draw(mesh, CAMERA, "silhouette", size=64, seed=2)
    colors = picture[picture[..., 3] > 0][:, :3]
    assert np.ptp(colors, axis=0).max() < 1e-6 and colors.max() <= 0.5


def test_line_width_grows_with_the_picture(mesh: Mesh) -> None:
    def ink(size: int) -> float:
        picture = draw(mesh, CAMERA, "flat", size=size, seed=4)
        plain = draw(mesh, CAMERA, "render", size=size)
        changed = np.abs(picture - plain).max(-1) > 0.1
        return changed.sum() / (plain[..., 3] > 0).sum()

    assert ink(256) == pytest.approx(ink(128), rel=0.35)


def test_a_blueprint_has_three_views_that_share_their_extents() -> None:
    mesh = make_box((0.9, 0.5, 0.3))
    sheet = draw_blueprint(mesh, size=192, seed=1)
    assert sheet.shape == (192, 192, 4) and (sheet[..., 3] == 1).all()
    assert (draw_blueprint(mesh, size=192, seed=1) == sheet).all()
    lines = sheet[..., 0] > 0.5

    def extent(row: int, column: int) -> tuple[int, ...]:
        ys, xs = np.nonzero(lines[row * 96 : (row + 1) * 96, column * 96 : (column + 1) * 96])
        return ys.min(), ys.max(), xs.min(), xs.max()

    front, side, above = extent(0, 0), extent(0, 1), extent(1, 0)
    assert front[:2] == side[:2] and front[2:] == above[2:], "heights side by side, widths below each other"
    assert side[3] - side[2] == pytest.approx(above[1] - above[0], abs=1), "the depth twice"
    assert (front[3] - front[2]) / (front[1] - front[0]) == pytest.approx(3, rel=0.1)
    assert not lines[96:, 96:].any()


def test_an_unknown_style_is_refused(mesh: Mesh) -> None:
    with pytest.raises(InputError, match=r"watercolour.*expected one of render"):
        draw(mesh, CAMERA, "watercolour")


def test_cameras_look_from_the_side_that_is_asked_for_and_see_everything() -> None:
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(200, 3))
    ball *= 0.5 / np.linalg.norm(ball, axis=1, keepdims=True)
    lenses = set()
    for _ in range(200):
        camera = random_camera(rng, azimuth_deg=90)
        lenses.add(camera.ortho_scale is None)
        back = camera.matrix[:3, 2]
        azimuth, elevation = np.degrees([np.arctan2(back[0], -back[1]), np.arcsin(back[2])])
        assert abs(azimuth - 90) <= 40 + 1e-6 and -10 - 1e-6 <= elevation <= 50 + 1e-6
        at, depth = project(camera, ball)
        assert at.min() >= 0 and at.max() <= 1 and depth.min() > 0
    assert lenses == {True, False}
