"""Thousands of damaged adapter files: each must be refused in one line or load right; no crash, no hang.

python tests/interop/fuzz_adapters.py --count 5000
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import struct
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from lora3d.adapter_convert import find_card, write_file
from lora3d.adapter_formats import read_layers
from lora3d.adapter_layers import Layer
from lora3d.adapter_license import attribution, terms_of
from lora3d.card import AdapterCard, read_header
from lora3d.errors import InputError

HOSTILE: list[Any] = [
    "",
    "\x00",
    "../../../etc/passwd",
    "{0.__class__}",
    "%s%n",
    "\x1b[2J",
    "<script>alert(1)</script>",
    "\u202e" + "a" * 50,
    "a" * 100_000,
    "__proto__",
    "\ud800",
    "(a+)+$",
    -1,
    1 << 62,
    10**400,
    1e308,
    True,
    None,
    [],
    {},
    [[]],
    {"a": {"b": []}},
]


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: Any, body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def mutate(data: bytes, seed: int) -> bytes:
    """One or a few kinds of damage, drawn from a seed."""
    rng = random.Random(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            data = rng.choice(KINDS)(data, rng)
        except (ValueError, KeyError, IndexError, struct.error, AttributeError, TypeError, RecursionError):
            data = flip(data, rng)  # an earlier damage left no header to change
    return data


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def flip(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data or b"x")
    for _ in range(rng.choice((1, 8, 64))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def huge_header(data: bytes, rng: random.Random) -> bytes:
    return struct.pack("<Q", rng.choice((0, 1, 1 << 24, 1 << 40, (1 << 64) - 1, len(data)))) + data[8:]


def deep_header(data: bytes, rng: random.Random) -> bytes:
    text = rng.choice((b"[" * 100_000, b'{"a":' * 50_000, b'{"a":' + b"9" * 50_000 + b"}", b'{"a":NaN}'))
    return struct.pack("<Q", len(text)) + text + split(data)[1]


def offsets(data: bytes, rng: random.Random) -> bytes:
    header, body = split(data)
    entry = header[rng.choice([k for k in header if k != "__metadata__"])]
    entry["data_offsets"][rng.randrange(2)] += rng.choice((-8, -1, 1, 8, 1 << 40))
    return join(header, body)


def entry(data: bytes, rng: random.Random) -> bytes:
    header, body = split(data)
    found = header[rng.choice([k for k in header if k != "__metadata__"])]
    found[rng.choice(("dtype", "shape", "data_offsets"))] = rng.choice(
        [*HOSTILE, "F16", "I64", "F8_E4M3", "BOOL", [0], [-1, 4], [1 << 60, 1 << 60]]
    )
    return join(header, body)


def numbers(data: bytes, rng: random.Random) -> bytes:
    header, body = split(data)
    changed = bytearray(body)
    bad = struct.pack("<f", rng.choice((float("nan"), float("inf"), float("-inf"))))
    place = 4 * rng.randrange(len(changed) // 4)
    changed[place : place + 4] = bad
    return join(header, bytes(changed))


def zero(data: bytes, rng: random.Random) -> bytes:
    header, body = split(data)
    return join(header, bytes(len(body)))


def rename(data: bytes, rng: random.Random) -> bytes:
    header, body = split(data)
    key = rng.choice([k for k in header if k != "__metadata__"])
    names = [
        "unet.conv_in.lora_C.weight",
        "lora_unet_.lora_up.weight",
        "x.alpha",
        "lora_unet_out_2.lora_up.weight",
    ]
    names += ["lora_unet_input_blocks_a_b.lora_up.weight", "lora_unet_input_blocks_1.lora_down.weight"]
    names += [str(h)[:2000] for h in HOSTILE]
    header[rng.choice(names)] = header.pop(key)
    return join(header, body)


def metadata(data: bytes, rng: random.Random) -> bytes:
    header, body = split(data)
    kind = rng.randrange(3)
    if kind == 0:
        header["__metadata__"] = rng.choice(HOSTILE)
    elif kind == 1:
        header["__metadata__"][rng.choice(sorted(header["__metadata__"]))] = rng.choice(HOSTILE)
    else:
        name = rng.choice(("lora3d", "lora_adapter_metadata"))
        inner = json.loads(header["__metadata__"][name])
        inner[rng.choice(sorted(inner))] = rng.choice(HOSTILE)
        header["__metadata__"][name] = json.dumps(inner)
    return join(header, body)


KINDS = (truncate, flip, huge_header, deep_header, offsets, entry, numbers, zero, rename, metadata)


def judge(path: Path) -> str:
    """``loaded`` (finite, whole, all that is said of it can be said), ``refused``, or what went wrong."""
    try:
        header = read_header(path)
        card = find_card(path)
        layers = read_layers(path)
        if card is not None:
            terms_of(card).to_dict()
            attribution(card, path.stem)
    except InputError as error:
        text = str(error)
        good = "\n" not in text and text.isprintable() and len(text) < 1000
        return "refused" if good else f"a message of {len(text)} characters"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    for layer in layers.values():
        if not torch.isfinite(layer.delta()).all():
            # Finite factors whose product overflows: the effect is measured by verify, not here.
            return "loaded"
    return "loaded" if len(header) > 1 else "loaded from nothing"


def example(path: Path) -> None:
    """A small adapter with a card, in diffusers' layout."""
    g = torch.Generator().manual_seed(0)
    layers = {
        f"unet.mid_block.resnets.{i}.conv1": Layer(
            torch.randn(2, 4, 3, 3, generator=g), torch.randn(5, 2, 1, 1, generator=g), 2.0
        )
        for i in (0, 1)
    }
    card = AdapterCard(
        base="mini",
        base_revision="a" * 64,
        grid={"name": "box6"},
        trigger="inkfold",
        rank=2,
        alpha=2.0,
        targets=["conv"],
        dataset="d" * 64,
        assets=1,
        drawings=1,
        licenses=["CC0-1.0"],
        artists=["Ada"],
        sources=[],
        recipe={},
        metrics={},
    )
    write_file(layers, path, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        good, bad = Path(folder) / "a.safetensors", Path(folder) / "x.safetensors"
        example(good)
        data = good.read_bytes()
        for seed in range(args.seed, args.seed + args.count):
            bad.write_bytes(mutate(data, seed))
            start = time.process_time()
            verdict = judge(bad)
            slowest = max(slowest, time.process_time() - start)
            found[verdict] += 1
            if verdict not in ("loaded", "refused"):
                print(f"seed {seed}: {verdict}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{dict(found)}; slowest {slowest * 1000:.0f} ms of CPU; memory at most {memory:.0f} MiB")


if __name__ == "__main__":
    main()
