"""What the frozen encoders say of a dataset, computed once and kept by content."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora3d.base import Base, cache_folder, hash_configs
from lora3d.base.text import Text, join_texts
from lora3d.camera import Array
from lora3d.dataset import Dataset
from lora3d.errors import InputError
from lora3d.recipe import TrainConfig
from lora3d.trigger import with_trigger, without_words


@dataclass(frozen=True)
class Cached:
    """What the frozen encoders say of some rows.

    Attributes:
        ids: of the n rows; the first ``own`` are the dataset's, the others are variants of its models.
        latents: (n, slots, c, h, w) float16.
        said: (n,) int64, each row's sentence in ``texts``.
        texts: the different sentences, embedded; the first is the empty one.
        slots: what each slot shows; see `lora3d.base.Base.slot_channels`.
        seen: (n, 2) float32, where the drawings were seen from, in degrees in the grid's frame; NaN where not known.
        sentences: what ``texts`` says, for text encoders that learn.
        plain: (n,) int64, each row's sentence without the trigger, where ``prior`` asks for it.
        truth: (n, slots) bool, where any row has slots that nobody knows; see `lora3d.dataset_rows.Row`.
    """

    ids: list[str]
    latents: Tensor
    said: Tensor
    texts: Text
    own: int
    slots: tuple[str, ...]
    seen: Tensor
    sentences: tuple[str, ...] = ()
    plain: Tensor | None = None
    truth: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nothing(self) -> Text:
        """The empty sentence, a batch of one."""
        return self.texts[:1]

    def pick(self, index: list[int]) -> Cached:
        """Some rows; the dataset's own must stand first in ``index``."""
        where = torch.tensor(index, dtype=torch.long)
        return replace(
            self,
            ids=[self.ids[i] for i in index],
            latents=self.latents[where],
            said=self.said[where],
            seen=self.seen[where],
            plain=None if self.plain is None else self.plain[where],
            truth=None if self.truth is None else self.truth[where],
            own=sum(i < self.own for i in index),
        )


def text_of(base: Base, rows: Cached, said: Tensor) -> Text:
    """The sentences ``said`` (b,) of ``rows.sentences``, on the base's device; differentiable in adapters.

    Out of the cache, which was filled without adapters, unless a text encoder carries one.
    """
    if base.text_adapted:
        return base.embed([rows.sentences[i] for i in said.tolist()])
    return rows.texts[said].to(base.device)


def cache_rows(base: Base, dataset: Dataset, config: TrainConfig, split: str, variants: int = 0) -> Cached:
    """Encodes a split once and keeps it by content: dataset, base, variants and sentences name the files.

    Of the base that is its weights and its configuration, for a scale or a vocabulary changes them as weights do.

    variants: of each model, after the rows; see `lora3d.data_prep.variants`. The files lie in $LORA3D_CACHE,
    or ~/.cache/lora3d, and are read by memory map. One that cannot be read is made anew, with a word about it.
    Raises InputError for latents that are not finite, naming the row.
    """
    own = [row for row in dataset.index if row["split"] == split]
    whole = [row for row in own if row["truth"] is None]  # the others have no model
    models = list({row["file"] or row["id"]: row for row in reversed(whole)}.values())[::-1]
    said = [(row["id"], row["caption"]) for row in own]
    said += [(f"{row['id']}~{k}", row["caption"]) for row in models for k in range(variants)]
    ids = [name for name, _ in said]
    trigger = config.trigger
    captions = [with_trigger(c, trigger) for _, c in said]
    plain = [without_words(c, trigger) for c in captions] if config.prior else []
    different = sorted({"", *captions, *plain})
    # Text encoders run in the base's precision; the codec is always in float32.
    source = [base.revision, hash_configs(base.folder)]
    mark = _mark(*source, str(base.network.dtype), different)
    texts = _cached(mark + "-texts", lambda: _embed(base, different))
    latents, seen = torch.zeros(0, *base.latent_shape, dtype=torch.half), torch.zeros(0, 2)
    if own:
        chosen = {row["id"] for row in models} if variants else set()
        what: list[str | int] = [dataset.content_hash, *source, split]
        what += [variants, config.seed, *config.variant_styles] if variants else []
        encode = _encode(base, dataset, split, chosen, variants, config)
        kept = _cached(_mark("seen", *what), lambda: _joined(encode, ids))
        latents, seen = kept["latents"], kept["seen"]
    place = {caption: i for i, caption in enumerate(different)}
    index, beside = (torch.tensor([place[c] for c in words], dtype=torch.long) for words in (captions, plain))
    return Cached(
        ids=ids,
        latents=latents,
        said=index,
        texts=Text(texts["tokens"], texts.get("pooled")),
        own=len(own),
        slots=base.slot_channels,
        seen=seen,
        sentences=tuple(different),
        plain=beside if plain else None,
        truth=_slot_truth([row["truth"] for row in own], len(ids), base.slots),
    )


def _slot_truth(stated: list[list[bool] | None], n: int, slots: int) -> Tensor | None:
    """(n, slots) bool, the stated rows first; None where every cell is true.

    A slot is known where all its cells are. Bases join cells of one column, if any, so that slot i has the cells i,
    i + slots, …
    """
    if all(cells is None for cells in stated):
        return None
    truth = torch.ones(n, slots, dtype=torch.bool)
    for row, cells in enumerate(stated):
        if cells is not None:
            truth[row] = torch.tensor(cells).reshape(-1, slots).all(0)
    return truth


def _mark(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def _cached(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in a file of the cache, made and written whole if it is not there."""
    folder = cache_folder() / "latents"
    file = folder / f"{name}.safetensors"
    if file.is_file():
        try:
            return load_file(file)
        except SafetensorError as error:
            warnings.warn(f"{file.name} in the cache cannot be read ({error}): made anew", stacklevel=2)
    tensors = make()
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary)
        temporary.replace(file)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        need = sum(x.nbytes for x in tensors.values()) / 2**20
        warnings.warn(
            f"the cache {folder} cannot hold {need:.0f} MiB ({error}): used from memory, made anew next time",
            stacklevel=2,
        )
    return tensors


def _embed(base: Base, sentences: list[str]) -> dict[str, Tensor]:
    text = join_texts([base.embed(sentences[i : i + 16]).to("cpu") for i in range(0, len(sentences), 16)])
    found = {"tokens": text.tokens, **({} if text.pooled is None else {"pooled": text.pooled})}
    for tensor in found.values():
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"base {base.name!r}: its text encoder answers with numbers that are not finite; "
                "its weights are damaged"
            )
    return found


def _joined(parts: Iterator[tuple[Tensor, Tensor]], ids: list[str]) -> dict[str, Tensor]:
    latents, seen = (torch.cat(part) for part in zip(*parts, strict=True))
    return {"latents": _finite(latents, ids), "seen": seen}


def _finite(latents: Tensor, ids: list[str]) -> Tensor:
    bad = [i for i, x in zip(ids, latents, strict=True) if not torch.isfinite(x).all()]
    if bad:
        raise InputError(
            f"the pictures of {len(bad)} rows have latents that are not finite, the first is {bad[0]!r}: "
            "look at it with `lora3d doctor`; if all have, the base's VAE is damaged"
        )
    return latents


def _encode(
    base: Base, dataset: Dataset, split: str, chosen: set[str], variants: int, config: TrainConfig
) -> Iterator[tuple[Tensor, Tensor]]:
    """Latents of the rows and where they were seen from, in batches; then those of the chosen rows' variants."""
    tiles: list[np.ndarray] = []
    seen: list[tuple[float, float]] = []
    models: list[bytes] = []

    def encoded(pictures: Array, viewpoints: Sequence[tuple[float, float]]) -> tuple[Tensor, Tensor]:
        return base.encode(torch.from_numpy(pictures)).half().cpu(), torch.tensor(viewpoints)

    try:
        for row in dataset.rows(split):
            tiles.append(row.tiles)
            seen.append(row.seen_deg or (np.nan, np.nan))
            if row.id in chosen:
                models.append(row.glb)
            if len(tiles) == 16:
                yield encoded(np.stack(tiles), seen)
                tiles, seen = [], []
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"dataset {dataset.path} cannot be read to its end ({error}): make it anew with `lora3d prep`"
        ) from error
    if tiles:
        yield encoded(np.stack(tiles), seen)
    if models:  # what renders is loaded for them alone
        from lora3d.data_prep.variants import make_variants
    for glb in models:
        made, viewpoints = make_variants(glb, base.grid, variants, config.seed, config.variant_styles)
        for i in range(0, variants, 16):
            yield encoded(made[i : i + 16], viewpoints[i : i + 16])
