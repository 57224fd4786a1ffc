"""What the frozen encoders say of a dataset, computed once and kept by content."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from accelerate import Accelerator

BATCH = 16  # what the encoders are given at once
Index = list[dict[str, Any]]  # of `Dataset.index`
Make = Callable[[list[range]], dict[str, Tensor]]


@dataclass(frozen=True)
class Cached:
    """What the frozen encoders say of some rows.

    Attributes:
        ids: of the n rows; the first ``own`` are the dataset's, the others are variants of its models.
        stored: (m, slots, c, h, w) float16, the latents of a cache's rows as they lie in its file, by memory map.
        said: (n,) int64, each row's sentence in ``texts``.
        texts: the different sentences, embedded; the first is the empty one.
        slots: what each slot shows; see `lora3d.base.Base.slot_channels`.
        seen: (n, 2) float32, where the drawings were seen from, in degrees in the grid's frame; NaN where not known.
        sentences: what ``texts`` says, for text encoders that learn.
        plain: (n,) int64, each row's sentence without the trigger, where ``prior`` asks for it.
        truth: (n, slots) bool, where any row has slots that nobody knows; see `lora3d.dataset_rows.Row`.
        place: (n,) int64, each row's in ``stored``; None for all as they come.
    """

    ids: list[str]
    stored: Tensor
    said: Tensor
    texts: Text
    own: int
    slots: tuple[str, ...]
    seen: Tensor
    sentences: tuple[str, ...] = ()
    plain: Tensor | None = None
    truth: Tensor | None = None
    place: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nothing(self) -> Text:
        """The empty sentence, a batch of one."""
        return self.texts[:1]

    def latents(self, index: Tensor | slice = slice(None)) -> Tensor:
        """The rows' (b, slots, c, h, w) float16; all without ``index``."""
        return self.stored[index if self.place is None else self.place[index]]

    def pick(self, index: list[int]) -> Cached:
        """Some rows, whose latents stay where they lie; the dataset's own must stand first in ``index``."""
        where = torch.tensor(index, dtype=torch.long)
        return replace(
            self,
            ids=[self.ids[i] for i in index],
            place=where if self.place is None else self.place[where],
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


def cache_rows(
    base: Base,
    dataset: Dataset,
    config: TrainConfig,
    split: str,
    variants: int = 0,
    crew: Accelerator | None = None,
) -> Cached:
    """Encodes a split once and keeps it by content: dataset, base (with its configuration), variants and sentences.

    variants: of each model, after the rows; see `lora3d.data_prep.variants`. The files lie in $LORA3D_CACHE,
    or ~/.cache/lora3d, and are read by memory map. One that cannot be read is made anew, with a word about it.
    crew: the processes that share the work, all of which must call this; they must see the same $LORA3D_CACHE.
    Raises InputError for latents that are not finite, naming the row.
    """
    own = [row for row in dataset.index if row["split"] == split]
    whole = [row for row in own if row["truth"] is None]  # the others have no model
    models = list({row["file"] or row["id"]: row for row in reversed(whole)}.values())[::-1]
    said = [(row["id"], row["caption"]) for row in own]
    said += [(f"{row['id']}~{k}", row["caption"]) for row in models for k in range(variants)]
    ids = [name for name, _ in said]
    captions = [with_trigger(c, config.trigger) for _, c in said]
    plain = [without_words(c, config.trigger) for c in captions] if config.prior else []
    different = sorted({"", *captions, *plain})
    # Text encoders run in the base's precision; the codec is always in float32.
    source = [base.revision, hash_configs(base.folder)]
    mark = _mark(*source, str(base.network.dtype), different)

    def embed(units: list[range]) -> dict[str, Tensor]:
        return _embed(base, [different[i] for unit in units for i in unit])

    texts = _cached(mark + "-texts", _units(0, len(different), BATCH), embed, crew)
    latents, seen = torch.zeros(0, *base.latent_shape, dtype=torch.half), torch.zeros(0, 2)
    if own:
        what: list[Any] = [dataset.content_hash, *source, split]
        what += [variants, config.seed, *config.variant_styles] if variants else []
        units = _units(0, len(own), BATCH) + _units(len(own), len(ids), variants or 1)

        def encode(units: list[range]) -> dict[str, Tensor]:
            made = _encode(base, dataset, own, models, variants, config, units)
            return _joined(made, [ids[i] for unit in units for i in unit])

        kept = _cached(_mark("seen", *what), units, encode, crew)
        latents, seen = kept["latents"], kept["seen"]
    place = {caption: i for i, caption in enumerate(different)}
    index, beside = (torch.tensor([place[c] for c in words], dtype=torch.long) for words in (captions, plain))
    return Cached(
        ids=ids,
        stored=latents,
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


def _units(first: int, last: int, size: int) -> list[range]:
    return [range(i, min(i + size, last)) for i in range(first, last, size)]


def _cached(name: str, units: list[range], make: Make, crew: Accelerator | None) -> dict[str, Tensor]:
    """The tensors in a file of the cache, a row for each number in ``units``; made and written if it is not there.

    Processes share the units out. Each writes its own as a part, the main one puts the parts together. A unit is what
    the encoders see at once, so the file has the same bytes however many processes make it.
    """
    file = cache_folder() / "latents" / f"{name}.safetensors"
    found = _read(file)
    if crew and crew.num_processes > 1:
        n = min(crew.num_processes, len(units))
        parts = [file.with_suffix(f".{k}-of-{n}.safetensors") for k in range(n)]
        if found is None and crew.process_index < n and _read(parts[crew.process_index]) is None:
            _write(make(units[crew.process_index :: n]), parts[crew.process_index])
        crew.wait_for_everyone()  # whatever each has found: the file may come or go meanwhile
        if found is None and crew.is_main_process:
            found = _write(_join(parts, units, make), file)
            for part in file.parent.glob(f"{name}.*-of-*"):
                part.unlink(missing_ok=True)
        crew.wait_for_everyone()
        found = _read(file) if found is None else found
    return _write(make(units), file) if found is None else found


def _join(parts: list[Path], units: list[range], make: Make) -> dict[str, Tensor]:
    """The rows of all parts in their order; a part that is not there or cannot be read is made anew."""
    whole: dict[str, Tensor] = {}
    for k, part in enumerate(parts):
        share = units[k :: len(parts)]
        if not part.is_file():
            warnings.warn(f"{part.name} is not in the cache: made anew", stacklevel=2)
        tensors = _read(part)
        for key, rows in (make(share) if tensors is None else tensors).items():
            whole.setdefault(key, rows.new_empty(sum(map(len, units)), *rows.shape[1:]))
            whole[key][[i for unit in share for i in unit]] = rows
    return whole


def _read(file: Path) -> dict[str, Tensor] | None:
    """A file's tensors by memory map; None where it is not there or cannot be read, which is said."""
    try:
        return load_file(file)
    except FileNotFoundError:
        return None
    except SafetensorError as error:
        warnings.warn(f"{file.name} in the cache cannot be read ({error}): made anew", stacklevel=2)
        return None


def _write(tensors: dict[str, Tensor], file: Path) -> dict[str, Tensor]:
    """Writes a file whole and gives it back by memory map; the tensors themselves, with a word, if it cannot be."""
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary)
        temporary.replace(file)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        need = sum(x.nbytes for x in tensors.values()) / 2**20
        warnings.warn(
            f"the cache {file.parent} cannot hold {need:.0f} MiB ({error}): used from memory, made anew next time",
            stacklevel=2,
        )
        return tensors
    return _read(file) or tensors


def _embed(base: Base, sentences: list[str]) -> dict[str, Tensor]:
    batches = [sentences[i : i + BATCH] for i in range(0, len(sentences), BATCH)]
    text = join_texts([base.embed(batch).to("cpu") for batch in batches])
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
    base: Base,
    dataset: Dataset,
    own: Index,
    models: Index,
    variants: int,
    config: TrainConfig,
    units: list[range],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Latents and where the drawings were seen from, unit by unit: of the ``own`` rows, then of models' variants.

    Nothing but the units' rows and models is decoded.
    """
    first = len(own)
    wanted = {own[i]["id"] for unit in units for i in unit if i < first}
    turned = [models[(unit.start - first) // variants]["id"] for unit in units if unit.start >= first]
    tiles: list[np.ndarray] = []
    seen: list[tuple[float, float]] = []
    glbs: dict[str, bytes] = {}

    def encoded(pictures: Array, viewpoints: Sequence[tuple[float, float]]) -> tuple[Tensor, Tensor]:
        return base.encode(torch.from_numpy(pictures)).half().cpu(), torch.tensor(viewpoints)

    needed = tuple(row for row in dataset.index if row["id"] in {*wanted, *turned})
    try:
        for row in replace(dataset, index=needed).rows():
            if row.id in turned:
                glbs[row.id] = row.glb
            if row.id in wanted:
                tiles.append(row.tiles)
                seen.append(row.seen_deg or (np.nan, np.nan))
            if len(tiles) == BATCH:
                yield encoded(np.stack(tiles), seen)
                tiles, seen = [], []
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"dataset {dataset.path} cannot be read to its end ({error}): make it anew with `lora3d prep`"
        ) from error
    if tiles:
        yield encoded(np.stack(tiles), seen)
    if turned:  # what renders is loaded for them alone
        from lora3d.data_prep.variants import make_variants
    for name in turned:
        made, viewpoints = make_variants(glbs[name], base.grid, variants, config.seed, config.variant_styles)
        for i in range(0, variants, BATCH):
            yield encoded(made[i : i + BATCH], viewpoints[i : i + BATCH])
