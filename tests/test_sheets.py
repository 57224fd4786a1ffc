"""One-sided sheets are drawn from both sides; what encloses a volume is left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_box

from lora3d.data_prep.sheets import open_parts, show_sheets
from lora3d.grid import PRESETS
from lora3d.mesh import Material, Mesh
from lora3d.render import render

CAMERAS = PRESETS["box6"].cameras("rgb")


def one_sided(mesh: Mesh) -> Mesh:
    return replace(mesh, materials=tuple(replace(m, double_sided=False) for m in mesh.materials))


def make_leaf() -> Mesh:
    """A square in the plane y = 0 that faces the front, in two triangles that share no vertex."""
    corners = 0.3 * np.array([(-1, 0, -1), (1, 0, -1), (1, 0, 1), (-1, 0, -1), (1, 0, 1), (-1, 0, 1)])
    faces = np.arange(6).reshape(2, 3)
    material = Material(base_color=(0.0, 1.0, 0.0, 1.0), double_sided=False)
    return Mesh(corners.astype(np.float32), faces.astype(np.int32), np.zeros(2, np.int32), (material,))


def seen(mesh: Mesh) -> np.ndarray:
    return np.isfinite(render(mesh, CAMERAS, 32, samples=1).depth).any(axis=(1, 2))


def test_a_leaf_is_seen_from_front_and_back_alike():
    leaf = make_leaf()
    assert seen(leaf).tolist() == [True, False, False, False, False, False]
    shown = show_sheets(leaf)
    assert seen(shown)[[0, 2]].all() and "both sides" in shown.notes[-1]


@pytest.mark.parametrize("inverted", [False, True])
def test_a_closed_part_stays_as_it_is_even_inside_out(inverted: bool):
    box = one_sided(make_box())
    if inverted:
        box = replace(box, faces=np.ascontiguousarray(box.faces[:, ::-1]))
    assert not open_parts(box).any()
    assert show_sheets(box) is box


def test_a_box_without_its_lid_is_open_and_a_box_beside_it_is_not():
    box = one_sided(make_box())
    n, v = len(box.faces), len(box.vertices)
    faces = np.concatenate([box.faces[2:], box.faces + v])
    both = Mesh(
        np.concatenate([box.vertices, box.vertices + 3]),
        faces.astype(np.int32),
        np.zeros(2 * n - 2, np.int32),
        box.materials[:1],
    )
    assert open_parts(both).tolist() == [True] * (n - 2) + [False] * n


def test_two_sided_materials_need_nothing():
    leaf = make_leaf()
    both = replace(leaf, materials=tuple(replace(m, double_sided=True) for m in leaf.materials))
    assert show_sheets(both) is both
