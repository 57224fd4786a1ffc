"""diffusers' train_text_to_image_lora.py against `lora3d train`: same base, data, layers, rank, batch and precision.

    curl -O https://raw.githubusercontent.com/huggingface/diffusers/main/examples/text_to_image/train_text_to_image_lora.py
    python -m tests.benchmarks.train_peer mini --script train_text_to_image_lora.py --data DATASET
    python -m tests.benchmarks.train_peer sd15 --script train_text_to_image_lora.py

``mini``: the script is changed only as far as the canvas and the VAE's class demand (`peers.train_script.MINI`): which
tiles make an example, the network's extra inputs, and its target, so that both end in the same loss. ``cached`` also
gives it our latents and sentences, and lets `mini` remember what it guessed of a drawing, as ours does; without, the
script keeps nothing from step to step. ``sd15``: a UNet, VAE and text encoder of Stable Diffusion 1.5's size with
random weights, 512 px. In both the script gets a clock, and PEFT's default start of A, which ours has too. Each side
runs in a process of its own, by turns; seconds are the mean step (the median beside it), memory is the process's peak
while it steps (Linux), with ``--device cuda`` that of its tensors on the card. The share of the peak is what the
network computes forwards and backwards in a step (`lora3d.estimate`; the same for either side, nothing twice, no
encoders) a second, of what large matrix products reach here in the same precision.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.clock import matmul_flops, measured, tick
from tests.benchmarks.peers.train_data import write_pictures, write_quads, write_sd15
from tests.benchmarks.peers.train_script import run_peer

# Each way of training, and its options. In parts: half a batch at once, the gradient is the batch's.
WAYS: dict[str, list[str]] = {
    "peer": [],
    "ours": [],
    "peer cached": ["--cached"],
    "ours in parts": ["--micro", "4"],
    "ours compiled": ["--compiled"],
    "ours checkpointing": ["--checkpointing"],
}
LAYERS = ("to_k", "to_q", "to_v", "to_out.0")
PRECISIONS = {"no": "fp32", "bf16": "bf16"}


def our_recipe(args: argparse.Namespace) -> Any:
    from lora3d.recipe import TrainConfig

    return TrainConfig(
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
        viewpoint_dropout=1.0,
        variants=0,
        ema=0.0,
        validation_share=0.0,
        held_out_every=0,
        sample_every=0,
        checkpoint_every=0,
        checkpointing=args.checkpointing,
        micro_batch=args.micro,
        compile=args.compiled,
        device=args.device,
        precision=PRECISIONS[args.precision],
    )


def run_ours(args: argparse.Namespace) -> dict[str, Any]:
    """`lora3d train`, in this process, with a clock after each step."""
    from lora3d import train as loop

    config, take_step = our_recipe(args), loop.take_step

    def timed(*given: Any) -> dict[str, Any]:
        record = take_step(*given)
        tick()
        return record

    loop.take_step = timed
    result = loop.train(config, Path(args.data), Path(args.out), progress=False, report=lambda text: None)
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
    parser.add_argument("--precision", default="bf16", choices=tuple(PRECISIONS))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=WAYS)
    parser.add_argument("--work", type=Path, help="where pictures and the random base are kept")
    for name in ("role", "folder", "pictures", "out"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--cached", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--checkpointing", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--micro", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.steps = args.steps or (100 if args.base == "mini" else 4)
    args.batch = args.batch or (8 if args.base == "mini" else 4 if args.device == "cuda" else 1)
    if args.role:
        found = (run_peer if args.role == "peer" else run_ours)(args)
        print(json.dumps(found | measured()))
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
    if args.device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""  # the script takes a card where it sees one
    args.folder = str(folder)
    absent = ("peer cached", "ours in parts") if args.base == "sd15" else ()
    results: dict[str, list[dict[str, Any]]] = {n: [] for n in WAYS if n in args.only and n not in absent}
    print(f"this host: {measure_gflops():.0f} GFLOP/s fp32")
    for turn in range(args.turns):
        for name in results:
            out = work / f"{name.replace(' ', '_')}{turn}_{os.getpid()}"
            options = [
                args.base,
                "--data",
                str(data),
                "--folder",
                str(folder),
                "--out",
                str(out),
                *WAYS[name],
            ]
            options += ["--pictures", str(work / "pictures")]
            for key in ("script", "precision", "device", "steps", "batch", "rank", "rate"):
                options += [f"--{key}", str(getattr(args, key))]
            results[name].append(measure(name.split()[0], options, env))
            found = results[name][-1]
            print(
                f"{name:>20}: {found['mean']:.3f} s a step, median {found['step']:.3f} ({found['mean_cpu']:.3f} and "
                f"{found['cpu']:.3f} of CPU), {found['peak']:.0f} MiB",
                flush=True,
            )
    show(args, results, data)


def show(args: argparse.Namespace, results: dict[str, list[dict[str, Any]]], data: Path) -> None:
    """Prints each way's best turn, and ours against theirs."""
    import torch

    from lora3d.device import choose_dtype
    from lora3d.estimate import estimate
    from lora3d.grid import read_grid

    dtype = choose_dtype(torch.device(args.device), PRECISIONS[args.precision])
    flops = estimate(our_recipe(args), read_grid(data / "grid.json"), dtype, args.device == "cpu").flops
    peak = matmul_flops(args.device, dtype)
    print(
        f"a step of the network: {flops / 1e12:.3f} TFLOP; large matrix products: {peak / 1e12:.3f} TFLOP/s"
    )
    best = {name: min(r["mean"] for r in found) for name, found in results.items()}
    work_of = {name: min(r["mean_cpu"] for r in found) for name, found in results.items()}
    for name, found in results.items():
        line = f"{name:>20}: {args.batch / best[name]:.2f} examples/s, {max(r['peak'] for r in found):.0f} MiB peak"
        line += f", {100 * flops / best[name] / peak:.1f} % of the device's peak"
        line += f", {found[-1]['whole']:.0f} s with imports, loading and saving"
        if args.base == "mini":
            line += f", held-out loss {held_out(found[-1]['adapter'], data):.4f}"
        print(line)
    if args.base == "mini":
        print(f"held-out loss of the base: {held_out('', data):.4f}")
    for a, b in itertools.product(best, best):
        if a.startswith("ours") and b.startswith("peer"):
            memory = max(r["peak"] for r in results[a]) / max(r["peak"] for r in results[b])
            print(
                f"{a} against {b}: {best[b] / best[a]:.2f} times the examples/s ({work_of[b] / work_of[a]:.2f} by CPU "
                f"seconds, which other work on the machine disturbs less), {memory:.2f} times the memory"
            )


if __name__ == "__main__":
    main()
