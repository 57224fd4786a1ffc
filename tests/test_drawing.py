"""Reading and framing drawings."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from lora3d.drawing import fit_reference, read_drawing
from lora3d.errors import InputError
from lora3d.grid import PRESETS

GRID = PRESETS["box6"]


def disc(
    size: int, radius: float, colour: tuple[int, int, int], *, centre: tuple[float, float] | None = None
) -> np.ndarray:
    y, x = np.mgrid[:size, :size] + 0.5
    cx, cy = centre or (size / 2, size / 2)
    alpha = np.clip(radius - np.hypot(x - cx, y - cy) + 0.5, 0, 1)
    return np.dstack([np.full((size, size, 3), colour, np.float32) / 255, alpha]).astype(np.float32)


def png(rgba: np.ndarray, *, paper: tuple[int, int, int] | None = None) -> io.BytesIO:
    picture = Image.fromarray((rgba * 255 + 0.5).astype(np.uint8))
    if paper is not None:
        page = Image.new("RGBA", picture.size, (*paper, 255))
        page.alpha_composite(picture)
        picture = page.convert("RGB")
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    stream.seek(0)
    return stream


@pytest.mark.parametrize("centre", [(60, 60), (45, 80), (100, 50)])
@pytest.mark.parametrize("radius", [15, 30, 41])
def test_the_longer_side_fills_its_share_and_the_object_is_centred(radius, centre):
    rgb, alpha = fit_reference(GRID, disc(160, radius, (200, 30, 30), centre=centre))
    assert rgb.shape == (64, 64, 3) and alpha.shape == (64, 64) and rgb.dtype == np.float32
    covered = np.flatnonzero(alpha.sum(0) > 0.5)
    assert covered[-1] - covered[0] + 1 == pytest.approx(0.9 * 64, abs=2.5)
    assert alpha.sum() == pytest.approx(np.pi * (0.45 * 64) ** 2, rel=0.05)
    rows, columns = np.mgrid[:64, :64] + 0.5
    assert (alpha * columns).sum() / alpha.sum() == pytest.approx(32, abs=0.5)
    assert (alpha * rows).sum() / alpha.sum() == pytest.approx(32, abs=0.5)


def test_framing_does_not_depend_on_the_size_of_the_picture():
    small = fit_reference(GRID, disc(200, 60, (10, 200, 30)))
    large = fit_reference(GRID, disc(800, 240, (10, 200, 30)))
    assert np.abs(small[0] - large[0]).mean() < 0.01


def test_a_tall_object_is_not_stretched():
    picture = np.zeros((100, 100, 4), np.float32)
    picture[10:90, 40:60] = 1
    _, alpha = fit_reference(GRID, picture)
    assert alpha.sum(0).max() / alpha.sum(1).max() == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("paper", [(255, 255, 255), (30, 60, 120), (128, 128, 128)])
def test_plain_paper_is_removed_and_white_inside_stays(paper):
    ring = disc(120, 40, (200, 0, 0))
    inside = disc(120, 20, paper)[..., 3:]
    ring[..., :3] = ring[..., :3] * (1 - inside) + np.array(paper) / 255 * inside
    rgba = read_drawing(png(ring, paper=paper))
    assert rgba[60, 60, 3] == 1, "the middle, of the paper's colour, belongs to the object"
    assert rgba[5, 5, 3] == 0
    assert (rgba[..., 3] > 0.5).sum() == pytest.approx(np.pi * 40**2, rel=0.05)


def test_a_drawing_on_paper_is_framed_like_the_same_drawing_without():
    with_alpha = fit_reference(GRID, read_drawing(png(disc(200, 70, (180, 40, 20)))))
    on_paper = fit_reference(GRID, read_drawing(png(disc(200, 70, (180, 40, 20)), paper=(255, 255, 255))))
    assert np.abs(with_alpha[0] - on_paper[0]).mean() < 0.02


def test_pictures_without_an_object_are_refused(tmp_path):
    with pytest.raises(InputError, match="no object"):
        read_drawing(png(np.zeros((20, 20, 4), np.float32)))
    with pytest.raises(InputError, match="no object"):
        read_drawing(png(np.zeros((20, 20, 4), np.float32), paper=(255, 255, 255)))
    with pytest.raises(InputError, match="no object"):
        fit_reference(GRID, np.zeros((8, 8, 4), np.float32))


def test_files_that_are_no_pictures_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_drawing(tmp_path / "absent.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InputError, match="expected a PNG"):
        read_drawing(tmp_path / "text.png")
    broken = png(disc(50, 20, (1, 2, 3))).getvalue()
    (tmp_path / "cut.png").write_bytes(broken[: len(broken) // 2])
    with pytest.raises(InputError, match=r"cut\.png"):
        read_drawing(tmp_path / "cut.png")


def square(mode: str, paper: object, ink: object) -> Image.Image:
    """A square of ink, 20 to 60 across and 30 to 40 down, on 100 × 80 of paper."""
    picture = Image.new(mode, (100, 80), paper)
    picture.paste(ink, (20, 30, 60, 40))
    return picture


def saved(picture: Image.Image, kind: str = "PNG", **how: object) -> io.BytesIO:
    stream = io.BytesIO()
    picture.save(stream, kind, **how)
    stream.seek(0)
    return stream


def test_a_picture_is_turned_as_viewers_turn_it():
    picture = square("RGB", "white", "red")
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        turned = ImageOps.exif_transpose(Image.open(saved(picture, exif=exif)))
        assert np.array_equal(read_drawing(saved(picture, exif=exif)), read_drawing(saved(turned)))
    # Damaged EXIF turns nothing.
    for damaged in (b"Exif\0\0nothing", exif.tobytes()[:12]):
        assert np.array_equal(read_drawing(saved(picture, exif=damaged)), read_drawing(saved(picture)))


def test_grey_in_sixteen_bits_keeps_its_tones():
    grey = np.full((80, 100), 60000, np.uint16)
    grey[30:40, 20:60] = 20000
    rgba = read_drawing(saved(Image.fromarray(grey)))
    assert rgba[35, 40] == pytest.approx([20000 // 256 / 255] * 3 + [1], abs=1e-6) and rgba[0, 0, 3] == 0


def test_alpha_is_believed_only_where_it_cuts_something_out():
    page, mask = square("RGBA", "white", "red"), np.full((80, 100), 255, np.uint8)
    mask[:2, :2] = mask[-2:, -2:] = 0
    for alpha in (Image.new("L", page.size, 250), Image.fromarray(mask)):
        page.putalpha(alpha)
        rgba = read_drawing(saved(page))
        assert np.array_equal(np.argwhere(rgba[..., 3] > 0.05)[[0, -1]], [[30, 20], [39, 59]])
    # A tile of one colour with rounded corners stays what it is.
    tile = disc(40, 27, (250, 250, 250))
    assert np.abs(read_drawing(png(tile))[..., 3] - tile[..., 3]).max() < 0.01


def test_only_pictures_are_opened(tmp_path):
    (tmp_path / "evil.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(InputError, match="expected a PNG, JPEG or WebP"):
        read_drawing(tmp_path / "evil.png")


def test_a_long_picture_is_framed_like_a_short_one():
    sword = np.zeros((100, 4000, 4), np.float32)
    sword[10:90, 50:3950] = (0.5, 0.25, 0.125, 1)
    long, alpha = fit_reference(GRID, sword)
    short, cover = fit_reference(GRID, sword[5::10, 5::10])
    assert np.abs(long - short).max() < 0.02 and np.abs(alpha - cover).max() < 0.02
