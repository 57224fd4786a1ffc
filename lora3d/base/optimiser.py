"""The optimiser of the base's training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lora3d.recipe import PretrainConfig


class Optimiser:
    """Muon (Jordan et al. 2024) for the matrices and kernels inside, AdamW for embeddings, ends, gains and biases.

    torch's Muon takes matrices only; a kernel is handed to it as the matrix (out, its extent · in), a view of the
    same memory in channels_last.
    """

    def __init__(self, model: nn.Module, config: PretrainConfig) -> None:
        ends = ("embed", "conv_in", "conv_out")
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self.inner = [p for n, p in named if p.ndim >= 2 and not any(e in n for e in ends)]
        outer = [p for n, p in named if p.ndim < 2 or any(e in n for e in ends)]
        self.matrices = [nn.Parameter(_as_matrix(p.detach())) for p in self.inner]
        for matrix, parameter in zip(self.matrices, self.inner, strict=True):
            if matrix.data_ptr() != parameter.data_ptr():
                raise RuntimeError(f"a kernel of shape {tuple(parameter.shape)} is not channels_last")
        self.muon = torch.optim.Muon(
            self.matrices, lr=config.muon_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
        )
        self.adamw = torch.optim.AdamW(outer, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
        self.rates = ((self.muon, config.muon_rate), (self.adamw, config.learning_rate))
        self.outer = outer

    def step(self, factor: float) -> None:
        """One update at ``factor`` times the learning rates; clears the gradients."""
        for matrix, parameter in zip(self.matrices, self.inner, strict=True):
            matrix.grad = None if parameter.grad is None else _as_matrix(parameter.grad)
        for optimiser, rate in self.rates:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            optimiser.step()
        for parameter in (*self.inner, *self.outer):
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


def update_average(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights; what is saved and scored."""
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.is_floating_point():
                average[key].lerp_(value.float(), 1 - decay)


def _as_matrix(weight: Tensor) -> Tensor:
    return weight.movedim(1, -1).flatten(1) if weight.ndim > 2 else weight
