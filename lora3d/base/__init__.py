"""The base models. One file a family; all offer what `Base` says, and only they know where cells go."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lora3d.errors import InputError
from lora3d.grid import ViewGrid

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from lora3d.base.mini import MiniBase
    from lora3d.base.text import Text

MINI = Path(__file__).parent / "mini_weights"


class Base(Protocol):
    """What the trainer, the generator and the adapters ask of a base.

    Latents are (b, slots, c, h, w): a slot is what the base encodes as one tile; ``latent_shape`` is theirs
    without b, ``moments`` (2, c) their mean and deviation by channel, ``slot_channels`` what each slot shows.
    ``revision`` is the SHA-256 of its weights. ``network`` is what carries adapters, ``component`` its name in
    an adapter's keys (unet or transformer).

    At time t in [0, 1], x_t = α·x_0 + σ·ε with ``levels(t)`` = (α, σ). ``denoise`` answers with what
    ``prediction`` says: sample (x_0), epsilon, v_prediction or flow_prediction; see `lora3d.diffusion.target`.
    """

    @property
    def name(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def grid(self) -> ViewGrid: ...
    @property
    def network(self) -> Any: ...
    @property
    def component(self) -> str: ...
    @property
    def prediction(self) -> str: ...
    @property
    def scheduler(self) -> Any: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def slots(self) -> int: ...
    @property
    def slot_channels(self) -> tuple[str, ...]: ...
    @property
    def moments(self) -> Tensor: ...
    @property
    def latent_shape(self) -> tuple[int, int, int, int]: ...
    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]: ...
    def encode(self, tiles: Tensor) -> Tensor: ...
    def decode(self, latents: Tensor) -> Tensor: ...
    def embed(self, texts: list[str]) -> Text: ...
    def denoise(self, latents: Tensor, t: Tensor, text: Text, known: Tensor) -> Tensor: ...


def hash_weights(folder: Path) -> str:
    """SHA-256 over the names and bytes of every safetensors file below a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.safetensors")):
        digest.update(file.relative_to(folder).as_posix().encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def load_base(name: str | Path = "mini", device: str | torch.device = "cpu") -> MiniBase:
    """The embedded ``mini``, or a base of its family from a local folder in diffusers layout.

    Raises InputError for a folder that is missing or is not such a base. Nothing is ever downloaded.
    """
    folder = MINI if str(name) == "mini" else Path(name)
    needed = ("model_index.json", "grid.json", "latents.json")
    if not all((folder / file).is_file() for file in needed):
        raise InputError(f"no base at {str(name)!r}: expected 'mini' or a folder with {', '.join(needed)}")
    from lora3d.base.mini import load_mini

    return load_mini(folder, name="mini" if folder == MINI else folder.name, device=device)
