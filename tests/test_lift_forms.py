"""Voxels, splats and reliefs: volumes, axes and colours are those of the object, and files are read back."""

from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
import pytest

from lora3d.camera import project
from lora3d.errors import InputError
from lora3d.grid import PRESETS, decode_depth
from lora3d.lift import lift
from lora3d.lift.relief import relief
from lora3d.lift.splats import FIELDS, SH_0, splat, splat_bytes
from lora3d.lift.surface import is_closed, volume
from lora3d.lift.voxels import Voxels, cubes, lift_voxels, npz_bytes, vox_bytes
from lora3d.mesh import Material, Mesh, face_normals
from lora3d.render import render, render_tiles
from tests.conftest import make_box

GRID = PRESETS["box6"]
COLOURS = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1)]


def painted_box(size: tuple[float, float, float]) -> Mesh:
    """Sides −x, +x, −y, +y, −z, +z in `COLOURS`."""
    return replace(
        make_box(size),
        face_material=np.repeat(np.arange(6), 2).astype(np.int32),
        materials=tuple(Material(base_color=(*c, 1.0)) for c in COLOURS),
    )


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    return render_tiles(painted_box((1.0, 0.6, 0.8)), GRID)


@pytest.fixture(scope="module")
def voxels(tiles) -> Voxels:
    return lift_voxels(tiles, GRID, 24)


def test_voxels_hold_the_solids_volume_and_its_colours(voxels):
    truth = painted_box((1.0, 0.6, 0.8))
    measured = voxels.occupied.sum() * voxels.pitch**3
    assert measured == pytest.approx(volume(truth.vertices, truth.faces), rel=0.12)
    at = np.argwhere(voxels.occupied)
    middle = (at.min(0) + at.max(0)) // 2
    for axis in range(3):
        for end, side in ((at.min(0), 2 * axis), (at.max(0), 2 * axis + 1)):
            cell = middle.copy()
            cell[axis] = end[axis]
            assert np.abs(voxels.colour[tuple(cell)] / 255 - COLOURS[side]).max() < 0.05
    assert not voxels.colour[~voxels.occupied].any()


def test_cubes_enclose_just_the_voxels(voxels):
    mesh = cubes(voxels)
    assert is_closed(mesh.faces)
    expected = voxels.occupied.sum() * voxels.pitch**3
    assert volume(mesh.vertices, mesh.faces) == pytest.approx(expected, rel=1e-5)
    again = render_tiles(mesh, GRID)
    for i in GRID.indices("rgb"):
        want = render_tiles(painted_box((1.0, 0.6, 0.8)), GRID)[i][32, 32]
        assert np.abs(again[i][32, 32] - want).max() < 0.05


def test_a_vox_file_says_the_same(voxels):
    data = vox_bytes(voxels)
    assert data[:4] == b"VOX " and struct.unpack_from("<i", data, 4) == (150,)
    assert struct.unpack_from("<2i", data, 12) == (0, len(data) - 20)
    chunks, at = {}, 20
    while at < len(data):
        name, (size, children) = data[at : at + 4], struct.unpack_from("<2i", data, at + 4)
        assert children == 0
        chunks[name], at = data[at + 12 : at + 12 + size], at + 12 + size
    assert struct.unpack("<3i", chunks[b"SIZE"]) == voxels.occupied.shape
    cells = np.frombuffer(chunks[b"XYZI"], np.uint8, offset=4).reshape(-1, 4)
    palette = np.frombuffer(chunks[b"RGBA"], np.uint8).reshape(256, 4)
    occupied = np.zeros_like(voxels.occupied)
    occupied[tuple(cells[:, :3].T)] = True
    assert np.array_equal(occupied, voxels.occupied) and cells[:, 3].min() >= 1
    # Colour i of a cell is entry i − 1 of the palette.
    off = palette[cells[:, 3].astype(int) - 1, :3].astype(int) - voxels.colour[tuple(cells[:, :3].T)]
    assert np.abs(off).mean() < 3


def test_an_archive_is_read_without_pickle(voxels):
    with np.load(io.BytesIO(npz_bytes(voxels)), allow_pickle=False) as archive:
        assert np.array_equal(archive["occupied"], voxels.occupied)
        assert np.array_equal(archive["colour"], voxels.colour) and archive["pitch"] == voxels.pitch


def test_many_colours_are_reduced_and_stay_near():
    rng = np.random.default_rng(0)
    full = Voxels(np.ones((8, 8, 8), bool), rng.integers(0, 256, (8, 8, 8, 3)).astype(np.uint8), 0.1)
    data = vox_bytes(full)
    cells = np.frombuffer(data, np.uint8, 4 * 512, data.index(b"XYZI") + 16).reshape(-1, 4)
    palette = np.frombuffer(data, np.uint8, 1024, data.index(b"RGBA") + 12).reshape(256, 4)
    off = palette[cells[:, 3].astype(int) - 1, :3].astype(int) - full.colour[tuple(cells[:, :3].T)]
    assert np.sqrt((off**2).mean()) < 32


def test_voxels_too_coarse_or_too_many_are_refused(tiles):
    with pytest.raises(InputError, match="4 to 128"):
        lift_voxels(tiles, GRID, 500)
    plate = render_tiles(make_box((1.0, 0.01, 1.0)), GRID)
    with pytest.raises(InputError, match="too thin"):
        lift_voxels(plate, GRID, 8)


def test_splats_lie_flat_on_the_surface(tiles):
    mesh = lift(tiles, GRID, texture=128)
    splats = splat(mesh, 2000)
    w, x, y, z = splats.rotation.T
    turned = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1)
    assert np.allclose(turned, splats.normal, atol=1e-3)
    top = splats.normal[:, 2] > 0.99
    assert top.any() and np.abs(splats.colour[top] - COLOURS[5]).mean() < 0.05
    corners = mesh.vertices[mesh.faces]
    area = (
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
        / 2
    )
    assert len(splats.scale) * np.pi * splats.scale[0, 0] ** 2 == pytest.approx(area, rel=1e-4)


def test_a_splat_file_holds_its_columns(tiles):
    splats = splat(lift(tiles, GRID, texture=64), 500)
    head, _, body = splat_bytes(splats).partition(b"end_header\n")
    names = [line.split()[-1] for line in head.decode().splitlines() if line.startswith("property")]
    rows = np.frombuffer(body, "<f4").reshape(-1, len(FIELDS))
    assert tuple(names) == FIELDS and f"vertex {len(rows)}" in head.decode()
    columns = dict(zip(names, rows.T, strict=True))
    assert np.allclose(columns["f_dc_1"] * SH_0 + 0.5, splats.colour[:, 1], atol=1e-6)
    assert np.allclose(1 / (1 + np.exp(-columns["opacity"])), splats.opacity)
    assert np.allclose(np.exp(columns["scale_2"]), splats.scale[:, 2])


@pytest.mark.parametrize("view", [0, 1, 4])
def test_a_relief_is_the_view_again(tiles, view):
    camera = GRID.cameras("rgb")[view]
    mesh = relief(tiles, GRID, view)
    at, depth = project(camera, mesh.vertices)
    at = at * GRID.tile - 0.5
    pixels = np.round(at).astype(int)
    assert np.abs(at - pixels).max() < 1e-3
    shown = decode_depth(GRID, tiles[GRID.indices("depth")[view]].mean(axis=-1))
    assert np.abs(shown[pixels[:, 1], pixels[:, 0]] - depth).max() < 1e-4
    toward = face_normals(mesh) @ camera.matrix[:3, 2]
    assert (toward > 0).all()
    rgba = render(mesh, [camera], GRID.tile).rgba[0]
    inside = rgba[..., 3] > 0.99
    true = tiles[GRID.indices("rgb")[view]]
    assert inside.any() and np.abs(rgba[..., :3] - true)[inside].mean() < 0.02


def test_a_relief_is_cut_between_near_and_far():
    parts = (make_box((0.3, 0.3, 0.3)), make_box((1.0, 0.02, 1.0)))
    shifts = (np.float32([0, -0.2, 0]), np.float32([0, 0.3, 0]))
    both = Mesh(
        np.concatenate([0.5 * p.vertices + s for p, s in zip(parts, shifts, strict=True)]),
        np.concatenate([parts[0].faces, parts[1].faces + len(parts[0].vertices)]).astype(np.int32),
        np.zeros(24, np.int32),
        parts[0].materials[:1],
    )
    mesh = relief(render_tiles(both, GRID), GRID, 0)
    corners = mesh.vertices[mesh.faces][..., 1]
    assert np.ptp(corners, axis=1).max() < 0.1  # no face bridges the gap of 0.3 and more
    with pytest.raises(InputError, match="6 views"):
        relief(render_tiles(both, GRID), GRID, 6)
