"""Views per second of ours, pyrender and Blender Cycles: same models, cameras and buffers, side by side.

    python tests/benchmarks/render_peers.py [--art ../shared/art] [--peers DIR] [--cores 1] [--json FILE]

RGBA, depth and normals (ours: positions too) of four views a round, rounds interleaved, medians. S: 1,000 triangles
with a texture of 1024² (fuze.obj); M: the same divided into 64,000; X: a tank of 9 materials, 6,064 triangles. Cut
out: the same with alphaMode MASK and holes in the texture, or in the vertex colours. pyrender runs on EGL with
Mesa's llvmpipe, normals as a second pass; ``unlit`` is its FLAT flag, ``studio`` one lamp. Cycles takes 4 samples.
All are held to the same cores; with several, ours renders one view a thread.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from lora3d.camera import Array, orbit
from lora3d.device import measure_gflops
from lora3d.mesh import Mesh, glb_bytes, load_mesh, normalise, tidy
from lora3d.render import render

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.benchmarks import peers

CAMERAS = [orbit(azimuth, 20, 1.866, fov_deg=30) for azimuth in (30, 120, 210, 300)]


def divided(mesh: Mesh) -> Mesh:
    """Each triangle cut into four at the middles of its edges."""

    def cut(corners: Array) -> Array:
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        parts = [np.stack(part, 1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        return np.stack(parts, 1).reshape(-1, 3, corners.shape[-1]).astype(np.float32)

    assert mesh.corner_normal is not None and mesh.corner_uv is not None
    normal = cut(mesh.corner_normal)
    points = cut(mesh.vertices[mesh.faces])
    return tidy(
        replace(
            mesh,
            vertices=points.reshape(-1, 3),
            faces=np.arange(3 * len(points), dtype=np.int32).reshape(-1, 3),
            face_material=np.repeat(mesh.face_material, 4),
            corner_uv=cut(mesh.corner_uv),
            corner_normal=normal / np.linalg.norm(normal, axis=-1, keepdims=True),
        )
    )


def cut_out(mesh: Mesh) -> Mesh:
    """The same with holes: every other square of the textures, or half of the vertices, is transparent."""

    def holed(texture: Array | None) -> Array | None:
        if texture is None:
            return None
        y, x = np.indices(texture.shape[:2]) * 16 // max(texture.shape[:2])
        pierced = texture.copy()
        pierced[..., 3] = np.where((x + y) % 2, 255, 0)
        return pierced

    masks = tuple(replace(m, alpha_mode="MASK", texture=holed(m.texture)) for m in mesh.materials)
    if any(m.texture is not None for m in mesh.materials):
        return replace(mesh, materials=masks)
    ones = np.ones((len(mesh.faces), 3, 4), np.float32)
    color = ones if mesh.corner_color is None else mesh.corner_color.copy()
    color[..., 3] = mesh.faces % 2
    return replace(mesh, materials=masks, corner_color=color)


def assets(art: Path) -> dict[str, Mesh]:
    small = normalise(load_mesh(art / "awkward/19_fuze/fuze.obj", root=art))
    tank = normalise(load_mesh(art / "awkward/05_Tank/Tank.glb", root=art))
    plain = {"S": small, "M": divided(divided(divided(small))), "X": tank}
    return {**plain, **{f"{name} cut out": cut_out(mesh) for name, mesh in plain.items()}}


def time_ours(mesh: Mesh, size: int, shading: str, pool: ThreadPoolExecutor | None) -> float:
    start = time.perf_counter()
    if pool is None:
        render(mesh, CAMERAS, size, shading=shading)  # type: ignore[arg-type]
    else:
        list(pool.map(lambda camera: render(mesh, [camera], size, shading=shading), CAMERAS))  # type: ignore[arg-type]
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--art", type=Path, default=Path("../shared/art"))
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "lora3d" / "peers")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--shading", nargs="+", default=["unlit", "studio"])
    parser.add_argument("--only", nargs="+", help="assets, e.g. S M")
    parser.add_argument("--with", dest="rivals", nargs="+", default=["pyrender", "bpy"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    pool = ThreadPoolExecutor(args.cores) if args.cores > 1 else None
    print(f"cores {args.cores}, {measure_gflops():.0f} GFLOP/s fp32", flush=True)
    rivals = {name: peers.start(name, args.peers) for name in args.rivals}
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, mesh in assets(args.art).items():
            if args.only and name not in args.only:
                continue
            glb = Path(folder) / f"{name}.glb"
            glb.write_bytes(glb_bytes(mesh))
            for size in args.sizes:
                for shading in args.shading:
                    ask = {"glb": str(glb), "size": size, "shading": shading}
                    ask["cameras"] = [camera.to_dict() for camera in CAMERAS]
                    # Cycles always lights.
                    now = {k: v for k, v in rivals.items() if k != "bpy" or shading == "studio"}
                    times: dict[str, list[float]] = {"ours": [], **{rival: [] for rival in now}}
                    for _ in range(args.rounds + 1):
                        times["ours"].append(time_ours(mesh, size, shading, pool))
                        for rival, worker in now.items():
                            times[rival].append(json.loads(peers.ask(worker, json.dumps(ask)))["seconds"])
                    # The first round warms up.
                    rate = {who: len(CAMERAS) / statistics.median(t[1:]) for who, t in times.items()}
                    row = {"asset": name, "faces": len(mesh.faces), "size": size, "shading": shading}
                    results.append({**row, "views_per_second": rate})
                    ratios = ", ".join(f"{rate['ours'] / v:.2f}× {who} {v:.1f}" for who, v in rate.items())
                    print(f"{name:10} {size:4} {shading:7} {ratios}", flush=True)
    for worker in rivals.values():
        worker.terminate()
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
