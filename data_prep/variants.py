"""More to learn from the same models: each stretched, turned to another side and drawn anew.

An adapter that sees 30 models and their few drawings a hundred times learns them by heart. Views and drawing
of a variant come from one mesh, so that they agree as those of the artist's own do; colours and textures are
untouched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lora3d.camera import Array, viewpoint
from lora3d.data_prep.drawings import draw, random_camera
from lora3d.drawing import fit_reference
from lora3d.grid import ViewGrid
from lora3d.mesh import Mesh, load_glb_bytes, normalise, turn
from lora3d.render import render_tiles

STRETCH = 1.25  # of each axis, up or down, at most
# Of what they are drawn in, unless the recipe chooses.
SHARES = {"render": 0.45, "shaded": 0.2, "soft": 0.15, "flat": 0.1, "toon": 0.1}


def make_variants(
    glb: bytes, grid: ViewGrid, count: int, seed: int, styles: Sequence[str] = ()
) -> tuple[Array, list[tuple[float, float]]]:
    """``count`` variants of a model as tiles (count, cells, t, t, 3) float32; the same for the same seed.

    And where each was drawn from: azimuth and elevation in degrees, in the grid's frame.

    styles: of `data_prep.drawings` that they are drawn in, equally often; one named twice twice as often. Without
    any, `SHARES` of them.
    """
    mesh = load_glb_bytes(glb)
    digest = int.from_bytes(hashlib.sha256(glb).digest()[:8], "big")
    shares = {style: styles.count(style) / len(styles) for style in styles} or SHARES
    made = [_variant(mesh, grid, shares, np.random.default_rng([seed, digest, k])) for k in range(count)]
    return np.stack([tiles for tiles, _ in made]), [seen for _, seen in made]


def _variant(
    mesh: Mesh, grid: ViewGrid, shares: dict[str, float], rng: np.random.Generator
) -> tuple[Array, tuple[float, float]]:
    mesh = turn(stretch(mesh, STRETCH ** rng.uniform(-1, 1, 3)), 90.0 * int(rng.integers(4)))
    tiles = render_tiles(mesh, grid)
    style = str(rng.choice(list(shares), p=list(shares.values())))
    camera = random_camera(rng)
    rgba = draw(mesh, camera, style, size=2 * grid.tile, seed=int(rng.integers(2**31)))
    rgb, alpha = fit_reference(grid, rgba)
    for cells, picture in (
        (grid.indices("reference"), rgb),
        (grid.indices("reference_alpha"), alpha[..., None]),
    ):
        for i in cells:
            tiles[i] = picture
    return tiles, viewpoint(camera)


def stretch(mesh: Mesh, factors: Array) -> Mesh:
    """The mesh scaled along the axes by factors (3,) > 0, and normalised again; normals turn with the surface."""
    normal = mesh.corner_normal
    if normal is not None:
        normal = normal / factors
        normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
        normal = normal.astype(np.float32)
    vertices = (mesh.vertices * factors).astype(np.float32)
    return normalise(replace(mesh, vertices=vertices, corner_normal=normal))
