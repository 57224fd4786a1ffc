"""diffusers' train_text_to_image_lora.py against `lora3d train`: same base, data, layers, rank, batch and precision.

    curl -O https://raw.githubusercontent.com/huggingface/diffusers/main/examples/text_to_image/train_text_to_image_lora.py
    python -m tests.benchmarks.train_peer mini --script train_text_to_image_lora.py --data DATASET
    python -m tests.benchmarks.train_peer sd15 --script train_text_to_image_lora.py

``mini``: the script is changed only as far as the canvas and the VAE's class demand (`MINI`): which tiles make an
example, the network's extra inputs, and its target, so that both end in the same loss. ``cached`` also gives it
our latents and sentences. ``sd15``: a UNet, VAE and text encoder of Stable Diffusion 1.5's size with random weights,
512 px; the script is unchanged but for the clock. Each side runs in a process of its own, by turns; seconds are the
median step, memory is the process's peak while it steps (Linux).
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

LAYERS = ("to_k", "to_q", "to_v", "to_out.0")
SKIPPED = 2  # the first steps warm up

CLOCK = {
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


TICKS: list[tuple[float, float]] = []


def clock() -> None:
    """Called after every step of either side: wall and CPU seconds; the first resets the process's memory peak."""
    TICKS.append((time.perf_counter(), time.process_time()))
    if len(TICKS) == 1:
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


class Canvas:
    """mini's canvas, for the script: the drawing is given, everything else is noisy."""

    def __init__(self) -> None:
        import torch

        from lora3d.base import load_base
        from lora3d.dataset import read_dataset

        self.base: Any = load_base("mini")
        self.dataset = read_dataset(Path(os.environ["PEER_DATA"]))
        self.known = torch.zeros(1, self.base.slots, dtype=torch.bool)
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
        return logit_normal_times(n, c.time_mean, c.time_deviation, torch.default_generator)

    def add_noise(self, latents: Any, noise: Any, t: Any) -> Any:
        from lora3d.diffusion import interpolate

        return interpolate(latents, noise, t).where(~self.known[:, :, None, None, None], latents)

    def denoise(self, unet: Any, latents: Any, t: Any, tokens: Any) -> Any:
        from lora3d.base.mini import denoise_strip

        known = self.known.expand(len(latents), -1)
        return denoise_strip(unet, latents, t, tokens, known, self.base.rays, self.base.moments)

    def loss(self, found: Any, wanted: Any) -> Any:
        from lora3d.diffusion import masked_mse

        weight = (~self.known).float().expand(len(found), -1)
        return masked_mse(found, wanted, weight, self.base.moments[1]).mean()

    def cached_rows(self) -> list[dict[str, Any]]:
        import torch

        from lora3d.cache import cache_rows
        from lora3d.recipe import TrainConfig

        rows = cache_rows(self.base, self.dataset, TrainConfig(), "train")
        return [
            {"pixel_values": rows.latents[i].float(), "input_ids": rows.text(torch.tensor([i])).tokens[0]}
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
    scope: dict[str, Any] = {"__name__": "peer", "clock": clock, "transforms": transforms}
    if args.base == "mini":
        scope["canvas"] = Canvas()
    exec(compile(source, args.script, "exec"), scope)
    scope["main"]()
    return {"adapter": str(Path(args.out) / "pytorch_lora_weights.safetensors")}


def run_ours(args: argparse.Namespace) -> dict[str, Any]:
    """`lora3d train`, in this process; its log is the clock."""
    from lora3d.recipe import TrainConfig
    from lora3d.train import train

    config = TrainConfig(
        base=args.folder if args.base == "sd15" else "mini",
        rank=args.rank,
        alpha=float(args.rank),
        targets=LAYERS,
        steps=args.steps,
        batch=args.batch,
        learning_rate=args.rate,
        warmup=0,
        decay_share=0.0,
        caption_dropout=0.0,
        reference_dropout=0.0,
        variants=0,
        ema=0.0,
        validation_share=0.0,
        held_out_every=0,
        sample_every=0,
        checkpoint_every=0,
        checkpointing=args.checkpointing,
        device="cpu",
        precision={"no": "fp32", "bf16": "bf16"}[args.precision],
    )
    log = Path(args.out) / "train.log.jsonl"

    def watch() -> None:
        while len(TICKS) < args.steps:
            done = log.read_text().count("\n") if log.exists() else 0
            if done > len(TICKS):
                clock()
            time.sleep(0.005)

    threading.Thread(target=watch, daemon=True).start()
    result = train(config, Path(args.data), Path(args.out), progress=False, report=lambda text: None)
    return {"adapter": str(result.adapter)}


def held_out(adapter: str, data: Path) -> float:
    """The loss on the held-out rows at fixed noise, of either side's file, in float32."""
    import torch
    from diffusers import StableDiffusionPipeline

    from lora3d.base import MINI as FOLDER
    from lora3d.base import load_base
    from lora3d.cache import cache_rows
    from lora3d.dataset import read_dataset
    from lora3d.progress import fixed_loss
    from lora3d.recipe import TrainConfig

    base = load_base("mini")
    rows = cache_rows(base, read_dataset(data), TrainConfig(), "test")
    if adapter:
        pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, unet=base.network)
        pipeline.load_lora_weights(adapter)
    return fixed_loss(base, rows, TrainConfig(), torch.float32)


def write_pictures(data: Path, out: Path) -> None:
    """The dataset's training grids as the script reads them: pictures and metadata.jsonl."""
    from lora3d.dataset import read_dataset
    from lora3d.generate import to_image
    from lora3d.grid import pack

    out.mkdir(parents=True)
    dataset = read_dataset(data)
    with (out / "metadata.jsonl").open("w") as file:
        for row in dataset.rows("train"):
            to_image(pack(dataset.grid, row.tiles)).save(out / f"{row.id}.png")
            file.write(json.dumps({"file_name": f"{row.id}.png", "text": row.caption}) + "\n")


def write_sd15(folder: Path) -> None:
    """Stable Diffusion 1.5's sizes, random weights, bfloat16."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests.toy_bases import BETAS, toy_tokenizer

    torch.manual_seed(0)
    tokenizer = toy_tokenizer()
    words = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    wide = (128, 256, 512, 512)
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=wide,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(words),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64),
        scheduler=PNDMScheduler(**BETAS, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(torch.bfloat16).save_pretrained(folder)


def write_quads(out: Path) -> None:
    """Eight grids of 2×2 tiles, 512 px."""
    import numpy as np

    from lora3d.camera import orbit
    from lora3d.dataset import Row, write_dataset
    from lora3d.grid import View, ViewGrid
    from lora3d.mesh import glb_bytes
    from tests.conftest import make_box

    cameras = [orbit(a, 0, 1.0, ortho_scale=1.04) for a in (0, 90, 180)]
    grid = ViewGrid("quad", (View("reference"), *(View("rgb", c) for c in cameras)), 2, 256)
    glb = glb_bytes(make_box())
    rng = np.random.default_rng(0)
    rows = [
        Row(
            f"r{i}", np.repeat(np.repeat(rng.random((4, 32, 32, 3)), 8, 1), 8, 2).astype(np.float32),
            "a red box", f"s{i}", "train", "CC0-1.0", "", "", glb,
        )
        for i in range(8)
    ]  # fmt: skip
    write_dataset(rows, out, grid)


def measure(kind: str, options: list[str], env: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.train_peer", *options, "--role", kind]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env})
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1]) | {"whole": time.monotonic() - began}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("base", choices=("mini", "sd15"))
    parser.add_argument("--script", required=True)
    parser.add_argument("--data", help="a dataset of mini's grid")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--rate", type=float, default=4e-4)
    parser.add_argument("--precision", default="bf16", choices=("no", "bf16"))
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=["peer", "ours", "peer cached", "ours checkpointing"])
    parser.add_argument("--work", type=Path, help="where pictures and the random base are kept")
    for name in ("role", "folder", "pictures", "out"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--cached", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--checkpointing", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.steps = args.steps or (20 if args.base == "mini" else 4)
    args.batch = args.batch or (8 if args.base == "mini" else 1)
    if args.role:
        found = (run_peer if args.role == "peer" else run_ours)(args)
        pairs = list(itertools.pairwise(TICKS))[SKIPPED - 1 :]
        wall, cpu = (statistics.median(b[i] - a[i] for a, b in pairs) for i in (0, 1))
        print(json.dumps(found | {"step": wall, "cpu": cpu, "peak": peak_mib()}))
        return
    compare(args)


def compare(args: argparse.Namespace) -> None:
    from lora3d.base import MINI as FOLDER
    from lora3d.device import measure_gflops

    work = args.work or Path(tempfile.mkdtemp())
    folder, data = FOLDER, Path(args.data or "")
    if args.base == "sd15":
        folder, data = work / "sd15", work / "quads"
        if not folder.exists():
            write_sd15(folder)
        if not data.exists():
            write_quads(data)
    if not (work / "pictures").exists():
        write_pictures(data, work / "pictures")
    env = {"PEER_DATA": str(data), "LORA3D_CACHE": str(work / "cache")}
    ways = {
        "peer": ("peer", []),
        "ours": ("ours", []),
        "peer cached": ("peer", ["--cached"]),
        "ours checkpointing": ("ours", ["--checkpointing"]),
    }
    if args.base == "sd15":
        del ways["peer cached"]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in ways if name in args.only}
    print(f"this host: {measure_gflops():.0f} GFLOP/s fp32")
    for turn in range(args.turns):
        for name in results:
            kind, more = ways[name]
            out = work / f"{name.replace(' ', '_')}{turn}_{os.getpid()}"
            options = [args.base, "--data", str(data), "--folder", str(folder), "--out", str(out), *more]
            options += ["--pictures", str(work / "pictures")]
            for key in ("script", "precision", "steps", "batch", "rank", "rate"):
                options += [f"--{key}", str(getattr(args, key))]
            results[name].append(measure(kind, options, env))
            found = results[name][-1]
            print(
                f"{name:>20}: {found['step']:.3f} s a step ({found['cpu']:.3f} of CPU), {found['peak']:.0f} MiB",
                flush=True,
            )
    show(args, results, data)


def show(args: argparse.Namespace, results: dict[str, list[dict[str, Any]]], data: Path) -> None:
    """Prints each way's best turn, and ours against theirs."""
    best = {name: min(r["step"] for r in found) for name, found in results.items()}
    work_of = {name: min(r["cpu"] for r in found) for name, found in results.items()}
    for name, found in results.items():
        line = f"{name:>20}: {args.batch / best[name]:.2f} examples/s, {max(r['peak'] for r in found):.0f} MiB peak"
        line += f", {found[-1]['whole']:.0f} s with imports, loading and saving"
        if args.base == "mini":
            line += f", held-out loss {held_out(found[-1]['adapter'], data):.4f}"
        print(line)
    if args.base == "mini":
        print(f"held-out loss of the base: {held_out('', data):.4f}")
    for a, b in (("ours", "peer"), ("ours", "peer cached"), ("ours checkpointing", "peer")):
        if a in best and b in best:
            memory = max(r["peak"] for r in results[a]) / max(r["peak"] for r in results[b])
            print(
                f"{a} against {b}: {best[b] / best[a]:.2f} times the examples/s ({work_of[b] / work_of[a]:.2f} by CPU "
                f"seconds, which other work on the machine disturbs less), {memory:.2f} times the memory"
            )


if __name__ == "__main__":
    main()
