"""Proof that a file does what it should: loaded with the target tool's own rules, then run for one step."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin, SD3Transformer2DModel, UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from torch import Tensor, nn

from lora3d.adapter_convert import check_fits, find_card
from lora3d.adapter_formats import diffusers_metadata, guess_family, load_tensors, read_layers, to_tensors
from lora3d.adapter_layers import Layers
from lora3d.adapter_names import COMPONENTS, FUSED, kohya_name
from lora3d.base import MINI, load_base
from lora3d.card import AdapterError, read_header, shown
from lora3d.errors import InputError

MOVED = 1e-6  # a smaller change of the output is none
Networks = dict[str, nn.Module]


def verify(file: Path, base: str | Path = "mini", against: Path | None = None) -> dict[str, Any]:
    """Loads a file into its base and measures what it changes.

    Args:
        file: an adapter in any of the formats.
        base: ``mini`` or a folder in diffusers layout.
        against: the original: both must answer alike.

    Returns:
        counts of tensors that the file's own tool would match, miss and not expect; how far the file moves
        each network's answer to fixed noise (largest and mean absolute change); whether weight zero restores
        the base; with ``against`` the largest difference between the two answers.

    Raises AdapterError for a file that does not load whole, changes nothing, or answers unlike the original.
    """
    folder = MINI if str(base) == "mini" else Path(base)
    card = find_card(file)
    if (folder / "grid.json").is_file() and card is not None:
        check_fits(card, load_base(base), file)
    layers = read_layers(file)
    networks = load_networks(folder, layers)
    counts = count_keys(file, layers, networks)
    if counts["unexpected"] or counts["missing"]:
        raise AdapterError(
            f"{shown(file)}: {counts['matched']} tensors match {shown(base)}, {counts['missing']} are missing and "
            f"{counts['unexpected']} unexpected (first: {counts['first']})"
        )
    report: dict[str, Any] = {"file": str(file), "format": format_of(file), "tensors": counts["matched"]}
    report |= {k: counts[k] for k in ("matched", "missing", "unexpected")}
    report |= measure(networks, layers, str(file))
    if against is not None:
        report["difference"] = difference(networks, layers, read_layers(against), folder)
        if report["difference"] > 1e-5 * max(1.0, report["largest_output"]):
            raise AdapterError(
                f"{shown(file)} answers {report['difference']:.2g} away from {shown(against)}: not the same adapter"
            )
    return report


def load_networks(folder: Path, layers: Layers) -> Networks:
    """The networks of a base folder that an adapter has layers for, float32. Raises InputError if one is absent."""
    networks: Networks = {}
    for component in sorted({name.partition(".")[0] for name in layers}):
        where = folder / component
        if not (where / "config.json").is_file():
            raise InputError(f"no {component} in {shown(folder)}: expected a base in diffusers layout")
        if component == "unet":
            network: Any = UNet2DConditionModel.from_pretrained(
                where, torch_dtype=torch.float32, use_safetensors=True
            )
        elif component == "transformer":
            network = SD3Transformer2DModel.from_pretrained(
                where, torch_dtype=torch.float32, use_safetensors=True
            )
        else:
            network = _text_encoder(where)
        networks[component] = network.eval().requires_grad_(False)
    return networks


def _text_encoder(folder: Path) -> nn.Module:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

    try:
        named = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures", [""])[0]
    except (OSError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{shown(folder)}: its config.json cannot be read") from error
    kinds: dict[str, Any] = {
        c.__name__: c for c in (CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel)
    }
    if named not in kinds:
        raise InputError(f"{shown(folder)} holds a {shown(named)}, expected one of {', '.join(kinds)}")
    return kinds[named].from_pretrained(folder, dtype=torch.float32, use_safetensors=True)


def put_on(network: nn.Module, component: str, layers: Layers, name: str = "verified") -> None:
    """Loads one component's layers by the library's own way: diffusers' for its networks, PEFT's for the others.

    Raises AdapterError where they do not arrive whole.
    """
    own = {n: layer for n, layer in layers.items() if n.partition(".")[0] == component}
    tensors = {k.partition(".")[2]: v.float() for k, v in to_tensors(own, "diffusers").items()}
    config = {k.partition(".")[2]: v for k, v in diffusers_metadata(own).items()}
    if not hasattr(network, "text_model"):
        tensors = {k.removeprefix("text_model."): v for k, v in tensors.items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(network, ModelMixin):
                network.load_lora_adapter(dict(tensors), prefix=None, adapter_name=name, metadata=config)
            else:
                inject_adapter_in_model(LoraConfig(**config), network, adapter_name=name)
            for key, parameter in network.named_parameters():
                if f".{name}." in key:
                    parameter.data = parameter.data.float()  # PEFT makes it as coarse as the network
            set_peft_model_state_dict(network, dict(tensors), adapter_name=name)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise AdapterError(f"{component}: the layers do not fit: {shown(error, 200)}") from error
    arrived = get_peft_model_state_dict(network, adapter_name=name)
    lost = [k for k, v in tensors.items() if k not in arrived or not torch.equal(arrived[k].float().cpu(), v)]
    if lost or len(arrived) != len(tensors):
        raise AdapterError(
            f"{component}: {len(lost) or 'some'} of {len(tensors)} tensors did not arrive: {lost[:1]}"
        )


@torch.no_grad()
def probe(network: nn.Module, seed: int = 0) -> Tensor:
    """A network's answer to fixed noise of its own input's shape; small, for comparing with and without."""
    generator = torch.Generator().manual_seed(seed)
    config: Any = getattr(network, "config", None)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    if isinstance(network, SD3Transformer2DModel):
        side = 2 * config.patch_size * 2
        return network(
            noise(1, config.in_channels, side, side),
            encoder_hidden_states=noise(1, 5, config.joint_attention_dim),
            pooled_projections=noise(1, config.pooled_projection_dim),
            timestep=torch.tensor([500]),
            return_dict=False,
        )[0]
    if isinstance(network, UNet2DConditionModel):
        side = 2 ** len(config.down_block_types)
        extra = {}
        if config.addition_embed_type == "text_time":
            width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
            extra = {"added_cond_kwargs": {"text_embeds": noise(1, width), "time_ids": noise(1, 6)}}
        return network(
            noise(1, config.in_channels, side, 2 * side),
            torch.tensor([500]),
            encoder_hidden_states=noise(1, 5, _width(config.cross_attention_dim)),
            return_dict=False,
            **extra,
        )[0]
    ids = torch.randint(0, config.vocab_size, (1, 8), generator=generator)
    return network(ids).last_hidden_state


def _width(value: int | tuple[int, ...] | list[int]) -> int:
    return value if isinstance(value, int) else value[0]


def measure(networks: Networks, layers: Layers, where: str) -> dict[str, Any]:
    """Puts the layers on and compares answers; the networks keep them. Raises AdapterError for no effect."""
    largest = mean = output = 0.0
    restored = True
    for component, network in networks.items():
        before = probe(network)
        put_on(network, component, layers)
        after = probe(network)
        change = (after - before).abs()
        if not torch.isfinite(after).all() or change.max() <= MOVED:
            raise AdapterError(
                f"{shown(where)} loads but moves the {component}'s output by {change.max():.2g}: it has no effect"
            )
        _scale(network, 0.0)
        restored = restored and bool(torch.allclose(probe(network), before, atol=1e-5))
        _scale(network, 1.0)
        largest, mean = max(largest, change.max().item()), max(mean, change.mean().item())
        output = max(output, before.abs().max().item())
    return {
        "largest_change": largest,
        "mean_change": mean,
        "largest_output": output,
        "zero_weight_restores": restored,
    }


def _scale(network: nn.Module, weight: float) -> None:
    """An adapter of weight 0 is one that is switched off: DoRA has no other zero."""
    for module in network.modules():
        if isinstance(module, BaseTunerLayer):
            module.enable_adapters(weight != 0)


def difference(networks: Networks, layers: Layers, others: Layers, folder: Path) -> float:
    """Largest difference between the answers with ``layers``, which are on the networks, and with ``others``."""
    fresh = load_networks(folder, others)
    if fresh.keys() != networks.keys():
        raise AdapterError(f"one adapts {', '.join(networks)}, the other {', '.join(fresh)}")
    most = 0.0
    for component, network in fresh.items():
        put_on(network, component, others)
        most = max(most, (probe(network) - probe(networks[component])).abs().max().item())
    return most


def format_of(file: Path) -> str:
    """diffusers, peft or kohya, by a file's keys."""
    if file.is_dir():
        return "peft"
    keys = [k for k in read_header(file) if k != "__metadata__"]
    return "kohya" if any("lora_down" in k and k.startswith("lora_") for k in keys) else "diffusers"


def count_keys(file: Path, layers: Layers, networks: Networks) -> dict[str, Any]:
    """How a file's tensors fare under its own tool's rules.

    matched: named as the tool names a layer that the base has, in that layer's shape. unexpected: all others;
    the tool skips them with a warning at most. missing: layers named in the header's ``target_modules`` that
    have no tensors, and halves of pairs.
    """
    expected: set[str] = set()
    family = guess_family(layers)
    for component, network in networks.items():
        expected |= expected_names(component, network, family)
    if format_of(file) == "kohya":
        keys = list(load_tensors(file))
        unexpected = [k for k in keys if k.partition(".")[0] not in expected]
    else:
        names = {n for c in networks for n in _module_names(c, networks[c])}
        keys = list(to_tensors(layers, "diffusers"))
        unexpected = [k for k in keys if k.partition(".lora_")[0] not in names]
    unexpected += [n for n, x in layers.items() if not _fits(n, x, networks)]
    wanted = _targets(file)
    missing = sorted(w for w in wanted if not any(n == w or n.endswith("." + w) for n in layers))
    first = (sorted(unexpected) + missing or [""])[0]
    return {
        "matched": len(keys) - len(unexpected),
        "missing": len(missing),
        "unexpected": len(unexpected),
        "first": shown(first),
    }


def _targets(file: Path) -> list[str]:
    """The layers that the header says are adapted, without their component."""
    if file.is_dir():
        return []
    with safe_open(file, framework="pt") as opened:
        text = (opened.metadata() or {}).get("lora_adapter_metadata", "{}")
    found = json.loads(text)
    lists = [found.get(f"{c}.target_modules") for c in COMPONENTS]
    return [str(t) for targets in lists if isinstance(targets, list) for t in targets]


def _module_names(component: str, network: nn.Module) -> set[str]:
    """Our names of a network's layers that can carry an update."""
    level = "text_model." if component in ("text_encoder", "text_encoder_2") else ""
    return {
        f"{component}.{'' if name.startswith(level) else level}{name}"
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def expected_names(component: str, network: nn.Module, family: str) -> set[str]:
    """All layer names that kohya's readers know for a network, by their documented rules."""
    names = set()
    for name in _module_names(component, network):
        stem = next((f for f, ends in FUSED.items() if any(name.endswith("." + e) for e in ends)), None)
        if family == "sd3" and component == "transformer" and stem:
            block = name.split(".")[2]
            names.add(f"lora_unet_joint_blocks_{block}_{stem.replace('.', '_')}")
        else:
            names.add(kohya_name(name, family))
    return names


def _fits(name: str, layer: Any, networks: Networks) -> bool:
    component, _, path = name.partition(".")
    modules = dict(networks[component].named_modules())
    module: Any = modules.get(path) or modules.get(path.removeprefix("text_model."))
    if not isinstance(module, nn.Linear | nn.Conv2d):
        return True  # counted by its name already
    shape = (layer.up.shape[0], *layer.down.shape[1:])
    return tuple(module.weight.shape) == shape
