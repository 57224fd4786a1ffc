"""What is computed again in the backward pass changes no gradient, and is kept where that costs little."""

from __future__ import annotations

import sys

import psutil
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lora3d import recompute as rules
from lora3d.adapter import attach
from lora3d.base import load_base
from lora3d.grid import PRESETS
from lora3d.heap import return_holes
from lora3d.lora_linear import use_lora_linear
from lora3d.recompute import recompute
from tests.toy_bases import save_toy

GRID = PRESETS["box6"]
ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default


class Counted(TorchDispatchMode):
    """Counts attention's forward passes."""

    seen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen += func is ATTENTION
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module", params=["sd15", "sdxl", "sd3"])
def folder(request, tmp_path_factory):
    return save_toy(request.param, tmp_path_factory.mktemp("toy") / request.param)


def step(folder, how):
    """Gradients, the MiB kept for the backward pass, and how often attention ran."""
    base = load_base(folder, grid=GRID)
    torch.manual_seed(0)
    parameters = attach(base, 2, 2.0, ("attention", "feedforward"), 0)
    use_lora_linear(base.network)
    for p in parameters:
        torch.nn.init.normal_(p, std=0.1)
    how(base.network)
    latents, known = torch.randn(1, *base.latent_shape), torch.zeros(1, base.slots, dtype=torch.bool)
    text, kept = base.embed(["a box"]), {}

    def keep(value):
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with Counted() as counted:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            loss = base.denoise(latents, torch.full((1,), 0.5), text, known).square().mean()
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [g for g in found if g is not None], sum(kept.values()) / 2**20, counted.seen


def test_gradients_are_those_of_keeping_everything_and_long_attention_runs_once(folder, monkeypatch):
    monkeypatch.setattr(rules, "DEAR", 200)  # a toy's canvas has 448 places and more, a sentence 77 or fewer
    whole, all_kept, once = step(folder, lambda network: None)
    usual, least, twice = step(folder, lambda network: network.enable_gradient_checkpointing())
    spared, kept, some = step(folder, lambda network: recompute(network, keep_dear=True))
    for other in (usual, spared):
        assert len(other) == len(whole)
        for a, b in zip(other, whole, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-7)
    assert once <= some < twice
    assert least <= kept < all_kept


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is asked to")
def test_holes_between_blocks_go_back_to_the_system():
    taken = psutil.Process().memory_info
    blocks = [torch.ones(16_384) for _ in range(2000)]  # 64 KiB each: from the heap, not mapped by themselves
    del blocks[::2]
    before = taken().rss
    return_holes()
    assert before - taken().rss > 40 * 2**20  # of the 62 MiB that were freed
    assert all(block.min() == 1 for block in blocks)
