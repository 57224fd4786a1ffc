"""`mini`: the embedded base. A Stable-Diffusion-shaped pipeline for grids, small enough to ship.

Saved in diffusers layout: ``StableDiffusionPipeline.from_pretrained(folder)`` loads it. What it adds to that
pipeline is only where the cells go:

- A *slot* is the rgb cell and the depth cell of one camera, joined to a picture of four channels and encoded
  alone by the codec, 8×8 pixels to a latent of `LATENT_CHANNELS`. The drawing and its coverage are slot 0.
- Slots stand side by side in one strip, so that the UNet's attention sees all views at once.
- Beside the noisy latents the UNet reads, at every position: a first guess of them, whether the slot is known,
  the ray of the slot's camera (`ray_channels`), and the drawing as it lies in space along that ray
  (`lora3d.base.sweep`). diffusers has UNets with more input than latent channels too (InstructPix2Pix,
  inpainting).
- It predicts the clean latents (``prediction_type="sample"``) along the straight path of flow matching.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from lora3d.base.space import read_space
from lora3d.base.sweep import SWEEP_CHANNELS, Laid, Sweep, new_sweep
from lora3d.base.text import Text, has_adapter
from lora3d.camera import Camera, rays
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, read_grid

PATCH = 8
LATENT_CHANNELS = 64
RAY_CHANNELS = 18
INPUT_CHANNELS = 2 * LATENT_CHANNELS + 1 + RAY_CHANNELS + SWEEP_CHANNELS


@dataclass(frozen=True)
class MiniBase:
    """The loaded base; see `lora3d.base` for what a base offers.

    Attributes:
        revision: SHA-256 of the weights, hexadecimal; what an adapter's card refers to.
        rays: (slots, RAY_CHANNELS, h, w), the camera channels of the grid.
        moments: (2, LATENT_CHANNELS), mean and deviation of every channel over views.
        sweep: lays the drawing through space, and holds the codec; see `lora3d.base.sweep`.
    """

    name: str
    revision: str
    folder: Path
    grid: ViewGrid
    unet: UNet2DConditionModel
    vae: AutoencoderTiny
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DPMSolverMultistepScheduler
    rays: Tensor
    moments: Tensor
    sweep: Sweep

    steps = 4
    guidance = 1.5
    samples = 5
    at_once = 8

    @property
    def device(self) -> torch.device:
        # diffusers' own `device` walks all modules each time: 2 ms, ten times a step.
        return next(self.unet.parameters()).device

    @property
    def slots(self) -> int:
        """Latent tiles a grid: the drawing and one for each camera."""
        return self.grid.columns

    @property
    def network(self) -> UNet2DConditionModel:
        return self.unet

    @property
    def component(self) -> str:
        return "unet"

    @property
    def text_encoders(self) -> dict[str, CLIPTextModel]:
        return {"text_encoder": self.text_encoder}

    @property
    def text_adapted(self) -> bool:
        return has_adapter(self.text_encoder)

    @property
    def prediction(self) -> str:
        return "sample"

    @property
    def slot_channels(self) -> tuple[str, ...]:
        """What each slot shows, by its first cell."""
        return tuple(cell.channel for cell in self.grid.cells[: self.grid.columns])

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """How much of the clean latents and of the noise is in x_t: 1 − t and t."""
        return 1 - t, t

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """(slots, channels, h, w) of one grid's latents."""
        side = self.grid.tile // PATCH
        return self.slots, LATENT_CHANNELS, side, side

    def release(self) -> None:
        """Codec and text encoder are small: they stay."""

    @torch.no_grad()
    def encode(self, tiles: Tensor) -> Tensor:
        """Cells (b, cells, t, t, 3) in [0, 1] to latents (b, slots, c, h, w), each slot alone."""
        b = len(tiles)
        pictures = join_cells(self.grid, tiles.to(self.device, torch.float32)).flatten(0, 1)
        return self.sweep.linear(pictures).unflatten(0, (b, self.slots))

    def decode(self, latents: Tensor) -> Tensor:
        """The way back, differentiable: latents (b, slots, c, h, w) to cells (b, cells, t, t, 3) in [0, 1]."""
        pictures = self.sweep.inverse(latents.flatten(0, 1).float())
        return split_cells(self.grid, pictures.unflatten(0, latents.shape[:2]).clamp(0, 1))

    def embed(self, texts: list[str]) -> Text:
        """Sentences to their embedding; the empty sentence is "nothing said"."""
        ids = tokenize(self.tokenizer, texts).to(self.device)
        return Text(self.text_encoder(ids).last_hidden_state.float())

    def guess(self, drawing: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """What is guessed of drawings before the network is asked; see `lora3d.base.Base`."""
        slots, solid = self.sweep.guess(drawing, seen)
        return split_cells(self.grid, slots), solid

    def viewpoint(self, drawing: Tensor) -> Tensor:
        """Where drawings are guessed to be seen from; see `lora3d.base.Base`."""
        return self.sweep.viewpoint(drawing)

    def denoise(
        self, latents: Tensor, t: Tensor, text: Text, known: Tensor, seen: Tensor | None = None
    ) -> Tensor:
        """The network's guess of the clean latents, differentiable in ``latents``.

        Args:
            latents: (b, slots, c, h, w), noisy at time t but where known: there clean.
            t: (b,) times in [0, 1].
            text: b embedded sentences.
            known: (b, slots) bool.
            seen: (b, 2), where drawings were seen from; see `lora3d.base.Base`.
        """
        if seen is None:
            seen = latents.new_full((len(latents), 2), math.nan)
        laid = self.sweep(latents[:, 0], seen, known[:, 0])
        return denoise_strip(self.unet, latents, t, text.tokens, known, laid, self.rays, self.moments)


def lay_out(unet: UNet2DConditionModel, device: str | torch.device) -> UNet2DConditionModel:
    """Moves a UNet to a device in its fastest layout there.

    On a CPU torch's fused attention loses to plain matrix products at heads of 32 channels: backward took
    0.39 s of a training step's 1.35 s, a step without it takes 1.0 s.
    """
    unet.to(device, memory_format=torch.channels_last)
    if torch.device(device).type == "cpu":
        unet.set_attn_processor(PlainAttention())
    return unet


class PlainAttention:
    """Softmax(q·kᵀ/√d)·v by matrix products (Vaswani et al. 2017, eq. 1), for the sequences of a UNet's blocks.

    Like diffusers' `AttnProcessor`, but for the softmax's precision, which is that of the products: autocast
    would keep its answer for the backward pass a second time, in float32.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: None = None,
    ) -> Tensor:
        """hidden_states (b, n, c), encoder_hidden_states (b, m, d) or None for the same; returns (b, n, c)."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q = attn.head_to_batch_dim(attn.to_q(hidden_states))
        k, v = (attn.head_to_batch_dim(to(context)) for to in (attn.to_k, attn.to_v))
        with torch.autocast(q.device.type, enabled=False):
            share = attn.get_attention_scores(q, k)
        found = attn.batch_to_head_dim(torch.bmm(share, v))
        return attn.to_out[1](attn.to_out[0](found))


def denoise_strip(
    unet: UNet2DConditionModel,
    latents: Tensor,
    t: Tensor,
    tokens: Tensor,
    known: Tensor,
    laid: Laid,
    camera_rays: Tensor,
    moments: Tensor,
) -> Tensor:
    """Lays the slots out as one strip, runs the UNet, and takes them apart; shapes as in `MiniBase.denoise`.

    The network is preconditioned like Karras et al. 2022 (eq. 7), with the mean μ and deviation σ of every
    latent channel, ``moments`` (2, c). With v = ((1 − t)·σ)² + t² and ρ = (1 − t)·σ / √v, the correlation of
    x_t with x_0, it adds σ·t / √v times the network's output to the best linear estimate
    μ + σ·ρ·(x_t − (1 − t)·μ) / √v. The network reads (x_t − (1 − t)·μ) / √v times √ρ, so that noise which
    says nothing is not heard.
    """
    b, m, _, h, w = latents.shape
    mean, deviation = moments[:, :, None, None]
    flag = known.to(latents.dtype)[:, :, None, None, None]
    time = t[:, None, None, None, None] * (1 - flag)
    spread = (((1 - time) * deviation) ** 2 + time**2).sqrt()
    unit = (latents - (1 - time) * mean) / spread
    correlation = (1 - time) * deviation / spread
    heard = unit * correlation.sqrt()
    cells = torch.cat(
        [
            heard,
            laid.guess.to(latents.dtype),
            flag.expand(-1, -1, 1, h, w),
            camera_rays.to(latents.dtype).expand(b, -1, -1, -1, -1),
            laid.planes.to(latents.dtype),
        ],
        2,
    )
    strip = (
        cells.permute(0, 2, 3, 1, 4).reshape(b, -1, h, m * w).contiguous(memory_format=torch.channels_last)
    )
    out = unet(strip, t * 1000, encoder_hidden_states=tokens, return_dict=False)[0]
    found = out.reshape(b, -1, h, m, w).permute(0, 3, 1, 2, 4)
    return mean + deviation * (correlation * unit + found * time / spread)


def join_cells(grid: ViewGrid, tiles: Tensor) -> Tensor:
    """Cells (b, cells, t, t, 3) to slots (b, slots, 4, t, t): rgb and depth, drawing and coverage."""
    rows = tiles.unflatten(1, (grid.rows, grid.columns))
    return torch.cat([rows[:, 0], rows[:, 1, ..., :1]], dim=-1).movedim(-1, 2)


def split_cells(grid: ViewGrid, slots: Tensor) -> Tensor:
    """The inverse of `join_cells`, depth as grey."""
    cells = slots.movedim(2, -1)
    return torch.cat([cells[..., :3], cells[..., 3:].expand(*cells.shape[:-1], 3)], dim=1)


def read_moments(folder: Path) -> Tensor:
    """Mean and deviation of every latent channel, (2, LATENT_CHANNELS) float32, from a base's latents.json."""
    fields = json.loads((folder / "latents.json").read_text(encoding="utf-8"))
    return torch.tensor([fields["mean"], fields["deviation"]], dtype=torch.float32)


def ray_channels(grid: ViewGrid) -> Tensor:
    """What each slot's camera says at each latent position, (slots, RAY_CHANNELS, h, w) float32.

    Of the ray through the position's centre: its direction d (3), its point p nearest the origin (3), and
    sin and cos of 2πp and 4πp (12), so that equal places in space look alike in different views. The
    drawing's camera is not known; its slot says the first view's, which the grid is turned to, so that
    attention finds a drawing's rows and columns where the views have them.
    """
    side = grid.tile // PATCH
    views = [_ray_features(camera, side) for camera in grid.cameras("rgb")]
    channels = [views[0], *views]
    return torch.from_numpy(np.stack(channels).transpose(0, 3, 1, 2).astype(np.float32))


def _ray_features(camera: Camera, side: int) -> np.ndarray:
    origins, directions = rays(camera, side)
    directions = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    nearest = origins - (origins * directions).sum(-1, keepdims=True) * directions
    waves = [f(2 * math.pi * k * nearest) for k in (1, 2) for f in (np.sin, np.cos)]
    return np.concatenate([directions, nearest, *waves], axis=-1)


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids (b, model_max_length) int64; a longer sentence is cut at its end."""
    encoded = tokenizer(
        texts,
        padding="max_length",
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_tensors="pt",
    )
    return encoded.input_ids


def load_mini(folder: Path, *, name: str, device: str | torch.device = "cpu") -> MiniBase:
    """Loads a saved base in float32 for inference; see `lora3d.base.load_base` for the errors."""
    from lora3d.base import hash_weights

    grid = read_grid(folder / "grid.json")
    unet = UNet2DConditionModel.from_pretrained(
        folder / "unet", torch_dtype=torch.float32, use_safetensors=True
    )
    if unet.config.in_channels != INPUT_CHANNELS:
        raise InputError(
            f"{folder} is no base of the `mini` family: its UNet reads {unet.config.in_channels} channels, "
            f"expected {INPUT_CHANNELS}"
        )
    vae = AutoencoderTiny.from_pretrained(folder / "vae", torch_dtype=torch.float32, use_safetensors=True)
    vae.to(device).eval().requires_grad_(False)
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    moments = read_moments(folder).to(device)
    return MiniBase(
        name=name,
        revision=hash_weights(folder),
        folder=folder,
        grid=grid,
        unet=lay_out(unet, device).eval().requires_grad_(False),
        vae=vae,
        text_encoder=text_encoder.to(device).eval().requires_grad_(False),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        scheduler=DPMSolverMultistepScheduler.from_pretrained(folder / "scheduler"),
        rays=ray_channels(grid).to(device),
        moments=moments,
        sweep=new_sweep(read_space(folder), vae, moments, grid),
    )
