"""From where an artist draws.

Games' art is seen from one corner, a sprite sheet from the front: most drawings of a pack share a viewpoint or two, to
the degree. A base that is shown one drawing can only guess it, and from a corner not even which of two sides is the
front. So an adapter's card keeps the viewpoints that the drawings it was trained on share, and a new drawing of which
nobody says from where it was seen is taken for one of them where the guess lies near.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lora3d.camera import Array
from lora3d.errors import InputError

SHARED_DEG = 10.0  # viewpoints this near to one another are one
MOST = 2000  # drawings that are looked at
LEAST_SHARE = 0.1  # of the drawings, for a viewpoint to be a habit
# From the guess to a habit, whichever side is the front, for an artist who has no other viewpoints.
NEAR_DEG = 50.0


def shared_viewpoints(seen_deg: Iterable[tuple[float, float] | None]) -> list[dict[str, float]]:
    """The viewpoints that an artist's drawings share, the most frequent first, as an adapter's card keeps them.

    Args:
        seen_deg: azimuth and elevation in degrees that each drawing was seen from, in the grid's frame; None where
            nobody knows.
    """
    every = list(seen_deg)
    every = every[:: 1 + len(every) // MOST]  # each is compared with each
    left = np.array([angles for angles in every if angles is not None], np.float64).reshape(-1, 2)
    found: list[dict[str, float]] = []
    while len(left):
        near = _apart(left[:, None], left[None]) <= SHARED_DEG
        members = near[near.sum(1).argmax()]
        if members.sum() < LEAST_SHARE * len(every):
            break
        azimuth, elevation = np.median(left[members], axis=0).round(1).tolist()
        share = round(float(members.sum()) / len(every), 3)
        found.append({"azimuth_deg": azimuth, "elevation_deg": elevation, "share": share})
        left = left[~members]
    return found


def nearest_habit(
    guessed_deg: tuple[float, float], habits: Sequence[dict[str, Any]]
) -> tuple[float, float] | None:
    """The viewpoint of ``habits`` that a guess means, whichever side it took for the front; None where none is near.

    The more of the artist's drawings share a viewpoint, the further a guess may lie from it. Raises InputError for
    habits that are none: a card comes from strangers.
    """
    try:
        rows = [(h["azimuth_deg"], h["elevation_deg"], h["share"]) for h in habits]
        known, shares = np.split(np.array(rows, np.float64).reshape(-1, 3), [2], axis=1)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "the adapter's card holds viewpoints without azimuth_deg, elevation_deg and share"
        ) from error
    if not (np.abs(known) <= (180, 90)).all() or not ((shares >= 0) & (shares <= 1)).all():
        raise InputError("the adapter's card holds viewpoints whose azimuth, elevation or share cannot be")
    sides = np.array(guessed_deg) + np.array([(90.0 * side, 0.0) for side in range(4)])
    apart = _apart(known[:, None], sides[None]).min(axis=1, initial=np.inf)
    if not len(apart) or apart.min() > NEAR_DEG * min(1.0, float(shares.sum())):
        return None
    azimuth, elevation = known[apart.argmin()].tolist()
    return azimuth, elevation


def _apart(a: Array, b: Array) -> Array:
    """Degrees between the directions to viewers (..., 2), azimuths and elevations in degrees."""
    cosine = (_direction(a) * _direction(b)).sum(-1)
    apart: Array = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    return apart


def _direction(seen_deg: Array) -> Array:
    azimuth, elevation = np.moveaxis(np.radians(seen_deg), -1, 0)
    flat = np.cos(elevation)
    return np.stack([np.sin(azimuth) * flat, -np.cos(azimuth) * flat, np.sin(elevation)], axis=-1)
