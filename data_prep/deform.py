"""Deformations of solids. They move vertices and keep faces, so a closed solid stays closed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from lora3d.data_prep.primitives import Solid


def taper(s: Solid, top: float) -> Solid:
    """Scales x and y linearly with height, by `top` at the upper end."""
    z = s.v[:, 2]
    t = (z - z.min()) / max(float(np.ptp(z)), 1e-9)
    k = 1 + (top - 1) * t
    return replace(s, v=s.v * np.stack([k, k, np.ones_like(k)], 1))


def shear(s: Solid, x: float, y: float) -> Solid:
    """Pushes the upper end by (x, y) times the height."""
    return replace(s, v=s.v + s.v[:, 2:] * (x, y, 0.0), round=False)


def twist(s: Solid, deg: float) -> Solid:
    """Turns about z, by `deg` at the upper end."""
    z = s.v[:, 2]
    a = np.radians(deg) * (z - z.min()) / max(float(np.ptp(z)), 1e-9)
    c, n = np.cos(a), np.sin(a)
    x, y = s.v[:, 0], s.v[:, 1]
    return replace(s, v=np.stack([c * x - n * y, n * x + c * y, z], 1))


def bend(s: Solid, deg: float) -> Solid:
    """Bends the z axis into an arc toward +x that spans `deg`."""
    z = s.v[:, 2] - s.v[:, 2].min()
    height = max(float(z.max()), 1e-9)
    angle = math.radians(deg)
    if abs(angle) < 1e-3:
        return s
    radius = height / angle
    a = z / radius
    x = radius - (radius - s.v[:, 0]) * np.cos(a)
    return replace(s, v=np.stack([x, s.v[:, 1], (radius - s.v[:, 0]) * np.sin(a)], 1), round=False)


def lumps(s: Solid, rng: np.random.Generator, amount: float, waves: float = 2.0) -> Solid:
    """Moves vertices by a smooth random field: three sines of random direction, relative to its size."""
    span = np.maximum(np.ptp(s.v, axis=0), 1e-6)
    p = s.v / float(span.max()) * (2 * math.pi * waves)
    k = rng.normal(size=(3, 3))
    phase = rng.random((3, 3)) * 6.3
    field = np.stack([np.sin(p @ k[i] * 0.6 + phase[i, 0]) for i in range(3)], 1)
    return replace(s, v=s.v + field * span * amount * 0.5)
