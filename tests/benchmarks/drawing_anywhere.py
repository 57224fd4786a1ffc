"""Are viewpoints found that no lattice holds? Drawings of the shared art's models, from anywhere, through three lenses.

    python -m tests.benchmarks.drawing_anywhere [--art ../shared/art] [--seed 3]

Every second model of two packs is drawn three times (shaded, in line, as a render; orthographic, through 25 and 45
degrees) from random sides, between 10 degrees below and 70 above, and fitted.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np

from lora3d.camera import orbit
from lora3d.data_prep.drawings import draw
from lora3d.data_prep.match import fit_view, make_gallery
from lora3d.data_prep.sheets import show_sheets
from lora3d.mesh import MeshError, load_mesh, normalise

PACKS = ("quaternius_interior", "quaternius_space")
LOOKS = (("shaded", None), ("line", 25.0), ("render", 45.0))


def direction(azimuth_deg: float, elevation_deg: float) -> np.ndarray:
    """The unit vector to the viewer, (3,)."""
    matrix = orbit(azimuth_deg, elevation_deg, 1.0, ortho_scale=1.0).matrix
    return np.asarray(matrix[:3, 2])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--art", type=Path, default=Path("../shared/art"))
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    files = [file for pack in PACKS for file in sorted((args.art / pack).rglob("*.gl*"))]
    off, ious, seconds = [], [], 0.0
    for file in files[::2]:
        try:
            mesh = show_sheets(normalise(load_mesh(file, root=args.art)))
        except MeshError:
            continue
        places = [(rng.uniform(0, 360), rng.uniform(-10, 70)) for _ in LOOKS]
        drawings = []
        for k, (place, (style, fov)) in enumerate(zip(places, LOOKS, strict=True)):
            distance = 1.5 if fov is None else 0.55 / math.sin(math.radians(fov) / 2)
            camera = orbit(*place, distance, fov_deg=fov, ortho_scale=1.04 if fov is None else None)
            drawings.append(draw(mesh, camera, style, size=128, seed=k))
        start = time.process_time()
        gallery = make_gallery(mesh)
        fits = [fit_view(gallery, drawing) for drawing in drawings]
        seconds += time.process_time() - start
        for place, fit in zip(places, fits, strict=True):
            cosine = direction(*place) @ direction(fit.azimuth_deg, fit.elevation_deg)
            off.append(math.degrees(math.acos(min(1.0, float(cosine)))))
            ious.append(fit.iou)
    print(
        f"{len(off)} drawings, {seconds:.1f} s of CPU: {np.mean(np.array(off) < 10):.1%} within 10 degrees, "
        f"the median {np.median(off):.1f} off; mean IoU {np.mean(ious):.4f}"
    )


if __name__ == "__main__":
    main()
