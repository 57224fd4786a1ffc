"""`lora3d generate`: one drawing or sentence, or a list of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora3d.cli_adapter import add_require, check_terms, files_and_weights
from lora3d.cli_lift import add_matting, add_placement
from lora3d.errors import InputError
from lora3d.formats import FORMATS

if TYPE_CHECKING:
    from lora3d.generate import Generator


def add_generate(add: Callable[..., argparse.ArgumentParser], commands: Any) -> None:
    generate = add("generate", run_generate, "a drawing or a sentence to views and a textured mesh", commands)
    _add_model_flags(generate)
    generate.add_argument(
        "--image",
        metavar="PNG[@AZ,EL]",
        help="a drawing on transparent or plain ground; seen from azimuth AZ and elevation EL, if that is known",
    )
    add_matting(generate)
    generate.add_argument("--prompt", help="a sentence")
    generate.add_argument(
        "--batch", type=Path, metavar="CSV", help="a list instead: columns image, prompt, name, seed"
    )
    generate.add_argument("--out", type=Path, required=True)
    generate.add_argument("--format", choices=FORMATS, default="glb")
    generate.add_argument("--workers", type=int, default=2, help="processes that lift, with --batch")
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument("--steps", type=int, help="denoising steps")
    add_samples(generate)
    generate.add_argument("--guidance", type=float, help="1 is off")
    add_placement(generate)
    add_require(generate)


def add_samples(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--samples",
        type=int,
        help="answers drawn and combined into one: surer shapes, calmer colours, as many times the time; mini: 5",
    )


def _add_model_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", default="mini", help="'mini' or a folder")
    parser.add_argument(
        "--adapter", action="append", default=[], metavar="FILE[:WEIGHT]", help="may be given several times"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))


def run_generate(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.drawing import read_drawing, split_viewpoint

    image, seen_deg = (None, None) if args.image is None else split_viewpoint(args.image)
    if image is not None:
        read_drawing(image, args.matting)  # a bad picture is found before seconds are spent on loading
    given = files_and_weights(args.adapter)
    check_terms(list(given), args.require)
    adapters: dict[str | Path, float] = {file: weight for file, weight in given.items()}
    if (args.batch is None) == (args.image is None and not args.prompt):
        raise InputError("nothing to go by, or too much: give --image, --prompt or both, or --batch alone")
    if args.batch is not None:
        return _generate_batch(args, adapters)
    from lora3d.export import require_spared
    from lora3d.generate import written

    inputs = [*map(Path, adapters), *([image] if image else [])]
    require_spared(written(args.out, "generation", args.format), inputs)
    generator = _load(args, adapters)
    made = generator.generate(
        image,
        args.prompt,
        seed=args.seed,
        steps=args.steps,
        guidance=args.guidance,
        seen_deg=seen_deg,
    )
    file = made.save(args.out, "generation", args.format, pivot=args.pivot, size=args.size)
    return {
        args.format: file,
        "grid": args.out / "generation.png",
        "record": args.out / "generation.json",
        "faces": len(made.mesh.faces),
    }


def _load(args: argparse.Namespace, adapters: dict[str | Path, float]) -> Generator:
    from lora3d.generate import load

    return load(
        args.base,
        adapters,
        device=args.device,
        precision=args.precision,
        matting=args.matting,
        samples=args.samples,
    )


def _generate_batch(args: argparse.Namespace, adapters: dict[str | Path, float]) -> dict[str, Any]:
    from lora3d.batch import generate_batch, read_jobs

    jobs = read_jobs(args.batch)
    outcomes = generate_batch(
        _load(args, adapters),
        jobs,
        args.out,
        format=args.format,
        pivot=args.pivot,
        size=args.size,
        steps=args.steps,
        guidance=args.guidance,
        workers=args.workers,
        progress=not args.json,
    )
    count = {status: sum(o.status == status for o in outcomes) for status in ("made", "kept", "failed")}
    failed = [f"{o.name}: {o.reason}" for o in outcomes if o.status == "failed"]
    return {**count, "failures": failed, "results": args.out / "results.csv", "sheet": args.out / "sheet.png"}
