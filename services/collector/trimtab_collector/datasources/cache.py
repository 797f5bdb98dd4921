"""Values that were read once: what an audit asks twice is asked of the backend once (C-129).

A `Datasource` before another one, made for one audit, so that nothing in it grows old. That a
resource has no value is remembered too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from trimtab_collector.datasources.interface import (
    Aggregate,
    Datasource,
    MetricQuery,
    Series,
    SeriesQuery,
)
from trimtab_common.domain.snapshot import ComputeSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Which value of a resource."""

    metric: str
    aggregate: Aggregate
    period_s: int
    granularity_s: int

    @classmethod
    def of(cls, query: MetricQuery) -> Key:
        """Of a query."""
        return cls(
            metric=query.metric,
            aggregate=query.aggregate,
            period_s=query.period_s,
            granularity_s=query.granularity_s,
        )


@dataclass(frozen=True, slots=True)
class _Value:
    number: float | None
    is_simulated: bool = False


class Cached:
    """Remembers each query; `inject_metric` puts values in that no backend measured."""

    def __init__(self, source: Datasource) -> None:
        self.name = source.name
        self.metrics = source.metrics
        self._source = source
        self._read: dict[Key, dict[str, float]] = {}
        self._put: dict[Key, dict[str, _Value]] = {}
        self._turn = asyncio.Lock()

    async def problem(self) -> str:
        """The backend's."""
        return await self._source.problem()

    async def found_metrics(self) -> frozenset[str]:
        """The backend's."""
        return await self._source.found_metrics()

    async def query(self, query: MetricQuery, snapshot: ComputeSnapshot) -> Mapping[str, float]:
        """As the backend gave them the first time, with what was injected over them."""
        key = Key.of(query)
        async with self._turn:  # two that ask the same at once cost one request
            if key not in self._read:
                self._read[key] = dict(await self._source.query(query, snapshot))
        values = dict(self._read[key])
        for resource, value in self._put.get(key, {}).items():
            if value.number is None:
                values.pop(resource, None)
            else:
                values[resource] = value.number
        return values

    async def series(self, query: SeriesQuery, snapshot: ComputeSnapshot) -> Mapping[str, Series]:
        """The backend's, not remembered: they are long and asked for once."""
        return await self._source.series(query, snapshot)

    async def close(self) -> None:
        """The backend stays open: others use it."""

    def inject_metric(
        self, resource: str, query: MetricQuery, value: float | None, *, simulated: bool = False
    ) -> None:
        """What `query` gives of a resource from now on; None: no value."""
        self._put.setdefault(Key.of(query), {})[resource] = _Value(value, is_simulated=simulated)

    def remove(self, resource: str, metric: str | None = None) -> None:
        """Forgets a resource's values, of one metric or of all: they are read again."""
        for key in [key for key in self._put if metric in {None, key.metric}]:
            self._put[key].pop(resource, None)
        for key in [key for key in self._read if metric in {None, key.metric}]:
            del self._read[key]

    def clear(self) -> None:
        """Forgets all."""
        self._read.clear()
        self._put.clear()

    def clear_simulated(self) -> None:
        """Forgets what was injected as simulated; what was measured stays."""
        for key, values in self._put.items():
            self._put[key] = {k: v for k, v in values.items() if not v.is_simulated}
