"""How long `lora3d train` takes to its first step on `mini`, with a warm cache: imports apart.

python -m tests.benchmarks.first_step DATASET
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

began = time.perf_counter()

from lora3d.recipe import TrainConfig, read_recipe  # noqa: E402
from lora3d.train import train  # noqa: E402

imports = time.perf_counter() - began


def main() -> None:
    data = Path(sys.argv[1])
    recipe = read_recipe(
        Path("mini_style.toml"), TrainConfig, {"steps": 1, "held_out_every": 0, "sample_every": 0}
    )
    first: list[float] = []
    for name in ("cold or warm", "warm"):
        with tempfile.TemporaryDirectory() as out:
            log = Path(out) / "run" / "train.log.jsonl"

            def watch(log: Path = log) -> None:
                while not log.exists() or '"loss"' not in log.read_text():
                    time.sleep(0.005)
                first.append(time.perf_counter())

            began = time.perf_counter()
            threading.Thread(target=watch, daemon=True).start()
            train(recipe, data, Path(out) / "run", progress=False, report=lambda text: None)
            whole = time.perf_counter() - began
            took = first[-1] - began
        print(
            f"{name}: imports {imports:.1f} s, then {took:.1f} s to the end of the first step, {whole:.1f} s in all"
        )


if __name__ == "__main__":
    main()
