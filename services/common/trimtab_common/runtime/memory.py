"""Gives memory that was freed back to the machine, which glibc by itself rarely does.

On the main path: `launching` limits the arenas before there are threads; `service` and the planning workers
give back what their imports, builds and answers have left. Elsewhere than on glibc nothing happens.
"""

from __future__ import annotations

import ctypes
from functools import cache

MAX_ARENAS = 2
"""glibc opens eight for each core, and each keeps what its threads once needed; the interpreter lets one thread at a
time allocate anyway."""
_M_ARENA_MAX = -8


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None


def limit_arenas() -> None:
    """To be called before the first thread."""
    library = _glibc()
    if library is not None:
        library.mallopt(_M_ARENA_MAX, MAX_ARENAS)


def give_back() -> None:
    """Takes a millisecond or two; other threads run meanwhile."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
