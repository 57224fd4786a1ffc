"""How near each lift comes to the truth, from true views of real models, beside what the views can tell at all.

    python -m tests.benchmarks.lifts --tile 128 --lifts fuse hull normals field
    python -m tests.benchmarks.lifts --tile 128 --novel --per-pack 1

Ten models of each 3D pack of ../shared/art, seen in the cells of a preset (zero123plus), rgb with depth and
normals beside it. For each lift the median of

- F-score@0.05 and Chamfer distance, in radii, against the surface that can be seen from outside;
- volume IoU, where the true model is a closed solid;
- PSNR of 12 views that it was not made from, 128 px, in dB.

Two bounds stand beside them: `visible`, the pixels' own points placed without error, and `hull`, what the
silhouettes alone allow. ``--perturbed`` adds 2 % noise to colour and depth and shifts one view by a pixel.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import manifold3d
import numpy as np
from PIL import Image

from lora3d.camera import Array, Camera, orbit, rays
from lora3d.errors import InputError
from lora3d.grid import PRESETS, View, ViewGrid
from lora3d.lift import lift
from lora3d.lift.field import draw_field, fit_field
from lora3d.lift.views import read_views
from lora3d.mesh import Mesh, load_mesh, normalise
from lora3d.metrics import directions, fscore_chamfer, surface_points
from lora3d.render import render, render_tiles

ART = Path(__file__).resolve().parents[3] / "shared" / "art"
PACKS = ("kenney_furniture", "kenney_platformer", "quaternius_interior", "quaternius_space")
METRICS = ("fscore", "chamfer", "volume_iou", "psnr", "seconds")
UNSEEN = 12
SIZE = 128  # of an unseen view, in pixels


def models(per_pack: int, packs: Sequence[str] = PACKS) -> list[Path]:
    """Drawn with one seed for all packs, so that a pack's models do not depend on the others asked for."""
    rng = np.random.default_rng(0)
    found = {pack: sorted((ART / pack).rglob("*.glb")) for pack in PACKS}
    chosen = {pack: sorted(rng.permutation(len(files))[:per_pack]) for pack, files in found.items()}
    return [found[pack][i] for pack in packs for i in chosen[pack]]


def with_channels(grid: ViewGrid, *channels: str) -> ViewGrid:
    """The grid's cameras, each with cells of these channels."""
    cameras = grid.cameras("rgb")
    away = float(np.linalg.norm(cameras[0].matrix[:3, 3]))
    return replace(
        grid,
        name=f"{grid.name} with {' and '.join(channels)}",
        cells=tuple(View(channel, camera) for channel in channels for camera in cameras),
        columns=len(cameras),
        depth_range=(away - 0.5, away + 0.5),  # objects lie in a ball of radius 0.5
    )


GIVEN = {"fuse": ("rgb", "depth"), "hull": ("rgb",), "normals": ("rgb", "normal"), "field": ("rgb",)}


def perturb(tiles: Array, grid: ViewGrid, seed: int) -> Array:
    """2 % noise on everything that is not background, and the second view of each channel a pixel aside."""
    rng = np.random.default_rng(seed)
    background = np.zeros((len(tiles), 1, 1, 3), np.float32)
    background[list(grid.indices("rgb"))] = grid.background
    noise = 0.02 * rng.standard_normal(tiles.shape)
    noisy = np.where(np.abs(tiles - background) > 1e-3, tiles + noise, tiles).clip(0, 1).astype(np.float32)
    for channel in ("rgb", "depth", "normal"):
        for cell in grid.indices(channel)[1:2]:
            noisy[cell] = np.roll(noisy[cell], 1, axis=1)
    return noisy


def visible_points(truth: Mesh, grid: ViewGrid) -> Array:
    """What the views see of the surface, in radii: their pixels' points at 256 px or the tile's own size."""
    size = max(grid.tile, 256)
    cameras = grid.cameras("rgb")
    points = []
    for camera, depth in zip(cameras, render(truth, cameras, size, samples=1).depth, strict=True):
        origin, direction = rays(camera, size)
        shown = np.isfinite(depth)
        points.append(2 * (origin + direction * np.where(shown, depth, 0)[..., None])[shown])
    return np.random.default_rng(0).permutation(np.concatenate(points))


def solid(mesh: Mesh) -> manifold3d.Manifold | None:
    """The mesh as a solid whose overlapping parts are one; None where it is not closed."""
    points, faces = np.unique(mesh.vertices, axis=0, return_inverse=True)
    found = manifold3d.Manifold(
        manifold3d.Mesh(points.astype(np.float32), faces[mesh.faces].astype(np.uint32))
    )
    if found.status() != manifold3d.Error.NoError or found.volume() <= 1e-6:
        return None
    return manifold3d.Manifold.batch_boolean(found.decompose(), manifold3d.OpType.Add)


def volume_iou(a: Mesh, b: Mesh) -> float:
    first, second = solid(a), solid(b)
    if first is None or second is None:
        return math.nan
    return (first ^ second).volume() / (first + second).volume()


def unseen_cameras() -> list[Camera]:
    return [
        orbit(math.degrees(math.atan2(x, -y)) + 11, math.degrees(math.asin(z)), 1.866, fov_deg=32)
        for x, y, z in directions(UNSEEN)
    ]


def unseen(mesh: Mesh, shading: str) -> Array:
    """The 12 pictures (12, SIZE, SIZE, 3) over grey, from directions spread evenly."""
    rgba = render(mesh, unseen_cameras(), SIZE, shading=shading).rgba
    return rgba[..., :3] * rgba[..., 3:] + 0.5 * (1 - rgba[..., 3:])


def score(made: Mesh, truth: Mesh, surface: Array, pictures: Array, shown: Array) -> dict[str, float]:
    fscore, chamfer = fscore_chamfer(made, surface)
    error = float(np.mean((shown - pictures) ** 2))
    return {
        "fscore": fscore,
        "chamfer": chamfer,
        "volume_iou": volume_iou(made, truth),
        "psnr": -10 * math.log10(max(error, 1e-10)),
    }


def measure(
    file: Path, grid: ViewGrid, lifts: list[str], perturbed: bool, out: Path | None
) -> dict[str, dict]:
    """One model: {lift: {metric: value}}, ``visible`` among the lifts."""
    truth = normalise(load_mesh(file))
    surface = surface_points(truth, seed=1, outside=True)
    pictures = unseen(truth, grid.shading)
    found: dict[str, dict] = {
        "visible": dict(zip(METRICS, fscore_chamfer(visible_points(truth, grid), surface), strict=False))
    }
    strips = [pictures[:6]]
    for name in lifts:
        given = with_channels(grid, *GIVEN[name])
        tiles = render_tiles(truth, given)
        if perturbed:
            tiles = perturb(tiles, given, seed=len(file.name))
        start = time.perf_counter()
        try:
            made = lift(tiles, given, method=name)
        except InputError as error:
            print(f"{file.stem}: {name}: {error}")
            found[name] = {"fscore": 0.0}
            continue
        seconds = time.perf_counter() - start
        shown = unseen(made, "unlit")
        found[name] = score(made, truth, surface, pictures, shown) | {"seconds": seconds}
        shape = replace(made, materials=(replace(made.materials[0], unlit=False, texture=None),))
        strips += [shown[:6], unseen(shape, "studio")[:6]]
    if out is not None:
        sheet = np.concatenate([np.concatenate(list(strip), axis=1) for strip in strips])
        Image.fromarray((sheet * 255 + 0.5).astype(np.uint8)).save(
            out / f"{file.parent.parent.name}_{file.stem}.png"
        )
    return found


def novel(file: Path, tile: int) -> dict[str, float]:
    """PSNR in dB of the unseen views, drawn by a field fitted to 24 views all around, and its seconds."""
    truth = normalise(load_mesh(file))
    cameras = [
        orbit(math.degrees(math.atan2(x, -y)), math.degrees(math.asin(z)), 1.866, fov_deg=32)
        for x, y, z in directions(24)
    ]
    plain = PRESETS["zero123plus"].with_tile(tile)
    grid = replace(plain, cells=tuple(View("rgb", camera) for camera in cameras), columns=len(cameras))
    views = read_views(render_tiles(truth, grid), grid)
    start = time.perf_counter()
    field = fit_field(views)
    seconds = time.perf_counter() - start
    error = float(np.mean((draw_field(field, unseen_cameras(), SIZE) - unseen(truth, grid.shading)) ** 2))
    return {"psnr": -10 * math.log10(error), "seconds": seconds}


def medians(rows: dict[str, dict[str, dict]]) -> dict[str, dict[str, float]]:
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    return {
        name: {
            metric: float(np.nanmedian(values))
            for metric in METRICS
            if (values := [row[name].get(metric, math.nan) for row in rows.values()])
            and not np.isnan(values).all()
        }
        for name in names
    }


def table(result: dict[str, dict[str, float]]) -> str:
    lines = ["| lift | " + " | ".join(METRICS) + " |", "| --- " * (len(METRICS) + 1) + "|"]
    for name, scores in result.items():
        cells = [f"{scores[m]:.3f}" if m in scores else "–" for m in METRICS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="zero123plus", choices=sorted(PRESETS))
    parser.add_argument("--tile", type=int, default=128)
    parser.add_argument("--lifts", nargs="+", default=["fuse"], choices=sorted(GIVEN))
    parser.add_argument("--per-pack", type=int, default=10)
    parser.add_argument("--packs", nargs="+", default=PACKS, choices=PACKS)
    parser.add_argument("--novel", action="store_true", help="what a field draws of views that it never saw")
    parser.add_argument("--perturbed", action="store_true")
    parser.add_argument("--out", type=Path, help="a folder for scores.json and a picture a model")
    args = parser.parse_args()
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
    if args.novel:
        for file in models(args.per_pack, args.packs):
            print(file.stem, novel(file, args.tile), flush=True)
        return
    grid = PRESETS[args.preset].with_tile(args.tile)
    rows = {}
    for file in models(args.per_pack, args.packs):
        name = f"{file.relative_to(ART).parts[0]}/{file.stem}"
        rows[name] = measure(file, grid, args.lifts, args.perturbed, args.out)
        print(name, {k: round(v["fscore"], 3) for k, v in rows[name].items()}, flush=True)
        if args.out:
            (args.out / "scores.json").write_text(json.dumps(rows, indent=1))
    print(table(medians(rows)))


if __name__ == "__main__":
    main()
