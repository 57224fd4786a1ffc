"""What a step sees, and how fast it learns: functions of the step, the seed and the rows alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lora3d.cache import Cached
from lora3d.diffusion import logit_normal_times
from lora3d.progress import slot_weights
from lora3d.recipe import TrainConfig


def make_batch(rows: Cached, config: TrainConfig, step: int) -> dict[str, Tensor]:
    """Step ``step``'s batch; a function of (seed, step) and the rows alone.

    Returns ``rows`` (b,), ``noise`` (b, slots, c, h, w), ``t`` (b,), ``silent`` (b,) bool: the sentence is left
    out, ``known`` (b, slots) bool, ``seen`` (b, 2) as in `Cached` and ``weight`` (b, slots). Rows come in shuffled
    rounds, so that each is seen equally often; variants take every other place.
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


def rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate's factor: linear warm-up, constant, linear decay to zero."""
    left = (config.steps - step) / max(1, round(config.steps * config.decay_share))
    return min(1.0, (step + 1) / max(1, config.warmup), left)
