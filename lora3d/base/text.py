"""Embedded sentences, as the base models read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Text:
    """A batch of embedded sentences.

    Attributes:
        tokens: (b, tokens, d) float32.
        pooled: (b, p) float32, one vector a sentence; None for bases that read none.
    """

    tokens: Tensor
    pooled: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: Any) -> Text:
        return Text(self.tokens[index], None if self.pooled is None else self.pooled[index])

    def to(self, device: str | torch.device) -> Text:
        return Text(self.tokens.to(device), None if self.pooled is None else self.pooled.to(device))


def has_adapter(network: nn.Module) -> bool:
    """Whether PEFT has put an adapter on a network."""
    return bool(getattr(network, "peft_config", None))


def join_texts(parts: Sequence[Text]) -> Text:
    """Batches one after the other."""
    pooled = [part.pooled for part in parts if part.pooled is not None]
    return Text(torch.cat([part.tokens for part in parts]), torch.cat(pooled) if pooled else None)
