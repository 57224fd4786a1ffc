"""Looks: what counts as the same object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from conftest import make_box

from lora3d.data_prep.shapes import find_duplicates, look_of
from lora3d.mesh import Material, Mesh


def block(letter: np.ndarray) -> Mesh:
    """A box with a letter (8, 8) in ink, a quarter of its front and back wide."""
    picture = np.full((32, 32, 4), (235, 215, 170, 255), np.uint8)
    picture[12:20, 12:20][letter] = (40, 60, 140, 255)
    box = make_box()
    corners = box.vertices[box.faces][..., [0, 2]]
    uv = (corners - corners.min(axis=(0, 1))) / np.ptp(corners, axis=(0, 1))
    return replace(box, materials=(Material(texture=picture, filter="nearest"),), corner_uv=uv)


def test_blocks_that_differ_in_their_letter_are_no_twins() -> None:
    bar, ring = np.zeros((8, 8), bool), np.ones((8, 8), bool)
    bar[:, 3:5] = True
    ring[2:6, 2:6] = False
    looks = {name: look_of(block(letter)) for name, letter in (("i", bar), ("o", ring), ("o again", ring))}
    assert find_duplicates(list(looks), looks.__getitem__) == {"o again": "o"}
