"""Key names of the formats, written here from the tools' documented rules, on the real networks at full size."""

from __future__ import annotations

import pytest
from torch import nn

from lora3d.adapter_formats import to_tensors
from lora3d.adapter_names import from_kohya, from_mmdit, kohya_name, mmdit_name
from tests.interop import toy_adapters

# Of kohya's trainer (networks/lora.py: prefix + "_" + module path), of Stability AI's UNet for SDXL, and of the
# MMDiT for SD 3.
TABLE = [
    ("sd1", "unet.conv_in", "lora_unet_conv_in"),
    ("sd1", "unet.time_embedding.linear_1", "lora_unet_time_embedding_linear_1"),
    ("sd1", "unet.down_blocks.0.resnets.1.conv1", "lora_unet_down_blocks_0_resnets_1_conv1"),
    ("sd1", "unet.down_blocks.0.downsamplers.0.conv", "lora_unet_down_blocks_0_downsamplers_0_conv"),
    (
        "sd1",
        "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0",
    ),
    (
        "sd2",
        "unet.up_blocks.1.attentions.2.transformer_blocks.0.ff.net.0.proj",
        "lora_unet_up_blocks_1_attentions_2_transformer_blocks_0_ff_net_0_proj",
    ),
    (
        "sd1",
        "text_encoder.text_model.encoder.layers.3.self_attn.q_proj",
        "lora_te_text_model_encoder_layers_3_self_attn_q_proj",
    ),
    (
        "sdxl",
        "text_encoder.text_model.encoder.layers.3.mlp.fc1",
        "lora_te1_text_model_encoder_layers_3_mlp_fc1",
    ),
    (
        "sdxl",
        "text_encoder_2.text_model.encoder.layers.31.mlp.fc2",
        "lora_te2_text_model_encoder_layers_31_mlp_fc2",
    ),
    ("sdxl", "unet.conv_in", "lora_unet_input_blocks_0_0"),
    ("sdxl", "unet.conv_out", "lora_unet_out_2"),
    ("sdxl", "unet.time_embedding.linear_2", "lora_unet_time_embed_2"),
    ("sdxl", "unet.add_embedding.linear_1", "lora_unet_label_emb_0_0"),
    ("sdxl", "unet.down_blocks.0.resnets.0.conv1", "lora_unet_input_blocks_1_0_in_layers_2"),
    ("sdxl", "unet.down_blocks.1.resnets.0.conv_shortcut", "lora_unet_input_blocks_4_0_skip_connection"),
    ("sdxl", "unet.down_blocks.0.downsamplers.0.conv", "lora_unet_input_blocks_3_0_op"),
    (
        "sdxl",
        "unet.down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q",
        "lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q",
    ),
    (
        "sdxl",
        "unet.mid_block.attentions.0.transformer_blocks.9.attn2.to_v",
        "lora_unet_middle_block_1_transformer_blocks_9_attn2_to_v",
    ),
    ("sdxl", "unet.mid_block.resnets.1.time_emb_proj", "lora_unet_middle_block_2_emb_layers_1"),
    ("sdxl", "unet.up_blocks.0.attentions.2.proj_in", "lora_unet_output_blocks_2_1_proj_in"),
    ("sdxl", "unet.up_blocks.0.upsamplers.0.conv", "lora_unet_output_blocks_2_2_conv"),
    ("sdxl", "unet.up_blocks.2.resnets.2.conv2", "lora_unet_output_blocks_8_0_out_layers_3"),
    (
        "sd3",
        "transformer.transformer_blocks.5.attn.to_out.0",
        "lora_unet_joint_blocks_5_x_block_attn_proj",
    ),
    (
        "sd3",
        "transformer.transformer_blocks.5.ff_context.net.0.proj",
        "lora_unet_joint_blocks_5_context_block_mlp_fc1",
    ),
    ("sd3", "transformer.norm_out.linear", "lora_unet_final_layer_adaLN_modulation_1"),
    (
        "sd3",
        "text_encoder_2.text_model.encoder.layers.0.mlp.fc1",
        "lora_te2_text_model_encoder_layers_0_mlp_fc1",
    ),
]


@pytest.mark.parametrize(("family", "ours", "theirs"), TABLE)
def test_the_names_of_the_table(family, ours, theirs):
    assert kohya_name(ours, family) == theirs
    assert from_kohya(theirs) == ours


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_every_layer_of_the_real_networks_has_one_name_and_comes_back(family):
    layers = toy_adapters.layers_for(family)
    names = {name: kohya_name(name, family) for name in layers}
    assert len(set(names.values())) == len(names) > 250
    assert {name: from_kohya(theirs) for name, theirs in names.items()} == {n: n for n in names}


def test_every_layer_of_sd3_comes_back():
    for name, module in toy_adapters.network("sd3").named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert from_mmdit(mmdit_name(name)) == name
            assert from_kohya("lora_transformer_" + name.replace(".", "_")) == f"transformer.{name}"


def test_other_spellings_of_the_same_layer():
    wanted = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    both = ("lora_unet_input_blocks_4_1_", "lora_unet_down_blocks_1_attentions_0_")
    assert {from_kohya(p + "transformer_blocks_0_attn1_to_q") for p in both} == {wanted}
    assert from_kohya("lycoris_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q") == wanted


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sd3"])
def test_a_file_for_diffusers_says_lora_in_every_key_and_has_no_alphas(family):
    keys = to_tensors(toy_adapters.layers_for(family, dora=True), "diffusers")
    assert all("lora" in k and not k.endswith("alpha") for k in keys)
    assert {k.partition(".")[0] for k in keys} <= {"unet", "transformer", "text_encoder", "text_encoder_2"}
