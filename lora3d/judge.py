"""Score several answers to one held-out row: what the worker processes of `lora3d.evaluate` run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from lora3d import metrics
from lora3d.answer import Answer
from lora3d.camera import Array, orbit
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, object_pixels
from lora3d.mesh import Mesh, load_glb_bytes
from lora3d.render import render, render_tiles

METRICS = ("psnr", "ssim", "silhouette_iou", "fscore", "chamfer", "consistency_psnr", "palette_distance")
THRESHOLD = 0.05  # of the F-score, in radii of the object
SAMPLES = 10_000  # points that are measured on each surface


class Lift(Protocol):
    """`lora3d.lift.lift`, or what takes its place."""

    def __call__(self, tiles: Array, grid: ViewGrid, /, *, prior: Array | None = None) -> Mesh: ...


Scores = dict[str, float | None]


@dataclass(frozen=True)
class Judgement:
    """One system's answer to one row.

    Attributes:
        scores: one of each of `METRICS`.
        reason: why scores are None, or F is 0; empty where nothing went wrong.
        picture: (128, 128, 3) float32, the lifted mesh from azimuth 30, elevation 20; None without one.
    """

    scores: Scores = field(default_factory=lambda: dict.fromkeys(METRICS))
    reason: str = ""
    picture: Array | None = None


def judge(
    grid: ViewGrid,
    lift: Lift,
    true_glb: bytes,
    true: Array,
    answers: dict[str, Answer],
    colours: Array | None,
) -> dict[str, Judgement]:
    """Scores several systems' answers to one row; the key "true" shows the truth.

    Args:
        true: the row's tiles.
        colours: the artist's `metrics.palette`; None where there is no training row.
    """
    mesh = load_glb_bytes(true_glb)
    hidden = ""
    surface: Array | None = None
    try:
        surface = metrics.surface_points(mesh, samples=10 * SAMPLES, seed=1, outside=True)
    except InputError as error:
        hidden = f"the true model: {error}"
    result = {"true": Judgement(reason=hidden, picture=_picture(mesh))}
    for system, answer in answers.items():
        tiles = answer.tiles
        scores: Scores = dict.fromkeys(METRICS)
        scores["psnr"] = metrics.psnr(grid, tiles, true)
        scores["ssim"] = metrics.ssim(grid, tiles, true)
        scores["silhouette_iou"] = metrics.silhouette_iou(grid, tiles, true)
        pixels = object_pixels(grid, tiles)
        if colours is not None and len(pixels):
            scores["palette_distance"] = metrics.palette_distance(pixels, colours)
        try:
            lifted = lift(tiles, grid, prior=answer.prior)
            scores["consistency_psnr"] = metrics.consistency_psnr(grid, tiles, _rendered(lifted, grid))
            if surface is not None:
                points = metrics.surface_points(lifted, samples=10 * SAMPLES)
                pair = metrics.fscore_chamfer(points, surface, threshold=THRESHOLD, samples=SAMPLES)
                scores["fscore"], scores["chamfer"] = pair
            result[system] = Judgement(scores, hidden, _picture(lifted))
        except InputError as error:
            scores["fscore"] = None if surface is None else 0.0
            result[system] = Judgement(scores, f"not lifted: {error}")
    return result


def _rendered(mesh: Mesh, grid: ViewGrid) -> Array:
    # What was lifted carries the shading of the views already.
    return render_tiles(mesh, replace(grid, shading="unlit"))


def _picture(mesh: Mesh) -> Array:
    # Under light, whatever the material says: the picture shall show the shape.
    lit = replace(mesh, materials=tuple(replace(material, unlit=False) for material in mesh.materials))
    rgba = render(lit, [orbit(30, 20, 2.0, fov_deg=30)], 128, shading="studio").rgba[0]
    return rgba[..., :3] * rgba[..., 3:] + 1 - rgba[..., 3:]
