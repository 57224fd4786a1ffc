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
    from numba.core import cgutils, types
    from numba.extending import intrinsic

    Records: type[np.ndarray[Any, Any]] = np.ndarray

    def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        if isinstance(kind, types.BaseTuple):  # type: ignore[attr-defined]
            parts = zip(kind, cgutils.unpack_tuple(builder, value), strict=True)
            return context.make_tuple(builder, kind, [_without_owner(context, builder, *p) for p in parts])
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder, value)
            array.meminfo = cgutils.get_null_value(array.meminfo.type)
            return array._getvalue()
        return value

    @intrinsic  # type: ignore[untyped-decorator]
    def borrowed(_: Any, arrays: Any) -> Any:
        """A kernel's array, or tuples of arrays and numbers, as they are, but that no references to them are counted.

        To count one is atomic, and numba does so each time that an array of a tuple, or a part of an array, is
        passed on: in loops over pixels that took longer than all else. Whoever called the kernel holds the arrays.
        """

        def code(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return _without_owner(context, builder, signature.args[0], values[0])

        return arrays(arrays), code
except ModuleNotFoundError:
    warnings.warn(
        "numba is not installed: rendering and lifting run as plain Python, hundreds of times slower "
        "(pip install numba)",
        RuntimeWarning,
        stacklevel=2,
    )
    prange = range
    Records = np.recarray  # whose rows have their fields as attributes, as compiled rows do

    def borrowed(arrays: Any) -> Any:
        """The arrays themselves."""
        return arrays

    def njit(function: Callable[..., Any] | None = None, **options: Any) -> Callable[..., Any]:
        """As numba's decorator, with options or without; the function stays as it is."""
        return function if function is not None else lambda later: later


__all__ = ["Records", "borrowed", "njit", "prange"]
