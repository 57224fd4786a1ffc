"""A LoRA linear layer whose step is one node of the graph: PEFT's layer, in fewer passes over what flows through it.

    y  = x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ                                        LoRA, Hu et al. 2021, eq. 3
    ∂x = g·W + s·(g·B)·A,    ∂A = s·(g·B)ᵀ·x,    ∂B = s·gᵀ·(x·Aᵀ)      of g = ∂y; W and b are frozen

PEFT casts x to the adapter's float32, autocast casts it back, and the scale and the sum are passes of their own,
forwards and backwards. At rank 8 these cost more than the adapter's products.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners import lora
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from lora3d.device import product_dtype


class LoraProduct(torch.autograd.Function):
    """y of the module's equation, in ``dtype``; the gradients of A and B in theirs."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w: Tensor,
        b: Tensor | None,
        down: Tensor,
        up: Tensor,
        s: float,
        dtype: torch.dtype,
    ) -> Tensor:
        """x (..., in), w (out, in), b (out,), down A (r, in), up B (out, r); returns (..., out)."""
        rows = x.reshape(-1, x.shape[-1]).to(dtype)
        inner = rows @ down.to(dtype).T
        y = functional.linear(rows, w.to(dtype), None if b is None else b.to(dtype))
        y.addmm_(inner, (up * s).to(dtype).T)
        ctx.save_for_backward(rows, w, down, up, inner)
        ctx.s, ctx.shape, ctx.kind = s, x.shape, x.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        rows, w, down, up, inner = ctx.saved_tensors
        g = g.reshape(-1, g.shape[-1])
        turned = g @ (up * ctx.s).to(g.dtype)
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = (g @ w.to(g.dtype)).addmm_(turned, down.to(g.dtype)).view(ctx.shape).to(ctx.kind)
        return (
            of_x,
            None,
            None,
            (turned.T @ rows).to(down.dtype),
            (g.T @ inner).to(up.dtype) * ctx.s,
            None,
            None,
        )


class LoraLinear(lora.Linear):
    """PEFT's layer; while one plain adapter trains on it, its product is `LoraProduct`."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """x (..., in) to (..., out), as PEFT's forward but for rounding."""
        dtype = product_dtype(x)
        on = [name for name in self.active_adapters if name in self.lora_A]
        if args or kwargs or len(on) != 1 or not self._trains(on[0], x) or torch.compiler.is_compiling():
            return super().forward(x, *args, **kwargs)
        down, up, base = self.lora_A[on[0]].weight, self.lora_B[on[0]].weight, self.base_layer
        return LoraProduct.apply(x, base.weight, base.bias, down, up, self.scaling[on[0]], dtype)

    def _trains(self, name: str, x: Tensor) -> bool:
        """Whether the adapter is on, learns, and is LoRA's equation alone: no dropout, DoRA, bias, or cast of x."""
        return (
            torch.is_grad_enabled()
            and (torch.is_autocast_enabled(x.device.type) or x.dtype == self.lora_A[name].weight.dtype)
            and not (self.disable_adapters or self.merged)
            and self.lora_A[name].weight.requires_grad
            and name not in self.lora_variant
            and isinstance(self.lora_dropout[name], nn.Identity)
            and self.lora_B[name].bias is None
            and not self.base_layer.weight.requires_grad
        )


def use_lora_linear(network: nn.Module) -> None:
    """Makes PEFT's LoRA layers over plain linear ones `LoraLinear`, in place; parameters and names stay."""
    for module in network.modules():
        if type(module) is lora.Linear and type(module.base_layer) is nn.Linear:
            module.__class__ = LoraLinear
