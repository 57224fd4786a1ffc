"""Held-out procedural shapes as a dataset like any other, so that `lora3d eval` can score a base on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lora3d.data_prep.procedural import make_shape
from lora3d.data_prep.shapes import turn_views
from lora3d.data_prep.stream import make_example, require_box
from lora3d.dataset import Dataset, write_dataset
from lora3d.dataset_rows import Row
from lora3d.grid import ViewGrid
from lora3d.mesh import glb_bytes, turn

HELD_OUT_SEED = 1_000_000_000  # shapes from here on are never trained on


def make_dataset(
    out: Path, grid: ViewGrid, count: int, *, assembly_share: float = 0.6, overwrite: bool = False
) -> Dataset:
    """``count`` shapes that no base was trained on, one drawing each, all on the test side.

    The same bytes everywhere. Raises InputError for a grid that is not a box, and as `write_dataset` does.
    """
    require_box(grid)
    rows = (make_row(HELD_OUT_SEED + i, grid, assembly_share) for i in range(count))
    return write_dataset(rows, out, grid, title="Held-out procedural shapes", overwrite=overwrite)


def make_row(seed: int, grid: ViewGrid, assembly_share: float) -> Row:
    """Shape ``seed`` and its first drawing of the stream, everything turned to the side that is drawn."""
    example = make_example(seed, grid, drawings=1, assembly_share=assembly_share)
    side = int(example.sides[0])
    pictures = np.concatenate([example.drawings, turn_views(example.views, side)]).astype(np.float32) / 255
    mesh = make_shape(seed, "assembly" if example.family == "assembly" else "named").mesh
    name = f"{example.family}-{seed}"
    return Row(
        id=name,
        tiles=np.concatenate([pictures[..., :3], np.repeat(pictures[..., 3:], 3, axis=-1)]),
        caption=example.caption,
        subject=name,
        split="test",
        license="CC0-1.0",
        artist="lora3d",
        source="procedural",
        glb=glb_bytes(turn(mesh, 90.0 * side), name=example.caption),
        file=f"{name}.glb",
        azimuth_deg=(float(example.viewpoints[0, 0]) + 90.0 * side) % 360,
        elevation_deg=float(example.viewpoints[0, 1]),
        turn_deg=90.0 * side,
    )
