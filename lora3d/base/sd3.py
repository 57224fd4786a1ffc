"""Stable Diffusion 3 and 3.5 (Esser et al. 2024): a transformer, flow matching; the third text encoder is optional."""

from __future__ import annotations

from typing import Any

from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from torch import Tensor

from lora3d.base.plain import Family
from lora3d.base.text import Text


def embed(pipeline: Any, sentences: list[str]) -> Text:
    """(b, 77 + 256, d): both CLIP encoders side by side, T5 after them, zeros where the base has none."""
    tokens, _, pooled, _ = pipeline.encode_prompt(
        sentences, None, None, device=pipeline.text_encoder.device, do_classifier_free_guidance=False
    )
    return Text(tokens, pooled)


def call(transformer: Any, canvas: Tensor, step: Tensor, text: Text, pixels: tuple[int, int]) -> Tensor:
    return transformer(canvas, text.tokens, pooled_projections=text.pooled, timestep=step, return_dict=False)[
        0
    ]


SD3 = Family(
    pipeline=StableDiffusion3Pipeline,
    component="transformer",
    network=SD3Transformer2DModel,
    patch=lambda config: config["patch_size"],
    largest=lambda config: config["pos_embed_max_size"] * config["patch_size"],
    call=call,
    embed=embed,
)
