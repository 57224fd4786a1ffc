"""From the last step to a file that is proved before it gets its name."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora3d.adapter import (
    AdapterCard,
    adapter_tensors,
    effect,
    load_adapter,
    remove_adapter,
    save_adapter,
    scales,
    trained_modules,
    use_adapters,
)
from lora3d.adapter_convert import parent_of
from lora3d.base import Base
from lora3d.base.text import Text
from lora3d.dataset import Dataset
from lora3d.errors import InputError
from lora3d.recipe import TrainConfig, to_fields


def make_card(config: TrainConfig, dataset: Dataset, base: Base, metrics: dict[str, Any]) -> AdapterCard:
    """The card, from what happened. A local path in the recipe becomes the name that it stands for."""
    grid = Path(config.grid_adapter) if config.grid_adapter else None
    named = {"base": base.name, "grid_adapter": grid.name if grid else ""}
    return AdapterCard(
        base=base.name,
        base_revision=base.revision,
        grid=base.grid.to_dict(),
        trigger=config.trigger,
        rank=config.rank,
        alpha=config.alpha,
        targets=list(config.targets),
        dataset=dataset.content_hash,
        assets=dataset.assets("train"),
        drawings=dataset.count("train"),
        licenses=list(dataset.licenses),
        artists=list(dataset.artists),
        sources=list(dataset.sources),
        recipe=to_fields(config) | named,
        metrics=metrics,
        versions={p: version(p) for p in ("lora3d", "torch", "diffusers", "peft")},
        parents=[parent_of(grid)] if grid else [],
    )


@torch.no_grad()
def sound_effect(base: Base, said: Text | None) -> Tensor:
    """`effect`, checked to be finite. Raises InputError naming the first damaged weight."""
    found = effect(base, said)
    if not torch.isfinite(found).all():
        bad = [n for n, p in base.network.named_parameters() if not torch.isfinite(p).all()]
        what = f"{bad[0]} and {len(bad) - 1} more hold numbers" if bad else "its answer holds numbers"
        raise InputError(f"base {base.name!r} is damaged: {what} that are not finite; get its files anew")
    return found


def save_proved(path: Path, base: Base, card: AdapterCard, before: Tensor, said: Text | None) -> None:
    """Saves the adapter ``style``, loads the file in its place, and names it ``path`` if it does the same.

    before: `effect` without the adapter, asked with ``said``. Raises InputError for a file that does something else,
    or nothing.
    """
    unproved = path.with_suffix(".unproved")
    save_adapter(unproved, adapter_tensors(base), card, trained_modules(base), scales(base))
    trained = effect(base, said)
    others = {name: 1.0 for name in base.network.active_adapters() if name != "style"}
    remove_adapter(base, "style")
    load_adapter(base, unproved, "proof")
    use_adapters(base, {**others, "proof": 1.0})
    loaded = effect(base, said)
    moved = (trained - before).abs().max().item()
    off = (loaded - trained).abs().max().item()
    if not moved > 1e-6 or not off <= 1e-4 * max(1.0, trained.abs().max().item()):
        raise InputError(
            f"the saved adapter was loaded back and moves the output by {moved:.2g}, {off:.2g} away from the "
            f"trained one: it stays {unproved.name} and is not kept as a result"
        )
    unproved.replace(path)
