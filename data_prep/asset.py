"""One model file to its rows: load, fit the drawings, render the views. Runs in a worker process."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from lora3d.camera import Array, viewpoint
from lora3d.data_prep.captions import Captioner, describe
from lora3d.data_prep.doubts import doubt_drawing, doubt_faces, doubt_frame, doubt_model
from lora3d.data_prep.drawings import BLUEPRINT, draw, draw_blueprint, random_camera
from lora3d.data_prep.match import Fit, Gallery, fit_view, make_gallery, turn_for
from lora3d.data_prep.shapes import Look, is_box, look_of, turn_tiles
from lora3d.data_prep.sheets import show_sheets
from lora3d.data_prep.sources import Asset, Drawing
from lora3d.dataset_rows import BLUEPRINT_SHEET, POOR_IOU, RENDERED, Row, encode_rows, to_bytes
from lora3d.drawing import COVERED, fit_reference, read_drawing, remove_paper
from lora3d.errors import InputError
from lora3d.grid import PRESETS, ViewGrid
from lora3d.mesh import Mesh, MeshError, glb_bytes, load_mesh, normalise, turn
from lora3d.render import render, render_tiles
from lora3d.row_faults import view_faults
from lora3d.sheet import make_strip

MAX_REFERENCE = 512  # pixels; a stored drawing's longer side
# A picture that only bears the model's name, and looks like this little of it, is taken for something else.
UNRELATED_IOU = 0.5
# Rendered references: this far from the front, so that it stays the nearest side; one of so many viewpoints.
SPREAD_DEG, VIEWPOINTS = 39.0, 8
_ANY_WAY_UP = (".stl", ".ply", ".off")


@dataclass(frozen=True, slots=True)
class Task:
    """An asset to prepare, and the Parquet file that its rows are written to.

    styles: of the reference where there is no drawing; each asset gets one of them. captioner: of an asset without
    a caption.
    """

    root: Path
    asset: Asset
    grid: ViewGrid
    seed: int
    part: Path
    styles: tuple[str, ...] = ("render",)
    captioner: Captioner | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the parent needs to know of an asset; its task's part has its rows, this and its look.

    Attributes:
        ious: of the drawings that became rows.
        shown: SHA-256 of the pictures that have no model; empty for a model.
        plain: its model's file has no colours.
    """

    ious: tuple[float, ...]
    warnings: tuple[str, ...]
    shown: str = ""
    plain: bool = False


_SAID, _PACKED, _STRIPS = b"lora3d_prepared", b"lora3d_look", b"lora3d_strips"


def read_prepared(part: Path) -> Prepared:
    """What `prepare` returned when it wrote ``part``."""
    said = json.loads(pq.read_schema(part).metadata[_SAID])
    return Prepared(tuple(said["ious"]), tuple(said["warnings"]), said["shown"], said.get("plain", False))


def read_look(part: Path) -> Look:
    """What the model of a part looks like. Raises KeyError for a part without a model."""
    metadata = pq.read_schema(part).metadata
    said = json.loads(metadata[_SAID])
    packed = base64.b64decode(metadata[_PACKED])
    return Look(np.array(said["moments"]), packed, np.array(said["cover"]), said["plain"])


def read_strips(part: Path) -> list[bytes]:
    """The strip of each row of a part, for the contact sheet."""
    return [base64.b64decode(strip) for strip in json.loads(pq.read_schema(part).metadata[_STRIPS])]


def write_rows(task: Task, look: Look | None, rows: list[Row], warnings: Iterable[str]) -> Prepared:
    """Writes rows and what is said of them, and seen in their views, as one file: it is there whole, or not at all."""
    # Another side of the same box has the same faults.
    asked = rows[:1] if look is not None and is_box(task.grid) else rows
    faults = [[text for _, text in view_faults(row.tiles, task.grid, row.truth)] for row in asked]
    faults *= len(rows) // len(asked)
    rows = [
        replace(row, warnings="; ".join(filter(None, [row.warnings, *said])))
        for row, said in zip(rows, faults, strict=True)
    ]
    ious = tuple(row.reference_iou for row in rows if row.reference_iou is not None)
    shown = hashlib.sha256()
    for row in rows if look is None else ():
        shown.update(row.tiles.tobytes())
    prepared = Prepared(
        ious,
        tuple(dict.fromkeys([*warnings, *chain(*faults)])),
        shown.hexdigest() if look is None else "",
        look is not None and look.plain,
    )
    said: dict[str, Any] = {"ious": ious, "warnings": prepared.warnings, "shown": prepared.shown}
    if look is not None:
        said |= {"moments": look.moments.tolist(), "cover": look.cover.tolist(), "plain": look.plain}
    pictures = json.dumps([base64.b64encode(make_strip(row.tiles, task.grid)).decode() for row in rows])
    packed = base64.b64encode(look.packed if look is not None else b"")
    metadata = {_SAID: json.dumps(said), _PACKED: packed, _STRIPS: pictures}
    temporary = task.part.with_suffix(f".{os.getpid()}.tmp")
    pq.write_table(encode_rows(rows, task.grid).replace_schema_metadata(metadata), temporary)
    temporary.replace(task.part)
    return prepared


def prepare(task: Task) -> Prepared:
    """Writes the rows of one model, one a usable drawing, or one with a rendered reference.

    Subject and split are left empty: they depend on the other assets. Raises InputError, with a reason for a
    person, where the model cannot be used.
    """
    path = task.root / task.asset.file
    try:
        mesh = show_sheets(normalise(load_mesh(path, root=task.root)))
    except MeshError as error:
        # The line in rejected.jsonl names the file already.
        raise InputError(str(error).removeprefix(f"{path.name}: ")) from error
    look = look_of(mesh, any_way_up=path.suffix.lower() in _ANY_WAY_UP)
    require_visible(mesh, look)
    doubt = doubt_faces(mesh, look)
    warnings = [*task.asset.warnings, *mesh.notes, *([doubt] if doubt else [])]
    references = _drawn(task, mesh, warnings)
    if not references:
        if task.asset.drawings or task.asset.warnings:
            warnings.append("none of its drawings can be used: a rendering stands in")
        references = [_rendered(task, mesh)]
    task = captioned(task, references[0].pixels)
    rows = _rows(task, mesh, references, warnings)
    return write_rows(
        task, look, rows, [*warnings, *(f"{r.drawing}: {r.warning}" for r in references if r.warning)]
    )


def captioned(task: Task, pixels: Array) -> Task:
    """The task with a caption of what (h, w, 4) uint8 shows, where it has none and a captioner is at hand."""
    if task.captioner is None or task.asset.caption:
        return task
    return replace(task, asset=replace(task.asset, caption=describe(task.captioner, pixels)))


@dataclass(frozen=True, eq=False)
class Reference:
    """A drawing and from where it shows the model; pixels (h, w, 4) uint8, cropped."""

    drawing: str
    pixels: Array
    azimuth_deg: float
    elevation_deg: float
    iou: float | None = None
    warning: str = ""


def require_visible(mesh: Mesh, look: Look) -> None:
    """Raises InputError for a model of which the six sides show nothing, or only one of them anything."""
    seen = int((look.views[0, ..., 3] > 0).any(axis=(1, 2)).sum())
    if seen < 2:
        # Needles slip between the pixels of a look.
        fine = render(mesh, PRESETS["box6"].cameras("rgb"), 256, samples=1)
        seen = int(np.isfinite(fine.depth).any(axis=(1, 2)).sum())
    if seen == 0:
        raise InputError("renders blank: its faces have no area or are wholly transparent")
    if seen == 1:
        raise InputError("can be seen from one side only: a single sheet without a back; make it two-sided")


def _drawn(task: Task, mesh: Mesh, warnings: list[str]) -> list[Reference]:
    """The asset's usable drawings; what is wrong with the others, and what they say of it, is added to ``warnings``."""
    references: list[Reference] = []
    gallery: Gallery | None = None
    seen: list[tuple[Array, Fit]] = []
    for drawing in task.asset.drawings:
        try:
            whole = read_drawing(task.root / drawing.file)
            rgba = cropped(whole)
        except InputError as error:
            text = " ".join(str(error).replace(f"{task.root}/", "").split())
            warnings.append(f"drawing left out: {text}")
            continue
        gallery = gallery or make_gallery(mesh)
        reference = _place(gallery, drawing, rgba, seen)
        if reference is None:
            warnings.append(f"{drawing.file} bears the model's name but shows something else: left out")
            continue
        said = [text for text in (doubt_frame(whole), reference.warning) if text]
        references.append(replace(reference, warning="; ".join(said)))
    doubt = doubt_model(gallery, seen) if gallery is not None else ""
    warnings.extend([doubt] if doubt else [])
    return references


def _place(
    gallery: Gallery, drawing: Drawing, rgba: Array, seen: list[tuple[Array, Fit]]
) -> Reference | None:
    """Where a drawing shows the model from, as stated or fitted; None for an unrelated picture.

    The fit that is free of what was stated is added to ``seen``, unless what was stated fits well.
    """
    stated = drawing.azimuth_deg is not None
    fit = fit_view(gallery, rgba, azimuth_deg=drawing.azimuth_deg, elevation_deg=drawing.elevation_deg)
    free = fit if not stated else fit_view(gallery, rgba) if fit.iou < POOR_IOU else None
    if free is not None:
        seen.append((rgba, free))
    if drawing.by_name and not stated and fit.iou < UNRELATED_IOU:
        return None
    azimuth = drawing.azimuth_deg % 360 if drawing.azimuth_deg is not None else fit.azimuth_deg
    return Reference(
        drawing.file,
        to_bytes(rgba),
        round(azimuth, 2),
        round(fit.elevation_deg, 2),
        round(fit.iou, 4),
        doubt_drawing(fit, free),
    )


def _rendered(task: Task, mesh: Mesh) -> Reference:
    """A picture of the model from near its front, the same for the same file and seed."""
    name = int.from_bytes(hashlib.sha256(task.asset.file.encode()).digest()[:8], "big")
    rng = np.random.default_rng([task.seed, name])
    # Nobody draws a fork from its end or a carpet from its edge: the first of a few that shows much.
    cameras = [random_camera(rng, spread_deg=SPREAD_DEG) for _ in range(VIEWPOINTS)]
    shown = render(mesh, cameras, 48, samples=1).rgba[..., 3].mean(axis=(1, 2))
    camera = cameras[int(np.argmax(shown >= 0.6 * shown.max()))]
    size = min(max(2 * task.grid.tile, 128), MAX_REFERENCE)
    style, pen = task.styles[name % len(task.styles)], int(rng.integers(2**31))
    if style == BLUEPRINT:
        # Cut out as the artist's own sheet will be.
        sheet = cropped(remove_paper(draw_blueprint(mesh, size=size, seed=pen)))
        return Reference(BLUEPRINT_SHEET, to_bytes(sheet), 0.0, 0.0)
    azimuth, elevation = viewpoint(camera)
    pixels = to_bytes(cropped(draw(mesh, camera, style, size=size, seed=pen)))
    return Reference("rendered", pixels, round(azimuth % 360, 2), round(elevation, 2))


def cropped(rgba: Array) -> Array:
    """The drawn part (h, w, 4), its longer side at most MAX_REFERENCE."""
    covered = rgba[..., 3] > COVERED
    if not covered.any():
        raise InputError("shows no object, only background")
    ys, xs = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    rgba = rgba[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    if max(rgba.shape[:2]) <= MAX_REFERENCE:
        return rgba
    # The framing of a reference, with the margins cut off again.
    frame = replace(PRESETS["box6"].with_tile(MAX_REFERENCE), reference_fit=1.0, background=(0.0, 0.0, 0.0))
    premultiplied, alpha = fit_reference(frame, rgba)
    straight = np.clip(premultiplied / np.maximum(alpha, 1e-3)[..., None], 0, 1)
    return cropped(np.concatenate([straight, alpha[..., None]], axis=-1))


def _rows(task: Task, mesh: Mesh, references: list[Reference], warnings: list[str]) -> list[Row]:
    asset, grid = task.asset, task.grid
    # One rendering serves the four sides of a box.
    front = to_bytes(render_tiles(mesh, grid)) if is_box(grid) else None
    turned: dict[float, tuple[Array, bytes]] = {}
    rows = []
    for reference, name in zip(references, row_ids(asset.file, references), strict=True):
        turn_deg = turn_for(grid, reference.azimuth_deg)
        if turn_deg not in turned:
            own = turn(mesh, turn_deg)
            turned[turn_deg] = (
                to_bytes(render_tiles(own, grid))
                if front is None
                else turn_tiles(grid, front, round(turn_deg / 90)),
                glb_bytes(own, name=asset.caption or Path(asset.file).stem),
            )
        tiles, glb = turned[turn_deg]
        said = [*warnings, reference.warning] if reference.warning else warnings
        rows.append(row_of(task, reference, name, tiles, glb, turn_deg, said))
    return rows


def row_of(
    task: Task,
    reference: Reference,
    name: str,
    tiles: Array,
    glb: bytes,
    turn_deg: float,
    warnings: list[str],
    truth: tuple[bool, ...] | None = None,
) -> Row:
    """The row of one reference: tiles (cells, t, t, 3) uint8, the reference written over its cells."""
    asset = task.asset
    return Row(
        id=name,
        tiles=with_reference(task.grid, tiles, reference.pixels),
        caption=asset.caption,
        subject="",
        split="",
        license=asset.license,
        artist=asset.artist,
        source=asset.source,
        glb=glb,
        file=asset.file,
        drawing=reference.drawing,
        azimuth_deg=reference.azimuth_deg,
        elevation_deg=reference.elevation_deg,
        turn_deg=turn_deg,
        reference_iou=reference.iou,
        warnings="; ".join(warnings),
        reference=reference.pixels,
        truth=truth,
    )


def with_reference(grid: ViewGrid, tiles: Array, pixels: Array) -> Array:
    """A copy of tiles (cells, t, t, 3) uint8 with a drawing (h, w, 4) uint8 in the grid's reference cells."""
    tiles = tiles.copy()
    rgb, alpha = fit_reference(grid, pixels.astype(np.float32) / 255)
    for i in grid.indices("reference"):
        tiles[i] = to_bytes(rgb)
    for i in grid.indices("reference_alpha"):
        tiles[i] = to_bytes(alpha)[..., None]
    return tiles


def row_ids(file: str, references: list[Reference]) -> list[str]:
    """One id a drawing, fit for file names: the model's path and, if drawn, the drawing's."""
    model = _slug(str(Path(file).with_suffix("")))
    if len(references) == 1 and references[0].drawing in RENDERED:
        return [f"{model}-{_mark(file)}"]
    return [
        f"{model}.{_slug(str(Path(r.drawing).with_suffix('')))}-{_mark(f'{file} {i} {r.drawing}')}"
        for i, r in enumerate(references)
    ]


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[-60:] or "model"


def _mark(text: str) -> str:
    """Tells apart what looks the same as a slug: é and è, or .glb and .obj."""
    return hashlib.sha256(text.encode()).hexdigest()[:6]
