"""What is in an artist's folder: model files, what metadata.csv says of them, and their drawings.

Pictures without a model are assets where metadata.csv lists them, or where a folder holds no model at all: see
`lora3d.data_prep.pictures` and `lora3d.data_prep.turntables`.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from lora3d.data_prep.metadata import read_metadata
from lora3d.drawing import PLACE
from lora3d.errors import InputError
from lora3d.mtl import text_of

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
_NUMBERED = re.compile(r"(?P<stem>.*?)[-_. ]*(?P<index>\d+)")


# Where material files name pictures, and how many bytes of each are read.
_NAMED_IN = {
    ".mtl": (
        r"^[ \t]*(?:map_\w+|bump|disp|decal|refl|norm)[ \t]+"
        r"(?:-(?:mm|o|s|t)(?:[ \t]+[-+.\d]+)+[ \t]+|-\w+[ \t]+\S+[ \t]+)*(.+)$",
        2**23,
    ),
    ".gltf": (r'"uri"\s*:\s*("(?!data:)(?:[^"\\]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*")', 2**23),
    ".ply": (r"^comment TextureFile[ \t]+(.+)$", 2**16),
}


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


@dataclass(frozen=True, slots=True)
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
        files = sorted(src.iterdir(), key=lambda p: (p.name != p.name.lower(), p.name))
        tables = [p for n in ("metadata.csv", "metadata.jsonl") for p in files if p.name.lower() == n]
        metadata = next((p for p in tables if p.is_file()), None)
        found = _scan(src, metadata, turntables)
    elif src.is_file() and src.suffix.lower() in (".csv", ".jsonl"):
        found = _listed(src.parent, src, {}, exhaustive=False)
    else:
        what = "there is nothing" if not src.exists() else f"found a {src.suffix or 'plain'} file"
        raise InputError(
            f"{src}: expected a folder of models, a manifest (.csv, .jsonl), a Parquet file, owner/name "
            f"of a dataset of the Hub, or procedural:N; {what}"
        )
    return found


def _scan(root: Path, metadata: Path | None, turntables: bool) -> Found:
    models: dict[str, str | None] = {}  # file -> why it cannot be used
    unnamed = []
    for path in walk(root):
        file, suffix = path.relative_to(root).as_posix(), path.suffix.lower()
        if _shown(file) != file:
            unnamed.append({"file": _shown(file), "reason": "its name is not UTF-8: rename it"})
        elif suffix in READABLE or suffix in UNREADABLE:
            models[file] = _refused(root, path)
    if metadata is not None:
        found = _listed(root, metadata, models, exhaustive=True)
    elif not models:
        return Found(root, tuple(_without_models(root, turntables)), unnamed)
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
    return replace(found, assets=tuple(assets), rejected=[*found.rejected, *unnamed])


def _refused(root: Path, path: Path) -> str | None:
    """Why a file that is called like a model cannot be used, None if it can."""
    if path.name.startswith("."):
        return "a hidden file (macOS writes such beside the true ones)"
    if not path.is_file():
        return "no regular file (a pipe, or a link to nothing)"
    if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
        return "a link that leads out of the folder"
    return UNREADABLE.get(path.suffix.lower())


def _shown(file: str) -> str:
    """A name as it can be written: bytes that are not UTF-8 as \\xNN."""
    return os.fsencode(file).decode("utf-8", "backslashreplace")


def _plain(name: str) -> str:
    """A name for comparing: whatever its case, and é as one character or as two (NFD, as macOS writes)."""
    return unicodedata.normalize("NFC", name).lower()


def walk(root: Path) -> Iterator[Path]:
    """Files below a folder, hidden folders and links to folders left out, in the order of their paths."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__MACOSX")
        for file in sorted(files):
            yield Path(folder, file)


def _listed(root: Path, metadata: Path, models: dict[str, str | None], *, exhaustive: bool) -> Found:
    """What a metadata file names; ``models`` it does not name are rejected where it is exhaustive."""
    rows, warnings = read_metadata(metadata)
    spelled = _spellings(root)
    assets: dict[str, Asset] = {}
    rejected: dict[str, str] = {}
    for fields in rows:
        try:
            file = _inside(root, fields["file"], spelled)
        except InputError as error:
            rejected[fields["file"][:300]] = f"it {error}"
            continue
        path = root / file
        reason = models.get(file)
        if path.is_dir():
            reason = None if len(frames_in(root, path)) > 1 else "a folder with no frames of a turntable"
        elif not path.is_file():
            reason = reason or f"listed in {metadata.name}, but there is no such file"
        elif path.suffix.lower() not in (*READABLE, *PICTURES):
            reason = UNREADABLE.get(path.suffix.lower(), "no model format that is read: export it as GLB")
        asset = _asset(file, fields, root, spelled)
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


def _spellings(root: Path) -> dict[str, str]:
    """Files and folders that are called otherwise in a table: the names on disk by their composed form (NFC)."""
    names = {p.relative_to(root).as_posix() for path in walk(root) for p in (path, path.parent)}
    return {unicodedata.normalize("NFC", n): n for n in sorted(names) if not n.isascii() and _shown(n) == n}


def _inside(root: Path, name: str, spelled: dict[str, str]) -> str:
    """The path inside ``root`` that a table means; it need not exist. Raises InputError for one that is none."""
    file = Path(os.path.normpath(name.replace("\\", "/"))).as_posix()
    try:
        if not (root / file).exists():
            file = spelled.get(unicodedata.normalize("NFC", file), file)
        inside = (root / file).resolve().is_relative_to(root.resolve())
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a link to itself
        raise InputError("is no name of a file") from error
    if file.startswith(("/", "../")) or not inside:
        raise InputError("lies outside the folder")
    return file


def _asset(file: str, fields: dict[str, str], root: Path, spelled: dict[str, str]) -> Asset:
    drawings, warnings = [], []
    for entry in filter(None, (part.strip() for part in fields.get("drawing", "").split(";"))):
        try:
            drawings.append(_drawing(entry, root, spelled))
        except InputError as error:
            warnings.append(f"drawing {entry[:80]} {error}")
    stated = {k: fields.get(k, "") for k in ("caption", "license", "artist", "source", "subject")}
    if Path(file).suffix.lower() in PICTURES:
        drawings = [*drawings, _placed(root, root / file)]
    frames = frames_in(root, root / file) if (root / file).is_dir() else ()
    return Asset(
        file, drawings=tuple(dict.fromkeys(drawings)), warnings=tuple(warnings), frames=frames, **stated
    )


def _drawing(entry: str, root: Path, spelled: dict[str, str]) -> Drawing:
    """``file`` or ``file@AZ`` or ``file@AZ,EL``. Raises InputError, for a file that is not there too."""
    file, place = _inside(root, entry, spelled), None
    if not (root / file).is_file() and (place := PLACE.fullmatch(entry)):
        file = _inside(root, place["file"], spelled)
    if not (root / file).is_file():
        raise InputError("is not there")
    if place is None:
        return Drawing(file)
    elevation = float(place["el"]) if place["el"] else None
    if elevation is not None and abs(elevation) > 90:
        raise InputError("has an elevation that is not between -90 and 90 degrees")
    return Drawing(file, float(place["az"]), elevation)


def _placed(root: Path, path: Path, azimuth_deg: float | None = None) -> Drawing:
    """A picture with the angles that its name states, or else this azimuth."""
    place = PLACE.fullmatch(path.stem)
    high = float(place["el"]) if place and place["el"] else None
    return Drawing(path.relative_to(root).as_posix(), float(place["az"]) if place else azimuth_deg, high)


def _without_models(root: Path, turntables: bool) -> list[Asset]:
    """The pictures of a folder without models: what is named alike but for its angle is one turntable.

    turntables: or but for the number at its end.
    """
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in walk(root):
        if _is_picture(root, path):
            place, numbered = PLACE.fullmatch(path.stem), _NUMBERED.fullmatch(path.stem)
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
    return _turn(root, [path for path in sorted(folder.iterdir()) if _is_picture(root, path)])


def _is_picture(root: Path, path: Path) -> bool:
    """No hidden file, no link (it may lead out of the folder), and a name that can be written."""
    if path.suffix.lower() not in PICTURES or path.name.startswith(".") or path.is_symlink():
        return False
    file = path.relative_to(root).as_posix()
    return path.is_file() and _shown(file) == file


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
        if _is_picture(root, path):
            place = PLACE.fullmatch(path.stem)
            drawing = replace(_placed(root, path), by_name=True)
            by_stem.setdefault(_plain(place["file"] if place else path.stem), []).append((path, drawing))
    homes = {((root / m).parent, _plain(Path(m).stem)) for m in models}
    named: dict[Path, set[Path | str]] = {}
    result: dict[str, list[Drawing]] = {}
    for model in sorted(models):
        home, stem = (root / model).parent, _plain(Path(model).stem)
        for path, drawing in by_stem.get(stem, []):
            folder = path.parent
            near = folder == home or folder.parent == home or (home != root and folder.parent == home.parent)
            if not near or (folder != home and (folder, stem) in homes):
                continue
            textures: set[Path | str] = set()
            for place_of in (home, folder):
                if place_of not in named:
                    named[place_of] = _textures(place_of)
                textures |= named[place_of]
            if not textures & {Path(os.path.normpath(path)), _plain(path.name)}:
                result.setdefault(model, []).append(drawing)
    return result


def _textures(folder: Path) -> set[Path | str]:
    """What the material files of a folder name: paths of what is there, bare names of what is not."""
    found: set[Path | str] = set()
    for path in folder.iterdir():
        suffix = path.suffix.lower()
        if suffix not in _NAMED_IN or not path.is_file():
            continue
        pattern, most = _NAMED_IN[suffix]
        with path.open("rb") as file:
            text = text_of(file.read(most).partition(b"end_header")[0])
        for name in re.findall(pattern, text, re.MULTILINE):
            name = unquote(json.loads(name, strict=False)) if suffix == ".gltf" else name.strip().strip('"')
            name = name.replace("\\", "/")
            target = os.path.normpath(folder / name)
            found.add(Path(target) if os.path.isfile(target) else _plain(name.rpartition("/")[2]))
    return found
