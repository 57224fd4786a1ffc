"""The demo pack: closed models in five colours, honest drawings, complete metadata, equal bytes."""

import csv
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from lora3d.data_prep.artist_kit import PALETTE, to_mesh
from lora3d.data_prep.artist_models import RELICS
from lora3d.data_prep.artist_pack import COLUMNS, drawing_camera, write_pack
from lora3d.mesh import Mesh, load_mesh, normalise
from lora3d.render import render

SIZE = 128


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pack")
    write_pack(out, size=SIZE)
    return out


@pytest.fixture(scope="module")
def rows(pack: Path) -> list[dict[str, str]]:
    with (pack / "metadata.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def load(pack: Path, row: dict[str, str]) -> Mesh:
    return load_mesh(pack / row["file"])


def test_equal_seeds_write_equal_bytes_and_other_seeds_only_draw_anew(pack: Path, tmp_path: Path) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    write_pack(first, size=64)
    files = [path.relative_to(again) for path in write_pack(again, size=64)]
    assert files[-1] == Path("metadata.csv")
    assert sorted(files) == sorted(p.relative_to(pack) for p in pack.rglob("*") if p.is_file())
    assert all((first / file).read_bytes() == (again / file).read_bytes() for file in files)
    write_pack(other, seed=1, size=64)
    for file in files[:-1]:
        same = (first / file).read_bytes() == (other / file).read_bytes()
        assert same == (file.suffix == ".glb")


def test_metadata_is_complete(pack: Path, rows: list[dict[str, str]]) -> None:
    assert 24 <= len(rows) <= 30
    assert {row["file"] for row in rows} == {f"models/{p.name}" for p in (pack / "models").iterdir()}
    assert len({row["caption"] for row in rows}) == len(rows)
    for row in rows:
        assert tuple(row) == COLUMNS
        assert row["license"] == "CC0-1.0"
        assert all(row.values())


def test_every_subject_has_variants_so_that_a_fifth_can_be_held_out() -> None:
    stems = [build.__name__ for build, _ in RELICS]
    subjects = {stem.split("_")[0] for stem in stems}
    assert len(set(stems)) == len(stems)
    assert all(sum(stem.startswith(subject + "_") for stem in stems) >= 2 for subject in subjects)
    assert len(subjects) >= 10


def test_no_subject_is_one_of_the_bases() -> None:
    from lora3d.data_prep.procedural import FAMILIES

    families = {family.replace("_", " ") for family in FAMILIES}
    for build, caption in RELICS:
        words = {build.__name__.split("_")[0], *caption.split()}
        assert not words & families, caption


@pytest.mark.parametrize("build", [build for build, _ in RELICS], ids=lambda build: build.__name__)
def test_models_are_closed_outward_and_modest(build) -> None:
    for part in build():
        solid = trimesh.Trimesh(part.vertices, part.faces, process=False)
        assert solid.is_watertight and solid.is_winding_consistent
        assert solid.volume > 1e-5
        assert solid.area_faces.min() > 1e-7
    mesh = to_mesh(build())
    assert 300 <= len(mesh.faces) <= 3000
    assert normalise(mesh).vertices.shape == mesh.vertices.shape


def test_files_hold_the_models_in_five_colours(pack: Path, rows: list[dict[str, str]]) -> None:
    for row, (build, _) in zip(rows, RELICS, strict=True):
        mesh, made = load(pack, row), normalise(to_mesh(build()))
        assert len(mesh.faces) == len(made.faces)
        for end in ("min", "max"):
            bound = getattr(mesh.vertices, end)(axis=0) - getattr(made.vertices, end)(axis=0)
            assert np.abs(bound).max() < 1e-6
        assert {material.name for material in mesh.materials} <= set(PALETTE)
        seen = render(mesh, [drawing_camera(20, 15)], 64, samples=1).rgba[0]
        colors = {tuple(c) for c in (seen[seen[..., 3] == 1][:, :3] * 255).round().astype(int)}
        assert len(colors) >= 3 and colors <= {tuple(rgb) for rgb in PALETTE.values()}


def test_an_eye_looks_to_the_front(pack: Path, rows: list[dict[str, str]]) -> None:
    """A line through the picture meets the rings in order, and only seen from the front (−Y)."""
    names = list(PALETTE)
    palette = np.array(list(PALETTE.values())) / 255
    for row in rows:
        for azimuth_deg in (0, 180):
            rgba = render(load(pack, row), [drawing_camera(azimuth_deg, 0)], 192, samples=1).rgba[0]
            nearest = np.abs(rgba[:, :, None, :3] - palette).sum(-1).argmin(-1)
            nearest[rgba[..., 3] == 0] = -1
            lines = [[i for i, _ in groupby(line)] for line in (*nearest, *nearest.T)]
            texts = [" ".join(names[i] if i >= 0 else "-" for i in line) for line in lines]
            found = any("cream turquoise night turquoise cream" in text for text in texts)
            assert found == (azimuth_deg == 0), (row["file"], azimuth_deg)


def test_drawings_are_ink_on_white_from_where_they_say(pack: Path, rows: list[dict[str, str]]) -> None:
    for row in rows:
        name, _, angles = row["drawing"].partition("@")
        azimuth_deg, elevation_deg = map(float, angles.split(","))
        with Image.open(pack / name) as image:
            assert image.mode == "RGBA" and image.size == (SIZE, SIZE)
            rgba = np.asarray(image, dtype=np.float32) / 255
        drawn = rgba[..., 3] > 0.5
        paper = drawn & (rgba[..., :3].min(-1) > 0.9)
        dark = drawn & (rgba[..., :3].max(-1) < 0.3)
        assert 0.1 < drawn.mean() < 0.7, "neither blank nor cropped to nothing"
        assert not (drawn[0] | drawn[-1] | drawn[:, 0] | drawn[:, -1]).any()
        assert paper.sum() > 0.3 * drawn.sum() and dark.sum() > 0.08 * drawn.sum()
        assert np.ptp(rgba[drawn][:, :3], axis=1).max() < 0.06, "a pen, not a paint box"

        mesh = load(pack, row)
        here = render(mesh, [drawing_camera(azimuth_deg, elevation_deg)], SIZE, samples=3).rgba[0, ..., 3]
        assert np.abs(here - rgba[..., 3]).mean() < 0.002
