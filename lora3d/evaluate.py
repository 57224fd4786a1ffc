"""Judge a base and an adapter on the held-out models of a dataset, beside two honest yardsticks.

``retrieval`` answers with the training row whose drawing looks most alike: an adapter that does not beat it
has learnt nothing that a search would not find. ``ceiling`` lifts the true views after a trip through the
base's codec: nothing that the base can draw would be lifted better.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from lora3d import lift as lifting
from lora3d import metrics
from lora3d.answer import Answer
from lora3d.base import Base
from lora3d.camera import Array
from lora3d.dataset import Dataset, Row, read_dataset
from lora3d.errors import InputError
from lora3d.generate import Generator, load
from lora3d.grid import ViewGrid, object_pixels, require_same_grid
from lora3d.judge import METRICS, SAMPLES, THRESHOLD, Judgement, Lift, Scores, judge
from lora3d.pool import Pool
from lora3d.report import Shown, write_report
from lora3d.sampling import Reference

SYSTEMS = ("base", "adapter", "retrieval", "ceiling")
RESAMPLES = 10_000
SHOWN_ASSETS = 60  # with more, the page grows beyond what a browser likes
PALETTE_PIXELS = 100_000

_CONSTANTS = {"fscore_threshold": THRESHOLD, "surface_samples": SAMPLES, "bootstrap_resamples": RESAMPLES}

Generate = Callable[[list[Row], int], list[Answer]]
Codec = Callable[[Array], Array]
Results = list[tuple[Row, dict[str, Judgement]]]


def evaluate(
    dataset: Dataset,
    base: Generate,
    *,
    codec: Codec,
    out: Path,
    adapter: Generate | None = None,
    lift: Lift = lifting.lift,
    seed: int = 0,
    limit: int | None = None,
    batch: int = 8,
    workers: int = 2,
    settings: dict[str, Any] | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Scores all systems on the held-out split; writes report.json and report.html into `out`.

    Args:
        base: called with up to `batch` rows and a seed, answers each, tiles in [0, 1]. Row i of the
            call may use seed + i: the seed grows by the number of rows already answered.
        codec: tiles (cells, tile, tile, 3) encoded and decoded by the base, for the ceiling.
        adapter: like `base`, with the adapter attached; None leaves its scores null.
        lift: an answer to a mesh. It runs in other processes: a function that pickle can name.
        limit: judge only the first so many held-out assets.
        workers: processes that lift and measure; 0 does it in this one.
        settings: what the caller wants recorded under "settings" (the base's name, the adapter's, …).

    Returns:
        What report.json holds: for each of `SYSTEMS` the `METRICS`, means over assets (an asset with
        several drawings counts once), undefined values None; "assets", the same for each; "difference",
        adapter − base with a paired 95 % bootstrap interval over assets; "settings".

    An answer that cannot be lifted is no crash: its F-score is 0, its other scores of the mesh are None, and
    the asset's "reasons" say why. Raises InputError where no row is held out or an answer is not finite.
    """
    grid = dataset.grid
    rows = _held_out(dataset, limit)
    out.mkdir(parents=True, exist_ok=True)  # where it cannot be, that is said before the work
    yardstick = _survey(dataset, rows)
    generators = {"base": base} if adapter is None else {"base": base, "adapter": adapter}
    judged: list[tuple[Row, Future[dict[str, Judgement]]]] = []
    shown: list[Shown] = []
    with Pool(workers) as pool, tqdm(total=len(rows), unit="row", disable=not progress) as bar:
        for row, answers in _answers(rows, generators, codec, yardstick, seed, batch, grid):
            colours = yardstick.palettes.get(row.artist, yardstick.palettes[None])
            task = pool.submit(judge, grid, lift, row.glb, row.tiles, answers, colours)
            task.add_done_callback(lambda _: bar.update())
            judged.append((row, task))
            if len(shown) < SHOWN_ASSETS and asset_of(row) not in {s.asset for s in shown}:
                shown.append(_pictures(grid, row, answers))
        results = [(row, task.result()) for row, task in judged]
    report = _report(results, yardstick, adapter is not None)
    asked = {"grid": grid.name, "dataset": dataset.content_hash, "rows": len(rows), "seed": seed}
    report["settings"] = {**asked, **_CONSTANTS, **(settings or {})}
    _write(report, shown, results, out)
    return report


def _write(report: dict[str, Any], shown: list[Shown], results: Results, out: Path) -> None:
    first = {asset_of(row): result for row, result in reversed(results)}
    shown = [replace(s, meshes={k: j.picture for k, j in first[s.asset].items()}) for s in shown]
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    write_report(report, shown, out / "report.html")


def evaluate_adapter(
    data: Path,
    out: Path,
    *,
    base: str | Path = "mini",
    adapter: Path | None = None,
    seed: int = 0,
    limit: int | None = None,
    steps: int | None = None,
    samples: int | None = None,
    precision: str = "auto",
    stated: bool = True,
    lift: Lift = lifting.lift,
    workers: int = 2,
    progress: bool = False,
) -> dict[str, Any]:
    """`evaluate` for a dataset folder, a base and one adapter file, each row asked by drawing and caption.

    samples: drawn for each answer and combined, see `lora3d.generate.load`.
    stated: also by where the drawing was seen from, as the dataset has it; the base guesses that otherwise.

    Raises InputError where the dataset's grid is not the base's.
    """
    dataset = read_dataset(data)
    files: dict[str | Path, float] = {adapter: 1.0} if adapter else {}
    adapted = load(base, files, precision=precision, grid=dataset.grid, samples=samples)
    model, grid = adapted.base, dataset.grid
    require_same_grid(grid, f"the dataset {data}", model.grid, f"the base {base}")

    settings = settings_of(adapted, adapter, dataset, steps=steps, stated=stated)
    return evaluate(
        dataset,
        asking(replace(adapted, cards={}, weights={}), steps=steps, stated=stated),
        adapter=asking(adapted, steps=steps, stated=stated) if adapter else None,
        codec=codec_of(model),
        out=out,
        lift=lift,
        seed=seed,
        limit=limit,
        workers=workers,
        settings=settings,
        progress=progress,
    )


def asking(generator: Generator, *, steps: int | None = None, stated: bool = True) -> Generate:
    """Asks a generator by each row's drawing and caption; ``steps``, ``stated`` as in `evaluate_adapter`."""

    def generate(rows: list[Row], seed: int) -> list[Answer]:
        drawings = [drawing_of(generator.base.grid, row, stated=stated) for row in rows]
        captions = [row.caption or None for row in rows]
        seeds = [seed + i for i in range(len(rows))]
        return generator.answers(drawings, captions, seeds, steps=steps)

    return generate


def codec_of(base: Base) -> Codec:
    """A base's encoder and decoder, one after the other."""

    @torch.no_grad()
    def codec(tiles: Array) -> Array:
        there = base.encode(torch.from_numpy(tiles[None]))
        return base.decode(there).float().cpu().numpy()[0]

    return codec


def settings_of(
    generator: Generator,
    adapter: Path | None,
    dataset: Dataset,
    *,
    steps: int | None = None,
    stated: bool = True,
) -> dict[str, Any]:
    """What answered, for the report; ``steps``, ``stated`` as it was asked by `asking`."""
    base = generator.base
    settings: dict[str, Any] = {"base": base.name, "base_revision": base.revision}
    settings |= {"precision": str(generator.dtype).removeprefix("torch."), "samples": generator.samples}
    for card in generator.cards.values():
        settings |= {"adapter": Path(str(adapter)).name, "adapter_dataset": card.dataset}
        if card.dataset != dataset.content_hash:
            settings["warning"] = "the adapter was trained on another dataset and may have seen these models"
    return settings | {"steps": steps or base.steps, "viewpoints": "stated" if stated else "guessed"}


def drawing_of(grid: ViewGrid, row: Row, *, stated: bool = True) -> Reference | None:
    """The row's drawing as a generator takes it; its viewpoint too if ``stated``."""
    rgb, alpha = grid.indices("reference"), grid.indices("reference_alpha")
    if not rgb or not alpha:
        return None
    return Reference(row.tiles[rgb[0]], row.tiles[alpha[0]][..., 0], row.seen_deg if stated else None)


def bootstrap(differences: Array, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean of paired differences (n,), n ≥ 2 (Efron 1979)."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(differences), (resamples, len(differences)))
    low, high = np.quantile(differences[draws].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def asset_of(row: Row) -> str:
    """What counts once: the model, however many drawings it has."""
    return row.file or row.id


def _held_out(dataset: Dataset, limit: int | None) -> list[Row]:
    if not dataset.grid.indices("rgb"):
        raise InputError(f"grid {dataset.grid.name!r} has no rgb cells: there are no views to score")
    rows = list(dataset.rows("test"))
    assets = list(dict.fromkeys(asset_of(row) for row in rows))[:limit]
    rows = [row for row in rows if asset_of(row) in set(assets)]
    if not rows:
        raise InputError(
            f"{dataset.path} holds no row out for testing (or the limit is 0): "
            "make the dataset anew from models of more subjects"
        )
    return rows


@dataclass(frozen=True)
class _Yardstick:
    """What the training split offers: each held-out row's nearest row, and palettes by artist (None: all)."""

    nearest: dict[str, Row]
    palettes: dict[str | None, Array | None]


def _survey(dataset: Dataset, rows: list[Row]) -> _Yardstick:
    """One pass over the training rows, of which no more than the nearest are kept."""
    grid = dataset.grid
    keys = {row.id: _reference_key(grid, row) for row in rows}
    best: dict[str, tuple[float, Row]] = {}
    colours: dict[str | None, list[Array]] = {None: []}
    rng = np.random.default_rng(0)
    share = max(64, PALETTE_PIXELS // max(1, dataset.count("train")))
    for other in dataset.rows("train"):
        if other.truth is not None:
            continue  # pictures without a model answer nothing
        pixels = object_pixels(grid, other.tiles)
        some = pixels[rng.permutation(len(pixels))[:share]]
        for key in (other.artist, None):
            colours.setdefault(key, []).append(some)
        candidate = _reference_key(grid, other)
        for name, wanted in keys.items():
            if wanted is None or candidate is None:
                continue
            error = float(np.mean((wanted - candidate) ** 2))
            if name not in best or error < best[name][0]:
                best[name] = error, other
    sets = {key: np.concatenate([*parts, np.zeros((0, 3))]) for key, parts in colours.items()}
    palettes = {key: metrics.palette(pixels) if len(pixels) else None for key, pixels in sets.items()}
    return _Yardstick({name: row for name, (_, row) in best.items()}, palettes)


def _reference_key(grid: ViewGrid, row: Row) -> Array | None:
    """The drawing's rgb and alpha as one array, None where the grid does not show it."""
    cells = grid.indices("reference")
    if not cells:
        return None
    alpha = grid.indices("reference_alpha")
    return np.concatenate([row.tiles[cells[0]], *(row.tiles[i][..., :1] for i in alpha[:1])], axis=-1)


def _answers(
    rows: list[Row],
    generators: dict[str, Generate],
    codec: Codec,
    yardstick: _Yardstick,
    seed: int,
    batch: int,
    grid: ViewGrid,
) -> Iterator[tuple[Row, dict[str, Answer]]]:
    """Each row with what each system answers."""
    shape = (len(grid.cells), grid.tile, grid.tile, 3)
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        made = {name: generate(part, seed + start) for name, generate in generators.items()}
        for i, row in enumerate(part):
            answers = {name: several[i] for name, several in made.items()}
            if row.id in yardstick.nearest:
                answers["retrieval"] = Answer(yardstick.nearest[row.id].tiles)
            answers["ceiling"] = Answer(codec(row.tiles))
            for name, answer in answers.items():
                if answer.tiles.shape != shape or not np.isfinite(answer.tiles).all():
                    raise InputError(
                        f"{name} answered row {row.id!r} with tiles that are not {shape} finite numbers: "
                        "its weights may have overflowed; train it again or try another precision"
                    )
            yield (
                row,
                {
                    name: replace(a, tiles=a.tiles.astype(np.float32).clip(0, 1))
                    for name, a in answers.items()
                },
            )


def _report(results: Results, yardstick: _Yardstick, adapted: bool) -> dict[str, Any]:
    assets: dict[str, list[tuple[Row, dict[str, Judgement]]]] = {}
    for row, result in results:
        assets.setdefault(asset_of(row), []).append((row, result))
    entries: list[dict[str, Any]] = []
    for name, parts in assets.items():
        nothing = Judgement()
        scores = {
            system: _mean([result.get(system, nothing).scores for _, result in parts]) for system in SYSTEMS
        }
        reasons = {
            f"{row.id}, {system}": judgement.reason
            for row, result in parts
            for system, judgement in result.items()
            if judgement.reason
        }
        nearest = {row.id: yardstick.nearest[row.id].id for row, _ in parts if row.id in yardstick.nearest}
        row = parts[0][0]
        about = {
            "asset": name,
            "subject": row.subject,
            "caption": row.caption,
            "rows": [r.id for r, _ in parts],
        }
        entries.append({**about, **scores, "retrieved": nearest, "reasons": reasons})
    difference: dict[str, Any] = {}
    for metric in METRICS:
        pairs = [(e["adapter"][metric], e["base"][metric]) for e in entries]
        deltas = np.array([a - b for a, b in pairs if a is not None and b is not None])
        low, high = bootstrap(deltas) if len(deltas) > 1 else (None, None)
        mean = float(deltas.mean()) if len(deltas) else None
        difference[metric] = {"mean": mean, "low": low, "high": high, "assets": len(deltas)}
    systems = {system: _mean([entry[system] for entry in entries]) for system in SYSTEMS}
    return {**systems, "assets": entries, "difference": difference}


def _mean(scores: list[Scores]) -> Scores:
    """Metric by metric, of the defined values."""
    means: Scores = {}
    for metric in METRICS:
        values = [value for s in scores if (value := s[metric]) is not None]
        means[metric] = float(np.mean(values)) if values else None
    return means


def _pictures(grid: ViewGrid, row: Row, answers: dict[str, Answer]) -> Shown:
    cells = list(grid.indices("rgb"))
    reference = grid.indices("reference")
    drawn = {name: answer.tiles for name, answer in answers.items()}
    views = {name: tiles[cells] for name, tiles in {"true": row.tiles, **drawn}.items()}
    return Shown(asset_of(row), row.tiles[reference[0]] if reference else None, views)
