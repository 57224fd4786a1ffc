"""What the same layer is called in different tools: strings alone, nothing heavy.

The name inside is diffusers': a component and a module's path, ``unet.down_blocks.0.attentions.0.proj_in``. The
component is ``unet``, ``transformer`` or ``text_encoder``, ``text_encoder_2``, ``text_encoder_3``.

kohya's trainer joins everything with underscores: ``lora_unet_down_blocks_0_attentions_0_proj_in``. It trains
SDXL on the network of Stability AI's own code and SD 3 on theirs too, so there the blocks are called as in those
(``input_blocks``, ``joint_blocks``); ComfyUI, A1111 and diffusers accept that. The way back needs to know which
underscores were dots; `WORDS` lists the names that contain one.
"""

from __future__ import annotations

import re

FAMILIES = ("sd1", "sd2", "sdxl", "sd3")
COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2", "text_encoder_3")

_NAMES = """
    down_blocks mid_block up_blocks transformer_blocks proj_in proj_out to_q to_k to_v to_out conv_in conv_out
    conv_shortcut time_emb_proj time_embedding add_embedding linear_1 linear_2 class_embedding
    text_model self_attn q_proj k_proj v_proj out_proj text_projection token_embedding position_embedding
    norm1_context norm_out add_q_proj add_k_proj add_v_proj to_add_out ff_context context_embedder
    time_text_embed timestep_embedder text_embedder pos_embed
    input_blocks middle_block output_blocks in_layers out_layers emb_layers skip_connection time_embed label_emb
    joint_blocks x_block context_block adaLN_modulation final_layer x_embedder t_embedder y_embedder
"""
WORDS = tuple(_NAMES.split())
_TOKEN = re.compile("|".join(sorted(WORDS, key=len, reverse=True)) + "|[^_]+")

_RESNET = (
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv2", "out_layers.3"),
    ("conv_shortcut", "skip_connection"),
)
_ENDS = (
    ("conv_in", "input_blocks.0.0"),
    ("conv_out", "out.2"),
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
)
_MMDIT_ENDS = (
    ("context_embedder", "context_embedder"),
    ("pos_embed.proj", "x_embedder.proj"),
    ("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
    ("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
    ("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"),
    ("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"),
    ("norm_out.linear", "final_layer.adaLN_modulation.1"),
    ("proj_out", "final_layer.linear"),
)
_MMDIT_BLOCK = (
    ("norm1.linear", "x_block.adaLN_modulation.1"),
    ("attn.to_out.0", "x_block.attn.proj"),
    ("attn2.to_out.0", "x_block.attn2.proj"),
    ("ff.net.0.proj", "x_block.mlp.fc1"),
    ("ff.net.2", "x_block.mlp.fc2"),
    ("norm1_context.linear", "context_block.adaLN_modulation.1"),
    ("attn.to_add_out", "context_block.attn.proj"),
    ("ff_context.net.0.proj", "context_block.mlp.fc1"),
    ("ff_context.net.2", "context_block.mlp.fc2"),
)
FUSED = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}


def dotted(name: str) -> str:
    """``down_blocks_0_attentions_0_proj_in`` to ``down_blocks.0.attentions.0.proj_in``."""
    return ".".join(_TOKEN.findall(name))


def sgm_name(path: str) -> str:
    """A layer of SDXL's UNet as Stability AI's code calls it; two layers a block, three blocks.

    An upsampler stands behind the attention where its block has one; in SDXL all that have an upsampler do.
    """
    for ours, theirs in _ENDS:
        if path == ours:
            return theirs
    block, _, rest = path.partition(".")
    if block == "mid_block":
        kind, number, rest = rest.split(".", 2)
        place = 1 if kind == "attentions" else 2 * int(number)
        return f"middle_block.{place}.{_resnet(rest, 0)}"
    index, kind, number, rest = rest.split(".", 3)
    first = 3 * int(index)
    if kind == "downsamplers":
        return f"input_blocks.{first + 3}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{first + 2}.2.conv"
    place = first + int(number) + (block == "down_blocks")
    side = "input_blocks" if block == "down_blocks" else "output_blocks"
    return f"{side}.{place}.{int(kind == 'attentions')}.{_resnet(rest, 0)}"


def from_sgm(path: str) -> str:
    """The inverse of `sgm_name`."""
    for ours, theirs in _ENDS:
        if path == theirs:
            return ours
    side, place, rest = path.split(".", 2)
    if side == "middle_block":
        kind = "attentions.0" if place == "1" else f"resnets.{int(place) // 2}"
        return f"mid_block.{kind}.{_resnet(rest, 1)}"
    inner, _, rest = rest.partition(".")
    if side == "input_blocks":
        index, number = divmod(int(place) - 1, 3)
        if rest == "op":
            return f"down_blocks.{index}.downsamplers.0.conv"
        block = "down_blocks"
    else:
        index, number = divmod(int(place), 3)
        if rest == "conv":
            return f"up_blocks.{index}.upsamplers.0.conv"
        block = "up_blocks"
    return f"{block}.{index}.{'resnets' if inner == '0' else 'attentions'}.{number}.{_resnet(rest, 1)}"


def _resnet(name: str, column: int) -> str:
    return next((pair[1 - column] for pair in _RESNET if pair[column] == name), name)


def mmdit_name(path: str) -> str:
    """A layer of SD 3's transformer as Stability AI's code calls it, but for those that are `FUSED` there."""
    return _mmdit(path, 0)


def from_mmdit(path: str) -> str:
    """The inverse of `mmdit_name`."""
    return _mmdit(path, 1)


def _mmdit(path: str, column: int) -> str:
    blocks = ("transformer_blocks", "joint_blocks")
    for pair in _MMDIT_ENDS:
        if path == pair[column]:
            return pair[1 - column]
    found = re.fullmatch(rf"{blocks[column]}\.(\d+)\.(.+)", path)
    if found:
        for pair in _MMDIT_BLOCK:
            if found[2] == pair[column]:
                return f"{blocks[1 - column]}.{found[1]}.{pair[1 - column]}"
    return path


def kohya_name(name: str, family: str) -> str:
    """``unet.mid_block.resnets.0.conv1`` to ``lora_unet_mid_block_resnets_0_conv1``, SDXL's and SD 3's own way."""
    component, _, path = name.partition(".")
    if component in ("unet", "transformer"):
        path = {"sdxl": sgm_name, "sd3": mmdit_name}.get(family, str)(path)
        return "lora_unet_" + path.replace(".", "_")
    if not path.startswith("text_model.") and component != "text_encoder_3" and path != "text_projection":
        path = "text_model." + path
    number = component.removeprefix("text_encoder").removeprefix("_")
    prefix = "lora_te_" if family in ("sd1", "sd2") else f"lora_te{number or 1}_"
    return prefix + path.replace(".", "_")


def from_kohya(name: str) -> str:
    """The inverse of `kohya_name`; also understands OneTrainer's ``lora_transformer_`` and SimpleTuner's ``lycoris_``.

    Raises ValueError for a name without a prefix of those.
    """
    found = re.fullmatch(r"(lora_unet|lora_transformer|lycoris|lora_te[123]?)_(.+)", name)
    if not found:
        raise ValueError(
            f"{name!r} begins with none of lora_unet_, lora_te_, lora_te1_, lora_te2_, lora_te3_"
        )
    path = dotted(found[2])
    if found[1].startswith("lora_te"):
        number = found[1].removeprefix("lora_te")
        return f"text_encoder_{number}.{path}" if number in ("2", "3") else f"text_encoder.{path}"
    if path.startswith(("input_blocks.", "middle_block.", "output_blocks.")) or path in {b for _, b in _ENDS}:
        return f"unet.{from_sgm(path)}"
    if path.startswith("joint_blocks.") or path in {b for _, b in _MMDIT_ENDS}:
        return f"transformer.{from_mmdit(path)}"
    is_mmdit = found[1] == "lora_transformer" or path.startswith("transformer_blocks.")
    return f"{'transformer' if is_mmdit else 'unet'}.{path}"


def family_of(names: list[str], widths: dict[str, int]) -> str:
    """Which family layers belong to, from their names and the widths that ``attn2.to_k`` reads.

    A network of unknown widths with SD's block names counts as ``sd1``: kohya's names are the same there.
    """
    if any(n.startswith("transformer.") for n in names):
        return "sd3"
    seen = {w for n, w in widths.items() if n.endswith(("attn2.to_k", "attn2.to_v"))}
    deep = any(re.search(r"transformer_blocks\.[1-9]", n) or "add_embedding" in n for n in names)
    if 2048 in seen or deep or any(n.startswith("text_encoder_2.") for n in names):
        return "sdxl"
    return "sd2" if 1024 in seen else "sd1"
