"""The layer that trains is PEFT's: same products, same gradients, and PEFT's own wherever it is more than LoRA."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from lora3d.lora_linear import LoraLinear, LoraProduct, use_lora_linear


def layers(bias: bool = True, **options: object) -> tuple[nn.Module, nn.Module]:
    """One network with PEFT's layer, and a copy of it with ours; B drawn, for PEFT starts it at zero."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(12, 10, bias=bias)).requires_grad_(False)
    config = LoraConfig(r=4, lora_alpha=6, target_modules=["0"], **options)
    theirs = inject_adapter_in_model(config, network, "style")
    nn.init.normal_(theirs[0].lora_B["style"].weight)
    ours = copy.deepcopy(theirs)
    use_lora_linear(ours)
    assert type(ours[0]) is LoraLinear
    return theirs, ours


def answers(network: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and the gradients of x and of every parameter that has one, of a fixed weighting."""
    x = x.clone().requires_grad_(True)
    y = network(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).reshape(y.shape)
    (y.double() * weights).sum().backward()
    return [
        y.detach(),
        x.grad,
        *(p.grad for _, p in sorted(network.named_parameters()) if p.grad is not None),
    ]


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_finite_differences(bias: bool) -> None:
    x, w, b, down, up = (
        torch.randn(s, dtype=torch.float64) for s in ((2, 3, 5), (4, 5), (4,), (2, 5), (4, 2))
    )
    some = [t.requires_grad_(True) for t in (x, down, up)]
    assert torch.autograd.gradcheck(
        lambda x, down, up: LoraProduct.apply(x, w, b if bias else None, down, up, 0.7, torch.float64), some
    )


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_pefts_layer(bias: bool) -> None:
    x = torch.randn(2, 7, 12)
    theirs, ours = layers(bias)
    assert "LoraProduct" in ours(x).grad_fn.name() and "LoraProduct" not in theirs(x).grad_fn.name()
    both = [answers(network, x) for network in (theirs, ours)]
    assert len(both[0]) == len(both[1]) == 4
    for a, b in zip(*both, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_in_bf16_it_is_as_near_to_the_truth_as_pefts() -> None:
    x = torch.randn(64, 12)
    exact = answers(layers()[0].double(), x.double())
    found = []
    for network in layers():
        with torch.autocast("cpu", torch.bfloat16):
            found.append(answers(network, x))
    for truth, a, b in zip(exact, *found, strict=True):
        off = [(y.double() - truth).square().mean().sqrt() / truth.square().mean().sqrt() for y in (a, b)]
        assert a.dtype == b.dtype and off[1] < 1.25 * off[0] < 0.02


@pytest.mark.parametrize("case", ["dropout", "dora", "no gradient", "off", "two", "frozen"])
def test_what_is_more_than_lora_is_left_to_peft(case: str) -> None:
    """Bit by bit: the same code runs."""
    options = {"dropout": {"lora_dropout": 0.5}, "dora": {"use_dora": True}}.get(case, {})
    both = []
    for network in layers(**options):
        if case == "two":
            inject_adapter_in_model(LoraConfig(r=2, target_modules=["0"]), network, "grid")
            network[0].set_adapter(["style", "grid"])
        if case == "off":
            network[0].enable_adapters(False)
        if case == "frozen":
            network.requires_grad_(False)
        torch.manual_seed(1)
        with torch.set_grad_enabled(case != "no gradient"), torch.autocast("cpu", torch.bfloat16):
            y = network(torch.ones(3, 12))
        assert y.grad_fn is None or "LoraProduct" not in y.grad_fn.name()
        both.append(y)
    assert torch.equal(*both)
