"""What goes wrong in the middle of a run: each fault is named, and nothing that was saved is lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora3d.batches import made_ahead, make_batch
from lora3d.card import read_card
from lora3d.checkpoint import checkpoints, load_checkpoint, read_log, save_checkpoint, trim_log
from lora3d.cli import main
from lora3d.dataset import write_dataset
from lora3d.errors import InputError
from lora3d.recipe import TrainConfig, to_fields
from lora3d.state import new_state
from lora3d.train import train
from tests.test_train import GRID, make_rows
from tests.toy_bases import TOY_RUN


@pytest.fixture(scope="module")
def whole(toy_base, tmp_path_factory):
    """A dataset, a recipe and the adapter of an undisturbed run."""
    top = tmp_path_factory.mktemp("faults")
    write_dataset(make_rows(), top / "data", GRID)
    config = replace(TOY_RUN, base=str(toy_base), steps=8, checkpoint_every=3)
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
    log = out / "train.log.jsonl"
    return log.read_text().count("\n") if log.exists() else 0


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


def test_two_leave_at_once_and_corrupt_nothing(whole, tmp_path):
    top, config, _ = whole
    out = tmp_path / "run"
    slow = replace(config, batch=4)

    def press_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.001)  # less than it takes to finish a step and save it
        os.kill(os.getpid(), signal.SIGINT)

    # A shell's background job starts with the signal ignored.
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        when(lambda: steps_logged(out) >= 4, press_twice)
        with pytest.raises((KeyboardInterrupt, InputError)):
            run(slow, top / "data", out)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, earlier)
    again = run(slow, top / "data", out, resume=True)
    assert again.read_bytes() == run(slow, top / "data", tmp_path / "other").read_bytes()


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


def test_a_truncated_checkpoint_is_named_and_the_one_before_it_taken(whole, tmp_path):
    top, config, adapter = whole
    out = tmp_path / "run"
    shutil.copytree(top / "whole", out)
    (out / "adapter.safetensors").unlink()
    older, newest = checkpoints(out)
    data = (newest / "state.safetensors").read_bytes()
    (newest / "state.safetensors").write_bytes(data[: len(data) // 2])
    said: list[str] = []
    assert run(config, top / "data", out, said, resume=True).read_bytes() == adapter
    assert f"checkpoint {newest} is damaged" in "".join(said)
    for folder in checkpoints(out):
        (folder / "state.safetensors").write_bytes(data[:100])
    with pytest.raises(InputError, match="all 2 checkpoints.*are damaged; remove them to start anew"):
        run(config, top / "data", out, resume=True)
    assert older.exists()


def test_a_flipped_bit_is_a_damage_too(whole, tmp_path):
    top, config, adapter = whole
    out = tmp_path / "run"
    shutil.copytree(top / "whole", out)
    file = checkpoints(out)[-1] / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    said: list[str] = []
    assert run(config, top / "data", out, said, resume=True).read_bytes() == adapter
    assert "not those that were written" in "".join(said)


def test_a_line_of_the_log_cut_short_and_a_half_written_checkpoint_disturb_nothing(whole, stopped):
    top, config, adapter = whole
    with (stopped / "train.log.jsonl").open("a") as log:
        log.write('{"step": 7, "lo')
    half = stopped / "checkpoints" / "tmp-00000009"
    half.mkdir()
    (half / "state.safetensors").write_bytes(b"half")
    assert run(config, top / "data", stopped, resume=True).read_bytes() == adapter
    assert not half.exists() and steps_logged(stopped) == 8


@pytest.mark.parametrize(("fused", "where"), [(True, "meta"), (False, "cpu")])
def test_a_restored_count_of_steps_lies_where_its_optimiser_makes_it(tmp_path, fused, where):
    """A fused AdamW on a GPU wants it beside the parameter (pytorch issue 124133); any other device shows it."""

    def state_on(device: str):
        parameter = torch.zeros(2, 3, device=device, requires_grad=True)
        return new_state([parameter], torch.optim.AdamW([parameter], fused=fused))

    before, after = state_on("cpu"), state_on("meta")
    before.parameters[0].grad = torch.ones(2, 3)
    before.optimiser.step()
    before.step = 1
    save_checkpoint(tmp_path, before, keep=1)
    load_checkpoint(tmp_path, after, lambda text: None)
    devices = {k: v.device.type for k, v in after.optimiser.state[after.parameters[0]].items()}
    assert devices == {"step": where, "exp_avg": "meta", "exp_avg_sq": "meta"}


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


def damage_weight(base: Path, data: Path) -> None:
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["mid_block.resnets.0.conv1.weight"][0, 0, 0, 0] = float("nan")
    save_file(tensors, file)


def damage_codec(base: Path, data: Path) -> None:
    """A picture's latents that are not finite, as half precision makes them of SDXL's VAE."""
    file = base / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({k: v * 100 if "encoder" in k else v for k, v in load_file(file).items()}, file)


def damage_shard(base: Path, data: Path) -> None:
    file = data / "data-00000.parquet"
    content = bytearray(file.read_bytes())
    content[1000:40000:7] = bytes(len(content[1000:40000:7]))
    file.write_bytes(content)


def cut_shard(base: Path, data: Path) -> None:
    file = data / "data-00000.parquet"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (damage_weight, r"base 'base' is damaged: mid_block.resnets.0.conv1.weight .*not finite"),
        (damage_codec, r"the pictures of 7 rows have latents that are not finite, the first is 'box0'"),
        (damage_shard, r"(cannot be read|no readable PNG)"),
        (cut_shard, r"data-00000.parquet cannot be read as Parquet"),
    ],
)
def test_what_is_damaged_before_the_first_step_is_named(whole, toy_base, tmp_path, damage, named):
    top, config, _ = whole
    shutil.copytree(toy_base, tmp_path / "base")
    shutil.copytree(top / "data", tmp_path / "data")
    damage(tmp_path / "base", tmp_path / "data")
    # Not the latents that another test has cached.
    asked = replace(config, base=str(tmp_path / "base"), variants=0)
    os.environ["LORA3D_CACHE"], kept = str(tmp_path / "cache"), os.environ["LORA3D_CACHE"]
    try:
        with pytest.raises(InputError, match=named):
            run(asked, tmp_path / "data", tmp_path / "run")
    finally:
        os.environ["LORA3D_CACHE"] = kept
    assert not (tmp_path / "run" / "adapter.safetensors").exists()


def test_a_cache_that_is_damaged_is_made_anew(whole, tmp_path, monkeypatch):
    top, config, adapter = whole
    monkeypatch.setenv("LORA3D_CACHE", str(tmp_path / "cache"))
    run(config, top / "data", tmp_path / "first")
    for file in (tmp_path / "cache").rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:50])
    with pytest.warns(UserWarning, match="in the cache cannot be read.*made anew"):
        assert run(config, top / "data", tmp_path / "second").read_bytes() == adapter


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
