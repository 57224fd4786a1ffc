"""What compiles the kernels: numba; where it is not installed, nothing does, and they run as the Python that they are.

The numbers are the same but for the last bit, hundreds of times slower; a warning says so once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    from numba import njit, prange

    Records: type[np.ndarray[Any, Any]] = np.ndarray
except ModuleNotFoundError:
    warnings.warn(
        "numba is not installed: rendering and lifting run as plain Python, hundreds of times slower "
        "(pip install numba)",
        RuntimeWarning,
        stacklevel=2,
    )
    prange = range
    Records = np.recarray  # whose rows have their fields as attributes, as compiled rows do

    def njit(function: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
        """As numba's decorator, with options or without; the function stays as it is."""
        return function if function is not None else lambda later: later


__all__ = ["Records", "njit", "prange"]
