"""Renders a mesh on the CPU: colour, depth, normals and positions, from any number of cameras.

`pack_scene` → `visibility` (which face each sample sees) → `shade` and `surface` → `Views`. Another backend
may replace `visibility` alone. One call uses one thread, holds no lock (the kernels release the GIL), and
gives the same bits each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from lora3d import raster
from lora3d.camera import Array, Camera
from lora3d.compiled import Records
from lora3d.grid import ViewGrid, encode_depth
from lora3d.mesh import Material, Mesh, face_normals
from lora3d.occlusion import DIRECTIONS, SIZE, SkyMaps, directions, open_into
from lora3d.shading import Lens, Scene, compose, shade_into, surface_into
from lora3d.texels import (
    BLEND,
    CLAMP,
    MASK,
    MATERIAL,
    MIRROR,
    NO_TEXTURE,
    OPAQUE,
    REPEAT,
    alpha_ranges,
)

Shading = Literal["unlit", "studio"]

WRAPS = {"repeat": REPEAT, "clamp": CLAMP, "mirror": MIRROR}
# Relative to the scene's extent: surfaces closer than TIE are coplanar, and nothing nearer than NEAR is seen.
TIE, NEAR = 1e-6, 1e-3
# At most this many half-transparent surfaces are seen through at one sample; those behind them are left out.
BLEND_LAYERS = 8
# Alpha of a half-transparent surface from which it takes up a layer, counts as geometry (depth, normal,
# position), and hides what is behind it.
VISIBLE_ALPHA, SOLID_ALPHA, OPAQUE_ALPHA = 1 / 512, 0.1, 0.999


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

    slot (k, s, s) int32: which of the view's `raster.Triangles`, −1 for nothing; depth (k, s, s) float32.
    """

    slot: Array
    depth: Array


@lru_cache(maxsize=2)
def pack_scene(mesh: Mesh) -> Scene:
    """The mesh as flat arrays for the kernels; the last two meshes are remembered."""
    corners = np.empty((len(mesh.faces), 3, 9), np.float32)
    corners[..., :2] = 0 if mesh.corner_uv is None else mesh.corner_uv
    corners[..., 2:6] = 1 if mesh.corner_color is None else mesh.corner_color
    normal = face_normals(mesh)
    corners[..., 6:] = normal[:, None] if mesh.corner_normal is None else mesh.corner_normal
    materials = np.zeros(len(mesh.materials), MATERIAL).view(Records)
    textures: list[Array] = [np.zeros((0, 4), np.uint8)]
    first_texel: dict[int, int] = {}
    count = 0
    for row, m in zip(materials, mesh.materials, strict=True):
        row["red"], row["green"], row["blue"], row["alpha"] = m.base_color
        row["emissive_red"], row["emissive_green"], row["emissive_blue"] = m.emissive
        row["mode"], row["cutoff"] = _mode(m, mesh), m.alpha_cutoff
        row["double_sided"], row["unlit"], row["nearest"] = m.double_sided, m.unlit, m.filter == "nearest"
        row["wrap_u"], row["wrap_v"] = (WRAPS[w] for w in m.wrap)
        row["metallic"], row["roughness"] = m.metallic, m.roughness
        row["first"] = row["fine_first"] = row["glow_first"] = NO_TEXTURE
        maps = ("", m.texture), ("fine_", m.metallic_roughness), ("glow_", m.emissive_map)
        for prefix, texture in maps:
            if texture is None or mesh.corner_uv is None:
                continue
            if id(texture) not in first_texel:
                first_texel[id(texture)] = count
                textures.append(texture.reshape(-1, 4))
                count += len(textures[-1])
            row[f"{prefix}height"], row[f"{prefix}width"] = texture.shape[:2]
            row[f"{prefix}first"] = first_texel[id(texture)]
    vertices = mesh.vertices.astype(np.float64)
    texels = np.ascontiguousarray(np.concatenate(textures), np.uint8)
    alphas = np.ascontiguousarray(texels[:, 3])
    face_material = np.ascontiguousarray(mesh.face_material, np.int32)
    alpha_range = np.empty((len(mesh.faces), 2), np.float32)
    alpha_ranges(face_material, materials, corners, alphas, alpha_range)
    return Scene(
        vertices=vertices,
        extent=float(np.ptp(vertices, axis=0).max()) or 1.0,
        faces=np.ascontiguousarray(mesh.faces, np.int32),
        face_material=face_material,
        face_normal=normal,
        corners=corners,
        smooth=mesh.corner_normal is not None,
        colored=mesh.corner_color is not None,
        materials=materials,
        texels=texels,
        alphas=alphas,
        alpha_range=alpha_range,
    )


def _mode(material: Material, mesh: Mesh) -> int:
    """The alpha mode that a material needs: exporters like to mark opaque things MASK or BLEND."""
    if material.alpha_mode == "OPAQUE":
        return OPAQUE
    least = material.base_color[3]
    if material.texture is not None and mesh.corner_uv is not None:
        least *= material.texture[..., 3].min() / 255
    if mesh.corner_color is not None:
        least *= float(mesh.corner_color[..., 3].min())
    if least >= (material.alpha_cutoff if material.alpha_mode == "MASK" else 1):
        return OPAQUE
    return MASK if material.alpha_mode == "MASK" else BLEND


def _lens(camera: Camera) -> Lens:
    return Lens(camera.matrix, float(camera.half_extent), camera.ortho_scale is None)


def buffers(size: int, layers: int = 1) -> Visibility:
    """Room for `visibility`; worth keeping from view to view, since fresh memory costs more than the work."""
    return Visibility(np.empty((layers, size, size), np.int32), np.empty((layers, size, size), np.float32))


def visibility(
    scene: Scene, camera: Camera, size: int, wanted: Sequence[tuple[Array, Visibility]]
) -> raster.Triangles:
    """Fills each wanted (cutoff, out) with what the centres of its samples see; returns what its slots name.

    size: of the picture, in pixels; each ``out`` has 1 or the same number of samples a pixel and side. Of faces
    closer together than TIE the lowest id wins. A fragment whose alpha is below its material's cutoff (m,) is no
    surface; a negative cutoff never asks. Several layers hold only what lies before the first ``out``.
    """
    lens = _lens(camera)
    points = raster.project(scene.vertices, lens, size)
    # Depth is kept in float32: from far away its last digit is what coplanar surfaces differ by.
    tie = max(TIE * scene.extent, 2.0**-22 * raster.farthest(points))
    near = NEAR * scene.extent if lens.perspective else -np.inf
    density = wanted[0][1].slot.shape[1] // size
    triangles = raster.Triangles(*raster.set_up(scene, points, near, size, density))
    for cutoff, out in wanted:
        out.slot.fill(-1)
        # What lies on a solid surface (a decal) is in front of it.
        out.depth[:] = np.inf if len(out.depth) == 1 else wanted[0][1].depth + np.float32(2 * tie)
        raster.fill(scene, *triangles, out.slot.shape[1] // size, cutoff, near, tie, *out)
    return triangles


def render(
    mesh: Mesh,
    cameras: Sequence[Camera],
    size: int,
    *,
    shading: Shading = "unlit",
    samples: int = 2,
    occlusion: bool = False,
) -> Views:
    """Pictures of size × size pixels, one a camera.

    Colours average ``samples``² points a pixel; depth, normal and position are taken at its centre.
    ``unlit`` shows base colour and emission alone; ``studio`` lights it by a rig fixed to the object's
    frame, its sky only as far as the object leaves it open with ``occlusion``. One-sided faces are not seen
    from behind; half-transparent ones are geometry too.
    """
    if occlusion and shading != "studio":
        raise ValueError("occlusion darkens the studio's light: it needs shading='studio'")
    if shading not in ("unlit", "studio"):
        raise ValueError(f"shading is 'unlit' or 'studio', found {shading!r}")
    if size < 1 or samples < 1:
        raise ValueError(f"size and samples are at least 1, found {size} and {samples}")
    scene = pack_scene(mesh)
    blends = bool((scene.materials["mode"] == BLEND).any())
    opaque, centre, open_share = buffers(size * samples), buffers(size), np.ones((size, size), np.float32)
    layers = buffers(size * samples, BLEND_LAYERS) if blends else None
    shape = len(cameras), size, size
    views = Views(
        rgba=np.zeros((*shape, 4), np.float32),
        depth=np.full(shape, np.inf, np.float32),
        normal=np.zeros((*shape, 3), np.float32),
        position=np.zeros((*shape, 3), np.float32),
    )
    wanted = [(_cutoff(scene, OPAQUE_ALPHA), opaque)]
    if layers:
        glass = np.where(scene.materials["mode"] == BLEND, np.float32(VISIBLE_ALPHA), np.float32(np.inf))
        wanted.append((glass, layers))
    # One sample a pixel, at its centre, serves for both.
    if samples > 1 or layers:
        wanted.append((_cutoff(scene, SOLID_ALPHA), centre))
    glows = scene.texels if (scene.materials["glow_first"] != NO_TEXTURE).any() else None
    for i, camera in enumerate(cameras):
        faces, edges, _, box = visibility(scene, camera, size, wanted)
        window = _window(box, size)
        slot = np.concatenate([layers.slot, opaque.slot]) if layers else opaque.slot
        lens = _lens(camera)
        surface = views.depth[i], views.normal[i], views.position[i]
        surface_into(scene, lens, faces, edges, window, *wanted[-1][1], *surface)
        if occlusion:
            open_share.fill(1)
            open_into(_sky_maps(mesh), views.position[i], views.normal[i], window, open_share)
        lit = shading == "studio"
        shade_into(scene, glows, lens, faces, edges, window, samples, lit, slot, open_share, views.rgba[i])
    return views


@lru_cache(maxsize=2)
def _sky_maps(mesh: Mesh) -> SkyMaps:
    """The mesh seen from all around, both sides of its faces and nothing half-transparent."""
    scene = pack_scene(mesh)
    materials = scene.materials.copy()
    materials["double_sided"] = True
    scene = scene._replace(materials=materials)
    points = scene.vertices[np.unique(scene.faces)]
    centre = (points.min(0) + points.max(0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max()) * 1.02 or 1.0
    maps = SkyMaps(directions(DIRECTIONS), centre, radius, np.empty((DIRECTIONS, SIZE, SIZE), np.float32))
    found = buffers(SIZE)
    for axes, depth in zip(maps.axes, maps.depth, strict=True):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = axes.T, centre + radius * axes[2]
        camera = Camera(tuple(pose.ravel().tolist()), ortho_scale=2 * radius)
        visibility(scene, camera, SIZE, [(_cutoff(scene, OPAQUE_ALPHA), found)])
        depth[:] = found.depth[0]
    return maps


def _window(box: Array, size: int) -> tuple[int, int, int, int]:
    """Rows (from, to) and columns (from, to) of the pixels that boxes (n, 4) of `raster.Triangles` touch."""
    if not len(box):
        return 0, 0, 0, 0
    x_min, x_max, y_min, y_max = raster.extent(box)
    rows = int(max(y_min, 0)), math.ceil(min(y_max, size))
    return *rows, int(max(x_min, 0)), math.ceil(min(x_max, size))


def _cutoff(scene: Scene, blended: float) -> Array:
    """The alpha from which a surface of each material exists, (m,) float32; −1: any."""
    m = scene.materials
    # Interpolated alpha may be a rounding below the cutoff that its corners meet.
    return np.choose(m["mode"], (np.float32(-1), m["cutoff"] - np.float32(1e-6), np.float32(blended)))


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
            compose(views.rgba[i], background, tile)
        elif cell.channel == "depth":
            tile[:] = encode_depth(grid, views.depth[i])[..., None]
        elif cell.channel == "normal":
            axes = grid.normal_axes(cell.camera).astype(np.float32)
            tile[hit] = (views.normal[i] @ axes)[hit] / 2 + 0.5
        else:
            tile[hit] = np.clip(views.position[i][hit] + 0.5, 0, 1)
    return tiles
