"""The drawing: read a picture, find its object, and frame it as every reference is framed."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from lora3d.assets import to_rgba
from lora3d.camera import Array, Camera, projection
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, unpack
from lora3d.matting import cut_out

MAX_PIXELS, MAX_SIDE = 64_000_000, 32_768
FORMATS = ("PNG", "JPEG", "WEBP")
# A drawing may say where it was seen from: file@AZ or file@AZ,EL, in degrees.
PLACE = re.compile(r"(?P<file>.+?)@(?P<az>[-+]?\d+(?:\.\d+)?)(?:,(?P<el>[-+]?\d+(?:\.\d+)?))?")
COVERED = 0.05  # an alpha above this counts as drawn
CLEAR = 0.5  # one below this as a hole, where a picture is taken as a whole
# Alpha tells the object where this share of the picture or of its border is less opaque than that: a tile with
# rounded corners has 7 % of its border, a page on a screen less, a layer at 98 % none.
CUT_OUT, OPAQUE = 0.06, 0.9


def read_drawing(source: str | Path | IO[bytes], matting: str | None = None) -> Array:
    """A picture file to (h, w, 4) float32 sRGB with straight alpha, its background made transparent.

    Where the file is hardly transparent, the plain colour of its border is taken as paper: what is connected
    to the border and within a small distance of that colour becomes transparent. White inside an outline
    stays. A picture is turned as its EXIF data says. ``matting`` names a model that tells the object instead,
    for photographs: see `lora3d.matting.cut_out`. Raises InputError for a file that is no picture, is too large,
    or shows no object.
    """
    rgba = _read_picture(source)
    if not _is_cut_out(rgba):
        rgba = remove_paper(rgba) if matting is None else cut_out(rgba, matting)
    if not (rgba[..., 3] > COVERED).any():
        name = getattr(source, "name", source)
        raise InputError(f"{name}: found no object, only background; draw on transparent or plain paper")
    return rgba


def split_viewpoint(entry: str | Path) -> tuple[Path, tuple[float, float] | None]:
    """A drawing's path, and azimuth and elevation in degrees that ``path@AZ,EL`` or a file's own name states.

    Raises InputError where the elevation is missing behind a path.
    """
    path = Path(entry)
    place = PLACE.fullmatch(path.stem if path.exists() else str(entry))
    if not path.exists() and place:
        path = Path(place["file"])
        if place["el"] is None:
            raise InputError(
                f"{entry}: say the elevation too, as in {path.name}@{place['az']},20 (quoted where commas separate)"
            )
    return path, (float(place["az"]), float(place["el"])) if place and place["el"] else None


def _read_picture(source: str | Path | IO[bytes]) -> Array:
    """A picture file as viewers show it, (h, w, 4) float32 sRGB in [0, 1]. Raises InputError, for huge ones too."""
    name = getattr(source, "name", source)
    try:
        with Image.open(source, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
                raise InputError(
                    f"{name}: {image.width}×{image.height} px is too large; at most 64 megapixels, "
                    f"{MAX_SIDE} px a side"
                )
            return _turned(to_rgba(image), _orientation(image)).astype(np.float32, order="C") / 255
    except FileNotFoundError as error:
        raise InputError(f"{name}: there is no such file") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name}: expected a PNG, JPEG or WebP picture; {error}") from error


def _orientation(image: Image.Image) -> int:
    """How a decoded picture is to be turned, 1 to 8 (EXIF 2.3, section 4.6.4 A); 1, as it is, where EXIF is damaged."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, SyntaxError, struct.error, IndexError, OverflowError, TypeError, ValueError):
        return 1  # as viewers do


def _turned(picture: Array, orientation: int) -> Array:
    """A picture (h, w, ...) upright; (w, h, ...) where its orientation is 5 to 8."""
    if orientation in (5, 6, 7, 8):
        picture = picture.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return picture[::-1] if orientation in (3, 4, 7, 8) else picture


def _border(picture: Array) -> Array:
    """The outermost pixels of a picture (h, w, ...), side by side."""
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])


def _is_cut_out(rgba: Array) -> bool:
    """Whether the alpha of a picture (h, w, 4) tells its object: rounded corners and a faint opacity do not."""
    seen_through = rgba[..., 3] < OPAQUE
    return bool(max(seen_through.mean(), _border(seen_through).mean()) >= CUT_OUT)


def remove_paper(rgba: Array, tolerance: float = 0.06) -> Array:
    """Makes the border-connected region of the border's median colour transparent; (h, w, 4) float32.

    The edge stays anti-aliased: a pixel beside the paper is as opaque as it differs from it. What was clear stays so.
    """
    from scipy import ndimage  # a fifth of a second, which a picture that is cut out need not wait for

    clear = rgba[..., 3] < CLEAR
    paper = np.median(_border(rgba)[~_border(clear), :3], axis=0)
    distance = np.abs(rgba[..., :3] - paper).max(axis=-1)
    labels, _ = ndimage.label((distance <= tolerance) | clear)
    edge = np.unique(_border(labels))
    outside = np.isin(labels, edge[edge > 0]) | clear
    rim = ndimage.binary_dilation(outside, iterations=1) & ~outside
    alpha = np.where(outside, 0.0, 1.0)
    alpha[rim] = np.clip(distance[rim] / 0.5, 0.2, 1.0)
    result = rgba.copy()
    result[..., 3] = alpha
    # Undo the mixing with paper at the rim, so that no halo of paper colour is carried along.
    share = alpha[rim, None]
    result[rim, :3] = np.clip((rgba[rim, :3] - paper * (1 - share)) / share, 0, 1)
    return result


def fit_reference(grid: ViewGrid, rgba: Array) -> tuple[Array, Array]:
    """Frames a drawing (h, w, 4) as the grid's reference.

    The drawn object's longer side fills `grid.reference_fit` of the tile and its box is centred; colours
    are averaged premultiplied. Returns the tile (t, t, 3) over the background and its coverage (t, t),
    float32. Raises InputError where nothing is drawn.
    """
    x0, y0, x1, y1 = drawn_box(rgba)
    crop = rgba[y0:y1, x0:x1]
    return resample(
        grid, crop, (crop.shape[1] / 2, crop.shape[0] / 2), max(crop.shape[:2]) / grid.reference_fit
    )


def drawn_box(rgba: Array) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of what a picture (h, w, 4) shows. Raises InputError where that is nothing."""
    covered = rgba[..., 3] > COVERED
    if not covered.any():
        raise InputError("the drawing shows no object: every pixel is background")
    ys, xs = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


def frame_projection(grid: ViewGrid, rgba: Array, camera: Camera) -> Array:
    """How the camera that saw a square picture (s, s, 4) projects to the tile that `fit_reference` makes of it.

    A homogeneous matrix (3, 4) float64 like `lora3d.camera.projection`: world points to (x, y) in [0, 1].
    """
    x0, y0, x1, y1 = drawn_box(rgba)
    size, side = len(rgba), max(x1 - x0, y1 - y0) / grid.reference_fit
    zoom = size / side
    moved = np.array(
        [[zoom, 0, 0.5 - (x0 + x1) / 2 / side], [0, zoom, 0.5 - (y0 + y1) / 2 / side], [0, 0, 1]]
    )
    return moved @ projection(camera)


def resample(grid: ViewGrid, rgba: Array, centre: tuple[float, float], side: float) -> tuple[Array, Array]:
    """The square of ``side`` pixels about ``centre`` (x, y) of a picture (h, w, 4) as a tile; see `fit_reference`.

    What lies beyond the picture is transparent.
    """
    # One affine resampling of a square, so that framing is sub-pixel exact and never stretches.
    frame = (centre[0] - side / 2, centre[1] - side / 2)
    beyond = max(-frame[0], -frame[1], frame[0] + side - rgba.shape[1], frame[1] + side - rgba.shape[0], 0.0)
    # As far as the frame and the filter's support reach beyond the picture.
    pad = int(np.ceil(beyond + 2 * side / grid.tile)) + 2
    left, top, right, bottom = frame[0] + pad, frame[1] + pad, frame[0] + side + pad, frame[1] + side + pad
    height, width = rgba.shape[:2]
    planes = []
    for c in range(4):
        plane = np.zeros((height, width + 2 * pad), np.float32)
        np.multiply(
            rgba[..., c], rgba[..., 3] if c < 3 else 1, out=plane[:, pad : pad + width], casting="same_kind"
        )
        # Columns first, so that a sword's square, mostly padding, is never held.
        plane = np.pad(_resized(plane, (grid.tile, height), (left, 0, right, height)), ((pad, pad), (0, 0)))
        planes.append(_resized(plane, (grid.tile, grid.tile), (0, top, grid.tile, bottom)).clip(0, 1))
    alpha = planes[3]
    rgb = [
        plane + np.float32(level) * (1 - alpha) for plane, level in zip(planes, grid.background, strict=False)
    ]
    return np.stack(rgb, axis=-1).clip(0, 1), alpha


def _resized(plane: Array, size: tuple[int, int], box: tuple[float, float, float, float]) -> Array:
    """The box (left, top, right, bottom) of a plane (h, w) float32 at another size (width, height)."""
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.HAMMING, box=box))


def read_tiles(path: Path, grid: ViewGrid, matting: str | None = None) -> tuple[Array, ViewGrid]:
    """A grid picture to its tiles (cells, t, t, 3) float32 in [0, 1], and the grid at the picture's resolution.

    What is transparent becomes background: in views the grid's own colour, or where the object has that colour
    too, one that it does not have. ``matting`` names a model that makes the background of opaque views
    transparent: see `lora3d.matting.cut_out`.

    Raises InputError for a picture that is not rows × columns of square tiles.
    """
    canvas = _read_picture(path)
    height, width = canvas.shape[:2]
    tile, rest = divmod(width, grid.columns)
    if rest or height != tile * grid.rows or tile < 8:
        raise InputError(
            f"{path} is {width}×{height} px; grid {grid.name!r} needs {grid.columns}×{grid.rows} square "
            f"tiles, for example {grid.size[0]}×{grid.size[1]}"
        )
    sized = grid.with_tile(tile)
    tiles = unpack(sized, canvas)
    ground = np.zeros((len(tiles), 1, 1, 3), np.float32)
    ground[[*grid.indices("reference")]] = grid.background
    views = list(grid.indices("rgb"))
    if matting is not None and views and not any(_is_cut_out(tiles[i]) for i in views):
        for i in views:
            tiles[i] = cut_out(tiles[i], matting)
    # Not mixed at the outline: a mixture with a colour chosen to differ would be baked into the texture.
    shown = tiles[views][..., 3:] >= CLEAR
    ground[views] = _free_colour(tiles[views][shown[..., 0], :3], grid.background)
    tiles[views, ..., 3:] = shown
    return tiles[..., :3] * tiles[..., 3:] + ground * (1 - tiles[..., 3:]), sized


def _free_colour(colours: Array, wanted: tuple[float, float, float]) -> Array:
    """``wanted`` unless one of ``colours`` (n, 3) is like it; then the colour (3,) farthest from all of them."""
    steps = np.linspace(0, 1, 5, dtype=np.float32)
    choice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    choice = np.concatenate([np.array([wanted], np.float32), choice])
    some = np.unique((colours * 15 + 0.5).astype(np.uint8), axis=0).astype(np.float32) / 15
    if not len(some):
        return choice[0]
    free = np.abs(choice[:, None] - some).max(axis=-1).min(axis=1)
    return choice[0] if free[0] > 0.15 else choice[free.argmax()]
