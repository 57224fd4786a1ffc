"""What of a Hub's model is fetched, and when: a model of the Hub is a toy's files among those of a real repository."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from transformers import T5EncoderModel

from lora3d.base import find_folder, load_base
from lora3d.errors import InputError
from lora3d.estimate import require_memory
from lora3d.grid import PRESETS
from lora3d.recipe import TrainConfig
from tests.toy_bases import save_toy

GRID = PRESETS["box6"]
NET, FP16 = "diffusion_pytorch_model", "diffusion_pytorch_model.fp16"
# Beside the parts, as the repositories of these models have it.
BESIDE = {
    "sd15": f"""README.md v1-5-pruned.safetensors v1-5-pruned-emaonly.safetensors v1-5-pruned.ckpt v1-inference.yaml
        safety_checker/config.json safety_checker/model.safetensors safety_checker/model.fp16.safetensors
        safety_checker/pytorch_model.bin feature_extractor/preprocessor_config.json
        text_encoder/model.fp16.safetensors text_encoder/pytorch_model.bin unet/{FP16}.safetensors
        unet/{NET}.non_ema.safetensors unet/{NET}.bin vae/{FP16}.safetensors""",
    "sdxl": f"""sd_xl_base_1.0.safetensors sd_xl_offset_example-lora_1.0.safetensors 01.png
        unet/{FP16}.safetensors unet/model.onnx unet/model.onnx_data unet/openvino_model.bin
        text_encoder_2/model.fp16.safetensors text_encoder_2/flax_model.msgpack vae/{FP16}.safetensors
        vae_1_0/config.json vae_1_0/{NET}.safetensors vae_1_0/{FP16}.safetensors vae_decoder/config.json""",
    "sd3": f"""sd3_medium_incl_clips_t5xxlfp16.safetensors text_encoders/clip_g.safetensors
        text_encoders/t5xxl_fp16.safetensors transformer/{FP16}.safetensors
        text_encoder_3/model.fp16-00001-of-00002.safetensors text_encoder_3/model.fp16-00002-of-00002.safetensors
        text_encoder_3/model.safetensors.index.fp16.json""",
    "mini": "README.md unet/onnx/model.safetensors.bak",
}


class Hub:
    """A repository's files; what of them is asked for lies in a folder as huggingface_hub's cache has it."""

    def __init__(self, files: Path, beside: str, cache: Path) -> None:
        self.files, self.beside = files, beside.split()
        self.snapshot = cache / "models--ann--toy" / "snapshots" / "c0ffee"

    def snapshot_download(self, name: str, *, repo_type: str, **patterns: list[str]) -> str:
        assert (name, repo_type) == ("ann/toy", "model")
        own = [p.relative_to(self.files).as_posix() for p in self.files.rglob("*") if p.is_file()]
        for file in filter_repo_objects([*own, *self.beside], **patterns):
            (self.snapshot / file).parent.mkdir(parents=True, exist_ok=True)
            if file in own:
                shutil.copyfile(self.files / file, self.snapshot / file)
            else:
                (self.snapshot / file).write_text("{}")
        return str(self.snapshot)

    def had(self, *ends: str) -> set[str]:
        found = (p.relative_to(self.snapshot).as_posix() for p in self.snapshot.rglob("*") if p.is_file())
        return {file for file in found if file.endswith(ends or "")}

    @property
    def weights(self) -> set[str]:
        """The safetensors of the toy itself: just what a base is loaded from."""
        return {p.relative_to(self.files).as_posix() for p in self.files.rglob("*.safetensors")}


@pytest.fixture(params=list(BESIDE))
def hub(request, tmp_path, monkeypatch) -> Hub:
    mini = request.param == "mini"
    files = request.getfixturevalue("toy_base") if mini else save_toy(request.param, tmp_path / "files")
    if request.param == "sd15":  # the toys have none
        index = json.loads((files / "model_index.json").read_text())
        index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
        (files / "model_index.json").write_text(json.dumps(index))
    if request.param == "sd3":  # as T5 lies on the Hub
        encoder = T5EncoderModel.from_pretrained(files / "text_encoder_3")
        (files / "text_encoder_3" / "model.safetensors").unlink()
        encoder.save_pretrained(files / "text_encoder_3", max_shard_size="20KB")
        assert (files / "text_encoder_3" / "model.safetensors.index.json").is_file()
    hub = Hub(files, BESIDE[request.param], tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_an_estimate_fetches_no_weights_and_a_base_those_of_its_parts_alone(hub):
    config = TrainConfig(base="ann/toy", targets=("attention",), rank=2, batch=1)
    require_memory(config, GRID, torch.device("cpu"), torch.float32)
    assert hub.had() and hub.had() == hub.had(".json", ".txt", ".model")
    base, there = (load_base(name, grid=GRID) for name in ("ann/toy", hub.files))
    assert hub.had(".safetensors", ".bin", ".ckpt", ".onnx", ".msgpack") == hub.weights
    assert base.revision == there.revision
    assert torch.equal(base.embed(["a red box"]).tokens, there.embed(["a red box"]).tokens)


def test_another_kind_of_model_is_refused_before_its_weights_are_fetched(tmp_path, monkeypatch):
    (tmp_path / "files" / "transformer").mkdir(parents=True)
    (tmp_path / "files" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    (tmp_path / "files" / "transformer" / f"{NET}.safetensors").write_text("")
    hub = Hub(tmp_path / "files", "", tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    with pytest.raises(InputError, match="is a 'FluxPipeline'; expected StableDiffusionPipeline"):
        find_folder("ann/toy")
    assert hub.had() == {"model_index.json"}
