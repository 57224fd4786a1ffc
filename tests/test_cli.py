"""The command line as a user meets it: speed of help, exit codes, one-line answers."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lora3d.cli import build_parser, main
from lora3d.cli_adapter import files_and_weights
from lora3d.cli_recipe import read_with_flags
from lora3d.recipe import TrainConfig

CLI = (sys.executable, "-m", "lora3d.cli")


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    try:
        code = main([str(w) for w in words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, capsys.readouterr().err


def test_help_is_fast_and_imports_nothing_heavy():
    code = (
        "import sys, lora3d.cli; lora3d.cli.build_parser();"
        "print([m for m in ('torch', 'diffusers', 'numpy', 'datasets') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
    before = os.times()
    done = subprocess.run([*CLI, "--help"], capture_output=True, text=True, check=True)
    after = os.times()
    # Of its own time, not of the clock: the machine may be busy with other work.
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    assert "generate" in done.stdout and seconds < 0.5


@pytest.mark.parametrize(
    "command",
    ["demo", "prep", "train", "generate", "lift", "eval", "adapter show", "adapter export", "base train"],
)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0 and "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "required"),
        (["generate", "--out", "x", "--imge", "y"], "the nearest is --image"),
        (["no-such-command"], "invalid choice"),
        ([], ""),
    ],
)
def test_wrong_usage_exits_with_two(words, message, capsys):
    code, said = answer(capsys, *words)
    assert code == 2 and message in said and "Traceback" not in said


# Of the keys that take one of a few words: another than the default.
OTHER_WORDS = {
    "device": "cpu",
    "precision": "fp32",
    "quantise": "4bit",
    "optimiser": "adamw8bit",
    "weighting": "debiased",
    "stop_on": "psnr",
    "tracker": "tensorboard",
}


@pytest.mark.parametrize("field", dataclasses.fields(TrainConfig), ids=lambda f: f.name)
def test_every_key_of_a_recipe_is_a_flag(field, tmp_path):
    (tmp_path / "r.toml").write_text('trigger = "inkfold"\n')  # which prior asks for
    default = getattr(TrainConfig(), field.name)
    flag = "--" + field.name.replace("_", "-")
    some = ("line", "flat") if field.name == "variant_styles" else ("conv", "to_q")
    given, wanted = {
        "bool": ([flag], True),
        "int": ([flag, "7"], 7),
        "float": ([flag, "0.625"], 0.625),
        "str": ([flag, OTHER_WORDS.get(field.name, "a word")], OTHER_WORDS.get(field.name, "a word")),
        "tuple[str, ...]": ([flag, ", ".join(some)], some),
        "dict[str, int]": ([flag, "conv=4,to_q=8"], {"conv": 4, "to_q": 8}),
    }[field.type]
    assert wanted != default
    words = ["train", str(tmp_path / "r.toml"), "--data", "d", "--out", "o", *given]
    args = build_parser().parse_args(words)
    config = read_with_flags(args, args.recipe, TrainConfig)
    expected = {**dataclasses.asdict(TrainConfig(trigger="inkfold")), field.name: wanted}
    assert dataclasses.asdict(config) == expected


def test_a_flag_takes_back_what_the_file_says(tmp_path):
    (tmp_path / "r.toml").write_text("dora = true\nranks = {conv = 4}\n")
    args = build_parser().parse_args(["doctor", str(tmp_path / "r.toml"), "--no-dora", "--ranks", ""])
    config = read_with_flags(args, args.path, TrainConfig)
    assert not config.dora and config.ranks == {}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["--alpha", ""], "argument --alpha: invalid float value"),
        (["--dora=yes"], "argument --dora/--no-dora: ignored explicit argument 'yes'"),
        (
            ["--ranks", "conv=four"],
            "argument --ranks: expected NAME=NUMBER, each name once, found 'conv=four'",
        ),
        (["--ranks", "conv"], "found 'conv'"),
        (["--ranks", "=4"], "found '=4'"),
        (["--ranks", "conv=4,conv=8"], "found 'conv=8'"),
        (["--ranks", "conv=0"], "recipe: ranks.conv must be at least 1, found 0"),
        (["--steps", "0"], "recipe: steps must be at least 1, found 0"),
        (["--device", "tpu"], "expected one of auto, cpu, cuda, mps"),
        (["--prior", "1"], "name a trigger too"),
        (["--chekpointing"], "the nearest is --checkpointing"),
    ],
)
@pytest.mark.parametrize("command", ["train", "doctor"])
def test_a_flag_of_a_bad_value_is_wrong_usage(command, flags, message, tmp_path, capsys):
    (tmp_path / "r.toml").write_text("rank = 4\n")
    rest = ["--data", tmp_path, "--out", tmp_path / "o"][: 4 if command == "train" else 2]
    code, said = answer(capsys, command, tmp_path / "r.toml", *rest, *flags)
    first, rest = said.split("\n", 1)
    assert code == 2 and message in first and rest.startswith("See lora3d") and rest.count("\n") == 1


def test_a_file_that_is_at_fault_itself_is_named_before_its_flags(tmp_path, capsys):
    (tmp_path / "r.toml").write_text("steps = 0\n")
    command = ["train", tmp_path / "r.toml", "--data", tmp_path, "--out", tmp_path / "o"]
    assert answer(capsys, *command, "--rank", "0") == (
        1,
        "lora3d train: recipe: steps must be at least 1, found 0\n",
    )
    code, said = answer(capsys, "doctor", tmp_path, "--rank", "4")
    assert code == 2 and "recipe keys go with a recipe (.toml)" in said


def test_the_inputs_faults_exit_with_one_line_and_one(tmp_path, capsys):
    (tmp_path / "r.toml").write_text("stepps = 3\n")
    (tmp_path / "blank.png").write_bytes(_blank_png())
    (tmp_path / "folder").mkdir()
    cases = [
        (["train", tmp_path / "none.toml", "--data", tmp_path, "--out", tmp_path / "o"], "no such recipe"),
        (["train", tmp_path / "r.toml", "--data", tmp_path, "--out", tmp_path / "o"], "nearest is 'steps'"),
        (["generate", "--image", tmp_path / "none.png", "--out", tmp_path / "o"], "no such file"),
        (["generate", "--image", tmp_path / "blank.png", "--out", tmp_path / "o"], "no object"),
        (["generate", "--out", tmp_path / "o"], "nothing to go by"),
        (["lift", tmp_path / "blank.png", "--grid", "box6", "--out", tmp_path / "o.glb"], "448×128"),
        (["lift", tmp_path / "blank.png", "--grid", "box7", "--out", tmp_path / "o.glb"], "box6"),
        (["adapter", "show", tmp_path / "none.safetensors"], "no such adapter"),
        (
            ["adapter", "export", tmp_path / "none", "--to", "peft", "--out", tmp_path / "o"],
            "no such adapter",
        ),
        (["adapter", "merge", "a:1", "a:2", "--out", tmp_path / "o"], "named twice"),
        (["adapter", "publish", tmp_path / "blank.png", "--to", tmp_path / "o"], "no safetensors file"),
        (["prep", tmp_path / "nowhere", "--out", tmp_path / "o"], "nowhere"),
        (["prep", tmp_path / "folder", "--out", tmp_path / "o"], "folder"),
        (["eval", "--data", tmp_path / "folder", "--out", tmp_path / "o"], "folder"),
    ]
    for words, message in cases:
        code, said = answer(capsys, *words)
        assert code == 1, (words, said)
        assert message in said and "Traceback" not in said and said.count("\n") <= 2, (words, said)


def test_json_is_one_object_and_nothing_else():
    done = subprocess.run([*CLI, "base", "list", "--json"], capture_output=True, text=True, check=True)
    assert "mini" in json.loads(done.stdout)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.safetensors", {Path("a.safetensors"): 1.0}),
        ("a.safetensors:0.7", {Path("a.safetensors"): 0.7}),
        ("a.safetensors:-1", {Path("a.safetensors"): -1.0}),
        ("C:file.safetensors", {Path("C:file.safetensors"): 1.0}),
    ],
)
def test_adapters_are_files_with_an_optional_weight(text, expected):
    assert files_and_weights([text]) == expected


def _blank_png() -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(stream, "PNG")
    return stream.getvalue()
