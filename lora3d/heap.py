"""What glibc and Arrow do with memory that was freed; without glibc these functions do nothing."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
GREATEST_MMAP_THRESHOLD = 32 << 20  # mallopt takes no more on 64 bits


def return_freed_memory() -> None:
    """Gives freed blocks of 2 MiB and more back to the system at once.

    Left alone, the size from which glibc does so follows what is freed, up to 32 MiB, and a checkpointed step leaves
    holes that the next one cannot fill. Smaller blocks would cost more time than they are worth: they are left to
    `return_holes`.
    """
    _set(mmap_threshold=2 << 20, trim_threshold=64 << 20)


def keep_freed_memory() -> None:
    """Keeps freed blocks below 32 MiB for the next ones, as long as no more than 512 MiB lie free at the heap's end.

    A worker that makes the same large arrays again and again otherwise has the kernel clear their pages each time,
    which two workers at once cannot do twice as fast.
    """
    _set(mmap_threshold=GREATEST_MMAP_THRESHOLD, trim_threshold=512 << 20)


def return_holes() -> None:
    """Gives the free pages between blocks back to the system (malloc_trim(3))."""
    if libc := _glibc():
        libc.malloc_trim(0)


@contextmanager
def frugal_arrow() -> Iterator[None]:
    """Arrow asks malloc itself while this lasts: its own pool keeps what it freed, 30 MiB after thousands of tables."""
    import pyarrow as pa

    pool = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(pool)


def _set(*, mmap_threshold: int, trim_threshold: int) -> None:
    if libc := _glibc():
        libc.mallopt(M_TRIM_THRESHOLD, trim_threshold)
        libc.mallopt(M_MMAP_THRESHOLD, mmap_threshold)


def _glibc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "malloc_trim") else None
