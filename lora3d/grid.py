"""ViewGrid: which views of one object belong together, and how they lie on one image.

The one contract of the library. It is written into the dataset, the recipe and the adapter's card; a
mismatch is refused with both sides named (`require_same_grid`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from lora3d.camera import Array, Camera, orbit
from lora3d.errors import InputError

Channel = Literal["rgb", "depth", "normal", "position", "reference", "reference_alpha", "empty"]
CHANNELS: tuple[str, ...] = get_args(Channel)


class GridError(InputError):
    """A grid that contradicts itself, an image, or another grid."""


COLOUR_STEP = 1 / 16  # a pixel this far from the background is part of the object, where no depth says so


@dataclass(frozen=True)
class View:
    """One cell: what it shows and from where.

    Attributes:
        channel: ``rgb`` sRGB over the background; ``depth`` see `ViewGrid.depth_range`; ``normal``
            n/2 + 1/2; ``position`` p + 1/2; ``reference`` the drawing over the background;
            ``reference_alpha`` its coverage; ``empty`` nothing.
        camera: None where it is not known (the drawing) or means nothing (an empty cell).
    """

    channel: Channel
    camera: Camera | None = None


@dataclass(frozen=True)
class ViewGrid:
    """Cells in reading order on rows × columns of square tiles.

    Objects are normalised: bounding-box centre at the origin, farthest vertex at 0.5. Azimuths count
    from the reference's side of the object: the front (−Y) of the grid's frame faces whoever drew.

    Attributes:
        name: the preset's name.
        cells: rows · columns views in reading order.
        columns: cells a row.
        tile: side of a cell in pixels.
        background: sRGB in [0, 1] behind every rgb cell and the reference.
        shading: ``unlit`` (albedo) or ``studio`` (a small fixed light rig).
        depth_range: (near, far) in world units; near is drawn as 1, far as `depth_floor`, and 0 means
            background, so that coverage can be read from depth.
        depth_floor: the value at the far end.
        normal_frame: the axes of normals: each cell's ``camera``, the ``first`` normal cell's, or the ``world``.
        reference_fit: the share of its tile that the drawn object's longer side fills.
    """

    name: str
    cells: tuple[View, ...]
    columns: int
    tile: int
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shading: Literal["unlit", "studio"] = "unlit"
    depth_range: tuple[float, float] = (0.5, 1.5)
    depth_floor: float = 0.25
    normal_frame: Literal["camera", "first", "world"] = "camera"
    reference_fit: float = 0.9

    def __post_init__(self) -> None:
        if self.columns < 1 or self.tile < 1 or not self.cells or len(self.cells) % self.columns:
            raise GridError(
                f"grid {self.name!r}: {len(self.cells)} cells do not fill rows of {self.columns} columns"
            )
        for i, cell in enumerate(self.cells):
            if cell.channel not in CHANNELS:
                raise GridError(f"grid {self.name!r}, cell {i}: unknown channel {cell.channel!r}")
            if cell.camera is None and cell.channel in ("rgb", "depth", "normal", "position"):
                raise GridError(f"grid {self.name!r}, cell {i}: a {cell.channel} cell needs a camera")

    @property
    def rows(self) -> int:
        return len(self.cells) // self.columns

    @property
    def size(self) -> tuple[int, int]:
        """The canvas as (width, height) in pixels."""
        return self.columns * self.tile, self.rows * self.tile

    def indices(self, channel: Channel) -> tuple[int, ...]:
        """Positions in ``cells`` of one channel, in reading order."""
        return tuple(i for i, cell in enumerate(self.cells) if cell.channel == channel)

    def cameras(self, channel: Channel = "rgb") -> tuple[Camera, ...]:
        """The cameras of one channel's cells, in reading order."""
        return tuple(c.camera for c in self.cells if c.channel == channel and c.camera is not None)

    def normal_axes(self, camera: Camera) -> Array:
        """The rotation (3, 3) float64 from the frame of this camera's normal cell to the world."""
        if self.normal_frame == "world":
            return np.eye(3)
        return (camera if self.normal_frame == "camera" else self.cameras("normal")[0]).matrix[:3, :3]

    def with_tile(self, tile: int) -> ViewGrid:
        """The same views at another resolution."""
        return replace(self, tile=tile)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is its exact inverse."""
        cells = [
            {"channel": c.channel, **({"camera": c.camera.to_dict()} if c.camera else {})} for c in self.cells
        ]
        return {
            "name": self.name,
            "columns": self.columns,
            "tile": self.tile,
            "background": list(self.background),
            "shading": self.shading,
            "depth_range": list(self.depth_range),
            "depth_floor": self.depth_floor,
            "normal_frame": self.normal_frame,
            "reference_fit": self.reference_fit,
            "cells": cells,
        }

    @staticmethod
    def from_dict(fields: dict[str, Any]) -> ViewGrid:
        """Raises GridError for a field that is missing, unknown or of the wrong type."""
        try:
            cells = tuple(
                View(c["channel"], Camera.from_dict(c["camera"]) if "camera" in c else None)
                for c in fields["cells"]
            )
            plain: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in fields.items() if k != "cells"
            }
            return ViewGrid(cells=cells, **plain)
        except (KeyError, TypeError, ValueError) as error:
            raise GridError(f"not a view grid: {error}") from error


def pack(grid: ViewGrid, tiles: Array) -> Array:
    """Tiles (cells, tile, tile, c) to one canvas (rows·tile, columns·tile, c); any dtype, no copy of meaning."""
    n, t = len(grid.cells), grid.tile
    if tiles.shape[:3] != (n, t, t):
        raise GridError(f"grid {grid.name!r} packs {n} tiles of {t} px, found shape {tiles.shape}")
    rows = tiles.reshape(grid.rows, grid.columns, t, t, -1)
    return rows.transpose(0, 2, 1, 3, 4).reshape(grid.rows * t, grid.columns * t, -1)


def unpack(grid: ViewGrid, canvas: Array) -> Array:
    """The exact inverse of `pack`: a canvas (h, w, c) to tiles (cells, tile, tile, c)."""
    t = grid.tile
    if canvas.ndim != 3 or canvas.shape[:2] != (grid.rows * t, grid.columns * t):
        width, height = grid.size
        found = "×".join(str(s) for s in canvas.shape[1::-1])
        raise GridError(f"grid {grid.name!r} is an image of {width}×{height} px, found {found}")
    rows = canvas.reshape(grid.rows, t, grid.columns, t, -1)
    return rows.transpose(0, 2, 1, 3, 4).reshape(len(grid.cells), t, t, -1)


def encode_depth(grid: ViewGrid, depth: Array) -> Array:
    """Metric depth (inf is background) to [0, 1]: near is 1, far is `depth_floor`, background is 0."""
    near, far = grid.depth_range
    share = np.clip((depth - near) / (far - near), 0.0, 1.0)
    value = 1.0 - (1.0 - grid.depth_floor) * share
    return np.where(np.isfinite(depth), value, 0.0).astype(np.float32)


def decode_depth(grid: ViewGrid, value: Array) -> Array:
    """The inverse of `encode_depth`; below half of `depth_floor` is background (inf)."""
    near, far = grid.depth_range
    share = np.clip((1.0 - value) / (1.0 - grid.depth_floor), 0.0, 1.0)
    return np.where(value >= grid.depth_floor / 2, near + share * (far - near), np.inf)


def coverage(grid: ViewGrid, tiles: Array) -> Array:
    """Where the object is in each rgb cell, (rgb cells, tile, tile) bool.

    Read from the depth cell of the same camera. A grid without one leaves colour: what differs from the
    background by more than `COLOUR_STEP` in some channel; objects of the background's colour have holes then.
    """
    depth = {grid.cells[i].camera: i for i in grid.indices("depth")}
    background = np.asarray(grid.background, dtype=np.float32)
    masks = []
    for i in grid.indices("rgb"):
        twin = depth.get(grid.cells[i].camera)
        if twin is None:
            masks.append(np.abs(tiles[i] - background).max(axis=-1) > COLOUR_STEP)
        else:
            masks.append(np.isfinite(decode_depth(grid, tiles[twin].mean(axis=-1))))
    return np.stack(masks) if masks else np.zeros((0, grid.tile, grid.tile), bool)


def object_pixels(grid: ViewGrid, tiles: Array) -> Array:
    """What the rgb cells show of the object (see `coverage`), pixel by pixel: (n, 3)."""
    found: Array = tiles[list(grid.indices("rgb"))][coverage(grid, tiles)]
    return found


def settle_depth(grid: ViewGrid, tiles: Array) -> Array:
    """Generated cells (..., cells, t, t, 3) with crisp outlines: a depth cell's doubtful pixels set to 0, background.

    A network that doubts an outline answers with the mean p·d of the surface's depth d and the background's 0. A pixel
    is surface where that is more than half of what its view's surfaces measure, Σd³ / Σd², so where p is more than a
    half; no surface is farther than the grid's depth goes (docs/decisions.md).
    """
    settled = tiles.copy()
    cells = list(grid.indices("depth"))
    depth = settled[..., cells, :, :, :]
    square = np.square(depth)
    total = square.sum(axis=(-3, -2, -1), keepdims=True)
    usual = (square * depth).sum(axis=(-3, -2, -1), keepdims=True) / np.maximum(total, 1e-6)
    surface = depth > np.maximum(usual, grid.depth_floor) / 2
    settled[..., cells, :, :, :] = np.where(surface, np.maximum(depth, grid.depth_floor), 0.0)
    return settled


def combine_samples(grid: ViewGrid, several: Array, guess: Array | None = None, weight: float = 0.0) -> Array:
    """Several answers (n, …, cells, t, t, 3) to one question, with settled depth, as one of them.

    Of colours the mean, the best guess in squares; ``guess`` (…, cells, t, t, 3) joins it as ``weight`` of each answer.
    Of depths the median of the answers: the mean of surfaces at different depths, or of a surface and background, is
    where none of them is. Of an even number the median is the higher of the two.
    """
    combined = several.mean(axis=0)
    if guess is not None:
        combined = (combined + weight * guess) / (1 + weight)
    cells = list(grid.indices("depth"))
    depth = np.sort(several[..., cells, :, :, :], axis=0)
    combined[..., cells, :, :, :] = depth[len(several) // 2]
    return combined


def require_same_grid(a: ViewGrid, a_name: str, b: ViewGrid, b_name: str) -> None:
    """Raises GridError that names both sides and the first field in which they differ."""
    left, right = a.to_dict(), b.to_dict()
    for key in left:
        if left[key] != right[key]:
            x, y = ("different cells", "") if key == "cells" else (left[key], right[key])
            what = "their cells differ" if key == "cells" else f"{key} is {x!r} against {y!r}"
            raise GridError(f"{a_name} (grid {a.name!r}) does not fit {b_name} (grid {b.name!r}): {what}")


def _with_reference(row: tuple[Camera, ...], channels: tuple[Channel, ...]) -> tuple[View, ...]:
    cells: list[View] = []
    for channel in channels:
        cells.append(View("reference" if channel == "rgb" else "reference_alpha"))
        cells.extend(View(channel, camera) for camera in row)
    return tuple(cells)


def _presets() -> dict[str, ViewGrid]:
    box = tuple(
        orbit(a, e, 1.0, ortho_scale=1.04)
        for a, e in ((0, 0), (90, 0), (180, 0), (270, 0), (0, 90), (0, -90))
    )
    zero = tuple(orbit(30 + 60 * i, (20, -10)[i % 2], 1.866, fov_deg=30) for i in range(6))
    four = tuple(orbit(90 * i, 0, 1.0, ortho_scale=1.04) for i in range(4))
    adapter = tuple(orbit(a, 0, 1.0, ortho_scale=1.1) for a in (0, 45, 90, 180, 270, 315))
    dream = tuple(orbit(90 * i, 15, 1.52, fov_deg=40) for i in range(4))
    wonder = tuple(orbit(a, 0, 1.0, ortho_scale=1.04) for a in (0, 45, 90, 180, 270, 315))
    rows = tuple(orbit(90 * i, 5, 2.0, fov_deg=30) for i in range(4))
    grey = (0.5, 0.5, 0.5)
    grids = (
        ViewGrid("box6", _with_reference(box, ("rgb", "depth")), columns=7, tile=64),
        ViewGrid(
            "zero123plus", tuple(View("rgb", c) for c in zero), 2, 320, background=grey, shading="studio"
        ),
        ViewGrid("ortho4", _with_reference(four, ("rgb", "depth")), columns=5, tile=256),
        ViewGrid(
            "mvadapter6", tuple(View("rgb", c) for c in adapter), 6, 768, background=grey, shading="studio"
        ),
        ViewGrid(
            "rgbnormal2x4",
            tuple(View("rgb", c) for c in rows) + tuple(View("normal", c) for c in rows),
            columns=4,
            tile=256,
            shading="studio",
        ),
        # MVDream (Shi et al. 2023) has no lens of its own, it was trained with 15 to 60 degrees.
        ViewGrid("mvdream4", tuple(View("rgb", c) for c in dream), 4, 256, background=grey, shading="studio"),
        # Wonder3D (Long et al. 2023): orthographic, about the upright of the first view, normals above colours.
        ViewGrid(
            "wonder3d",
            tuple(View(channel, c) for channel in ("normal", "rgb") for c in wonder),
            columns=6,
            tile=256,
            shading="studio",
            normal_frame="first",
        ),
    )
    return {grid.name: grid for grid in grids}


PRESETS: dict[str, ViewGrid] = _presets()


def read_grid(name_or_file: str | Path) -> ViewGrid:
    """A preset by name, or a grid from a JSON file. Raises GridError that lists the presets."""
    if str(name_or_file) in PRESETS:
        return PRESETS[str(name_or_file)]
    path = Path(name_or_file)
    if path.suffix == ".json" and path.is_file():
        try:
            return ViewGrid.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except json.JSONDecodeError as error:
            raise GridError(f"{path} is not JSON: {error}") from error
    raise GridError(f"no grid {str(name_or_file)!r}: expected a .json file or one of {', '.join(PRESETS)}")


def write_grid(grid: ViewGrid, path: Path) -> None:
    path.write_text(json.dumps(grid.to_dict(), indent=1) + "\n", encoding="utf-8")
