"""Seconds a step and the memory of a process, for either side of a comparison (Linux)."""

from __future__ import annotations

import itertools
import statistics
import time
from pathlib import Path

SKIPPED = 2  # the first steps warm up
TICKS: list[tuple[float, float]] = []


def tick() -> None:
    """Called after every step: wall and CPU seconds; the first resets the process's memory peak."""
    TICKS.append((time.perf_counter(), time.process_time()))
    if len(TICKS) == 1:
        Path("/proc/self/clear_refs").write_text("5")


def measured() -> dict[str, float]:
    """The median and the mean step's wall and CPU seconds, and the process's peak memory in MiB while it stepped."""
    pairs = list(itertools.pairwise(TICKS))[SKIPPED - 1 :]
    wall, cpu = ([b[i] - a[i] for a, b in pairs] for i in (0, 1))
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    return {
        "step": statistics.median(wall),
        "cpu": statistics.median(cpu),
        "mean": statistics.mean(wall),
        "mean_cpu": statistics.mean(cpu),
        "peak": peak,
    }
