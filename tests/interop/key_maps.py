"""Runs ComfyUI's and A1111's own key maps on exported files; every tensor must be taken.

    python tests/interop/key_maps.py [--comfyui CHECKOUT] [--a1111 CHECKOUT]

Both programs import many packages that their key maps do not use; those that are not installed are replaced by
empty ones while this script runs.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.abc
import importlib.machinery
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lora3d.adapter_convert import write_file
from lora3d.adapter_formats import load_tensors

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.interop.toy_adapters import CLIP_ENDS, TEXT, layers_for

FAMILIES = ("sd1", "sd2", "sdxl", "sd3")
CONTEXT = {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 1536}}
COMMON = {
    "use_checkpoint": False,
    "out_channels": 4,
    "use_spatial_transformer": True,
    "legacy": False,
    "in_channels": 4,
    "model_channels": 320,
}
SD: dict[str, Any] = {
    **COMMON,
    "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4],
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
}
# As ComfyUI's own comfy/model_detection.py describes the three.
CONFIGS: dict[str, dict[str, Any]] = {
    "sd1": {**SD, "use_linear_in_transformer": False, "context_dim": 768},
    "sd2": {**SD, "use_linear_in_transformer": True, "context_dim": 1024},
    "sdxl": {
        **COMMON,
        "num_classes": "sequential",
        "adm_in_channels": 2816,
        "num_res_blocks": [2, 2, 2],
        "transformer_depth": [0, 0, 2, 2, 10, 10],
        "channel_mult": [1, 2, 4],
        "transformer_depth_middle": 10,
        "use_linear_in_transformer": True,
        "context_dim": 2048,
        "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    },
}


class Nothing(types.ModuleType):
    """A package that is not here; whatever is asked of it is a class that does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = type(
            name, (), {"__init__": lambda self, *a, **k: None, "__call__": lambda self, *a, **k: None}
        )
        setattr(self, name, value)
        return value


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands last in line: finds nothing but the packages named, and those below them."""

    def __init__(self, names: set[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] in self.names:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> Any:
        return Nothing(spec.name)

    def exec_module(self, module: Any) -> None:
        module.__path__ = []


def exported(family: str, folder: Path, dora: bool = False) -> dict[str, torch.Tensor]:
    """What a file for kohya's format holds, read back."""
    path = folder / f"{family}.safetensors"
    write_file(layers_for(family, dora=dora), path, None, to="comfyui", family=family)
    return load_tensors(path)


def comfyui(checkout: Path, folder: Path) -> None:
    """comfy/lora.py and comfy/weight_adapter on the networks of ComfyUI itself."""
    sys.argv = ["key_maps", "--cpu"]
    sys.path.insert(0, str(checkout))
    importlib.import_module("comfy.options").enable_args_parsing()
    lora = importlib.import_module("comfy.lora")
    for family in FAMILIES:
        for dora in (False, True):
            tensors = exported(family, folder, dora)
            names = lora.model_lora_keys_unet(_comfy_network(family), {})
            names = lora.model_lora_keys_clip(_comfy_text(family), names)
            patches = lora.load_lora(dict(tensors), names, log_missing=False)
            taken: set[str] = set()
            for patch in patches.values():
                taken |= set(getattr(patch, "loaded_keys", ()))
            left = [k for k in tensors if k not in taken and not k.endswith((".alpha", ".dora_scale"))]
            # Alphas and magnitudes are looked up beside each layer that is known.
            left += [k for k in tensors if k.partition(".")[0] not in names]
            wrong = _comfy_shapes(patches, _comfy_network(family))
            print(
                f"ComfyUI {family}{' DoRA' if dora else ''}: {len(tensors) - len(set(left))} of {len(tensors)} tensors "
                f"taken, {len(patches)} layers, {wrong} of another shape {sorted(left)[:3] or ''}"
            )


def _comfy_network(family: str) -> Any:
    """ComfyUI's network of a family, without memory, as its key map asks of it."""
    base = importlib.import_module("comfy.model_base")
    plain = types.SimpleNamespace(
        Linear=nn.Linear,
        Conv2d=nn.Conv2d,
        GroupNorm=nn.GroupNorm,
        LayerNorm=nn.LayerNorm,
        RMSNorm=nn.RMSNorm,
        Embedding=nn.Embedding,
        conv_nd=lambda dims, *a, **k: nn.Conv2d(*a, **k),
    )
    if family == "sd3":
        mmdit = importlib.import_module("comfy.ldm.modules.diffusionmodules.mmdit")
        config: dict[str, Any] = {"in_channels": 16, "depth": 24, "input_size": None, "patch_size": 2}
        config |= {"adm_in_channels": 2048, "context_embedder_config": CONTEXT, "pos_embed_max_size": 192}
        inner = mmdit.OpenAISignatureMMDITWrapper(**config, device="meta", operations=plain)
        holder: Any = base.SD3.__new__(base.SD3)
    else:
        config = CONFIGS[family]
        unet = importlib.import_module("comfy.ldm.modules.diffusionmodules.openaimodel")
        arguments = copy.deepcopy(config) | {"image_size": 32, "num_head_channels": 64}
        inner = unet.UNetModel(**arguments, device="meta", operations=plain)
        holder = base.BaseModel.__new__(base.BaseModel)
    nn.Module.__init__(holder)
    holder.diffusion_model = inner
    holder.model_config = types.SimpleNamespace(unet_config=copy.deepcopy(config))
    return holder


def _comfy_text(family: str) -> Any:
    """The names of ComfyUI's text encoders; its key map reads nothing else of them."""
    parts = {"sd1": ["clip_l"], "sd2": ["clip_h"]}.get(family, ["clip_l", "clip_g"])
    names = {}
    for part in parts:
        for i in range({"clip_l": 12, "clip_h": 24, "clip_g": 32}[part]):
            for end in CLIP_ENDS:
                names[f"{part}.transformer.text_model.encoder.layers.{i}.{end}.weight"] = None
    return types.SimpleNamespace(state_dict=lambda: names)


def _comfy_shapes(patches: dict[Any, Any], model: Any) -> int:
    """How many updates of the network are of another shape than the weight they are for."""
    weights = model.state_dict()
    wrong = 0
    for target, patch in patches.items():
        name = target[0] if isinstance(target, tuple) else target
        if name in weights:
            up, down = patch.weights[0], patch.weights[1]
            wrong += (up.shape[0], *down.shape[1:]) != tuple(weights[name].shape)
    return wrong


def a1111(checkout: Path, folder: Path) -> None:
    """extensions-builtin/Lora/networks.py: its own naming of the model's layers and its own `load_network`."""
    sys.path.insert(0, str(checkout / "extensions-builtin" / "Lora"))
    program: Any = importlib.import_module("modules")
    options = types.SimpleNamespace(lora_dir=str(folder), lyco_dir_backcompat=str(folder))
    program.shared = types.SimpleNamespace(cmd_opts=options, walk_files=lambda *a, **k: [])
    program.devices = types.SimpleNamespace(cpu=torch.device("cpu"), dtype=torch.float32)
    networks = importlib.import_module("networks")
    for family in ("sd1", "sd2", "sdxl"):
        model = _a1111_model(family)
        program.shared.sd_model = model
        networks.assign_network_names_to_compvis_modules(model)
        tensors = exported(family, folder)
        networks.sd_models.read_state_dict = lambda path, found=tensors: dict(found)
        made = networks.load_network(family, types.SimpleNamespace(filename=f"{folder}/{family}.safetensors"))
        taken = sum(2 + (module.alpha is not None) for module in made.modules.values())
        print(f"A1111 {family}: {taken} of {len(tensors)} tensors taken, {len(made.modules)} layers")


def _a1111_model(family: str) -> Any:
    """Stability AI's network (ComfyUI's copy has the same names), and text encoders by their names."""
    model = _comfy_network(family)
    holder = types.SimpleNamespace(is_sdxl=family == "sdxl", is_sd2=family == "sd2", is_sd1=family == "sd1")
    holder.model = nn.Module()
    holder.model.diffusion_model = model.diffusion_model
    if family == "sdxl":
        wrapped = [_clip(*TEXT["text_encoder"]), _open_clip(*TEXT["text_encoder_2"])]
        embedders = [types.SimpleNamespace(wrapped=w, named_modules=w.named_modules) for w in wrapped]
        holder.conditioner = types.SimpleNamespace(embedders=embedders)
    else:
        text = _open_clip(23, 1024) if family == "sd2" else _clip(*TEXT["text_encoder"])
        holder.cond_stage_model = types.SimpleNamespace(wrapped=text)
    return holder


def _tree(shapes: dict[str, tuple[int, int]]) -> nn.Module:
    """Linear layers under dotted names."""
    root = nn.Module()
    for name, (read, out) in shapes.items():
        *path, last = name.split(".")
        place = root
        for part in path:
            if not hasattr(place, part):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        place.add_module(last, nn.Linear(read, out, device="meta"))
    return root


def _clip(depth: int, width: int) -> nn.Module:
    return _tree(
        {
            f"transformer.text_model.encoder.layers.{i}.{end}": (
                4 * width if end == "mlp.fc2" else width,
                4 * width if end == "mlp.fc1" else width,
            )
            for i in range(depth)
            for end in CLIP_ENDS
        }
    )


def _open_clip(depth: int, width: int) -> nn.Module:
    root = _tree(
        {
            f"model.transformer.resblocks.{i}.mlp.{end}": (
                4 * width if end == "c_proj" else width,
                4 * width if end == "c_fc" else width,
            )
            for i in range(depth)
            for end in ("c_fc", "c_proj")
        }
    )
    for i in range(depth):
        block: Any = getattr(root.model.transformer.resblocks, str(i))  # type: ignore[union-attr]
        block.attn = nn.MultiheadAttention(width, 16, device="meta")
    return root


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--comfyui", type=Path, help="a checkout of ComfyUI")
    parser.add_argument(
        "--a1111", type=Path, help="a checkout of stable-diffusion-webui; needs --comfyui too"
    )
    args = parser.parse_args()
    absent = {
        "einops",
        "torchsde",
        "torchvision",
        "torchaudio",
        "spandrel",
        "av",
        "kornia",
        "aiohttp",
        "gradio",
    }
    absent |= {
        "sentencepiece",
        "omegaconf",
        "pytorch_lightning",
        "ldm",
        "sgm",
        "open_clip",
        "clip",
        "k_diffusion",
    }
    absent |= {
        "git",
        "fastapi",
        "diskcache",
        "lark",
        "blendmodes",
        "piexif",
        "tomesd",
        "inflection",
        "jsonmerge",
    }
    absent |= {"modules", "psd_tools", "comfy_api", "alembic", "gguf", "comfy_kitchen", "comfy_aimdo"}
    absent -= {name for name in absent if importlib.util.find_spec(name) is not None}
    sys.meta_path.append(Absent(absent))
    given = args.comfyui and (args.comfyui / "comfy" / "lora.py").is_file()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        if given:
            comfyui(args.comfyui, Path(folder))
        else:
            print("ComfyUI: skipped, no checkout given")
        if given and args.a1111 and (args.a1111 / "extensions-builtin" / "Lora" / "networks.py").is_file():
            a1111(args.a1111, Path(folder))
        else:
            print("A1111: skipped, no checkout given")


if __name__ == "__main__":
    main()
