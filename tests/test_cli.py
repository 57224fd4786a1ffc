"""The command line as a user meets it: speed of help, exit codes, one-line answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lora3d.cli import main
from lora3d.cli_adapter import files_and_weights

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
