"""The optional parameters that every compute strategy shares, and what they mean everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_MIGRATIONS: Mapping[str, Any] = {
    "description": "The most servers that the plan may move; absent: no limit.",
    "type": "integer",
    "minimum": 0,
}
SEED: Mapping[str, Any] = {
    "description": "Seed of every random choice; the same seed gives the same plan.",
    "type": "integer",
    "minimum": 0,
    "maximum": 2**31 - 1,
}
CHECK_OPTIMIZE_METADATA: Mapping[str, Any] = {
    "description": "Act only on servers whose metadata `optimize` is true.",
    "type": "boolean",
    "default": False,
}


def compute_options(*, min_gain_pct: float = 0.0) -> dict[str, Any]:
    """Schemas of the shared parameters. `min_gain_pct`: the strategy's default of `min_gain`."""
    return {
        "max_migrations": dict(MAX_MIGRATIONS),
        "time_limit_s": {
            "description": "Seconds after which no better plan is looked for; absent: the "
            "strategy's own limits.",
            "type": "number",
            "minimum": 0,
        },
        "seed": dict(SEED),
        "min_gain": {
            "description": "The least gain, in percent of the strategy's own measure, for which "
            "anything is planned.",
            "type": "number",
            "minimum": 0,
            "maximum": 100,
            "default": min_gain_pct,
        },
        "check_optimize_metadata": dict(CHECK_OPTIMIZE_METADATA),
    }


def metric_times(*, period_s: float, granularity_s: float) -> dict[str, Any]:
    """Schemas of `period` and `granularity`, in seconds."""
    return {
        "period": {
            "description": "The time interval in seconds for getting statistic aggregation",
            "type": "number",
            "minimum": 0,
            "default": period_s,
        },
        "granularity": {
            "description": "The time between two measures in an aggregated timeseries of a metric.",
            "type": "number",
            "minimum": 0,
            "default": granularity_s,
        },
    }
