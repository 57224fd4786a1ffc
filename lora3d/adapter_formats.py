"""One adapter, four file formats: what is inside them, read and written without loss.

Inside, an adapter is a `Layer` for each layer of the network, under diffusers' name (`lora3d.adapter_names`).

| format | keys | scale |
| --- | --- | --- |
| diffusers | ``unet.<path>.lora_A.weight`` | the header's ``lora_adapter_metadata`` |
| peft | ``base_model.model.<path>.lora_A.weight``, a folder for each component | ``adapter_config.json`` |
| kohya, comfyui | ``lora_unet_<path_>.lora_down.weight`` | ``.alpha`` beside it |

diffusers refuses a file that has both its metadata and alphas: that is why there are two files and not one.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lora3d.adapter_layers import Layer, Layers, join_fused, split_fused, swap_modulation
from lora3d.adapter_names import COMPONENTS, family_of, from_kohya, kohya_name
from lora3d.card import AdapterError, read_header, shown

FORMATS = ("diffusers", "peft", "kohya", "comfyui")
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}

_KEY = re.compile(
    r"(?P<stem>.+?)(?:\.lora_(?P<ab>[AB])(?:\.\w+)?\.weight|[._]lora(?:_linear_layer)?\.(?P<old>down|up)\.weight"
    r"|\.lora_(?P<kohya>down|up)\.weight|\.(?P<alpha>alpha)|\.(?P<dora>dora_scale)"
    r"|\.(?P<magnitude>lora_magnitude_vector)(?:\.\w+)?(?:\.weight)?)"
)


def read_layers(path: Path) -> Layers:
    """An adapter in any of the formats: a file, or the folder that PEFT writes.

    Raises AdapterError for a file that is broken, not finite, without effect, of a kind that is no LoRA
    (LoHa, LoKr, …), or has tensors that belong to no layer.
    """
    if path.is_dir():
        return _read_peft(path)
    return to_layers(load_tensors(path), read_config(read_header(path)["__metadata__"], path), str(path))


def read_config(metadata: dict[str, str], path: Path) -> dict[str, Any]:
    """diffusers' ``lora_adapter_metadata``; empty where there is none. Raises AdapterError if it is no object."""
    try:
        config = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{shown(path)}: lora_adapter_metadata is no JSON") from error
    if not isinstance(config, dict):
        raise AdapterError(f"{shown(path)}: lora_adapter_metadata is no JSON object")
    return config


def _read_peft(folder: Path) -> Layers:
    """PEFT's folder, or one that holds such folders by component."""
    layers: Layers = {}
    for weights in sorted(folder.glob("adapter_model.safetensors")) + sorted(
        folder.glob("*/adapter_model.safetensors")
    ):
        component = weights.parent.name if weights.parent.name in COMPONENTS else ""
        try:
            config = json.loads((weights.parent / "adapter_config.json").read_text(encoding="utf-8"))
            tensors = load_tensors(weights)
        except (OSError, ValueError, RecursionError) as error:
            if isinstance(error, AdapterError):
                raise
            raise AdapterError(f"{shown(weights.parent)}: adapter_config.json cannot be read") from error
        if not isinstance(config, dict):
            raise AdapterError(f"{shown(weights.parent)}: adapter_config.json is no JSON object")
        named = {
            k.replace("base_model.model.", f"{component}." if component else "", 1): v
            for k, v in tensors.items()
        }
        layers |= to_layers(
            named, {f"{c}.{k}": v for c in COMPONENTS for k, v in config.items()}, str(weights)
        )
    if not layers:
        raise AdapterError(f"{shown(folder)} holds no adapter_model.safetensors, as PEFT writes it")
    return layers


def load_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of an adapter file; checked to be finite and not zero throughout."""
    read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise AdapterError(f"{shown(path)} cannot be read: {shown(error)}") from error
    require_effect(tensors, str(path))
    return tensors


def require_effect(tensors: dict[str, Tensor], where: str) -> None:
    """Raises AdapterError for tensors that are none, not finite, or change nothing."""
    if not tensors:
        raise AdapterError(f"{shown(where)}: the adapter holds no tensors")
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise AdapterError(
                f"{shown(where)}: {shown(key)} holds numbers that are not finite; nothing of it can be used"
            )
    names = ("lora_B", "lora_up", "lora.up", "lora_linear_layer.up")
    ups = [value for key, value in tensors.items() if any(name in key for name in names)]
    if ups and not any(value.any() for value in ups):
        raise AdapterError(
            f"{shown(where)}: the adapter changes nothing (every lora_B is zero); it was not trained"
        )


def to_layers(tensors: dict[str, Tensor], config: dict[str, Any], where: str) -> Layers:
    """Tensors under any format's keys to layers; ``config`` is diffusers' metadata, prefixed by component."""
    parts: dict[str, dict[str, Tensor]] = {}
    swapped: set[str] = set()
    for key, value in tensors.items():
        found = _KEY.fullmatch(key)
        if not found:
            raise AdapterError(
                f"{shown(where)}: {shown(key)!r} is no tensor of a LoRA: expected lora_A and lora_B, lora_down "
                "and lora_up, or alpha, dora_scale, lora_magnitude_vector beside them"
            )
        kind = {"A": "down", "B": "up"}.get(found["ab"] or "") or found["old"] or found["kohya"]
        kind = kind or found["alpha"] or found["dora"] or found["magnitude"]
        name = _canonical(found["stem"], where)
        layer = parts.setdefault(name, {})
        if found["stem"].startswith(("lora_unet_joint_blocks", "lora_unet_final_layer")):
            swapped.add(name)
        if kind in layer:
            raise AdapterError(f"{shown(where)}: {shown(key)!r} comes twice under different names")
        layer[kind] = value
    layers = {name: _layer(name, found, config, where) for name, found in sorted(parts.items())}
    return split_fused(swap_modulation(layers, swapped), where)


def _canonical(stem: str, where: str) -> str:
    """A layer's name in any format to ours."""
    if "." not in stem and stem.startswith(("lora_", "lycoris_")):
        try:
            return from_kohya(stem)
        except (ValueError, IndexError) as error:
            raise AdapterError(f"{shown(where)}: {shown(stem)!r} names no layer known here") from error
    component, _, path = stem.partition(".")
    if component not in COMPONENTS:
        starts = ("transformer_blocks.", "context_embedder", "time_text_embed.", "norm_out.", "pos_embed.")
        component, path = ("transformer" if stem.startswith(starts) else "unet"), stem
    path = path.replace(".processor.", ".")
    if path.endswith(".to_out"):
        path += ".0"
    if component in ("text_encoder", "text_encoder_2") and path.startswith("encoder."):
        path = f"text_model.{path}"  # transformers 5 dropped this level of CLIP's, the file formats keep it
    return f"{component}.{path}"


def _layer(name: str, found: dict[str, Tensor], config: dict[str, Any], where: str) -> Layer:
    """Checks one layer's tensors against each other."""
    at = f"{shown(where)}: {shown(name)}"
    if "down" not in found or "up" not in found:
        raise AdapterError(
            f"{at} has only {', '.join(sorted(found))}: expected down and up (lora_A and lora_B)"
        )
    down, up = found["down"], found["up"]
    if (
        down.ndim not in (2, 4)
        or up.ndim != down.ndim
        or up.shape[1] != down.shape[0]
        or 0 in (*up.shape, *down.shape)
    ):
        raise AdapterError(f"{at}: shapes {list(down.shape)} and {list(up.shape)} make no low-rank update")
    if up[0, 0].numel() != 1:
        raise AdapterError(f"{at}: lora_up is a kernel of {list(up.shape[2:])}, expected 1×1")
    if "alpha" in found:
        if found["alpha"].numel() != 1:
            raise AdapterError(f"{at}: alpha is of shape {list(found['alpha'].shape)}, expected one number")
        alpha = float(found["alpha"].item())
    else:
        alpha = _configured_alpha(name, down.shape[0], config, at)
    magnitude = found.get("lora_magnitude_vector", found.get("dora_scale"))
    if magnitude is not None:
        if magnitude.numel() != up.shape[0] or (
            "dora_scale" in found and magnitude.shape[:1] != up.shape[:1]
        ):
            raise AdapterError(
                f"{at}: a DoRA magnitude of shape {list(magnitude.shape)} for {up.shape[0]} outputs; only the "
                "paper's kind, one number for each output, can be read"
            )
        magnitude = magnitude.flatten()
    return Layer(down, up, alpha, magnitude)


def _configured_alpha(name: str, rank: int, config: dict[str, Any], at: str) -> float:
    """alpha of a layer as PEFT's LoraConfig says it, rsLoRA folded in; the rank where nothing is said."""
    component, _, path = name.partition(".")
    alpha: Any = config.get(f"{component}.lora_alpha", rank)
    patterns: Any = config.get(f"{component}.alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise AdapterError(f"{at}: alpha_pattern is no object")
    for pattern, value in patterns.items():
        # PEFT reads these as regular expressions; one from a foreign file is only compared as a name.
        literal = str(pattern).removeprefix("^").replace("\\.", ".")
        if path == literal or path.endswith("." + literal):
            alpha = value
            break
        if re.search(r"[\\*+?()\[\]{}|$]", literal):
            raise AdapterError(
                f"{at}: alpha_pattern {shown(pattern)!r} is an expression, expected a layer's name"
            )
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) <= 1e30:
        raise AdapterError(f"{at}: lora_alpha is {shown(alpha)!r}, expected a number")
    return float(alpha) * (math.sqrt(rank) if config.get(f"{component}.use_rslora") is True else 1.0)


def to_tensors(layers: Layers, to: str, family: str | None = None) -> dict[str, Tensor]:
    """Layers to one file's tensors, under ``diffusers``' or ``kohya``'s keys (``comfyui`` reads the latter)."""
    tensors: dict[str, Tensor] = {}
    if to == "diffusers":
        for name, layer in layers.items():
            tensors[f"{name}.lora_A.weight"] = layer.down
            tensors[f"{name}.lora_B.weight"] = layer.up
            if layer.magnitude is not None:
                shape = (1, -1, 1, 1) if layer.down.ndim == 4 else (-1,)
                tensors[f"{name}.lora_magnitude_vector"] = layer.magnitude.reshape(shape)
        return tensors
    family = family or guess_family(layers)
    layers = with_one_alpha(layers)
    for name, layer in (
        join_fused(swap_modulation(layers, set(layers))) if family == "sd3" else layers
    ).items():
        stem = _kohya_stem(name, family)
        tensors[f"{stem}.lora_down.weight"] = layer.down
        tensors[f"{stem}.lora_up.weight"] = layer.up
        tensors[f"{stem}.alpha"] = torch.tensor(layer.alpha, dtype=torch.float32)
        if layer.magnitude is not None:
            tensors[f"{stem}.dora_scale"] = layer.magnitude.reshape(-1, *[1] * (layer.down.ndim - 1))
    return tensors


def with_one_alpha(layers: Layers) -> Layers:
    """The same updates under the alpha that most of them have, the rest of the scale in ``up``.

    diffusers (0.42) loses the alphas of attention layers in kohya's files when they are not all alike.
    """
    alpha = Counter(layer.alpha for layer in layers.values()).most_common(1)[0][0]
    if not alpha:
        return layers
    return {
        name: x if x.alpha == alpha else replace(x, up=x.up * (x.alpha / alpha), alpha=alpha)
        for name, x in layers.items()
    }


def _kohya_stem(name: str, family: str) -> str:
    """kohya's name for a layer; raises AdapterError where that would not lead back to it."""
    try:
        stem = kohya_name(name, family)
        if family == "sd3" or from_kohya(stem) == name:
            return stem
    except (ValueError, IndexError):
        pass
    raise AdapterError(f"{shown(name)!r} has no name in kohya's format for {family}")


def guess_family(layers: Layers) -> str:
    """sd1, sd2, sdxl or sd3; see `lora3d.adapter_names.family_of`."""
    return family_of(list(layers), {n: layer.down.shape[1] for n, layer in layers.items()})


def peft_config(layers: Layers, component: str) -> dict[str, Any]:
    """What PEFT's LoraConfig must say for one component's layers; empty where it has none.

    Raises AdapterError where only some layers are DoRA: LoraConfig knows all or none.
    """
    own = {n.partition(".")[2]: layer for n, layer in layers.items() if n.partition(".")[0] == component}
    if not own:
        return {}
    dora = {layer.magnitude is not None for layer in own.values()}
    if len(dora) > 1:
        raise AdapterError(
            f"{component}: some layers are DoRA and some are not; diffusers and PEFT load neither"
        )
    rank = Counter(layer.rank for layer in own.values()).most_common(1)[0][0]
    alpha = Counter(layer.alpha for layer in own.values()).most_common(1)[0][0]
    text = component.startswith("text_encoder")
    names = {path: path.removeprefix("text_model.") if text else path for path in own}
    anchor = "" if text else "^"
    return {
        "r": rank,
        "lora_alpha": _number(alpha),
        "target_modules": sorted(names.values()),
        "bias": "none",
        "lora_dropout": 0.0,
        "rank_pattern": {anchor + names[p]: x.rank for p, x in own.items() if x.rank != rank},
        "alpha_pattern": {anchor + names[p]: _number(x.alpha) for p, x in own.items() if x.alpha != alpha},
        "use_rslora": False,
        "use_dora": dora == {True},
    }


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def diffusers_metadata(layers: Layers) -> dict[str, Any]:
    """The header's ``lora_adapter_metadata``: `peft_config` of every component under its name."""
    configs = {c: peft_config(layers, c) for c in COMPONENTS}
    return {f"{c}.{k}": v for c, config in configs.items() for k, v in config.items()}


def safetensors_bytes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file of floating tensors with its header in sorted order.

    The library writes a header's metadata in random order, which would make equal adapters unequal files.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    chunks, offset = [], 0
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        data = value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        span = [offset, offset + len(data)]
        header[name] = {"dtype": DTYPES[value.dtype], "shape": list(value.shape), "data_offsets": span}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(chunks)


def write_atomically(path: Path, data: bytes) -> None:
    """The whole file or none of it."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # still there where that failed
