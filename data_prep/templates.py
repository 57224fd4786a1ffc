"""Captions from a template, as in ``a {name} by {artist}``; imports nothing heavy, so that a slip is seen at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from string import Formatter
from typing import TYPE_CHECKING

from lora3d.data_prep.subjects import caption_of, name_of, stem_of
from lora3d.errors import InputError

if TYPE_CHECKING:
    from lora3d.data_prep.sources import Asset

FIELDS = ("name", "subject", "artist", "source", "license", "folder")


def fields_in(template: str) -> tuple[str, ...]:
    """The fields that a template names, each once. Raises InputError for one that is none of `FIELDS`."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise InputError(
            f"{template!r} is no template of a caption: {error}; a brace itself is doubled"
        ) from error
    if not template.strip():
        raise InputError(f"the template of a caption is empty: expected words and fields, {_known()}")
    for _, name, form, conversion in parts:
        if name is not None and (name not in FIELDS or form or conversion):
            near = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f"; the nearest is {{{near[0]}}}" if near and near[0] != name else ""
            raise InputError(
                f"no field {name!r} in a caption's template: expected some of {_known()}, as they are{hint}"
            )
    return tuple(dict.fromkeys(name for _, name, _, _ in parts if name is not None))


def fill(template: str, asset: Asset, prefix: Sequence[str]) -> tuple[str, str]:
    """The caption of an asset, and a warning: where a field is empty there is no caption but a word of it.

    prefix: a pack's mark, as in `caption_of`.
    """
    name = caption_of(name_of(asset.file), prefix)
    values = {
        "name": name,
        "subject": asset.subject or (" ".join(stem_of(name_of(asset.file), prefix)) if name else ""),
        "artist": asset.artist,
        "source": asset.source,
        "license": asset.license,
        # As it is called: digits count here (art_3d).
        "folder": " ".join(re.findall(r"[^\W_]+", PurePosixPath(asset.file).parent.name)),
    }
    lacking = [field for field in fields_in(template) if not values[field]]
    if lacking:
        return "", f"the template's {' and '.join(lacking)} is not known: captioned without the template"
    return " ".join(template.format_map(values).split()), ""


def _known() -> str:
    return ", ".join(f"{{{field}}}" for field in FIELDS)
