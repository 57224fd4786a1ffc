"""What is in an artist's folder: model files, what metadata.csv says of them, and their drawings.

Pictures without a model are assets where metadata.csv lists them, or where a folder holds no model at all: see
`lora3d.data_prep.pictures` and `lora3d.data_prep.turntables`.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lora3d.errors import InputError

READABLE = (".glb", ".gltf", ".obj", ".ply", ".off", ".stl")
_CONVERT = """
    .fbx .blend .dae .3ds .3dm .max .ma .mb .c4d .usd .usda .usdc .usdz .abc .x3d .x3dv .wrl .vrml .3mf .amf
    .step .stp .iges .igs .brep .lwo .lws .ztl .zpr .skp .dxf .dwg .x .md2 .md3 .md5mesh .mdl .ms3d .b3d .ac
    .bvh .cob .ifc .irrmesh .nff .q3o .raw3d .smd .ter .vta .xgl .zgl .vox .qb .qef .pmx .pmd .vrm .spp .sbsar
"""
_POINTS = ".pcd .xyz .pts .las .laz .e57 .splat .spz .ksplat"
_ARCHIVES = ".zip .rar .7z .tar .tgz .gz .unitypackage"
UNREADABLE = {
    **dict.fromkeys(_CONVERT.split(), "a format that is not read: export it as GLB"),
    **dict.fromkeys(_POINTS.split(), "points without faces: make a mesh of them first"),
    **dict.fromkeys(_ARCHIVES.split(), "an archive: unpack it first"),
}
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
COLUMNS = ("file", "caption", "license", "artist", "source", "drawing", "subject")
_SYNONYMS = {
    "licence": "license",
    "file_name": "file",
    "filename": "file",
    "drawings": "drawing",
    "author": "artist",
}
_MAX_METADATA = 64 * 2**20
_PLACE = re.compile(r"(?P<file>.+?)@(?P<az>[-+]?\d+(?:\.\d+)?)(?:,(?P<el>[-+]?\d+(?:\.\d+)?))?")
_NUMBERED = re.compile(r"(?P<stem>.*?)[-_. ]*(?P<index>\d+)")


@dataclass(frozen=True)
class Drawing:
    """A picture of a model.

    Attributes:
        file: its path inside the source folder.
        azimuth_deg, elevation_deg: from where it was drawn, where stated.
        by_name: found by its name, not listed by the artist.
    """

    file: str
    azimuth_deg: float | None = None
    elevation_deg: float | None = None
    by_name: bool = False


@dataclass(frozen=True)
class Asset:
    """A model file and what is stated of it; texts may be empty.

    Attributes:
        file: its path inside the folder; a picture's where there is no model, a turntable's first frame's, or
            its folder's.
        drawings: of the model; the picture itself where there is no model.
        frames: of a turntable, each with its angles; empty for everything else.
    """

    file: str
    caption: str = ""
    license: str = ""
    artist: str = ""
    source: str = ""
    subject: str = ""
    drawings: tuple[Drawing, ...] = ()
    warnings: tuple[str, ...] = ()
    frames: tuple[Drawing, ...] = ()


@dataclass(frozen=True)
class Found:
    """assets: in the order of their paths; rejected: {file, reason}; warnings: for a person."""

    root: Path
    assets: tuple[Asset, ...]
    rejected: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def find_assets(src: Path, *, turntables: bool = False) -> Found:
    """Every model file of a folder, or of a manifest (.csv, .jsonl) beside its files; or pictures without models.

    turntables: numbered pictures are frames of a full turn. Raises InputError where ``src`` is neither, its metadata
    cannot be read, or a folder of turntables holds models too.
    """
    if src.is_dir():
        metadata = next((src / n for n in ("metadata.csv", "metadata.jsonl") if (src / n).is_file()), None)
        found = _scan(src, metadata, turntables)
    elif src.is_file() and src.suffix.lower() in (".csv", ".jsonl"):
        found = _listed(src.parent, src, {}, exhaustive=False)
    else:
        what = "there is nothing" if not src.exists() else f"found a {src.suffix or 'plain'} file"
        raise InputError(f"{src}: expected a folder of models or a manifest (.csv, .jsonl); {what}")
    return found


def _scan(root: Path, metadata: Path | None, turntables: bool) -> Found:
    models: dict[str, str | None] = {}  # file -> why it cannot be used
    for path in walk(root):
        file = path.relative_to(root).as_posix()
        suffix = path.suffix.lower()
        if suffix not in READABLE and suffix not in UNREADABLE:
            continue
        if path.name.startswith("."):
            models[file] = "a hidden file (macOS writes such beside the true ones)"
        elif path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            models[file] = "a link that leads out of the folder"
        else:
            models[file] = UNREADABLE.get(suffix)
    if metadata is not None:
        found = _listed(root, metadata, models, exhaustive=True)
    elif not models:
        return Found(root, tuple(_without_models(root, turntables)))
    elif turntables:
        raise InputError(
            f"{root} holds models, such as {min(models)}: name the folders of turntables in metadata.csv as files"
        )
    else:
        rejected = [{"file": f, "reason": r} for f, r in sorted(models.items()) if r]
        found = Found(root, tuple(Asset(f) for f, r in sorted(models.items()) if r is None), rejected)
    pictures = _pictures(root, {asset.file for asset in found.assets})
    assets = [
        asset
        if asset.drawings or asset.frames
        else replace(asset, drawings=tuple(pictures.get(asset.file, ())))
        for asset in found.assets
    ]
    return replace(found, assets=tuple(assets))


def walk(root: Path) -> Iterator[Path]:
    """Files below a folder, hidden folders and links to folders left out, in the order of their paths."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        for file in sorted(files):
            yield Path(folder, file)


def _listed(root: Path, metadata: Path, models: dict[str, str | None], *, exhaustive: bool) -> Found:
    """What a metadata file names; ``models`` it does not name are rejected where it is exhaustive."""
    rows, warnings = _read_metadata(metadata)
    assets: dict[str, Asset] = {}
    rejected: dict[str, str] = {}
    for fields in rows:
        file = Path(os.path.normpath(fields["file"].replace("\\", "/"))).as_posix()
        path = root / file
        reason = models.get(file)
        if file.startswith(("/", "../")) or not path.resolve().is_relative_to(root.resolve()):
            reason = "it lies outside the folder"
        elif path.is_dir():
            reason = None if len(frames_in(root, path)) > 1 else "a folder with no frames of a turntable"
        elif not path.is_file():
            reason = f"listed in {metadata.name}, but there is no such file"
        elif path.suffix.lower() not in (*READABLE, *PICTURES):
            reason = UNREADABLE.get(path.suffix.lower(), "no model format that is read: export it as GLB")
        asset = _asset(file, fields, root)
        if reason:
            rejected[file] = reason
        elif file in assets:
            both = (*assets[file].drawings, *asset.drawings)
            assets[file] = replace(assets[file], drawings=tuple(dict.fromkeys(both)))
            warnings.append(f"{file} is listed twice in {metadata.name}: its drawings were joined")
        else:
            assets[file] = asset
    for file, reason in models.items() if exhaustive else ():
        if file not in assets and file not in rejected:
            rejected[file] = reason or f"not listed in {metadata.name}"
    lines = [{"file": f, "reason": r} for f, r in sorted(rejected.items())]
    return Found(root, tuple(assets[f] for f in sorted(assets)), lines, warnings)


def _read_metadata(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """The rows of a metadata file with known column names, values stripped; and warnings."""
    if path.stat().st_size > _MAX_METADATA:
        raise InputError(f"{path} has more than {_MAX_METADATA // 2**20} MiB: is it a table of models?")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as UTF-8"
        ) from error
    raw = _json_lines(path, text) if path.suffix.lower() == ".jsonl" else _csv_lines(text)
    if not raw:
        raise InputError(f"{path} lists no model: expected the columns {', '.join(COLUMNS)} and a row a file")
    rows = [{_column(key): _text(value) for key, value in row.items() if key} for row in raw]
    names = list(dict.fromkeys(key for row in rows for key in row))
    if "file" not in names:
        raise InputError(f"{path} has no column 'file': found {', '.join(names[:8])}")
    unknown = [name for name in names if name not in COLUMNS]
    warnings = [f"{path.name}: columns not used: {', '.join(unknown)}"] if unknown else []
    return [row for row in rows if row.get("file")], warnings


def _csv_lines(text: str) -> list[dict[Any, Any]]:
    head = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=head.count)
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


def _json_lines(path: Path, text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}, line {number} is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: expected an object, found {type(row).__name__}")
        rows.append(row)
    return rows


def _column(name: str) -> str:
    plain = name.strip().lower()
    return _SYNONYMS.get(plain, plain)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(_text(v) for v in value)
    return "" if value is None else " ".join(str(value).split())


def _asset(file: str, fields: dict[str, str], root: Path) -> Asset:
    drawings, warnings = [], []
    for entry in filter(None, (part.strip() for part in fields.get("drawing", "").split(";"))):
        try:
            drawings.append(_drawing(entry, root))
        except InputError as error:
            warnings.append(str(error))
    stated = {k: fields.get(k, "") for k in ("caption", "license", "artist", "source", "subject")}
    if Path(file).suffix.lower() in PICTURES:
        drawings = [*drawings, _placed(root, root / file)]
    frames = frames_in(root, root / file) if (root / file).is_dir() else ()
    return Asset(
        file, drawings=tuple(dict.fromkeys(drawings)), warnings=tuple(warnings), frames=frames, **stated
    )


def _drawing(entry: str, root: Path) -> Drawing:
    """``file`` or ``file@AZ`` or ``file@AZ,EL``. Raises InputError for a file that is not there."""
    place = None if (root / entry).is_file() else _PLACE.fullmatch(entry)
    file = Path(os.path.normpath((place["file"] if place else entry).replace("\\", "/"))).as_posix()
    path = root / file
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"drawing {file} lies outside the folder")
    if not path.is_file():
        raise InputError(f"drawing {file} is not there")
    if place is None:
        return Drawing(file)
    elevation = float(place["el"]) if place["el"] else None
    if elevation is not None and abs(elevation) > 90:
        raise InputError(f"drawing {entry}: an elevation is between -90 and 90 degrees")
    return Drawing(file, float(place["az"]), elevation)


def _placed(root: Path, path: Path, azimuth_deg: float | None = None) -> Drawing:
    """A picture with the angles that its name states, or else this azimuth."""
    place = _PLACE.fullmatch(path.stem)
    high = float(place["el"]) if place and place["el"] else None
    return Drawing(path.relative_to(root).as_posix(), float(place["az"]) if place else azimuth_deg, high)


def _without_models(root: Path, turntables: bool) -> list[Asset]:
    """The pictures of a folder without models: what is named alike but for its angle is one turntable.

    turntables: or but for the number at its end.
    """
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in walk(root):
        if path.suffix.lower() in PICTURES and not path.is_symlink() and not path.name.startswith("."):
            place, numbered = _PLACE.fullmatch(path.stem), _NUMBERED.fullmatch(path.stem)
            stem = place["file"] if place else numbered["stem"] if turntables and numbered else path.name
            groups.setdefault((path.parent, stem), []).append(path)
    assets = []
    for (folder, stem), paths in groups.items():
        if len(paths) > 1:
            frames = _turn(root, paths)
            # 000.png, 001.png, …: what it is, only their folder says.
            file = frames[0].file if stem else folder.relative_to(root).as_posix()
            assets.append(Asset(file, frames=frames))
        else:
            drawing = _placed(root, paths[0])
            assets.append(Asset(drawing.file, drawings=(drawing,)))
    return sorted(assets, key=lambda asset: asset.file)


def frames_in(root: Path, folder: Path) -> tuple[Drawing, ...]:
    """The pictures of one folder as the frames of a turntable; see `_turn`."""
    return _turn(root, [p for p in sorted(folder.iterdir()) if p.suffix.lower() in PICTURES and p.is_file()])


def _turn(root: Path, paths: list[Path]) -> tuple[Drawing, ...]:
    """Frames in the order of their numbers; n that state no angle are a full turn, 360° / n apart."""

    def number(path: Path) -> tuple[int, str]:
        found = _NUMBERED.fullmatch(path.stem)
        return (int(found["index"]) if found else -1), path.name

    ordered = sorted(paths, key=number)
    return tuple(_placed(root, path, 360.0 * i / len(ordered)) for i, path in enumerate(ordered))


def _pictures(root: Path, models: set[str]) -> dict[str, list[Drawing]]:
    """Pictures that bear a model's name, in its folder, a folder in it, or one beside it.

    Textures that a material file names are none; nor are pictures beside another model of that name.
    """
    by_stem: dict[str, list[tuple[Path, Drawing]]] = {}
    for path in walk(root):
        if path.suffix.lower() in PICTURES and not path.is_symlink() and not path.name.startswith("."):
            place = _PLACE.fullmatch(path.stem)
            drawing = replace(_placed(root, path), by_name=True)
            by_stem.setdefault((place["file"] if place else path.stem).lower(), []).append(
                (path.parent, drawing)
            )
    homes = {(str((root / m).parent), Path(m).stem.lower()) for m in models}
    named: dict[Path, set[str]] = {}
    result: dict[str, list[Drawing]] = {}
    for model in sorted(models):
        home, stem = (root / model).parent, Path(model).stem.lower()
        for folder, drawing in by_stem.get(stem, []):
            near = folder == home or folder.parent == home or (home != root and folder.parent == home.parent)
            if not near or (folder != home and (str(folder), stem) in homes):
                continue
            if folder not in named:
                named[folder] = _texture_names(folder)
            if Path(drawing.file).name.lower() not in named[folder]:
                result.setdefault(model, []).append(drawing)
    return result


def _texture_names(folder: Path) -> set[str]:
    """Pictures that the .mtl and .gltf files of a folder speak of, lower case."""
    names: set[str] = set()
    for path in folder.iterdir():
        if path.suffix.lower() in (".mtl", ".gltf") and path.is_file():
            with path.open("rb") as file:
                text = file.read(2**20).decode("utf-8", errors="replace")
            names.update(
                n.lower() for n in re.findall(r"[^\s\"/\\]+\.(?:png|jpe?g|webp)", text, re.IGNORECASE)
            )
    return names
