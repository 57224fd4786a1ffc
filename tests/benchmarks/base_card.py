"""What the base's card claims beside its score table: does it follow words, and does it copy what it saw?

    python -m tests.benchmarks.base_card words --base mini
    python -m tests.benchmarks.base_card copies --base mini
    python -m tests.benchmarks.base_card times --base mini
    python -m tests.benchmarks.base_card guess --base mini --held-out 128

``words``: a linear classifier (ridge regression to one-hot labels) learns to name the family, and the colour
that the caption says, from true renders. Its accuracy on held-out true renders is compared with that on views
generated from the held-out captions alone.

``copies``: how far the nearest of many training shapes is from a grid generated from a held-out drawing, and
from the true grid of the same held-out shape. Blurred pictures are near to everything, so the distance is
also given as a share of the distance to the median training shape: a copy is near to one shape only.

``times``: drawing to grid, loading left out, at the default steps.

``guess``: what the network says to pure noise beside a held-out drawing, before any step of the sampler, with the
viewpoint said and left to guess: IoU of the silhouettes (drawn depth above a quarter) and PSNR of the views; and how
far the projection is off, in pixels.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from tqdm import tqdm

from lora3d.base.pose import projection_error
from lora3d.camera import Array
from lora3d.data_prep.made import HELD_OUT_SEED
from lora3d.data_prep.procedural import FAMILIES, make_shape
from lora3d.data_prep.shapes import turn_views
from lora3d.data_prep.stream import Example, make_example
from lora3d.device import autocast, measure_gflops
from lora3d.generate import Generator, load
from lora3d.grid import ViewGrid
from lora3d.render import render_tiles
from lora3d.sampling import Reference, encode_references

SIDE = 16  # pixels of a view as the classifier and the distances see it
RIDGE = 30.0
BATCH = 16


def views_of(grid: ViewGrid, tiles: Array) -> Array:
    """Cells (cells, t, t, 3) to views with depth as fourth channel, (views, t, t, 4)."""
    return np.concatenate(
        [tiles[list(grid.indices("rgb"))], tiles[list(grid.indices("depth"))][..., :1]], axis=-1
    )


def reference_of(example: Example) -> Reference:
    """An example's first drawing; nobody says where it was seen from."""
    picture = example.drawings[0].astype(np.float32) / 255
    return Reference(picture[..., :3], picture[..., 3])


def small(views: Array) -> Array:
    """Views (v, t, t, 4) averaged to (v, SIDE, SIDE, 4) float32."""
    v, t = views.shape[:2]
    k = t // SIDE
    return views.reshape(v, SIDE, k, SIDE, k, 4).mean(axis=(2, 4)).astype(np.float32)


def features(views: Array) -> Array:
    """What the classifier reads: the small views, and how often each of 4×4×4 colours stands in them."""
    covered = views[..., 3] > 0.02
    bins = (views[..., :3][covered] * 3.999).clip(0, 3).astype(int) @ np.array([16, 4, 1])
    colours = np.bincount(bins, minlength=64) / max(1, len(bins))
    return np.concatenate([small(views).ravel(), 8 * np.sqrt(colours)]).astype(np.float32)


def named(grid: ViewGrid, seed: int) -> tuple[Array, str, str, str]:
    """Features, family, colour that the caption says (or "") and caption of named shape ``seed``."""
    shape = make_shape(seed, "named")
    colour = shape.colors[0] if shape.colors[0] in shape.caption else ""
    return features(views_of(grid, render_tiles(shape.mesh, grid))), shape.family, colour, shape.caption


def example_views(grid: ViewGrid, share: float, seed: int) -> Array:
    """Training example ``seed``'s views from its four sides, (4, values)."""
    views = make_example(seed, grid, drawings=1, assembly_share=share).views / 255
    return np.stack([small(turn_views(views, side)).ravel() for side in range(4)])


def classifier(x: Array, labels: list[str]) -> tuple[Array, Array, list[str]]:
    """Mean (d,), weights (d + 1, k) and names of a ridge regression to one-hot labels, in its dual form."""
    names = sorted(set(labels))
    y = np.eye(len(names), dtype=np.float32)[[names.index(label) for label in labels]]
    mean = x.mean(axis=0)
    centred = np.concatenate([x - mean, np.ones((len(x), 1), np.float32)], axis=1)
    kernel = centred @ centred.T
    kernel[np.diag_indices(len(x))] += RIDGE
    return mean, centred.T @ np.linalg.solve(kernel, y - 1 / len(names)), names


def accuracy(model: tuple[Array, Array, list[str]], x: Array, labels: list[str]) -> float:
    mean, weights, names = model
    answers = (np.concatenate([x - mean, np.ones((len(x), 1))], axis=1) @ weights).argmax(axis=1)
    return float(np.mean([names[a] == label for a, label in zip(answers, labels, strict=True)]))


def generated(generator: Generator, drawings: list, sentences: list[str]) -> list[Array]:
    """Views (v, t, t, 4) for each pair, seeds 0, 1, …"""
    found: list[Array] = []
    for i in tqdm(range(0, len(sentences), BATCH), desc="generating"):
        part = slice(i, i + BATCH)
        seeds = range(i, i + len(sentences[part]))
        found += [a.tiles for a in generator.answers(drawings[part], sentences[part], list(seeds))]
    return [views_of(generator.base.grid, tiles) for tiles in found]


def words(generator: Generator, pool: ProcessPoolExecutor, training: int, held_out: int) -> dict[str, object]:
    grid = generator.base.grid
    make = partial(named, grid)
    known = list(tqdm(pool.map(make, range(training), chunksize=32), total=training, desc="training"))
    new = list(pool.map(make, range(HELD_OUT_SEED, HELD_OUT_SEED + held_out), chunksize=32))
    views = generated(generator, [None] * held_out, [caption for *_, caption in new])
    drawn = np.stack([features(v) for v in views])
    report: dict[str, object] = {"families": len(FAMILIES), "training": training, "held_out": held_out}
    for label, column in (("family", 1), ("colour", 2)):
        told = [entry for entry in known if entry[column]]
        asked = [i for i, entry in enumerate(new) if entry[column]]
        model = classifier(np.stack([e[0] for e in told]), [str(e[column]) for e in told])
        truth = [str(new[i][column]) for i in asked]
        own = accuracy(model, np.stack([new[i][0] for i in asked]), truth)
        theirs = accuracy(model, drawn[asked], truth)
        chance = max(truth.count(name) for name in set(truth)) / len(truth)
        report[label] = {"true": own, "generated": theirs, "share": theirs / own, "commonest": chance}
    return report


def copies(
    generator: Generator, pool: ProcessPoolExecutor, training: int, held_out: int
) -> dict[str, object]:
    grid, share = generator.base.grid, 0.6
    make = partial(example_views, grid, share)
    known = np.concatenate(list(tqdm(pool.map(make, range(training), chunksize=32), total=training)))
    examples = [make_example(HELD_OUT_SEED + i, grid, drawings=1) for i in range(held_out)]
    drawings = [reference_of(e) for e in examples]
    turned = [turn_views(e.views / 255, int(e.sides[0])) for e in examples]
    answers = {"true": turned, "generated": generated(generator, drawings, [""] * held_out)}
    report: dict[str, object] = {"training": training, "held_out": held_out}
    for name, views in answers.items():
        x = np.stack([small(v).ravel() for v in views]).astype(np.float32)
        squares = (x**2).mean(1)[:, None] + (known**2).mean(1) - 2 * x @ known.T / x.shape[1]
        distance = np.sqrt(squares.clip(0))
        nearest = distance.min(axis=1)
        spread = {"rms": nearest, "of_median": nearest / np.median(distance, axis=1)}
        report[name] = {
            key: dict(zip(("p5", "p50", "p95"), np.quantile(values, (0.05, 0.5, 0.95)).tolist(), strict=True))
            for key, values in spread.items()
        }
    return report


def times(generator: Generator, rounds: int) -> dict[str, object]:
    example = make_example(HELD_OUT_SEED, generator.base.grid, drawings=1)
    drawing = reference_of(example)
    seconds = []
    for seed in range(rounds + 1):
        started = time.perf_counter()
        generator.answers([drawing], [""], [seed])
        seconds.append(time.perf_counter() - started)
    return {"grid_seconds": float(np.median(seconds[1:])), "gflops_fp32": measure_gflops()}


@torch.no_grad()
def guess(generator: Generator, held_out: int) -> dict[str, object]:
    base, report = generator.base, {}
    examples = [make_example(HELD_OUT_SEED + i, base.grid) for i in range(held_out)]
    truth = np.stack([turn_views(e.views, int(e.sides[0])) for e in examples]) / 255
    seen = [tuple(e.viewpoints[0].tolist()) for e in examples]
    true = torch.from_numpy(np.stack([e.projections[0] for e in examples])).to(base.device)
    for name, stated in (("said", seen), ("guessed", [None] * held_out)):
        views, off = [], []
        for i in range(0, held_out, BATCH):
            part = examples[i : i + BATCH]
            drawings = [replace(reference_of(e), seen_deg=s) for e, s in zip(part, stated[i:], strict=False)]
            given = encode_references(base, drawings)
            noise = torch.randn(given.clean.shape, generator=torch.Generator().manual_seed(i))
            hold = given.known[:, :, None, None, None]
            noisy = torch.where(hold, given.clean, noise.to(base.device))
            with autocast(base.device, generator.dtype):
                times = torch.ones(len(part), device=base.device)
                found = base.denoise(noisy, times, base.embed([""] * len(part)), given.known, given.seen)
            views += [views_of(base.grid, tiles) for tiles in base.decode(found.float()).cpu().numpy()]
            picture = base.sweep.inverse(given.clean[:, 0]).clamp(0, 1)
            off.append(projection_error(base.sweep.space.pose(picture, given.seen), true[i : i + BATCH]))
        made = np.stack(views)
        inside, wanted = made[..., 3] > 0.25, truth[..., 3] > 0.125
        iou = (inside & wanted).sum((2, 3)) / np.maximum((inside | wanted).sum((2, 3)), 1)
        error = ((made - truth)[..., :3] ** 2).mean((1, 2, 3, 4))
        report[name] = {
            "front_iou": float(iou[:, 0].mean()),
            "iou": float(iou.mean()),
            "psnr": float(-10 * np.log10(error).mean()),
            "projection_px": float(torch.cat(off).mean()) * base.grid.tile,
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("words", "copies", "times", "guess"))
    parser.add_argument("--base", default="mini")
    parser.add_argument("--training", type=int, default=4000)
    parser.add_argument("--held-out", type=int, default=400)
    args = parser.parse_args()
    generator = load(args.base)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        if args.what == "words":
            report = words(generator, pool, args.training, args.held_out)
        elif args.what == "copies":
            report = copies(generator, pool, args.training, args.held_out)
        elif args.what == "guess":
            report = guess(generator, args.held_out)
        else:
            report = times(generator, 5)
    print(json.dumps({args.what: report, "base": generator.base.revision[:12]}, indent=1))


if __name__ == "__main__":
    main()
