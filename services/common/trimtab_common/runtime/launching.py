"""Starts a service's process with as little work as can be: what a restart costs is mostly imports.

Each console script enters here by the service's `launch.py`, before anything heavy is imported.
"""

from __future__ import annotations

import gc
import importlib
import sys
from typing import cast


def launch(module: str) -> int:
    """Imports the service's main module and runs it; its exit code.

    Nothing that an import makes is garbage, so the collector rests until the service runs
    (`service.run` wakes it); walking through half-imported modules costs a tenth of the start.
    """
    gc.disable()
    _import_structlog_plainly()
    return cast("int", importlib.import_module(module).main())


def _import_structlog_plainly() -> None:
    """Without rich, which structlog imports for coloured tracebacks: 0.15 s and 8 MB a process."""
    if "rich" in sys.modules or "structlog" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # makes `import rich` fail
    try:
        importlib.import_module("structlog")
    finally:
        del sys.modules["rich"]
