"""Datasets of the Hugging Face Hub as a source of `prep`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from lora3d.data_prep.from_parquet import shards_of
from lora3d.data_prep.sources import PICTURES, READABLE
from lora3d.errors import InputError
from lora3d.hub import download

# Meshes and what they name, pictures, tables, licences; no code, no pickles.
_ENDINGS = (*READABLE, ".bin", ".mtl", ".tga", ".bmp", *PICTURES, ".parquet")
_NAMES = ("metadata.csv", "metadata.jsonl", "licen[cs]e*", "copying*", "copyright*", "unlicense*")


def fetch_dataset(name: str, work: Path) -> Path:
    """A folder with the models, or the Parquet files, of a dataset of the Hub; models as files in ``work``.

    Raises InputError where it cannot be had. Where there is a folder called as its owner, a folder in that was meant:
    a slip does not go to the network.
    """
    owner = Path(name).parent
    if owner.is_dir():
        raise InputError(
            f"{name}: there is no such folder or file in {owner}; for a dataset of the Hub of that name, run it where "
            f"there is no folder {owner}"
        )
    patterns = [f"*{_any_case(ending)}" for ending in _ENDINGS]
    patterns += [f"{before}{_any_case(name)}" for name in _NAMES for before in ("", "*/")]
    kept = download(name, "source", patterns, kind="dataset")
    if shards_of(kept):
        return kept
    # What links lead to lies outside the folder, where no model may name anything.
    folder = work / f"hub-{kept.name}"
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(kept, partial)
        partial.replace(folder)
    return folder


def _any_case(text: str) -> str:
    """A pattern of file names for a text in any letter case; sets of letters must be in lower case."""
    return re.sub(r"\[(\w+)\]|([a-z])", lambda m: f"[{m[1] or m[2]}{(m[1] or m[2]).upper()}]", text)
