"""Views to a radiance field: signed distance and colour on dense grids, fitted until they draw the views again.

The layout is DVGO's (Sun et al. 2022), grids from coarse to fine and no network; the field is a signed
distance, which is a surface from the start, and turns to opacity as in NeuS (Wang et al. 2021, eq. 13). It
begins as the visual hull. With normals among the views, they are fitted as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lora3d.camera import Array, Camera, rays
from lora3d.errors import InputError
from lora3d.lift.fuse import HALF
from lora3d.lift.hull import Mirror, mirrored_hull
from lora3d.lift.surface import NO_SOLID
from lora3d.lift.views import GridViews

FORMAT = "lora3d.field.1"
STEPS = (200, 300)  # at half and at full resolution
FINEST = 80  # voxels along the cube's side
RAYS = 1024  # a step
SAMPLES = 48  # along each
SHELL = 3.0  # voxels about the solid in which samples are drawn


@dataclass(frozen=True, eq=False)
class Field:
    """A field over [−HALF, HALF]³, indexed x, y, z, on any device.

    Attributes:
        distance: (1, 1, n, n, n) float32 in world units, below 0 inside.
        colour: (1, 3, n, n, n) float32, logits of sRGB, the same from all sides.
        sharpness: 1 over the width, in world units, over which the surface turns opaque.
        background: sRGB in [0, 1].
    """

    distance: Tensor
    colour: Tensor
    sharpness: float
    background: tuple[float, float, float]

    def solid(self, resolution: int) -> Array:
        """The distance (resolution,)³ float32 as a NumPy array."""
        return _resized(self.distance, resolution)[0, 0].cpu().numpy()


def _resized(grid: Tensor, n: int) -> Tensor:
    return F.interpolate(grid, size=(n, n, n), mode="trilinear", align_corners=True)


def _at(grid: Tensor, points: Tensor) -> Tensor:
    """A grid (1, c, n, n, n) at world points (..., 3): (..., c), trilinear."""
    flat = points.reshape(1, -1, 1, 1, 3).flip(-1) / HALF
    value = F.grid_sample(grid, flat, mode="bilinear", padding_mode="border", align_corners=True)
    return value[0, :, :, 0, 0].T.reshape(*points.shape[:-1], grid.shape[1])


def _gradient(distance: Tensor) -> Tensor:
    """(1, 3, n, n, n): central differences, in distance per world unit."""
    n = distance.shape[-1]
    padded = F.pad(distance, (1, 1, 1, 1, 1, 1), mode="replicate")[0, 0]
    inner = slice(1, -1)
    parts = (
        padded[2:, inner, inner] - padded[:-2, inner, inner],
        padded[inner, 2:, inner] - padded[inner, :-2, inner],
        padded[inner, inner, 2:] - padded[inner, inner, :-2],
    )
    return torch.stack(parts)[None] * ((n - 1) / (4 * HALF))


def _spans(distance: Tensor, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where rays (r, 3) pass the shell about the solid: first and last depth (r,), and whether at all (r,)."""
    n = distance.shape[-1]
    shell = SHELL * 2 * HALF / (n - 1)
    middle = -(origin * direction).sum(-1) / (direction * direction).sum(-1)
    reach = np.sqrt(3) * HALF / direction.norm(dim=-1)
    steps = torch.linspace(-1, 1, 2 * n, device=origin.device)
    near, far, hit = [], [], []
    for part in torch.arange(len(origin)).split(16_384):
        depth = middle[part, None] + reach[part, None] * steps
        points = origin[part, None] + direction[part, None] * depth[..., None]
        index = ((points / HALF + 1) * (0.5 * (n - 1))).round().long()
        valid = ((index >= 0) & (index < n)).all(-1)
        i, j, k = index.clamp(0, n - 1).unbind(-1)
        inside = valid & (distance[0, 0, i, j, k] < shell)
        near.append(torch.where(inside, depth, torch.inf).amin(-1))
        far.append(torch.where(inside, depth, -torch.inf).amax(-1))
        hit.append(inside.any(-1))
    return torch.cat(near), torch.cat(far), torch.cat(hit)


def draw_rays(
    field: Field,
    gradient: Tensor | None,
    origin: Tensor,
    direction: Tensor,
    span: tuple[Tensor, Tensor],
    jitter: Tensor | float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Along rays (r, 3): colour (r, 3) over the background, opacity (r,), normal (r, 3), gradients (r, s, 3).

    span: the depths (r,) between which samples are drawn; jitter in [0, 1): their offset, in steps. Normals
    and gradients are zero without ``gradient``, which is that of `_gradient`.
    """
    near, far = span
    width = (far - near) / SAMPLES
    count = torch.arange(SAMPLES + 1, device=origin.device) - 0.5
    depth = near[:, None] + (count + jitter) * width[:, None]
    points = origin[:, None] + direction[:, None] * depth[..., None]
    outside = torch.sigmoid(_at(field.distance, points)[..., 0] * field.sharpness)
    alpha = ((outside[:, :-1] - outside[:, 1:]) / (outside[:, :-1] + 1e-5)).clamp(0, 1)
    through = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-7], dim=1), dim=1)
    weight = (alpha * through[:, :-1])[..., None]
    middle = (points[:, 1:] + points[:, :-1]) / 2
    opacity = weight.sum(1)
    colour = (weight * torch.sigmoid(_at(field.colour, middle))).sum(1)
    colour = colour + (1 - opacity) * colour.new_tensor(field.background)
    slope = torch.zeros_like(middle) if gradient is None else _at(gradient, middle)
    normal = (weight * F.normalize(slope, dim=-1, eps=1e-4)).sum(1)
    return colour, opacity[:, 0], normal, slope


def fit_field(
    views: GridViews,
    resolution: int = 96,
    *,
    steps: Sequence[int] = STEPS,
    seed: int = 0,
    device: str = "cpu",
) -> Field:
    """The field that draws the views: coarse first, ``steps`` at half and at full resolution (at most `FINEST`).

    Minimises Huber's loss of the colours, the absolute error of opacity and normals, the eikonal loss
    (|∇f| − 1)², the roughness of both grids, and a little the surface's area, which flattens the ridges of
    the hull that views of one colour leave open. Equal seeds give equal fields on one machine.
    """
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    n = min(resolution, FINEST)
    origin, direction, colour, normal, shown = _all_rays(views, device)
    start, mirrors = mirrored_hull(views, n // 2)
    distance = torch.from_numpy(start)[None, None].to(device)
    mean = colour[shown].mean(0).clamp(0.02, 0.98)
    paint = torch.logit(mean)[None, :, None, None, None].expand(1, 3, *distance.shape[2:]).clone()
    for level, count in enumerate(steps):
        size = n // 2 ** (len(steps) - 1 - level)
        distance = _resized(distance.detach(), size).requires_grad_()
        paint = _resized(paint.detach(), size).requires_grad_()
        near, far, hit = _spans(distance.detach(), origin, direction)
        live = torch.nonzero(hit)[:, 0]
        if not len(live):
            raise InputError(NO_SOLID)
        optimiser = torch.optim.Adam([{"params": [distance], "lr": 1e-3}, {"params": [paint], "lr": 0.1}])
        voxel = 2 * HALF / (size - 1)
        for step in range(count):
            progress = step / count
            sharpness = (0.5 if level + 1 < len(steps) else 0.5 + 1.5 * progress) / voxel
            for group, rate in zip(optimiser.param_groups, (1e-3, 0.1), strict=True):
                group["lr"] = rate * 0.1**progress
            chosen = live[torch.randint(len(live), (RAYS,), generator=rng).to(device)]
            shape = _symmetric(distance, mirrors)
            field = Field(shape, paint, sharpness, tuple(views.background.tolist()))
            jitter = torch.rand(RAYS, 1, generator=rng).to(device)
            gradient = _gradient(shape)
            span = near[chosen], far[chosen]
            drawn = draw_rays(field, gradient, origin[chosen], direction[chosen], span, jitter)
            loss = F.smooth_l1_loss(drawn[0], colour[chosen], beta=0.05) / 0.5
            loss = loss + 0.5 * (drawn[1] - shown[chosen].float()).abs().mean()
            if normal is not None:
                known = shown[chosen] & (normal[chosen] != 0).any(-1)
                loss = loss + 0.5 * (drawn[2] - normal[chosen])[known].abs().sum(-1).mean()
            loss = loss + 0.05 * ((drawn[3].norm(dim=-1) - 1) ** 2).mean()
            loss = loss + _roughness(shape, 0.02 / voxel) + _roughness(paint, 1e-3)
            loss = loss + 0.03 * _area(shape, 0.75 / voxel)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    shape = _symmetric(distance.detach(), mirrors)
    return Field(shape, paint.detach(), sharpness, tuple(views.background.tolist()))


def _symmetric(distance: Tensor, mirrors: Sequence[Mirror]) -> Tensor:
    """The mean of a grid (1, 1, n, n, n) and its mirror images."""
    for swap, flipped in mirrors:
        image = distance.transpose(2, 3) if swap else distance
        distance = (distance + image.flip([2 + axis for axis in flipped])) / 2
    return distance


def _roughness(grid: Tensor, weight: float) -> Tensor:
    """The mean absolute second difference along the three axes."""
    return weight * torch.stack([torch.diff(grid, n=2, dim=d).abs().mean() for d in (2, 3, 4)]).sum()


def _area(distance: Tensor, sharpness: float) -> Tensor:
    """The area of the surface, where gradients are 1: the integral of a smooth delta of the distance."""
    outside = torch.sigmoid(distance * sharpness)
    return (2 * HALF) ** 3 * sharpness * (outside * (1 - outside)).mean()


def _all_rays(views: GridViews, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]:
    """Origins, directions, colours (r, 3), normals (r, 3) or None, and coverage (r,) of all pixels."""
    both = [rays(camera, views.depth.shape[1]) for camera in views.cameras]
    origin, direction = (np.concatenate([b[i].reshape(-1, 3) for b in both]) for i in (0, 1))

    def tensor(values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values.reshape(-1, 3), np.float32)).to(device)

    shown = torch.from_numpy(np.isfinite(views.depth).ravel()).to(device)
    normal = None if views.normal is None else tensor(views.normal)
    return tensor(origin), tensor(direction), tensor(views.rgb), normal, shown


@torch.no_grad()
def draw_field(field: Field, cameras: Sequence[Camera], size: int) -> Array:
    """Pictures (cameras, size, size, 3) float32 sRGB in [0, 1] over the field's background."""
    pictures = []
    for camera in cameras:
        pair = (torch.from_numpy(r.reshape(-1, 3).astype(np.float32)) for r in rays(camera, size))
        origin, direction = (r.to(field.distance.device) for r in pair)
        near, far, hit = _spans(field.distance, origin, direction)
        picture = origin.new_tensor(field.background).repeat(len(origin), 1)
        for part in torch.nonzero(hit)[:, 0].split(16_384):
            span = near[part], far[part]
            picture[part] = draw_rays(field, None, origin[part], direction[part], span, 0.5)[0]
        pictures.append(picture.reshape(size, size, 3).cpu().numpy())
    return np.stack(pictures)


def field_bytes(field: Field) -> bytes:
    """As safetensors: ``distance`` and ``colour``, the rest in its header."""
    header = {
        "format": FORMAT,
        "sharpness": repr(field.sharpness),
        "background": " ".join(map(repr, field.background)),
    }
    grids = {"distance": field.distance.cpu().contiguous(), "colour": field.colour.cpu().contiguous()}
    return save(grids, metadata=header)


def load_field(path: Path, device: str = "cpu") -> Field:
    """The inverse of `field_bytes`. Raises InputError for a file that is no field."""
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise InputError(f"{path}: expected a field saved by lora3d, found {header.get('format')!r}")
            background = tuple(float(x) for x in header["background"].split())
            distance, colour = file.get_tensor("distance"), file.get_tensor("colour")
            sharpness = float(header["sharpness"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path}: expected a field saved by lora3d; {error}") from error
    n = distance.shape[-1]
    if distance.shape != (1, 1, n, n, n) or colour.shape != (1, 3, n, n, n) or len(background) != 3:
        raise InputError(f"{path}: the field's grids do not fit: {distance.shape} and {colour.shape}")
    return Field(distance, colour, sharpness, background)
