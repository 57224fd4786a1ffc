"""The renderer against closed forms, a brute-force ray caster, and its own symmetries."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from lora3d import shading
from lora3d.camera import Array, Camera, orbit, project, rays
from lora3d.grid import PRESETS, View, ViewGrid, decode_depth
from lora3d.mesh import Material, Mesh, load_mesh, merge, normalise, turn
from lora3d.render import render, render_tiles
from tests.toy_scenes import (
    ART,
    FRONT,
    LENS,
    ORTHO,
    cube,
    mesh_of,
    quad,
    same,
    soup,
    sphere,
)


def test_shapes_dtypes_and_background() -> None:
    views = render(cube(0.2), [FRONT, LENS], 16)
    assert views.rgba.shape == (2, 16, 16, 4) and views.depth.shape == (2, 16, 16)
    assert views.normal.shape == views.position.shape == (2, 16, 16, 3)
    assert {a.dtype for a in vars(views).values()} == {np.dtype(np.float32)}
    assert not views.rgba[:, 0, 0].any() and np.isinf(views.depth[:, 0, 0]).all()
    assert not views.normal[:, 0, 0].any() and not views.position[:, 0, 0].any()


def test_a_cube_from_each_side() -> None:
    box = PRESETS["box6"].cameras()
    views = render(cube(0.5), box, 64)
    backs = [camera.matrix[:3, 2] for camera in box]
    for i, back in enumerate(backs):
        hit = np.isfinite(views.depth[i])
        np.testing.assert_allclose(views.depth[i][hit], 0.75, atol=1e-6)
        np.testing.assert_allclose(views.normal[i][hit], np.broadcast_to(back, (hit.sum(), 3)), atol=1e-6)
        np.testing.assert_allclose(views.position[i][hit] @ back, 0.25, atol=1e-6)
        assert abs(hit.sum() - (0.5 / 1.04 * 64) ** 2) < 64


def test_a_cube_on_the_pixel_lattice_is_covered_exactly() -> None:
    views = render(cube(0.5), [FRONT], 32)
    assert np.isfinite(views.depth[0]).sum() == 16**2 and (views.rgba[0, ..., 3] == 1).sum() == 16**2
    assert set(np.unique(views.rgba[0, ..., 3])) == {0, 1}


def test_a_sphere_covers_a_disc() -> None:
    views = render(sphere(0.4, rings=96), [FRONT], 128, samples=4)
    assert views.rgba[0, ..., 3].mean() == pytest.approx(np.pi * 0.4**2, rel=2e-3)
    hit = np.isfinite(views.depth[0])
    y, x = np.meshgrid(0.5 - (np.arange(128) + 0.5) / 128, (np.arange(128) + 0.5) / 128 - 0.5, indexing="ij")
    inner = x**2 + y**2 < 0.35**2
    assert hit[inner].all()
    np.testing.assert_allclose(views.depth[0][inner], 1 - np.sqrt((0.16 - x**2 - y**2)[inner]), atol=1e-3)
    np.testing.assert_allclose(views.normal[0][inner], views.position[0][inner] / 0.4, atol=2e-3)
    # In perspective the outline is that of the tangent cone.
    views = render(sphere(0.4, rings=96), [orbit(20, 0, 2, fov_deg=40)], 128, samples=4)
    outline = 0.4 / np.sqrt(4 - 0.16) / np.tan(np.radians(20)) / 2
    assert views.rgba[0, ..., 3].mean() == pytest.approx(np.pi * outline**2, rel=2e-3)


@pytest.mark.parametrize("camera", [ORTHO, LENS])
def test_positions_lie_on_the_rays_and_project_to_their_pixels(camera: Camera) -> None:
    views = render(soup(1), [camera], 48)
    hit = np.isfinite(views.depth[0])
    origin, direction = rays(camera, 48)
    expected = origin + np.where(hit, views.depth[0], 0)[..., None] * direction
    np.testing.assert_allclose(views.position[0][hit], expected[hit], atol=1e-6)
    image_points, depth = project(camera, views.position[0][hit])
    row, column = np.nonzero(hit)
    np.testing.assert_allclose(image_points, (np.stack([column, row], 1) + 0.5) / 48, atol=1e-5)
    np.testing.assert_allclose(depth, views.depth[0][hit], atol=1e-5)
    facing = np.einsum("nk,nk->n", views.normal[0][hit], direction[hit])
    assert (facing <= 1e-6).all()
    np.testing.assert_allclose(np.linalg.norm(views.normal[0][hit], axis=1), 1, atol=1e-5)


def brute_force(mesh: Mesh, camera: Camera, size: int) -> tuple[Array, Array]:
    """Every ray against every triangle (Möller and Trumbore 1997): depth, and distance to an edge."""
    origin, direction = (a.reshape(-1, 1, 3) for a in rays(camera, size))
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    p = np.cross(direction, c - a)
    area = np.einsum("rfk,fk->rf", p, b - a)
    s = origin - a
    u = np.einsum("rfk,rfk->rf", s, p) / area
    q = np.cross(s, b - a)
    v = np.einsum("rfk,rfk->rf", np.broadcast_to(direction, q.shape), q) / area
    t = np.einsum("rfk,fk->rf", q, c - a) / area
    margin = np.minimum(np.minimum(u, v), 1 - u - v)
    depth = np.where((margin > 0) & (t > 1e-3), t, np.inf).min(1)
    return depth.reshape(size, size), np.abs(margin).min(1).reshape(size, size)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("camera", [ORTHO, LENS, orbit(10, 80, 0.3, fov_deg=80)])
def test_agrees_with_a_ray_caster(camera: Camera, seed: int) -> None:
    mesh = soup(seed)
    depth, margin = brute_force(mesh, camera, 40)
    found = render(mesh, [camera], 40).depth[0]
    sure = (margin > 1e-6) & ~(np.minimum(depth, found) < 2e-3)
    assert sure.mean() > 0.95
    np.testing.assert_array_equal(np.isfinite(found)[sure], np.isfinite(depth)[sure])
    both = sure & np.isfinite(depth)
    np.testing.assert_allclose(found[both], depth[both], atol=3e-6)


@pytest.mark.parametrize("angle_deg", [0, 17, 45, 90])
def test_shared_edges_are_covered_exactly_once(angle_deg: float) -> None:
    """A half-transparent net of triangles: a crack would be clear, a sample drawn twice darker."""
    rng = np.random.default_rng(3)
    n = 12
    x, z = np.meshgrid(np.linspace(-1, 1, n), np.linspace(-1, 1, n), indexing="ij")
    inner = np.zeros((n, n, 2))
    inner[1:-1, 1:-1] = rng.uniform(-0.05, 0.05, (n - 2, n - 2, 2)) * (angle_deg > 0)
    x, z = x + inner[..., 0], z + inner[..., 1]
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    points = np.stack([c * x - s * z, np.zeros_like(x), s * x + c * z], -1).reshape(-1, 3)
    i, j = (a.ravel() for a in np.meshgrid(np.arange(n - 1), np.arange(n - 1), indexing="ij"))
    a, b, d, e = i * n + j, i * n + j + 1, (i + 1) * n + j, (i + 1) * n + j + 1
    faces = np.concatenate([np.stack([a, d, e], 1), np.stack([a, e, b], 1)])
    net = mesh_of(points, faces, Material(base_color=(1, 1, 1, 0.5), alpha_mode="BLEND"))
    for camera in (FRONT, orbit(0, 0, 1.0, fov_deg=50), orbit(20, 10, 1.2, fov_deg=30)):
        np.testing.assert_allclose(render(net, [camera], 64).rgba[0, ..., 3], 0.5, atol=1e-6)


def test_the_world_turns_as_the_camera_orbits() -> None:
    mesh = soup(5)
    for azimuth in (90, 180, 30):
        around = render(mesh, [orbit(azimuth, 15, 1.8, fov_deg=35)], 48)
        front = render(turn(mesh, azimuth), [orbit(0, 15, 1.8, fov_deg=35)], 48)
        agree = np.isfinite(around.depth) == np.isfinite(front.depth)
        assert agree.mean() > 0.995
        both = np.isfinite(around.depth) & np.isfinite(front.depth)
        close = np.abs(around.depth[both] - front.depth[both]) < 1e-4
        assert close.mean() > 0.99


def test_plus_x_is_right_in_front_and_left_behind_and_up_is_up() -> None:
    red = Material(base_color=(1, 0, 0, 1), name="right")
    blue = Material(base_color=(0, 0, 1, 1), name="up")
    mesh = merge([cube(0.2, (0.3, 0, 0), red), cube(0.2, (0, 0, 0.3), blue)])
    front, back, right, top = render(
        mesh, [orbit(a, e, 1, ortho_scale=1) for a, e in ((0, 0), (180, 0), (90, 0), (0, 90))], 20
    ).rgba
    assert front[10, 15].tolist() == [1, 0, 0, 1] and not front[10, 4].any()
    assert back[10, 4].tolist() == [1, 0, 0, 1] and not back[10, 15].any()
    assert front[4, 10].tolist() == back[4, 10].tolist() == [0, 0, 1, 1]
    assert right[10, 10].tolist() == [1, 0, 0, 1]
    assert top[10, 15].tolist() == [1, 0, 0, 1]


def test_a_face_through_the_near_plane_is_kept() -> None:
    """A camera that stands on a large floor sees it up to the horizon, at the depth that geometry says."""
    floor = mesh_of([(-50, -50, 0), (50, -50, 0), (0, 100, 0)], [(0, 1, 2)])
    eye = Camera((1, 0, 0, 0, 0, 0, -1, 0, 0, 1, 0, 0.3, 0, 0, 0, 1), fov_deg=90)
    depth = render(floor, [eye], 64).depth[0]
    _, direction = rays(eye, 64)
    expected = np.full((64, 64), np.inf)
    expected[32:] = 0.3 / -direction[32:, :, 2]
    near = expected < 30
    assert np.isfinite(depth[near]).all() and np.isinf(depth[:32]).all()
    np.testing.assert_allclose(depth[near], expected[near], rtol=1e-5)


def test_of_coplanar_faces_the_lowest_id_wins() -> None:
    red, green = (Material(base_color=c, name=n) for n, c in (("r", (1, 0, 0, 1)), ("g", (0, 1, 0, 1))))
    for first, second in ((red, green), (green, red)):
        # Other corners, same plane: depths differ in their last bits only.
        mesh = merge([quad(0.1, 0.45, first), quad(0.1, 0.31, second)])
        for camera in (FRONT, ORTHO, LENS):
            rgba = render(mesh, [camera], 32).rgba[0]
            seen = rgba[rgba[..., 3] > 0]
            assert len(seen) and (seen[:, :3] == first.base_color[:3]).all()


def test_depth_does_not_depend_on_supersampling() -> None:
    glass = Material(base_color=(1, 1, 1, 0.3), alpha_mode="BLEND")
    for mesh in (soup(2), merge([soup(2), cube(0.4, material=glass)])):
        views = [render(mesh, [LENS], 32, samples=n) for n in (1, 2, 3)]
        for other in views[1:]:
            np.testing.assert_array_equal(views[0].depth, other.depth)
            np.testing.assert_array_equal(views[0].normal, other.normal)
            np.testing.assert_array_equal(views[0].position, other.position)


def test_the_same_bits_each_time_and_in_every_thread() -> None:
    glass = Material(base_color=(0.2, 0.9, 0.3, 0.3), alpha_mode="BLEND")
    mesh = merge([soup(4), cube(0.4, material=glass), sphere(0.2, 8)])
    first = render(mesh, [ORTHO, LENS], 32, shading="studio")
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda _: render(mesh, [ORTHO, LENS], 32, shading="studio"), range(8)))
    assert all(same(first, views) for views in again)


def test_a_mesh_outside_the_frame_or_behind_the_camera_is_not_seen() -> None:
    away = cube(0.2, (0, 5, 0))
    assert np.isinf(render(away, [orbit(180, 0, 1.9, fov_deg=35)], 8).depth).all()
    assert np.isinf(render(cube(0.2, (3, 0, 0)), [FRONT], 8).depth).all()
    # An orthographic camera has no place, only a direction: what lies behind it has a negative depth.
    assert render(cube(0.2, (0, -5, 0)), [FRONT], 8).depth.min() == pytest.approx(-4.1, abs=1e-5)


@pytest.mark.parametrize("arguments", [{"size": 0}, {"samples": 0}, {"shading": "phong"}])
def test_wrong_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError):
        render(cube(1), [FRONT], **{"size": 8, **arguments})


def test_tiles_hold_what_their_cells_say() -> None:
    mesh = cube(0.5, material=Material(base_color=(1, 0, 0, 1)))
    camera = orbit(90, 0, 1, ortho_scale=1)
    cells = (
        View("reference"),
        View("rgb", camera),
        View("depth", camera),
        View("normal", camera),
        View("position", camera),
        View("reference_alpha"),
        View("empty"),
        View("rgb", FRONT),
    )
    grid = ViewGrid("all", cells, columns=4, tile=16, background=(0.5, 0.25, 1.0))
    tiles = render_tiles(mesh, grid)
    reference, rgb, depth, normal, position, alpha, empty, front = tiles
    assert tiles.shape == (8, 16, 16, 3) and tiles.dtype == np.float32
    assert (reference == (0.5, 0.25, 1)).all() and not alpha.any() and not empty.any()
    assert (rgb[0, 0] == (0.5, 0.25, 1)).all() and (rgb[8, 8] == (1, 0, 0)).all()
    np.testing.assert_array_equal(rgb, front)
    assert decode_depth(grid, depth[8, 8, 0]) == pytest.approx(0.75, abs=1e-5) and not depth[0, 0].any()
    np.testing.assert_allclose(normal[8, 8], (0.5, 0.5, 1), atol=1e-6)
    np.testing.assert_allclose(position[8, 8], (0.75, 0.5, 0.5), atol=1 / 16)
    assert not normal[0, 0].any() and not position[0, 0].any()


def test_normals_in_the_objects_frame_are_one_colour_a_point_from_wherever_it_is_seen() -> None:
    """A ball about the origin: n = p / r in the object's frame, whichever camera draws the cell."""
    cameras = [
        orbit(azimuth, elevation, 1, ortho_scale=1) for azimuth, elevation in ((0, 0), (70, 40), (90, 90))
    ]
    cells = tuple(View(channel, c) for c in cameras for channel in ("normal", "position"))
    tiles = render_tiles(
        sphere(0.4, rings=96), ViewGrid("object", cells, columns=2, tile=32, normal_frame="world")
    )
    for normal, position in zip(tiles[::2], tiles[1::2], strict=True):
        hit = position.any(axis=-1)
        assert hit.sum() > 300 and not normal[~hit].any()
        np.testing.assert_allclose(2 * normal[hit] - 1, (position[hit] - 0.5) / 0.4, atol=0.02)
    # A cube's right side (+X) is red and its top blue from there, though both face their cameras.
    right, top = orbit(90, 0, 1, ortho_scale=1), orbit(0, 90, 1, ortho_scale=1)
    sides = ViewGrid(
        "sides", (View("normal", right), View("normal", top)), columns=2, tile=16, normal_frame="world"
    )
    seen = render_tiles(cube(0.5), sides)[:, 8, 8]
    np.testing.assert_allclose(seen, [(1, 0.5, 0.5), (0.5, 0.5, 1)], atol=1e-6)


def test_tiles_stay_in_range_on_every_preset() -> None:
    mesh = normalise(cube(1, material=Material(base_color=(0.2, 0.5, 0.1, 1))))
    for grid in PRESETS.values():
        tiles = render_tiles(mesh, grid.with_tile(16))
        assert np.isfinite(tiles).all() and tiles.min() >= 0 and tiles.max() <= 1
        drawn = [i for i, cell in enumerate(grid.cells) if cell.camera is not None]
        assert all(np.ptp(tiles[i]) > 0 for i in drawn)


@pytest.mark.skipif(not ART.is_dir(), reason="the shared art packs are not here")
@pytest.mark.parametrize("file", ["quaternius_space/Rover_1.glb", "kenney_furniture/glb/kitchenFridge.glb"])
def test_real_models_fill_their_frame(file: str) -> None:
    mesh = normalise(load_mesh(ART / file))
    views = render(mesh, PRESETS["box6"].cameras(), 64, shading="studio")
    covered = np.isfinite(views.depth)
    assert (covered.mean((1, 2)) > 0.05).all()
    assert np.abs(views.position[covered]).max() <= 0.5 + 1e-5
    assert np.linalg.norm(views.position[covered], axis=1).max() <= 0.5 + 1e-5
    # Opposite orthographic sides have mirrored outlines.
    np.testing.assert_allclose(views.rgba[0, ..., 3], views.rgba[2, :, ::-1, 3], atol=0.51)
    assert np.abs(views.rgba[0, ..., 3] - views.rgba[2, :, ::-1, 3]).mean() < 1e-3


@pytest.mark.parametrize("glass", [False, True])
def test_more_triangles_than_a_cache_holds_show_the_same_surface(glass: bool) -> None:
    whole = cube(0.5)
    vertices, faces = whole.vertices, whole.faces
    for _ in range(6):
        vertices, faces = trimesh.remesh.subdivide(vertices, faces)
    fine = replace(
        whole,
        vertices=np.asarray(vertices, np.float32),
        faces=np.asarray(faces, np.int32),
        face_material=np.zeros(len(faces), np.int32),
    )
    assert len(fine.faces) / 2 > shading.CACHED
    # A small pane: most rows see none of it, and what is solid alone.
    pane = quad(-0.4, 0.1, Material(base_color=(1, 0, 0, 0.5), alpha_mode="BLEND"), corner_uv=None)
    coarse, many = (
        render(merge([mesh, pane]) if glass else mesh, [orbit(30, 20, 1.9, fov_deg=30)], 64, shading="studio")
        for mesh in (whole, fine)
    )
    for name in ("rgba", "normal", "position"):
        np.testing.assert_allclose(getattr(many, name), getattr(coarse, name), atol=2e-5)
    hit = np.isfinite(coarse.depth)
    assert np.array_equal(hit, np.isfinite(many.depth))
    np.testing.assert_allclose(many.depth[hit], coarse.depth[hit], atol=1e-5)
