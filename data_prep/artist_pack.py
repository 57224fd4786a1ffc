"""The demo pack: thirty models of one imaginary artist with a line drawing of each, made by code.

It stands for an artist's own folder: GLB files, PNG drawings and a metadata.csv. It shares no generator,
palette or subject with the shapes that the embedded base learned from, and the drawings have a pen of their
own.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from lora3d.camera import Array, Camera, orbit
from lora3d.data_prep.artist_kit import to_mesh
from lora3d.data_prep.artist_models import RELICS
from lora3d.mesh import Mesh, glb_bytes, normalise
from lora3d.render import render

ARTIST = "Tidewatch (an imaginary artist)"
LICENSE = "CC0-1.0"
SOURCE = "made by lora3d.data_prep.artist_pack"
COLUMNS = ("file", "caption", "license", "artist", "source", "drawing")
INK = (0.08, 0.07, 0.11)  # sRGB


def write_pack(out: Path, *, seed: int = 0, size: int = 256) -> list[Path]:
    """Writes models/*.glb, drawings/*.png (``size`` px, transparent) and metadata.csv under ``out``.

    The models are always the same; ``seed`` decides from where each was drawn, which metadata.csv states as
    ``file.png@azimuth,elevation`` in degrees. Equal arguments write equal bytes. Returns the files written,
    metadata.csv last.
    """
    (out / "models").mkdir(parents=True, exist_ok=True)
    (out / "drawings").mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, ...]] = []
    files: list[Path] = []
    for build, caption in RELICS:
        stem = build.__name__
        mesh = normalise(to_mesh(build()))
        azimuth_deg = int(rng.choice((-1, 1)) * rng.integers(14, 33))
        elevation_deg = int(rng.integers(8, 21))
        model, drawing = f"models/{stem}.glb", f"drawings/{stem}.png"
        (out / model).write_bytes(glb_bytes(mesh, name=stem))
        rgba = ink(mesh, drawing_camera(azimuth_deg, elevation_deg), size)
        Image.fromarray((rgba * 255).round().astype(np.uint8)).save(out / drawing)
        files += [out / model, out / drawing]
        rows.append((model, caption, LICENSE, ARTIST, SOURCE, f"{drawing}@{azimuth_deg},{elevation_deg}"))
    with (out / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    return [*files, out / "metadata.csv"]


def drawing_camera(azimuth_deg: float, elevation_deg: float) -> Camera:
    """Where the artist stands: a mild perspective in which a normalised model just fits."""
    return orbit(azimuth_deg, elevation_deg, 2.7, fov_deg=22.0)


def ink(mesh: Mesh, camera: Camera, size: int) -> Array:
    """A pen drawing on white, transparent around it: (size, size, 4) float32 sRGB, straight alpha.

    A heavy outline, thinner lines where surfaces fold, overlap or change colour.
    """
    fine = 3  # drawn at three times the size, then averaged
    views = render(mesh, [camera], fine * size, samples=1)
    inside = np.isfinite(views.depth[0])
    depth = np.where(inside, views.depth[0], 9.0)
    normal, color = views.normal[0], views.rgba[0, ..., :3]
    lines = np.zeros_like(inside)
    for axis in (0, 1):
        here = tuple(slice(None, -1) if i == axis else slice(None) for i in range(2))
        there = tuple(slice(1, None) if i == axis else slice(None) for i in range(2))
        fold = np.einsum("ijk,ijk->ij", normal[here], normal[there]) < np.cos(np.radians(20))
        gap = np.abs(depth[here] - depth[there]) > 0.02
        change = color[here] - color[there]
        paint = np.einsum("ijk,ijk->ij", change, change) > 0.03
        lines[here] |= fold | gap | paint
    pen = fine * size / 256
    heavy = ndimage.minimum_filter(inside, size=2 * round(3.0 * pen) + 1) < inside
    thin = ndimage.maximum_filter(lines, size=2 * round(0.9 * pen) + 1)
    cover, alpha = (_shrink(mask, fine) for mask in (inside & (heavy | thin), inside))
    share = cover / np.where(alpha > 0, alpha, 1)  # of ink among what is drawn
    rgb = 1 - share[..., None] * (1 - np.array(INK, np.float32))
    return np.concatenate([rgb, alpha[..., None]], axis=-1)


def _shrink(mask: Array, times: int) -> Array:
    """Means of squares of ``times`` pixels, float32."""
    parts = [mask[i::times, j::times] for i in range(times) for j in range(times)]
    return np.stack(parts).mean(axis=0, dtype=np.float32)
