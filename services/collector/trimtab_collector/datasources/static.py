"""Values from a file: for tests, demonstrations, and clouds that are measured in another way.

The file is JSON: {"hosts": {hostname: {metric: value}}, "servers": {uuid: {metric: value}}}, and for
values over time {"series": {metric: {resource: [[epoch seconds, value], ...]}}}. It is read at each
query, so that it may be replaced under way.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import orjson

from trimtab_collector.datasources.interface import (
    METRICS,
    Aggregate,
    MetricNotAvailable,
    MetricQuery,
    Series,
    SeriesQuery,
)
from trimtab_collector.datasources.retrying import understood
from trimtab_common.domain.errors import TrimtabError, Unavailable
from trimtab_common.domain.snapshot import ComputeSnapshot


class Static:
    """A `Datasource` over a file."""

    name = "static"
    metrics = METRICS

    def __init__(self, path: Path) -> None:
        self._path = path

    async def problem(self) -> str:
        """Empty when the file can be read."""
        try:
            await asyncio.to_thread(self._read)
        except TrimtabError as error:
            return error.message
        return ""

    async def found_metrics(self) -> frozenset[str]:
        """The metrics that any host or server has."""
        document = await asyncio.to_thread(self._read)
        rows = [*document["hosts"].values(), *document["servers"].values()]
        return frozenset(metric for row in rows for metric in row) & METRICS

    async def query(self, query: MetricQuery, snapshot: ComputeSnapshot) -> Mapping[str, float]:
        """Values of the resources in the file, whether the model has them or not."""
        del snapshot  # the file knows best
        document = await asyncio.to_thread(self._read)
        rows = document["hosts" if query.metric.startswith("host_") else "servers"]
        return {
            name: float(value)
            for name, row in rows.items()
            if isinstance(value := row.get(query.metric), int | float) and math.isfinite(value)
        }

    async def series(self, query: SeriesQuery, snapshot: ComputeSnapshot) -> Mapping[str, Series]:
        """The samples of the file, combined by steps of the granularity."""
        del snapshot  # the file knows best
        rows = (await asyncio.to_thread(self._read))["series"].get(query.metric)
        if rows is None:
            raise MetricNotAvailable(f"{self._path} has no series of {query.metric}.")
        with understood(str(self._path)):
            stepped = {k: _stepped(row, query) for k, row in rows.items() if query.wants(k)}
        return {name: series for name, series in stepped.items() if series}

    async def close(self) -> None:
        """Nothing is open."""

    def _read(self) -> dict[str, dict[str, dict[str, Any]]]:
        try:
            document = orjson.loads(self._path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise Unavailable(f"Cannot read the metrics of {self._path}: {error}.") from None
        if not isinstance(document, dict):
            raise Unavailable(f"{self._path}: not an object.")
        parts = {part: document.get(part, {}) for part in ("hosts", "servers", "series")}
        if not all(
            isinstance(part, dict) and all(isinstance(row, dict) for row in part.values())
            for part in parts.values()
        ):
            raise Unavailable(f"{self._path}: hosts, servers and series are objects of objects.")
        return parts


_COMBINED: Mapping[Aggregate, Callable[[list[float]], float]] = {
    Aggregate.MEAN: fmean,
    Aggregate.MIN: min,
    Aggregate.MAX: max,
    Aggregate.COUNT: fmean,
}


def _stepped(row: Any, query: SeriesQuery) -> Series:
    steps: dict[float, list[float]] = {}
    for at, value in sorted(row):
        if query.start_s <= at < query.end_s and math.isfinite(value):
            steps.setdefault(at // query.granularity_s * query.granularity_s, []).append(value)
    return {float(at): float(_COMBINED[query.aggregate](values)) for at, values in steps.items()}
