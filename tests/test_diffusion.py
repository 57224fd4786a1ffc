"""The diffusion's equations as laws."""

from __future__ import annotations

import pytest
import torch

from lora3d.diffusion import (
    clean_from_velocity,
    held_out_times,
    interpolate,
    logit_normal_times,
    masked_mse,
    mixed_times,
    shift_time,
    velocity,
)


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return (
        torch.randn(4, 3, 2, 5, 5, generator=g),
        torch.randn(4, 3, 2, 5, 5, generator=g),
        torch.rand(4, generator=g),
    )


def test_the_path_ends_in_the_clean_and_in_the_noise():
    clean, noise, _ = pair()
    assert torch.equal(interpolate(clean, noise, torch.zeros(4)), clean)
    assert torch.equal(interpolate(clean, noise, torch.ones(4)), noise)


def test_the_velocity_is_the_paths_derivative_and_leads_back():
    clean, noise, t = pair()
    v = velocity(clean, noise)
    later = interpolate(clean, noise, t + 1e-3)
    assert torch.allclose((later - interpolate(clean, noise, t)) / 1e-3, v, atol=1e-2)
    assert torch.allclose(clean_from_velocity(interpolate(clean, noise, t), v, t), clean, atol=1e-5)


def test_times_have_the_logit_normals_mean_and_deviation():
    t = logit_normal_times(20_000, 1.5, 1.2, torch.Generator().manual_seed(0))
    logit = torch.logit(t.double())
    assert logit.mean().item() == pytest.approx(1.5, abs=0.03) and logit.std().item() == pytest.approx(
        1.2, abs=0.03
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_times_lies_in_the_middle(share):
    t = mixed_times(40_000, 2.5, 1.5, share, torch.Generator().manual_seed(0))
    # logit(t) < 0 for half of the middle share, and for one in 21 of the rest: Phi(-2.5 / 1.5) = 0.0478.
    assert (t < 0.5).float().mean().item() == pytest.approx(share * 0.5 + (1 - share) * 0.0478, abs=0.01)


def test_held_out_times_are_the_same_distributions_quantiles():
    t = held_out_times(1000, 1.5, 1.2)
    logit = torch.logit(t.double())
    assert (t.diff() > 0).all() and torch.equal(t, held_out_times(1000, 1.5, 1.2))
    assert logit.mean().item() == pytest.approx(1.5, abs=1e-2) and logit.std().item() == pytest.approx(
        1.2, abs=2e-2
    )


def test_shifting_keeps_the_ends_and_composes():
    t = torch.linspace(0, 1, 11)
    moved = shift_time(t, 4.0)
    assert moved[0] == 0 and moved[-1] == 1 and (moved.diff() > 0).all() and (moved >= t).all()
    assert torch.allclose(shift_time(shift_time(t, 2.0), 2.0), moved, atol=1e-6)
    assert torch.allclose(shift_time(moved, 0.25), t, atol=1e-6)


def test_slots_of_weight_zero_count_nothing():
    clean, noise, _ = pair()
    weight, channels = torch.tensor([[1.0, 0.0, 1.0]] * 4), torch.ones(clean.shape[2])
    loss = masked_mse(clean, noise, weight, channels)
    changed = clean.clone()
    changed[:, 1] += 100
    assert torch.equal(masked_mse(changed, noise, weight, channels), loss)
    assert torch.allclose(loss, (clean - noise)[:, [0, 2]].square().mean(dim=(1, 2, 3, 4)))
    channels[0] = 0
    changed[:, :, 0] += 100
    assert torch.equal(
        masked_mse(changed, noise, weight, channels), masked_mse(clean, noise, weight, channels)
    )
    assert masked_mse(clean, noise, torch.zeros(4, 3), channels).tolist() == [0.0] * 4
