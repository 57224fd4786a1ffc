"""What real models lift to can be used as it is: closed by position, in few parts, and near what the views can tell."""

from __future__ import annotations

import io

import numpy as np
import pytest
import trimesh

from lora3d.grid import PRESETS
from lora3d.lift import lift
from lora3d.lift.surface import LEAST_PART, is_closed, volume
from lora3d.mesh import Mesh, glb_bytes, load_mesh, normalise
from lora3d.metrics import fscore_chamfer, surface_points
from lora3d.render import render_tiles
from tests.benchmarks.lifts import ART, models, perturb, visible_points, with_channels

GRID = with_channels(PRESETS["zero123plus"].with_tile(64), "rgb", "depth")
FILES = models(1) if ART.is_dir() else []

pytestmark = pytest.mark.skipif(not FILES, reason="../shared/art is absent")


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file.stem)
def model(request) -> tuple[Mesh, np.ndarray]:
    """A real model and its true views."""
    truth = normalise(load_mesh(request.param))
    return truth, render_tiles(truth, GRID)


@pytest.mark.slow
@pytest.mark.parametrize("noisy", [False, True])
def test_every_solid_is_closed_by_position_and_whole(model, noisy):
    """Vertices joined by position, as importers do, still give each edge two faces; no part is a crumb."""
    tiles = perturb(model[1], GRID, seed=0) if noisy else model[1]
    made = lift(tiles, GRID, texture=64)
    _, which = np.unique(made.vertices, axis=0, return_inverse=True)
    assert is_closed(which.ravel()[made.faces]) and volume(made.vertices, made.faces) > 0
    solid = trimesh.Trimesh(made.vertices, made.faces, process=False)
    assert min(abs(part.volume) for part in solid.split()) > 0.9 * LEAST_PART * solid.volume
    theirs = trimesh.load(io.BytesIO(glb_bytes(made)), file_type="glb", force="mesh")
    theirs.merge_vertices(merge_tex=True, merge_norm=True)
    assert theirs.is_watertight and theirs.is_winding_consistent and len(theirs.faces) == len(made.faces)
    assert theirs.volume == pytest.approx(solid.volume, rel=1e-4)


@pytest.mark.slow
def test_the_surface_is_what_the_views_can_tell(model):
    """At least 0.9 of what the pixels' own points score, and no less than what silhouettes alone give."""
    truth, tiles = model
    surface = surface_points(truth, seed=1, outside=True)
    bound = fscore_chamfer(visible_points(truth, GRID), surface)[0]
    fused, hull = (
        fscore_chamfer(lift(tiles, GRID, method=m, texture=16), surface)[0] for m in ("fuse", "hull")
    )
    assert fused > 0.9 * bound and fused >= hull
