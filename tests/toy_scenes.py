"""Scenes whose pictures are known in closed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lora3d.camera import Array, orbit
from lora3d.mesh import Material, Mesh
from lora3d.render import Views

FRONT = orbit(0, 0, 1, ortho_scale=1.0)
ORTHO = orbit(35, 25, 1, ortho_scale=1.3)
LENS = orbit(35, 25, 1.9, fov_deg=35)
ART = Path(__file__).resolve().parents[2] / "shared" / "art"


def mesh_of(vertices: Any, faces: Any, material: Material | None = None, **attributes: Any) -> Mesh:
    faces = np.asarray(faces, np.int32)
    ids = np.zeros(len(faces), np.int32)
    return Mesh(np.asarray(vertices, np.float32), faces, ids, (material or Material(),), **attributes)


def cube(
    side: float, centre: Array | tuple[float, ...] = (0, 0, 0), material: Material | None = None
) -> Mesh:
    """Six outward sides of two triangles each."""
    vertices = (np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) - 0.5) * side
    sides = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    faces = [t for a, b, c, d in sides for t in ((a, b, c), (a, c, d))]
    return mesh_of(vertices + centre, faces, material)


def quad(y: float = 0.0, half: float = 0.5, material: Material | None = None, **attributes: Any) -> Mesh:
    """A square that faces −Y, with the texture upright: (0, 0) is its upper left corner."""
    vertices = [(-half, y, -half), (half, y, -half), (half, y, half), (-half, y, half)]
    uv = np.array([(0, 1), (1, 1), (1, 0), (0, 0)], np.float32)
    faces = np.array([(0, 1, 2), (0, 2, 3)])
    return mesh_of(vertices, faces, material, **{"corner_uv": uv[faces], **attributes})


def soup(seed: int, count: int = 60, spread: float = 0.5) -> Mesh:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-0.35, 0.35, (count, 1, 3))
    corners = centres + rng.uniform(-spread, spread, (count, 3, 3)) * 0.5
    return mesh_of(corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3))


def sphere(radius: float, rings: int = 48) -> Mesh:
    theta, phi = np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    t, p = np.meshgrid(theta, phi, indexing="ij")
    points = np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rings), np.arange(2 * rings), indexing="ij")
    a, b = i * 2 * rings + j, i * 2 * rings + (j + 1) % (2 * rings)
    c, d = a + 2 * rings, b + 2 * rings
    quads = np.concatenate([np.stack([a, c, d], -1).reshape(-1, 3), np.stack([a, d, b], -1).reshape(-1, 3)])
    corners = points[quads]
    real = (
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) > 1e-9
    )
    quads = quads[real]
    return mesh_of(points * radius, quads, corner_normal=points[quads].astype(np.float32))


def linear(srgb: Array) -> Array:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def srgb(value: float) -> float:
    return value * 12.92 if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def image(rows: list[list[tuple[int, ...]]]) -> Array:
    return np.array([[(*c, 255) if len(c) == 3 else c for c in row] for row in rows], np.uint8)


def same(a: Views, b: Views) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
