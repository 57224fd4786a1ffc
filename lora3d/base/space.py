"""What a drawing shows, in space: how it was seen, and a first guess of the object as a volume.

The network that fills the grid learns slowly where in a drawing a view's pixel lies, and what lies behind what
is drawn. So a network of three steps goes before it: a picture network finds the viewpoint (`lora3d.base.pose`)
and features of every pixel, constant along its line of sight or not; closed form carries them to the cells of
the grid's cube (as in PIFu, Saito et al. 2019); and a network of the cube fills it with opacity and colour,
beside what it sees mirrored left to right, since most things are symmetric. From the six sides that volume is
a first guess of the views (`lora3d.base.box`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lora3d.base.box import centres
from lora3d.base.pose import PoseNet, Residual, place
from lora3d.device import product_dtype
from lora3d.errors import InputError, first_line

SPACE_FILE = Path("space") / "model.safetensors"
CELLS = 32  # along each edge of the cube; opacity is twice as fine
FLAT, DEEP, DEPTHS = 8, 4, 16  # features of a pixel: along all of its line, and at so many depths
HALF_DEPTH = 0.75  # of the drawing's own volume of features, in world units


@dataclass(frozen=True)
class Space:
    """What is guessed of b drawings.

    Attributes:
        projection: (b, 3, 4), see `lora3d.base.pose.pose_matrix`.
        opacity: (b, 2·CELLS, 2·CELLS, 2·CELLS) logits, indexed [z, y, x]; see `lora3d.base.box`.
        colour: (b, 3, CELLS, CELLS, CELLS) in [0, 1].
    """

    projection: Tensor
    opacity: Tensor
    colour: Tensor


class CellConv(nn.Conv3d):
    """A padded nn.Conv3d that asks oneDNN itself for one small float32 input without gradients.

    torch asks it only where the batch or its first two sides are large (`use_mkldnn` in ATen/native/Convolution.cpp).
    Its own kernel takes twenty times as long here: 43 ms against 2 for 16 channels of 32³ cells.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(b, in, d, h, w) to (b, out, d, h, w), as nn.Conv3d but for rounding."""
        one = len(x) == 1 and x.device.type == "cpu" and product_dtype(x) == torch.float32
        if not one or torch.is_grad_enabled() or not torch.backends.mkldnn.is_available():
            return super().forward(x)
        padding = [side // 2 for side in self.kernel_size]
        return torch.mkldnn_convolution(x, self.weight, self.bias, padding, self.stride, self.dilation, 1)


class SpaceNet(nn.Module):
    """Drawings and, where it is said, their viewpoint, to a `Space`."""

    def __init__(self, widths: tuple[int, int, int] = (16, 32, 48)) -> None:
        super().__init__()
        self.pose = PoseNet()
        a, b, c = self.pose.widths
        self.lift_low, self.mid = nn.Conv2d(c, b, 1), Residual(b)
        self.lift_mid, self.high = nn.Conv2d(b, a, 1), Residual(a)
        self.features = nn.Conv2d(a, FLAT + DEEP * DEPTHS, 3, 1, 1)
        d, e, f = widths
        self.cells = nn.Conv3d(2 * (FLAT + DEEP + 5) + 3, d, 1)
        self.to_coarse = nn.Conv3d(d, e, 2, 2)
        self.coarse = nn.Sequential(Residual(e, CellConv), Residual(e, CellConv))
        self.to_coarsest = nn.Conv3d(e, f, 2, 2)
        self.whole = nn.Linear(f, f)
        self.coarsest = nn.Sequential(Residual(f, CellConv), Residual(f, CellConv))
        self.lift_coarsest, self.again = nn.Conv3d(f, e, 1), Residual(e, CellConv)
        self.lift_coarse, self.last = nn.Conv3d(e, d, 1), CellConv(d, d, 3, 1, 1)
        self.conv_out = nn.Conv3d(d, 8 + 4, 1)
        nn.init.constant_(self.conv_out.bias[:8], -3.0)  # type: ignore[index]  # most of the cube is empty
        for m in self.modules():
            if isinstance(m, nn.Conv2d | nn.Conv3d):
                flat = isinstance(m, nn.Conv2d)
                m.to(memory_format=torch.channels_last if flat else torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, drawings: Tensor, seen: Tensor, projection: Tensor | None = None) -> Space:
        """Drawings (b, 4, t, t), rgb and coverage in [0, 1], seen from (b, 2) in degrees, NaN where nobody said.

        Args:
            projection: what to lay them through space by, in place of the guess.
        """
        (high, mid, low), found = self.pose.look(drawings, seen)
        mid = self.mid(mid + _twice(self.lift_low(low)))
        high = self.high(high + _twice(self.lift_mid(mid)))
        features = self.features(high).float()
        projection = found.detach() if projection is None else projection
        with torch.autocast(drawings.device.type, enabled=False):
            sampled = self._sample(drawings, features, projection)
        x = self.cells(torch.cat([sampled, sampled[:, :-3].flip(-1)], 1))
        coarse = self.coarse(self.to_coarse(F.gelu(x)))
        coarsest = self.coarsest(self.to_coarsest(coarse))
        coarsest = coarsest + self.whole(coarsest.mean((2, 3, 4)))[:, :, None, None, None]
        coarse = self.again(coarse + _twice(self.lift_coarsest(coarsest)))
        x = F.gelu(self.last(F.gelu(x + _twice(self.lift_coarse(coarse)))))
        out = self.conv_out(x).float()
        b, n = len(out), CELLS
        opacity = (
            out[:, :8].reshape(b, 2, 2, 2, n, n, n).permute(0, 4, 1, 5, 2, 6, 3).reshape(b, *[2 * n] * 3)
        )
        # Of what is drawn where a cell projects, and a colour of its own.
        drawn = sampled[:, FLAT + DEEP : FLAT + DEEP + 3] + 1
        share = torch.sigmoid(out[:, 11:])
        return Space(found, opacity, share * drawn + (1 - share) * torch.sigmoid(out[:, 8:11]))

    def _sample(self, picture: Tensor, features: Tensor, projection: Tensor) -> Tensor:
        """What each cell sees of the drawing, (b, FLAT + DEEP + 5 + 3, CELLS, CELLS, CELLS).

        Features along its line of sight and at its depth, the drawing's rgb less white and its coverage there, the
        depth; last, x, y, z.
        """
        b, axis = len(picture), centres(CELLS, picture.device)
        z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
        points = torch.stack([x, y, z], -1).reshape(-1, 3)
        at = place(projection, points) * 2 - 1
        # The last row's gradient points to the viewer; see `pose_matrix`.
        depth = (points @ F.normalize(projection[:, 2, :3], dim=1)[:, :, None]) / HALF_DEPTH
        white = torch.tensor([1.0, 1.0, 1.0, 0.0], device=picture.device)[:, None, None]
        deep = features[:, FLAT:].unflatten(1, (DEEP, DEPTHS))
        found = [
            F.grid_sample(features[:, :FLAT], at[:, None], align_corners=False)[:, :, 0],
            F.grid_sample(deep, torch.cat([at, depth], -1)[:, None, None], align_corners=False)[:, :, 0, 0],
            F.grid_sample(picture - white, at[:, None], align_corners=False)[:, :, 0],
            depth.transpose(1, 2),
            2 * points.T.expand(b, -1, -1),
        ]
        return torch.cat(found, 1).unflatten(2, (CELLS, CELLS, CELLS))


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


def read_space(folder: Path) -> SpaceNet:
    """The network of a saved base, in float32. Raises InputError where it is missing or of another shape."""
    path = folder / SPACE_FILE
    net = SpaceNet()
    try:
        net.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        if not all(torch.isfinite(v).all() for v in net.state_dict().values()):
            raise RuntimeError("it holds numbers that are not finite")
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{path}: not the space network of a base of `mini`'s family: {first_line(error)}"
        ) from error
    return net.eval().requires_grad_(False)


def write_space(net: SpaceNet, folder: Path) -> None:
    """Writes fp16 safetensors where `read_space` looks."""
    (folder / SPACE_FILE).parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in net.state_dict().items()}, folder / SPACE_FILE)
