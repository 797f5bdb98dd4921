"""Measured values of hosts, for the strategies that cannot do without them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.framework import StrategyContext
from trimtab_decision.framework.errors import MetricNotAvailable


def host_readings(context: StrategyContext, metric: str) -> NDArray[np.float64]:
    """[H] the values, NaN where nothing was measured; MetricNotAvailable when nobody was asked."""
    column = context.metrics.host.get(metric)
    if column is None:
        raise MetricNotAvailable(f"Metric {metric} was not delivered for any compute node.")
    return column


def server_readings(context: StrategyContext, metric: str) -> NDArray[np.float64]:
    """[V] the values, NaN where nothing was measured; MetricNotAvailable when nobody was asked."""
    column = context.metrics.server.get(metric)
    if column is None:
        raise MetricNotAvailable(f"Metric {metric} was not delivered for any server.")
    return column
