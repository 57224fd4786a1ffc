"""Whether a sentence says a trigger: whole words, in order, in the letters' own case."""

from __future__ import annotations

import re


def has_words(text: str, trigger: str) -> bool:
    """Whether the trigger, one word or several, stands in the text as whole words; an empty one always does."""
    return not trigger.split() or bool(_pattern(trigger).search(text))


def with_trigger(text: str, trigger: str) -> str:
    """The text with the trigger before it, unless it says it already."""
    return (text if has_words(text, trigger) else f"{trigger} {text}").strip()


def without_words(text: str, trigger: str) -> str:
    """The text without the trigger wherever `has_words` finds it; single spaces between the rest."""
    return " ".join((_pattern(trigger).sub(" ", text) if trigger.split() else text).split())


def _pattern(trigger: str) -> re.Pattern[str]:
    words = r"\s+".join(re.escape(word) for word in trigger.split())
    return re.compile(rf"(?<!\w){words}(?!\w)")
