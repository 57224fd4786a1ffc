"""The networks of a base of `mini`'s family: made anew, in the order they need each other; loaded; saved."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from lora3d.base.build import new_scheduler, new_text_encoder, new_tokenizer, new_unet, save_base
from lora3d.base.codec import (
    latent_moments,
    linear_codec,
    new_codec,
    principal_components,
    set_encoder,
    train_decoder,
)
from lora3d.base.mini import read_moments
from lora3d.base.space import SpaceNet, read_space
from lora3d.base.train_space import train_space
from lora3d.data_prep.stream import Example, make_example, stream_examples
from lora3d.grid import ViewGrid
from lora3d.recipe import PretrainConfig

SPACE_SEED = 500_000_000  # shapes from here on teach the space network, which then guesses on others


@dataclass
class Networks:
    """What is trained together, the UNet and the text encoder; and what feeds them, which is trained before."""

    unet: UNet2DConditionModel
    text_encoder: nn.Module
    tokenizer: CLIPTokenizer
    vae: AutoencoderTiny
    moments: Tensor
    space: SpaceNet

    def trained(self) -> nn.ModuleDict:
        return nn.ModuleDict({"unet": self.unet, "text_encoder": self.text_encoder})


def fit_codec(
    config: PretrainConfig, grid: ViewGrid, dtype: torch.dtype
) -> tuple[AutoencoderTiny, Tensor, list[str]]:
    """From ``codec_shapes`` shapes: the codec (encoder in closed form, decoder trained), moments, captions."""
    examples = [example_of(config, grid, i) for i in range(config.codec_shapes)]
    bytes_ = torch.from_numpy(np.concatenate([np.concatenate([e.views, e.drawings]) for e in examples]))
    pictures = bytes_.movedim(-1, 1)
    torch.manual_seed(config.seed)
    codec = new_codec()
    set_encoder(codec, *principal_components(pictures.float() / 255))
    train_decoder(codec, pictures, steps=config.codec_steps, autocast_dtype=dtype, seed=config.seed)
    return codec, latent_moments(codec, pictures), [e.caption for e in examples]


def example_of(config: PretrainConfig, grid: ViewGrid, seed: int) -> Example:
    return make_example(
        seed,
        grid,
        drawings=config.drawings,
        assembly_share=config.assembly_share,
        game_share=config.game_share,
    )


def fresh_examples(config: PretrainConfig, grid: ViewGrid, start: int) -> Generator[Example]:
    return stream_examples(
        grid,
        start=start,
        workers=config.workers,
        drawings=config.drawings,
        assembly_share=config.assembly_share,
        game_share=config.game_share,
    )


def new_networks(config: PretrainConfig, grid: ViewGrid, dtype: torch.dtype) -> Networks:
    """The codec fitted, all else to be trained; the recipe's seed chooses the weights."""
    vae, moments, captions = fit_codec(config, grid, dtype)
    tokenizer = new_tokenizer(captions, config.size)
    torch.manual_seed(config.seed)
    unet, text_encoder = new_unet(config.size, grid), new_text_encoder(tokenizer, config.size)
    return Networks(unet, text_encoder, tokenizer, vae, moments, SpaceNet())


def teach_space(
    networks: Networks, config: PretrainConfig, grid: ViewGrid, dtype: torch.dtype, start: int
) -> int:
    """Trains the space network for ``space_steps`` on shapes number ``start`` and on of its own; returns the next."""
    stream = fresh_examples(config, grid, SPACE_SEED + start)
    try:
        codec = linear_codec(networks.vae, (*grid.background, 0.0))
        networks.space = train_space(networks.space, stream, grid, codec, config, dtype)
        return next(stream).seed - SPACE_SEED
    finally:
        stream.close()


def load_networks(folder: Path, grid: ViewGrid) -> Networks:
    return Networks(
        UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32),
        CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        AutoencoderTiny.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval(),
        read_moments(folder),
        read_space(folder),
    )


def save_networks(folder: Path, networks: Networks, grid: ViewGrid, config: PretrainConfig) -> None:
    save_base(
        folder,
        grid,
        networks.unet,
        networks.vae,
        networks.moments,
        networks.space,
        networks.text_encoder,
        networks.tokenizer,  # type: ignore[arg-type]
        new_scheduler(config.sampler_shift),
    )
