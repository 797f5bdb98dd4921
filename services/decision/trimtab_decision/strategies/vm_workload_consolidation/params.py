"""Parameters of vm_workload_consolidation (B-100..B-102): Watcher's, and the usable parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


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
        "period": {
            "description": "The time interval in seconds for getting statistic aggregation",
            "type": "number",
            "default": 3600,
        },
        "granularity": {
            "description": "The time between two measures in an aggregated timeseries of a metric.",
            "type": "number",
            "default": 300,
        },
        "cc_cpu": _usable("cpu"),
        "cc_ram": _usable("memory"),
        "cc_disk": _usable("disk"),
        "check_optimize_metadata": {
            "description": "Move only servers whose metadata `optimize` is true.",
            "type": "boolean",
            "default": False,
        },
    },
    "additionalProperties": False,
}
