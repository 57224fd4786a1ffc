"""A list of drawings and sentences: every line ends in a file or a reason, and a second run makes nothing twice."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

from lora3d.batch import generate_batch, read_jobs
from lora3d.errors import InputError
from lora3d.generate import load
from lora3d.mesh import load_mesh


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
    ):
        (tmp_path / "list.csv").write_text(text)
        with pytest.raises(InputError, match=reason):
            read_jobs(tmp_path / "list.csv")
