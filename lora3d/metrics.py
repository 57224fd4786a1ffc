"""How near an answer comes to the truth: pure functions of tiles, meshes and colours.

Tiles are (cells, tile, tile, 3) float32 in [0, 1], laid out by a `ViewGrid`. Lengths of `fscore_chamfer` are
in radii of the object's bounding sphere.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree
from skimage.metrics import structural_similarity

from lora3d.camera import Array, orbit, project
from lora3d.grid import ViewGrid, coverage
from lora3d.mesh import Mesh, MeshError, face_normals, normalise
from lora3d.render import render

PSNR_LIMIT = 100.0  # in dB; what equal images score, so that a mean stays finite


def psnr(grid: ViewGrid, predicted: Array, true: Array) -> float:
    """Peak signal-to-noise ratio in dB of the rgb cells, the reference excluded.

    Of the mean squared error over all of them together, for a peak of 1; at most `PSNR_LIMIT`.
    """
    cells = list(grid.indices("rgb"))
    error = np.mean((predicted[cells].astype(np.float64) - true[cells]) ** 2)
    return PSNR_LIMIT if error <= 10 ** (-PSNR_LIMIT / 10) else float(-10 * np.log10(error))


def ssim(grid: ViewGrid, predicted: Array, true: Array) -> float:
    """Structural similarity of the rgb cells (Wang et al. 2004, eq. 13), mean over cells.

    Their Gaussian window, 11 × 11 of deviation 1.5, with data range 1, each colour channel alone; tiles
    under 11 px get the largest odd window that fits, with a deviation in proportion.
    """
    window = min(11, grid.tile - (grid.tile + 1) % 2)
    sigma = 1.5 * window / 11
    scores = [
        structural_similarity(
            predicted[i].astype(np.float64),
            true[i].astype(np.float64),
            data_range=1.0,
            channel_axis=-1,
            gaussian_weights=True,
            use_sample_covariance=False,
            sigma=sigma,
            truncate=(window // 2) / sigma,
        )
        for i in grid.indices("rgb")
    ]
    return float(np.mean(scores))


def silhouette_iou(grid: ViewGrid, predicted: Array, true: Array) -> float:
    """Intersection over union of silhouettes (see `coverage`), mean over views; 1 where both are empty."""
    a, b = coverage(grid, predicted), coverage(grid, true)
    union = (a | b).sum(axis=(1, 2))
    both = (a & b).sum(axis=(1, 2))
    return float(np.where(union > 0, both / np.maximum(union, 1), 1.0).mean())


def consistency_psnr(grid: ViewGrid, generated: Array, rendered: Array) -> float:
    """How well the views agree with each other: what no single solid explains cannot be drawn again.

    `psnr` of the generated views against the lifted mesh, rendered unlit in the same grid (`render_tiles`).
    """
    return psnr(grid, rendered, generated)


def directions(count: int) -> Array:
    """Unit vectors (count, 3) float64, evenly spread: the Fibonacci lattice (Swinbank and Purser 2006)."""
    i = np.arange(count) + 0.5
    z = 1 - 2 * i / count
    angle = i * math.pi * (3 - math.sqrt(5))
    ring = np.sqrt(1 - z * z)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def surface_points(mesh: Mesh, *, samples: int = 100_000, seed: int = 0, outside: bool = False) -> Array:
    """Points on the surface (≤ samples, 3) float64, uniform by area and in random order.

    The mesh is first centred (its bounding box) and scaled to a bounding sphere of radius 1.

    Args:
        outside: keep only the points that can be seen from outside (see `seen_from_outside`).

    Raises MeshError for a mesh without area, or with nothing to see.
    """
    mesh = normalise(mesh)
    corners = 2.0 * mesh.vertices[mesh.faces].astype(np.float64)
    edge1, edge2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.linalg.norm(np.cross(edge1, edge2), axis=1)
    total = np.cumsum(area)
    if not total[-1] > 0:
        raise MeshError("the mesh has no area: its surface cannot be sampled")
    rng = np.random.default_rng(seed)
    # One draw in each of `samples` equal shares of the area: less noise than independent draws.
    share = (rng.permutation(samples) + rng.random(samples)) / samples
    face = np.minimum(np.searchsorted(total, share * total[-1], side="right"), len(total) - 1)
    u, v = rng.random((2, samples, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points = corners[face, 0] + u * edge1[face] + v * edge2[face]
    if not outside:
        return points
    seen = seen_from_outside(mesh, points / 2, face_normals(mesh)[face])
    if not seen.any():
        raise MeshError("nothing of the true surface can be seen: is every material transparent?")
    return points[seen]


def seen_from_outside(
    mesh: Mesh, points: Array, normals: Array, *, views: int = 48, size: int = 192
) -> Array:
    """Which points (n, 3) of a normalised mesh's surface can be seen from outside; (n,) bool.

    Tested against depth images of `views` even directions; normals (n, 3). A point counts as seen where it
    lies within 0.01 of the depth drawn there. Views that graze its surface are not asked (their depth
    changes too fast within a pixel), nor do parts count that transparency leaves undrawn.
    """
    order = np.argsort(np.arange(views) * 0.618 % 1)  # so that the first few views come from all around
    steps = directions(views)[order]
    cameras = [
        orbit(math.degrees(math.atan2(x, -y)), math.degrees(math.asin(z)), 1.0, ortho_scale=1.02)
        for x, y, z in steps
    ]
    seen = np.zeros(len(points), dtype=bool)
    for first in range(0, views, 16):
        if seen.all():
            break
        drawn = render(mesh, cameras[first : first + 16], size, samples=1).depth
        for camera, step, image in zip(cameras[first:], steps[first:], drawn, strict=False):
            ask = np.flatnonzero(~seen & (np.abs(normals @ step) > 0.3))
            at, depth = project(camera, points[ask])
            column, row = (np.clip(at * size, 0, size - 1).astype(int)).T
            seen[ask] = np.abs(image[row, column] - depth) < 0.01
    return seen


def fscore_chamfer(
    predicted: Mesh | Array,
    true: Mesh | Array,
    *,
    threshold: float = 0.05,
    samples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """F-score at a threshold (Knapitsch et al. 2017) and Chamfer distance of two surfaces.

    Each mesh is centred and scaled by its own bounding box and sphere, to radius 1, but not turned. Where the
    true surface is hidden from outside it is not sampled: no view shows it. The predicted surface is
    sampled everywhere, so that what was invented inside counts against it. F is the harmonic mean of
    precision and recall: the shares of predicted and true points that lie within `threshold` of the other
    surface. Chamfer is the mean of the two mean distances, not squared.

    `samples` points of each are measured against all points of the other. A Mesh is sampled with ten times as
    many, so a surface against itself scores about 0.006, not 0. An array is taken as `surface_points`
    returned it, so that a true surface can be sampled once for many predictions.
    """
    dense = 10 * samples
    a = surface_points(predicted, samples=dense, seed=seed) if isinstance(predicted, Mesh) else predicted
    b = true
    if isinstance(b, Mesh):
        b = surface_points(b, samples=dense, seed=seed + 1, outside=True)
    to_true, _ = cKDTree(b).query(a[:samples])
    to_predicted, _ = cKDTree(a).query(b[:samples])
    precision, recall = np.mean(to_true <= threshold), np.mean(to_predicted <= threshold)
    fscore = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return float(fscore), float((to_true.mean() + to_predicted.mean()) / 2)


def oklab(rgb: Array) -> Array:
    """sRGB (..., 3) in [0, 1] to Oklab (Ottosson 2020), float64: lightness 0 to 1, then a and b."""
    rgb = np.asarray(rgb, dtype=np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((np.maximum(rgb, 0.0) + 0.055) / 1.055) ** 2.4)
    cones = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    return np.cbrt(cones) @ np.array(
        [
            [0.2104542553, 1.9779984951, 0.0259040371],
            [0.7936177850, -2.4285922050, 0.7827717662],
            [-0.0040720468, 0.4505937099, -0.8086757660],
        ]
    )


def palette(rgb: Array, *, samples: int = 20_000) -> Array:
    """The colours that an artist uses: Oklab of at most `samples` of the sRGB pixels (n, 3), n ≥ 1."""
    rng = np.random.default_rng(0)
    return oklab(rgb if len(rgb) <= samples else rgb[rng.choice(len(rgb), samples, replace=False)])


def palette_distance(rgb: Array, colours: Array, *, samples: int = 5_000) -> float:
    """How far sRGB pixels (n, 3), n ≥ 1, lie from an artist's `palette`: mean over pixels, in units of Oklab.

    The distance of a pixel is that to its k-th nearest colour of the palette, k one in a thousand, so that
    colours hardly ever used do not count; 0.02 is just visible. One-sided on purpose: one asset need not show
    every colour of a pack. A symmetric distance (Wasserstein) to the whole pack's colours falls when
    noise is added to the true views of an unseen model; this one grows.
    """
    k = max(1, len(colours) // 1000)
    distance, _ = cKDTree(colours).query(palette(rgb, samples=samples), k=[k])
    return float(distance.mean())
