"""A turn about an object, as pictures and as a clip."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from lora3d.camera import Array, Camera, orbit
from lora3d.mesh import Mesh, normalise
from lora3d.render import Shading, render

ELEVATION_DEG = 20.0
Draw = Callable[[Sequence[Camera], int], Array]


def turn(draw: Draw, frames: int, size: int) -> Array:
    """Pictures (frames, size, size, 3) float32 from evenly spaced azimuths, the front's first.

    draw: cameras and a size to such pictures: `draw_mesh` of a mesh, or `lora3d.lift.field.draw_field` of a field.
    """
    return draw(
        [orbit(360 * i / frames, ELEVATION_DEG, 2.0, fov_deg=30) for i in range(frames)],
        size,
    )


def draw_mesh(mesh: Mesh, *, shading: Shading = "unlit", background: float = 1.0) -> Draw:
    """Draws a mesh, normalised, over grey. Under ``studio`` light everything is lit, whatever its material says."""
    lit = replace(
        normalise(mesh),
        materials=tuple(replace(m, unlit=m.unlit and shading == "unlit") for m in mesh.materials),
    )

    def draw(cameras: Sequence[Camera], size: int) -> Array:
        rgba = render(lit, cameras, size, shading=shading).rgba
        return rgba[..., :3] * rgba[..., 3:] + background * (1 - rgba[..., 3:])

    return draw


def clip_bytes(pictures: Array, seconds: float = 4.0) -> bytes:
    """Pictures (n, s, s, 3) in [0, 1] as an animated WebP that repeats."""
    frames = [Image.fromarray((p * 255 + 0.5).clip(0, 255).astype(np.uint8)) for p in pictures]
    stream = io.BytesIO()
    frames[0].save(
        stream,
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 * seconds / len(frames)),
        loop=0,
        quality=85,
    )
    return stream.getvalue()
