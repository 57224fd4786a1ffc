"""A field draws the views it was fitted to, and ones it never saw; saved and loaded it draws the same pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_lift_forms import painted_box

from lora3d.camera import orbit
from lora3d.errors import InputError
from lora3d.grid import PRESETS, View
from lora3d.lift.field import Field, draw_field, field_bytes, fit_field, load_field
from lora3d.lift.hull import MIRRORS, hull_field, mirror_image, mirrored_hull
from lora3d.lift.surface import extract, is_closed, volume
from lora3d.lift.turntable import clip_bytes, turn
from lora3d.lift.views import GridViews, read_views
from lora3d.render import render, render_tiles

CAMERAS = tuple(orbit(30 * i, (20, -20, 50)[i % 3], 1.866, fov_deg=32) for i in range(12))


@pytest.fixture(scope="module")
def views() -> GridViews:
    grid = replace(
        PRESETS["zero123plus"],
        cells=tuple(View("rgb", c) for c in CAMERAS),
        columns=12,
        tile=32,
        shading="unlit",
    )
    return read_views(render_tiles(painted_box((1.0, 0.6, 0.8)), grid), grid)


@pytest.fixture(scope="module")
def field(views) -> Field:
    return fit_field(views, 32, steps=(40, 40))


@pytest.mark.slow
def test_it_draws_views_it_never_saw(field):
    cameras = [orbit(15 + 60 * i, (5, 35)[i % 2], 1.866, fov_deg=32) for i in range(4)]
    rgba = render(painted_box((1.0, 0.6, 0.8)), cameras, 32).rgba
    true = rgba[..., :3] * rgba[..., 3:] + 0.5 * (1 - rgba[..., 3:])
    drawn = draw_field(field, cameras, 32)
    assert -10 * np.log10(np.mean((drawn - true) ** 2)) > 18


@pytest.mark.slow
def test_its_surface_is_closed_and_nearer_to_the_box_than_the_hull(field, views):
    truth = painted_box((1.0, 0.6, 0.8))
    vertices, faces = extract(field.solid(48), 0.52, 3000)
    assert is_closed(faces)
    true = volume(truth.vertices, truth.faces)
    hull = volume(*extract(hull_field(views, 48), 0.52, 3000))
    assert abs(volume(vertices, faces) - true) < abs(hull - true)


@pytest.mark.slow
def test_saved_and_loaded_it_draws_the_same_pixels(field, tmp_path):
    (tmp_path / "a.safetensors").write_bytes(field_bytes(field))
    again = load_field(tmp_path / "a.safetensors")
    pictures = turn(lambda cameras, size: draw_field(again, cameras, size), 2, 24)
    assert np.array_equal(pictures, turn(lambda cameras, size: draw_field(field, cameras, size), 2, 24))
    assert clip_bytes(pictures)[8:12] == b"WEBP"


@pytest.mark.slow
def test_equal_seeds_fit_equal_fields(views):
    first, second = (fit_field(views, 16, steps=(3,), seed=5) for _ in range(2))
    assert torch.equal(first.distance, second.distance) and torch.equal(first.colour, second.colour)


def test_the_hull_holds_the_object_and_each_outline(views):
    """Laurentini 1994: the hull encloses the object and has its silhouettes; here to a pixel."""
    truth = painted_box((1.0, 0.6, 0.8))
    vertices, faces = extract(hull_field(views, 64), 0.52, 5000)
    assert is_closed(faces) and volume(vertices, faces) > 0.97 * volume(truth.vertices, truth.faces)
    solid = replace(truth, vertices=vertices, faces=faces, face_material=np.zeros(len(faces), np.int32))
    seen = np.isfinite(render(solid, CAMERAS, 32, samples=1).depth)
    true = np.isfinite(render(truth, CAMERAS, 32, samples=1).depth)
    assert (seen & true).sum() / (seen | true).sum() > 0.93


def few_views(mesh) -> GridViews:
    grid = replace(
        PRESETS["zero123plus"],
        cells=tuple(View("rgb", c) for c in CAMERAS[:4]),
        columns=4,
        tile=64,
        shading="unlit",
    )
    return read_views(render_tiles(mesh, grid), grid)


def test_a_symmetric_object_is_carved_by_its_mirrored_views():
    """Views from one side see a box's other side in the mirror; the solid stays around the box."""
    truth = painted_box((1.0, 0.6, 0.8))
    views = few_views(truth)
    carved, mirrors = mirrored_hull(views, 48)
    assert set(mirrors) == {MIRRORS[0], MIRRORS[1]}, "a box that is no square has no diagonal mirrors"
    assert np.abs(carved - mirror_image(carved, mirrors[0])).max() < 1e-6
    volumes = [volume(*extract(f, 0.52, 5000)) for f in (carved, hull_field(views, 48))]
    true = volume(truth.vertices, truth.faces)
    assert 0.95 * true < volumes[0] < 0.9 * volumes[1]


def test_what_has_no_symmetry_keeps_its_hull():
    box = painted_box((1.0, 0.6, 0.8))
    # A wedge: the upper front edge pulled to one side and down.
    vertices = box.vertices.copy()
    high = (vertices[:, 2] > 0) & (vertices[:, 1] < 0)
    vertices[high] *= np.where(vertices[high, :1] > 0, (1.0, 0.2, 0.1), (0.3, 1.0, 0.9)).astype(np.float32)
    views = few_views(replace(box, vertices=vertices))
    field, mirrors = mirrored_hull(views, 48)
    assert mirrors == () and np.array_equal(field, hull_field(views, 48))


def test_views_that_contradict_each_other_are_refused():
    """A thin plate seen whole from one side, and in another place from the other."""
    views = few_views(painted_box((1.0, 0.6, 0.8)))
    depth = np.full_like(views.depth, np.inf)
    depth[0, :8, :8] = views.depth[np.isfinite(views.depth)][0]
    depth[1:, -8:, -8:] = depth[0, 0, 0]
    with pytest.raises(InputError, match="leave no solid"):
        fit_field(replace(views, depth=depth), 32, steps=(3,))


def test_mirrors_undo_themselves():
    field = np.random.default_rng(0).normal(size=(5, 5, 5))
    for mirror in MIRRORS:
        assert np.array_equal(mirror_image(mirror_image(field, mirror), mirror), field)
        assert not np.array_equal(mirror_image(field, mirror), field)


def test_what_is_no_field_is_refused(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="expected a field"):
        load_field(tmp_path / "a.safetensors")
