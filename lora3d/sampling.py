"""Drawings into their slots, and the rest denoised around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lora3d.base import Base
from lora3d.camera import Array
from lora3d.device import autocast
from lora3d.grid import ViewGrid


@dataclass(frozen=True, eq=False)
class Reference:
    """A drawing as the grid frames it: see `lora3d.drawing.fit_reference`.

    Attributes:
        rgb, alpha: (t, t, 3) over the background and (t, t).
        seen_deg: azimuth and elevation that it was seen from, in the grid's frame; None where nobody said.
    """

    rgb: Array
    alpha: Array
    seen_deg: tuple[float, float] | None = None


@dataclass(frozen=True)
class Given:
    """What is held while the rest is denoised.

    Attributes:
        clean: (b, slots, c, h, w), clean latents where they are known.
        known: (b, slots) bool.
        seen: (b, 2), where the drawings were seen from; see `lora3d.base.Base`.
    """

    clean: Tensor
    known: Tensor
    seen: Tensor

    def __getitem__(self, index: Tensor) -> Given:
        return Given(self.clean[index], self.known[index], self.seen[index])


def encode_references(base: Base, references: Sequence[Reference | None]) -> Given:
    """The drawings in their slots, which are known where there is one."""
    grid = base.grid
    tiles = np.zeros((len(references), len(grid.cells), grid.tile, grid.tile, 3), dtype=np.float32)
    known = torch.zeros(len(references), base.slots, dtype=torch.bool)
    seen = torch.full((len(references), 2), torch.nan)
    for i, reference in enumerate(references):
        if reference is not None:
            write_reference(grid, tiles[i], reference)
            known[i] = torch.tensor([channel.startswith("reference") for channel in base.slot_channels])
            if reference.seen_deg is not None:
                seen[i] = torch.tensor(reference.seen_deg)
    return Given(base.encode(torch.from_numpy(tiles)), known.to(base.device), seen.to(base.device))


def write_reference(grid: ViewGrid, tiles: Array, reference: Reference) -> None:
    """A drawing into its cells of (cells, t, t, 3), in place."""
    for cell in grid.indices("reference"):
        tiles[cell] = reference.rgb
    for cell in grid.indices("reference_alpha"):
        tiles[cell] = reference.alpha[..., None]


def sample(
    base: Base,
    noise: Tensor,
    given: Given,
    text: Any,
    steps: int,
    guidance: float,
    dtype: torch.dtype,
) -> Tensor:
    """Denoises with the base's own scheduler while known slots are held clean.

    Guidance g moves away from what the base says with neither drawing nor sentence (Ho and Salimans 2022,
    eq. 6): x̂ = u + g·(c − u); 1 is off and halves the time.
    """
    scheduler = type(base.scheduler).from_config(base.scheduler.config)
    scheduler.set_timesteps(steps, device=base.device)
    hold = given.known[:, :, None, None, None]
    unknown = torch.zeros_like(given.known)
    nothing = base.embed([""] * len(noise)) if guidance != 1 else None
    latents = noise
    for step in scheduler.timesteps:
        t = (step.float() / 1000).expand(len(noise)).to(noise.device)
        held = torch.where(hold, given.clean, latents)
        with autocast(base.device, dtype):
            guess = base.denoise(held, t, text, given.known, given.seen).float()
            if nothing is not None:
                plain = base.denoise(latents, t, nothing, unknown).float()
                guess = plain + guidance * (guess - plain)
        latents = scheduler.step(guess, step, latents, return_dict=False)[0]
    return torch.where(hold, given.clean, latents)
