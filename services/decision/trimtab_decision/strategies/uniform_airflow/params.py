"""Parameters of uniform_airflow (§6.9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.options import compute_options, metric_times

SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "threshold_airflow": {
            "description": "Airflow threshold for migration, in 0.1 CFM.",
            "type": "number",
            "default": 400.0,
        },
        "threshold_inlet_t": {
            "description": "Inlet temperature threshold for the migration decision, in degrees "
            "Celsius.",
            "type": "number",
            "default": 28.0,
        },
        "threshold_power": {
            "description": "System power threshold for the migration decision, in watts.",
            "type": "number",
            "default": 350.0,
        },
        **metric_times(period_s=300, granularity_s=300),
        **compute_options(),
    },
    "additionalProperties": False,
}
