"""What a start leaves out, and what it gives back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trimtab_common.runtime import memory

PROBE = """
import importlib, sys
from trimtab_common.runtime import launching
with launching.absent(*launching.NOT_NEEDED):
    importlib.import_module("trimtab_applier.main")
print(*sorted({name.partition(".")[0] for name in sys.modules}))
import rich  # it is there again
"""


def test_a_service_does_not_bring_the_command_lines_of_its_libraries():
    done = subprocess.run(
        [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True
    )
    found = set(done.stdout.split())
    assert {"httpx", "structlog"} <= found
    assert not found & {"rich", "pygments", "click"}
    assert "numpy" not in found  # applier holds no model


def test_freed_memory_goes_back_to_the_machine():
    def resident_mib() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    kept = [bytearray(3_000) for _ in range(20_000)]  # each too small to be mapped by itself
    last = bytearray(3_000)  # stands behind them, so that the heap does not shrink by itself
    full = resident_mib()
    kept.clear()
    memory.give_back()
    assert resident_mib() < full - 30
    assert len(last) == 3_000
