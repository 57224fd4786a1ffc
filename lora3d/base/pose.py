"""How a drawing was seen: a small network that guesses the projection from space to the drawing's tile."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 64  # pixels of the drawing that the network reads


class PoseNet(nn.Module):
    """Drawings (b, 4, t, t), rgb and coverage in [0, 1], to homogeneous projections (b, 3, 4); see `pose_matrix`.

    ``seen`` (b, 2) is the azimuth and elevation in degrees that a drawing was seen from, NaN where nobody said:
    what is said is kept, and helps to guess the rest.
    """

    widths = (32, 64, 80)

    def __init__(self) -> None:
        super().__init__()
        a, b, c = self.widths
        self.conv_in = nn.Conv2d(7, a, 3, 2, 1)
        self.high = Residual(a)
        self.to_mid, self.mid = nn.Conv2d(a, b, 3, 2, 1), Residual(b)
        self.to_low, self.low = nn.Conv2d(b, c, 3, 2, 1), nn.Sequential(Residual(c), Residual(c))
        self.head = nn.Sequential(
            nn.Conv2d(c, 12, 1), nn.Flatten(), nn.Linear(12 * (TILE // 8) ** 2, 128), nn.GELU()
        )
        self.conv_out = nn.Linear(128, 7)
        nn.init.zeros_(self.conv_out.weight)

    def look(self, drawings: Tensor, seen: Tensor) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Features of 32², 16² and 8² places, and the projections; a larger drawing is made smaller first."""
        if drawings.shape[-1] != TILE:
            drawings = F.interpolate(drawings, size=TILE, mode="bilinear", antialias=True)
        stated = ~seen.isnan().any(1, keepdim=True)
        angles = torch.where(stated, seen, 0.0)
        said = torch.cat([stated.float(), angles / 45], 1)[:, :, None, None]
        x = torch.cat([drawings * 2 - 1, said.expand(-1, -1, *drawings.shape[2:])], 1)
        high = self.high(self.conv_in(x))
        mid = self.mid(self.to_mid(high))
        low = self.low(self.to_low(mid))
        numbers = self.conv_out(self.head(low)).float()
        # From a corner two sides are seen alike and either may be the front: the azimuth comes again every 90°.
        turn = torch.rad2deg(torch.atan2(numbers[:, 0], 1 + numbers[:, 1])) / 4
        guessed = torch.stack([turn, 20 + 30 * numbers[:, 2]], 1)
        return (high, mid, low), pose_matrix(torch.where(stated, angles, guessed), numbers[:, 3:])

    def forward(self, drawings: Tensor, seen: Tensor) -> Tensor:
        return self.look(drawings, seen)[1]


class Residual(nn.Module):
    """x + conv(gelu(conv(gelu(norm(x))))), in two dimensions or three (He et al. 2016)."""

    def __init__(self, width: int, conv: type[nn.Conv2d] | type[nn.Conv3d] = nn.Conv2d) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = conv(width, width, 3, 1, 1)
        self.second = conv(width, width, 3, 1, 1)

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


def place(matrix: Tensor, points: Tensor) -> Tensor:
    """Where points (n, 3) lie on the tiles of projections (b, 3, 4): (b, n, 2), the tile being [0, 1]²."""
    at = points @ matrix[:, :, :3].transpose(1, 2) + matrix[:, None, :, 3]
    return divide(at)


def divide(image: Tensor) -> Tensor:
    """Homogeneous (..., 3) to (..., 2); what lies behind the viewer, or nearly so, ends far outside."""
    return image[..., :2] / image[..., 2:].clamp_min(0.1)


def projection_error(found: Tensor, true: Tensor) -> Tensor:
    """Mean distance (b,), in tiles, of 27 points within the object under projections (b, 3, 4)."""
    axis = torch.tensor([-0.3, 0.0, 0.3], device=found.device)
    points = torch.cartesian_prod(axis, axis, axis)
    off = place(found, points) - place(true, points)
    return (off.square().sum(-1) + 1e-6).sqrt().mean(1)


def viewpoint_of(matrix: Tensor) -> Tensor:
    """Azimuth and elevation in degrees (b, 2) that projections (b, 3, 4) of `pose_matrix` are seen from."""
    right, down = (matrix[:, i, :3] - matrix[:, i, 3:] * matrix[:, 2, :3] for i in range(2))
    turn = torch.atan2(right[:, 1], right[:, 0])
    high = torch.atan2(turn.sin() * down[:, 0] - turn.cos() * down[:, 1], -down[:, 2])
    return torch.rad2deg(torch.stack([turn, high], 1))


def quarters_apart(found_deg: Tensor, true_deg: Tensor) -> Tensor:
    """By how many quarters, (b,) int, the front of found viewpoints (b, 2) is another than that of the true ones.

    Seen from a corner, either of two sides may be the front: what was found may be the true object, turned so far.
    """
    return ((found_deg - true_deg)[:, 0] / 90).round().int()


def turn_projection(matrix: Tensor, quarters: Tensor) -> Tensor:
    """Projections (b, 3, 4) of objects turned by so many quarters (b,) int: their azimuth grows by as many 90°."""
    c, s = (
        torch.tensor(values, device=matrix.device)[quarters % 4] for values in ((1, 0, -1, 0), (0, 1, 0, -1))
    )
    x, y, rest = matrix[..., :1], matrix[..., 1:2], matrix[..., 2:]
    c, s = c[:, None, None].to(matrix), s[:, None, None].to(matrix)
    return torch.cat([c * x - s * y, s * x + c * y, rest], -1)


def mirror_projection(matrix: Tensor) -> Tensor:
    """The projections (b, 3, 4) of objects mirrored left to right to tiles mirrored the same way."""
    mirrored = torch.stack([matrix[:, 2] - matrix[:, 0], matrix[:, 1], matrix[:, 2]], 1)
    return mirrored * torch.tensor([-1.0, 1.0, 1.0, 1.0], device=matrix.device)
