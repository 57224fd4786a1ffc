"""What loads but is wrong is said: inside out, mirrored, the wrong way up, cut off, of one colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_box
from test_match import make_chair, moved
from test_prep import GRID, save_drawing

from lora3d.data_prep.doubts import WAYS_UP, doubt_faces, doubt_frame
from lora3d.data_prep.folder import PrepReport, prep
from lora3d.data_prep.shapes import look_of
from lora3d.data_prep.sheets import show_sheets
from lora3d.dataset import Dataset, read_dataset
from lora3d.doctor import inspect_dataset
from lora3d.mesh import Mesh, glb_bytes, merge, normalise


def one_sided(mesh: Mesh) -> Mesh:
    return replace(mesh, materials=tuple(replace(m, double_sided=False) for m in mesh.materials))


CHAIR = one_sided(make_chair())
WAYS = ("upside down", "lying on its back", "lying on its side at +x")
TEXTS = {
    "inside out": "it seems to be inside out",
    "mirrored": "it seems to be mirrored",
    **{way: f"it seems to be {way}" for way in WAYS},
}


def inside_out(mesh: Mesh) -> Mesh:
    return replace(mesh, faces=np.ascontiguousarray(mesh.faces[:, ::-1]))


def mirrored(mesh: Mesh) -> Mesh:
    return replace(inside_out(mesh), vertices=mesh.vertices * np.array([-1, 1, 1], np.float32))


def fallen(mesh: Mesh, way: str) -> Mesh:
    """The mesh after the fall that its turning up would undo."""
    return replace(mesh, vertices=mesh.vertices @ np.array(WAYS_UP[way], np.float32))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[PrepReport, Dataset]:
    """One chair as it is and in every wrong way, all with the drawings of the right one; some boxes."""
    src = tmp_path_factory.mktemp("wrong")
    models = {"right": CHAIR, "inside out": inside_out(CHAIR), "mirrored": mirrored(CHAIR)}
    models |= {way: fallen(CHAIR, way) for way in WAYS}
    for azimuth in (35, 220):
        save_drawing(src / "d" / f"{azimuth}.png", CHAIR, azimuth)
    lines = ["file,caption,license,drawing"]
    for i, (name, mesh) in enumerate(models.items()):
        (src / f"{i}.glb").write_bytes(glb_bytes(mesh))
        lines.append(f"{i}.glb,{name},CC0-1.0,d/35.png;d/220.png")
    crate = make_box((1, 1.5, 2))
    (src / "crate.glb").write_bytes(glb_bytes(crate))
    (src / "snow.glb").write_bytes(glb_bytes(make_box((1, 2, 1), (1, 1, 1))))
    lines += ["crate.glb,crate,CC0-1.0,", "snow.glb,snow,CC0-1.0,"]
    (src / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    out = src.parent / f"{src.name}_out"
    return prep(src, out, grid=GRID, min_test=0), read_dataset(out)


def warnings_of(dataset: Dataset, caption: str) -> set[str]:
    return {row["warnings"] for row in dataset.index if row["caption"] == caption}


def test_each_wrong_import_gets_its_warning_and_the_right_one_none(
    prepared: tuple[PrepReport, Dataset],
) -> None:
    report, dataset = prepared
    assert warnings_of(dataset, "right") == {""}
    page = (dataset.path / "sheet.html").read_text(encoding="utf-8")
    for name, text in TEXTS.items():
        said = warnings_of(dataset, name)
        assert all(text in one for one in said), f"{name}: {said}"
        assert not any(other in one for one in said for other in TEXTS.values() if other != text)
        assert text in page and any(text in warning for warning in report.warnings)


def test_what_the_doctor_sees_in_views_is_a_warning_of_the_row(
    prepared: tuple[PrepReport, Dataset],
) -> None:
    report, dataset = prepared
    assert warnings_of(dataset, "crate") == {"the views are of a single colour"}
    assert warnings_of(dataset, "snow") == {"the views have the background's colour"}
    found = {f["text"]: f["rows"] for f in inspect_dataset(dataset.path)["findings"]}
    for text, caption in (
        ("the views are of a single colour", "crate"),
        ("the views have the background's colour", "snow"),
    ):
        assert found[f"1 rows: {text}"] == [row["id"] for row in dataset.index if row["caption"] == caption]
        assert any(text in warning for warning in report.warnings)


def test_an_inverted_hull_that_draws_an_outline_is_not_inside_out() -> None:
    hull = inside_out(replace(CHAIR, vertices=CHAIR.vertices * np.float32(1.03)))
    drawn = show_sheets(normalise(merge([CHAIR, hull])))
    assert doubt_faces(drawn, look_of(drawn)) == ""
    inverted = show_sheets(inside_out(CHAIR))
    assert doubt_faces(inverted, look_of(inverted)).startswith("it seems to be inside out")


def test_a_part_inside_out_counts_by_what_is_seen_of_it() -> None:
    big = one_sided(make_box())
    small = moved(replace(big, vertices=big.vertices * np.float32(0.2)), 0, 0, 0.4)
    for wrong, said in ((merge([inside_out(big), small]), True), (merge([big, inside_out(small)]), False)):
        mesh = normalise(wrong)
        assert bool(doubt_faces(mesh, look_of(mesh))) == said


# -- the frame of a drawing --------------------------------------------------------------------------


def drawn(ys: slice, xs: slice) -> np.ndarray:
    picture = np.zeros((80, 100, 4), np.float32)
    picture[ys, xs] = 1
    return picture


@pytest.mark.parametrize(
    ("ys", "xs", "said"),
    [
        (slice(10, 70), slice(10, 90), ""),
        (slice(0, 80), slice(0, 100), ""),  # trimmed to its object
        (slice(30, 50), slice(0, 100), ""),  # scaled to fill the picture's width
        (slice(10, 80), slice(10, 90), "bottom"),
        (slice(0, 60), slice(10, 90), "top"),
        (slice(0, 60), slice(0, 90), "left and the top"),
        (slice(10, 70), slice(50, 100), "right"),
    ],
)
def test_a_drawing_that_leaves_its_picture_at_one_side_is_cut_off(ys: slice, xs: slice, said: str) -> None:
    wanted = f"it touches the {said} of its picture: cut off?" if said else ""
    assert doubt_frame(drawn(ys, xs)) == wanted
