"""Drawings made from models: what an artist's reference may look like, from line art to a shaded picture."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from lora3d.camera import Array, Camera, orbit
from lora3d.errors import InputError
from lora3d.formats import STYLES
from lora3d.mesh import Mesh
from lora3d.render import Views, render

# Of a whole model, not of one view: see `draw_blueprint`.
BLUEPRINT = "blueprint"

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LIGHT = np.array([-0.45, -0.6, 0.66], np.float32)  # toward the light, world frame: from the upper left

CORNER_ELEVATIONS = (math.degrees(math.atan(0.5)), 30.0, math.degrees(math.atan(math.sqrt(0.5))), 45.0)


def random_camera(
    rng: np.random.Generator,
    *,
    azimuth_deg: float = 0.0,
    spread_deg: float = 40.0,
    elevation_deg: tuple[float, float] = (-10.0, 50.0),
) -> Camera:
    """A viewpoint of somebody who draws one side: ± `spread_deg` about `azimuth_deg`, seen whole.

    A quarter look straight on, a quarter from a game's usual corner, the others anywhere; half are
    orthographic, half perspective with a lens of 15 to 50 degrees.
    """
    kind = rng.random()
    turn, high = rng.uniform(-spread_deg, spread_deg), rng.uniform(*elevation_deg)
    if kind < 0.25:
        turn, high = turn * 0.15, min(max(0.0, elevation_deg[0]), elevation_deg[1]) + 0.15 * high
    elif kind < 0.5:
        turn = math.copysign(spread_deg * rng.uniform(0.6, 1.0), turn)
        high = min(max(rng.uniform(20.0, 36.0), elevation_deg[0]), elevation_deg[1])
    high = min(max(high, elevation_deg[0]), elevation_deg[1])
    return _with_some_lens(rng, azimuth_deg + turn, high, flat_share=0.5)


def game_camera(rng: np.random.Generator) -> Camera:
    """A viewpoint of games' art, mostly without perspective: four of five from a corner, the others from above.

    Corners are seen at the elevations of 2:1 pixels, of 30 degrees, of true isometry and of 45 degrees.
    """
    if rng.random() < 0.8:
        turn = math.copysign(45.0 - abs(rng.normal(0.0, 2.0)), rng.uniform(-1.0, 1.0))
        high = rng.choice(CORNER_ELEVATIONS) + rng.normal(0.0, 1.5)
    else:
        turn, high = rng.uniform(-1.0, 1.0) * rng.choice((5.0, 45.0)), 90.0 - abs(rng.normal(0.0, 20.0))
    return _with_some_lens(rng, turn, max(float(high), 0.0), flat_share=0.8)


def _with_some_lens(
    rng: np.random.Generator, azimuth_deg: float, elevation_deg: float, *, flat_share: float
) -> Camera:
    if rng.random() < flat_share:
        return orbit(azimuth_deg, elevation_deg, 1.5, ortho_scale=1.04)
    fov = float(rng.uniform(15.0, 50.0))
    return orbit(azimuth_deg, elevation_deg, 0.52 / math.sin(math.radians(fov) / 2), fov_deg=fov)


def draw(mesh: Mesh, camera: Camera, style: str, *, size: int = 128, seed: int = 0) -> Array:
    """A picture of a normalised mesh in one of `STYLES`: (size, size, 4) float32 sRGB, straight alpha.

    Alpha is the coverage of `render` in every style, so that a drawing tells what a rendering does about
    the outline. The seed chooses line width, ink, paper and light within the style:
    ``render`` albedo · ``shaded`` studio light · ``line`` ink on paper, sometimes with a wash or hatching ·
    ``flat`` albedo and outlines · ``silhouette`` one dark colour · ``soft`` blurred shading, colours a
    little off · ``toon`` two or three tones of shade and outlines.
    Raises InputError for an unknown style.
    """
    if style not in STYLES:
        raise InputError(f"no drawing style {style!r}: expected one of {', '.join(STYLES)}")
    rng = np.random.default_rng([seed, STYLES.index(style)])
    if style == "render":
        return render(mesh, [camera], size).rgba[0]
    if style == "silhouette":
        rgba = render(mesh, [camera], size).rgba[0]
        rgba[..., :3] = _ink(rng) * (rgba[..., 3:] > 0)
        return rgba
    if style in ("shaded", "soft"):
        rgba = render(mesh, [camera], size, shading="studio").rgba[0]
        return _soften(rgba, rng) if style == "soft" else rgba
    # Twice the size with one sample each: the samples of an ordinary rendering, edges found between them.
    views = render(mesh, [camera], 2 * size, samples=1)
    rgb, alpha = views.rgba[0, ..., :3], views.rgba[0, ..., 3]
    if style == "flat":
        rgb = _over(rgb, _ink(rng), _lines(views, size, rng, albedo=0.1))
    elif style == "toon":
        tones = _tones(views, rng)
        rgb = _over(rgb * tones[..., None], _ink(rng), _lines(views, size, rng, albedo=0.25))
    else:
        rgb = _line_art(views, size, rng)
    return _halve(rgb, alpha)


def draw_blueprint(mesh: Mesh, *, size: int = 256, seed: int = 0) -> Array:
    """Three line views of a normalised mesh on a blue ground: (size, size, 4) float32 sRGB, opaque.

    First-angle projection (ISO 5456-2): the front, right of it the left side, below it the view from above, all
    at one scale; sides that meet share their extent.
    """
    rng = np.random.default_rng([seed, len(STYLES)])
    half = size // 2
    places = {(0, 0): (0.0, 0.0), (0, 1): (270.0, 0.0), (1, 0): (0.0, 90.0)}
    cameras = [orbit(azimuth, elevation, 1.5, ortho_scale=1.2) for azimuth, elevation in places.values()]
    views = render(mesh, cameras, 2 * half, samples=1)
    ground = np.array([0.08, 0.24, 0.5], np.float32) + rng.normal(0, 0.03, 3).astype(np.float32)
    page = np.broadcast_to(np.append(ground.clip(0, 1), 1), (size, size, 4)).astype(np.float32)
    step = max(size // 24, 4)
    page[::step, :, :3] += 0.06
    page[:, ::step, :3] += 0.06
    style = int(rng.integers(2**31))
    for i, (row, column) in enumerate(places):
        one = Views(
            views.rgba[i : i + 1], views.depth[i : i + 1], views.normal[i : i + 1], views.position[i : i + 1]
        )
        # One pen for all three.
        ink = _lines(one, half, np.random.default_rng(style), albedo=0.15, steady=True)
        cover = (ink[::2, ::2] + ink[1::2, ::2] + ink[::2, 1::2] + ink[1::2, 1::2])[..., None] / 4
        part = page[row * half : (row + 1) * half, column * half : (column + 1) * half, :3]
        part += (np.float32(0.95) - part) * cover
    return page.clip(0, 1)


def _line_art(views: Views, size: int, rng: np.random.Generator) -> Array:
    """Ink on paper (2s, 2s, 3), with a grey wash, hatching or a hint of colour now and then."""
    paper: Array = np.ones(3, np.float32)
    if rng.random() < 0.3:
        paper = np.float32(1) - rng.uniform(0.0, 0.12, 3).astype(np.float32) * (0.3, 0.5, 1.0)
    ink = _ink(rng)
    page: Array = np.broadcast_to(paper, (*views.depth.shape[1:], 3)).astype(np.float32)
    kind = rng.random()
    if kind < 0.15:
        page = page * (0.55 + 0.45 * _tones(views, rng))[..., None]
    elif kind < 0.3:
        page = page * (1 - 0.6 * (1 - views.rgba[0, ..., :3] @ _LUMA))[..., None]
    elif kind < 0.45:
        page = page * 0.65 + 0.35 * views.rgba[0, ..., :3]
    elif kind < 0.57:
        y, x = np.indices(page.shape[:2], dtype=np.float32)
        step = max(4.0, size / 14) * float(rng.uniform(0.7, 1.5))
        phase = np.mod(x * float(rng.uniform(-1, 1)) + y, step) < step * 0.25
        page = _over(page, ink, (phase & (_tones(views, rng) < 0.9)).astype(np.float32) * 0.6)
    return _over(page, ink, _lines(views, size, rng, albedo=0.12))


def _ink(rng: np.random.Generator) -> Array:
    """A dark colour, mostly close to black: (3,) float32."""
    shade = rng.uniform(0.0, 0.15) if rng.random() < 0.75 else rng.uniform(0.1, 0.4)
    return np.clip(shade + rng.normal(0, 0.05, 3), 0, 0.5).astype(np.float32)


def _over(below: Array, color: Array, cover: Array) -> Array:
    return below + (color - below) * cover[..., None]


def _tones(views: Views, rng: np.random.Generator) -> Array:
    """Lambert shading in two or three flat steps: (2s, 2s) float32 in (0, 1]."""
    light = _LIGHT * (float(rng.choice((-1.0, 1.0))), 1.0, 1.0) + rng.normal(0, 0.15, 3)
    light /= np.linalg.norm(light)
    lambert = views.normal[0] @ light.astype(np.float32)
    steps = int(rng.integers(2, 4))
    dark = float(rng.uniform(0.45, 0.75))
    tone = np.clip(np.floor((lambert * 0.5 + 0.5) * steps + 0.25), 0, steps) / steps
    return (dark + (1 - dark) * np.minimum(tone * 1.05, 1.0)).astype(np.float32)


def _lines(
    views: Views, size: int, rng: np.random.Generator, *, albedo: float, steady: bool = False
) -> Array:
    """How much ink lies on each sample (2s, 2s) float32: outline, creases, overlaps and changes of colour.

    An edge lies where the outline is, where depth departs from the plane of its neighbours, where normals
    differ by more than 25 to 40 degrees, and where luminance or hue changes by more than `albedo`.
    """
    depth, normal, rgb = views.depth[0], views.normal[0], views.rgba[0, ..., :3]
    inside = np.isfinite(depth)
    edge = inside & ~_eroded(inside)
    flat = np.where(inside, depth, 9.0)
    crease = math.cos(math.radians(float(rng.uniform(25, 40))))
    light = (rgb @ _LUMA, rgb[..., 0] - rgb[..., 2])
    jump = 2.5 / size
    for axis in (0, 1):
        a, b = _halves(axis)
        both = inside[a] & inside[b]
        apart = np.einsum("ijk,ijk->ij", normal[a], normal[b]) < crease
        for channel in light:
            apart |= np.abs(channel[a] - channel[b]) > albedo
        edge[a] |= both & apart
        bend = np.abs(np.diff(flat, 2, axis=axis)) > jump
        step = np.diff(flat, axis=axis)
        # Of two surfaces the nearer one carries the line.
        near, far = _inner(axis)
        ahead = bend & (np.abs(step[near]) > jump)
        middle = _middle(axis)
        edge[middle] |= inside[middle] & ((ahead & (step[near] > 0)) | (bend & (step[far] < -jump)))
    width = size / 96 * float(rng.uniform(0.8, 2.2)) * 2
    ink = edge.astype(np.float32)
    if width > 1.5:
        from scipy import ndimage  # a fifth of a second, which not every worker of `prep` need wait for

        ink = ndimage.maximum_filter(ink, footprint=_nib(round(width)))
    wobble = float(rng.uniform(0, 2.0)) * size / 96
    if not steady and rng.random() < 0.35 and wobble > 0.3:
        ink = _wobbled(ink, wobble, rng)
    strength = 1.0 if rng.random() < 0.7 else float(rng.uniform(0.5, 0.95))
    return ink * inside * np.float32(strength)


def _eroded(mask: Array) -> Array:
    inner = np.zeros_like(mask)
    inner[1:-1, 1:-1] = mask[2:, 1:-1] & mask[:-2, 1:-1] & mask[1:-1, 2:] & mask[1:-1, :-2]
    return inner


def _halves(axis: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    whole, low, high = slice(None), slice(None, -1), slice(1, None)
    return ((low, whole), (high, whole)) if axis == 0 else ((whole, low), (whole, high))


def _inner(axis: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Of first differences (n − 1): the one after and the one before each inner sample."""
    whole, after, before = slice(None), slice(1, None), slice(None, -1)
    return ((after, whole), (before, whole)) if axis == 0 else ((whole, after), (whole, before))


def _middle(axis: int) -> tuple[slice, slice]:
    return (slice(1, -1), slice(None)) if axis == 0 else (slice(None), slice(1, -1))


@cache
def _nib(width: int) -> Array:
    """A round pen: (width, width) bool."""
    at = np.arange(width) - (width - 1) / 2
    return at[:, None] ** 2 + at**2 <= (width / 2) ** 2 + 0.2


def _wobbled(ink: Array, amount: float, rng: np.random.Generator) -> Array:
    """The same lines by a less steady hand: moved by up to `amount` samples, smoothly."""
    n = len(ink)
    t = np.arange(n, dtype=np.float32) / n * 2 * math.pi
    a, b, c, d = rng.uniform(1.5, 6.0, 4)
    dy = amount * np.sin(a * t + b)[:, None] * np.sin(c * t)[None]
    dx = amount * np.sin(d * t)[:, None] * np.sin(a * t + c)[None]
    i = np.arange(n)
    row = np.clip(np.rint(i[:, None] + dy), 0, n - 1).astype(np.intp)
    column = np.clip(np.rint(i[None] + dx), 0, n - 1).astype(np.intp)
    return ink[row, column]


def _soften(rgba: Array, rng: np.random.Generator) -> Array:
    """Blurs colours under the same coverage and moves them a little: paint rather than rendering."""
    from scipy import ndimage

    alpha = rgba[..., 3:]
    sigma = float(rng.uniform(0.4, 1.6)) * len(rgba) / 96
    bands = (*np.moveaxis(rgba[..., :3] * alpha, 2, 0), alpha[..., 0])
    sums = [ndimage.gaussian_filter(band, sigma, truncate=2.5) for band in bands]
    rgb = np.stack(sums[:3], axis=-1) / np.maximum(sums[3], 1e-4)[..., None]
    mix = rng.normal(0, 0.06, (3, 3)) + np.eye(3)
    mix /= mix.sum(1, keepdims=True)
    contrast, lift = float(rng.uniform(0.75, 1.25)), float(rng.normal(0, 0.04))
    rgb = (rgb @ mix.T.astype(np.float32) - 0.5) * contrast + 0.5 + lift
    if rng.random() < 0.4:
        rgb = rgb + rng.normal(0, 0.025, rgb.shape[:2])[..., None]
    return np.concatenate([np.clip(rgb, 0, 1) * (alpha > 0), alpha], axis=-1).astype(np.float32)


def _halve(rgb: Array, alpha: Array) -> Array:
    """Means of 2 × 2 samples, weighted by coverage, of colours as drawn: (s, s, 4) float32."""
    color = rgb * alpha[..., None]
    total = alpha[::2, ::2] + alpha[1::2, ::2] + alpha[::2, 1::2] + alpha[1::2, 1::2]
    color = color[::2, ::2] + color[1::2, ::2] + color[::2, 1::2] + color[1::2, 1::2]
    color = color / np.maximum(total, 1e-6)[..., None]
    return np.concatenate([np.clip(color, 0, 1), (total / 4)[..., None]], axis=-1).astype(np.float32)
