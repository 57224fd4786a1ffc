"""Turntables and image sequences without models: frames of one object to the cells whose cameras they stand at.

What a frame shows is known where a camera of the grid looks from the same side; depths, normals and all other views
are not, and count nothing in training. A frame states where it was taken from (``chair@30,20.png``: azimuth and
elevation), or stands in a full turn of equal steps at elevation 0, counter-clockwise seen from above. The object turns
about the middle column of the frames.
"""

from __future__ import annotations

import math

import numpy as np

from lora3d.camera import Array, Camera, orbit
from lora3d.data_prep.asset import Prepared, Reference, Task, cropped
from lora3d.data_prep.match import turn_for
from lora3d.data_prep.pictures import read_picture, write_alone
from lora3d.data_prep.sources import Drawing
from lora3d.dataset_rows import blank_tiles, to_bytes
from lora3d.drawing import COVERED, resample
from lora3d.errors import InputError

TOLERANCE_DEG = 1.0
MAX_FRAMES = 720


def prepare_turntable(task: Task) -> Prepared:
    """Writes the row of one turntable; its reference is the drawing that is listed, or the frame nearest the front.

    Raises InputError for frames that are unlike in size, show nothing, or stand at no camera of the grid while it has
    no cell for a drawing.
    """
    drawings, frames, grid = task.asset.drawings, task.asset.frames, task.grid
    if len(frames) > MAX_FRAMES:
        raise InputError(f"{len(frames)} frames, at most {MAX_FRAMES} are read: leave some out")
    nearest = min(frames, key=lambda frame: angle_between(_pose(frame), orbit(0, 0, 1, ortho_scale=1)))
    front = drawings[0] if drawings else nearest
    turn_deg = turn_for(grid, front.azimuth_deg or 0.0)
    chosen = _at_cameras(task, turn_deg)
    if not chosen and not grid.indices("reference"):
        raise InputError(
            f"none of its {len(frames)} frames stands within {TOLERANCE_DEG:g}° of a camera of grid {grid.name!r}: "
            "state their angles (name@AZIMUTH,ELEVATION.png), or take another grid"
        )
    pictures, covered = _read(task, {front, *chosen.values()})
    centre, radius = measure(covered)
    tiles = blank_tiles(grid)
    for cell, frame in chosen.items():
        side = 2 * _half_width(grid.cells[cell].camera) * 2 * radius
        tiles[cell] = resample(grid, pictures[frame], centre, side)[0]
    reference = Reference(
        front.file,
        to_bytes(cropped(pictures[front] if front in pictures else read_picture(task, front.file))),
        (front.azimuth_deg or 0.0) % 360,
        front.elevation_deg or 0.0,
    )
    said = [f"a turntable: {len(chosen)} of {len(grid.indices('rgb'))} views are known, no depth"]
    said += ["of its drawings the first alone is used"] if len(drawings) > 1 else []
    return write_alone(task, reference, tiles, [i in chosen for i in range(len(grid.cells))], said, turn_deg)


def _at_cameras(task: Task, turn_deg: float) -> dict[int, Drawing]:
    """The frame for each rgb cell whose camera, the object turned, is within the tolerance of one."""
    found = {}
    for cell in task.grid.indices("rgb"):
        camera = task.grid.cells[cell].camera
        assert camera is not None
        apart = {frame: angle_between(_pose(frame, turn_deg), camera) for frame in task.asset.frames}
        nearest = min(apart, key=lambda frame: apart[frame])
        if apart[nearest] <= TOLERANCE_DEG:
            found[cell] = nearest
    return found


def _pose(frame: Drawing, turn_deg: float = 0.0) -> Camera:
    return orbit((frame.azimuth_deg or 0.0) - turn_deg, frame.elevation_deg or 0.0, 1, ortho_scale=1)


def angle_between(a: Camera, b: Camera) -> float:
    """By how many degrees one camera must be turned to stand as the other: θ of cos θ = (tr RᵀS − 1) / 2."""
    cosine = (np.sum(a.matrix[:3, :3] * b.matrix[:3, :3]) - 1) / 2
    return math.degrees(math.acos(np.clip(cosine, -1, 1)))


def _half_width(camera: Camera | None) -> float:
    """Half of what a camera's frame is wide at the origin, in world units."""
    assert camera is not None
    near = 1.0 if camera.ortho_scale is not None else float(np.linalg.norm(camera.matrix[:3, 3]))
    return camera.half_extent * near


def _read(task: Task, wanted: set[Drawing]) -> tuple[dict[Drawing, Array], Array]:
    """The wanted frames (h, w, 4) float32, and what any frame covers, (h, w) bool."""
    pictures: dict[Drawing, Array] = {}
    covered: Array | None = None
    for frame in task.asset.frames:
        picture = read_picture(task, frame.file)
        if covered is not None and covered.shape != picture.shape[:2]:
            (h, w), (other_h, other_w) = covered.shape, picture.shape[:2]
            raise InputError(
                f"its frames are of several sizes, {w}×{h} and {other_w}×{other_h}: expected one"
            )
        cover = picture[..., 3] > COVERED
        covered = cover if covered is None else covered | cover
        if frame in wanted:
            pictures[frame] = picture
    assert covered is not None
    return pictures, covered


def measure(covered: Array) -> tuple[tuple[float, float], float]:
    """Of what all frames cover together, (h, w) bool: its centre (x, y), and how far it reaches from there, in pixels.

    The centre is the middle column, and the middle of the rows covered. A grid's objects reach 0.5 from theirs.
    """
    ys, xs = np.nonzero(covered)
    x, y = covered.shape[1] / 2, (ys.min() + ys.max() + 1) / 2
    # To the far corner of each pixel.
    far = np.hypot(np.abs(xs + 0.5 - x) + 0.5, np.abs(ys + 0.5 - y) + 0.5)
    return (x, float(y)), float(far.max())
