"""Licences: from a stated name or from the text of a licence file to an SPDX identifier.

https://spdx.org/licenses. Texts are recognised by their telltale sentences; what is not recognised is no
licence, never a guess.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from lora3d.errors import InputError

UNSTATED = "NOASSERTION"  # SPDX's word for: nobody said
MAX_TEXT = 200_000
# "* author:	Jane (https://…)", as in the license.txt of a Sketchfab download.
_CREDIT = re.compile(r"^\W*(author|artist|source)\s*:[ \t]*(\S.{0,299})$", re.IGNORECASE | re.MULTILINE)


class Statement(NamedTuple):
    """What is said of an asset's origin; empty where nothing is.

    license: an SPDX identifier; why: the reason that there is none; artist, source: as written;
    made_by_machine: it says so itself.
    """

    license: str | None = None
    why: str = ""
    artist: str = ""
    source: str = ""
    made_by_machine: bool = False


_NAMES = """
    CC0-1.0 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-4.0 CC-BY-NC-SA-4.0 CC-BY-ND-4.0
    CC-BY-NC-ND-4.0 MIT Apache-2.0 BSD-2-Clause BSD-3-Clause ISC Zlib Unlicense 0BSD MPL-2.0 OGA-BY-3.0
    GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later LGPL-2.1-only LGPL-3.0-only AGPL-3.0-only
    WTFPL
"""
_KNOWN = tuple(_NAMES.split())
# Not every identifier of SPDX's list, but none that is plain words: a version, or a name of one's own.
_SPDX_LIKE = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*-\d[A-Za-z0-9.-]*|LicenseRef-[A-Za-z0-9.-]+")
_ALIASES = {
    "cc0": "CC0-1.0",
    "cc0 1.0 universal": "CC0-1.0",
    "creative commons zero": "CC0-1.0",
    "cc-by": "CC-BY-4.0",
    "cc-by-sa": "CC-BY-SA-4.0",
    "cc-by-nc": "CC-BY-NC-4.0",
    "attribution 4.0 international": "CC-BY-4.0",
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "mit license": "MIT",
    "the mit license": "MIT",
    "the unlicense": "Unlicense",
    "gpl-3.0": "GPL-3.0-only",
    "gpl v3": "GPL-3.0-only",
    "gpl-2.0": "GPL-2.0-only",
}


def spdx_of(name: str) -> str:
    """A stated licence as an SPDX identifier or expression; "" stays "".

    Known identifiers are matched whatever their case and punctuation (``cc by 4.0``). Raises InputError for a
    name that cannot be SPDX; an own licence is named ``LicenseRef-…``.
    """
    text = " ".join(name.split())
    if not text:
        return ""
    plain = _plain(text)
    for known in _KNOWN:
        if _plain(known) == plain:
            return known
    for alias, known in _ALIASES.items():
        if _plain(alias) == plain:
            return known
    parts = [part.strip("()+") for part in re.split(r" (?:AND|OR|WITH) ", text)]
    if len(text) <= 100 and all(part in _KNOWN or _SPDX_LIKE.fullmatch(part) for part in parts):
        return text
    raise InputError(
        f"license {text[:60]!r} is no SPDX identifier: expected one such as CC0-1.0, CC-BY-4.0 or MIT, "
        "or LicenseRef-<a name of your own>"
    )


def spdx_of_text(text: str) -> str | None:
    """The licence that a text grants, None where it is not recognised."""
    plain = " ".join(text.lower().split())
    found = _creative_commons(plain)
    if found:
        return found
    if ("apache license" in plain and "version 2.0" in plain) or "apache 2.0" in plain:
        return "Apache-2.0"
    if "permission is hereby granted, free of charge" in plain or re.search(r"\bmit license\b", plain):
        return "MIT"
    if "redistribution and use in source and binary forms" in plain:
        return (
            "BSD-3-Clause"
            if re.search(r"neither the name|may not be used to endorse|names? of", plain)
            else "BSD-2-Clause"
        )
    if "this is free and unencumbered software released into the public domain" in plain:
        return "Unlicense"
    if "mozilla public license" in plain and "2.0" in plain:
        return "MPL-2.0"
    for words, name in (
        ("gnu lesser general", "LGPL"),
        ("gnu affero general", "AGPL"),
        ("gnu general public", "GPL"),
    ):
        if words in plain:
            version = "3.0" if "version 3" in plain else {"GPL": "2.0", "LGPL": "2.1"}.get(name, "3.0")
            return f"{name}-{version}-only"
    return None


def _creative_commons(plain: str) -> str | None:
    """CC0 and the CC-BY family, by their addresses first, then by their names."""
    if "creativecommons.org/publicdomain/zero" in plain or re.search(r"\bcc0\b", plain):
        return "CC0-1.0"
    if "creative commons zero" in plain:
        return "CC0-1.0"
    address = re.search(r"creativecommons\.org/licenses/(by(?:-nc)?(?:-sa|-nd)?)/(\d\.\d)", plain)
    if address:
        return f"CC-{address[1].upper()}-{address[2]}"
    short = re.search(r"\bcc[ -]by((?:[ -](?:nc|sa|nd))*)(?:[ -](\d\.\d))?\b", plain)
    if short:
        return f"CC-BY{short[1].replace(' ', '-').upper()}-{short[2] or '4.0'}"
    if "creative commons" in plain and "attribution" in plain:
        kinds = (("noncommercial", "-NC"), ("sharealike", "-SA"), ("noderiv", "-ND"))
        joined = plain.replace("-", "").replace(" ", "")
        version = re.search(r"\b([34]\.0)\b", plain)
        return (
            "CC-BY" + "".join(s for w, s in kinds if w in joined) + "-" + (version[1] if version else "4.0")
        )
    return None


def license_beside(folder: Path, root: Path) -> Statement:
    """What licence files state in ``folder`` or, failing that, in its parents up to ``root``.

    Several files that disagree state nothing.
    """
    while True:
        paths = sorted(
            p for p in folder.iterdir() if is_license_file(p) and p.is_file() and not p.is_symlink()
        )
        texts = [_read(path) for path in paths]
        found = {path.name: spdx_of_text(text) for path, text in zip(paths, texts, strict=True)}
        names = {name for name in found.values() if name}
        if len(names) == 1:
            credits = {key.lower(): value.strip() for text in texts for key, value in _CREDIT.findall(text)}
            artist = credits.get("author") or credits.get("artist", "")
            return Statement(names.pop(), artist=artist, source=credits.get("source", ""))
        if len(names) > 1:
            shown = ", ".join(f"{file} is {name}" for file, name in sorted(found.items()) if name)
            return Statement(why=f"the licence files beside it disagree: {shown[:160]}")
        if texts:
            return Statement(why=f"the text of {paths[0].name} is not recognised")
        if folder == root or root not in folder.parents:
            return Statement(why="no licence is stated in metadata.csv, by the file or by a LICENSE file")
        folder = folder.parent


def is_license_file(path: Path) -> bool:
    return bool(
        re.match(r"(licen[cs]e|copying|copyright|unlicense)", path.name.lower())
        and path.suffix.lower() not in (".csv", ".json", ".png", ".glb")
    )


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_TEXT).decode("utf-8", errors="replace")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", text.lower().replace("license", "").replace("licence", ""))
