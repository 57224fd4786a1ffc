"""An artist's colours.

A pack is painted with two dozen colours, and an answer that is the mean of several samples shows none of them: it is
paler than all. So an adapter's card keeps the colours of the views it was trained on, and what is generated with it is
drawn toward those that it is near to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.cluster.vq import kmeans2, vq

from lora3d.camera import Array
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, coverage, object_pixels

COLOURS = 24  # that are kept of an artist
MOST = 1024  # that are read of a card
LEAST = 1e-4  # of the pixels, for a colour to be kept
PIXELS = 100_000  # of the artist's views that are looked at
# In sRGB, of 1: a pixel this near to one of the colours is painted with it; how far generated colours stray from those
# that are meant; and from where on another one is meant, that the artist has not used yet.
PAINTED, ASTRAY, FOREIGN = 0.05, 0.07, 0.25
PULL = 0.6  # of the way to what is meant


def view_colours(grid: ViewGrid, tiles: Iterable[Array], count: int) -> Array:
    """Some of the object's pixels of each of ``count`` grids (cells, t, t, 3), PIXELS in all: (n, 3) sRGB in [0, 1]."""
    rng = np.random.default_rng(0)
    share = max(64, PIXELS // max(1, count))
    found = [np.zeros((0, 3), np.float32)]
    for own in tiles:
        pixels = object_pixels(grid, own)
        found.append(pixels[rng.permutation(len(pixels))[:share]])
    return np.concatenate(found)


def shared_palette(pixels: Array) -> tuple[Array, Array]:
    """The colours (k, 3) that pixels (n, 3) in [0, 1] share, the most frequent first, and their shares (k,).

    A share counts the pixels that lie within PAINTED of the colour: of flat paint they add up to 1, of photographs to
    little.
    """
    centres = np.unique((pixels * 255 + 0.5).astype(np.uint8), axis=0) / 255.0
    if len(centres) > COLOURS:
        centres, _ = kmeans2(pixels.astype(np.float64), COLOURS, minit="++", seed=0)
    if not len(centres):
        return np.zeros((0, 3)), np.zeros(0)
    nearest, apart = vq(pixels.astype(np.float64), centres)
    shares = np.bincount(nearest[apart <= PAINTED], minlength=len(centres)) / len(pixels)
    order = np.argsort(-shares, kind="stable")[: np.count_nonzero(shares >= LEAST)]
    return centres[order], shares[order]


def join_palettes(used: Sequence[tuple[tuple[Array, Array], float]]) -> tuple[Array, Array]:
    """One palette of several, each with its weight."""
    total = sum(weight for _, weight in used) or 1.0
    colours = [np.zeros((0, 3)), *(colours for (colours, _), weight in used if weight)]
    shares = [np.zeros(0), *(shares * weight / total for (_, shares), weight in used if weight)]
    return np.concatenate(colours), np.concatenate(shares)


def to_entries(palette: tuple[Array, Array]) -> list[dict[str, Any]]:
    """A palette as an adapter's card keeps it: of each colour ``rgb``, 0 to 255, and its ``share``."""
    rows = zip((palette[0] * 255).round().astype(int).tolist(), palette[1].round(5).tolist(), strict=True)
    return [{"rgb": rgb, "share": share} for rgb, share in rows]


def from_entries(entries: Sequence[dict[str, Any]]) -> tuple[Array, Array]:
    """The palette that a card keeps. Raises InputError for one that cannot be: a card comes from strangers."""
    try:
        colours = np.array([entry["rgb"] for entry in entries], np.float64).reshape(len(entries), 3) / 255
        shares = np.array([entry["share"] for entry in entries], np.float64).reshape(len(entries))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("the adapter's card holds a palette without rgb and share") from error
    if not ((colours >= 0) & (colours <= 1)).all() or not (shares >= 0).all() or shares.sum() > 1.01:
        raise InputError("the adapter's card holds a palette whose colours or shares cannot be")
    if len(entries) > MOST:
        raise InputError(f"the adapter's card holds {len(entries)} colours, expected at most {MOST}")
    return colours, shares


def draw_toward(grid: ViewGrid, tiles: Array, palette: tuple[Array, Array], weight: float = 1.0) -> Array:
    """A copy of tiles (cells, t, t, 3) whose object's pixels in rgb cells lie nearer to a palette.

    A pixel c goes PULL of the way, times how much of the artist's work the palette is and the adapter's ``weight`` (at
    most 1), to the mean of the colours that may be meant, each with the probability p(k | c) ∝ shares_k ·
    exp(-|c - colours_k|² / 2 ASTRAY²), beside c itself, that counts as a colour at a distance of FOREIGN.
    """
    (colours, shares), drawn = palette, tiles.copy()
    pull = PULL * min(1.0, shares.sum()) * min(1.0, weight)
    if not pull:
        return drawn
    own = np.exp(-(FOREIGN**2) / (2 * ASTRAY**2)) / len(colours)
    for i, mask in zip(grid.indices("rgb"), coverage(grid, tiles), strict=True):
        pixels = tiles[i][mask].astype(np.float64)
        square = (
            np.square(pixels).sum(-1, keepdims=True) - 2 * pixels @ colours.T + np.square(colours).sum(-1)
        )
        likely = shares * np.exp(-square / (2 * ASTRAY**2))
        meant = (likely @ colours + own * pixels) / (likely.sum(-1, keepdims=True) + own)
        drawn[i][mask] = pixels + pull * (meant - pixels)
    return drawn
