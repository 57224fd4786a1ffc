"""The captioner: a real BLIP at toy size with random weights, asked only where nothing else describes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from conftest import make_box
from PIL import Image

from lora3d.cli import main
from lora3d.data_prep.asset import prepare
from lora3d.data_prep.captions import describe, find_captioner
from lora3d.data_prep.folder import _caption, prep
from lora3d.data_prep.pictures import prepare_picture
from lora3d.data_prep.resume import make_tasks
from lora3d.data_prep.sources import Asset, Drawing, Found
from lora3d.data_prep.templates import FIELDS, fields_in
from lora3d.dataset import read_dataset
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.mesh import glb_bytes
from lora3d.trigger import with_trigger

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "chair", "table"]
GRID = PRESETS["box6"].with_tile(16)


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipProcessor
    from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

    folder = tmp_path_factory.mktemp("models") / "blip"
    small = {"hidden_size": 16, "intermediate_size": 16, "projection_dim": 16, "num_hidden_layers": 1}
    small |= {"num_attention_heads": 2}
    ends = {"bos_token_id": 2, "pad_token_id": 0, "eos_token_id": 3, "sep_token_id": 3}
    text = {"vocab_size": len(WORDS), "encoder_hidden_size": 16, "max_position_embeddings": 64, **ends}
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(
        BlipConfig(text_config=small | text, vision_config=small | {"image_size": 16, "patch_size": 8})
    )
    with torch.no_grad():
        model.text_decoder.cls.predictions.bias[:5] = -99  # words alone
        for parameter in model.vision_model.parameters():
            parameter.mul_(20)  # so that it sees what it is shown
    model.save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)})
    BlipProcessor(BlipImageProcessorPil(size={"height": 16, "width": 16}), tokenizer).save_pretrained(folder)
    return folder


def plain(value: int) -> np.ndarray:
    return np.full((20, 30, 4), (value, 255 - value, 128, 255), np.uint8)


def test_equal_pictures_get_equal_words_and_the_trigger_once(blip: Path) -> None:
    captioner = find_captioner(str(blip), "annstyle")
    said = describe(captioner, plain(10))
    trigger, *words = said.split()
    assert trigger == "annstyle" and words and set(words) <= set(WORDS[5:])
    assert describe(captioner, plain(10)) == said
    clear = plain(200)
    clear[..., 3] = 0
    assert describe(captioner, clear) == describe(captioner, np.full((9, 9, 4), 255, np.uint8)), "on white"


def test_only_what_nothing_else_describes_is_asked_about(blip: Path, tmp_path: Path) -> None:
    captioner = find_captioner(str(blip), "t")
    files = (Asset("stated/001.glb", caption="a mug"), Asset("redChair.glb"), Asset("x/001.glb"))
    found = Found(tmp_path, files)
    assert [a.caption for a in _caption(found, "t", captioner, False).assets] == [
        "t a mug",
        "t red chair",
        "",
    ]
    assert [a.caption for a in _caption(found, "t", captioner, True).assets] == ["", "", ""]
    assert [a.caption for a in _caption(found, "t", None, False).assets] == ["t a mug", "t red chair", "t"]

    Image.fromarray(np.pad(plain(10), ((9, 9), (9, 9), (0, 0)))).save(tmp_path / "1.png")
    (tmp_path / "box.glb").write_bytes(glb_bytes(make_box()))
    (task,) = make_tasks(Found(tmp_path, (Asset("box.glb"),)), GRID, 0, ("render",), captioner, tmp_path)
    prepare(task)
    trigger, *words = pq.read_table(task.part)["caption"][0].as_py().split()
    assert trigger == "t" and words and set(words) <= set(WORDS[5:])

    parts = set()
    for caption, asked in (("", captioner), ("t a mug", captioner), ("", None)):
        asset = Asset("1.png", caption=caption, drawings=(Drawing("1.png"),))
        (task,) = make_tasks(Found(tmp_path, (asset,)), GRID, 0, ("render",), asked, tmp_path)
        prepare_picture(task)
        row = pq.read_table(task.part).to_pylist()[0]
        assert row["caption"] == (caption or (describe(captioner, plain(10)) if asked else ""))
        parts.add(task.part)
    assert len(parts) == 3, "another captioner makes other rows"


def test_what_is_no_captioner_is_refused(blip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder in transformers layout"):
        find_captioner(str(tmp_path), "")
    config = json.loads((blip / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InputError, match="has no safetensors"):
        find_captioner(str(tmp_path), "")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="cannot be read"):
        describe(find_captioner(str(tmp_path), ""), plain(0))
    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    with pytest.raises(InputError, match="is a 'llava': expected one of blip, git"):
        find_captioner(str(tmp_path), "")
    with pytest.raises(InputError, match="caption_all needs a captioner"):
        prep(tmp_path, tmp_path / "out", caption_all=True)


@pytest.mark.parametrize(
    ("caption", "with_it"),
    [("a chicken", "ken a chicken"), ("a lamp by ken, red", "a lamp by ken, red"), ("", "ken")],
)
def test_a_caption_says_the_trigger_as_a_word(caption: str, with_it: str) -> None:
    assert with_trigger(caption, "ken") == with_it


# -- a template ---------------------------------------------------------------------------------------


def templated(template: str, *assets: Asset, trigger: str = "") -> list[str]:
    found = _caption(Found(Path(), assets), trigger, None, False, template)
    return [asset.caption for asset in found.assets]


def test_every_field_is_filled_from_the_asset() -> None:
    stated = Asset("desk_lamps-3d/old_lamp2.glb", artist="Ann {b}", source="ann.example", license="MIT")
    filled = templated(" | ".join(f"{{{field}}}" for field in FIELDS), stated)
    assert filled == ["old lamp | lamp | Ann {b} | ann.example | MIT | desk lamps 3d"]
    own = templated("{name}: {subject}, {name} {{}}", Asset("lamp.glb", subject="light"))
    assert own == ["lamp: light, lamp {}"]


def test_what_is_stated_stays_and_the_trigger_comes_once() -> None:
    stated = Asset("a.glb", caption="a mug", artist="Ann")
    assert templated("a {name} by {artist}", stated, Asset("b.glb", artist="Ann"), trigger="Ann") == [
        "Ann a mug",
        "a b by Ann",
    ]


def test_an_empty_field_is_said_and_the_name_alone_is_the_caption() -> None:
    files = (Asset("red_chair.glb", artist="Ann"), Asset("mug.glb"), Asset("cup.glb"))
    found = _caption(Found(Path(), files), "", None, False, "{name} by {artist}")
    assert [a.caption for a in found.assets] == ["red chair by Ann", "mug", "cup"]
    (warning,) = found.warnings
    assert warning.startswith("2 files, such as mug.glb: the template's artist is not known")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("a {nam}", "no field 'nam'.*{name}, {subject}, .*the nearest is {name}"),
        ("a {}", "no field ''"),
        ("a {name.__class__}", "no field 'name.__class__'"),
        ("a {name!r}", "no field 'name'.*as they are"),
        ("a {name:99999999}", "no field 'name'.*as they are"),
        ("a {name", "is no template.*a brace itself is doubled"),
        (" ", "is empty"),
    ],
)
def test_what_is_no_template_is_wrong_usage(template: str, message: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(InputError, match=message):
        fields_in(template)
    with pytest.raises(SystemExit) as stopped:
        main(["prep", str(tmp_path), "--out", str(tmp_path / "out"), "--caption", template])
    assert stopped.value.code == 2 and "argument --caption: " in capsys.readouterr().err


def test_a_template_reaches_the_rows(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "toyBox.glb").write_bytes(glb_bytes(make_box()))
    words = [
        "--caption",
        "a {name} by {artist}",
        "--artist",
        "Ann",
        "--license",
        "MIT",
        "--trigger",
        "annstyle",
    ]
    assert main(["prep", str(tmp_path / "src"), "--out", str(tmp_path / "out"), "--tile", "16", *words]) == 0
    assert [row.caption for row in read_dataset(tmp_path / "out").rows()] == ["annstyle a toy box by Ann"]
