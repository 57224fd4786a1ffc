"""glTF: accessors, nodes, materials and Draco against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora3d.mesh import (
    Material,
    MeshError,
    face_normals,
    srgb_to_linear,
)
from tests.toy_gltf import (
    FACES,
    PIXELS,
    POINTS,
    UV,
    WORLD,
    Builder,
    canonical,
    corners,
)
from tests.toy_meshes import volume

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


def test_a_nodes_own_morph_weights_go_before_its_meshs():
    built = Builder()
    delta = np.zeros((4, 3), np.float32)
    delta[1] = [2, 0, 0]
    built.primitive["targets"] = [{"POSITION": built.add(delta)}]
    built.doc["meshes"][0]["weights"] = [0.5]
    built.doc["nodes"] = [{"mesh": 0, "weights": [w]} for w in (0, 1)] + [{"mesh": 0}]
    built.doc["scenes"] = [{"nodes": [0, 1, 2]}]
    moved = corners(built.load()).reshape(3, *FACES.shape, 3) - WORLD[FACES]
    assert np.allclose(moved[:, FACES == 1, 0].max(axis=1), [0, 2, 1])


# -- materials ----------------------------------------------------------------------------------------


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


def test_a_glowing_picture_multiplies_the_emission_and_must_lie_as_the_colours_do():
    built = Builder(TEXCOORD_0=UV)
    built.texture(PIXELS)
    built.material(emissiveFactor=[1, 0.5, 0], emissiveTexture={"index": 0})
    mesh = built.load()
    (material,) = mesh.materials
    assert material.texture is None and np.array_equal(material.emissive_map, PIXELS) and not mesh.notes
    assert material.emissive == (1, 0.5, 0) and np.allclose(mesh.corner_uv, UV[FACES])
    moved = {"index": 0, "extensions": {"KHR_texture_transform": {"offset": [0.5, 0]}}}
    built.material(
        pbrMetallicRoughness={"baseColorTexture": {"index": 0}},
        emissiveFactor=[1, 1, 1],
        emissiveTexture=moved,
    )
    mesh = built.load()
    (material,) = mesh.materials
    assert material.texture is not None and "emission" in mesh.notes[0] and "lies apart" in mesh.notes[0]
    assert material.emissive_map is None and material.emissive == (0, 0, 0)  # of what is not known, none


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
