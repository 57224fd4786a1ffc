"""One step shared out: among processes, and within one between two threads of a CPU; the steps of one all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from accelerate import Accelerator
from torch import Tensor

from lora3d.recipe import TrainConfig


def two_threads(config: TrainConfig, device: torch.device) -> ThreadPoolExecutor | None:
    """Two threads that share a CPU's cores, each for half of a batch; None where the halves cannot be apart.

    Two halves at once beat one batch whose every operation is split among cores: those wait for each other thousands
    of times a step (docs/training.md). Dropout draws from one generator, ``prior`` switches the adapter, tokenizers
    are no two threads' and neither is the compiler: there a batch stays whole.
    """
    threads = torch.get_num_threads()
    together = config.dropout or config.prior or config.text_rate or config.compile
    if device.type != "cpu" or threads < 2 or together:
        return None
    pool = ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(threads // 2,))
    meet = threading.Barrier(2)
    list(pool.map(lambda _: meet.wait(), range(2)))  # both have begun
    torch.set_num_threads(threads)  # the number is each thread's own, but for MKL's
    return pool


def backward(
    pool: ThreadPoolExecutor | None,
    loss_of: Callable[[Tensor], Tensor],
    rows: range,
    parameters: list[Tensor],
) -> Tensor:
    """Adds the gradient of the loss over ``rows`` to the parameters'; returns the loss, without its graph.

    loss_of: rows (n,) int64 to their loss, a sum over them. Halves are added in one order: the same bits every time.
    """
    if pool is None or len(rows) < 2:
        loss = loss_of(torch.tensor(rows))
        loss.backward()
        return loss.detach()

    def half(which: int) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        loss = loss_of(torch.tensor(rows[which::2]))
        return loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)

    (one, first), (other, second) = pool.map(half, range(2))
    for grads in (first, second):
        for parameter, grad in zip(parameters, grads, strict=True):
            if grad is not None:
                if parameter.grad is None:
                    # Of the parameter's own layout: the fused optimiser takes that for granted.
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad += grad
    return one + other


def add_up(crew: Accelerator, parameters: list[Tensor], sums: Tensor) -> Tensor:
    """Sums gradients over the processes in one message, ``sums`` with them; a process without rows has zeros."""
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    whole = crew.reduce(torch.cat([sums, *(g.flatten() for g in grads)]), "sum")
    parts = whole[len(sums) :].split([p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)
    return whole[: len(sums)]
