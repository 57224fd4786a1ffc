"""The ``prep`` step: an artist's folder of models and drawings to a dataset."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from lora3d.data_prep.asset import Prepared, Task, prepare, read_look, read_strips
from lora3d.data_prep.captions import Captioner, find_captioner
from lora3d.data_prep.drawings import BLUEPRINT, STYLES
from lora3d.data_prep.licenses import UNSTATED, spdx_of
from lora3d.data_prep.on_ray import run_on_ray
from lora3d.data_prep.pictures import prepare_picture
from lora3d.data_prep.places import place_of
from lora3d.data_prep.resume import Tasks, make_tasks, recall, remember, work_folder
from lora3d.data_prep.shapes import Look, find_alike, find_duplicates
from lora3d.data_prep.sources import PICTURES, READABLE, Asset, Found, find_assets
from lora3d.data_prep.statements import state_origins
from lora3d.data_prep.subjects import caption_of, common_prefix, group_subjects, name_of, split_subjects
from lora3d.data_prep.templates import fields_in, fill
from lora3d.data_prep.turntables import prepare_turntable
from lora3d.data_prep.workers import DISK_FULL, Failure, run_tasks
from lora3d.dataset import check_out, write_tables
from lora3d.errors import InputError
from lora3d.grid import PRESETS, ViewGrid
from lora3d.heap import frugal_arrow, return_holes
from lora3d.trigger import with_trigger

TIME_LIMIT_S = 120.0
MEMORY_MB, LEAST_MB = 6144, 512  # a worker needs the least for itself
LOOKS_HELD = 256  # some kilobytes each; the others are read again from their parts


@dataclass(frozen=True)
class PrepReport:
    """What became of a folder; plain JSON types. `report.json` holds the same but the path, and the settings.

    Attributes:
        path: the dataset's folder.
        content_hash: of the dataset.
        files: model files found, and pictures without a model; each gave rows or one line of rejected.jsonl.
        alone: of the assets, drawings and turntables without a model.
        assets, rows, subjects: what is in the dataset.
        train, test: assets on each side.
        rejected: how many files, by reason (without its details).
        drawn: rows with a drawing; the others have a rendered reference.
        mean_iou: of the drawings' silhouettes; None without drawings.
        licenses: rows by licence.
        warnings: for a person.
    """

    path: str
    content_hash: str
    files: int
    assets: int
    alone: int
    rows: int
    subjects: int
    train: int
    test: int
    rejected: dict[str, int]
    drawn: int
    mean_iou: float | None
    licenses: dict[str, int]
    warnings: list[str]


def prep(
    src: Path | str,
    out: Path | str,
    *,
    grid: ViewGrid = PRESETS["box6"],
    license: str | None = None,
    allow_unlicensed: bool = False,
    artist: str | None = None,
    trigger: str | None = None,
    caption: str | None = None,
    captioner: str | None = None,
    caption_all: bool = False,
    turntables: bool = False,
    styles: Sequence[str] = ("render",),
    seed: int = 0,
    workers: int = 2,
    test_share: float = 0.2,
    min_test: int = 8,
    overwrite: bool = False,
    progress: bool | Callable[[int, int], None] = False,
    time_limit_s: float = TIME_LIMIT_S,
    memory_mb: int = MEMORY_MB,
    ray: str | None = None,
) -> PrepReport:
    """Makes a dataset of every usable model of a folder, one row a drawing.

    Args:
        src: a folder of models, or of pictures alone; a manifest (.csv, .jsonl); a Parquet data set; what is
            nothing here: ``procedural:N``, shapes of `data_prep.made`; ``owner/name``, fetched from the Hub.
        out, grid: the dataset's folder, which is new unless it is a dataset and ``overwrite`` is set; its views.
        license, artist: for assets that state none; an SPDX identifier, a name.
        allow_unlicensed: keeps assets whose licence nobody stated, marked NOASSERTION.
        trigger, caption: words before every caption; a template of those not stated: `data_prep.templates`.
        captioner, caption_all: a model that describes what nothing else does, or everything: `data_prep.captions`.
        turntables: pictures without models that are numbered are frames of a full turn.
        styles: of references where there is no drawing, each asset one of them: `data_prep.drawings`.
        seed: decides the rendered references and the split; ``workers``, the processes, decide nothing.
        test_share, min_test: how much is held out; see `split_subjects`.
        progress: a bar on stderr, or a function of (done, of all).
        time_limit_s, memory_mb, ray: for one asset, in seconds and MiB; a Ray cluster's address: `run_on_ray`.

    What is wrong with one file becomes a line of rejected.jsonl. A run that was interrupted, even by SIGKILL, goes
    on and ends in the same bytes. Raises InputError where nothing can be made, naming the most common reasons.
    """
    src, out = Path(src), Path(out)
    check_out(out, overwrite)
    _check(test_share, styles, caption_all and not captioner, caption, time_limit_s, memory_mb)
    with work_folder(out) as work, frugal_arrow():
        found = _find(src, work, turntables)
        found = state_origins(found, spdx_of(license or ""), artist or "", allow_unlicensed, UNSTATED)
        asked = find_captioner(captioner, trigger or "") if captioner else None
        found = _caption(found, trigger or "", asked, caption_all, caption)
        tasks = make_tasks(found, grid, seed, tuple(styles), asked, work)
        run = partial(run_tasks, workers=workers) if ray is None else partial(run_on_ray, address=ray)
        run = partial(run, time_limit_s=time_limit_s, memory_mb=memory_mb)
        prepared, failed = _prepare_all(tasks, run, progress)
        settings = {"seed": seed, "styles": list(styles), "test_share": test_share, "min_test": min_test}
        settings |= {"trigger": trigger or "", "caption": caption or ""}
        settings["captioner"] = Path(captioner or "").name
        return _write(src, out, grid, found, tasks, prepared, failed, settings, overwrite)


def _find(src: Path, work: Path, turntables: bool) -> Found:
    found = find_assets(place_of(src, work), turntables=turntables)
    if not (found.assets or found.rejected):
        raise InputError(
            f"{src} holds no model: expected {', '.join(READABLE)} files in it or below, or pictures alone"
        )
    return found


def _prepare(task: Task) -> Prepared:
    """The rows of one asset, by what it is."""
    if task.asset.frames:
        return prepare_turntable(task)
    return (prepare_picture if Path(task.asset.file).suffix.lower() in PICTURES else prepare)(task)


def _check(
    test_share: float,
    styles: Sequence[str],
    unasked: bool,
    template: str | None,
    time_limit_s: float,
    memory_mb: int,
) -> None:
    if template is not None:
        fields_in(template)
    if not time_limit_s > 0:
        raise InputError(f"the time limit is in seconds and more than 0, found {time_limit_s:g}")
    if memory_mb < LEAST_MB:
        raise InputError(
            f"a worker needs {LEAST_MB} MiB for itself, the memory limit is {memory_mb}: raise it"
        )
    if unasked:
        raise InputError("caption_all needs a captioner: name a folder or a model of the Hub")
    if not 0 <= test_share < 1:
        raise InputError(f"test_share is a share from 0 to below 1, found {test_share}")
    unknown = [style for style in styles if style not in (*STYLES, BLUEPRINT)]
    if unknown or not styles:
        raise InputError(
            f"no drawing style {''.join(unknown[:1])!r}: expected some of {', '.join((*STYLES, BLUEPRINT))}"
        )


def _write(
    src: Path,
    out: Path,
    grid: ViewGrid,
    found: Found,
    tasks: Tasks,
    prepared: dict[str, Prepared],
    failed: list[dict[str, str]],
    settings: dict[str, Any],
    overwrite: bool,
) -> PrepReport:
    """The dataset of what was prepared: twins left out, variants grouped into subjects, subjects held out."""
    look = lru_cache(LOOKS_HELD)(lambda file: read_look(tasks.part(file)))
    kept, twins = _without_twins(found, prepared, look)
    rejected = [*found.rejected, *failed, *twins]
    _require_some(src, kept, rejected)
    models = [f for f in kept if not prepared[f].shown]
    subjects = group_subjects(
        {f: name_of(f) for f in kept},
        find_alike(models, look),
        {f: asset.subject for f, asset in kept.items()},
    )
    # Scores compare with a model: what has none is never held out, nor does it tell of what is.
    split = split_subjects(
        Counter(subjects[f] for f in models),
        share=settings["test_share"],
        least=settings["min_test"],
        seed=settings["seed"],
    )
    told = {f for f in kept if prepared[f].shown and subjects[f] in split.test}
    rejected += [{"file": f, "reason": f"a picture of {subjects[f]!r}, which is held out"} for f in told]
    kept = {f: asset for f, asset in kept.items() if f not in told}
    sides = {f: "test" if subjects[f] in split.test else "train" for f in kept}
    warnings = [*found.warnings, *split.warnings, *_gathered({f: prepared[f].warnings for f in kept})]
    report = _report(prepared, kept, subjects, sides, rejected, warnings)
    return_holes()
    written = {k: v for k, v in asdict(report).items() if k not in ("path", "content_hash")}
    dataset = write_tables(
        _tables(tasks, subjects, sides),
        out,
        grid,
        title=src.stem if src.is_file() else src.resolve().name,
        rejected=sorted(rejected, key=lambda line: (line["file"], line["reason"])),
        report={**written, "settings": settings},
        strips=(strip for file in kept for strip in read_strips(tasks.part(file))),
        overwrite=overwrite,
    )
    return replace(report, path=str(out), content_hash=dataset.content_hash)


def _without_twins(
    found: Found, prepared: dict[str, Prepared], look: Callable[[str], Look]
) -> tuple[dict[str, Asset], list[dict[str, str]]]:
    """The assets to keep by file, the best of each set of twins, and a line for every other."""
    ranked = sorted(prepared, key=lambda f: _rank(f, prepared[f]))
    twins = find_duplicates([f for f in ranked if not prepared[f].shown], look)
    first: dict[str, str] = {}
    for f in ranked:
        if prepared[f].shown and first.setdefault(prepared[f].shown, f) != f:
            twins[f] = first[prepared[f].shown]
    kept = {a.file: a for a in found.assets if a.file in prepared and a.file not in twins}
    return kept, [{"file": f, "reason": f"a duplicate of {first}"} for f, first in twins.items()]


def _caption(
    found: Found, trigger: str, captioner: Captioner | None, every: bool, template: str | None = None
) -> Found:
    """Captions from a template or file names where none is stated, and the trigger before each.

    None for those to be captioned.
    """
    prefix = common_prefix(name_of(asset.file) for asset in found.assets)
    assets: list[Asset] = []
    said: dict[str, tuple[str, ...]] = {}
    for asset in found.assets:
        words = asset.caption
        if template is not None and not (words or every):
            words, warning = fill(template, asset, prefix)
            said[asset.file] = (warning,) if warning else ()
        words = words or caption_of(name_of(asset.file), prefix)
        asks = captioner is not None and (every or not words)
        assets.append(replace(asset, caption="" if asks else with_trigger(words, trigger)))
    return replace(found, assets=tuple(assets), warnings=[*found.warnings, *_gathered(said)])


def _prepare_all(
    tasks: Tasks,
    run: Callable[..., Generator[tuple[int, Any], None, None]],
    progress: bool | Callable[[int, int], None],
) -> tuple[dict[str, Prepared], list[dict[str, str]]]:
    done = {task.asset.file: result for task in tasks if (result := recall(task)) is not None}
    waiting = replace(tasks, assets=[asset for asset in tasks.assets if asset.file not in done])
    tell = progress if callable(progress) else None
    results = run(_prepare, waiting)
    bar = tqdm(
        total=len(tasks), initial=len(done), unit="model", disable=progress is not True, dynamic_ncols=True
    )
    with closing(results), bar:
        for index, result in results:
            if result == DISK_FULL:
                raise InputError(
                    "the disk is full: free some room and run it again, what is finished is kept"
                )
            if isinstance(result, Failure):
                remember(waiting[index], result)
            done[waiting.assets[index].file] = result
            bar.update()
            if tell:
                tell(len(done), len(tasks))
    prepared = {f: result for f, result in done.items() if isinstance(result, Prepared)}
    rejected = [{"file": f, "reason": r.reason} for f, r in done.items() if isinstance(r, Failure)]
    return dict(sorted(prepared.items())), rejected


def _rank(file: str, prepared: Prepared) -> tuple[bool, int, int, str]:
    """Which of several twins is kept: that with colours, more drawings, the richer format, the first name."""
    if prepared.shown:
        return False, 0, 0, file
    return prepared.plain, -len(prepared.ious), READABLE.index(Path(file).suffix.lower()), file


def _require_some(src: Path, kept: dict[str, Asset], rejected: list[dict[str, str]]) -> None:
    if kept:
        return
    common = Counter(_kind(line["reason"]) for line in rejected).most_common(3)
    reasons = "; ".join(f"{count} × {reason}" for reason, count in common)
    hint = ""
    if any("unlicensed" in reason for reason, _ in common):
        hint = ". State one with --license, or in metadata.csv, or pass --allow-unlicensed"
    raise InputError(f"none of the {len(rejected)} model files of {src} can be used: {reasons}{hint}")


def _kind(reason: str) -> str:
    """A reason without its details, for counting."""
    return "a duplicate" if reason.startswith("a duplicate of ") else reason.split(":")[0][:80]


def _gathered(said: dict[str, tuple[str, ...]]) -> list[str]:
    """One line a warning, with the file, or the number of files, that it is about."""
    files: dict[str, list[str]] = {}
    for file, texts in said.items():
        for text in texts:
            files.setdefault(text, []).append(file)
    return [
        f"{f[0] if len(f) == 1 else f'{len(f)} files, such as {f[0]}'}: {text}" for text, f in files.items()
    ]


def _report(
    prepared: dict[str, Prepared],
    kept: dict[str, Asset],
    subjects: dict[str, str],
    sides: dict[str, str],
    rejected: list[dict[str, str]],
    warnings: list[str],
) -> PrepReport:
    ious = [iou for f in kept for iou in prepared[f].ious]
    rows = {f: max(1, len(prepared[f].ious)) for f in kept}
    licenses: Counter[str] = Counter()
    for f, asset in kept.items():
        licenses[asset.license] += rows[f]
    reasons = Counter(_kind(line["reason"]) for line in rejected)
    return PrepReport(
        path="",
        content_hash="",
        files=len(kept) + len(rejected),
        assets=len(kept),
        alone=sum(bool(prepared[f].shown) for f in kept),
        rows=sum(rows.values()),
        subjects=len(set(subjects.values())),
        train=sum(side == "train" for side in sides.values()),
        test=sum(side == "test" for side in sides.values()),
        rejected=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        drawn=len(ious) + sum(bool(prepared[f].shown) for f in kept),
        mean_iou=round(statistics.fmean(ious), 4) if ious else None,
        licenses=dict(sorted(licenses.items())),
        warnings=warnings,
    )


def _tables(tasks: Tasks, subjects: dict[str, str], sides: dict[str, str]) -> Iterator[pa.Table]:
    """The parts of what is on a side, in its order, with subject and split filled in."""
    for file, side in sides.items():
        # One thread: a part is small, and each thread would keep memory of its own.
        table = pq.ParquetFile(tasks.part(file)).read(use_threads=False).replace_schema_metadata()
        for column, value in (("subject", subjects[file]), ("split", side)):
            at = table.schema.get_field_index(column)
            table = table.set_column(at, column, pa.array([value] * len(table), pa.string()))
        yield table
