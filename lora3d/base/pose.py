"""How a drawing was seen: a small network that guesses the projection from space to the drawing's tile."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lora3d.base.optimiser import Optimiser, update_average
from lora3d.device import autocast
from lora3d.errors import InputError, first_line
from lora3d.recipe import PretrainConfig

if TYPE_CHECKING:
    from lora3d.data_prep.stream import Example

POSE_FILE = Path("pose") / "model.safetensors"


class PoseNet(nn.Module):
    """Drawings (b, 4, t, t), rgb and coverage in [0, 1], to homogeneous projections (b, 3, 4); see `pose_matrix`.

    ``seen`` (b, 2) is the azimuth and elevation in degrees that a drawing was seen from, NaN where nobody said:
    what is said is kept, and helps to guess the rest.
    """

    def __init__(self, tile: int, widths: tuple[int, int, int] = (32, 64, 80)) -> None:
        super().__init__()
        a, b, c = widths
        self.conv_in = nn.Conv2d(7, a, 3, 2, 1)
        self.body = nn.Sequential(
            _Residual(a),
            nn.Conv2d(a, b, 3, 2, 1),
            _Residual(b),
            nn.Conv2d(b, c, 3, 2, 1),
            _Residual(c),
            _Residual(c),
            nn.Conv2d(c, 12, 1),
            nn.Flatten(),
            nn.Linear(12 * (tile // 8) ** 2, 128),
            nn.GELU(),
        )
        self.conv_out = nn.Linear(128, 6)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, drawings: Tensor, seen: Tensor) -> Tensor:
        stated = ~seen.isnan().any(1, keepdim=True)
        angles = torch.where(stated, seen, 0.0)
        said = torch.cat([stated.float(), angles / 45], 1)[:, :, None, None]
        x = torch.cat([drawings * 2 - 1, said.expand(-1, -1, *drawings.shape[2:])], 1)
        numbers = self.conv_out(self.body(self.conv_in(x))).float()
        guessed = numbers[:, :2] * 30 + torch.tensor([0.0, 20.0], device=x.device)
        return pose_matrix(torch.where(stated, angles, guessed), numbers[:, 2:])


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, 1, 1)
        self.second = nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.gelu(self.first(F.gelu(self.norm(x)))))


def pose_matrix(seen_deg: Tensor, numbers: Tensor) -> Tensor:
    """Azimuth and elevation (b, 2) and four numbers of order one (b, 4) to a projection (b, 3, 4) to [0, 1]².

    x = cx + a·(right·p) / w, y = cy − a·(up·p) / w, w = 1 − k·(back·p), with the axes of `lora3d.camera.orbit`;
    the numbers are log a, cx, cy and k, about what they usually are.
    """
    turn, high = torch.deg2rad(seen_deg).unbind(1)
    scale = torch.exp(0.05 + 0.3 * numbers[:, 0])[:, None]
    cx, cy = (0.5 + 0.1 * numbers[:, i, None] for i in (1, 2))
    near = 0.25 + 0.25 * numbers[:, 3, None]
    ca, sa, ce, se = turn.cos(), turn.sin(), high.cos(), high.sin()
    right = torch.stack([ca, sa, torch.zeros_like(ca)], 1)
    back = torch.stack([sa * ce, -ca * ce, se], 1)
    up = torch.linalg.cross(back, right)
    w = torch.cat([-near * back, torch.ones_like(near)], 1)
    x = cx * w + F.pad(scale * right, (0, 1))
    y = cy * w - F.pad(scale * up, (0, 1))
    return torch.stack([x, y, w], 1)


def projection_error(found: Tensor, true: Tensor) -> Tensor:
    """Mean distance (b,), in tiles, of 27 points within the object under projections (b, 3, 4)."""
    axis = torch.tensor([-0.3, 0.0, 0.3], device=found.device)
    points = torch.cartesian_prod(axis, axis, axis)

    def image(matrix: Tensor) -> Tensor:
        at = points @ matrix[:, :, :3].transpose(1, 2) + matrix[:, None, :, 3]
        return at[..., :2] / at[..., 2:].clamp_min(0.1)

    return ((image(found) - image(true)).square().sum(-1) + 1e-6).sqrt().mean(1)


def mirror_projection(matrix: Tensor) -> Tensor:
    """The projections (b, 3, 4) of objects mirrored left to right to tiles mirrored the same way."""
    mirrored = torch.stack([matrix[:, 2] - matrix[:, 0], matrix[:, 1], matrix[:, 2]], 1)
    return mirrored * torch.tensor([-1.0, 1.0, 1.0, 1.0], device=matrix.device)


def train_pose(
    examples: Iterator[Example],
    tile: int,
    config: PretrainConfig,
    dtype: torch.dtype,
    *,
    batch: int = 64,
    fresh: int = 4,
    capacity: int = 60_000,
) -> PoseNet:
    """Fits the network to drawings of known shapes on the CPU; torch's global seed chooses its weights.

    The loss is `projection_error`. Half of the drawings are mirrored; `stated_share` come with their viewpoint.

    Args:
        config: its ``pose_steps`` of ``batch`` drawings, and its learning rates, which fall over the second half.
        fresh: new shapes a step; before the first, twelve for each of a batch, or the recipe's ``pool``.
        capacity: drawings are picked from so many that came last; each takes 16 kB at 64 px.
    """
    net = PoseNet(tile)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser, steps = Optimiser(net, config), config.pose_steps
    average = {k: v.clone() for k, v in net.state_dict().items()}
    rng = np.random.default_rng(config.seed)
    first = min(12 * batch, config.pool)
    pool: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for step in range(steps):
        for e in itertools.islice(examples, fresh if step else first):
            pool += zip(e.drawings, e.viewpoints, e.projections, strict=True)
        del pool[:-capacity]
        pictures, seen, true = (
            torch.from_numpy(np.stack(part)).float()
            for part in zip(*(pool[i] for i in rng.integers(0, len(pool), batch)), strict=True)
        )
        x = pictures.movedim(-1, 1) / 255
        flip = torch.from_numpy(rng.random(batch) < 0.5)
        x = torch.where(flip[:, None, None, None], x.flip(-1), x).contiguous(
            memory_format=torch.channels_last
        )
        true = torch.where(flip[:, None, None], mirror_projection(true), true)
        seen = torch.where(flip[:, None], seen * torch.tensor([-1.0, 1.0]), seen)
        seen[torch.from_numpy(rng.random(batch) >= config.stated_share)] = math.nan
        with autocast(x.device, dtype):
            found = net(x, seen)
        projection_error(found, true).mean().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.08)
        optimiser.step(min(1.0, (step + 1) / 100, (steps - step) / (0.5 * steps)))
        update_average(average, net, min(0.998, (1 + step) / (10 + step)))
    net.load_state_dict(average)
    return net.eval().requires_grad_(False)


def read_pose(folder: Path, tile: int) -> PoseNet:
    """The pose network of a saved base, in float32. Raises InputError where it is missing or of another shape."""
    path = folder / POSE_FILE
    net = PoseNet(tile)
    try:
        net.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        if not all(torch.isfinite(v).all() for v in net.state_dict().values()):
            raise RuntimeError("it holds numbers that are not finite")
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{path}: not the pose network of a base of `mini`'s family: {first_line(error)}"
        ) from error
    return net.eval().requires_grad_(False)


def write_pose(net: PoseNet, folder: Path) -> None:
    """Writes fp16 safetensors where `read_pose` looks."""
    (folder / POSE_FILE).parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in net.state_dict().items()}, folder / POSE_FILE)
