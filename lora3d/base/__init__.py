"""The base models. One file a family; all offer what `Base` says, and only they know where cells go."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lora3d.errors import InputError
from lora3d.grid import ViewGrid
from lora3d.hub import download, is_hub_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lora3d.base.plain import Family
    from lora3d.base.text import Text

MINI = Path(__file__).parent / "mini_weights"
PARTS = ("unet", "transformer", "vae", "text_encoder*", "tokenizer*", "scheduler")


class Base(Protocol):
    """What the trainer, the generator and the adapters ask of a base.

    Latents are (b, slots, c, h, w): a slot is what the base encodes as one tile; ``latent_shape`` is theirs
    without b, ``moments`` (2, c) their mean and deviation by channel, ``slot_channels`` what each slot shows.
    ``revision`` is the SHA-256 of its weights. ``network`` is what carries adapters, ``component`` its name in
    an adapter's keys (unet or transformer); ``text_encoders`` are those of its text encoders that can carry one
    too, by name, and ``text_adapted`` says whether any does. ``steps`` and ``guidance`` are what its sampler takes
    where nobody says, ``samples`` how many answers are drawn and combined then, ``at_once`` how many grids its network
    is asked about together if memory is to last. ``release`` frees the encoders that carry no adapter until they are
    asked for again.

    ``seen`` (b, 2) of `denoise` is where each drawing was seen from, azimuth and elevation in degrees in the grid's
    frame, NaN or None where nobody said; a base that cannot use it need not.

    ``guess`` is what a base makes of drawings (b, c, h, w), seen likewise, before its network is asked, or None where
    it makes nothing: cells (b, cells, t, t, 3) as `decode` gives them, and a solid (b, m, m, m) as a prior of
    `lora3d.lift.prior`.

    ``viewpoint`` is where it takes drawings (b, c, h, w) to be seen from, (b, 2) like ``seen``, or None where it has no
    idea of that.

    At time t in [0, 1], x_t = α·x_0 + σ·ε with ``levels(t)`` = (α, σ). ``denoise`` answers with what
    ``prediction`` says: sample (x_0), epsilon, v_prediction or flow_prediction; see `lora3d.diffusion.target`.
    """

    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def grid(self) -> ViewGrid: ...
    @property
    def network(self) -> Any: ...
    @property
    def component(self) -> str: ...
    @property
    def text_encoders(self) -> dict[str, Any]: ...
    @property
    def text_adapted(self) -> bool: ...
    @property
    def prediction(self) -> str: ...
    @property
    def scheduler(self) -> Any: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def steps(self) -> int: ...
    @property
    def guidance(self) -> float: ...
    @property
    def samples(self) -> int: ...
    @property
    def at_once(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def slot_channels(self) -> tuple[str, ...]: ...
    @property
    def moments(self) -> Tensor: ...
    @property
    def latent_shape(self) -> tuple[int, int, int, int]: ...
    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]: ...
    def release(self) -> None: ...
    def encode(self, tiles: Tensor) -> Tensor: ...
    def decode(self, latents: Tensor) -> Tensor: ...
    def embed(self, texts: list[str]) -> Text: ...
    def guess(self, drawing: Tensor, seen: Tensor) -> tuple[Tensor, Tensor] | None: ...
    def viewpoint(self, drawing: Tensor) -> Tensor | None: ...
    def denoise(
        self, latents: Tensor, t: Tensor, text: Text, known: Tensor, seen: Tensor | None = None
    ) -> Tensor: ...


def hash_weights(folder: Path) -> str:
    """SHA-256 over the names and bytes of every safetensors file below a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.safetensors")):
        digest.update(file.relative_to(folder).as_posix().encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def hash_configs(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that says how a base's weights are used, by its name below the folder.

    A scale, a schedule, a vocabulary or `mini`'s moments change what a base says and leave `hash_weights` as it is.
    A single file's are those that lay beside it, as they were unpacked with it.
    """
    patterns = [f"{part}/*.{end}" for part in PARTS for end in ("json", "txt", "model")]
    names = ("model_index.json", "grid.json", "latents.json", *patterns)
    files = sorted(file for name in names for file in folder.glob(name))
    return {f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def cache_folder() -> Path:
    """Where what can be made anew is kept: $LORA3D_CACHE, or ~/.cache/lora3d."""
    return Path(os.environ.get("LORA3D_CACHE") or Path.home() / ".cache" / "lora3d")


def load_base(
    name: str | Path = "mini",
    device: str | torch.device = "cpu",
    *,
    grid: ViewGrid | None = None,
    dtype: torch.dtype | None = None,
    quantise: str = "none",
) -> Base:
    """The embedded ``mini``, a folder in diffusers layout, a single file, or a model of the Hub (``owner/name``).

    Args:
        grid: for a plain text-to-image base, which has none of its own; a base that has one keeps it.
        dtype: of a plain base's weights, float32 by default; `mini`'s family is always in float32.
        quantise: ``none``, or ``4bit`` for a plain base's linear layers; see `lora3d.base.quantise`.

    Raises InputError for a folder that is missing or no such base, or `mini`'s family to be quantised, and GridError
    for a grid that it cannot hold.
    Only a name of the Hub's kind that is no folder here asks the network for anything.
    """
    folder = find_folder(name)
    own = is_mini(folder)
    if quantise != "none":
        from lora3d.base.quantise import require_quantisable

        require_quantisable(folder, own)
    if own:
        from lora3d.base.mini import load_mini

        return load_mini(folder, name="mini" if folder == MINI else folder.name, device=device)
    family = read_family(folder)
    if grid is None:
        raise InputError(
            f"base {folder.name!r} is a plain text-to-image base without a grid of its own: name an adapter "
            "that was trained on it, or a dataset"
        )
    import torch

    from lora3d.base.plain import load_plain

    return load_plain(folder, family, grid, device, dtype or torch.float32, quantise != "none")


def is_mini(folder: Path) -> bool:
    """Whether a base is of `mini`'s family."""
    return all((folder / name).is_file() for name in ("grid.json", "latents.json"))


def find_folder(name: str | Path, weights: bool = True) -> Path:
    """Where a base lies in diffusers layout.

    A single file is unpacked first (`lora3d.base.single.unpack`); a Hub's model is fetched into huggingface_hub's
    cache, without ``weights`` only what describes it, which is all that an estimate wants.
    """
    folder = MINI if str(name) == "mini" else Path(name)
    if (folder / "model_index.json").is_file():
        return folder
    if folder.is_file() or folder.suffix in (".safetensors", ".ckpt"):
        from lora3d.base.single import unpack

        return unpack(folder.absolute())
    if folder.is_dir() or not is_hub_name(str(name)):
        raise InputError(
            f"no base at {str(name)!r}: expected 'mini', a folder in diffusers layout (with model_index.json), "
            "a .safetensors file, or a model of the Hub as owner/name"
        )
    folder = _fetch(str(name), [])
    if not (folder / "model_index.json").is_file():
        raise InputError(f"{str(name)!r} on the Hub is not in diffusers layout: it has no model_index.json")
    if not weights:
        return folder
    read_family(folder)  # gigabytes of another kind of model would be for nothing
    # A part that the base lacks is [null, null]; beside the parts lie variants, single files, other tools' forms.
    named = [part for part, kind in _read_index(folder).items() if isinstance(kind, list) and any(kind)]
    parts = [*named, "space"] if is_mini(folder) else named
    return _fetch(str(name), [f"{part}/*.safetensors" for part in parts if part != "safety_checker"])


def _fetch(name: str, weights: list[str]) -> Path:
    """A Hub's model in huggingface_hub's cache: what describes it, and ``weights``, as patterns."""
    described = ["*.json", "*.txt", "*.model"]
    return download(name, "base", [*described, *weights], ignore=["*fp16*", "*non_ema*"])


def _read_index(folder: Path) -> dict[str, Any]:
    """A base's model_index.json: its pipeline's name, and the parts with their libraries and classes."""
    try:
        index: dict[str, Any] = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'model_index.json'} cannot be read: {error}") from error
    return index


def read_family(folder: Path) -> Family:
    """Which family a plain base is of, by its pipeline's name. Raises InputError for one not known here."""
    pipeline = _read_index(folder)["_class_name"]
    if pipeline == "StableDiffusionPipeline":
        from lora3d.base.sd import SD

        return SD
    if pipeline == "StableDiffusionXLPipeline":
        from lora3d.base.sdxl import SDXL

        return SDXL
    if pipeline == "StableDiffusion3Pipeline":
        from lora3d.base.sd3 import SD3

        return SD3
    raise InputError(
        f"base {folder.name!r} is a {pipeline!r}; expected StableDiffusionPipeline, StableDiffusionXLPipeline or "
        "StableDiffusion3Pipeline"
    )
