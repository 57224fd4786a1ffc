"""What a step does, in closed form: who learns how fast, what the noise is, what counts, and what is not computed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from lora3d.base import load_base
from lora3d.batches import make_batch
from lora3d.cache import cache_rows
from lora3d.dataset import read_dataset
from lora3d.diffusion import masked_mse
from lora3d.recipe import TrainConfig
from lora3d.run import Run
from lora3d.samples import draw_samples
from lora3d.state import new_state, update_average
from lora3d.train import set_up, take_step
from tests.test_train import blank_rows, config, dataset  # noqa: F401
from tests.toy_bases import TOY_RUN, save_toy


@pytest.fixture(scope="module")
def sd15(tmp_path_factory):
    return save_toy("sd15", tmp_path_factory.mktemp("base") / "sd15")


def begin(asked: TrainConfig, data, out) -> Run:
    """A run before its first step, its B moved away from zero, where A has no gradient."""
    out.mkdir()
    run = set_up(asked, data, out, Accelerator(cpu=True), False, lambda text: None)
    for parameter in run.state.outer:
        torch.nn.init.normal_(parameter, std=0.1)
    return run


def test_a_and_b_of_network_and_text_encoders_learn_at_their_own_rates(sd15, dataset, tmp_path):  # noqa: F811
    """Adam's first step moves a number by its rate, whatever its gradient (Kingma and Ba 2015, section 2.1)."""
    asked = replace(TOY_RUN, base=str(sd15), plus=8.0, text_rate=0.25, learning_rate=1e-3)
    run = begin(asked, dataset, tmp_path / "run")
    parts = {"network": run.base.network, "text": run.base.text_encoders["text_encoder"]}
    named = {(k, n): p for k, x in parts.items() for n, p in x.named_parameters() if ".style." in n}
    before = {k: p.detach().clone() for k, p in named.items()}
    take_step(run, make_batch(run.rows, run.config, run.state.step))
    times = {("network", "A"): 1, ("network", "B"): 8, ("text", "A"): 0.25, ("text", "B"): 2}
    found = {key: [] for key in times}
    for (part, name), p in named.items():
        found[part, "B" if "lora_B" in name else "A"].append((p - before[part, name]).abs().max().item())
    for key, moved in found.items():
        assert len(moved) > 2 and max(moved) == pytest.approx(1e-3 * times[key], rel=1e-2), key
    rates = {group["lr"] for group in run.state.optimiser.param_groups}
    assert sorted(rates) == pytest.approx([2.5e-4, 1e-3, 2e-3, 8e-3])


def test_a_noise_offset_adds_one_number_to_each_tiles_channel():
    """The mean of n numbers of variance 1 has variance 1/n, with an offset o 1/n + o² (Guttenberg 2023)."""
    rows = replace(blank_rows(3), stored=torch.zeros(3, 7, 3, 8, 8))
    plain, moved = (
        make_batch(rows, TrainConfig(batch=300, noise_offset=x), 0)["noise"].double() for x in (0.0, 0.3)
    )
    offset = moved - plain  # the noise itself is drawn first, and so is the same
    assert torch.allclose(offset, offset.mean((3, 4), keepdim=True), atol=1e-6)
    for noise, wanted in ((plain, 1 / 64), (moved, 1 / 64 + 0.3**2)):
        means = noise.mean((3, 4))
        assert means.var().item() == pytest.approx(wanted, rel=0.05)
        assert (noise - means[..., None, None]).var().item() == pytest.approx(1 - 1 / 64, rel=0.01)
    between = torch.corrcoef(offset[..., 0, 0].flatten(0, 1).T)
    assert (between - torch.eye(3)).abs().max() < 0.1


def test_a_cell_that_shows_nothing_counts_as_little_as_asked():
    """loss = Σ w·e / Σ w: an error in an empty cell alone counts w / (w + the others' weights)."""
    rows = replace(blank_rows(3), slots=("reference", *["rgb"] * 4, "empty", "empty"))
    for w in (0.1, 0.7):
        asked = TrainConfig(batch=8, empty_weight=w, reference_weight=0.25, reference_dropout=0.5)
        batch = make_batch(rows, asked, 0)
        assert torch.equal(batch["weight"][:, 5:], torch.full((8, 2), w))
        error = torch.zeros(8, 7, 2, 1, 1)
        error[:, 5] = 3.0
        loss = masked_mse(error, torch.zeros_like(error), batch["weight"], torch.ones(2))
        rest = torch.where(batch["known"][:, 0], 0.0, 0.25) + 4 + 2 * w
        assert torch.allclose(loss, 9 * w / rest) and len(set(rest.tolist())) == 2


@pytest.mark.parametrize("decay", [0.0, 0.4, 0.98])
def test_the_average_is_the_one_written_out(decay):
    """m_n = d_n·m_(n−1) + (1 − d_n)·p_n with d_n = min(d, (1 + n)/(10 + n)), from m_0 = p_0."""
    g = torch.Generator().manual_seed(0)
    parameters = [torch.randn(2, 3, generator=g, requires_grad=True), torch.randn(4, generator=g)]
    state = new_state(parameters, torch.optim.AdamW(parameters[:1]))
    wanted = [p.tolist() for p in (x.detach().double().flatten() for x in parameters)]
    for n in range(1, 41):
        with torch.no_grad():
            for p in parameters:
                p += torch.randn(p.shape, generator=g)
        state.step = n
        update_average(state, decay)
        d = min(decay, (1 + n) / (10 + n))
        now = [p.detach().double().flatten().tolist() for p in parameters]
        wanted = [
            [d * m + (1 - d) * x for m, x in zip(*pair, strict=True)]
            for pair in zip(wanted, now, strict=True)
        ]
    for mean, numbers in zip(state.average, wanted, strict=True):
        assert mean.flatten().tolist() == pytest.approx(numbers, abs=1e-5)


def test_every_step_is_averaged_and_training_goes_on_from_the_last(sd15, dataset, tmp_path):  # noqa: F811
    run = begin(replace(TOY_RUN, base=str(sd15), ema=0.5), dataset, tmp_path / "run")
    mean = [p.detach().clone() for p in run.state.average]
    for n in (1, 2):
        take_step(run, make_batch(run.rows, run.config, run.state.step))
        d = min(0.5, (1 + n) / (10 + n))
        mean = [d * m + (1 - d) * p.detach() for m, p in zip(mean, run.state.parameters, strict=True)]
    for found, wanted, last in zip(run.state.average, mean, run.state.parameters, strict=True):
        assert torch.allclose(found, wanted, atol=1e-7) and not torch.equal(found, last)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_no_gradient_is_taken_below_the_first_layer_that_learns(sd15, dataset, tmp_path, checkpointing):  # noqa: F811
    """An answer that asks for no gradient has no backward pass."""
    last = tuple(f"up_blocks.1.attentions.1.transformer_blocks.0.attn2.{x}" for x in ("to_q", "to_k"))
    asked = replace(TOY_RUN, base=str(sd15), targets=last, checkpointing=checkpointing)
    run = begin(asked, dataset, tmp_path / "run")
    network, wants = run.base.network, {}
    blocks = {n: x for n, x in network.named_modules() if n.count(".") == 1 and "blocks." in n}
    blocks |= {"mid_block": network.mid_block, "conv_in": network.conv_in}
    blocks |= {f"up_blocks.1.{n}": x for n, x in network.up_blocks[1].named_modules() if n.count(".") == 1}
    for name, block in blocks.items():

        def note(module, given, answer, name=name):
            answers = answer if isinstance(answer, tuple) else (answer,)
            flat = [x for a in answers for x in (a if isinstance(a, tuple) else (a,))]
            wants[name] = any(x.requires_grad for x in flat if isinstance(x, torch.Tensor))

        block.register_forward_hook(note)
    take_step(run, make_batch(run.rows, run.config, run.state.step))
    learning = {name for name, wanted in wants.items() if wanted}
    assert learning == {"up_blocks.1", "up_blocks.1.attentions.1"}
    assert {"conv_in", "down_blocks.0", "down_blocks.1", "mid_block", "up_blocks.0"} < wants.keys() - learning


@pytest.fixture(scope="module")
def encoded(config, dataset):  # noqa: F811
    """A base, its rows to train on, and those held out."""
    base = load_base(config.base)
    return base, *(cache_rows(base, read_dataset(dataset), config, split) for split in ("train", "test"))


def test_a_sample_that_is_a_training_models_grid_is_named_and_the_truth_is_not(
    encoded, tmp_path, monkeypatch
):
    base, trained, held_out = encoded
    few = held_out.pick([0, 1])
    answers = few.latents().float()
    answers[0] = trained.latents()[3].float()
    monkeypatch.setattr("lora3d.samples.sample", lambda *given: answers.clone())
    _, copies, _ = draw_samples(base, few, trained, torch.float32)
    assert copies == [f"the sample for {few.ids[0]!r} is a copy of {trained.ids[3]!r}"]
    # A little noise hides no copy, and makes none of the truth.
    answers += 0.05 * answers.std() * torch.randn(answers.shape, generator=torch.Generator().manual_seed(0))
    assert draw_samples(base, few, trained, torch.float32)[1] == copies
