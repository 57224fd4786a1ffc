"""Is this the same shape? Compares models by what their six sides look like, whatever their files.

A twin in another format may have other vertices, another up-axis and rounded numbers; a mirrored copy or
another colour must stay something of its own. So a look holds moments of the surface, which no triangulation
changes, and small pictures from the six sides, which see colour and handedness.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from lora3d.camera import Array, Camera
from lora3d.grid import PRESETS, ViewGrid
from lora3d.mesh import GREY, Mesh
from lora3d.render import render

SIZE = 32
_SIDES = PRESETS["box6"].cameras("rgb")
# Relative difference of the moments, and mean difference of the pictures in [0, 1], that rounding explains.
SAME_MOMENTS, SAME_PICTURE, SAME_COLOUR = 4e-3, 0.012, 0.04
# A letter on a block hardly moves the mean: of the pixels no larger share may be off by more than this.
MARK, MARKED = 0.2, 0.01
# Mean IoU of the six outlines, and mean difference of depths where both are, of variants of one thing.
ALIKE_IOU, ALIKE_DEPTH = 0.93, 0.012


@dataclass(frozen=True, eq=False)
class Look:
    """What a normalised mesh looks like.

    Attributes:
        moments: (6,) float64, the same for any rotation and triangulation: surface area, the three second
            moments about the surface's centre, that centre's distance from the box's, the volume.
        packed: the views, compressed: many looks are held at once.
        cover: (6,) which share of each side's picture shows something, the first way up.
        plain: the file has no colours.
    """

    moments: Array
    packed: bytes
    cover: Array
    plain: bool

    @property
    def views(self) -> Array:
        """(u, 6, s, s, 4) uint8; rgb over black and nearness from the sides of `box6`, for u ways up."""
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(-1, 6, SIZE, SIZE, 4)


def look_of(mesh: Mesh, *, any_way_up: bool = False) -> Look:
    """``any_way_up``: the file's format does not say which axis is up, so that two more are looked at."""
    tilts = [np.eye(3)]
    if any_way_up:
        tilts += [np.array([[1, 0, 0], [0, 0, -s], [0, s, 0]], dtype=np.float64) for s in (1, -1)]
    views = []
    for tilt in tilts:
        # Turning the eye by the inverse is cheaper than turning the mesh.
        cameras = []
        for camera in _SIDES:
            pose = camera.matrix
            pose[:3] = tilt.T @ pose[:3]
            cameras.append(Camera(tuple(pose.ravel().tolist()), None, camera.ortho_scale))
        seen = render(mesh, cameras, SIZE, samples=1)
        near = _near(seen.depth)
        colour = seen.rgba[..., :3] * seen.rgba[..., 3:]
        views.append(np.concatenate([colour, near[..., None]], axis=-1))
    pictures = (np.stack(views) * 255 + 0.5).clip(0, 255).astype(np.uint8)
    cover = (pictures[0, ..., 3] > 0).mean(axis=(1, 2))
    return Look(_moments(mesh), zlib.compress(pictures.tobytes(), 1), cover, _is_plain(mesh))


def nearness(mesh: Mesh) -> Array:
    """The last channel of a look's views, the first way up: (6, s, s) float in [0, 1], 0 in the background."""
    return _near(render(mesh, _SIDES, SIZE, samples=1).depth)


def _near(depth: Array) -> Array:
    return np.where(np.isfinite(depth), np.clip(1.75 - depth, 0.25, 1.25) / 1.25, 0.0)


def same_object(a: Look, b: Look) -> bool:
    """The same geometry, and the same colours unless one of the files has none."""
    if not _close(a.moments, b.moments):
        return False
    for x, y in _placements(a, b):
        if np.abs(x[..., 3] - y[..., 3]).mean() > SAME_PICTURE:
            continue
        if a.plain or b.plain:
            return True
        both = (x[..., 3] > 0) & (y[..., 3] > 0)
        apart = np.abs(x[both, :3] - y[both, :3])
        if both.any() and apart.mean() <= SAME_COLOUR and (apart.max(axis=-1) > MARK).mean() <= MARKED:
            return True
    return False


def turn_views(views: Array, side: int) -> Array:
    """The six views of a box (6, t, t, c) after turning the object's side at 90°·``side`` to the front.

    The four sides move round; top and bottom turn in their planes, in opposite senses.
    """
    turned = views[[*((i + side) % 4 for i in range(4)), 4, 5]]
    turned[4], turned[5] = np.rot90(views[4], -side), np.rot90(views[5], side)
    return turned


def is_box(grid: ViewGrid) -> bool:
    """Whether `turn_tiles` turns a grid: the cells of `box6` at any resolution, under no light, which would stay."""
    return grid.cells == PRESETS["box6"].cells and grid.shading == "unlit"


def turn_tiles(grid: ViewGrid, tiles: Array, side: int) -> Array:
    """A copy of the tiles (cells, t, t, c) of a grid that `is_box`, turned as `turn_views` turns six views."""
    turned = tiles.copy()
    for channel in ("rgb", "depth"):
        at = list(grid.indices(channel))
        turned[at] = turn_views(tiles[at], side)
    return turned


def _close(a: Array, b: Array) -> Array:
    """Whether moments (..., 6) agree."""
    scale = np.maximum(np.maximum(np.abs(a), np.abs(b)), 0.05)
    return (np.abs(a - b) <= SAME_MOMENTS * scale).all(axis=-1)


def alike(a: Look, b: Look) -> bool:
    """Nearly the same shape whatever the colours: variants of one thing, to be held out together."""
    return any(iou >= ALIKE_IOU and depth <= ALIKE_DEPTH for iou, depth in similarity(a, b))


def similarity(a: Look, b: Look) -> list[tuple[float, float]]:
    """For each placement: mean IoU of the six outlines, mean difference of nearness where both are."""
    found = []
    for x, y in _placements(a, b):
        p, q = x[..., 3] > 0, y[..., 3] > 0
        both, either = (p & q).sum((1, 2)), (p | q).sum((1, 2))
        iou = float((both / np.maximum(either, 1)).mean())
        difference = np.abs(x[..., 3] - y[..., 3])[p & q]
        found.append((iou, float(difference.mean()) if len(difference) else 1.0))
    return found


def _placements(a: Look, b: Look) -> Iterator[tuple[Array, Array]]:
    """Pairs of (6, s, s, 4) float32 in [0, 1]: a as it is, b turned to each side and set each way up."""
    # Where both formats do not say what is up, they say so in the same way: one of them stays.
    first, second = a.views, b.views
    first, second = (first, second[:1]) if len(first) > len(second) else (first[:1], second)
    for x in first:
        for y in second:
            for side in range(4):
                yield x.astype(np.float32) / 255, turn_views(y, side).astype(np.float32) / 255


def _moments(mesh: Mesh) -> Array:
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1) / 2
    total = max(float(area.sum()), 1e-12)
    middle = corners.mean(axis=1)
    centre = (middle * area[:, None]).sum(axis=0) / total
    # The integral of x xᵀ over a triangle: its area times (9 m mᵀ + Σ c cᵀ) / 12.
    rest, m = corners - centre, middle - centre
    second = np.einsum("f,fi,fj->ij", area * 0.75, m, m) + np.einsum("f,fki,fkj->ij", area / 12, rest, rest)
    volume = abs(float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])))) / 6
    eigenvalues = np.sqrt(np.maximum(np.linalg.eigvalsh(second / total), 0.0))
    return np.array([total, *eigenvalues, float(np.linalg.norm(centre)), volume])


def _is_plain(mesh: Mesh) -> bool:
    """No colours of its own: what the loaders give to files without any."""
    bare = all(m.texture is None and m.base_color == GREY for m in mesh.materials)
    return bare and mesh.corner_color is None


def find_duplicates(files: list[str], look: Callable[[str], Look]) -> dict[str, str]:
    """Files that show the same object as an earlier one, and which; in the order of ``files``.

    look: of a file; asked for when it is compared, so that those of thousands need not be held.
    """
    moments = np.array([look(f).moments for f in files]).reshape(len(files), 6)
    first: dict[str, str] = {}
    for i, file in enumerate(files):
        close = [files[j] for j in np.flatnonzero(_close(moments[:i], moments[i])) if files[j] not in first]
        # A file without colours is the twin of any colour: of the one that bears its name.
        close.sort(key=lambda f: PurePosixPath(f).stem != PurePosixPath(file).stem)
        twin = next((f for f in close if same_object(look(file), look(f))), None)
        if twin is not None:
            first[file] = twin
    return first


def find_alike(files: list[str], look: Callable[[str], Look]) -> list[tuple[str, str]]:
    """Pairs that link everything alike; what is linked already is not compared again. ``look`` as above."""
    covers = np.array([look(f).cover for f in files]).reshape(len(files), 6)
    group = list(range(len(files)))
    pairs = []
    for i, file in enumerate(files):
        # The IoU of two outlines is at most the ratio of their areas.
        best = np.zeros(i)
        for side in range(4):
            turned = np.concatenate([np.roll(covers[i, :4], -side), covers[i, 4:]])
            low, high = np.minimum(covers[:i], turned), np.maximum(covers[:i], turned)
            best = np.maximum(best, (low / np.maximum(high, 1e-9)).mean(axis=1))
        for j in np.flatnonzero(best >= ALIKE_IOU):
            if group[i] != group[j] and alike(look(files[j]), look(file)):
                pairs.append((files[j], file))
                old, new = group[i], group[j]
                group = [new if g == old else g for g in group]
    return pairs
