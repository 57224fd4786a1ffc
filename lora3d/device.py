"""Which device and precision to compute on: measured, not guessed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.util import find_spec

import torch

from lora3d.errors import InputError


def choose_device(name: str = "auto") -> torch.device:
    """``auto`` takes CUDA, then Apple's MPS, then the CPU. Raises InputError for a device that cannot be used here."""
    if name != "auto":
        try:
            torch.zeros(1, device=name).item()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise InputError(
                f"device {name!r} cannot be used here by torch {torch.__version__}: expected cpu, or cuda or mps where "
                f"there is one, or auto, which takes {choose_device()}"
            ) from error
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def measure_gflops(
    dtype: torch.dtype = torch.float32, size: int = 1024, repeats: int = 5, device: str | torch.device = "cpu"
) -> float:
    """Matrix-product speed of a device in GFLOP/s, this host's CPU by default: the figure to quote beside times."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in "ab")
    # Reading a number of it waits for the product, wherever that is computed.
    return 2e-9 * size**3 / _best_seconds(lambda: (a @ b)[0, 0].item(), repeats)


def choose_dtype(device: torch.device, name: str = "auto") -> torch.dtype:
    """``auto``: bfloat16 where it is faster than float32 at a convolution like the UNet's, else float32.

    CPUs without bfloat16 instructions emulate it several times slower than float32; hence the measurement.
    """
    if name != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type != "cpu":
        return torch.float32
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        layer = torch.nn.Conv2d(128, 128, 3, padding=1, dtype=dtype)
        layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)
        x = torch.randn(8, 128, 8, 56, dtype=dtype).to(memory_format=torch.channels_last)
        with torch.no_grad():
            seconds[dtype] = _best_seconds(partial(layer, x), 3)
    return torch.bfloat16 if seconds[torch.bfloat16] < 0.8 * seconds[torch.float32] else torch.float32


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Mixed precision for the network; a no-op in float32."""
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Numbers below 1.2e-38 count as zero on a CPU that can, in this thread and in those that torch starts meanwhile.

    A CPU is a hundred times slower with them, and the gradients of what a network is sure of are full of them. To be
    entered before anything is computed: torch's threads take it from the one that starts them.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def product_dtype(x: torch.Tensor) -> torch.dtype:
    """What products of x are taken in: autocast's precision where it is on, else x's own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def require_compiler(device: torch.device) -> None:
    """Raises InputError where torch.compile has nothing to compile with: g++ or $CXX for a CPU, Triton for CUDA."""
    compiler = os.environ.get("CXX", "g++")
    if device.type == "cpu" and not shutil.which(compiler):
        raise InputError(
            f"compile = true wants a C++ compiler, there is no {compiler!r} here: install g++, or leave it out"
        )
    if device.type == "cuda" and not find_spec("triton"):
        raise InputError(
            "compile = true wants Triton, which is not installed: pip install triton, or leave it out"
        )


def _best_seconds(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
