"""An endless stream of freshly rendered examples for the base: no data set on disk.

Example N of a recipe is the same bytes everywhere: a shape from its seed, the grid's views of it, and
several drawings of it, each seen from one side of the object (a multiple of 90 degrees) and off-axis by up
to 45 degrees. One rendering serves all sides, since turning the object by 90 degrees only moves the views of
a box to each other (`lora3d.data_prep.shapes.turn_views`).
"""

from __future__ import annotations

import multiprocessing as mp
import os
from collections.abc import Generator
from dataclasses import dataclass
from queue import Full
from typing import Literal

import numpy as np

from lora3d.camera import Array, viewpoint
from lora3d.data_prep.drawings import draw, game_camera, random_camera
from lora3d.data_prep.procedural import make_shape
from lora3d.drawing import fit_reference, frame_projection
from lora3d.errors import InputError
from lora3d.grid import ViewGrid
from lora3d.mesh import turn
from lora3d.render import render_tiles

STYLE_SHARES = {
    "render": 0.3,
    "line": 0.25,
    "shaded": 0.13,
    "flat": 0.1,
    "soft": 0.12,
    "toon": 0.07,
    "silhouette": 0.03,
}


@dataclass(frozen=True)
class Example:
    """One object, rendered once, drawn several times.

    Attributes:
        seed: of the shape.
        caption, family: as in `Shape`.
        views: (columns − 1, t, t, 4) uint8; rgb and depth as drawn in the grid, one a camera.
        drawings: (r, t, t, 4) uint8; rgb over the background, and coverage.
        sides: (r,) int; the drawing shows the side at azimuth 90°·side.
        viewpoints: (r, 2) float32; azimuth and elevation in degrees that it was seen from, in that side's frame.
        projections: (r, 3, 4) float32; from that frame to the drawing's tile, see
            `lora3d.drawing.frame_projection`.
    """

    seed: int
    caption: str
    family: str
    views: Array
    drawings: Array
    sides: Array
    viewpoints: Array
    projections: Array


def make_example(
    seed: int, grid: ViewGrid, *, drawings: int = 4, assembly_share: float = 0.6, game_share: float = 0.0
) -> Example:
    """Example ``seed``; deterministic. Raises InputError for a grid that is not a box of rgb and depth.

    game_share: of the drawings, those seen by `game_camera`.
    """
    require_box(grid)
    rng = np.random.default_rng([seed, 1])
    shape = make_shape(seed, kind_of(rng, assembly_share))
    tiles = render_tiles(shape.mesh, grid)
    rows = tiles.reshape(2, grid.columns, grid.tile, grid.tile, 3)
    views = np.concatenate([rows[0, 1:], rows[1, 1:, ..., :1]], axis=-1)
    # A named thing is mostly drawn from its front; an assembly has none.
    front = 0.25 if shape.family == "assembly" else 0.6
    sides = np.where(rng.random(drawings) < front, 0, rng.integers(0, 4, drawings))
    pictures, viewpoints, projections = [], [], []
    for side in sides:
        style = rng.choice(list(STYLE_SHARES), p=list(STYLE_SHARES.values()))
        # Without a share no number is drawn for it: the shapes that are held out stay the same bytes.
        in_a_game = game_share > 0 and rng.random() < game_share
        camera, turned = (game_camera if in_a_game else random_camera)(rng), turn(shape.mesh, 90.0 * side)
        rgba = draw(turned, camera, str(style), size=96, seed=int(rng.integers(2**31)))
        viewpoints.append(viewpoint(camera))
        projections.append(frame_projection(grid, rgba, camera))
        rgb, alpha = fit_reference(grid, rgba)
        pictures.append(np.concatenate([rgb, alpha[..., None]], axis=-1))
    return Example(
        seed,
        shape.caption,
        shape.family,
        _to_bytes(views),
        _to_bytes(np.stack(pictures)),
        sides.astype(np.int64),
        np.array(viewpoints, np.float32),
        np.stack(projections).astype(np.float32),
    )


def kind_of(rng: np.random.Generator, assembly_share: float) -> Literal["named", "assembly"]:
    """What is made of a seed: the first draw of its ``default_rng([seed, 1])``."""
    return "assembly" if rng.random() < assembly_share else "named"


def _to_bytes(values: Array) -> Array:
    return (values * 255 + 0.5).clip(0, 255).astype(np.uint8)


def require_box(grid: ViewGrid) -> None:
    """Raises InputError unless the grid is `box6` at some resolution, whose views turn into each other."""
    if grid.name != "box6":
        raise InputError(f"the stream turns the views of a box: expected grid 'box6', found {grid.name!r}")


def stream_examples(
    grid: ViewGrid,
    *,
    start: int,
    workers: int,
    drawings: int,
    assembly_share: float,
    game_share: float,
    ahead: int = 64,
) -> Generator[Example]:
    """Examples start, start + 1, … from ``workers`` processes, in whatever order they are ready, without end.

    The processes end with the iterator (close it) or with their parent.
    """
    context = mp.get_context("spawn")
    queue = context.Queue(maxsize=ahead)
    processes = [
        context.Process(
            target=_produce,
            args=(queue, grid, start + i, workers, drawings, assembly_share, game_share),
            daemon=True,
        )
        for i in range(workers)
    ]
    for process in processes:
        process.start()
    try:
        while True:
            yield queue.get()
    finally:
        for process in processes:
            process.terminate()


def _produce(
    queue, grid: ViewGrid, start: int, step: int, drawings: int, assembly_share: float, game_share: float
) -> None:
    os.nice(5)
    parent = os.getppid()
    seed, example = start, None
    # A parent that was killed no longer reads: waiting for ever would leave this process behind.
    while os.getppid() == parent:
        if example is None:
            example = make_example(
                seed, grid, drawings=drawings, assembly_share=assembly_share, game_share=game_share
            )
        try:
            queue.put(example, timeout=5)
        except Full:
            continue
        seed, example = seed + step, None
    queue.cancel_join_thread()  # nor does it take what was put already, which the end would wait for
