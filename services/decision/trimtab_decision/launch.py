"""The console script `trimtab-decision`."""

from __future__ import annotations

from trimtab_common.runtime.launching import launch


def main() -> int:
    """Runs until SIGTERM or SIGINT; the exit code."""
    return launch("trimtab_decision.main")
