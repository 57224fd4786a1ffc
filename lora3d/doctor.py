"""What in a dataset will hurt, said before any training."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora3d.dataset import Dataset, read_dataset
from lora3d.dataset_rows import POOR_IOU, RENDERED, DatasetError, Row, hash_row
from lora3d.grid import ViewGrid
from lora3d.row_faults import Level, view_faults
from lora3d.trigger import has_words

FEW_ASSETS, FEW_HELD_OUT, MOST_OF_ONE = 12, 8, 0.25
WORDS = 50  # CLIP reads 77 tokens; a word has about one and a half


@dataclass(frozen=True)
class Finding:
    """One thing to know. error: training on it fails or lies; warning: it will hurt; note: worth knowing.

    rows: the ids that it is about; empty for the whole dataset.
    """

    level: Level
    text: str
    rows: tuple[str, ...] = ()


def inspect_dataset(path: Path) -> dict[str, Any]:
    """Reads a whole dataset and says what is wrong: counts, the coverage of captions, and the findings.

    Raises DatasetError for a folder that is no dataset.
    """
    dataset = read_dataset(path)
    findings = [*_structure(dataset), *_captions(dataset), *_origin(dataset), *_pictures(dataset)]
    order = ("error", "warning", "note")
    levels = Counter(finding.level for finding in findings)
    return {
        "dataset": str(path),
        "rows": len(dataset),
        "assets": dataset.assets(),
        "held_out": dataset.assets("test"),
        "struck": dataset.struck,
        "captions": caption_coverage(dataset),
        "verdict": "cannot be trained on"
        if levels["error"]
        else "look at the warnings"
        if levels["warning"]
        else "fine",
        "findings": [
            {"level": f.level, "text": f.text, "rows": list(f.rows)}
            for f in sorted(findings, key=lambda f: order.index(f.level))
        ],
    }


def caption_coverage(dataset: Dataset) -> dict[str, Any]:
    """How many models have a caption, how many different ones there are, and their commonest words."""
    captions = {row["file"] or row["id"]: row["caption"] for row in dataset.index}
    words = Counter(word for caption in captions.values() for word in set(caption.lower().split()))
    return {
        "with": sum(bool(c) for c in captions.values()),
        "without": sum(not c for c in captions.values()),
        "different": len({c for c in captions.values() if c}),
        "words": dict(sorted(words.items(), key=lambda item: (-item[1], item[0]))[:12]),
    }


def _structure(dataset: Dataset) -> Iterator[Finding]:
    train, test = dataset.assets("train"), dataset.assets("test")
    if not train:
        yield Finding(
            "error", "no model is on the training side: make the dataset anew with a smaller --test-share"
        )
    elif train < FEW_ASSETS:
        yield Finding(
            "warning",
            f"{train} models to train on; with fewer than {FEW_ASSETS} an adapter learns them by heart",
        )
    if test < FEW_HELD_OUT:
        yield Finding(
            "warning", f"{test} models are held out; with fewer than {FEW_HELD_OUT} scores say little"
        )
    sizes = Counter({row["file"]: row["subject"] for row in dataset.index if row["file"]}.values())
    subject, count = sizes.most_common(1)[0] if sizes else ("", 0)
    if count > max(MOST_OF_ONE * dataset.assets(), 3):
        yield Finding(
            "warning",
            f"{count} of {dataset.assets()} models are of one subject, {subject!r}: its shape is what is learned",
        )
    if dataset.struck:
        yield Finding("note", f"{dataset.struck} rows are struck out in strike.txt")


def _captions(dataset: Dataset) -> Iterator[Finding]:
    seen: dict[str, list[str]] = {
        "no caption": [],
        f"a caption of more than {WORDS} words, which is cut off": [],
    }
    for row in dataset.index:
        if not row["caption"]:
            seen["no caption"].append(row["id"])
        elif len(row["caption"].split()) > WORDS:
            seen[f"a caption of more than {WORDS} words, which is cut off"].append(row["id"])
    for what, ids in seen.items():
        if ids:
            yield Finding("warning", f"{len(ids)} rows have {what}", tuple(ids))
    coverage = caption_coverage(dataset)
    if coverage["with"] > 3 and coverage["different"] == 1:
        yield Finding("warning", "all models have one caption: sentences will not tell them apart")
    trigger = _trigger(dataset.path)
    without = tuple(r["id"] for r in dataset.index if not has_words(r["caption"], trigger))
    if without:
        yield Finding("warning", f"{len(without)} captions lack the trigger {trigger!r}", without)


def _trigger(path: Path) -> str:
    try:
        report = json.loads((path / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    settings = report.get("settings", {}) if isinstance(report, dict) else {}
    return str(settings.get("trigger", ""))


def _origin(dataset: Dataset) -> Iterator[Finding]:
    by_license: dict[str, list[str]] = {}
    for row in dataset.index:
        by_license.setdefault(row["license"], []).append(row["id"])
    for license, ids in sorted(by_license.items()):
        if license == "NOASSERTION":
            yield Finding(
                "warning",
                f"{len(ids)} rows have no licence: an adapter trained on them cannot be shared",
                tuple(ids),
            )
        elif "-ND" in license:
            yield Finding(
                "warning", f"{len(ids)} rows are {license}, which allows no derivatives", tuple(ids)
            )
        elif "-NC" in license or "-SA" in license:
            yield Finding("note", f"{len(ids)} rows are {license}: so is what is made of them", tuple(ids))
    nameless = tuple(r["id"] for r in dataset.index if "-BY" in r["license"] and not r["artist"])
    if nameless:
        yield Finding(
            "warning",
            f"{len(nameless)} rows are licensed for naming their artist and name none: prep --artist, or a column",
            nameless,
        )
    poor = tuple(
        r["id"] for r in dataset.index if r["reference_iou"] is not None and r["reference_iou"] < POOR_IOU
    )
    if poor:
        yield Finding(
            "warning",
            f"{len(poor)} drawings agree with their model by an IoU below {POOR_IOU}: another model?",
            poor,
        )
    drawn = sum(row["drawing"] not in RENDERED for row in dataset.index)
    if 0 < drawn < len(dataset):
        yield Finding(
            "note", f"{len(dataset) - drawn} of {len(dataset)} references are rendered, the others drawn"
        )
    alone = tuple(row["id"] for row in dataset.index if row["truth"] is not None)
    if alone:
        yield Finding(
            "note", f"{len(alone)} rows are pictures without a model: learned from, never scored", alone
        )


def _pictures(dataset: Dataset) -> Iterator[Finding]:
    faults: dict[tuple[Level, str], list[str]] = {}
    hashes: dict[bytes, str] = {}
    rows = dataset.rows()
    at = 0
    while at < len(dataset):
        try:
            row = next(rows)
        except StopIteration:
            break
        except DatasetError as error:
            yield Finding("error", f"after {at} rows: {error}; make the dataset anew")
            return
        at += 1
        for level, what in _row_faults(row, dataset.grid):
            faults.setdefault((level, what), []).append(row.id)
        # Of a drawing without a model, the drawing.
        views = row.tiles if row.truth else row.tiles[list(dataset.grid.indices("rgb"))]
        twin = hashes.setdefault(hashlib.sha256(views.tobytes()).digest(), row.file)
        if twin != row.file:
            faults.setdefault(("warning", "the same views as another model"), []).append(row.id)
    for (level, what), ids in faults.items():
        yield Finding(level, f"{len(ids)} rows: {what}", tuple(ids))


def _row_faults(row: Row, grid: ViewGrid) -> Iterator[tuple[Level, str]]:
    if row.content_hash != hash_row(row):
        yield "error", "their content is not what it was when they were made"
    yield from view_faults(row.tiles, grid, row.truth)
