"""glTF 2.0 materials: factors, textures, samplers and texture transforms."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lora3d.assets import decode_image, require_total, resource
from lora3d.camera import Array
from lora3d.gltf_file import GltfFile, extension, get, item, numbers, view_bytes
from lora3d.mesh import Material, MeshError, Wrap, srgb_to_linear

WRAPS: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
NEAREST = 9728


@dataclass(frozen=True, eq=False)
class Surface:
    """A material, the set of texture coordinates it reads, and their transform (2, 3)."""

    material: Material
    texcoord: int = 0
    transform: Array | None = None

    def apply(self, uv: Array) -> Array:
        """Texture coordinates (n, 2) as the image is to be read."""
        if self.transform is None:
            return uv
        return uv @ self.transform[:, :2].T + self.transform[:, 2]


def surface(file: GltfFile, index: int | None) -> Surface:
    """Material ``index`` of the file; None is glTF's default material."""
    if index is None:
        return Surface(Material(double_sided=False, metallic=1.0))
    if index not in file.surfaces:
        file.surfaces[index] = _surface(file, item(file, "materials", index))
    return file.surfaces[index]


def _surface(file: GltfFile, fields: dict[str, Any]) -> Surface:
    white = (1.0, 1.0, 1.0, 1.0)
    glossy = extension(fields, "KHR_materials_pbrSpecularGlossiness")
    pbr = get(fields, "pbrMetallicRoughness", dict, {})
    if glossy is not None:
        factor, info = numbers(glossy, "diffuseFactor", white), get(glossy, "diffuseTexture", dict, None)
    else:
        factor, info = numbers(pbr, "baseColorFactor", white), get(pbr, "baseColorTexture", dict, None)
    if _stores_srgb(file) and factor[:3] != white[:3]:
        factor = (*srgb_to_linear(np.array(factor[:3])).tolist(), factor[3])
        file.notes.append("its exporter (UniGLTF 1.x) stores base colours as sRGB; they are read as such")
    strength = extension(fields, "KHR_materials_emissive_strength") or {}
    power = max(get(strength, "emissiveStrength", float, 1.0), 0.0)
    glow = numbers(fields, "emissiveFactor", (0.0, 0.0, 0.0))
    emissive = tuple(max(x, 0.0) * power for x in glow)
    unlit = extension(fields, "KHR_materials_unlit") is not None
    light = get(fields, "emissiveTexture", dict, None) if any(glow) else None
    if light is not None and info is None and not any(factor[:3]):
        # A black surface with a glowing picture is how some tools write an unlit texture.
        info, factor, unlit, emissive, light = light, (*glow, factor[3]), True, (0.0, 0.0, 0.0), None
    mode = get(fields, "alphaMode", str, "OPAQUE")
    if mode not in ("OPAQUE", "MASK", "BLEND"):
        raise MeshError(f"alphaMode should be OPAQUE, MASK or BLEND, found {mode[:20]!r}")
    material = Material(
        name=get(fields, "name", str, ""),
        base_color=tuple(min(max(x, 0.0), 1.0) for x in factor),  # type: ignore[arg-type]
        alpha_mode=mode,  # type: ignore[arg-type]
        alpha_cutoff=get(fields, "alphaCutoff", float, 0.5),
        double_sided=get(fields, "doubleSided", bool, False),
        emissive=emissive,  # type: ignore[arg-type]
        unlit=unlit,
        metallic=_share(pbr, "metallicFactor") if glossy is None else 0.0,
        roughness=_share(pbr, "roughnessFactor") if glossy is None else 1.0,
    )
    look = Surface(material) if info is None else _textured(file, material, info)
    fine = get(pbr, "metallicRoughnessTexture", dict, None)
    if fine is not None and not unlit and glossy is None:
        look = _mapped(file, look, fine, "metallic_roughness", "metalness")
    if light is not None:
        look = _mapped(file, look, light, "emissive_map", "emission")
        if look.material.emissive_map is None:
            look = replace(look, material=replace(look.material, emissive=(0.0, 0.0, 0.0)))
    return look


def _share(fields: dict[str, Any], key: str) -> float:
    return min(max(get(fields, key, float, 1.0), 0.0), 1.0)


def _stores_srgb(file: GltfFile) -> bool:
    """UniGLTF wrote sRGB into baseColorFactor before UniVRM 0.54 (vrm-c/UniVRM#339); 2.x is right."""
    generator = get(get(file.doc, "asset", dict, {}), "generator", str, "")
    if not re.search(r"UniGLTF(-1\.|$)", generator):
        return False
    vrm = get(extension(file.doc, "VRM") or {}, "exporterVersion", str, "")
    version = re.search(r"UniVRM-0\.(\d+)", vrm)
    return version is None or int(version[1]) < 54


def _textured(file: GltfFile, material: Material, info: dict[str, Any]) -> Surface:
    """The surface with its texture; without it, and with a note, where the image cannot be had."""
    texture = item(file, "textures", get(info, "index", int))
    webp = extension(texture, "EXT_texture_webp") or {}
    source = get(webp, "source", int, get(texture, "source", int, None))
    if source is None:
        file.notes.append(f"a texture of material {material.name!r} has no image of a kind that is read")
        return Surface(material)
    image = _image(file, source)
    if image is None:
        return Surface(material)
    sampler = get(texture, "sampler", int, None)
    fields = {} if sampler is None else item(file, "samplers", sampler)
    wrap = (WRAPS.get(get(fields, "wrapS", int, 10497)), WRAPS.get(get(fields, "wrapT", int, 10497)))
    if wrap[0] is None or wrap[1] is None:
        raise MeshError(f"unknown wrap mode of a texture, expected one of {', '.join(map(str, WRAPS))}")
    filtering: Literal["nearest", "linear"] = (
        "nearest" if get(fields, "magFilter", int, 0) == NEAREST else "linear"
    )
    material = replace(material, texture=image, wrap=(wrap[0], wrap[1]), filter=filtering)
    texcoord = get(info, "texCoord", int, 0)
    moved = extension(info, "KHR_texture_transform")
    if moved is None:
        return Surface(material, texcoord)
    return Surface(material, get(moved, "texCoord", int, texcoord), _transform(moved))


def has_maps(material: Material) -> bool:
    """Whether a material reads texture coordinates."""
    maps = (material.texture, material.metallic_roughness, material.emissive_map)
    return any(map is not None for map in maps)


def without_maps(material: Material) -> Material:
    """It without what reads texture coordinates; of an emission whose picture is gone nothing is left."""
    glow = material.emissive if material.emissive_map is None else (0.0, 0.0, 0.0)
    return replace(material, texture=None, metallic_roughness=None, emissive_map=None, emissive=glow)


def _mapped(file: GltfFile, look: Surface, info: dict[str, Any], field: str, what: str) -> Surface:
    """The look with one texture more, in a field of its material: it must lie as those do that are there."""
    read = _textured(file, replace(look.material, texture=None), info)
    image = read.material.texture
    if image is None:
        return look
    more: dict[str, Any] = {field: image}
    if not has_maps(look.material):
        return replace(read, material=replace(read.material, texture=None, **more))
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    if read.texcoord != look.texcoord or not np.array_equal(read.apply(corners), look.apply(corners)):
        file.notes.append(
            f"the {what} of {look.material.name!r} lies apart from its other textures and is left out"
        )
        return look
    return replace(look, material=replace(look.material, **more))


def _transform(fields: dict[str, Any]) -> Array:
    """KHR_texture_transform as (2, 3): offset · rotation · scale.

    A positive rotation is counter-clockwise as seen with v pointing down; the extension's own listing
    has the other sign (KhronosGroup/glTF#1563), viewers have this one.
    """
    angle = get(fields, "rotation", float, 0.0)
    c, s = math.cos(angle), math.sin(angle)
    matrix = np.empty((2, 3))
    matrix[:, :2] = np.array([[c, s], [-s, c]]) * np.array(numbers(fields, "scale", (1.0, 1.0)))
    matrix[:, 2] = numbers(fields, "offset", (0.0, 0.0))
    return matrix


def _image(file: GltfFile, index: int) -> Array | None:
    """Image ``index`` as (h, w, 4) uint8; None, with a note, where it is missing or unreadable."""
    if index not in file.images:
        fields = item(file, "images", index)
        uri, view = get(fields, "uri", str, None), get(fields, "bufferView", int, None)
        try:
            if uri is not None:
                data = resource(file.folder, file.root, uri)
            elif view is not None:
                data = bytes(view_bytes(file, view))
            else:
                raise MeshError("it has neither a URI nor a buffer view")
            file.images[index] = decode_image(data)
        except MeshError as error:
            file.notes.append(f"image {index} is left out: {error}")
            file.images[index] = None
        require_total(file.images.values())
    return file.images[index]
