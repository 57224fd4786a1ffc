"""The codec of `mini`: a real `AutoencoderTiny` whose encoder is a linear transform in closed form.

The encoder has no blocks, so it is a chain of convolutions without any activation. The first two halvings
put 2×2 neighbours side by side (space to depth), the third projects each 8×8 patch of 4 channels (256
numbers) to its 64 leading principal components. Principal components are the linear codec of least squared
error (Eckart and Young 1936).

A linear encoder has a best inverse in closed form (`linear_codec`), and that is what lora3d decodes with:
it needs no weights of its own and beats the decoder's network by 4 dB (docs/decisions.md). The network is
trained all the same, so that tools that know only diffusers can show the latents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from lora3d.errors import InputError

CHANNELS = 4
PATCH = 8
LATENTS = 64
# The decoder begins with tanh(x/3)·3; raw latents this small pass it nearly unchanged.
RAW_SCALE = 0.25


def new_codec() -> AutoencoderTiny:
    """The architecture with random weights; `set_encoder` and training fill it."""
    return AutoencoderTiny(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        encoder_block_out_channels=(64, 64, 64, 64),
        decoder_block_out_channels=(16, 16, 16, 16),
        num_encoder_blocks=(0, 0, 0, 0),
        num_decoder_blocks=(2, 1, 1, 0),
        latent_channels=LATENTS,
        scaling_factor=1 / RAW_SCALE,
    )


def principal_components(pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of pictures (n, 4, h, w) in [0, 1]: the mean patch (256,), the components (64, 256), their variances (64,).

    A patch is flattened in the order (row, column, channel).
    """
    n, c, h, w = pictures.shape
    patches = pictures.reshape(n, c, h // PATCH, PATCH, w // PATCH, PATCH).permute(0, 2, 4, 3, 5, 1)
    flat = patches.reshape(-1, PATCH * PATCH * c).double()
    mean = flat.mean(0)
    covariance = (flat - mean).T @ (flat - mean) / len(flat)
    values, vectors = torch.linalg.eigh(covariance)
    components = vectors.flip(1)[:, :LATENTS].T
    # A component's sign is arbitrary; the largest entry is made positive so that a rerun gives the same codec.
    signs = components.gather(1, components.abs().argmax(1, keepdim=True)).sign()
    return mean.float(), (components * signs).float(), values.flip(0)[:LATENTS].float()


@torch.no_grad()
def set_encoder(codec: AutoencoderTiny, mean: Tensor, components: Tensor, variances: Tensor) -> None:
    """Writes the principal components into the encoder's convolutions.

    Latent i is the component's coordinate divided by the fourth root of its variance: between plain
    coordinates (where noise drowns all but the coarsest) and whitened ones (where the finest weigh as much).
    """
    first, half, quarter, eighth, last = (m for m in codec.encoder.layers)
    for layer in (first, half, quarter, eighth, last):
        layer.weight.zero_()
        if layer.bias is not None:
            layer.bias.zero_()
    for c in range(CHANNELS):
        first.weight[c, c, 1, 1] = 1
    # Tap (1 + i, 1 + j) of a 3×3 kernel with stride 2 and padding 1 reads the pixel (i, j) of each 2×2 block.
    for i in range(2):
        for j in range(2):
            for c in range(CHANNELS):
                half.weight[(i * 2 + j) * CHANNELS + c, c, 1 + i, 1 + j] = 1
            for c in range(4 * CHANNELS):
                quarter.weight[(i * 2 + j) * 4 * CHANNELS + c, c, 1 + i, 1 + j] = 1
    scale = RAW_SCALE * variances.clamp_min(1e-8) ** -0.25
    patch = components.reshape(LATENTS, 2, 2, 2, 2, 2, 2, CHANNELS)
    # (row, column) bits: eighth's tap, then quarter's channel, then half's channel.
    rows = patch.permute(0, 1, 4, 2, 5, 3, 6, 7)  # (out, r4, c4, r2, c2, r1, c1, channel)
    flat = rows.reshape(LATENTS, 2, 2, 64)
    for i in range(2):
        for j in range(2):
            eighth.weight[:, :, 1 + i, 1 + j] = flat[:, i, j] * scale[:, None]
    last.weight[:, :, 1, 1] = torch.eye(LATENTS)
    last.bias.copy_(-(components @ mean) * scale)


@dataclass(frozen=True)
class Linear:
    """What a linear encoder does, as one product a patch: z = W·patch + c, scaled as the base's latents are.

    The encoder's own chain of convolutions takes some sixty times the multiplications: 61 million a tile of 64 px
    against one.

    Attributes:
        weight: (64, 4, 8, 8) float32.
        offset: (64,) float32.
    """

    weight: Tensor
    offset: Tensor

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures (n, 4, 8h, 8w) in [0, 1] to latents (n, 64, h, w)."""
        return F.conv2d(pictures, self.weight, self.offset, stride=PATCH)


@dataclass(frozen=True)
class Inverse:
    """The least-squares inverse of a linear encoder, about one patch that it must keep: the background.

    x = patch + A·(z − encode(patch)), A the pseudo-inverse of the encoder (Penrose 1955).

    Attributes:
        matrix: A, (256, 64) float32; rows in the order (channel, row, column) of a patch.
        latent: encode(patch), (64,) scaled latents.
        patch: (256,) in [0, 1].
    """

    matrix: Tensor
    latent: Tensor
    patch: Tensor

    def __call__(self, latents: Tensor) -> Tensor:
        """Scaled latents (n, 64, h, w) to pictures (n, 4, 8h, 8w), about in [0, 1]; differentiable."""
        n, _, h, w = latents.shape
        flat = (latents.permute(0, 2, 3, 1) - self.latent) @ self.matrix.T + self.patch
        patches = flat.reshape(n, h, w, CHANNELS, PATCH, PATCH)
        return patches.permute(0, 3, 1, 4, 2, 5).reshape(n, CHANNELS, h * PATCH, w * PATCH)


@torch.no_grad()
def linear_codec(
    codec: AutoencoderTiny, background: tuple[float, float, float, float]
) -> tuple[Linear, Inverse]:
    """Reads the linear map out of the encoder's weights by encoding unit patches, and inverts it."""
    units = torch.zeros(CHANNELS * PATCH**2 + 1, CHANNELS, PATCH, PATCH)
    units.flatten(1).fill_diagonal_(1.0)
    encoded = codec.encode(units.to(codec.device) * 2 - 1).latents[:, :, 0, 0].double().cpu()
    if not torch.isfinite(encoded).all():
        raise InputError(
            "the base's VAE is damaged: it encodes to numbers that are not finite; get its files anew"
        )
    encoded *= codec.config.scaling_factor
    matrix, offset = (encoded[:-1] - encoded[-1]).T, encoded[-1]  # (64, 256), (64,)
    patch = torch.tensor(background, dtype=torch.float64).repeat_interleave(PATCH**2)
    weight, inverse, latent, offset, patch = (
        x.float().to(codec.device)
        for x in (matrix, torch.linalg.pinv(matrix), offset + matrix @ patch, offset, patch)
    )
    return Linear(weight.reshape(LATENTS, CHANNELS, PATCH, PATCH), offset), Inverse(inverse, latent, patch)


@torch.no_grad()
def latent_moments(codec: AutoencoderTiny, pictures: Tensor) -> Tensor:
    """Mean and deviation of every latent channel, (2, c), over pictures (n, 4, t, t) uint8."""
    latents = [codec.encode(p.float() / 127.5 - 1).latents for p in pictures.split(256)]
    channels = torch.cat(latents).movedim(1, 0).flatten(1) * codec.config.scaling_factor
    return torch.stack([channels.mean(1), channels.std(1)])


def train_decoder(
    codec: AutoencoderTiny,
    pictures: Tensor,
    *,
    steps: int,
    batch: int = 16,
    learning_rate: float = 2e-3,
    blur: float = 0.03,
    seed: int = 0,
    autocast_dtype: torch.dtype = torch.float32,
    report_every: int = 250,
) -> list[float]:
    """Fits the decoder to the fixed encoder; returns the mean loss of each reporting interval.

    The loss is squared error plus a tenth of absolute error (for crisp edges). Normal noise of deviation
    ``blur`` on the latents makes it kind to latents that a network generated.

    Args:
        pictures: (n, 4, h, w) uint8.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(
        codec.decoder.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.0
    )
    codec.decoder.train().to(memory_format=torch.channels_last)
    history, total = [], 0.0
    for step in range(steps):
        factor = min(1.0, (step + 1) / 100, (steps - step) / (0.6 * steps))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * factor
        index = torch.randint(len(pictures), (batch,), generator=generator)
        target = (pictures[index].float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            latents = codec.encode(target).latents
            latents += (
                blur
                * torch.rand(batch, 1, 1, 1, generator=generator)
                * RAW_SCALE
                * torch.randn(latents.shape, generator=generator)
            )
        with torch.autocast("cpu", autocast_dtype, enabled=autocast_dtype != torch.float32):
            guess = codec.decode(latents).sample
        error = (guess.float() - target) / 2
        loss = error.square().mean() + 0.1 * error.abs().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.decoder.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        total += error.detach().square().mean().item()
        if (step + 1) % report_every == 0:
            history.append(total / report_every)
            total = 0.0
    codec.eval()
    return history


def psnr(decode: Callable[[Tensor], Tensor], codec: AutoencoderTiny, pictures: Tensor) -> tuple[float, float]:
    """PSNR in dB of rgb and of depth after encoding pictures (n, 4, h, w) uint8 and decoding raw latents."""
    with torch.no_grad():
        target = pictures.float() / 255
        error = (decode(codec.encode(target * 2 - 1).latents).clamp(0, 1) - target).square()
    rgb, depth = (float(-10 * torch.log10(error[:, c].mean())) for c in (slice(0, 3), slice(3, 4)))
    return rgb, depth


def decode_network(codec: AutoencoderTiny) -> Callable[[Tensor], Tensor]:
    """The decoder's network as a function from raw latents to pictures in [0, 1]."""
    return lambda latents: (codec.decode(latents).sample + 1) / 2
