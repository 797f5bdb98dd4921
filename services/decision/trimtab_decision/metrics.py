"""Measured load for a strategy: which queries its parameters ask for, and who answers them.

Only the metrics that a strategy declares are fetched, each with one bulk query for all resources.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_decision.framework.history import History
from trimtab_decision.framework.strategy import Strategy

DEFAULT_PERIOD_S = 300
DEFAULT_GRANULARITY_S = 300
_MAX_S = 2**31 - 1
"""What the contract of collector can carry."""
DEFAULT_AGGREGATE = "mean"
DOUBLE_SUFFIX = "_2p"
"""Of the name under which a metric over twice the period stands in the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricQuery:
    """One metric over the last `period_s`. `is_optional`: the plan does without it."""

    metric: str
    aggregate: str = DEFAULT_AGGREGATE
    period_s: int = DEFAULT_PERIOD_S
    granularity_s: int = DEFAULT_GRANULARITY_S
    is_optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Datasource:
    """A datasource of collector: whether it answers, and what it has."""

    name: str
    is_available: bool
    problem: str
    metrics: frozenset[str]


class MetricsReader(Protocol):
    """Asks collector for metrics."""

    async def read(
        self,
        snapshot: ComputeSnapshot,
        queries: Sequence[MetricQuery],
        datasources: Sequence[str] = (),
    ) -> MetricsTable:
        """The values aligned with the snapshot. `datasources`: instead of collector's order.

        MetricNotAvailable: nobody supplies a required one. CollectorUnreachable: no answer.
        """

    async def history(
        self,
        snapshot: ComputeSnapshot,
        histories: Sequence[History],
        datasources: Sequence[str] = (),
    ) -> MetricsTable:
        """How metrics went, aligned with the snapshot, under the names of their columns.

        MetricNotAvailable: nobody keeps the history of one that is required. InvalidArgument: more than
        memory should hold. CollectorUnreachable: no answer.
        """

    async def datasources(self) -> Sequence[Datasource]:
        """The configured datasources, in order. CollectorUnreachable: no answer."""


def queries_for(strategy: type[Strategy], parameters: Mapping[str, Any]) -> list[MetricQuery]:
    """The queries of one run: `period(s)`, `granularity` and `aggregation_method` apply.

    `periods` and `aggregation_method` may be one value, or one for instances and one for
    compute nodes; the deprecated key `node` overrides `compute_node` when set (B-133).
    InvalidArgument: a number of seconds that no datasource can serve.
    """
    optional = set(strategy.optional_metrics)
    return [
        MetricQuery(
            metric=metric,
            aggregate=str(
                _of_kind(parameters.get("aggregation_method"), metric) or DEFAULT_AGGREGATE
            ),
            period_s=_seconds(
                "period", _of_kind(parameters.get("periods", parameters.get("period")), metric)
            )
            or DEFAULT_PERIOD_S,
            granularity_s=_seconds("granularity", parameters.get("granularity"))
            or DEFAULT_GRANULARITY_S,
            is_optional=metric in optional,
        )
        for metric in strategy.metrics()
    ]


def double_period_queries(
    strategy: type[Strategy], queries: Sequence[MetricQuery]
) -> list[MetricQuery]:
    """The same queries over twice the period, for the metrics of which the strategy asks it."""
    wanted = set(strategy.double_period_metrics)
    return [
        dataclasses.replace(query, period_s=min(2 * query.period_s, _MAX_S))
        for query in queries
        if query.metric in wanted
    ]


def with_double_period(table: MetricsTable, double: MetricsTable) -> MetricsTable:
    """One table: the columns of `double` stand under their names with `_2p`."""
    return joined(
        table,
        MetricsTable(
            host={f"{k}{DOUBLE_SUFFIX}": v for k, v in double.host.items()},
            server={f"{k}{DOUBLE_SUFFIX}": v for k, v in double.server.items()},
        ),
    )


def joined(table: MetricsTable, other: MetricsTable) -> MetricsTable:
    """One table with the columns of both."""
    return MetricsTable(
        host={**table.host, **other.host},
        server={**table.server, **other.server},
        source=table.source or other.source,
    )


def _seconds(name: str, value: float | None) -> int:
    """Whole seconds, 1 when less than one is asked for; 0 asks for the default."""
    if not value:
        return 0
    if not 0 < value <= _MAX_S:
        raise InvalidArgument(
            f"Parameter {name} is {value:g} seconds; it must be above 0 and at most {_MAX_S}."
        )
    return max(1, int(value))


def _of_kind(value: Any, metric: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    if metric.startswith("host_"):
        return value.get("node") or value.get("compute_node")
    return value.get("instance")
