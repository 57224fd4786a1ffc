"""Meshes: laws of the operations, and the readers of OBJ, PLY, STL and OFF."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lora3d.camera import orbit, project
from lora3d.mesh import (
    GREY,
    Material,
    Mesh,
    MeshError,
    face_normals,
    load_mesh,
    merge,
    normalise,
    srgb_to_linear,
    tidy,
    turn,
    unique_rows,
)
from lora3d.polygons import triangulate

CUBE = """
v -1 -1 -1\nv 1 -1 -1\nv 1 1 -1\nv -1 1 -1\nv -1 -1 1\nv 1 -1 1\nv 1 1 1\nv -1 1 1
f 4 3 2 1\nf 5 6 7 8\nf 1 2 6 5\nf 2 3 7 6\nf 3 4 8 7\nf 4 1 5 8
"""


def box(**fields) -> Mesh:
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], np.float32)
    quads = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]]
    faces = np.array([[q[i] for i in t] for q in quads for t in ((0, 1, 2), (0, 2, 3))], np.int32)
    return replace(Mesh(corners, faces, np.zeros(12, np.int32), (Material(),)), **fields)


def volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(float) for i in range(3))
    return float((np.cross(a, b) * c).sum() / 6)


def write(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


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


# -- OBJ ----------------------------------------------------------------------------------------------


def test_obj_is_y_up_with_its_front_toward_minus_y(tmp_path):
    mesh = load_mesh(write(tmp_path, "a.obj", "v 0 0 1\nv 0 2 1\nv 3 0 1\nf 1 3 2\n"))
    assert sorted(map(tuple, mesh.vertices.tolist())) == [(0, -1, 0), (0, -1, 2), (3, -1, 0)]
    assert np.allclose(face_normals(mesh), [[0, -1, 0]])


def test_obj_cube_in_every_encoding_and_notation(tmp_path):
    negative = CUBE.replace("f 4 3 2 1", "f -5 -6 -7 -8")
    texts = [CUBE.encode(e) for e in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le")]
    texts += [negative.encode(), CUBE.replace("\n", "\r\n").encode(), CUBE.replace("f 4", "f \\\n4").encode()]
    texts += [CUBE.encode() + "# caf\xe9".encode("latin-1")]
    for i, text in enumerate(texts):
        mesh = load_mesh(write(tmp_path, f"{i}.obj", text))
        assert volume(mesh) == pytest.approx(8) and len(mesh.faces) == 12 and len(mesh.vertices) == 8
        assert mesh.materials[0].base_color == GREY and mesh.corner_normal is None


def test_obj_vertex_colours_are_srgb(tmp_path):
    text = "v 0 0 0 1 0.5 0\nv 1 0 0 1 0.5 0\nv 0 1 0 1 0.5 0\nf 1 2 3\n"
    mesh = load_mesh(write(tmp_path, "a.obj", text))
    assert (
        np.allclose(mesh.corner_color[..., :3], [1, 0.21404114, 0]) and mesh.materials[0].base_color[0] == 1
    )


TEXTURED = "mtllib {lib}\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl my paint\nf 1/1 2/2 3/3\n"


@pytest.mark.parametrize(
    ("statement", "file"),
    [
        ("map_Kd my image.png", "my image.png"),
        ("map_Kd sub\\image.png", "sub/image.png"),
        ("map_Kd C:\\artist\\sub\\image.png", "image.png"),
        ("map_Kd -clamp on -bm 0.5 my image.png", "my image.png"),
        ("\tmap_Kd -blendu on -texres 512 a.png", "a.png"),
    ],
)
def test_obj_finds_its_texture(tmp_path, statement, file):
    (tmp_path / "sub").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / file)
    write(tmp_path, "two words.mtl", f"newmtl my paint\nKd 0 0 0\n{statement}\n")
    mesh = load_mesh(write(tmp_path, "a.obj", TEXTURED.format(lib="two words.mtl")))
    material = mesh.materials[0]
    assert mesh.notes == () and material.name == "my paint" and material.base_color == (1, 1, 1, 1)
    assert np.array_equal(material.texture[..., :3], pixels) and (material.texture[..., 3] == 255).all()
    assert material.wrap == (("clamp", "clamp") if "-clamp" in statement else ("repeat", "repeat"))
    assert sorted(map(tuple, mesh.corner_uv[0].tolist())) == [(0, 0), (0, 1), (1, 1)]


def test_obj_texture_options_scale_and_move(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    write(tmp_path, "a.mtl", "newmtl my paint\nmap_Kd -o 0.5 0.25 -s 2 3 1 a.png\n")
    mesh = load_mesh(write(tmp_path, "a.obj", TEXTURED.format(lib="a.mtl")))
    assert np.allclose(mesh.corner_uv[0], [[0.5, 0.75], [2.5, 0.75], [0.5, -2.25]])


def test_obj_keeps_its_colour_where_a_texture_cannot_be_had(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    Image.new("RGB", (2, 2)).save(tmp_path / "secret.png")
    write(folder, "broken.png", b"\x89PNG\r\n\x1a\n no image")
    for name in (
        "none.png",
        "../secret.png",
        str(tmp_path / "secret.png"),
        "http://x/secret.png",
        "broken.png",
    ):
        write(folder, "a.mtl", f"newmtl my paint\nKd 0.5 0.5 0.5\nmap_Kd {name}\n")
        mesh = load_mesh(write(folder, "a.obj", TEXTURED.format(lib="a.mtl")))
        assert mesh.materials[0].texture is None and len(mesh.notes) == 1
        assert mesh.materials[0].base_color == pytest.approx((*[0.21404114] * 3, 1))
    assert load_mesh(folder / "a.obj", root=tmp_path).materials[0].texture is None
    write(folder, "a.mtl", "newmtl my paint\nmap_Kd ../secret.png\n")
    assert load_mesh(folder / "a.obj", root=tmp_path).materials[0].texture is not None


def test_obj_without_its_mtl_is_grey_and_says_so(tmp_path):
    mesh = load_mesh(write(tmp_path, "a.obj", TEXTURED.format(lib="gone.mtl")))
    assert mesh.materials[0].base_color == GREY and mesh.materials[0].texture is None
    assert any("gone.mtl" in note for note in mesh.notes) and any("my paint" in note for note in mesh.notes)


def test_obj_materials_share_one_texture(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    write(
        tmp_path,
        "a.mtl",
        "newmtl my paint\nmap_Kd a.png\nnewmtl other\nmap_Kd ./a.png\nnewmtl unused\nmap_Kd b.png",
    )
    text = TEXTURED.format(lib="a.mtl") + "usemtl other\nf 3/1 2/2 1/3\n"
    one, two = load_mesh(write(tmp_path, "a.obj", text)).materials
    assert one.name != two.name and one.texture is two.texture


def test_an_image_bomb_is_not_unpacked(tmp_path):
    Image.new("1", (12000, 12000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 100_000
    write(tmp_path, "a.mtl", "newmtl my paint\nmap_Kd a.png\n")
    mesh = load_mesh(write(tmp_path, "a.obj", TEXTURED.format(lib="a.mtl")))
    assert mesh.materials[0].texture is None and "too many" in mesh.notes[0]


def test_obj_opacity(tmp_path):
    for statement, alpha in (("d 0.25", 0.25), ("Tr 0.75", 0.25), ("Tr 1", 1), ("d 0", 1), ("d x", 1)):
        write(tmp_path, "a.mtl", f"newmtl my paint\n{statement}\n")
        material = load_mesh(write(tmp_path, "a.obj", TEXTURED.format(lib="a.mtl"))).materials[0]
        assert material.base_color[3] == alpha
        assert material.alpha_mode == ("BLEND" if alpha < 1 else "OPAQUE")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "face in line 4 names vertex 9 of 3"),
        ("v 0 0 0\nf 1 2 -9\n", "line 2 .* entry -9 of 1"),
        ("v 0 0 0\nf 0 1 1\n", "line 2 .* entry 0 of 1"),
        ("v 0 0 zero\n", "line 1 cannot be read"),
        ("v 0 0\n", "line 1 .* fewer than 3"),
        ("v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "vertex 1 is not a finite point"),
        ("v 1e300 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not a finite point"),
        ("v 0 0 0\nv 1 0 0\n", "no faces"),
        ("v 0 0 0\nf 1 1 99999999999999999999\n", "beyond all bounds"),
        ("", "empty"),
    ],
)
def test_obj_refusals_name_the_fault(tmp_path, text, reason):
    with pytest.raises(MeshError, match="a.obj: .*" + reason):
        load_mesh(write(tmp_path, "a.obj", text))


# -- PLY, STL, OFF ------------------------------------------------------------------------------------


def ply(form: str, *, mixed: bool = False, color: bool = True) -> bytes:
    """A square pyramid: four triangles, and its base as one quad or two triangles."""
    points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 0.5, 1)]
    faces = [(0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)] + (
        [(3, 2, 1, 0)] if mixed else [(3, 2, 1), (3, 1, 0)]
    )
    head = f"ply\nformat {form} 1.0\ncomment made by hand\nelement vertex 5\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += "".join(f"property uchar {c}\n" for c in ("red", "green", "blue")) if color else ""
    head += f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    rgb = (255, 188, 0) if color else ()
    if form == "ascii":
        rows = [" ".join(map(str, (*p, *rgb))) for p in points] + [
            " ".join(map(str, (len(f), *f))) for f in faces
        ]
        return (head + "\n".join(rows) + "\n").encode()
    order = "<" if form.endswith("little_endian") else ">"
    body = b"".join(struct.pack(order + "3f", *p) + bytes(rgb) for p in points)
    body += b"".join(struct.pack(f"{order}B{len(f)}i", len(f), *f) for f in faces)
    return head.encode() + body


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_ply_of_every_form(tmp_path, form, mixed):
    mesh = load_mesh(write(tmp_path, "a.ply", ply(form, mixed=mixed)))
    assert len(mesh.vertices) == 5 and len(mesh.faces) == 6 and volume(mesh) == pytest.approx(1 / 3)
    assert np.allclose(mesh.corner_color, [1, srgb_to_linear(np.array(188 / 255)), 0, 1])
    assert load_mesh(write(tmp_path, "b.ply", ply(form, color=False))).materials[0].base_color == GREY


def test_ply_refusals(tmp_path):
    whole = ply("binary_little_endian")
    for data, reason in (
        (whole[:-9], "promises 6 of element 'face'"),
        (whole.replace(b"vertex 5", b"vertex 5000000000000"), "promises 5000000000000"),
        (whole.replace(b"element face 6", b"element face 0"), "no faces"),
        (whole.replace(b"float x", b"floot x"), "cannot be read"),
        (whole[:50], "no end"),
        (b"plain text", "expected a PLY file|no end"),
        (ply("ascii").replace(b"3 3 1 0", b"3 3 1 5"), "face 5 names vertex 5 of 5"),
        (ply("ascii").replace(b"0.5 0.5 1", b"0.5 nan 1"), "vertex 4 is not a finite point"),
        (ply("ascii").replace(b"0.5 0.5 1", b"0.5 half 1"), "should be numbers"),
    ):
        with pytest.raises(MeshError, match=reason):
            load_mesh(write(tmp_path, "a.ply", data))


def stl_binary(triangles: np.ndarray, head: bytes = b"solid but binary") -> bytes:
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *t.ravel(), 0) for t in triangles)
    return head.ljust(80, b"\0") + struct.pack("<I", len(triangles)) + body


def test_stl_ascii_and_binary_agree(tmp_path):
    triangles = box().vertices[box().faces]
    facets = "".join(
        "facet normal 0 0 0\nouter loop\n"
        + "".join("vertex {} {} {}\n".format(*p) for p in t)
        + "endloop\nendfacet\n"
        for t in triangles
    )
    text = (
        f"solid one\n{facets[: len(facets) // 2]}endsolid\nsolid two\n{facets[len(facets) // 2 :]}endsolid\n"
    )
    for data in (
        stl_binary(triangles),
        stl_binary(triangles) + b"trailing",
        text.encode(),
        text.upper().encode(),
    ):
        mesh = load_mesh(write(tmp_path, "a.STL", data))
        assert np.array_equal(mesh.vertices[mesh.faces], triangles) and len(mesh.vertices) == 8
        assert mesh.materials[0].base_color == GREY
    for data, reason in (
        (stl_binary(triangles, b"binary")[:-20], "12 triangles promised, room for 11"),
        (b"solid a\nfacet\nouter loop\nvertex 0 0 0\nvertex 1 0 x\nvertex 1 1 1\n", "should be numbers"),
        (b"solid a\nvertex 0 0 0\n", "cut off"),
        (b"solid nothing\nendsolid\n", "no faces"),
    ):
        with pytest.raises(MeshError, match=reason):
            load_mesh(write(tmp_path, "a.stl", data))


def test_off_with_and_without_colours(tmp_path):
    body = "4 4 6\n0 0 0{c}\n1 0 0{c}\n0 1 0{c}\n0 0 1{c}\n3 0 2 1{f}\n3 0 1 3{f}\n3 1 2 3{f}\n3 2 0 3{f}\n"
    plain = load_mesh(write(tmp_path, "a.off", "OFF # a comment\n" + body.format(c="", f="")))
    assert volume(plain) == pytest.approx(1 / 6) and plain.materials[0].base_color == GREY
    for head, c, f in (("COFF\n", " 255 0 0", ""), ("OFF ", "", " 1.0 0 0 1"), ("OFF\n", "", " 255 0 0")):
        mesh = load_mesh(write(tmp_path, "a.off", head + body.format(c=c, f=f)))
        assert np.allclose(mesh.corner_color, [1, 0, 0, 1]) and volume(mesh) == pytest.approx(1 / 6)
    for text, reason in (
        ("OFF\n353535235358 6 0\n0 0 0\n", "promises 353535235358 vertices"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2\n", "promises 4 corners, found 3"),
        ("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n", "face 0 names vertex 3 of 3"),
        ("ply\n", "expected an ASCII OFF"),
        ("OFF\n", "expected the counts"),
    ):
        with pytest.raises(MeshError, match=reason):
            load_mesh(write(tmp_path, "a.off", text))


def test_other_files_are_refused_with_advice(tmp_path):
    with pytest.raises(MeshError, match=r"a\.zip: it is an archive: unpack it first"):
        load_mesh(write(tmp_path, "a.zip", b"PK"))
    with pytest.raises(MeshError, match="export the model as"):
        load_mesh(write(tmp_path, "a.dae", b"<xml/>"))
    with pytest.raises(MeshError, match="no file"):
        load_mesh(tmp_path / "none.glb")
    with pytest.raises(MeshError, match="no file"):
        load_mesh(tmp_path)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_load_or_are_refused(tmp_path_factory, data):
    triangles = box().vertices[box().faces]
    whole, name = data.draw(
        st.sampled_from(
            [
                (CUBE.encode(), "a.obj"),
                (ply("ascii", mixed=True), "a.ply"),
                (ply("binary_little_endian", mixed=True), "a.ply"),
                (stl_binary(triangles, b"x"), "a.stl"),
                (b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "a.off"),
            ]
        )
    )
    damaged = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        load_mesh(write(tmp_path_factory.getbasetemp(), name, bytes(damaged)))
    except MeshError as error:
        assert str(error).startswith(name) and str(error).count("\n") < 2
