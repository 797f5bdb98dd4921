"""Parameters of workload_stabilization (B-125..B-133): Watcher's names, bounds really enforced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab_decision.strategies.options import compute_options

METRICS = ("instance_cpu_usage", "instance_ram_usage")
HOST_METRICS = ("host_cpu_usage", "host_ram_usage")
MIN_GAIN_PCT = 2.0
"""A plan that gains less is not worth its migrations, and the next audit would go on so for ever."""
AGGREGATES = ("mean", "min", "max", "count")


def _per_metric(description: str, suffix: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "properties": {f"{metric}{suffix}": dict(value) for metric in METRICS},
        "additionalProperties": False,
        "default": {f"{metric}{suffix}": value["default"] for metric in METRICS},
    }


def _fraction(default: float) -> dict[str, Any]:
    return {"type": "number", "minimum": 0, "maximum": 1, "default": default}


SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {
        "metrics": {
            "description": "Metrics used as rates of cluster loads.",
            "type": "array",
            "items": {"type": "string", "enum": list(METRICS)},
            "minItems": 1,
            "uniqueItems": True,
            "default": ["instance_cpu_usage"],
        },
        "thresholds": _per_metric(
            "Metric to standard deviation above which the cluster is balanced.", "", _fraction(0.1)
        ),
        "weights": _per_metric(
            "Weight of each metric's deviation in the sum that is minimised.",
            "_weight",
            _fraction(1.0),
        ),
        "instance_metrics": {
            "description": "Metric of a server to the metric of its host.",
            "type": "object",
            "properties": {
                metric: {"type": "string", "enum": list(HOST_METRICS), "default": host}
                for metric, host in zip(METRICS, HOST_METRICS, strict=True)
            },
            "additionalProperties": False,
            "default": dict(zip(METRICS, HOST_METRICS, strict=True)),
        },
        "host_choice": {
            "description": "Accepted as in Watcher; every target is considered whatever it says.",
            "type": "string",
            "enum": ["cycle", "retry", "fullsearch"],
            "default": "retry",
        },
        "retry_count": {
            "description": "Accepted as in Watcher; not needed, since every target is considered.",
            "type": "integer",
            "minimum": 1,
            "default": 1,
        },
        "periods": {
            "description": "Seconds over which the metrics are aggregated. `node` is deprecated: "
            "it stands for compute_node when it is not 0.",
            "type": "object",
            "properties": {
                "instance": {"type": "integer", "minimum": 0, "default": 720},
                "compute_node": {"type": "integer", "minimum": 0, "default": 600},
                "node": {"type": "integer", "minimum": 0, "default": 0},
            },
            "additionalProperties": False,
            "default": {"instance": 720, "compute_node": 600, "node": 0},
        },
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
        "granularity": {
            "description": "The time between two measures in an aggregated timeseries of a metric.",
            "type": "number",
            "minimum": 0,
            "default": 300,
        },
        **compute_options(min_gain_pct=MIN_GAIN_PCT),
    },
    "additionalProperties": False,
}
