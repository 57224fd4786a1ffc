"""Runs tasks in processes that may crash, hang or run out of memory without taking the run with them."""

from __future__ import annotations

import errno
import multiprocessing as mp
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from lora3d.errors import InputError
from lora3d.heap import keep_freed_memory

START_LIMIT_S = 180.0
_READY = "ready"


@dataclass(frozen=True)
class Failure:
    """A task that gave no result, and why, for a person.

    lasting: the reason lies in what was read (an InputError), and would be the same another time.
    """

    reason: str
    lasting: bool = False


DISK_FULL = Failure("the disk is full")


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    ready: bool = False
    task: int | None = None
    deadline: float = field(default=0.0)


def run_tasks(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    workers: int,
    time_limit_s: float,
    memory_mb: int,
) -> Generator[tuple[int, Any], None, None]:
    """Yields (index, what ``function(task)`` returned or a `Failure`) as they come; each index once.

    Function, tasks and results are pickled. A task that passes ``time_limit_s`` seconds or whose process dies
    is a failure and its process is replaced. Raises RuntimeError if processes cannot start at all.
    """
    context = mp.get_context("spawn")
    waiting = list(range(len(tasks)))[::-1]
    pool: list[_Worker] = []

    def start() -> _Worker:
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, function, memory_mb), daemon=True)
        process.start()
        there.close()
        return _Worker(process, here, deadline=time.monotonic() + START_LIMIT_S)

    try:
        pool = [start() for _ in range(max(1, min(workers, len(tasks))))] if tasks else []
        while pool:
            soonest = min((w.deadline for w in pool), default=0.0)
            wait([w.pipe for w in pool], timeout=max(0.0, soonest - time.monotonic()) + 0.01)
            for worker in list(pool):
                answer = _answer(worker, time_limit_s)
                if answer is None:
                    continue
                if not worker.ready:
                    if isinstance(answer, Failure):
                        raise RuntimeError(_START_HELP)
                    worker.ready = True
                elif worker.task is not None:
                    yield worker.task, answer
                dead = isinstance(answer, Failure) and not worker.process.is_alive()
                if dead or not waiting:
                    _stop(worker)
                    pool.remove(worker)
                    if dead and waiting:
                        pool.append(start())
                    continue
                worker.task = waiting.pop()
                worker.deadline = time.monotonic() + time_limit_s
                worker.pipe.send(tasks[worker.task])
    finally:
        for worker in pool:
            _stop(worker)


_START_HELP = (
    "the worker processes of prep do not start. In a script, call prep under `if __name__ == '__main__':`, "
    "because each worker imports the script first"
)


def _answer(worker: _Worker, time_limit_s: float) -> Any:
    """What the worker said; None: nothing yet; a Failure with a dead process if it died or was too slow."""
    try:
        if worker.pipe.poll():
            return worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        code = worker.process.exitcode
        return Failure(
            f"reading it crashed the process ({f'signal {-code}' if code < 0 else f'exit {code}'})"
        )
    if time.monotonic() < worker.deadline:
        return None
    worker.process.kill()
    worker.process.join()
    return Failure(f"it took longer than {time_limit_s:g} seconds")


def _stop(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.kill()
    worker.process.join()
    worker.process.close()


def _work(pipe: Connection, function: Callable[[Any], Any], memory_mb: int) -> None:
    """The worker's loop; ends with its parent, even inside a task that hangs. Ctrl-C is the parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
    if sys.platform.startswith("linux"):  # macOS refuses such limits, Windows has none
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        limit = memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit if hard < 0 else min(limit, hard), hard))
    try:
        pipe.send(_READY)
        while True:
            pipe.send(_call(function, pipe.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(2)
    os._exit(1)


def _call(function: Callable[[Any], Any], task: Any) -> Any:
    try:
        return function(task)
    except InputError as error:
        return Failure(" ".join(str(error).split()), lasting=True)
    except MemoryError:
        return Failure("it needs more memory than one model may take")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DISK_FULL
        return _unexpected(error)
    except Exception as error:  # one odd file must not end the run: it becomes a line that says so
        return _unexpected(error)


def _unexpected(error: Exception) -> Failure:
    return Failure(f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:200]}")
