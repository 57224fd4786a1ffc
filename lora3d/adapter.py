"""Adapters: attach to a base, save, load, and prove that they do something.

One safetensors file in diffusers' layout: keys ``unet.<module path>.lora_A.weight`` / ``.lora_B.weight``, the
header's ``lora_adapter_metadata`` for diffusers and PEFT, and the header's ``lora3d`` with the card. The
file holds no clock, duration, host or path: the same training gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import delete_adapter_layers, set_weights_and_activate_adapters
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from lora3d.adapter_convert import check_fits, find_card, write_file
from lora3d.adapter_formats import (
    read_layers,
    require_effect,
    to_layers,
)
from lora3d.adapter_verify import put_on, verify
from lora3d.base import Base
from lora3d.base.text import Text, has_adapter
from lora3d.card import AdapterCard, AdapterError, safe_name, shown
from lora3d.errors import InputError

__all__ = [
    "AdapterCard",
    "AdapterError",
    "adapter_tensors",
    "attach",
    "effect",
    "load_adapter",
    "remove_adapter",
    "save_adapter",
    "scales",
    "set_dropout",
    "target_modules",
    "trained_modules",
    "use_adapters",
    "verify",
    "without",
]

TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")
ROLES = {
    "attention": (
        *(".to_q", ".to_k", ".to_v", ".to_out.0", ".proj_in", ".proj_out"),
        *(".add_q_proj", ".add_k_proj", ".add_v_proj", ".to_add_out"),
    ),
    "conv": (".conv1", ".conv2", ".conv_shortcut", ".conv_in", ".conv_out", ".conv"),
    "feedforward": (".ff.net.0.proj", ".ff.net.2", ".ff_context.net.0.proj", ".ff_context.net.2"),
}


def target_modules(network: nn.Module, targets: tuple[str, ...]) -> list[str]:
    """Full names of the Linear and Conv2d layers that the roles (or ends of names) stand for.

    Raises InputError for a target that matches nothing, naming the roles.
    """
    # Under an adapter that is there already, a layer is its wrapper's ``base_layer``.
    layers = {
        name.removesuffix(".base_layer")
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and ".lora_" not in name
    }
    found: set[str] = set()
    for target in targets:
        ends = ROLES.get(target, (f".{target}",))
        # The last layer of a transformer is called proj_out too, but is no attention's.
        matched = {
            name
            for name in layers
            if f".{name}".endswith(ends) and not (target == "attention" and name == "proj_out")
        }
        if not matched:
            raise InputError(
                f"targets: no layer is called {target!r}; expected {', '.join(ROLES)} or a layer's name"
            )
        found |= matched
    return sorted(found)


def attach(
    base: Base,
    rank: int,
    alpha: float,
    targets: tuple[str, ...],
    seed: int,
    *,
    ranks: dict[str, int] | None = None,
    dropout: float = 0.0,
    rslora: bool = False,
    dora: bool = False,
    text: bool = False,
) -> list[Tensor]:
    """Adds a fresh adapter named ``style`` to the base's network; returns its parameters, in float32.

    A is random and B zero, so that it changes nothing yet.

    Args:
        ranks: other ranks for layers by role or name; alpha goes with them, so that the scale is one.
        dropout: of what A reads.
        rslora: the scale is alpha/√rank (Kalajdzievski 2023) instead of alpha/rank.
        dora: weights in direction and magnitude (Liu et al. 2024).
        text: the attention of the base's CLIP text encoders too, after the network's.
    """
    own = {name: r for role, r in (ranks or {}).items() for name in target_modules(base.network, (role,))}
    config = partial(
        LoraConfig,
        r=rank,
        lora_alpha=alpha,
        bias="none",
        lora_dropout=dropout,
        use_rslora=rslora,
        use_dora=dora,
    )
    on_network = config(
        target_modules=target_modules(base.network, targets),
        rank_pattern={f"^{name}": r for name, r in own.items()},
        alpha_pattern={f"^{n}": alpha * (r / rank) ** (0.5 if rslora else 1.0) for n, r in own.items()},
    )
    encoders = base.text_encoders.values() if text else ()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base.network.add_adapter(on_network, adapter_name="style")
        for encoder in encoders:
            names = target_modules(encoder, TEXT_LAYERS)
            inject_adapter_in_model(config(target_modules=names), encoder, adapter_name="style")
    found = []
    for network in (base.network, *encoders):
        for module in network.modules():
            if isinstance(module, BaseTunerLayer):
                # Autocast does that; PEFT would turn what autocast made of every input back to float32 first.
                module.cast_input_dtype_enabled = False
        network.eval()
        found += [p for n, p in network.named_parameters() if ".style." in n]
    for parameter in found:
        parameter.data = parameter.data.float()
    return found


def networks(base: Base) -> dict[str, Any]:
    """What carries adapters, by component: the base's network, and its text encoders where they do."""
    return {base.component: base.network, **(base.text_encoders if base.text_adapted else {})}


def remove_adapter(base: Base, name: str) -> None:
    """Takes an adapter off again."""
    for network in networks(base).values():
        delete_adapter_layers(network, name)
        if has_adapter(network):
            network.peft_config.pop(name, None)


@contextmanager
def without(base: Base, name: str) -> Iterator[None]:
    """Runs the block with one adapter switched off and all else as it is."""
    layers = [m for x in networks(base).values() for m in x.modules() if isinstance(m, BaseTunerLayer)]
    before = [layer.active_adapters for layer in layers]
    try:
        for layer, active in zip(layers, before, strict=True):
            # PEFT's own switch would freeze and thaw parameters too, those of the adapters below among them.
            layer._active_adapter = [a for a in active if a != name]
        yield
    finally:
        for layer, active in zip(layers, before, strict=True):
            layer._active_adapter = active


def set_dropout(base: Base, on: bool) -> None:
    """Switches the adapters' dropout, which is off but in a step of training."""
    for network in networks(base).values():
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.train(on)


def scales(base: Base, name: str = "style") -> dict[str, Any]:
    """What the file of an adapter must say of its scales: `lora3d.adapter_formats.to_layers` reads it."""
    words = ("lora_alpha", "use_rslora", "alpha_pattern")
    return {
        f"{component}.{word}": getattr(network.peft_config[name], word)
        for component, network in networks(base).items()
        if name in network.peft_config
        for word in words
    }


def trained_modules(base: Base, name: str = "style") -> list[str]:
    """The names of the network's layers that carry the adapter."""
    end = f".lora_A.{name}"
    return sorted(n.removesuffix(end) for n, _ in base.network.named_modules() if n.endswith(end))


def adapter_tensors(base: Base, name: str = "style") -> dict[str, Tensor]:
    """The adapter's tensors under diffusers' keys, float32 on the CPU."""
    found: dict[str, Tensor] = {}
    for component, network in networks(base).items():
        if name in network.peft_config:
            # transformers has flattened one of CLIP's classes; the names of files have stayed.
            level = (
                "text_model." if network is not base.network and not hasattr(network, "text_model") else ""
            )
            state = get_peft_model_state_dict(network, adapter_name=name)
            found |= {f"{component}.{level}{k}": v for k, v in state.items()}
    return {k: v.detach().float().cpu().contiguous() for k, v in sorted(found.items())}


def save_adapter(
    path: Path,
    tensors: dict[str, Tensor],
    card: AdapterCard,
    modules: list[str],
    scales: dict[str, Any] | None = None,
) -> None:
    """Writes the file atomically, in diffusers' layout; ``scales`` as `scales` says it, by default the card's alpha.

    Raises AdapterError for tensors that are none, not finite or without effect, and for one of ``modules`` (the
    network's layers that were trained) that has none.
    """
    require_effect(tensors, str(path))
    component = next(k for k in tensors if not k.startswith("text_encoder")).partition(".")[0]
    layers = to_layers(tensors, scales or {f"{component}.lora_alpha": card.alpha}, str(path))
    lost = sorted({f"{component}.{name}" for name in modules} - layers.keys())
    if lost:
        raise AdapterError(
            f"{shown(path)}: {len(lost)} trained layers have no tensors, the first is {lost[0]}"
        )
    write_file(layers, path, card, title=safe_name(card.trigger or "adapter"))


def load_adapter(base: Base, path: Path, name: str) -> AdapterCard:
    """Loads one adapter into the base under ``name``, at weight 1.

    Raises AdapterError for a file that is broken, belongs to another base or grid, or does not match all of
    its keys (diffusers would load such a file with a warning, or as nothing).
    """
    card = find_card(path)
    if card is None:
        raise AdapterError(
            f"{shown(path)} carries no lora3d card: take it in first with `lora3d adapter import {shown(path)}`"
        )
    check_fits(card, base, path)
    layers = read_layers(path)
    own = {base.component: base.network}
    if any(key.startswith("text_encoder") for key in layers):
        own |= base.text_encoders
    foreign = sorted(key for key in layers if key.partition(".")[0] not in own)
    if foreign:
        raise AdapterError(
            f"{shown(path)} has {len(foreign)} layers outside '{base.component}.': {shown(foreign[0])!r} …"
        )
    for component in sorted({key.partition(".")[0] for key in layers}):
        try:
            put_on(own[component], component, layers, name)
        except AdapterError as error:
            raise AdapterError(f"{shown(path)} does not fit base {base.name!r}: {error}") from error
        own[component].requires_grad_(False)
    return card


def use_adapters(base: Base, weights: dict[str, float]) -> None:
    """Switches the named adapters on with these weights, all others off, and those of weight 0 too."""
    # DoRA's magnitudes count at any weight.
    weights = {name: x for name, x in weights.items() if x}
    # One of the text encoders alone is none that the network knows.
    own = {name: x for name, x in weights.items() if name in getattr(base.network, "peft_config", {})}
    if own:
        base.network.enable_adapters()
        base.network.set_adapters(list(own), list(own.values()))
    elif getattr(base.network, "_hf_peft_config_loaded", False):
        base.network.disable_adapters()
    for encoder in base.text_encoders.values() if base.text_adapted else ():
        set_weights_and_activate_adapters(encoder, list(weights), list(weights.values()))


@torch.no_grad()
def effect(base: Base, said: Text | None = None, seed: int = 0) -> Tensor:
    """What the network says to one fixed noisy grid, (1, slots, c, h, w): compare it with and without an adapter.

    said: a sentence embedded without adapters, where one is at hand and no text encoder is to be compared.
    """
    shape = (1, *base.latent_shape)
    text = base.embed(["an object"]) if said is None else said.to(base.device)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(base.device)
    known = torch.zeros(shape[:2], dtype=torch.bool, device=base.device)
    return base.denoise(noise, torch.full((1,), 0.8, device=base.device), text, known)
