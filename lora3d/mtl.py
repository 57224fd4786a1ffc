"""MTL files, the materials of OBJ models.

Kd and Ke are taken as sRGB. Where map_Kd gives a texture, Kd is not multiplied: exporters leave 0.64, 0.8
or 0 there.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lora3d.assets import confined, decode_image, read_file, require_total
from lora3d.camera import Array
from lora3d.mesh import GREY, Material, MeshError, srgb_to_linear

Color = tuple[float, float, float, float]
IMAGES = ("PNG", "JPEG", "WEBP", "TGA", "BMP", "TIFF", "GIF")
# The options of a texture statement, and how many words follow each at most.
MAP_OPTIONS = {
    **{"-blendu": 1, "-blendv": 1, "-boost": 1, "-mm": 2, "-texres": 1, "-clamp": 1, "-bm": 1, "-imfchan": 1},
    **{"-o": 3, "-s": 3, "-t": 3, "-type": 1, "-cc": 1, "-colorspace": 1},
}


@dataclass(frozen=True, eq=False)
class Look:
    """A material, and the scale and offset of the texture coordinates it reads (v up)."""

    material: Material
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class _Source:
    """Where textures come from. ``images`` holds those already read."""

    root: Path
    notes: list[str]
    images: dict[Path, Array | None]


def looks_of(
    names: list[str], libraries: list[str], folder: Path, root: Path, notes: list[str], missing: Color = GREY
) -> list[Look]:
    """A look for each material name; of colour ``missing``, with a note, where no MTL file defines it.

    ``libraries`` are the OBJ's mtllib lines. What is missing or unreadable adds to ``notes``.
    """
    source = _Source(root, notes, {})
    defined: dict[str, tuple[dict[str, str], Path]] = {}
    for line in libraries:
        for path in _libraries(line, folder, root, notes):
            statements = _statements(text_of(read_file(path)))
            defined = {name: (found, path.parent) for name, found in statements.items()} | defined
    unknown = [name for name in names if name and name not in defined]
    if unknown:
        notes.append(f"not defined in any MTL file, so shown in one colour: {', '.join(unknown)[:120]}")
    return [
        _look(name, *defined[name], source) if name in defined else Look(Material(name, missing))
        for name in names
    ]


def text_of(data: bytes) -> str:
    """UTF-8, UTF-16 (told by its mark or its zeros), else Latin-1; continued lines joined."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in data[:64]:
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\\\r\n", " ").replace("\\\n", " ")


def _libraries(name: str, folder: Path, root: Path, notes: list[str]) -> list[Path]:
    """The files of an mtllib line: one name with spaces, or several names."""
    names = [name] if _find(name, folder, root) else re.split(r"(?<!\\)\s+", name)
    found = []
    for one in (each.replace("\\ ", " ") for each in names):
        path = _find(one, folder, root)
        if path is None:
            notes.append(f'the material file "{one[:80]}" is missing')
        else:
            found.append(path)
    return found


def _find(name: str, folder: Path, root: Path) -> Path | None:
    """The file meant by ``name``: as it says, else of that name beside the model; None if neither is."""
    for candidate in (name, name.replace("\\", "/").rstrip("/").rpartition("/")[2]):
        try:
            path = confined(folder, root, candidate)
            if path.is_file():
                return path
        except (MeshError, OSError):
            continue  # outside the folder, or no file name at all: then only the bare name may fit
    return None


def _statements(text: str) -> dict[str, dict[str, str]]:
    """The statements of each material, keys in lower case; the last of a kind counts."""
    materials: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.split("\n"):
        key, _, rest = line.strip().replace("\t", " ").partition(" ")
        if key == "newmtl":
            current = materials.setdefault(rest.strip(), {})
        elif key and not key.startswith("#"):
            current[key.lower()] = rest.strip()
    return materials


def _look(name: str, statements: dict[str, str], folder: Path, source: _Source) -> Look:
    alpha = _numbers(statements.get("d", "").replace("-halo", ""))
    clear = _numbers(statements.get("tr", ""))
    # Tr is 1 − d, but some write Tr 1 for opaque: an invisible surface is never meant.
    opacity = alpha[0] if alpha else 1 - clear[0] if clear else 1.0
    opacity = opacity if 0 < opacity <= 1 else 1.0
    diffuse, glow = _color(statements.get("kd", "")), _color(statements.get("ke", ""))
    material = Material(
        name=name,
        base_color=(*(diffuse or GREY[:3]), opacity),
        emissive=glow or (0.0, 0.0, 0.0),
        alpha_mode="BLEND" if opacity < 1 else "OPAQUE",
    )
    if not statements.get("map_kd"):
        return Look(material)
    file, options = _map(statements["map_kd"])
    image = _texture(file, name, folder, source)
    if image is None:
        return Look(material)
    mask = _map(statements.get("map_d", ""))[0]
    if mask and mask != file:
        source.notes.append(f"the opacity map {mask!r} of material {name!r} is left out")
    material = replace(
        material,
        base_color=(1.0, 1.0, 1.0, opacity),
        texture=image,
        wrap=("clamp", "clamp") if options.get("-clamp") == ["on"] else ("repeat", "repeat"),
        alpha_mode="BLEND" if opacity < 1 or (mask == file and (image[..., 3] < 255).any()) else "OPAQUE",
    )
    scale, offset = (_numbers(" ".join(options.get(key, []))) for key in ("-s", "-o"))
    return Look(material, _pair(scale, 1.0), _pair(offset, 0.0))


def _texture(file: str, name: str, folder: Path, source: _Source) -> Array | None:
    """The image of material ``name``; None, with a note, where it is missing or unreadable."""
    path = _find(file, folder, source.root)
    if path is None:
        source.notes.append(f"the texture {file!r} of material {name!r} is missing")
        return None
    if path not in source.images:
        try:
            source.images[path] = decode_image(read_file(path), IMAGES)
        except MeshError as error:
            source.notes.append(f"the texture {file!r} of material {name!r} is left out: {error}")
            source.images[path] = None
        require_total(source.images.values())
    return source.images[path]


def _map(statement: str) -> tuple[str, dict[str, list[str]]]:
    """A texture statement to its file name, spaces kept, and its options."""
    options: dict[str, list[str]] = {}
    rest = statement
    while rest.startswith("-"):
        key, _, rest = rest.partition(" ")
        if key not in MAP_OPTIONS:
            return statement, {}
        options[key] = []
        for _ in range(MAP_OPTIONS[key]):
            word, space, after = rest.lstrip().partition(" ")
            numeric = key in ("-mm", "-o", "-s", "-t")
            if not space or (numeric and not _numbers(word)):
                break
            options[key].append(word)
            rest = after
        rest = rest.lstrip()
    return rest.strip().strip('"'), options


def _numbers(text: str) -> list[float]:
    """The finite numbers of a statement; none if any word is no number."""
    try:
        values = [float(word) for word in text.partition("#")[0].split()]
    except ValueError:
        return []
    return values if np.isfinite(values).all() else []


def _color(text: str) -> tuple[float, float, float] | None:
    """Kd or Ke to linear rgb; None for what is no colour."""
    values = _numbers(text)
    if len(values) == 1:
        values *= 3
    if len(values) < 3:
        return None
    r, g, b = srgb_to_linear(np.clip(values[:3], 0, 1)).tolist()
    return r, g, b


def _pair(values: list[float], missing: float) -> tuple[float, float]:
    u, v = (values + [missing] * 2)[:2]
    return u, v
