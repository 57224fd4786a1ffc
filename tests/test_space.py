"""The network that guesses what a drawing shows in space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lora3d.base.box import carve, centres, look
from lora3d.base.pose import mirror_projection, place, turn_projection
from lora3d.base.space import CELLS, CellConv, SpaceNet, read_space, write_space
from lora3d.base.train_space import _mirrored_half, _views, space_losses, train_space
from lora3d.camera import projection
from lora3d.data_prep.stream import make_example
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from lora3d.recipe import PretrainConfig

GRID = PRESETS["box6"]
UNSAID = torch.full((1, 2), torch.nan)


def pictures(examples, seed: int, quarters: int = 0):
    """Drawings, viewpoints, projections, views of examples, half of them mirrored, all turned by so many quarters."""
    drawings, seen, true, chosen, flip = _mirrored_half(examples, np.random.default_rng(seed))
    turned = torch.full((len(examples),), quarters)
    return drawings, seen, turn_projection(true, turned), _views(examples, chosen, flip, turned)


def seeded() -> SpaceNet:
    torch.manual_seed(0)
    return SpaceNet()


def test_shapes_and_ranges():
    space = seeded()(torch.rand(2, 4, 64, 64), UNSAID.expand(2, 2))
    n = 2 * CELLS
    assert space.opacity.shape == (2, n, n, n) and space.colour.shape == (2, 3, CELLS, CELLS, CELLS)
    assert space.projection.shape == (2, 3, 4)
    assert space.colour.min() >= 0 and space.colour.max() <= 1


@pytest.mark.parametrize(("batch", "sides"), [(1, (6, 5, 4)), (1, (32, 32, 32)), (3, (6, 5, 4))])
def test_a_convolution_of_cells_is_torchs_with_gradients_and_without(batch, sides):
    torch.manual_seed(0)
    x, ours, torchs = torch.randn(batch, 5, *sides), CellConv(5, 7, 3, 1, 1), torch.nn.Conv3d(5, 7, 3, 1, 1)
    torchs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        assert torch.allclose(ours(x), torchs(x), atol=1e-5)
    ours(x).square().sum().backward()
    torchs(x).square().sum().backward()
    assert torch.allclose(ours.weight.grad, torchs.weight.grad, rtol=1e-4, atol=1e-4)


def test_a_larger_tile_is_read_at_the_same_size():
    net = seeded()
    small = torch.nn.functional.interpolate(torch.rand(1, 4, 8, 8), size=64, mode="bilinear")
    large = small.repeat_interleave(2, -1).repeat_interleave(2, -2)
    one, other = net(small, UNSAID), net(large, UNSAID)
    assert (one.projection - other.projection).abs().max() < 0.02


def test_cells_are_told_what_is_drawn_where_they_project():
    """A red dot on the drawing is red along its whole line of sight, and nowhere else."""
    net = seeded()
    picture = torch.ones(1, 4, 64, 64)
    picture[:, 3] = 0
    picture[:, :, 38:42, 22:26] = torch.tensor([1.0, 0, 0, 1])[:, None, None]
    front = torch.from_numpy(projection(GRID.cameras("rgb")[0])).float()[None]
    features = torch.zeros(1, net.features.out_channels, 32, 32)
    sampled = net._sample(picture, features, front)[0]
    coverage, xyz = sampled[-5], sampled[-3:] / 2
    z, y, x = np.nonzero((coverage > 0.5).numpy())
    at = np.stack([xyz[i].numpy()[z, y, x] for i in range(3)], -1)
    assert set(y) == set(range(CELLS)) and len(at) == CELLS * len(set(zip(z, x, strict=True)))
    assert np.allclose(at[:, [0, 2]].mean(0), [(24 / 64 - 0.5) * 1.04, (0.5 - 40 / 64) * 1.04], atol=0.02)


def test_mirrored_examples_are_seen_by_the_mirrored_projection():
    """The mirror's views, drawing and projection belong together: its front view is the drawing's mirror image."""
    example = make_example(5, GRID, drawings=1)
    drawings, seen, true, views = pictures([example] * 12, 0)
    plain = next(i for i in range(12) if torch.equal(drawings[i], drawings[0]))
    other = next(i for i in range(12) if not torch.equal(drawings[i], drawings[0]))
    assert torch.equal(drawings[plain], drawings[other].flip(-1))
    assert torch.equal(views[plain, 0], views[other, 0].flip(-1))
    assert torch.equal(views[plain, 1], views[other, 3].flip(-1))
    assert torch.allclose(mirror_projection(true)[plain], true[other], atol=1e-6)
    assert torch.equal(seen[plain] * torch.tensor([-1, 1]), seen[other])


@pytest.mark.parametrize("quarters", (-1, 0, 1))
def test_whichever_side_is_the_front_the_views_project_onto_the_drawing(quarters):
    """What the views leave of the cube covers the drawing, be the object turned, mirrored, both or neither."""
    drawings, _, true, views = pictures(
        [make_example(i, GRID, game_share=0.5) for i in range(6)], 0, quarters
    )
    z, y, x = torch.meshgrid(*[centres(64)] * 3, indexing="ij")
    points = torch.stack([x, y, z], -1)
    for solid, matrix, drawing in zip(carve(views[:, :, 3], GRID), true, drawings, strict=True):
        at = (place(matrix[None], points[solid])[0] * 64).long().clamp(0, 63)
        shown = torch.zeros(64, 64, dtype=torch.bool)
        shown[at[:, 1], at[:, 0]] = True
        drawn = drawing[3] > 0.5
        assert (shown & drawn).sum() > 0.8 * (shown | drawn).sum()


def test_the_losses_vanish_at_the_truth():
    from lora3d.base.space import Space

    example = make_example(7, GRID, drawings=1)
    _, _, true, views = pictures([example], 0)
    filled = carve(views[:, :, 3], GRID).float()
    grey = torch.full((1, 3, CELLS, CELLS, CELLS), 0.5)
    right = Space(true, (filled * 2 - 1) * 20, grey)
    wrong = Space(mirror_projection(true) + 0.1, (1 - filled * 2) * 20, grey)
    good, bad = space_losses(right, true, views, GRID), space_losses(wrong, true, views, GRID)
    assert good[0] < 2e-3 and good[1] < 1e-6 and good[2] < 0.02
    assert (bad[:3] > 10 * good[:3]).all()


@pytest.mark.slow
def test_it_learns(toy_base):
    """After some steps on a few shapes, their outlines are found better than by a network that learnt nothing."""
    from lora3d.base import load_base

    examples = [make_example(i, GRID) for i in range(12)]
    base = load_base(toy_base)
    torch.manual_seed(0)
    config = replace(PretrainConfig(), space_steps=60, pool=12, learning_rate=1e-3)
    fixed = pictures(examples, 1)

    def outline(net: SpaceNet) -> float:
        with torch.no_grad():
            return float(space_losses(net(fixed[0], fixed[1]), fixed[2], fixed[3], GRID)[2])

    codec = base.sweep.linear, base.sweep.inverse
    net = train_space(SpaceNet(), iter(examples * 100), GRID, codec, config, torch.float32, batch=6)
    assert outline(net) < 0.6 * outline(seeded())
    with torch.no_grad():
        space = net(fixed[0], fixed[1])
    assert look(torch.sigmoid(space.opacity), space.colour, GRID).shape == (12, 6, 4, 64, 64)


def test_a_network_is_read_as_it_was_written(tmp_path):
    net = seeded()
    write_space(net, tmp_path)
    x = torch.rand(1, 4, 64, 64)
    one, other = read_space(tmp_path)(x, UNSAID), net(x, UNSAID)
    assert torch.allclose(one.projection, other.projection, atol=2e-2)
    assert (one.opacity - other.opacity).abs().max() < 0.1
    (tmp_path / "space" / "model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="space network"):
        read_space(tmp_path)
