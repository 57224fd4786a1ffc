"""glTF: accessors, nodes, materials and refusals against closed forms; GLB round trips; real files."""

from __future__ import annotations

import base64
import copy
import csv
import io
import json
import math
import struct
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lora3d.mesh import (
    Material,
    Mesh,
    MeshError,
    face_normals,
    glb_bytes,
    load_glb_bytes,
    load_mesh,
    normalise,
    srgb_to_linear,
    tidy,
    turn,
)

SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_art = pytest.mark.skipif(not (SHARED / "art").is_dir(), reason="the shared art set is not here")

# A tetrahedron in glTF's frame (Y up), outward, and the same in the world frame.
POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.uint16)
WORLD = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
CODES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Builder:
    """A glTF document with one mesh, to be changed by the tests."""

    def __init__(self, points=POINTS, faces=FACES, **attributes: np.ndarray):
        self.blob = b""
        self.doc: dict = {
            "asset": {"version": "2.0"},
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [{"attributes": {}}]}],
            "accessors": [],
            "bufferViews": [],
        }
        self.primitive = self.doc["meshes"][0]["primitives"][0]
        self.node = self.doc["nodes"][0]
        self.primitive["attributes"]["POSITION"] = self.add(points)
        for name, values in attributes.items():
            self.primitive["attributes"][name] = self.add(values, normalized=values.dtype.kind in "iu")
        if faces is not None:
            self.primitive["indices"] = self.add(np.asarray(faces).reshape(-1, 1))

    def view(self, data: bytes, **fields) -> int:
        self.blob += b"\0" * (-len(self.blob) % 4)
        fields |= {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)}
        self.doc["bufferViews"].append(fields)
        self.blob += data
        return len(self.doc["bufferViews"]) - 1

    def add(self, values: np.ndarray, **fields) -> int:
        """An accessor of rows (n, k)."""
        values = np.ascontiguousarray(values)
        fields |= {"bufferView": self.view(values.tobytes()), "componentType": CODES[values.dtype.str[1:]]}
        fields |= {"count": len(values), "type": TYPES[values.shape[1]]}
        self.doc["accessors"].append(fields)
        return len(self.doc["accessors"]) - 1

    def material(self, **fields) -> dict:
        self.doc["materials"] = [fields]
        self.primitive["material"] = 0
        return fields

    def texture(self, pixels: np.ndarray, **info) -> None:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        self.doc["images"] = [{"bufferView": self.view(stream.getvalue()), "mimeType": "image/png"}]
        self.doc["textures"] = [{"source": 0}]
        self.material(pbrMetallicRoughness={"baseColorTexture": {"index": 0, **info}})

    def glb(self) -> bytes:
        doc = self.doc | ({"buffers": [{"byteLength": len(self.blob)}]} if "buffers" not in self.doc else {})
        text = json.dumps(doc).encode()
        text += b" " * (-len(text) % 4)
        body = struct.pack("<I4s", len(text), b"JSON") + text
        if self.blob:
            blob = self.blob + b"\0" * (-len(self.blob) % 4)
            body += struct.pack("<I4s", len(blob), b"BIN\0") + blob
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body

    def load(self) -> Mesh:
        return load_glb_bytes(self.glb())


def corners(mesh: Mesh) -> np.ndarray:
    return mesh.vertices[mesh.faces]


def volume(mesh: Mesh) -> float:
    a, b, c = corners(mesh).astype(float).transpose(1, 0, 2)
    return float((np.cross(a, b) * c).sum() / 6)


def canonical(mesh: Mesh) -> list[tuple]:
    """Faces as sorted tuples of everything their corners carry: what a round trip must keep."""
    rows = []
    for i, face in enumerate(mesh.faces):
        carried = [
            tuple(
                round(float(x), 5) + 0.0
                for block in (mesh.vertices[v], *(a[i, k] for a in _attributes(mesh)))
                for x in np.atleast_1d(block)
            )
            for k, v in enumerate(face)
        ]
        start = carried.index(min(carried))
        rows.append((mesh.materials[mesh.face_material[i]].name, *carried[start:], *carried[:start]))
    return sorted(rows)


def _attributes(mesh: Mesh) -> list[np.ndarray]:
    return [a for a in (mesh.corner_uv, mesh.corner_color, mesh.corner_normal) if a is not None]


# -- accessors ----------------------------------------------------------------------------------------


def test_a_plain_mesh_lands_in_the_world_frame():
    mesh = Builder().load()
    assert np.array_equal(corners(mesh), WORLD[FACES]) and volume(mesh) == pytest.approx(1 / 6)
    assert mesh.corner_uv is None and mesh.corner_color is None and mesh.corner_normal is None
    assert mesh.notes == () and not mesh.materials[0].double_sided


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_index_types_and_no_indices(dtype):
    assert np.array_equal(corners(Builder(faces=FACES.astype(dtype)).load()), WORLD[FACES])
    soup = Builder(points=POINTS[FACES].reshape(-1, 3), faces=None).load()
    assert np.array_equal(corners(soup), WORLD[FACES]) and len(soup.vertices) == 4


def test_interleaved_views_are_read_with_their_stride():
    plain = Builder()
    rows = np.zeros(4, np.dtype([("p", "<f4", 3), ("c", "u1", 4), ("pad", "<f4", 2)]))
    rows["p"], rows["c"] = POINTS, [255, 0, 51, 255]
    view = plain.view(rows.tobytes(), byteStride=rows.itemsize)
    plain.doc["accessors"] += [
        {"bufferView": view, "componentType": 5126, "count": 4, "type": "VEC3"},
        {
            **{"bufferView": view, "byteOffset": 12, "componentType": 5121, "count": 4, "type": "VEC4"},
            "normalized": True,
        },
    ]
    plain.primitive["attributes"] = {"POSITION": 2, "COLOR_0": 3}
    mesh = plain.load()
    assert np.array_equal(corners(mesh), WORLD[FACES]) and np.allclose(mesh.corner_color, [1, 0, 0.2, 1])


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2"])
def test_normalised_integers(dtype):
    top = np.iinfo(dtype).max
    low = np.iinfo(dtype).min
    uv = np.array([[0, top], [top // 2, 0], [top, top], [low, 1]], dtype)
    mesh = Builder(TEXCOORD_0=uv).load()
    expected = np.maximum(uv.astype(float) / top, -1)[FACES]
    assert np.allclose(mesh.corner_uv, expected, atol=1e-6)


def test_quantised_positions_are_placed_by_their_node():
    steps = (POINTS * 100).astype(np.uint16)
    for points, fields, scale in (
        (steps, {}, 0.01),
        (np.uint16(65535) * (POINTS > 0), {"normalized": True}, 1),
    ):
        built = Builder(points=points.astype(np.uint16))
        built.doc["accessors"][0] |= fields
        built.doc["extensionsRequired"] = built.doc["extensionsUsed"] = ["KHR_mesh_quantization"]
        built.node["scale"] = [scale] * 3
        assert np.allclose(corners(built.load()), WORLD[FACES], atol=1e-6)


@pytest.mark.parametrize("with_base", [True, False])
def test_sparse_accessors(with_base):
    built = Builder(points=np.where(POINTS == 1, 9, POINTS).astype(np.float32))
    at, new = np.array([[1], [2], [3]], np.uint8), POINTS[1:]
    fields = built.doc["accessors"][0]
    if not with_base:
        del fields["bufferView"]
    fields["sparse"] = {
        "count": 3,
        "indices": {"bufferView": built.view(at.tobytes()), "componentType": 5121},
        "values": {"bufferView": built.view(new.tobytes())},
    }
    assert np.array_equal(corners(built.load()), WORLD[FACES])


def test_strips_and_fans_are_the_same_surface_as_their_triangles():
    ladder = np.array([[x, y, 0] for x in range(4) for y in (0, 1)], np.float32)
    strip = Builder(points=ladder, faces=np.arange(8, dtype=np.uint16))
    strip.primitive["mode"] = 5
    by_hand = [[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4], [4, 5, 6], [5, 7, 6]]
    listed = Builder(points=ladder, faces=np.array(by_hand, np.uint16))
    assert canonical(strip.load()) == canonical(listed.load())
    # Repeated vertices join strips and make no faces; one at the start turns the winding.
    joined = Builder(points=ladder, faces=np.array([0, 0, 1, 2, 3, 3, 3], np.uint16))
    joined.primitive["mode"] = 5
    assert np.allclose(face_normals(joined.load()), -face_normals(strip.load())[:2])
    ring = np.array([[math.cos(a), math.sin(a), 0] for a in np.arange(6) * math.pi / 3], np.float32)
    fan = Builder(points=ring, faces=np.arange(6, dtype=np.uint16))
    fan.primitive["mode"] = 6
    mesh = fan.load()
    assert len(mesh.faces) == 4 and np.allclose(face_normals(mesh), [0, -1, 0])


def test_points_and_lines_are_left_out_with_a_note():
    built = Builder()
    built.doc["meshes"][0]["primitives"].append(built.primitive | {"mode": 1})
    mesh = built.load()
    assert len(mesh.faces) == 4 and "left out" in mesh.notes[0]
    built.primitive["mode"] = 0
    with pytest.raises(MeshError, match="no triangles: points, lines"):
        built.load()


# -- nodes, skins, morphs -----------------------------------------------------------------------------


def quaternion(axis: int, degrees: float) -> list[float]:
    half = math.radians(degrees) / 2
    return [*(math.sin(half) * (np.arange(3) == axis)), math.cos(half)]


def test_transforms_nest_and_matrices_are_column_major():
    built = Builder()
    built.doc["nodes"] = [
        {"children": [1], "translation": [1, 2, 3], "rotation": quaternion(1, 90), "scale": [2, 2, 2]},
        {"mesh": 0, "translation": [1, 0, 0]},
    ]
    # Turned about +Y by 90°, (1, 0, 0) becomes (0, 0, −1).
    turned = np.stack([POINTS[:, 2], POINTS[:, 1], -(POINTS[:, 0] + 1)], 1) * 2 + [1, 2, 3]
    expected = np.stack([turned[:, 0], -turned[:, 2], turned[:, 1]], 1)[FACES]
    assert np.allclose(corners(built.load()), expected, atol=1e-6)
    built.doc["nodes"][0] = {"children": [1], "matrix": [0, 0, -2, 0, 0, 2, 0, 0, 2, 0, 0, 0, 1, 2, 3, 1]}
    assert np.allclose(corners(built.load()), expected, atol=1e-6)


@given(st.lists(st.floats(-2, 2).filter(lambda x: abs(x) > 0.1), min_size=3, max_size=3), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_mirrored_and_squeezed_nodes_keep_the_outside_outside(scale, seed):
    normals = np.cross(POINTS[FACES[:, 1]] - POINTS[FACES[:, 0]], POINTS[FACES[:, 2]] - POINTS[FACES[:, 0]])
    normals = np.repeat(normals / np.linalg.norm(normals, axis=1, keepdims=True), 3, axis=0)
    built = Builder(points=POINTS[FACES].reshape(-1, 3), faces=None, NORMAL=normals.astype(np.float32))
    rotation = np.random.default_rng(seed).normal(size=4)
    built.node |= {"scale": scale, "rotation": (rotation / np.linalg.norm(rotation)).tolist()}
    mesh = built.load()
    assert volume(mesh) == pytest.approx(abs(np.prod(scale)) / 6, rel=1e-4)
    assert np.allclose(mesh.corner_normal, face_normals(mesh)[:, None], atol=1e-4)


def test_instances_share_a_mesh():
    built = Builder()
    built.doc["nodes"] = [{"children": [1, 2]}, {"mesh": 0}, {"mesh": 0, "translation": [5, 0, 0]}]
    assert volume(built.load()) == pytest.approx(1 / 3)


def test_only_the_scene_is_shown():
    built = Builder()
    built.doc["nodes"] += [{"mesh": 0, "translation": [5, 0, 0]}]
    assert len(built.load().faces) == 4
    built.doc["nodes"][0]["extensions"] = {"KHR_node_visibility": {"visible": False}}
    built.doc["scenes"] = [{"nodes": [0, 1]}]
    assert corners(built.load())[..., 0].min() == 5
    del built.doc["scenes"], built.doc["nodes"]
    assert len(built.load().faces) == 4  # a library of meshes


def test_a_skin_replaces_the_nodes_transform_by_its_joints_rest_pose():
    joints = np.zeros((4, 4), np.uint8)
    joints[1:, 0] = 1
    weights = np.zeros((4, 4), np.float32)
    weights[:, 0] = 1
    joints[3], weights[3] = [0, 1, 0, 0], [0.5, 0.5, 0, 0]
    built = Builder(JOINTS_0=joints, WEIGHTS_0=weights)
    del built.doc["accessors"][1]["normalized"]
    built.node |= {"skin": 0, "translation": [99, 99, 99]}
    built.doc["nodes"] += [{"children": [2], "translation": [1, 0, 0]}, {"translation": [0, 2, 0]}]
    built.doc["skins"] = [{"joints": [1, 2]}]
    built.doc["scenes"] = [{"nodes": [0, 1]}]
    moved = POINTS + np.array([[1, 0, 0], [1, 2, 0], [1, 2, 0], [1, 1, 0]])
    expected = np.stack([moved[:, 0], -moved[:, 2], moved[:, 1]], 1)[FACES]
    assert np.allclose(corners(built.load()), expected)
    # With inverse bind matrices that undo the joints, the bind pose is the rest pose.
    undo = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    undo[0, :3, 3], undo[1, :3, 3] = [-1, 0, 0], [-1, -2, 0]
    built.doc["skins"][0]["inverseBindMatrices"] = built.add(undo.transpose(0, 2, 1).reshape(2, 16))
    assert np.allclose(corners(built.load()), WORLD[FACES], atol=1e-6)
    built.doc["skins"] = [{"joints": [1]}]
    with pytest.raises(MeshError, match="joint 1 of 1"):
        built.load()


def test_morph_targets_by_their_default_weights():
    built = Builder()
    delta = np.zeros((4, 3), np.float32)
    delta[1] = [2, 0, 0]
    built.primitive["targets"] = [{"POSITION": built.add(delta)}]
    assert np.allclose(corners(built.load()), WORLD[FACES])
    built.doc["meshes"][0]["weights"] = [0.5]
    expected = WORLD.copy()
    expected[1] = [2, 0, 0]
    assert np.allclose(corners(built.load()), expected[FACES])


# -- materials ----------------------------------------------------------------------------------------

PIXELS = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4) * 7
UV = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)


def test_factors_and_flags():
    built = Builder(COLOR_0=np.array([[0.25, 0.5, 1]] * 4, np.float32))
    built.material(
        name="glass",
        pbrMetallicRoughness={"baseColorFactor": [0.1, 0.2, 0.3, 0.4]},
        alphaMode="MASK",
        alphaCutoff=0.3,
        doubleSided=True,
        emissiveFactor=[0.5, 0, 1],
        extensions={"KHR_materials_unlit": {}, "KHR_materials_emissive_strength": {"emissiveStrength": 4}},
    )
    mesh = built.load()
    expected = ("glass", (0.1, 0.2, 0.3, 0.4), "MASK", 0.3, True, (2, 0, 4), True)
    assert material_fields(mesh.materials[0]) == expected
    assert np.allclose(mesh.corner_color, [0.25, 0.5, 1, 1])  # linear already


def material_fields(m: Material) -> tuple:
    return m.name, m.base_color, m.alpha_mode, m.alpha_cutoff, m.double_sided, m.emissive, m.unlit


@pytest.mark.parametrize(
    ("generator", "vrm", "srgb"),
    [
        ("UniGLTF-1.24", None, True),
        ("UniGLTF", None, True),
        ("UniGLTF-1.28", "UniVRM-0.53.0", True),
        ("UniGLTF-1.28", "UniVRM-0.62.0", False),
        ("UniGLTF-2.44.0", None, False),
        ("FBX2glTF v0.9.7", None, False),
    ],
)
def test_old_unigltf_stored_srgb(generator, vrm, srgb):
    built = Builder()
    built.doc["asset"]["generator"] = generator
    if vrm:
        built.doc["extensions"] = {"VRM": {"exporterVersion": vrm}}
    built.material(pbrMetallicRoughness={"baseColorFactor": [0.5, 0.5, 0.5, 0.5]})
    mesh = built.load()
    value = float(srgb_to_linear(np.array(0.5))) if srgb else 0.5
    assert mesh.materials[0].base_color == pytest.approx((value, value, value, 0.5))
    assert bool(mesh.notes) == srgb


def test_textures_samplers_and_coordinate_sets():
    built = Builder(TEXCOORD_0=UV, TEXCOORD_1=UV * 0.5)
    built.texture(PIXELS, texCoord=1)
    built.doc["samplers"] = [{"wrapS": 33071, "wrapT": 33648, "magFilter": 9728}]
    built.doc["textures"][0]["sampler"] = 0
    mesh = built.load()
    material = mesh.materials[0]
    assert np.array_equal(material.texture, PIXELS) and np.allclose(mesh.corner_uv, UV[FACES] * 0.5)
    assert material.wrap == ("clamp", "mirror") and material.filter == "nearest"
    info = built.doc["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    info["extensions"] = {"KHR_texture_transform": {"texCoord": 0, "offset": [0.1, 0.2]}}
    assert np.allclose(built.load().corner_uv, UV[FACES] + [0.1, 0.2], atol=1e-6)
    del built.primitive["attributes"]["TEXCOORD_0"]
    mesh = built.load()
    assert mesh.materials[0].texture is None and "no coordinates" in mesh.notes[0]


def test_texture_transform_of_the_extensions_examples():
    """The lower left quadrant, rotated clockwise by 90°; and the inverted v axis."""
    built = Builder(TEXCOORD_0=UV)
    moved = {"offset": [0, 1], "rotation": math.pi / 2, "scale": [0.5, 0.5]}
    built.texture(PIXELS, extensions={"KHR_texture_transform": moved})
    uv = built.load().corner_uv
    assert uv[..., 0].min() == pytest.approx(0, abs=1e-6) and uv[..., 0].max() == pytest.approx(0.5)
    assert uv[..., 1].min() == pytest.approx(0.5) and uv[..., 1].max() == pytest.approx(1)
    assert np.allclose(uv[1, 1], [0, 0.5], atol=1e-6)  # (1, 0) goes up the image's left edge
    built.texture(PIXELS, extensions={"KHR_texture_transform": {"offset": [0, 1], "scale": [1, -1]}})
    assert np.allclose(built.load().corner_uv, (UV * [1, -1] + [0, 1])[FACES], atol=1e-6)


def test_specular_glossiness_and_an_unlit_picture_in_the_emission():
    built = Builder(TEXCOORD_0=UV)
    built.texture(PIXELS)
    glossy = {"diffuseFactor": [0.5, 0.5, 0.5, 1], "diffuseTexture": {"index": 0}}
    built.material(extensions={"KHR_materials_pbrSpecularGlossiness": glossy})
    material = built.load().materials[0]
    assert material.base_color[0] == 0.5 and np.array_equal(material.texture, PIXELS)
    glow = {"emissiveFactor": [1, 1, 1], "emissiveTexture": {"index": 0}}
    built.material(pbrMetallicRoughness={"baseColorFactor": [0, 0, 0, 1]}, **glow)
    material = built.load().materials[0]
    assert material.unlit and material.base_color == (1, 1, 1, 1) and material.texture is not None
    built.material(**glow)
    mesh = built.load()
    assert mesh.materials[0].texture is None and mesh.materials[0].emissive == (0, 0, 0) and mesh.notes


def test_an_image_that_cannot_be_had_leaves_the_colour_and_a_note():
    built = Builder(TEXCOORD_0=UV)
    built.texture(PIXELS)
    for image in ({"uri": "gone.png"}, {"uri": "data:image/png;base64,AAAA"}, {"bufferView": 0}, {}):
        built.doc["images"] = [image]
        mesh = built.load()
        assert mesh.materials[0].texture is None and "image 0 is left out" in mesh.notes[0]


# -- Draco --------------------------------------------------------------------------------------------


def draco(points: np.ndarray, faces: np.ndarray) -> bytes:
    import DracoPy

    return DracoPy.encode(points, faces=faces.astype(np.uint32), quantization_bits=16, preserve_order=True)


def test_draco_is_decoded_or_refused_but_never_blank():
    built = Builder()
    packed = {"bufferView": built.view(draco(POINTS, FACES)), "attributes": {"POSITION": 0}}
    built.primitive["extensions"] = {"KHR_draco_mesh_compression": packed}
    for fields in built.doc["accessors"]:
        del fields["bufferView"]
    built.doc["extensionsRequired"] = built.doc["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    mesh = built.load()
    assert volume(mesh) == pytest.approx(1 / 6, rel=1e-3) and len(mesh.faces) == 4
    packed["attributes"] = {"POSITION": 7}
    with pytest.raises(MeshError, match="lacks the attribute POSITION"):
        built.load()
    packed["bufferView"] = built.view(b"DRACO" + bytes(40))
    with pytest.raises(MeshError, match="Draco data cannot be decoded"):
        built.load()


# -- refusals -----------------------------------------------------------------------------------------


def change(path: str, value) -> dict:
    return {"path": path.split("."), "value": value}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (change("asset.version", "1.0"), "found '1.0'"),
        (change("asset.minVersion", "2.1"), "found '2.1'"),
        (change("asset", {}), "found 'missing'"),
        (change("extensionsRequired", ["KHR_new_thing"]), "'KHR_new_thing', which is not read"),
        (change("extensionsRequired", ["EXT_meshopt_compression"]), "unpack it first"),
        (change("nodes", [{"children": [1]}, {"children": [0], "mesh": 0}]), "reached twice"),
        (change("nodes", [{"children": [1, 1]}, {"mesh": 0}]), "reached twice"),
        (change("nodes.0.mesh", 3), "entry 3 of 1 in 'meshes'"),
        (change("nodes.0.mesh", "x"), "'mesh' should be a whole number, found 'x'"),
        (change("nodes.0.mesh", 0.5), "'mesh' should be a whole number"),
        (change("nodes.0.scale", [1, 1]), "'scale' needs 3 numbers, found 2"),
        (change("nodes.0.scale", [1e60, 1e60, 1e60]), "is not a finite point"),
        (change("nodes.0", 7), "should be an object"),
        (change("scenes.0.nodes", [9]), "entry 9 of 1 in 'nodes'"),
        (change("scenes.0.nodes", []), "nothing to draw"),
        (change("accessors.0.count", 10**12), "counts 1000000000000 elements"),
        (change("accessors.0.count", 5), "do not fit buffer view 0"),
        (change("accessors.0.count", 3), "names vertex 3 of 3"),
        (change("accessors.0.count", -1), "counts -1 elements"),
        (change("accessors.0.componentType", 5130), "unknown componentType 5130"),
        (change("accessors.0.type", "VEC2"), "POSITION has shape"),
        (change("accessors.1.componentType", 5122), "unsigned whole numbers"),
        (change("bufferViews.0.byteOffset", 10**6), "of a buffer of"),
        (change("bufferViews.0.byteStride", 4), "do not fit"),
        (change("buffers", [{"byteLength": 10**9}]), "buffer 0 is cut off"),
        (change("buffers", [{"byteLength": 4, "uri": "../secret.bin"}]), "must carry everything in itself"),
        (change("meshes.0.primitives.0.attributes.NORMAL", 1), "NORMAL has shape"),
        (change("materials", [{"alphaMode": "GLASS"}]), "found 'GLASS'"),
    ],
)
def test_refusals_give_a_reason(changes, reason):
    built = Builder()
    built.primitive["material"] = 0
    built.doc["materials"] = [{}]
    at = built.doc
    for key in changes["path"][:-1]:
        at = at[int(key)] if isinstance(at, list) else at[key]
    last = changes["path"][-1]
    at[int(last) if isinstance(at, list) else last] = changes["value"]
    with pytest.raises(MeshError, match=reason) as caught:
        built.load()
    assert "\n" not in str(caught.value)


def test_damaged_containers_give_a_reason():
    whole = Builder().glb()
    for data, reason in (
        (whole[:10], "at least 20 bytes"),
        (whole[:-1], "promises"),
        (whole[:4] + struct.pack("<I", 1) + whole[8:], "version 2 is read, found 1"),
        (whole[:12] + struct.pack("<I", 10**9) + whole[16:], "a chunk of 1000000000 bytes"),
        (whole[:16] + b"BIN\0" + whole[20:], "first chunk must be JSON"),
        (b"{}", "found 'missing'"),
        (b"[1]", "not a glTF document"),
        (b'{"asset": NaN}', "holds NaN"),
        (b"[" * 100_000, "JSON cannot be read"),
        (b"\xff\xfe{}", "JSON cannot be read"),
        (b'{"a": ' + b"9" * 5000 + b"}", "JSON cannot be read"),
    ):
        with pytest.raises(MeshError, match=reason):
            load_glb_bytes(data)


def test_infinite_coordinates_and_infinite_weights_are_refused():
    points = POINTS.copy()
    points[2, 1] = np.inf
    with pytest.raises(MeshError, match="not a finite point"):
        Builder(points=points).load()


def test_a_small_file_cannot_ask_for_a_huge_model():
    built = Builder(points=np.zeros((3, 3), np.float32), faces=np.zeros((3000, 3), np.uint8))
    built.doc["nodes"] = [{"mesh": 0} for _ in range(2000)]
    built.doc["scenes"] = [{"nodes": list(range(2000))}]
    start = time.perf_counter()
    with pytest.raises(MeshError, match="more than 5,000,000 triangles"):
        built.load()
    assert time.perf_counter() - start < 20


# -- files and URIs -----------------------------------------------------------------------------------


def external(folder: Path, uri: str, data: bytes | None = None) -> Path:
    built = Builder()
    built.doc["buffers"] = [{"byteLength": len(built.blob), "uri": uri}]
    if data is None:
        (folder / "the data.bin").write_bytes(built.blob)
    path = folder / "a.gltf"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(built.doc).encode())  # some editors leave a mark
    return path


def test_buffers_beside_the_file_and_in_it(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    inside = "data:application/octet-stream;base64," + base64.b64encode(Builder().blob).decode()
    for uri in ("the%20data.bin", "the data.bin", "./the data.bin", inside):
        assert len(load_mesh(external(folder, uri)).faces) == 4
    (tmp_path / "secret.bin").write_bytes(Builder().blob)
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    for uri in (
        "../secret.bin",
        "%2e%2e/secret.bin",
        "..\\secret.bin",
        str(tmp_path / "secret.bin"),
        "link.bin",
    ):
        with pytest.raises(MeshError, match="lies outside its folder"):
            load_mesh(external(folder, uri))
        assert len(load_mesh(external(folder, uri), root=tmp_path).faces) == 4
    for uri in ("http://example.org/a.bin", "https:a.bin", "file:///etc/passwd", "FTP://x/y"):
        with pytest.raises(MeshError, match="only files beside it are read"):
            load_mesh(external(folder, uri))
    with pytest.raises(MeshError, match=r"a\.gltf: there is no file 'gone.bin'"):
        load_mesh(external(folder, "gone.bin"))
    with pytest.raises(MeshError, match="not base64"):
        load_mesh(external(folder, "data:application/octet-stream;base64,A"))
    with pytest.raises(MeshError, match="no file"):
        load_mesh(external(folder, "a\0b"))


# -- the writer ---------------------------------------------------------------------------------------


@st.composite
def meshes(draw) -> Mesh:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    v, f, m = draw(st.integers(3, 12)), draw(st.integers(1, 20)), draw(st.integers(1, 3))
    faces = np.stack([rng.permutation(v)[:3] for _ in range(f)]).astype(np.int32)
    uv = rng.normal(size=(f, 3, 2)).astype(np.float32) if draw(st.booleans()) else None
    color = rng.random((f, 3, 4)).astype(np.float32) if draw(st.booleans()) else None
    normal = rng.normal(size=(f, 3, 3)) if draw(st.booleans()) else None
    if normal is not None:
        normal = (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)
    picture = rng.integers(0, 256, (3, 5, 4), dtype=np.uint8)
    materials = tuple(
        Material(
            name=f"m{i}",
            base_color=tuple(rng.random(4).tolist()),
            texture=picture if uv is not None and draw(st.booleans()) else None,
            wrap=draw(st.tuples(*[st.sampled_from(["repeat", "clamp", "mirror"])] * 2)),
            filter=draw(st.sampled_from(["linear", "nearest"])),
            alpha_mode=draw(st.sampled_from(["OPAQUE", "MASK", "BLEND"])),
            alpha_cutoff=0.25,
            double_sided=draw(st.booleans()),
            emissive=draw(st.sampled_from([(0.0, 0.0, 0.0), (0.5, 0.25, 0.0), (3.0, 1.0, 0.5)])),
            unlit=draw(st.booleans()),
        )
        for i in range(m)
    )
    points = rng.normal(size=(v, 3)).astype(np.float32)
    which = rng.integers(0, m, f).astype(np.int32)
    return tidy(Mesh(points, faces, which, materials, uv, color, normal))


@given(meshes())
@settings(max_examples=60, deadline=None)
def test_round_trip_keeps_geometry_attributes_and_materials(mesh):
    data = glb_bytes(mesh, name="thing", extras={"b": 1, "a": [1, 2]})
    assert data == glb_bytes(mesh, name="thing", extras={"a": [1, 2], "b": 1})
    back = load_glb_bytes(data)
    assert canonical(back) == canonical(mesh) and back.notes == ()
    assert glb_bytes(back) == glb_bytes(load_glb_bytes(glb_bytes(back)))
    wanted = {m.name: m for m in mesh.materials}
    for found in back.materials:
        original = wanted[found.name]
        assert found.base_color == pytest.approx(original.base_color)
        assert found.emissive == pytest.approx(original.emissive)
        assert (found.alpha_mode, found.double_sided, found.unlit) == (
            original.alpha_mode,
            original.double_sided,
            original.unlit,
        )
        assert found.alpha_mode != "MASK" or found.alpha_cutoff == 0.25
        assert (found.texture is None) == (original.texture is None)
        if found.texture is not None:
            assert np.array_equal(found.texture, original.texture)
            assert (found.wrap, found.filter) == (original.wrap, original.filter)


@given(meshes())
@settings(max_examples=30, deadline=None)
def test_written_files_keep_glTFs_rules(mesh):
    data = glb_bytes(mesh)
    length, size = struct.unpack_from("<I", data, 8)[0], struct.unpack_from("<I", data, 12)[0]
    assert length == len(data) and size % 4 == 0 and data[-1:] is not None and len(data) % 4 == 0
    doc, blob = json.loads(data[20 : 20 + size]), data[28 + size :]
    assert doc["buffers"][0]["byteLength"] <= len(blob)
    unlit = any(mesh.materials[i].unlit for i in np.unique(mesh.face_material))
    assert ("KHR_materials_unlit" in doc.get("extensionsUsed", [])) == unlit
    seen = 0
    for primitive in doc["meshes"][0]["primitives"]:
        fields = doc["accessors"][primitive["attributes"]["POSITION"]]
        view = doc["bufferViews"][fields["bufferView"]]
        start = view["byteOffset"] + fields["byteOffset"]
        points = np.frombuffer(blob, "<f4", fields["count"] * 3, start).reshape(-1, 3)
        assert fields["min"] == points.min(axis=0).tolist() and fields["max"] == points.max(axis=0).tolist()
        counts = {doc["accessors"][a]["count"] for a in primitive["attributes"].values()}
        assert counts == {fields["count"]}  # all attributes of a vertex
        seen += doc["accessors"][primitive["indices"]]["count"]
    assert seen == 3 * len(mesh.faces)
    for view in doc["bufferViews"]:
        assert view["byteOffset"] % 4 == 0


def test_vertices_are_shared_where_all_attributes_agree():
    mesh = Builder().load()
    seams = replace(mesh, corner_uv=np.random.default_rng(0).random((4, 3, 2)).astype(np.float32))
    for written, count in ((mesh, 4), (seams, 12)):
        data = glb_bytes(written)
        doc = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
        assert doc["accessors"][0]["count"] == count


def test_a_texture_without_coordinates_is_not_written():
    mesh = replace(Builder().load(), materials=(Material(texture=PIXELS),))
    with pytest.raises(MeshError, match="no corner_uv"):
        glb_bytes(mesh)


def test_the_bundled_reader_of_others_agrees():
    trimesh = pytest.importorskip("trimesh")
    mesh = normalise(Builder().load())
    scene = trimesh.load(io.BytesIO(glb_bytes(mesh)), file_type="glb")
    other = scene.to_geometry()
    expected = np.stack([mesh.vertices[:, 0], mesh.vertices[:, 2], -mesh.vertices[:, 1]], 1)
    assert np.allclose(other.bounds, [expected.min(axis=0), expected.max(axis=0)])
    assert other.is_watertight and other.volume == pytest.approx(volume(mesh), rel=1e-5)


# -- damage -------------------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
    st.lists(st.integers(0, 5), max_size=3),
)


def _places(value, path=()) -> list[tuple]:
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path] + [p for key, child in children for p in _places(child, (*path, key))]


def _rich() -> Builder:
    built = Builder(
        TEXCOORD_0=UV,
        COLOR_0=np.full((4, 4), 200, np.uint8),
        NORMAL=np.tile(np.array([[0, 0, 1]], np.float32), (4, 1)),
        JOINTS_0=np.zeros((4, 4), np.uint8),
        WEIGHTS_0=np.ones((4, 4), np.float32),
    )
    built.texture(PIXELS, extensions={"KHR_texture_transform": {"scale": [2, 2]}})
    built.doc["samplers"] = [{"wrapS": 33071}]
    built.doc["textures"][0]["sampler"] = 0
    built.doc["skins"] = [{"joints": [0]}]
    built.node["skin"] = 0
    built.doc["meshes"][0]["weights"] = [0.5]
    built.primitive["targets"] = [{"POSITION": 0}]
    built.doc["buffers"] = [{"byteLength": len(built.blob)}]
    return built


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_change_of_the_json_loads_or_is_refused(data):
    built = _rich()
    doc = copy.deepcopy(built.doc)
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(_places(doc)[1:]))
        at = doc
        for key in path[:-1]:
            at = at[key]
        at[path[-1]] = data.draw(LEAVES)
    built.doc = doc
    try:
        built.load()
    except MeshError as error:
        assert str(error)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_change_of_the_bytes_loads_or_is_refused(data):
    damaged = bytearray(_rich().glb())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        load_glb_bytes(bytes(damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))]))
    except MeshError as error:
        assert str(error)


# -- real files ---------------------------------------------------------------------------------------


def _awkward() -> list[dict[str, str]]:
    table = SHARED / "art" / "awkward" / "expected.csv"
    if not table.is_file():
        return []
    with table.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


READ_THOUGH_MARKED = {"00_barrel", "01_burger", "02_Rover_1_transformed"}  # Draco, which is decoded here


@needs_art
@pytest.mark.parametrize("row", _awkward(), ids=lambda row: row["file"].split("/")[1])
def test_awkward_files(row):
    path = SHARED / "art" / row["file"]
    if row["usable"] == "y" or row["file"].split("/")[1] in READ_THOUGH_MARKED:
        mesh = load_mesh(path)
        assert 0.95 * int(row["faces"]) <= len(mesh.faces) <= int(row["faces"])  # repeated faces go
        assert canonical_size(normalise(mesh)) == pytest.approx(0.5, abs=1e-5)
    else:
        with pytest.raises(MeshError) as caught:
            load_mesh(path)
        assert str(caught.value).startswith(path.name) and "\n" not in str(caught.value)


def canonical_size(mesh: Mesh) -> float:
    return float(np.linalg.norm(mesh.vertices, axis=1).max())


@needs_art
@pytest.mark.slow
def test_every_model_of_the_packs_loads_and_survives_a_round_trip():
    paths = [p for p in sorted((SHARED / "art").rglob("*.glb")) if "awkward" not in p.parts]
    assert len(paths) > 100
    for path in paths:
        mesh = load_mesh(path)
        back = load_glb_bytes(glb_bytes(mesh))
        assert len(back.faces) == len(mesh.faces) and volume(back) == pytest.approx(volume(mesh), rel=1e-4)
        assert len(back.materials) == len(mesh.materials)


@needs_art
@pytest.mark.slow
def test_every_robust_file_loads_or_is_refused_soon():
    endings = {".glb", ".gltf", ".obj"}
    paths = [p for p in sorted((SHARED / "robust").rglob("*")) if p.suffix.lower() in endings]
    with (SHARED / "robust" / "expected.csv").open(encoding="utf-8", newline="") as lines:
        usable = {row["file"] for row in csv.DictReader(lines) if row["usable"] == "y"}
    for path in paths:
        start = time.perf_counter()
        try:
            load_mesh(path)
        except MeshError as error:
            assert str(path.relative_to(SHARED / "robust")) not in usable, error
        assert time.perf_counter() - start < 5, path.name


@needs_art
def test_kenneys_twins_are_one_object():
    """GLB and OBJ agree; the STL has its front toward +X: seen from azimuth 90 it is the same."""
    pack = SHARED / "art" / "kenney_platformer"
    stems = [p.stem for p in sorted((pack / "stl").glob("*.stl"))]
    assert len(stems) == 12
    for stem in stems:
        glb, obj, stl = (
            normalise(load_mesh(pack / kind / f"{stem}.{kind}")) for kind in ("glb", "obj", "stl")
        )
        for other in (obj, turn(stl, 90)):
            assert len(other.faces) == len(glb.faces)
            assert _same_points(glb.vertices, other.vertices)
        assert {m.name: np.round(m.base_color, 4).tolist() for m in glb.materials} == {
            m.name: np.round(m.base_color, 4).tolist() for m in obj.materials
        }


def _same_points(a: np.ndarray, b: np.ndarray) -> bool:
    from scipy.spatial import cKDTree

    return max(cKDTree(a).query(b)[0].max(), cKDTree(b).query(a)[0].max()) < 1e-5


@needs_art
def test_a_draco_file_equals_its_unpacked_twin():
    packed = load_mesh(SHARED / "art/awkward/02_Rover_1_transformed/Rover_1-transformed.glb")
    plain = load_mesh(SHARED / "art/quaternius_space/Rover_1.glb")
    assert len(packed.faces) == len(plain.faces)
    assert np.allclose(packed.vertices.min(axis=0), plain.vertices.min(axis=0), atol=1e-2)
    assert np.allclose(packed.vertices.max(axis=0), plain.vertices.max(axis=0), atol=1e-2)
    assert packed.materials[0].texture is not None and packed.corner_uv is not None
