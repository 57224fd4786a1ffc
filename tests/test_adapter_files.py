"""What adapter files say and what they may do: headers, licences, damage, merging, publishing. No network runs here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora3d.adapter_convert import export, find_card, same_layers, write_file
from lora3d.adapter_formats import read_layers, safetensors_bytes
from lora3d.adapter_header import hashes
from lora3d.adapter_layers import Layer, Layers
from lora3d.adapter_license import attribution, combine, require, terms_of
from lora3d.adapter_merge import cut, diff, fused_weight, inner, merge, resize
from lora3d.adapter_publish import publish
from lora3d.card import AdapterCard, AdapterError, read_card, read_header, safe_name
from lora3d.cli import main
from lora3d.errors import InputError
from lora3d.grid import PRESETS

NAMES = ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q", "unet.mid_block.resnets.0.conv1")


def card(**changes) -> AdapterCard:
    plain = AdapterCard(
        base="mini",
        base_revision="a" * 64,
        grid=PRESETS["box6"].to_dict(),
        trigger="inkfold",
        rank=3,
        alpha=3.0,
        targets=["attention"],
        dataset="d" * 64,
        assets=3,
        drawings=5,
        licenses=["CC0-1.0"],
        artists=["Ada"],
        sources=["https://example.org/pack"],
        recipe={"seed": 0},
        metrics={"loss": 0.5},
    )
    return replace(plain, **changes)


def layers(seed: int = 0, rank: int = 3) -> Layers:
    g = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g)

    return {
        NAMES[0]: Layer(noise(rank, 8), noise(6, rank), 2.0),
        NAMES[1]: Layer(noise(rank, 4, 3, 3), noise(5, rank, 1, 1), 3.0),
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    write_file(layers(), path, card())
    return path


def saved(path: Path, seed: int = 0, rank: int = 3, **changes) -> Path:
    write_file(layers(seed, rank), path, card(**changes))
    return path


# Headers


@pytest.mark.parametrize("base", ["mini", "stable-diffusion-v1-5"])
def test_an_adapter_of_mini_never_says_it_is_one_of_stable_diffusion(tmp_path, base):
    export(saved(tmp_path / "a.safetensors", base=base), "kohya", tmp_path / "k.safetensors")
    for path in (tmp_path / "a.safetensors", tmp_path / "k.safetensors"):
        metadata = read_header(path)["__metadata__"]
        own = (metadata["modelspec.architecture"], metadata["ss_base_model_version"])
        other = ("stable-diffusion-v1/lora", "sd_v1")
        assert own == (("lora3d-mini/lora", "lora3d-mini") if base == "mini" else other)


def test_the_header_holds_what_other_tools_read(file, tmp_path):
    kohya = tmp_path / "k.safetensors"
    export(file, "kohya", kohya)
    for path in (file, kohya):
        metadata = read_header(path)["__metadata__"]
        for key in ("sai_model_spec", "architecture", "implementation", "title"):
            assert metadata[f"modelspec.{key}"], "ModelSpec 1.0.0 demands it"
        assert metadata["modelspec.sai_model_spec"] == "1.0.0"
        assert json.loads(metadata["ss_tag_frequency"]) == {"lora3d": {"inkfold": 5}}
        assert metadata["ss_v2"] == "False" and metadata["ss_network_dim"] == "3"
        assert metadata["sshs_model_hash"] == hashes(path.read_bytes())["sshs_model_hash"]
        assert find_card(path) == card()
    # diffusers refuses a file that has both its metadata and alphas.
    assert "lora_adapter_metadata" not in read_header(kohya)["__metadata__"]
    assert not any(key.endswith(".alpha") for key in read_header(file))


def test_a_picture_becomes_a_thumbnail(file, tmp_path):
    from PIL import Image

    (tmp_path / "samples").mkdir()
    Image.new("RGB", (900, 300), "red").save(tmp_path / "samples" / "step-000100.png")
    export(file, "kohya", tmp_path / "k.safetensors")
    thumbnail = read_header(tmp_path / "k.safetensors")["__metadata__"]["modelspec.thumbnail"]
    assert thumbnail.startswith("data:image/jpeg;base64,") and len(thumbnail) < 20_000


def test_equal_adapters_are_equal_files_in_every_format(file, tmp_path):
    for to in ("diffusers", "kohya"):
        for name in ("x", "y"):
            (tmp_path / name).mkdir(exist_ok=True)
            export(file, to, tmp_path / name / "b.safetensors")
        assert (tmp_path / "x/b.safetensors").read_bytes() == (tmp_path / "y/b.safetensors").read_bytes()


def test_half_precision_stays_half(tmp_path):
    half = {n: replace(x, down=x.down.half(), up=x.up.half()) for n, x in layers().items()}
    write_file(half, tmp_path / "h.safetensors", None)
    assert all(x.down.dtype == torch.float16 for x in read_layers(tmp_path / "h.safetensors").values())


def test_show_reads_the_header_alone_of_a_large_file(tmp_path):
    entry = {"dtype": "F32", "shape": [25, 1 << 21], "data_offsets": [0, 200 << 20]}
    metadata = read_header(saved(tmp_path / "a.safetensors"))["__metadata__"]
    text = json.dumps({"__metadata__": metadata, "unet.x.lora_A.weight": entry}).encode()
    with (tmp_path / "large.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + (200 << 20))
    before = os.times()
    words = [
        sys.executable,
        "-m",
        "lora3d.cli",
        "adapter",
        "show",
        str(tmp_path / "large.safetensors"),
        "--json",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    after = os.times()
    # Of its own time, not of the clock: the machine may be busy with other work.
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    shown = json.loads(done.stdout)
    assert shown["bytes"] > 200 << 20 and shown["trigger"] == "inkfold" and "inkfold" in shown["prompt"]
    assert seconds <= 0.3


# Formats, without a network


@pytest.mark.parametrize("to", ["diffusers", "kohya", "comfyui", "peft"])
def test_formats_keep_the_update_and_the_card(file, tmp_path, to):
    there = tmp_path / "there"
    export(file, to, there)
    assert same_layers(read_layers(there), read_layers(file)) and find_card(there) == card()


def test_an_unknown_kind_is_named(tmp_path):
    (tmp_path / "x").write_bytes(safetensors_bytes({"lora_unet_conv_in.hada_w1_a": torch.ones(2, 2)}, {}))
    with pytest.raises(AdapterError, match="hada_w1_a.*no tensor of a LoRA"):
        read_layers(tmp_path / "x")


def test_rslora_is_folded_and_expressions_are_refused(tmp_path):
    tensors = {"unet.conv_in.lora_A.weight": torch.ones(4, 2), "unet.conv_in.lora_B.weight": torch.ones(3, 4)}

    def alpha(**config) -> float:
        metadata = {"lora_adapter_metadata": json.dumps({f"unet.{k}": v for k, v in config.items()})}
        (tmp_path / "x").write_bytes(safetensors_bytes(tensors, metadata))
        return read_layers(tmp_path / "x")["unet.conv_in"].alpha

    assert alpha(lora_alpha=3) == 3 and alpha(lora_alpha=3, use_rslora=True) == 6
    assert alpha(lora_alpha=3, alpha_pattern={"^conv_in": 5}) == 5
    with pytest.raises(AdapterError, match="expression"):
        alpha(lora_alpha=3, alpha_pattern={"(a+)+b": 5})


# Licences


@pytest.mark.parametrize(
    ("licenses", "commercial", "license", "said"),
    [
        (["CC0-1.0", "Apache-2.0"], True, "Apache-2.0", "commercial use allowed"),
        (["CC-BY-4.0", "CC0-1.0"], True, "CC-BY-4.0", "credit required"),
        (["CC-BY-4.0", "CC-BY-NC-4.0", "Apache-2.0"], False, "CC-BY-NC-4.0", "NO commercial use"),
        (["CC-BY-SA-4.0", "CC0-1.0"], True, "CC-BY-SA-4.0", "share alike"),
        (["CC-BY-NC-SA-4.0", "Apache-2.0"], False, "CC-BY-NC-SA-4.0", "share alike"),
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0"], False, "CC-BY-NC-4.0 AND CC-BY-SA-4.0", "exclude each other"),
        (["CC-BY-ND-4.0"], True, "CC-BY-ND-4.0", "NO derivatives"),
        (["MIT", "Apache-2.0"], True, "Apache-2.0 AND MIT", "credit required"),
        (["NOASSERTION", "CC0-1.0"], False, "NOASSERTION", "not known: NOASSERTION"),
        (["LicenseRef-mine"], False, "LicenseRef-mine", "not known"),
        (["GPL-3.0-only OR MIT"], True, "GPL-3.0-only OR MIT", "credit required"),
        ([], False, "NOASSERTION", "not known"),
    ],
)
def test_terms_of_several_licences(licenses, commercial, license, said):
    terms = combine(licenses)
    assert (terms.commercial, terms.license) == (commercial, license) and said in terms.summary()
    assert combine(licenses[::-1]) == terms


def test_no_licence_frees_what_another_forbids():
    names = ["CC0-1.0", "MIT", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "NOASSERTION"]
    for a in names:
        for b in names:
            both = combine([a, b])
            assert both.commercial <= min(combine([a]).commercial, combine([b]).commercial)
            assert both.derivatives <= min(combine([a]).derivatives, combine([b]).derivatives)


def test_a_non_commercial_asset_shows_everywhere_and_is_refused(tmp_path, capsys):
    path = saved(tmp_path / "nc.safetensors", licenses=["CC-BY-NC-4.0", "CC0-1.0"])
    assert main(["adapter", "show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["terms"]["license"] == "CC-BY-NC-4.0"
    assert read_header(path)["__metadata__"]["modelspec.license"] == "CC-BY-NC-4.0"
    publish(path, str(tmp_path / "hub"))
    readme = (tmp_path / "hub" / "README.md").read_text()
    assert 'license: "cc-by-nc-4.0"' in readme and "NO commercial use" in readme
    for words in (
        ["adapter", "show", str(path)],
        ["generate", "--adapter", str(path), "--prompt", "x", "--out", str(tmp_path / "o")],
    ):
        assert main([*words, "--require", "commercial"]) == 1
        said = capsys.readouterr().err
        assert "nc.safetensors" in said and "NO commercial use" in said and said.count("\n") == 1
    require(card(), "free", "commercial")


def test_the_credits_name_everyone_and_carry_no_markup(tmp_path, capsys):
    path = saved(tmp_path / "a.safetensors", artists=["Ada", "<script>x</script>"], consent="I agree.\nAda")
    text = attribution(read_card(path), "a")
    assert "- Ada" in text and "<script>" not in text and "> I agree." in text
    assert main(["adapter", "attribution", str(path), "--out", str(tmp_path / "c.md")]) == 0
    assert (tmp_path / "c.md").read_text() == text + "\n"


def test_a_statement_is_attached_without_touching_the_weights(file, tmp_path):
    (tmp_path / "consent.txt").write_text("These models are mine.\n")
    out = tmp_path / "b.safetensors"
    assert (
        main(["adapter", "note", str(file), "--consent", str(tmp_path / "consent.txt"), "--out", str(out)])
        == 0
    )
    assert read_card(out) == card(consent="These models are mine.")
    assert read_layers(out).keys() == read_layers(file).keys()
    assert out.read_bytes()[-400:] == file.read_bytes()[-400:]
    assert main(["adapter", "note", str(file), "--out", str(out)]) == 1


# Several adapters


def test_a_linear_merge_is_the_weighted_sum(tmp_path):
    a, b = saved(tmp_path / "a.safetensors", 0), saved(tmp_path / "b.safetensors", 1, rank=2)
    report = merge({a: 0.7, b: -0.4}, tmp_path / "m.safetensors")
    made = read_layers(tmp_path / "m.safetensors")
    for name in NAMES:
        wanted = 0.7 * layers(0)[name].delta() - 0.4 * layers(1, 2)[name].delta()
        assert torch.allclose(made[name].delta(), wanted, atol=1e-5)
    assert report["ranks"] == [5] and report["error"] < 1e-3
    parents = read_card(tmp_path / "m.safetensors").parents
    assert [(p["file"], p["weight"]) for p in parents] == [("a.safetensors", 0.7), ("b.safetensors", -0.4)]


@pytest.mark.parametrize("method", ["svd", "ties", "dare"])
def test_other_merges_have_the_rank_asked_for_and_are_the_same_twice(tmp_path, method):
    a, b = saved(tmp_path / "a.safetensors", 0), saved(tmp_path / "b.safetensors", 1)
    for name in ("m", "n"):
        merge(
            {a: 0.5, b: 0.5}, tmp_path / name, method=method, rank=4, density=1.0 if method == "dare" else 0.5
        )
    made = read_layers(tmp_path / "m")
    assert {x.rank for x in made.values()} == {4} and same_layers(made, read_layers(tmp_path / "n"))


def test_dare_that_drops_nothing_is_the_sum(tmp_path):
    a, b = saved(tmp_path / "a.safetensors", 0), saved(tmp_path / "b.safetensors", 1)
    assert merge({a: 1, b: 1}, tmp_path / "m", method="dare", rank=6, density=1.0)["error"] < 1e-3


def test_merging_what_does_not_belong_together_names_both(tmp_path):
    a = saved(tmp_path / "a.safetensors")
    other_base = saved(tmp_path / "b.safetensors", base="sdxl", base_revision="f" * 64)
    other_grid = saved(tmp_path / "c.safetensors", grid=PRESETS["box6"].with_tile(128).to_dict())
    for other, words in ((other_base, "mini.*sdxl"), (other_grid, "a.safetensors.*c.safetensors.*64.*128")):
        with pytest.raises(InputError, match=words):
            merge({a: 1, other: 1}, tmp_path / "m")
    with pytest.warns(UserWarning, match="aaaaaaaaaaaa.*bbbbbbbbbbbb"):
        merge({a: 1, saved(tmp_path / "d.safetensors", base_revision="b" * 64): 1}, tmp_path / "m")
    wide = {NAMES[0]: Layer(torch.ones(1, 9), torch.ones(6, 1), 1.0)}
    write_file(wide, tmp_path / "w.safetensors", None)
    with pytest.raises(AdapterError, match="different networks"):
        merge({a: 1, tmp_path / "w.safetensors": 1}, tmp_path / "m")


def test_a_merge_with_a_non_commercial_adapter_is_non_commercial(tmp_path):
    a = saved(tmp_path / "a.safetensors")
    merge({a: 1, saved(tmp_path / "b.safetensors", licenses=["CC-BY-NC-4.0"]): 0.1}, tmp_path / "m")
    assert not terms_of(read_card(tmp_path / "m")).commercial


@pytest.mark.parametrize("name", NAMES)
def test_cutting_keeps_the_energy_asked_for_with_the_least_rank(name):
    layer = layers(0)[name]
    for energy in (0.5, 0.9, 1.0):
        small = cut(layer, energy=energy)
        share = inner(small, small) / inner(layer, layer)
        assert share >= energy - 1e-5
        if small.rank > 1:
            less = cut(layer, rank=small.rank - 1)
            assert inner(less, less) / inner(layer, layer) < energy
    assert torch.allclose(cut(layer, rank=9).delta(), layer.delta(), atol=1e-5)


def test_resize_and_diff_measure_what_was_lost(file, tmp_path):
    report = resize(file, tmp_path / "r.safetensors", rank=2)
    assert report["ranks"] == {2: 2} and 0 < report["energy"] < 1
    found = diff(file, tmp_path / "r.safetensors")
    assert found["relative_distance"] ** 2 == pytest.approx(1 - report["energy"], abs=1e-4)
    assert diff(file, file)["relative_distance"] == pytest.approx(0, abs=1e-4)
    assert read_card(tmp_path / "r.safetensors").parents[0]["file"] == "a.safetensors"


def test_a_fused_weight_is_the_equation_of_dora():
    old, layer = torch.randn(6, 8), replace(layers()[NAMES[0]], magnitude=torch.rand(6) + 0.5)
    assert layer.magnitude is not None
    new = fused_weight(old, layer)
    assert torch.allclose(new.norm(dim=1), layer.magnitude, atol=1e-5)
    assert torch.allclose(
        torch.nn.functional.normalize(new), torch.nn.functional.normalize(old + layer.delta()), atol=1e-5
    )


# Publishing


def test_a_published_folder_is_complete_and_says_what_it_is(tmp_path):
    from huggingface_hub import ModelCard
    from PIL import Image

    (tmp_path / "samples").mkdir()
    Image.new("RGB", (64, 32)).save(tmp_path / "samples" / "step-1.png")
    path = saved(tmp_path / "style.safetensors", metrics={"scores": {"base": {"psnr": 14.2}}})
    report = publish(path, str(tmp_path / "hub"))
    names = {"README.md", "ATTRIBUTION.md", "images/sample_0.png", "pytorch_lora_weights.safetensors"}
    assert names | {"style_kohya.safetensors"} == set(report["files"])
    data = ModelCard.load(tmp_path / "hub" / "README.md").data
    assert data.base_model == "mini" and data.license == "apache-2.0" and data.instance_prompt == "inkfold"
    assert data.widget[0]["output"]["url"] == "images/sample_0.png" and "lora" in data.tags
    one, two = (read_layers(tmp_path / "hub" / n) for n in report["files"] if n.endswith(".safetensors"))
    assert same_layers(one, two)
    assert "14.2" in (tmp_path / "hub" / "README.md").read_text()
    with pytest.raises(InputError, match="holds something already"):
        publish(path, str(tmp_path / "hub"))


def test_nothing_is_pushed_without_a_token(file, monkeypatch, tmp_path):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(InputError, match="no token"):
        publish(file, "hub:ada/inkfold")
    with pytest.raises(InputError, match="USER/NAME"):
        publish(file, "hub:../../etc")


# Damage


@pytest.mark.parametrize("name", ["../../x", "a/b", "a\x00b", "..", "con\n", "", "\u202egpj.exe"])
def test_names_that_reach_the_file_system_are_clean(name):
    clean = safe_name(name)
    assert (
        clean and "/" not in clean and not clean.startswith(".") and clean.isprintable() and clean.isascii()
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_refused_in_one_line_or_loaded_right(data, tmp_path):
    from tests.interop.fuzz_adapters import judge, mutate

    seed = data.draw(st.integers(0, 1 << 30))
    path = tmp_path / "a.safetensors"
    if not path.exists():
        saved(path)
    (tmp_path / "x.safetensors").write_bytes(mutate(path.read_bytes(), seed))
    assert judge(tmp_path / "x.safetensors") in ("loaded", "refused"), seed
