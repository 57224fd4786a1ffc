"""Recipes: every shipped one reads; faults are named."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from lora3d.device import choose_device
from lora3d.errors import InputError
from lora3d.recipe import PretrainConfig, TrainConfig, from_fields, read_recipe, to_fields

RECIPES = sorted(Path(str(files("lora3d.recipes"))).glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_every_shipped_recipe_reads_and_says_how_to_run_it(path):
    kind = PretrainConfig if "base" in path.name else TrainConfig
    recipe = read_recipe(path, kind)
    assert from_fields(kind, to_fields(recipe), "again") == recipe
    header = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert all(word in header for word in ("Needs:", "Run:", "Expect:"))


def test_an_override_wins_over_the_file():
    assert read_recipe(RECIPES[-1], TrainConfig, {"steps": 7}).steps == 7


def test_an_unknown_key_names_the_nearest(tmp_path):
    (tmp_path / "r.toml").write_text("learning_rat = 1e-3\n")
    with pytest.raises(InputError, match="unknown key 'learning_rat'; the nearest is 'learning_rate'"):
        read_recipe(tmp_path / "r.toml", TrainConfig)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('steps = "many"', "steps must be of type int"),
        ("steps = 1.5", "steps must be of type int"),
        ("steps = true", "steps must be of type int"),
        ("steps = 0", "steps must be at least 1"),
        ("ranks = {conv = 0}", "ranks.conv must be at least 1, found 0"),
        ("caption_dropout = 2", "must lie in 0"),
        ("seed = -1", "seed must lie in 0 … 1000000000000, found -1"),
        ("learning_rate = -1", "learning_rate must be at least 0"),
        ('precision = "fp64"', "expected one of auto, fp32, bf16"),
        ('variant_styles = ["flat", "lines"]', "has 'lines'; expected some of .*; the nearest is 'line'"),
        ("targets = [1]", "targets must be of type str"),
        ("steps = = 3", "not a TOML recipe"),
    ],
)
def test_wrong_values_are_named(tmp_path, text, message):
    (tmp_path / "r.toml").write_text(text + "\n")
    with pytest.raises(InputError, match=message):
        read_recipe(tmp_path / "r.toml", TrainConfig)


@pytest.mark.parametrize("name", ["foo", "meta", "cpu:x"])
def test_a_device_that_cannot_be_used_is_named_with_those_that_can(name):
    with pytest.raises(
        InputError, match=f"device '{name}' cannot be used here.*expected cpu.* or auto, which takes"
    ):
        choose_device(name)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(InputError, match="no such recipe"):
        read_recipe(tmp_path / "absent.toml", TrainConfig)


def test_whole_numbers_pass_for_floats_and_arrays_for_tuples():
    recipe = from_fields(TrainConfig, {"alpha": 8, "targets": ["conv"]}, "here")
    assert recipe.alpha == 8.0 and isinstance(recipe.alpha, float) and recipe.targets == ("conv",)


def test_a_packaged_recipe_is_found_by_its_name(tmp_path):
    assert read_recipe(tmp_path / "recipes" / "mini_style.toml", TrainConfig) == read_recipe(
        next(r for r in RECIPES if r.name == "mini_style.toml"), TrainConfig
    )


def test_nested_tables_are_checked_too():
    recipe = from_fields(PretrainConfig, {"size": {"channels": [32, 64]}}, "here")
    assert recipe.size.channels == (32, 64)
    with pytest.raises(InputError, match=r"\[size\]: unknown key 'chanels'; the nearest is 'channels'"):
        from_fields(PretrainConfig, {"size": {"chanels": [32]}}, "here")
