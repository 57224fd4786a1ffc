"""Captions from an image captioner, for what neither metadata nor a file name describes.

A model at hand in the layout of transformers (BLIP, Li et al. 2022; GIT, Wang et al. 2022), safetensors alone. It sees
the drawing, or what stands in for it, on white; decoding is greedy in one thread, so that equal pictures get equal
words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora3d.camera import Array
from lora3d.errors import InputError, first_line
from lora3d.hub import download, is_hub_name
from lora3d.trigger import with_trigger

KINDS = ("blip", "git")
MOST_TOKENS = 30
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")


@dataclass(frozen=True)
class Captioner:
    """Which captioner is asked.

    Attributes:
        folder: of the model.
        state: names, sizes and times of its files, so that other weights make other rows.
        trigger: words put before what it says.
    """

    folder: str
    state: str
    trigger: str


def find_captioner(name: str, trigger: str) -> Captioner:
    """A folder here, or a model of the Hub (``owner/name``), which is fetched; safetensors, never pickles.

    Raises InputError for what is neither, or no captioner of a kind that is known.
    """
    folder = Path(name)
    if not folder.is_dir() and is_hub_name(name):
        folder = download(name, "captioner", _FILES)
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"no captioner at {name!r}: expected a folder in transformers layout (with config.json), or a model of "
            f"the Hub as owner/name; {first_line(error)}"
        ) from error
    if kind not in KINDS:
        raise InputError(f"captioner {name!r} is a {kind!r}: expected one of {', '.join(KINDS)}")
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"captioner {name!r} has no safetensors: other weights are not read, convert it first"
        )
    files = sorted(path for path in folder.iterdir() if path.is_file())
    state = json.dumps([[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files])
    return Captioner(str(folder.absolute()), state, trigger)


def describe(captioner: Captioner, rgba: Array) -> str:
    """What it says of a picture (h, w, 4) uint8 with straight alpha, the trigger before it; one line."""
    import torch

    model, processor = _load(captioner.folder)
    alpha = rgba[..., 3:].astype(np.float32) / 255
    shown = rgba[..., :3] * alpha + 255 * (1 - alpha)
    inputs = processor(images=Image.fromarray((shown + 0.5).astype(np.uint8)), return_tensors="pt")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            found = model.generate(**inputs, max_new_tokens=MOST_TOKENS, num_beams=1, do_sample=False)
    finally:
        torch.set_num_threads(threads)
    said = " ".join(processor.batch_decode(found, skip_special_tokens=True)[0].split())
    return with_trigger(said, captioner.trigger)


@cache
def _load(folder: str) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForImageTextToText.from_pretrained(
            folder,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"captioner {Path(folder).name!r} cannot be read: {first_line(error)}") from error
    return model.eval(), processor
