"""What lies on the Hugging Face Hub: fetched where a person names it as owner/name, and only then."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lora3d.errors import InputError, first_line


def is_hub_name(name: str) -> bool:
    """Whether it looks like owner/name."""
    return re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name) is not None


def download(
    name: str, what: str, patterns: Sequence[str], *, kind: str = "model", ignore: Sequence[str] = ()
) -> Path:
    """The files of a model or dataset of the Hub that match, in the Hub's own cache; there they are links.

    Raises InputError, which calls it ``what``, where it cannot be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            name, repo_type=kind, allow_patterns=list(patterns), ignore_patterns=list(ignore)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"{what} {name!r} is no folder here and cannot be had from the Hub: {first_line(error)}"
        ) from error
    return Path(found)
