"""Without numba the same kernels run as plain Python, and say so."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np

from lora3d.compiled import borrowed, njit

# Read by both: a cube under a lamp with a textured, half transparent face before it; its views; the solid of others.
SCENE = """
import json, sys, warnings
if {blocked}:
    sys.modules["numba"] = None
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import numpy as np
    from lora3d.grid import PRESETS
    from lora3d.lift import solid_field
    from lora3d.lift.views import read_views
    from lora3d.mesh import Material, merge
    from lora3d.render import render, render_tiles
    from tests.toy_scenes import cube, quad
grid = PRESETS["box6"].with_tile(16)
texture = np.random.default_rng(0).integers(0, 256, (4, 4, 4), np.uint8)
pane = quad(-0.3, 0.3, Material(texture=texture, alpha_mode="BLEND"))
mesh = merge([cube(0.3), pane])
views = render(mesh, grid.cameras("rgb")[:2], 16, shading="studio")
field, _ = solid_field(read_views(render_tiles(cube(0.6), grid), grid), 16)
print(json.dumps({{
    "said": [str(w.message) for w in said if "numba" in str(w.message)],
    "views": [a.tolist() for a in (views.rgba, np.nan_to_num(views.depth, posinf=9.0), views.normal)],
    "field": field.tolist(),
}}))
"""


def test_plain_python_draws_and_lifts_what_the_compiled_kernels_do() -> None:
    compiled, plain = (
        json.loads(
            subprocess.run(
                [sys.executable, "-c", SCENE.format(blocked=blocked)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for blocked in (False, True)
    )
    assert not compiled["said"] and "plain Python" in plain["said"][0] and len(plain["said"]) == 1
    for one, other in zip(compiled["views"], plain["views"], strict=True):
        assert np.ptp(one) > 0
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert np.min(compiled["field"]) < 0 < np.max(compiled["field"])
    np.testing.assert_allclose(compiled["field"], plain["field"], atol=1e-6)


@njit
def _sum_of_borrowed(arrays):
    (a, scale), b = borrowed(arrays)
    total = 0.0
    for i in range(len(a)):
        row = a[i]  # a part that outlives no call
        total += scale * row.sum() + b[i]
    return total


def test_borrowed_arrays_are_the_same_and_stay_their_owners() -> None:
    a, b = np.arange(12.0).reshape(4, 3), np.ones(4)
    before = sys.getrefcount(a), sys.getrefcount(b)
    for _ in range(100):
        assert _sum_of_borrowed(((a, 2.0), b)) == 2 * a.sum() + b.sum()
    assert (sys.getrefcount(a), sys.getrefcount(b)) == before
    np.testing.assert_array_equal(a, np.arange(12.0).reshape(4, 3))
