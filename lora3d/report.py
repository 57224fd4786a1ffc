"""The page of an evaluation: one HTML file that needs no network and runs no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora3d.camera import Array

MAX_TILE = 128  # larger tiles are reduced, so that the page stays small


@dataclass(frozen=True)
class Shown:
    """The pictures of one asset, sRGB in [0, 1].

    Attributes:
        asset: its name in the report.
        reference: the drawing over the background (t, t, 3), or None.
        views: "true" and each system's rgb cells (v, t, t, 3).
        meshes: the same keys; what was lifted, seen from an angle of its own (s, s, 3), or None.
    """

    asset: str
    reference: Array | None
    views: dict[str, Array]
    meshes: dict[str, Array | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Metric:
    key: str
    label: str
    unit: str
    higher: bool
    digits: int
    meaning: str


_METRICS = (
    _Metric("psnr", "PSNR", "dB", True, 2, "of the colour views against the true ones, over the background"),
    _Metric("ssim", "SSIM", "", True, 3, "structural similarity of the same views; 1 is equal"),
    _Metric("silhouette_iou", "Silhouette IoU", "", True, 3, "overlap of the outlines, mean over views"),
    _Metric("fscore", "F\u2011score", "", True, 3, "how much of both surfaces lies within 0.05 of the other"),
    _Metric("chamfer", "Chamfer", "", False, 4, "mean distance of the two surfaces, in radii of the object"),
    _Metric(
        "consistency_psnr",
        "Consistency",
        "dB",
        True,
        2,
        "the views against the lifted mesh drawn again: whether they show one solid",
    ),
    _Metric(
        "palette_distance",
        "Palette distance",
        "",
        False,
        4,
        "from the views’ colours to those of the artist’s training models, in Oklab; 0.02 is just visible",
    ),
)

_SYSTEMS = {
    "base": ("Base", "the model without the adapter"),
    "adapter": ("Adapter", "the same model with the adapter, same seed"),
    "retrieval": ("Retrieval", "the training model whose drawing looks most alike: what a search would find"),
    "ceiling": ("Ceiling", "the true views through the base’s codec, then lifted: the best it could do"),
}


def write_report(report: dict[str, Any], shown: Sequence[Shown], path: Path) -> None:
    """Writes report.html: a summary with intervals, then each asset's pictures and scores.

    Args:
        report: what `evaluate` returns.
        shown: the pictures of some or all of its assets.
    """
    entries = {entry["asset"]: entry for entry in report["assets"]}
    left = len(entries) - len(shown)
    rest = f"<p class=note>{left} more assets have their scores in report.json.</p>" if left > 0 else ""
    body = [
        _head(report),
        _summary(report),
        _legend(),
        "<h2>Asset by asset</h2>",
        *(_asset(entries[pictures.asset], pictures) for pictures in shown),
        rest,
        _settings(report["settings"]),
    ]
    path.write_text(_PAGE.format(style=_STYLE, body="\n".join(body)), encoding="utf-8")


def data_uri(picture: Array) -> str:
    """A picture (h, w, 3 or 4) in [0, 1] as a PNG data URI."""
    buffer = io.BytesIO()
    Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _head(report: dict[str, Any]) -> str:
    settings = report["settings"]
    assets, rows = len(report["assets"]), settings.get("rows", len(report["assets"]))
    name = settings.get("adapter") or settings.get("base") or "Evaluation"
    lede = (
        f"{_count(assets, 'asset')} that training never saw, {_count(rows, 'drawing')}, "
        f"grid {escape(str(settings.get('grid', '?')))}. {_verdict(report)}"
    )
    return f"<header><p class=kicker>lora3d eval</p><h1>{escape(str(name))}</h1><p>{lede}</p></header>"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _verdict(report: dict[str, Any]) -> str:
    """One or two sentences: where the interval of adapter − base leaves zero out, and where it does not."""
    signs: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for metric in _METRICS:
        gain = _gain(metric, report["difference"][metric.key])
        if gain is not None:
            signs[gain].append(escape(metric.label))
    if not any(signs.values()):
        return ""
    parts = [
        f"{word} in {', '.join(signs[sign])}"
        for sign, word in ((1, "better"), (-1, "worse"), (0, "not told apart"))
        if signs[sign]
    ]
    return f"Against the base, the adapter is {'; '.join(parts)} (95 % intervals over assets)."


def _gain(metric: _Metric, difference: dict[str, Any]) -> int | None:
    """1 where the adapter is better beyond its interval, −1 worse, 0 undecided, None without an interval."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return None
    if low <= 0 <= high:
        return 0
    return 1 if (low > 0) == metric.higher else -1


def _summary(report: dict[str, Any]) -> str:
    rows = []
    for metric in _METRICS:
        base, adapter = report["base"][metric.key], report["adapter"][metric.key]
        best: set[str] = set()
        if base is not None and adapter is not None and base != adapter:
            best = {"adapter" if (adapter > base) == metric.higher else "base"}
        arrow = "↑" if metric.higher else "↓"
        title = "higher is better" if metric.higher else "lower is better"
        cells = [
            f"<th scope=row>{escape(metric.label)} <span title='{title}'>{arrow}</span>"
            f"<small>{escape(metric.unit)}</small></th>"
        ]
        for system in ("base", "adapter"):
            mark = " class=best" if system in best else ""
            cells.append(f"<td{mark}>{_number(metric, report[system][metric.key])}</td>")
        cells.append(f"<td class=interval>{_interval(metric, report['difference'][metric.key])}</td>")
        cells += [
            f"<td class=aside>{_number(metric, report[system][metric.key])}</td>"
            for system in ("retrieval", "ceiling")
        ]
        rows.append("<tr>" + "".join(cells) + "</tr>")
    head = "".join(
        f"<th scope=col{aside}>{label}</th>"
        for label, aside in (
            ("Base", ""),
            ("Adapter", ""),
            ("Adapter − base, 95 % interval", " class=interval"),
            ("Retrieval", " class=aside"),
            ("Ceiling", " class=aside"),
        )
    )
    lost = {
        label: sum(e[system]["fscore"] == 0 and e[system]["chamfer"] is None for e in report["assets"])
        for system, (label, _) in _SYSTEMS.items()
    }
    failures = ", ".join(f"{label} {n}" for label, n in lost.items() if n)
    note = f"<p class=note>Assets without a mesh (F-score 0, no Chamfer): {failures}.</p>" if failures else ""
    return (
        f"<div class=wide><table class=summary><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>{note}"
    )


def _number(metric: _Metric, value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "<span class=none title='undefined'>–</span>"
    return f"{value:{'+' if sign else ''}.{metric.digits}f}".replace("-", "−")


def _interval(metric: _Metric, difference: dict[str, Any]) -> str:
    """The mean difference, its interval in figures, and both drawn about zero."""
    if difference["mean"] is None:
        return _number(metric, None)
    mean = f"<b>{_number(metric, difference['mean'], sign=True)}</b>"
    gain = _gain(metric, difference)
    if gain is None:
        return mean
    low, high = difference["low"], difference["high"]
    reach = max(abs(low), abs(high)) or 1.0
    x1, x2, x = (60 + 54 * value / reach for value in (low, high, difference["mean"]))
    kind = {1: "better", 0: "even", -1: "worse"}[gain]
    drawn = (
        f"<svg class={kind} width=120 height=14 viewBox='0 0 120 14' aria-hidden=true>"
        f"<line class=zero x1=60 y1=0 x2=60 y2=14 /><line x1={x1:.1f} y1=7 x2={x2:.1f} y2=7 />"
        f"<circle cx={x:.1f} cy=7 r=3.5 /></svg>"
    )
    figures = f"{_number(metric, low, sign=True)} … {_number(metric, high, sign=True)}"
    return f"{mean}{drawn}<span>{figures}</span>"


def _legend() -> str:
    systems = "".join(f"<dt>{label}</dt><dd>{text}</dd>" for label, text in _SYSTEMS.values())
    scores = "".join(f"<dt>{m.label}</dt><dd>{m.meaning}</dd>" for m in _METRICS)
    return f"<details><summary>What is compared, and how</summary><dl>{systems}{scores}</dl></details>"


def _asset(entry: dict[str, Any], pictures: Shown) -> str:
    about = " · ".join(escape(str(part)) for part in (entry["caption"], entry["subject"]) if part)
    drawing = ""
    if pictures.reference is not None:
        drawing = (
            f"<figure>{_image(_reduced(pictures.reference[None]), 'the drawing', 'strip')}"
            "<figcaption>drawing</figcaption></figure>"
        )
    head = "".join(f"<th scope=col>{escape(m.label)}</th>" for m in _METRICS)
    rows = [_system_row("true", "Truth", entry, pictures)]
    rows += [
        _system_row(system, label, entry, pictures)
        for system, (label, _) in _SYSTEMS.items()
        if system in pictures.views
    ]
    found = ", ".join(escape(str(name)) for name in dict.fromkeys(entry["retrieved"].values()))
    notes = [f"Retrieval found {found}."] if found else []
    notes += [f"{escape(where)}: {escape(why)}" for where, why in entry["reasons"].items()]
    return (
        f"<article><div class=about>{drawing}<div><h3>{escape(str(entry['asset']))}</h3><p>{about}</p>"
        + "".join(f"<p>{note}</p>" for note in notes)
        + "</div></div><div class=wide><table><thead><tr><th></th><th scope=col>views</th>"
        f"<th scope=col>mesh</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></article>"
    )


def _system_row(system: str, label: str, entry: dict[str, Any], pictures: Shown) -> str:
    mesh = pictures.meshes.get(system)
    picture = "<span class=none>no mesh</span>"
    if mesh is not None:
        picture = _image(data_uri(mesh), f"{label}: the mesh", "mesh")
    scores = entry.get(system, {})
    numbers = "".join(
        f"<td>{_number(metric, scores[metric.key]) if scores else ''}</td>" for metric in _METRICS
    )
    views = pictures.views[system]
    strip = _image(_reduced(views), f"{label}: {_count(len(views), 'view')}", "strip")
    return f"<tr><th scope=row>{label}</th><td>{strip}</td><td>{picture}</td>{numbers}</tr>"


def _reduced(views: Array) -> str:
    """Tiles (v, t, t, 3) side by side as a data URI, at most MAX_TILE high."""
    strip = np.concatenate(list(views), axis=1)
    if strip.shape[0] > MAX_TILE:
        image = Image.fromarray((np.clip(strip, 0, 1) * 255 + 0.5).astype(np.uint8))
        small = image.resize((len(views) * MAX_TILE, MAX_TILE), Image.Resampling.BOX)
        strip = np.asarray(small, dtype=np.float32) / 255
    return data_uri(strip)


def _image(uri: str, alt: str, kind: str) -> str:
    return f"<img class={kind} alt='{escape(alt)}' src='{uri}'>"


def _settings(settings: dict[str, Any]) -> str:
    rows = "".join(f"<dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd>" for k, v in settings.items())
    return f"<details><summary>Settings</summary><dl>{rows}</dl></details>"


_STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1c1c1e, #ececee); --soft: light-dark(#6b6b70, #a0a0a6);
  --line: light-dark(#e3e3e6, #38383c); --page: light-dark(#fbfbfa, #17171a);
  --card: light-dark(#fff, #1f1f23);
  --good: light-dark(#0b7a4b, #4cc38a); --bad: light-dark(#b3372f, #ff8b7e);
  --accent: light-dark(#eef6f1, #1d3328) }
body { margin: 0 auto; max-width: 1280px; padding: 40px 24px 80px; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -.01em; overflow-wrap: anywhere }
h2 { font-size: 20px; margin: 48px 0 16px } h3 { font-size: 16px; margin: 0; overflow-wrap: anywhere }
header p { max-width: 72ch; margin: 0 0 28px; color: var(--soft) }
header .kicker { font-size: 12px; letter-spacing: .08em; text-transform: uppercase; margin: 0 0 4px }
.wide { overflow-x: auto; min-width: 0 }
table { border-collapse: collapse; width: 100% }
th, td { padding: 7px 10px; text-align: right; white-space: nowrap; border-top: 1px solid var(--line) }
thead th { border-top: 0; font-size: 12px; font-weight: 500; color: var(--soft); vertical-align: bottom }
tbody th { text-align: left; font-weight: 600 } th span { color: var(--soft); font-weight: 400 }
th small { color: var(--soft); font-weight: 400; margin-left: 6px }
.summary { background: var(--card); border: 1px solid var(--line); border-radius: 10px; font-size: 16px;
  border-collapse: separate; border-spacing: 0 }
.summary th, .summary td { padding: 10px 16px }
.best { font-weight: 700; color: var(--good); background: var(--accent) } .aside { color: var(--soft) }
th.interval, td.interval { text-align: left; padding-left: 48px }
.interval b { font-weight: 600; display: inline-block; min-width: 4.6em; text-align: right }
.interval span { color: var(--soft); font-size: 13px; }
svg { vertical-align: -2px; margin: 0 10px; stroke: var(--soft); fill: var(--soft); stroke-width: 2 }
svg.better { stroke: var(--good); fill: var(--good) } svg.worse { stroke: var(--bad); fill: var(--bad) }
svg .zero { stroke: var(--soft); stroke-width: 1; opacity: .6 } svg circle { stroke: none }
details { margin: 24px 0 } summary { cursor: pointer; color: var(--soft) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; font-size: 14px }
dt { font-weight: 600 } dd { margin: 0; color: var(--soft); overflow-wrap: anywhere }
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 18px 20px 12px; margin: 0 0 20px }
.about p, .note { color: var(--soft); font-size: 13px; margin: 2px 0; overflow-wrap: anywhere }
.about { display: flex; gap: 20px; margin: 0 0 8px }
article table { font-size: 13px } article th, article td { padding: 5px 7px }
article thead th { white-space: normal; font-size: 11px }
article thead th:nth-child(-n+3) { text-align: left }
figure { margin: 0; flex: none } figcaption { font-size: 12px; color: var(--soft); text-align: center }
img { display: block; border: 1px solid var(--line); border-radius: 4px; background: #fff }
.strip { height: 96px; width: auto; image-rendering: pixelated } .mesh { height: 96px; width: 96px }
.none { color: var(--soft) }
"""

_PAGE = """<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta http-equiv=Content-Security-Policy
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name=viewport content="width=device-width, initial-scale=1">
<title>lora3d evaluation</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
