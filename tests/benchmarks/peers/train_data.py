"""What both trainers are given: pictures in the script's layout, a base of Stable Diffusion 1.5's size, canvases."""

from __future__ import annotations

import json
from pathlib import Path


def write_pictures(data: Path, out: Path) -> None:
    """The dataset's training grids as the script reads them: pictures and metadata.jsonl."""
    from lora3d.dataset import read_dataset
    from lora3d.generate import to_image
    from lora3d.grid import pack

    out.mkdir(parents=True)
    dataset = read_dataset(data)
    with (out / "metadata.jsonl").open("w") as file:
        for row in dataset.rows("train"):
            to_image(pack(dataset.grid, row.tiles)).save(out / f"{row.id}.png")
            file.write(json.dumps({"file_name": f"{row.id}.png", "text": row.caption}) + "\n")


def write_sd15(folder: Path) -> None:
    """Stable Diffusion 1.5's sizes, random weights, bfloat16."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from tests.toy_bases import BETAS, toy_tokenizer

    torch.manual_seed(0)
    tokenizer = toy_tokenizer()
    words = CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    wide = (128, 256, 512, 512)
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=wide,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
        ),
        text_encoder=CLIPTextModel(words),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8, sample_size=64),
        scheduler=PNDMScheduler(**BETAS, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(torch.bfloat16).save_pretrained(folder)


def write_quads(out: Path) -> None:
    """Eight grids of 2×2 tiles, 512 px."""
    import numpy as np

    from lora3d.camera import orbit
    from lora3d.dataset import Row, write_dataset
    from lora3d.grid import View, ViewGrid
    from lora3d.mesh import glb_bytes
    from tests.conftest import make_box

    cameras = [orbit(a, 0, 1.0, ortho_scale=1.04) for a in (0, 90, 180)]
    grid = ViewGrid("quad", (View("reference"), *(View("rgb", c) for c in cameras)), 2, 256)
    glb = glb_bytes(make_box())
    rng = np.random.default_rng(0)
    rows = [
        Row(
            f"r{i}", np.repeat(np.repeat(rng.random((4, 32, 32, 3)), 8, 1), 8, 2).astype(np.float32),
            "a red box", f"s{i}", "train", "CC0-1.0", "", "", glb,
        )
        for i in range(8)
    ]  # fmt: skip
    write_dataset(rows, out, grid)
