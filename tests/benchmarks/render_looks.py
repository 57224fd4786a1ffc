"""The picture of docs/renderer.md: paint and metal from polished to rough, and models with and without occlusion.

python tests/benchmarks/render_looks.py --out docs/renderer.png
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from lora3d.camera import Array, orbit
from lora3d.data_prep.procedural import make_shape
from lora3d.mesh import Material, Mesh
from lora3d.render import render

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.toy_scenes import sphere

SIZE = 160
ROUGHNESS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
LOOKS = ((0.0, (0.5, 0.06, 0.05, 1.0)), (1.0, (0.9, 0.6, 0.2, 1.0)), (1.0, (0.9, 0.9, 0.9, 1.0)))


def picture(mesh: Mesh, occlusion: bool = False) -> Array:
    camera = orbit(30, 22, 1.5, ortho_scale=1.04)
    rgba = render(mesh, [camera], SIZE, shading="studio", samples=3, occlusion=occlusion).rgba[0]
    return rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/renderer.png"))
    parser.add_argument("--shapes", type=int, nargs="+", default=[33, 3, 15])
    args = parser.parse_args()
    ball = sphere(0.45, rings=64)
    rows = []
    for metallic, color in LOOKS:
        materials = [Material(base_color=color, metallic=metallic, roughness=r) for r in ROUGHNESS]
        rows.append([picture(replace(ball, materials=(material,))) for material in materials])
    shapes = [make_shape(seed, "named").mesh for seed in args.shapes]
    rows.append([picture(mesh, occlusion) for mesh in shapes for occlusion in (False, True)])
    whole = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    Image.fromarray((whole * 255).round().astype(np.uint8)).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
