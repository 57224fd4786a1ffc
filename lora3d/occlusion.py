"""Ambient occlusion: how much of the sky above a surface the object itself leaves open.

The object is seen from directions spread over a sphere, and a point that one of them sees is open to it
(Williams 1978, "Casting curved shadows on curved surfaces"). The same directions for every picture and model, so
that pictures do not differ by chance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lora3d.camera import Array
from lora3d.texels import kernel

# Half of the directions lie above any one surface.
DIRECTIONS, SIZE = 128, 256
# How far above its surface a point is looked at, in texels of a map: a map's depth is that of the texel's centre.
LIFT = 2.0


class SkyMaps(NamedTuple):
    """Depth of an object from n directions, by parallel rays.

    axes (n, 3, 3) float64: rows right, up and toward the sky; centre (3,) and radius of a sphere about the object;
    depth (n, s, s) float32: from the plane that touches the sphere on the sky's side; inf: nothing.
    """

    axes: Array
    centre: Array
    radius: float
    depth: Array


def directions(count: int) -> Array:
    """Axes (count, 3, 3) of `SkyMaps`, evenly over the sphere by a spiral of golden angles (Vogel 1979)."""
    i = np.arange(count) + 0.5
    z, angle = 1 - 2 * i / count, i * math.pi * (3 - math.sqrt(5))
    back = np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], -1)
    right = np.stack([-np.sin(angle), np.cos(angle), np.zeros(count)], -1)
    return np.stack([right, np.cross(back, right), back], 1)


@kernel
def open_into(maps, position, normal, window, out):
    """Which share of the sky above its normal each pixel's surface sees, weighted by the cosine, into (s, s) float32.

    position, normal (s, s, 3) as in `render.Views`; window as in `shading.shade_into`. Pixels of the background and
    outside of the window are left alone.
    """
    axes, centre, radius, depth = maps.axes, maps.centre, maps.radius, maps.depth
    size = depth.shape[1]
    lift, scale = LIFT * 2 * radius / size, size / (2 * radius)
    for row in range(window[0], window[1]):
        for column in range(window[2], window[3]):
            nx, ny, nz = normal[row, column]
            if nx * nx + ny * ny + nz * nz == 0:
                continue
            x = position[row, column, 0] + lift * nx - centre[0]
            y = position[row, column, 1] + lift * ny - centre[1]
            z = position[row, column, 2] + lift * nz - centre[2]
            seen = total = 0.0
            for k in range(len(axes)):
                a = axes[k]
                cosine = nx * a[2, 0] + ny * a[2, 1] + nz * a[2, 2]
                if cosine <= 0:
                    continue
                total += cosine
                i = int((radius - (x * a[1, 0] + y * a[1, 1] + z * a[1, 2])) * scale)
                j = int((radius + (x * a[0, 0] + y * a[0, 1] + z * a[0, 2])) * scale)
                away = radius - (x * a[2, 0] + y * a[2, 1] + z * a[2, 2])
                i, j = min(max(i, 0), size - 1), min(max(j, 0), size - 1)
                if away <= depth[k, i, j]:
                    seen += cosine
            out[row, column] = seen / total
