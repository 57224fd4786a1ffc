"""Where the files of a source lie: in a folder here, in Parquet, on the Hub, or nowhere yet."""

from __future__ import annotations

from pathlib import Path

from lora3d.data_prep.from_parquet import shards_of, unpack
from lora3d.data_prep.hub import fetch_dataset
from lora3d.hub import is_hub_name


def place_of(src: Path, work: Path) -> Path:
    """The folder, or the manifest, that `find_assets` reads of a source; what must be made or fetched lies in ``work``.

    Raises InputError where it cannot be had; what is nothing at all is left to `find_assets`.
    """
    name = src.as_posix()
    if not (src.exists() or src.is_symlink()):
        if name.startswith("procedural:"):
            from lora3d.data_prep.made import seeds_of, write_shapes

            return write_shapes(seeds_of(name), work)
        if is_hub_name(name):
            src = fetch_dataset(name, work)
    shards = shards_of(src)
    return unpack(shards, work) if shards else src
