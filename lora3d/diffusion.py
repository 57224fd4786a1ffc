"""Noise, times, targets and losses: pure functions of tensors, each citing its equation.

Times t run from 0 (clean) to 1 (noise) along the straight path of flow matching
(Lipman et al. 2023, eq. 22; Liu et al. 2023): x_t = (1 − t)·x_0 + t·ε.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def interpolate(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 − t)·x_0 + t·ε. ``clean``, ``noise`` (b, …); ``t`` (b,) in [0, 1]."""
    t = t.reshape(-1, *[1] * (clean.ndim - 1)).to(clean.dtype)
    return (1 - t) * clean + t * noise


def velocity(clean: Tensor, noise: Tensor) -> Tensor:
    """The flow's velocity dx_t/dt = ε − x_0 (Lipman et al. 2023, eq. 23)."""
    return noise - clean


def clean_from_velocity(x_t: Tensor, v: Tensor, t: Tensor) -> Tensor:
    """x_0 = x_t − t·v, from the two equations above."""
    return x_t - t.reshape(-1, *[1] * (x_t.ndim - 1)).to(x_t.dtype) * v


def logit_normal_times(n: int, mean: float, deviation: float, generator: torch.Generator) -> Tensor:
    """Times (n,) float32 with logit(t) ~ N(mean, deviation²) (Esser et al. 2024, eq. 19).

    A positive mean draws toward noise, where a grid of mutually redundant views is decided
    (Hoogeboom et al. 2023 for the same effect of resolution).
    """
    return torch.sigmoid(mean + deviation * torch.randn(n, generator=generator))


def shift_time(t: Tensor, shift: float) -> Tensor:
    """t' = s·t / (1 + (s − 1)·t) (Esser et al. 2024, eq. 23)."""
    return shift * t / (1 + (shift - 1) * t)


def held_out_times(n: int, mean: float, deviation: float) -> Tensor:
    """n fixed quantiles of the logit-normal, (n,) float32, so that two held-out losses compare."""
    quantiles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    normal = math.sqrt(2) * torch.erfinv(2 * quantiles - 1)
    return torch.sigmoid(mean + deviation * normal).float()


def masked_mse(prediction: Tensor, target: Tensor, weight: Tensor, channels: Tensor) -> Tensor:
    """Σ w·k·(p − y)² / Σ w·k, one value an example.

    ``prediction``, ``target`` (b, m, c, h, w); ``weight`` w (b, m), 0 for a slot that was given clean;
    ``channels`` k (c,). Returns (b,); an example with no weight at all gives 0.
    """
    error = (prediction - target).square().mean(dim=(3, 4)) @ (channels / channels.sum())
    return (error * weight).sum(1) / weight.sum(1).clamp_min(1e-8)
