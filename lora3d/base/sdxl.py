"""Stable Diffusion XL (Podell et al. 2023): two text encoders; the size of the canvas is a condition too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from lora3d.base.sd import SD
from lora3d.base.text import Text


def embed(pipeline: Any, sentences: list[str]) -> Text:
    """(b, 77, d1 + d2), both encoders' last but one layer, and the second's pooled vector.

    Where the base says so (``force_zeros_for_empty_prompt``), the empty sentence is zeros.
    """
    tokens, _, pooled, _ = pipeline.encode_prompt(
        sentences, device=pipeline.text_encoder.device, do_classifier_free_guidance=False
    )
    if pipeline.config.force_zeros_for_empty_prompt:
        said = torch.tensor([bool(s) for s in sentences], device=tokens.device)
        tokens, pooled = tokens * said[:, None, None], pooled * said[:, None]
    return Text(tokens, pooled)


def call(unet: Any, canvas: Tensor, step: Tensor, text: Text, pixels: tuple[int, int]) -> Tensor:
    """Micro-conditioning (sec. 2.2): original size, crop and target size; the canvas is whole, as it was made."""
    sizes = torch.tensor([*pixels, 0, 0, *pixels], dtype=canvas.dtype, device=canvas.device)
    added = {"text_embeds": text.pooled, "time_ids": sizes.expand(len(canvas), -1)}
    return unet(canvas, step, encoder_hidden_states=text.tokens, added_cond_kwargs=added, return_dict=False)[
        0
    ]


SDXL = replace(SD, pipeline=StableDiffusionXLPipeline, call=call, embed=embed)
