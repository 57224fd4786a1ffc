"""What glibc does with freed memory, seen by the pages that the kernel has to clear."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these are glibc's own switches")

CHURN = """
import resource, sys
import numpy as np
from lora3d import heap
if sys.argv[1] != "as_it_is":
    getattr(heap, sys.argv[1])()
def model():
    return [np.ones(5 << 20, np.uint8) for _ in range(12)]
model()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    model()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages cleared while twenty models of 60 MiB come and go, after a first."""
    done = subprocess.run([sys.executable, "-c", CHURN, how], check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_a_worker_that_keeps_freed_memory_has_no_page_cleared_twice():
    whole = 20 * 12 * (5 << 20) // 4096
    # Huge pages, where the kernel gives them, are cleared 512 at a time.
    assert faults("keep_freed_memory") < min(whole / 512, faults("as_it_is")) / 2


def test_what_is_returned_has_to_be_cleared_anew():
    assert faults("return_freed_memory") > 10 * faults("keep_freed_memory")
