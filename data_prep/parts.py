"""Painted parts, and the mesh that several of them make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lora3d.data_prep.paint import Array, Paint, Palette, Rng
from lora3d.data_prep.primitives import Solid, join
from lora3d.mesh import Material, Mesh, normalise

CREASE_COS = 0.71  # Faces that meet at less than 45° share a normal where a shape is smooth.


@dataclass(frozen=True, eq=False)
class Part:
    """A solid with its paint.

    Attributes:
        solid: where it is.
        paint: its material.
        name: what a caption calls it; "" where no caption would.
        top: a second paint on the faces that look up (grass on earth, snow on a roof).
    """

    solid: Solid
    paint: Paint
    name: str = ""
    top: Paint | None = None

    def map(self, change: Callable[[Solid], Solid]) -> Part:
        """The same part with its solid changed."""
        return replace(self, solid=change(self.solid))


# What a family makes: its parts, and words that a caption may use: adjectives, or phrases with "with".
Design = tuple[list[Part], list[str]]
Family = Callable[[Rng, Palette], Design]


def one(solid: Solid, paint: Paint, name: str = "", top: Paint | None = None) -> list[Part]:
    """A list of one part."""
    return [Part(solid, paint, name, top)]


def pair(solid: Solid, paint: Paint, name: str = "") -> list[Part]:
    """A part and its left-right mirror image."""
    return [Part(solid, paint, name), Part(solid.mirror(), paint, name)]


def legs(solid: Solid, x: float, y: float) -> Solid:
    """Four copies of one leg at (±x, ±y)."""
    two = [solid.at(x, y), solid.at(x, -y)]
    return join([*two, *(s.mirror() for s in two)])


def linear(srgb: Array) -> Array:
    """sRGB to linear (IEC 61966-2-1)."""
    srgb = np.asarray(srgb, dtype=np.float64)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def build_mesh(parts: Sequence[Part], *, smooth: bool) -> Mesh:
    """One normalised mesh; `smooth` shares normals over soft edges, else faces are flat.

    Vertices are rounded to a millionth of the size before anything is decided by them, so that a
    last-bit difference between two machines' sines leaves no trace.
    """
    counts = np.cumsum([0] + [len(p.solid.v) for p in parts])
    v = np.concatenate([p.solid.v for p in parts])
    low, high = v.min(0), v.max(0)
    v = np.round((v - low) / float((high - low).max()), 6) + 0.0
    f = np.concatenate([p.solid.f + n for p, n in zip(parts, counts, strict=False)])
    part_of_face = np.repeat(np.arange(len(parts)), [len(p.solid.f) for p in parts])
    corners = v[f]
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.stack(
        [
            e1[:, 1] * e2[:, 2] - e1[:, 2] * e2[:, 1],
            e1[:, 2] * e2[:, 0] - e1[:, 0] * e2[:, 2],
            e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0],
        ],
        axis=1,
    )
    length = np.sqrt(normal[:, 0] ** 2 + normal[:, 1] ** 2 + normal[:, 2] ** 2)
    keep = length > 1e-9
    f, part_of_face, corners, normal = f[keep], part_of_face[keep], corners[keep], normal[keep]
    unit = normal / length[keep, None]
    paints, face_paint = _paints(parts, part_of_face, unit)
    mesh = Mesh(
        vertices=v.astype(np.float32),
        faces=f.astype(np.int32),
        face_material=face_paint.astype(np.int32),
        materials=tuple(_material(p) for p in paints),
        corner_uv=_uv(parts, paints, part_of_face, face_paint, corners, unit),
        corner_color=_fade(parts, paints, part_of_face, face_paint, corners, counts, v),
        corner_normal=_normals(f, normal, unit, len(v)) if smooth else None,
    )
    return normalise(mesh)


def _paints(parts: Sequence[Part], part_of_face: Array, unit: Array) -> tuple[list[Paint], Array]:
    """The distinct paints, and which of them each face wears."""
    paints: list[Paint] = []
    index: dict[int, int] = {}

    def number(p: Paint) -> int:
        if id(p) not in index:
            index[id(p)] = len(paints)
            paints.append(p)
        return index[id(p)]

    side = np.array([number(p.paint) for p in parts])
    top = np.array([number(p.top) if p.top else s for p, s in zip(parts, side, strict=True)])
    return paints, np.where(unit[:, 2] > 0.6, top[part_of_face], side[part_of_face])


def _material(paint: Paint) -> Material:
    if paint.texture is None:
        r, g, b = (float(x) for x in linear(np.array(paint.rgb)))
        return Material(name=paint.name, base_color=(r, g, b, 1.0), double_sided=False)
    rgba = np.full((*paint.texture.shape[:2], 4), 255, dtype=np.uint8)
    rgba[..., :3] = paint.texture
    return Material(name=paint.name, texture=rgba, double_sided=False)


def _uv(
    parts: Sequence[Part],
    paints: list[Paint],
    part_of_face: Array,
    face_paint: Array,
    corners: Array,
    unit: Array,
) -> Array | None:
    """Box projection of the whole object; round parts wear their texture around their own axis."""
    if all(p.texture is None for p in paints):
        return None
    x, y, z = corners[..., 0], corners[..., 1], corners[..., 2]
    ax, ay, az = np.abs(unit).T
    # Near ties must not hang on the last bit: z wins over y over x.
    along = np.where(az + 2e-4 >= np.maximum(ax, ay), 2, np.where(ay + 1e-4 >= ax, 1, 0))[:, None]
    u = np.where(along == 0, y, x)
    v = np.where(along == 2, y, z)
    for i, part in enumerate(parts):
        if part.solid.round and part.paint.texture is not None:
            rows = (part_of_face == i) & (az < 0.9)
            if not rows.any():
                continue
            c = corners[rows]
            centre = (c[..., :2].reshape(-1, 2).max(0) + c[..., :2].reshape(-1, 2).min(0)) / 2
            angle = np.arctan2(c[..., 1] - centre[1], c[..., 0] - centre[0]) / (2 * np.pi)
            angle = np.round(angle, 6)
            u[rows] = (angle + (angle < angle.max(1, keepdims=True) - 0.5)) * 2
    repeats = np.array([p.repeats for p in paints])[face_paint][:, None]
    return np.stack([u * repeats, -v * repeats], axis=-1).astype(np.float32)


def _fade(
    parts: Sequence[Part],
    paints: list[Paint],
    part_of_face: Array,
    face_paint: Array,
    corners: Array,
    counts: Array,
    v: Array,
) -> Array | None:
    """Vertex colours that darken a part toward its foot or its top."""
    fade = np.array([p.fade for p in paints])[face_paint]
    if (fade == 1.0).all():
        return None
    low = np.minimum.reduceat(v[:, 2], counts[:-1])[part_of_face][:, None]
    high = np.maximum.reduceat(v[:, 2], counts[:-1])[part_of_face][:, None]
    t = (corners[..., 2] - low) / np.maximum(high - low, 1e-6)
    k = fade[:, :1] + t * (fade[:, 1:] - fade[:, :1])
    color = np.ones((*k.shape, 4), dtype=np.float32)
    color[..., :3] = k[..., None]
    return color


def _normals(f: Array, normal: Array, unit: Array, n: int) -> Array:
    """Area-weighted vertex normals, except where a face leans away from them by more than the crease."""
    flat = f.ravel()
    total = np.stack([np.bincount(flat, np.repeat(normal[:, i], 3), n) for i in range(3)], axis=1)
    length = np.sqrt(total[:, 0] ** 2 + total[:, 1] ** 2 + total[:, 2] ** 2)
    corner = (total / (length[:, None] + 1e-12))[f]
    agree = (corner * unit[:, None]).sum(-1, keepdims=True)
    return np.round(np.where(agree > CREASE_COS, corner, unit[:, None]), 5).astype(np.float32)
