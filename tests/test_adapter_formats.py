"""Adapters through every format and back, on the real networks and pipelines at toy size."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from lora3d.adapter_convert import export, same_layers, write_file
from lora3d.adapter_formats import read_layers, safetensors_bytes, to_tensors
from lora3d.adapter_layers import Layer
from lora3d.adapter_merge import fuse
from lora3d.adapter_verify import probe, put_on, verify
from lora3d.card import AdapterError

SIDE = 8  # of the latents
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
UNET_TARGETS = [*TARGETS, "conv1", "conv2", "conv_shortcut", "conv", "conv_in", "conv_out", "time_emb_proj"]
UNET_TARGETS += ["time_embedding.linear_1"]
MMDIT_TARGETS = [*TARGETS, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out", "norm1.linear"]
MMDIT_TARGETS += ["norm1_context.linear", "norm_out.linear", "context_embedder"]


def unet(family: str, width: int = 16) -> UNet2DConditionModel:
    torch.manual_seed(0)
    common: dict[str, Any] = {"norm_num_groups": 4, "attention_head_dim": 4, "sample_size": SIDE}
    if family == "sdxl":
        return UNet2DConditionModel(
            block_out_channels=(8, 8, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2),
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=64,
            use_linear_projection=True,
            cross_attention_dim=width,
            **common,
        ).eval()
    return UNet2DConditionModel(
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        use_linear_projection=family == "sd2",
        cross_attention_dim=width,
        **common,
    ).eval()


def mmdit() -> SD3Transformer2DModel:
    torch.manual_seed(0)
    return SD3Transformer2DModel(
        sample_size=SIDE,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pooled_projection_dim=16,
        pos_embed_max_size=SIDE,
        dual_attention_layers=(0,),
        qk_norm="rms_norm",
    ).eval()


def network(family: str) -> nn.Module:
    return mmdit() if family == "sd3" else unet(family, {"sd2": 1024}.get(family, 16))


def pipeline(family: str, net: nn.Module) -> Any:
    """The real pipeline around a network; what it gets as text is given as embeddings."""
    parts: dict[str, Any] = {"vae": None, "text_encoder": None, "tokenizer": None}
    if family == "sd3":
        parts |= {f"{k}_{i}": None for k in ("text_encoder", "tokenizer") for i in (2, 3)}
        return StableDiffusion3Pipeline(transformer=net, scheduler=FlowMatchEulerDiscreteScheduler(), **parts)
    if family == "sdxl":
        parts |= {"text_encoder_2": None, "tokenizer_2": None}
        return StableDiffusionXLPipeline(
            unet=net, scheduler=DDIMScheduler(steps_offset=1, clip_sample=False), **parts
        )
    return StableDiffusionPipeline(
        unet=net,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        **parts,
    )


@torch.no_grad()
def answer(family: str, pipe: Any) -> Tensor:
    """The pipeline's latents after two steps."""
    generator = torch.Generator().manual_seed(3)
    width = 16 if family == "sd3" else pipe.unet.config.cross_attention_dim
    given: dict[str, Any] = {"prompt_embeds": torch.randn(1, 5, width, generator=generator)}
    if family in ("sdxl", "sd3"):
        given["pooled_prompt_embeds"] = torch.randn(1, 16, generator=generator)
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        **given,
        latents=torch.randn(1, 4, SIDE, SIDE, generator=generator),
        height=8 * SIDE,
        width=8 * SIDE,
        num_inference_steps=2,
        guidance_scale=1.0,
        output_type="latent",
    ).images


KINDS: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "lora_alpha": 2},
    "rslora": {"r": 4, "lora_alpha": 3, "use_rslora": True},
    "dora": {"r": 4, "lora_alpha": 4, "use_dora": True},
    "mixed": {
        "r": 4,
        "lora_alpha": 4,
        "rank_pattern": {"to_q": 2, "conv1": 3, "ff.net.2": 6},
        "alpha_pattern": {"to_k": 1.5, "conv2": 7},
    },
}


@dataclass
class Original:
    """A file as diffusers itself writes it, and what the pipeline answers with the adapter that it came from."""

    file: Path
    wanted: Tensor
    plain: Tensor


@pytest.fixture(scope="module")
def pipelines() -> dict[str, Any]:
    return {family: pipeline(family, network(family)) for family in ("sd1", "sd2", "sdxl", "sd3")}


@pytest.fixture(scope="module")
def original(pipelines, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Original]:
    """Trains nothing: random numbers in a fresh adapter, saved by the pipeline itself."""

    @cache
    def make(family: str, kind: str) -> Original:
        pipe, part = pipelines[family], "transformer" if family == "sd3" else "unet"
        net = getattr(pipe, part)
        plain = answer(family, pipe)
        targets = MMDIT_TARGETS if family == "sd3" else UNET_TARGETS
        net.add_adapter(LoraConfig(target_modules=targets, **KINDS[kind]), adapter_name="default")
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                if "lora_" in name:
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        folder = tmp_path_factory.mktemp(f"{family}_{kind}")
        given = {
            f"{part}_lora_layers": get_peft_model_state_dict(net),
            f"{part}_lora_adapter_metadata": net.peft_config["default"].to_dict(),
        }
        pipe.save_lora_weights(folder, **given)
        wanted = answer(family, pipe)
        pipe.unload_lora_weights()
        return Original(folder / "pytorch_lora_weights.safetensors", wanted, plain)

    return make


def loaded(family: str, pipe: Any, file: Path) -> Tensor:
    """What the pipeline answers with a file that its own loader has read."""
    pipe.load_lora_weights(file)
    try:
        return answer(family, pipe)
    finally:
        pipe.unload_lora_weights()


CASES = [(family, kind) for family in ("sd1", "sd2", "sdxl", "sd3") for kind in KINDS]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_round_trips_answer_as_the_original(original, pipelines, tmp_path, family, kind):
    first = original(family, kind)
    assert (first.wanted - first.plain).abs().max() > 1e-3
    for way in ("diffusers", "kohya", "comfyui", "peft"):
        there, back = tmp_path / way, tmp_path / f"{way}.safetensors"
        export(first.file, way, there, family=family)
        export(there, "diffusers", back)
        assert (loaded(family, pipelines[family], back) - first.wanted).abs().max() <= 1e-5, way
        assert same_layers(read_layers(there), read_layers(first.file)), way


@pytest.mark.parametrize("kind", ["lora", "rslora", "mixed"])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_diffusers_own_loader_takes_the_file_for_kohya(original, pipelines, tmp_path, family, kind):
    first = original(family, kind)
    export(first.file, "kohya", tmp_path / "k.safetensors", family=family)
    assert (loaded(family, pipelines[family], tmp_path / "k.safetensors") - first.wanted).abs().max() <= 1e-5


@pytest.mark.parametrize(("family", "kind"), [("sd1", "dora"), ("sd3", "mixed")])
def test_peft_itself_loads_the_folder(original, tmp_path, family, kind):
    first = original(family, kind)
    export(first.file, "peft", tmp_path / "p")
    net: Any = network(family)
    PeftModel.from_pretrained(net, tmp_path / "p" / ("transformer" if family == "sd3" else "unet"))
    assert (answer(family, pipeline(family, net)) - first.wanted).abs().max() <= 1e-5


@pytest.mark.parametrize("to", ["diffusers", "kohya"])
def test_text_encoders_load_through_the_pipeline(tmp_path, to):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    encoder = CLIPTextModel(CLIPTextConfig(vocab_size=50, max_position_embeddings=16, **sizes)).eval()
    generator = torch.Generator().manual_seed(0)
    # diffusers tells the naming of a kohya file's text encoder by its out_proj.
    layers = {
        f"text_encoder.text_model.encoder.layers.{i}.{end}": Layer(
            torch.randn(rank, 16, generator=generator), torch.randn(out, rank, generator=generator), 2.0
        )
        for i in (0, 1)
        for end, rank, out in (("self_attn.q_proj", 2, 16), ("self_attn.out_proj", 2, 16), ("mlp.fc1", 3, 32))
    }
    write_file(layers, tmp_path / "t.safetensors", None, to=to)
    wanted = copy.deepcopy(encoder)
    put_on(wanted, "text_encoder", layers)
    pipe = pipeline("sd1", network("sd1"))
    pipe.register_modules(text_encoder=encoder)
    plain = probe(encoder)
    pipe.load_lora_weights(tmp_path / "t.safetensors")
    assert (probe(encoder) - probe(wanted)).abs().max() <= 1e-5
    assert (probe(encoder) - plain).abs().max() > 1e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base in diffusers layout, its UNet alone."""
    path = tmp_path_factory.mktemp("base")
    network("sd1").save_pretrained(path / "unet")  # type: ignore[operator]
    (path / "model_index.json").write_text("{}")
    return path


@pytest.mark.parametrize(
    ("down", "up", "more", "message"),
    [
        ((4, 8, 3, 3), (24, 4, 1, 1), {}, r"attn.qkv has lora_up of shape \[24, 4, 1, 1\]"),
        ((4, 8), (1, 4), {"dora_scale": torch.tensor(1.0)}, r"attn.qkv: a DoRA magnitude of shape \[\]"),
    ],
)
def test_shapes_that_no_layer_has_are_refused_by_name(tmp_path, down, up, more, message):
    stem = "lora_unet_joint_blocks_0_x_block_attn_qkv"
    tensors = {"lora_down.weight": torch.ones(down), "lora_up.weight": torch.ones(up), **more}
    (tmp_path / "x").write_bytes(safetensors_bytes({f"{stem}.{k}": v for k, v in tensors.items()}, {}))
    with pytest.raises(AdapterError, match=message):
        read_layers(tmp_path / "x")


@pytest.mark.parametrize("shapes", [{"to_q": (8, 4), "to_k": (6, 4)}, {"to_q": (8, 4, 1, 1)}])
def test_what_kohya_cannot_join_is_refused_by_name(shapes):
    layers = {
        f"transformer.transformer_blocks.0.attn.{end}": Layer(torch.ones(4, 8, *up[2:]), torch.ones(up), 4.0)
        for end, up in shapes.items()
    }
    with pytest.raises(AdapterError, match="attn.to_.*cannot be written as the one linear"):
        to_tensors(layers, "kohya", "sd3")


def test_verify_counts_measures_and_compares(original, folder, tmp_path):
    first = original("sd1", "dora").file
    for to in ("diffusers", "kohya", "peft"):
        export(first, to, tmp_path / to)
        report = verify(tmp_path / to, folder, against=first)
        assert report["format"] == to and report["matched"] == report["tensors"] > 100
        assert report["missing"] == report["unexpected"] == 0 and report["zero_weight_restores"]
        assert report["largest_change"] > 1e-3 and report["difference"] <= 1e-5
    with pytest.raises(AdapterError, match="not the same adapter"):
        verify(original("sd1", "lora").file, folder, against=first)


def test_verify_fails_for_what_does_not_fit_or_does_nothing(folder, tmp_path):
    name, file = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q", tmp_path / "x.safetensors"
    down, up = torch.randn(2, 16), torch.randn(16, 2)
    cases = {
        "has no effect": {name: Layer(down, up * 1e-12, 2.0)},
        "[23] unexpected": {
            name: Layer(down, up, 2.0),
            name.replace("mid_block", "down_blocks.7"): Layer(down, up, 2.0),
        },
        "1 unexpected": {name: Layer(torch.randn(2, 17), up, 2.0)},
    }
    for message, layers in cases.items():
        for to in ("diffusers", "kohya"):
            write_file(layers, file, None, to=to)
            with pytest.raises(AdapterError, match=message):
                verify(file, folder)
    tensors = to_tensors({name: Layer(down, up, 2.0)}, "diffusers")
    promised = {"lora_adapter_metadata": json.dumps({"unet.target_modules": ["attn1.to_q", "attn1.to_k"]})}
    file.write_bytes(safetensors_bytes(tensors, promised))
    with pytest.raises(AdapterError, match="1 are missing"):
        verify(file, folder)


@pytest.mark.parametrize("kind", ["lora", "dora", "mixed"])
def test_a_fused_base_answers_as_base_and_adapter(original, folder, tmp_path, kind):
    first = original("sd1", kind)
    fuse(first.file, folder, tmp_path / "fused")
    net = UNet2DConditionModel.from_pretrained(tmp_path / "fused" / "unet", use_safetensors=True).eval()
    assert (answer("sd1", pipeline("sd1", net)) - first.wanted).abs().max() <= 1e-5
