"""Starts a service's process with as little work as can be: what a restart costs is mostly imports.

Each console script enters here by the service's `launch.py`, before anything heavy is imported.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator
from typing import cast

from trimtab_common.runtime import memory

NOT_NEEDED = ("rich", "httpx._main")
"""structlog takes rich for coloured tracebacks (0.15 s, 8 MB a process), httpx its command line with rich, click and
pygments (0.1 s, 8 MB). Both ask for what happens to be installed, and do without."""


def launch(module: str) -> int:
    """Imports the service's main module and runs it; its exit code.

    Nothing that an import makes is garbage, so the collector rests until the service runs
    (`service.run` wakes it); walking through half-imported modules costs a tenth of the start.
    """
    gc.disable()
    memory.limit_arenas()
    with absent(*NOT_NEEDED):
        main = importlib.import_module(module).main
    return cast("int", main())


@contextlib.contextmanager
def absent(*modules: str) -> Iterator[None]:
    """These cannot be imported meanwhile; whoever can do without them does."""
    hidden = [name for name in modules if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # makes `import` fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
