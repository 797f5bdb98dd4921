"""Parameters of workload_balance (§6.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.options import compute_options, metric_times

_OPTIONS = compute_options()
_OPTIONS["max_migrations"] |= {
    "description": "The most servers that the plan may move; more than 1 goes on until no host is "
    "above the threshold.",
    "default": 1,
}

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "metrics": {
            "description": "Workload balance based on the metric.",
            "type": "string",
            "enum": ["instance_cpu_usage", "instance_ram_usage"],
            "default": "instance_cpu_usage",
        },
        "threshold": {
            "description": "Workload, in percent of a host, at which servers leave it.",
            "type": "number",
            "minimum": 0,
            "maximum": 100,
            "default": 25.0,
        },
        **metric_times(period_s=300, granularity_s=300),
        **_OPTIONS,
    },
    "additionalProperties": False,
}
