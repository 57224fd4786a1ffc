"""The drawing laid through space: what each view of the grid may see of it, before any network of the grid runs.

A strip of tiles leaves it to attention to find a view's pixel on the drawing, which takes a network more
examples than a CPU can show it. Here it is done before, in two ways. The guess: the volume that
`lora3d.base.space` takes the object for, as each view sees it. The sweep: for each view, planes across its rays,
painted with the drawing that projects onto them (the plane sweep of Collins 1996); a surface that the drawing
shows lies, as sharp as it was drawn, on one of the planes.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from lora3d.base.box import look
from lora3d.base.codec import PATCH, Inverse, Linear, linear_codec
from lora3d.base.pose import divide, viewpoint_of
from lora3d.base.space import Space, SpaceNet
from lora3d.camera import rays
from lora3d.data_prep.shapes import is_box
from lora3d.device import product_dtype
from lora3d.errors import InputError
from lora3d.grid import ViewGrid

PLANES = 8
REACH = 0.35  # planes lie within ± this of the plane through the origin, in world units
PLANE_CHANNELS = 20  # the leading latent channels of each plane
PLACE_CHANNELS = 12
SWEEP_CHANNELS = PLANES * PLANE_CHANNELS + PLACE_CHANNELS + 1
REMEMBERED = 1024  # guesses of drawings, 57 kB each in half precision at 64 px, twice that in float32


@dataclass(frozen=True)
class Laid:
    """What is said of each slot, the drawing's first; zero where the drawing is not known.

    Attributes:
        guess: (b, 1 + views, LATENTS, h, w), normalised latents of the guessed views; zero for the drawing's own.
        planes: (b, 1 + views, SWEEP_CHANNELS, h, w), see `Sweep.paint`.
    """

    guess: Tensor
    planes: Tensor


@dataclass(frozen=True)
class Sweep:
    """The codec's linear map, the network that guesses what a drawing shows, and the grid's lines of sight.

    Attributes:
        grid: a box, see `lora3d.base.box`.
        space: see `lora3d.base.space`.
        linear, inverse: pictures to latents and back.
        moments: (2, LATENTS), mean and deviation of the latents.
        weight, offset: (PLANE_CHANNELS, 4, 64), (PLANE_CHANNELS,); a patch less the background to normalised leading
            latents.
        nearest, direction: (views, h, w, 64, 3); of the line through each pixel of each patch, the point nearest the
            origin and the unit direction.
        ground: (4,), what lies beyond the drawing.
        remembered: the last guesses by what they were asked: a sampler asks at every step, a trainer in every round.
    """

    grid: ViewGrid
    space: SpaceNet
    linear: Linear
    inverse: Inverse
    moments: Tensor
    weight: Tensor
    offset: Tensor
    nearest: Tensor
    direction: Tensor
    ground: Tensor
    remembered: dict[bytes, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False, compare=False)

    @torch.no_grad()
    def __call__(self, drawing: Tensor, seen: Tensor, known: Tensor) -> Laid:
        """Lays drawings through space.

        Args:
            drawing: (b, c, h, w), latents of the drawing's tile.
            seen: (b, 2), azimuth and elevation in degrees that it was seen from, in the grid's frame; NaN where
                nobody said.
            known: (b,) bool.
        """
        b, c, h, w = drawing.shape
        shown = known.nonzero()[:, 0]
        views = 1 + len(self.nearest)
        laid = Laid(*(drawing.new_zeros(b, views, n, h, w) for n in (c, SWEEP_CHANNELS)))
        if not len(shown):
            return laid
        picture, said = self._picture(drawing[shown]), seen[shown]
        # Each alone: in other company its last bits would be others, and many volumes do not fit a CPU's caches.
        found = [self._guess(*one) for one in zip(picture.split(1), said.split(1), strict=True)]
        guesses, projections = (torch.cat(part) for part in zip(*found, strict=True))
        with torch.autocast(drawing.device.type, enabled=False):
            planes = self.paint(picture, projections, ~said.isnan().any(1))
        laid.guess[shown] = guesses.to(drawing.dtype)
        laid.planes[shown] = planes.to(drawing.dtype)
        return laid

    def _guess(self, picture: Tensor, said: Tensor) -> tuple[Tensor, Tensor]:
        """Latents (1, 1 + views, c, h, w) of what a picture (1, 4, t, t) is guessed to be, its projection (1, 3, 4).

        The latents come in the caller's precision, in which the network will read them, and are remembered so.
        """
        dtype = product_dtype(picture)
        asked = hashlib.sha256(str(dtype).encode())
        for part in (picture, said):
            asked.update(part.float().cpu().contiguous().numpy().tobytes())
        key = asked.digest()
        if key not in self.remembered:
            space, views = self._look(picture, said)
            with torch.autocast(picture.device.type, enabled=False):
                found = self._encode(views).to(dtype), space.projection
            while len(self.remembered) >= REMEMBERED:
                del self.remembered[next(iter(self.remembered))]
            self.remembered[key] = found
        return self.remembered[key]

    def _picture(self, drawing: Tensor) -> Tensor:
        """Drawings (b, 4, t, t) in [0, 1] from their latents."""
        with torch.autocast(drawing.device.type, enabled=False):
            return self.inverse(drawing.float()).clamp(0, 1)

    def _look(self, picture: Tensor, said: Tensor) -> tuple[Space, Tensor]:
        """What pictures (b, 4, t, t) are guessed to be, and its views (b, views, 4, t, t)."""
        space = self.space(picture, said)
        with torch.autocast(picture.device.type, enabled=False):
            views = look(torch.sigmoid(space.opacity), space.colour, self.grid)
            if views.shape[-1] != self.grid.tile:
                flat = F.interpolate(
                    views.flatten(0, 1), size=self.grid.tile, mode="bilinear", antialias=True
                )
                views = flat.unflatten(0, views.shape[:2])
        return space, views

    @torch.no_grad()
    def guess(self, drawing: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """What drawings (b, c, h, w), seen as in `__call__`, are guessed to be.

        Returns their slots (b, 1 + views, 4, t, t), the drawing's own first, and how far each cell of the box's cube
        is taken to be inside: (b, n, n, n) in [0, 1], indexed x, y, z.
        """
        picture = self._picture(drawing)
        space, views = self._look(picture, seen)
        return torch.cat([picture[:, None], views], 1), torch.sigmoid(space.opacity).permute(0, 3, 2, 1)

    @torch.no_grad()
    def viewpoint(self, drawing: Tensor) -> Tensor:
        """Azimuth and elevation in degrees (b, 2) that drawings (b, c, h, w) are guessed to be seen from."""
        unsaid = drawing.new_full((len(drawing), 2), math.nan)
        return viewpoint_of(self.space.pose(self._picture(drawing), unsaid))

    def _encode(self, views: Tensor) -> Tensor:
        """Normalised latents (b, 1 + views, c, h, w) of pictures (b, views, 4, t, t); zero for the drawing's slot."""
        mean, deviation = self.moments[:, :, None, None]
        latents = (self.linear(views.flatten(0, 1)) - mean) / deviation
        return F.pad(latents.unflatten(0, views.shape[:2]), (0, 0, 0, 0, 0, 0, 1, 0))

    def paint(self, picture: Tensor, projection: Tensor, stated: Tensor) -> Tensor:
        """For each view the normalised latents of its planes, and where its lines lie on the drawing.

        That is: the place on the drawing of the line's point nearest the origin, the way it goes with depth, waves
        of that place, and one, or a half where the viewpoint was guessed. The drawing's own tile, the first, has
        its own places and no planes.

        Args:
            picture: (b, 4, t, t) in [0, 1], the drawing's tile and its coverage.
            projection: (b, 3, 4), homogeneous, from the grid's frame to the tile's [0, 1]².
            stated: (b,) bool.
        """
        start = _apply(projection, self.nearest) + projection[:, None, None, None, None, :, 3]
        along = _apply(projection, self.direction)
        trust = (0.5 + 0.5 * stated.float())[:, None, None, None, None]
        return torch.cat([self._planes(picture, start, along), self._places(start, along, trust)], 2)

    def _planes(self, picture: Tensor, start: Tensor, along: Tensor) -> Tensor:
        b, m, h, w = start.shape[:4]
        depths = torch.linspace(-REACH, REACH, PLANES, device=picture.device)
        # A projection is linear before its division: a line is projected once for all planes.
        image = (start + depth * along for depth in depths)
        at = [2 * divide(x) - 1 for x in image]
        # Beyond the drawing lies its background: what is sampled is the difference from that.
        beside = picture - self.ground[:, None, None]
        latents = self.offset.expand(b, PLANES, m * h * w, -1)
        for channel, weight in zip(beside.split(1, 1), self.weight.unbind(1), strict=True):
            seen = F.grid_sample(channel, torch.stack(at, 1).reshape(b, -1, PATCH**2, 2), align_corners=False)
            latents = latents + (seen[:, 0] @ weight.T).view_as(latents)
        planes = latents.reshape(b, PLANES, m, h, w, -1).permute(0, 2, 1, 5, 3, 4).flatten(2, 3)
        return F.pad(planes, (0, 0, 0, 0, 0, 0, 1, 0))

    def _places(self, start: Tensor, along: Tensor, trust: Tensor) -> Tensor:
        b, _, h, w = start.shape[:4]
        middle = divide(start)
        slope = along[..., :2] - middle * along[..., 2:]
        place = torch.cat([middle * 2 - 1, slope], -1).mean(4)
        y, x = ((torch.arange(n, device=start.device) + 0.5) / n * 2 - 1 for n in (h, w))
        own = torch.stack([x.expand(h, w), y[:, None].expand(h, w), *torch.zeros(2, h, w).to(x)], -1)
        place = torch.cat([own.expand(b, 1, h, w, 4), place], 1)
        waves = [f(math.pi * k * place[..., :2]) for k in (1, 2) for f in (torch.sin, torch.cos)]
        return torch.cat([place, *waves, trust.expand_as(place[..., :1])], -1).permute(0, 1, 4, 2, 3)


def _apply(projection: Tensor, vectors: Tensor) -> Tensor:
    """The linear part of projections (b, 3, 4) on vectors (..., 3): (b, ..., 3)."""
    flat = vectors.reshape(-1, 3) @ projection[:, :, :3].transpose(1, 2)
    return flat.reshape(len(projection), *vectors.shape)


def new_sweep(space: SpaceNet, vae: AutoencoderTiny, moments: Tensor, grid: ViewGrid) -> Sweep:
    """For a grid's views, on the device of ``moments`` (2, c), those of its latents.

    Raises InputError for a grid that is no box.
    """
    if not is_box(grid):
        raise InputError(f"a base of `mini`'s family fills the views of a box, found grid {grid.name!r}")
    linear, inverse = linear_codec(vae.to(moments.device), (*grid.background, 0.0))
    mean, deviation = moments[:, :PLANE_CHANNELS]
    lines = []
    for camera in grid.cameras("rgb"):
        origins, directions = (torch.from_numpy(a) for a in rays(camera, grid.tile))
        unit = F.normalize(directions, dim=-1)
        lines.append(torch.stack([origins - (origins * unit).sum(-1, keepdim=True) * unit, unit]))
    h = grid.tile // PATCH
    patches = torch.stack(lines, 1).reshape(2, -1, h, PATCH, h, PATCH, 3).transpose(3, 4).flatten(4, 5)
    ground = torch.tensor([*grid.background, 0.0], device=moments.device)
    weight = linear.weight[:PLANE_CHANNELS].flatten(2) / deviation[:, None, None]
    offset = (linear.offset[:PLANE_CHANNELS] - mean) / deviation + weight.sum(2) @ ground
    nearest, direction = patches.float().to(moments.device)
    space = space.to(moments.device)
    return Sweep(grid, space, linear, inverse, moments, weight, offset, nearest, direction, ground)
