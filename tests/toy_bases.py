"""Every Stable Diffusion family at toy size: the real classes, random weights, saved as their own pipelines save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from lora3d.recipe import TrainConfig

# A run that takes seconds and looks at nothing; a test says with `replace` what it is about.
TOY_RUN = TrainConfig(
    rank=2,
    alpha=2.0,
    targets=("attention",),
    steps=3,
    batch=1,
    learning_rate=1e-3,
    warmup=0,
    variants=0,
    validation_share=0,
    held_out_every=0,
    sample_every=0,
    checkpoint_every=0,
    device="cpu",
    precision="fp32",
)
FAMILIES = ("sd15", "sd21", "sdxl", "sd3", "sd3_without_t5", "sd35")
WIDTH = 16
# What tells 3.5's transformer from 3's: 3.5 large has the first, 3.5 medium both.
SD35: dict[str, Any] = {"qk_norm": "rms_norm", "dual_attention_layers": (0,)}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
UNET: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
    "cross_attention_dim": WIDTH,
    "sample_size": 64,
}


def save_toy(family: str, folder: Path) -> Path:
    """One of `FAMILIES` in diffusers layout."""
    torch.manual_seed(1)
    pipeline = _make(family)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _make(family: str) -> Any:
    if family == "sdxl":
        return _sdxl()
    if family == "sd35":
        return _sd3(True, SD35)
    return _sd3(family == "sd3", {}) if family.startswith("sd3") else _sd(family == "sd21")


def _sd(v: bool) -> StableDiffusionPipeline:
    """1.5, or 2.1 that predicts v."""
    scheduler = (
        DDIMScheduler(**BETAS, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False)
        if v
        else PNDMScheduler(**BETAS, skip_prk_steps=True)
    )
    return StableDiffusionPipeline(
        vae=_vae(4),
        text_encoder=_clip(CLIPTextModel),
        tokenizer=toy_tokenizer(),
        unet=UNet2DConditionModel(**UNET, use_linear_projection=v),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _sdxl() -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline(
        vae=_vae(4),
        text_encoder=_clip(CLIPTextModel),
        text_encoder_2=_clip(CLIPTextModelWithProjection, 2 * WIDTH),
        tokenizer=toy_tokenizer(),
        tokenizer_2=toy_tokenizer(),
        unet=UNet2DConditionModel(
            **{**UNET, "cross_attention_dim": 3 * WIDTH, "sample_size": 128},
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=6 * 4 + 2 * WIDTH,
        ),
        scheduler=EulerDiscreteScheduler(**BETAS, timestep_spacing="leading"),
        add_watermarker=False,
    )


def _sd3(t5: bool, options: dict[str, Any]) -> StableDiffusion3Pipeline:
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=8,
        out_channels=8,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=4 * WIDTH,
        caption_projection_dim=16,
        pooled_projection_dim=3 * WIDTH,
        pos_embed_max_size=32,
        **options,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(8, shift=0.06),
        text_encoder=_clip(CLIPTextModelWithProjection),
        tokenizer=toy_tokenizer(),
        text_encoder_2=_clip(CLIPTextModelWithProjection, 2 * WIDTH),
        tokenizer_2=toy_tokenizer(),
        text_encoder_3=_t5() if t5 else None,
        tokenizer_3=_t5_tokenizer() if t5 else None,
    )


def _vae(latents: int, shift: float | None = None) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=latents,
        norm_num_groups=2,
        layers_per_block=1,
        scaling_factor=0.5,
        shift_factor=shift,
    ).eval()


def toy_tokenizer() -> Any:
    from lora3d.base.build import new_tokenizer
    from lora3d.recipe import MiniSize

    return new_tokenizer(["a red box", "two blue chairs"], MiniSize(tokens=77, vocabulary=600))


def _clip(kind: Any, width: int = WIDTH) -> Any:
    tokenizer = toy_tokenizer()
    return kind(
        CLIPTextConfig(
            hidden_size=width,
            intermediate_size=32,
            num_attention_heads=2,
            num_hidden_layers=2,
            projection_dim=width,
            vocab_size=len(tokenizer),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).eval()


def _t5() -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(vocab_size=64, d_model=4 * WIDTH, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    ).eval()


def _t5_tokenizer() -> T5TokenizerFast:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(c, -3.0 - i / 10) for i, c in enumerate("etaoinshrdlucmfwypvbgkjqxz")]
    return T5TokenizerFast(vocab=pieces, extra_ids=0)
