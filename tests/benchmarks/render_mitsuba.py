"""Our depth, normals and coverage against Mitsuba's rays, on 20 models of the shared art.

    python tests/benchmarks/render_mitsuba.py [--art ../shared/art] [--peers DIR] [--json FILE]

Same triangles, same rays through the pixels' centres (and 8 × 8 a pixel for coverage), every surface opaque and
two-sided in both. Depth agrees within 1e-4 of the object's diameter of 1, normals within 0.1 degrees or as opposite
sides of one surface; where a smooth normal of the file looks away from the viewer ours is bent into view and not
compared (counted). Exit code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from lora3d.camera import Array, Camera, orbit, rays
from lora3d.mesh import Mesh, load_mesh, normalise
from lora3d.render import render

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.benchmarks import peers

PACKS = ("kenney_furniture", "kenney_platformer", "quaternius_interior", "quaternius_space")
SIZE, FINE = 128, 8
DEPTH, DEGREES = 1e-4, 0.1
CAMERAS = (orbit(30, 20, 1.866, fov_deg=30), orbit(205, -15, 1.5, ortho_scale=1.04))


def models(art: Path, count: int) -> list[Path]:
    found = []
    for pack in PACKS:
        files = sorted((art / pack).rglob("*.glb"))
        share = count // len(PACKS)
        found += files[:: max(1, len(files) // share)][:share]
    return found


def as_plain(mesh: Mesh) -> Mesh:
    plain = tuple(replace(m, alpha_mode="OPAQUE", double_sided=True) for m in mesh.materials)
    return replace(mesh, materials=plain)


def trace(worker, mesh: Mesh, camera: Camera, size: int, folder: Path) -> dict[str, Array]:
    origins, directions = (a.reshape(-1, 3) for a in rays(camera, size))
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    smooth = mesh.corner_normal is not None
    path = folder / "ask.npz"
    np.savez(
        path,
        vertices=mesh.vertices[mesh.faces].reshape(-1, 3) if smooth else mesh.vertices,
        faces=np.arange(3 * len(mesh.faces)).reshape(-1, 3) if smooth else mesh.faces,
        normals=mesh.corner_normal.reshape(-1, 3) if smooth else np.zeros((0, 3)),
        origins=origins.astype(np.float32),
        directions=(directions / length).astype(np.float32),
    )
    peers.ask(worker, str(path))
    with np.load(folder / "ask.out.npz") as answer:
        found = {name: answer[name] for name in answer.files}
    return {
        "depth": (found["distance"] / length[:, 0]).reshape(size, size),
        "normal": found["shading" if smooth else "geometric"].reshape(size, size, 3),
        "geometric": found["geometric"].reshape(size, size, 3),
        "directions": directions.reshape(size, size, 3),
    }


def compare(worker, mesh: Mesh, camera: Camera, folder: Path) -> dict[str, float]:
    ours = render(mesh, [camera], SIZE, samples=FINE)
    theirs = trace(worker, mesh, camera, SIZE, folder)
    fine = trace(worker, mesh, camera, SIZE * FINE, folder)
    both = np.isfinite(ours.depth[0]) & np.isfinite(theirs["depth"])
    apart = np.abs(ours.depth[0][both] - theirs["depth"][both])
    n, g, d = (theirs[k][both] for k in ("normal", "geometric", "directions"))
    away = np.einsum("ij,ij->i", n, d) * np.einsum("ij,ij->i", g, d) < 0
    cosine = np.abs(np.einsum("ij,ij->i", ours.normal[0][both], n))
    sine = np.linalg.norm(np.cross(ours.normal[0][both], n), axis=1)
    degrees = np.degrees(np.arctan2(sine, cosine))
    alpha = np.isfinite(fine["depth"]).reshape(SIZE, FINE, SIZE, FINE).mean(axis=(1, 3))
    mine = ours.rgba[0, ..., 3]
    return {
        "pixels": int(both.sum()),
        "depth_off": int((apart > DEPTH).sum()),
        "normal_off": int(((degrees > DEGREES) & ~away).sum()),
        "bent": int(away.sum()),
        "median_depth": float(np.median(apart)),
        "median_degrees": float(np.median(degrees)),
        "iou": float(np.minimum(mine, alpha).sum() / np.maximum(mine, alpha).sum()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--art", type=Path, default=Path("../shared/art"))
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "lora3d" / "peers")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    worker = peers.start("mitsuba", args.peers)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in models(args.art, args.count):
            mesh = as_plain(normalise(load_mesh(path, root=args.art)))
            for camera, name in zip(CAMERAS, ("perspective", "orthographic"), strict=True):
                key = f"{path.stem} {name}"
                results[key] = compare(worker, mesh, camera, Path(folder))
                print(key, json.dumps(results[key]), flush=True)
    pixels = sum(r["pixels"] for r in results.values())
    summary = {
        "pixels": pixels,
        "depth_within": 1 - sum(r["depth_off"] for r in results.values()) / pixels,
        "normals_within": 1 - sum(r["normal_off"] for r in results.values()) / pixels,
        "bent": sum(r["bent"] for r in results.values()) / pixels,
        "least_depth_within": min(1 - r["depth_off"] / r["pixels"] for r in results.values()),
        "least_normals_within": min(1 - r["normal_off"] / r["pixels"] for r in results.values()),
        "least_alpha_iou": min(r["iou"] for r in results.values()),
        "median_depth": float(np.median([r["median_depth"] for r in results.values()])),
        "median_degrees": float(np.median([r["median_degrees"] for r in results.values()])),
    }
    print(json.dumps(summary, indent=1))
    if args.json:
        args.json.write_text(json.dumps({"summary": summary, "models": results}, indent=1))
    reached = min(summary["depth_within"], summary["normals_within"]) >= 0.999
    return 0 if reached and summary["least_alpha_iou"] >= 0.995 else 1


if __name__ == "__main__":
    sys.exit(main())
