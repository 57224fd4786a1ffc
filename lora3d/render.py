"""Renders a mesh on the CPU: colour, depth, normals and positions, from any number of cameras.

`pack_scene` → `visibility` (which face each sample sees) → `shade` and `surface` → `Views`. Another backend
may replace `visibility` alone. One call uses one thread, holds no lock (the kernels release the GIL), and
gives the same bits each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from lora3d import raster
from lora3d.camera import Array, Camera
from lora3d.errors import InputError
from lora3d.grid import ViewGrid, encode_depth
from lora3d.mesh import Material, Mesh
from lora3d.raster import BLEND, CLAMP, MASK, MIRROR, NO_TEXTURE, OPAQUE, REPEAT, Lens, Scene

Shading = Literal["unlit", "studio"]

# Relative to the scene's extent: surfaces closer than TIE are coplanar, and nothing nearer than NEAR is seen.
TIE, NEAR = 1e-6, 1e-3
# At most this many half-transparent surfaces are seen through at one sample; those behind them are left out.
BLEND_LAYERS = 8
# Half-transparent surfaces count as geometry (depth, normal, position) from this coverage on.
SOLID_ALPHA = 0.1


@dataclass(frozen=True)
class Views:
    """n square pictures of one mesh, s pixels a side, all float32.

    Attributes:
        rgba: (n, s, s, 4) sRGB with straight alpha in [0, 1]; averaged over the pixel.
        depth: (n, s, s) metric along the camera's −Z at the pixel's centre; inf is background.
        normal: (n, s, s, 3) unit, world frame, facing the viewer; 0 in the background.
        position: (n, s, s, 3) world frame; 0 in the background.
    """

    rgba: Array
    depth: Array
    normal: Array
    position: Array


class Visibility(NamedTuple):
    """What each of s × s samples sees, nearest first in k layers.

    face (s, s, k) int32, −1 for nothing; barycentric (s, s, k, 2) float32: the weights of the face's second
    and third corner; depth (s, s, k) float64.
    """

    face: Array
    barycentric: Array
    depth: Array


def pack_scene(mesh: Mesh) -> Scene:
    """The mesh as flat arrays for the kernels. Raises InputError for a mesh without faces."""
    if not len(mesh.faces):
        raise InputError("a mesh with at least one face was expected, this one has none: check the file")
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    materials = mesh.materials or (Material(),)
    textures: list[Array] = []
    rows, first = [], 0
    for m in materials:
        if m.texture is None or mesh.corner_uv is None:
            rows.append((NO_TEXTURE, 0, 0, REPEAT, REPEAT, 0))
            continue
        height, width = m.texture.shape[:2]
        wraps = [{"repeat": REPEAT, "clamp": CLAMP, "mirror": MIRROR}[w] for w in m.wrap]
        rows.append((first, height, width, *wraps, int(m.filter == "nearest")))
        textures.append(m.texture.reshape(-1, 4))
        first += height * width
    none = np.zeros((0, 3, 4), np.float32)
    return Scene(
        vertices=mesh.vertices.astype(np.float64),
        faces=np.ascontiguousarray(mesh.faces, np.int32),
        normal=normal,
        corner_normal=_corners(mesh.corner_normal, none[..., :3]),
        corner_uv=_corners(mesh.corner_uv, none[..., :2]),
        corner_color=_corners(mesh.corner_color, none),
        material=np.ascontiguousarray(mesh.face_material, np.int32),
        base=np.array([m.base_color for m in materials], np.float32),
        emissive=np.array([m.emissive for m in materials], np.float32),
        mode=np.array([_mode(m, mesh.corner_color) for m in materials], np.int32),
        cutoff=np.array([m.alpha_cutoff for m in materials], np.float32),
        double_sided=np.array([m.double_sided for m in materials], np.bool_),
        unlit=np.array([m.unlit for m in materials], np.bool_),
        texture=np.array(rows, np.int64),
        texels=np.ascontiguousarray(np.concatenate(textures) if textures else np.zeros((0, 4)), np.uint8),
    )


def _corners(values: Array | None, none: Array) -> Array:
    return np.ascontiguousarray(none if values is None else values, np.float32)


def _mode(material: Material, corner_color: Array | None) -> int:
    """The alpha mode that a material needs: exporters like to mark opaque things BLEND."""
    if material.alpha_mode == "OPAQUE" or (material.alpha_mode == "MASK" and material.alpha_cutoff <= 0):
        return OPAQUE
    least = material.base_color[3]
    if material.texture is not None:
        least *= material.texture[..., 3].min() / 255
    if corner_color is not None:
        least *= float(corner_color[..., 3].min())
    if least >= 1:
        return OPAQUE
    return MASK if material.alpha_mode == "MASK" else BLEND


def _lens(camera: Camera) -> Lens:
    return Lens(camera.matrix, float(camera.half_extent), camera.ortho_scale is None)


def visibility(
    scene: Scene,
    camera: Camera,
    size: int,
    faces: Array,
    cutoff: Array,
    *,
    layers: int = 1,
    behind: Array | None = None,
) -> Visibility:
    """Which of the given faces (ascending int32 ids) the centres of size × size samples see.

    Of faces closer together than TIE the lowest id wins. A fragment whose alpha is below its material's
    cutoff (m,) is no surface; a negative cutoff never asks. ``behind`` (size, size) hides what lies deeper.
    """
    lens = _lens(camera)
    local = (scene.vertices - lens.pose[:3, 3]) @ lens.pose[:3, :3]
    depth = -local[:, 2]
    extent = float(np.ptp(scene.vertices, axis=0).max()) or 1.0
    tie, near = TIE * extent, NEAR * extent if lens.perspective else -np.inf
    points = np.empty((len(local), 4))
    points[:, 2] = depth if lens.perspective else 1.0
    points[:, 0] = (points[:, 2] + local[:, 0] / lens.half_extent) * (size / 2)
    points[:, 1] = (points[:, 2] - local[:, 1] / lens.half_extent) * (size / 2)
    points[:, 3] = depth
    seen = Visibility(
        np.full((size, size, layers), -1, np.int32),
        np.zeros((size, size, layers, 2), np.float32),
        np.full((size, size, layers), np.inf),
    )
    if behind is not None:
        # What lies on a solid surface (a decal) is in front of it.
        seen.depth[:] = behind[..., None] + 2 * tie
    raster.rasterise(scene, points, faces, cutoff, near, tie, *seen)
    return seen


def shade(
    scene: Scene, camera: Camera, solid: Visibility, blend: Visibility, samples: int, studio: bool
) -> Array:
    """Colours (s, s, 4) float32 sRGB straight alpha from samples of both kinds, s·samples a side."""
    size = len(solid.face) // samples
    rgba = np.zeros((size, size, 4), np.float32)
    layers = solid.face, solid.barycentric, blend.face, blend.barycentric
    raster.shade(scene, _lens(camera), samples, studio, *layers, rgba)
    return rgba


def surface(scene: Scene, camera: Camera, seen: Visibility) -> tuple[Array, Array, Array]:
    """Depth (s, s), normal and position (s, s, 3) float32 of the first layer, as in `Views`."""
    size = len(seen.face)
    depth = np.full((size, size), np.inf, np.float32)
    normal, position = np.zeros((2, size, size, 3), np.float32)
    raster.surface(scene, _lens(camera), *seen, depth, normal, position)
    return depth, normal, position


def render(
    mesh: Mesh,
    cameras: Sequence[Camera],
    size: int,
    *,
    shading: Shading = "unlit",
    samples: int = 2,
) -> Views:
    """Pictures of size × size pixels, one a camera.

    Colours average ``samples``² points a pixel; depth, normal and position are taken at its centre.
    ``unlit`` shows base colour and emission alone; ``studio`` lights it by a rig fixed to the object's
    frame. One-sided faces are not seen from behind; half-transparent ones are geometry too.
    Raises InputError for a mesh without faces.
    """
    if shading not in ("unlit", "studio"):
        raise ValueError(f"shading is 'unlit' or 'studio', found {shading!r}")
    if size < 1 or samples < 1:
        raise ValueError(f"size and samples are at least 1, found {size} and {samples}")
    scene = pack_scene(mesh)
    mode = scene.mode[scene.material]
    every = np.arange(len(mode), dtype=np.int32)
    solid_faces, blend_faces = every[mode != BLEND], every[mode == BLEND]
    cutoff = np.where(scene.mode == MASK, scene.cutoff, np.float32(-1))
    coverage = np.where(scene.mode == BLEND, np.float32(SOLID_ALPHA), cutoff)
    # Empty texels of a half-transparent surface take no layer.
    visible = np.full_like(cutoff, 1 / 512)
    shape = len(cameras), size, size
    views = Views(
        rgba=np.empty((*shape, 4), np.float32),
        depth=np.empty(shape, np.float32),
        normal=np.empty((*shape, 3), np.float32),
        position=np.empty((*shape, 3), np.float32),
    )
    for i, camera in enumerate(cameras):
        solid = visibility(scene, camera, size * samples, solid_faces, cutoff)
        layers = BLEND_LAYERS if len(blend_faces) else 0
        if layers:
            behind = solid.depth[..., 0]
            blend = visibility(
                scene, camera, size * samples, blend_faces, visible, layers=layers, behind=behind
            )
        else:
            blend = Visibility(*(a[:, :, :0] for a in solid))
        views.rgba[i] = shade(scene, camera, solid, blend, samples, shading == "studio")
        centre = visibility(scene, camera, size, every, coverage)
        views.depth[i], views.normal[i], views.position[i] = surface(scene, camera, centre)
    return views


def render_tiles(mesh: Mesh, grid: ViewGrid, *, samples: int = 2) -> Array:
    """All cells of a grid but the drawing: (cells, tile, tile, 3) float32 in [0, 1].

    rgb over the background; depth by `grid.encode_depth`, grey; normals n/2 + 1/2 in the grid's frame and
    positions p + 1/2, both 0 in the background. A reference cell is the background, its alpha and empty
    cells are 0.
    """
    tiles = np.zeros((len(grid.cells), grid.tile, grid.tile, 3), np.float32)
    background = np.array(grid.background, np.float32)
    cameras = list(dict.fromkeys(cell.camera for cell in grid.cells if cell.camera is not None))
    views = render(mesh, cameras, grid.tile, shading=grid.shading, samples=samples)
    for tile, cell in zip(tiles, grid.cells, strict=True):
        if cell.channel == "reference":
            tile[:] = background
        if cell.camera is None or cell.channel not in ("rgb", "depth", "normal", "position"):
            continue
        i = cameras.index(cell.camera)
        hit = np.isfinite(views.depth[i])
        if cell.channel == "rgb":
            alpha = views.rgba[i, ..., 3:]
            tile[:] = views.rgba[i, ..., :3] * alpha + background * (1 - alpha)
        elif cell.channel == "depth":
            tile[:] = encode_depth(grid, views.depth[i])[..., None]
        elif cell.channel == "normal":
            turn = np.eye(3) if grid.normal_frame == "world" else cell.camera.matrix[:3, :3]
            tile[hit] = (views.normal[i] @ turn.astype(np.float32))[hit] / 2 + 0.5
        else:
            tile[hit] = np.clip(views.position[i][hit] + 0.5, 0, 1)
    return tiles
