"""Cameras, and the conventions of the whole library, stated once.

World: right-handed, Z up; an object's front faces −Y. Azimuth 0 looks at the front; a growing
azimuth moves the camera toward +X (counter-clockwise seen from above). Elevation is absolute.
Camera: OpenGL; +X right, +Y up, it looks along −Z; matrices are camera-to-world.
Image: square; (0, 0) is the upper left corner and (1, 1) the lower right; pixel (row i, column j) of a
tile of n pixels has its centre at ((j + 0.5)/n, (i + 0.5)/n). Depth is metric, along −Z.
Angles are degrees and named ``*_deg``. Colours are sRGB in files and linear when shaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Camera:
    """One square view: a pose and a lens; exactly one of ``fov_deg`` and ``ortho_scale`` is set.

    Attributes:
        camera_to_world: 16 floats, row-major (4, 4), OpenGL.
        fov_deg: the full opening angle of a perspective lens.
        ortho_scale: the frame's side in world units, for an orthographic lens.
    """

    camera_to_world: tuple[float, ...]
    fov_deg: float | None = None
    ortho_scale: float | None = None

    def __post_init__(self) -> None:
        if len(self.camera_to_world) != 16:
            raise ValueError(f"camera_to_world needs 16 numbers, found {len(self.camera_to_world)}")
        if (self.fov_deg is None) == (self.ortho_scale is None):
            raise ValueError("a camera needs exactly one of fov_deg and ortho_scale")

    @property
    def matrix(self) -> Array:
        """Camera-to-world, (4, 4) float64."""
        return np.array(self.camera_to_world, dtype=np.float64).reshape(4, 4)

    @property
    def half_extent(self) -> float:
        """Half the frame's side: in world units (orthographic) or at depth 1 (perspective)."""
        if self.ortho_scale is not None:
            return self.ortho_scale / 2
        assert self.fov_deg is not None
        return math.tan(math.radians(self.fov_deg) / 2)

    def to_dict(self) -> dict[str, Any]:
        lens = {"fov_deg": self.fov_deg} if self.ortho_scale is None else {"ortho_scale": self.ortho_scale}
        return {"camera_to_world": list(self.camera_to_world), **lens}

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> Camera:
        matrix = tuple(float(x) for x in fields["camera_to_world"])
        return Camera(matrix, fields.get("fov_deg"), fields.get("ortho_scale"))


def orbit(
    azimuth_deg: float,
    elevation_deg: float,
    distance: float,
    *,
    fov_deg: float | None = None,
    ortho_scale: float | None = None,
) -> Camera:
    """A camera on a sphere about the origin that looks at its centre, upright.

    Well defined at the poles too: from above the front lies at the picture's bottom.
    """

    # Exact at multiples of 90 degrees, so that the sides of a box are seen edge-on.
    def cos_sin(degrees: float) -> tuple[float, float]:
        quarter, rest = divmod(degrees, 90.0)
        if rest == 0:
            return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarter) % 4]
        return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    ca, sa = cos_sin(azimuth_deg)
    ce, se = cos_sin(elevation_deg)
    right = np.array([ca, sa, 0.0])
    back = np.array([sa * ce, -ca * ce, se])
    matrix = np.eye(4)
    matrix[:3, 0] = right
    matrix[:3, 1] = cross(back, right)
    matrix[:3, 2] = back
    matrix[:3, 3] = back * distance
    return Camera(tuple(float(x) + 0.0 for x in matrix.ravel()), fov_deg, ortho_scale)


def cross(a: Array, b: Array) -> Array:
    """a × b of two vectors (3,); `numpy.cross` looks at their shapes for thirty times as long."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def project(camera: Camera, points: Array) -> tuple[Array, Array]:
    """World points (n, 3) to image coordinates (n, 2) in [0, 1] inside the frame, and depth (n,).

    Points at depth ≤ 0 of a perspective camera have no image; their coordinates are NaN.
    """
    pose = camera.matrix
    local = (np.asarray(points, dtype=np.float64) - pose[:3, 3]) @ pose[:3, :3]
    depth = -local[:, 2]
    scale = np.full(len(local), camera.half_extent)
    if camera.ortho_scale is None:
        scale = np.where(depth > 0, scale * depth, np.nan)
    x = local[:, 0] / scale
    y = local[:, 1] / scale
    return np.stack([(x + 1) / 2, (1 - y) / 2], axis=1), depth


def projection(camera: Camera) -> Array:
    """The homogeneous matrix m (3, 4) float64 of `project`: (x, y) = (m @ (p, 1))[:2] / (m @ (p, 1))[2].

    Scaled so that m[2, 3] is 1: the world's origin must lie before a perspective camera.
    """
    pose = camera.matrix
    rotation, shift = pose[:3, :3].T, -pose[:3, :3].T @ pose[:3, 3]
    local = np.concatenate([rotation, shift[:, None]], axis=1)
    w = np.array([0.0, 0.0, 0.0, 1.0]) if camera.ortho_scale is not None else -local[2]
    rows = np.stack([local[0] / camera.half_extent + w, w - local[1] / camera.half_extent, 2 * w]) / 2
    return rows / rows[2, 3]


def rays(camera: Camera, size: int) -> tuple[Array, Array]:
    """Origins and directions, each (size, size, 3) float64, through the pixels' centres.

    A direction advances one unit of depth: position = origin + depth · direction.
    """
    pose = camera.matrix
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(axis * camera.half_extent, -axis * camera.half_extent)
    plane = np.stack([x, y, np.zeros_like(x)], axis=-1)
    forward = np.array([0.0, 0.0, -1.0])
    if camera.ortho_scale is not None:
        origins = plane @ pose[:3, :3].T + pose[:3, 3]
        directions = np.broadcast_to(forward @ pose[:3, :3].T, plane.shape)
    else:
        origins = np.broadcast_to(pose[:3, 3], plane.shape)
        directions = (plane + forward) @ pose[:3, :3].T
    return np.ascontiguousarray(origins), np.ascontiguousarray(directions)


def viewpoint(camera: Camera) -> tuple[float, float]:
    """Azimuth and elevation in degrees that an upright camera looks from; the inverse of `orbit`."""
    right, back = camera.matrix[:3, 0], camera.matrix[:3, 2]
    return math.degrees(math.atan2(right[1], right[0])), math.degrees(math.asin(min(1.0, max(-1.0, back[2]))))


def nearest_side(azimuth_deg: float) -> float:
    """The multiple of 90° nearest to an azimuth, in [0, 360).

    A drawing from a corner is as near to two sides. To be the same for all of them whatever the last digit
    of a fit, what is up to 50° counter-clockwise of a side still belongs to it: corners are seen from +45°.
    """
    return 90.0 * (math.ceil((azimuth_deg - 50.0) / 90.0) % 4)


def turn_z(azimuth_deg: float) -> Array:
    """The rotation (3, 3) that brings what is seen from ``azimuth_deg`` to the front (azimuth 0)."""
    angle = math.radians(-azimuth_deg)
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
