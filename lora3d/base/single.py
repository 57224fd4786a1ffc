"""Single-file checkpoints: a whole base in one ``.safetensors``, as A1111, ComfyUI and the models' authors keep it.

diffusers' own reader takes such a file apart, once, into a folder in diffusers layout that is kept by content; from
there on it is a base like any other. The file holds weights alone: what they are (sizes, prediction, schedule,
vocabulary) is read from a folder beside it, never guessed and never fetched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from diffusers.utils import logging
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel

from lora3d.base import cache_folder, read_family
from lora3d.errors import InputError, first_line


@cache
def unpack(file: Path) -> Path:
    """A single file's base in diffusers layout, under $LORA3D_CACHE/bases; needs the file's room again there.

    ``name.safetensors`` wants a folder ``name`` beside it: model_index.json and each part's .json and .txt files.
    A part whose folder is left out (SD 3's third text encoder) is left out; one whose weights lie in its folder
    (text encoders that the file lacks) is taken from there.

    Raises InputError for a file that is not there or no safetensors, without that folder, or that does not fit it.
    """
    beside = file.with_suffix("")
    if not file.is_file() or file.suffix != ".safetensors":
        raise InputError(
            f"no base at {str(file)!r}: expected a .safetensors file (a .ckpt can run any code: convert it first)"
        )
    if not (beside / "model_index.json").is_file():
        raise InputError(
            f"{file.name} holds weights alone; expected the folder {beside} beside it, with model_index.json and the "
            ".json and .txt files of every part (unet, vae, tokenizer, …) of the base that it was made from, in "
            "diffusers layout; their weights are not needed"
        )
    pickles = [
        p.relative_to(beside) for p in beside.rglob("*") if p.suffix in (".bin", ".ckpt", ".pt", ".pth")
    ]
    if pickles:
        raise InputError(
            f"{beside / pickles[0]} can run any code: remove it, weights are read as safetensors alone"
        )
    final = cache_folder() / "bases" / _mark(file, beside) / file.stem
    if not final.is_dir():
        temporary = final.with_name(f"tmp-{os.getpid()}") / file.stem
        try:
            _read(file, beside).save_pretrained(temporary, safe_serialization=True)
            temporary.rename(final)
        except OSError as error:
            need = file.stat().st_size / 2**30
            raise InputError(
                f"{file.name} cannot be unpacked into {final.parent} ({error.strerror or error}): it needs "
                f"{need:.1f} GiB there; make room, or set LORA3D_CACHE"
            ) from error
        finally:
            shutil.rmtree(temporary.parent, ignore_errors=True)
    return final


def _read(file: Path, beside: Path) -> Any:
    """The pipeline of a file, every weight of which was found."""
    family = read_family(beside)
    parts = [p for p in family.pipeline._get_signature_types() if not (beside / p).is_dir()]
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        pipeline = family.pipeline.from_single_file(
            str(file), config=str(beside), local_files_only=True, **{name: None for name in parts}
        )
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, IndexError) as error:
        # torch's word for a tensor without data: a weight that the file lacks.
        said = "weights are missing" if isinstance(error, NotImplementedError) else first_line(error)
        raise InputError(
            f"{file.name} cannot be read as the {family.pipeline.__name__} that {beside.name}/ describes: {said}"
        ) from error
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()
    for name, part in pipeline.components.items():
        if isinstance(part, PreTrainedModel):
            part.tie_weights()  # one that stands for two is in the file once
        lost = [n for n, p in part.named_parameters() if p.is_meta] if isinstance(part, nn.Module) else []
        if lost:
            raise InputError(
                f"{file.name} lacks weights of the {name} that {beside.name}/{name} describes, {lost[0]} first: is the "
                "folder another base's?"
            )
    return pipeline


def _mark(file: Path, beside: Path) -> str:
    """SHA-256 of the file and of all that lies in the folder beside it."""
    digest = hashlib.sha256()
    for path in (file, *sorted(p for p in beside.rglob("*") if p.is_file())):
        digest.update(path.relative_to(file.parent).as_posix().encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:40]
