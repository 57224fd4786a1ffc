"""Base + adapters + a drawing or a sentence -> a grid of views -> a textured mesh."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lora3d.adapter import AdapterCard, load_adapter, use_adapters
from lora3d.adapter_convert import find_card, parent_of
from lora3d.adapter_license import combine, terms_of
from lora3d.answer import Answer
from lora3d.base import Base, load_base
from lora3d.base.text import Text
from lora3d.camera import Array, nearest_side
from lora3d.device import autocast, choose_device, choose_dtype
from lora3d.drawing import fit_reference, read_drawing
from lora3d.errors import InputError
from lora3d.export import file_names, require_spared, safe_name, view_files
from lora3d.formats import Pivot
from lora3d.grid import PRESETS, ViewGrid, combine_samples, pack, settle_depth
from lora3d.heap import keep_freed_memory
from lora3d.lift import lift
from lora3d.mesh import Mesh
from lora3d.palette import draw_toward, from_entries, join_palettes
from lora3d.sampling import Given, Reference, encode_references, sample, write_reference
from lora3d.trigger import has_words
from lora3d.viewpoints import nearest_habit

GUESS_WEIGHT = 0.6
"""How much of each sample the colours count that a base guesses of a drawing (docs/decisions.md)."""


@dataclass(frozen=True)
class Generation:
    """One answer.

    Attributes:
        answer: the views, and what is guessed of the solid.
        view_grid: which cell is what.
        record: everything needed to make the same bytes again, as plain JSON.
        inputs: the files it was made of, which `save` spares.
    """

    answer: Answer
    view_grid: ViewGrid
    record: dict[str, Any]
    inputs: tuple[Path, ...] = ()

    @property
    def tiles(self) -> Array:
        """(cells, t, t, 3) float32 in [0, 1], in the grid's order."""
        return self.answer.tiles

    @property
    def grid(self) -> Image.Image:
        """All cells on one picture."""
        return to_image(pack(self.view_grid, self.tiles))

    @property
    def views(self) -> list[Image.Image]:
        """The rgb cells."""
        return [to_image(self.tiles[i]) for i in self.view_grid.indices("rgb")]

    @cached_property
    def mesh(self) -> Mesh:
        """The textured mesh; lifted on first use. Raises InputError where the grid shows no object."""
        return lift(self.tiles, self.view_grid, prior=self.answer.prior)

    def save(
        self,
        path: str | Path,
        name: str = "model",
        format: str = "glb",
        *,
        pivot: Pivot | None = None,
        size: float | None = None,
    ) -> Path:
        """Writes the grid (PNG), the record (JSON) and the model into a folder; returns the model's path.

        The model's files, and their place, are those of `lora3d.export.view_files`; raises InputError as it
        and `mesh` do, and before a file would be written over one of `inputs`.
        """
        folder, name = Path(path), safe_name(name)
        require_spared(written(folder, name, format), self.inputs)
        folder.mkdir(parents=True, exist_ok=True)
        # An older one would say that all is there, should this end halfway.
        (folder / f"{name}.json").unlink(missing_ok=True)
        self.grid.save(folder / f"{name}.png")
        files = view_files(
            self.tiles,
            self.view_grid,
            name,
            format,
            self.record,
            mesh=self.mesh,
            prior=self.answer.prior,
            pivot=pivot,
            size=size,
        )
        for file, data in files.items():
            (folder / file).write_bytes(data)
        # Last, so that a record says that all is there.
        write_record(folder / f"{name}.json", self.record)
        return folder / next(iter(files))


def written(folder: Path, name: str, format: str) -> list[Path]:
    """What `Generation.save` writes. Raises InputError for another format."""
    return [folder / file for file in (f"{name}.png", *file_names(name, format), f"{name}.json")]


def write_record(path: Path, record: dict[str, Any]) -> None:
    path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def to_image(picture: Array) -> Image.Image:
    """(h, w, 3) in [0, 1] to an 8-bit picture."""
    return Image.fromarray((picture * 255 + 0.5).clip(0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Generator:
    """A loaded base with its adapters; make one with `load`. For ``matting`` see `read_drawing`.

    ``samples`` are drawn for each answer and combined (`lora3d.grid.combine_samples`), with the colours that the base
    guesses of a drawing.
    ``files`` are the adapters' own, and the SHA-256 of each when it was loaded.
    """

    base: Base
    cards: dict[str, AdapterCard]
    weights: dict[str, float]
    files: dict[str, tuple[Path, str]]
    dtype: torch.dtype
    matting: str | None = None
    samples: int = 1

    @property
    def adapter_files(self) -> list[Path]:
        return [path for path, _ in self.files.values()]

    def generate(
        self,
        image: str | Path | Array | None = None,
        prompt: str | None = None,
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance: float | None = None,
        seen_deg: tuple[float, float] | None = None,
    ) -> Generation:
        """A drawing (a file or (h, w, 4) float in [0, 1]), a sentence, both or neither to one `Generation`.

        ``seen_deg`` says where the drawing was seen from, which is guessed otherwise; see `reference`.
        """
        if image is None and seen_deg is not None:
            raise InputError("a viewpoint without a drawing says nothing: give an image too")
        reference = None if image is None else self.reference(image, seen_deg)
        steps, guidance = self.sampling(steps, guidance)
        answer = self.answers([reference], [prompt], [seed], steps=steps, guidance=guidance)[0]
        record = self.record(image, prompt, seed=seed, steps=steps, guidance=guidance, seen_deg=seen_deg)
        record["taken_deg"] = None if answer.seen_deg is None else list(answer.seen_deg)
        drawing = [Path(image)] if isinstance(image, str | Path) else []
        return Generation(answer, self.base.grid, record, (*drawing, *self.adapter_files))

    def reference(self, image: str | Path | Array, seen_deg: tuple[float, float] | None = None) -> Reference:
        """The drawing as the grid frames it. Raises InputError for a file that is no drawing.

        So it does where the grid has no cell for one, since the drawing would change nothing; and for an elevation
        beyond ±90°. The side of the object that is nearest to the drawing's azimuth becomes the grid's front, as in a
        dataset.
        """
        if seen_deg is not None:
            azimuth, elevation = seen_deg
            if not abs(elevation) <= 90:
                raise InputError(
                    f"a drawing's elevation lies between -90 and 90 degrees, found {elevation:g}"
                )
            seen_deg = (azimuth - nearest_side(azimuth) + 180) % 360 - 180, elevation
        if not self.base.grid.indices("reference"):
            able = [name for name, grid in PRESETS.items() if grid.indices("reference")]
            raise InputError(
                f"grid {self.base.grid.name!r} has no cell for a drawing: ask by prompt alone, or use an adapter "
                f"trained on a grid that has one ({', '.join(able)})"
            )
        rgba = read_drawing(image, self.matting) if isinstance(image, str | Path) else image
        return Reference(*fit_reference(self.base.grid, rgba), seen_deg)

    def record(
        self,
        image: str | Path | Array | None,
        prompt: str | None,
        *,
        seed: int,
        steps: int | None = None,
        guidance: float | None = None,
        seen_deg: tuple[float, float] | None = None,
    ) -> dict[str, Any]:
        """Everything needed to make the same bytes again, as plain JSON: `Generation.record`."""
        steps, guidance = self.sampling(steps, guidance)
        licenses = [name for card in self.cards.values() for name in terms_of(card).licenses]
        file = Path(image) if isinstance(image, str | Path) else None
        return {
            "base": self.base.name,
            "base_revision": self.base.revision,
            "adapters": [
                {
                    "name": name,
                    "weight": weight,
                    "sha256": self.files[name][1],
                    "dataset": self.cards[name].dataset,
                    "trigger": self.cards[name].trigger,
                    "licenses": self.cards[name].licenses,
                    "license": terms_of(self.cards[name]).license,
                    "artists": self.cards[name].artists,
                }
                for name, weight in self.weights.items()
            ],
            "license": combine(licenses).license if licenses else None,
            "image": file.name if file else None,
            "matting": self.matting,
            "image_sha256": hashlib.sha256(file.read_bytes()).hexdigest() if file else None,
            "seen_deg": None if seen_deg is None else list(seen_deg),
            "prompt": prompt,
            "seed": seed,
            "steps": steps,
            "guidance": guidance,
            **({"samples": self.samples} if self.samples > 1 else {}),
            "grid": self.base.grid.to_dict(),
            "precision": str(self.dtype).removeprefix("torch."),
            "versions": {p: version(p) for p in ("lora3d", "torch", "diffusers", "peft")},
        }

    def sampling(self, steps: int | None, guidance: float | None) -> tuple[int, float]:
        """Steps and guidance as asked, or the base's own."""
        steps = self.base.steps if steps is None else steps
        most = self.base.scheduler.config.num_train_timesteps
        if not 1 <= steps <= most:
            raise InputError(f"steps must be from 1 to {most}, found {steps}")
        return steps, self.base.guidance if guidance is None else guidance

    def sentence(self, prompt: str | None) -> str:
        """The prompt with the adapters' triggers before it."""
        triggers = [
            self.cards[name].trigger for name, w in self.weights.items() if w and self.cards[name].trigger
        ]
        words = [t for t in triggers if not has_words(prompt or "", t)]
        return " ".join([*words, prompt]) if prompt else ""

    @torch.no_grad()
    def answers(
        self,
        references: Sequence[Reference | None],
        prompts: Sequence[str | None],
        seeds: Sequence[int],
        *,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> list[Answer]:
        """A batch of grids; each depends on its own seed alone.

        References are framed as `lora3d.drawing.fit_reference` does; None generates the drawing's tile too.
        """
        steps, guidance = self.sampling(steps, guidance)
        use_adapters(self.base, self.weights)
        given = self._place(encode_references(self.base, references))
        text = self.base.embed([self.sentence(p) for p in prompts])
        drawn = self._draw(given, text, seeds, steps, guidance)
        guesses = self._guess(given)
        found = []
        taken = [None if math.isnan(seen[0]) else (seen[0], seen[1]) for seen in given.seen.tolist()]
        for i, (reference, guess) in enumerate(zip(references, guesses, strict=True)):
            own = np.stack([tiles[i] for tiles in drawn])
            guessed = None if guess is None else guess.tiles
            tiles = self._painted(combine_samples(self.base.grid, own, guessed, GUESS_WEIGHT))
            if reference is not None:
                write_reference(self.base.grid, tiles, reference)
            found.append(Answer(tiles, None if guess is None else guess.prior, taken[i]))
        return found

    def _place(self, given: Given) -> Given:
        """Where nobody said from where a drawing was seen, as the adapters' artists draw; see `lora3d.viewpoints`."""
        habits = [h for name, weight in self.weights.items() if weight for h in self.cards[name].viewpoints]
        unsaid = (given.known[:, 0] & given.seen.isnan().any(1)).nonzero()[:, 0].tolist()
        guessed = self.base.viewpoint(given.clean[:, 0]) if habits and unsaid else None
        if guessed is None:
            return given
        seen = given.seen.clone()
        for i in unsaid:
            azimuth, elevation = guessed[i].tolist()
            if (habit := nearest_habit((azimuth, elevation), habits)) is not None:
                seen[i] = torch.tensor(habit)
        return replace(given, seen=seen)

    def _painted(self, tiles: Array) -> Array:
        """A grid in the colours of the adapters' artists; see `lora3d.palette`."""
        used = [(from_entries(self.cards[name].palette), max(w, 0.0)) for name, w in self.weights.items()]
        return draw_toward(self.base.grid, tiles, join_palettes(used), sum(weight for _, weight in used))

    def _draw(
        self, given: Given, text: Text, seeds: Sequence[int], steps: int, guidance: float
    ) -> list[Array]:
        """`samples` times a batch of grids (b, cells, t, t, 3) with settled depth, some of them asked together."""
        # Of one seed the first draw, the second, …: CPU generators tell seeds apart by their lower 32 bits alone.
        generators = [torch.Generator().manual_seed(s) for s in seeds]
        drawn: list[Array] = []
        while len(drawn) < self.samples:
            count = min(max(1, self.base.at_once // len(seeds)), self.samples - len(drawn))
            noise = torch.stack(
                [torch.randn(self.base.latent_shape, generator=g) for _ in range(count) for g in generators]
            ).to(self.base.device)
            every = torch.arange(len(seeds)).repeat(count)
            latents = sample(self.base, noise, given[every], text[every], steps, guidance, self.dtype)
            tiles = settle_depth(self.base.grid, self.base.decode(latents).float().cpu().numpy())
            drawn += np.split(tiles, count)
        return drawn

    def _guess(self, given: Given) -> list[Answer | None]:
        """What the base makes of each drawing before its network is asked; None without one."""
        found: list[Answer | None] = [None] * len(given.known)
        for i in given.known[:, 0].nonzero()[:, 0].tolist():
            with autocast(self.base.device, self.dtype):
                guess = self.base.guess(given.clean[i : i + 1, 0], given.seen[i : i + 1])
            if guess is not None:
                tiles, prior = (x[0].float().cpu().numpy() for x in guess)
                found[i] = Answer(settle_depth(self.base.grid, tiles), prior.astype(np.float16))
        return found


def load(
    base: str | Path = "mini",
    adapters: dict[str | Path, float] | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    grid: ViewGrid | None = None,
    matting: str | None = None,
    samples: int | None = None,
) -> Generator:
    """Loads a base and adapters (file -> weight). Raises InputError for whatever does not fit.

    From then on glibc keeps what this process frees for the next drawing, see `lora3d.heap.keep_freed_memory`.

    ``samples`` are drawn for each answer and combined, see `lora3d.grid.combine_samples`: as many times the time. None:
    as many as the base says.
    A plain text-to-image base has no grid of its own: it takes ``grid``, by default the first adapter's.
    """
    if samples is not None and samples < 1:
        raise InputError(f"an answer takes at least one sample, found {samples}")
    chosen = choose_device(device)
    dtype = choose_dtype(chosen, precision)
    keep_freed_memory()
    card = find_card(Path(next(iter(adapters)))) if adapters else None
    if grid is None and card is not None:
        grid = ViewGrid.from_dict(card.grid)
    loaded = load_base(base, chosen, grid=grid, dtype=dtype)
    cards, weights, files = {}, {}, {}
    for i, (path, weight) in enumerate((adapters or {}).items()):
        name = f"{i}_{Path(path).stem}".replace(".", "_")
        cards[name] = load_adapter(loaded, Path(path), name)
        weights[name] = float(weight)
        files[name] = Path(path), str(parent_of(Path(path))["sha256"])
    return Generator(loaded, cards, weights, files, dtype, matting, samples or loaded.samples)
