"""PLY files (Turk 1994), ASCII and binary: polygons, vertex normals, colours of vertices or faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lora3d.camera import Array
from lora3d.mesh import Mesh, MeshError
from lora3d.polygons import floats, polygon_mesh

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float": "f4", "double": "f8", "float32": "f4", "float64": "f8"},
}
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
Lists = tuple[Array, Array]  # row i of a list property: values[starts[i]:starts[i + 1]]


@dataclass(frozen=True)
class _Property:
    name: str
    dtype: str  # of the value, or of a list's items
    length: str | None = None  # dtype of a list's length


@dataclass(frozen=True)
class _Element:
    name: str
    count: int
    properties: tuple[_Property, ...]


def read_ply(data: bytes) -> Mesh:
    """PLY to a Mesh; colours are sRGB, taken as Z up. Raises MeshError."""
    order, elements, notes, body = _header(data)
    found: dict[str, dict[str, Array | Lists]] = {}
    start = 0
    words = body.split() if order == "" else []
    for element in elements:
        if order == "":
            found[element.name], start = _ascii(element, words, start)
        else:
            found[element.name], start = _binary(element, body, start, order)
    vertex, face = found.get("vertex", {}), found.get("face", {})
    points = _columns(vertex, ("x", "y", "z"))
    if points is None:
        raise MeshError("the PLY file has no vertices with x, y and z")
    polygons = face.get("vertex_indices", face.get("vertex_index"))
    if not isinstance(polygons, tuple):
        kind = "triangle strips, which are not read" if "tristrips" in found else "no faces (a point cloud)"
        raise MeshError(f"the PLY file has {kind}: nothing to draw")
    return polygon_mesh(
        points,
        polygons[0],
        polygons[1].astype(np.int64),
        vertex_color=_colors(vertex),
        face_color=_colors(face),
        vertex_normal=_columns(vertex, ("nx", "ny", "nz")),
        notes=tuple(notes),
    )


def _header(data: bytes) -> tuple[str, list[_Element], list[str], bytes]:
    """Byte order, elements, notes, and what follows the header."""
    if not data.startswith(b"ply"):
        raise MeshError(f"expected a PLY file, found one that starts with {data[:8]!r}")
    end = data.find(b"end_header")
    stop = data.find(b"\n", end)
    if end < 0 or stop < 0:
        raise MeshError("the file is cut off: its PLY header has no end")
    order: str | None = None
    notes: list[str] = []
    elements: list[_Element] = []
    for line in data[:end].decode("latin-1").splitlines():
        words = line.split()
        match words:
            case ["format", kind, *_]:
                order = ORDERS.get(kind)
            case ["comment", "TextureFile", *_]:
                notes.append("the texture of a PLY file is left out: export the model as .glb to keep it")
            case ["element", name, count] if count.isdecimal() and len(count) < 16:
                elements.append(_Element(name, int(count), ()))
            case ["property", "list", length, kind, name] if (
                elements and kind in TYPES and TYPES.get(length, "f")[0] in "iu"
            ):
                _add(elements, _Property(name, TYPES[kind], TYPES[length]))
            case ["property", kind, name] if elements and kind in TYPES:
                _add(elements, _Property(name, TYPES[kind]))
            case ["property" | "element", *_]:
                raise MeshError(f"the PLY header has a line that cannot be read: {line[:60]!r}")
    if order is None:
        raise MeshError(f"the PLY header names no format of {', '.join(ORDERS)}")
    return order, elements, notes, data[stop + 1 :]


def _add(elements: list[_Element], new: _Property) -> None:
    last = elements[-1]
    if any(p.name == new.name for p in last.properties):
        raise MeshError(f"the PLY header names the property {new.name!r} twice")
    elements[-1] = _Element(last.name, last.count, (*last.properties, new))


def _cut_off(element: _Element) -> MeshError:
    return MeshError(f"the file is cut off: it promises {element.count} of element {element.name!r}")


def _ascii(element: _Element, words: list[bytes], start: int) -> tuple[dict[str, Array | Lists], int]:
    """One element from the words after ``start``, and where the next one starts."""
    width = len(element.properties)
    what = f"element {element.name!r}"
    if element.count * width > len(words) - start:
        raise _cut_off(element)
    if all(p.length is None for p in element.properties):
        stop = start + element.count * width
        table = floats(words[start:stop], what).reshape(element.count, width)
        return {p.name: table[:, i] for i, p in enumerate(element.properties)}, stop
    rows: list[list[list[bytes]]] = [[] for _ in range(width)]
    for _ in range(element.count):
        for column, prop in zip(rows, element.properties, strict=True):
            n = 1
            if prop.length is not None:
                if start >= len(words) or not words[start].isdigit() or len(words[start]) > 9:
                    raise _cut_off(element)
                n, start = int(words[start]), start + 1
            column.append(words[start : start + n])
            start += n
            if start > len(words):
                raise _cut_off(element)
    values: dict[str, Array | Lists] = {}
    for column, prop in zip(rows, element.properties, strict=True):
        flat = floats([word for row in column for word in row], what)
        lengths = [len(row) for row in column]
        values[prop.name] = flat if prop.length is None else (np.cumsum([0, *lengths]), flat)
    return values, start


def _binary(element: _Element, body: bytes, start: int, order: str) -> tuple[dict[str, Array | Lists], int]:
    """One element from the bytes after ``start``, and where the next one starts."""
    smallest = sum(np.dtype(p.length or p.dtype).itemsize for p in element.properties)
    if element.count * smallest > len(body) - start:
        raise _cut_off(element)
    if element.count == 0 or not element.properties:
        none = np.zeros(0)
        return {
            p.name: none if p.length is None else (np.zeros(1, int), none) for p in element.properties
        }, start
    # Nearly always every list has the first one's length: then the rows are one structured array.
    lengths = _row(element, body, start, order)[1]
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    for p in element.properties:
        if p.length is None:
            fields.append((p.name, order + p.dtype))
        else:
            fields += [
                ("length of " + p.name, order + p.length),
                (p.name, order + p.dtype, (lengths[p.name],)),
            ]
    dtype = np.dtype(fields)
    stop = start + element.count * dtype.itemsize
    if stop <= len(body):
        table = np.frombuffer(body, dtype, element.count, start)
        if all((table["length of " + name] == n).all() for name, n in lengths.items()):
            values: dict[str, Array | Lists] = {}
            for p in element.properties:
                column = table[p.name]
                if p.length is not None:
                    n = lengths[p.name]
                    values[p.name] = (np.arange(element.count + 1) * n, column.reshape(-1))
                else:
                    values[p.name] = column
            return values, stop
    rows: dict[str, list[Array]] = {p.name: [] for p in element.properties}
    for _ in range(element.count):
        row, _, start = _row(element, body, start, order)
        for name, value in row.items():
            rows[name].append(value)
    lists = {p.name for p in element.properties if p.length is not None}
    flat = {name: np.concatenate(some) for name, some in rows.items()}
    return {
        name: (np.cumsum([0, *map(len, rows[name])]), flat[name]) if name in lists else flat[name]
        for name in rows
    }, start


def _row(
    element: _Element, body: bytes, start: int, order: str
) -> tuple[dict[str, Array], dict[str, int], int]:
    """The values of one row, the lengths of its lists, and where it ends."""
    values, lengths = {}, {}
    for p in element.properties:
        n = 1
        if p.length is not None:
            length = np.dtype(order + p.length)
            if start + length.itemsize > len(body):
                raise _cut_off(element)
            n = int(np.frombuffer(body, length, 1, start)[0])
            lengths[p.name], start = n, start + length.itemsize
        dtype = np.dtype(order + p.dtype)
        if n < 0 or start + n * dtype.itemsize > len(body):
            raise _cut_off(element)
        values[p.name] = np.frombuffer(body, dtype, n, start)
        start += n * dtype.itemsize
    return values, lengths, start


def _columns(values: dict[str, Array | Lists], names: tuple[str, ...]) -> Array | None:
    """Scalar properties side by side (n, len(names)) float64; None where one is missing."""
    columns = [values.get(name) for name in names]
    if any(not isinstance(column, np.ndarray) for column in columns):
        return None
    return np.stack(columns, axis=1).astype(np.float64)  # type: ignore[arg-type]


def _colors(values: dict[str, Array | Lists]) -> Array | None:
    """(n, 4) sRGB in [0, 1]. Whole numbers count to their type's end; in ASCII files, to 255 or 1."""
    for names in (
        ("red", "green", "blue"),
        ("diffuse_red", "diffuse_green", "diffuse_blue"),
        ("r", "g", "b"),
    ):
        rgb = _columns(values, names)
        if rgb is None:
            continue
        first = values[names[0]]
        assert isinstance(first, np.ndarray)
        scale = 1.0
        if first.dtype.kind in "iu":
            scale = float(np.iinfo(first.dtype).max)
        elif rgb.size and np.nanmax(rgb) > 1:
            scale = 255.0
        alpha = _columns(values, ("alpha",))
        alpha = np.full((len(rgb), 1), scale) if alpha is None else alpha
        return np.concatenate([rgb, alpha], axis=1) / scale
    return None
