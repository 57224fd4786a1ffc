"""What is the object in a picture with a busy background: a matting model, by the maintained package rembg.

Plain backgrounds need no model (`lora3d.drawing.remove_paper`). rembg comes with ``pip install
'lora3d[matting]'`` and fetches a model once, into its own cache.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from lora3d.camera import Array
from lora3d.errors import InputError, first_line


def cut_out(rgba: Array, model: str) -> Array:
    """The picture (h, w, 4) float32 in [0, 1] with the model's coverage as its alpha.

    model: a name that rembg knows, such as ``isnet-general-use``.
    Raises InputError without rembg, and for a model that it does not know, cannot fetch or cannot read.
    """
    session = _session(model)
    import rembg

    picture = Image.fromarray((rgba[..., :3] * 255 + 0.5).astype(np.uint8))
    mask = rembg.remove(picture, session=session, only_mask=True)
    cut = rgba.copy()
    cut[..., 3] = np.asarray(mask.convert("L"), np.float32) / 255
    return cut


@cache
def _session(model: str) -> Any:
    try:
        import rembg
    except ImportError as error:
        raise InputError(
            "--matting needs the package rembg: pip install 'lora3d[matting]'; plain backgrounds need no matting"
        ) from error
    from rembg.sessions import sessions_names

    # What runs here: not the sessions that send pictures away, nor those that want further files.
    local = sorted(name for name in sessions_names if not name.endswith(("_custom", "cloud")))
    if model not in local:
        raise InputError(f"no matting model {model!r}: expected one of {', '.join(local)}")
    try:
        return rembg.new_session(model)
    except Exception as error:  # onnxruntime and the downloader have no common base
        raise InputError(
            f"the matting model {model!r} could not be fetched or read: {first_line(error)}"
        ) from error
