"""Triangle meshes with materials: the types, how they are placed, and the ways in and out.

World frame: right-handed, Z up, the front faces −Y (see `lora3d.camera`). Colours are linear, textures
sRGB as in their files. Attributes belong to the corners of faces, so that a seam needs no second vertex.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lora3d.camera import Array, turn_z
from lora3d.errors import InputError

Wrap = Literal["repeat", "clamp", "mirror"]


class MeshError(InputError):
    """A model that cannot be used, and why."""


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface looks: the part of glTF's materials that unlit and studio rendering need.

    Attributes:
        name: as in the file.
        base_color: LINEAR rgba, multiplies the texture and the corner colours.
        texture: (h, w, 4) uint8, sRGB, straight alpha, rows top-down; None: base_color alone.
        normal_map: (h, w, 4) uint8, opaque, unit normals n/2 + 1/2 in the axes of `face_tangents` and the normal;
            written to GLB and glTF, drawn by no renderer of ours.
        wrap: what lies beyond the texture's edges, horizontally and vertically.
        filter: how the texture is magnified; ``nearest`` is for pixel art.
        alpha_mode: ``OPAQUE`` ignores alpha, ``MASK`` cuts at alpha_cutoff, ``BLEND`` composes.
        alpha_cutoff: alpha below it is a hole, in mode ``MASK``.
        double_sided: whether back faces are seen. True unless the file says otherwise.
        emissive: LINEAR rgb that is added, strength included (may exceed 1).
        emissive_map: (h, w, 4) uint8, sRGB, read where ``texture`` is and by its sampler; multiplies ``emissive``.
        unlit: shown as it is under every light.
        metallic: 0 to 1, whether it is a metal; seen in studio light alone, as is roughness.
        roughness: 0 (polished) to 1. A rough non-metal shines nowhere; OBJ and the others know no other.
        metallic_roughness: (h, w, 4) uint8, read where ``texture`` is and by its sampler: green multiplies the
            roughness, blue the metalness, both linear.
    """

    name: str = ""
    base_color: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    texture: Array | None = None
    normal_map: Array | None = None
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    filter: Literal["linear", "nearest"] = "linear"
    alpha_mode: Literal["OPAQUE", "MASK", "BLEND"] = "OPAQUE"
    alpha_cutoff: float = 0.5
    double_sided: bool = True
    emissive: tuple[float, float, float] = (0.0, 0.0, 0.0)
    emissive_map: Array | None = None
    unlit: bool = False
    metallic: float = 0.0
    roughness: float = 1.0
    metallic_roughness: Array | None = None


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in world space. Raises MeshError where shapes or indices do not fit together.

    Attributes:
        vertices: (v, 3) float32, finite.
        faces: (f, 3) int32 into vertices, f ≥ 1, counter-clockwise seen from outside.
        face_material: (f,) int32 into materials.
        materials: at least one.
        corner_uv: (f, 3, 2) float32, glTF's convention: (0, 0) is the image's upper left corner and v
            grows downward; texture transforms are applied. None: no texture coordinates.
        corner_color: (f, 3, 4) float32 LINEAR rgba, multiplies; None: white.
        corner_normal: (f, 3, 3) float32 unit vectors; None: flat.
        notes: warnings for a person, one sentence each.
    """

    vertices: Array
    faces: Array
    face_material: Array
    materials: tuple[Material, ...]
    corner_uv: Array | None = None
    corner_color: Array | None = None
    corner_normal: Array | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        f = len(self.faces)
        if f == 0:
            raise MeshError("the model has no faces (a point cloud, lines or an empty file): nothing to draw")
        wanted = {
            "vertices": (len(self.vertices), 3),
            "faces": (f, 3),
            "face_material": (f,),
            "corner_uv": (f, 3, 2),
            "corner_color": (f, 3, 4),
            "corner_normal": (f, 3, 3),
        }
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise MeshError(f"a mesh of {f} faces needs {name} of shape {shape}, found {value.shape}")
        for name, index, size in (
            ("vertex", self.faces, len(self.vertices)),
            ("material", self.face_material, len(self.materials)),
        ):
            bad = (index < 0) | (index >= size)
            if bad.any():
                at = tuple(int(i) for i in np.argwhere(bad)[0])
                raise MeshError(f"face {at[0]} names {name} {int(index[at])} of {size}")
        if not np.isfinite(self.vertices).all():
            at0 = int(np.argwhere(~np.isfinite(self.vertices))[0, 0])
            raise MeshError(f"vertex {at0} is not a finite point: {self.vertices[at0].tolist()}")


def srgb_to_linear(values: Array) -> Array:
    """sRGB in [0, 1] to linear light, any shape (IEC 61966-2-1)."""
    values = np.asarray(values)
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0.0) + 0.055) / 1.055) ** 2.4)


# Column vectors of a file with Y up and front +Z to the world frame: (x, y, z) -> (x, −z, y).
FROM_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])

# What a surface without any colour gets: sRGB 0.8.
GREY = (*((float(srgb_to_linear(np.array(0.8))),) * 3), 1.0)


def face_normals(mesh: Mesh) -> Array:
    """Flat unit normals (f, 3) float32; zero where a face has no area."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    cross = np.cross(b - a, c - a)
    length = np.linalg.norm(cross, axis=1, keepdims=True)
    return (cross / np.where(length > 0, length, 1.0)).astype(np.float32)


def face_tangents(mesh: Mesh) -> Array:
    """Where the texture's right lies on each face: (f, 4) float32, a unit vector in its plane and w = ±1.

    Up on the texture is w · (normal × tangent) (glTF 2.0, section 3.7.2.1); zero where a face has no area on the
    texture. Raises MeshError without texture coordinates.
    """
    if mesh.corner_uv is None:
        raise MeshError("tangents follow texture coordinates: the mesh has no corner_uv")
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    uv = mesh.corner_uv.astype(np.float64)
    (e1, e2), (s, t) = ((x[:, 1] - x[:, 0], x[:, 2] - x[:, 0]) for x in (corners, uv))
    area = (s[:, 0] * t[:, 1] - s[:, 1] * t[:, 0])[:, None]
    sign = np.sign(area)
    right = sign * (e1 * t[:, 1:] - e2 * s[:, 1:])
    length = np.linalg.norm(right, axis=1, keepdims=True)
    right = right / np.where(length > 0, length, 1.0)
    # v grows downward: a face that lies on its texture as seen from outside has a negative area there.
    return np.concatenate([right, -sign], axis=1).astype(np.float32)


def normalise(mesh: Mesh) -> Mesh:
    """Bounding-box centre to the origin, farthest vertex at 0.5; vertices no face uses do not count.

    Raises MeshError for a mesh without extent.
    """
    used = np.unique(mesh.faces)
    points = mesh.vertices[used].astype(np.float64)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = np.linalg.norm(points - centre, axis=1).max()
    if not radius > 0:
        raise MeshError("all vertices of the model lie in one point: it has no shape")
    vertices = (mesh.vertices.astype(np.float64) - centre) * (0.5 / radius)
    if len(used) < len(vertices):
        unused = np.ones(len(vertices), dtype=bool)
        unused[used] = False
        vertices[unused] = 0.0
    return replace(mesh, vertices=vertices.astype(np.float32))


def turn(mesh: Mesh, azimuth_deg: float) -> Mesh:
    """The mesh turned about Z so that what is seen from ``azimuth_deg`` comes to the front."""
    rotation = turn_z(azimuth_deg)
    normal = mesh.corner_normal
    return replace(
        mesh,
        vertices=(mesh.vertices @ rotation.T).astype(np.float32),
        corner_normal=None if normal is None else (normal @ rotation.T).astype(np.float32),
    )


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several. Attributes that only some have are filled with what their absence means."""
    if not meshes:
        raise MeshError("no meshes to merge")
    counts = np.cumsum([0, *(len(m.vertices) for m in meshes)])
    materials = np.cumsum([0, *(len(m.materials) for m in meshes)])

    def joined(name: str, missing) -> Array | None:
        values = [getattr(m, name) for m in meshes]
        if all(v is None for v in values):
            return None
        filled = [missing(m) if v is None else v for m, v in zip(meshes, values, strict=True)]
        return np.concatenate(filled).astype(np.float32)

    return Mesh(
        vertices=np.concatenate([m.vertices for m in meshes]).astype(np.float32),
        faces=np.concatenate([m.faces + n for m, n in zip(meshes, counts, strict=False)]).astype(np.int32),
        face_material=np.concatenate(
            [m.face_material + n for m, n in zip(meshes, materials, strict=False)]
        ).astype(np.int32),
        materials=tuple(material for m in meshes for material in m.materials),
        corner_uv=joined("corner_uv", lambda m: np.zeros((len(m.faces), 3, 2), np.float32)),
        corner_color=joined("corner_color", lambda m: np.ones((len(m.faces), 3, 4), np.float32)),
        corner_normal=joined("corner_normal", lambda m: np.repeat(face_normals(m)[:, None], 3, axis=1)),
        notes=tuple(dict.fromkeys(note for m in meshes for note in m.notes)),
    )


def unique_rows(rows: Array) -> tuple[Array, Array]:
    """Equal rows of (n, k) float32 or int32 found: (first, which), rows[first][which] == rows.

    ``first`` (u,) int64 keeps the order of first appearance; ``which`` is (n,) int64. −0 equals 0.
    """
    bits = np.ascontiguousarray(rows) + rows.dtype.type(0)
    keys = bits.view(np.uint32).astype(np.uint64)
    if keys.shape[1] % 2:
        keys = np.concatenate([keys, np.zeros_like(keys[:, :1])], axis=1)
    pairs = keys[:, ::2] | keys[:, 1::2] << np.uint64(32)
    order = np.lexsort(pairs.T)
    ordered = pairs[order]
    starts = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    first = order[starts]  # lexsort is stable: the lowest index of each group
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    which = np.empty(len(rows), dtype=np.int64)
    which[order] = rank[np.cumsum(starts) - 1]
    return np.sort(first), which


def tidy(mesh: Mesh, *, notes: tuple[str, ...] = ()) -> Mesh:
    """What every reader does last.

    Equal positions become one vertex; unused vertices, repeated materials and faces that repeat an
    earlier one go. Colours and texture coordinates that are no numbers are replaced, with a note; normals
    of no length become flat ones.
    """
    notes = (*mesh.notes, *notes)
    used, corner = np.unique(mesh.faces, return_inverse=True)
    first, which = unique_rows(mesh.vertices[used])
    vertices = mesh.vertices[used[first]] + np.float32(0)
    faces = which[corner].reshape(-1, 3).astype(np.int32)
    distinct = {id(mesh.materials[i]): mesh.materials[i] for i in np.unique(mesh.face_material)}
    place = {key: n for n, key in enumerate(distinct)}
    lookup = np.array([place.get(id(m), 0) for m in mesh.materials], np.int32)

    uv, color, normal = mesh.corner_uv, mesh.corner_color, mesh.corner_normal
    if uv is not None and not np.isfinite(uv).all():
        uv = np.where(np.isfinite(uv).all(axis=-1, keepdims=True), uv, np.float32(0))
        notes += ("some texture coordinates are no numbers; they are read as 0",)
    if color is not None:
        if not np.isfinite(color).all():
            color = np.where(np.isfinite(color).all(axis=-1, keepdims=True), color, np.float32(1))
            notes += ("some vertex colours are no numbers; they are read as white",)
        color = np.clip(color, 0, 1)
    if normal is not None:
        length = np.linalg.norm(normal, axis=-1)
        bad = ~(np.abs(length - 1) < 1e-3)
        if bad.all():
            normal = None
        elif bad.any():
            normal = np.where(bad[..., None], face_normals(mesh)[:, None], normal)
    material = lookup[mesh.face_material]
    turned = faces[np.arange(len(faces))[:, None], (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3]
    keep, _ = unique_rows(np.concatenate([turned, material[:, None]], axis=1))
    return Mesh(
        vertices=vertices,
        faces=faces[keep],
        face_material=material[keep],
        materials=tuple(distinct.values()),
        corner_uv=None if uv is None else uv[keep],
        corner_color=None if color is None else color[keep],
        corner_normal=None if normal is None else normal[keep],
        notes=tuple(dict.fromkeys(notes)),
    )


# The readers and the writer import the types above, so they are imported where they are called.


def load_mesh(path: Path, *, root: Path | None = None) -> Mesh:
    """A model file to a Mesh in the world frame (Z up, front −Y).

    GLB, glTF and OBJ are Y up with the front +Z; STL, PLY and OFF are taken as Z up. Colours of OBJ, PLY
    and OFF are sRGB. Files that the model names (textures, buffers) must lie in ``root``, by default the
    model's own folder. Raises MeshError with the file's name and a reason.
    """
    from lora3d import assets, gltf, obj, ply, polygons

    path = Path(path)
    folder, kind = path.parent, path.suffix.lower()
    try:
        data = assets.read_file(path)
        if not data:
            raise MeshError("the file is empty")
        if kind in (".glb", ".gltf"):
            return gltf.read_gltf(data, folder, root or folder)
        if kind == ".obj":
            return obj.read_obj(data, folder, root or folder)
        if kind in (".stl", ".ply", ".off"):
            return {".stl": polygons.read_stl, ".ply": ply.read_ply, ".off": polygons.read_off}[kind](data)
        if kind in (".zip", ".7z", ".rar", ".gz", ".tar"):
            raise MeshError("it is an archive: unpack it first")
        raise MeshError(f"{kind or 'a file without ending'} is not read: export the model as .glb")
    except MeshError as error:
        raise MeshError(f"{path.name}: {error}") from error


def load_glb_bytes(data: bytes) -> Mesh:
    """A GLB in memory to a Mesh; it must carry its buffers and images in itself. Raises MeshError."""
    from lora3d import gltf

    return gltf.read_gltf(data)


def glb_bytes(mesh: Mesh, *, name: str = "model", extras: dict[str, Any] | None = None) -> bytes:
    """The mesh as a GLB: valid glTF 2.0, Y up, PNG textures; equal input gives equal bytes.

    ``extras`` (JSON types) goes to ``asset.extras``. `load_glb_bytes` is the inverse, up to the order of
    vertices and faces.
    """
    from lora3d import glb

    return glb.write_glb(mesh, name=name, extras=extras)
