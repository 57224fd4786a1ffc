"""From where an artist draws: habits found, kept in the card, and taken for new drawings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lora3d.adapter import attach
from lora3d.answer import Answer
from lora3d.base import load_base
from lora3d.errors import InputError
from lora3d.generate import Generator
from lora3d.sampling import Reference, encode_references
from lora3d.viewpoints import LEAST_SHARE, nearest_habit, shared_viewpoints
from tests.test_adapter import card_for

CORNER = {"azimuth_deg": 45.0, "elevation_deg": 30.0, "share": 0.8}
ABOVE = {"azimuth_deg": 0.0, "elevation_deg": 90.0, "share": 0.2}


def test_shared_viewpoints_are_found_and_stray_ones_are_not():
    rng = np.random.default_rng(0)
    corner = [(45 + a, 30 + e) for a, e in rng.uniform(-3, 3, (70, 2))]
    above = [(a, 90 - abs(e)) for a, e in rng.uniform(-40, 40, (20, 2)) * (1, 0.05)]
    stray = [(-30.0, 0.0), (-10.0, 45.0), None]
    found = shared_viewpoints([*corner, *above, *stray])
    assert [h["share"] for h in found] == pytest.approx([70 / 93, 20 / 93], abs=0.02)
    assert (found[0]["azimuth_deg"], found[0]["elevation_deg"]) == pytest.approx((45, 30), abs=1)
    assert found[1]["elevation_deg"] == pytest.approx(89, abs=1)


def test_drawings_from_everywhere_share_nothing():
    rng = np.random.default_rng(0)
    everywhere = list(zip(rng.uniform(-45, 45, 300), rng.uniform(-10, 60, 300), strict=True))
    assert all(h["share"] < 2 * LEAST_SHARE for h in shared_viewpoints(everywhere))
    assert shared_viewpoints([]) == shared_viewpoints([None] * 5) == []


@pytest.mark.parametrize(
    ("guessed", "habit"),
    [
        ((40.0, 35.0), CORNER),
        ((-42.0, 20.0), CORNER),  # the other side of the corner taken for the front
        ((30.0, 80.0), ABOVE),
        ((0.0, -10.0), None),
    ],
)
def test_a_guess_is_taken_for_the_habit_near_it(guessed, habit):
    wanted = None if habit is None else (habit["azimuth_deg"], habit["elevation_deg"])
    assert nearest_habit(guessed, [CORNER, ABOVE]) == wanted
    assert nearest_habit(guessed, []) is None


def test_who_seldom_keeps_to_a_viewpoint_is_seldom_taken_to_do_so():
    rare = CORNER | {"share": 0.2}
    assert nearest_habit((38.0, 35.0), [rare]) == (45.0, 30.0) and nearest_habit((20.0, 20.0), [rare]) is None
    assert nearest_habit((20.0, 20.0), [CORNER]) == (45.0, 30.0)


@pytest.mark.parametrize(
    "habit",
    [
        {},
        {"azimuth_deg": "north", "elevation_deg": 0, "share": 1},
        {"azimuth_deg": [1], "elevation_deg": 0, "share": 1},
        {"azimuth_deg": 0, "elevation_deg": float("nan"), "share": 1},
        {"azimuth_deg": 0, "elevation_deg": 400, "share": 1},
        {"azimuth_deg": 0, "elevation_deg": 0, "share": -1},
    ],
)
def test_a_strangers_card_without_angles_is_refused(habit):
    with pytest.raises(InputError, match="viewpoints"):
        nearest_habit((0.0, 0.0), [habit])


def test_an_unsaid_drawing_is_taken_for_the_artists_habit_and_a_said_one_is_not(toy_base):
    base = load_base(toy_base)
    attach(base, 2, 2.0, ("attention",), 0)
    drawing = np.zeros((64, 64, 4), np.float32)
    drawing[10:50, 20:40] = (0.8, 0.2, 0.1, 1.0)
    plain = Generator(base, {}, {}, {}, torch.float32)
    unsaid, said = plain.reference(drawing), plain.reference(drawing, (20.0, 10.0))
    azimuth, elevation = base.viewpoint(encode_references(base, [unsaid]).clean[:, 0])[0].tolist()
    near = {"azimuth_deg": azimuth, "elevation_deg": elevation + 5, "share": 1.0}

    def asked(habits: list[dict[str, float]], references: list[Reference]) -> list[Answer]:
        card = card_for(base, viewpoints=habits)
        answering = replace(plain, cards={"style": card}, weights={"style": 1.0})
        return answering.answers(references, [None] * len(references), [0] * len(references), steps=1)

    first, second = asked([near], [unsaid, said])
    assert first.seen_deg == pytest.approx((azimuth, elevation + 5), abs=1e-3) and second.seen_deg == (20, 10)
    assert asked([], [unsaid])[0].seen_deg is None
    (told,) = asked([], [replace(unsaid, seen_deg=first.seen_deg)])
    assert np.abs(told.tiles - first.tiles).max() < 1e-4
