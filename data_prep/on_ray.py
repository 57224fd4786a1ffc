"""The same tasks on many machines, through Ray Data (the extra ``ray``)."""

from __future__ import annotations

import logging
import math
import pickle
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from lora3d.data_prep.workers import Failure, run_tasks
from lora3d.errors import InputError

# Tasks that one core takes at a time, about: a process to run them in starts in seconds.
CHUNK = 32
# Of a chunk again, whose machine failed; Ray Data itself would try for ever.
RETRIES = 3


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
        import ray.data
    except ImportError as error:
        raise InputError("--ray needs Ray Data: install it with pip install 'lora3d[ray]'") from error
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"no Ray cluster answers at {address!r}: {' '.join(str(error).split())[:160]}"
        ) from error
    try:
        waiting = set(range(len(tasks)))
        for i, result in _results(function, tasks, time_limit_s, memory_mb) if tasks else ():
            waiting.remove(i)
            yield i, result
        # A chunk whose machine failed is left out, whatever else went well.
        for i in sorted(waiting):
            yield i, Failure("its machine failed, each time that it was tried")
    finally:
        ray.shutdown()


def _results(
    function: Callable[[Any], Any], tasks: Sequence[Any], time_limit_s: float, memory_mb: int
) -> Generator[tuple[int, Any], None, None]:
    """What became of the tasks, by number, as it comes; those of a chunk that failed are missing."""
    import ray.data
    from ray.util.annotations import RayDeprecationWarning

    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # says of a chunk why it failed
    context.enable_progress_bars = False
    items = [{"index": i, "task": pickle.dumps(task)} for i, task in enumerate(tasks)]
    chunks = ray.data.from_items(items, override_num_blocks=math.ceil(len(tasks) / CHUNK))
    with warnings.catch_warnings():
        # From Ray 2.64 on retries will be said otherwise: pyproject.toml keeps it below.
        warnings.simplefilter("ignore", RayDeprecationWarning)
        done = chunks.map_batches(
            _run_chunk,
            batch_size=None,
            fn_kwargs={"function": function, "time_limit_s": time_limit_s, "memory_mb": memory_mb},
            max_retries=RETRIES,
        )
    for batch in done.iter_batches(batch_size=None):
        for i, result in zip(batch["index"], batch["result"], strict=True):
            yield int(i), pickle.loads(result)


def _run_chunk(
    batch: dict[str, Any], *, function: Callable[[Any], Any], time_limit_s: float, memory_mb: int
) -> dict[str, Any]:
    tasks = [pickle.loads(task) for task in batch["task"]]
    run = run_tasks(function, tasks, workers=1, time_limit_s=time_limit_s, memory_mb=memory_mb)
    results = dict(run)
    packed = [pickle.dumps(results[k]) for k in range(len(tasks))]
    return {"index": batch["index"], "result": np.array(packed, dtype=object)}
