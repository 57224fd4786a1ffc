"""The pictures of docs/drawings.md: every style of drawing, of shapes that this repository makes.

python tests/benchmarks/drawing_styles.py --out docs/drawings.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from lora3d.camera import orbit
from lora3d.data_prep.drawings import BLUEPRINT, STYLES, draw, draw_blueprint
from lora3d.data_prep.procedural import make_shape

SIZE = 160


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/drawings.png"))
    parser.add_argument("--shapes", type=int, nargs="+", default=[5, 12, 31, 44])
    args = parser.parse_args()
    camera = orbit(30, 22, 1.5, ortho_scale=1.04)
    rows = []
    for k, seed in enumerate(args.shapes):
        mesh = make_shape(seed, "named").mesh
        cells = [draw(mesh, camera, style, size=SIZE, seed=k) for style in STYLES]
        cells.append(draw_blueprint(mesh, size=SIZE, seed=k))
        rows.append(np.concatenate(cells, axis=1))
    picture = np.concatenate(rows)
    alpha = picture[..., 3:]
    rgb = picture[..., :3] * alpha + (1 - alpha)
    Image.fromarray((rgb * 255).round().astype(np.uint8)).save(args.out)
    print(", ".join((*STYLES, BLUEPRINT)))


if __name__ == "__main__":
    main()
