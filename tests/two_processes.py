"""`lora3d` as one of several processes, which leaves word of what it encoded in $SHARES/<rank>.

A JSON line for each batch, of two at most: how many grids, and how many seconds the process would wait for others.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from torch import Tensor

import lora3d.cache
from lora3d.base.mini import MiniBase
from lora3d.cli import main


def counted(base: MiniBase, tiles: Tensor) -> Tensor:
    with (Path(os.environ["SHARES"]) / os.environ["RANK"]).open("a") as log:
        waits = torch.distributed.distributed_c10d._get_default_group()._get_backend(torch.device("cpu"))
        log.write(json.dumps([len(tiles), waits.options._timeout.total_seconds()]) + "\n")
    return encode(base, tiles)


if __name__ == "__main__":
    encode, MiniBase.encode = MiniBase.encode, counted
    lora3d.cache.BATCH = 2
    sys.exit(main(sys.argv[1:]))
