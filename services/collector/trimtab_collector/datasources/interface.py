"""What a datasource is, and Watcher's metric names (C §10).

Values are in the units of requirement B-044 whatever the source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument
from trimtab_common.domain.snapshot import ComputeSnapshot

METRICS = frozenset(
    {
        "host_cpu_usage",
        "host_ram_usage",
        "host_outlet_temp",
        "host_inlet_temp",
        "host_airflow",
        "host_power",
        "instance_cpu_usage",
        "instance_ram_usage",
        "instance_ram_allocated",
        "instance_l3_cache_usage",
        "instance_root_disk_size",
    }
)
"""Every metric that a strategy may ask for."""

Series = Mapping[float, float]
"""Values by epoch seconds, oldest first."""


class Aggregate(StrEnum):
    """How the samples of a period become one value (C-122)."""

    MEAN = "mean"
    MIN = "min"
    MAX = "max"
    COUNT = "count"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricQuery:
    """One metric of all hosts or servers over the last `period_s` seconds.

    InvalidArgument for an unknown metric or a period that is not positive. `optional`: a
    datasource without this metric is still good.
    """

    metric: str
    aggregate: Aggregate = Aggregate.MEAN
    period_s: int = 300
    granularity_s: int = 300
    optional: bool = False

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise InvalidArgument(
                f"Unknown metric {self.metric!r}; known are {', '.join(sorted(METRICS))}."
            )
        if self.period_s <= 0 or self.granularity_s <= 0:
            raise InvalidArgument(f"{self.metric}: period and granularity must be above 0 seconds.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesQuery:
    """One metric of all hosts or servers as it went: a value for each `granularity_s` (C-124).

    start_s, end_s: epoch seconds. resources: hostnames or server uuids; empty for all.
    InvalidArgument for an unknown metric, a start that is not before the end, or a granularity
    that is not positive (B-070).
    """

    metric: str
    start_s: float
    end_s: float
    granularity_s: int = 300
    aggregate: Aggregate = Aggregate.MEAN
    resources: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise InvalidArgument(
                f"Unknown metric {self.metric!r}; known are {', '.join(sorted(METRICS))}."
            )
        if not (math.isfinite(self.start_s) and self.start_s < self.end_s < math.inf):
            raise InvalidArgument(f"{self.metric}: the start of a series must be before its end.")
        if self.granularity_s <= 0:
            raise InvalidArgument(f"{self.metric}: granularity must be above 0 seconds.")

    @property
    def is_of_hosts(self) -> bool:
        """Of servers otherwise."""
        return self.metric.startswith("host_")

    def wants(self, resource: str) -> bool:
        """Whether a resource is asked for."""
        return not self.resources or resource in self.resources


class MetricNotAvailable(FailedPrecondition):
    """No configured datasource has every required metric."""

    reason = "METRIC_NOT_AVAILABLE"


class NoDatasourceAvailable(FailedPrecondition):
    """No datasource is configured."""

    reason = "NO_DATASOURCE_AVAILABLE"


class Datasource(Protocol):
    """One system that keeps measurements."""

    name: str
    metrics: frozenset[str]
    """Watcher's names of the metrics that it maps."""

    async def problem(self) -> str:
        """Empty when it answers; otherwise why not. Never raises a TrimtabError."""
        ...

    async def found_metrics(self) -> frozenset[str]:
        """Those of `metrics` that it has data of now. Unavailable."""
        ...

    async def query(self, query: MetricQuery, snapshot: ComputeSnapshot) -> Mapping[str, float]:
        """Values by hostname or server uuid, finite ones only; what has none is absent.

        Unavailable when it does not answer.
        """
        ...

    async def series(self, query: SeriesQuery, snapshot: ComputeSnapshot) -> Mapping[str, Series]:
        """Values over time by hostname or server uuid, in the units of `query`.

        MetricNotAvailable: it keeps no history of this metric. Unavailable: it does not answer.
        """
        ...

    async def close(self) -> None:
        """Ends its connections."""
        ...
