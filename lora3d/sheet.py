"""The contact sheet: every row of a dataset on one page, to look at once and strike out what is wrong."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora3d.camera import Array
from lora3d.dataset_rows import DatasetError, to_bytes
from lora3d.grid import ViewGrid

SIDE = 80  # pixels of one view
STRIKE = "strike.txt"
STRIKE_HELP = f"# Rows that are left out of training and scores: one row id or model file a line ({STRIKE})."

_PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }}
article {{ border-top: 1px solid #ddd; padding: .6rem 0; content-visibility: auto; contain-intrinsic-size: 140px }}
img {{ display: block; max-width: 100%; background: #f4f4f4 }}
code {{ user-select: all; background: #f4f4f4; padding: 0 .3em }}
.warn {{ color: #a33 }}
body:has(#doubt:checked) article:not(.doubt) {{ display: none }}
</style>
<h1>{title}</h1>
<p>{counts}. Each row: the drawing, then the views. Strike a row out by writing its id, or its file, as a line of
<code>{strike}</code> beside this page.</p>
<p><label><input type="checkbox" id="doubt"> only rows with warnings ({doubts})</label></p>
"""


def make_strip(tiles: Array, grid: ViewGrid) -> bytes:
    """A row's pictures side by side, the drawing first, as WebP; tiles (cells, t, t, 3) as in `Row`."""
    chosen = [to_bytes(tiles[i]) for i in (*grid.indices("reference"), *grid.indices("rgb"))]
    strip = Image.fromarray(np.concatenate(chosen, axis=1))
    buffer = io.BytesIO()
    strip.resize((SIDE * len(chosen), SIDE), Image.Resampling.BOX).save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()


def write_sheet(path: Path, title: str, index: Sequence[Mapping[str, Any]], strips: Iterable[bytes]) -> None:
    """Writes the page: a strip for each row of a dataset's index, in its order. Every string is escaped."""
    counts = f"{len(index)} rows of {len({row['file'] or row['id'] for row in index})} models"
    doubts = sum(bool(row["warnings"]) for row in index)
    with path.open("w", encoding="utf-8") as file:
        file.write(_PAGE.format(title=escape(title), counts=counts, strike=STRIKE, doubts=doubts))
        for row, strip in zip(index, strips, strict=True):
            file.write(_article(row, strip))


def _article(row: Mapping[str, Any], strip: bytes) -> str:
    drawn = f"{row['drawing']} from {row['azimuth_deg']:g}°, {row['elevation_deg']:g}°"
    if row["reference_iou"] is not None:
        drawn += f", IoU {row['reference_iou']:.2f}"
    facts = (row["subject"], row["split"], row["license"], row["artist"], row["file"], drawn)
    warned = f'<div class="warn">{escape(row["warnings"])}</div>' if row["warnings"] else ""
    return (
        f"<article{' class=doubt' if warned else ''}><b>{escape(row['caption'] or 'no caption')}</b> "
        f"<code>{escape(row['id'])}</code><br>{escape(' · '.join(fact for fact in facts if fact))}"
        f'<img alt="" src="data:image/webp;base64,{base64.b64encode(strip).decode()}">{warned}</article>\n'
    )


def read_strikes(folder: Path) -> list[str]:
    """The lines of strike.txt that name something; none without such a file. Raises DatasetError if unreadable."""
    path = folder / STRIKE
    if not path.is_file():
        return []
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}): save it as UTF-8 text") from error
    return [line for line in lines if line and not line.startswith("#")]
