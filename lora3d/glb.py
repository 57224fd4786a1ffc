"""A Mesh to a GLB: one node, one primitive a material, vertices shared where all attributes agree."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from lora3d.camera import Array
from lora3d.gltf_material import NEAREST, WRAPS
from lora3d.mesh import FROM_Y_UP, Material, Mesh, MeshError, face_normals, face_tangents, unique_rows
from lora3d.png import encode_png

Json = dict[str, Any]

VERTICES, INDICES = 34962, 34963  # glTF's names for the two kinds of buffer view
LINEAR = 9729
PNG_LEVEL = 4  # a fiftieth larger than what Pillow writes, in a fifth of the time
ATTRIBUTES = (("POSITION", 3), ("NORMAL", 3), ("TANGENT", 4), ("TEXCOORD_0", 2), ("COLOR_0", 4))


def write_glb(
    mesh: Mesh, *, name: str, extras: Json | None, rights: str = "", packet: Json | None = None
) -> bytes:
    """See `lora3d.mesh.glb_bytes`; ``rights`` goes to asset.copyright, ``packet`` to KHR_xmp_json_ld.

    Raises MeshError for a texture without texture coordinates.
    """
    asset: Json = {"version": "2.0", "generator": "lora3d"}
    if extras:
        asset["extras"] = extras
    if rights:
        asset["copyright"] = rights
    doc: Json = {
        "asset": asset,
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name}],
    }
    if packet:
        asset["extensions"] = {"KHR_xmp_json_ld": {"packet": 0}}
        doc["extensions"] = {"KHR_xmp_json_ld": {"packets": [packet]}}
        doc["extensionsUsed"] = ["KHR_xmp_json_ld"]
    chunks: list[bytes] = []
    order = [m for m in range(len(mesh.materials)) if (mesh.face_material == m).any()]
    doc["meshes"] = [{"name": name, "primitives": _primitives(doc, chunks, mesh, order)}]
    doc["materials"] = _materials(doc, chunks, mesh, order)
    binary = b"".join(chunks)
    doc["buffers"] = [{"byteLength": len(binary)}]
    text = json.dumps(doc, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    size = 12 + 8 + len(text) + 8 + len(binary)
    head = struct.pack("<4sII", b"glTF", 2, size) + struct.pack("<I4s", len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary


def _append(doc: Json, chunks: list[bytes], data: bytes, **fields: int) -> int:
    """A new buffer view that starts at a multiple of 4 bytes."""
    views = doc.setdefault("bufferViews", [])
    start = sum(map(len, chunks))
    views.append({"buffer": 0, "byteOffset": start, "byteLength": len(data), **fields})
    chunks.append(data + b"\0" * (-len(data) % 4))
    return len(views) - 1


def _primitives(doc: Json, chunks: list[bytes], mesh: Mesh, order: list[int]) -> list[Json]:
    corners = _corner_table(mesh)
    tables, indices = [], []
    for material in order:
        rows = corners[mesh.face_material == material].reshape(-1, corners.shape[-1])
        first, which = unique_rows(rows)
        tables.append(rows[first])
        indices.append(which)
    small = max(len(table) for table in tables) < 65535  # the largest value is reserved
    dtype, code = ("<u2", 5123) if small else ("<u4", 5125)
    accessors = doc.setdefault("accessors", [])
    primitives: list[Json] = [{"attributes": {}, "material": i} for i in range(len(order))]
    column = 0
    for name, width in ATTRIBUTES:
        if not _has(mesh, name):
            continue
        blocks = [np.ascontiguousarray(t[:, column : column + width], dtype="<f4") for t in tables]
        column += width
        data = b"".join(block.tobytes() for block in blocks)
        view = _append(doc, chunks, data, byteStride=4 * width, target=VERTICES)
        start = 0
        for primitive, block in zip(primitives, blocks, strict=True):
            fields = {"bufferView": view, "byteOffset": start, "componentType": 5126, "count": len(block)}
            if name == "POSITION":
                fields |= {"min": block.min(axis=0).tolist(), "max": block.max(axis=0).tolist()}
            accessors.append(fields | {"type": f"VEC{width}"})
            primitive["attributes"][name] = len(accessors) - 1
            start += block.nbytes
    view = _append(doc, chunks, b"".join(i.astype(dtype).tobytes() for i in indices), target=INDICES)
    start = 0
    for primitive, index in zip(primitives, indices, strict=True):
        fields = {"bufferView": view, "byteOffset": start, "componentType": code, "count": len(index)}
        accessors.append(fields | {"type": "SCALAR"})
        primitive["indices"] = len(accessors) - 1
        start += len(index) * np.dtype(dtype).itemsize
    return primitives


def _has(mesh: Mesh, name: str) -> bool:
    if name in ("NORMAL", "TANGENT") and any(m.normal_map is not None for m in mesh.materials):
        return True
    names = {"NORMAL": "corner_normal", "TEXCOORD_0": "corner_uv", "COLOR_0": "corner_color"}
    return name == "POSITION" or (name in names and getattr(mesh, names[name]) is not None)


def _corner_table(mesh: Mesh) -> Array:
    """All attributes of every corner side by side in glTF's frame, (f, 3, 3 + 3 + 4 + 2 + 4) float32 at most."""
    to_gltf = FROM_Y_UP.astype(np.float32)  # row vectors times it: the inverse of reading
    columns = [mesh.vertices[mesh.faces] @ to_gltf]
    if _has(mesh, "NORMAL"):
        flat = np.repeat(face_normals(mesh)[:, None], 3, axis=1)
        normal = flat if mesh.corner_normal is None else mesh.corner_normal
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        good = np.abs(length - 1) < 1e-4  # what is exact stays exact
        normal = np.where(good, normal, normal / np.where(length > 0, length, 1))
        normal = np.where(length > 0, normal, face_normals(mesh)[:, None])
        flat = np.linalg.norm(normal, axis=-1, keepdims=True) == 0
        columns.append(np.where(flat, np.array([0, 0, 1], np.float32), normal).astype(np.float32) @ to_gltf)
    if _has(mesh, "TANGENT"):
        tangent = np.repeat(_safe_tangents(mesh)[:, None], 3, axis=1)
        columns.append(np.concatenate([tangent[..., :3] @ to_gltf, tangent[..., 3:]], axis=-1))
    if mesh.corner_uv is not None:
        columns.append(mesh.corner_uv)
    if mesh.corner_color is not None:
        columns.append(np.clip(mesh.corner_color, 0, 1))
    return np.concatenate(columns, axis=-1).astype(np.float32)


def _safe_tangents(mesh: Mesh) -> Array:
    """`face_tangents`, with any unit vector where a face has no area on the texture: (f, 4) float32."""
    tangent = face_tangents(mesh)
    tangent[~tangent.any(axis=1)] = (1, 0, 0, 1)
    return tangent


def _materials(doc: Json, chunks: list[bytes], mesh: Mesh, order: list[int]) -> list[Json]:
    textures: dict[tuple[Any, ...], int] = {}
    images: dict[int, int] = {}
    used: set[str] = set()
    written = []
    for which in order:
        material = mesh.materials[which]
        factor = [min(max(float(x), 0.0), 1.0) for x in material.base_color]
        pbr: Json = {
            "baseColorFactor": factor,
            "metallicFactor": float(material.metallic),
            "roughnessFactor": float(material.roughness),
        }
        fields: Json = {"pbrMetallicRoughness": pbr}
        if material.name:
            fields["name"] = material.name
        if material.double_sided:
            fields["doubleSided"] = True
        if material.alpha_mode != "OPAQUE":
            fields["alphaMode"] = material.alpha_mode
        if material.alpha_mode == "MASK":
            fields["alphaCutoff"] = float(material.alpha_cutoff)
        extensions: Json = {}
        power = max(material.emissive)
        if power > 0:
            fields["emissiveFactor"] = [float(x) / max(power, 1.0) for x in material.emissive]
        if power > 1:
            extensions["KHR_materials_emissive_strength"] = {"emissiveStrength": float(power)}
        if material.unlit:
            extensions["KHR_materials_unlit"] = {}
        if extensions:
            fields["extensions"] = extensions
            used |= set(extensions)
        if material.texture is not None:
            if mesh.corner_uv is None:
                raise MeshError(f"material {material.name!r} has a texture, but the mesh has no corner_uv")
            index = _texture(doc, chunks, material.texture, material, textures, images)
            pbr["baseColorTexture"] = {"index": index}
        if material.metallic_roughness is not None and mesh.corner_uv is not None:
            index = _texture(doc, chunks, material.metallic_roughness, material, textures, images)
            pbr["metallicRoughnessTexture"] = {"index": index}
        if material.emissive_map is not None and mesh.corner_uv is not None:
            index = _texture(doc, chunks, material.emissive_map, material, textures, images)
            fields["emissiveTexture"] = {"index": index}
        if material.normal_map is not None:
            index = _texture(doc, chunks, material.normal_map, material, textures, images)
            fields["normalTexture"] = {"index": index}
        written.append(fields)
    if used:
        doc["extensionsUsed"] = sorted({*doc.get("extensionsUsed", ()), *used})
    return written


def _texture(
    doc: Json,
    chunks: list[bytes],
    pixels: Array,
    material: Material,
    textures: dict[tuple[Any, ...], int],
    images: dict[int, int],
) -> int:
    """The texture's index; equal arrays and samplers are written once."""
    key = (id(pixels), material.wrap, material.filter)
    if key in textures:
        return textures[key]
    if id(pixels) not in images:
        opaque = bool((pixels[..., 3] == 255).all())
        view = _append(doc, chunks, encode_png(pixels[..., :3] if opaque else pixels, PNG_LEVEL))
        doc.setdefault("images", []).append({"bufferView": view, "mimeType": "image/png"})
        images[id(pixels)] = len(doc["images"]) - 1
    codes = {wrap: code for code, wrap in WRAPS.items()}
    magnify = NEAREST if material.filter == "nearest" else LINEAR
    sampler = {
        "magFilter": magnify,
        "minFilter": magnify,
        "wrapS": codes[material.wrap[0]],
        "wrapT": codes[material.wrap[1]],
    }
    samplers = doc.setdefault("samplers", [])
    if sampler not in samplers:
        samplers.append(sampler)
    texture = {"source": images[id(pixels)], "sampler": samplers.index(sampler)}
    doc.setdefault("textures", []).append(texture)
    textures[key] = len(doc["textures"]) - 1
    return textures[key]
