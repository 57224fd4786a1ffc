"""A stack of pictures gives the solid back that was cut into them: its volume, its place, its handedness."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lora3d.errors import InputError
from lora3d.lift.slices import lift_slices, read_slices
from lora3d.lift.surface import is_closed, volume


def stack_of(inside: np.ndarray, colour=(255, 200, 40)) -> np.ndarray:
    """(d, h, w) bool to pictures of this colour on black."""
    stack = np.zeros((*inside.shape, 4), np.uint8)
    stack[..., 3] = 255
    stack[inside, :3] = colour
    return stack


def test_a_ball_keeps_its_volume_whatever_the_thickness():
    """Closed form: a ball of radius r pixels in a stack whose diagonal is 1."""
    r = 18.0
    for thickness in (1.0, 3.0):
        d = round(48 / thickness)
        z, y, x = np.mgrid[:d, :48, :48]
        z = (z + 0.5) * thickness - 24
        inside = (x - 23.5) ** 2 + (y - 23.5) ** 2 + z**2 < r**2
        mesh = lift_slices(stack_of(inside), thickness=thickness, resolution=96, texture=64)
        scale = 1 / np.linalg.norm([48, 48, d * thickness])
        assert is_closed(mesh.faces)
        assert volume(mesh.vertices, mesh.faces) == pytest.approx(4 / 3 * np.pi * (r * scale) ** 3, rel=0.05)
        extent = mesh.vertices.max(0) - mesh.vertices.min(0)
        assert np.allclose(extent, 2 * r * scale, atol=3 * scale * thickness)


def test_the_first_picture_is_lowest_and_its_upper_edge_at_the_back():
    inside = np.zeros((20, 30, 40), bool)
    inside[2:6, 3:9, 25:38] = True  # low, at the back, to the right
    mesh = lift_slices(stack_of(inside), texture=64)
    middle = (mesh.vertices.max(0) + mesh.vertices.min(0)) / 2
    scale = 1 / np.linalg.norm([40, 30, 20])
    assert np.allclose(middle, np.array([31.5 - 20, 15 - 6, 4 - 10]) * scale, atol=0.5 * scale)
    texture = mesh.materials[0].texture[..., :3].astype(int)
    assert np.abs(np.median(texture.reshape(-1, 3), axis=0) - (255, 200, 40)).max() <= 2


def test_stacks_are_read_from_folders_and_pages(tmp_path):
    rng = np.random.default_rng(0)
    pages = rng.integers(0, 256, (3, 8, 10), dtype=np.uint8)
    for i, page in enumerate(pages):
        Image.fromarray(page).save(tmp_path / f"{i}.png")
    images = [Image.fromarray(page) for page in pages]
    images[0].save(tmp_path / "all.tif", save_all=True, append_images=images[1:])
    (tmp_path / "folder").mkdir()
    for i in range(3):
        (tmp_path / f"{i}.png").rename(tmp_path / "folder" / f"{i}.png")
    for source in (tmp_path / "folder", tmp_path / "all.tif"):
        stack = read_slices(source)
        assert np.array_equal(stack[..., 0], pages) and stack.shape == (3, 8, 10, 4)


def test_what_is_no_stack_is_refused(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="at least two pictures"):
        read_slices(tmp_path)
    Image.new("L", (9, 8)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"\(8, 8\) and \(9, 8\)"):
        read_slices(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_slices(tmp_path / "none")
    with pytest.raises(InputError, match="one brightness"):
        lift_slices(np.full((3, 8, 8, 4), 255, np.uint8))
    with pytest.raises(InputError, match="positive number"):
        lift_slices(np.full((3, 8, 8, 4), 255, np.uint8), thickness=0)
