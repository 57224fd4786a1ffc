"""A glTF document to be changed by tests, and what to compare of a mesh."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora3d.mesh import (
    Mesh,
    load_glb_bytes,
)

SHARED = Path(__file__).resolve().parents[2] / "shared"
needs_art = pytest.mark.skipif(not (SHARED / "art").is_dir(), reason="the shared art set is not here")

# A tetrahedron in glTF's frame (Y up), outward, and the same in the world frame.
POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.uint16)
WORLD = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)
CODES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
UV = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
PIXELS = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4) * 7


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
