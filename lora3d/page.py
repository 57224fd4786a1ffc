"""A page that shows what an adapter learned: one HTML file with 3D viewers that needs no network.

Models lie in it as GLB, pictures as data URIs; page.js draws all viewers with one WebGL context. Without
WebGL, or without scripts, each model is an animated turntable.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora3d.camera import Array, orbit
from lora3d.mesh import Mesh, glb_bytes
from lora3d.render import render

METRICS = {  # key in report.json: (heading, what is better, decimals)
    "psnr": ("PSNR", "dB, higher is nearer", 2),
    "ssim": ("SSIM", "higher is nearer", 3),
    "silhouette_iou": ("Silhouette IoU", "higher is nearer", 3),
    "fscore": ("F-score", "higher is nearer", 3),
    "chamfer": ("Chamfer", "lower is nearer", 4),
    "consistency_psnr": ("Consistency", "dB, higher is better", 2),
    "palette_distance": ("Palette distance", "lower is nearer", 4),
}


@dataclass(frozen=True, eq=False)
class Model:
    """One answer to a drawing, or the truth.

    Attributes:
        label: what it is, e.g. ``with the adapter``.
        mesh: normalised (or nearly), its front at −Y.
        note: a few words beside the label, e.g. a score.
    """

    label: str
    mesh: Mesh
    note: str = ""


@dataclass(frozen=True, eq=False)
class Item:
    """One row of the page: a drawing and its models, which turn together.

    Attributes:
        name: its heading.
        drawing: (h, w, 3) or (h, w, 4) float sRGB in [0, 1]; None where a sentence was asked instead.
        models: from left to right.
        caption: a line under the heading.
    """

    name: str
    drawing: Array | None
    models: Sequence[Model]
    caption: str = ""


def write_page(
    out: Path,
    *,
    title: str,
    intro: str | Sequence[str],
    items: Sequence[Item],
    summary: Mapping[str, Mapping[str, Any]] | None = None,
    compare: tuple[str, str] | None = None,
    training: Sequence[tuple[str, Array]] = (),
    commands: Sequence[tuple[str, str]] = (),
    frames: int = 16,
) -> Path:
    """Writes the page to the file ``out`` and returns it. Every string is escaped.

    Args:
        intro: one paragraph, or several.
        summary: mean scores by system, as report.json holds them; what is no number is left out.
        compare: the labels of two models (before, after); the first item that has both opens the page
            with a wipe between them.
        training: names and pictures (h, w, 3 or 4) of what was learned from.
        commands: (what it does, the command line) of the next steps.
        frames: views a turntable, drawn at 192 px.
    """
    page = _Page(frames)
    paragraphs = [intro] if isinstance(intro, str) else list(intro)
    parts = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(p)}</p>" for p in paragraphs)]
    if compare:
        parts.append(_hero(page, items, compare))
    if items:
        hint = "Drag to turn a row, click and scroll to zoom, double-click to start it turning again."
        parts.append(f"<h2>Drawings that were held out</h2><p class='hint drag'>{hint}</p>")
        parts += [_row(page, item) for item in items]
    if summary:
        parts.append("<h2>In numbers</h2><div class=card>" + _table(summary) + "</div>")
    if training:
        shown = "".join(_picture(name, rgba) for name, rgba in training)
        parts.append(f"<h2>What it learned from</h2><div class='card thumbs'>{shown}</div>")
    if commands:
        steps = "".join(f"<p>{escape(what)}</p><pre>{escape(line)}</pre>" for what, line in commands)
        parts.append(f"<h2>Your turn</h2>{steps}")
    parts.append("<footer>Made by lora3d. Everything on this page is inside this one file.</footer>")
    html = _DOCUMENT.format(
        title=escape(title),
        css=_resource("page.css"),
        body="\n".join(parts),
        models="\n".join(page.scripts),
        js=_resource("page.js"),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(html, encoding="utf-8")
    return out


def turntable(mesh: Mesh, *, frames: int = 16, size: int = 192) -> bytes:
    """An animated WebP of ``frames`` views around the mesh, transparent, ``size`` px; deterministic."""
    cameras = [orbit(25 + 360 / frames * i, 14, 2.5, fov_deg=24) for i in range(frames)]
    rgba = (render(mesh, cameras, size, shading="studio").rgba * 255).round().astype(np.uint8)
    first, *rest = [Image.fromarray(view) for view in rgba]
    data = io.BytesIO()
    wait_ms = round(15_000 / frames)  # a turn takes as long as in the live viewers
    first.save(
        data, "WEBP", save_all=True, append_images=rest, duration=wait_ms, loop=0, quality=75, method=2
    )
    return data.getvalue()


def portrait(mesh: Mesh, *, size: int = 160) -> Array:
    """A picture of a normalised mesh for the training set: (size, size, 4) float32 sRGB, straight alpha."""
    return render(mesh, [orbit(25, 14, 2.5, fov_deg=24)], size, shading="studio").rgba[0]


class _Page:
    """Collects the models of a page, so that each is embedded and drawn once, however often it is shown."""

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.scripts: list[str] = []
        self._known: dict[int, tuple[Mesh, str, str]] = {}  # the mesh is kept, so that its id stays its own

    def model(self, mesh: Mesh) -> tuple[str, str]:
        """The id of the embedded GLB, and the turntable as a data URI."""
        if id(mesh) not in self._known:
            name = f"model-{len(self.scripts)}"
            glb = base64.b64encode(glb_bytes(mesh)).decode()
            self.scripts.append(f'<script type="model/gltf-binary" id="{name}">{glb}</script>')
            picture = _data_uri("image/webp", turntable(mesh, frames=self.frames))
            self._known[id(mesh)] = (mesh, name, picture)
        return self._known[id(mesh)][1:]


def _hero(page: _Page, items: Sequence[Item], compare: tuple[str, str]) -> str:
    for item in items:
        by_label = {model.label: model for model in item.models}
        if all(label in by_label for label in compare):
            break
    else:
        return ""
    before, after = (by_label[label] for label in compare)
    drawing = "" if item.drawing is None else _picture("the drawing", item.drawing)
    slider = '<input type=range min=0 max=100 value=50 aria-label="wipe between before and after">'
    both = _viewer(page, before, download="") + _viewer(page, after, download="")
    return f"<div class='card hero row'>{drawing}<div class=wipe>{both}{slider}</div></div>"


def _row(page: _Page, item: Item) -> str:
    drawing = "" if item.drawing is None else _picture("drawing", item.drawing)
    views = "".join(_viewer(page, model, download=f"{item.name} {model.label}") for model in item.models)
    caption = f"<p class=hint>{escape(item.caption)}</p>" if item.caption else ""
    head = f"<h3>{escape(item.name)}</h3>{caption}"
    return f"<section class='card row'>{head}<div class=views>{drawing}{views}</div></section>"


def _viewer(page: _Page, model: Model, *, download: str) -> str:
    name, picture = page.model(model.mesh)
    label, note = escape(model.label), escape(model.note)
    file = "".join(c if c.isalnum() else "_" for c in download) + ".glb"
    link = f'<a download="{file}" data-model="{name}" href="#{name}">GLB</a>' if download else ""
    return (
        f'<figure class=viewer data-model="{name}"><div class=stage tabindex=0 role=img aria-label="{label}">'
        f'<img alt="{label}" src="{picture}"><canvas></canvas></div>'
        f"<figcaption><b>{label}</b> {note}{link}</figcaption></figure>"
    )


def _picture(label: str, rgba: Array) -> str:
    pixels = (np.clip(rgba, 0, 1) * 255).round().astype(np.uint8)
    image = Image.fromarray(pixels)
    image.thumbnail((384, 384))
    data = io.BytesIO()
    image.save(data, "PNG")
    name, uri = escape(label), _data_uri("image/png", data.getvalue())
    stage = f'<div class=stage><img alt="{name}" src="{uri}"></div>'
    return f'<figure>{stage}<figcaption title="{name}">{name}</figcaption></figure>'


def _table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a system, one column a metric that any of them has."""
    keys = [k for k in METRICS if any(_is_number(s.get(k)) for s in summary.values())]
    keys += [k for s in summary.values() for k, v in s.items() if _is_number(v) and k not in METRICS]
    keys = list(dict.fromkeys(keys))
    head = "".join(
        f"<th>{escape(heading)}<small>{escape(better)}</small></th>"
        for heading, better, _ in (METRICS.get(k, (k, "", 3)) for k in keys)
    )
    lines = []
    for system, scores in summary.items():
        cells = []
        for key in keys:
            value, decimals = scores.get(key), METRICS.get(key, ("", "", 3))[2]
            cells.append(f"<td>{value:.{decimals}f}</td>" if _is_number(value) else "<td>–</td>")
        lines.append(f"<tr><td>{escape(system)}</td>{''.join(cells)}</tr>")
    return f"<div class=scroll><table><tr><th></th>{head}</tr>{''.join(lines)}</table></div>"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and np.isfinite(value)


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _resource(name: str) -> str:
    return files("lora3d").joinpath(name).read_text(encoding="utf-8")


# The policy lets the browser load nothing from anywhere, whatever the page's text says.
_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{css}</style>
</head>
<body>
{body}
{models}
<script>
{js}</script>
</body>
</html>
"""
