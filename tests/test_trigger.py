"""Triggers are whole words."""

import pytest

from lora3d.trigger import has_words, without_words


@pytest.mark.parametrize(
    ("text", "trigger", "rest"),
    [
        ("a chair by ken", "ken", "a chair by"),
        ("by ken,  a lamp", "by ken", ", a lamp"),
        ("by  ken a lamp", "by ken", "a lamp"),
        ("<ken> a lamp", "<ken>", "a lamp"),
        ("a lamp", "", "a lamp"),
    ],
)
def test_a_trigger_is_found_and_taken_out(text: str, trigger: str, rest: str) -> None:
    assert has_words(text, trigger)
    assert without_words(text, trigger) == rest


@pytest.mark.parametrize(("text", "trigger"), [("a chicken", "ken"), ("ken by", "by ken"), ("a.c", "abc")])
def test_a_part_of_a_word_is_no_trigger(text: str, trigger: str) -> None:
    assert not has_words(text, trigger)
    assert without_words(text, trigger) == text
