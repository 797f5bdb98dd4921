"""Parameters of outlet_temperature (§6.8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.options import compute_options, metric_times

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "threshold": {
            "description": "Temperature threshold for migration, in degrees Celsius.",
            "type": "number",
            "default": 35.0,
        },
        **metric_times(period_s=30, granularity_s=300),
        **compute_options(),
    },
    "additionalProperties": False,
}
