"""A stack of pictures (CT, MRI, plans by floor) to one closed, textured surface."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError
from scipy import ndimage
from skimage.filters import threshold_otsu

from lora3d.camera import Array
from lora3d.errors import InputError
from lora3d.lift.surface import clear, extract
from lora3d.lift.texture import paint
from lora3d.mesh import Mesh

MAX_VOXELS = 512**3
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")


def read_slices(path: Path) -> Array:
    """A folder of pictures in the order of their names, or one of several pages (TIFF): (d, h, w, 4) uint8.

    Raises InputError for fewer than two, for sizes that differ, for too many pixels, and for files that
    are no pictures.
    """
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in PICTURES) if path.is_dir() else [path]
    pages: list[Array] = []
    for file in files:
        try:
            with Image.open(file, formats=("PNG", "JPEG", "WEBP", "BMP", "TIFF")) as image:
                for page in ImageSequence.Iterator(image):
                    if page.width * page.height * (len(pages) + 1) > MAX_VOXELS:
                        raise InputError(
                            f"{path}: the stack is too large; at most {MAX_VOXELS} pixels in all"
                        )
                    pages.append(np.asarray(_grey(page).convert("RGBA")))
        except FileNotFoundError as error:
            raise InputError(f"{file}: there is no such file or folder") from error
        except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise InputError(f"{file}: expected pictures; {error}") from error
    sizes = sorted({page.shape[1::-1] for page in pages})
    if len(pages) < 2 or len(sizes) > 1:
        found = f"{len(pages)} pictures" + (f" of sizes {sizes[0]} and {sizes[-1]}" if len(sizes) > 1 else "")
        raise InputError(f"{path}: a stack is at least two pictures of one size, found {found}")
    return np.stack(pages)


def _grey(page: Image.Image) -> Image.Image:
    """16-bit scans to 8 bits by their own range; pillow would clip them."""
    if not page.mode.startswith(("I", "F")):
        return page
    values = np.asarray(page, dtype=np.float64)
    return Image.fromarray((255 * (values / max(values.max(), 1e-9)).clip(0, 1)).astype(np.uint8))


def lift_slices(
    stack: Array,
    *,
    thickness: float = 1.0,
    level: float | None = None,
    resolution: int = 128,
    faces: int = 20_000,
    texture: int = 512,
) -> Mesh:
    """The surface around what is bright in a stack, or opaque where pictures have transparency.

    The first picture is the lowest; its upper edge lies to the back (+Y), its right edge at +X. The mesh is
    centred, its farthest corner of the stack at 0.5.

    Args:
        stack: (d, h, w, 4) uint8, from `read_slices`.
        thickness: the distance between pictures, in pixels.
        level: brightness or opacity in [0, 1] from which there is something; by default midway between the
            two kinds that Otsu's method (1979) tells apart.
        resolution: voxels along the cube's side, 16 to 512.

    Raises InputError where nothing tells the object from its surroundings, and for numbers out of range.
    """
    if not (math.isfinite(thickness) and thickness > 0):
        raise InputError(f"the slices' thickness is a positive number of pixels, found {thickness}")
    if not 16 <= resolution <= 512:
        raise InputError(f"a lift's resolution is 16 to 512 voxels, found {resolution}")
    value = _density(stack)
    level = _checked_level(value, level)
    size = np.array([stack.shape[2], stack.shape[1], stack.shape[0] * thickness])
    half = 0.5
    pixel = 2 * half / float(np.linalg.norm(size))
    step = 2 * half / (resolution - 1)

    def sampled(volume: Array, points: Array) -> Array:
        """A volume (d, h, w) at points (..., 3), linear; 0 beyond the stack."""
        x, y, z = np.moveaxis(points, -1, 0) / pixel
        at = [(z + size[2] / 2) / thickness - 0.5, size[1] / 2 - y - 0.5, x + size[0] / 2 - 0.5]
        return ndimage.map_coordinates(volume, at, order=1, mode="constant")

    axis = np.linspace(-half, half, resolution)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    # Blurred as far as a voxel is coarser than a pixel, so that nothing is skipped.
    coarse = [max(step / pixel / scale, 1.0) for scale in (thickness, 1.0, 1.0)]
    soft = ndimage.gaussian_filter(value, [0.5 * math.sqrt(c**2 - 1) for c in coarse])
    # The margin closes what the stack's borders cut off.
    field = (level - sampled(soft, points)) * step
    vertices, triangles = extract(clear(field, 1e-4), half, faces)
    # Dark surroundings, which a pixel at the edge is mixed with, take the colour of what they surround.
    nearest = tuple(
        ndimage.distance_transform_edt(value <= level, return_distances=False, return_indices=True)
    )
    planes = [stack[..., c][nearest].astype(np.float32) / 255 for c in range(3)]

    def colours(at: Array, normals: Array) -> Array:
        inside = at - normals * max(step, pixel)
        return np.stack([sampled(plane, inside) for plane in planes], axis=-1)

    return paint(vertices, triangles, colours, texture, unlit=False)


def _checked_level(value: Array, level: float | None) -> float:
    """The level as asked or found; InputError where it parts nothing."""
    if float(np.ptp(value)) < 1 / 255:
        raise InputError(
            "the slices are all of one brightness: nothing tells the object from its surroundings"
        )
    level = _between(value) if level is None else level
    if not value.min() < level < value.max():
        raise InputError(f"the level must lie between {value.min():.2f} and {value.max():.2f}, found {level}")
    return level


def _between(value: Array) -> float:
    """Midway between the two kinds of voxel that Otsu's threshold (1979) tells apart: where a blurred edge runs."""
    bright = value > threshold_otsu(value)
    return float(value[bright].mean() + value[~bright].mean()) / 2


def _density(stack: Array) -> Array:
    """(d, h, w) float32 in [0, 1]: opacity, or brightness (Rec. 709) where everything is opaque."""
    if stack[..., 3].min() < 255:
        return stack[..., 3].astype(np.float32) / 255
    return (stack[..., :3] @ np.array([0.2126, 0.7152, 0.0722], np.float32)) / 255
