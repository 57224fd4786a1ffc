"""Hundreds of drawings to models, and what other programs find in the files.

    python tests/benchmarks/batch_models.py --out DIR [--count 200] [--peers DIR] [--adapter FILE]

Draws ``--count`` different drawings from the packs of ../shared/art, runs ``lora3d generate --batch`` on them and
takes the time, then asks of every GLB:

- the Khronos validator for errors and warnings;
- trimesh for the same triangles and volume, closed and wound alike when vertices are joined by position;
- the texture whether it is there and not blank, the solid whether it has crumbs;
- Blender (in its own environment) for the faces, one material with its picture, the size, and faces that cross.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import trimesh

from lora3d.device import measure_gflops
from lora3d.drawing import read_drawing
from lora3d.errors import InputError
from lora3d.lift.surface import LEAST_PART, is_closed
from lora3d.mesh import load_mesh

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.benchmarks import peers

ROOT = Path(__file__).resolve().parents[2]
VALIDATOR = "gltf-validator@2.0.0-dev.3.10"


def drawings(art: Path, count: int) -> list[Path]:
    """Different pictures that show an object, drawn with one seed from all packs."""
    files = sorted(f for f in art.rglob("*.png") if "awkward" not in f.parts and "textures" not in f.parts)
    chosen: list[Path] = []
    for i in np.random.default_rng(0).permutation(len(files)):
        try:
            read_drawing(files[i])
        except InputError:
            continue
        chosen.append(files[i])
        if len(chosen) == count:
            return chosen
    raise SystemExit(f"{art} has {len(chosen)} drawings, {count} are asked for")


def generate(files: list[Path], out: Path, adapter: Path | None) -> float:
    """Seconds of the whole command, loading included."""
    jobs = out / "jobs.csv"
    with jobs.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image", "name"])
        writer.writerows((file.resolve(), f"m{i:03d}") for i, file in enumerate(files))
    command = [sys.executable, "-m", "lora3d", "generate", "--batch", str(jobs), "--out", str(out / "models")]
    start = time.perf_counter()
    subprocess.run(command + (["--adapter", str(adapter)] if adapter else []), check=True)
    return time.perf_counter() - start


def validated(files: list[Path], home: Path) -> dict[str, dict]:
    """What the Khronos validator says of each file; it is installed into ``home`` first."""
    package = home / "node_modules" / "gltf-validator"
    if not package.is_dir():
        command = ["npm", "install", "--prefix", str(home), "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run([*command, VALIDATOR], check=True)
    found: dict[str, dict] = {}
    for i in range(0, len(files), 50):
        part = [str(file) for file in files[i : i + 50]]
        command = ["node", str(ROOT / "tests" / "gltf_validator.js"), str(package), *part]
        found |= json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def faults(file: Path) -> list[str]:
    """What is wrong with a file by our reader and by trimesh."""
    ours = load_mesh(file)
    points, index = np.unique(ours.vertices, axis=0, return_inverse=True)
    found = [] if is_closed(index.reshape(-1)[ours.faces]) else ["open"]
    texture = ours.materials[0].texture
    if texture is None or texture[..., :3].reshape(-1, 3).std(axis=0).max() < 1:
        found.append("blank texture")
    theirs = trimesh.load(file, force="mesh", process=False)
    theirs = trimesh.Trimesh(theirs.vertices, theirs.faces, process=False)
    theirs.merge_vertices(digits_vertex=7)
    if len(theirs.faces) != len(ours.faces):
        found.append("other faces in trimesh")
    if not (theirs.is_watertight and theirs.is_winding_consistent):
        found.append("not watertight in trimesh")
    solid = trimesh.Trimesh(points, index.reshape(-1)[ours.faces], process=False)
    if abs(abs(theirs.volume) - abs(solid.volume)) > 1e-4 * abs(solid.volume):
        found.append("other volume in trimesh")
    parts = [abs(part.volume) for part in solid.split(only_watertight=False)]
    if min(parts) < 0.5 * LEAST_PART * sum(parts):
        found.append("crumbs")
    return found


def blender_faults(files: list[Path], home: Path) -> Counter[str]:
    worker = peers.start("bpy", home)
    found: Counter[str] = Counter()
    for file in files:
        seen = json.loads(peers.ask(worker, json.dumps({"open": str(file.resolve())})))
        ours = load_mesh(file)
        found["other faces"] += seen["faces"] != len(ours.faces)
        found["no picture"] += (seen["materials"], seen["pictures"]) != (1, 1)
        found["self-intersecting"] += seen["crossings"] > 0
        found["faces that cross, in pairs"] += seen["crossings"]
        found["other size"] += not np.allclose(seen["sides"], np.ptp(ours.vertices, axis=0), atol=1e-4)
    worker.kill()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--art", type=Path, default=ROOT.parent / "shared" / "art")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--peers", type=Path, default=Path(tempfile.gettempdir()) / "lora3d-peers")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"{measure_gflops():.0f} fp32 GFLOP/s free on this host", flush=True)
    seconds = generate(drawings(args.art, args.count), args.out, args.adapter)
    files = sorted((args.out / "models").glob("*.glb"))
    print(
        f"{len(files)} of {args.count} made in {seconds:.0f} s, {seconds / args.count:.2f} s each", flush=True
    )
    issues = validated(files, args.peers / "validator")
    for kind in ("numErrors", "numWarnings"):
        print(f"validator: {kind} {sum(found[kind] for found in issues.values())}", flush=True)
    wrong = Counter(fault for file in files for fault in faults(file))
    print(f"our reader and trimesh: {dict(wrong) or 'nothing wrong'}", flush=True)
    print(f"Blender: {dict(+blender_faults(files, args.peers)) or 'nothing wrong'}", flush=True)


if __name__ == "__main__":
    main()
