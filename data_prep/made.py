"""Procedural shapes as a source of `prep`; and those held out as a dataset, so that `eval` can score a base on them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from lora3d.data_prep.from_parquet import lay_out, write_file
from lora3d.data_prep.procedural import make_shape
from lora3d.data_prep.shapes import turn_views
from lora3d.data_prep.stream import kind_of, make_example, require_box
from lora3d.dataset import Dataset, write_dataset
from lora3d.dataset_rows import Row
from lora3d.errors import InputError
from lora3d.grid import ViewGrid
from lora3d.mesh import glb_bytes, turn

HELD_OUT_SEED = 1_000_000_000  # shapes from here on are never trained on
ASSEMBLY_SHARE = 0.6
LICENSE, ARTIST, SOURCE = "CC0-1.0", "lora3d", "procedural"


def seeds_of(name: str) -> range:
    """The seeds that ``procedural:N`` (the first N) or ``procedural:FIRST-LAST`` (both included) says.

    Raises InputError for what is neither, or says none, or seeds that are held out.
    """
    said = re.fullmatch(r"procedural:(\d{1,12})(?:-(\d{1,12}))?", name)
    if said is None:
        raise InputError(
            f"{name}: expected procedural:N (shapes of the seeds 0 to N - 1) or procedural:FIRST-LAST"
        )
    seeds = range(int(said[1]), int(said[2]) + 1) if said[2] else range(int(said[1]))
    if not seeds or seeds[-1] >= HELD_OUT_SEED:
        raise InputError(
            f"{name} names {'no shape' if not seeds else 'shapes that are held out'}: expected seeds from 0 to below "
            f"{HELD_OUT_SEED}; those from there on are for scores, see `lora3d base shapes`"
        )
    return seeds


def write_shapes(seeds: range, work: Path) -> Path:
    """The folder in ``work`` with the shape of each seed as a GLB, and metadata.csv, as `prep` reads it."""
    folder = work / f"shapes-{seeds[0]}-{seeds[-1]}-{version('lora3d')}"
    return lay_out(folder, _lines(seeds, folder))


def _lines(seeds: range, folder: Path) -> Iterator[dict[str, str]]:
    for seed in seeds:
        shape = make_shape(seed, kind_of(np.random.default_rng([seed, 1]), ASSEMBLY_SHARE))
        name = f"{shape.family.replace(' ', '_')}-{seed}"
        file = write_file(folder / f"{name}.glb", glb_bytes(shape.mesh, name=shape.caption))
        # Two mugs are two things: what is alike in shape shares a subject all the same.
        said = {
            "caption": shape.caption,
            "subject": name,
            "license": LICENSE,
            "artist": ARTIST,
            "source": SOURCE,
        }
        yield {"file": file, "drawing": "", **said}


def make_dataset(
    out: Path, grid: ViewGrid, count: int, *, assembly_share: float = ASSEMBLY_SHARE, overwrite: bool = False
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
        license=LICENSE,
        artist=ARTIST,
        source=SOURCE,
        glb=glb_bytes(turn(mesh, 90.0 * side), name=example.caption),
        file=f"{name}.glb",
        azimuth_deg=(float(example.viewpoints[0, 0]) + 90.0 * side) % 360,
        elevation_deg=float(example.viewpoints[0, 1]),
        turn_deg=90.0 * side,
    )
