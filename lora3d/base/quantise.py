"""Frozen weights in eight or four bits, so that a large base leaves a small card room to train an adapter.

``8bit``: a scale a row, outliers apart (LLM.int8(), Dettmers et al. 2022); ``4bit``: NormalFloat, whose scales are
quantised in turn (QLoRA, Dettmers et al. 2023). The layers are bitsandbytes' own, on which PEFT puts its adapters;
they are multiplied, and passed through backwards, in the precision of what flows in.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from lora3d.errors import InputError

# Of a weight: NF4 has a scale of 8 bits for every 64, and one of 32 for every 256 of those.
BYTES = {"8bit": 1.0, "4bit": (4 + 8 / 64 + 32 / (64 * 256)) / 8}


def small_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """What is kept in few bits, by name: the linear layers of the transformer blocks.

    They are most of a large base; convolutions, embeddings of time and the ends stay as they are.
    """
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and "transformer_blocks." in name
    }


def quantise_layers(network: Any, kind: str, device: torch.device) -> None:
    """Puts bitsandbytes' frozen layers on ``device`` in place of `small_layers`, one after the other.

    kind: ``8bit`` or ``4bit``. Raises InputError without bitsandbytes, and for a weight that is not finite, which
    quantised would be hidden.
    """
    if not find_spec("bitsandbytes"):
        raise InputError(f"quantise = {kind!r} wants what is not installed: pip install 'lora3d[8bit]'")
    for name in list(small_layers(network)):  # names alone, so that each layer is freed in turn
        layer = network.get_submodule(name)
        if not torch.isfinite(layer.weight).all():
            raise InputError(
                f"the base is damaged: {name}.weight holds numbers that are not finite; get its files anew"
            )
        network.set_submodule(name, _quantised(layer, kind).to(device))
    setattr(network, f"is_loaded_in_{kind}", True)  # where PEFT looks


def _quantised(layer: nn.Linear, kind: str) -> nn.Module:
    """The layer's replacement; it is quantised when it is moved to its device."""
    from bitsandbytes import nn as bnb

    where: Any = {"device": "meta"}
    new: Any
    if kind == "8bit":
        new = bnb.Linear8bitLt(layer.in_features, layer.out_features, has_fp16_weights=False, **where)
        new.weight = bnb.Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
    else:
        new = bnb.Linear4bit(layer.in_features, layer.out_features, quant_type="nf4", **where)
        new.weight = bnb.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        # On some CPUs it would pack the weights anew at the first answer, after which nothing passes backwards.
        new.support_avx512bf16_for_cpu = False
    new.bias = layer.bias
    return new.eval()
