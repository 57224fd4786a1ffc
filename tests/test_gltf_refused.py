"""glTF that is refused, wherever it is wrong or damaged, and the names it may give to files."""

from __future__ import annotations

import base64
import copy
import json
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora3d.mesh import (
    MeshError,
    load_glb_bytes,
    load_mesh,
)
from tests.toy_gltf import (
    PIXELS,
    POINTS,
    UV,
    Builder,
)

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
        (change("extensionsRequired", ["EXT_meshopt_packing"]), "which is not read: export it without"),
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
