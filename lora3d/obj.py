"""Wavefront OBJ files. OBJ states no frame and no colour space; taken here as nearly all game art has
them: Y up, front +Z, and vertex colours in sRGB.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lora3d.camera import Array
from lora3d.mesh import FROM_Y_UP, GREY, Mesh, MeshError, srgb_to_linear, tidy
from lora3d.mtl import Look, looks_of, text_of
from lora3d.polygons import MAX_FACES, brought_near, triangulate


@dataclass
class _Obj:
    """What the statements say, in their order. Indices are zero-based; −1 is none."""

    vertices: list[list[float]] = field(default_factory=list)  # 3 coordinates, then 3 colours or nothing
    uvs: list[list[float]] = field(default_factory=list)
    normals: list[list[float]] = field(default_factory=list)
    corners: list[tuple[int, int, int]] = field(default_factory=list)  # vertex, uv, normal
    starts: list[int] = field(default_factory=lambda: [0])
    lines: list[int] = field(default_factory=list)  # line number of each face
    face_material: list[int] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=lambda: {"": 0})  # materials in order of use
    libraries: list[str] = field(default_factory=list)


def read_obj(data: bytes, folder: Path, root: Path) -> Mesh:
    """An OBJ file with its MTL files and textures, which must not leave ``root``. Raises MeshError."""
    parsed = _parse(text_of(data))
    starts = np.array(parsed.starts)
    if len(starts) < 2:
        raise MeshError("the model has no faces (a point cloud, lines or an empty file): nothing to draw")
    if (np.diff(starts) - 2).clip(0).sum() > MAX_FACES:
        raise MeshError(f"the model has more than {MAX_FACES:,} triangles: reduce it first")
    notes: list[str] = []
    index = _corner_indices(parsed, starts, notes)
    points = brought_near(np.array([v[:3] for v in parsed.vertices], dtype=np.float64), notes)
    color = _vertex_colors(parsed.vertices, notes)
    plain = GREY if color is None else (1.0, 1.0, 1.0, 1.0)
    looks = looks_of(list(parsed.names), parsed.libraries, folder, root, notes, plain)
    triangles, source = triangulate(points, starts, index[:, 0])
    corner = index[triangles]  # (f, 3, 3): vertex, uv, normal
    face_material = np.array(parsed.face_material, np.int32)[source]
    normal = _gather(parsed.normals, corner[..., 2], 3)
    with np.errstate(over="ignore"):  # what overflows is refused by Mesh
        vertices = (points @ FROM_Y_UP.T).astype(np.float32)
    mesh = Mesh(
        vertices=vertices,
        faces=corner[..., 0].astype(np.int32),
        face_material=face_material,
        materials=tuple(look.material for look in looks),
        corner_uv=_corner_uv(parsed.uvs, corner[..., 1], looks, face_material),
        corner_color=None if color is None else color[corner[..., 0]],
        corner_normal=None if normal is None else _unit(normal @ FROM_Y_UP.T).astype(np.float32),
    )
    return tidy(mesh, notes=tuple(notes))


def _parse(text: str) -> _Obj:
    parsed = _Obj()
    material = 0
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if "#" in line:
            words = list(itertools.takewhile(lambda word: word[0] != "#", words))
        if not words:
            continue
        try:
            match words[0]:
                case "v":
                    parsed.vertices.append(_floats(words[1:7], 3))
                case "vt":
                    parsed.uvs.append(_floats(words[1:3], 1))
                case "vn":
                    parsed.normals.append(_floats(words[1:4], 3))
                case "f" | "fo":
                    corners = [_corner(word, parsed) for word in words[1:]]
                    if len(corners) >= 3:
                        parsed.corners += corners
                        parsed.starts.append(len(parsed.corners))
                        parsed.lines.append(number)
                        parsed.face_material.append(material)
                case "usemtl":
                    name = line.split(None, 1)[1].strip() if len(words) > 1 else ""
                    material = parsed.names.setdefault(name, len(parsed.names))
                case "mtllib" if len(words) > 1:
                    parsed.libraries.append(line.split(None, 1)[1].strip())
        except ValueError as error:
            raise MeshError(f"line {number} cannot be read ({error}): {line.strip()[:60]!r}") from error
    return parsed


def _floats(words: list[str], least: int) -> list[float]:
    if len(words) < least:
        raise ValueError(f"it has fewer than {least} numbers")
    return [float(word) for word in words]


def _corner(word: str, parsed: _Obj) -> tuple[int, int, int]:
    """ "v/vt/vn" to zero-based indices; negative ones count back from the last line so far."""
    parts = word.split("/")
    found = [-1, -1, -1]
    for i, (part, rows) in enumerate(zip(parts, (parsed.vertices, parsed.uvs, parsed.normals), strict=False)):
        if part:
            value = int(part)
            found[i] = value - 1 if value > 0 else len(rows) + value if value < 0 else -(2**40)
            if found[i] < 0:
                raise ValueError(f"it names entry {value} of {len(rows)}")
    if found[0] < 0:
        raise ValueError("a corner names no vertex")
    return found[0], found[1], found[2]


def _corner_indices(parsed: _Obj, starts: Array, notes: list[str]) -> Array:
    """(corners, 3) int64, each within its list; −1 for coordinates and normals that are not there."""
    try:
        index = np.array(parsed.corners, dtype=np.int64)
    except OverflowError as error:
        raise MeshError("a face names a vertex beyond all bounds") from error
    bad = index[:, 0] >= len(parsed.vertices)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        line = parsed.lines[int(np.searchsorted(starts, at, side="right")) - 1]
        found = int(index[at, 0]) + 1
        raise MeshError(f"the face in line {line} names vertex {found} of {len(parsed.vertices)}")
    for i, (what, rows) in enumerate((("texture coordinates", parsed.uvs), ("normals", parsed.normals)), 1):
        missing = index[:, i] >= len(rows)
        if missing.any():
            index[missing, i] = -1
            notes.append(f"faces name {what} that the file lacks; they are read without")
    for i, vertex in enumerate(parsed.vertices):
        if not all(map(math.isfinite, vertex[:3])):
            raise MeshError(f"vertex {i + 1} is not a finite point: {vertex[:3]}")
    return index


def _vertex_colors(vertices: list[list[float]], notes: list[str]) -> Array | None:
    """(v, 4) float32 linear, where all vertices carry r, g, b; NaN is left for `tidy`."""
    if any(len(v) < 6 for v in vertices):
        return None
    rgb = np.array([v[3:6] for v in vertices])
    if np.nanmax(rgb, initial=0.0) > 1:
        rgb = rgb / 255
        notes.append("vertex colours beyond 1 are read as 0 to 255")
    rgba = np.ones((len(rgb), 4), np.float32)
    rgba[:, :3] = srgb_to_linear(rgb)
    return rgba


def _gather(rows: list[list[float]], index: Array, width: int) -> Array | None:
    """Rows at index (f, 3), zeros where it is −1; None where no corner has one."""
    if not rows or (index < 0).all():
        return None
    table = np.array([(row + [0.0] * width)[:width] for row in rows])
    return np.where((index >= 0)[..., None], table[index], 0.0)


def _unit(vectors: Array) -> Array:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1.0)


def _corner_uv(
    rows: list[list[float]], index: Array, looks: list[Look], face_material: Array
) -> Array | None:
    """(f, 3, 2) float32 with v down. Kept only where a texture is read."""
    uv = _gather(rows, index, 2)
    if all(look.material.texture is None for look in looks):
        return None if uv is None else _flipped(uv)
    if uv is None:
        uv = np.zeros((*index.shape, 2))
    scale = np.array([look.scale for look in looks])[face_material][:, None]
    offset = np.array([look.offset for look in looks])[face_material][:, None]
    return _flipped(uv * scale + offset)


def _flipped(uv: Array) -> Array:
    return np.stack([uv[..., 0], 1 - uv[..., 1]], axis=-1).astype(np.float32)
