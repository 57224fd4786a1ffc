"""Closed forms and invariances of the metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from lora3d import metrics
from lora3d.camera import orbit
from lora3d.grid import PRESETS, View, ViewGrid, coverage, encode_depth
from lora3d.mesh import Material, Mesh, MeshError, merge, turn
from lora3d.render import render_tiles

BOX = PRESETS["box6"]


def mesh_of(shape: trimesh.Trimesh, **material) -> Mesh:
    faces = np.asarray(shape.faces, np.int32)
    return Mesh(
        np.asarray(shape.vertices, np.float32), faces, np.zeros(len(faces), np.int32), (Material(**material),)
    )


def disc_tiles(grid: ViewGrid, shift: float, radius: float = 0.25) -> np.ndarray:
    """A disc of depth 1 in every depth cell, moved by `shift` tiles to the right, black in the rgb cells."""
    at = (np.arange(grid.tile) + 0.5) / grid.tile - 0.5
    inside = (at[None] - shift) ** 2 + at[:, None] ** 2 < radius**2
    tiles = np.ones((len(grid.cells), grid.tile, grid.tile, 3), np.float32)
    tiles[list(grid.indices("rgb"))] = np.where(inside, 0.0, 1.0)[None, ..., None]
    tiles[list(grid.indices("depth"))] = encode_depth(grid, np.where(inside, 1.0, np.inf))[None, ..., None]
    return tiles


def test_psnr_of_a_known_offset_and_of_rgb_cells_alone():
    true = np.full((14, 64, 64, 3), 0.5, np.float32)
    other = true.copy()
    for channel in ("reference", "reference_alpha", "depth"):
        other[list(BOX.indices(channel))] = 0.0
    assert metrics.psnr(BOX, other, true) == metrics.PSNR_LIMIT
    other[list(BOX.indices("rgb"))] += 0.1
    assert metrics.psnr(BOX, other, true) == pytest.approx(20.0, abs=1e-5)
    half = true.copy()
    half[list(BOX.indices("rgb"))[:3]] += 0.1  # half of the cells: half of the squared error
    assert metrics.psnr(BOX, half, true) == pytest.approx(20.0 + 10 * math.log10(2), abs=1e-5)


def test_ssim_is_one_for_equals_and_the_published_settings():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 14, 64, 64, 3), dtype=np.float32)
    assert metrics.ssim(BOX, a, a) == pytest.approx(1.0)
    wanted = [
        structural_similarity(
            a[i].astype(float),
            b[i].astype(float),
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for i in BOX.indices("rgb")
    ]
    assert metrics.ssim(BOX, a, b) == pytest.approx(np.mean(wanted))
    assert metrics.ssim(BOX, a, b) == pytest.approx(metrics.ssim(BOX, b, a))


@pytest.mark.parametrize("tile", [3, 7, 8, 10, 16])
def test_ssim_of_constant_images_is_the_luminance_term(tile: int):
    grid = BOX.with_tile(tile)
    a = np.full((14, tile, tile, 3), 0.4, np.float32)
    b = np.full((14, tile, tile, 3), 0.6, np.float32)
    assert metrics.ssim(grid, a, b) == pytest.approx((2 * 0.24 + 1e-4) / (0.16 + 0.36 + 1e-4), rel=1e-5)


@given(st.floats(0, 0.6))
@settings(max_examples=15, deadline=None)
def test_iou_of_shifted_discs(shift: float):
    grid, radius = BOX.with_tile(160), 0.2
    lens = 0.0
    if shift < 2 * radius:
        half = shift / 2
        lens = 2 * radius**2 * math.acos(half / radius) - shift * math.sqrt(radius**2 - half**2)
    wanted = lens / (2 * math.pi * radius**2 - lens)
    # Both stay in the frame: one half the shift to the left, the other to the right.
    a, b = disc_tiles(grid, -shift / 2, radius), disc_tiles(grid, shift / 2, radius)
    assert metrics.silhouette_iou(grid, a, b) == pytest.approx(wanted, abs=0.02)


def test_coverage_is_read_from_depth_or_else_from_colour():
    tiles = disc_tiles(BOX, 0.1)
    with_depth = coverage(BOX, tiles)
    colour_alone = ViewGrid("rgb", tuple(View("rgb", c) for c in BOX.cameras()), 6, 64)
    from_colour = coverage(colour_alone, tiles[list(BOX.indices("rgb"))])
    assert with_depth.any() and np.array_equal(with_depth, from_colour)
    blank = np.ones_like(tiles)
    blank[list(BOX.indices("depth"))] = 0.0
    assert metrics.silhouette_iou(BOX, blank, blank) == 1.0
    assert metrics.silhouette_iou(BOX, blank, tiles) == 0.0


def test_a_surface_matches_itself_wherever_it_lies_and_however_large_it_is():
    shape = trimesh.creation.box((1.0, 0.6, 0.3))
    moved = shape.copy().apply_scale(7.0).apply_translation((3, -2, 5))
    for other in (shape, moved):
        fscore, chamfer = metrics.fscore_chamfer(mesh_of(other), mesh_of(shape))
        assert fscore == 1.0 and chamfer < 0.01
    assert metrics.fscore_chamfer(turn(mesh_of(shape), 90), mesh_of(shape))[0] < 0.8


def test_chamfer_between_concentric_spheres_is_their_gap():
    points = metrics.surface_points(mesh_of(trimesh.creation.icosphere(4)))
    for gap, matched in ((0.03, 1.0), (0.08, 0.0)):
        fscore, chamfer = metrics.fscore_chamfer(points * (1 - gap), points)
        assert fscore == matched
        assert chamfer == pytest.approx(gap, abs=0.002)


def test_fscore_of_half_a_surface():
    """All that is there is right, half of what should be is there: P = 1, R = 1/2, F = 2/3."""
    points = metrics.surface_points(mesh_of(trimesh.creation.icosphere(4)))
    fscore, _ = metrics.fscore_chamfer(points[points[:, 2] > 0.05], points, threshold=0.05)
    assert fscore == pytest.approx(2 / 3, abs=0.01)


def test_samples_are_uniform_by_area():
    shape = trimesh.creation.box((1.0, 1.0, 1.0))
    split = trimesh.Trimesh(*trimesh.remesh.subdivide(shape.vertices, shape.faces, face_index=[0, 1]))
    points = metrics.surface_points(mesh_of(split), samples=20_000)
    assert np.linalg.norm(points, axis=1).max() <= 1 + 1e-6
    side = 1 / math.sqrt(3)
    for axis in range(3):
        for sign in (-1, 1):
            share = np.mean(np.isclose(points[:, axis], sign * side, atol=1e-6))
            assert share == pytest.approx(1 / 6, abs=0.002)


def test_what_is_hidden_in_the_truth_does_not_count_but_what_is_invented_does():
    outer = mesh_of(trimesh.creation.icosphere(3))
    both = merge([outer, mesh_of(trimesh.creation.icosphere(3, radius=0.5))])
    assert len(metrics.surface_points(outer, outside=True)) == 100_000
    seen = metrics.surface_points(both, outside=True)
    assert np.linalg.norm(seen, axis=1).min() > 0.9
    assert len(seen) == pytest.approx(80_000, abs=300)
    assert metrics.fscore_chamfer(outer, both)[0] == 1.0
    precision = 0.8  # four fifths of the area of both is the outer sphere's
    assert metrics.fscore_chamfer(both, outer)[0] == pytest.approx(2 * precision / (1 + precision), abs=0.01)


def test_inside_of_an_open_box_is_seen_through_its_opening():
    shape = trimesh.creation.box((1.0, 1.0, 1.0))
    shape.update_faces(shape.face_normals[:, 2] < 0.5)
    inner = shape.copy().apply_scale(0.9)
    points = metrics.surface_points(merge([mesh_of(shape), mesh_of(inner)]), outside=True)
    floor = np.isclose(points[:, 2], -0.9 / math.sqrt(3), atol=1e-4)
    assert floor.sum() > 5000


def test_undrawn_surfaces_cannot_be_seen():
    ball = mesh_of(trimesh.creation.icosphere(2), alpha_mode="MASK", base_color=(1, 1, 1, 0))
    with pytest.raises(MeshError, match="transparent"):
        metrics.surface_points(ball, outside=True)
    line = Mesh(
        np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32),
        np.array([[0, 1, 2]], np.int32),
        np.zeros(1, np.int32),
        (Material(),),
    )
    with pytest.raises(MeshError, match="no area"):
        metrics.surface_points(line)


def test_consistency_is_perfect_for_views_of_one_solid():
    shape = mesh_of(trimesh.creation.box((0.5, 0.4, 0.3)), base_color=(0.5, 0.1, 0.1, 1.0))
    tiles = render_tiles(shape, BOX)
    assert metrics.consistency_psnr(BOX, tiles, render_tiles(shape, BOX)) == metrics.PSNR_LIMIT
    other = render_tiles(turn(shape, 30), BOX)
    assert metrics.consistency_psnr(BOX, tiles, other) < 25


def test_directions_are_unit_and_balanced():
    axes = metrics.directions(64)
    assert np.allclose(np.linalg.norm(axes, axis=1), 1)
    assert np.allclose(axes.T @ axes / 64, np.eye(3) / 3, atol=1e-3)


def test_oklab_of_white_black_and_greys():
    assert np.allclose(metrics.oklab(np.ones(3)), [1, 0, 0], atol=1e-6)
    assert np.allclose(metrics.oklab(np.zeros(3)), 0)
    lightness = metrics.oklab(np.repeat(np.linspace(0, 1, 9)[:, None], 3, axis=1))
    assert np.allclose(lightness[:, 1:], 0, atol=1e-6) and (np.diff(lightness[:, 0]) > 0).all()


def test_palette_distance_of_a_plain_colour_is_its_distance_in_oklab():
    for a, b in (([1.0, 0, 0], [0, 0, 1.0]), ([0.2, 0.7, 0.3], [0.9, 0.8, 0.1])):
        wanted = np.linalg.norm(metrics.oklab(np.array(a)) - metrics.oklab(np.array(b)))
        found = metrics.palette_distance(np.array([a] * 7), metrics.palette(np.array([b] * 30_000)))
        assert found == pytest.approx(wanted)


def test_palette_distance_is_zero_inside_the_palette_whatever_the_order_and_shares():
    rng = np.random.default_rng(0)
    colours = rng.random((5, 3))
    used = metrics.palette(colours[rng.integers(0, 5, 9000)])
    for share in ([1, 0, 0, 0, 0], [0.2] * 5, [0, 0, 0.1, 0.9, 0]):
        assert metrics.palette_distance(colours[rng.choice(5, 4000, p=share)], used) == 0


def test_colours_hardly_ever_used_are_not_in_the_palette():
    red, blue = np.array([[1.0, 0, 0]]), np.array([[0, 0, 1.0]])
    wanted = np.linalg.norm(metrics.oklab(red) - metrics.oklab(blue))
    used = np.concatenate([np.repeat(red, 9_995, axis=0), np.repeat(blue, 5, axis=0)])
    assert metrics.palette_distance(blue, metrics.palette(used)) == pytest.approx(wanted)
    used = np.concatenate([np.repeat(red, 9_900, axis=0), np.repeat(blue, 100, axis=0)])
    assert metrics.palette_distance(blue, metrics.palette(used)) == 0


def test_palette_distance_grows_with_noise_and_fading():
    rng = np.random.default_rng(0)
    colours = rng.random((6, 3))
    used = metrics.palette(colours[rng.integers(0, 6, 20_000)])
    asset = colours[rng.integers(0, 2, 5000)]
    noisy = [np.clip(asset + rng.normal(0, sigma, asset.shape), 0, 1) for sigma in (0, 0.03, 0.1, 0.3)]
    found = [metrics.palette_distance(pixels, used) for pixels in noisy]
    assert found == sorted(found) and found[0] == 0
    grey = np.repeat(asset.mean(axis=1, keepdims=True), 3, axis=1)
    assert metrics.palette_distance(grey, used) > metrics.palette_distance((grey + asset) / 2, used) > 0


def test_a_depth_cell_counts_only_for_its_own_camera():
    grid = ViewGrid(
        "odd", (View("rgb", orbit(0, 0, 1, ortho_scale=1)), View("depth", BOX.cameras()[1])), 2, 64
    )
    tiles = np.ones((2, 64, 64, 3), np.float32)
    tiles[0, :32] = 0.0
    assert coverage(grid, tiles).mean() == 0.5
