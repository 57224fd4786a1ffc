"""Adapters with the names and shapes of the real networks, rank 1: what the interoperability scripts export."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import SD3Transformer2DModel, UNet2DConditionModel
from torch import nn

from lora3d.adapter_layers import Layer, Layers

SDXL: dict[str, Any] = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
    "cross_attention_dim": 2048,
}
SD1: dict[str, Any] = {"cross_attention_dim": 768, "attention_head_dim": 8}
SD2: dict[str, Any] = {
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
TEXT = {"text_encoder": (12, 768), "text_encoder_2": (32, 1280)}
CLIP_ENDS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.out_proj",
    "mlp.fc1",
    "mlp.fc2",
)


def network(family: str) -> nn.Module:
    """The real network at its real size, without memory."""
    with torch.device("meta"):
        if family == "sd3":
            return SD3Transformer2DModel(
                pos_embed_max_size=192, num_layers=24, num_attention_heads=24, caption_projection_dim=1536
            )
        return UNet2DConditionModel(**{"sd1": SD1, "sd2": SD2, "sdxl": SDXL}[family])


def layers_for(family: str, text: bool = True, dora: bool = False) -> Layers:
    """A rank-1 update of every linear and convolutional layer, text encoders included."""
    component = "transformer" if family == "sd3" else "unet"
    shapes = {
        f"{component}.{name}": tuple(module.weight.shape)
        for name, module in network(family).named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    if text:
        encoders = TEXT if family in ("sdxl", "sd3") else {"text_encoder": TEXT["text_encoder"]}
        if family == "sd2":
            encoders = {"text_encoder": (23, 1024)}
        for encoder, (depth, width) in encoders.items():
            for i in range(depth):
                for end in CLIP_ENDS:
                    out = 4 * width if end == "mlp.fc1" else width
                    read = 4 * width if end == "mlp.fc2" else width
                    shapes[f"{encoder}.text_model.encoder.layers.{i}.{end}"] = (out, read)
    generator = torch.Generator().manual_seed(0)
    layers = {}
    for name, shape in shapes.items():
        down = torch.randn(1, *shape[1:], generator=generator) * 0.01
        up = torch.randn(shape[0], 1, *[1] * (len(shape) - 2), generator=generator) * 0.01
        layers[name] = Layer(down, up, 0.5, torch.ones(shape[0]) if dora else None)
    return layers
