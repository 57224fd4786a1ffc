"""One row of the dataset, and how it lies in Parquet: PNG pictures, a GLB, plain columns."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from lora3d.camera import Array
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, pack, unpack
from lora3d.png import encode_png

MAX_REFERENCE = 4096  # pixels a side; a stored drawing larger than that is not ours
BLUEPRINT_SHEET = "rendered as a blueprint"  # what such a row calls its drawing
RENDERED = ("rendered", BLUEPRINT_SHEET)  # what rows without a drawing of the artist's call theirs
POOR_IOU = 0.8  # of drawing and model: below it, another model or another viewpoint
PNG_LEVEL = 3  # a third larger than at 6, in half the time

_FILE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_TEXTS = ("caption", "subject", "split", "license", "artist", "source", "file", "drawing")
COLUMNS: dict[str, tuple[pa.DataType, dict[str, Any]]] = {
    "id": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "grid": (_FILE, {"_type": "Image"}),
    "reference": (_FILE, {"_type": "Image"}),
    **{name: (pa.string(), {"dtype": "string", "_type": "Value"}) for name in _TEXTS},
    "azimuth_deg": (pa.float64(), {"dtype": "float64", "_type": "Value"}),
    "elevation_deg": (pa.float64(), {"dtype": "float64", "_type": "Value"}),
    "turn_deg": (pa.float64(), {"dtype": "float64", "_type": "Value"}),
    "reference_iou": (pa.float64(), {"dtype": "float64", "_type": "Value"}),
    "warnings": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "content_hash": (pa.string(), {"dtype": "string", "_type": "Value"}),
    "truth": (
        pa.list_(pa.bool_()),
        {"feature": {"dtype": "bool", "_type": "Value"}, "_type": "List"},
    ),
    "mesh": (_FILE, {"_type": "Mesh"}),
}
ADDED = ("truth",)  # columns that datasets of older versions lack
PLAIN = tuple(name for name, (kind, _) in COLUMNS.items() if kind != _FILE)


class DatasetError(InputError):
    """A folder that is no dataset, or one that may not be written."""


@dataclass(frozen=True, eq=False)
class Row:
    """One drawing of one model, and the model's views turned to it; or pictures without a model.

    Attributes:
        id: unique in the dataset; letters, digits and ``._-`` only, so that it can name a file.
        tiles: (cells, t, t, 3) float32 in [0, 1]; the complete grid, reference cells included. To write, uint8 will
            do.
        caption: what it is, in words; may be empty.
        subject: what the split keeps together: variants of one thing.
        split: ``train`` or ``test``.
        license: SPDX identifier; ``NOASSERTION`` where nobody said.
        artist, source: as stated; may be empty.
        glb: the model as binary glTF, turned and normalised as the views are; empty where there is none.
        file: the model's path inside the source folder; rows of one model share it. Without a model, the
            picture's.
        drawing: the drawing's path inside the source folder, ``rendered``, or `BLUEPRINT_SHEET`.
        azimuth_deg, elevation_deg: where the drawing was seen from, in the model's own frame; a base is told so, see
            `seen_deg`.
        turn_deg: what of the model's own azimuth became the grid's front.
        reference_iou: silhouette IoU of drawing and model seen from there, in [0, 1]; None if rendered.
        warnings: for a person; empty if there are none.
        reference: (h, w, 4) uint8 sRGB straight alpha, the drawing cut out, at its own resolution. None: the
            tile of the grid.
        truth: one a cell: whether anybody knows what it shows. None: all cells, from a model. The others are
            `blank_tiles`, whatever ``tiles`` holds there, and count nothing in training.
        content_hash: SHA-256 of everything above but subject and split; computed when empty.
    """

    id: str
    tiles: Array
    caption: str
    subject: str
    split: str
    license: str
    artist: str
    source: str
    glb: bytes
    file: str = ""
    drawing: str = "rendered"
    azimuth_deg: float = 0.0
    elevation_deg: float = 0.0
    turn_deg: float = 0.0
    reference_iou: float | None = None
    warnings: str = ""
    reference: Array | None = None
    truth: tuple[bool, ...] | None = None
    content_hash: str = ""

    @property
    def seen_deg(self) -> tuple[float, float] | None:
        """Azimuth and elevation that the drawing was seen from, in the grid's frame; see `seen_from`."""
        return seen_from({name: getattr(self, name) for name in PLAIN})


def seen_from(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Where the drawing of a row was seen from: azimuth and elevation in degrees, in the grid's frame.

    Args:
        row: its plain columns.

    None where nobody knows: without a model, for a sheet of several views, where it hardly fits its model.
    """
    iou = row["reference_iou"]
    if row["truth"] is not None or row["drawing"] == BLUEPRINT_SHEET or (iou is not None and iou < POOR_IOU):
        return None
    return (row["azimuth_deg"] - row["turn_deg"] + 180) % 360 - 180, row["elevation_deg"]


def encode_rows(rows: list[Row], grid: ViewGrid) -> pa.Table:
    """Rows as a table in the schema of the dataset; content hashes are computed."""
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for row in rows:
        reference = _reference_of(row, grid)
        for name in PLAIN:
            if name != "content_hash":
                columns[name].append(getattr(row, name))
        tiles = to_bytes(true_tiles(row, grid))
        columns["grid"].append(_as_file(encode_png(pack(grid, tiles), PNG_LEVEL), f"{row.id}.png"))
        columns["reference"].append(_as_file(encode_png(reference, PNG_LEVEL), f"{row.id}.reference.png"))
        columns["mesh"].append(_as_file(row.glb, f"{row.id}.glb") if row.glb else None)
        columns["content_hash"].append(_digest(row, tiles, reference))
    return pa.table(
        {name: pa.array(columns[name], type=kind) for name, (kind, _) in COLUMNS.items()},
        schema=make_schema(grid),
    )


def hash_row(row: Row) -> str:
    """SHA-256 of a row's content: all but its subject and split, which depend on the other rows."""
    return _digest(row, to_bytes(row.tiles), row.reference)


def _digest(row: Row, tiles: Array, reference: Array | None) -> str:
    digest = hashlib.sha256()
    plain = [getattr(row, n) for n in PLAIN if n not in ("subject", "split", "content_hash", *ADDED)]
    # What an older version wrote keeps its hash.
    added = [] if row.truth is None else [list(row.truth)]
    digest.update(json.dumps([*plain, *added]).encode())
    for picture in [tiles] if reference is None else [tiles, np.ascontiguousarray(reference)]:
        digest.update(repr(picture.shape).encode())
        digest.update(picture.data)
    digest.update(row.glb)
    return digest.hexdigest()


def blank_tiles(grid: ViewGrid) -> Array:
    """Cells that show nothing, as `lora3d.render.render_tiles` draws nothing: (cells, t, t, 3) float32."""
    tiles = np.zeros((len(grid.cells), grid.tile, grid.tile, 3), np.float32)
    tiles[[*grid.indices("rgb"), *grid.indices("reference")]] = grid.background
    return tiles


def true_tiles(row: Row, grid: ViewGrid) -> Array:
    """A row's tiles, those without truth blank. Raises DatasetError for a truth that is not one a cell."""
    if row.truth is None:
        return row.tiles
    if len(row.truth) != len(grid.cells):
        raise DatasetError(
            f"row {row.id!r} says of {len(row.truth)} cells whether they are true, its grid has {len(grid.cells)}"
        )
    blank = blank_tiles(grid)
    blank = to_bytes(blank) if row.tiles.dtype == np.uint8 else blank
    return np.where(np.array(row.truth)[:, None, None, None], row.tiles, blank)


def to_bytes(values: Array) -> Array:
    """[0, 1] to uint8, rounded; what is outside is clipped. What is uint8 already stays."""
    if values.dtype == np.uint8:
        return values
    scaled = np.asarray(values) * 255
    scaled += 0.5
    return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)


def _reference_of(row: Row, grid: ViewGrid) -> Array:
    """The drawing to store: the row's own, or else its tile with the coverage beside it."""
    if row.reference is not None:
        return np.asarray(row.reference, dtype=np.uint8)
    shape = (grid.tile, grid.tile, 1)
    rgb, alpha = grid.indices("reference"), grid.indices("reference_alpha")
    scale = 255 if row.tiles.dtype == np.uint8 else 1
    picture = row.tiles[rgb[0]] / scale if rgb else np.repeat(np.ones(shape), 3, axis=-1)
    cover = row.tiles[alpha[0]][..., :1] / scale if alpha else np.full(shape, float(bool(rgb)))
    background = np.asarray(grid.background)
    colour = (picture - background * (1 - cover)) / np.maximum(cover, 1e-3)
    return to_bytes(np.concatenate([np.where(cover > 0, colour, 0), cover], axis=-1))


def _as_file(data: bytes, path: str) -> dict[str, Any]:
    return {"bytes": data, "path": path}


def _pixels(data: bytes, mode: str, size: tuple[int, int] | None, where: str) -> Array:
    """A stored PNG as uint8, its size checked before it is decoded."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if (size and image.size != size) or max(image.size) > MAX_REFERENCE * 4:
                wanted = "×".join(map(str, size)) if size else f"at most {MAX_REFERENCE * 4} px a side"
                raise DatasetError(f"{where} is {image.width}×{image.height} px, expected {wanted}")
            return np.asarray(image.convert(mode))
    except (OSError, SyntaxError, TypeError) as error:
        raise DatasetError(f"{where} is no readable PNG: {error}") from error


def decode_row(values: dict[str, Any], grid: ViewGrid) -> Row:
    name = values["id"]
    canvas = _pixels(values["grid"]["bytes"], "RGB", grid.size, f"row {name!r}: its grid")
    reference = _pixels(values["reference"]["bytes"], "RGBA", None, f"row {name!r}: its reference")
    plain = {column: values[column] for column in PLAIN if column not in ADDED}
    truth = values.get("truth")
    row = Row(
        tiles=unpack(grid, canvas).astype(np.float32) / 255,
        reference=reference,
        glb=values["mesh"]["bytes"] if values["mesh"] else b"",
        truth=None if truth is None else tuple(truth),
        **plain,
    )
    return replace(row, tiles=true_tiles(row, grid))


def make_schema(grid: ViewGrid) -> pa.Schema:
    features = {name: feature for name, (_, feature) in COLUMNS.items()}
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "lora3d_grid": json.dumps(grid.to_dict()),
    }
    return pa.schema([(name, kind) for name, (kind, _) in COLUMNS.items()], metadata=metadata)
