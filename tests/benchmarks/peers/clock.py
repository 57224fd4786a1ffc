"""Seconds a step and the memory of a process or its card, for either side of a comparison (Linux)."""

from __future__ import annotations

import itertools
import statistics
import time
from pathlib import Path

import torch

SKIPPED = 2  # the first steps warm up
TICKS: list[tuple[float, float]] = []


def tick() -> None:
    """Called after every step: wall and CPU seconds; the first resets the memory peak. Waits for a card in use."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    TICKS.append((time.perf_counter(), time.process_time()))
    if len(TICKS) == 1:
        Path("/proc/self/clear_refs").write_text("5")
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()


def measured() -> dict[str, float]:
    """The median and the mean step's wall and CPU seconds, and the peak memory in MiB while it stepped.

    Memory is what tensors take on a card in use, else what the process takes.
    """
    pairs = list(itertools.pairwise(TICKS))[SKIPPED - 1 :]
    wall, cpu = ([b[i] - a[i] for a, b in pairs] for i in (0, 1))
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    if torch.cuda.is_initialized():
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {
        "step": statistics.median(wall),
        "cpu": statistics.median(cpu),
        "mean": statistics.mean(wall),
        "mean_cpu": statistics.mean(cpu),
        "peak": peak,
    }


def matmul_flops(device: str, dtype: torch.dtype) -> float:
    """Operations a second of large matrix products on a device: the peak that a step's are held against."""
    size = 8192 if device == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        a @ b
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[1:])
