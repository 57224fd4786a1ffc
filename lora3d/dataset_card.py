"""The dataset's card: README.md as the Hugging Face Hub reads it, from what is in the rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lora3d.dataset_index import SPLITS
from lora3d.grid import ViewGrid

Index = Sequence[dict[str, Any]]

_USE = """\
```python
import datasets
rows = datasets.load_dataset("parquet", data_files="data-*.parquet", split="train")
rows[0]["grid"], rows[0]["reference"], rows[0]["mesh"]   # two pictures, one trimesh scene

from lora3d.dataset import read_dataset
for row in read_dataset(".").rows("train"):
    row.tiles, row.caption, row.glb
```"""

_COLUMNS = """\
| column | what it is |
| --- | --- |
| `grid` | every cell on one picture, laid out as `grid.json` says |
| `reference` | the drawing, cut out |
| `mesh` | GLB, turned and normalised as the views are; null where there is no model |
| `truth` | for each cell whether anybody knows what it shows; null: all, from the model |
| `caption`, `subject`, `split` | words; what the split keeps together; `train` or `test` |
| `license`, `artist`, `source` | as stated by the artist |
| `file`, `drawing` | paths in the source folder; `rendered` where there was no drawing |
| `azimuth_deg`, `elevation_deg` | where the drawing was seen from, in the model's own frame |
| `turn_deg` | which side of the model became the grid's front |
| `reference_iou` | how well the silhouettes of drawing and model agree, 0 to 1 |
| `warnings`, `content_hash` | for a person; SHA-256 of the row |"""


def count_rows(index: Index) -> dict[str, Any]:
    """Counts of rows, models and subjects a split, and of licences: plain JSON types."""
    counted = ("rows", "assets", "subjects")
    seen: dict[str, tuple[set[str], ...]] = {split: (set(), set(), set()) for split in SPLITS}
    licenses: Counter[str] = Counter()
    for r in index:
        for names, name in zip(seen[r["split"]], (r["id"], r["file"] or r["id"], r["subject"]), strict=True):
            names.add(name)
        licenses[r["license"]] += 1
    splits = {split: dict(zip(counted, map(len, names), strict=True)) for split, names in seen.items()}
    total = {key: sum(splits[split][key] for split in SPLITS) for key in counted}
    return {**total, "splits": splits, "licenses": dict(sorted(licenses.items()))}


def make_card(title: str, grid: ViewGrid, index: Index, content_hash: str, rejected: int) -> str:
    """The text of README.md; equal rows make equal text."""
    counts = count_rows(index)
    alone = sum(r["truth"] is not None for r in index)
    lines = [
        "---",
        *_front_matter(title, grid, index, content_hash),
        "---",
        "",
        f"# {title}",
        "",
        f"{counts['assets']} models of {counts['subjects']} subjects, {counts['rows']} rows (one a drawing); "
        f"{rejected} model files gave none (`rejected.jsonl`).",
        *([f"{alone} of the rows are pictures without a model."] if alone else []),
        "",
        "| split | rows | models | subjects |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {k} | {v['rows']} | {v['assets']} | {v['subjects']} |" for k, v in counts["splits"].items()]
    lines += [
        "",
        f"Grid `{grid.name}`: {len(grid.cells)} cells of {grid.tile} px in {grid.rows} × {grid.columns}, "
        f"{grid.shading} shading. Subjects, not views, are held out.",
        "",
        "## Who made what",
        "",
        "| artist | licence | source | models |",
        "| --- | --- | --- | --- |",
    ]
    credits = Counter(
        {(r["file"] or r["id"], r["artist"], r["license"], r["source"]): 1 for r in index}.keys()
    )
    grouped = Counter(key[1:] for key in credits)
    for (artist, license, source), models in sorted(grouped.items()):
        cells = [_cell(artist or "not stated"), _cell(license), _cell(source or "not stated"), str(models)]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "## Columns", "", _COLUMNS, "", "## Use", "", _USE, "", f"Content hash: `{content_hash}`"]
    return "\n".join(lines) + "\n"


def _front_matter(title: str, grid: ViewGrid, index: Index, content_hash: str) -> list[str]:
    """JSON scalars are YAML scalars, so that no name can break the block."""
    licenses = sorted({r["license"] for r in index})
    known = [x.lower() for x in licenses if x != "NOASSERTION" and not x.startswith("LicenseRef-")]
    hub = known if len(known) == len(licenses) else [*known, "other"]
    count = len(index)
    size = next(
        (n for most, n in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")) if count < most),
        "100K<n<1M",
    )
    counts = count_rows(index)
    artists = sorted({r["artist"] for r in index if r["artist"]})
    sources = sorted({r["source"] for r in index if r["source"]})
    listing = [
        ("pretty_name", title),
        ("license", hub[0] if len(hub) == 1 else hub),
        ("tags", ["3d", "multi-view", "lora3d"]),
        ("size_categories", [size]),
        ("configs", [{"config_name": "default", "data_files": "data-*.parquet"}]),
        ("licenses", licenses),
        ("artists", artists),
        ("sources", sources),
        ("rows", count),
        ("assets", counts["assets"]),
        ("split", {k: v["rows"] for k, v in counts["splits"].items()}),
        ("grid", grid.name),
        ("tile", grid.tile),
        ("content_hash", content_hash),
    ]
    return [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in listing]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
