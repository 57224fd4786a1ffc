"""The base: its codec in closed form, where cells go, and that diffusers alone loads it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lora3d.base import load_base
from lora3d.base.codec import (
    LATENTS,
    PATCH,
    linear_codec,
    new_codec,
    principal_components,
    psnr,
    set_encoder,
)
from lora3d.base.mini import join_cells, ray_channels, split_cells
from lora3d.diffusion import interpolate
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from tests.conftest import make_box


def rough(n: int = 40, seed: int = 0) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.nn.functional.interpolate(
        torch.rand(n, 4, 9, 9, generator=g), size=64, mode="bicubic"
    ).clamp(0, 1)


def test_the_encoder_is_the_projection_on_principal_components():
    pictures = rough()
    mean, components, variances = principal_components(pictures)
    assert torch.allclose(components @ components.T, torch.eye(LATENTS), atol=1e-5)
    codec = new_codec()
    set_encoder(codec, mean, components, variances)
    with torch.no_grad():
        latents = codec.encode(pictures * 2 - 1).latents
    patches = pictures.reshape(40, 4, 8, PATCH, 8, PATCH).permute(0, 2, 4, 3, 5, 1).reshape(40, 8, 8, 256)
    direct = (patches - mean) @ components.T * (0.25 * variances.clamp_min(1e-8) ** -0.25)
    assert torch.allclose(latents, direct.movedim(-1, 1), atol=1e-4)


def test_the_codec_as_one_product_a_patch_is_the_encoder_and_its_inverse_exact_on_what_that_keeps():
    pictures = rough(200)
    codec = new_codec()
    set_encoder(codec, *principal_components(pictures))
    linear, inverse = linear_codec(codec, (1, 1, 1, 0))
    blank = torch.ones(1, 4, 64, 64)
    blank[:, 3] = 0
    with torch.no_grad():
        chain = codec.encode(pictures * 2 - 1).latents * codec.config.scaling_factor
        inside = inverse(chain)
    assert torch.allclose(linear(pictures), chain, atol=1e-4)
    assert torch.allclose(inside, inverse(linear(inside)), atol=1e-3)
    assert torch.allclose(inverse(linear(blank)), blank, atol=1e-4)
    # No linear decoding of the same latents has less squared error over the pictures it was fitted to, but for
    # the part of their mean that the components do not hold.
    assert (inside - pictures).square().mean() < 0.05 * pictures.var()


def test_latents_of_a_tile_do_not_depend_on_its_neighbours(toy_base):
    base = load_base(toy_base)
    g = torch.Generator().manual_seed(0)
    a, b = torch.rand(1, 14, 64, 64, 3, generator=g), torch.rand(1, 14, 64, 64, 3, generator=g)
    mixed = b.clone()
    mixed[:, [0, 7]] = a[:, [0, 7]]
    assert torch.allclose(base.encode(mixed)[:, 0], base.encode(a)[:, 0], atol=1e-6)


def test_split_is_the_inverse_of_join():
    grid = PRESETS["box6"]
    tiles = torch.rand(2, 14, 64, 64, 3)
    tiles[:, 7:] = tiles[:, 7:, ..., :1]
    assert torch.equal(split_cells(grid, join_cells(grid, tiles)), tiles)


def test_rays_say_the_same_of_the_same_place():
    rays = ray_channels(PRESETS["box6"])
    assert rays.shape == (7, 18, 8, 8) and torch.isfinite(rays).all()
    assert torch.equal(rays[0], rays[1])  # the grid is turned to the drawing's side
    # Front and back look along the same lines in opposite senses, mirrored left to right.
    front, back = rays[1], rays[3].flip(-1)
    assert torch.allclose(front[:3], -back[:3], atol=1e-6) and torch.allclose(
        front[3:6], back[3:6], atol=1e-6
    )


def test_what_is_given_comes_back_and_what_is_only_noise_is_not_heard(toy_base):
    base = load_base(toy_base)
    g = torch.Generator().manual_seed(0)
    known = torch.zeros(2, 7, dtype=torch.bool)
    known[:, 0] = True
    one, other = torch.randn(2, 2, *base.latent_shape, generator=g)
    other[:, 0] = one[:, 0]
    with torch.no_grad():
        answers = [base.denoise(x, torch.ones(2), base.embed(["", "a red box"]), known) for x in (one, other)]
    assert torch.allclose(answers[0][:, 0], one[:, 0], atol=1e-5)
    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0][0, 1:], answers[0][1, 1:])


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_a_network_that_says_nothing_leaves_the_best_linear_estimate(toy_base, t):
    """Least squares of x_0 on x_t, for Gaussian latents of the base's own moments."""
    base = load_base(toy_base)
    torch.nn.init.zeros_(base.unet.conv_out.weight)
    torch.nn.init.zeros_(base.unet.conv_out.bias)
    g = torch.Generator().manual_seed(0)
    mean, deviation = base.moments[:, :, None, None]
    clean = mean + deviation * torch.randn(64, *base.latent_shape, generator=g)
    noisy = interpolate(clean, torch.randn(clean.shape, generator=g), torch.full((64,), t))
    known = torch.zeros(64, 7, dtype=torch.bool)
    with torch.no_grad():
        answer = base.denoise(noisy, torch.full((64,), t), base.embed([""] * 64), known)
    for c in (0, 5, 40):
        x, y, z = (v[:, :, c].flatten() for v in (noisy, clean, answer))
        slope = torch.cov(torch.stack([x, y]))[0, 1] / x.var()
        expected = y.mean() + slope * (x - x.mean())
        assert (z - expected).abs().max() < 0.03 * deviation[c].item()


def test_denoise_keeps_shapes_and_reads_every_input(toy_base):
    base = load_base(toy_base)
    g = torch.Generator().manual_seed(0)
    latents = torch.randn(2, *base.latent_shape, generator=g)
    known = torch.zeros(2, 7, dtype=torch.bool)
    t, text = torch.tensor([0.3, 0.9]), base.embed(["a red box", ""])
    with torch.no_grad():
        out = base.denoise(latents, t, text, known)
        assert out.shape == latents.shape
        given = known.clone()
        given[:, 0] = True
        for changed in (
            base.denoise(latents, t + 0.05, text, known),
            base.denoise(latents, t, base.embed(["two chairs", "table"]), known),
            base.denoise(latents, t, text, given),
        ):
            assert (changed - out).abs().max() > 1e-5


def test_denoise_is_differentiable_in_the_latents(toy_base):
    base = load_base(toy_base)
    latents = torch.randn(1, *base.latent_shape, requires_grad=True)
    known = torch.zeros(1, 7, dtype=torch.bool)
    base.denoise(latents, torch.tensor([0.5]), base.embed(["a box"]), known).square().sum().backward()
    assert latents.grad is not None and latents.grad.abs().sum() > 0


def test_diffusers_alone_loads_the_base(toy_base):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(toy_base)
    assert pipeline.tokenizer.tokenize("a red box") == ["a</w>", "red</w>", "box</w>"]
    assert pipeline.vae_scale_factor == PATCH
    picture = torch.rand(1, 4, 64, 64) * 2 - 1
    assert pipeline.vae.decode(pipeline.vae.encode(picture).latents).sample.shape == picture.shape


def test_any_text_can_be_spelled(toy_base):
    base = load_base(toy_base)
    for text in ("", "Ünïcødé – 木", "x" * 5000, "a red box"):
        assert torch.isfinite(base.embed([text]).tokens).all()


def test_a_folder_that_is_no_base_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected 'mini', a folder in diffusers layout"):
        load_base(tmp_path)


@pytest.mark.slow
def test_the_shipped_codec_keeps_a_box():
    from lora3d.render import render_tiles

    base = load_base("mini")
    tiles = render_tiles(make_box((1, 0.6, 0.8), (0.2, 0.1, 0.6)), base.grid)
    pictures = join_cells(base.grid, torch.from_numpy(tiles)[None])[0, 1:]
    rgb, depth = psnr(
        lambda raw: base.sweep.inverse(raw * base.vae.config.scaling_factor),
        base.vae,
        (pictures * 255).to(torch.uint8),
    )
    assert rgb > 28 and depth > 28
    assert np.isfinite([rgb, depth]).all()
