"""What goes wrong in the middle of a run: each fault is named, and nothing that was saved is lost."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora3d import train as loop
from lora3d.batches import made_ahead, make_batch
from lora3d.card import read_card
from lora3d.checkpoint import checkpoints, read_log, run_folder, trim_log
from lora3d.cli import main
from lora3d.dataset import write_dataset
from lora3d.errors import InputError
from lora3d.recipe import TrainConfig, to_fields
from lora3d.train import train
from tests.test_train import GRID, make_rows
from tests.toy_bases import TOY_RUN


@pytest.fixture(scope="module")
def whole(toy_base, tmp_path_factory):
    """A folder with a base, a dataset, their cache and an undisturbed run, its recipe, and its adapter."""
    top = tmp_path_factory.mktemp("faults")
    shutil.copytree(toy_base, top / "base")
    write_dataset(make_rows(), top / "data", GRID)
    config = replace(TOY_RUN, base=str(top / "base"), steps=8, checkpoint_every=3, keep=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORA3D_CACHE", str(top / "cache"))
        return top, config, run(config, top / "data", top / "whole").read_bytes()


def run(config: TrainConfig, data: Path, out: Path, said: list[str] | None = None, **more) -> Path:
    report = (said if said is not None else []).append
    return train(config, data, out, progress=False, report=report, **more).adapter


def when(condition: Callable[[], bool], action: Callable[[], None]) -> None:
    """Does something from another thread as soon as the trainer, in this one, has got so far."""

    def wait() -> None:
        end = time.monotonic() + 60
        while not condition() and time.monotonic() < end:
            time.sleep(0.002)
        action()

    threading.Thread(target=wait, daemon=True).start()


def steps_logged(out: Path) -> int:
    return sum("loss" in record for record in read_log(out))


@pytest.fixture
def stopped(whole, tmp_path):
    """A run that Ctrl-C ended after some steps."""
    top, config, _ = whole
    out = tmp_path / "run"
    when(lambda: steps_logged(out) >= 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(
        InputError, match=r"stopped as asked after step \d of 8; it is saved.*--resume goes on"
    ):
        run(config, top / "data", out)
    return out


def test_one_ctrl_c_finishes_the_step_and_saves_it(whole, stopped):
    top, config, adapter = whole
    assert int(checkpoints(stopped)[-1].name[5:]) == steps_logged(stopped) >= 3
    assert run(config, top / "data", stopped, resume=True).read_bytes() == adapter


def test_two_leave_at_once_and_corrupt_nothing(whole, tmp_path, monkeypatch):
    """Both in the middle of the fifth step, which neither ends nor leaves anything."""
    top, config, adapter = whole
    out = tmp_path / "run"
    losses = loop.example_losses

    def pressed(*given):
        if steps_logged(out) == 4:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return losses(*given)

    # A shell's background job starts with the signal ignored.
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        monkeypatch.setattr(loop, "example_losses", pressed)
        with pytest.raises(KeyboardInterrupt):
            run(config, top / "data", out)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, earlier)
    assert steps_logged(out) == 4 and [c.name for c in checkpoints(out)] == ["step-00000003"]
    monkeypatch.undo()
    assert run(config, top / "data", out, resume=True).read_bytes() == adapter


def test_a_folder_is_another_processs_until_that_one_is_gone(whole, stopped):
    top, config, adapter = whole
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        with run_folder(stopped, resume=True):
            os.write(writes, b"1")
            signal.pause()
    try:
        assert os.read(reads, 1)
        with pytest.raises(InputError, match="in use by another trainer"):
            run(config, top / "data", stopped, resume=True)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert run(config, top / "data", stopped, resume=True).read_bytes() == adapter


FULL = 20_000


def grow_log(out: Path) -> None:
    """Lets the log up to the checkpoint end just below the limit."""
    trim_log(out, 6)
    with (out / "train.log.jsonl").open("a") as log:
        room = FULL - 10 - log.tell() - len(json.dumps({"step": 0, "filler": ""}) + "\n")
        log.write(json.dumps({"step": 0, "filler": "x" * room}) + "\n")


def finish_steps(out: Path) -> None:
    """Leaves only the adapter to be written."""
    shutil.copytree(out.parent / "last", out / "checkpoints" / "step-00000008")


@pytest.mark.parametrize(
    ("what", "limit", "prepare", "change"),
    [
        ("checkpoint of step 8", FULL, lambda out: None, {}),
        ("line of train.log.jsonl", FULL, grow_log, {}),
        ("adapter.safetensors", FULL, finish_steps, {}),
        ("recipe.json", 500, lambda out: None, {}),
        ("sample grid", FULL, lambda out: None, {"sample_every": 1}),
    ],
)
def test_a_full_disk_is_named_with_what_is_needed_and_the_older_checkpoint_stays(
    whole, tmp_path, what, limit, prepare, change
):
    """A limit on the size of files fails as a full disk does: in the middle of a write."""
    top, config, adapter = whole
    out = shutil.copytree(top / "whole", tmp_path / "run")
    (out / "adapter.safetensors").unlink()
    checkpoints(out)[-1].rename(tmp_path / "last")
    prepare(out)
    stays = checkpoints(out)[-1]
    before = {f: f.read_bytes() for f in stays.iterdir()}
    named = rf"^no {what} could be.*needs \d+\.\d MiB, \d+\.\d MiB are free.*{stays.name} is kept.*--resume$"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(InputError, match=named):
            run(replace(config, **change), top / "data", out, resume=True, accept_changes=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {f: f.read_bytes() for f in checkpoints(out)[-1].iterdir()} == before
    assert not [path for path in out.rglob("*") if "tmp" in path.name]
    assert run(config, top / "data", out, resume=True, accept_changes=True).read_bytes() == adapter


def test_a_warning_stands_once_in_the_log_and_in_what_a_script_reads(whole, tmp_path, capsys):
    top, config, _ = whole
    out = shutil.copytree(top / "whole", tmp_path / "run")
    (checkpoints(out)[-1] / "state.safetensors").write_bytes(b"cut")
    recipe = tmp_path / "recipe.toml"
    words = {k: v for k, v in to_fields(config).items() if k != "ranks"}
    recipe.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in words.items()))
    asked = ["train", str(recipe), "--data", str(top / "data"), "--out", str(out), "--resume", "--json"]
    for _ in range(2):
        assert main(asked) == 0
        (warning,) = json.loads(capsys.readouterr().out)["warnings"]
        assert "step-00000008 is damaged" in warning
        assert [r for r in read_log(out) if "warning" in r] == [{"step": 6, "warning": warning}]


def test_with_batches_made_ahead_ctrl_c_and_the_adapter_are_the_same(whole, tmp_path, monkeypatch):
    """On a CPU none are; the thread is the one that a card's batches are made in."""
    top, config, adapter = whole
    out = tmp_path / "run"
    monkeypatch.setattr(
        "lora3d.train.make_batches",
        lambda rows, config, first, device: made_ahead(partial(make_batch, rows, config), first),
    )
    when(lambda: steps_logged(out) >= 3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(InputError, match="stopped as asked after step"):
        run(config, top / "data", out)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]
    assert run(config, top / "data", out, resume=True).read_bytes() == adapter


def test_a_finished_run_whose_log_is_gone_resumes_and_makes_no_loss_up(whole, tmp_path):
    top, config, _ = whole
    out = shutil.copytree(top / "whole", tmp_path / "run")
    (out / "train.log.jsonl").unlink()
    said: list[str] = []
    made = run(config, top / "data", out, said, resume=True)
    assert read_card(made).metrics["loss"] is None and "loss not known" in said[-1]


def test_a_log_without_a_checkpoint_is_begun_anew(whole, tmp_path):
    """Killed before the first checkpoint, a run leaves records that the next one takes again."""
    top, config, _ = whole
    (tmp_path / "train.log.jsonl").write_text('{"step": 0, "validation": 9.0}\n{"step": 1, "loss": 9.0}\n')
    run(replace(config, steps=1), top / "data", tmp_path)
    assert steps_logged(tmp_path) == 1


def test_a_changed_dataset_or_recipe_is_named_and_taken_only_when_said(whole, stopped, tmp_path):
    top, config, _ = whole
    write_dataset(make_rows()[1:], tmp_path / "fewer", GRID)
    with pytest.raises(InputError, match="another dataset; resume needs the same.*--accept-changes"):
        run(config, tmp_path / "fewer", stopped, resume=True)
    with pytest.raises(InputError, match=r"another steps \(8, now 9\)"):
        run(replace(config, steps=9), top / "data", stopped, resume=True)
    run(replace(config, steps=9), tmp_path / "fewer", stopped, resume=True, accept_changes=True)
    assert steps_logged(stopped) == 9
    with pytest.raises(InputError, match="does not fit the recipe"):
        run(replace(config, rank=3), tmp_path / "fewer", stopped, resume=True, accept_changes=True)


def put_nan_into_a_weight(at: Path) -> None:
    change(
        at / "base" / "unet" / "diffusion_pytorch_model.safetensors",
        lambda name, x: x.index_fill(0, torch.tensor(0), torch.nan) if name == NAN_WEIGHT else x,
    )


def overflow_the_codec(at: Path) -> None:
    """A picture's latents are not finite, as half precision makes them of SDXL's VAE."""
    change(
        at / "base" / "vae" / "diffusion_pytorch_model.safetensors",
        lambda name, x: x * 100 if "encoder" in name else x,
    )


def put_nan_into_cached_latents(at: Path) -> None:
    for file in (at / "cache" / "latents").iterdir():
        change(file, lambda name, x: x * torch.nan if name == "latents" else x)


def overwrite_a_shard(at: Path) -> None:
    shutil.rmtree(at / "cache")
    file = at / "data" / "data-00000.parquet"
    content = bytearray(file.read_bytes())
    content[1000:40000:7] = bytes(len(content[1000:40000:7]))
    file.write_bytes(content)


def cut_a_shard(at: Path) -> None:
    shutil.rmtree(at / "cache")
    cut(at / "data" / "data-00000.parquet", -100)


def cut_the_cache(at: Path) -> None:
    for file in (at / "cache" / "latents").iterdir():
        cut(file, 50)


def cut_the_newest_checkpoint(at: Path) -> None:
    cut(checkpoints(at / "run")[-1] / "state.safetensors", -1000)


def flip_a_bit_of_it(at: Path) -> None:
    file = checkpoints(at / "run")[-1] / "state.safetensors"
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def cut_all_checkpoints(at: Path) -> None:
    for folder in checkpoints(at / "run"):
        cut(folder / "state.safetensors", 100)


def leave_a_line_and_a_checkpoint_half_written(at: Path) -> None:
    with (at / "run" / "train.log.jsonl").open("a") as log:
        log.write('{"step": 7, "lo')
    half = at / "run" / "checkpoints" / "tmp-00000007"
    half.mkdir()
    (half / "state.safetensors").write_bytes(b"half")


def cut_the_recipe(at: Path) -> None:
    cut(at / "run" / "recipe.json", 40)


def change(file: Path, to: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
    save_file({name: to(name, x) for name, x in load_file(file).items()}, file)


def cut(file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])


NAN_WEIGHT = "mid_block.resnets.0.conv1.weight"
# How a run stopped after step 6 of 8 is damaged, what it says then, and what survives: all (it goes on to the bytes
# of an undisturbed run) or what was saved (it is refused, and no checkpoint is touched).
ALL, SAVED = "all", "what was saved"
FAULTS = (
    (put_nan_into_a_weight, rf"base 'base' is damaged: {NAN_WEIGHT} .*not finite", SAVED),
    (
        overflow_the_codec,
        "the pictures of 7 rows have latents that are not finite, the first is 'box0'",
        SAVED,
    ),
    (put_nan_into_cached_latents, r"the loss is nan .*at step 6; the batch was box\d", SAVED),
    (overwrite_a_shard, "(cannot be read|no readable PNG)", SAVED),
    (cut_a_shard, "data-00000.parquet cannot be read as Parquet", SAVED),
    (cut_the_cache, "in the cache cannot be read.*made anew", ALL),
    (cut_the_newest_checkpoint, "checkpoint .*step-00000006 is damaged.*the one before it is taken", ALL),
    (flip_a_bit_of_it, "step-00000006 is damaged.*not those that were written", ALL),
    (cut_all_checkpoints, "all 2 checkpoints.*are damaged; remove them to start anew", SAVED),
    (leave_a_line_and_a_checkpoint_half_written, "step 8 of 8", ALL),
    (cut_the_recipe, "recipe.json cannot be read.*name a new folder", SAVED),
)


@pytest.mark.parametrize(("damage", "says", "survives"), FAULTS, ids=[f[0].__name__ for f in FAULTS])
def test_a_fault_is_named_and_costs_nothing_that_was_saved(
    whole, tmp_path, monkeypatch, damage, says, survives
):
    top, config, adapter = whole
    at = shutil.copytree(top, tmp_path / "top")
    out = (at / "whole").rename(at / "run")
    (out / "adapter.safetensors").unlink()
    shutil.rmtree(checkpoints(out)[-1])
    trim_log(out, 6)
    damage(at)
    saved = {f: f.read_bytes() for f in out.glob("checkpoints/step-*/*")}
    monkeypatch.setenv("LORA3D_CACHE", str(at / "cache"))
    asked, said = replace(config, base=str(at / "base")), []
    with (
        warnings.catch_warnings(record=True) as warned,
        pytest.raises(InputError) if survives == SAVED else nullcontext() as refused,
    ):
        run(asked, at / "data", out, said, resume=True, accept_changes=True)
    words = [*said, *(str(w.message) for w in warned), *([str(refused.value)] if refused else [])]
    assert re.search(says, "\n".join(words)), words
    if survives == ALL:
        assert (out / "adapter.safetensors").read_bytes() == adapter
        assert steps_logged(out) == 8 and not list(out.glob("checkpoints/tmp-*"))
    else:
        assert {f: f.read_bytes() for f in out.glob("checkpoints/step-*/*")} == saved
        assert not (out / "adapter.safetensors").exists()


def test_an_adapter_that_is_not_finite_is_not_saved(whole, tmp_path):
    """The loss of the last step is finite, but the step leads beyond what floats hold."""
    top, config, _ = whole
    wild = replace(config, steps=1, learning_rate=3e38, warmup=0, decay_share=0, weight_decay=1.0, ema=0)
    with pytest.raises(InputError, match="not finite"):
        run(wild, top / "data", tmp_path / "run")
    assert not (tmp_path / "run" / "adapter.safetensors").exists() and not checkpoints(tmp_path / "run")


@pytest.mark.slow
def test_killed_anywhere_and_resumed_a_run_ends_in_the_same_bytes():
    """Thirty kills of 200 steps are the benchmark's work; here it is run small."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "tests.benchmarks.kill_resume", "--kills", "2", "--steps", "12"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 runs ended in the same bytes" in done.stdout
