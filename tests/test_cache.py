"""What the encoders said, kept: read by memory map, shared out among processes, made anew where it is damaged."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lora3d.base import load_base
from lora3d.cache import Cached, cache_rows
from lora3d.data_prep.variants import make_variants
from lora3d.dataset import read_dataset, write_dataset
from lora3d.progress import split_validation, spread
from lora3d.recipe import TrainConfig
from tests.test_train import GRID, make_rows
from tests.toy_bases import TOY_RUN


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache") / "data"
    write_dataset(make_rows(), folder, GRID)
    return read_dataset(folder)


@pytest.fixture(scope="module")
def base(toy_base):
    return load_base(toy_base)


@pytest.fixture(scope="module")
def alone(base, dataset, tmp_path_factory):
    """Seven rows and a variant of each as one process makes them, and its files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORA3D_CACHE", str(tmp_path_factory.mktemp("alone")))
        return cache_rows(base, dataset, TOY_RUN, "train", 1), files()


def files() -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in Path(os.environ["LORA3D_CACHE"]).rglob("*") if f.is_file()}


def two(base, dataset, between=lambda: None) -> list[Cached]:
    """Two that share the work, as processes do; ``between`` happens when both have waited for the parts."""
    count = [0]

    def met() -> None:
        count[0] += 1
        if count[0] == 3:  # twice for the sentences, then for the latents
            between()

    gate = threading.Barrier(2, action=met, timeout=60)
    crews = [
        SimpleNamespace(num_processes=2, process_index=k, is_main_process=k == 0, wait_for_everyone=gate.wait)
        for k in range(2)
    ]
    with ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(cache_rows, base, dataset, TOY_RUN, "train", 1, crew) for crew in crews]
        return [one.result() for one in asked]


def test_two_processes_encode_each_its_share_and_leave_the_files_of_one(
    base, dataset, alone, tmp_path, monkeypatch
):
    rows, wanted = alone
    monkeypatch.setenv("LORA3D_CACHE", str(tmp_path))
    encode, shares = type(base).encode, {}

    def counted(self, tiles):
        shares[threading.get_ident()] = shares.get(threading.get_ident(), 0) + len(tiles)
        return encode(self, tiles)

    monkeypatch.setattr(type(base), "encode", counted)
    made = two(base, dataset)
    assert files() == wanted and sum(shares.values()) == len(rows) == 14 and len(shares) == 2
    assert all(torch.equal(x.latents(), rows.latents()) and x.ids == rows.ids for x in made)
    assert all(torch.equal(x.texts.tokens, rows.texts.tokens) for x in two(base, dataset))
    assert sum(shares.values()) == 14  # the second time nothing was encoded


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (Path.unlink, r"1-of-2.safetensors is not in the cache: made anew"),
        (lambda part: part.write_bytes(part.read_bytes()[:-9]), r"1-of-2.* cannot be read .*made anew"),
    ],
)
def test_a_part_that_is_damaged_or_missing_is_made_anew_and_said(
    base, dataset, alone, tmp_path, monkeypatch, spoil, said
):
    monkeypatch.setenv("LORA3D_CACHE", str(tmp_path))
    with pytest.warns(UserWarning, match=said):
        two(base, dataset, lambda: spoil(next(tmp_path.rglob("*.1-of-2.safetensors"))))
    assert files() == alone[1]


def test_variants_stand_beside_the_name_of_their_own_model(base, tmp_path):
    """Also where the drawings of one model do not follow each other."""
    one, other = make_rows()[:2]
    rows = [replace(one, file="a"), replace(other, file="b"), replace(one, id="again", file="a")]
    data = write_dataset(rows, tmp_path / "data", GRID)
    made = cache_rows(base, data, TOY_RUN, "train", 1)
    assert sorted(made.ids[made.own :]) == ["box0~0", "box1~0"]
    for row in (one, other):
        tiles = make_variants(row.glb, GRID, 1, TOY_RUN.seed)[0]
        wanted = base.encode(torch.from_numpy(tiles)).half()
        assert torch.equal(made.latents(torch.tensor([made.ids.index(f"{row.id}~0")])), wanted)


def test_a_part_that_a_killed_run_left_is_taken(base, dataset, alone, tmp_path, monkeypatch):
    monkeypatch.setenv("LORA3D_CACHE", str(tmp_path))
    kept: dict[Path, bytes] = {}

    def keep() -> None:
        kept.update({part: part.read_bytes() for part in tmp_path.rglob("*-of-2.safetensors")})

    two(base, dataset, keep)
    for file in tmp_path.rglob("*.safetensors"):
        file.unlink()
    for part, data in kept.items():
        part.write_bytes(data)

    def refuse(self, tiles):
        raise AssertionError("encoded again")

    monkeypatch.setattr(type(base), "encode", refuse)
    two(base, dataset)
    assert len(kept) == 2 and files() == alone[1]


def test_parts_of_the_rows_read_the_one_file_that_is_mapped(alone, dataset):
    rows = alone[0]
    train, aside = split_validation(rows, dataset, TrainConfig(validation_share=0.3))
    address = rows.stored.untyped_storage().data_ptr()
    if sys.platform == "linux":
        maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
        spans = [([int(x, 16) for x in line[0].split("-")], line[-1]) for line in maps]
        assert any(a <= address < b and name.endswith(".safetensors") for (a, b), name in spans)
    for part in (train, aside, spread(train, dataset, 3)):
        assert part.stored.untyped_storage().data_ptr() == address and 0 < len(part) < len(rows)
        wanted = torch.stack([rows.stored[rows.ids.index(name)] for name in part.ids])
        assert torch.equal(part.latents(), wanted) and torch.equal(
            part.latents(torch.tensor([1, 0])), wanted[[1, 0]]
        )
