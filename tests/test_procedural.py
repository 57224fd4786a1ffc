"""Procedural shapes: the same from the same seed, closed and outward, and varied."""

from __future__ import annotations

import hashlib
import inspect
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lora3d.camera import orbit
from lora3d.data_prep import assemblies, deform, plans, procedural
from lora3d.data_prep import primitives as g
from lora3d.data_prep.paint import COLORS, PATTERNS, color_name, harmony, palette, pattern
from lora3d.data_prep.parts import Part, build_mesh
from lora3d.data_prep.procedural import FAMILIES, Shape, article, make_shape
from lora3d.data_prep.solids import _MAKERS, random_solid
from lora3d.mesh import Mesh
from lora3d.render import render

KINDS = ("assembly", "named")


def digest(shape: Shape) -> str:
    mesh = shape.mesh
    arrays = [mesh.vertices, mesh.faces, mesh.face_material]
    arrays += [a for a in (mesh.corner_uv, mesh.corner_color, mesh.corner_normal) if a is not None]
    arrays += [m.texture for m in mesh.materials if m.texture is not None]
    text = repr((shape.caption, shape.family, shape.colors, [(m.name, m.base_color) for m in mesh.materials]))
    return hashlib.sha256(
        b"".join(np.ascontiguousarray(a).tobytes() for a in arrays) + text.encode()
    ).hexdigest()


def volume(s: g.Solid) -> float:
    a, b, c = (s.v[s.f[:, i]] for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def open_edges(s: g.Solid) -> int:
    """Directed edges whose opposite is missing or that occur twice."""
    n = len(s.v)
    e = np.concatenate([s.f[:, [0, 1]], s.f[:, [1, 2]], s.f[:, [2, 0]]])
    forward, back = e[:, 0] * n + e[:, 1], e[:, 1] * n + e[:, 0]
    return int((~np.isin(forward, back)).sum()) + len(forward) - len(np.unique(forward))


def silhouette(mesh: Mesh) -> np.ndarray:
    cameras = [orbit(0, 0, 1.5, ortho_scale=1.04), orbit(90, 0, 1.5, ortho_scale=1.04)]
    return render(mesh, cameras, 32, samples=1).rgba[..., 3] > 0.5


def test_a_seed_is_a_shape_in_every_process() -> None:
    wanted = [(seed, kind) for kind in KINDS for seed in range(20)]
    here = [digest(make_shape(*key)) for key in wanted]
    assert here == [digest(make_shape(*key)) for key in wanted]
    assert len(set(here)) == len(here)
    code = f"""
from __future__ import annotations
import hashlib
import inspect
import numpy as np
from lora3d.data_prep.procedural import Shape, make_shape
{inspect.getsource(digest)}
print(*(digest(make_shape(*key)) for key in reversed({wanted!r})))
"""
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.split()[::-1] == here


def test_named_and_random_shapes_of_one_seed_differ() -> None:
    assert make_shape(3, "named").family in FAMILIES
    assert make_shape(3, "assembly").family == "assembly"


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_are_normalised_small_and_painted(kind: str) -> None:
    for seed in range(100):
        shape = make_shape(seed, kind)
        mesh = shape.mesh
        used = mesh.vertices[np.unique(mesh.faces)]
        assert np.abs(used.max(0) + used.min(0)).max() < 1e-5
        assert np.linalg.norm(used, axis=1).max() == pytest.approx(0.5, abs=1e-5)
        assert 8 <= len(mesh.faces) <= 2500
        assert shape.colors and set(shape.colors) <= set(COLORS)
        assert all(0 <= c <= 1 for m in mesh.materials for c in m.base_color)
        assert mesh.corner_color is None or (mesh.corner_color.min() >= 0 and mesh.corner_color.max() <= 1)
        a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
        assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_face_looks_inward(kind: str) -> None:
    # What is seen of one-sided faces alone is all that is seen: depth does not change with their backs.
    cameras = [orbit(30, 20, 1.5, ortho_scale=1.04), orbit(200, -30, 1.5, ortho_scale=1.04)]
    wrong = []
    for seed in range(40):
        mesh = make_shape(seed, kind).mesh
        assert not any(m.double_sided for m in mesh.materials)
        both = replace(mesh, materials=tuple(replace(m, double_sided=True) for m in mesh.materials))
        one, two = (render(m, cameras, 48, samples=1).depth for m in (mesh, both))
        wrong.append(float((np.isfinite(one) != np.isfinite(two)).mean()))
    assert np.mean(np.array(wrong) > 0.002) <= 0.05


@pytest.mark.parametrize(
    ("solid", "expected"),
    [
        (g.box(1, 2, 3), 6.0),
        (g.box(1, 2, 3, cuts=3), 6.0),
        (g.box(2, 2, 3, top=0.0), 4.0),
        (g.cylinder(1, 2, 64), 2 * np.pi),
        (g.cylinder(1, 3, 64, top=0.0), np.pi),
        (g.sphere(1, 48, 24), 4 / 3 * np.pi),
        (g.sphere(1, 48, 24, share=0.5), 2 / 3 * np.pi),
        (g.capsule(0.5, 3, 48, 12), 0.25 * np.pi * 2 + 4 / 3 * np.pi * 0.125),
        (g.ring(1, 0.25, 64, 32), 2 * np.pi**2 * 0.25**2),
        (g.pipe(1, 1, 0.5, 64), np.pi * 0.75),
        (g.extrude(g.rect(2, 2), 1, holes=[g.rect(1, 1)]), 3.0),
        (g.plate_x(g.rect(2, 2), 0.5), 2.0),
        (g.plate_y(g.rect(2, 2), 0.5), 2.0),
        (g.rod((0, 0, 0), (0, 3, 4), 0.5, 64), np.pi * 0.25 * 5),
        (g.beam((0, 0, 0), (1, 2, 2), 0.5, 0.4), 0.6),
        (g.heightfield(np.full((4, 5), 2.0)), 2.0),
        (g.box(1, 1, 1).mirror(), 1.0),
        (g.box(1, 1, 1).size(2, -3, 1), 6.0),
        (deform.shear(g.box(1, 1, 1), 0.5, 0.3), 1.0),
        (deform.taper(g.box(2, 2, 3, cuts=30), 0.5), 3 * (4 + 2 + 1) / 3),
    ],
)
def test_solids_are_closed_and_have_their_volume(solid: g.Solid, expected: float) -> None:
    assert open_edges(solid) == 0
    assert volume(solid) == pytest.approx(expected, rel=0.01)


def test_soft_boxes_keep_their_size() -> None:
    for steps in (1, 2, 4):
        s = g.soft_box(1.0, 2.0, 0.5, 0.1, steps=steps)
        assert open_edges(s) == 0
        np.testing.assert_allclose(np.ptp(s.v, axis=0), (1.0, 2.0, 0.5), atol=0.01)
        assert 0.9 < volume(s) < 1.0


def test_bending_and_twisting_keep_a_bar_closed() -> None:
    bar = g.box(0.3, 0.3, 2, cuts=20)
    for bent in (deform.bend(bar, 90), deform.bend(bar, -60), deform.twist(bar, 120)):
        assert open_edges(bent) == 0
        assert volume(bent) == pytest.approx(0.18, rel=0.03)


def test_every_random_solid_is_outward_and_fits_its_box() -> None:
    rng = np.random.default_rng(0)
    names = set()
    for _ in range(600):
        size = rng.uniform(0.2, 2.0, 3)
        solid, name = random_solid(rng, *size)
        names.add(name)
        assert volume(solid) > 0, name
        assert solid.v[:, 2].min() == pytest.approx(0, abs=1e-9)
        assert (np.ptp(solid.v, axis=0) <= size + 1e-9).all()
    assert len(names) > len(_MAKERS)


@pytest.mark.parametrize(
    "plan",
    [
        plans.cabinet,
        plans.voxels,
        plans.creature,
        plans.craft,
        plans.plant,
        plans.panelled,
        plans.wall,
        plans.profile,
    ],
)
def test_every_part_of_a_plan_is_outward(plan) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        for part in plan(rng, assemblies._paints(rng), 1.0, 0.8, 1.2):
            assert volume(part.solid) > 0, part.name


def family(name: str, seed: int) -> tuple[list[Part], list[str]]:
    rng = np.random.default_rng([seed, 5])
    return procedural._FAMILIES[name](rng, palette(rng))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_outward_parts_and_varied_silhouettes(name: str) -> None:
    shapes = []
    for seed in range(6):
        parts, words = family(name, seed)
        assert all(volume(p.solid) > 0 for p in parts), [p.name for p in parts if volume(p.solid) <= 0]
        assert all(isinstance(w, str) for w in words)
        shapes.append(silhouette(build_mesh(parts, smooth=False)))
    overlap = [
        (a & b).sum() / (a | b).sum() for i, a in enumerate(shapes) for b in shapes[i + 1 :] if (a | b).any()
    ]
    assert np.median(overlap) < 0.95


def test_captions_name_the_family_and_a_true_colour() -> None:
    seen = set()
    for seed in range(300):
        shape = make_shape(seed, "named")
        seen.add(shape.family)
        assert shape.family in shape.caption
        assert any(color in shape.caption for color in shape.colors)
        assert "  " not in shape.caption and shape.caption == shape.caption.strip()
        assembly = make_shape(seed, "assembly")
        assert any(color in assembly.caption for color in assembly.colors)
    assert len(seen) > 0.85 * len(FAMILIES) and len(FAMILIES) >= 60


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("orange chair", "an orange chair"),
        ("red bus", "a red bus"),
        ("red cherries with stems", "red cherries with stems"),
        ("blue water", "blue water"),
    ],
)
def test_articles(phrase: str, expected: str) -> None:
    assert article(phrase) == expected


def test_colours_span_black_white_and_every_hue() -> None:
    rng = np.random.default_rng(0)
    colors = np.array([c for _ in range(400) for c in harmony(rng, 3)])
    luma = colors @ (0.299, 0.587, 0.114)
    assert (luma < 0.15).mean() > 0.03 and (luma > 0.85).mean() > 0.03
    assert len({color_name(c) for c in colors}) > 0.85 * len(COLORS)
    assert all(color_name(rgb) == name for name, rgb in COLORS.items())


@pytest.mark.parametrize("kind", PATTERNS)
def test_textures_have_two_tones(kind: str) -> None:
    texture = pattern(np.random.default_rng(2), kind, (0.9, 0.1, 0.1), (0.1, 0.1, 0.9))
    assert texture.shape == (32, 32, 3) and texture.dtype == np.uint8
    assert len(np.unique(texture.reshape(-1, 3), axis=0)) >= 2


def test_textured_meshes_have_coordinates_and_smooth_ones_unit_normals() -> None:
    smooth = textured = 0
    for seed in range(60):
        mesh = make_shape(seed, "assembly").mesh
        if any(m.texture is not None for m in mesh.materials):
            textured += 1
            assert mesh.corner_uv is not None and np.isfinite(mesh.corner_uv).all()
        if mesh.corner_normal is not None:
            smooth += 1
            np.testing.assert_allclose(np.linalg.norm(mesh.corner_normal, axis=-1), 1, atol=1e-3)
    assert 10 < smooth < 50 and textured > 5
