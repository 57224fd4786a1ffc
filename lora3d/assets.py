"""The files that a model names: read within bounds, inside one folder, never from the network."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from PIL import Image

from lora3d.camera import Array
from lora3d.mesh import MeshError

MAX_BYTES = 512 * 2**20
MAX_PIXELS = 8192 * 8192


def read_file(path: Path) -> bytes:
    """The whole file. Raises MeshError for one that is missing, unreadable or larger than MAX_BYTES."""
    try:
        if not path.is_file():
            raise MeshError(f"there is no file {path.name!r}")
        if path.stat().st_size > MAX_BYTES:
            raise MeshError(f"{path.name!r} has more than {MAX_BYTES // 2**20} MiB: reduce it first")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, MeshError):
            raise
        raise MeshError(f"{path.name[:80]!r} cannot be read: {error}") from error


def confined(folder: Path, root: Path, name: str) -> Path:
    """The path that a model in ``folder`` means by ``name``; back-slashes count as slashes.

    Raises MeshError for a network address, an absolute path, or one that leads out of ``root``
    (through a link too).
    """
    shown = name if len(name) <= 80 else name[:77] + "..."
    if "://" in name or name.lower().startswith(("http:", "https:", "file:", "ftp:")):
        raise MeshError(f"the model names {shown!r}; only files beside it are read: put it there")
    try:
        target = (folder / name.replace("\\", "/")).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise MeshError(f"the model names {shown!r}, which is no file name") from error
    if not target.is_relative_to(root.resolve()):
        raise MeshError(f"the model names {shown!r}, which lies outside its folder: put the file beside it")
    return target


def resource(folder: Path | None, root: Path | None, uri: str) -> bytes:
    """What a glTF URI stands for: a ``data:`` URI's own bytes, or a file within ``root``."""
    if uri[:5].lower() == "data:":
        import base64
        import binascii

        head, comma, body = uri.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise MeshError("a data: URI is not base64")
        try:
            return base64.b64decode(body)
        except (binascii.Error, ValueError) as error:
            raise MeshError(f"a data: URI is not base64: {error}") from error
    if folder is None:
        raise MeshError(f"the model names the file {uri[:80]!r}; here it must carry everything in itself")
    return read_file(confined(folder, root or folder, unquote(uri)))


def require_total(images: Iterable[Array | None]) -> None:
    """Raises MeshError where decoded images hold more than 2 · MAX_PIXELS together."""
    if sum(image.size // 4 for image in images if image is not None) > 2 * MAX_PIXELS:
        raise MeshError(
            f"its textures have more than {2 * MAX_PIXELS // 2**20} megapixels: reduce them first"
        )


def to_rgba(image: Image.Image) -> Array:
    """An open picture as (h, w, 4) uint8, sRGB, straight alpha; of grey in 16 bits, the upper eight."""
    if image.mode.startswith("I"):  # pillow would clip them
        grey = np.clip(np.asarray(image, dtype=np.int64) >> 8, 0, 255).astype(np.uint8)
        image = Image.fromarray(grey)
    return np.array(image.convert("RGBA"))


def decode_image(data: bytes, formats: tuple[str, ...] = ("PNG", "JPEG", "WEBP")) -> Array:
    """An image file as (h, w, 4) uint8, sRGB, straight alpha. Raises MeshError, for huge ones too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is below
            opened = Image.open(io.BytesIO(data), formats=formats)
        with opened as image:
            if image.width * image.height > MAX_PIXELS:
                raise MeshError(f"the image has {image.width}×{image.height} pixels, which is too many")
            return to_rgba(image)
    except (OSError, SyntaxError, EOFError, struct.error, IndexError, OverflowError, TypeError) as error:
        raise MeshError(f"it is no readable image ({'/'.join(formats)}): {error}") from error
    except (ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, MeshError):
            raise
        raise MeshError(f"it is no readable image: {error}") from error
