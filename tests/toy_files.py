"""A toy base as one file under the names that the models' authors gave their weights.

No maintained tool writes these files, so their names are written down here: CompVis' for Stable Diffusion 1
(``openaimodel.py``, ``model.py`` of latent-diffusion), Stability AI's for SDXL and SD 3, open_clip's for SD 2's
text encoder and SDXL's second. diffusers' reader is what they are tested against.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora3d.adapter_names import FUSED, mmdit_name

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
OPEN_CLIP = {
    "final_layer_norm": "ln_final",
    "encoder.layers": "transformer.resblocks",
    "layer_norm": "ln_",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn": "attn",
    "embeddings.token_embedding": "token_embedding",
}
LAYERS = 1  # a block of the toy UNet


def save_single(family: str, folder: Path, file: Path) -> Path:
    """The base of a folder as one file, and beside it the folder that `lora3d.base.single` wants."""
    weights = {part.parent.name: load_file(part) for part in folder.glob("*/*.safetensors")}
    tensors = vae(weights["vae"])
    if "transformer" in weights:
        tensors |= mmdit(weights["transformer"])
        for part, name in (("", "clip_l"), ("_2", "clip_g"), ("_3", "t5xxl")):
            tensors |= prefixed(f"text_encoders.{name}.transformer.", weights.get(f"text_encoder{part}", {}))
    else:
        tensors |= unet(weights["unet"])
        first = {f"text_model.{k.removeprefix('text_model.')}": v for k, v in weights["text_encoder"].items()}
        if family == "sd21":
            tensors |= prefixed("cond_stage_model.model.", open_clip(first))
        elif family == "sdxl":
            tensors |= prefixed("conditioner.embedders.0.transformer.", first)
            tensors |= prefixed("conditioner.embedders.1.model.", open_clip(weights["text_encoder_2"]))
        else:
            tensors |= prefixed("cond_stage_model.transformer.", first)
    save_file({k: v.contiguous() for k, v in tensors.items()}, file)
    shutil.copytree(folder, file.with_suffix(""), ignore=shutil.ignore_patterns("*.safetensors"))
    return file


def prefixed(start: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {start + k: v for k, v in tensors.items()}


def unet(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    made = {}
    for key, value in tensors.items():
        layer, _, kind = key.rpartition(".")
        made[f"model.diffusion_model.{UNET_ENDS.get(layer) or _unet_name(layer)}.{kind}"] = value
    return made


def _unet_name(layer: str) -> str:
    """Blocks are numbered through; an upsampler stands behind the attention where its block has one."""
    block, rest = layer.split(".", 1)
    if block == "mid_block":
        kind, number, rest = rest.split(".", 2)
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}.{RESNET.get(rest, rest)}"
    index, kind, number, rest = rest.split(".", 3)
    within = 1 if kind == "attentions" else 0
    if block == "down_blocks":
        first = int(index) * (LAYERS + 1) + 1
        if kind == "downsamplers":
            return f"input_blocks.{first + LAYERS}.0.op"
        return f"input_blocks.{first + int(number)}.{within}.{RESNET.get(rest, rest)}"
    first = int(index) * (LAYERS + 1)
    if kind == "upsamplers":
        return f"output_blocks.{first + LAYERS}.1.conv"  # the toy's stands in a block without attention
    return f"output_blocks.{first + int(number)}.{within}.{RESNET.get(rest, rest)}"


def vae(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Attention's matrices are 1×1 convolutions there, and the decoder counts its levels from the finest."""
    top = max(int(m[1]) for k in tensors if (m := re.match(r"decoder\.up_blocks\.(\d+)", k)))
    made = {}
    for key, value in tensors.items():
        name = re.sub(r"up_blocks\.(\d+)", lambda m: f"up.{top - int(m[1])}", key)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        for ours, theirs in (
            ("down_blocks.", "down."), (".resnets.", ".block."), ("downsamplers.0", "downsample"),
            ("upsamplers.0", "upsample"), ("mid_block.attentions.0", "mid.attn_1"), ("conv_shortcut", "nin_shortcut"),
            ("conv_norm_out", "norm_out"), ("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"),
            ("to_out.0", "proj_out"),
        ):  # fmt: skip
            name = name.replace(ours, theirs)
        is_matrix = "attn_1" in name and value.ndim == 2
        made[f"first_stage_model.{name}"] = value[:, :, None, None] if is_matrix else value
    return made


def open_clip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """q, k and v are one matrix, positions a bare tensor, the projection the other way round."""
    made: dict[str, Tensor] = {}
    for key, value in tensors.items():
        name = key.removeprefix("text_model.")
        for ours, theirs in OPEN_CLIP.items():
            name = name.replace(ours, theirs)
        if ".q_proj." in name:
            both = [tensors[key.replace("q_proj", f"{c}_proj")] for c in "qkv"]
            made[name.replace(".q_proj.", ".in_proj_")] = torch.cat(both)
        elif "position_embedding" in name:
            made["positional_embedding"] = value
        elif name == "text_projection.weight":
            made["text_projection"] = value.T
        elif ".k_proj." not in name and ".v_proj." not in name:
            made[name] = value
    return made


def mmdit(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """q, k and v are one matrix, their norms (SD 3.5) called ln; the last modulations have shift before scale."""
    last = max(int(k.split(".")[1]) for k in tensors if k.startswith("transformer_blocks."))
    swapped = ("norm_out.linear", f"transformer_blocks.{last}.norm1_context.linear")
    made: dict[str, Tensor] = {}
    for key, value in tensors.items():
        layer, _, kind = key.rpartition(".")
        block = re.split(r"\.attn2?\.", layer)[0]
        fused = next((f for f, ends in FUSED.items() if layer.endswith("." + ends[0])), None)
        if key == "pos_embed.pos_embed":
            made["pos_embed"] = value
        elif fused:
            whole = torch.cat([tensors[f"{block}.{end}.{kind}"] for end in FUSED[fused]])
            made[f"{block.replace('transformer_blocks', 'joint_blocks')}.{fused}.{kind}"] = whole
        elif norm := re.search(r"\.(attn2?)\.norm_(added_)?([qk])$", layer):
            side = "context_block" if norm[2] else "x_block"
            joint = block.replace("transformer_blocks", "joint_blocks")
            made[f"{joint}.{side}.{norm[1]}.ln_{norm[3]}.{kind}"] = value
        elif not re.search(r"attn2?\.(to|add)_[kv]", layer):
            value = torch.cat(value.chunk(2)[::-1]) if layer in swapped else value
            made[f"{mmdit_name(layer)}.{kind}"] = value
    return prefixed("model.diffusion_model.", made)
