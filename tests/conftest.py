"""What several tests need: a toy base of `mini`'s family, random but real, and small meshes."""

from __future__ import annotations

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores. numba asks the OpenMP that torch uses too for every core, whatever OMP_NUM_THREADS
    # says, and from then on torch's threads wait for each other: toy runs of 3 s took 50 s. Before either loads.
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}

import numpy as np
import pytest
import torch

from lora3d.mesh import Material, Mesh, normalise

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps the tests' latents out of the user's cache."""
    os.environ["LORA3D_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def toy_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_base(tmp_path_factory.mktemp("toy_base"))


def save_toy_base(folder: Path) -> Path:
    """A saved base with every part of `mini` at a fraction of its size; its codec is fitted to noise pictures."""
    from lora3d.base.build import new_scheduler, new_text_encoder, new_tokenizer, new_unet, save_base
    from lora3d.base.codec import latent_moments, new_codec, principal_components, set_encoder
    from lora3d.base.space import SpaceNet
    from lora3d.grid import PRESETS
    from lora3d.recipe import MiniSize

    torch.manual_seed(0)
    size = MiniSize(channels=(32, 32), heads=(1, 1), text_width=32, text_layers=1, tokens=16, vocabulary=600)
    grid = PRESETS["box6"]
    rough = torch.nn.functional.interpolate(torch.rand(60, 4, 12, 12), size=64, mode="bilinear")
    codec = new_codec()
    set_encoder(codec, *principal_components(rough))
    unet = new_unet(size, grid)
    torch.nn.init.normal_(unet.conv_out.weight, std=0.05)  # a new one answers nothing, whatever it is asked
    tokenizer = new_tokenizer(["a red box", "two blue chairs on a green table"], size)
    torch.manual_seed(3)  # its own: what is drawn for other parts leaves it as it is
    text_encoder = new_text_encoder(tokenizer, size)
    save_base(
        folder,
        grid,
        unet,
        codec,
        latent_moments(codec, (rough * 255).byte()),
        SpaceNet(),
        text_encoder,
        tokenizer,
        new_scheduler(4.0),
    )
    return folder


def make_box(
    size: tuple[float, float, float] = (1, 1, 1), colour: tuple[float, float, float] = (0.8, 0.2, 0.1)
) -> Mesh:
    """A closed box of one colour (linear), normalised."""
    x, y, z = size
    corners = np.array([[i, j, k] for i in (0, x) for j in (0, y) for k in (0, z)], dtype=np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array([f for a, b, c, d in quads for f in ((a, b, c), (a, c, d))], dtype=np.int32)
    return normalise(
        Mesh(corners, faces, np.zeros(len(faces), np.int32), (Material(base_color=(*colour, 1.0)),))
    )


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of boxes to train on; not to be changed."""
    from lora3d.dataset import write_dataset
    from tests.test_train import GRID, make_rows

    folder = tmp_path_factory.mktemp("boxes") / "data"
    write_dataset(make_rows(), folder, GRID)
    return folder
