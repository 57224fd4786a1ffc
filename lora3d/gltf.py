"""glTF 2.0 scenes to a Mesh: nodes, skins, primitives and materials, read exactly as the file says.

Read beyond the core: KHR_mesh_quantization, KHR_draco_mesh_compression, EXT_ and KHR_meshopt_compression (by
the extra ``meshopt``), KHR_texture_transform, KHR_materials_unlit, KHR_materials_emissive_strength,
KHR_materials_pbrSpecularGlossiness (its diffuse part), KHR_node_visibility and EXT_texture_webp. Skinned
meshes are shown in the rest pose of their joints.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lora3d.camera import Array
from lora3d.gltf_file import (
    GltfFile,
    accessor,
    extension,
    get,
    item,
    normalised,
    numbers,
    open_gltf,
    view_bytes,
)
from lora3d.gltf_material import Surface, has_maps, surface, without_maps
from lora3d.gltf_meshopt import EXTENSIONS as MESHOPT
from lora3d.mesh import FROM_Y_UP, Mesh, MeshError, merge, tidy

MAX_FACES = 5_000_000

# Extensions that a file may require: those read, and those that change only what is not drawn here.
READ = {
    "KHR_mesh_quantization",
    "KHR_draco_mesh_compression",
    *MESHOPT,
    "KHR_texture_transform",
    "KHR_materials_unlit",
    "KHR_materials_emissive_strength",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_node_visibility",
    "EXT_texture_webp",
}
HARMLESS = re.compile(r"KHR_(materials_\w+|lights_punctual|animation_pointer|xmp\w*)$")


def read_gltf(data: bytes, folder: Path | None = None, root: Path | None = None) -> Mesh:
    """A GLB or glTF file to a Mesh in the world frame (glTF's +Y becomes Z, its front +Z becomes −Y).

    ``folder`` is where relative URIs start; None refuses them. They must not leave ``root``. Raises
    MeshError for whatever cannot be drawn as the file means it.
    """
    file = open_gltf(data, folder, root)
    _check_extensions(file)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by Mesh
        meshes = _meshes(file)
    if not meshes:
        reason = "; ".join(file.notes) or "there is nothing to draw"
        raise MeshError(f"the scene holds no triangles: {reason}")
    return tidy(merge(meshes), notes=tuple(file.notes))


def _meshes(file: GltfFile) -> list[Mesh]:
    """Every primitive of every node that the scene shows, in the world frame."""
    nodes = _nodes(file)
    worlds = {index: world for index, world, _ in nodes}
    shown = [(item(file, "nodes", index), world) for index, world, drawn in nodes if drawn]
    if not nodes:  # a mere library of meshes: all are shown as they are
        shown = [({"mesh": i}, np.eye(4)) for i in range(len(get(file.doc, "meshes", list, [])))]
    parts: dict[tuple[int, str], list[_Part]] = {}
    meshes: list[Mesh] = []
    faces = 0
    for fields, world in shown:
        which = get(fields, "mesh", int, None)
        if which is None:
            continue
        morph = get(fields, "weights", list, None)  # a node's own, in place of its mesh's (chapter 3.7.2.2)
        key = which, repr(morph)
        if key not in parts:
            parts[key] = _parts(file, which, morph)
        skin = get(fields, "skin", int, None)
        joints = None if skin is None else _joint_matrices(file, skin, worlds)
        faces = _require_faces(parts[key], faces)
        meshes += [_place(part, world, joints) for part in parts[key]]
    return meshes


def _check_extensions(file: GltfFile) -> None:
    used, required = (get(file.doc, key, list, []) for key in ("extensionsUsed", "extensionsRequired"))
    for name in required:
        if not isinstance(name, str) or not (name in READ or HARMLESS.match(name)):
            raise MeshError(
                f"the file requires the glTF extension {name!r}, which is not read: export it without"
            )
    if "EXT_mesh_gpu_instancing" in used:
        file.notes.append("the copies made by EXT_mesh_gpu_instancing are left out")


# -- nodes ------------------------------------------------------------------------------------------


def _nodes(file: GltfFile) -> list[tuple[int, Array, bool]]:
    """Every node once: index, local-to-world (4, 4), and whether the scene shows it.

    Nodes outside the scene are listed too (not shown): a skin's joints may be among them.
    """
    count = len(get(file.doc, "nodes", list, []))
    children = [_indices(item(file, "nodes", i), "children") for i in range(count)]
    below = {child for some in children for child in some}
    orphans = [i for i in range(count) if i not in below]
    roots = orphans
    if get(file.doc, "scenes", list, []):
        roots = _indices(item(file, "scenes", get(file.doc, "scene", int, 0)), "nodes")
    # Some exporters list children among the scene's roots too: their parents come first.
    roots = sorted(roots, key=lambda i: i in below)
    found: list[tuple[int, Array, bool]] = []
    seen: set[int] = set()
    for first, shown in [(i, True) for i in roots] + [(i, False) for i in orphans]:
        if first in seen:
            continue
        stack = [(first, np.eye(4), shown)]
        while stack:
            index, parent, drawn = stack.pop()
            fields = item(file, "nodes", index)
            if index in seen and not shown:
                continue
            if index in seen:
                raise MeshError(f"node {index} is reached twice: the node tree has a loop or a shared child")
            seen.add(index)
            hidden = extension(fields, "KHR_node_visibility") or {}
            drawn = drawn and get(hidden, "visible", bool, True)
            world = parent @ _local_matrix(fields)
            found.append((index, world, drawn))
            stack += [(child, world, drawn) for child in reversed(children[index])]
    return found


def _indices(fields: dict[str, Any], key: str) -> list[int]:
    return [get({key: value}, key, int) for value in get(fields, key, list, [])]


def _local_matrix(fields: dict[str, Any]) -> Array:
    """A node's transform (4, 4): its matrix, or translation · rotation · scale."""
    if "matrix" in fields:
        return np.array(numbers(fields, "matrix", (0.0,) * 16)).reshape(4, 4).T
    x, y, z, w = numbers(fields, "rotation", (0.0, 0.0, 0.0, 1.0))
    length = x * x + y * y + z * z + w * w
    s = 2.0 / length if length > 0 else 0.0
    rotation = np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - w * z), s * (x * z + w * y)],
            [s * (x * y + w * z), 1 - s * (x * x + z * z), s * (y * z - w * x)],
            [s * (x * z - w * y), s * (y * z + w * x), 1 - s * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation * np.array(numbers(fields, "scale", (1.0, 1.0, 1.0)))
    matrix[:3, 3] = numbers(fields, "translation", (0.0, 0.0, 0.0))
    return matrix


def _joint_matrices(file: GltfFile, index: int, worlds: dict[int, Array]) -> Array:
    """(joints, 4, 4): joint-to-world · inverse bind matrix (chapter 3.7.3)."""
    fields = item(file, "skins", index)
    joints = _indices(fields, "joints")
    missing = [j for j in joints if j not in worlds]
    if missing or not joints:
        raise MeshError(f"skin {index} has no joints or names a node that is not there: {missing[:1]}")
    matrices = np.stack([worlds[j] for j in joints])
    inverse = get(fields, "inverseBindMatrices", int, None)
    if inverse is None:
        return matrices
    bind = accessor(file, inverse)
    if len(bind) < len(joints) or bind.shape[1] != 16:
        raise MeshError(f"skin {index} has {len(joints)} joints, but {len(bind)} inverse bind matrices")
    return matrices @ bind[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)


# -- primitives -------------------------------------------------------------------------------------


_Read = Callable[[str], Array]  # an attribute by name, (vertices, components)


@dataclass(frozen=True, eq=False)
class _Part:
    """One primitive in its mesh's own frame; n vertices, all of them used."""

    faces: Array  # (f, 3) int32
    position: Array  # (n, 3) float64
    surface: Surface
    normal: Array | None  # (n, 3) float64
    uv: Array | None  # (n, 2) float64
    color: Array | None  # (n, 4) float32, linear
    joints: Array | None  # (n, 4·sets) int
    weights: Array | None  # (n, 4·sets) float64, sums of 1


def _parts(file: GltfFile, index: int, morph: list[Any] | None) -> list[_Part]:
    fields = item(file, "meshes", index)
    morph = get(fields, "weights", list, []) if morph is None else morph
    parts: list[_Part] = []
    for primitive in get(fields, "primitives", list):
        part = _part(file, get({"primitive": primitive}, "primitive", dict), morph)
        parts += [part] if part is not None else []
        _require_faces(parts)
    return parts


def _require_faces(parts: list[_Part], others: int = 0) -> int:
    """All faces together. Raises MeshError for more than MAX_FACES."""
    faces = others + sum(len(part.faces) for part in parts)
    if faces > MAX_FACES:
        raise MeshError(f"the model has more than {MAX_FACES:,} triangles: reduce it first")
    return faces


def _part(file: GltfFile, fields: dict[str, Any], morph: list[Any]) -> _Part | None:
    """One primitive; None, with a note, for points, lines and empty ones."""
    mode = get(fields, "mode", int, 4)
    names = get(fields, "attributes", dict)
    if mode not in (4, 5, 6) or "POSITION" not in names:
        file.notes.append("points, lines or empty parts are left out")
        return None
    packed = extension(fields, "KHR_draco_mesh_compression")
    faces, read = _draco(file, names, packed) if packed else _plain(file, fields, names, mode)
    if len(faces) == 0:
        file.notes.append("points, lines or empty parts are left out")
        return None
    if len(faces) > MAX_FACES:
        raise MeshError(f"the model has more than {MAX_FACES:,} triangles: reduce it first")
    count = len(read("POSITION"))
    if faces.max() >= count:
        bad = int(np.argwhere((faces >= count).any(axis=1))[0, 0])
        raise MeshError(f"face {bad} names vertex {int(faces[bad].max())} of {count}")
    used, inverse = np.unique(faces, return_inverse=True)

    def attribute(name: str, widths: tuple[int, ...]) -> Array | None:
        if name not in names:
            return None
        values = read(name)
        if len(values) != count or values.shape[1] not in widths:
            raise MeshError(f"{name} has shape {values.shape}, expected {count} rows of {widths[-1]}")
        return values[used]

    look = surface(file, get(fields, "material", int, None))
    position, normal = attribute("POSITION", (3,)), attribute("NORMAL", (3,))
    assert position is not None
    position = position.astype(np.float64)
    for weight, target in zip(morph, get(fields, "targets", list, []), strict=False):
        moved = get({"target": target}, "target", dict)
        if weight and "POSITION" in moved:
            delta = accessor(file, get(moved, "POSITION", int))
            if delta.shape != (count, 3):
                raise MeshError(f"a morph target has shape {delta.shape}, expected {(count, 3)}")
            position += get({"weights": weight}, "weights", float) * delta[used]
            normal = None  # flat shading is right whatever the target does
    color = attribute("COLOR_0", (3, 4))
    if color is not None and color.shape[1] == 3:
        color = np.concatenate([color, np.ones_like(color[:, :1])], axis=1)
    uv = attribute(f"TEXCOORD_{look.texcoord}", (2,))
    if uv is None and has_maps(look.material):
        file.notes.append(
            f"the texture of material {look.material.name!r} has no coordinates and is left out"
        )
        look = Surface(without_maps(look.material))
    joints, weights = _influences(attribute)
    return _Part(
        faces=inverse.reshape(-1, 3).astype(np.int32),
        position=position,
        surface=look,
        normal=None if normal is None else normal.astype(np.float64),
        uv=None if uv is None else look.apply(uv.astype(np.float64)),
        color=None if color is None else normalised(color).astype(np.float32),
        joints=joints,
        weights=weights,
    )


def _influences(attribute) -> tuple[Array | None, Array | None]:
    """All sets of JOINTS_n and WEIGHTS_n side by side; the weights of a vertex sum to 1."""
    joints: list[Array] = []
    weights: list[Array] = []
    for n in range(8):
        j, w = attribute(f"JOINTS_{n}", (4,)), attribute(f"WEIGHTS_{n}", (4,))
        if j is None or w is None:
            break
        joints.append(j.astype(np.int64))
        weights.append(normalised(w).astype(np.float64))
    if not joints:
        return None, None
    weight = np.concatenate(weights, axis=1)
    total = weight.sum(axis=1, keepdims=True)
    weight[:, :1] += total == 0
    return np.concatenate(joints, axis=1), weight / np.where(total == 0, 1.0, total)


def _plain(file: GltfFile, fields: dict[str, Any], names: dict[str, Any], mode: int) -> tuple[Array, _Read]:
    """The faces of a primitive, and how its attributes are read."""

    def read(name: str) -> Array:
        return accessor(file, get(names, name, int))

    which = get(fields, "indices", int, None)
    if which is None:
        return _triangles(np.arange(len(read("POSITION"))), mode), read
    indices = accessor(file, which)
    if indices.dtype.kind != "u" or indices.shape[1] != 1:
        raise MeshError("vertex indices must be unsigned whole numbers")
    return _triangles(indices[:, 0].astype(np.int64), mode), read


def _triangles(indices: Array, mode: int) -> Array:
    """Index list (n,) to triangles (f, 3): 4 separate, 5 strip, 6 fan (chapter 3.7.2.1)."""
    if mode == 4:
        return indices[: len(indices) // 3 * 3].reshape(-1, 3)
    i = np.arange(max(len(indices) - 2, 0))
    if mode == 5:
        corners = np.stack([i, i + 1 + i % 2, i + 2 - i % 2], axis=1)
    else:
        corners = np.stack([i + 1, i + 2, np.zeros_like(i)], axis=1)
    faces = indices[corners]
    joined = (faces[:, 0] == faces[:, 1]) | (faces[:, 1] == faces[:, 2]) | (faces[:, 2] == faces[:, 0])
    return faces[~joined]


def _draco(file: GltfFile, names: dict[str, Any], packed: dict[str, Any]) -> tuple[Array, _Read]:
    """The same for a Draco-compressed primitive."""
    import DracoPy

    data = bytes(view_bytes(file, get(packed, "bufferView", int)))
    try:
        decoded = DracoPy.decode(data)
    except (DracoPy.FileTypeException, ValueError, RuntimeError, MemoryError) as error:
        raise MeshError(f"its Draco data cannot be decoded: {error}") from error
    faces = getattr(decoded, "faces", None)
    if faces is None or len(faces) == 0:
        raise MeshError("its Draco data holds no faces")
    by_id = {entry["unique_id"]: np.asarray(entry["data"]) for entry in decoded.attributes}
    ids = get(packed, "attributes", dict)

    def read(name: str) -> Array:
        index = get(names, name, int)
        if name not in ids:
            return accessor(file, index)
        values = by_id.get(get(ids, name, int))
        if values is None:
            raise MeshError(f"its Draco data lacks the attribute {name}")
        values = values.reshape(len(values), -1)
        scaled = get(item(file, "accessors", index), "normalized", bool, False)
        return normalised(values) if scaled else values

    return np.asarray(faces, dtype=np.int64), read


def _times(matrices: Array, vectors: Array) -> Array:
    """Matrices (n, 3, 3), or one for all (1, 3, 3), times column vectors (n, 3)."""
    if len(matrices) == 1:
        return vectors @ matrices[0].T
    return (matrices @ vectors[:, :, None])[:, :, 0]


def _place(part: _Part, world: Array, joints: Array | None) -> Mesh:
    """A part in the world frame. A skin replaces the node's own transform (chapter 3.7.3.3)."""
    matrix = world[None, :3]
    if joints is not None and part.joints is not None and part.weights is not None:
        if part.joints.max() >= len(joints):
            raise MeshError(f"a vertex hangs on joint {int(part.joints.max())} of {len(joints)}")
        matrix = np.zeros((len(part.position), 3, 4))
        for k in range(part.joints.shape[1]):
            matrix += part.weights[:, k, None, None] * joints[part.joints[:, k], :3]
    linear = matrix[:, :, :3]
    position = _times(linear, part.position) + matrix[:, :, 3]
    vertices = (position @ FROM_Y_UP.T).astype(np.float32)
    # The inverse transpose up to a positive factor, defined for flattening transforms too.
    a, b, c = linear.transpose(1, 0, 2)
    cofactor = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    sign = np.sign((a * cofactor[:, 0]).sum(axis=1))
    sign[sign == 0] = 1.0
    faces = part.faces if sign.sum() >= 0 else part.faces[:, ::-1]
    normal = None
    if part.normal is not None:
        normal = _times(sign[:, None, None] * cofactor, part.normal) @ FROM_Y_UP.T
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        as_is = (np.abs(length - 1) < 1e-6) | (length == 0)  # a unit vector keeps its very bits
        normal = (normal / np.where(as_is, 1.0, length)).astype(np.float32)
    return Mesh(
        vertices=vertices,
        faces=np.ascontiguousarray(faces),
        face_material=np.zeros(len(faces), np.int32),
        materials=(part.surface.material,),
        corner_uv=None if part.uv is None else part.uv[faces].astype(np.float32),
        corner_color=None if part.color is None else part.color[faces],
        corner_normal=None if normal is None else normal[faces],
    )
