"""From where was this drawn? Fits a viewpoint to a drawing by silhouette, and chooses the side it shows.

The model is rendered from a coarse lattice of viewpoints once (`make_gallery`), each picture framed as the
drawing is: bounding box centred, longer side filling the tile. The best few are refined by halving steps,
and mild perspectives tried. Silhouettes from opposite sides mirror each other, and many things have a
symmetric outline, so colours and inner edges decide between views whose outlines agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from lora3d.camera import Array, Camera, cross, nearest_side, orbit
from lora3d.data_prep.match_kernels import compare, features
from lora3d.drawing import fit_reference
from lora3d.grid import PRESETS, ViewGrid
from lora3d.mesh import Mesh
from lora3d.render import render

# Pictures are this large while viewpoints are fitted, and this large for the search over all sides.
SIZE, COARSE = 48, 24
FILL = 0.9
LATTICE = 22.5
AZIMUTHS = tuple(LATTICE * i for i in range(16))
ELEVATIONS = tuple(LATTICE * i for i in range(5))
LOWEST, HIGHEST = -20.0, 90.0
# Opening angles that are tried where an orthographic view fits less than well.
LENSES, GOOD_IOU = (25.0, 45.0), 0.95
# How far places move; after the first move the best one goes on.
STEPS = (7.5, 7.5, 3.75, 1.9)
# So many places of the coarse search are looked at again in full size, and so many of those, less than this below
# the best, are refined.
PLACES, STARTS, BELOW = 6, 3, 0.06
# What colours and inner edges may outweigh in IoU; and what the front is preferred by, between equals.
COLOUR, EDGES, FRONT = 0.1, 0.2, 0.004
# Shading changes brightness, and a drawn outline is no inner edge: brightness counts less than hue, and this
# many pixels along the outline do not count.
BRIGHTNESS, RIM = 0.3, 2

_FRAME = PRESETS["box6"].with_tile(SIZE)


@dataclass(frozen=True)
class Fit:
    """A viewpoint in the model's own frame.

    Attributes:
        azimuth_deg: in [0, 360), 0 at the front.
        elevation_deg: absolute.
        fov_deg: the lens that fitted best; None is orthographic.
        iou: intersection over union of the two silhouettes, framed alike, in [0, 1].
        score: what was maximised: the IoU and a share for colours and inner edges.
        coarse: the best score of the search over all sides, before a place was refined.
    """

    azimuth_deg: float
    elevation_deg: float
    fov_deg: float | None
    iou: float
    score: float
    coarse: float = 0.0


@dataclass(frozen=True, eq=False)
class Frames:
    """n pictures of SIZE px, framed alike, float32.

    cover (n, s, s); colour (n, 4, s, s): what differs from grey, and brightness; edges (n, 1, s, s).
    """

    cover: Array
    colour: Array
    edges: Array


@dataclass(frozen=True, eq=False)
class Gallery:
    """A mesh and its pictures from the coarse lattice."""

    mesh: Mesh
    views: tuple[tuple[float, float, float | None], ...]
    frames: Frames


def make_gallery(mesh: Mesh, every: int = 1) -> Gallery:
    """The coarse pictures of a normalised mesh, for all its drawings; of ``every`` so many azimuths and elevations."""
    views = tuple((float(a), float(e), None) for e in ELEVATIONS[::every] for a in AZIMUTHS[::every])
    return Gallery(mesh, views, _render_frames(mesh, views, COARSE))


def fit_view(
    gallery: Gallery,
    drawing: Array,
    *,
    azimuth_deg: float | None = None,
    elevation_deg: float | None = None,
) -> Fit:
    """The viewpoint from which the model looks most like the drawing (h, w, 4), its background transparent.

    What is stated is kept; the rest is searched. Between equals the one nearest to the front wins.
    """
    target, small = _drawing_frames(drawing)
    stated = azimuth_deg is not None, elevation_deg is not None
    views, frames = gallery.views, gallery.frames
    if any(stated):
        azimuths = AZIMUTHS if azimuth_deg is None else (azimuth_deg % 360,)
        elevations = ELEVATIONS if elevation_deg is None else (elevation_deg,)
        views = tuple((float(a), float(e), None) for e in elevations for a in azimuths)
        frames = _render_frames(gallery.mesh, views, COARSE)
    places = _distinct(_judge(frames, views, small), PLACES)
    starts = _look_again(gallery.mesh, places, None, target)[:STARTS]
    starts = [start for start in starts if start.score > starts[0].score - BELOW]
    found = _refine(gallery.mesh, starts, stated, target)
    for lens in LENSES if found.iou < GOOD_IOU else ():
        # Perspective shifts the outline as a little elevation would, so that the search begins anew, from the
        # best of a few places.
        again = _look_again(gallery.mesh, [found, *starts[:2]], lens, target)[:1]
        closer = _refine(gallery.mesh, again, stated, target)
        if closer.score <= found.score:
            break
        found = closer
    return replace(found, coarse=places[0].score)


def coarse_score(gallery: Gallery, drawing: Array) -> float:
    """The best score of a drawing (h, w, 4) among the gallery's pictures: `Fit.coarse` without the fit."""
    return max(fit.score for fit in _judge(gallery.frames, gallery.views, _drawing_frames(drawing)[1]))


def _look_again(mesh: Mesh, fits: list[Fit], fov_deg: float | None, target: Frames) -> list[Fit]:
    """The places of some fits, judged in full size through a lens, the best first."""
    views = tuple((fit.azimuth_deg, fit.elevation_deg, fov_deg) for fit in fits)
    return sorted(_judge(_render_frames(mesh, views, SIZE), views, target), key=lambda fit: -fit.score)


def _refine(mesh: Mesh, fits: list[Fit], stated: tuple[bool, bool], target: Frames) -> Fit:
    """The best place found from the given ones by halving steps; what is stated does not move."""
    tried = 0.0  # a step that led nowhere
    for step in STEPS:
        if step != tried:
            found = max(
                (_improve(mesh, fit, step, stated, target) for fit in fits), key=lambda fit: fit.score
            )
            tried, fits = step if found in fits else 0.0, [found]
    return fits[0]


def _improve(mesh: Mesh, fit: Fit, step: float, stated: tuple[bool, bool], target: Frames) -> Fit:
    """The best of a fit and its neighbours a step to each side, above and below."""
    azimuth, elevation = fit.azimuth_deg, fit.elevation_deg
    places = set()
    if not stated[0]:
        places |= {((azimuth + move) % 360, elevation) for move in (-step, step)}
    if not stated[1]:
        places |= {(azimuth, min(max(elevation + move, LOWEST), HIGHEST)) for move in (-step, step)}
    views = tuple((*place, fit.fov_deg) for place in sorted(places - {(azimuth, elevation)}))
    if not views:
        return fit
    return max(
        [fit, *_judge(_render_frames(mesh, views, SIZE), views, target)], key=lambda found: found.score
    )


def turn_for(grid: ViewGrid, azimuth_deg: float) -> float:
    """Which azimuth of the model becomes the grid's front for a drawing seen from ``azimuth_deg``.

    The nearest side where all cameras look along the axes orthographically (`box6`, `ortho4`), the drawing's
    own azimuth elsewhere.
    """
    cameras = [cell.camera for cell in grid.cells if cell.camera is not None]
    along = (
        c.ortho_scale is not None and np.allclose(np.abs(c.matrix[:3, :3]).max(axis=0), 1.0, atol=1e-6)
        for c in cameras
    )
    return nearest_side(azimuth_deg) if all(along) else azimuth_deg % 360


def _distinct(fits: list[Fit], count: int) -> list[Fit]:
    """The best few that are no neighbours of each other."""
    chosen: list[Fit] = []
    for fit in sorted(fits, key=lambda f: -f.score):
        near = (
            abs((fit.azimuth_deg - other.azimuth_deg + 180) % 360 - 180) <= LATTICE
            and abs(fit.elevation_deg - other.elevation_deg) <= LATTICE
            for other in chosen
        )
        if not any(near):
            chosen.append(fit)
        if len(chosen) == count:
            break
    return chosen


def _judge(frames: Frames, views: tuple[tuple[float, float, float | None], ...], target: Frames) -> list[Fit]:
    rim = RIM * target.cover.shape[1] // SIZE
    found = compare(
        frames.cover, frames.colour, frames.edges, target.cover[0], target.colour[0], target.edges[0], rim
    )
    front = np.cos(np.radians([view[0] for view in views]))
    score = found @ (1.0, COLOUR, EDGES) + FRONT * front
    return [
        Fit(azimuth, elevation, lens, float(i), float(s))
        for (azimuth, elevation, lens), i, s in zip(views, found[:, 0], score, strict=True)
    ]


def _drawing_frames(drawing: Array) -> tuple[Frames, Frames]:
    """A drawing framed as the model's pictures are, of SIZE and of COARSE."""
    rgb, cover = fit_reference(_FRAME, drawing)
    background = np.asarray(_FRAME.background, np.float32)
    tile = np.append(rgb - background * (1 - cover[..., None]), cover[..., None], axis=-1)
    found = []
    for size in (SIZE, COARSE):
        small = tile.reshape(size, SIZE // size, size, SIZE // size, 4).mean(axis=(1, 3))
        small[..., :3] /= np.maximum(small[..., 3:], 1e-6)
        found.append(_frames(small[None], np.empty((0, size, size, 3))))
    return found[0], found[1]


def _render_frames(mesh: Mesh, views: tuple[tuple[float, float, float | None], ...], size: int) -> Frames:
    seen = render(mesh, [framed_camera(mesh, *view) for view in views], size)
    return _frames(seen.rgba, seen.normal)


def _frames(rgba: Array, normals: Array) -> Frames:
    n, size = rgba.shape[:2]
    sizes = (n, size, size), (n, 4, size, size), (n, 1, size, size)
    cover, colour, edges = (np.empty(shape, np.float32) for shape in sizes)
    features(rgba.astype(np.float32), normals.astype(np.float32), BRIGHTNESS, cover, colour, edges)
    return Frames(cover, colour, edges)


def framed_camera(mesh: Mesh, azimuth_deg: float, elevation_deg: float, fov_deg: float | None) -> Camera:
    """A camera on an orbit in which the mesh's outline is centred and its longer side fills FILL."""
    if fov_deg is None:
        pose = _level(azimuth_deg, elevation_deg).matrix
        x, y = pose[:3, :2].T.astype(np.float32) @ mesh.vertices.T
        left, right, bottom, top = (float(edge) for edge in (x.min(), x.max(), y.min(), y.max()))
        pose[:3, 3] += pose[:3, :2] @ ((left + right) / 2, (bottom + top) / 2)
        scale = max(right - left, top - bottom) / FILL
        return Camera(tuple(pose.ravel().tolist()), None, scale)
    # The same eye, turned toward the middle of what it sees.
    distance = 0.52 / math.sin(math.radians(fov_deg) / 2)
    pose = orbit(azimuth_deg, elevation_deg, distance, fov_deg=fov_deg).matrix
    low, high = _tangents(mesh, pose)
    x, y = (low + high) / 2
    back = pose[:3, :3] @ (np.array([-x, -y, 1.0]) / math.sqrt(1 + x * x + y * y))
    side = cross(pose[:3, 1], back)
    side /= np.linalg.norm(side)
    pose[:3, :3] = np.stack([side, cross(back, side), back], axis=1)
    low, high = _tangents(mesh, pose)
    half = float(np.abs([low, high]).max()) / FILL
    return Camera(tuple(pose.ravel().tolist()), math.degrees(2 * math.atan(half)))


@lru_cache(maxsize=1024)
def _level(azimuth_deg: float, elevation_deg: float) -> Camera:
    """An orthographic camera on the orbit; every model is seen from the same places."""
    return orbit(azimuth_deg, elevation_deg, 1.5, ortho_scale=1.0)


def _tangents(mesh: Mesh, pose: Array) -> tuple[Array, Array]:
    """The bounding box (2,), (2,) of the vertices' images at depth 1."""
    local = (mesh.vertices - pose[:3, 3]) @ pose[:3, :3]
    flat = local[:, :2] / -local[:, 2:]
    return flat.min(axis=0), flat.max(axis=0)
