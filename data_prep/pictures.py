"""Drawings without models, for style alone: one row each, of which only the drawing is known.

Training learns such a drawing as a picture to be made (its cell is noised and counted); every other cell is blank and
counts nothing.
"""

from __future__ import annotations

from lora3d.camera import Array
from lora3d.data_prep.asset import (
    Prepared,
    Reference,
    Task,
    captioned,
    cropped,
    row_ids,
    row_of,
    write_rows,
)
from lora3d.data_prep.doubts import doubt_frame
from lora3d.dataset_rows import blank_tiles, to_bytes
from lora3d.drawing import read_drawing
from lora3d.errors import InputError
from lora3d.grid import ViewGrid

REFERENCE = ("reference", "reference_alpha")


def prepare_picture(task: Task) -> Prepared:
    """Writes the row of one drawing. Raises InputError where it shows nothing, or the grid has no cell for it."""
    if not task.grid.indices("reference"):
        raise InputError(
            f"grid {task.grid.name!r} has no cell for a drawing: take one that has, such as box6"
        )
    drawing = task.asset.drawings[-1]
    whole = read_picture(task, drawing.file)
    pixels = to_bytes(cropped(whole))
    reference = Reference(drawing.file, pixels, drawing.azimuth_deg or 0.0, drawing.elevation_deg or 0.0)
    said = ["the drawings listed with it are not used"] if len(task.asset.drawings) > 1 else []
    said += [cut] if (cut := doubt_frame(whole)) else []
    return write_alone(task, reference, blank_tiles(task.grid), [False] * len(task.grid.cells), said)


def read_picture(task: Task, file: str) -> Array:
    """`read_drawing` for a picture of the task's folder, whose place errors do not tell."""
    try:
        return read_drawing(task.root / file)
    except InputError as error:
        raise InputError(str(error).replace(f"{task.root}/", "")) from error


def write_alone(
    task: Task,
    reference: Reference,
    tiles: Array,
    truth: list[bool],
    warnings: list[str],
    turn_deg: float = 0.0,
) -> Prepared:
    """Writes the one row of what has no model: tiles (cells, t, t, 3), which are true, and the reference besides."""
    task = captioned(task, reference.pixels)
    asset, grid = task.asset, task.grid
    known = tuple(there or has_drawing(grid, i) for i, there in enumerate(truth))
    name = row_ids(asset.file, [reference])[0]
    row = row_of(task, reference, name, to_bytes(tiles), b"", turn_deg, [*asset.warnings, *warnings], known)
    return write_rows(task, None, [row], (*asset.warnings, *warnings))


def has_drawing(grid: ViewGrid, cell: int) -> bool:
    """Whether a cell shows the drawing, or where it covers."""
    return grid.cells[cell].channel in REFERENCE
