"""Stable Diffusion 1.5 and 2.1 (Rombach et al. 2022): a UNet, one CLIP text encoder; ε or v by the base's files."""

from __future__ import annotations

from typing import Any

from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor

from lora3d.base.plain import Family
from lora3d.base.text import Text


def embed(pipeline: Any, sentences: list[str]) -> Text:
    """(b, 77, d), the encoder's last layer."""
    return Text(pipeline.encode_prompt(sentences, pipeline.text_encoder.device, 1, False)[0])


def call(unet: Any, canvas: Tensor, step: Tensor, text: Text, pixels: tuple[int, int]) -> Tensor:
    return unet(canvas, step, encoder_hidden_states=text.tokens, return_dict=False)[0]


def unet_patch(config: dict[str, Any]) -> int:
    """Each level of a UNet but the last halves the canvas."""
    return 2 ** (len(config["block_out_channels"]) - 1)


SD = Family(
    pipeline=StableDiffusionPipeline,
    component="unet",
    network=UNet2DConditionModel,
    patch=unet_patch,
    largest=lambda config: None,
    call=call,
    embed=embed,
)
