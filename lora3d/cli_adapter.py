"""The ``lora3d adapter`` commands: parse, call, print. Heavy imports stand inside the functions."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora3d.errors import InputError

Add = Callable[..., argparse.ArgumentParser]


def add_adapter_commands(add: Add, parent: Any) -> None:
    """All verbs of ``lora3d adapter``; ``add(name, work, text, parent)`` makes one."""
    show = add("show", run_show, "print the adapter's card", parent)
    show.add_argument("file", type=Path)
    add_require(show)
    verify = add("verify", run_verify, "load the file and measure what it changes", parent)
    verify.add_argument("file", type=Path)
    verify.add_argument("--base", default="mini", help="'mini' or a folder in diffusers layout")
    verify.add_argument("--against", type=Path, metavar="FILE", help="the original: both must answer alike")
    add_require(verify)
    export = add("export", run_export, "write it in the form that another tool loads", parent)
    export.add_argument("file", type=Path)
    export.add_argument("--to", required=True, choices=("diffusers", "peft", "kohya", "comfyui"))
    export.add_argument("--out", type=Path, required=True, help="a file; a folder for peft")
    export.add_argument("--family", choices=("sd1", "sd2", "sdxl", "sd3"), help="where names do not tell")
    export.add_argument("--thumbnail", type=Path, help="by default the newest of the run's samples")
    take = add("import", run_import, "take in another trainer's adapter and give it a card", parent)
    take.add_argument("file", type=Path, help="a .safetensors file, or the folder that PEFT writes")
    take.add_argument("--out", type=Path, required=True)
    take.add_argument("--base", default="mini", help="what it was trained on: 'mini' or a folder")
    take.add_argument("--license", help="SPDX identifier, where its author states one")
    _add_note(add, parent)
    _add_several(add, parent)
    publish = add("publish", run_publish, "a folder as the Hugging Face Hub expects it, or a push", parent)
    publish.add_argument("file", type=Path)
    publish.add_argument("--to", required=True, metavar="DIR|hub:USER/NAME")
    publish.add_argument("--title")
    publish.add_argument("--picture", type=Path, action="append", help="instead of the run's samples")
    publish.add_argument("--private", action="store_true", help="on the Hub")
    add_require(publish)


def _add_note(add: Add, parent: Any) -> None:
    credit = add("attribution", run_attribution, "the credits of all that it was trained on", parent)
    credit.add_argument("file", type=Path)
    credit.add_argument("--out", type=Path, help="a Markdown file; printed without")
    note = add("note", run_note, "attach an artist's statement, scores or the base's licence", parent)
    note.add_argument("file", type=Path)
    note.add_argument("--out", type=Path, required=True)
    note.add_argument("--consent", type=Path, help="a text file, taken word for word")
    note.add_argument("--report", type=Path, help="the report.json of `lora3d eval` on this adapter")
    note.add_argument("--base-license", help="SPDX identifier of the base's weights")


def _add_several(add: Add, parent: Any) -> None:
    merge = add("merge", run_merge, "several adapters to one", parent)
    merge.add_argument("files", nargs="+", metavar="FILE[:WEIGHT]")
    merge.add_argument("--out", type=Path, required=True)
    merge.add_argument("--method", default="linear", choices=("linear", "svd", "ties", "dare"))
    merge.add_argument("--rank", type=int, help="of the result, for all but linear")
    merge.add_argument("--density", type=float, default=0.5, help="share of entries that ties and dare keep")
    merge.add_argument("--seed", type=int, default=0)
    resize = add("resize", run_resize, "a lower rank, or the least that keeps a share of the energy", parent)
    resize.add_argument("file", type=Path)
    resize.add_argument("--out", type=Path, required=True)
    how = resize.add_mutually_exclusive_group(required=True)
    how.add_argument("--rank", type=int)
    how.add_argument("--energy", type=float, help="in (0, 1]")
    diff = add("diff", run_diff, "how two adapters differ", parent)
    diff.add_argument("file", type=Path)
    diff.add_argument("other", type=Path)
    fuse = add("fuse", run_fuse, "a base with the adapter inside its weights", parent)
    fuse.add_argument("file", type=Path)
    fuse.add_argument("--base", default="mini", help="'mini' or a folder in diffusers layout")
    fuse.add_argument("--out", type=Path, required=True)
    fuse.add_argument("--weight", type=float, default=1.0)


def add_require(parser: argparse.ArgumentParser) -> None:
    """``--require``: refuse an adapter whose terms do not allow that."""
    parser.add_argument(
        "--require",
        choices=("commercial", "derivatives", "known"),
        help="refuse an adapter whose licences (assets and base) do not allow this",
    )


def files_and_weights(values: list[str]) -> dict[Path, float]:
    """``file`` or ``file:weight``; a colon that no number follows belongs to the file's name.

    Raises InputError for a file named twice: which of the weights would count?
    """
    result: dict[Path, float] = {}
    for value in values:
        file, _, weight = value.rpartition(":")
        try:
            path, number = (Path(file), float(weight)) if file else (Path(value), 1.0)
        except ValueError:
            path, number = Path(value), 1.0
        if path in result:
            raise InputError(f"{path} is named twice; expected each adapter once, as FILE:WEIGHT")
        result[path] = number
    return result


def check_terms(files: list[Path], requirement: str | None) -> None:
    """Raises InputError for the first adapter whose terms do not allow ``requirement``; reads headers alone."""
    if requirement is None:
        return
    from lora3d.adapter_license import require
    from lora3d.card import read_card

    for file in files:
        require(read_card(file), file.name, requirement)


def run_show(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.adapter_license import terms_of
    from lora3d.card import card_of, prompt_hint, read_header

    header = read_header(args.file)
    metadata = header.pop("__metadata__")
    card = card_of(metadata, args.file)
    check_terms([args.file], args.require)
    shapes = [entry["shape"] for entry in header.values()]
    return {
        **dataclasses.asdict(card),
        "prompt": prompt_hint(card),
        "terms": terms_of(card).to_dict(),
        "tensors": len(shapes),
        "bytes": args.file.stat().st_size,
        "sha256_of_tensors": metadata.get("sshs_model_hash", ""),
        "thumbnail": "modelspec.thumbnail" in metadata,
    }


def run_verify(args: argparse.Namespace) -> dict[str, Any]:
    check_terms([args.file], args.require)
    from lora3d.adapter_verify import verify

    return verify(args.file, args.base, args.against)


def run_export(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.adapter_convert import export

    return export(args.file, args.to, args.out, family=args.family, picture=args.thumbnail)


def run_import(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.data_prep.licenses import spdx_of

    license = spdx_of(args.license or "")
    from lora3d.adapter_convert import take_in
    from lora3d.adapter_verify import verify
    from lora3d.base import load_base

    base = load_base(args.base)
    report = take_in(
        args.file,
        args.out,
        base=base.name,
        base_revision=base.revision,
        grid=base.grid.to_dict(),
        license=license,
    )
    try:
        return {**report, **verify(args.out, args.base)}
    except InputError:
        args.out.unlink()
        raise


def run_attribution(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.adapter_license import attribution
    from lora3d.card import read_card

    text = attribution(read_card(args.file), args.file.stem)
    if args.out is None:
        if not args.json:
            print(text)
        return {"text": text} if args.json else {}
    args.out.write_text(text + "\n", encoding="utf-8")
    return {"file": args.out}


def run_note(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.card import read_card
    from lora3d.data_prep.licenses import spdx_of

    card = read_card(args.file)
    changes: dict[str, Any] = {}
    if args.consent is not None:
        changes["consent"] = _text(args.consent).strip()
    if args.base_license is not None:
        changes["base_license"] = spdx_of(args.base_license)
    if args.report is not None:
        changes["metrics"] = {**card.metrics, "scores": _scores(args.report, args.file.name, card.dataset)}
    if not changes:
        raise InputError("nothing to note: give --consent, --report or --base-license")
    from lora3d.adapter_convert import rewrite_header

    rewrite_header(args.file, args.out, dataclasses.replace(card, **changes))
    return {"file": args.out, "noted": sorted(changes)}


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > 1 << 20:
            raise InputError(f"{path} is larger than 1 MiB: expected a statement or a report")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text: {error}") from error


def _scores(path: Path, file: str, dataset: str) -> dict[str, Any]:
    """The means of a report; raises InputError for one on another adapter."""
    try:
        report = json.loads(_text(path))
        settings = report["settings"]
        scores = {k: report[k] for k in ("base", "adapter", "retrieval", "ceiling") if report.get(k)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is no report.json of `lora3d eval`") from error
    if settings.get("adapter") != file or settings.get("adapter_dataset") != dataset:
        raise InputError(f"{path} is a report on {settings.get('adapter')!r}, expected one on {file!r}")
    return scores


def run_merge(args: argparse.Namespace) -> dict[str, Any]:
    files = files_and_weights(args.files)
    from lora3d.adapter_merge import merge

    return merge(files, args.out, method=args.method, rank=args.rank, density=args.density, seed=args.seed)


def run_resize(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.adapter_merge import resize

    return resize(args.file, args.out, rank=args.rank, energy=args.energy)


def run_diff(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.adapter_merge import diff

    return diff(args.file, args.other)


def run_fuse(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.adapter_merge import fuse
    from lora3d.base import MINI

    base = MINI if args.base == "mini" else Path(args.base)
    return fuse(args.file, base, args.out, weight=args.weight)


def run_publish(args: argparse.Namespace) -> dict[str, Any]:
    check_terms([args.file], args.require)
    from lora3d.adapter_publish import publish

    return publish(args.file, args.to, title=args.title, pictures=args.picture, private=args.private)
