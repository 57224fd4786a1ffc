"""Activations that are computed again in the backward pass instead of being kept (Chen et al. 2016).

diffusers' own switch does that with every block. Two things it does for little: the block that runs last is wanted
again at once, so that its activations take the same room either way; and some answers take long to compute and little
room to keep (selective checkpointing: Korthikanti et al. 2022, section 5): attention over many places, and convolutions
of many channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
    noop_context_fn,
)

from lora3d.heap import return_holes

aten = torch.ops.aten
# Products for each number of an operation's answer, by its arguments.
PRODUCTS: dict[Any, Callable[[Any], int]] = {
    aten.convolution.default: lambda given: given[1][0].numel(),  # of an output channel's weights
    aten._scaled_dot_product_flash_attention_for_cpu.default: lambda given: 2 * given[1].shape[2],  # keys
}
DEAR = 5000  # products for each number of an answer, from which on it is kept


def recompute(network: Any, *, keep_dear: bool) -> None:
    """Switches it on for a diffusers network.

    keep_dear: what is `DEAR` to compute. Pays on a CPU; a card would feel that every operation then makes a detour
    through Python.
    """
    last = _last_block(network)
    contexts = partial(create_selective_checkpoint_contexts, _policy) if keep_dear else noop_context_fn

    def again(block: nn.Module, *given: Any) -> Any:
        if block is last:
            if keep_dear:
                return_holes()  # a step takes most memory from here to this block's gradient
            return block(*given)
        return checkpoint(block, *given, use_reentrant=False, context_fn=contexts)

    network.enable_gradient_checkpointing(again)


def _policy(context: Any, operation: Any, *given: Any, **named: Any) -> CheckpointPolicy:
    dear = operation in PRODUCTS and PRODUCTS[operation](given) >= DEAR
    return CheckpointPolicy.MUST_SAVE if dear else CheckpointPolicy.PREFER_RECOMPUTE


def _last_block(network: Any) -> nn.Module:
    """The block that a UNet or a transformer runs last, of those that diffusers computes again."""
    end = network.up_blocks[-1] if hasattr(network, "up_blocks") else network
    if hasattr(end, "attentions"):
        end = end.attentions[-1]
    return (end.transformer_blocks if hasattr(end, "transformer_blocks") else end.resnets)[-1]
