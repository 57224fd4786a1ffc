"""The main job on the bundled artist pack: prep, train, generate, lift, and one page of pictures."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora3d.answer import Answer
from lora3d.camera import orbit
from lora3d.data_prep.artist_pack import write_pack
from lora3d.data_prep.folder import prep
from lora3d.dataset import Dataset, Row, read_dataset
from lora3d.device import measure_gflops
from lora3d.errors import InputError
from lora3d.evaluate import Generate, asking, codec_of, evaluate, settings_of
from lora3d.generate import Generation, Generator, load, to_image
from lora3d.grid import ViewGrid
from lora3d.mesh import Mesh, load_glb_bytes
from lora3d.page import Item, Model, portrait, write_page
from lora3d.recipe import TrainConfig, read_recipe
from lora3d.render import render
from lora3d.train import train

RECIPE = Path(str(files("lora3d.recipes"))) / "mini_demo.toml"
SHOWN = 6

INTRO = (
    "An imaginary artist, Tidewatch, made thirty small relics and a pen drawing of each. lora3d saw most of them "
    "and learned the hand: eight-sided bodies in night blue, coral feet, turquoise belts, cream crowns.",
    "Below are drawings that it did not see. From the same drawing, the base alone makes some shape; with the "
    "adapter the shape comes out in the artist's hand. The colours are nowhere in the drawing.",
)


def demo(
    out: Path, *, steps: int | None = None, report: Callable[[str], None] = print, progress: bool = True
) -> dict[str, Any]:
    """Writes ``out``/index.html with its GLBs beside it; returns where everything lies and how long it took.

    Raises InputError if ``out`` holds anything that is not an earlier demo.
    """
    started = time.monotonic()
    _clear(out)
    report(f"this machine: {measure_gflops():.0f} GFLOP/s (fp32)")
    write_pack(out / "pack")
    prepared = prep(out / "pack", out / "dataset", progress=progress)
    report(f"dataset: {prepared}")
    config = read_recipe(RECIPE, TrainConfig, {"steps": steps} if steps else None)
    trained = train(config, out / "dataset", out / "run", report=report, progress=progress)
    dataset = read_dataset(out / "dataset")
    adapted = load(adapters={trained.adapter: 1.0})
    answers = draw(dataset, {"base": replace(adapted, cards={}, weights={}), "adapter": adapted})
    scores = evaluate(
        dataset,
        known(answers["base"]),
        adapter=known(answers["adapter"]),
        codec=codec_of(adapted.base),
        out=out / "eval",
        settings=settings_of(adapted, trained.adapter, dataset),
        progress=progress,
    )
    items = make_items(dataset, answers, out)
    write_picture(items[:3], out / "demo.png")
    thumbnails = [
        (row.caption, portrait(load_glb_bytes(row.glb), size=96)) for row in _one_an_asset(dataset, "train")
    ]
    page = write_page(
        out / "index.html",
        title="A style, learned in minutes",
        intro=INTRO,
        items=items,
        summary={k: scores[k] for k in ("base", "adapter", "retrieval", "ceiling") if scores.get(k)},
        compare=("the base alone", "with the adapter"),
        training=thumbnails,
        commands=(
            ("Your own models, with or without drawings, to a dataset", "lora3d prep MODELS --out DATASET"),
            ("An adapter", "lora3d train recipes/mini_style.toml --data DATASET --out RUN"),
            (
                "A new drawing to a model",
                "lora3d generate --adapter RUN/adapter.safetensors --image DRAWING.png --out OUT",
            ),
        ),
    )
    seconds = round(time.monotonic() - started, 1)
    report(f"open {page} in a browser ({seconds:.0f} s)")
    return {"page": page, "adapter": trained.adapter, "glbs": sorted(out.glob("*.glb")), "seconds": seconds}


def write_picture(items: list[Item], path: Path, size: int = 256) -> None:
    """Drawing, base, adapter and the artist's own, a row for each item: the page in one picture."""
    camera = orbit(30, 20, 2.0, fov_deg=32)
    rows = []
    for item in items:
        if item.drawing is None:
            continue
        drawing = np.asarray(to_image(item.drawing).resize((size, size), Image.Resampling.LANCZOS)) / 255
        views = [render(model.mesh, [camera], size, shading="studio").rgba[0] for model in item.models]
        rows.append(
            np.concatenate([drawing, *(v[..., :3] * v[..., 3:] + 1 - v[..., 3:] for v in views)], axis=1)
        )
    to_image(np.concatenate([row for row in rows if row.shape == rows[0].shape])).save(path)


def draw(dataset: Dataset, systems: dict[str, Generator]) -> dict[str, dict[str, Answer]]:
    """What each system answers to each held-out row, by their names."""
    rows = list(dataset.rows("test"))
    return {
        system: {row.id: answer for row, answer in zip(rows, asking(generator)(rows, 0), strict=True)}
        for system, generator in systems.items()
    }


def known(answers: dict[str, Answer]) -> Generate:
    """Answers with what was drawn before."""
    return lambda rows, seed: [answers[row.id] for row in rows]


def make_items(dataset: Dataset, answers: dict[str, dict[str, Answer]], out: Path) -> list[Item]:
    """One item for each of the first held-out models; its GLBs, with and without the adapter, beside the page."""
    items = []
    for row in _one_an_asset(dataset, "test")[:SHOWN]:
        made = {
            system: _save(rows[row.id], dataset.grid, row, out, system) for system, rows in answers.items()
        }
        titles = (("base", "the base alone"), ("adapter", "with the adapter"))
        models = [Model(title, mesh) for system, title in titles if (mesh := made[system]) is not None]
        models.append(Model("the artist's own", load_glb_bytes(row.glb)))
        items.append(Item(row.caption, row.tiles[dataset.grid.indices("reference")[0]], models))
    return items


def _save(answer: Answer, grid: ViewGrid, row: Row, out: Path, system: str) -> Mesh | None:
    """The mesh of what answers a held-out drawing, its GLB written; None where the answer shows no object."""
    made = Generation(answer, grid, {"base": "mini", "system": system, "prompt": row.caption})
    try:
        made.save(out, name=f"{Path(row.file).stem}_{system}")
    except InputError:
        return None
    return made.mesh


def _one_an_asset(dataset: Dataset, split: str) -> list[Row]:
    seen: set[str] = set()
    rows = []
    for row in dataset.rows(split):
        name = row.file or row.id
        if name not in seen:
            seen.add(name)
            rows.append(row)
    return rows


def _clear(out: Path) -> None:
    """Empties an earlier demo's folder; refuses any other."""
    marker = out / ".lora3d-demo"
    if out.exists() and any(out.iterdir()) and not marker.exists():
        raise InputError(f"{out} is not empty and holds no earlier demo; name another folder with --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    marker.touch()
