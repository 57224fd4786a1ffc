"""Plain text-to-image bases: one image, whose tiles are the cells of a grid.

What a family adds to that is in a file of its own (`sd`, `sdxl`, `sd3`): how its network is called, and how it
embeds sentences. Everything else comes from the base's files: component names, the VAE's scale and shift, the
prediction's type, the noise schedule. The layout is taught by an adapter (in-context, Huang et al. 2024): what is
known stands clean on the noisy canvas, and the network sees it there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from lora3d.base.quantise import quantise_layers
from lora3d.base.text import Text, has_adapter
from lora3d.device import autocast
from lora3d.errors import InputError, first_line
from lora3d.grid import GridError, ViewGrid

TIMES = 1000
CHUNK = 8  # tiles that the VAE takes at once


@dataclass(frozen=True)
class Family:
    """What differs between families.

    Attributes:
        pipeline: diffusers' class, whose own ``encode_prompt`` embeds sentences.
        component, network: the name and class of what denoises.
        patch: latents a side that the network needs a tile to be a multiple of, from its configuration.
        largest: latents a side of the largest canvas it can place, from its configuration; None for any.
        call: (network, canvas (b, c, h, w), timestep (b,), text, pixels (height, width)) to the answer.
        embed: (pipeline, sentences) to their embedding.
    """

    pipeline: Any
    component: str
    network: Any
    patch: Callable[[Any], int]
    largest: Callable[[Any], int | None]
    call: Callable[[Any, Tensor, Tensor, Text, tuple[int, int]], Tensor]
    embed: Callable[[Any, list[str]], Text]


@dataclass(frozen=True)
class PlainBase:
    """A loaded base; see `lora3d.base` for what a base offers. VAE and text encoders are loaded when first asked."""

    name: str
    revision: str
    folder: Path
    grid: ViewGrid
    family: Family
    network: Any
    scheduler: Any
    prediction: str
    alphas: Tensor | None
    dtype: torch.dtype

    steps = 30
    guidance = 5.0
    samples = 1
    at_once = 1

    @property
    def component(self) -> str:
        return self.family.component

    @property
    def text_encoders(self) -> dict[str, Any]:
        """CLIP's; T5 carries no adapter, as diffusers loads none there."""
        found = {name: getattr(self.encoders, name, None) for name in ("text_encoder", "text_encoder_2")}
        return {name: encoder for name, encoder in found.items() if encoder is not None}

    @property
    def text_adapted(self) -> bool:
        return "encoders" in self.__dict__ and any(map(has_adapter, self.text_encoders.values()))

    @property
    def device(self) -> torch.device:
        # diffusers' own `device` walks all modules each time: 2 ms, ten times a step.
        return next(self.network.parameters()).device

    @property
    def slots(self) -> int:
        return len(self.grid.cells)

    @property
    def slot_channels(self) -> tuple[str, ...]:
        return tuple(cell.channel for cell in self.grid.cells)

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """(slots, channels, h, w) of one grid's latents."""
        side = self.grid.tile // vae_factor(self.vae_config)
        return self.slots, self.vae_config["latent_channels"], side, side

    @property
    def moments(self) -> Tensor:
        """The VAE's scale and shift have made them 0 and 1."""
        channels = self.latent_shape[1]
        return torch.stack([torch.zeros(channels), torch.ones(channels)]).to(self.device)

    @cached_property
    def vae_config(self) -> dict[str, Any]:
        return AutoencoderKL.load_config(self.folder / "vae", local_files_only=True)

    @cached_property
    def vae(self) -> AutoencoderKL:
        """In float32 whatever the rest is in: SDXL's overflows in half precision."""
        vae = AutoencoderKL.from_pretrained(
            self.folder / "vae", torch_dtype=torch.float32, use_safetensors=True, local_files_only=True
        )
        return vae.to(self.device).eval().requires_grad_(False)

    @cached_property
    def encoders(self) -> Any:
        """The family's pipeline with its network and text encoders alone; one that the base lacks is None."""
        parts = inspect.signature(self.family.pipeline).parameters.values()
        absent = [p.name for p in parts if not p.default or p.default is p.empty]
        words: dict[str, Any] = {name: None for name in absent if not (self.folder / name).is_dir()}
        words |= {"vae": None, "scheduler": None}
        if "safety_checker" in self.family.pipeline._optional_components:
            words |= {"safety_checker": None, "requires_safety_checker": False}
        pipeline = self.family.pipeline.from_pretrained(
            self.folder,
            **{**words, self.component: self.network},
            torch_dtype=self.dtype,
            use_safetensors=True,
            local_files_only=True,
        )
        for part in pipeline.components.values():
            if isinstance(part, nn.Module) and part is not self.network:
                part.requires_grad_(False)
        return pipeline.to(self.device)

    def release(self) -> None:
        """Frees VAE and text encoders until they are asked for again, but for encoders that carry an adapter."""
        for part in ("vae",) if self.text_adapted else ("vae", "encoders"):
            self.__dict__.pop(part, None)

    @torch.no_grad()
    def encode(self, tiles: Tensor) -> Tensor:
        """Cells (b, cells, t, t, 3) in [0, 1] to latents (b, slots, c, h, w), each tile alone."""
        pictures = tiles.flatten(0, 1).movedim(-1, 1).to(self.device, torch.float32) * 2 - 1
        latents = torch.cat([self.vae.encode(part).latent_dist.mode() for part in pictures.split(CHUNK)])
        latents = (latents - (self.vae_config.get("shift_factor") or 0.0)) * self.vae_config["scaling_factor"]
        return latents.unflatten(0, tiles.shape[:2])

    def decode(self, latents: Tensor) -> Tensor:
        """The way back, differentiable: latents (b, slots, c, h, w) to cells (b, cells, t, t, 3) in [0, 1]."""
        raw = latents.flatten(0, 1).float() / self.vae_config["scaling_factor"]
        raw = raw + (self.vae_config.get("shift_factor") or 0.0)
        pictures = torch.cat([self.vae.decode(part).sample for part in raw.split(CHUNK)])
        return (pictures / 2 + 0.5).clamp(0, 1).movedim(1, -1).unflatten(0, latents.shape[:2])

    def embed(self, texts: list[str]) -> Text:
        """Sentences to their embedding, by the family's own pipeline."""
        with autocast(self.device, self.dtype):
            found = self.family.embed(self.encoders, texts)
        return Text(found.tokens.float(), None if found.pooled is None else found.pooled.float())

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """α and σ at times (b,): √ᾱ and √(1 − ᾱ) of the nearest step (Ho et al. 2020, eq. 4), or 1 − t and t."""
        if self.alphas is None:
            return 1 - t, t
        mean = self.alphas[self._step(t).long().cpu()].to(t.device)
        return mean.sqrt(), (1 - mean).sqrt()

    def _step(self, t: Tensor) -> Tensor:
        return t * TIMES if self.alphas is None else (t * TIMES).round().clamp(0, TIMES - 1)

    def guess(self, drawing: Tensor, seen: Tensor) -> None:
        """Nothing: a plain base knows a drawing only by what its network says."""

    def viewpoint(self, drawing: Tensor) -> None:
        """Nothing, likewise."""

    def denoise(
        self, latents: Tensor, t: Tensor, text: Text, known: Tensor, seen: Tensor | None = None
    ) -> Tensor:
        """The network's answer, as ``prediction`` says; see `lora3d.base.mini.MiniBase.denoise` for the shapes.

        ``seen`` is not used: nothing in a plain base reads a camera.
        """
        canvas = join_tiles(latents, self.grid.columns).to(self.dtype)
        width, height = self.grid.size
        tokens = text.tokens.to(self.dtype)
        words = Text(tokens, None if text.pooled is None else text.pooled.to(self.dtype))
        with autocast(self.device, self.dtype):
            found = self.family.call(self.network, canvas, self._step(t), words, (height, width))
        return split_tiles(found.to(latents.dtype), self.grid.rows, self.grid.columns)


def join_tiles(latents: Tensor, columns: int) -> Tensor:
    """Latents of tiles (b, cells, c, h, w) in reading order to one canvas (b, c, rows·h, columns·w)."""
    b, _, c, _, w = latents.shape
    rows = latents.unflatten(1, (-1, columns))
    return rows.permute(0, 3, 1, 4, 2, 5).reshape(b, c, -1, columns * w)


def split_tiles(canvas: Tensor, rows: int, columns: int) -> Tensor:
    """The exact inverse of `join_tiles`."""
    cells = canvas.unflatten(2, (rows, -1)).unflatten(4, (columns, -1))
    return cells.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def vae_factor(config: dict[str, Any]) -> int:
    """Pixels a latent."""
    return 2 ** (len(config["block_out_channels"]) - 1)


def load_plain(
    folder: Path,
    family: Family,
    grid: ViewGrid,
    device: str | torch.device,
    dtype: torch.dtype,
    quantised: bool = False,
) -> PlainBase:
    """Loads the network of a base in diffusers layout, ``quantised`` as `lora3d.base.quantise` does.

    Raises InputError for a folder without its parts in safetensors, and GridError for a grid that it cannot hold.
    """
    from lora3d.base import hash_weights

    try:
        require_fit(folder, family, grid)
        network = family.network.from_pretrained(
            folder / family.component, torch_dtype=dtype, use_safetensors=True, local_files_only=True
        )
        config = DDPMScheduler.load_config(folder / "scheduler", local_files_only=True)
    except (OSError, ValueError) as error:
        if isinstance(error, GridError):
            raise
        raise InputError(
            f"base {folder} cannot be read as {family.pipeline.__name__}: {first_line(error)} "
            "(expected diffusers layout with safetensors)"
        ) from error
    unet = family.component == "unet"
    if quantised:  # straight from the mapped file: the whole is never in memory
        quantise_layers(network, torch.device(device), dtype)
    for parameter in filter(torch.is_floating_point, network.parameters()):
        # Off the mapped file, whose pages would stay beside those of all that is laid out anew.
        layout = torch.channels_last if unet and parameter.ndim == 4 else torch.contiguous_format
        parameter.data = parameter.detach().clone(memory_format=layout)
    scheduler, prediction, alphas = read_schedule(config, str(folder))
    return PlainBase(
        base_name(folder),
        hash_weights(folder),
        folder,
        grid,
        family,
        network.to(device).eval().requires_grad_(False),
        scheduler,
        prediction,
        alphas,
        dtype,
    )


def base_name(folder: Path) -> str:
    """What a base is called: its folder's name, or the Hub's owner/name.

    huggingface_hub calls a model's folder by its commit: models--owner--name/snapshots/COMMIT.
    """
    model = folder.parents[1].name if folder.parent.name == "snapshots" else ""
    return model.removeprefix("models--").replace("--", "/") if model.startswith("models--") else folder.name


def read_schedule(config: dict[str, Any], where: str) -> tuple[Any, str, Tensor | None]:
    """A base's scheduler file to a sampler, what is predicted, and ᾱ (1000,), None for flow matching.

    The sampler is one that leaves its input as it is, so that clean tiles stay clean: DDIM (Song et al. 2020)
    on the base's own schedule, or flow matching's Euler steps.
    """
    if config.get("num_train_timesteps", TIMES) != TIMES:
        raise InputError(
            f"base {where}: {config['num_train_timesteps']} training timesteps, expected {TIMES}"
        )
    if "FlowMatch" in config.get("_class_name", ""):
        return FlowMatchEulerDiscreteScheduler.from_config(config), "flow_prediction", None
    ours = {k: v for k, v in config.items() if k in DDIMScheduler().config and k[0] != "_"}
    sampler = DDIMScheduler.from_config({**ours, "clip_sample": False, "thresholding": False})
    prediction = sampler.config.prediction_type
    if prediction not in ("epsilon", "v_prediction"):
        raise InputError(f"base {where} predicts {prediction!r}, expected epsilon or v_prediction")
    return sampler, prediction, sampler.alphas_cumprod


def tile_unit(folder: Path, family: Family) -> int:
    """Pixels that a tile must be a multiple of."""
    network = family.network.load_config(folder / family.component, local_files_only=True)
    vae = AutoencoderKL.load_config(folder / "vae", local_files_only=True)
    return vae_factor(vae) * family.patch(network)


def require_fit(folder: Path, family: Family, grid: ViewGrid) -> None:
    """Raises GridError for tiles that the base cannot hold, with the sizes that would fit."""
    network = family.network.load_config(folder / family.component, local_files_only=True)
    factor = vae_factor(AutoencoderKL.load_config(folder / "vae", local_files_only=True))
    unit = tile_unit(folder, family)
    if grid.tile % unit:
        below, above = grid.tile // unit * unit, (grid.tile // unit + 1) * unit
        sizes = " or ".join(str(s) for s in (below, above) if s)
        raise GridError(
            f"base {folder.name!r} holds tiles of a multiple of {unit} px, the grid {grid.name!r} has tiles of "
            f"{grid.tile}: make the dataset with --tile {sizes}"
        )
    most = family.largest(network)
    longest = max(grid.rows, grid.columns)
    if most is not None and longest * grid.tile > most * factor:
        fits = most * factor // longest // unit * unit
        raise GridError(
            f"base {folder.name!r} holds a canvas of {most * factor} px a side, the grid {grid.name!r} is "
            f"{grid.size[0]}×{grid.size[1]}: "
            + (
                f"tiles of {fits} px fit (--tile {fits})"
                if fits
                else "no tile fits; take a grid of fewer cells"
            )
        )
