"""evaluate() on a small dataset whose answers are known."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from lora3d.adapter import AdapterCard, adapter_tensors, attach, save_adapter, target_modules
from lora3d.answer import Answer
from lora3d.base import load_base
from lora3d.dataset import Dataset, Row, read_dataset, write_dataset
from lora3d.drawing import fit_reference
from lora3d.errors import InputError
from lora3d.evaluate import METRICS, SYSTEMS, bootstrap, evaluate, evaluate_adapter
from lora3d.grid import PRESETS
from lora3d.mesh import Material, Mesh, glb_bytes, merge, normalise
from lora3d.metrics import PSNR_LIMIT
from lora3d.render import render, render_tiles
from lora3d.report import Shown, data_uri, write_report

pytestmark = pytest.mark.slow  # the answers are lifted and measured once for most tests here

BOX = PRESETS["box6"]


def thing(size: tuple[float, float, float], color: tuple[float, float, float]) -> Mesh:
    """A box with a small ball beside it: no two sides look alike."""

    def part(shape: trimesh.Trimesh, rgb) -> Mesh:
        faces = np.asarray(shape.faces, np.int32)
        material = Material(base_color=(*rgb, 1.0))
        return Mesh(
            np.asarray(shape.vertices, np.float32), faces, np.zeros(len(faces), np.int32), (material,)
        )

    ball = trimesh.creation.icosphere(2, radius=0.2).apply_translation((0.3, 0.1, 0.4))
    return normalise(merge([part(trimesh.creation.box(size), color), part(ball, color[::-1])]))


def row(name: str, split: str, mesh: Mesh, *, file: str = "", caption: str = "a thing") -> Row:
    tiles = render_tiles(mesh, BOX)
    drawn = render(mesh, [BOX.cameras()[0]], 64).rgba[0]
    tiles[BOX.indices("reference")[0]], alpha = fit_reference(BOX, drawn)
    tiles[BOX.indices("reference_alpha")[0]] = alpha[..., None]
    return Row(
        id=name,
        tiles=tiles,
        caption=caption,
        subject=name.removesuffix("-again"),
        split=split,
        license="CC0-1.0",
        artist="somebody",
        source="",
        glb=glb_bytes(mesh),
        file=file or f"{name}.glb",
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    flat, tall = thing((0.8, 0.6, 0.2), (0.8, 0.2, 0.05)), thing((0.3, 0.3, 0.9), (0.1, 0.4, 0.7))
    rows = [
        row("plate-1", "train", flat),
        row("tower-1", "train", tall),
        row("plate-2", "test", thing((0.8, 0.65, 0.25), (0.8, 0.25, 0.05))),
        row("tower-2", "test", tall, caption="<script>alert('tower')</script>"),
        row("tower-2-again", "test", tall, file="tower-2.glb"),
    ]
    folder = tmp_path_factory.mktemp("data") / "dataset"
    write_dataset(rows, folder, BOX)
    return read_dataset(folder)


def perfect(rows: list[Row], seed: int) -> list[Answer]:
    return [Answer(r.tiles) for r in rows]


def blank(rows: list[Row], seed: int) -> list[Answer]:
    tiles = np.ones((len(rows), len(BOX.cells), 64, 64, 3), np.float32)
    tiles[:, list(BOX.indices("depth"))] = 0.0
    return [Answer(some) for some in tiles]


def no_lift(tiles: np.ndarray, grid, prior=None) -> Mesh:
    raise InputError("not asked for")


def unchanged(tiles: np.ndarray) -> np.ndarray:
    return tiles


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def judged(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    out = tmp_path_factory.mktemp("eval")
    report = evaluate(
        dataset, blank, adapter=perfect, codec=unchanged, out=out, batch=2, settings={"base": "blank"}
    )
    return report, out


def test_report_json_is_what_was_returned(judged):
    report, out = judged
    text = (out / "report.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == report
    assert set(report) == {*SYSTEMS, "assets", "difference", "settings"}
    assert all(set(report[system]) == set(METRICS) for system in SYSTEMS)


def test_a_perfect_answer_reaches_the_ceiling(judged):
    report, _ = judged
    assert report["adapter"] == report["ceiling"]
    scores = report["adapter"]
    assert (
        scores["psnr"] == PSNR_LIMIT and scores["ssim"] == pytest.approx(1) and scores["silhouette_iou"] == 1
    )
    assert scores["fscore"] > 0.9 and scores["chamfer"] < 0.04 and scores["consistency_psnr"] > 20


def test_a_blank_answer_scores_nothing_and_says_why(judged):
    report, _ = judged
    scores = report["base"]
    assert scores["fscore"] == 0 and scores["silhouette_iou"] == 0
    assert scores["chamfer"] is scores["consistency_psnr"] is scores["palette_distance"] is None
    assert scores["psnr"] < 20
    assert all(any("not lifted" in why for why in asset["reasons"].values()) for asset in report["assets"])


def test_retrieval_finds_the_training_row_that_looks_most_alike(judged):
    report, _ = judged
    assert {asset["asset"]: asset["retrieved"] for asset in report["assets"]} == {
        "plate-2.glb": {"plate-2": "plate-1"},
        "tower-2.glb": {"tower-2": "tower-1", "tower-2-again": "tower-1"},
    }
    plate, tower = report["assets"]
    assert tower["retrieval"]["psnr"] == PSNR_LIMIT and plate["retrieval"]["psnr"] < 40
    assert plate["retrieval"]["fscore"] > 0.3


def test_an_asset_counts_once_however_many_drawings_it_has(judged):
    report, _ = judged
    assert [asset["rows"] for asset in report["assets"]] == [["plate-2"], ["tower-2", "tower-2-again"]]
    for system in SYSTEMS:
        for metric in METRICS:
            values = [asset[system][metric] for asset in report["assets"]]
            if None not in values:
                assert report[system][metric] == pytest.approx(np.mean(values))


def test_the_difference_is_paired_over_assets(judged):
    report, _ = judged
    deltas = [asset["adapter"]["psnr"] - asset["base"]["psnr"] for asset in report["assets"]]
    found = report["difference"]["psnr"]
    assert found["mean"] == pytest.approx(np.mean(deltas)) and found["assets"] == 2
    assert min(deltas) - 1e-9 <= found["low"] <= found["mean"] <= found["high"] <= max(deltas) + 1e-9
    assert report["difference"]["chamfer"] == {"mean": None, "low": None, "high": None, "assets": 0}


def test_the_page_needs_no_network_and_escapes_what_it_shows(judged):
    _, out = judged
    page = (out / "report.html").read_text(encoding="utf-8")
    tags = _Tags()
    tags.feed(page)
    names = [tag for tag, _ in tags.tags]
    assert "script" not in names and "link" not in names and "iframe" not in names
    assert "&lt;script&gt;alert(&#x27;tower&#x27;)" in page
    sources = [attributes["src"] for tag, attributes in tags.tags if tag == "img"]
    assert len(sources) >= 2 * 5 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http://" not in page and "https://" not in page and "url(" not in page


def test_without_an_adapter_its_scores_are_null(dataset: Dataset, tmp_path: Path):
    report = evaluate(dataset, perfect, codec=unchanged, out=tmp_path, limit=1, workers=0)
    assert len(report["assets"]) == 1
    assert set(report["adapter"].values()) == {None}
    assert all(entry["mean"] is None for entry in report["difference"].values())
    assert report["base"] == report["ceiling"]
    assert "–" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_seed_tells_rows_apart(dataset: Dataset, tmp_path: Path):
    asked: list[tuple[int, list[str]]] = []

    def generate(rows: list[Row], seed: int) -> np.ndarray:
        asked.append((seed, [r.id for r in rows]))
        return blank(rows, seed)

    evaluate(dataset, generate, codec=unchanged, lift=no_lift, out=tmp_path, batch=2, seed=7, workers=0)
    assert asked == [(7, ["plate-2", "tower-2"]), (9, ["tower-2-again"])]


def test_what_cannot_be_judged_is_refused(dataset: Dataset, tmp_path: Path):
    def broken(rows: list[Row], seed: int) -> list[Answer]:
        return [Answer(np.full_like(r.tiles, np.nan)) for r in rows]

    with pytest.raises(InputError, match=r"base answered row 'plate-2'.*finite"):
        evaluate(dataset, broken, codec=unchanged, out=tmp_path, workers=0)
    only_train = [replace(r, split="train") for r in dataset.rows("train")]
    closed = write_dataset(only_train, tmp_path / "closed", BOX)
    with pytest.raises(InputError, match="holds no row out"):
        evaluate(closed, perfect, codec=unchanged, out=tmp_path, workers=0)


def test_files_are_judged_and_the_base_is_not_touched_by_the_adapter(
    dataset: Dataset, toy_base: Path, tmp_path: Path
):
    base = load_base(toy_base)
    with torch.no_grad():
        for p in attach(base, 4, 4.0, ("attention",), seed=0):
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    card = AdapterCard(
        base=base.name,
        base_revision=base.revision,
        grid=BOX.to_dict(),
        trigger="",
        rank=4,
        alpha=4.0,
        targets=["attention"],
        dataset="0" * 64,
        assets=2,
        drawings=2,
        licenses=["CC0-1.0"],
        artists=["somebody"],
        sources=[],
        recipe={},
        metrics={},
    )
    modules = target_modules(load_base(toy_base).unet, ("attention",))
    save_adapter(tmp_path / "a.safetensors", adapter_tensors(base), card, modules)

    def run(adapter: Path | None) -> dict:
        fixed = {"limit": 1, "steps": 2, "precision": "fp32", "lift": no_lift, "workers": 0}
        return evaluate_adapter(dataset.path, tmp_path / "out", base=toy_base, adapter=adapter, **fixed)

    alone, both = run(None), run(tmp_path / "a.safetensors")
    assert alone["base"] == both["base"] and both["adapter"]["psnr"] != both["base"]["psnr"]
    assert both["settings"]["adapter"] == "a.safetensors" and "another dataset" in both["settings"]["warning"]
    small = write_dataset(
        [replace(r, tiles=r.tiles[:, ::2, ::2]) for r in dataset.rows()],
        tmp_path / "small",
        BOX.with_tile(32),
    )
    with pytest.raises(InputError, match="tile is 32 against 64"):
        evaluate_adapter(small.path, tmp_path / "out", base=toy_base)


def test_bootstrap_interval_of_known_samples():
    assert bootstrap(np.full(5, 0.25)) == (0.25, 0.25)
    values = np.random.default_rng(1).normal(3.0, 1.0, 400)
    low, high = bootstrap(values)
    error = 1.96 * values.std() / math.sqrt(400)
    assert low == pytest.approx(values.mean() - error, abs=0.01)
    assert high == pytest.approx(values.mean() + error, abs=0.01)
    assert bootstrap(values) == (low, high)


def test_pictures_are_png_and_large_tiles_are_reduced(tmp_path: Path):
    assert data_uri(np.zeros((2, 2, 3))).startswith("data:image/png;base64,iVBOR")
    nothing = dict.fromkeys(METRICS)
    no_difference = {metric: {"mean": None, "low": None, "high": None, "assets": 0} for metric in METRICS}
    entry = {"asset": "a", "subject": "", "caption": "", "retrieved": {}, "reasons": {}}
    report = {
        **dict.fromkeys(SYSTEMS, nothing),
        "assets": [{**entry, **dict.fromkeys(SYSTEMS, nothing)}],
        "difference": no_difference,
        "settings": {},
    }
    noise = np.random.default_rng(0).random((6, 320, 320, 3))
    write_report(report, [Shown("a", None, {"true": noise})], tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 6 * 128 * 128 * 3 * 1.5
