"""A lifted mesh as 3D Gaussians (Kerbl et al. 2023), in the PLY that viewers of splats read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lora3d.camera import Array
from lora3d.lift.texture import painted_points
from lora3d.mesh import Mesh

SH_0 = 0.5 / math.sqrt(math.pi)  # the constant spherical harmonic: colour = 0.5 + SH_0 · f_dc
FLAT = 0.1  # a Gaussian's extent along the normal, against that along the surface
FIELDS = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *(f"f_dc_{i}" for i in range(3)),
    "opacity",
    *(f"scale_{i}" for i in range(3)),
    *(f"rot_{i}" for i in range(4)),
)


@dataclass(frozen=True, eq=False)
class Splats:
    """n Gaussians in the world frame.

    Attributes:
        position: (n, 3) float32.
        normal: (n, 3) float32, unit.
        colour: (n, 3) float32 sRGB in [0, 1], the same from all sides.
        opacity: (n,) float32 in (0, 1).
        scale: (n, 3) float32, standard deviations along the Gaussian's own axes.
        rotation: (n, 4) float32 unit quaternion w, x, y, z; turns the own z axis to the normal.
    """

    position: Array
    normal: Array
    colour: Array
    opacity: Array
    scale: Array
    rotation: Array


def splat(mesh: Mesh, count: int = 20_000, *, seed: int = 0) -> Splats:
    """At most ``count`` flat discs on a baked mesh, together as wide as its surface.

    Raises MeshError for a mesh without a texture.
    """
    points, paint, normals = painted_points(mesh)
    chosen = np.random.default_rng(seed).permutation(len(points))[:count]
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    area = (
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
        / 2
    )
    # Discs of one deviation that tile the surface leave no gaps at the densities that random texels have.
    radius = math.sqrt(area / (math.pi * len(chosen)))
    scale = np.tile([radius, radius, FLAT * radius], (len(chosen), 1))
    return Splats(
        points[chosen].astype(np.float32),
        normals[chosen].astype(np.float32),
        paint[chosen].astype(np.float32) / 255,
        np.full(len(chosen), 0.95, np.float32),
        scale.astype(np.float32),
        _turn_z_to(normals[chosen]).astype(np.float32),
    )


def _turn_z_to(normals: Array) -> Array:
    """The shortest rotations of +z to unit vectors (n, 3), as quaternions (n, 4) w, x, y, z."""
    x, y, z = normals.T.astype(np.float64)
    quaternion = np.stack([1 + z, -y, x, np.zeros_like(z)], axis=1)
    quaternion[z < -1 + 1e-9] = (0, 1, 0, 0)
    return quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)


def splat_bytes(splats: Splats) -> bytes:
    """Binary PLY with the columns of the reference implementation: logit of opacity, logarithm of scale."""
    columns = [
        splats.position,
        splats.normal,
        (splats.colour - 0.5) / SH_0,
        np.log(splats.opacity / (1 - splats.opacity))[:, None],
        np.log(splats.scale),
        splats.rotation,
    ]
    rows = np.concatenate(columns, axis=1).astype("<f4")
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    lines += [f"property float {name}" for name in FIELDS]
    return "\n".join([*lines, "end_header", ""]).encode() + rows.tobytes()
