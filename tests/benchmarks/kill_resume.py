"""Kills a training run with SIGKILL at random moments, resumes it, and compares the adapter's bytes.

    python -m tests.benchmarks.kill_resume --kills 30 --steps 200

Each trial starts the run, kills it a random part of a second after a random step (before the first too, while it
loads), resumes it, and compares the result with the undisturbed run's. Every other trial is killed a second time while
it resumes. Exits 1 if any differs. Children are forked from one process, so that nothing is
imported sixty times; one thread each, since forks and OpenMP's threads do not mix.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import torch

from lora3d.dataset import write_dataset
from lora3d.recipe import TrainConfig
from lora3d.train import train
from tests.conftest import save_toy_base
from tests.test_train import GRID, make_rows
from tests.toy_bases import TOY_RUN


def start(config: TrainConfig, data: Path, out: Path) -> int:
    """Trains in a child, resuming where there is something to resume; returns its process id."""
    child = os.fork()
    if child:
        return child
    try:
        train(config, data, out, resume=True, progress=False, report=lambda text: None)
        os._exit(0)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def steps_logged(out: Path) -> int:
    log = out / "train.log.jsonl"
    return log.read_text().count('"loss"') if log.exists() else 0


def run(config: TrainConfig, data: Path, out: Path, kill_after: int | None = None) -> bool:
    """True if the run ended by itself, in success; False if it was killed. Exits where it fails.

    kill_after: that many steps stand in the log.
    """
    child = start(config, data, out)
    if kill_after is not None:
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while steps_logged(out) < kill_after and os.waitid(os.P_PID, child, ended) is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.2) + (random.uniform(0, 1) if kill_after == 0 else 0))
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return False
    if os.WEXITSTATUS(status):
        sys.exit(f"a run failed in {out}")
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        os.environ["LORA3D_CACHE"] = str(top / "cache")
        write_dataset(make_rows(), top / "data", GRID)
        config = replace(
            TOY_RUN,
            base=str(save_toy_base(top / "base")),
            steps=args.steps,
            validation_share=0.3,
            validate_every=max(4, args.steps // 4),
            patience=0,
            checkpoint_every=max(1, args.steps // 40),
        )
        run(config, top / "data", top / "whole")  # fills the cache
        began = time.monotonic()
        run(config, top / "data", top / "again")
        whole = time.monotonic() - began
        wanted = (top / "whole" / "adapter.safetensors").read_bytes()
        equal = (top / "again" / "adapter.safetensors").read_bytes() == wanted
        print(f"undisturbed: {whole:.1f} s, twice the same bytes: {equal}")
        same = killed = 0
        for trial in range(args.kills):
            out = top / f"trial{trial}"
            killed += not run(config, top / "data", out, random.randrange(args.steps))
            step = max((p.name for p in (out / "checkpoints").glob("step-*")), default="none")
            if trial % 2:
                killed += not run(config, top / "data", out, random.randrange(args.steps))
            run(config, top / "data", out)
            found = (out / "adapter.safetensors").read_bytes() == wanted
            same += found
            print(f"trial {trial}: first killed with checkpoint {step}; same bytes: {found}", flush=True)
        print(f"{same} of {args.kills} runs ended in the same bytes; {killed} were killed in the act")
        sys.exit(0 if equal and same == args.kills and killed >= args.kills // 2 else 1)


if __name__ == "__main__":
    main()
