"""A folder as the Hugging Face Hub expects it: both weight files, a model card, credits, pictures."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from lora3d.adapter_convert import find_card, write_file
from lora3d.adapter_formats import guess_family, read_layers
from lora3d.adapter_header import open_picture, sample_pictures
from lora3d.adapter_license import attribution, base_license, terms_of
from lora3d.card import AdapterCard, AdapterError, prompt_hint, safe_name, shown
from lora3d.errors import InputError, first_line
from lora3d.palette import from_entries

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"  # what `load_lora_weights(repository)` looks for
WIDGET = "held-out drawings: what the adapter makes, beside the truth"  # what a run's samples show
# Licences that the Hub has an identifier for; all else is "other", named in full.
HUB_LICENSES = (
    "cc0-1.0 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-4.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 "
    "cc-by-nc-nd-4.0 mit apache-2.0 bsd-2-clause bsd-3-clause isc zlib unlicense mpl-2.0 wtfpl gpl-3.0 "
    "creativeml-openrail-m"
)


def publish(
    file: Path,
    to: str,
    *,
    title: str | None = None,
    pictures: list[Path] | None = None,
    private: bool = False,
) -> dict[str, Any]:
    """Writes the folder, or pushes it to ``hub:USER/NAME``; nothing leaves this machine otherwise.

    Raises AdapterError for an adapter without a card, and InputError for a folder that holds something, a bad
    repository name, and a push without a token.
    """
    if not to.startswith("hub:"):
        return write_folder(file, Path(to), title=title, pictures=pictures)
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import HfHubHTTPError, HFValidationError, validate_repo_id

    repository = to.removeprefix("hub:")
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"{shown(to)}: expected hub:USER/NAME; {shown(first_line(error), 200)}") from error
    if repository.count("/") != 1:
        raise InputError(f"{shown(to)}: expected hub:USER/NAME")
    if get_token() is None:
        raise InputError("no token for the Hub: log in with `hf auth login`, or publish to a folder first")
    with tempfile.TemporaryDirectory() as temporary:
        report = write_folder(file, Path(temporary) / "adapter", title=title, pictures=pictures)
        try:
            api = HfApi()
            api.create_repo(repository, private=private, exist_ok=True)
            pushed = api.upload_folder(repo_id=repository, folder_path=report["folder"])
        except (HfHubHTTPError, OSError) as error:
            raise InputError(f"the Hub did not take it: {shown(first_line(error), 200)}") from error
    return {**report, "folder": None, "url": str(pushed)}


def write_folder(
    file: Path, out: Path, *, title: str | None = None, pictures: list[Path] | None = None
) -> dict[str, Any]:
    """The folder, complete and the same whenever it is written from the same file."""
    if out.exists() and any(out.iterdir()):
        raise InputError(
            f"{shown(out)} holds something already; name an empty folder or one that is not there"
        )
    card = find_card(file)
    if card is None:
        raise AdapterError(f"{shown(file)} carries no lora3d card: there is nothing true to say about it")
    layers = read_layers(file)
    name = safe_name(title or (file.parent.name if file.stem == "adapter" else file.stem))
    chosen = sample_pictures(file) if pictures is None else pictures
    out.mkdir(parents=True, exist_ok=True)
    shown_pictures = []
    for i, picture in enumerate(chosen[:4]):
        (out / "images").mkdir(exist_ok=True)
        open_picture(picture, side=1024).save(out / "images" / f"sample_{i}.png")
        shown_pictures.append(f"images/sample_{i}.png")
    thumbnail = out / shown_pictures[0] if shown_pictures else None
    kohya = f"{name}_kohya.safetensors"
    write_file(layers, out / DIFFUSERS_FILE, card, title=name, picture=thumbnail)
    write_file(layers, out / kohya, card, to="kohya", title=name, picture=thumbnail)
    (out / "ATTRIBUTION.md").write_text(attribution(card, name) + "\n", encoding="utf-8")
    text = readme(card, name, kohya, shown_pictures, guess_family(layers))
    (out / "README.md").write_text(text, encoding="utf-8")
    if terms_of(card).license.lower() not in HUB_LICENSES.split():
        terms = f"{terms_of(card).license}\n\n{terms_of(card).summary()}\n\nSee ATTRIBUTION.md.\n"
        (out / "LICENSE.md").write_text(terms, encoding="utf-8")
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
    return {"folder": str(out), "files": files, "license": terms_of(card).license}


def front_matter(card: AdapterCard, pictures: list[str]) -> dict[str, Any]:
    """What the Hub reads of a README: https://huggingface.co/docs/hub/model-cards."""
    license = terms_of(card).license
    known = license.lower() in HUB_LICENSES.split()
    fields: dict[str, Any] = {
        "base_model": shown(card.base),
        "base_model_relation": "adapter",
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "license": license.lower() if known else "other",
        "tags": ["lora", "diffusers", "lora3d", "image-to-3d", "template:sd-lora"],
    }
    if not known:
        fields |= {"license_name": shown(license, 200), "license_link": "LICENSE.md"}
    if card.trigger:
        fields["instance_prompt"] = shown(card.trigger)
    if pictures:
        fields["widget"] = [{"text": WIDGET, "output": {"url": url}} for url in pictures]
    return fields


def readme(card: AdapterCard, name: str, kohya: str, pictures: list[str], family: str) -> str:
    """The model card in Markdown under its front matter. JSON is YAML, and quotes whatever is foreign."""
    head = "\n".join(
        f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in front_matter(card, pictures).items()
    )
    terms = terms_of(card)
    prompt = f"{card.trigger} a red chair".strip()
    scores = card.metrics.get("scores")
    lines = [
        "---",
        head,
        "---",
        "",
        f"# {name}",
        "",
        f"A LoRA for `{_code(card.base)}`: {_code(prompt_hint(card))}.",
        "",
        *(f"![sample]({url})" for url in pictures),
        "",
        f"**Licence: {_code(terms.license)}.** {_code(terms.summary())}. Credits: [ATTRIBUTION.md](ATTRIBUTION.md).",
        "",
        "## Use",
        "",
        "```",
        f"lora3d generate --adapter {DIFFUSERS_FILE} --prompt '{_code(prompt)}' --out out",
        "```",
        "",
        f"diffusers: `pipeline.load_lora_weights(<this repository>)` takes `{DIFFUSERS_FILE}`;",
        "ComfyUI and A1111 (for a base that they load) take",
        f"`{kohya}`, names of {family}.",
        "",
        "## What it is",
        "",
        "| | |",
        "| --- | --- |",
    ]
    facts = {
        "base": f"{card.base} ({base_license(card)}), weights {card.base_revision[:12]}",
        "grid": f"{card.grid.get('name', '?')}, tiles of {card.grid.get('tile', '?')} px",
        "rank, alpha": f"{card.rank}, {card.alpha:g}; {', '.join(card.targets)}",
        "trained on": f"{card.assets} models, {card.drawings} drawings, dataset {card.dataset[:16] or 'not stated'}",
        "artists": ", ".join(card.artists) or "not stated",
        "licences of these": ", ".join(card.licenses) or "not stated",
        "training": _flat(card.metrics),
        "made with": _flat(card.versions),
    }
    if card.viewpoints:
        facts["drawn from"] = "; ".join(map(_flat, card.viewpoints))
    if card.palette:
        colours, _ = from_entries(card.palette)
        facts["painted with"] = ", ".join(
            "#{:02x}{:02x}{:02x}".format(*(255 * c).round().astype(int)) for c in colours
        )
    if card.parents:
        facts["made from"] = ", ".join(str(p.get("file", "?")) for p in card.parents)
    lines += [f"| {key} | {_code(value)} |" for key, value in facts.items() if value]
    if isinstance(scores, dict):
        lines += ["", "## Held-out scores", "", *_score_table(scores)]
    return "\n".join(lines) + "\n"


def _score_table(scores: dict[str, Any]) -> list[str]:
    """`eval`'s means: one row a system, one column a metric."""
    rows = {k: v for k, v in scores.items() if isinstance(v, dict)}
    metrics = sorted({m for v in rows.values() for m in v})
    lines = [f"| | {' | '.join(map(_code, metrics))} |", "|" + " --- |" * (len(metrics) + 1)]
    for system, values in rows.items():
        cells = [f"{values[m]:.3g}" if isinstance(values.get(m), int | float) else "–" for m in metrics]
        lines.append(f"| {_code(system)} | {' | '.join(cells)} |")
    return lines


def _flat(values: dict[str, Any]) -> str:
    plain = {k: v for k, v in values.items() if isinstance(v, str | int | float)}
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in plain.items())


def _code(value: Any) -> str:
    """Foreign text in a page of Markdown: one line, no markup of its own."""
    text = shown(value, 400)
    return "".join({"<": "&lt;", ">": "&gt;", "|": "/", "`": "'", "[": "(", "]": ")"}.get(c, c) for c in text)
