"""New, untrained parts of `mini`: network, text encoder, tokenizer, scheduler; and its folder on disk."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from pathlib import Path

import torch
from diffusers import (
    AutoencoderTiny,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from lora3d.base.mini import INPUT_CHANNELS, LATENT_CHANNELS, PATCH
from lora3d.base.space import SpaceNet, write_space
from lora3d.grid import ViewGrid, write_grid
from lora3d.recipe import MiniSize

START, END = "<|startoftext|>", "<|endoftext|>"


def new_unet(size: MiniSize, grid: ViewGrid) -> UNet2DConditionModel:
    """A UNet with attention at every level that answers zero at first; see `lora3d.base.mini.denoise_strip`."""
    side = grid.tile // PATCH
    unet = UNet2DConditionModel(
        sample_size=(side, side * grid.columns),
        in_channels=INPUT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D",) * len(size.channels),
        up_block_types=("CrossAttnUpBlock2D",) * len(size.channels),
        block_out_channels=size.channels,
        layers_per_block=1,
        attention_head_dim=size.heads,
        cross_attention_dim=size.text_width,
        norm_num_groups=16,
    )
    torch.nn.init.zeros_(unet.conv_out.weight)
    return unet


def new_tokenizer(captions: Iterable[str], size: MiniSize) -> CLIPTokenizer:
    """A CLIP tokenizer with byte-pair merges learned from the captions; any text can be spelled with it."""
    model = models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix="")
    trained = Tokenizer(model)
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocabulary - len(alphabet) - 2,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    trained.train_from_iterator(captions, trainer)
    merges = [tuple(pair) for pair in _merges(trained)]
    symbols = [*alphabet, *(a + "</w>" for a in alphabet), *dict.fromkeys("".join(pair) for pair in merges)]
    vocabulary = {symbol: i for i, symbol in enumerate([*dict.fromkeys(symbols), START, END])}
    tokenizer = CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=size.tokens,
    )
    # Given file names under other keywords this class silently falls back to a vocabulary of two.
    if len(tokenizer) != len(vocabulary):
        raise RuntimeError(f"the tokenizer holds {len(tokenizer)} of {len(vocabulary)} symbols")
    return tokenizer


def _merges(trained: Tokenizer) -> list[tuple[str, str]]:
    return [
        tuple(m) if isinstance(m, list) else tuple(m.split(" "))
        for m in json.loads(trained.to_str())["model"]["merges"]
    ]


def new_text_encoder(tokenizer: CLIPTokenizer, size: MiniSize) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.text_width,
            intermediate_size=4 * size.text_width,
            num_hidden_layers=size.text_layers,
            num_attention_heads=size.text_width // 32,
            max_position_embeddings=size.tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def new_scheduler(shift: float) -> DPMSolverMultistepScheduler:
    """DPM-Solver++(2M) (Lu et al. 2022) on the flow's straight path, for a network that predicts the clean grid."""
    return DPMSolverMultistepScheduler(
        prediction_type="sample",
        use_flow_sigmas=True,
        flow_shift=shift,
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
        steps_offset=1,
    )


def save_base(
    folder: Path,
    grid: ViewGrid,
    unet: UNet2DConditionModel,
    vae: AutoencoderTiny,
    moments: Tensor,
    space: SpaceNet,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    scheduler: DPMSolverMultistepScheduler,
) -> None:
    """Writes fp16 safetensors in diffusers layout, with grid.json and latents.json (``moments``) beside them."""
    pipeline = StableDiffusionPipeline(
        vae=copy.deepcopy(vae).to(torch.float16),
        text_encoder=copy.deepcopy(text_encoder).to(torch.float16),
        tokenizer=tokenizer,
        unet=copy.deepcopy(unet).to(torch.float16),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    # A folder's path on the machine that trained it is nobody's business; and AutoencoderTiny writes a key that
    # it does not read back, and warns of it at every load.
    for part in ("unet", "vae", "text_encoder"):
        config = folder / part / "config.json"
        fields = json.loads(config.read_text(encoding="utf-8"))
        drop = {"_name_or_path", *(("block_out_channels",) if part == "vae" else ())}
        kept = {k: v for k, v in fields.items() if k not in drop}
        config.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    write_space(space, folder)
    write_grid(grid, folder / "grid.json")
    mean, deviation = ([round(v, 6) for v in row] for row in moments.tolist())
    text = json.dumps({"mean": mean, "deviation": deviation})
    (folder / "latents.json").write_text(text + "\n", encoding="utf-8")
