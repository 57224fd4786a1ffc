"""What the frozen encoders say of a dataset, computed once and kept by content."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora3d.base import Base
from lora3d.data_prep.variants import make_variants
from lora3d.dataset import Dataset
from lora3d.recipe import TrainConfig


@dataclass(frozen=True)
class Cached:
    """What the frozen encoders say: latents (n, slots, c, h, w), sentences (n, tokens, d).

    The first ``own`` are the dataset's rows; the others are variants of its models.
    """

    ids: list[str]
    latents: Tensor
    sentences: Tensor
    own: int

    def __len__(self) -> int:
        return len(self.ids)


def cache_rows(base: Base, dataset: Dataset, config: TrainConfig, split: str, variants: int = 0) -> Cached:
    """Encodes a split once and keeps it by content: dataset, base and variants name the file.

    variants: of each model, after the rows; see `lora3d.data_prep.variants`. The file lies in $LORA3D_CACHE,
    or ~/.cache/lora3d. One that cannot be read is made anew, with a word about it.
    """
    plain = [row for row in dataset.index if row["split"] == split]
    if not plain:
        return Cached([], torch.zeros(0), torch.zeros(0), 0)
    models = list({row["file"] or row["id"]: row for row in reversed(plain)}.values())[::-1]
    said = [(row["id"], row["caption"]) for row in plain]
    said += [(f"{row['id']}~{k}", row["caption"]) for row in models for k in range(variants)]
    folder = Path(os.environ.get("LORA3D_CACHE") or Path.home() / ".cache" / "lora3d") / "latents"
    mark = f"-{variants}-{config.seed}" if variants else ""
    file = folder / f"{dataset.content_hash[:20]}-{base.revision[:20]}-{split}{mark}.safetensors"
    latents = _read_latents(file)
    if latents is None or len(latents) != len(said):
        chosen = {row["id"] for row in models}
        latents = torch.cat(
            list(_encode(base, dataset, split, chosen if variants else set(), variants, config.seed))
        )
        folder.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        save_file({"latents": latents}, temporary)
        temporary.replace(file)
    trigger = config.trigger
    captions = [c if trigger in c.split() else f"{trigger} {c}".strip() for _, c in said]
    sentences = [base.embed(captions[i : i + 64]).tokens.cpu() for i in range(0, len(captions), 64)]
    return Cached([i for i, _ in said], latents, torch.cat(sentences), len(plain))


def _read_latents(file: Path) -> Tensor | None:
    if not file.is_file():
        return None
    try:
        return load_file(file)["latents"]
    except (SafetensorError, KeyError) as error:
        warnings.warn(
            f"{file.name} in the cache of latents cannot be read ({error}): made anew", stacklevel=2
        )
        return None


def _encode(
    base: Base, dataset: Dataset, split: str, chosen: set[str], variants: int, seed: int
) -> Iterator[Tensor]:
    """Latents of the rows in batches, then those of the chosen rows' variants."""
    tiles: list[np.ndarray] = []
    models: list[bytes] = []
    for row in dataset.rows(split):
        tiles.append(row.tiles)
        if row.id in chosen:
            models.append(row.glb)
        if len(tiles) == 16:
            yield base.encode(torch.from_numpy(np.stack(tiles))).half().cpu()
            tiles = []
    if tiles:
        yield base.encode(torch.from_numpy(np.stack(tiles))).half().cpu()
    for glb in models:
        made = torch.from_numpy(make_variants(glb, base.grid, variants, seed))
        for part in made.split(16):
            yield base.encode(part).half().cpu()
