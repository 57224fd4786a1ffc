"""What loads but is wrong: a model inside out, mirrored, lying or upside down; a drawing that was cut off.

Only what the pictures show is said, and only as a warning: nobody but the artist knows what was meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from lora3d.camera import Array
from lora3d.data_prep.match import Fit, Gallery, coarse_score, fit_view, make_gallery
from lora3d.data_prep.shapes import Look, nearness
from lora3d.dataset_rows import POOR_IOU
from lora3d.drawing import CLEAR, drawn_box
from lora3d.mesh import Mesh

FIT_GAIN = 0.1  # in IoU: another viewpoint than the stated one fits better by this much
# Of what both sides of all faces cover, the share that lies deeper by this much, in diameters, with back faces culled:
# 0 for the true models of five packs, 1 for a chair inside out. Hulls that draw an outline are thinner, but for a rim.
DEEPER, INSIDE_OUT = 0.04, 0.2
MOST = 3  # of a model's drawings are asked, the first ones: each costs a search over all sides
# How much better flipped drawings fit, in score: the mean over n drawings times √n. Of 500 true drawings two reach it,
# both of ladders, and not by the coarse search: where that does not find the second, nothing is refined.
MIRRORED, COARSELY = 0.05, 0.01
# The mean IoU below which other ways up are tried, and by how much one must be better (none is, of 100 true models);
# and what turns a model that fell that way up again.
UPRIGHT_IOU, UP_GAIN = 0.9, 0.05
WAYS_UP = {
    "upside down": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "lying on its back": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "lying on its face": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "lying on its side at -x": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
    "lying on its side at +x": ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
}


def doubt_faces(mesh: Mesh, look: Look) -> str:
    """A warning where culling back faces opens the view into the model; ``look`` is that of `look_of`."""
    used = np.unique(mesh.face_material)
    if all(mesh.materials[i].double_sided for i in used):
        return ""
    both = replace(mesh, materials=tuple(replace(m, double_sided=True) for m in mesh.materials))
    wanted, found = nearness(both), look.views[0, ..., 3] / np.float32(255)
    deeper = (wanted - found)[wanted > 0] * 1.25 > DEEPER
    if not deeper.any() or deeper.mean() <= INSIDE_OUT:
        return ""
    return (
        f"it seems to be inside out: {deeper.mean():.0%} of what is seen of it are inner sides; "
        "flip its faces (recalculate the normals outside) and export it again"
    )


def doubt_model(gallery: Gallery, seen: Sequence[tuple[Array, Fit]]) -> str:
    """A warning where all drawings together fit the model better another way up, or flipped left to right.

    seen: drawings (h, w, 4), each with where it fits best, whatever was stated of it.
    """
    asked = seen[:MOST]
    if not asked:
        return ""
    return _doubt_way_up(gallery, asked) or _doubt_hand(gallery, asked)


def _doubt_way_up(gallery: Gallery, seen: Sequence[tuple[Array, Fit]]) -> str:
    iou, coarse = _mean(fit.iou for _, fit in seen), _mean(fit.coarse for _, fit in seen)
    if iou >= UPRIGHT_IOU:
        return ""
    best, way, other = coarse, "", gallery
    for name, rotation in WAYS_UP.items():
        turned = make_gallery(_rotated(gallery.mesh, np.array(rotation, np.float32)), every=2)
        score = _mean(coarse_score(turned, drawing) for drawing, _ in seen)
        if score > best:
            best, way, other = score, name, turned
    better = _mean(fit_view(other, drawing).iou for drawing, _ in seen) if way else 0.0
    if better < max(iou + UP_GAIN, POOR_IOU):
        return ""
    return f"it seems to be {way}: stood up it would agree with its drawings to an IoU of {better:.2f}, not {iou:.2f}"


def _doubt_hand(gallery: Gallery, seen: Sequence[tuple[Array, Fit]]) -> str:
    gain = _mean(_flipped_gain(gallery, drawing, fit) for drawing, fit in seen)
    if gain * math.sqrt(len(seen)) <= MIRRORED:
        return ""
    return "it seems to be mirrored: its drawings fit better flipped left to right"


def _flipped_gain(gallery: Gallery, drawing: Array, fit: Fit) -> float:
    """By how much the score rises when the drawing is flipped; from the coarse search alone where that says no."""
    flipped = np.ascontiguousarray(drawing[:, ::-1])
    gain = coarse_score(gallery, flipped) - fit.coarse
    if gain < COARSELY:
        return min(gain, 0.0)
    other = fit_view(gallery, flipped)
    return other.score - fit.score if other.iou >= POOR_IOU else 0.0


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _rotated(mesh: Mesh, rotation: Array) -> Mesh:
    """A normalised mesh turned by a rotation (3, 3) about its middle."""
    normal = mesh.corner_normal
    return replace(
        mesh,
        vertices=mesh.vertices @ rotation.T,
        corner_normal=None if normal is None else normal @ rotation.T,
    )


def doubt_drawing(fit: Fit, free: Fit | None) -> str:
    """A warning for a drawing that fits its model poorly: ``fit`` as stated, ``free`` whatever was stated."""
    if fit.iou >= POOR_IOU:
        return ""
    text = f"the silhouettes of drawing and model agree only to an IoU of {fit.iou:.2f}"
    if free is not None and free.iou > fit.iou + FIT_GAIN:
        text += f"; azimuth {free.azimuth_deg:.0f} and elevation {free.elevation_deg:.0f} would fit better"
    return text


def doubt_frame(rgba: Array) -> str:
    """A warning for a picture (h, w, 4) whose object leaves it at one side.

    One that was trimmed to its object, or scaled to fill the picture, touches opposite sides and is whole.
    """
    left, top, right, bottom = drawn_box(rgba)
    height, width = rgba.shape[:2]
    margins = {"left": left, "top": top, "right": width - right, "bottom": height - bottom}
    edges = {"left": rgba[:, 0], "top": rgba[0], "right": rgba[:, -1], "bottom": rgba[-1]}
    opposite = dict(zip(margins, ("right", "bottom", "left", "top"), strict=True))
    slack = max(2, 0.02 * max(height, width))
    cut = [s for s in edges if (edges[s][..., 3] >= CLEAR).any() and margins[opposite[s]] > slack]
    return f"it touches the {' and the '.join(cut)} of its picture: cut off?" if cut else ""
