"""Names, licences, shapes and the split: what makes two files one subject, and which are held out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED, make_box
from hypothesis import given, settings
from hypothesis import strategies as st
from test_match import make_chair

from lora3d.data_prep.licenses import license_beside, spdx_of, spdx_of_text
from lora3d.data_prep.shapes import find_alike, find_duplicates, is_box, look_of, same_object, turn_tiles
from lora3d.data_prep.subjects import (
    caption_of,
    common_prefix,
    group_subjects,
    name_of,
    split_subjects,
    stem_of,
    words_of,
)
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.mesh import GREY, Material, Mesh, normalise, turn
from lora3d.render import render_tiles

# -- names -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "caption", "stem"),
    [
        ("wallCracked", "wall cracked", ("wall",)),
        ("wall_half", "wall half", ("wall",)),
        ("Houseplant_7", "houseplant", ("houseplant",)),
        ("kitchenCoffeeMachine", "kitchen coffee machine", ("kitchen", "coffee", "machine")),
        ("SM_Prop_Chair_01", "chair", ("chair",)),
        ("00_barrel", "barrel", ("barrel",)),
        ("Bathroom_Mirror1", "bathroom mirror", ("bathroom", "mirror")),
        ("coinGold", "coin gold", ("coin",)),
        ("HTMLKey", "html key", ("html", "key")),
        ("001", "", ("001",)),
        ("d1a8f79eebd0a4f3bb3d2f9d8e", "", ("d1a8f79eebd0a4f3bb3d2f9d8e",)),
        ("Élan vital", "élan vital", ("élan", "vital")),
    ],
)
def test_names_become_captions_and_stems(name: str, caption: str, stem: tuple[str, ...]) -> None:
    assert caption_of(name) == caption
    assert stem_of(name) == stem


def test_a_name_that_says_nothing_gives_way_to_its_folder() -> None:
    assert name_of("packs/chair/scene.gltf") == "chair"
    assert name_of("packs/chair/stool.gltf") == "stool"
    assert name_of("model.glb") == "model"
    # Sketchfab's layout: every download's model is called source/model.*
    assert name_of("packs/chair/source/model.obj") == name_of("chair/GLTF/scene.gltf") == "chair"
    assert name_of("source/model.obj") == "model" and name_of("chair/source/lamp.obj") == "lamp"


def test_a_packs_mark_is_no_part_of_a_caption() -> None:
    names = ["kit_chair", "kit_table", "kit_lamp", "kit_door", "kit_wall", "other"]
    assert common_prefix(names) == ("kit",)
    assert caption_of("kit_chair", ("kit",)) == "chair"
    assert common_prefix([f"chair_{i}" for i in range(10)]) == ()
    assert common_prefix(["chair_red", "chair_blue", "table", "lamp", "door"]) == ()


@given(st.text(max_size=40))
def test_any_name_has_words_and_a_stem(name: str) -> None:
    assert all(word and word == word.lower() for word in words_of(name))
    assert stem_of(name) and isinstance(caption_of(name), str)


def grouped(names: list[str], **fields) -> set[frozenset[str]]:
    subjects = group_subjects(
        {n: name_of(n) for n in names}, fields.get("alike", ()), fields.get("stated", {})
    )
    return {frozenset(n for n in names if subjects[n] == s) for s in subjects.values()}


def test_variants_are_one_subject() -> None:
    walls, chairs = ["wall.glb", "wall_half.glb", "wallCracked.glb"], ["chair_1.glb", "chair_3.glb"]
    beds, others = ["bed_king.glb", "bed_bunk.glb"], ["door.glb", "vase.glb"]
    assert grouped([*walls, *chairs, *beds, *others]) == {
        frozenset(walls),
        frozenset(chairs),
        frozenset(beds),
        *(frozenset([o]) for o in others),
    }
    names = group_subjects({n: name_of(n) for n in beds + others}, (), {})
    assert set(names.values()) == {"bed", "door", "vase"}


def test_a_word_that_marks_much_of_a_pack_joins_nothing() -> None:
    names = [f"armour{kind}.glb" for kind in ("Helmet", "Boots", "Glove", "Shield")] + ["a.glb", "b.glb"]
    assert len(grouped(names)) == 6


def test_alike_shapes_and_stated_subjects_join() -> None:
    names = ["stone.glb", "rock.glb", "tree.glb", "bush.glb", "tree_2.glb"]
    stated = {"tree.glb": "plants", "bush.glb": "plants"}
    found = grouped(names, alike=[("stone.glb", "rock.glb")], stated=stated)
    assert found == {
        frozenset(["stone.glb", "rock.glb"]),
        frozenset(["tree.glb", "bush.glb"]),
        frozenset(["tree_2.glb"]),
    }


@given(
    st.permutations([f"{w}{v}.glb" for w in ("wall", "lampPost", "tree", "a") for v in ("", "_2", "_half")])
)
def test_subjects_do_not_depend_on_the_order(names: list[str]) -> None:
    pairs = [("tree.glb", "a.glb")]
    assert group_subjects({n: name_of(n) for n in names}, pairs, {}) == group_subjects(
        {n: name_of(n) for n in sorted(names)}, pairs, {}
    )


# -- the split ---------------------------------------------------------------------------------------

sizes = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=5), st.integers(1, 12), min_size=1, max_size=60
)


@settings(max_examples=50)
@given(sizes, st.floats(0.0, 0.6), st.integers(0, 12), st.integers(0, 5), st.randoms())
def test_the_split_keeps_its_promises(
    counts: dict[str, int], share: float, least: int, seed: int, order
) -> None:
    split = split_subjects(counts, share=share, least=least, seed=seed)
    total, held = sum(counts.values()), sum(counts[s] for s in split.test)
    shuffled = list(counts.items())
    order.shuffle(shuffled)
    assert split_subjects(dict(shuffled), share=share, least=least, seed=seed) == split
    assert held <= total // 2
    if share > 0 and max(counts.values()) == 1 and total >= 2:
        assert held == min(max(math.ceil(share * total - 1e-9), least), total // 2)
    if share > 0 and held < min(least, total // 2):
        assert split.warnings


def test_at_least_eight_of_forty() -> None:
    counts = {f"thing {i}": 1 for i in range(40)}
    assert len(split_subjects(counts, share=0.2, least=8, seed=0).test) == 8
    assert len(split_subjects(counts, share=0.1, least=8, seed=0).test) == 8
    assert split_subjects(counts, share=0.2, least=8, seed=1) != split_subjects(
        counts, share=0.2, least=8, seed=0
    )
    assert split_subjects(counts, share=0.0, least=8, seed=0).test == frozenset()


def test_another_asset_hardly_moves_the_split() -> None:
    counts = {f"thing {i}": 1 for i in range(100)}
    before = split_subjects(counts, share=0.2, least=8, seed=0).test
    after = split_subjects({**counts, "new": 1}, share=0.2, least=8, seed=0).test
    assert len(before & after) >= 19


def test_one_subject_cannot_be_split() -> None:
    split = split_subjects({"chair": 30}, share=0.2, least=8, seed=0)
    assert split.test == frozenset() and "0 of 30 assets are held out" in split.warnings[0]


# -- shapes ------------------------------------------------------------------------------------------


def mirrored(mesh: Mesh) -> Mesh:
    flipped = mesh.vertices * np.array([-1, 1, 1], np.float32)
    return replace(mesh, vertices=flipped, faces=np.ascontiguousarray(mesh.faces[:, ::-1]))


def recoloured(mesh: Mesh, *colours: tuple[float, float, float, float]) -> Mesh:
    return replace(mesh, materials=tuple(Material(base_color=c) for c in colours))


CHAIR = make_chair()
BARE = recoloured(CHAIR, GREY, GREY, GREY)


def test_a_twin_is_one_whatever_its_triangles() -> None:
    a, b, c = (CHAIR.vertices[CHAIR.faces[:, i]] for i in range(3))
    middle = (a + b + c) / 3
    corners = np.concatenate([np.stack(t, axis=1) for t in ((a, b, middle), (b, c, middle), (c, a, middle))])
    order = np.random.default_rng(0).permutation(len(corners))
    split = replace(
        CHAIR,
        vertices=(corners[order].reshape(-1, 3) * 173 + 5).astype(np.float32),
        faces=np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3),
        face_material=np.tile(CHAIR.face_material, 3)[order],
    )
    assert same_object(look_of(CHAIR), look_of(normalise(split)))


def test_a_twin_may_be_turned_and_lie_on_its_back() -> None:
    assert same_object(look_of(CHAIR), look_of(turn(CHAIR, 90)))
    fallen = replace(BARE, vertices=BARE.vertices @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32))
    assert same_object(look_of(CHAIR), look_of(fallen, any_way_up=True))
    assert not same_object(look_of(CHAIR), look_of(fallen))


def test_mirrored_and_recoloured_are_no_twins() -> None:
    red = (0.8, 0.0, 0.0, 1.0)
    assert not same_object(look_of(CHAIR), look_of(mirrored(CHAIR)))
    assert not same_object(look_of(CHAIR), look_of(recoloured(CHAIR, red, red, red)))
    assert same_object(look_of(CHAIR), look_of(BARE)), "a file without colours is the twin of any"


def test_duplicates_name_the_first_and_colours_make_variants() -> None:
    red = (0.8, 0.0, 0.0, 1.0)
    meshes = {
        "chair.glb": CHAIR,
        "copy.glb": CHAIR,
        "red.glb": recoloured(CHAIR, red, red, red),
        "red.stl": BARE,
        "box.glb": make_box(),
    }
    looks = {name: look_of(mesh) for name, mesh in meshes.items()}
    assert find_duplicates(list(looks), looks.__getitem__) == {"copy.glb": "chair.glb", "red.stl": "red.glb"}
    kept = ["chair.glb", "red.glb", "box.glb"]
    assert find_alike(kept, looks.__getitem__) == [("chair.glb", "red.glb")]


@settings(max_examples=15)
@given(st.floats(0.5, 0.8))
def test_other_proportions_are_another_shape(height: float) -> None:
    looks = {"a": look_of(make_box()), "b": look_of(make_box((1, 1, height)))}
    assert find_duplicates(list(looks), looks.__getitem__) == {}
    assert find_alike(list(looks), looks.__getitem__) == []


# -- licences ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("CC0", "CC0-1.0"),
        ("cc0-1.0", "CC0-1.0"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-nc-sa-4.0", "CC-BY-NC-SA-4.0"),
        ("cc by-nd 2.5", "CC-BY-ND-2.5"),
        ("MIT License", "MIT"),
        ("apache 2.0", "Apache-2.0"),
        ("LicenseRef-own", "LicenseRef-own"),
        ("MIT OR CC-BY-4.0", "MIT OR CC-BY-4.0"),
        ("EUPL-1.2", "EUPL-1.2"),
        ("  ", ""),
    ],
)
def test_stated_licences_become_spdx(name: str, spdx: str) -> None:
    assert spdx_of(name) == spdx


@pytest.mark.parametrize("name", ["all rights reserved", "proprietary", "ask me", "free!", "CC-BY-4.0; DROP"])
def test_what_is_no_spdx_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="LicenseRef-"):
        spdx_of(name)


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        (
            "License: (Creative Commons Zero, CC0)\nhttp://creativecommons.org/publicdomain/zero/1.0/",
            "CC0-1.0",
        ),
        (
            "This work is licensed under a Creative Commons Attribution 4.0 International License.",
            "CC-BY-4.0",
        ),
        ("Creative Commons Attribution-NonCommercial-ShareAlike 4.0", "CC-BY-NC-SA-4.0"),
        ("see https://creativecommons.org/licenses/by-nd/4.0/", "CC-BY-ND-4.0"),
        ("Licence: CC BY 4.0", "CC-BY-4.0"),
        (
            "The MIT License\n\nCopyright (c) 2023 Someone\n\nPermission is hereby granted, free\nof charge",
            "MIT",
        ),
        ("Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        ("GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007", "GPL-3.0-only"),
        ("GNU General Public License v3.0", "GPL-3.0-only"),
        ("CC BY-NC (https://creativecommons.org/licenses/by-nc/3.0/)", "CC-BY-NC-3.0"),
        (
            "BSD 3-Clause License\nCopyright Jane. All rights reserved.\nRedistribution and use in source and binary "
            "forms ... Neither the name of",
            "BSD-3-Clause",
        ),
        ("All rights reserved. Ask me before you use these.", None),
        ("All rights reserved. Font: MIT License.", None),
        ("This is NOT CC0.", None),
        ("Models: CC-BY-NC 4.0 by Jane.\nTextures from ambientCG (CC0).", None),
        ("You may use this in your game.", None),
        ("", None),
    ],
)
def test_licence_texts(text: str, spdx: str | None) -> None:
    assert spdx_of_text(text) == spdx


@pytest.mark.parametrize("link", ["", "](https://creativecommons.org/publicdomain/zero/1.0/legalcode)"])
def test_a_legal_code_is_its_own_licence_not_that_of_its_wording(link: str) -> None:
    text = (
        "# Creative Commons Attribution-NonCommercial-NoDerivatives 4.0 International\n\n… The text of the Creative "
        f"Commons public licenses is dedicated to the public domain under the [CC0 Public Domain\nDedication{link}."
    )
    assert spdx_of_text(text) == "CC-BY-NC-ND-4.0"


def test_a_licence_file_that_names_several_says_so(tmp_path: Path) -> None:
    (tmp_path / "License.txt").write_text("Models: CC-BY-NC 4.0. Textures: CC0.")
    assert license_beside(tmp_path, tmp_path).why == (
        "License.txt names several licences: CC-BY-NC-4.0, CC0-1.0"
    )


def test_what_is_no_licence_text_does_not_hide_the_one_above(tmp_path: Path) -> None:
    inner = tmp_path / "models"
    inner.mkdir()
    (inner / "license_plate.mtl").write_text("newmtl All rights reserved")
    (inner / "Copying.txt").write_text("You may use this in your game.")
    assert "Copying.txt is not recognised" in license_beside(inner, tmp_path).why
    (tmp_path / "LICENSE").write_text("CC0 1.0")
    assert license_beside(inner, tmp_path).license == "CC0-1.0"
    (inner / "Copying.txt").write_text("(c) Jane. All rights reserved.")
    assert license_beside(inner, tmp_path).license is None


def test_the_nearest_licence_file_counts_and_disagreement_states_nothing(tmp_path: Path) -> None:
    inner = tmp_path / "pack" / "models"
    inner.mkdir(parents=True)
    nothing = license_beside(inner, tmp_path)
    assert nothing.license is None and nothing.why.startswith("no licence is stated")
    (tmp_path / "LICENSE").write_text("CC0 1.0")
    assert license_beside(inner, tmp_path).license == "CC0-1.0"
    (tmp_path / "pack" / "License.txt").write_text("The MIT License")
    assert license_beside(inner, tmp_path).license == "MIT"
    (tmp_path / "pack" / "LICENCE.fonts.md").write_text("CC BY 4.0")
    assert license_beside(inner, tmp_path).license is None
    assert "disagree" in license_beside(inner, tmp_path).why
    assert license_beside(inner, tmp_path / "pack" / "models").license is None, (
        "nothing above the folder is read"
    )


@pytest.mark.skipif(not (SHARED / "art").is_dir(), reason="the shared art packs are not here")
def test_the_packs_licence_files_are_recognised() -> None:
    for pack in ("kenney_furniture", "kenney_platformer", "quaternius_interior", "quaternius_space"):
        assert license_beside(SHARED / "art" / pack, SHARED / "art" / pack).license == "CC0-1.0"


@pytest.mark.parametrize("side", range(4))
def test_the_tiles_of_a_box_turn_as_the_model_does(side: int) -> None:
    grid, mesh = PRESETS["box6"].with_tile(48), make_chair()
    turned = turn_tiles(grid, render_tiles(mesh, grid), side)
    assert np.abs(turned - render_tiles(turn(mesh, 90.0 * side), grid)).mean() < 1e-3
    # Under the studio's lamps, which stay, nothing turns into itself; nor do views between the sides.
    assert is_box(grid) and not is_box(replace(grid, shading="studio"))
    assert not any(is_box(PRESETS[name]) for name in ("zero123plus", "ortho4"))
