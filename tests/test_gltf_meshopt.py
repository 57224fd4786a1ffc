"""Files packed with meshopt equal their plain twins, or are refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lora3d.mesh import MeshError, load_glb_bytes
from tests.toy_gltf import FACES, POINTS, UV, Builder, canonical

pytestmark = pytest.mark.extra
REASON = "meshopt is not installed: pip install 'lora3d[meshopt]'"


def pack(built: Builder, accessor: int, data: bytes, count: int, stride: int, mode: str, **fields) -> None:
    """Lets an accessor's buffer view be unpacked from ``data``; of its plain bytes there is none."""
    at = built.view(data)
    where = built.doc["bufferViews"].pop(at)
    view = built.doc["bufferViews"][built.doc["accessors"][accessor]["bufferView"]]
    packed = {"buffer": 0, "byteOffset": where["byteOffset"], "byteLength": len(data)}
    packed |= {"count": count, "byteStride": stride, "mode": mode, **fields}
    view |= {
        "buffer": 1,
        "byteOffset": 0,
        "byteLength": count * stride,
        "extensions": {"EXT_meshopt_compression": packed},
    }
    built.doc["extensionsRequired"] = built.doc["extensionsUsed"] = ["EXT_meshopt_compression"]
    built.doc["buffers"] = [{"byteLength": len(built.blob)}, {"byteLength": 10**6}]


def test_packed_triangles_and_attributes_equal_their_twin():
    meshopt = pytest.importorskip("meshopt", reason=REASON)
    plain = Builder(TEXCOORD_0=UV).load()
    built = Builder(TEXCOORD_0=UV)
    attributes = built.primitive["attributes"]
    for name, values in (("POSITION", POINTS), ("TEXCOORD_0", UV)):
        data = meshopt.encode_gltf_buffer(values, "ATTRIBUTES")
        pack(built, attributes[name], data, 4, values.itemsize * values.shape[1], "ATTRIBUTES")
    indices = FACES.reshape(-1).astype(np.uint32)
    for mode in ("TRIANGLES", "INDICES"):
        pack(built, built.primitive["indices"], meshopt.encode_gltf_buffer(indices, mode), 12, 2, mode)
        assert canonical(built.load()) == canonical(plain)
    built.blob = built.blob[:-6] + b"\xff" * 6
    with pytest.raises(MeshError, match="cannot be decoded"):
        built.load()


def test_filters_are_undone():
    meshopt = pytest.importorskip("meshopt", reason=REASON)
    normals = np.random.default_rng(0).normal(size=(4, 3))
    normals = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32)
    twin = Builder(NORMAL=normals).load()
    whole = np.concatenate([normals, np.ones((4, 1), np.float32)], 1)
    built = Builder(NORMAL=np.zeros((4, 4), np.int16)[:, :3])
    rows = meshopt.encode_filter_oct(whole, 8, 16)
    pack(built, built.primitive["attributes"]["NORMAL"], meshopt.encode_gltf_buffer(rows, "ATTRIBUTES"), 4, 8,
         "ATTRIBUTES", filter="OCTAHEDRAL")  # fmt: skip
    view = built.doc["accessors"][built.primitive["attributes"]["NORMAL"]]["bufferView"]
    built.doc["bufferViews"][view]["byteStride"] = 8
    rows = meshopt.encode_filter_exp(POINTS + np.float32(0.3), 20)
    pack(built, built.primitive["attributes"]["POSITION"], meshopt.encode_gltf_buffer(rows, "ATTRIBUTES"), 4, 12,
         "ATTRIBUTES", filter="EXPONENTIAL")  # fmt: skip
    mesh = built.load()
    assert np.allclose(mesh.vertices[mesh.faces], twin.vertices[twin.faces] + [0.3, -0.3, 0.3], atol=1e-5)
    assert np.allclose(mesh.corner_normal, twin.corner_normal, atol=1e-3)


def test_without_the_decoder_the_file_is_refused_with_advice(monkeypatch):
    built = Builder()
    pack(built, 0, b"\xa0" * 40, 4, 12, "ATTRIBUTES")
    monkeypatch.setitem(sys.modules, "meshopt", None)
    with pytest.raises(MeshError, match=r"pip install 'lora3d\[meshopt\]'"):
        built.load()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mode": "POINTS"}, "found 'POINTS'"),
        ({"filter": "BLUR"}, "found 'BLUR'"),
        ({"count": 5}, "another length"),
        ({"byteLength": 10**6}, "of a buffer of"),
    ],
)
def test_packed_views_that_contradict_themselves_are_refused(fields, reason):
    built = Builder()
    pack(built, 0, b"\xa0" * 40, 4, 12, "ATTRIBUTES")
    built.doc["bufferViews"][0]["extensions"]["EXT_meshopt_compression"] |= fields
    with pytest.raises(MeshError, match=reason):
        built.load()


def test_where_packing_is_no_must_the_plain_bytes_serve():
    built = Builder()
    plain = canonical(built.load())
    view = dict(built.doc["bufferViews"][0])
    pack(built, 0, b"\xa0" * 40, 4, 12, "ATTRIBUTES")
    built.doc["bufferViews"][0] |= view
    del built.doc["extensionsRequired"]
    assert canonical(load_glb_bytes(built.glb())) == plain
