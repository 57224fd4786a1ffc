"""The same tasks on many machines, through Ray (the extra ``ray``)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from lora3d.data_prep.workers import Failure, run_tasks
from lora3d.errors import InputError

# Tasks that one core takes at a time: a process to run them in starts in seconds.
CHUNK = 32


def run_on_ray(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    *,
    address: str,
    time_limit_s: float,
    memory_mb: int,
) -> Generator[tuple[int, Any], None, None]:
    """As `run_tasks`, on the cluster at ``address``; "local" starts one on this machine.

    Every machine must see the source and the folder of the output under the same paths, since tasks read and write
    files. Each core runs `run_tasks` on a few tasks at a time, with the same limits. Raises InputError where Ray is
    not installed or nothing answers.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray needs Ray: install it with pip install 'lora3d[ray]'") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"no Ray cluster answers at {address!r}: {' '.join(str(error).split())[:160]}"
        ) from error
    try:
        remote = ray.remote(_run_chunk)
        chunks = [range(i, min(i + CHUNK, len(tasks))) for i in range(0, len(tasks), CHUNK)]
        running = {
            remote.remote(function, [tasks[i] for i in chunk], time_limit_s, memory_mb): chunk
            for chunk in chunks
        }
        while running:
            for done in ray.wait(list(running))[0]:
                chunk = running.pop(done)
                try:
                    results = dict(ray.get(done))
                except ray.exceptions.RayError as error:
                    # Ray has tried again by now.
                    results = {
                        k: Failure(f"its machine failed ({type(error).__name__})") for k in range(len(chunk))
                    }
                for k, i in enumerate(chunk):
                    yield i, results[k]
    finally:
        ray.shutdown()


def _run_chunk(
    function: Callable[[Any], Any], tasks: list[Any], time_limit_s: float, memory_mb: int
) -> list[tuple[int, Any]]:
    return list(run_tasks(function, tasks, workers=1, time_limit_s=time_limit_s, memory_mb=memory_mb))
