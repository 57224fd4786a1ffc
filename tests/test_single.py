"""A base in a single file answers as the folder that it was made of, without any network."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora3d.base import load_base
from lora3d.errors import InputError
from lora3d.grid import PRESETS
from tests.toy_bases import FAMILIES, save_toy
from tests.toy_files import save_single

GRID = PRESETS["box6"]


@pytest.fixture(scope="module", params=FAMILIES)
def both(request, tmp_path_factory):
    """A base's folder, and the file of the same weights."""
    top = tmp_path_factory.mktemp("single")
    folder = save_toy(request.param, top / "folder")
    if request.param.startswith("sd3"):
        # The file has no projection for the first encoder: diffusers takes the identity.
        weights = folder / "text_encoder" / "model.safetensors"
        tensors = load_file(weights)
        tensors["text_projection.weight"] = torch.eye(len(tensors["text_projection.weight"]))
        save_file(tensors, weights, {"format": "pt"})
    return folder, save_single(request.param, folder, top / "toy.safetensors")


@torch.no_grad()
def test_a_single_file_answers_as_its_folder(both):
    one, other = (load_base(where, grid=GRID) for where in both)
    assert other.name == "toy" and other.prediction == one.prediction
    texts = [base.embed(["a red box"]) for base in (one, other)]
    assert torch.equal(texts[0].tokens, texts[1].tokens)
    noise = torch.randn(1, *one.latent_shape, generator=torch.Generator().manual_seed(0))
    t, known = torch.full((1,), 0.7), torch.zeros(1, one.slots, dtype=torch.bool)
    answers = [base.denoise(noise, t, text, known) for base, text in zip((one, other), texts, strict=True)]
    assert torch.equal(*answers)
    tiles = torch.rand(1, len(GRID.cells), 64, 64, 3)
    assert torch.allclose(one.encode(tiles), other.encode(tiles), atol=1e-6)


def test_what_a_file_needs_is_said(both, tmp_path):
    _, file = both
    alone = tmp_path / "alone.safetensors"
    shutil.copy(file, alone)
    with pytest.raises(
        InputError, match=r"weights alone; expected the folder .*alone beside it, with model_index.json"
    ):
        load_base(alone, grid=GRID)
    shutil.copytree(file.with_suffix(""), tmp_path / "alone")
    (tmp_path / "alone" / "vae" / "x.bin").write_bytes(b"")
    with pytest.raises(InputError, match="x.bin can run any code"):
        load_base(alone, grid=GRID)
    with pytest.raises(InputError, match=r"no base at .*expected a .safetensors file"):
        load_base(tmp_path / "absent.safetensors", grid=GRID)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (r"^(?!model).*(fc1|c_fc)\.weight", "lacks weights of the text_encoder"),
        (r"^model\.diffusion_model", "cannot be read as the StableDiff"),
    ],
)
def test_a_file_that_lacks_weights_is_refused(both, tmp_path, part, said):
    _, file = both
    tensors = load_file(file)
    del tensors[next(k for k in sorted(tensors) if re.search(part, k))]
    save_file(tensors, tmp_path / "less.safetensors")
    shutil.copytree(file.with_suffix(""), tmp_path / "less")
    with pytest.raises(InputError, match=f"less.safetensors {said}"):
        load_base(tmp_path / "less.safetensors", grid=GRID)
