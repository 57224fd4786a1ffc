"""Variants: one solid each, stretched as said, in the artist's own colours, the same for the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from lora3d.base.text import Text
from lora3d.batches import make_batch
from lora3d.cache import Cached
from lora3d.data_prep.variants import STRETCH, make_variants, stretch
from lora3d.grid import PRESETS, coverage
from lora3d.mesh import face_normals, glb_bytes
from lora3d.recipe import TrainConfig
from tests.conftest import make_box

GRID = PRESETS["box6"].with_tile(32)


def test_stretching_scales_axes_and_keeps_normals_upright():
    box = make_box((1.0, 0.5, 0.7))
    slanted = replace(box, vertices=box.vertices @ np.float32([[1, 0, 0], [0.4, 1, 0], [0, 0.2, 1]]))
    slanted = replace(slanted, corner_normal=np.repeat(face_normals(slanted)[:, None], 3, axis=1))
    factors = np.array([1.2, 0.8, 1.0])
    out = stretch(slanted, factors)
    ratio = np.ptp(out.vertices, axis=0) / np.ptp(slanted.vertices, axis=0)
    assert np.allclose(ratio / ratio[2], factors, atol=1e-5)
    assert np.allclose(out.corner_normal[:, 0], face_normals(out), atol=1e-5)
    assert abs(np.linalg.norm(out.vertices, axis=1).max() - 0.5) < 1e-6


def test_variants_are_solids_of_the_same_colour_that_differ():
    glb = glb_bytes(make_box((1.0, 0.5, 0.7)))
    made, seen_deg = make_variants(glb, GRID, 6, seed=3)
    assert len(set(seen_deg)) == 6 and np.abs(seen_deg).max() <= 90
    assert made.shape == (6, len(GRID.cells), 32, 32, 3) and made.min() >= 0 and made.max() <= 1
    assert np.array_equal(made, make_variants(glb, GRID, 6, seed=3)[0])
    assert not np.array_equal(made, make_variants(glb, GRID, 6, seed=4)[0])
    own = make_variants(glb, GRID, 1, seed=3)[0][0, GRID.indices("rgb")[0], 16, 16]
    widths = set()
    for tiles in made:
        seen = coverage(GRID, tiles)
        assert np.array_equal(seen[0], seen[2][:, ::-1]) and np.array_equal(seen[1], seen[3][:, ::-1])
        assert np.allclose(tiles[GRID.indices("rgb")[0], 16, 16], own, atol=0.01)
        assert tiles[GRID.indices("reference_alpha")[0]].max() > 0.9
        rows = np.flatnonzero(seen[0].any(1))
        assert np.array_equal(rows, np.flatnonzero(seen[1].any(1)))  # neighbours are equally tall
        widths.add(int(seen[0].any(0).sum()))
    assert len(widths) > 2 and STRETCH > 1


def test_the_recipe_chooses_what_variants_are_drawn_in():
    """One style alone is that; none is the mix that is drawn without word of it; all show the same things."""
    glb = glb_bytes(make_box((1.0, 0.5, 0.7)))
    reference, alpha = GRID.indices("reference")[0], GRID.indices("reference_alpha")[0]
    mixed, dark = (make_variants(glb, GRID, 4, 3, styles)[0] for styles in ((), ("silhouette",)))
    for one, other in zip(mixed, dark, strict=True):
        inside = other[alpha][..., 0] == 1
        assert len(np.unique(other[reference][inside].round(4), axis=0)) == 1, "one colour"
        assert np.array_equal(one[alpha], other[alpha])
        assert np.array_equal(np.delete(one, [reference], 0), np.delete(other, [reference], 0))
    assert not np.array_equal(mixed[:, reference], dark[:, reference])
    twice = [
        make_variants(glb, GRID, 12, 3, styles)[0] for styles in (("line", "line", "flat"), ("line", "flat"))
    ]
    drawn = [
        sum(
            np.array_equal(a, b)
            for a, b in zip(t, make_variants(glb, GRID, 12, 3, ("line",))[0], strict=True)
        )
        for t in twice
    ]
    assert 12 > drawn[0] > drawn[1] > 0


def test_variants_take_half_of_what_is_seen():
    said, texts = torch.zeros(9, dtype=torch.long), Text(torch.zeros(1, 2, 3))
    slots = ("reference", *["rgb"] * 6)
    rows = Cached(
        [str(i) for i in range(9)], torch.zeros(9, 7, 1, 1, 1), said, texts, 3, slots, torch.zeros(9, 2)
    )
    config = TrainConfig(batch=6)
    seen = [i for step in range(6) for i in make_batch(rows, config, step)["rows"].tolist()]
    assert sorted(i for i in seen if i < 3) == sorted([0, 1, 2] * 6)
    assert sorted(i for i in seen if i >= 3) == sorted([3, 4, 5, 6, 7, 8] * 3)
