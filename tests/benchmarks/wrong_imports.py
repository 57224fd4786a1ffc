"""What `prep` says of models that load but are wrong, and what it costs to ask.

    python tests/benchmarks/wrong_imports.py [--art ../shared/art] [--every 1]

Every model of the packs with drawings, true, mirrored and fallen each way, with one drawing and with all; every model
of all packs true and inside out. Then the CPU time of preparing every model of 256 px with the checks and without,
alternating.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from lora3d.data_prep import asset
from lora3d.data_prep.asset import Task, cropped, prepare
from lora3d.data_prep.doubts import WAYS_UP, doubt_faces, doubt_frame, doubt_model
from lora3d.data_prep.match import fit_view, make_gallery
from lora3d.data_prep.shapes import look_of
from lora3d.data_prep.sheets import show_sheets
from lora3d.data_prep.sources import Asset, find_assets
from lora3d.drawing import read_drawing
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.mesh import Mesh, load_mesh, normalise

GRID = PRESETS["box6"].with_tile(256)
CHECKS = ("doubt_faces", "doubt_model", "doubt_frame", "view_faults")


def inside_out(mesh: Mesh) -> Mesh:
    corners = {
        name: None if (values := getattr(mesh, name)) is None else np.ascontiguousarray(values[:, ::-1])
        for name in ("corner_uv", "corner_color", "corner_normal")
    }
    return replace(mesh, faces=np.ascontiguousarray(mesh.faces[:, ::-1]), **corners)


def moved(mesh: Mesh, matrix: np.ndarray) -> Mesh:
    normal = mesh.corner_normal
    return replace(
        mesh,
        vertices=(mesh.vertices @ matrix).astype(np.float32),
        corner_normal=None if normal is None else (normal @ matrix).astype(np.float32),
    )


def count_doubts(src: Path, model: Asset, mesh: Mesh, said: Counter[tuple[str, str, str]]) -> None:
    """Adds what is said of one model, each way, to (drawings, what it is, warning) → how often."""
    for what, faced in (("true", mesh), ("inside out", inside_out(mesh))):
        shown = show_sheets(faced)
        said["none", what, doubt_faces(shown, look_of(shown))[:24]] += 1
    whole = [read_drawing(src / drawing.file) for drawing in model.drawings]
    if not whole:
        return
    for picture in whole:
        said["one", "its frame", doubt_frame(picture)] += 1
    mesh = show_sheets(mesh)
    ways = {"true": mesh, "mirrored": inside_out(moved(mesh, np.diag([-1.0, 1, 1])))}
    ways |= {way: moved(mesh, np.array(matrix, float)) for way, matrix in WAYS_UP.items()}
    for way, wrong in ways.items():
        gallery = make_gallery(wrong)
        seen = [(rgba, fit_view(gallery, rgba)) for rgba in map(cropped, whole)]
        said["all", way, doubt_model(gallery, seen)[:24]] += 1
        for one in seen if way == "true" else seen[:1]:
            said["one", way, doubt_model(gallery, [one])[:24]] += 1


def measure_cost(src: Path, models: list[Asset]) -> tuple[float, float]:
    """CPU seconds of preparing the models with the checks, and without."""
    checks = {name: getattr(asset, name) for name in CHECKS}
    spent = [0.0, 0.0]
    with tempfile.TemporaryDirectory() as folder:
        for i, model in enumerate([models[0], *models]):
            for without in (i % 2, 1 - i % 2):
                for name, check in checks.items():
                    setattr(asset, name, (lambda *_: "") if without else check)
                start = time.process_time()
                try:
                    prepare(Task(src, model, GRID, 0, Path(folder) / "part.parquet"))
                except InputError:
                    continue
                spent[without] += (i > 0) * (time.process_time() - start)
    for name, check in checks.items():
        setattr(asset, name, check)
    return spent[0], spent[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--art", type=Path, default=Path("../shared/art"))
    parser.add_argument("--every", type=int, default=1, help="of so many models one")
    args = parser.parse_args()
    said: Counter[tuple[str, str, str]] = Counter()
    total = np.zeros(2)
    for pack in [p for p in sorted(args.art.iterdir()) if p.is_dir() and any(p.rglob("*.gl*"))]:
        models = list(find_assets(pack).assets)[:: args.every]
        for model in models:
            try:
                mesh = normalise(load_mesh(pack / model.file, root=pack))
            except InputError:
                continue
            count_doubts(pack, model, mesh, said)
        spent = measure_cost(pack, models)
        total += spent
        print(f"{pack.name:20} CPU {spent[0]:.1f} s with the checks, {spent[1]:.1f} s without", flush=True)
    print(f"all: {total[0]:.1f} s, {total[1]:.1f} s, {total[0] / total[1] - 1:+.1%}")
    for (drawings, what, warning), count in sorted(said.items()):
        print(f"{drawings:5} drawings, {what:24} {count:4} × {warning or '-'}")


if __name__ == "__main__":
    main()
