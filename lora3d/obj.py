"""Wavefront OBJ and MTL files.

OBJ states no frame and no colour space; taken here as nearly all game art has it: Y up, front +Z, and
sRGB for Kd, Ke and vertex colours. Where map_Kd gives a texture, Kd is not multiplied: exporters leave
0.64, 0.8 or 0 there.
"""

from __future__ import annotations

import codecs
import itertools
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lora3d.assets import confined, decode_image, read_file
from lora3d.camera import Array
from lora3d.mesh import FROM_Y_UP, GREY, Material, Mesh, MeshError, srgb_to_linear, tidy
from lora3d.polygons import MAX_FACES, triangulate

IMAGES = ("PNG", "JPEG", "WEBP", "TGA", "BMP", "TIFF", "GIF")
# The options of a texture statement, and how many words follow each at most.
MAP_OPTIONS = {
    **{"-blendu": 1, "-blendv": 1, "-boost": 1, "-mm": 2, "-texres": 1, "-clamp": 1, "-bm": 1, "-imfchan": 1},
    **{"-o": 3, "-s": 3, "-t": 3, "-type": 1, "-cc": 1, "-colorspace": 1},
}


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


@dataclass(frozen=True, eq=False)
class _Look:
    """An MTL material, and the scale and offset (2, 2) of its texture coordinates (v up)."""

    material: Material
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


def read_obj(data: bytes, folder: Path, root: Path) -> Mesh:
    """An OBJ file with its MTL files and textures, which must not leave ``root``. Raises MeshError."""
    parsed = _parse(_text(data))
    starts = np.array(parsed.starts)
    if len(starts) < 2:
        raise MeshError("the model has no faces (a point cloud, lines or an empty file): nothing to draw")
    if (np.diff(starts) - 2).clip(0).sum() > MAX_FACES:
        raise MeshError(f"the model has more than {MAX_FACES:,} triangles: reduce it first")
    points = np.array([v[:3] for v in parsed.vertices], dtype=np.float64)
    notes: list[str] = []
    index = _corner_indices(parsed, starts, notes)
    looks = _looks(parsed, folder, root, notes)
    triangles, source = triangulate(points, starts, index[:, 0])
    corner = index[triangles]  # (f, 3, 3): vertex, uv, normal
    face_material = np.array(parsed.face_material, np.int32)[source]
    color = _vertex_colors(parsed.vertices, notes)
    if color is not None:  # a surface without a material shows its vertex colours as they are
        looks[0] = _Look(Material())
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


def _text(data: bytes) -> str:
    """UTF-8, UTF-16 (told by its mark or its zeros), else Latin-1; continued lines joined."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in data[:64]:
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\\\r\n", " ").replace("\\\n", " ")


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
    rows: list[list[float]], index: Array, looks: list[_Look], face_material: Array
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


# -- materials --------------------------------------------------------------------------------------


def _looks(parsed: _Obj, folder: Path, root: Path, notes: list[str]) -> list[_Look]:
    """A look for each name that is used; grey, with a note, for those that no MTL file defines."""
    defined: dict[str, _Look] = {}
    for name in parsed.libraries:
        for path in _libraries(name, folder, root, notes):
            defined = _read_mtl(_text(read_file(path)), path.parent, root, notes) | defined
    looks = [_Look(Material(base_color=GREY))]
    unknown = [name for name in parsed.names if name and name not in defined]
    if unknown:
        notes.append(f"not defined in any MTL file, so shown in grey: {', '.join(unknown)[:120]}")
    for name in list(parsed.names)[1:]:
        looks.append(defined.get(name, replace(looks[0], material=replace(looks[0].material, name=name))))
    return looks


def _libraries(name: str, folder: Path, root: Path, notes: list[str]) -> list[Path]:
    """The files of an mtllib line: one name with spaces, or several names."""
    names = [name] if _find(name, folder, root) else re.split(r"(?<!\\)\s+", name)
    found = []
    for one in (each.replace("\\ ", " ") for each in names):
        path = _find(one, folder, root)
        if path is None:
            notes.append(f'the material file "{one[:80]}" is missing')
        else:
            found.append(path)
    return found


def _find(name: str, folder: Path, root: Path) -> Path | None:
    """The file meant by ``name``: as it says, else of that name beside the model; None if neither is."""
    for candidate in (name, name.replace("\\", "/").rstrip("/").rpartition("/")[2]):
        try:
            path = confined(folder, root, candidate)
            if path.is_file():
                return path
        except (MeshError, OSError):
            continue  # outside the folder, or no file name at all: then only the bare name may fit
    return None


def _read_mtl(text: str, folder: Path, root: Path, notes: list[str]) -> dict[str, _Look]:
    statements: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.split("\n"):
        key, _, rest = line.strip().replace("\t", " ").partition(" ")
        if key == "newmtl":
            current = statements.setdefault(rest.strip(), {})
        elif key and not key.startswith("#"):
            current[key.lower()] = rest.strip()
    return {name: _look(name, s, folder, root, notes) for name, s in statements.items()}


def _look(name: str, statements: dict[str, str], folder: Path, root: Path, notes: list[str]) -> _Look:
    alpha = _numbers(statements.get("d", "").replace("-halo", ""))
    clear = _numbers(statements.get("tr", ""))
    # Tr is 1 − d, but some write Tr 1 for opaque: an invisible surface is never meant.
    opacity = alpha[0] if alpha else 1 - clear[0] if clear else 1.0
    opacity = opacity if 0 < opacity <= 1 else 1.0
    diffuse, glow = _color(statements.get("kd", "")), _color(statements.get("ke", ""))
    material = Material(
        name=name,
        base_color=(*(diffuse or GREY[:3]), opacity),
        emissive=glow or (0.0, 0.0, 0.0),
        alpha_mode="BLEND" if opacity < 1 else "OPAQUE",
    )
    if not statements.get("map_kd"):
        return _Look(material)
    file, options = _map(statements["map_kd"])
    path = _find(file, folder, root)
    if path is None:
        notes.append(f"the texture {file!r} of material {name!r} is missing")
        return _Look(material)
    try:
        image = decode_image(read_file(path), IMAGES)
    except MeshError as error:
        notes.append(f"the texture {file!r} of material {name!r} is left out: {error}")
        return _Look(material)
    mask = _map(statements.get("map_d", ""))[0]
    if mask and mask != file:
        notes.append(f"the opacity map {mask!r} of material {name!r} is left out")
    material = replace(
        material,
        base_color=(1.0, 1.0, 1.0, opacity),
        texture=image,
        wrap=("clamp", "clamp") if options.get("-clamp") == ["on"] else ("repeat", "repeat"),
        alpha_mode="BLEND" if opacity < 1 or (mask == file and (image[..., 3] < 255).any()) else "OPAQUE",
    )
    scale, offset = (_numbers(" ".join(options.get(key, []))) for key in ("-s", "-o"))
    return _Look(material, _pair(scale, 1.0), _pair(offset, 0.0))


def _map(statement: str) -> tuple[str, dict[str, list[str]]]:
    """A texture statement to its file name, spaces kept, and its options."""
    options: dict[str, list[str]] = {}
    rest = statement
    while rest.startswith("-"):
        key, _, rest = rest.partition(" ")
        if key not in MAP_OPTIONS:
            return statement, {}
        options[key] = []
        for _ in range(MAP_OPTIONS[key]):
            word, space, after = rest.lstrip().partition(" ")
            numeric = key in ("-mm", "-o", "-s", "-t")
            if not space or (numeric and not _numbers(word)):
                break
            options[key].append(word)
            rest = after
        rest = rest.lstrip()
    return rest.strip().strip('"'), options


def _numbers(text: str) -> list[float]:
    """The finite numbers of a statement; none if any word is no number."""
    try:
        values = [float(word) for word in text.partition("#")[0].split()]
    except ValueError:
        return []
    return values if np.isfinite(values).all() else []


def _color(text: str) -> tuple[float, float, float] | None:
    """Kd or Ke to linear rgb; None for what is no colour."""
    values = _numbers(text)
    if len(values) == 1:
        values *= 3
    if len(values) < 3:
        return None
    r, g, b = srgb_to_linear(np.clip(values[:3], 0, 1)).tolist()
    return r, g, b


def _pair(values: list[float], missing: float) -> tuple[float, float]:
    u, v = (values + [missing] * 2)[:2]
    return u, v
