"""Recipes on the command line: every key of one is a flag."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lora3d.errors import InputError
from lora3d.recipe import Recipe, read_recipe


def add_recipe_flags(parser: argparse.ArgumentParser, kind: type) -> None:
    """One flag a key, nested tables aside; given flags win over the recipe's file."""
    group = parser.add_argument_group("recipe keys")
    taken = {s for a in parser._actions for s in a.option_strings}
    parsers: dict[Any, Callable[[str], Any]] = {
        "int": int,
        "float": float,
        "str": str,
        "tuple[str, ...]": words,
        "dict[str, int]": _whole_numbers,
    }
    for field in dataclasses.fields(kind):
        flag, dest = "--" + field.name.replace("_", "-"), f"recipe_{field.name}"
        if flag in taken:
            continue
        if field.type == "bool":
            group.add_argument(flag, dest=dest, action=argparse.BooleanOptionalAction)
        elif field.type in parsers:
            metavar = "NAME=NUMBER,…" if field.type == "dict[str, int]" else field.name.upper()
            group.add_argument(flag, dest=dest, type=parsers[field.type], metavar=metavar)
    parser.set_defaults(parser=parser)


def words(text: str) -> tuple[str, ...]:
    """``a,b`` as a recipe's list."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _whole_numbers(text: str) -> dict[str, int]:
    """``conv=4,to_q=8`` as a recipe's table."""
    found: dict[str, int] = {}
    for word in words(text):
        name, _, number = word.partition("=")
        if not name or not re.fullmatch(r"-?\d+", number) or name in found:
            raise argparse.ArgumentTypeError(f"expected NAME=NUMBER, each name once, found {word!r}")
        found[name] = int(number)
    return found


def flags_given(args: argparse.Namespace) -> dict[str, Any]:
    """The recipe's keys that were given as flags."""
    given = {k: v for k, v in vars(args).items() if k.startswith("recipe_") and v is not None}
    return {k.removeprefix("recipe_"): v for k, v in given.items()}


def read_with_flags(args: argparse.Namespace, path: Path, kind: type[Recipe]) -> Recipe:
    """A recipe with the given flags in it.

    Raises InputError as `lora3d.recipe.read_recipe` does for the file; what only a flag made wrong is wrong usage.
    """
    try:
        return read_recipe(path, kind, flags_given(args))
    except InputError as error:
        read_recipe(path, kind)
        parser: argparse.ArgumentParser = args.parser
        parser.error(str(error))
