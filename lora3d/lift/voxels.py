"""A grid of views to coloured voxels: for voxel editors and engines (.vox), for NumPy (.npz), or as cubes."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from lora3d.camera import Array
from lora3d.errors import InputError
from lora3d.grid import ViewGrid
from lora3d.lift import lift, solid_field
from lora3d.lift.fuse import HALF
from lora3d.lift.texture import painted_points
from lora3d.lift.views import read_views
from lora3d.mesh import Material, Mesh, srgb_to_linear

FINE, LEAST = 3, 64  # samples of the field along a voxel's side, and at least along the cube's
SHARE = 0.4  # of a voxel that must be solid; at a half, legs that fall between two voxels would be lost
NEIGHBOURS = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])


@dataclass(frozen=True, eq=False)
class Voxels:
    """r³ voxels about the origin, indexed x, y, z in the world frame (Z up, the front faces −Y).

    Attributes:
        occupied: (r, r, r) bool.
        colour: (r, r, r, 3) uint8 sRGB; zero where not occupied.
        pitch: a voxel's side in world units; the cube spans ± r · pitch / 2.
    """

    occupied: Array
    colour: Array
    pitch: float


def lift_voxels(
    tiles: Array,
    grid: ViewGrid,
    resolution: int = 32,
    *,
    mesh: Mesh | None = None,
    prior: Array | None = None,
) -> Voxels:
    """The voxels of which at least the share `SHARE` is solid, each in the colour of the surface nearest to it.

    mesh: what the tiles lift to, where it is known already.
    tiles, prior: as in `lora3d.lift.lift`, which raises the same errors. Raises InputError for a resolution that is
    not 4 to 128, and for an object that no voxel of that size holds.
    """
    if not 4 <= resolution <= 128:
        raise InputError(f"voxels are 4 to 128 a side, found {resolution}")
    fine = max(FINE, -(-LEAST // resolution))
    n = fine * resolution
    field, _ = solid_field(read_views(tiles, grid, prior), n)
    blocks = (field < 0).reshape(resolution, fine, resolution, fine, resolution, fine)
    occupied = blocks.mean(axis=(1, 3, 5)) >= SHARE
    if not occupied.any():
        raise InputError(f"the object is too thin for {resolution} voxels a side: raise the resolution")
    pitch = fine * 2 * HALF / (n - 1)
    points, paint, _ = painted_points(mesh or lift(tiles, grid, prior=prior))
    colour = np.zeros((*occupied.shape, 3), np.uint8)
    colour[occupied] = paint[cKDTree(points).query(_centres(occupied, pitch))[1]]
    return Voxels(occupied, colour, pitch)


def _centres(occupied: Array, pitch: float) -> Array:
    return (np.argwhere(occupied) + 0.5 - len(occupied) / 2) * pitch


def npz_bytes(voxels: Voxels) -> bytes:
    """``occupied``, ``colour`` and ``pitch`` as NumPy's compressed archive; nothing in it is pickled."""
    stream = io.BytesIO()
    np.savez_compressed(
        stream, occupied=voxels.occupied, colour=voxels.colour, pitch=np.float64(voxels.pitch)
    )
    return stream.getvalue()


def vox_bytes(voxels: Voxels) -> bytes:
    """A MagicaVoxel file (ephtracy/voxel-model, format 150): chunks SIZE, XYZI and RGBA; Z up like ours.

    More than 255 colours are reduced to as many by median cut.
    """
    at = np.argwhere(voxels.occupied)
    palette, index = _palette(voxels.colour[voxels.occupied])
    size = struct.pack("<3i", *voxels.occupied.shape)
    # Our front faces −Y, as does MagicaVoxel's.
    cells = np.concatenate([at, index[:, None] + 1], axis=1).astype(np.uint8)
    table = np.zeros((256, 4), np.uint8)
    table[: len(palette)] = np.concatenate([palette, np.full((len(palette), 1), 255, np.uint8)], axis=1)
    chunks = (
        _chunk(b"SIZE", size)
        + _chunk(b"XYZI", struct.pack("<i", len(cells)) + cells.tobytes())
        + _chunk(b"RGBA", table.tobytes())
    )
    return b"VOX " + struct.pack("<i", 150) + b"MAIN" + struct.pack("<2i", 0, len(chunks)) + chunks


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<2i", len(content), 0) + content


def _palette(colours: Array) -> tuple[Array, Array]:
    """At most 255 colours (k, 3) uint8, and which of them each of (n, 3) takes."""
    palette, index = np.unique(colours, axis=0, return_inverse=True)
    if len(palette) <= 255:
        return palette, index.reshape(-1)
    picture = Image.fromarray(colours[None]).quantize(255, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    table = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
    return table[:255], np.asarray(picture)[0].astype(np.int64)


def cubes(voxels: Voxels) -> Mesh:
    """A mesh of the outer sides of the voxels, two triangles each, coloured by corner."""
    r = len(voxels.occupied)
    padded = np.pad(voxels.occupied, 1)
    at = np.argwhere(voxels.occupied)
    corners, paint = [], []
    for axis, normal in enumerate(np.repeat(np.arange(3), 2)):
        toward = NEIGHBOURS[axis]
        bare = at[~padded[tuple((at + 1 + toward).T)]]
        # The two other axes in an order that runs counter-clockwise seen from outside.
        u, v = np.eye(3, dtype=int)[(normal + 1) % 3], np.eye(3, dtype=int)[(normal + 2) % 3]
        if toward[normal] < 0:
            u, v = v, u
        start = bare + np.maximum(toward, 0)
        corners.append(np.stack([start, start + u, start + u + v, start + v], axis=1))
        paint.append(voxels.colour[tuple(bare.T)])
    quads = np.concatenate(corners)
    vertices, index = np.unique(quads.reshape(-1, 3), axis=0, return_inverse=True)
    index = index.reshape(-1, 4)
    faces = index[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3).astype(np.int32)
    linear = srgb_to_linear(np.concatenate(paint).astype(np.float64) / 255)
    rgba = np.concatenate([linear, np.ones((len(linear), 1))], axis=1).astype(np.float32)
    return Mesh(
        ((vertices - r / 2) * voxels.pitch).astype(np.float32),
        faces,
        np.zeros(len(faces), np.int32),
        (Material(name="voxels", double_sided=False),),
        corner_color=np.repeat(np.repeat(rgba, 2, axis=0)[:, None], 3, axis=1),
    )
