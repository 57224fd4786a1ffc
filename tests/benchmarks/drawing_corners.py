"""How often the fitted azimuth of an isometric drawing is the one that its name states.

    python -m tests.benchmarks.drawing_corners [--pack ../shared/art/kenney_furniture]

Kenney names each drawing by the corner of the picture (NE, NW, SE, SW) that the thing faces; read off chair, desk and
bathtub, that is an azimuth of 315, 45, 135, 225 degrees. The name is kept from the fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lora3d.data_prep.asset import cropped
from lora3d.data_prep.match import fit_view, make_gallery
from lora3d.data_prep.sheets import show_sheets
from lora3d.data_prep.sources import find_assets
from lora3d.drawing import read_drawing
from lora3d.mesh import load_mesh, normalise

CORNERS = {"NE": 315.0, "NW": 45.0, "SE": 135.0, "SW": 225.0}
NEAR_DEG = 10.0
SAME_IOU = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pack", type=Path, default=Path("../shared/art/kenney_furniture"))
    root = parser.parse_args().pack
    off, alike = [], []
    for asset in find_assets(root).assets:
        gallery = make_gallery(show_sheets(normalise(load_mesh(root / asset.file, root=root))))
        for drawing in asset.drawings:
            named = CORNERS.get(Path(drawing.file).stem.rpartition("_")[2])
            if named is None:
                continue
            rgba = cropped(read_drawing(root / drawing.file))
            fit, told = fit_view(gallery, rgba), fit_view(gallery, rgba, azimuth_deg=named)
            off.append(abs((fit.azimuth_deg - named + 180) % 360 - 180))
            alike.append(told.iou > fit.iou - SAME_IOU)
            if off[-1] > NEAR_DEG:
                print(
                    f"{drawing.file}: {fit.azimuth_deg:.0f}, IoU {fit.iou:.3f}; as named {named:.0f}, {told.iou:.3f}"
                )
    near = np.array(off) <= NEAR_DEG
    missed = np.array(alike)[~near]
    print(
        f"{len(near)} drawings: {near.mean():.1%} within {NEAR_DEG:.0f} degrees ({near.sum()}); of the other"
    )
    print(
        f"{len(missed)}, {missed.sum()} agree with the model from the named corner to {SAME_IOU} of IoU as well"
    )


if __name__ == "__main__":
    main()
