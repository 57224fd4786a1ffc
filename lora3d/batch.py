"""Hundreds of drawings in one run: denoised in batches, lifted in processes beside it, resumed where it stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from lora3d import metrics
from lora3d.answer import Answer
from lora3d.drawing import read_tiles, split_viewpoint
from lora3d.errors import InputError, first_line
from lora3d.export import require_spared, safe_name
from lora3d.formats import Pivot
from lora3d.generate import Generation, Generator, to_image, write_record, written
from lora3d.grid import ViewGrid
from lora3d.pool import Pool
from lora3d.render import render_tiles
from lora3d.sampling import Reference

COLUMNS = ("image", "prompt", "name", "seed")
OWN = ("results.csv", "sheet.png")  # the batch's own files; no job has their names
SHEET_COLUMNS = 3  # generations side by side on the contact sheet
KILLED = "a process that lifts was killed; run again to go on"
CAPTION = 14  # pixels above each


@dataclass(frozen=True)
class Job:
    """One line of the list: a drawing, a sentence or both; ``name`` is that of its files.

    ``source`` is the list's file; ``seen_deg`` is where the drawing was seen from, if that is said.
    """

    name: str
    image: Path | None
    prompt: str
    seed: int
    source: Path | None = None
    seen_deg: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job: ``made``, ``kept`` (there already) or ``failed``, for the reason given.

    consistency_psnr: of the generated views against those of the mesh, in dB.
    """

    name: str
    status: str
    reason: str = ""
    file: str = ""
    faces: int | None = None
    consistency_psnr: float | None = None


def read_jobs(path: Path) -> list[Job]:
    """The lines of a CSV with the columns image, prompt, name and seed; the first or the second is needed.

    Pictures are named relative to the file, as name@AZ,EL where it is known from where they were seen. Names
    default to the picture's; those that are taken are numbered, whatever their case. Raises InputError for a file
    that is no such list.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            found = [c.strip() for c in reader.fieldnames or ()]
            lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a CSV file in UTF-8; {error}") from error
    unknown = [c for c in found if c not in COLUMNS]
    if unknown or not {"image", "prompt"} & set(found):
        raise InputError(
            f"{path}: expected the columns {', '.join(COLUMNS)}; found {', '.join(found) or 'none'}"
        )
    if not lines:
        raise InputError(f"{path}: the list is empty")
    jobs, used = [], {Path(name).stem for name in OWN}
    for number, line in enumerate(lines, 1):
        cells = {k.strip(): (v or "").strip() for k, v in line.items() if isinstance(k, str)}
        seed = cells.get("seed") or "0"
        if not seed.isdecimal() or len(seed) > 19 or int(seed) >= 2**63:
            raise InputError(
                f"{path}: line {number + 1}: seed must be a whole number under 2^63, found {seed[:30]!r}"
            )
        image, seen_deg = None, None
        try:
            if cells.get("image"):
                image, seen_deg = split_viewpoint(path.parent / cells["image"])
        except InputError as error:
            raise InputError(f"{path}: line {number + 1}: {error}") from error
        stem = safe_name(cells.get("name") or (image.stem if image else f"row-{number:04}"))
        numbered = chain([stem], (f"{stem}-{i}" for i in count(2)))
        name = next(n for n in numbered if n.casefold() not in used)
        used.add(name.casefold())
        jobs.append(Job(name, image, cells.get("prompt", ""), int(seed), path, seen_deg))
    return jobs


def generate_batch(
    generator: Generator,
    jobs: list[Job],
    out: Path,
    *,
    format: str = "glb",
    pivot: Pivot | None = None,
    size: float | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    batch: int = 8,
    workers: int = 2,
    progress: bool = False,
) -> list[Outcome]:
    """Makes what is not yet made; writes results.csv and sheet.png at the end; one outcome a job, in order.

    A job whose record in ``out`` is the same, with its model beside it, is kept. One that fails stops nothing.
    Raises InputError, before any work, where a file would be written over a drawing, the list or an adapter.

    Args:
        format, pivot, size: see `lora3d.export.view_files`.
        batch: grids denoised together; the result does not depend on it beyond rounding.
        workers: processes that lift; 0 lifts in this one.
    """
    outputs = [path for job in jobs for path in written(out, job.name, format)]
    inputs = [path for job in jobs for path in (job.image, job.source) if path is not None]
    require_spared([*outputs, *(out / name for name in OWN)], [*inputs, *generator.adapter_files])
    out.mkdir(parents=True, exist_ok=True)
    form = {"format": format, "pivot": pivot, "size": size}
    outcomes, waiting = _look_up_all(generator, jobs, out, form, steps, guidance)
    grid = generator.base.grid
    tasks: list[tuple[Job, Future[Outcome]]] = []
    with Pool(workers) as pool, tqdm(total=len(waiting), unit="model", disable=not progress) as bar:
        for part in _parts(waiting, batch):
            answers = generator.answers(
                [w.reference for w in part],
                [w.job.prompt or None for w in part],
                [w.job.seed for w in part],
                steps=steps,
                guidance=guidance,
            )
            for w, own in zip(part, answers, strict=True):
                try:
                    task = pool.submit(_finish, own, grid, w.record, out, w.job.name)
                except BrokenProcessPool:
                    outcomes[w.job.name] = Outcome(w.job.name, "failed", KILLED)
                    continue
                task.add_done_callback(lambda _: bar.update())
                tasks.append((w.job, task))
        for job, task in tasks:
            try:
                outcomes[job.name] = task.result()
            except BrokenProcessPool:
                outcomes[job.name] = Outcome(job.name, "failed", KILLED)
    ordered = [outcomes[job.name] for job in jobs]
    _write_results(ordered, jobs, out)
    write_sheet(ordered, grid, out)
    return ordered


@dataclass(frozen=True, eq=False)
class Waiting:
    """A job that is to be made."""

    job: Job
    reference: Reference | None
    record: dict[str, Any]


def _look_up_all(
    generator: Generator,
    jobs: list[Job],
    out: Path,
    form: dict[str, Any],
    steps: int | None,
    guidance: float | None,
) -> tuple[dict[str, Outcome], list[Waiting]]:
    """What is settled already, by name, and what is to be made."""
    outcomes: dict[str, Outcome] = {}
    waiting: list[Waiting] = []
    for job in jobs:
        try:
            found = _look_up(generator, job, out, form, steps, guidance)
        except InputError as error:
            found = Outcome(job.name, "failed", str(error))
        if isinstance(found, Outcome):
            outcomes[job.name] = found
        else:
            waiting.append(found)
    return outcomes, waiting


def _look_up(
    generator: Generator,
    job: Job,
    out: Path,
    form: dict[str, Any],
    steps: int | None,
    guidance: float | None,
) -> Outcome | Waiting:
    """What an earlier run made of a job, or the job with its drawing read."""
    if job.image is None and not job.prompt:
        raise InputError("neither image nor prompt is given")
    reference = None if job.image is None else generator.reference(job.image, job.seen_deg)
    record = generator.record(
        job.image,
        job.prompt or None,
        seed=job.seed,
        steps=steps,
        guidance=guidance,
        seen_deg=job.seen_deg,
    )
    record |= form
    return _kept(out, job.name, record) or Waiting(job, reference, record)


def _parts(items: list[Waiting], size: int) -> Iterator[list[Waiting]]:
    for i in range(0, len(items), size):
        yield items[i : i + size]


def _finish(answer: Answer, grid: ViewGrid, record: dict[str, Any], out: Path, name: str) -> Outcome:
    made = Generation(answer, grid, record)
    try:
        mesh = made.mesh
        rendered = render_tiles(mesh, replace(grid, shading="unlit"))
        score = round(metrics.consistency_psnr(grid, made.tiles, rendered), 2)
        file = made.save(out, name, record["format"], pivot=record["pivot"], size=record["size"])
        known = {"file": file.name, "faces": len(mesh.faces), "consistency_psnr": score}
        known["taken_deg"] = answer.seen_deg
        write_record(out / f"{name}.json", record | known)
        return Outcome(name, "made", "", file.name, len(mesh.faces), score)
    except (InputError, OSError) as error:
        return _failed(made, out, name, str(error))
    except Exception as error:  # one job must not end the run: it becomes a line that says so
        return _failed(made, out, name, f"unexpected {type(error).__name__}: {first_line(error)}")


def _failed(made: Generation, out: Path, name: str, reason: str) -> Outcome:
    """The outcome, with the grid of views written if it can be."""
    try:
        made.grid.save(out / f"{name}.png")
    except OSError as error:
        reason = f"{reason}; its grid is not written: {first_line(error)}"
    return Outcome(name, "failed", reason)


def _kept(out: Path, name: str, record: dict[str, Any]) -> Outcome | None:
    """The outcome of an earlier run that made just this."""
    try:
        old = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    file = Path(str(old.get("file", "")))
    same = {k: v for k, v in old.items() if k in record} == json.loads(json.dumps(record))
    if not same or file.name != str(file) or not (out / file).is_file():
        return None
    return Outcome(name, "kept", "", file.name, old.get("faces"), old.get("consistency_psnr"))


def _write_results(outcomes: list[Outcome], jobs: list[Job], out: Path) -> None:
    with (out / "results.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*(f.name for f in fields(Outcome)), "image", "prompt", "seed"])
        writer.writeheader()
        for outcome, job in zip(outcomes, jobs, strict=True):
            writer.writerow(
                asdict(outcome) | {"image": _spelled(job), "prompt": job.prompt, "seed": job.seed}
            )


def _spelled(job: Job) -> str:
    """The drawing as the list may name it."""
    place = "" if job.seen_deg is None else "@{:g},{:g}".format(*job.seen_deg)
    return f"{job.image or ''}{place}"


def write_sheet(outcomes: list[Outcome], grid: ViewGrid, out: Path) -> None:
    """sheet.png: every grid's drawing and colour views, with its name, or the reason why there is none."""
    cells = [*grid.indices("reference"), *grid.indices("rgb")]
    width, height = len(cells) * grid.tile, grid.tile + CAPTION
    rows = -(-len(outcomes) // SHEET_COLUMNS)
    sheet = Image.new("RGB", (min(len(outcomes), SHEET_COLUMNS) * width, rows * height), "white")
    pen = ImageDraw.Draw(sheet)
    for i, outcome in enumerate(outcomes):
        row, column = divmod(i, SHEET_COLUMNS)
        text = f"{outcome.name}  {outcome.status} {outcome.reason}".strip()
        pen.text((column * width + 2, row * height + 1), text[: width // 6], fill="black")
        try:
            tiles, found = read_tiles(out / f"{outcome.name}.png", grid)
        except InputError:
            continue  # there is none, or one that an earlier run left of another grid
        if found.tile == grid.tile:
            strip = to_image(np.concatenate([tiles[c] for c in cells], axis=1))
            sheet.paste(strip, (column * width, row * height + CAPTION))
    sheet.save(out / "sheet.png")
