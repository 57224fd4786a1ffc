"""Trains `mini` from scratch on freshly rendered shapes; reads top to bottom as the experiment.

``lora3d base train RECIPE --out DIR [--init DIR]``. The optimiser's state stays in DIR, for `--resume`; only
the averaged weights, in fp16 and diffusers layout under DIR/base, are meant to be kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn
from transformers import CLIPTokenizer

from lora3d.base.build import (
    new_scheduler,
    new_text_encoder,
    new_tokenizer,
    new_unet,
    save_base,
)
from lora3d.base.codec import new_codec, principal_components, set_encoder, train_decoder
from lora3d.base.mini import denoise_strip, ray_channels, tokenize
from lora3d.data_prep.stream import Example, make_example, stream_examples, turn_views
from lora3d.device import autocast, choose_device, choose_dtype
from lora3d.diffusion import held_out_times, interpolate, logit_normal_times, masked_mse
from lora3d.grid import PRESETS, ViewGrid
from lora3d.recipe import PretrainConfig, to_fields

HELD_OUT_SEED = 1_000_000_000  # shapes from here on are never trained on


@dataclass
class Networks:
    """What is trained together: the UNet and the text encoder, and what feeds them."""

    unet: nn.Module
    text_encoder: nn.Module
    tokenizer: CLIPTokenizer
    vae: AutoencoderTiny

    def trained(self) -> nn.ModuleDict:
        return nn.ModuleDict({"unet": self.unet, "text_encoder": self.text_encoder})


def fit_codec(
    config: PretrainConfig, grid: ViewGrid, dtype: torch.dtype
) -> tuple[AutoencoderTiny, list[str]]:
    """The codec fitted to ``codec_shapes`` shapes (encoder in closed form, decoder trained), and their captions."""
    examples = [_example(config, grid, i) for i in range(config.codec_shapes)]
    bytes_ = torch.from_numpy(np.concatenate([np.concatenate([e.views, e.drawings]) for e in examples]))
    pictures = bytes_.movedim(-1, 1)
    torch.manual_seed(config.seed)
    codec = new_codec()
    set_encoder(codec, *principal_components(pictures.float() / 255))
    train_decoder(codec, pictures, steps=config.codec_steps, autocast_dtype=dtype, seed=config.seed)
    return codec, [e.caption for e in examples]


def _example(config: PretrainConfig, grid: ViewGrid, seed: int) -> Example:
    return make_example(seed, grid, drawings=config.drawings, assembly_share=config.assembly_share)


def pictures_of(example: Example, choice: int) -> np.ndarray:
    """One drawing and the views turned to it: (slots, t, t, 4) uint8."""
    views = turn_views(example.views, int(example.sides[choice]))
    return np.concatenate([example.drawings[choice][None], views])


@torch.no_grad()
def make_batch(
    examples: list[Example],
    choices: np.ndarray,
    networks: Networks,
    config: PretrainConfig,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Latents (b, slots, c, h, w), token ids (b, n) and which slots are given (b, slots), on the CPU."""
    pictures = torch.from_numpy(np.stack([pictures_of(e, c) for e, c in zip(examples, choices, strict=True)]))
    b, m = pictures.shape[:2]
    values = pictures.flatten(0, 1).movedim(-1, 1).float() / 127.5 - 1
    latents = networks.vae.encode(values).latents * networks.vae.config.scaling_factor
    known = np.zeros((b, m), dtype=bool)
    known[:, 0] = rng.random(b) < config.reference_share
    extra = rng.random(b) < config.extra_share
    known[:, 1:] = extra[:, None] & (rng.random((b, m - 1)) < rng.random((b, 1)) * 0.7)
    say = rng.random(b) < np.where(known[:, 0], config.text_share, 0.9)
    captions = [e.caption if s else "" for e, s in zip(examples, say, strict=True)]
    return {
        "latents": latents.unflatten(0, (b, m)),
        "ids": tokenize(networks.tokenizer, captions),
        "known": torch.from_numpy(known),
    }


def loss_of(
    networks: Networks,
    batch: dict[str, Tensor],
    t: Tensor,
    noise: Tensor,
    rays: Tensor,
    config: PretrainConfig,
    dtype: torch.dtype,
) -> Tensor:
    """Loss (b,): squared error of the clean latents where a slot is not given, flat in t."""
    clean, known = batch["latents"], batch["known"]
    noisy = torch.where(known[:, :, None, None, None], clean, interpolate(clean, noise, t))
    with autocast(clean.device, dtype):
        tokens = networks.text_encoder(batch["ids"]).last_hidden_state
        guess = denoise_strip(networks.unet, noisy, t, tokens, known, rays)  # type: ignore[arg-type]
    weight = (~known).float()
    weight[:, 0] *= config.reference_weight
    return masked_mse(guess.float(), clean, weight)


def rate_at(step: int, config: PretrainConfig) -> float:
    """The learning rate's factor, a trapezoid: warm-up, constant, linear decay to zero."""
    left = (config.steps - step) / max(1, round(config.steps * config.decay_share))
    return min(1.0, (step + 1) / config.warmup, left)


class Optimiser:
    """Muon (Jordan et al. 2024) for the matrices and kernels inside, AdamW for embeddings, ends, gains and biases.

    torch's Muon takes matrices only; a kernel is handed to it as the matrix (out, height·width·in), a view of
    the same memory in channels_last.
    """

    def __init__(self, model: nn.Module, config: PretrainConfig) -> None:
        ends = ("embed", "conv_in", "conv_out")
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self.inner = [p for n, p in named if p.ndim >= 2 and not any(e in n for e in ends)]
        outer = [p for n, p in named if p.ndim < 2 or any(e in n for e in ends)]
        self.matrices = [nn.Parameter(_as_matrix(p.detach())) for p in self.inner]
        for matrix, parameter in zip(self.matrices, self.inner, strict=True):
            if matrix.data_ptr() != parameter.data_ptr():
                raise RuntimeError(f"a kernel of shape {tuple(parameter.shape)} is not channels_last")
        self.muon = torch.optim.Muon(
            self.matrices, lr=config.muon_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        self.adamw = torch.optim.AdamW(outer, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
        self.rates = ((self.muon, config.muon_rate), (self.adamw, config.learning_rate))
        self.outer = outer

    def step(self, factor: float) -> None:
        """One update at ``factor`` times the learning rates; clears the gradients."""
        for matrix, parameter in zip(self.matrices, self.inner, strict=True):
            matrix.grad = None if parameter.grad is None else _as_matrix(parameter.grad)
        for optimiser, rate in self.rates:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()
        for parameter in (*self.inner, *self.outer):
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


def _as_matrix(weight: Tensor) -> Tensor:
    return weight.permute(0, 2, 3, 1).flatten(1) if weight.ndim == 4 else weight


def pretrain(
    config: PretrainConfig,
    out: Path,
    *,
    init: Path | None = None,
    resume: bool = False,
    device_name: str = "auto",
    precision: str = "auto",
    log_every: int = 50,
    save_every: int = 500,
    max_seconds: float | None = None,
) -> Path:
    """Runs the recipe; returns the folder of the averaged weights, ``out``/base.

    Args:
        init: a saved base whose weights, codec and tokenizer to start from.
        resume: go on from ``out``'s state if there is one.
        max_seconds: start the decay early enough to end about then; None runs all steps.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = choose_device(device_name)
    dtype = choose_dtype(device, precision)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    grid = PRESETS["box6"].with_tile(config.tile)
    if init is None and not (out / "init").exists():
        _save(out / "init", _new_networks(config, grid, dtype), grid, config)
    # Always from disk, so that training sees the codec as it ships: rounded to fp16.
    networks = _load_networks(init or out / "init")

    model = networks.trained().to(device)
    networks.unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = {k: v.detach().float().clone() for k, v in model.state_dict().items()}
    optimiser = Optimiser(model, config)
    step = seen = fresh = 0
    state_file = out / "state.pt"
    if resume and state_file.exists():
        state = torch.load(state_file, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average, step, seen, fresh = state["average"], state["step"], state["seen"], state["fresh"]
        average = {k: v.to(device) for k, v in average.items()}
        rng, generator = np.random.default_rng([config.seed, step]), generator.manual_seed(config.seed + step)

    rays = ray_channels(grid).to(device)
    held_out = _held_out(config, grid, networks)
    stream = stream_examples(
        grid,
        start=fresh,
        workers=config.workers,
        drawings=config.drawings,
        assembly_share=config.assembly_share,
    )
    pool: list[Example] = []
    log = (out / "train.log.jsonl").open("a", encoding="utf-8")
    started, first, running = time.monotonic(), step, 0.0
    parameters = list(model.parameters())
    try:
        while step < config.steps:
            if max_seconds and step % 50 == 0 and time.monotonic() - started > 60:
                config = _end_in_time(config, step, step - first, time.monotonic() - started, max_seconds)
            fresh += _refill(pool, stream, config, fresh)
            picked = [pool[i] for i in rng.integers(0, len(pool), config.batch)]
            choices = rng.integers(0, config.drawings, config.batch)
            batch = {k: v.to(device) for k, v in make_batch(picked, choices, networks, config, rng).items()}
            t = logit_normal_times(config.batch, config.time_mean, config.time_deviation, generator).to(
                device
            )
            noise = torch.randn(batch["latents"].shape, generator=generator).to(device)
            loss = loss_of(networks, batch, t, noise, rays, config, dtype).mean()
            if not torch.isfinite(loss):
                raise RuntimeError(f"loss is {loss.item()} at step {step}; seeds {[e.seed for e in picked]}")
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step(rate_at(step, config))
            step, seen = step + 1, seen + config.batch
            _update_average(average, model, min(config.ema, (1 + step) / (10 + step)))
            running = loss.item() if running == 0 else 0.98 * running + 0.02 * loss.item()
            if step % log_every == 0 or step == config.steps:
                record = {
                    "step": step,
                    "seen": seen,
                    "distinct": fresh,
                    "loss": round(running, 4),
                    "seconds": round(time.monotonic() - started, 1),
                }
                if step % save_every == 0 or step == config.steps:
                    record["held_out"] = round(
                        _held_out_loss(held_out, model, average, networks, rays, config, dtype), 4
                    )
                    _save_state(state_file, model, optimiser, average, step, seen, fresh)
                print(json.dumps(record), flush=True)
                log.write(json.dumps(record) + "\n")
                log.flush()
    finally:
        stream.close()
        log.close()
    model.load_state_dict(average)
    _save(out / "base", networks, grid, config)
    (out / "base" / "training.json").write_text(
        json.dumps({"seen": seen, "distinct": fresh, "recipe": to_fields(config)}, indent=1) + "\n",
        encoding="utf-8",
    )
    return out / "base"


def _end_in_time(
    config: PretrainConfig, step: int, done: int, elapsed: float, limit: float
) -> PretrainConfig:
    """The recipe with as many steps as fit at the speed so far, so that the decay of the rate ends with the time."""
    return replace(config, steps=step + max(1, int(max(1, done) * (limit - elapsed) / elapsed)))


def _refill(pool: list[Example], stream: Iterator[Example], config: PretrainConfig, fresh: int) -> int:
    """Takes this step's share of new examples from the stream; the oldest leave a full pool."""
    wanted = max(1, round(config.batch * config.fresh_share)) if pool else 32 * config.batch
    for i in range(wanted):
        example = next(stream)
        if len(pool) < config.pool:
            pool.append(example)
        else:
            pool[(fresh + i) % config.pool] = example
    return wanted


def _update_average(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights; what is saved and scored."""
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                average[key].lerp_(value.float(), 1 - decay)


def _held_out(config: PretrainConfig, grid: ViewGrid, networks: Networks) -> list[dict[str, Tensor]]:
    """64 fixed examples in batches, always with the drawing given and nothing else."""
    batches = []
    for start in range(0, 64, 16):
        examples = [_example(config, grid, HELD_OUT_SEED + start + i) for i in range(16)]
        batch = make_batch(examples, np.zeros(16, dtype=int), networks, config, np.random.default_rng(start))
        batch["known"][:] = False
        batch["known"][:, 0] = True
        batches.append(batch)
    return batches


@torch.no_grad()
def _held_out_loss(held_out, model, average, networks, rays, config, dtype) -> float:
    """Of the averaged weights, at fixed times and noise."""
    current = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(average)
    times = held_out_times(16, config.time_mean, config.time_deviation)
    losses = []
    for i, batch in enumerate(held_out):
        noise = torch.randn(batch["latents"].shape, generator=torch.Generator().manual_seed(i))
        moved = {k: v.to(rays.device) for k, v in batch.items()}
        losses.append(
            loss_of(networks, moved, times.to(rays.device), noise.to(rays.device), rays, config, dtype)
            .mean()
            .item()
        )
    model.load_state_dict(current)
    return sum(losses) / len(losses)


def _save_state(path: Path, model, optimiser, average, step: int, seen: int, fresh: int) -> None:
    state: dict[str, Any] = {
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "average": average,
        "step": step,
        "seen": seen,
        "fresh": fresh,
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _new_networks(config: PretrainConfig, grid: ViewGrid, dtype: torch.dtype) -> Networks:
    vae, captions = fit_codec(config, grid, dtype)
    tokenizer = new_tokenizer(captions, config.size)
    return Networks(new_unet(config.size, grid), new_text_encoder(tokenizer, config.size), tokenizer, vae)


def _load_networks(folder: Path) -> Networks:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    return Networks(
        UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32),
        CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        AutoencoderTiny.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval(),
    )


def _save(folder: Path, networks: Networks, grid: ViewGrid, config: PretrainConfig) -> None:
    save_base(
        folder,
        grid,
        networks.unet,
        networks.vae,
        networks.text_encoder,
        networks.tokenizer,  # type: ignore[arg-type]
        new_scheduler(config.sampler_shift),
    )
