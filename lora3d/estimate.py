"""What a recipe will need, before any weights are loaded: `lora3d doctor RECIPE`.

The network is built from its configuration with torch's fake tensors, which have shapes and no memory, and one step of
training runs on them. What autograd keeps for the backward pass is counted tensor by tensor, and torch counts the
operations. Estimates, not measurements: allocators, encoders and, on a CPU, the few answers that `lora3d.recompute`
keeps come on top (see docs/training.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora3d.base import find_folder, is_mini, read_family
from lora3d.base.quantise import BYTES, require_quantisable, small_layers
from lora3d.base.text import Text
from lora3d.device import choose_device, choose_dtype, measure_gflops
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, read_grid
from lora3d.recipe import TrainConfig
from lora3d.recompute import recompute
from lora3d.state import new_adapter

COPIES = 6  # of the adapter in float32: value, gradient, two moments, the average and the best
TOKENS = {"unet": 77, "transformer": 77 + 256}
MIB = 2**20


@dataclass(frozen=True)
class Estimate:
    """Of one step; sizes in MiB.

    Attributes:
        weights: of the frozen network in the precision it is kept in, and of the text encoders where they learn.
        adapter: with gradients, optimiser and averages.
        activations: kept for the backward pass.
        parameters, trained: of what ``weights`` counts and of the adapter.
        flops: operations of a step, forward and backward.
    """

    weights: float
    adapter: float
    activations: float
    parameters: int
    trained: int
    flops: float

    @property
    def memory(self) -> float:
        return self.weights + self.adapter + self.activations


def estimate(config: TrainConfig, grid: ViewGrid | None, dtype: torch.dtype, on_cpu: bool) -> Estimate:
    """Takes one step with fake tensors.

    Raises InputError as `lora3d.base.load_base` does, and for a target that matches no layer.
    """
    folder = find_folder(config.base, weights=False)
    own = is_mini(folder)
    if config.quantise != "none":
        require_quantisable(folder, own)
    size = min(config.micro_batch or config.batch, config.batch)
    kept: dict[int, tuple[int, Tensor]] = {}

    def keep(value: Tensor) -> Tensor:
        if not isinstance(value, torch.nn.Parameter):
            kept[value.untyped_storage()._cdata] = (value.untyped_storage().nbytes(), value)
        return value

    with torch.device("meta"):
        network, call, shape, component = _mini(folder, on_cpu) if own else _plain(folder, grid)
        encoders = _text_encoders(folder) if config.text_rate else {}
        base: Any = SimpleNamespace(network=network, component=component, text_encoders=encoders)
        parts = [network, *encoders.values()]
        parameters = sum(p.requires_grad_(False).numel() for part in parts for p in part.parameters())
        few = (
            sum(m.weight.numel() for m in small_layers(network).values()) if config.quantise != "none" else 0
        )
        adapter = new_adapter(base, config)
    trained = sum(p.numel() for p in adapter)
    if config.checkpointing:
        recompute(network, keep_dear=False)
    with FakeTensorMode():
        for part in parts:
            _pretend(part)
        frozen = {p.untyped_storage()._cdata for part in parts for p in part.parameters()}
        with FlopCounterMode(display=False) as count:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
                loss = torch.zeros(())
                for _ in range(2 if config.prior else 1):  # with its own captions, then without the trigger
                    loss = loss + call(torch.randn(size, *shape)).square().mean()
                    for encoder in encoders.values():
                        ids = torch.zeros(size, encoder.config.max_position_embeddings, dtype=torch.long)
                        loss = loss + encoder(ids).last_hidden_state.square().mean()
                if config.prior:  # what the base says
                    with torch.no_grad():
                        call(torch.randn(size, *shape))
            activations = sum(n for name, (n, _) in kept.items() if name not in frozen)
            loss.backward()
    half = 0.5 if dtype == torch.bfloat16 else 1.0
    whole = (parameters - few) * (4 if own else 4 * half)
    return Estimate(
        weights=(whole + few * BYTES) / MIB,
        adapter=trained * 4 * COPIES / MIB,
        activations=activations * half / MIB,
        parameters=parameters,
        trained=trained,
        flops=float(count.get_total_flops()) * config.batch / size,
    )


def _pretend(network: nn.Module) -> None:
    """Puts fake tensors of the CPU in place of meta's: kernels, attention's above all, are chosen by device."""
    for module in network.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            fake = torch.empty(value.shape, dtype=value.dtype)
            setattr(module, name, nn.Parameter(fake, requires_grad=value.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.empty(buffer.shape, dtype=buffer.dtype))


def _text_encoders(folder: Path) -> dict[str, Any]:
    """The CLIP text encoders of a base, from their configurations."""
    found = {}
    for name in ("text_encoder", "text_encoder_2"):
        if (folder / name / "config.json").is_file():
            config = CLIPTextConfig.from_pretrained(folder / name)
            whole = config.architectures == ["CLIPTextModelWithProjection"]
            found[name] = (CLIPTextModelWithProjection if whole else CLIPTextModel)(config)
    return found


def _mini(folder: Path, on_cpu: bool) -> Any:
    """Of `mini`'s family: the network, how it is called, the shape of one input, its name."""
    from lora3d.base.mini import PATCH, PlainAttention

    network = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet"))
    if on_cpu:
        network.set_attn_processor(PlainAttention())
    side, config = read_grid(folder / "grid.json").tile // PATCH, network.config
    shape = (config.in_channels, side, side * read_grid(folder / "grid.json").columns)

    def call(x: Tensor) -> Tensor:
        tokens = torch.zeros(len(x), 32, config.cross_attention_dim)
        return network(x, torch.zeros(len(x)), encoder_hidden_states=tokens, return_dict=False)[0]

    return network, call, shape, "unet"


def _plain(folder: Path, grid: ViewGrid | None) -> Any:
    """Of a plain base; see `_mini`."""
    from diffusers import AutoencoderKL

    from lora3d.base.plain import require_fit, vae_factor

    family = read_family(folder)
    if grid is None:
        raise InputError(f"base {folder.name!r} has no grid of its own: say --data DATASET")
    require_fit(folder, family, grid)
    vae = AutoencoderKL.load_config(folder / "vae")
    network = family.network.from_config(family.network.load_config(folder / family.component))
    config = network.config
    width, height = (side // vae_factor(vae) for side in grid.size)
    wide = config.cross_attention_dim if family.component == "unet" else config.joint_attention_dim
    pooled = config.get("pooled_projection_dim") or 0
    if config.get("addition_embed_type") == "text_time":
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim

    def call(x: Tensor) -> Tensor:
        tokens = torch.zeros(len(x), TOKENS[family.component], wide)
        text = Text(tokens, torch.zeros(len(x), pooled))
        return family.call(network, x, torch.zeros(len(x)), text, (height, width))

    return network, call, (vae["latent_channels"], height, width), family.component


def free_memory(device: torch.device) -> float:
    """MiB that a process can have on a device now; what a system keeps of files makes room, and counts as free."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / MIB
    return psutil.virtual_memory().available / MIB


def require_memory(config: TrainConfig, grid: ViewGrid, device: torch.device, dtype: torch.dtype) -> None:
    """Raises InputError where a step cannot fit, saying what would make it fit. `mini`'s family always does."""
    if is_mini(find_folder(config.base, weights=False)):
        return
    free, need = free_memory(device), estimate(config, grid, dtype, device.type == "cpu")
    if need.memory > free:
        tile = _fitting_tile(config, grid, dtype, device.type == "cpu", free, need)
        advice = [f"tiles of {tile} px (prep --tile {tile})"] if tile else []
        advice += [
            f"{k}" for k, on in (("micro_batch = 1", config.micro_batch != 1),) if on and config.batch > 1
        ]
        advice += [] if config.checkpointing else ["checkpointing = true"]
        advice += [] if config.quantise != "none" else ['quantise = "4bit"']
        raise InputError(
            f"the canvas of {grid.size[0]}×{grid.size[1]} px needs about {need.memory:.0f} MiB "
            f"({need.weights:.0f} for the weights), {free:.0f} are free; "
            + (f"try {', or '.join(advice)}" if advice else "take a smaller base")
        )


def _fitting_tile(
    config: TrainConfig, grid: ViewGrid, dtype: torch.dtype, on_cpu: bool, free: float, need: Estimate
) -> int:
    """Pixels of a smaller tile that fits ``free`` MiB where the grid's own, which ``need`` is of, does not; or 0."""
    from lora3d.base.plain import tile_unit

    folder = find_folder(config.base, weights=False)
    unit, tile = tile_unit(folder, read_family(folder)), grid.tile
    room = free - need.weights - need.adapter
    if room <= 0:
        return 0
    while tile and need.activations > room:
        # With the area of the canvas goes all but what is kept of the sentence: not always enough at once.
        tile = min(int(tile * (room / need.activations) ** 0.5), tile - 1) // unit * unit
        if tile:
            need = estimate(config, grid.with_tile(tile), dtype, on_cpu)
    return tile


def inspect_recipe(config: TrainConfig, data: Path | None) -> dict[str, Any]:
    """The estimate for this machine, in plain words: what `lora3d doctor RECIPE` prints."""
    device = choose_device(config.device)
    dtype = choose_dtype(device, config.precision)
    grid = read_grid(data / "grid.json") if data else None
    found = estimate(config, grid, dtype, device.type == "cpu")
    free = free_memory(device)
    result: dict[str, Any] = {
        "base": config.base,
        "device": device.type,
        "precision": str(dtype).removeprefix("torch."),
        "parameters": found.parameters,
        "trained": found.trained,
        "weights_mib": round(found.weights),
        "adapter_mib": round(found.adapter, 1),
        "activations_mib": round(found.activations),
        "memory_mib": round(found.memory),
        "free_mib": round(free),
        "tflop_a_step": round(found.flops / 1e12, 3),
    }
    # Large enough for the device to be busy with it.
    gflops = measure_gflops(dtype, size=1024 if device.type == "cpu" else 4096, device=device)
    # Convolutions on small canvases reach about half of what large matrix products do.
    seconds = found.flops / (gflops * 1e9 * 0.5)
    result |= {"seconds_a_step": round(seconds, 2), "minutes": round(seconds * config.steps / 60, 1)}
    return result | {"verdict": "fits" if found.memory < free else "does not fit: see docs/training.md"}
