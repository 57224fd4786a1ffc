"""Worker processes: crashes, hangs and hunger stay with the task that has them."""

from __future__ import annotations

import errno
import os
import time

import numpy as np

from lora3d.data_prep.workers import DISK_FULL, Failure, run_tasks
from lora3d.errors import InputError


def task(what: str) -> str:
    """Does to its process what a bad model may do."""
    if what == "hang":
        time.sleep(600)
    if what == "crash":
        os.abort()
    if what == "exit":
        os._exit(3)
    if what == "memory":
        return str(len(np.ones(2**33)))
    if what == "refuse":
        raise InputError("a reason\nin two lines")
    if what == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if what == "bug":
        raise KeyError("POSITION")
    return what.upper()


def test_a_task_takes_nothing_with_it() -> None:
    tasks = ["a", "hang", "crash", "b", "exit", "refuse", "bug", "full", "memory", "c"]
    results = list(run_tasks(task, tasks, workers=2, time_limit_s=2, memory_mb=4096))
    assert sorted(index for index, _ in results) == list(range(len(tasks)))
    said = {tasks[i]: r.reason if isinstance(r, Failure) else r for i, r in results}
    assert [said[k] for k in "abc"] == ["A", "B", "C"]
    assert said["refuse"] == "a reason in two lines"
    assert "longer than 2 seconds" in said["hang"]
    assert "signal 6" in said["crash"] and "exit 3" in said["exit"]
    # Only what lies in the file itself would be the same another time.
    lasting = {tasks[i] for i, r in results if isinstance(r, Failure) and r.lasting}
    assert lasting == {"refuse"} and said["full"] == DISK_FULL.reason
    assert "memory" in said["memory"] and said["bug"] == "unexpected KeyError: 'POSITION'"


def test_no_tasks_no_workers() -> None:
    assert list(run_tasks(task, [], workers=2, time_limit_s=1, memory_mb=1024)) == []
