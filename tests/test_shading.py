"""Textures, materials, transparency and light: colours in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lora3d.camera import orbit, rays
from lora3d.mesh import Material, merge
from lora3d.render import pack_scene, render
from tests.toy_scenes import (
    BLACK,
    BLUE,
    FRONT,
    GREEN,
    LENS,
    RED,
    WHITE,
    cube,
    image,
    mesh_of,
    quad,
    sphere,
    srgb,
)


def test_edges_average_in_linear_light() -> None:
    material = Material(texture=image([[BLACK, WHITE]]), filter="nearest", wrap=("clamp", "clamp"))
    rgba = render(quad(material=material), [FRONT], 3).rgba[0]
    np.testing.assert_allclose(rgba[:, 1, :3], srgb(0.5), atol=1e-4)
    assert rgba[:, 0, :3].max() == 0 and rgba[:, 2, :3].min() == 1
    # A half-covered pixel keeps the surface's own colour: straight alpha.
    grey = Material(base_color=(0.2, 0.4, 0.6, 1))
    rgba = render(quad(half=1 / 6, material=grey), [FRONT], 4, samples=6).rgba[0]
    partial = rgba[(rgba[..., 3] > 0) & (rgba[..., 3] < 1)]
    assert len(partial)
    np.testing.assert_allclose(partial[:, :3], [[srgb(0.2), srgb(0.4), srgb(0.6)]] * len(partial), atol=1e-4)
    assert rgba[..., 3].mean() == pytest.approx(1 / 9, abs=1e-6)


def test_a_textured_quad_shows_its_image_upright() -> None:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (8, 8, 4), dtype=np.uint8)
    texture[..., 3] = 255
    for filtering in ("nearest", "linear"):
        material = Material(texture=texture, filter=filtering, wrap=("clamp", "clamp"))
        shown = render(quad(material=material), [FRONT], 8, samples=1).rgba[0]
        np.testing.assert_allclose(shown, texture / 255, atol=1e-4)


def test_bilinear_filtering_is_linear_light() -> None:
    material = Material(texture=image([[BLACK, WHITE]]), wrap=("clamp", "clamp"))
    shown = render(quad(material=material), [FRONT], 8, samples=1).rgba[0, 0, :, :3]
    expected = [srgb(v) for v in np.clip((np.arange(8) + 0.5) / 4 - 0.5, 0, 1)]
    np.testing.assert_allclose(shown, np.stack([expected] * 3, -1), atol=1e-4)


@pytest.mark.parametrize(
    ("wrap", "row"),
    [("repeat", "RGBRGBRGB"), ("clamp", "RRRRGBBBB"), ("mirror", "BGRRGBBGR")],
)
def test_wrap_modes(wrap, row: str) -> None:
    colors = {"R": RED, "G": GREEN, "B": BLUE}
    texture = image([[RED, GREEN, BLUE]])
    uv = quad().corner_uv
    assert uv is not None
    for axes in (0, 1):
        turned = texture if axes == 0 else texture.transpose(1, 0, 2)
        material = Material(texture=np.ascontiguousarray(turned), filter="nearest", wrap=(wrap, wrap))
        rgba = render(quad(material=material, corner_uv=uv * 3 - 1), [FRONT], 9, samples=1).rgba[0]
        line = rgba[4] if axes == 0 else rgba[:, 4]
        assert (line[:, :3] * 255).tolist() == [list(colors[c]) for c in row]


def test_vertex_colours_and_factors_multiply() -> None:
    colors = np.ones((2, 3, 4), np.float32)
    colors[..., :3] = (0.5, 1.0, 0.25)
    material = Material(base_color=(0.5, 0.5, 1, 1), texture=image([[WHITE, WHITE]]))
    rgba = render(quad(material=material, corner_color=colors), [FRONT], 4).rgba[0]
    np.testing.assert_allclose(rgba[..., :3], [[[srgb(0.25), srgb(0.5), srgb(0.25)]] * 4] * 4, atol=1e-4)


def test_opaque_ignores_alpha_and_mask_cuts_out() -> None:
    texture = image([[(*RED, 0), (*GREEN, 255)]])
    opaque = Material(texture=texture, filter="nearest", base_color=(1, 1, 1, 0.1))
    rgba = render(quad(material=opaque), [FRONT], 4).rgba[0]
    assert (rgba[..., 3] == 1).all() and (rgba[:, :2, 0] == 1).all()

    mask = Material(texture=texture, filter="nearest", alpha_mode="MASK")
    behind = quad(0.2, material=Material(base_color=(0, 0, 1, 1)))
    views = render(merge([quad(material=mask), behind]), [FRONT], 4)
    assert (views.rgba[0, :, :2] == (0, 0, 1, 1)).all() and (views.rgba[0, :, 2:] == (0, 1, 0, 1)).all()
    np.testing.assert_allclose(views.depth[0], [[1.2, 1.2, 1, 1]] * 4, atol=1e-6)
    alone = render(quad(material=mask), [FRONT], 4)
    assert (alone.rgba[0, ..., 3] == [0, 0, 1, 1]).all() and np.isinf(alone.depth[0, :, :2]).all()
    # What a mask keeps is opaque, whatever its alpha.
    soft = Material(base_color=(1, 0, 0, 0.6), alpha_mode="MASK")
    assert (render(quad(material=soft), [FRONT], 4).rgba == (1, 0, 0, 1)).all()
    gone = Material(base_color=(1, 0, 0, 0.4), alpha_mode="MASK")
    assert not render(quad(material=gone), [FRONT], 4).rgba.any()


def test_half_transparent_red_over_white() -> None:
    red = Material(base_color=(1, 0, 0, 0.5), alpha_mode="BLEND")
    over = render(merge([quad(0.2), quad(0.1, material=red)]), [FRONT], 4)
    np.testing.assert_allclose(over.rgba[0], [[[1, srgb(0.5), srgb(0.5), 1]] * 4] * 4, atol=1e-4)
    np.testing.assert_allclose(over.depth, 1.1, atol=1e-6)
    alone = render(quad(material=red), [FRONT], 4)
    np.testing.assert_allclose(alone.rgba[0], [[[1, 0, 0, 0.5]] * 4] * 4, atol=1e-6)


def test_blending_sorts_by_depth_not_by_order() -> None:
    colors = [(1, 0, 0, 0.5), (0, 1, 0, 0.25), (0, 0, 1, 0.75)]
    depths = [0.3, -0.1, 0.1]
    layers = [
        quad(y, material=Material(base_color=c, name=str(y), alpha_mode="BLEND"))
        for y, c in zip(depths, colors, strict=True)
    ]
    # Nearest first: green, blue, red.
    color, clear = np.zeros(3), 1.0
    for i in np.argsort(depths):
        *rgb, alpha = colors[i]
        color, clear = color + clear * alpha * np.array(rgb), clear * (1 - alpha)
    expected = [*(srgb(v) for v in color / (1 - clear)), 1 - clear]
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        rgba = render(merge([layers[i] for i in order]), [FRONT], 4).rgba[0]
        np.testing.assert_allclose(rgba, [[expected] * 4] * 4, atol=1e-4)


def test_a_decal_shows_on_the_surface_it_lies_on_and_empty_glass_is_nothing() -> None:
    texture = image([[(*RED, 0), (*RED, 255)]])
    decal = Material(texture=texture, filter="nearest", alpha_mode="BLEND")
    views = render(merge([quad(0.1), quad(0.1, material=decal)]), [FRONT], 4)
    assert (views.rgba[0, :, :2] == 1).all() and (views.rgba[0, :, 2:] == (1, 0, 0, 1)).all()
    glass = Material(base_color=(1, 1, 1, 0), alpha_mode="BLEND")
    views = render(quad(material=glass), [FRONT], 4)
    assert not views.rgba.any() and np.isinf(views.depth).all()


def test_one_sided_faces_are_seen_from_the_front_alone() -> None:
    back = orbit(180, 0, 1, ortho_scale=1)
    for camera, sides in ((FRONT, (True, True)), (back, (True, False))):
        seen = [
            np.isfinite(render(quad(material=Material(double_sided=d)), [camera], 4).depth).all()
            for d in (True, False)
        ]
        assert tuple(seen) == sides
    np.testing.assert_allclose(render(quad(), [back], 4).normal, [[[[0, 1, 0]] * 4] * 4], atol=1e-6)


def test_studio_light_belongs_to_the_object() -> None:
    """A surface has one colour from wherever it is seen, and every side of a cube its own."""
    cameras = [orbit(a, e, 1.9, fov_deg=35) for a, e in ((20, 15), (70, 30), (200, 20), (250, -30))]
    views = render(cube(0.5, material=Material(base_color=(0.6, 0.6, 0.6, 1))), cameras, 64, shading="studio")
    shades: dict[tuple[int, ...], list[float]] = {}
    for rgba, normal in zip(views.rgba, views.normal, strict=True):
        inner = rgba[..., 3] == 1
        for side in np.unique(np.rint(normal[inner]), axis=0):
            here = inner & (np.abs(normal - side).max(-1) < 1e-3)
            shades.setdefault(tuple(int(v) for v in side), []).append(float(np.median(rgba[here][:, 0])))
    assert len(shades) == 6 and all(np.ptp(v) < 1e-4 for v in shades.values())
    levels = sorted(v[0] for v in shades.values())
    assert levels[0] > 0.3 and levels[-1] <= srgb(0.6) and min(np.diff(levels)) > 0.01
    assert shades[(0, 0, 1)] > shades[(0, -1, 0)] > shades[(0, 1, 0)] > shades[(0, 0, -1)]


def test_a_glowing_picture_is_added_whatever_the_light() -> None:
    halves = image([[(255, 255, 255), (0, 188, 0)]])
    dark = Material(base_color=(0, 0, 0, 1), emissive=(0.25, 3.0, 0.5))
    for filtering in ("nearest", "linear"):
        lamp = replace(dark, emissive_map=halves, filter=filtering, wrap=("clamp", "clamp"))
        for shading in ("unlit", "studio"):
            rgba = render(quad(material=lamp), [FRONT], 8, shading=shading).rgba[0]
            np.testing.assert_allclose(rgba[:, 0], [[srgb(0.25), 1, srgb(0.5), 1]] * 8, atol=1e-4)
            np.testing.assert_allclose(rgba[:, 7], [[0, 1, 0, 1]] * 8, atol=1e-4)
    # A grey of linear 1/2 added to a red that is lit by nothing: their sum, sample by sample.
    both = Material(
        base_color=(0.5, 0, 0, 1), emissive=(0.5, 0.5, 0.5), emissive_map=image([[(188, 188, 188)]])
    )
    rgba = render(quad(material=both), [FRONT], 2).rgba
    half = 0.5 * ((188 / 255 + 0.055) / 1.055) ** 2.4
    np.testing.assert_allclose(rgba[0, 0, 0, :3], [srgb(0.5 + half), srgb(half), srgb(half)], atol=1e-4)


def test_emission_and_unlit_materials_ignore_the_light() -> None:
    lamp = Material(base_color=(0, 0, 0, 1), emissive=(0.25, 3.0, 0.0))
    plain = Material(base_color=(0.3, 0.3, 0.3, 1), unlit=True)
    for shading in ("unlit", "studio"):
        rgba = render(quad(material=lamp), [FRONT], 2, shading=shading).rgba
        np.testing.assert_allclose(rgba[0], [[[srgb(0.25), 1, 0, 1]] * 2] * 2, atol=1e-4)
        rgba = render(quad(material=plain), [FRONT], 2, shading=shading).rgba
        np.testing.assert_allclose(rgba[..., :3], srgb(0.3), atol=1e-4)


def test_smooth_normals_win_over_flat_ones_and_face_the_viewer() -> None:
    ball = sphere(0.4, rings=12)
    assert ball.corner_normal is not None
    inward = mesh_of(ball.vertices, ball.faces[:, ::-1], corner_normal=-ball.corner_normal[:, ::-1])
    for mesh in (ball, inward):
        views = render(mesh, [LENS], 48)
        hit = np.isfinite(views.depth[0])
        _, direction = rays(LENS, 48)
        assert (np.einsum("nk,nk->n", views.normal[0][hit], direction[hit]) <= 1e-6).all()
        outward = views.position[0] / np.linalg.norm(views.position[0], axis=-1, keepdims=True).clip(1e-9)
        assert np.einsum("nk,nk->n", views.normal[0][hit], outward[hit]).min() > 0.95


@pytest.mark.parametrize("wrap", ["repeat", "clamp", "mirror"])
def test_bounds_of_alpha_hold_and_change_no_pixel(wrap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces known to be solid or gone are drawn as if each sample had asked the texture."""
    rng = np.random.default_rng(1)
    texture = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    texture[:, :8, 3] = 255
    texture[8:, 8:, 3] = 0
    uv = rng.uniform(-0.7, 1.7, (12, 1, 2)) + rng.uniform(-0.2, 0.2, (12, 3, 2))
    for mode in ("MASK", "BLEND"):
        material = Material(texture=texture, alpha_mode=mode, wrap=(wrap, wrap))
        planes = [
            quad(
                0.03 * i,
                half=0.1 + 0.06 * i,
                corner_uv=uv[2 * i : 2 * i + 2].astype(np.float32),
                material=material,
            )
            for i in range(6)
        ]
        mesh = merge(planes)
        known = pack_scene(mesh)._replace(alpha_range=np.tile(np.float32([0, 1]), (12, 1)))
        seen = render(mesh, [FRONT, LENS], 96)
        assert (pack_scene(mesh).alpha_range != known.alpha_range).any()
        monkeypatch.setattr("lora3d.render.pack_scene", lambda _, known=known: known)
        asked = render(mesh, [FRONT, LENS], 96)
        monkeypatch.undo()
        assert np.array_equal(seen.rgba, asked.rgba) and np.array_equal(seen.depth, asked.depth)


def test_one_sample_of_a_magnified_texture_shows_what_many_do() -> None:
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    texture[..., 3] = 255
    for camera in (FRONT, LENS):
        few, many = (
            render(quad(material=Material(texture=texture)), [camera], 96, samples=n).rgba[0] for n in (2, 8)
        )
        inside = (few[..., 3] == 1) & (many[..., 3] == 1)
        assert np.abs(few - many)[inside].mean() < 0.01
    # A minified one is seen by every sample.
    fine = np.where(np.indices((96, 96)).sum(0)[..., None] % 2, 255, 0) * np.ones(4)
    fine[..., 3] = 255
    material = Material(texture=fine.astype(np.uint8), filter="linear")
    grey = render(quad(material=material), [FRONT], 24, samples=2).rgba[0]
    assert np.ptp(grey[..., 0]) < 1e-3
