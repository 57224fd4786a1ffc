"""Meshes: laws of the operations, and the readers of OBJ, PLY, STL and OFF."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora3d.camera import orbit, project
from lora3d.mesh import (
    Material,
    MeshError,
    face_normals,
    merge,
    normalise,
    srgb_to_linear,
    tidy,
    turn,
    unique_rows,
)
from lora3d.polygons import triangulate
from tests.toy_meshes import box, volume

# -- the type and its operations ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"faces": np.zeros((0, 3), np.int32), "face_material": np.zeros(0, np.int32)}, "no faces"),
        ({"faces": np.full((12, 3), 8, np.int32)}, "face 0 names vertex 8 of 8"),
        ({"face_material": np.full(12, 1, np.int32)}, "face 0 names material 1 of 1"),
        ({"vertices": np.full((8, 3), np.inf, np.float32)}, "vertex 0 is not a finite point"),
        ({"corner_uv": np.zeros((11, 3, 2), np.float32)}, "corner_uv of shape"),
    ],
)
def test_a_mesh_that_contradicts_itself_is_refused(fields, reason):
    with pytest.raises(MeshError, match=reason):
        box(**fields)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_normalise_centres_the_box_and_puts_the_farthest_vertex_at_half(seed):
    rng = np.random.default_rng(seed)
    mesh = box(vertices=rng.normal(rng.normal(size=3) * 10, 3, (8, 3)).astype(np.float32))
    out = normalise(mesh)
    assert np.allclose(out.vertices.min(axis=0), -out.vertices.max(axis=0), atol=1e-6)
    assert np.linalg.norm(out.vertices, axis=1).max() == pytest.approx(0.5, abs=1e-6)
    again = normalise(out)
    assert np.allclose(again.vertices, out.vertices, atol=1e-6)


def test_normalise_ignores_vertices_that_no_face_uses():
    mesh = box()
    stray = replace(mesh, vertices=np.concatenate([mesh.vertices, [[99, 0, 0]]]).astype(np.float32))
    assert np.array_equal(normalise(stray).vertices[:8], normalise(mesh).vertices)


def test_a_model_without_extent_cannot_be_normalised():
    with pytest.raises(MeshError, match="one point"):
        normalise(box(vertices=np.ones((8, 3), np.float32)))


@given(st.floats(-720, 720), st.floats(-80, 80))
@settings(max_examples=30, deadline=None)
def test_what_is_seen_from_an_azimuth_comes_to_the_front(azimuth, elevation):
    mesh = normalise(box(vertices=np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)))
    before, _ = project(orbit(azimuth, elevation, 2, fov_deg=40), mesh.vertices)
    after, _ = project(orbit(0, elevation, 2, fov_deg=40), turn(mesh, azimuth).vertices)
    assert np.allclose(before, after, atol=1e-6)


def test_turning_turns_the_normals_too():
    mesh = box()
    mesh = replace(mesh, corner_normal=np.repeat(face_normals(mesh)[:, None], 3, axis=1))
    turned = turn(mesh, 33)
    assert np.allclose(turned.corner_normal[:, 0], face_normals(turned), atol=1e-6)


def test_merge_keeps_every_part_and_fills_what_only_some_have():
    red = box(materials=(Material("red", base_color=(1, 0, 0, 1)),))
    uv = np.random.default_rng(0).random((12, 3, 2)).astype(np.float32)
    other = box(corner_uv=uv, corner_color=np.full((12, 3, 4), 0.5, np.float32), notes=("odd",))
    other = replace(other, vertices=other.vertices + 3)
    both = merge([red, other])
    assert len(both.faces) == 24 and volume(both) == pytest.approx(2)
    assert [both.materials[i].name for i in both.face_material[[0, 23]]] == ["red", ""]
    assert np.array_equal(both.corner_uv[12:], uv) and (both.corner_uv[:12] == 0).all()
    assert (both.corner_color[:12] == 1).all() and both.corner_normal is None and both.notes == ("odd",)


@given(st.lists(st.tuples(st.integers(-2, 2), st.sampled_from([-0.0, 0.0, 0.1])), min_size=1, max_size=40))
@settings(deadline=None)
def test_unique_rows_finds_equal_rows_in_order_of_appearance(rows):
    table = np.array(rows, np.float32)
    first, which = unique_rows(table)
    assert np.array_equal(table[first][which], table)
    assert len(first) == len(np.unique(table + 0, axis=0)) and (np.diff(first) > 0).all()


def test_tidy_welds_and_drops_repeated_faces_but_keeps_backs_and_other_materials():
    soup = box()
    split = replace(
        soup,
        vertices=soup.vertices[soup.faces].reshape(-1, 3),
        faces=np.arange(36, dtype=np.int32).reshape(12, 3),
    )
    assert len(tidy(split).vertices) == 8
    rolled = replace(soup, faces=np.roll(soup.faces, 1, axis=1))
    same = replace(merge([soup, rolled]), face_material=np.zeros(24, np.int32))
    assert len(tidy(same).faces) == 12
    other = replace(rolled, materials=(Material("decal"),))
    assert len(tidy(merge([soup, other])).faces) == 24
    assert len(tidy(merge([soup, replace(soup, faces=soup.faces[:, ::-1])])).faces) == 24


def test_tidy_replaces_colours_and_coordinates_that_are_no_numbers():
    bad = np.full((12, 3, 4), 0.5, np.float32)
    bad[3, 1, 2] = np.nan
    uv = np.zeros((12, 3, 2), np.float32)
    uv[0, 0, 0] = np.inf
    mesh = tidy(box(corner_color=bad, corner_uv=uv))
    assert np.isfinite(mesh.corner_color).all() and np.isfinite(mesh.corner_uv).all()
    assert len(mesh.notes) == 2


def test_srgb_closed_form():
    assert srgb_to_linear(np.array([0, 0.04045, 1.0])) == pytest.approx([0, 0.0031308, 1], abs=1e-7)
    assert srgb_to_linear(np.array(0.5)) == pytest.approx(0.21404114)


@given(st.integers(5, 24), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_triangles_of_a_star_shaped_polygon_have_its_area_and_side(n, seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.choice(360, n, replace=False)) * np.pi / 180
    if np.diff(angle, append=angle[0] + 2 * np.pi).max() > 3:
        return  # its centre would lie outside
    flat = rng.uniform(0.2, 1, (n, 1)) * np.stack([np.cos(angle), np.sin(angle)], 1)
    frame = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    points = flat @ frame[:2]
    corners, source = triangulate(points, np.array([0, n]), np.arange(n))
    a, b, c = (points[corners[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    area = np.cross(points, np.roll(points, -1, axis=0)).sum(axis=0)
    assert np.allclose(normals.sum(axis=0), area, atol=1e-9)
    assert np.linalg.norm(normals, axis=1).sum() == pytest.approx(np.linalg.norm(area), abs=1e-9)
    assert (source == 0).all()


def test_a_dented_quad_is_cut_along_the_diagonal_inside():
    points = np.array([[0, 0, 0], [1, 0, 0], [0.1, 0.1, 0], [0, 1, 0]])
    for shift in range(4):
        index = np.roll(np.arange(4), shift)
        corners, _ = triangulate(points, np.array([0, 4]), index)
        a, b, c = (points[index[corners[:, i]]] for i in range(3))
        assert (np.cross(b - a, c - a)[:, 2] > 0).all()
