"""The command line: parse, call, print. Everything heavy is imported by the command that needs it.

Exit codes: 0 done, 1 the input's fault, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora3d.cli_adapter import add_adapter_commands
from lora3d.cli_generate import add_generate, add_samples
from lora3d.cli_lift import add_lift
from lora3d.cli_recipe import add_recipe_flags, flags_given, read_with_flags, words
from lora3d.errors import InputError
from lora3d.recipe import PretrainConfig, TrainConfig

Command = Callable[[argparse.Namespace], dict[str, Any]]


class Parser(argparse.ArgumentParser):
    """Names the nearest option for an unknown one."""

    def error(self, message: str) -> typing.NoReturn:
        for word in message.split() if message.startswith("unrecognized") else ():
            if word.startswith("--"):
                near = difflib.get_close_matches(word.split("=")[0], _flags(self), n=1)
                if near and near[0] != word.split("=")[0]:
                    message += f"; the nearest is {near[0]}"
                    break
        self.exit(2, f"{self.prog}: {message}\nSee {self.prog} --help\n")


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    """All options of a parser and its commands: an unknown one is reported by the outermost parser."""
    found = [s for action in parser._actions for s in action.option_strings]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found += _flags(sub)
    return sorted(set(found))


def build_parser() -> Parser:
    parser = Parser(
        "lora3d", description="Teach a diffusion model an artist's 3D style; turn drawings into 3D models."
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", parser_class=Parser, metavar="COMMAND")

    def group(name: str, text: str) -> Any:
        return commands.add_parser(name, help=text).add_subparsers(
            dest="verb", required=True, parser_class=Parser, metavar="VERB"
        )

    demo = _add(
        "demo", run_demo, "the main job on the bundled pack, one page of pictures at the end", commands
    )
    demo.add_argument("--out", type=Path, default=Path("demo_out"))
    demo.add_argument("--steps", type=int, help="training steps of the adapter")
    _add_prep(commands)
    train = _add("train", run_train, "train an adapter by a recipe; each of its keys is a flag too", commands)
    train.add_argument("recipe", type=Path)
    train.add_argument("--data", type=Path, required=True)
    train.add_argument("--out", type=Path, required=True)
    train.add_argument("--resume", action="store_true", help="go on with the run in --out")
    train.add_argument("--accept-changes", action="store_true", help="go on with another recipe or dataset")
    add_recipe_flags(train, TrainConfig)
    add_generate(_add, commands)
    add_lift(_add, commands)
    _add_eval(commands)
    doctor = _add("doctor", run_doctor, "what would go wrong, before hours are spent", commands)
    doctor.add_argument("path", type=Path, help="a dataset, or a recipe (.toml)")
    doctor.add_argument("--data", type=Path, help="with a recipe: the dataset it is for")
    add_recipe_flags(doctor, TrainConfig)
    add_adapter_commands(_add, group("adapter", "look into adapter files, convert, merge and share them"))
    _add_base(group("base", "the base models"))
    return parser


def _add(name: str, work: Command, text: str, parent: Any) -> argparse.ArgumentParser:
    sub = parent.add_parser(name, help=text, description=text)
    sub.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    sub.set_defaults(work=work)
    return sub


def _add_prep(commands: Any) -> None:
    prep = _add("prep", run_prep, "models and drawings to a dataset", commands)
    prep.add_argument(
        "src",
        type=Path,
        help="a folder of models or pictures, a manifest (.csv, .jsonl), Parquet, owner/name on the Hub, procedural:N",
    )
    prep.add_argument("--out", type=Path, required=True)
    prep.add_argument("--grid", default="box6", help="a preset or a JSON file")
    prep.add_argument("--tile", type=int, help="pixels a tile, instead of the grid's")
    prep.add_argument(
        "--license",
        help="SPDX identifier for assets whose metadata states none; overrules what a model or a licence file "
        "says, with a warning",
    )
    prep.add_argument("--artist", help="for assets that state none")
    prep.add_argument("--allow-unlicensed", action="store_true", help="keep assets without a licence")
    prep.add_argument("--trigger", help="a word put before every caption")
    prep.add_argument(
        "--caption",
        type=_template,
        metavar="TEMPLATE",
        help="of what states none, e.g. 'a {name} by {artist}'; also {subject}, {source}, {license}, {folder}",
    )
    prep.add_argument(
        "--captioner", metavar="FOLDER_OR_ID", help="a BLIP or GIT model for what has no caption and no name"
    )
    prep.add_argument("--caption-all", action="store_true", help="with --captioner: caption everything anew")
    prep.add_argument(
        "--turntables",
        action="store_true",
        help="pictures without models are frames of a full turn, by number",
    )
    prep.add_argument(
        "--style",
        type=words,
        default=("render",),
        help="of references without a drawing, e.g. line,flat,blueprint",
    )
    prep.add_argument("--test-share", type=float, default=0.2, help="of the subjects, held out")
    prep.add_argument("--min-test", type=int, default=8, help="assets held out at least")
    prep.add_argument("--seed", type=int, default=0)
    prep.add_argument("--workers", type=int, default=2)
    prep.add_argument("--time-limit", type=float, metavar="SECONDS", help="for one model (120)")
    prep.add_argument("--memory", type=int, metavar="MiB", help="for one model, on Linux (6144)")
    prep.add_argument("--ray", metavar="ADDRESS", help="work on a Ray cluster instead (extra: ray)")
    prep.add_argument("--overwrite", action="store_true", help="replace an existing dataset")


def _add_eval(commands: Any) -> None:
    evaluate = _add(
        "eval", run_eval, "score base and adapter on what was held out: report.json, .html", commands
    )
    evaluate.add_argument("--data", type=Path, required=True)
    evaluate.add_argument("--out", type=Path, required=True)
    evaluate.add_argument("--base", default="mini")
    evaluate.add_argument("--adapter", type=Path)
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--limit", type=int, help="at most so many held-out assets")
    evaluate.add_argument("--steps", type=int, help="denoising steps")
    add_samples(evaluate)
    evaluate.add_argument(
        "--guess-viewpoints", action="store_true", help="do not tell the base where drawings were seen from"
    )
    evaluate.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))


def _add_base(base: Any) -> None:
    _add("list", run_base_list, "the bases at hand", base)
    info = _add("info", run_base_info, "a base's grid, size and hash", base)
    info.add_argument("name", nargs="?", default="mini")
    shapes = _add("shapes", run_base_shapes, "held-out shapes as a dataset, to score a base with eval", base)
    shapes.add_argument("--out", type=Path, required=True)
    shapes.add_argument("--count", type=int, default=200)
    shapes.add_argument("--overwrite", action="store_true", help="replace an existing dataset")
    pretrain = _add("train", run_base_train, "train a base from scratch on shapes made by code", base)
    pretrain.add_argument("recipe", type=Path)
    pretrain.add_argument("--out", type=Path, required=True)
    pretrain.add_argument("--init", type=Path, help="a base whose weights to start from")
    pretrain.add_argument("--resume", action="store_true")
    pretrain.add_argument("--device", default="auto")
    pretrain.add_argument("--max-seconds", type=float, help="take as many steps as fit")
    add_recipe_flags(pretrain, PretrainConfig)


def _template(text: str) -> str:
    """A caption's template; a field that is not known is wrong usage."""
    from lora3d.data_prep.templates import fields_in

    try:
        fields_in(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def run_demo(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.demo import demo

    return demo(args.out, steps=args.steps, report=_say(args))


def run_prep(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.data_prep.folder import MEMORY_MB, TIME_LIMIT_S, prep
    from lora3d.grid import read_grid

    grid = read_grid(args.grid)
    report = prep(
        args.src,
        args.out,
        grid=grid.with_tile(args.tile) if args.tile else grid,
        license=args.license,
        allow_unlicensed=args.allow_unlicensed,
        artist=args.artist,
        trigger=args.trigger,
        caption=args.caption,
        captioner=args.captioner,
        caption_all=args.caption_all,
        turntables=args.turntables,
        styles=args.style,
        test_share=args.test_share,
        min_test=args.min_test,
        seed=args.seed,
        workers=args.workers,
        time_limit_s=TIME_LIMIT_S if args.time_limit is None else args.time_limit,
        memory_mb=MEMORY_MB if args.memory is None else args.memory,
        ray=args.ray,
        overwrite=args.overwrite,
        progress=not args.json,
    )
    return dataclasses.asdict(report)


def run_doctor(args: argparse.Namespace) -> dict[str, Any]:
    if args.path.suffix == ".toml":
        from lora3d.estimate import inspect_recipe

        return inspect_recipe(read_with_flags(args, args.path, TrainConfig), args.data)
    if flags_given(args):
        args.parser.error(f"recipe keys go with a recipe (.toml), found {args.path}")
    from lora3d.doctor import inspect_dataset

    result = inspect_dataset(args.path)
    if not args.json:
        for finding in result.pop("findings"):
            example = f", such as {finding['rows'][0]}" if finding["rows"] else ""
            print(_printable(f"{finding['level']:>20}  {finding['text']}{example}"))
    return result


def run_train(args: argparse.Namespace) -> dict[str, Any]:
    config = read_with_flags(args, args.recipe, TrainConfig)
    from lora3d.train import train

    result = train(
        config,
        args.data,
        args.out,
        resume=args.resume,
        accept_changes=args.accept_changes,
        progress=not args.json,
        report=_say(args),
    )
    return dataclasses.asdict(result)


def run_eval(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.evaluate import evaluate_adapter

    return evaluate_adapter(
        args.data,
        args.out,
        base=args.base,
        adapter=args.adapter,
        seed=args.seed,
        limit=args.limit,
        steps=args.steps,
        samples=args.samples,
        precision=args.precision,
        stated=not args.guess_viewpoints,
        progress=not args.json,
    )


def run_base_list(args: argparse.Namespace) -> dict[str, Any]:
    return {"mini": "embedded; grid box6, tiles of 64 px; trained by this repository on shapes it makes"}


def run_base_info(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.base import load_base

    base = load_base(args.name)
    return {
        "name": base.name,
        "revision": base.revision,
        "grid": base.grid.name,
        "tile": base.grid.tile,
        "parameters": sum(p.numel() for p in base.network.parameters()),
        "folder": base.folder,
    }


def run_base_shapes(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.data_prep.made import make_dataset
    from lora3d.grid import PRESETS

    made = make_dataset(args.out, PRESETS["box6"], args.count, overwrite=args.overwrite)
    return {"path": args.out, "content_hash": made.content_hash, "test": made.count("test")}


def run_base_train(args: argparse.Namespace) -> dict[str, Any]:
    config = read_with_flags(args, args.recipe, PretrainConfig)
    from lora3d.base.pretrain import pretrain
    from lora3d.device import flushing_denormals

    with flushing_denormals():
        folder = pretrain(
            config,
            args.out,
            init=args.init,
            resume=args.resume,
            device_name=args.device,
            max_seconds=args.max_seconds,
        )
    return {"base": folder}


def _say(args: argparse.Namespace) -> Callable[[str], None]:
    """Prints for people; silent where a script wants JSON alone."""
    return (lambda text: None) if args.json else (lambda text: print(text, flush=True))


def _printable(text: str) -> str:
    """Names in a foreign file must not steer the terminal; an error of ours may have two lines."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def _print(result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(result, default=str, indent=1))
        return
    for key, value in result.items():
        short = json.dumps(value, default=str) if isinstance(value, dict | list) else str(value)
        print(f"{key:>20}  {_printable(short if len(short) < 200 else short[:197] + '…')}")


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.version:
        from importlib.metadata import version

        print(version("lora3d"))
        return 0
    if not args.command:
        parser.print_help()
        return 2
    # Before any heavy import: the libraries' own notices and bars are not for the user of this command.
    for name, value in (
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("DIFFUSERS_VERBOSITY", "error"),
    ):
        os.environ.setdefault(name, value)
    try:
        _print(args.work(args), args.json)
    except InputError as error:
        print(f"lora3d {args.command}: {_printable(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has read enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        # No room, no permission, a name too long: the system's own words say which, and of what file.
        print(f"lora3d {args.command}: {_printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"lora3d {args.command}: stopped", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
