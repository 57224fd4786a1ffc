"""Working with several adapters: merge, resize, compare, fuse into a base.

All in terms of the updates ΔW = scale · up · down themselves: averaging the factors, as is often done, adds
cross terms that nobody trained.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora3d.adapter_convert import find_card, parent_of, write_file
from lora3d.adapter_formats import read_layers
from lora3d.adapter_layers import Layer, Layers
from lora3d.base import hash_weights
from lora3d.card import AdapterCard, AdapterError, safe_name, shown
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, require_same_grid
from lora3d.palette import from_entries, join_palettes, to_entries

METHODS = ("linear", "svd", "ties", "dare")
Combine = Callable[[list[Tensor], Tensor, float], Tensor]


def merge(
    files: dict[Path, float],
    out: Path,
    *,
    method: str = "linear",
    rank: int | None = None,
    density: float = 0.5,
    seed: int = 0,
) -> dict[str, Any]:
    """Several adapters (file -> weight) to one; its card lists them as parents.

    Args:
        method: linear: Σ wᵢ·ΔWᵢ, exact, the ranks add up. svd: the same cut to ``rank``. ties: Yadav et al.
            2023. dare: Yu et al. 2023, drawn from ``seed``. The last two are PEFT's, on whole updates, then
            cut to ``rank``.
        rank: of the result, for all but linear; by default the largest among the parents'.
        density: share of entries that ties and dare keep, in (0, 1].

    Raises AdapterError for DoRA (its magnitudes do not add up) and for adapters of another base, grid or shape.
    """
    if method not in METHODS or len(files) < 2 or not 0 < density <= 1 or (rank is not None and rank < 1):
        raise InputError(
            f"merge takes at least two adapters, a method of {', '.join(METHODS)}, a density in (0, 1] and a "
            f"rank of at least 1; found {len(files)}, {shown(method)}, {density:g}, {rank}"
        )
    from peft.utils.merge_utils import dare_linear, ties

    several = {path: read_layers(path) for path in files}
    cards = check_together(several)
    ranks = [layer.rank for layers in several.values() for layer in layers.values()]
    keep = rank or max(ranks)
    merged: Layers = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name in sorted({n for layers in several.values() for n in layers}):
            pairs = [(layers[name], files[p]) for p, layers in several.items() if name in layers]
            if method in ("linear", "svd"):
                whole = _sum(pairs)
                merged[name] = whole if method == "linear" else cut(whole, rank=keep)
            else:
                merged[name] = _dense(pairs, ties if method == "ties" else dare_linear, density, keep)
    card = _merged_card(cards, files, merged, {"method": method, "density": density, "seed": seed})
    write_file(merged, out, card, title=safe_name(out.stem))
    return {
        "file": str(out),
        "layers": len(merged),
        "ranks": sorted({x.rank for x in merged.values()}),
        "parents": [parent["file"] for parent in card.parents] if card else [p.name for p in files],
        "error": _error(merged, several, files),
    }


def check_together(several: dict[Path, Layers]) -> dict[Path, AdapterCard | None]:
    """Refuses adapters that belong to different networks, bases or grids, naming both; warns of other weights."""
    cards = {path: find_card(path) for path in several}
    (first, layers), *rest = several.items()
    for path, others in rest:
        a, b = cards[first], cards[path]
        here, there = f"adapter {shown(first.name)}", f"adapter {shown(path.name)}"
        if a is not None and b is not None:
            if a.base != b.base and a.base_revision != b.base_revision:
                raise AdapterError(
                    f"{here} was trained on {shown(a.base)}, {there} on {shown(b.base)}: they cannot be merged"
                )
            require_same_grid(ViewGrid.from_dict(a.grid), here, ViewGrid.from_dict(b.grid), there)
            if a.base_revision != b.base_revision:
                warnings.warn(
                    f"{here} was trained on {shown(a.base)} {shown(a.base_revision[:12])}, {there} on "
                    f"{shown(b.base_revision[:12])}: same architecture, other weights",
                    stacklevel=3,
                )
        for name in layers.keys() & others.keys():
            if _shape(layers[name]) != _shape(others[name]):
                raise AdapterError(
                    f"{name} is {_shape(layers[name])} in {here} and {_shape(others[name])} in {there}: "
                    "they were made for different networks"
                )
        if not layers.keys() & others.keys() and {_part(layers)} == {_part(others)}:
            warnings.warn(f"{here} and {there} have no layer in common", stacklevel=3)
    for path, layers in several.items():
        if any(layer.magnitude is not None for layer in layers.values()):
            raise AdapterError(
                f"{shown(path)} is DoRA: its magnitudes do not add up; fuse it into the base instead"
            )
    return cards


def _part(layers: Layers) -> str:
    return next(iter(layers)).partition(".")[0]


def _shape(layer: Layer) -> tuple[int, ...]:
    return (layer.up.shape[0], *layer.down.shape[1:])


def _sum(pairs: list[tuple[Layer, float]]) -> Layer:
    """Σ w·ΔW with the factors side by side, and nothing lost."""
    down = torch.cat([layer.down.float() for layer, _ in pairs])
    up = torch.cat([layer.up.float() * (layer.scale * weight) for layer, weight in pairs], dim=1)
    return Layer(down, up, float(len(down)))


def _dense(pairs: list[tuple[Layer, float]], combine: Combine, density: float, rank: int) -> Layer:
    """PEFT's way of combining whole updates, then the best update of that rank."""
    deltas = [layer.delta() for layer, _ in pairs]
    shape = deltas[0].shape
    mixed = combine([d.flatten(1) for d in deltas], torch.tensor([w for _, w in pairs]), density)
    u, s, v = torch.linalg.svd(mixed, full_matrices=False)
    return _from_svd(u, s, v, min(rank, len(s)), shape)


def cut(layer: Layer, *, rank: int | None = None, energy: float | None = None) -> Layer:
    """The best update of a lower rank (Eckart and Young 1936): a given one, or the least that keeps ``energy``.

    energy is the share of ‖ΔW‖² that stays, in (0, 1]. The magnitude of DoRA stays as it is.
    """
    down, up = layer.down.flatten(1).float(), layer.up.flatten(1).float() * layer.scale
    left, r_left = torch.linalg.qr(up)
    right, r_right = torch.linalg.qr(down.T)
    u, s, v = torch.linalg.svd(r_left @ r_right.T)
    kept = len(s)
    if energy is not None:
        share = s.square().cumsum(0) / s.square().sum().clamp_min(1e-30)
        kept = int((share < energy - 1e-7).sum()) + 1
    kept = max(1, min(kept, len(s), rank or len(s)))
    small = _from_svd(left @ u, s, v @ right.T, kept, (len(up), *layer.down.shape[1:]))
    return replace(small, magnitude=layer.magnitude)


def _from_svd(u: Tensor, s: Tensor, v: Tensor, rank: int, shape: tuple[int, ...]) -> Layer:
    root = s[:rank].sqrt()
    up = (u[:, :rank] * root).contiguous()
    down = (root[:, None] * v[:rank]).reshape(rank, *shape[1:]).contiguous()
    return Layer(down, up.reshape(*up.shape, *[1] * (len(shape) - 2)), float(rank))


def resize(file: Path, out: Path, *, rank: int | None = None, energy: float | None = None) -> dict[str, Any]:
    """An adapter at a lower rank, or at the least rank a layer that keeps ``energy``; see `cut`."""
    if (rank is None) == (energy is None) or (rank or 1) < 1 or not 0 < (energy or 1) <= 1:
        raise InputError("resize takes either a rank of at least 1 or an energy in (0, 1]")
    layers = read_layers(file)
    small = {name: cut(layer, rank=rank, energy=energy) for name, layer in layers.items()}
    card = find_card(file)
    if card is not None:
        card = _with_ranks(replace(card, parents=[parent_of(file)]), small)
    write_file(small, out, card, title=safe_name(out.stem))
    return {
        "file": str(out),
        "layers": len(small),
        "ranks": dict(sorted(Counter(x.rank for x in small.values()).items())),
        "energy": 1 - _error(small, {file: layers}, {file: 1.0}) ** 2,
    }


def _with_ranks(card: AdapterCard, layers: Layers) -> AdapterCard:
    rank = Counter(x.rank for x in layers.values()).most_common(1)[0][0]
    return replace(card, rank=rank, alpha=float(rank))


def _merged_card(
    cards: dict[Path, AdapterCard | None], files: dict[Path, float], layers: Layers, recipe: dict[str, Any]
) -> AdapterCard | None:
    """What the parents' cards say together; None unless all have one."""
    own = [card for card in cards.values() if card is not None]
    if len(own) != len(cards):
        return None

    def union(values: list[list[str]]) -> list[str]:
        return sorted({v for several in values for v in several})

    painted = [(from_entries(c.palette), max(w, 0.0)) for c, w in zip(own, files.values(), strict=True)]
    card = AdapterCard(
        base=own[0].base,
        base_revision=own[0].base_revision,
        grid=own[0].grid,
        trigger=" ".join(dict.fromkeys(c.trigger for c in own if c.trigger)),
        rank=0,
        alpha=0.0,
        targets=union([c.targets for c in own]),
        dataset="",
        assets=sum(c.assets for c in own),
        drawings=sum(c.drawings for c in own),
        licenses=union([c.licenses or ["NOASSERTION"] for c in own]),
        artists=union([c.artists for c in own]),
        sources=union([c.sources for c in own]),
        recipe={"merge": recipe},
        metrics={},
        versions=own[0].versions,
        base_license=own[0].base_license,
        viewpoints=[habit for c in own for habit in c.viewpoints],
        palette=to_entries(join_palettes(painted)),
        consent="\n\n".join(dict.fromkeys(c.consent for c in own if c.consent)),
        parents=[
            {**parent_of(p, w), "dataset": c.dataset} for (p, w), c in zip(files.items(), own, strict=True)
        ],
    )
    return _with_ranks(card, layers)


def inner(a: Layer, b: Layer) -> float:
    """⟨ΔWa, ΔWb⟩ of Frobenius, by the factors alone."""
    ups = a.up.flatten(1).double().T @ b.up.flatten(1).double()
    downs = a.down.flatten(1).double() @ b.down.flatten(1).double().T
    return a.scale * b.scale * (ups * downs).sum().item()


def _error(merged: Layers, several: dict[Path, Layers], files: dict[Path, float]) -> float:
    """‖merged − Σ w·ΔW‖ / ‖Σ w·ΔW‖ over all layers."""
    off = total = 0.0
    for name, layer in merged.items():
        whole = _sum([(layers[name], files[p]) for p, layers in several.items() if name in layers])
        norm = inner(whole, whole)
        off += max(0.0, inner(layer, layer) - 2 * inner(layer, whole) + norm)
        total += norm
    return (off / total) ** 0.5 if total else 0.0


def diff(a: Path, b: Path) -> dict[str, Any]:
    """How two adapters differ: layers, the updates' distance and angle, and what their cards say otherwise."""
    one, two = read_layers(a), read_layers(b)
    for name in one.keys() & two.keys():
        if _shape(one[name]) != _shape(two[name]):
            raise AdapterError(
                f"{name} is {_shape(one[name])} in {shown(a.name)} and {_shape(two[name])} in {shown(b.name)}: "
                "they were made for different networks"
            )
    both = sorted(one.keys() & two.keys())
    ab = sum(inner(one[n], two[n]) for n in both)
    aa, bb = (sum(inner(x, x) for x in layers.values()) for layers in (one, two))
    left, right = find_card(a), find_card(b)
    fields = {}
    if left is not None and right is not None:
        fields = {
            k: [v, vars(right)[k]]
            for k, v in vars(left).items()
            if v != vars(right)[k] and k not in ("grid", "recipe", "metrics", "versions", "parents")
        }
    return {
        "layers": {
            "both": len(both),
            "first_only": len(one) - len(both),
            "second_only": len(two) - len(both),
        },
        "norms": [aa**0.5, bb**0.5],
        "cosine": ab / (aa * bb) ** 0.5 if aa and bb else None,
        "distance": max(0.0, aa + bb - 2 * ab) ** 0.5,
        "relative_distance": max(0.0, aa + bb - 2 * ab) ** 0.5 / aa**0.5 if aa else None,
        "card": fields,
    }


def fuse(file: Path, base: Path, out: Path, *, weight: float = 1.0) -> dict[str, Any]:
    """Writes a base folder (diffusers layout) with the adapter's update inside its weights.

    A layer's W becomes `fused_weight`; everything else is copied. Raises InputError for a base that lacks a
    component or a layer, and for a folder that exists.
    """
    layers = read_layers(file)
    if out.exists():
        raise InputError(f"{shown(out)} exists already; name a folder that does not")
    if not (base / "model_index.json").is_file():
        raise InputError(f"no base at {shown(base)}: expected a folder with model_index.json")
    card = find_card(file)
    if card is not None and (revision := hash_weights(base)) != card.base_revision:
        warnings.warn(
            f"adapter {shown(file.name)} was trained on {shown(card.base)} {shown(card.base_revision[:12])}, "
            f"{shown(base.name)} is {revision[:12]}: other weights; its effect may differ",
            stacklevel=2,
        )
    shutil.copytree(base, out)
    try:
        done = sum(_fuse_file(path, layers, weight, out) for path in sorted(out.glob("*/*.safetensors")))
        if done != len(layers):
            raise AdapterError(
                f"{shown(file)} does not fit {shown(base)}: {done} of {len(layers)} layers are there"
            )
    except InputError:
        shutil.rmtree(out)
        raise
    record = {
        "adapter": parent_of(file, weight),
        "base": card.base if card else safe_name(base.name),
        "licenses": card.licenses if card else ["NOASSERTION"],
    }
    (out / "lora3d_fused.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return {"folder": str(out), "layers": done, **record}


def _fuse_file(path: Path, layers: Layers, weight: float, root: Path) -> int:
    """Rewrites one weights file; returns how many layers it held."""
    component = path.parent.relative_to(root).as_posix()
    own = {n.partition(".")[2]: x for n, x in layers.items() if n.partition(".")[0] == component}
    if not own:
        return 0
    weights, done = load_file(path), 0
    for name, layer in own.items():
        keys = [f"{name}.weight", f"{name.removeprefix('text_model.')}.weight"]
        key = next((k for k in keys if k in weights), None)
        if key is None:
            continue
        old = weights[key]
        if tuple(old.shape) != _shape(layer):
            raise AdapterError(
                f"{component}.{name} is {tuple(old.shape)} in the base, {_shape(layer)} in the adapter"
            )
        weights[key] = fused_weight(old.float(), layer, weight).to(old.dtype).contiguous()
        done += 1
    if done:
        save_file(weights, path, {"format": "pt"})
    return done


def fused_weight(old: Tensor, layer: Layer, weight: float = 1.0) -> Tensor:
    """W' of `lora3d.adapter_layers`, the update times ``weight``; (out, in) or (out, in, h, w)."""
    new = old + weight * layer.delta()
    if layer.magnitude is None:
        return new
    norm = new.flatten(1).norm(dim=1)
    return new * (layer.magnitude.float() / norm).reshape(-1, *[1] * (new.ndim - 1))
