"""Lifting true views gives the solid back: its volume, its colours, its handedness; and always a closed mesh."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from conftest import make_box
from scipy.ndimage import gaussian_filter

from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.lift import _smoothed, lift, lift_levels
from lora3d.lift.fuse import HALF
from lora3d.lift.surface import clear, creased_normals, extract, is_closed, volume
from lora3d.lift.texture import _levelled, _texels
from lora3d.lift.views import read_views
from lora3d.mesh import Material, Mesh, face_normals, face_tangents, glb_bytes, normalise
from lora3d.metrics import fscore_chamfer, psnr
from lora3d.render import render, render_tiles

GRID = PRESETS["box6"]


def from_trimesh(solid: trimesh.Trimesh, colour=(0.2, 0.5, 0.1, 1.0)) -> Mesh:
    faces = np.asarray(solid.faces, np.int32)
    material = Material(base_color=colour)
    return normalise(
        Mesh(np.asarray(solid.vertices, np.float32), faces, np.zeros(len(faces), np.int32), (material,))
    )


def boxes(*parts: tuple[tuple[float, float, float], tuple[float, float, float]]) -> Mesh:
    """A union of boxes, each (extents, centre)."""
    solids = [trimesh.creation.box(e, trimesh.transformations.translation_matrix(c)) for e, c in parts]
    return from_trimesh(trimesh.util.concatenate(solids))


SHAPES = {
    "ball": from_trimesh(trimesh.creation.icosphere(3)),
    "box": boxes(((1.0, 0.6, 0.8), (0, 0, 0))),
    "corner": boxes(((1, 0.3, 0.3), (0, 0, 0)), ((0.3, 0.3, 0.9), (-0.35, 0, 0.6))),
    "ring": from_trimesh(trimesh.creation.torus(0.8, 0.25)),
    "plate": boxes(((1.0, 0.02, 1.0), (0, 0, 0))),
    "table": boxes(
        ((1, 1, 0.08), (0, 0, 0.4)),
        *(((0.07, 0.07, 0.8), (x, y, 0)) for x in (-0.4, 0.4) for y in (-0.4, 0.4)),
    ),
}


@pytest.fixture(scope="module")
def lifted() -> dict[str, Mesh]:
    return {name: lift(render_tiles(mesh, GRID), GRID, texture=128) for name, mesh in SHAPES.items()}


@pytest.mark.parametrize("name", SHAPES)
def test_every_mesh_is_closed_and_turned_outward_and_within_its_budget(lifted, name):
    mesh = lifted[name]
    assert is_closed(mesh.faces) and volume(mesh.vertices, mesh.faces) > 0
    assert len(mesh.faces) <= 5000 and mesh.materials[0].texture.shape[:2] == (128, 128)
    again = lift(render_tiles(SHAPES[name], GRID), GRID, faces=300, texture=128)
    assert is_closed(again.faces) and len(again.faces) <= 300


@pytest.mark.parametrize(
    ("name", "exact"), [("ball", 4 / 3 * np.pi * 0.5**3), ("box", None), ("corner", None)]
)
def test_volume_is_the_solids(lifted, name, exact):
    """Of a ball in closed form, of the others from their triangles; a voxel's shell may be missing."""
    truth = SHAPES[name]
    expected = exact or volume(truth.vertices, truth.faces)
    assert volume(lifted[name].vertices, lifted[name].faces) == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize("name", SHAPES)
def test_the_surface_lies_where_it_was(lifted, name):
    score, chamfer = fscore_chamfer(lifted[name], SHAPES[name], threshold=0.05)[:2]
    assert score > 0.97 and chamfer < 0.03


def test_a_ring_keeps_its_hole(lifted):
    mesh = lifted["ring"]
    # Euler's characteristic of a torus; vertices are shared, for triangles index them.
    edges = {tuple(sorted(e)) for f in mesh.faces for e in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))}
    assert len(np.unique(mesh.faces)) - len(edges) + len(mesh.faces) == 0


def test_handedness_is_kept(lifted):
    """The upright of an L stands at −x: a mirror image would lose most of its overlap."""
    truth = SHAPES["corner"]
    mirrored = replace(truth, vertices=truth.vertices * np.float32([-1, 1, 1]))
    right = fscore_chamfer(lifted["corner"], truth, threshold=0.05)[0]
    assert right > fscore_chamfer(lifted["corner"], mirrored, threshold=0.05)[0] + 0.2


def test_each_side_of_a_cube_keeps_its_colour():
    cube = make_box()
    colours = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)]
    painted = replace(
        cube,
        face_material=np.repeat(np.arange(6), 2).astype(np.int32),
        materials=tuple(Material(base_color=(*c, 1.0)) for c in colours),
    )
    true = render_tiles(painted, GRID)
    again = render_tiles(lift(true, GRID), GRID)
    assert psnr(GRID, again, true) > 24
    for i in GRID.indices("rgb"):
        middle = (slice(24, 40), slice(24, 40))
        assert np.abs(again[i][middle] - true[i][middle]).max() < 0.03


def test_views_of_different_tone_are_brought_to_one():
    """A plain ball whose views are up to 0.12 apart in tone is baked in one colour."""
    tiles = render_tiles(SHAPES["ball"], GRID)
    for k, (i, d) in enumerate(zip(GRID.indices("rgb"), GRID.indices("depth"), strict=True)):
        tiles[i][tiles[d][..., 0] > 0] += 0.06 * (-1) ** k
    texture = lift(tiles, GRID, texture=128).materials[0].texture[..., :3] / 255
    assert texture.reshape(-1, 3).std(axis=0).max() < 0.02


def test_views_that_show_different_things_keep_their_colours():
    """Offsets explain a difference of tone, and nothing of two views that differ at random."""
    rng = np.random.default_rng(0)
    colour = np.repeat(rng.random((500, 1, 3)), 2, axis=1).astype(np.float32)
    weight = np.ones((500, 2), np.float32)
    tones = colour + np.array([0.1, -0.1], np.float32)[:, None]
    apart = np.abs(np.diff(_levelled(tones, weight), axis=1)).max()
    assert apart < 0.2 * 0.2
    others = colour.copy()
    others[:, 1] = rng.random((500, 3))
    assert np.array_equal(_levelled(others, weight), others)


def test_a_normal_map_says_how_the_fine_surface_bends():
    """A ball of few triangles: its map's normals, turned into the world, point away from the centre."""
    tiles = render_tiles(SHAPES["ball"], GRID)
    mesh = lift_levels(tiles, GRID, (300,), texture=256, normal_map=True)[0]
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    face, position = _texels(mesh.corner_uv.astype(np.float64), corners, 256)
    used = face >= 0
    local = mesh.materials[0].normal_map[used, :3] / 127.5 - 1
    out, tangent = face_normals(mesh)[face[used]], face_tangents(mesh)[face[used]]
    up = np.cross(out, tangent[:, :3]) * tangent[:, 3:]
    normal = local[:, :1] * tangent[:, :3] + local[:, 1:2] * up + local[:, 2:] * out
    away = position[used] / np.linalg.norm(position[used], axis=1, keepdims=True)
    bent, flat = ((n * away).sum(axis=1) for n in (normal, out))
    assert np.median(bent) > np.cos(np.radians(3)) > np.median(flat)
    assert np.mean(bent > flat) > 0.75


def test_a_normal_map_needs_colours_without_light():
    grid = replace(GRID, shading="studio")
    with pytest.raises(InputError, match="lit twice"):
        lift_levels(render_tiles(SHAPES["ball"], grid), grid, (300,), normal_map=True)


def test_levels_of_detail_are_one_solid_ever_coarser():
    tiles = render_tiles(SHAPES["ring"], GRID)
    fine, coarse = lift_levels(tiles, GRID, (4000, 800), texture=64)
    assert len(coarse.faces) <= 800 < len(fine.faces) and is_closed(coarse.faces)
    assert fscore_chamfer(coarse, fine)[0] > 0.97


def test_positions_say_what_depth_says():
    cells = tuple(replace(c, channel="position") if c.channel == "depth" else c for c in GRID.cells)
    grid = replace(GRID, cells=cells)
    truth = SHAPES["corner"]
    assert fscore_chamfer(lift(render_tiles(truth, grid), grid, texture=16), truth)[0] > 0.97


@pytest.mark.parametrize("frame", ["camera", "first", "world"])
def test_normals_of_every_frame_are_read_back_in_the_world(frame):
    grid = replace(PRESETS["wonder3d"].with_tile(32), normal_frame=frame)
    truth = SHAPES["corner"]
    normal = read_views(render_tiles(truth, grid), grid).normal
    true = render(truth, grid.cameras("rgb"), 32).normal
    assert normal.any() and np.abs(normal - true)[normal.any(-1)].max() < 1e-5


def test_smoothing_keeps_the_volume_and_what_is_thin():
    """A rough ball gets rounder and no smaller; a rod of two voxels, which a plain blur takes away, stays as long."""
    voxel = 2 * HALF / 31
    at = (np.stack(np.meshgrid(*[np.arange(32) - 15.5] * 3, indexing="ij"))) * voxel
    away = np.linalg.norm(at, axis=0)
    rough = away - 8 * voxel + 2 * voxel * np.random.default_rng(0).standard_normal(away.shape)
    rod = np.maximum(np.linalg.norm(at[:2], axis=0) - voxel, np.abs(at[2]) - 10 * voxel)
    assert (gaussian_filter(rod, 2.0) >= 0).all()
    for field in (rough, rod):
        for deviation in (0.8, 1.5):
            left = _smoothed(field, deviation) < 0
            assert abs(int(left.sum()) - int((field < 0).sum())) <= 4  # a rod's ends are equally deep
        assert np.array_equal(_smoothed(field, 0.1), field), "views that agree keep every edge"
    ball = away < 8 * voxel
    wrong = [((f < 0) ^ ball).sum() for f in (rough, _smoothed(rough, 0.8), _smoothed(rough, 1.5))]
    assert wrong[0] > 2 * wrong[1] > 2 * wrong[2]
    along = np.flatnonzero((_smoothed(rod, 1.5) < 0).any((0, 1)))
    assert 18 <= len(along) <= 20 and np.array_equal(along, np.arange(along[0], along[-1] + 1))


def test_rounds_of_smoothing_take_roughness_and_no_volume():
    """A ball with a rough skin: after six rounds nearer to the ball, still closed, its volume kept to a hundredth."""
    axis = np.linspace(-HALF, HALF, 48)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    noise = np.random.default_rng(0).normal(0, 0.02, x.shape)
    field = clear(np.sqrt(x**2 + y**2 + z**2) - 0.35 + noise, 0.01)
    (rough, faces), (smooth, same) = (extract(field, HALF, 4000, rounds) for rounds in (0, 6))
    assert np.array_equal(faces, same) and is_closed(same)
    assert volume(smooth, same) == pytest.approx(volume(rough, faces), rel=0.01)
    off = [np.std(np.linalg.norm(points, axis=1)) for points in (rough, smooth)]
    assert off[1] < 0.6 * off[0]


def test_normals_are_smooth_but_for_creases():
    """A cube's are its faces'; a ball's point away from its centre, though its facets' do not."""
    box = make_box()
    normals = creased_normals(box.vertices, box.faces)
    assert np.allclose(normals, face_normals(box)[:, None], atol=1e-6)
    ball = trimesh.creation.icosphere(3, 0.4)
    away = np.asarray(ball.vertices)[ball.faces] / 0.4
    found = creased_normals(np.asarray(ball.vertices, np.float32), np.asarray(ball.faces, np.int32))
    assert np.allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)
    assert (found * away).sum(-1).min() > 0.999
    assert (found * np.asarray(ball.face_normals)[:, None]).sum(-1).min() < 0.999, (
        "they are no longer the facets'"
    )


def test_noise_and_a_shifted_view_cost_little():
    """Two per cent of noise on colour and depth, and one view a pixel off: F falls by less than 0.03."""
    truth = SHAPES["table"]
    tiles = render_tiles(truth, GRID)
    rng = np.random.default_rng(0)
    noisy = np.where(tiles > 0, tiles + 0.02 * rng.standard_normal(tiles.shape), 0).clip(0, 1)
    for cell in (GRID.indices("rgb")[1], GRID.indices("depth")[1]):
        noisy[cell] = np.roll(noisy[cell], 1, axis=1)
    before, after = (
        fscore_chamfer(lift(t.astype(np.float32), GRID), truth, threshold=0.05)[0] for t in (tiles, noisy)
    )
    assert after > before - 0.03


def test_same_tiles_same_bytes():
    tiles = render_tiles(SHAPES["corner"], GRID)
    assert glb_bytes(lift(tiles, GRID)) == glb_bytes(lift(tiles.copy(), GRID))


def test_what_cannot_be_lifted_is_said():
    tiles = render_tiles(SHAPES["box"], GRID)
    broken = tiles.copy()
    broken[3, 5, 5] = np.nan
    plain = PRESETS["zero123plus"].with_tile(32)
    coloured = render_tiles(SHAPES["box"], plain)
    blank = tiles.copy()
    blank[list(GRID.indices("depth"))] = 0
    blank[list(GRID.indices("rgb"))] = GRID.background
    for arguments, fields, reason in (
        ((tiles, GRID), {"method": "magic"}, "expected one of fuse, normals"),
        ((tiles, GRID), {"faces": 3}, "100 faces"),
        ((tiles, GRID), {"resolution": 4}, "16 to 512"),
        ((tiles[1:], GRID), {}, "shape"),
        ((broken, GRID), {}, "no numbers"),
        ((coloured, plain), {"method": "fuse"}, "no such pair"),
        ((coloured, plain), {"method": "normals"}, "a normal cell for every rgb cell"),
        ((0 * coloured, plain), {}, "no object"),
        ((blank, GRID), {}, "no object"),
    ):
        with pytest.raises(InputError, match=reason):
            lift(*arguments, **fields)
