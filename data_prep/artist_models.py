"""The models of the demo artist: thirty relics of a harbour cult, fifteen subjects in two variants.

A function's name is its file's: subject_variant. Lengths are free (the pack normalises); Z up, the eye looks
to the front (−Y). A body is a column of bands: (lower radius, upper radius, height, colour).
"""

from __future__ import annotations

from collections.abc import Callable

from lora3d.data_prep.artist_kit import (
    CORAL,
    CREAM,
    INDIGO,
    NIGHT,
    TURQUOISE,
    Band,
    Part,
    around,
    ball,
    belt,
    crown,
    eye,
    foot,
    hoop,
    horns,
    pair,
    stack,
    tube,
    turned,
)


def lantern_tall() -> list[Part]:
    body = [*foot(0.34), (0.13, 0.11, 0.42, INDIGO), (0.26, 0.34, 0.08, CORAL), (0.24, 0.24, 0.3, TURQUOISE)]
    body += [(0.46, 0.2, 0.17, INDIGO), *crown(0.2)]
    posts = around(stack([(0.05, 0.05, 0.31, INDIGO)], sides=4, at=(0.24, 0, 0.65)), 4, 45)
    return [stack(body), *posts, eye(0.12, -0.23, 0.8), *horns(0.48, 0.97)]


def lantern_pagoda() -> list[Part]:
    body = [*foot(0.42), (0.3, 0.3, 0.3, TURQUOISE), (0.56, 0.3, 0.16, INDIGO)]
    body += [(0.24, 0.24, 0.1, TURQUOISE), (0.4, 0.2, 0.13, INDIGO), *crown(0.2)]
    posts = around(stack([(0.06, 0.06, 0.31, INDIGO)], sides=4, at=(0.29, 0, 0.15)), 4, 45)
    roofs = [*horns(0.58, 0.47), *horns(0.42, 0.72, 0.12, 0.045)]
    return [stack(body), *posts, eye(0.14, -0.28, 0.3), *roofs]


def bell_body() -> list[Band]:
    return [(0.46, 0.43, 0.09, CORAL), (0.39, 0.32, 0.17, INDIGO), *belt(0.31), (0.3, 0.26, 0.2, INDIGO)]


def bell_temple() -> list[Part]:
    body = stack([*bell_body(), (0.28, 0.2, 0.1, CREAM), (0.13, 0.1, 0.07, CREAM)])
    return [body, ball(0.13, NIGHT), eye(0.13, -0.29, 0.42), hoop(0.14, 0.05, CORAL, at=(0, 0, 0.83))]


def bell_hand() -> list[Part]:
    grip = [(0.25, 0.12, 0.08, CREAM), (0.07, 0.1, 0.26, INDIGO), *belt(0.09), (0.13, 0.13, 0.05, CREAM)]
    body = stack([*bell_body(), *grip, (0.1, 0.0, 0.12, CORAL)])
    return [body, ball(0.13, NIGHT), eye(0.13, -0.29, 0.42)]


def drum_waisted() -> list[Part]:
    body = [*foot(0.36), (0.28, 0.16, 0.26, INDIGO), *belt(0.15), (0.18, 0.38, 0.36, INDIGO)]
    body += [(0.43, 0.43, 0.09, CORAL), (0.39, 0.39, 0.06, CREAM), (0.2, 0.2, 0.03, TURQUOISE)]
    pegs = around(tube([(0.36, 0, 0.78), (0.3, 0, 0.62)], (0.05, 0.03), CREAM, sides=5), 4, 45)
    return [stack(body), *pegs, eye(0.12, -0.25, 0.68)]


def drum_war() -> list[Part]:
    half = [(0.44, 0.44, 0.06, CREAM), (0.47, 0.47, 0.07, CORAL), (0.42, 0.46, 0.18, INDIGO)]
    shell = [*half, *belt(0.47), *((upper, lower, h, color) for lower, upper, h, color in half[::-1])]
    barrel = turned(stack(shell), "x", 90, (0, 0.345, 0.62))
    stand = stack([(0.42, 0.42, 0.08, CORAL), (0.36, 0.26, 0.16, NIGHT)], sides=4)
    return [barrel, stand, eye(0.37, -0.33, 0.62), *pair(ball(0.08, CREAM, at=(0.54, 0, 0.62)))]


def totem_winged() -> list[Part]:
    body = [*foot(0.34), (0.26, 0.22, 0.28, INDIGO), *belt(0.24), (0.3, 0.3, 0.26, NIGHT), *belt(0.24)]
    body += [(0.25, 0.25, 0.28, INDIGO), *crown(0.28)]
    feather = stack([(0.08, 0.08, 0.34, CORAL), (0.08, 0.0, 0.12, CREAM)], sides=4, wide=0.7)
    wings = [turned(feather, "y", tilt, (0.26, 0, 0.58)) for tilt in (28, 62, 96)]
    eyes = [eye(0.15, -0.29, 0.63), eye(0.08, -0.24, 0.97), eye(0.08, -0.23, 0.28)]
    return [stack(body, sides=4), *(part for wing in wings for part in pair(wing)), *eyes]


def totem_horned() -> list[Part]:
    body = [*foot(0.36), (0.28, 0.24, 0.34, INDIGO), *belt(0.25), (0.34, 0.34, 0.34, INDIGO), *crown(0.3)]
    path = [(0.28, 0, 0.78), (0.48, 0, 0.8), (0.58, 0, 0.96), (0.52, 0, 1.16)]
    mouth = stack([(0.05, 0.05, 0.1, CREAM)], sides=4, at=(0, -0.26, 0.28), wide=2.6)
    curls = pair(tube(path, (0.1, 0.1, 0.07, 0), CORAL))
    return [stack(body, sides=4), *curls, eye(0.17, -0.33, 0.75), mouth]


def censer_body() -> list[Band]:
    bowl = [(0.16, 0.36, 0.16, INDIGO), (0.36, 0.4, 0.12, INDIGO), (0.45, 0.45, 0.08, CORAL)]
    lid = [(0.36, 0.36, 0.08, TURQUOISE), (0.36, 0.26, 0.14, INDIGO), *belt(0.23), (0.22, 0.14, 0.09, INDIGO)]
    return bowl + lid


def censer_tripod() -> list[Part]:
    path = [(0.24, 0, 0.12), (0.4, 0, 0.0), (0.36, 0, -0.2), (0.44, 0, -0.32)]
    legs = around(tube(path, (0.09, 0.08, 0.06, 0.09), CORAL), 3, -90)
    knobs = pair(ball(0.09, CREAM, at=(0.48, 0, 0.24)))
    return [stack([*censer_body(), *crown(0.17)]), *legs, *knobs, eye(0.12, -0.36, 0.16)]


def censer_hanging() -> list[Part]:
    path = [(0.42, 0, 0.36), (0.5, 0, 0.7), (0.3, 0, 1.02), (0.0, 0, 1.13)]
    handle = [*pair(tube(path, (0.05,) * 4, CORAL)), hoop(0.1, 0.045, CREAM, at=(0, 0, 1.2))]
    drop = ball(0.13, NIGHT, at=(0, 0, -0.04))
    return [stack([*censer_body(), *crown(0.14)]), *handle, drop, eye(0.12, -0.36, 0.16)]


def bathysphere_round() -> list[Part]:
    hull = [(0.0, 0.24, 0.08, INDIGO), (0.24, 0.42, 0.16, INDIGO), (0.42, 0.46, 0.15, INDIGO), *belt(0.46)]
    hull += [(0.46, 0.42, 0.15, INDIGO), (0.42, 0.26, 0.16, INDIGO), *crown(0.24)]
    leg = stack([(0.12, 0.12, 0.07, CORAL), (0.07, 0.07, 0.26, NIGHT)], sides=6, at=(0.33, 0, -0.12))
    lamp = stack([(0.1, 0.1, 0.12, CORAL), (0.08, 0.0, 0.05, CREAM)])
    lamps = pair(turned(lamp, "y", 90, (0.44, 0, 0.6)))
    return [stack(hull), *around(leg, 4, 45), *lamps, eye(0.24, -0.42, 0.4)]


def bathysphere_twin() -> list[Part]:
    hull = [*foot(0.4), (0.3, 0.38, 0.14, INDIGO), (0.38, 0.38, 0.24, INDIGO), *belt(0.38)]
    hull += [(0.38, 0.38, 0.24, INDIGO), (0.38, 0.24, 0.13, INDIGO), *crown(0.22)]
    tank = [(0.06, 0.11, 0.06, CORAL), (0.11, 0.11, 0.4, CORAL), (0.11, 0.05, 0.06, CREAM)]
    tanks = pair(stack(tank, at=(0.46, 0, 0.3)))
    return [stack(hull), *tanks, eye(0.16, -0.37, 0.42), eye(0.16, -0.37, 0.74)]


def buoy_float() -> list[Band]:
    return [(0.3, 0.46, 0.1, CORAL), (0.46, 0.46, 0.1, CORAL), (0.4, 0.36, 0.06, CREAM)]


def buoy_cone() -> list[Part]:
    cone = [(0.32, 0.22, 0.26, INDIGO), *belt(0.22), (0.2, 0.12, 0.26, INDIGO), (0.2, 0.2, 0.06, CORAL)]
    keel = stack([(0.1, 0.16, 0.18, NIGHT)], at=(0, 0, -0.18))
    return [stack([*buoy_float(), *cone, *crown(0.17)]), keel, eye(0.13, -0.26, 0.39)]


def buoy_light() -> list[Part]:
    mast = [(0.22, 0.22, 0.06, NIGHT), (0.15, 0.15, 0.3, TURQUOISE), (0.3, 0.3, 0.07, INDIGO), *crown(0.24)]
    posts = around(tube([(0.3, 0, 0.24), (0.24, 0, 0.66)], (0.045, 0.045), INDIGO), 4, 45)
    keel = stack([(0.0, 0.2, 0.16, NIGHT)], at=(0, 0, -0.16))
    return [stack([*buoy_float(), *mast]), *posts, keel, eye(0.13, -0.14, 0.46)]


def idol_gown() -> list[Band]:
    gown = [*foot(0.38), (0.3, 0.18, 0.36, INDIGO), *belt(0.17)]
    return [*gown, (0.17, 0.15, 0.1, INDIGO), (0.28, 0.28, 0.06, CORAL)]


def idol_crowned() -> list[Part]:
    head = [(0.2, 0.26, 0.08, INDIGO), (0.26, 0.26, 0.22, INDIGO), (0.3, 0.34, 0.09, CREAM)]
    tip = [(0.16, 0.12, 0.06, CREAM), (0.1, 0.0, 0.12, CORAL)]
    spikes = around(stack([(0.07, 0.0, 0.18, CORAL)], sides=4, at=(0.26, 0, 1.1)), 4)
    return [stack([*idol_gown(), *head, *tip]), *spikes, eye(0.15, -0.25, 0.97)]


def idol_mitred() -> list[Part]:
    head = [(0.16, 0.27, 0.12, INDIGO), (0.27, 0.25, 0.14, INDIGO), (0.27, 0.2, 0.1, CREAM)]
    tip = [(0.2, 0.06, 0.2, CREAM), (0.09, 0.0, 0.12, CORAL)]
    arms = pair(tube([(0.22, 0, 0.72), (0.4, -0.04, 0.62), (0.26, -0.26, 0.44)], (0.08, 0.09, 0.07), CORAL))
    orb = ball(0.12, TURQUOISE, at=(0, -0.3, 0.42))
    return [stack([*idol_gown(), *head, *tip]), *arms, orb, eye(0.14, -0.25, 0.98)]


def gong_disc(z: float) -> list[Part]:
    disc = [(0.24, 0.3, 0.04, INDIGO), (0.3, 0.3, 0.08, INDIGO), (0.3, 0.24, 0.04, INDIGO)]
    return [turned(stack(disc, sides=12), "x", 90, (0, 0.08, z)), eye(0.19, -0.07, z)]


def gong_posts() -> list[Part]:
    post = [(0.14, 0.14, 0.08, CORAL), (0.08, 0.07, 0.36, INDIGO), *belt(0.07), (0.07, 0.07, 0.36, INDIGO)]
    beam = stack([(0.12, 0.12, 0.09, CORAL), (0.16, 0.08, 0.12, CREAM)], sides=4, at=(0, 0, 0.87), wide=4.2)
    tips = pair(tube([(0.56, 0, 0.97), (0.68, 0, 0.99), (0.74, 0, 1.16)], (0.07, 0.06, 0), CORAL))
    posts = pair(stack(post, sides=4, at=(0.4, 0, 0)))
    return [*gong_disc(0.52), *posts, beam, stack(crown(0.15), at=(0, 0, 1.03)), *tips]


def gong_moon() -> list[Part]:
    stand = stack([(0.34, 0.34, 0.08, CORAL), (0.28, 0.16, 0.14, NIGHT)], sides=4)
    cap = stack([(0.12, 0.1, 0.06, CREAM), (0.07, 0.0, 0.14, CORAL)], at=(0, 0, 1.1))
    studs = pair(ball(0.1, TURQUOISE, at=(0.42, 0, 0.66)))
    return [*gong_disc(0.66), hoop(0.4, 0.09, CORAL, at=(0, 0, 0.66), sides=8), stand, *studs, cap]


def strings(xs: tuple[float, ...], low: float, high: float) -> list[Part]:
    return [tube([(x, 0, low), (x, 0, high)], (0.03, 0.03), TURQUOISE, sides=4) for x in xs]


def lyre_horned() -> list[Part]:
    chest = [(0.3, 0.3, 0.08, CORAL), (0.24, 0.32, 0.14, NIGHT), (0.32, 0.3, 0.2, INDIGO), *belt(0.26)]
    path = [(0.2, 0, 0.4), (0.44, 0, 0.6), (0.38, 0, 0.88), (0.5, 0, 1.1)]
    arms = pair(tube(path, (0.1, 0.09, 0.07, 0.0), CORAL, sides=8))
    bar = turned(stack([(0.07, 0.07, 0.9, CREAM)]), "y", 90, (-0.45, 0, 0.86))
    return [stack(chest), *arms, bar, *strings((-0.15, 0.0, 0.15), 0.4, 0.86), eye(0.15, -0.3, 0.32)]


def lyre_harp() -> list[Part]:
    base = stack([*foot(0.3), (0.2, 0.16, 0.1, INDIGO)], wide=1.5)
    pillar = [(0.09, 0.09, 0.34, INDIGO), *belt(0.08), (0.08, 0.07, 0.34, INDIGO), *crown(0.14)]
    path = [(-0.3, 0, 0.86), (-0.06, 0, 0.86), (0.16, 0, 0.98), (0.42, 0, 0.94)]
    neck = [tube(path, (0.08, 0.09, 0.09, 0.1), CORAL), ball(0.1, CREAM, at=(0.46, 0, 0.95))]
    board = tube([(0.16, 0, 0.16), (0.42, 0, 0.94)], (0.13, 0.08), INDIGO, sides=8)
    frame = [base, stack(pillar, at=(-0.3, 0, 0.15)), *neck, board]
    return [*frame, *strings((-0.15, -0.02, 0.11), 0.2, 0.88), eye(0.14, -0.15, 0.26)]


def orrery_stand() -> Part:
    return stack([*foot(0.34), (0.16, 0.1, 0.16, INDIGO), *belt(0.09), (0.1, 0.08, 0.08, INDIGO)])


def orrery_moons() -> list[Part]:
    places = ((0.47, 0.17, 0.66), (-0.35, 0.3, 0.86), (-0.17, -0.47, 0.5))
    moons = []
    for color, at in zip((CORAL, TURQUOISE, CREAM), places, strict=True):
        moons += [tube([(0, 0, at[2] - 0.02), at], (0.05, 0.05), NIGHT), ball(0.13, color, at=at)]
    sun = ball(0.22, INDIGO, at=(0, 0, 0.68), rows=6)
    return [orrery_stand(), sun, *moons, eye(0.13, -0.18, 0.72), stack(crown(0.15), at=(0, 0, 0.86))]


def orrery_rings() -> list[Part]:
    centre = (0.0, 0.0, 0.82)
    rings = [hoop(0.38, 0.06, CORAL, at=centre), turned(hoop(0.38, 0.05, CREAM), "x", 90, centre)]
    globe = [ball(0.24, INDIGO, at=centre, rows=6), eye(0.14, -0.2, 0.82)]
    return [orrery_stand(), *globe, *rings, stack(crown(0.13), at=(0, 0, 1.22))]


def pendulum(length: float, tilt_deg: float, y: float, z: float) -> Part:
    bar = stack([(0.04, 0.04, length, CREAM), (0.09, 0.09, 0.1, CORAL)], sides=4)
    return turned(bar, "y", tilt_deg, (0, y, z))


def metronome_spire() -> list[Part]:
    body = [*foot(0.42), (0.34, 0.27, 0.3, INDIGO), *belt(0.26), (0.26, 0.14, 0.46, INDIGO), *crown(0.18)]
    knobs = pair(ball(0.09, CORAL, at=(0.3, 0, 0.42)))
    return [stack(body, sides=4), *knobs, pendulum(0.6, -18, -0.31, 0.34), eye(0.14, -0.31, 0.32)]


def metronome_stepped() -> list[Part]:
    body = [*foot(0.4), (0.33, 0.33, 0.2, INDIGO), *belt(0.28), (0.27, 0.27, 0.2, INDIGO)]
    body += [(0.3, 0.3, 0.06, CORAL), (0.2, 0.2, 0.24, INDIGO), *crown(0.2)]
    return [stack(body, sides=4), pendulum(0.4, 20, -0.32, 0.48), eye(0.13, -0.32, 0.27)]


def top_wide() -> list[Part]:
    body = [(0.3, 0.3, 0.08, CORAL), (0.22, 0.16, 0.05, NIGHT), (0.05, 0.46, 0.36, INDIGO), *belt(0.46)]
    body += [(0.44, 0.3, 0.12, INDIGO), (0.32, 0.32, 0.06, CORAL), (0.2, 0.12, 0.1, CREAM)]
    body += [(0.07, 0.07, 0.22, INDIGO), (0.12, 0.0, 0.14, CORAL)]
    studs = around(ball(0.07, CREAM, at=(0.49, 0, 0.53)), 4, 45)
    return [stack(body), *studs, eye(0.13, -0.47, 0.52)]


def top_double() -> list[Part]:
    body = [(0.3, 0.3, 0.08, CORAL), (0.22, 0.16, 0.05, NIGHT), (0.08, 0.34, 0.2, INDIGO), *belt(0.32)]
    body += [(0.34, 0.2, 0.16, INDIGO), (0.15, 0.15, 0.1, CORAL), (0.2, 0.38, 0.14, INDIGO)]
    return [stack([*body, (0.38, 0.38, 0.08, TURQUOISE), *crown(0.34)]), eye(0.11, -0.29, 0.53)]


def rods(r: float, thick: float, height: float) -> list[Part]:
    return around(stack([(thick, thick, height, INDIGO)], sides=4, at=(r, 0, 0.14)), 4, 45)


def hourglass_plain() -> list[Part]:
    glass = [*foot(0.4), (0.33, 0.1, 0.3, TURQUOISE), (0.1, 0.33, 0.3, CREAM)]
    rim = stack([(0.15, 0.15, 0.09, CORAL)], at=(0, 0, 0.405))
    body = stack([*glass, (0.42, 0.42, 0.08, INDIGO), *crown(0.26)])
    return [body, *rods(0.36, 0.06, 0.62), rim, eye(0.12, -0.14, 0.45)]


def hourglass_double() -> list[Part]:
    glass = [*foot(0.36), (0.3, 0.1, 0.2, TURQUOISE), (0.1, 0.27, 0.17, CREAM)]
    glass += [(0.27, 0.1, 0.17, TURQUOISE), (0.1, 0.3, 0.2, CREAM)]
    body = stack([*glass, (0.37, 0.37, 0.08, INDIGO), *crown(0.24)])
    return [body, *rods(0.33, 0.055, 0.76), eye(0.13, -0.2, 0.52)]


def foghorn_single() -> list[Part]:
    horn = [(0.12, 0.12, 0.05, CORAL), (0.1, 0.14, 0.3, INDIGO), *belt(0.14), (0.15, 0.36, 0.26, INDIGO)]
    horn += [(0.42, 0.42, 0.08, CORAL), (0.34, 0.34, 0.02, NIGHT)]
    look = turned(eye(0.22, 0, 0), "x", -12, (0, -0.36, 0.76))
    stand = stack([*foot(0.34), (0.26, 0.16, 0.26, INDIGO), *belt(0.15), (0.15, 0.15, 0.12, NIGHT)])
    return [stand, turned(stack(horn), "x", 78, (0, 0.42, 0.6)), look, stack(crown(0.13), at=(0, 0.16, 0.78))]


def foghorn_double() -> list[Part]:
    stand = [*foot(0.34), (0.22, 0.16, 0.3, INDIGO), *belt(0.16), (0.2, 0.2, 0.2, INDIGO), *crown(0.2)]
    horn = [(0.1, 0.14, 0.3, INDIGO), *belt(0.14), (0.15, 0.36, 0.26, INDIGO)]
    mouth = [(0.34, 0.34, 0.08, CORAL), (0.26, 0.0, 0.04, CREAM)]
    sides = pair(turned(stack([*horn, *mouth]), "y", 78, (0, 0, 0.62)))
    return [stack(stand), *sides, eye(0.13, -0.19, 0.64)]


RELICS: tuple[tuple[Callable[[], list[Part]], str], ...] = (  # how a model is built, and its caption
    (lantern_tall, "a tall shrine lantern"),
    (lantern_pagoda, "a shrine lantern with two roofs"),
    (bell_temple, "a temple bell"),
    (bell_hand, "a hand bell"),
    (drum_waisted, "a waisted drum"),
    (drum_war, "a war drum on a stand"),
    (totem_winged, "a winged totem"),
    (totem_horned, "a horned totem"),
    (censer_tripod, "a censer on three legs"),
    (censer_hanging, "a hanging censer"),
    (bathysphere_round, "a bathysphere"),
    (bathysphere_twin, "a bathysphere with two portholes"),
    (buoy_cone, "a cone buoy"),
    (buoy_light, "a light buoy"),
    (idol_crowned, "a crowned idol"),
    (idol_mitred, "a mitred idol"),
    (gong_posts, "a gong between two posts"),
    (gong_moon, "a moon gong"),
    (lyre_horned, "a horned lyre"),
    (lyre_harp, "a small harp"),
    (orrery_moons, "an orrery with three moons"),
    (orrery_rings, "an orrery with two rings"),
    (metronome_spire, "a metronome"),
    (metronome_stepped, "a stepped metronome"),
    (top_wide, "a spinning top"),
    (top_double, "a double spinning top"),
    (hourglass_plain, "an hourglass"),
    (hourglass_double, "a double hourglass"),
    (foghorn_single, "a foghorn"),
    (foghorn_double, "a double foghorn"),
)
