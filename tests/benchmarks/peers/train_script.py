"""diffusers' train_text_to_image_lora.py in this process: what is changed of it, and what it needs to be run here."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.clock import tick

CLOCK = {
    # Both start from PEFT's own draw of A; the script's is wider by far, so that its first steps go further.
    '        init_lora_weights="gaussian",\n': "",
    "log_with=args.report_to": "log_with=None",
    "                global_step += 1\n": "                global_step += 1\n                clock()\n",
    "from torchvision import transforms\n": "",
}
MINI = {
    "vae = AutoencoderKL.from_pretrained": "vae = AutoencoderTiny.from_pretrained",
    "[train_transforms(image) for image in images]": "[canvas.slots(image) for image in images]",
    'vae.encode(batch["pixel_values"].to(dtype=weight_dtype)).latent_dist.sample()': (
        'canvas.encode(vae, batch["pixel_values"].to(dtype=weight_dtype))'
    ),
    "torch.randint(0, noise_scheduler.config.num_train_timesteps, (bsz,), device=latents.device)": "canvas.times(bsz)",
    "timesteps = timesteps.long()": "pass",
    "noise_scheduler.add_noise(latents, noise, timesteps)": "canvas.add_noise(latents, noise, timesteps)",
    'if noise_scheduler.config.prediction_type == "epsilon":\n                    target = noise': (
        'if noise_scheduler.config.prediction_type != "epsilon":\n                    target = latents'
    ),
    "unet(noisy_latents, timesteps, encoder_hidden_states, return_dict=False)[0]": (
        "canvas.denoise(unet, noisy_latents, timesteps, encoder_hidden_states)"
    ),
    'F.mse_loss(model_pred.float(), target.float(), reduction="mean")': (
        "canvas.loss(model_pred.float(), target.float())"
    ),
    "import diffusers\n": "import diffusers\nfrom diffusers import AutoencoderTiny\n",
}
CACHED = {
    'dataset["train"].with_transform(preprocess_train)': "canvas.cached_rows()",
    'text_encoder(batch["input_ids"], return_dict=False)[0]': 'batch["input_ids"]',
    'canvas.encode(vae, batch["pixel_values"].to(dtype=weight_dtype))': 'batch["pixel_values"]',
    "latents = latents * vae.config.scaling_factor": "pass",
}


def patch(script: str, changes: dict[str, str]) -> str:
    """Each change must be found: a script that moved on is not the one that was measured."""
    for old, new in changes.items():
        if old not in script:
            sys.exit(f"the script does not hold {old!r}: another version than the one this was written for")
        script = script.replace(old, new)
    return script


class transforms:
    """What the script uses of torchvision, on pictures that have the right size already."""

    class InterpolationMode:
        LANCZOS = "lanczos"

    @staticmethod
    def Compose(steps: list[Any]) -> Any:
        def apply(image: Any) -> Any:
            for step in steps:
                image = step(image)
            return image

        return apply

    @staticmethod
    def ToTensor() -> Any:
        import numpy as np
        import torch

        return lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255

    @staticmethod
    def Normalize(mean: list[float], deviation: list[float]) -> Any:
        return lambda x: (x - mean[0]) / deviation[0]

    @staticmethod
    def Lambda(work: Any) -> Any:
        return work

    @staticmethod
    def Resize(size: int, interpolation: Any = None) -> Any:
        return lambda image: image

    CenterCrop = RandomCrop = Resize


class Canvas:
    """mini's canvas, for the script: the drawing is given, everything else is noisy."""

    def __init__(self, keeps: bool, device: str) -> None:
        import torch

        from lora3d.base import load_base
        from lora3d.dataset import read_dataset

        self.keeps = keeps
        self.base: Any = load_base("mini", device)
        self.dataset = read_dataset(Path(os.environ["PEER_DATA"]))
        self.known = torch.zeros(1, self.base.slots, dtype=torch.bool, device=device)
        self.known[:, 0] = True

    def slots(self, image: Any) -> Any:
        import numpy as np
        import torch

        from lora3d.base.mini import join_cells
        from lora3d.grid import unpack

        tiles = unpack(self.base.grid, np.asarray(image)).astype(np.float32) / 255
        return join_cells(self.base.grid, torch.from_numpy(tiles)[None])[0] * 2 - 1

    def encode(self, vae: Any, pictures: Any) -> Any:
        return vae.encode(pictures.flatten(0, 1)).latents.unflatten(0, pictures.shape[:2]).float()

    def times(self, n: int) -> Any:
        import torch

        from lora3d.diffusion import logit_normal_times
        from lora3d.recipe import TrainConfig

        c = TrainConfig()
        times = logit_normal_times(n, c.time_mean, c.time_deviation, torch.default_generator)
        return times.to(self.base.device)

    def add_noise(self, latents: Any, noise: Any, t: Any) -> Any:
        from lora3d.diffusion import interpolate

        return interpolate(latents, noise, t).where(~self.known[:, :, None, None, None], latents)

    def denoise(self, unet: Any, latents: Any, t: Any, tokens: Any) -> Any:
        import torch

        from lora3d.base.mini import denoise_strip

        known = self.known.expand(len(latents), -1)
        unsaid = torch.full((len(latents), 2), torch.nan, device=latents.device)
        if not self.keeps:
            self.base.sweep.remembered.clear()
        laid = self.base.sweep(latents[:, 0], unsaid, known[:, 0])
        return denoise_strip(unet, latents, t, tokens, known, laid, self.base.rays, self.base.moments)

    def loss(self, found: Any, wanted: Any) -> Any:
        from lora3d.diffusion import masked_mse

        weight = (~self.known).float().expand(len(found), -1)
        return masked_mse(found, wanted, weight, self.base.moments[1]).mean()

    def cached_rows(self) -> list[dict[str, Any]]:

        from lora3d.cache import cache_rows
        from lora3d.recipe import TrainConfig

        rows = cache_rows(self.base, self.dataset, TrainConfig(), "train")
        return [
            {"pixel_values": rows.latents(i).float(), "input_ids": rows.texts.tokens[rows.said[i]]}
            for i in range(len(rows))
        ]


def run_peer(args: argparse.Namespace) -> dict[str, Any]:
    """The script, in this process."""
    changes = CLOCK | (MINI if args.base == "mini" else {}) | (CACHED if args.cached else {})
    source = patch(Path(args.script).read_text(), changes)
    given = {
        "pretrained_model_name_or_path": args.folder,
        "train_data_dir": args.pictures,
        "output_dir": args.out,
        "resolution": 512,
        "rank": args.rank,
        "train_batch_size": args.batch,
        "max_train_steps": args.steps,
        "learning_rate": args.rate,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "adam_beta2": 0.99,
        "adam_weight_decay": 0,
        "mixed_precision": args.precision,
        "seed": 0,
        "checkpointing_steps": 10**6,
    }
    sys.argv = [args.script, *(f"--{k}={v}" for k, v in given.items())]
    scope: dict[str, Any] = {"__name__": "peer", "clock": tick, "transforms": transforms}
    if args.base == "mini":
        scope["canvas"] = Canvas(args.cached, args.device)
    exec(compile(source, args.script, "exec"), scope)
    scope["main"]()
    return {"adapter": str(Path(args.out) / "pytorch_lora_weights.safetensors")}
