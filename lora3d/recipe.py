"""Recipes: TOML files that are data, not code. Reading one imports nothing heavy."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from lora3d.errors import InputError
from lora3d.formats import STYLES

Recipe = TypeVar("Recipe")
MAX_SEED = 10**12  # with a step's number beside it, it is still one of torch's 64 bits


@dataclass(frozen=True)
class TrainConfig:
    """How an adapter is trained.

    Attributes:
        base: ``mini``, a folder, a single file, or a model of the Hub; see `lora3d.base.load_base`.
        grid_adapter: an adapter's file that stays as it is while this one learns on top of it: one that teaches a
            plain base the grid, say. `generate` wants both then. Empty for none.
        rank, alpha: of the low-rank update ΔW = (alpha/rank)·B·A (Hu et al. 2021).
        targets: which layers carry it, by role: attention, conv, feedforward; or ends of module names.
        ranks: other ranks by role or name, as in ``ranks = {conv = 4}``; the scale stays one.
        dropout, rslora, dora: see `lora3d.adapter.attach`.
        trigger: a word put before every caption; empty for none.
        steps, batch: examples seen = steps · batch.
        learning_rate, warmup, decay_share: linear warm-up, constant, then linear to zero over the last share.
        text_rate: of an adapter on the CLIP text encoders' attention, in learning_rates; 0 for none. Sentences are
            then embedded in every step.
        plus: how many times faster B learns than A (LoRA+, Hayou et al. 2024).
        optimiser: adamw, or adamw8bit, whose moments take a quarter of the room (extra ``8bit``).
        weight_decay, clip: AdamW's decay, and the largest gradient norm.
        weighting, gamma: of the loss by time, none, min_snr or debiased; see `lora3d.diffusion.loss_weight`.
        prior: weight of the distance from the base's own answers to the same grids under captions without the
            trigger (after Ruiz et al. 2023, eq. 2), so that the style stays with its word; 0 for none.
        noise_offset: of a constant for each tile's channel, added to its noise (Guttenberg 2023).
        caption_dropout, reference_dropout, viewpoint_dropout: examples that go without their sentence, without their
            drawing, without word of where that was seen from.
        reference_weight, empty_weight: in the loss, the drawing's tile where it is not given, and a cell that
            shows nothing. What is given counts nothing.
        variants: of each model, stretched, turned and drawn anew; half of what is seen. 0 for none.
        variant_styles: of `lora3d.data_prep.drawings` that variants are drawn in, equally often; one named twice
            twice as often. Empty for mostly renderings, some shaded, soft, flat and toon.
        time_mean, time_deviation: of the logit-normal times.
        ema: decay of the averaged adapter, which is what is saved; 0 for none.
        blend: share of the way from the base to what was learnt, at which the adapter is looked at and saved (WiSE-FT,
            Wortsman et al. 2022).
        seed: of everything drawn at random.
        device: auto, cpu, cuda or mps.
        precision: auto (measured at the start), fp32 or bf16.
        quantise: none, or 4bit for a plain base's frozen linear layers (extra ``8bit``); see `lora3d.base.quantise`.
        checkpointing: computes activations again in the backward pass: less memory, more time.
        micro_batch: examples at once, to save memory; 0 for the whole batch. The gradient is the batch's.
        compile: a step of the network by torch.compile: faster after a minute or more of compiling, which pays in
            long runs (docs/training.md). Wants a C++ compiler.
        validation_share: of the training side's models, by subject, kept aside: their loss says which step's
            adapter is kept. 0 for none; the held-out test side never decides anything.
        validate_every: steps from one look at that loss to the next.
        patience: looks without a better one before the run ends; 0 to take all steps and keep the best.
        stop_on: what a look goes by: loss, or a score of sample grids for the models kept aside: psnr or
            silhouette_iou (content), palette_distance (style); see `lora3d.samples.score_samples`.
        held_out_every, sample_every, checkpoint_every: in steps; 0 for never.
        keep: checkpoints kept.
        tracker: none, wandb or tensorboard, beside the train.log.jsonl that is always written.
    """

    base: str = "mini"
    grid_adapter: str = ""
    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ("attention", "conv", "feedforward")
    ranks: dict[str, int] = field(default_factory=dict)
    dropout: float = 0.0
    rslora: bool = False
    dora: bool = False
    trigger: str = ""
    steps: int = 400
    batch: int = 8
    learning_rate: float = 1e-3
    warmup: int = 20
    decay_share: float = 0.3
    plus: float = 1.0
    text_rate: float = 0.0
    prior: float = 0.0
    optimiser: str = "adamw"
    weight_decay: float = 0.0
    clip: float = 1.0
    weighting: str = "none"
    gamma: float = 5.0
    noise_offset: float = 0.0
    caption_dropout: float = 0.3
    reference_dropout: float = 0.1
    viewpoint_dropout: float = 0.3
    reference_weight: float = 0.25
    empty_weight: float = 0.1
    variants: int = 12
    variant_styles: tuple[str, ...] = ()
    time_mean: float = 2.5
    time_deviation: float = 1.5
    ema: float = 0.98
    blend: float = 1.0
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    quantise: str = "none"
    checkpointing: bool = False
    micro_batch: int = 0
    compile: bool = False
    validation_share: float = 0.15
    validate_every: int = 25
    patience: int = 4
    stop_on: str = "loss"
    held_out_every: int = 100
    sample_every: int = 200
    checkpoint_every: int = 100
    keep: int = 2
    tracker: str = "none"

    def __post_init__(self) -> None:
        for name in ("rank", "steps", "batch", "keep", "validate_every"):
            if getattr(self, name) < 1:
                raise InputError(f"recipe: {name} must be at least 1, found {getattr(self, name)}")
        for role, rank in self.ranks.items():
            if rank < 1:
                raise InputError(f"recipe: ranks.{role} must be at least 1, found {rank}")
        whole = ("variants", "micro_batch", "patience")
        for name in (*whole, "text_rate", "prior", "learning_rate", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise InputError(f"recipe: {name} must be at least 0, found {getattr(self, name)}")
        for name in (
            "caption_dropout",
            "reference_dropout",
            "viewpoint_dropout",
            "decay_share",
            "ema",
            "blend",
            "validation_share",
            "dropout",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"recipe: {name} must lie in 0 … 1, found {getattr(self, name)}")
        if not self.blend or (self.dora and self.blend != 1):
            raise InputError(
                f"recipe: blend must be above 0, and 1 with dora, whose updates do not blend; found {self.blend}"
            )
        if not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"recipe: seed must lie in 0 … {MAX_SEED}, found {self.seed}")
        if self.prior and not self.trigger:
            raise InputError("recipe: prior keeps the base where the trigger is not said; name a trigger too")
        for style in self.variant_styles:
            if style not in STYLES:
                near = difflib.get_close_matches(style, STYLES, n=1, cutoff=0.0)[0]
                raise InputError(
                    f"recipe: variant_styles has {style!r}; expected some of {', '.join(STYLES)}; "
                    f"the nearest is {near!r}"
                )
        for name, words in (
            ("device", ("auto", "cpu", "cuda", "mps")),
            ("precision", ("auto", "fp32", "bf16")),
            ("quantise", ("none", "4bit")),
            ("tracker", ("none", "wandb", "tensorboard")),
            ("optimiser", ("adamw", "adamw8bit")),
            ("weighting", ("none", "min_snr", "debiased")),
            ("stop_on", ("loss", "psnr", "silhouette_iou", "palette_distance")),
        ):
            if getattr(self, name) not in words:
                raise InputError(
                    f"recipe: {name} is {getattr(self, name)!r}; expected one of {', '.join(words)}"
                )


@dataclass(frozen=True)
class MiniSize:
    """The sizes of one member of `mini`'s family; the default is `mini` itself.

    Attributes:
        channels: of the UNet's levels; each level halves the canvas.
        heads: attention heads a level.
        text_width, text_layers, tokens: of the CLIP text encoder; tokens a sentence.
        vocabulary: of the tokenizer, at most.
    """

    channels: tuple[int, ...] = (128, 224)
    heads: tuple[int, ...] = (4, 7)
    text_width: int = 128
    text_layers: int = 2
    tokens: int = 32
    vocabulary: int = 1500


@dataclass(frozen=True)
class PretrainConfig:
    """How a base of `mini`'s family is trained from scratch.

    Attributes:
        tile: pixels; `mini` has 64.
        size: see `MiniSize`.
        steps, batch: examples seen = steps · batch.
        fresh_share: newly rendered examples for each example seen; the others come again from the pool
            with another drawing, side and noise.
        pool: examples kept for that.
        assembly_share: of random assemblies; the rest are named families.
        drawings: rendered for each shape.
        game_share: of the drawings, those seen as games' art is, see `data_prep.drawings.game_camera`.
        workers: processes that render.
        learning_rate, muon_rate: of AdamW (embeddings, ends, gains) and of Muon (all else).
        warmup, decay_share: linear warm-up over ``warmup`` steps, then constant, then linear to zero over
            the last ``decay_share`` of the steps.
        time_mean, time_deviation: of the logit-normal times.
        middle_share: of examples whose time is logit-normal (0, 1) instead, for the sampler's later steps.
        reference_share, text_share, extra_share: examples whose drawing is given; whose sentence is given
            beside a drawing (without one it is given nine times in ten); that give other cells as well.
        reference_weight: of the drawing's tile in the loss where it is not given.
        ema: decay of the averaged weights.
        sampler_shift: of the scheduler that is saved with the weights.
        stated_share: examples whose viewpoint is said, where their drawing is given.
        space_steps: of the network that guesses what a drawing shows in space, trained first; 0 leaves it as it is.
        codec_shapes, codec_steps: shapes whose views fit the codec, and training steps of its decoder.
    """

    tile: int = 64
    size: MiniSize = MiniSize()
    steps: int = 4000
    batch: int = 16
    fresh_share: float = 0.5
    pool: int = 8192
    assembly_share: float = 0.6
    drawings: int = 4
    game_share: float = 0.0
    workers: int = 1
    learning_rate: float = 6e-4
    muon_rate: float = 2e-3
    warmup: int = 100
    decay_share: float = 0.3
    time_mean: float = 2.5
    time_deviation: float = 1.5
    middle_share: float = 0.3
    reference_share: float = 0.85
    text_share: float = 0.4
    extra_share: float = 0.1
    stated_share: float = 0.6
    reference_weight: float = 0.25
    ema: float = 0.999
    sampler_shift: float = 12.0
    codec_shapes: int = 1500
    codec_steps: int = 1600
    space_steps: int = 2200
    seed: int = 0


def read_recipe(path: Path, kind: type[Recipe], overrides: dict[str, Any] | None = None) -> Recipe:
    """Reads a TOML recipe into its dataclass; ``overrides`` (from the command line) win over the file.

    A file that is not there is looked up by its name among the recipes that come with the package.
    Raises InputError for a missing file, bad TOML, an unknown key (with the nearest name) or a wrong type.
    """
    packaged = Path(str(files("lora3d.recipes"))) / path.name
    if not path.exists() and packaged.is_file():
        path = packaged
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such recipe") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a TOML recipe: {error}") from error
    return from_fields(kind, {**fields, **(overrides or {})}, str(path))


def from_fields(kind: type[Recipe], fields: dict[str, Any], where: str) -> Recipe:
    """A recipe from plain values, each checked against the dataclass's annotation."""
    hints = typing.get_type_hints(kind)
    known = {f.name: hints[f.name] for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values = {}
    for key, value in fields.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise InputError(f"{where}: unknown key {key!r}; the nearest is {near[0]!r}")
        values[key] = _checked(value, known[key], key, where)
    return kind(**values)


def _checked(value: Any, hint: Any, key: str, where: str) -> Any:
    """The value as its annotation wants it; int passes for float, a TOML array for a tuple."""
    if dataclasses.is_dataclass(hint):
        if isinstance(value, dict):
            return from_fields(typing.cast(type, hint), value, f"{where} [{key}]")
    elif typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if isinstance(value, list | tuple):
            return tuple(_checked(v, item, key, where) for v in value)
    elif typing.get_origin(hint) is dict:
        item = typing.get_args(hint)[1]
        if isinstance(value, dict):
            return {str(k): _checked(v, item, f"{key}.{k}", where) for k, v in value.items()}
    elif isinstance(hint, types.UnionType):
        return value
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    name = getattr(hint, "__name__", str(hint))
    raise InputError(f"{where}: {key} must be of type {name}, found {value!r}")


def to_fields(recipe: Any) -> dict[str, Any]:
    """Plain JSON types; the inverse of `from_fields`."""
    fields = dataclasses.asdict(recipe)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}
