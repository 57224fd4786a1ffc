"""A list of drawings and sentences: every line ends in a file or a reason, and a second run makes nothing twice."""

from __future__ import annotations

import csv
import os

import numpy as np
import pytest
from PIL import Image

from lora3d.answer import Answer
from lora3d.batch import Job, Outcome, _finish, generate_batch, read_jobs, write_sheet
from lora3d.errors import InputError
from lora3d.generate import load
from lora3d.grid import PRESETS
from lora3d.mesh import load_mesh

BOX = PRESETS["box6"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawings")
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        picture = np.full((60, 60, 3), 255, np.uint8)
        picture[10:50, 20:40] = rng.integers(0, 200, 3)
        Image.fromarray(picture).save(folder / f"{name}.png")
    Image.new("RGB", (20, 20), "white").save(folder / "blank.png")
    lines = ["image,prompt,name,seed", "a.png,,,", "b.png,a red box,my box,3", ",a blue chair,,"]
    lines += ["none.png,,,", "blank.png,,,", ",,,", "a.png,,,1"]
    (folder / "list.csv").write_text("\n".join(lines))
    return folder


def test_names_are_safe_and_unique(folder):
    jobs = read_jobs(folder / "list.csv")
    assert [j.name for j in jobs] == ["a", "my_box", "row-0003", "none", "blank", "row-0006", "a-2"]
    assert jobs[1].seed == 3 and jobs[1].prompt == "a red box"


def test_a_line_says_where_its_drawing_was_seen_from(folder, tmp_path):
    path = folder / "seen.csv"
    path.write_text('image,name\n"a.png@-30,20",x\na.png,y\n')
    jobs = read_jobs(path)
    assert [(j.image.name, j.seen_deg) for j in jobs] == [("a.png", (-30.0, 20.0)), ("a.png", None)]
    path.write_text("image,prompt\na.png@-30,20\n")
    with pytest.raises(InputError, match="line 2.*quoted"):
        read_jobs(path)


def test_a_name_is_numbered_until_it_is_free(tmp_path):
    names = ["a", "a-2", "a", "A", "Sheet", "results"]
    (tmp_path / "list.csv").write_text("prompt,name\n" + "".join(f"a box,{n}\n" for n in names))
    jobs = read_jobs(tmp_path / "list.csv")
    assert [j.name for j in jobs] == ["a", "a-2", "a-3", "A-4", "Sheet-2", "results-2"]


def test_no_input_is_overwritten_and_no_output_twice(folder, toy_base, tmp_path):
    generator = load(toy_base, precision="fp32")
    before = (folder / "a.png").read_bytes()
    with pytest.raises(InputError, match=r"a\.png was given and would be overwritten"):
        generate_batch(generator, read_jobs(folder / "list.csv"), folder, workers=0)
    with pytest.raises(InputError, match=r"results\.csv was given"):
        generate_batch(generator, [Job("b", None, "a box", 0, tmp_path / "results.csv")], tmp_path, workers=0)
    with pytest.raises(InputError, match=r"a_texture\.png would be written twice"):
        jobs = [Job(name, None, "a box", 0) for name in ("a", "a_texture")]
        generate_batch(generator, jobs, tmp_path, format="obj", workers=0)
    assert (folder / "a.png").read_bytes() == before and not os.listdir(tmp_path)


def test_a_job_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "a.png").mkdir()
    blank = np.ones((14, 16, 16, 3), np.float32)
    outcome = _finish(
        Answer(blank), BOX.with_tile(16), {"format": "glb", "pivot": None, "size": None}, tmp_path, "a"
    )
    assert outcome.status == "failed" and "its grid is not written" in outcome.reason


def test_the_sheet_shows_only_pictures_of_its_own_grid(tmp_path):
    for name, size in (("small", (30, 20)), ("large", (7 * 128, 2 * 128)), ("own", BOX.size)):
        Image.new("RGB", size, "red").save(tmp_path / f"{name}.png")
    write_sheet([Outcome(n, "failed") for n in ("small", "large", "own", "none")], BOX, tmp_path)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    red = (sheet == [255, 0, 0]).all(-1).reshape(2, 78, 3, 7 * 64).any((1, 3))
    assert red.tolist() == [[False, False, True], [False, False, False]]


def test_every_line_ends_in_a_file_or_a_reason_and_nothing_is_made_twice(folder, toy_base, tmp_path):
    generator = load(toy_base, precision="fp32")
    jobs = read_jobs(folder / "list.csv")
    first = generate_batch(generator, jobs, tmp_path, steps=2, batch=2, workers=0)
    assert len(first) == len(jobs)
    for job, outcome in zip(jobs, first, strict=True):
        assert outcome.name == job.name
        assert (outcome.status == "made") == (tmp_path / f"{job.name}.json").is_file()
        assert outcome.reason or len(load_mesh(tmp_path / outcome.file).faces) == outcome.faces
    reasons = {o.name: o.reason for o in first if o.status == "failed"}
    assert "no such file" in reasons["none"] and "only background" in reasons["blank"]
    assert "neither image nor prompt" in reasons["row-0006"]
    with (tmp_path / "results.csv").open() as stream:
        assert [line["name"] for line in csv.DictReader(stream)] == [j.name for j in jobs]
    assert Image.open(tmp_path / "sheet.png").width == 3 * 7 * 64

    made = {o.name for o in first if o.status == "made"}
    assert made, "the toy base answered with nothing at all"
    before = {n: (tmp_path / f"{n}.glb").read_bytes() for n in made}
    victim = sorted(made)[0]
    (tmp_path / f"{victim}.json").unlink()
    second = generate_batch(generator, jobs, tmp_path, steps=2, batch=3, workers=0)
    assert {o.name for o in second if o.status == "made"} == {victim}
    assert {o.name for o in second if o.status == "kept"} == made - {victim}
    assert all((tmp_path / f"{n}.glb").read_bytes() == data for n, data in before.items() if n != victim)


def test_a_list_that_is_none_is_refused(tmp_path):
    for text, reason in (
        ("picture\na.png\n", "expected the columns"),
        ("image,prompt\n", "empty"),
        ("image,seed\na.png,x\n", "whole number"),
        (f"image,seed\na.png,{2**63}\n", "under 2"),
        (f"image,seed\na.png,{'9' * 5000}\n", "under 2"),
    ):
        (tmp_path / "list.csv").write_text(text)
        with pytest.raises(InputError, match=reason):
            read_jobs(tmp_path / "list.csv")
