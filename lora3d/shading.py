"""Numba kernels that shade: the packed scene, its materials, and what each visible sample looks like."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lora3d.camera import Array
from lora3d.compiled import borrowed
from lora3d.light import studio_light
from lora3d.texels import (
    ALPHA,
    BLUE,
    GREEN,
    MASK,
    NO_TEXTURE,
    NX,
    NY,
    NZ,
    OPAQUE,
    RED,
    U,
    V,
    finish,
    helper,
    kernel,
    sample,
)

MIXED = -2
# Texels a pixel, squared, up to which one bilinear sample shows what several do.
LARGEST_STRIDE = 2.0
# As many triangles, 180 bytes each, may be in a core's own caches when they are shaded.
CACHED = 8192


class Scene(NamedTuple):
    """A mesh as flat arrays (f faces, v vertices, m materials, t texels).

    vertices (v, 3) float64; extent: the longest side of their box, or 1; faces (f, 3) int32; face_material (f,)
    int32; face_normal (f, 3) float32, unit, toward the side that sees the corners counter-clockwise; corners
    (f, 3, 9) float32, see U, RED, NX; smooth: whether the corners' normals differ from the face's; colored:
    whether the corners have colours; materials (m,) MATERIAL; texels (t, 4) uint8 sRGB straight alpha, rows
    top-down, texture by texture; alphas (t,): theirs alone, which is all that drawing asks for; alpha_range (f, 2)
    float32: between which each face's alpha lies.
    """

    vertices: Array
    extent: float
    faces: Array
    face_material: Array
    face_normal: Array
    corners: Array
    smooth: bool
    colored: bool
    materials: Array
    texels: Array
    alphas: Array
    alpha_range: Array


class Lens(NamedTuple):
    """A camera for the kernels: pose (4, 4) camera-to-world; half_extent; whether it is perspective."""

    pose: Array
    half_extent: float
    perspective: bool


def _linear_to_srgb(value: Array) -> Array:
    return np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1 / 2.4) - 0.055)


# Linear interpolation in 4096 steps is within 2e-5 of the curve.
ENCODE_STEPS = 4096
ENCODE = np.append(_linear_to_srgb(np.arange(ENCODE_STEPS + 1) / ENCODE_STEPS), 1.0).astype(np.float32)


@helper
def _encode(value):
    scaled = min(max(value, 0.0), 1.0) * ENCODE_STEPS
    index = int(scaled)
    return ENCODE[index] + (ENCODE[index + 1] - ENCODE[index]) * (scaled - index)


@helper
def weights(edges, n, x, y):
    """Barycentrics of triangle n of `raster.Triangles` at (x, y) in pixels: of its second and third corner."""
    n = np.uint64(n)
    e0 = edges[n, 0, 0] * x + (edges[n, 0, 1] * y + edges[n, 0, 2])
    e1 = edges[n, 1, 0] * x + (edges[n, 1, 1] * y + edges[n, 1, 2])
    e2 = edges[n, 2, 0] * x + (edges[n, 2, 1] * y + edges[n, 2, 2])
    share = 1 / (e0 + e1 + e2)
    return np.float32(e1 * share), np.float32(e2 * share)


@helper
def _mix(corners, f, k, u, v):
    """Column k of the corners of face f at barycentrics (1 - u - v, u, v)."""
    f = np.uint64(f)
    return (np.float32(1) - u - v) * corners[f, 0, k] + u * corners[f, 1, k] + v * corners[f, 2, k]


@helper
def _stride(material, corners, edges, n, f, x, y):
    """How many texels a step of one pixel moves at (x, y) in triangle n, of face f: the longer of two, squared."""
    n = np.uint64(n)
    total = slope_x = slope_y = ax = ay = bx = by = 0.0
    u, v = weights(edges, n, x, y)
    for i in range(3):
        total += edges[n, i, 0] * x + edges[n, i, 1] * y + edges[n, i, 2]
        slope_x, slope_y = slope_x + edges[n, i, 0], slope_y + edges[n, i, 1]
    for i in range(3):
        # Barycentrics are edges over their sum: the quotient's derivatives.
        share = u if i == 1 else (v if i == 2 else 1 - u - v)
        dx, dy = edges[n, i, 0] - share * slope_x, edges[n, i, 1] - share * slope_y
        ax, ay = ax + corners[f, i, U] * dx, ay + corners[f, i, U] * dy
        bx, by = bx + corners[f, i, V] * dx, by + corners[f, i, V] * dy
    ax, ay, bx, by = ax * material.width, ay * material.width, bx * material.height, by * material.height
    return max(ax * ax + bx * bx, ay * ay + by * by) / (total * total)


@helper
def _once(material, glows, corners, edges, n, f, x, y):
    """Whether one sample shows what is painted on triangle n, of face f, within the pixel around (x, y)."""
    if glows is not None:
        return False
    if material.first == NO_TEXTURE:
        return True
    return not material.nearest and _stride(material, corners, edges, n, f, x, y) <= LARGEST_STRIDE


@helper
def _tint(material, corners, colored, f, u, v):
    """What multiplies the texture of face f: linear rgba, not premultiplied; alpha is 1 where it does not count."""
    r, g, b, a = material.red, material.green, material.blue, material.alpha
    if colored:
        r *= _mix(corners, f, RED, u, v)
        g *= _mix(corners, f, GREEN, u, v)
        b *= _mix(corners, f, BLUE, u, v)
        a *= _mix(corners, f, ALPHA, u, v)
    if material.mode == OPAQUE:
        a = np.float32(1)
    return r, g, b, a


@helper
def _normal(face_normal, corners, smooth, f, u, v, dx, dy, dz):
    """The shading normal of face f, turned to the side that a ray along d sees."""
    f = np.uint64(f)
    x, y, z = np.float64(face_normal[f, 0]), np.float64(face_normal[f, 1]), np.float64(face_normal[f, 2])
    if x * dx + y * dy + z * dz > 0:
        x, y, z = -x, -y, -z
    if not smooth:
        return x, y, z
    sx = np.float64(_mix(corners, f, NX, u, v))
    sy = np.float64(_mix(corners, f, NY, u, v))
    sz = np.float64(_mix(corners, f, NZ, u, v))
    # Files disagree on winding and on which side their normals are: the visible side decides.
    if sx * x + sy * y + sz * z < 0:
        sx, sy, sz = -sx, -sy, -sz
    # At a silhouette an interpolated normal may look away: bend it until it is seen edge-on.
    away = sx * dx + sy * dy + sz * dz
    if away > 0:
        away /= dx * dx + dy * dy + dz * dz
        sx, sy, sz = sx - away * dx, sy - away * dy, sz - away * dz
    square = sx * sx + sy * sy + sz * sz
    if square < 1e-12:
        return x, y, z
    scale = 1 / math.sqrt(square)
    return sx * scale, sy * scale, sz * scale


@helper
def _direction(pose, perspective, cx, cy):
    """The direction of the ray through (cx, cy), the image point in units of the frame at depth 1."""
    dx, dy, dz = -pose[0, 2], -pose[1, 2], -pose[2, 2]
    if perspective:
        dx += pose[0, 0] * cx + pose[0, 1] * cy
        dy += pose[1, 0] * cx + pose[1, 1] * cy
        dz += pose[2, 0] * cx + pose[2, 1] * cy
    return dx, dy, dz


@helper
def _seen(slot, faces, edges, corners, row, window, samples):
    """How often a row of pixels, in any layer, sees another triangle than one sample before; each one's data are read.

    To shade a sample is long and what it reads lies far apart, so that each read is waited for; here a processor
    waits for those of many samples at once. The product by zero keeps the reads in the program.
    """
    found, before = 0.0, -1
    for k in range(len(slot)):
        for i in range(row * samples, (row + 1) * samples):
            for j in range(window[2] * samples, window[3] * samples):
                if slot[k, i, j] != before:
                    before = slot[k, i, j]
                    if before >= 0:
                        n = np.uint64(before)
                        f = np.uint64(faces[n])
                        read = edges[n, 0, 0] + edges[n, 2, 2]
                        read += corners[f, 0, 0] + corners[f, 1, 3] + corners[f, 2, 8]
                        found += 1 + 0 * read
    return found


@kernel
def surface_into(scene, lens, faces, edges, window, slot, depth, out_depth, out_normal, out_position):
    """Depth, normal and position of the first layer at the pixels' centres, into arrays of that size."""
    scene, lens, faces, edges, slot, depth = borrowed((scene, lens, faces, edges, slot, depth))
    out_depth, out_normal, out_position = borrowed((out_depth, out_normal, out_position))
    face_normal, corners, smooth = scene.face_normal, scene.corners, scene.smooth
    pose, half_extent, perspective = lens.pose, lens.half_extent, lens.perspective
    size = slot.shape[1]
    step, scattered = 2 * half_extent / size, len(faces) > CACHED
    for row in range(window[0], window[1]):
        if scattered and not _seen(slot, faces, edges, corners, row, window, 1):
            continue
        cy = half_extent - (row + 0.5) * step
        for column in range(window[2], window[3]):
            n = slot[0, row, column]
            if n < 0:
                continue
            z, cx = depth[0, row, column], (column + 0.5) * step - half_extent
            dx, dy, dz = _direction(pose, perspective, cx, cy)
            u, v = weights(edges, n, column + 0.5, row + 0.5)
            nx, ny, nz = _normal(face_normal, corners, smooth, np.uint64(faces[n]), u, v, dx, dy, dz)
            out_normal[row, column, 0], out_normal[row, column, 1], out_normal[row, column, 2] = nx, ny, nz
            out_depth[row, column] = z
            scale = z if perspective else np.float32(1)
            for k in range(3):
                across = (pose[k, 0] * cx + pose[k, 1] * cy) * scale
                out_position[row, column, k] = pose[k, 3] + across - pose[k, 2] * z


@helper
def _lit(material, glows, corners, f, u, v, r, g, b, a, light, gloss):
    """What is seen of a base colour under a light: at most white, premultiplied as before."""
    er, eg, eb = material.emissive_red, material.emissive_green, material.emissive_blue
    if glows is not None and material.glow_first != NO_TEXTURE:
        s, t = _mix(corners, f, U, u, v), _mix(corners, f, V, u, v)
        first, width, height = material.glow_first, material.glow_width, material.glow_height
        tr, tg, tb, _ = sample(material, glows, first, width, height, True, s, t)
        er, eg, eb = er * tr, eg * tg, eb * tb
    r = r * light + a * (er + gloss)
    g = g * light + a * (eg + gloss)
    b = b * light + a * (eb + gloss)
    # Clipped before averaging, or bright samples would eat the edges.
    return min(r, a), min(g, a), min(b, a)


@helper
def _only(slot, row, column, samples):
    """The triangle that all samples of a pixel see in a single layer; −1: none at all; MIXED: several."""
    n = slot[0, row * samples, column * samples]
    same = len(slot) == 1
    for i in range(row * samples, (row + 1) * samples):
        for j in range(column * samples, (column + 1) * samples):
            same &= slot[0, i, j] == n
    return n if same else MIXED


@helper
def _tinted(looked_at, material, corners, f, u, v, x, y, to_lens, open_share):
    """Tint and light (r, g, b, a, light, gloss) of face f at barycentrics (1 - u - v, u, v), (x, y) in pixels."""
    (smooth, colored, lit), (pose, half_extent, perspective), normals, texels = looked_at
    r, g, b, a = _tint(material, corners, colored, f, u, v)
    light, gloss = 1.0, 0.0
    if lit and not material.unlit:
        d = _direction(pose, perspective, x * to_lens - half_extent, half_extent - y * to_lens)
        normal = _normal(normals, corners, smooth, f, u, v, d[0], d[1], d[2])
        metallic, roughness = np.float64(material.metallic), np.float64(material.roughness)
        if material.fine_first != NO_TEXTURE:
            rough, metal = finish(material, texels, _mix(corners, f, U, u, v), _mix(corners, f, V, u, v))
            metallic, roughness = metallic * metal, roughness * rough
        light, gloss = studio_light(normal, d, metallic, roughness, open_share)
    return r, g, b, a, np.float32(light), np.float32(gloss)


@helper
def _textured(material, texels, corners, f, u, v, r, g, b, a):
    """A tint (r, g, b, a) times the texture of face f at barycentrics (1 - u - v, u, v): premultiplied rgba."""
    r, g, b = r * a, g * a, b * a
    if material.first != NO_TEXTURE:
        s, t = _mix(corners, f, U, u, v), _mix(corners, f, V, u, v)
        first, width, height = material.first, material.width, material.height
        tr, tg, tb, ta = sample(material, texels, first, width, height, material.mode == OPAQUE, s, t)
        r, g, b, a = r * tr, g * tg, b * tb, a * ta
    if material.mode == MASK and a > 0:  # what is not cut out is solid
        whole = 1 / a
        r, g, b, a = r * whole, g * whole, b * whole, np.float32(1)
    return r, g, b, a


@helper
def _plain(material, glows, colored, lit):
    """Whether a triangle that faces the viewer looks the same all over."""
    return glows is None and material.first == NO_TEXTURE and not colored and (material.unlit or not lit)


@helper
def _repeated(again, rgba, row, column):
    """Copies the pixel to the left if it is to be shown again; says whether it was."""
    if again:
        for c in range(4):
            rgba[row, column, c] = rgba[row, column - 1, c]
    return again


@helper
def _store(rgba, row, column, red, green, blue, alpha, share):
    """A pixel from sums of premultiplied linear samples, of which each counts ``share``."""
    whole = 1 / alpha
    rgba[row, column, 0] = _encode(red * whole)
    rgba[row, column, 1] = _encode(green * whole)
    rgba[row, column, 2] = _encode(blue * whole)
    rgba[row, column, 3] = min(alpha * share, 1.0)


@kernel
def shade_into(scene, glows, lens, faces, edges, window, samples, studio, slot, open_share, rgba):
    """Colours (s, s, 4) sRGB straight alpha from the layers (k, s·samples, s·samples) of a `Visibility`, in place.

    glows: the scene's texels if any material has a texture of emission, else None. faces and edges are those of
    `raster.Triangles`; window: rows (from, to) and columns (from, to) of the pixels that may see something; open_share
    (s, s): how much of the sky's light comes to each. Layers are composed front to back, samples averaged; both
    premultiplied and linear. Where all samples of a pixel see one triangle, tint and light are taken once, at its
    centre, and so is a filtered texture whose texels are no smaller than a pixel in which the row meets it first.
    """
    scene, glows, lens = borrowed((scene, glows, lens))
    faces, edges, slot, open_share, rgba = borrowed((faces, edges, slot, open_share, rgba))
    materials, texels, corners = scene.materials, scene.texels, scene.corners
    face_material, normals = scene.face_material, scene.face_normal
    seen = (scene.smooth, scene.colored, studio), lens, normals, texels
    step, to_lens, scattered = 1 / samples, 2 * lens.half_extent / rgba.shape[0], len(faces) > CACHED
    for row in range(window[0], window[1]):
        if scattered and not _seen(slot, faces, edges, corners, row, window, samples):
            continue
        last, once, plain = -1, False, False
        for column in range(window[2], window[3]):
            n, side = _only(slot, row, column, samples), samples
            new, last = n != last, n
            if _repeated(n >= 0 and plain and not new, rgba, row, column) or n == -1:
                continue
            alike, sky = n >= 0, open_share[row, column]
            tr = tg = tb = ta = light = gloss = np.float32(1)
            if alike:
                f = np.uint64(faces[n])
                material = materials[face_material[f]]
                x, y = column + 0.5, row + 0.5
                if new:
                    plain = _plain(material, glows, scene.colored, studio)
                    once = _once(material, glows, corners, edges, n, f, x, y)
                side = 1 if once else samples
                u, v = weights(edges, n, x, y)
                tr, tg, tb, ta, light, gloss = _tinted(seen, material, corners, f, u, v, x, y, to_lens, sky)
            red = green = blue = alpha = np.float32(0)
            for i in range(row * samples, row * samples + side):
                for j in range(column * samples, column * samples + side):
                    clear = np.float32(1)
                    for k in range(len(slot)):
                        n = slot[k, i, j]
                        if n < 0:
                            continue
                        f = np.uint64(faces[n])
                        material = materials[face_material[f]]
                        if side > 1 or not alike:
                            x, y = (j + 0.5) * step, (i + 0.5) * step
                            u, v = weights(edges, n, x, y)
                        if not alike:
                            tr, tg, tb, ta, light, gloss = _tinted(
                                seen, material, corners, f, u, v, x, y, to_lens, sky
                            )
                        r, g, b, a = _textured(material, texels, corners, f, u, v, tr, tg, tb, ta)
                        r, g, b = _lit(material, glows, corners, f, u, v, r, g, b, a, light, gloss)
                        red, green, blue = red + clear * r, green + clear * g, blue + clear * b
                        alpha += clear * a
                        clear *= 1 - a
            if alpha > 0:
                _store(rgba, row, column, red, green, blue, alpha, 1 / (side * side))


@kernel
def compose(rgba, background, out):
    """Straight rgba (h, w, 4) over a background (3,) into (h, w, 3); mixed as they are, in sRGB."""
    for row in range(rgba.shape[0]):
        for column in range(rgba.shape[1]):
            alpha = rgba[row, column, 3]
            for c in range(3):
                out[row, column, c] = rgba[row, column, c] * alpha + background[c] * (1 - alpha)
