"""What is inside an adapter, whatever its file is called: one low-rank update a layer.

    W' = W + (alpha / r) · up · down                                         LoRA, Hu et al. 2021, eq. 3
    W' = m · (W + (alpha / r) · up · down) / ‖W + (alpha / r) · up · down‖    DoRA, Liu et al. 2024, eq. 5

rsLoRA's scale alpha / √r (Kalajdzievski 2023) is folded into alpha on the way in, since only PEFT knows of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lora3d.adapter_names import FUSED
from lora3d.card import AdapterError, shown


@dataclass(frozen=True)
class Layer:
    """The update of one layer; see the module for the equations.

    Attributes:
        down: (r, in) of a linear layer, (r, in, h, w) of a convolution.
        up: (out, r), or (out, r, 1, 1).
        alpha: scale · r.
        magnitude: (out,), DoRA's m; None for LoRA.
    """

    down: Tensor
    up: Tensor
    alpha: float
    magnitude: Tensor | None = None

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def delta(self) -> Tensor:
        """(alpha / r) · up · down in the layer's shape, (out, in) or (out, in, h, w), float32."""
        flat = self.up.flatten(1).float() @ self.down.flatten(1).float()
        return self.scale * flat.reshape(self.up.shape[0], *self.down.shape[1:])


Layers = dict[str, Layer]


def join_fused(layers: Layers) -> Layers:
    """SD 3's q, k and v, one layer in kohya's naming: ranks side by side, scales in ``up``, zeros elsewhere.

    Raises AdapterError where the three are not linear layers of one shape, or some are DoRA and some are not.
    """
    result = dict(layers)
    for name in layers:
        for fused, ends in FUSED.items():
            if not name.endswith("." + ends[0]) and not any(name.endswith("." + e) for e in ends):
                continue
            stem = next(name.removesuffix("." + e) for e in ends if name.endswith("." + e))
            parts = [result.pop(f"{stem}.{e}", None) for e in ends]
            given = [p for p in parts if p is not None]
            if given:
                joined = f"{stem}.{fused}".replace("transformer_blocks", "joint_blocks")
                result[joined] = _block_diagonal(parts, given, name)
    return result


def _block_diagonal(parts: list[Layer | None], given: list[Layer], name: str) -> Layer:
    shapes = {(p.up.shape[0], *p.down.shape[1:]) for p in given}
    if len(shapes) > 1 or given[0].up.ndim != 2:
        raise AdapterError(
            f"{shown(name)} beside its q, k and v: layers of {' and '.join(map(str, sorted(shapes)))} cannot be "
            "written as the one linear layer kohya knows"
        )
    out, rank = given[0].up.shape[0], sum(p.rank for p in given)
    up = given[0].up.new_zeros(len(parts) * out, rank)
    column = 0
    for i, part in enumerate(parts):
        if part is not None:
            up[i * out : (i + 1) * out, column : column + part.rank] = part.up * part.scale
            column += part.rank
    magnitudes = [p.magnitude for p in given if p.magnitude is not None]
    if magnitudes and len(magnitudes) != len(parts):
        raise AdapterError(
            f"{name}: DoRA on some of q, k and v cannot be written as the one layer kohya knows"
        )
    whole = torch.cat(magnitudes) if magnitudes else None
    return Layer(torch.cat([p.down for p in given]), up, float(rank), whole)


def split_fused(layers: Layers, where: str) -> Layers:
    """The inverse of `join_fused`: each part keeps the ranks that it uses."""
    result: Layers = {}
    for name, layer in layers.items():
        fused = next((f for f in FUSED if name.endswith("." + f)), None)
        if fused is None:
            result[name] = layer
            continue
        if layer.up.shape[0] % 3 or layer.up.ndim != 2:
            raise AdapterError(
                f"{shown(where)}: {shown(name)} has lora_up of shape {list(layer.up.shape)}, expected the outputs of "
                "q, k and v by the rank"
            )
        stem = name.removesuffix(fused).replace("joint_blocks", "transformer_blocks")
        masses = layer.magnitude.chunk(3) if layer.magnitude is not None else (None,) * 3
        for end, up, mass in zip(FUSED[fused], layer.up.chunk(3), masses, strict=True):
            used = up.abs().sum(0) > 0
            if used.any() or mass is not None:
                used = used if used.any() else used | (torch.arange(len(used)) == 0)
                rank = int(used.sum())
                part = Layer(layer.down[used], up[:, used] * layer.scale, float(rank), mass)
                result[stem + end] = replace(part, up=part.up.contiguous())
    return result


def swap_modulation(layers: Layers, names: set[str]) -> Layers:
    """Exchanges scale and shift in the two modulations that Stability AI's code keeps the other way round.

    Of the layers called ``names`` alone; its own inverse. The last block's modulation of the context is told
    from the others by its two parts instead of six.
    """
    return {n: _swapped(x) if n in names and _is_swapped(n, x) else x for n, x in layers.items()}


def _is_swapped(name: str, layer: Layer) -> bool:
    return name == "transformer.norm_out.linear" or (
        name.endswith("norm1_context.linear") and layer.up.shape[0] == 2 * layer.down.shape[1]
    )


def _swapped(layer: Layer) -> Layer:
    magnitude = layer.magnitude
    return replace(
        layer,
        up=torch.cat(layer.up.chunk(2)[::-1]),
        magnitude=None if magnitude is None else torch.cat(magnitude.chunk(2)[::-1]),
    )
