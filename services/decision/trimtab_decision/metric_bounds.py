"""What measured values can be: between which bounds, and which of those read are outside (A-042)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable

Bounds = tuple[float, float]
_PERCENT: Bounds = (0.0, 100.0)
_CELSIUS: Bounds = (-50.0, 150.0)
_ANY_AMOUNT: Bounds = (0.0, float("inf"))
BOUNDS: Mapping[str, Bounds] = {
    "host_cpu_usage": _PERCENT,
    "host_ram_usage": _ANY_AMOUNT,
    "host_power": _ANY_AMOUNT,
    "host_airflow": _ANY_AMOUNT,
    "host_inlet_temp": _CELSIUS,
    "host_outlet_temp": _CELSIUS,
    "instance_cpu_usage": _PERCENT,
    "instance_ram_usage": _ANY_AMOUNT,
}
"""The smallest and the largest value that each metric can have, in its own unit."""
MAX_NAMED = 3


def outside(snapshot: ComputeSnapshot, table: MetricsTable) -> str:
    """Which values cannot be right, for people; empty when all can.

    Example: "host_cpu_usage of compute-1 is 130, outside 0..100".
    """
    texts: list[str] = []
    for values, names in ((table.host, snapshot.host_name), (table.server, snapshot.server_name)):
        for metric, measured in values.items():
            if metric in BOUNDS:
                texts += _of_metric(metric, measured, names)
    more = len(texts) - MAX_NAMED
    return "; ".join(texts[:MAX_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _of_metric(metric: str, measured: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    low, high = BOUNDS[metric]
    return [
        f"{metric} of {names[at]} is {measured[at]:g}, outside {low:g}..{high:g}"
        for at in np.flatnonzero((measured < low) | (measured > high)).tolist()
    ]
