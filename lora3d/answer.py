"""What a generator answers for one grid, and what retrieval, the ceiling and other systems are measured as."""

from __future__ import annotations

from dataclasses import dataclass

from lora3d.camera import Array


@dataclass(frozen=True, eq=False)
class Answer:
    """One grid's views and what else its lift may know.

    Attributes:
        tiles: (cells, t, t, 3) float32 in [0, 1], in the grid's order.
        prior: (m, m, m) float16, the probability that a cell is inside; see `lora3d.lift.prior`. None where the base
            guesses no solid, or had no drawing to guess from.
        seen_deg: where its drawing was taken to be seen from, in the grid's frame: as it was said, or as the adapters'
            artists draw. None where the base guessed it, or had no drawing.
    """

    tiles: Array
    prior: Array | None = None
    seen_deg: tuple[float, float] | None = None
