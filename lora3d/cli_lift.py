"""`lora3d lift`: any tool's multi-view image, or a stack of slices, to a model."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora3d.errors import InputError
from lora3d.formats import FORMATS, LIFTS, MESHES, PIVOTS

if TYPE_CHECKING:
    from lora3d.camera import Array
    from lora3d.grid import ViewGrid
    from lora3d.lift.turntable import Draw
    from lora3d.mesh import Mesh


def add_lift(add: Callable[..., argparse.ArgumentParser], commands: Any) -> None:
    lift = add("lift", run_lift, "any tool's multi-view image, or a stack of slices, to a model", commands)
    lift.add_argument("image", type=Path, help="the picture; with --slices a folder of pictures or a TIFF")
    source = lift.add_mutually_exclusive_group(required=True)
    source.add_argument("--grid", help="what the picture shows: a preset or a JSON file")
    source.add_argument(
        "--slices", type=float, metavar="THICKNESS", help="a stack, this many pixels between its pictures"
    )
    lift.add_argument("--out", type=Path, required=True, help="a file; its ending says the format")
    lift.add_argument("--format", choices=FORMATS, help="where the ending does not say it")
    lift.add_argument("--lift", choices=LIFTS, help="by default what the grid's cells allow")
    lift.add_argument(
        "--level", type=float, help="with --slices: the brightness from which it is solid, 0 to 1"
    )
    lift.add_argument("--faces", type=int, default=5000, help="triangles at most")
    lift.add_argument("--texture", type=int, default=512, help="side of the texture in pixels")
    lift.add_argument(
        "--lods", type=int, default=0, help="further meshes, each of a quarter of the triangles"
    )
    lift.add_argument("--normal-map", action="store_true", help="the fine surface's normals (GLB, glTF)")
    lift.add_argument("--turntable", action="store_true", help="a clip of a turn about it as well (WebP)")
    add_matting(lift)
    add_placement(lift)


def add_matting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--matting",
        metavar="MODEL",
        help="for a busy background: a model of rembg, fetched once; plain and transparent ones need none",
    )


def add_placement(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pivot", choices=PIVOTS, help="what of a mesh lies at the origin; by default the grid's"
    )
    parser.add_argument("--size", type=float, metavar="METRES", help="a mesh's longest side")


def run_lift(args: argparse.Namespace) -> dict[str, Any]:
    from lora3d.export import file_names, model_files, placed, require_spared
    from lora3d.lift.turntable import clip_bytes, draw_mesh, turn

    format = args.format or args.out.suffix.removeprefix(".").lower()
    if format not in MESHES and (args.slices is not None or args.lods or args.pivot or args.size is not None):
        raise InputError(
            f"--slices, --lods, --pivot and --size make meshes: expected {', '.join(MESHES)}, found {format!r}"
        )
    if args.normal_map and (format not in ("glb", "gltf") or args.slices is not None):
        raise InputError(f"--normal-map goes with --grid into glb or gltf, found {format!r}")
    stems, suffix = _stems(args, format)
    beside = [name for stem in stems for name in file_names(stem, format)[1:]]
    names = [*(stem + suffix for stem in stems), *beside, *([f"{stems[0]}_turn.webp"] * args.turntable)]
    folder = args.out.parent
    inputs = [*(args.image.iterdir() if args.image.is_dir() else [args.image]), Path(args.grid or args.image)]
    require_spared([folder / name for name in names], inputs)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, bytes] = {}
    facts: dict[str, Any] = {}
    if format in MESHES:
        meshes = [placed(mesh, args.pivot, args.size) for mesh in _meshes(args)]
        for stem, mesh in zip(stems, meshes, strict=True):
            made = model_files(mesh, stem, format, {"lifted": args.image.name})
            files |= _as_asked(made, stem + suffix)
        draw, facts = draw_mesh(meshes[0]), {"faces": len(meshes[0].faces)}
    else:
        made, draw = _other(args, format)
        files |= _as_asked(made, stems[0] + suffix)
    if args.turntable:
        files[f"{stems[0]}_turn.webp"] = clip_bytes(turn(draw, 36, 256))
    for file, data in files.items():
        (folder / file).write_bytes(data)
    first, *rest = (folder / file for file in files)
    return {format: first, **({"beside": rest} if rest else {}), **facts}


def _stems(args: argparse.Namespace, format: str) -> tuple[list[str], str]:
    """Names of the levels' first files without their ending, and that ending: the first file is ``--out`` itself."""
    from lora3d.export import file_names

    suffix = Path(file_names("model", format)[0]).suffix
    if args.out.suffix.lower() == suffix:
        suffix = args.out.suffix
    stem = args.out.stem or "model"
    return [stem, *(f"{stem}_lod{level}" for level in range(1, args.lods + 1))], suffix


def _as_asked(files: dict[str, bytes], first: str) -> dict[str, bytes]:
    """The first file under the name asked for; those that it names inside keep theirs."""
    (_, data), *rest = files.items()
    return {first: data, **dict(rest)}


def _meshes(args: argparse.Namespace) -> list[Mesh]:
    """The mesh, and its further levels of detail."""
    budgets = [max(args.faces // 4**level, 100) for level in range(args.lods + 1)]
    if args.slices is None:
        from lora3d.lift import lift_levels

        return lift_levels(
            *_tiles(args), budgets, method=args.lift, texture=args.texture, normal_map=args.normal_map
        )
    from lora3d.lift.slices import lift_slices, read_slices

    stack = read_slices(args.image)
    return [
        lift_slices(stack, thickness=args.slices, level=args.level, faces=faces, texture=args.texture)
        for faces in budgets
    ]


def _other(args: argparse.Namespace, format: str) -> tuple[dict[str, bytes], Draw]:
    """The files of a form that is no mesh, and how it is drawn."""
    from lora3d.export import view_files
    from lora3d.lift import lift
    from lora3d.lift.relief import relief
    from lora3d.lift.turntable import draw_mesh

    tiles, grid = _tiles(args)
    name = args.out.stem
    if format == "field":
        from lora3d.lift.field import draw_field, field_bytes, fit_field
        from lora3d.lift.views import read_views

        field = fit_field(read_views(tiles, grid))
        return {f"{name}.safetensors": field_bytes(field)}, lambda cameras, size: draw_field(
            field, cameras, size
        )
    mesh = relief(tiles, grid) if format == "relief" else lift(tiles, grid, method=args.lift)
    return view_files(tiles, grid, name, format, {"lifted": args.image.name}, mesh=mesh), draw_mesh(mesh)


def _tiles(args: argparse.Namespace) -> tuple[Array, ViewGrid]:
    from lora3d.drawing import read_tiles
    from lora3d.grid import read_grid

    return read_tiles(args.image, read_grid(args.grid), args.matting)
