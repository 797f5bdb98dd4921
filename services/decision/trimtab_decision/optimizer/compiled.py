"""One way to compile a search kernel: typed, cached on disk, and without the interpreter's lock.

Only kernels that visit single moves are compiled (docs/adr/0021); all else in the core is numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(function: Kernel) -> Kernel:
    """The function as machine code, compiled at its first call and kept beside the source.

    Sums may be reordered (`fastmath`), so kernels add whole numbers below 2**53, which floats hold
    exactly in any order; NaN never enters a kernel. A kernel allocates nothing, so arrays are not
    counted (`_nrt`): with named tuples of arrays that counting took five sixths of the time, or
    none, after the least change of a function's shape.
    """
    options: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": True, "_nrt": False}
    return cast("Kernel", numba.njit(**options)(function))
