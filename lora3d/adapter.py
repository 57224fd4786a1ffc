"""Adapters: attach to a base, save, load, and prove that they do something.

One safetensors file in diffusers' layout: keys ``unet.<module path>.lora_A.weight`` / ``.lora_B.weight``, the
header's ``lora_adapter_metadata`` for diffusers and PEFT, and the header's ``lora3d`` with the card. The
file holds no clock, duration, host or path: the same training gives the same bytes.
"""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lora3d.base import Base, load_base
from lora3d.card import AdapterCard, AdapterError, read_card, read_header
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, require_same_grid

ROLES = {
    "attention": ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out"),
    "conv": ("conv1", "conv2", "conv_shortcut", "conv_in", "conv_out", "conv"),
    "feedforward": ("ff.net.0.proj", "ff.net.2"),
}


def target_modules(network: nn.Module, targets: tuple[str, ...]) -> list[str]:
    """Full names of the Linear and Conv2d layers that the roles (or ends of names) stand for.

    Raises InputError for a target that matches nothing, naming the roles.
    """
    found: set[str] = set()
    for target in targets:
        ends = ROLES.get(target, (target,))
        matched = {
            name
            for name, module in network.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
            and any(name == e or name.endswith("." + e) for e in ends)
        }
        if not matched:
            raise InputError(
                f"targets: no layer is called {target!r}; expected {', '.join(ROLES)} or a layer's name"
            )
        found |= matched
    return sorted(found)


def attach(base: Base, rank: int, alpha: float, targets: tuple[str, ...], seed: int) -> list[nn.Parameter]:
    """Adds a fresh adapter named ``style`` to the base's UNet; returns its parameters (A random, B zero)."""
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=target_modules(base.unet, targets), bias="none"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base.unet.add_adapter(config, adapter_name="style")
    return [p for p in base.unet.parameters() if p.requires_grad]


def adapter_tensors(base: Base, name: str = "style") -> dict[str, Tensor]:
    """The adapter's tensors under diffusers' keys, float32 on the CPU."""
    state = get_peft_model_state_dict(base.unet, adapter_name=name)
    return {f"unet.{k}": v.detach().float().cpu().contiguous() for k, v in sorted(state.items())}


def save_adapter(path: Path, tensors: dict[str, Tensor], card: AdapterCard, modules: list[str]) -> None:
    """Writes the file atomically. Raises AdapterError for tensors that are empty, not finite or without effect."""
    _require_effect(tensors, str(path))
    config = {
        "r": card.rank,
        "lora_alpha": card.alpha,
        "target_modules": modules,
        "bias": "none",
        "lora_dropout": 0.0,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_rslora": False,
        "use_dora": False,
    }
    header = {
        "format": "pt",
        "lora3d": json.dumps(asdict(card), sort_keys=True),
        "lora_adapter_metadata": json.dumps({f"unet.{k}": v for k, v in config.items()}, sort_keys=True),
    }
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as stream:
        stream.write(safetensors_bytes(tensors, header))
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def safetensors_bytes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file of float32 tensors with its header in sorted order.

    The library writes a header's metadata in random order, which would make equal adapters unequal files.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    chunks, offset = [], 0
    for name in sorted(tensors):
        data = tensors[name].numpy().astype("<f4").tobytes()
        shape = list(tensors[name].shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(chunks)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of an adapter file; checked to be finite and not zero throughout."""
    read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{path} cannot be read: {error}") from error
    _require_effect(tensors, str(path))
    return tensors


def check_fits(card: AdapterCard, base: Base, path: Path) -> None:
    """Refuses another grid or architecture, naming both sides; warns of other weights of the same base."""
    require_same_grid(ViewGrid.from_dict(card.grid), f"adapter {path.name}", base.grid, f"base {base.name!r}")
    if card.base != base.name:
        raise AdapterError(
            f"adapter {path.name} was trained on base {card.base!r}; this is base {base.name!r}"
        )
    if card.base_revision != base.revision:
        warnings.warn(
            f"adapter {path.name} was trained on {card.base} {card.base_revision[:12]}, this is "
            f"{base.revision[:12]}: same architecture, other weights; its effect may differ",
            stacklevel=2,
        )


def load_adapter(base: Base, path: Path, name: str) -> AdapterCard:
    """Loads one adapter into the base under ``name``, at weight 1.

    Raises AdapterError for a file that is broken, belongs to another base or grid, or does not match all of
    its keys (diffusers would load such a file with a warning, or as nothing).
    """
    card = read_card(path)
    check_fits(card, base, path)
    tensors = load_tensors(path)
    foreign = sorted(key for key in tensors if not key.startswith("unet."))
    if foreign:
        raise AdapterError(f"{path} has {len(foreign)} keys outside 'unet.', the first is {foreign[0]!r}")
    metadata = json.loads(read_header(path)["__metadata__"]["lora_adapter_metadata"])
    try:
        base.unet.load_lora_adapter(dict(tensors), prefix="unet", adapter_name=name, metadata=metadata)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise AdapterError(f"{path} does not fit base {base.name!r}: {str(error).splitlines()[0]}") from error
    loaded = adapter_tensors(base, name)
    if loaded.keys() != tensors.keys() or any(not torch.equal(loaded[k], tensors[k].float()) for k in loaded):
        matched = len(loaded.keys() & tensors.keys())
        raise AdapterError(f"{path}: only {matched} of {len(tensors)} tensors match base {base.name!r}")
    base.unet.requires_grad_(False)
    return card


def use_adapters(base: Base, weights: dict[str, float]) -> None:
    """Switches the named adapters on with these weights, all others off."""
    if weights:
        base.unet.enable_adapters()
        base.unet.set_adapters(list(weights), list(weights.values()))
    elif getattr(base.unet, "_hf_peft_config_loaded", False):
        base.unet.disable_adapters()


@torch.no_grad()
def effect(base: Base, seed: int = 0) -> Tensor:
    """What the UNet says to one fixed noisy grid, (1, slots, c, h, w): compare it with and without an adapter."""
    shape = (1, *base.latent_shape)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(base.device)
    known = torch.zeros(shape[:2], dtype=torch.bool, device=base.device)
    return base.denoise(noise, torch.full((1,), 0.8, device=base.device), base.embed([""]), known)


def verify(path: Path, base_name: str | Path = "mini") -> dict[str, Any]:
    """Loads a file into its base and measures what it changes.

    Returns its tensors' count, how far it moves the UNet's answer to a fixed noisy grid (largest and mean
    absolute change) and whether weight zero restores the base exactly. Raises AdapterError for a file that
    does not load whole or changes nothing.
    """
    base = load_base(base_name)
    before = effect(base)
    load_adapter(base, path, "verified")
    use_adapters(base, {"verified": 1.0})
    after = effect(base)
    use_adapters(base, {"verified": 0.0})
    change = (after - before).abs()
    if not torch.isfinite(after).all() or change.max() <= 1e-6:
        raise AdapterError(f"{path} loads but moves the output by {change.max():.2g}: it has no effect")
    return {
        "tensors": len(load_tensors(path)),
        "largest_change": change.max().item(),
        "mean_change": change.mean().item(),
        "zero_weight_restores": bool(torch.allclose(effect(base), before, atol=1e-5)),
    }


def _require_effect(tensors: dict[str, Tensor], where: str) -> None:
    if not tensors:
        raise AdapterError(f"{where}: the adapter holds no tensors")
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise AdapterError(f"{where}: {key} holds numbers that are not finite; nothing of it can be used")
    if not any(value.any() for key, value in tensors.items() if "lora_B" in key or "lora_up" in key):
        raise AdapterError(f"{where}: the adapter changes nothing (every lora_B is zero); it was not trained")
