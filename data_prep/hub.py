"""What lies on the Hugging Face Hub: fetched where a person names it as owner/name, and only then."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from lora3d.data_prep.from_parquet import shards_of
from lora3d.data_prep.sources import PICTURES, READABLE
from lora3d.errors import InputError, first_line

# Meshes and what they name, pictures, tables, licences; no code, no pickles.
_ENDINGS = (*READABLE, ".bin", ".mtl", ".tga", ".bmp", *PICTURES, ".parquet")
_NAMES = ("metadata.csv", "metadata.jsonl", "licen[cs]e*", "copying*", "copyright*", "unlicense*")


def is_hub_name(name: str) -> bool:
    """Whether it looks like owner/name."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None


def download(name: str, what: str, patterns: Sequence[str], kind: str = "model") -> Path:
    """The files of a model or dataset of the Hub that match, in the Hub's own cache; there they are links.

    Raises InputError, which calls it ``what``, where it cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, repo_type=kind, allow_patterns=list(patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"{what} {name!r} is no folder here and cannot be had from the Hub: {first_line(error)}"
        ) from error


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
    kept = download(name, "source", patterns, "dataset")
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
