"""A frozen base in few bits: it answers nearly as before, takes the room that is said, and what it teaches holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lora3d.adapter import attach, effect, load_adapter, use_adapters
from lora3d.base import load_base
from lora3d.base.quantise import BYTES, quantise_layers, small_layers
from lora3d.errors import InputError
from lora3d.estimate import estimate
from lora3d.recipe import TrainConfig
from lora3d.train import train
from tests.test_train import GRID
from tests.toy_bases import TOY_RUN, save_toy

pytestmark = pytest.mark.extra


@pytest.fixture(scope="module", params=["sd15", "sdxl", "sd3"])
def folder(request, tmp_path_factory):
    return save_toy(request.param, tmp_path_factory.mktemp("base") / request.param)


@pytest.fixture
def library():
    return pytest.importorskip("bitsandbytes", reason="the extra `8bit` is not installed")


def distance(one, other):
    return ((one - other).norm() / other.norm()).item()


def test_a_layer_in_few_bits_is_near_the_whole_one_and_so_is_its_gradient(library):
    torch.manual_seed(0)
    block = torch.nn.ModuleDict({"transformer_blocks": torch.nn.ModuleList([torch.nn.Linear(256, 128)])})
    whole = block["transformer_blocks"][0]
    x = torch.randn(50, 256, requires_grad=True)
    wanted = whole(x)
    (slope,) = torch.autograd.grad(wanted.square().sum(), x)
    quantise_layers(block, torch.device("cpu"), torch.float32)
    few = block["transformer_blocks"][0]
    (found_slope,) = torch.autograd.grad(few(x).square().sum(), x)
    # 16 levels, by the quantiles of a normal: some nine parts in a hundred.
    assert distance(few(x), wanted) < 0.12 and distance(found_slope, slope) < 0.2
    state = few.weight.quant_state
    room = few.weight.nbytes + state.absmax.nbytes + state.state2.absmax.nbytes
    assert room == pytest.approx(BYTES * 256 * 128, rel=1e-3)


def test_the_room_that_is_said_is_what_the_weights_take(library, folder):
    config = TrainConfig(base=str(folder), targets=("attention",), rank=2, quantise="4bit")
    base = load_base(folder, grid=GRID, quantise="4bit")
    few = [m.weight for m in small_layers(base.network).values()]
    rest = sum(p.numel() for p in base.network.parameters()) - sum(w.numel() for w in few)
    taken = sum(w.nbytes + w.quant_state.absmax.nbytes + w.quant_state.state2.absmax.nbytes for w in few)
    assert few and estimate(config, GRID, torch.float32, True).weights * 2**20 == pytest.approx(
        taken + 4 * rest, rel=0.02
    )


def test_what_is_learnt_on_few_bits_holds_on_the_whole_base(library, folder, boxes, tmp_path):
    config = replace(TOY_RUN, base=str(folder), steps=4, batch=2, learning_rate=0.02, quantise="4bit")
    adapter = train(config, boxes, tmp_path / "run", progress=False, report=lambda text: None).adapter
    moved = []
    for how in ("none", "4bit"):
        base = load_base(folder, grid=GRID, quantise=how)
        before = effect(base)
        load_adapter(base, adapter, "learnt")
        use_adapters(base, {"learnt": 1.0})
        moved.append(effect(base) - before)
    assert moved[0].abs().max() > 1e-3
    assert distance(moved[1], moved[0]) < 0.5


def test_an_adapter_learns_on_few_bits_nearly_what_it_does_on_the_whole_base(library, folder):
    slopes = []
    for how in ("none", "4bit"):
        base = load_base(folder, grid=GRID, quantise=how)
        parameters = attach(base, 2, 2.0, ("attention", "feedforward"), 0)
        torch.manual_seed(0)
        for p in parameters:
            torch.nn.init.normal_(p, std=0.1)
        latents, known = torch.randn(1, *base.latent_shape), torch.zeros(1, base.slots, dtype=torch.bool)
        answer = base.denoise(latents, torch.full((1,), 0.5), base.embed(["a box"]), known)
        found = torch.autograd.grad(answer.square().mean(), parameters, allow_unused=True)
        slopes.append(
            torch.cat(
                [
                    torch.zeros(p.numel()) if g is None else g.flatten()
                    for g, p in zip(found, parameters, strict=True)
                ]
            )
        )
    assert slopes[0].any() and distance(slopes[1], slopes[0]) < 0.5


def test_a_damaged_weight_is_named_before_it_is_hidden(library, folder):
    network = load_base(folder, grid=GRID).network
    name, layer = next(iter(small_layers(network).items()))
    layer.weight.data[0, 0] = torch.nan
    with pytest.raises(InputError, match=f"{name}.weight holds numbers that are not finite"):
        quantise_layers(network, torch.device("cpu"), torch.float32)


def test_minis_family_is_not_quantised_and_a_missing_library_is_named(toy_base, folder, monkeypatch):
    with pytest.raises(InputError, match="of mini's family, which is small"):
        load_base(toy_base, quantise="4bit")
    with pytest.raises(InputError, match="of mini's family, which is small"):
        estimate(TrainConfig(base=str(toy_base), quantise="4bit"), None, torch.float32, True)
    with pytest.raises(InputError, match="expected one of none, 4bit"):
        TrainConfig(quantise="2bit")
    monkeypatch.setattr("lora3d.base.quantise.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lora3d\[8bit\]'"):
        load_base(folder, grid=GRID, quantise="4bit")
