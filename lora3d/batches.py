"""What a step sees, and how fast it learns: functions of the step, the seed and the rows alone."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

import numpy as np
import torch
from torch import Tensor

from lora3d.cache import Cached
from lora3d.diffusion import logit_normal_times
from lora3d.progress import slot_weights
from lora3d.recipe import TrainConfig

Batch = dict[str, Tensor]


def make_batches(
    rows: Cached, config: TrainConfig, first: int, device: torch.device
) -> Generator[Batch, None, None]:
    """The batches of step ``first`` and of all after it.

    On CUDA each is made, and laid into pinned memory, while the step before it runs. A CPU computes the step itself
    and makes a batch in a thousandth of its time.
    """
    if device.type == "cuda":
        here = torch.cuda.current_device()  # which one that is, each thread says for itself

        def pinned(step: int) -> Batch:
            with torch.cuda.device(here):
                return {k: v.pin_memory() for k, v in make_batch(rows, config, step).items()}

        yield from made_ahead(pinned, first)
    yield from map(partial(make_batch, rows, config), count(first))


def made_ahead(make: Callable[[int], Batch], first: int) -> Generator[Batch, None, None]:
    """make(first), make(first + 1), …, each made by another thread while its forerunner is used.

    What ``make`` raises is raised where its batch is asked for. To be closed, which ends the thread.
    """
    with ThreadPoolExecutor(1, "batches") as thread:
        coming = thread.submit(make, first)
        for step in count(first + 1):
            batch = coming.result()
            coming = thread.submit(make, step)
            yield batch


def make_batch(rows: Cached, config: TrainConfig, step: int) -> Batch:
    """Step ``step``'s batch; a function of (seed, step) and the rows alone.

    Returns ``rows`` (b,), ``clean`` and ``noise`` (b, slots, c, h, w), ``t`` (b,), ``silent`` (b,) bool: the sentence
    is left out, ``known`` (b, slots) bool, ``seen`` (b, 2) as in `Cached` and ``weight`` (b, slots). Rows come in
    shuffled rounds, so that each is seen equally often; variants take every other place.
    """
    generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
    n = config.batch
    picked = [row_at(step * n + i, rows, config.seed) for i in range(n)]
    t = logit_normal_times(n, config.time_mean, config.time_deviation, generator)
    noise = torch.randn(n, *rows.stored.shape[1:], generator=generator)
    if config.noise_offset:
        noise += config.noise_offset * torch.randn(*noise.shape[:3], 1, 1, generator=generator)
    silent = torch.rand(n, generator=generator) < config.caption_dropout
    unseen = torch.rand(n, generator=generator) < config.reference_dropout
    unsaid = torch.rand(n, generator=generator) < config.viewpoint_dropout
    drawn, weight = slot_weights(rows, picked, config)
    known = drawn & ~unseen[:, None]
    return {
        "rows": torch.tensor(picked),
        "clean": rows.latents(torch.tensor(picked)),
        "noise": noise,
        "t": t,
        # An example with neither would teach only what the base says unasked; a sentence stays then.
        "silent": silent & known.any(1),
        "known": known,
        "seen": rows.seen[picked].masked_fill(unsaid[:, None], torch.nan),
        "weight": weight * ~known,
    }


def row_at(position: int, rows: Cached, seed: int) -> int:
    """The row at a place of the endless order of rows."""
    others = len(rows) - rows.own
    first, n = 0, rows.own
    if others:
        position, odd = divmod(position, 2)
        first, n = (rows.own, others) if odd else (0, rows.own)
    lap, place = divmod(position, n)
    return first + int(np.random.default_rng([seed, lap, first]).permutation(n)[place])


def mask_seed(config: TrainConfig, step: int, process: int, processes: int) -> int:
    """What one of several processes draws the masks of LoRA's dropout from: its own in each step."""
    return (config.seed * 1_000_003 + step) * processes + process


def rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate's factor: linear warm-up, constant, linear decay to zero."""
    left = (config.steps - step) / max(1, round(config.steps * config.decay_share))
    return min(1.0, (step + 1) / max(1, config.warmup), left)
