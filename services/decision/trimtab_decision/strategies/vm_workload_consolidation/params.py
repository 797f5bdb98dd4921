"""Parameters of vm_workload_consolidation (B-100..B-102): Watcher's, and the usable parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.options import compute_options, metric_times


def _usable(what: str) -> dict[str, Any]:
    return {
        "description": f"Part of a host's {what} capacity that may be used; 1 is all of it.",
        "type": "number",
        "minimum": 0,
        "exclusiveMinimum": True,
        "default": 1.0,
    }


SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        **metric_times(period_s=3600, granularity_s=300),
        "cc_cpu": _usable("cpu"),
        "cc_ram": _usable("memory"),
        "cc_disk": _usable("disk"),
        **compute_options(),
    },
    "additionalProperties": False,
}
