"""Metal and polish under the studio's light, in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lora3d.camera import orbit, rays
from lora3d.light import FILL, GROUND, KEY
from lora3d.mesh import Material, load_glb_bytes
from lora3d.render import render
from tests.test_gltf_traps import UV, painted
from tests.toy_scenes import FRONT, LENS, image, mesh_of, quad, sphere, srgb

BELOW = orbit(0, -90, 1, ortho_scale=1.0)


def lit(mesh, camera=FRONT, size=4):
    return render(mesh, [camera], size, shading="studio").rgba[0]


def test_a_rough_non_metal_is_lit_evenly() -> None:
    """The closed form of the look that `mini` learnt: 0.55 and 0.25 of two lamps, a sky of 0.25 to 0.45."""
    front = 0.55 * 0.64 + 0.35
    for base in (0.0, 0.01, 0.5, 1.0):
        rgba = lit(quad(material=Material(base_color=(base, base, base, 1))))
        np.testing.assert_allclose(rgba[..., :3], srgb(base * front), atol=1e-4)


@pytest.mark.parametrize("roughness", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("metallic", [0.0, 0.4, 1.0])
def test_white_sends_back_all_that_comes(metallic: float, roughness: float) -> None:
    """Seen from below, where no lamp reaches, the world is one radiance: that of the ground."""
    assert KEY[2] > 0 and FILL[2] > 0
    ceiling = mesh_of([(-1, -1, 0), (1, -1, 0), (1, 1, 0), (-1, 1, 0)], [(0, 2, 1), (0, 3, 2)])
    white = Material(metallic=metallic, roughness=roughness)
    rgba = lit(replace(ceiling, materials=(white,)), BELOW)
    np.testing.assert_allclose(rgba[..., :3], srgb(GROUND), atol=1e-4)


def test_the_highlight_lies_between_the_lamp_and_the_viewer() -> None:
    brightest = []
    for roughness in (0.2, 0.5):
        ball = replace(sphere(0.4), materials=(Material(base_color=(0, 0, 0, 1), roughness=roughness),))
        views = render(ball, [LENS], 128, shading="studio")
        shine = views.rgba[0, ..., 0] * (views.rgba[0, ..., 3] == 1)
        peak = np.unravel_index(shine.argmax(), shine.shape)
        toward = -rays(LENS, 128)[1][peak]
        half = toward / np.linalg.norm(toward) + KEY
        assert views.normal[0][peak] @ half / np.linalg.norm(half) > np.cos(np.radians(4))
        brightest.append(shine.max())
    assert brightest[0] > 1.5 * brightest[1] > 0.1  # the duller, the wider and the fainter


def test_metal_colours_what_it_reflects_and_polish_on_paint_does_not() -> None:
    red = (0.5, 0.0, 0.0, 1.0)
    camera = orbit(*np.degrees([np.arctan2(KEY[0], -KEY[1]), np.arcsin(KEY[2])]), 1, ortho_scale=1.0)
    for metallic in (0, 1):
        ball = replace(sphere(0.4), materials=(Material(base_color=red, metallic=metallic, roughness=0.5),))
        centre = lit(ball, camera, 33)[16, 16]
        assert centre[0] > 0.5 and (centre[1] > 0.1) == (metallic == 0)


def test_a_texture_of_metalness_is_green_for_roughness_and_blue_for_metal() -> None:
    halves = image([[(7, 51, 255), (9, 255, 0)]])
    for factors in ((1.0, 1.0), (0.5, 0.25)):
        metallic, roughness = factors
        textured = Material(
            base_color=(0.5, 0.3, 0.1, 1),
            filter="nearest",
            metallic=metallic,
            roughness=roughness,
            metallic_roughness=halves,
        )
        shown = lit(quad(material=textured))
        plain = replace(textured, metallic_roughness=None)
        left = lit(quad(material=replace(plain, roughness=roughness * 0.2)))
        right = lit(quad(material=replace(plain, metallic=0.0)))
        np.testing.assert_allclose(shown[:, :2], left[:, :2], atol=1e-4)
        np.testing.assert_allclose(shown[:, 2:], right[:, 2:], atol=1e-4)
        assert np.abs(left - right).max() > 0.02
    flat = render(quad(material=textured), [FRONT], 4).rgba
    np.testing.assert_array_equal(
        flat, render(quad(material=Material(base_color=(0.5, 0.3, 0.1, 1))), [FRONT], 4).rgba
    )


def test_gltf_says_what_is_metal() -> None:
    built = painted()
    fields = built.doc["materials"][0]["pbrMetallicRoughness"]
    material = load_glb_bytes(built.glb()).materials[0]
    assert (material.metallic, material.roughness, material.metallic_roughness) == (
        1,
        1,
        None,
    )  # its defaults
    fields |= {"metallicFactor": 0.25, "roughnessFactor": 0.5, "metallicRoughnessTexture": {"index": 0}}
    material = load_glb_bytes(built.glb()).materials[0]
    assert (material.metallic, material.roughness) == (0.25, 0.5)
    assert material.metallic_roughness is material.texture
    # Without a texture of colours its own coordinates count; apart from one, it cannot be drawn.
    moved = {"index": 0, "extensions": {"KHR_texture_transform": {"offset": [0.5, 0]}}}
    fields["metallicRoughnessTexture"] = moved
    mesh = load_glb_bytes(built.glb())
    assert mesh.materials[0].metallic_roughness is None and "lies apart" in mesh.notes[0]
    del fields["baseColorTexture"]
    mesh = load_glb_bytes(built.glb())
    assert mesh.materials[0].texture is None and mesh.materials[0].metallic_roughness is not None
    assert mesh.corner_uv is not None and np.allclose(mesh.corner_uv[0, 0], UV[0] + [0.5, 0])
    # Every shape of default is bright: no pack turns black for what its exporter left out.
    white = {"pbrMetallicRoughness": {}}
    for material_fields in ({}, white):
        built.doc["materials"] = [material_fields]
        assert lit(load_glb_bytes(built.glb()), size=9)[4, 4, :3].min() > 0.7
