"""Polygon soups: the cutting of polygons into triangles, and STL and OFF files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lora3d.camera import Array
from lora3d.mesh import GREY, Material, Mesh, MeshError, srgb_to_linear, tidy

MAX_FACES = 5_000_000
FAR = 1000.0  # extents from the origin: there float32's 24 bits tell a ten-thousandth of the extent apart


def triangulate(points: Array, starts: Array, index: Array) -> tuple[Array, Array]:
    """Polygons to triangles.

    Polygon i has the corners index[starts[i]:starts[i + 1]], rows of ``points`` (v, 3); all in range.
    Returns triangles (t, 3) of *positions in* ``index``, and the polygon (t,) each comes from. Polygons of
    fewer than 3 corners vanish. Four corners are cut along a diagonal that lies inside; more, by ear
    clipping in the polygon's plane.
    """
    sizes = np.diff(starts)
    threes, fours = np.flatnonzero(sizes == 3), np.flatnonzero(sizes == 4)
    parts = [(starts[threes, None] + np.arange(3), threes)]
    if len(fours):
        quad = starts[fours, None] + np.arange(4)
        p = points[index[quad]].astype(np.float64)
        one = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
        two = np.cross(p[:, 2] - p[:, 0], p[:, 3] - p[:, 0])
        dented = (one * two).sum(axis=1) < 0  # this diagonal lies outside, so the other lies inside
        quad = np.where(dented[:, None], np.roll(quad, -1, axis=1), quad)
        parts += [(quad[:, [0, 1, 2]], fours), (quad[:, [0, 2, 3]], fours)]
    for polygon in np.flatnonzero(sizes > 4):
        corners = np.arange(starts[polygon], starts[polygon + 1])
        cut = corners[_clip_ears(points[index[corners]].astype(np.float64))]
        parts.append((cut, np.full(len(cut), polygon)))
    triangles = np.concatenate([t for t, _ in parts])
    source = np.concatenate([s for _, s in parts])
    order = np.argsort(source, kind="stable")
    return triangles[order], source[order]


def _clip_ears(p: Array) -> Array:
    """Triangles (t, 3) of a polygon's corners (n, 3), with its orientation kept."""
    import mapbox_earcut

    normal = np.cross(p, np.roll(p, -1, axis=0)).sum(axis=0)  # Newell's normal
    axis = int(np.argmax(np.abs(normal)))
    flat = np.ascontiguousarray(p[:, [(axis + 1) % 3, (axis + 2) % 3]])
    cut = (
        mapbox_earcut.triangulate_float64(flat, np.array([len(p)], np.uint32)).astype(np.int64).reshape(-1, 3)
    )
    if len(cut) == 0:  # no area: a fan is as good
        i = np.arange(1, len(p) - 1)
        return np.stack([np.zeros_like(i), i, i + 1], axis=1)
    a, b, c = (flat[cut[:, i]] for i in range(3))
    area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum()
    return cut if (area > 0) == (normal[axis] > 0) else cut[:, ::-1]


def brought_near(points: Array, notes: list[str]) -> Array:
    """Points (n, 3) float64 about the origin, with a note, where float32 would lose their shape; or as they are.

    So are models in map coordinates: some metres of a house, half a million from the origin.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows or is no number is refused later
        low, high = points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf)
        centre = (low + high) / 2
        far = np.abs(centre).max() > FAR * (high - low).max()
        if not (far and np.isfinite(centre).all()):
            return points
    notes.append("the model lies far from the origin and is moved there")
    return points - centre


def polygon_mesh(
    points: Array,
    starts: Array,
    index: Array,
    *,
    vertex_color: Array | None = None,
    face_color: Array | None = None,
    vertex_normal: Array | None = None,
    notes: tuple[str, ...] = (),
) -> Mesh:
    """A Mesh of polygons (see `triangulate`). Raises MeshError for indices or points that cannot be.

    Colours are sRGB rgba in [0, 1], (v, 4) or (polygons, 4); normals (v, 3). Without colours: `GREY`.
    """
    sizes = np.diff(starts)
    if len(starts) < 2 or not (sizes >= 3).any():
        raise MeshError("the model has no faces (a point cloud, lines or an empty file): nothing to draw")
    bad = (index < 0) | (index >= len(points))
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        face = int(np.searchsorted(starts, at, side="right")) - 1
        raise MeshError(f"face {face} names vertex {int(index[at])} of {len(points)}")
    if (sizes - 2).clip(0).sum() > MAX_FACES:
        raise MeshError(f"the model has more than {MAX_FACES:,} triangles: reduce it first")
    if not np.isfinite(points).all():
        at = int(np.argwhere(~np.isfinite(points))[0, 0])
        raise MeshError(f"vertex {at} is not a finite point: {points[at].tolist()}")
    corners, source = triangulate(points, starts, index)
    faces = index[corners].astype(np.int32)
    color = None
    if face_color is not None:
        color = np.repeat(face_color[source][:, None], 3, axis=1)
    elif vertex_color is not None:
        color = vertex_color[faces]
    if color is not None:
        color = np.concatenate([srgb_to_linear(color[..., :3]), color[..., 3:]], axis=-1).astype(np.float32)
    base = (1.0, 1.0, 1.0, 1.0) if color is not None else GREY
    said = list(notes)
    with np.errstate(over="ignore"):  # what overflows is refused by Mesh
        vertices = brought_near(points.astype(np.float64), said).astype(np.float32)
        normal = None if vertex_normal is None else vertex_normal[faces].astype(np.float32)
    mesh = Mesh(
        vertices,
        faces,
        np.zeros(len(faces), np.int32),
        (Material(base_color=base),),
        corner_color=color,
        corner_normal=normal,
    )
    return tidy(mesh, notes=tuple(said))


def read_stl(data: bytes) -> Mesh:
    """Binary or ASCII STL, several solids too. Raises MeshError."""
    if len(data) >= 84:
        count = int.from_bytes(data[80:84], "little")
        if 84 + 50 * count <= len(data) and not (count == 0 and data.lstrip()[:5].lower() == b"solid"):
            records = np.frombuffer(
                data, np.dtype([("normal", "<f4", 3), ("p", "<f4", (3, 3)), ("_", "<u2")]), count, 84
            )
            return _soup(records["p"].reshape(-1, 3))
        if data.lstrip()[:5].lower() != b"solid":
            found = (len(data) - 84) // 50
            raise MeshError(f"the file is cut off: {count} triangles promised, room for {found}")
    words = data.decode("latin-1").lower().split()
    at = [i for i, word in enumerate(words) if word == "vertex"]
    if len(at) % 3:
        raise MeshError(f"the file is cut off: {len(at)} corners do not make whole triangles")
    return _soup(floats([w for i in at for w in words[i + 1 : i + 4]], "a vertex").reshape(-1, 3))


def _soup(points: Array) -> Mesh:
    return polygon_mesh(points, np.arange(0, len(points) + 1, 3), np.arange(len(points)))


def floats(words: Sequence[str | bytes], what: str) -> Array:
    """Numbers from text, (n,) float64. Raises MeshError that shows the first word that is none."""
    try:
        return np.array([float(word) for word in words])
    except ValueError as error:
        raise MeshError(f"{what} should be numbers: {error}") from error


def read_off(data: bytes) -> Mesh:
    """ASCII OFF, COFF, NOFF, CNOFF: positions, and colours of vertices or faces. Raises MeshError."""
    lines = [line.split(b"#")[0].split() for line in data.splitlines()]
    lines = [words for words in lines if words]
    head = lines[0][0].decode("latin-1").upper() if lines else ""
    if head not in ("OFF", "COFF", "NOFF", "CNOFF") or b"BINARY" in lines[0]:
        raise MeshError(f"expected an ASCII OFF file, found one that starts with {head[:20]!r}")
    body = ([lines[0][1:]] if len(lines[0]) > 1 else []) + lines[1:]
    try:
        vertices, faces = (int(word) for word in body[0][:2])
    except (IndexError, ValueError) as error:
        raise MeshError("expected the counts of vertices and faces in OFF's second line") from error
    if min(vertices, faces) < 0 or vertices + faces > len(body) - 1:
        raise MeshError(
            f"the file promises {vertices} vertices and {faces} faces, found {len(body) - 1} lines"
        )
    skip = 3 + 3 * ("N" in head)
    points, colors = [], []
    for i, words in enumerate(body[1 : vertices + 1]):
        if len(words) < 3:
            raise MeshError(f"vertex {i} has {len(words)} coordinates")
        points.append(floats(words[:3], f"vertex {i}"))
        colors.append(words[skip:] if head.startswith("C") else [])
    starts, index, tints = [0], [], []
    for i, words in enumerate(body[vertices + 1 : vertices + 1 + faces]):
        try:
            n = int(words[0])
            corners = [int(word) for word in words[1 : n + 1]]
        except ValueError as error:
            raise MeshError(f"face {i} should be whole numbers: {error}") from error
        if n < 0 or len(corners) < n:
            raise MeshError(f"face {i} promises {n} corners, found {len(corners)}")
        index += corners
        starts.append(len(index))
        tints.append(words[n + 1 :])
    return polygon_mesh(
        np.array(points).reshape(-1, 3),
        np.array(starts),
        _int64(index),
        vertex_color=_off_colors(colors),
        face_color=_off_colors(tints),
    )


def _int64(values: list[int]) -> Array:
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError as error:
        raise MeshError("a face names a vertex beyond all bounds") from error


def _off_colors(rows: list[list[bytes]]) -> Array | None:
    """(n, 4) sRGB in [0, 1]; None unless every row has 3 or 4 numbers. Whole numbers count to 255."""
    if not rows or any(len(row) not in (3, 4) for row in rows):
        return None
    scale = 1.0 if any(b"." in word for row in rows for word in row) else 255.0
    return np.array([(*floats(row, "a colour"), scale)[:4] for row in rows]) / scale
