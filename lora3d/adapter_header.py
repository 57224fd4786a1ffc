"""What other tools read in an adapter's header: ModelSpec, kohya's ``ss_`` keys, the hashes, a thumbnail.

ModelSpec 1.0.0: https://github.com/Stability-AI/ModelSpec. It would like a date; there is none, so that equal
training gives equal bytes. All values are strings, as safetensors demands.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora3d.adapter_layers import Layers
from lora3d.adapter_license import terms_of
from lora3d.card import AdapterCard, AdapterError, prompt_hint, shown

if TYPE_CHECKING:
    from PIL import Image

ARCHITECTURES = {
    "sd1": ("stable-diffusion-v1/lora", "sd_v1"),
    "sd2": ("stable-diffusion-v2-768-v/lora", "sd_v2"),
    "sdxl": ("stable-diffusion-xl-v1-base/lora", "sdxl_base_v1-0"),
    "sd3": ("stable-diffusion-3-medium/lora", "sd3"),
}
THUMBNAIL = 256  # pixels of the longer side
MAX_PICTURE = 64 << 20


def architecture(card: AdapterCard, family: str) -> tuple[str, str]:
    """ModelSpec's and kohya's names. `mini` names itself: its blocks are called as SD 1's, but it is none."""
    return ("lora3d-mini/lora", "lora3d-mini") if card.base == "mini" else ARCHITECTURES[family]


def modelspec(card: AdapterCard, family: str, title: str, picture: Path | None = None) -> dict[str, str]:
    """ModelSpec's keys."""
    fields: dict[str, Any] = {
        "sai_model_spec": "1.0.0",
        "architecture": architecture(card, family)[0],
        "implementation": "https://github.com/huggingface/diffusers",
        "title": title,
        "author": ", ".join(card.artists),
        "license": terms_of(card).license,
        "usage_hint": prompt_hint(card),
        "trigger_phrase": card.trigger,
        "tags": "lora, 3d, multi-view",
        "description": f"A lora3d adapter for {card.base}, trained on {card.assets} models",
        "thumbnail": thumbnail(picture) if picture else "",
    }
    return {f"modelspec.{k}": str(v) for k, v in fields.items() if v}


def kohya_keys(card: AdapterCard, layers: Layers, family: str, title: str) -> dict[str, str]:
    """The ``ss_`` keys that A1111 and others show. Of the training only what the card knows."""
    ranks = Counter(layer.rank for layer in layers.values()).most_common()
    alphas = Counter(layer.alpha for layer in layers.values()).most_common()
    fields: dict[str, Any] = {
        "output_name": title,
        "base_model_version": architecture(card, family)[1],
        "v2": str(family == "sd2"),
        "sd_model_name": card.base,
        "sd_model_hash": card.base_revision,
        "network_module": "networks.lora",
        "network_dim": ranks[0][0] if len(ranks) == 1 else "Dynamic",
        "network_alpha": alphas[0][0] if len(alphas) == 1 else "Dynamic",
        "num_train_images": card.drawings,
        "steps": card.metrics.get("steps", ""),
        "seed": card.recipe.get("seed", ""),
        "learning_rate": card.recipe.get("learning_rate", ""),
    }
    if card.trigger:
        fields["tag_frequency"] = json.dumps({"lora3d": {card.trigger: card.drawings}})
    return {f"ss_{k}": str(v) for k, v in fields.items() if v != ""}


def card_metadata(card: AdapterCard) -> dict[str, str]:
    """The card as it stands in a header."""
    return {"format": "pt", "lora3d": json.dumps(asdict(card), sort_keys=True)}


def hashes(data: bytes, legacy: bytes | None = None) -> dict[str, str]:
    """``sshs_model_hash`` of a file's tensors and ``sshs_legacy_hash`` as kohya computes both.

    The first is over all behind the header. The second is over 64 KiB from 1 MiB on, of the file as it would
    be with its ``ss_`` keys alone (``legacy``; the file itself by default).
    """
    length = int.from_bytes(data[:8], "little")
    whole = hashlib.sha256(data[8 + length :]).hexdigest()
    some = hashlib.sha256((legacy or data)[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8]
    return {"sshs_model_hash": whole, "sshs_legacy_hash": some}


def thumbnail(path: Path) -> str:
    """A picture as a data URI of at most `THUMBNAIL` pixels. Raises AdapterError for a file that is no picture."""
    stream = io.BytesIO()
    open_picture(path).save(stream, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def open_picture(path: Path, side: int = THUMBNAIL) -> Image.Image:
    """An RGB picture of at most ``side`` pixels. Raises AdapterError for a file that is none or too large."""
    from PIL import Image

    try:
        if path.stat().st_size > MAX_PICTURE:
            raise AdapterError(f"{shown(path)} is too large for a picture: {path.stat().st_size} bytes")
        with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as picture:
            small = picture.convert("RGB")
        small.thumbnail((side, side))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, AdapterError):
            raise
        raise AdapterError(f"{shown(path)} is no picture that can be read: {shown(error)}") from error
    return small


def sample_pictures(file: Path) -> list[Path]:
    """What the training left beside an adapter: the pictures in ``samples``, the newest first."""
    return sorted((file.parent / "samples").glob("*.png"), reverse=True)[:4]
