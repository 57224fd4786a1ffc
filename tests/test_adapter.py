"""Adapters: bytes, headers, round trips through diffusers, and refusals."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from lora3d.adapter import (
    adapter_tensors,
    attach,
    effect,
    load_adapter,
    save_adapter,
    target_modules,
    use_adapters,
    verify,
)
from lora3d.adapter_convert import check_fits, export, write_file
from lora3d.adapter_formats import read_layers, safetensors_bytes, to_layers
from lora3d.adapter_merge import check_together
from lora3d.base import load_base
from lora3d.card import AdapterCard, AdapterError, read_card
from lora3d.cli import main
from lora3d.errors import InputError
from lora3d.generate import load
from lora3d.mesh import glb_bytes
from tests.conftest import make_box


def card_for(of, **changes) -> AdapterCard:
    card = AdapterCard(
        base=of.name,
        base_revision=of.revision,
        grid=of.grid.to_dict(),
        trigger="inkfold",
        rank=4,
        alpha=4.0,
        targets=["attention"],
        dataset="0" * 64,
        assets=3,
        drawings=5,
        licenses=["CC0-1.0"],
        artists=["A"],
        sources=[],
        recipe={},
        metrics={},
    )
    return replace(card, **changes)


@pytest.fixture(scope="module")
def trained(toy_base, tmp_path_factory):
    """A base with a random adapter that does something, and the file it was saved to."""
    base = load_base(toy_base)
    before = effect(base)
    parameters = attach(base, 4, 4.0, ("attention", "conv"), seed=0)
    with torch.no_grad():
        for p in parameters:
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    path = tmp_path_factory.mktemp("adapter") / "a.safetensors"
    modules = target_modules(load_base(toy_base).unet, ("attention", "conv"))
    save_adapter(path, adapter_tensors(base), card_for(base), modules)
    return base, before, effect(base), path


def test_a_fresh_adapter_changes_nothing(toy_base):
    base = load_base(toy_base)
    before = effect(base)
    parameters = attach(base, 4, 4.0, ("attention",), seed=0)
    assert parameters and torch.allclose(effect(base), before, atol=1e-6)


def test_loading_restores_the_trained_effect_and_weights_scale_it(trained, toy_base):
    _, before, after, path = trained
    base = load_base(toy_base)
    assert torch.equal(effect(base), before)
    load_adapter(base, path, "one")
    use_adapters(base, {"one": 1.0})
    assert torch.allclose(effect(base), after, atol=1e-5) and (after - before).abs().max() > 1e-3
    use_adapters(base, {"one": 0.0})
    assert torch.allclose(effect(base), before, atol=1e-5)
    use_adapters(base, {})
    assert torch.allclose(effect(base), before, atol=1e-6)


def test_diffusers_alone_loads_the_file(trained, toy_base):
    from diffusers import StableDiffusionPipeline

    _, _, after, path = trained
    pipeline = StableDiffusionPipeline.from_pretrained(toy_base)
    pipeline.load_lora_weights(path)
    fresh = replace(load_base(toy_base), unet=pipeline.unet.eval())
    assert torch.allclose(effect(fresh), after, atol=1e-4)


def test_equal_adapters_are_equal_files(trained, tmp_path):
    base, _, _, path = trained
    modules = json.loads(safe_open(path, "pt").metadata()["lora_adapter_metadata"])["unet.target_modules"]
    save_adapter(tmp_path / "b.safetensors", adapter_tensors(base), card_for(base), modules)
    assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()


def test_our_writer_is_read_by_the_library(tmp_path):
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.zeros(0, 4)}
    (tmp_path / "t.safetensors").write_bytes(safetensors_bytes(tensors, {"word": "ü"}))
    with safe_open(tmp_path / "t.safetensors", "pt") as file:
        assert file.metadata() == {"word": "ü"}
        assert all(torch.equal(file.get_tensor(k), v) for k, v in tensors.items())


def test_the_card_comes_back(trained):
    base, _, _, path = trained
    assert read_card(path) == card_for(base)


def test_verify_measures_the_effect(trained, toy_base):
    report = verify(trained[3], toy_base)
    assert report["largest_change"] > 1e-3 and report["zero_weight_restores"]


def test_adapters_without_effect_or_not_finite_are_never_saved(trained, tmp_path):
    base = trained[0]
    tensors = adapter_tensors(base)
    zero = {k: torch.zeros_like(v) if "lora_B" in k else v for k, v in tensors.items()}
    with pytest.raises(AdapterError, match="changes nothing"):
        save_adapter(tmp_path / "zero.safetensors", zero, card_for(base), [])
    key = sorted(tensors)[0]
    with pytest.raises(AdapterError, match="not finite"):
        save_adapter(
            tmp_path / "nan.safetensors", {**tensors, key: tensors[key] * torch.nan}, card_for(base), []
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "sd15", "base_revision": "f" * 64}, "trained on base 'sd15'"),
        ({"grid": None}, "tile is 128 against 64"),
    ],
)
def test_another_base_or_grid_is_refused_with_both_sides(trained, toy_base, tmp_path, change, message):
    base = load_base(toy_base)
    if "grid" in change:
        change = {"grid": base.grid.with_tile(128).to_dict()}
    save_adapter(tmp_path / "x.safetensors", adapter_tensors(trained[0]), card_for(base, **change), [])
    with pytest.raises(InputError, match=message):
        load_adapter(base, tmp_path / "x.safetensors", "x")


def test_the_same_weights_are_the_same_base_under_any_name(trained, toy_base, tmp_path):
    base = load_base(toy_base)
    named = card_for(base, base="renamed")
    save_adapter(tmp_path / "x.safetensors", adapter_tensors(trained[0]), named, [])
    with warnings.catch_warnings(action="error"):
        check_fits(named, base, tmp_path / "x.safetensors")
        check_together({p: read_layers(p) for p in (trained[3], tmp_path / "x.safetensors")})


def test_other_weights_of_the_same_base_are_a_warning_that_names_both(trained, toy_base, tmp_path):
    base = load_base(toy_base)
    card = card_for(base, base_revision="f" * 64)
    modules = target_modules(base.unet, ("attention", "conv"))
    save_adapter(tmp_path / "x.safetensors", adapter_tensors(trained[0]), card, modules)
    with pytest.warns(UserWarning, match="ffffffffffff.*" + base.revision[:12]):
        load_adapter(base, tmp_path / "x.safetensors", "x")


def test_a_file_that_matches_only_in_part_is_refused(trained, toy_base, tmp_path):
    base = load_base(toy_base)
    tensors = {k.replace("down_blocks.0", "down_blocks.9"): v for k, v in adapter_tensors(trained[0]).items()}
    modules = target_modules(base.unet, ("attention", "conv"))
    with pytest.raises(AdapterError, match="trained layers have no tensors"):
        save_adapter(tmp_path / "x.safetensors", tensors, card_for(base), modules)
    save_adapter(tmp_path / "x.safetensors", tensors, card_for(base), [])
    with pytest.raises(AdapterError):
        load_adapter(base, tmp_path / "x.safetensors", "x")


def test_a_file_for_kohya_loads_like_the_original(trained, toy_base, tmp_path):
    _, _, after, path = trained
    export(path, "kohya", tmp_path / "k.safetensors")
    base = load_base(toy_base)
    load_adapter(base, tmp_path / "k.safetensors", "k")
    use_adapters(base, {"k": 1.0})
    assert torch.allclose(effect(base), after, atol=1e-5)


def test_a_foreign_file_is_taken_in_with_a_card_of_its_own(trained, toy_base, tmp_path, capsys):
    _, _, after, path = trained
    foreign, out = tmp_path / "foreign.safetensors", tmp_path / "ours.safetensors"
    write_file(read_layers(path), foreign, None, to="kohya")
    base = load_base(toy_base)
    with pytest.raises(AdapterError, match="no lora3d card.*adapter import"):
        load_adapter(base, foreign, "x")
    words = ["adapter", "import", foreign, "--base", toy_base, "--out", out, "--license", "cc by nc 4.0"]
    assert main([str(w) for w in words]) == 0
    card = load_adapter(base, out, "x")
    use_adapters(base, {"x": 1.0})
    assert torch.allclose(effect(base), after, atol=1e-5)
    assert card.licenses == ["CC-BY-NC-4.0"] and card.parents[0]["file"] == "foreign.safetensors"


def test_an_adapter_of_the_text_encoder_alone_is_used(toy_base, tmp_path):
    base = load_base(toy_base)
    width = base.text_encoder.config.hidden_size
    stem = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_"
    layer = {f"{stem}A.weight": torch.eye(2, width), f"{stem}B.weight": torch.eye(width, 2)}
    path = tmp_path / "text.safetensors"
    write_file(to_layers(layer, {}, "x"), path, card_for(base))
    before = effect(base)
    load_adapter(base, path, "text")
    use_adapters(base, {"text": 1.0})
    assert (effect(base) - before).abs().max() > 1e-4
    use_adapters(base, {"text": 0.0})
    assert torch.equal(effect(base), before)


def test_what_a_non_commercial_adapter_makes_says_so(trained, toy_base, tmp_path):
    base, path = load_base(toy_base), tmp_path / "nc.safetensors"
    save_adapter(path, adapter_tensors(trained[0]), card_for(base, licenses=["CC-BY-NC-4.0"]), [])
    made = load(toy_base, {path: 1.0}, device="cpu", precision="fp32").generate(prompt="a box", steps=1)
    assert made.record["license"] == "CC-BY-NC-4.0 AND NOASSERTION"  # nobody said what the toy base allows
    glb = glb_bytes(make_box(), extras={"lora3d": made.record})
    assert b"CC-BY-NC-4.0" in glb


def damaged(path: Path, to: Path, kind: str) -> Path:
    data = path.read_bytes()
    if kind == "cut":
        to.write_bytes(data[: len(data) // 2])
    elif kind == "empty":
        to.write_bytes(b"")
    elif kind == "text":
        to.write_text("hello, I am no adapter")
    elif kind == "huge header":
        to.write_bytes((1 << 40).to_bytes(8, "little") + data[8:])
    elif kind == "foreign":
        to.write_bytes(safetensors_bytes({"x": torch.ones(2)}, {}))
    return to


@pytest.mark.parametrize("kind", ["cut", "empty", "text", "huge header", "foreign", "absent"])
def test_broken_files_are_refused_in_one_line(trained, toy_base, tmp_path, kind):
    path = damaged(trained[3], tmp_path / "x.safetensors", kind)
    with pytest.raises(AdapterError) as caught:
        load_adapter(load_base(toy_base), path, "x")
    assert "x.safetensors" in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_targets_name_the_roles(toy_base):
    with pytest.raises(InputError, match="attention, conv, feedforward"):
        target_modules(load_base(toy_base).unet, ("atention",))


def test_the_bases_hash_changes_with_its_weights(toy_base, tmp_path):
    copy = shutil.copytree(toy_base, tmp_path / "copy")
    assert load_base(copy).revision == load_base(toy_base).revision
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert load_base(copy).revision != load_base(toy_base).revision
