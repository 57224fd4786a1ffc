"""Licences: from a stated name or from the text of a licence file to an SPDX identifier.

https://spdx.org/licenses. Texts are recognised by their telltale sentences; what is not recognised is no
licence, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lora3d.errors import InputError

UNSTATED = "NOASSERTION"  # SPDX's word for: nobody said
RESERVED = "all rights reserved"  # no licence, but a word on it
NOTHING = "no licence is stated in metadata.csv, by the file or by a LICENSE file"
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
    CC0-1.0 MIT Apache-2.0 BSD-2-Clause BSD-3-Clause ISC Zlib Unlicense 0BSD MPL-2.0 OGA-BY-3.0
    GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later LGPL-2.1-only LGPL-3.0-only AGPL-3.0-only
    WTFPL
"""
_CC_KINDS = ("BY", "BY-SA", "BY-NC", "BY-ND", "BY-NC-SA", "BY-NC-ND")
_CC_NAMES = (f"CC-{kind}-{version}" for kind in _CC_KINDS for version in ("1.0", "2.0", "2.5", "3.0", "4.0"))
_KNOWN = (*_NAMES.split(), *_CC_NAMES)
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
# In plain text (lower case, single spaces). What legal texts say of licences that they do not grant: that their
# own wording is free, and what they may be combined with.
_ASIDES = re.compile(
    r"the text of the creative commons public licenses is dedicated to the public domain under the\b.{0,120}?"
    r"\bcc0 public domain dedication\W*(?:https?://creativecommons\.org/publicdomain/zero/1\.0/legalcode)?"
    r"|means either the gnu general public license, version 2\.0, .{0,200}? later versions of those licenses"
)
_DENIED = re.compile(
    r"\b(?:not|never|no longer|isn.t|aren.t)"
    r"(?: (?:under|licen[cs]ed|released|available|published|covered|by|as|in|an?|the))*\W*$"
)
# Sentences that only a licence's own text has, and its notice.
_TEXTS = {
    "MIT": r"permission is hereby granted, free of charge(?!, to any person (?:or org|obtaining a copy of the font))",
    "Apache-2.0": r"apache license version 2\.0, january 2004|under the apache license, version 2\.0 \(the .license",
    "Unlicense": r"this is free and unencumbered software released into the public domain",
    "MPL-2.0": r"mozilla public license,? version 2\.0 1\. definitions|terms of the mozilla public license, v\. 2\.0",
}
_MENTIONS = {
    "CC0-1.0": r"creativecommons\.org/publicdomain/zero|(?<![a-z0-9])cc-?0(?![a-z0-9])|creative commons zero",
    "MIT": r"\bmit[ -]licen[cs]e|\blicen[cs]e: mit\b|\bunder (?:the )?mit\b|opensource\.org/licenses/mit\b",
    "Apache-2.0": r"apache(?: licen[cs]e)?[ ,(-]*(?:version |v)?2(?:\.0)?\b|apache\.org/licenses/license-2\.0",
    "BSD-2-Clause": r"\bbsd[ -]2|\b2[ -]clause bsd",
    "BSD-3-Clause": r"\bbsd[ -]3|\b3[ -]clause bsd",
    "MPL-2.0": r"\bmozilla public licen[cs]e[ ,(]*(?:version |v\.? ?)?2|\bmpl[ -]?v?2",
    "Unlicense": r"\bthe unlicense\b|unlicense\.org",
    "OFL-1.1": r"\bopen font licen[cs]e|\bofl\b",
    "OGA-BY-3.0": r"\boga[ -]by\b",
    "ISC": r"\bisc licen[cs]e",
    "Zlib": r"\bzlib(?:/libpng)? licen[cs]e",
    "WTFPL": r"\bwtfpl\b|what the fuck you want to public licen[cs]e",
}
_CC = (  # kinds, version; the last only with "Creative Commons" before it or a version
    r"creativecommons\.org/licenses/by((?:-(?:nc|sa|nd))*)(?:/([1-4]\.\d))?",
    r"(?<![a-z0-9])cc[ :_-]{0,2}by((?:[ _-](?:nc|sa|nd)(?![a-z]))*)(?![a-z])(?:[ _-]v?([1-4]\.\d)(?!\d))?",
    r"(?:creative commons(?:[^a-z0-9]|by|licen[cs]e|public){0,12})attribution_KINDS_(?:_OF_([1-4]\.\d))?",
    r"\battribution_KINDS__OF_([1-4]\.\d)",
)
_LONG = {
    "_KINDS_": r"((?:[^a-z0-9]{0,3}(?:non-? ?commercial|share-? ?alike|no-? ?deriv(?:ative)?s?)(?: works)?)*)",
    "_OF_": r"(?:[^a-z0-9]|licen[cs]e|public|international|version|v){0,16}",
}
_GNU_TITLE = (
    r"gnu (lesser |library |affero )?general public license version (\d(?:\.\d)?), (?:\d+ )?[a-z]+ \d{4}"
)
_GNU = (  # kind, version
    r"gnu (lesser |library |affero )?general public licen[cs]e(?:,? as published by the free software foundation)?"
    r"(?: \([al]?gpl\))?(?:[,;]? (?:either )?(?:version |v)(\d(?:\.\d)?))?",
    r"(?<![a-z])([al]?)gpl(?:[ -]?v?(\d(?:\.\d)?))?(?![a-z])",
)


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
    """The licence that a text grants; None where it names none that is known, or several: see `licenses_in`."""
    return _only(licenses_in(text))


@lru_cache(maxsize=64)
def licenses_in(text: str) -> tuple[str, ...]:
    """SPDX identifiers of all licences that a text names, sorted.

    RESERVED is among them where all rights are reserved and no licence's own text follows (BSD's begins so).
    """
    plain = _ASIDES.sub(" ", " ".join(text.lower().split()))
    texts = {name for name, words in _TEXTS.items() if re.search(words, plain)}
    if "redistribution and use in source and binary forms" in plain:
        endorses = re.search(r"neither the name|may not be used to endorse|names? of", plain)
        texts.add("BSD-3-Clause" if endorses else "BSD-2-Clause")
    # GNU's licences speak of each other: where there is a title, only it counts.
    titled = _gnu(re.findall(_GNU_TITLE, plain))
    texts |= titled
    names = texts | {name for name, words in _MENTIONS.items() if _affirmed(words, plain)}
    names |= _creative_commons(plain)
    if not titled:
        names |= _gnu((m[1], m[2]) for words in _GNU for m in _affirmed(words, plain))
    if RESERVED in plain and not texts:
        names.add(RESERVED)
    return tuple(sorted(names))


def _only(names: Collection[str]) -> str | None:
    return next(iter(names)) if len(names) == 1 and RESERVED not in names else None


def _affirmed(words: str, plain: str) -> list[re.Match[str]]:
    """Where a licence is named, but for "not under CC0" and the like."""
    found = re.finditer(words, plain)
    return [m for m in found if not _DENIED.search(plain[max(0, m.start() - 60) : m.start()])]


def _creative_commons(plain: str) -> set[str]:
    """The CC-BY family by addresses, short and long names; 4.0 where a kind is never named with its version."""
    found = set()
    for words in _CC:
        for long, pattern in _LONG.items():
            words = words.replace(long, pattern)
        for kinds, version in ((m[1], m[2]) for m in _affirmed(words, plain)):
            marks = (("-NC", "nc|commercial"), ("-SA", "sa|alike"), ("-ND", "nd|deriv"))
            found.add(("CC-BY" + "".join(m for m, w in marks if re.search(w, kinds)), version))
    return {f"{kind}-{version}" for kind, version in _versioned(found, {})}


def _gnu(found: Iterable[tuple[str | None, str | None]]) -> set[str]:
    kinds = {((kind or "")[:1].upper() + "GPL", version) for kind, version in found}
    named = _versioned(kinds, {"GPL": "2.0", "LGPL": "2.1", "AGPL": "3.0"})
    return {f"{kind}-{version if '.' in version else version + '.0'}-only" for kind, version in named}


def _versioned(found: set[tuple[str, str | None]], default: dict[str, str]) -> set[tuple[str, str]]:
    """Kinds with their versions: a version that is named counts before the default."""
    known = {kind for kind, version in found if version}
    return {(k, v or default.get(k, "4.0")) for k, v in found if v or k not in known}


def license_beside(folder: Path, root: Path) -> Statement:
    """What licence files state in ``folder`` or, where none there is recognised, in its parents up to ``root``.

    Files that name several licences state nothing.
    """
    unread = ""
    while True:
        paths = sorted(
            p for p in folder.iterdir() if is_license_file(p) and p.is_file() and not p.is_symlink()
        )
        texts = [_read(path) for path in paths]
        found = {path.name: licenses_in(text) for path, text in zip(paths, texts, strict=True)}
        names = {name for named in found.values() for name in named}
        if license := _only(names):
            credits = {key.lower(): value.strip() for text in texts for key, value in _CREDIT.findall(text)}
            artist = credits.get("author") or credits.get("artist", "")
            return Statement(license, artist=artist, source=credits.get("source", ""))
        if names:
            return Statement(why=_conflict({file: named for file, named in found.items() if named}))
        if paths and not unread:
            unread = f"the text of {paths[0].name} is not recognised"
        if folder == root or root not in folder.parents:
            return Statement(why=unread or NOTHING)
        folder = folder.parent


def _conflict(found: dict[str, tuple[str, ...]]) -> str:
    """Why licence files grant nothing, in a line."""
    if len(found) > 1:
        shown = ", ".join(f"{file} is {' and '.join(names)}" for file, names in found.items())
        return f"the licence files beside it disagree: {shown[:160]}"
    ((file, names),) = found.items()
    return f"{file} {several(names)}" if len(names) > 1 else f"{file} says: {RESERVED}"


def several(names: Collection[str]) -> str:
    return f"names several licences: {', '.join(names)[:160]}"


def is_license_file(path: Path) -> bool:
    suffixes = ("", ".txt", ".md", ".rst", ".html", ".htm", ".rtf")
    return (
        re.match(r"(licen[cs]e|copying|copyright|unlicense)", path.name.lower()) is not None
        and path.suffix.lower() in suffixes
    )


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MAX_TEXT).decode("utf-8", errors="replace")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", text.lower().replace("license", "").replace("licence", ""))
