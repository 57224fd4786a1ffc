"""Noise, times, targets and losses: pure functions of tensors, each citing its equation.

Times t run from 0 (clean) to 1 (noise). In general x_t = α·x_0 + σ·ε (Kingma et al. 2021, eq. 1); along the
straight path of flow matching (Lipman et al. 2023, eq. 22; Liu et al. 2023) α = 1 − t and σ = t.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def interpolate(clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """x_t = (1 − t)·x_0 + t·ε. ``clean``, ``noise`` (b, …); ``t`` (b,) in [0, 1]."""
    t = t.reshape(-1, *[1] * (clean.ndim - 1)).to(clean.dtype)
    return (1 - t) * clean + t * noise


def mix(clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """x_t = α·x_0 + σ·ε. ``clean``, ``noise`` (b, …); ``alpha``, ``sigma`` (b,)."""
    shape = (-1, *[1] * (clean.ndim - 1))
    return alpha.reshape(shape).to(clean.dtype) * clean + sigma.reshape(shape).to(clean.dtype) * noise


def target(prediction: str, clean: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What a network of that ``prediction`` should answer at x_t; shapes as in `mix`.

    sample x_0; epsilon ε (Ho et al. 2020, eq. 14); v_prediction α·ε − σ·x_0 (Salimans and Ho 2022, app. D);
    flow_prediction ε − x_0 (Lipman et al. 2023, eq. 23).
    """
    if prediction == "v_prediction":
        return mix(noise, -clean, alpha, sigma)
    return {"sample": clean, "epsilon": noise, "flow_prediction": noise - clean}[prediction]


def error_gain(prediction: str, alpha: Tensor, sigma: Tensor) -> Tensor:
    """(b,): the squared error of the answer over that of the x_0 which follows from it.

    1 for sample; (α/σ)² = SNR for epsilon, from x_0 = (x_t − σ·ε)/α; 1/σ² for v_prediction with α² + σ² = 1
    and for flow_prediction with α + σ = 1, from x_0 = α·x_t − σ·v and x_0 = x_t − σ·v.
    """
    if prediction == "sample":
        return torch.ones_like(alpha)
    return (alpha / sigma) ** 2 if prediction == "epsilon" else sigma**-2.0


def loss_weight(kind: str, prediction: str, alpha: Tensor, sigma: Tensor, gamma: float) -> Tensor:
    """Weight (b,) of the squared error of the answer.

    none: 1. min_snr: the error of x_0 counts min(SNR, γ) (Hang et al. 2023, eq. 8), whatever is predicted.
    debiased: it counts √SNR, which is 1/√SNR for epsilon (Yu et al. 2023, eq. 10).
    """
    if kind == "none":
        return torch.ones_like(alpha)
    snr = (alpha / sigma) ** 2
    weight = snr.clamp(max=gamma) if kind == "min_snr" else snr.sqrt()
    return weight / error_gain(prediction, alpha, sigma)


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


def mixed_times(
    n: int, mean: float, deviation: float, middle_share: float, generator: torch.Generator
) -> Tensor:
    """Times (n,): `logit_normal_times`, but a share around the middle, logit(t) ~ N(0, 1).

    Far toward noise the shape is decided; in the middle its surface, and what the sampler's last steps leave.
    """
    far = logit_normal_times(n, mean, deviation, generator)
    middle = logit_normal_times(n, 0.0, 1.0, generator)
    return torch.where(torch.rand(n, generator=generator) < middle_share, middle, far)


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
