"""Frozen weights in four bits, so that a large base leaves a small card room to train an adapter.

NormalFloat, whose scales are quantised in turn (QLoRA, Dettmers et al. 2023). The layers are bitsandbytes' own, on
which PEFT puts its adapters; they are multiplied, and passed through backwards, in the precision of the run.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora3d.errors import InputError

# Of a weight: four bits, a scale of 8 bits for every 64, and one of 32 for every 256 of those.
BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8


def require_quantisable(folder: Path, own: bool) -> None:
    """Raises InputError for a base of `mini`'s family (``own``), and without bitsandbytes."""
    if own:
        raise InputError(
            f'quantise is "4bit", but {folder.name!r} is of mini\'s family, which is small: leave it none'
        )
    if not find_spec("bitsandbytes"):
        raise InputError("quantise = \"4bit\" wants what is not installed: pip install 'lora3d[8bit]'")


def small_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """What is kept in four bits, by name: the linear layers of the transformer blocks.

    They are most of a large base; convolutions, embeddings of time and the ends stay as they are.
    """
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and "transformer_blocks." in name
    }


def quantise_layers(network: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Puts frozen layers in four bits on ``device`` in place of `small_layers`, one after the other.

    dtype: that they compute in. Raises InputError for a weight that is not finite, which quantised would be hidden.
    """
    for name in list(small_layers(network)):  # names alone, so that each layer is freed in turn
        layer = network.get_submodule(name)
        if not torch.isfinite(layer.weight).all():
            raise InputError(
                f"the base is damaged: {name}.weight holds numbers that are not finite; get its files anew"
            )
        network.set_submodule(name, _quantised(layer, dtype).to(device))
    network.is_loaded_in_4bit = True  # where PEFT looks


def _quantised(layer: nn.Linear, dtype: torch.dtype) -> nn.Module:
    """The layer's replacement; it is quantised when it is moved to its device."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    new: Any = Linear4bit(
        layer.in_features, layer.out_features, compute_dtype=dtype, quant_type="nf4", device="meta"
    )
    new.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
    new.bias = layer.bias
    # On some CPUs it would pack the weights anew at the first answer, after which nothing passes backwards.
    new.support_avx512bf16_for_cpu = False
    return new.eval()
