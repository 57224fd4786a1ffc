"""What other readers of glTF get wrong without a word: each file must look like its plain twin.

docs/renderer.md lists the faults and where else they are tested.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable

import DracoPy
import numpy as np
import pytest

from lora3d import assets
from lora3d.mesh import Mesh, load_glb_bytes
from lora3d.render import render
from tests.toy_gltf import Builder
from tests.toy_scenes import FRONT

# A square that faces the viewer, a picture upright on it: all of a frame but its edge.
POINTS = np.array([[-0.45, -0.45, 0], [0.45, -0.45, 0], [0.45, 0.45, 0], [-0.45, 0.45, 0]], np.float32)
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.uint16)
UV = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float32)
PICTURE = np.random.default_rng(0).integers(0, 256, (4, 4, 4), dtype=np.uint8)
PICTURE[..., 3] = 255


def seen(mesh: Mesh, shading="unlit") -> np.ndarray:
    return render(mesh, [FRONT], 24, shading=shading).rgba[0]


def painted(points=POINTS, faces=FACES, picture=PICTURE, info=None, **attributes) -> Builder:
    built = Builder(points=points, faces=faces, **{"TEXCOORD_0": UV, **attributes})
    built.texture(picture, **(info or {}))
    return built


def normalised_coordinates() -> tuple[Builder, Builder]:
    return painted(TEXCOORD_0=(UV * 65535).astype(np.uint16)), painted()


def quantised_positions() -> tuple[Builder, Builder]:
    built = painted(points=((POINTS + 0.45) * 1000).round().astype(np.uint16))
    built.node |= {"scale": [0.001] * 3, "translation": [-0.45, -0.45, -0.45]}
    built.doc["extensionsRequired"] = ["KHR_mesh_quantization"]
    return built, painted()


def sparse_positions() -> tuple[Builder, Builder]:
    built = painted()
    fields = built.doc["accessors"][built.primitive["attributes"]["POSITION"]]
    del fields["bufferView"]
    fields["sparse"] = {
        "count": 4,
        "indices": {"bufferView": built.view(np.arange(4, dtype=np.uint8).tobytes()), "componentType": 5121},
        "values": {"bufferView": built.view(POINTS.tobytes())},
    }
    return built, painted()


def fan() -> tuple[Builder, Builder]:
    built = painted(faces=np.arange(4, dtype=np.uint16))
    built.primitive["mode"] = 6
    return built, painted()


def fan_without_indices() -> tuple[Builder, Builder]:
    built = painted(faces=None)
    built.primitive["mode"] = 6
    return built, painted()


def draco() -> tuple[Builder, Builder]:
    built = painted()
    data = DracoPy.encode(
        POINTS,
        faces=FACES.astype(np.uint32),
        tex_coord=UV.astype(np.float64),
        quantization_bits=16,
        preserve_order=True,
    )
    ids = {int(a["attribute_type"]): a["unique_id"] for a in DracoPy.decode(data).attributes}
    packed = {"bufferView": built.view(data), "attributes": {"POSITION": ids[0], "TEXCOORD_0": ids[3]}}
    built.primitive["extensions"] = {"KHR_draco_mesh_compression": packed}
    for name in ("POSITION", "TEXCOORD_0"):
        del built.doc["accessors"][built.primitive["attributes"][name]]["bufferView"]
    del built.doc["accessors"][built.primitive["indices"]]["bufferView"]
    built.doc["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    return built, painted()


def second_coordinates() -> tuple[Builder, Builder]:
    return painted(TEXCOORD_0=UV * 0, TEXCOORD_1=UV, info={"texCoord": 1}), painted()


def moved_texture() -> tuple[Builder, Builder]:
    moved = {"offset": [0.25, 0.5], "rotation": math.pi / 2, "scale": [0.5, 0.5]}
    turned = np.stack([0.5 * UV[:, 1] + 0.25, -0.5 * UV[:, 0] + 0.5], 1).astype(np.float32)
    return painted(info={"extensions": {"KHR_texture_transform": moved}}), painted(TEXCOORD_0=turned)


def sampler(code: int, mode: str) -> Callable[[], tuple[Builder, Builder]]:
    def files() -> tuple[Builder, Builder]:
        built = painted(TEXCOORD_0=UV * 3 - 1)
        laid_out = painted(picture=np.pad(PICTURE, ((4, 4), (4, 4), (0, 0)), mode))  # type: ignore[call-overload]
        for each, wrap in ((built, code), (laid_out, 33071)):
            each.doc["samplers"] = [{"wrapS": wrap, "wrapT": wrap, "magFilter": 9728}]
            each.doc["textures"][0]["sampler"] = 0
        return built, laid_out

    return files


def unlit() -> tuple[Builder, Builder]:
    built, twin = painted(), painted()
    built.doc["materials"][0]["extensions"] = {"KHR_materials_unlit": {}}
    twin.doc["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [0, 0, 0, 1]
    twin.doc["materials"][0] |= {"emissiveFactor": [1, 1, 1], "emissiveTexture": {"index": 0}}
    del twin.doc["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    return built, twin


def strong_emission() -> tuple[Builder, Builder]:
    built, twin = Builder(points=POINTS, faces=FACES), Builder(points=POINTS, faces=FACES)
    strength = {"KHR_materials_emissive_strength": {"emissiveStrength": 4}}
    black = {"baseColorFactor": [0, 0, 0, 1], "metallicFactor": 0}
    built.material(pbrMetallicRoughness=black, emissiveFactor=[0.2, 0.1, 0], extensions=strength)
    twin.material(pbrMetallicRoughness=black, emissiveFactor=[0.8, 0.4, 0])
    return built, twin


def dark_factor() -> tuple[Builder, Builder]:
    """Below a step of 8 bits, and the same as vertex colours, which are linear too."""
    built, twin = (
        Builder(points=POINTS, faces=FACES),
        Builder(points=POINTS, faces=FACES, COLOR_0=np.tile(np.float32([0.0021, 0.0063, 0.25]), (4, 1))),
    )
    built.material(pbrMetallicRoughness={"baseColorFactor": [0.0021, 0.0063, 0.25, 1]})
    return built, twin


def vertex_colours_on_a_material() -> tuple[Builder, Builder]:
    built = painted(COLOR_0=np.full((4, 4), 51, np.uint8))
    twin = painted()
    twin.doc["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [0.2, 0.2, 0.2, 0.2]
    return built, twin


def mirrored_node() -> tuple[Builder, Builder]:
    built, twin = painted(), painted(points=POINTS * np.float32([-1, 1, 1]), faces=FACES[:, ::-1])
    built.node["scale"] = [-1, 1, 1]
    return built, twin


@pytest.mark.parametrize(
    "files",
    [
        normalised_coordinates,
        quantised_positions,
        sparse_positions,
        fan,
        fan_without_indices,
        draco,
        second_coordinates,
        moved_texture,
        pytest.param(sampler(33071, "edge"), id="clamp"),
        pytest.param(sampler(33648, "symmetric"), id="mirror"),
        pytest.param(sampler(10497, "wrap"), id="repeat"),
        unlit,
        strong_emission,
        dark_factor,
        vertex_colours_on_a_material,
        mirrored_node,
    ],
)
@pytest.mark.parametrize("shading", ["unlit", "studio"])
def test_a_trap_looks_like_its_plain_twin(files, shading):
    trap, twin = (load_glb_bytes(built.glb()) for built in files())
    picture = seen(twin, shading)
    assert picture[..., 3].mean() > 0.7 and picture[..., :3].max() > 0.05 and not trap.notes
    np.testing.assert_allclose(seen(trap, shading), picture, atol=2e-3)


def test_without_pillow_nothing_is_read(monkeypatch):
    """An import error is honest; a model without its textures would not be."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    spec = importlib.util.spec_from_file_location("assets_without_pillow", assets.__file__)
    assert spec is not None and spec.loader is not None
    with pytest.raises(ImportError, match="PIL"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
