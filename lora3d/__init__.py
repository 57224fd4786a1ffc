"""lora3d: teach a diffusion model an artist's 3D style, then turn drawings and sentences into textured 3D models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lora3d.errors import InputError

if TYPE_CHECKING:
    from lora3d.generate import Generator

__all__ = ["InputError", "load"]


def load(
    base: str | Path = "mini",
    adapters: dict[str | Path, float] | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    samples: int | None = None,
) -> Generator:
    """A base with adapters (file -> weight), ready to generate; ``samples`` and all else as in `lora3d.generate.load`.

    The heavy libraries are imported here, not with the package.
    """
    from lora3d import generate

    return generate.load(base, adapters, device=device, precision=precision, samples=samples)
