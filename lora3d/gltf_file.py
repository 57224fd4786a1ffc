"""glTF 2.0 as a file: GLB chunks, JSON, buffers and accessors, each checked before it is used.

Khronos glTF 2.0 specification, chapters 3.6 (binary data) and 4 (GLB).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lora3d.assets import resource
from lora3d.camera import Array
from lora3d.gltf_meshopt import EXTENSIONS, unpack
from lora3d.mesh import MeshError

MAX_COUNT = 16_000_000  # elements of an accessor: more than MAX_FACES triangles have corners
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_KINDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    bool: "true/false",
}


@dataclass
class GltfFile:
    """An opened file.

    Attributes:
        doc: the JSON.
        binary: the GLB's own buffer.
        folder, root: where relative URIs start, and what they must not leave; None: no URIs.
        notes: warnings for a person, in the order found.
        buffers, unpacked, accessors, images, surfaces: what has been read, by index.
    """

    doc: dict[str, Any]
    binary: bytes | None = None
    folder: Path | None = None
    root: Path | None = None
    notes: list[str] = field(default_factory=list)
    buffers: dict[int, bytes] = field(default_factory=dict)
    unpacked: dict[int, bytes] = field(default_factory=dict)
    accessors: dict[int, Array] = field(default_factory=dict)
    images: dict[int, Array | None] = field(default_factory=dict)
    surfaces: dict[int, Any] = field(default_factory=dict)


def get(fields: dict[str, Any], key: str, kind: type, default: Any = ...) -> Any:
    """A property of the JSON with its type checked. Raises MeshError; without a default it must be there."""
    value = fields.get(key, default)
    if value is ...:
        raise MeshError(f"the file breaks glTF's rules: {key!r} is missing")
    if value is default:
        return value
    if kind in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        bound = 2**53 if kind is int else 1e300
        if number and abs(value) <= bound and (kind is float or value == int(value)):
            return kind(value)
    elif isinstance(value, kind):
        return value
    raise MeshError(
        f"the file breaks glTF's rules: {key!r} should be {_KINDS[kind]}, found {str(value)[:40]!r}"
    )


def numbers(fields: dict[str, Any], key: str, default: tuple[float, ...]) -> tuple[float, ...]:
    """A list of as many numbers as the default has."""
    values = get(fields, key, list, None)
    if values is None:
        return default
    if len(values) != len(default):
        raise MeshError(
            f"the file breaks glTF's rules: {key!r} needs {len(default)} numbers, found {len(values)}"
        )
    return tuple(get({key: value}, key, float) for value in values)


def extension(fields: dict[str, Any], name: str) -> dict[str, Any] | None:
    return get(get(fields, "extensions", dict, {}), name, dict, None)


def item(file: GltfFile, kind: str, index: int) -> dict[str, Any]:
    """Entry ``index`` of a top-level list such as ``accessors``."""
    entries = get(file.doc, kind, list, [])
    if not 0 <= index < len(entries):
        raise MeshError(f"the file names entry {index} of {len(entries)} in {kind!r}")
    return get({kind: entries[index]}, kind, dict)


def open_gltf(data: bytes, folder: Path | None = None, root: Path | None = None) -> GltfFile:
    """A .glb or .gltf file from its bytes. Raises MeshError for anything but readable glTF 2.x."""
    binary = None
    if data[:4] == b"glTF":
        text, binary = _chunks(data)
    else:
        text = data.removeprefix(b"\xef\xbb\xbf")
    try:
        doc = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        if isinstance(error, MeshError):
            raise
        raise MeshError(f"its JSON cannot be read ({error}): the file is damaged") from error
    if not isinstance(doc, dict):
        raise MeshError("its JSON is not a glTF document")
    asset = get(doc, "asset", dict, {})
    version, least = get(asset, "version", str, "missing"), get(asset, "minVersion", str, "2.0")
    if not version.startswith("2.") or least != "2.0":
        found = version if least == "2.0" else least
        raise MeshError(f"glTF version 2.0 is read, found {found[:20]!r}: export the model again as glTF 2.0")
    return GltfFile(doc, binary, folder, root)


def _refuse_constant(name: str) -> float:
    raise MeshError(f"its JSON holds {name}, which is no number")


def _chunks(data: bytes) -> tuple[bytes, bytes | None]:
    """The JSON chunk and the binary chunk of a GLB."""
    if len(data) < 20:
        raise MeshError(f"the file is cut off: a GLB has at least 20 bytes, found {len(data)}")
    version, length = struct.unpack_from("<II", data, 4)
    if version != 2:
        raise MeshError(f"GLB version 2 is read, found {version}: export the model again as glTF 2.0")
    if length > len(data):
        raise MeshError(f"the file is cut off: its header promises {length} bytes, found {len(data)}")
    chunks: dict[bytes, bytes] = {}
    start = 12
    while start + 8 <= length:
        size, kind = struct.unpack_from("<I4s", data, start)
        if start + 8 + size > length:
            raise MeshError(f"the file is cut off: a chunk of {size} bytes has only {length - start - 8}")
        if start == 12 and kind != b"JSON":
            raise MeshError("the file is damaged: a GLB's first chunk must be JSON")
        chunks.setdefault(kind, data[start + 8 : start + 8 + size])
        start += 8 + size
    if b"JSON" not in chunks:
        raise MeshError("the file is cut off: it has no JSON chunk")
    return chunks[b"JSON"], chunks.get(b"BIN\0")


def buffer(file: GltfFile, index: int) -> bytes:
    """A whole buffer, at least as long as it says."""
    if index not in file.buffers:
        fields = item(file, "buffers", index)
        uri = get(fields, "uri", str, None)
        if uri is not None:
            data = resource(file.folder, file.root, uri)
        elif index == 0 and file.binary is not None:
            data = file.binary
        else:
            raise MeshError(f"buffer {index} has no data (no URI and no binary chunk)")
        length = get(fields, "byteLength", int)
        if len(data) < length:
            raise MeshError(f"buffer {index} is cut off: {length} bytes promised, found {len(data)}")
        file.buffers[index] = data
    return file.buffers[index]


def view_bytes(file: GltfFile, index: int) -> memoryview:
    """The bytes of a buffer view, unpacked where the file requires meshopt; else its plain copy serves."""
    fields = item(file, "bufferViews", index)
    required = get(file.doc, "extensionsRequired", list, [])
    packed = next((p for name in EXTENSIONS if name in required and (p := extension(fields, name))), None)
    if packed is None:
        return _span(file, index, fields)
    if index not in file.unpacked:
        count, stride = get(packed, "count", int), get(packed, "byteStride", int)
        if count * stride != get(fields, "byteLength", int):
            raise MeshError(
                f"buffer view {index} has another length than its {count} elements of {stride} bytes"
            )
        data = bytes(_span(file, index, packed))
        mode, filtering = get(packed, "mode", str), get(packed, "filter", str, "NONE")
        file.unpacked[index] = unpack(data, count, stride, mode, filtering)
    return memoryview(file.unpacked[index])


def _span(file: GltfFile, index: int, fields: dict[str, Any]) -> memoryview:
    data = buffer(file, get(fields, "buffer", int))
    start, length = get(fields, "byteOffset", int, 0), get(fields, "byteLength", int)
    if start < 0 or length < 1 or start + length > len(data):
        raise MeshError(
            f"buffer view {index} spans bytes {start} to {start + length} of a buffer of {len(data)} bytes"
        )
    return memoryview(data)[start : start + length]


def accessor(file: GltfFile, index: int) -> Array:
    """An accessor's elements (count, components): sparse values put in, normalised integers as float32.

    Without ``normalized`` the dtype is the file's own. Read once and shared: do not write to it.
    """
    if index not in file.accessors:
        file.accessors[index] = _accessor(file, index)
    return file.accessors[index]


def _accessor(file: GltfFile, index: int) -> Array:
    fields = item(file, "accessors", index)
    dtype = _dtype(fields)
    kind, count = get(fields, "type", str), get(fields, "count", int)
    if kind not in WIDTHS:
        raise MeshError(f"accessor {index} is of type {kind!r}, expected one of {', '.join(WIDTHS)}")
    width = WIDTHS[kind]
    if not 1 <= count <= MAX_COUNT:
        raise MeshError(f"accessor {index} counts {count} elements, expected 1 to {MAX_COUNT:,}")
    view = get(fields, "bufferView", int, None)
    if view is None:
        values = np.zeros((count, width), dtype)
    else:
        values = _elements(file, view, get(fields, "byteOffset", int, 0), count, width, dtype)
    sparse = get(fields, "sparse", dict, None)
    if sparse is not None:
        values = values.copy()
        where, what = get(sparse, "indices", dict), get(sparse, "values", dict)
        n = get(sparse, "count", int)
        if not 1 <= n <= count:
            raise MeshError(f"accessor {index} has {n} sparse values for {count} elements")
        at = _elements(
            file, get(where, "bufferView", int), get(where, "byteOffset", int, 0), n, 1, _dtype(where)
        )
        if at.dtype.kind != "u" or at.max() >= count:
            raise MeshError(f"accessor {index} has a sparse index beyond its {count} elements")
        new = _elements(file, get(what, "bufferView", int), get(what, "byteOffset", int, 0), n, width, dtype)
        values[at[:, 0]] = new
    return normalised(values) if get(fields, "normalized", bool, False) else values


def _dtype(fields: dict[str, Any]) -> np.dtype:
    code = get(fields, "componentType", int)
    if code not in COMPONENTS:
        raise MeshError(f"unknown componentType {code}, expected one of {', '.join(map(str, COMPONENTS))}")
    return np.dtype(COMPONENTS[code])


def _elements(file: GltfFile, view: int, start: int, count: int, width: int, dtype: np.dtype) -> Array:
    data = view_bytes(file, view)
    size = width * dtype.itemsize
    stride = get(item(file, "bufferViews", view), "byteStride", int, size)
    if start < 0 or stride < size or start + stride * (count - 1) + size > len(data):
        raise MeshError(
            f"{count} elements of {size} bytes do not fit buffer view {view} of {len(data)} bytes"
        )
    return np.ndarray((count, width), dtype, data, start, (stride, dtype.itemsize))


def normalised(values: Array) -> Array:
    """Integers to [0, 1] or [-1, 1] float32 (chapter 3.11); floats are left alone."""
    if values.dtype.kind == "f":
        return values
    top = np.iinfo(values.dtype).max
    return np.maximum(values.astype(np.float32) / np.float32(top), np.float32(-1))
