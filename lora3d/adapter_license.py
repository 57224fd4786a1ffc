"""Licence arithmetic: what the terms of the training assets and of the base leave for the adapter.

An adapter is treated as derived from everything that it was trained on and from the base's weights, so the
strictest of all terms hold together. That is the careful reading, not a legal opinion. What is not known
counts as not allowed.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from lora3d.card import AdapterCard, AdapterError, shown

BASE_LICENSES = {"mini": "Apache-2.0"}
REQUIREMENTS = ("commercial", "derivatives", "known")

_FREE = ("CC0-1.0", "Unlicense", "0BSD", "WTFPL")
_CREDIT = ("MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib", "OGA-BY-3.0")
_RECIPROCAL = re.compile(r"(A|L)?GPL-\d.*|MPL-2\.0|EUPL-1\.\d|OGA-BY-SA.*")
_CC = re.compile(r"CC-BY((?:-NC)?(?:-SA|-ND)?)-(\d\.\d)")
_RAIL = re.compile(r".*RAIL.*", re.IGNORECASE)


@dataclass(frozen=True)
class Terms:
    """What holds for all of some licences together.

    Attributes:
        licenses: SPDX identifiers, sorted.
        commercial, derivatives: allowed by every one of them; unknown counts as no.
        attribution: somebody must be credited.
        share_alike: those that pass on to what is made from them.
        restricted: those with limits on use that must be passed on (RAIL).
        unknown: those whose terms are not known here, ``NOASSERTION`` among them.
        conflict: share-alike licences that exclude each other, or "".
    """

    licenses: tuple[str, ...]
    commercial: bool
    derivatives: bool
    attribution: bool
    share_alike: tuple[str, ...]
    restricted: tuple[str, ...]
    unknown: tuple[str, ...]
    conflict: str

    @property
    def license(self) -> str:
        """One SPDX expression: the licence that satisfies all where there is one, else all joined by AND."""
        if len(self.licenses) == 1:
            return self.licenses[0]
        needed = [n for n in self.licenses if n not in _FREE]
        if not self.unknown and not self.conflict and self.derivatives:
            kinds = [_CC.fullmatch(n) for n in needed]
            rest = [n for n, found in zip(needed, kinds, strict=True) if not found]
            if not self.commercial and all(n in ("MIT", "Apache-2.0", "BSD-3-Clause", "ISC") for n in rest):
                # Code's licences ask for less than CC-BY-NC and are kept in the credits.
                return f"CC-BY-NC{'-SA' if self.share_alike else ''}-4.0"
            if len(needed) == 1:
                return needed[0]
        return " AND ".join(f"({n})" if " OR " in n else n for n in needed or self.licenses)

    def summary(self) -> str:
        """One line for people."""
        words = ["commercial use allowed" if self.commercial else "NO commercial use"]
        if not self.derivatives:
            words.append("NO derivatives")
        if self.share_alike:
            words.append(f"share alike ({', '.join(self.share_alike)})")
        if self.restricted:
            words.append(f"limits on use ({', '.join(self.restricted)})")
        words.append("credit required" if self.attribution else "no credit required")
        if self.unknown:
            words.append(f"terms not known: {', '.join(self.unknown)}")
        if self.conflict:
            words.append(f"terms exclude each other: {self.conflict}")
        return "; ".join(words)

    def to_dict(self) -> dict[str, Any]:
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {"license": self.license, "summary": self.summary(), **plain}


def combine(licenses: list[str]) -> Terms:
    """The terms of all licences together; an empty list is NOASSERTION. ``A OR B`` counts as the freer one."""
    names = tuple(sorted({shown(n) for n in licenses if n} or {"NOASSERTION"}))
    parts = sorted({part for name in names for part in _parts(name)})
    cc = [(_CC.fullmatch(p), p) for p in parts]
    known = {p for p in parts if p in _FREE or p in _CREDIT or _RAIL.fullmatch(p)}
    known |= {p for found, p in cc if found} | {p for p in parts if _RECIPROCAL.fullmatch(p)}
    unknown = tuple(p for p in parts if p not in known)
    closed = [p for found, p in cc if found and "-NC" in found[1]]
    frozen = [p for found, p in cc if found and "-ND" in found[1]]
    alike = tuple(p for found, p in cc if found and "-SA" in found[1])
    alike += tuple(p for p in parts if _RECIPROCAL.fullmatch(p))
    return Terms(
        licenses=names,
        commercial=not closed and not unknown,
        derivatives=not frozen and not unknown,
        attribution=any(p not in _FREE for p in parts),
        share_alike=alike,
        restricted=tuple(p for p in parts if _RAIL.fullmatch(p)),
        unknown=unknown,
        conflict=_conflict(alike, closed),
    )


def _parts(name: str) -> list[str]:
    """The identifiers that count in an expression: all of an AND, the freer side of an OR."""
    if "(" in name:
        return [p for p in re.split(r"\s+(?:AND|OR)\s+|[()]", name) if p]
    sides = [re.split(r" AND ", side) for side in name.split(" OR ")]
    return min(sides, key=lambda side: (any(p not in _FREE + _CREDIT for p in side), len(side)))


def _conflict(alike: tuple[str, ...], closed: list[str]) -> str:
    """Names share-alike licences that cannot be met at once, "" where there are none."""
    kinds = {re.sub(r"-\d\.\d$|-only$|-or-later$", "", name) for name in alike}
    if len(kinds) > 1:
        return " against ".join(sorted(alike))
    open_alike = [name for name in alike if "-NC" not in name]
    return f"{open_alike[0]} against {closed[0]}" if open_alike and closed else ""


def terms_of(card: AdapterCard) -> Terms:
    """The terms of an adapter: its assets' and its base's."""
    return combine([*(card.licenses or ["NOASSERTION"]), base_license(card)])


def base_license(card: AdapterCard) -> str:
    return card.base_license or BASE_LICENSES.get(card.base, "NOASSERTION")


def require(card: AdapterCard, name: str, requirement: str | None) -> None:
    """Raises AdapterError unless the adapter's terms allow what is required (one of `REQUIREMENTS` or None)."""
    terms = terms_of(card)
    met = {
        "commercial": terms.commercial and not terms.conflict,
        "derivatives": terms.derivatives and not terms.conflict,
        "known": not terms.unknown,
    }
    if requirement is not None and not met[requirement]:
        raise AdapterError(
            f"{shown(name)} does not allow what --require {requirement} asks: {terms.summary()}"
        )


def attribution(card: AdapterCard, title: str) -> str:
    """The credits as Markdown: who made what it was trained on, from where, under which terms."""
    terms = terms_of(card)
    lines = [f"# Credits of {shown(title)}", "", f"Licence: {terms.license}. {terms.summary()}.", ""]
    lines += [
        f"Trained on {card.assets} models and {card.drawings} drawings "
        f"(dataset {shown(card.dataset[:16]) or 'not stated'}).",
        "",
    ]
    for head, values in (("Artists", card.artists), ("Sources", card.sources), ("Licences", card.licenses)):
        lines += [f"{head}:", "", *(f"- {_plain(v)}" for v in values or ["not stated"]), ""]
    lines += [f"Base model: {_plain(card.base)} ({_plain(base_license(card))}).", ""]
    if card.parents:
        lines += ["Made from:", ""]
        lines += [
            f"- {_plain(p.get('file', '?'))}, weight {_plain(p.get('weight', 1))}" for p in card.parents
        ]
        lines += [""]
    if card.consent:
        lines += ["Statement of the artist:", "", *(f"> {_plain(x, 500)}" for x in card.consent.splitlines())]
        lines += [""]
    return "\n".join(lines)


def _plain(value: Any, most: int = 300) -> str:
    """Foreign text that Markdown and HTML show as it is."""
    text = shown(value, most)
    for sign in "\\`*_[]<>|#!":
        text = text.replace(sign, {"<": "&lt;", ">": "&gt;"}.get(sign, "\\" + sign))
    return text
