"""A generated model as files that other programs open, with the mark of its origin inside.

glTF's frame is right-handed with Y up, and OBJ follows it, as Blender, Unity and Unreal expect; PLY and STL,
which say nothing of axes, keep Z up, as Blender and slicers read them.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import SimpleMaterial

from lora3d.camera import Array
from lora3d.card import shown
from lora3d.errors import InputError
from lora3d.formats import FORMATS, MESHES, Pivot
from lora3d.glb import write_glb
from lora3d.grid import ViewGrid
from lora3d.lift import lift
from lora3d.lift.relief import relief
from lora3d.lift.splats import splat, splat_bytes
from lora3d.lift.views import read_views
from lora3d.lift.voxels import cubes, lift_voxels, npz_bytes, vox_bytes
from lora3d.mesh import FROM_Y_UP, Mesh, unique_rows

VOXELS = 48  # a side, of vox, npz and cubes
ENDINGS = {
    **{format: (f".{format}",) for format in ("glb", "ply", "stl", "vox", "npz")},
    **{"gltf": (".gltf", ".bin"), "obj": (".obj", "_texture.png", ".mtl")},
    **{"cubes": (".glb",), "relief": (".glb",), "splats": (".ply",), "field": (".safetensors",)},
}
AI_MADE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
CONTEXT = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}


def view_files(
    tiles: Array,
    grid: ViewGrid,
    name: str,
    format: str,
    record: dict[str, Any],
    *,
    mesh: Mesh | None = None,
    prior: Array | None = None,
    pivot: Pivot | None = None,
    size: float | None = None,
) -> dict[str, bytes]:
    """The files of what a grid of views lifts to, by name; the first is the one to open.

    Args:
        tiles, prior: as in `lora3d.lift.lift`.
        format: those of `model_files`; ``vox`` (MagicaVoxel), ``npz`` (NumPy) and ``cubes`` (GLB): `VOXELS`
            voxels a side; ``splats``: Gaussians in a PLY; ``relief``: the first view as a GLB with depth;
            ``field``: a radiance field, see `lora3d.lift.field`.
        mesh: what the tiles lift to, where it is known already.
        pivot, size: where a mesh is placed, see `placed`.

    Raises InputError for another format, a place for what is no mesh, and as the lifts do.
    """
    name = safe_name(name)
    file_names(name, format)
    if format not in MESHES and (pivot or size is not None):
        raise InputError(
            f"pivot and size are those of a mesh: expected {', '.join(MESHES)}, found {format!r}"
        )
    if format in ("vox", "npz", "cubes"):
        voxels = lift_voxels(tiles, grid, VOXELS, mesh=mesh, prior=prior)
        if format == "cubes":
            return model_files(cubes(voxels), name, "glb", record)
        return {f"{name}.{format}": vox_bytes(voxels) if format == "vox" else npz_bytes(voxels)}
    if format == "field":
        return {f"{name}.safetensors": _field(tiles, grid)}
    if format == "relief":
        return model_files(relief(tiles, grid), name, "glb", record)
    mesh = mesh or lift(tiles, grid, prior=prior)
    if format == "splats":
        return {f"{name}.ply": splat_bytes(splat(mesh))}
    return model_files(placed(mesh, pivot, size), name, format, record)


def file_names(name: str, format: str) -> list[str]:
    """What `view_files` calls its files, the one to open first. Raises InputError for another format."""
    if format not in FORMATS:
        raise InputError(f"no format {format!r}: expected one of {', '.join(FORMATS)}")
    return [safe_name(name) + ending for ending in ENDINGS[format]]


def require_spared(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raises InputError where a file to be written is one that was given, or comes twice."""
    given, seen = {path.resolve() for path in inputs}, set[Path]()
    for path in outputs:
        place = path.resolve()
        if place in given:
            raise InputError(f"{path} was given and would be overwritten: choose another --out")
        if place in seen:
            raise InputError(f"{path} would be written twice: give one of the two another name")
        seen.add(place)


def _field(tiles: Array, grid: ViewGrid) -> bytes:
    from lora3d.lift.field import field_bytes, fit_field  # they bring torch

    return field_bytes(fit_field(read_views(tiles, grid)))


def placed(mesh: Mesh, pivot: Pivot | None = None, size: float | None = None) -> Mesh:
    """The mesh in its final place, for an engine.

    pivot: what comes to the origin: the ``centre`` of the bounding box, or of its ``base``; None leaves the
    origin. size: the longest side of the bounding box, in metres (glTF's unit); None leaves it. Raises
    InputError for a size that is not positive.
    """
    if size is not None and not 0 < size < np.inf:
        raise InputError(f"a size is a positive number of metres, found {size}")
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    origin = (low + high) / 2 if pivot else np.zeros(3)
    if pivot == "base":
        origin[2] = low[2]
    scale = 1.0 if size is None else size / float((high - low).max())
    return replace(mesh, vertices=((mesh.vertices - origin) * scale).astype(np.float32))


def model_files(mesh: Mesh, name: str, format: str, record: dict[str, Any]) -> dict[str, bytes]:
    """The files of a lifted mesh (one material, textured), by name; the first is the one to open.

    Args:
        name: of the files, without an ending; made safe by `safe_name`.
        format: ``glb``; ``gltf``: JSON and .bin; ``obj``: with .mtl and _texture.png; ``ply``: colours at vertices;
            ``stl``: shape alone.
        record: of the generation (`Generation.record`): GLB and glTF carry all of it, OBJ a line of comment.

    Raises InputError for another format.
    """
    if format not in MESHES:
        raise InputError(f"no format {format!r}: expected one of {', '.join(MESHES)}")
    name = safe_name(name)
    if format in ("glb", "gltf"):
        binary = write_glb(
            mesh, name=name, extras={"lora3d": record}, rights=rights_of(record), packet=xmp_packet(record)
        )
        return {f"{name}.glb": binary} if format == "glb" else split_glb(binary, name)
    if format == "stl":
        solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        return {f"{name}.stl": trimesh.exchange.stl.export_stl(solid)}
    uv = mesh.corner_uv
    texture = mesh.materials[0].texture
    if uv is None or texture is None:
        raise InputError(f"{format} is written from a lifted mesh with a texture: write glb instead")
    if format == "ply":
        return {f"{name}.ply": _ply(mesh, uv, texture)}
    return _obj(mesh, uv, texture, name, rights_of(record))


def safe_name(name: str) -> str:
    """A name for files: what file systems and MTL files dislike becomes ``_``."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:120] or "model"


def rights_of(record: dict[str, Any]) -> str:
    """One line for `asset.copyright`: that a machine made it, whose hand it learned, and under which terms."""
    artists = _artists(record)
    hand = f", in a style learned from {', '.join(artists)}" if artists else ""
    terms = f"; licence of the training assets: {record['license']}" if record.get("license") else ""
    return f"AI-generated with lora3d{hand}{terms}"


def _artists(record: dict[str, Any]) -> list[str]:
    # A foreign card's words, on one line each: they must not become an OBJ's own.
    names = {shown(" ".join(a.split())) for adapter in record.get("adapters", ()) for a in adapter["artists"]}
    return sorted(names - {""})


def xmp_packet(record: dict[str, Any]) -> dict[str, Any]:
    """The origin as XMP in JSON-LD (KHR_xmp_json_ld): creator, contributors, terms, tool, kind of source."""
    adapters = record.get("adapters", ())
    artists = _artists(record)
    made_by = [f"lora3d {record.get('versions', {}).get('lora3d', '')}".strip(), f"base {record.get('base')}"]
    made_by += [f"adapter {adapter['name']}" for adapter in adapters]
    packet: dict[str, Any] = {
        "@context": CONTEXT,
        "@id": "",
        "dc:creator": {"@list": [", ".join(made_by)]},
        "dc:rights": {
            "@type": "rdf:Alt",
            "rdf:_1": {"@language": "x-default", "@value": rights_of(record)},
        },
        "xmp:CreatorTool": made_by[0],
        "xmpRights:Marked": True,
        "Iptc4xmpExt:DigitalSourceType": AI_MADE,
    }
    if artists:
        packet["dc:contributor"] = {"@set": artists}
    if record.get("seed") is not None:
        packet["dc:identifier"] = f"{str(record.get('base_revision'))[:12]}:{record['seed']}"
    return packet


def split_glb(binary: bytes, name: str) -> dict[str, bytes]:
    """A GLB as .gltf and the .bin that it names."""
    (length,) = struct.unpack_from("<I", binary, 12)
    doc = json.loads(binary[20 : 20 + length])
    (size,) = struct.unpack_from("<I", binary, 20 + length)
    buffer = binary[28 + length : 28 + length + size]
    doc["buffers"][0]["uri"] = f"{name}.bin"
    text = json.dumps(doc, indent=1, sort_keys=True) + "\n"
    return {f"{name}.gltf": text.encode(), f"{name}.bin": buffer[: doc["buffers"][0]["byteLength"]]}


def _shared(columns: list[Array]) -> tuple[Array, Array]:
    """Corner attributes (f, 3, k) to rows that corners share: rows (n, Σk) and faces (f, 3)."""
    corners = np.concatenate(columns, axis=-1).astype(np.float32)
    rows = corners.reshape(-1, corners.shape[-1])
    first, which = unique_rows(rows)
    return rows[first], which.reshape(-1, 3)


def _obj(mesh: Mesh, uv: Array, texture: Array, name: str, rights: str) -> dict[str, bytes]:
    rows, faces = _shared([mesh.vertices[mesh.faces] @ FROM_Y_UP.astype(np.float32), uv])
    flipped = rows[:, 3:] * [1, -1] + [0, 1]  # OBJ counts v upward
    # trimesh names the picture after the material; NAME.png is the grid of views.
    picture = Image.fromarray(np.ascontiguousarray(texture[..., :3]))
    material = SimpleMaterial(image=picture, name=f"{name}_texture")
    solid = trimesh.Trimesh(
        rows[:, :3], faces, process=False, visual=TextureVisuals(uv=flipped, material=material)
    )
    text, parts = trimesh.exchange.obj.export_obj(
        solid, include_normals=False, return_texture=True, mtl_name=f"{name}.mtl", header=rights, digits=6
    )
    return {f"{name}.obj": text.encode(), **parts}


def _ply(mesh: Mesh, uv: Array, texture: Array) -> bytes:
    height, width = texture.shape[:2]
    column = np.clip((uv[..., 0] * width).astype(int), 0, width - 1)
    row = np.clip((uv[..., 1] * height).astype(int), 0, height - 1)
    rows, faces = _shared([mesh.vertices[mesh.faces], texture[row, column].astype(np.float32)])
    solid = trimesh.Trimesh(rows[:, :3], faces, process=False)
    solid.visual = ColorVisuals(solid, vertex_colors=rows[:, 3:].astype(np.uint8))
    return trimesh.exchange.ply.export_ply(solid)
