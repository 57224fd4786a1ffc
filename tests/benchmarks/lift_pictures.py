"""Draws docs/lift.png: one real model turned about, as each lift and each form gives it.

python -m tests.benchmarks.lift_pictures docs/lift.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from lora3d.camera import Array
from lora3d.grid import PRESETS
from lora3d.lift import lift
from lora3d.lift.field import draw_field, fit_field
from lora3d.lift.relief import relief
from lora3d.lift.slices import lift_slices
from lora3d.lift.splats import Splats, splat
from lora3d.lift.turntable import Draw, draw_mesh, turn
from lora3d.lift.views import read_views
from lora3d.lift.voxels import cubes, lift_voxels
from lora3d.mesh import Material, Mesh, load_mesh, normalise, srgb_to_linear
from lora3d.render import render_tiles
from tests.benchmarks.lifts import ART, GIVEN, with_channels

MODEL = "quaternius_interior/Bucket.glb"
FRAMES, SIZE, LABEL = 8, 128, 120


def discs(splats: Splats) -> Mesh:
    """Each Gaussian as a square of one and a half deviations a side: what a viewer's splats come to, roughly."""
    w, x, y, z = splats.rotation.T
    u = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], axis=1)
    v = np.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], axis=1)
    u, v = (1.5 * axis * splats.scale[:, :1] for axis in (u, v))
    corners = np.stack(
        [splats.position + a * u + b * v for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))], axis=1
    )
    index = np.arange(4 * len(u)).reshape(-1, 4)
    faces = index[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3).astype(np.int32)
    rgba = np.concatenate([srgb_to_linear(splats.colour), np.ones((len(u), 1))], axis=1).astype(np.float32)
    return Mesh(
        corners.reshape(-1, 3).astype(np.float32),
        faces,
        np.zeros(len(faces), np.int32),
        (Material(),),
        corner_color=np.repeat(np.repeat(rgba, 2, axis=0)[:, None], 3, axis=1),
    )


def sliced(mesh: Mesh, count: int = 96) -> Array:
    """A stack of plans (count, count, count, 4) of the mesh's voxels in their colours, on black."""
    grid = with_channels(PRESETS["zero123plus"].with_tile(128), "rgb", "depth")
    voxels = lift_voxels(render_tiles(mesh, grid), grid, count, mesh=None)
    stack = np.zeros((count, count, count, 4), np.uint8)
    stack[..., 3] = 255
    # World x, y, z to (slice, row, column): the first slice is the lowest, rows run from the back.
    stack[..., :3] = np.maximum(voxels.colour, 40 * voxels.occupied[..., None]).transpose(2, 1, 0, 3)[:, ::-1]
    return stack


def rows(truth: Mesh) -> list[tuple[str, Draw]]:
    plain = PRESETS["zero123plus"].with_tile(128)
    found: list[tuple[str, Draw]] = [("the model", draw_mesh(truth, shading="studio"))]
    for method, channels in GIVEN.items():
        grid = with_channels(plain, *channels)
        mesh = lift(render_tiles(truth, grid), grid, method=method)
        found.append((f"{method}\n{' + '.join(channels)}", draw_mesh(mesh)))
    grid = with_channels(plain, "rgb", "depth")
    tiles = render_tiles(truth, grid)
    fused = lift(tiles, grid)
    field = fit_field(read_views(tiles, with_channels(plain, "rgb", "depth")))
    return [
        *found,
        ("field\nas it is", lambda cameras, size: draw_field(field, cameras, size)),
        ("voxels", draw_mesh(cubes(lift_voxels(tiles, grid, 40, mesh=fused)), shading="studio")),
        ("splats", draw_mesh(discs(splat(fused)))),
        ("relief\nof one view", draw_mesh(relief(tiles, grid))),
        ("slices", draw_mesh(lift_slices(sliced(truth), level=0.06), shading="studio")),
    ]


def main(out: Path) -> None:
    truth = normalise(load_mesh(ART / MODEL))
    strips = rows(truth)
    sheet = Image.new("RGB", (LABEL + FRAMES * SIZE, len(strips) * SIZE), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (label, draw) in enumerate(strips):
        pen.text((6, i * SIZE + SIZE // 2 - 12), label, fill="black")
        for k, picture in enumerate(turn(draw, FRAMES, SIZE)):
            tile = Image.fromarray((picture * 255 + 0.5).clip(0, 255).astype(np.uint8))
            sheet.paste(tile, (LABEL + k * SIZE, i * SIZE))
    sheet.quantize(256).save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
