"""OBJ, PLY, STL and OFF against closed forms, and what is refused of them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lora3d.mesh import (
    GREY,
    MeshError,
    face_normals,
    load_mesh,
    srgb_to_linear,
)
from tests.toy_meshes import CUBE, box, volume, write

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


@pytest.mark.parametrize("kind", ["obj", "ply", "off", "stl"])
def test_map_coordinates_keep_the_shape(tmp_path, kind):
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1.3, 0], [0, 0, 0.7]])
    faces = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
    sizes = []
    for name, at in (("near", (0, 0, 0)), ("far", (500000, 120, 4500000))):
        rows = "".join("{} {} {}\n".format(*p) for p in (points + at).tolist())
        text = "v " + rows.rstrip().replace("\n", "\nv ")
        text += "".join("\nf {} {} {}".format(*(i + 1 for i in f)) for f in faces)
        if kind == "ply":
            text = "ply\nformat ascii 1.0\nelement vertex 4\n"
            text += "".join(f"property double {axis}\n" for axis in "xyz")
            text += "element face 4\nproperty list uchar int vertex_indices\nend_header\n" + rows
            text += "".join("3 {} {} {}\n".format(*f) for f in faces)
        if kind == "off":
            text = f"OFF\n4 4 0\n{rows}" + "".join("3 {} {} {}\n".format(*f) for f in faces)
        if kind == "stl":
            corners = ("vertex {} {} {}\n".format(*(points + at)[i]) for f in faces for i in f)
            text = "solid a\n" + "".join(corners)
        mesh = load_mesh(write(tmp_path, f"{name}.{kind}", text))
        sizes.append(np.ptp(mesh.vertices, axis=0))
        assert ("is moved there" in " ".join(mesh.notes)) == (name == "far")
    assert np.allclose(sizes[0], sizes[1], rtol=1e-6) and sorted(sizes[0]) == pytest.approx([0.7, 1, 1.3])


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
