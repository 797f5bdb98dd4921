"""Parameters of basic (§6.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.options import compute_options, metric_times

AGGREGATES = ("mean", "min", "max", "count")

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "migration_attempts": {
            "description": "How many hosts in a row may turn out not to be emptiable before the "
            "search ends; 0: no limit.",
            "type": "number",
            "minimum": 0,
            "default": 0,
        },
        **metric_times(period_s=7200, granularity_s=300),
        "aggregation_method": {
            "description": "How the metrics are aggregated. `node` is deprecated: it stands for "
            "compute_node when it is not empty.",
            "type": "object",
            "properties": {
                "instance": {"type": "string", "enum": list(AGGREGATES), "default": "mean"},
                "compute_node": {"type": "string", "enum": list(AGGREGATES), "default": "mean"},
                "node": {"type": "string", "enum": [*AGGREGATES, ""], "default": ""},
            },
            "additionalProperties": False,
            "default": {"instance": "mean", "compute_node": "mean", "node": ""},
        },
        **compute_options(),
    },
    "additionalProperties": False,
}
