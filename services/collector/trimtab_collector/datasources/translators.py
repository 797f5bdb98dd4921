"""What a Grafana proxy passes on, by the kind of database behind it (C-158)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from trimtab_collector.datasources.interface import MetricNotAvailable, Series
from trimtab_common.domain.errors import InvalidArgument

log = structlog.get_logger(__name__)
DEFAULT_RETENTION_PERIODS: Mapping[str, int] = {
    "one_week": 604_800,
    "one_month": 2_592_000,
    "five_years": 157_784_760,
}
_UNTIL_NOW = re.compile(r"time\s*>=?\s*now\(\)\s*-\s*\{2\}s", re.IGNORECASE)
_MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One resource's question. `attribute`: what names the resource in the database."""

    db: str
    query: str
    aggregate: str
    attribute: str
    period_s: int
    granularity_s: int | None = None

    def __post_init__(self) -> None:
        for name in ("db", "query", "aggregate", "attribute"):
            if not getattr(self, name):
                raise InvalidArgument(f"A query of grafana has no {name}.")
        if self.period_s <= 0:
            raise InvalidArgument("A query of grafana needs a period above 0 seconds.")


class NoSuchMetricForHost(MetricNotAvailable):
    """The database has no value of this resource; collected as an absent value."""

    reason = "NO_SUCH_METRIC_FOR_HOST"


class Translator(Protocol):
    """From a question to the proxy's parameters, and from its answer to values."""

    def build_params(self, request: Request) -> Mapping[str, str]:
        """Parameters of the GET."""
        ...

    def extract_result(self, raw: Any, request: Request) -> float:
        """The value. NoSuchMetricForHost when there is none."""
        ...

    def build_series_params(
        self, request: Request, *, start_s: float, end_s: float
    ) -> Mapping[str, str]:
        """The same for values over time. MetricNotAvailable when the query cannot give them."""
        ...

    def extract_series(self, raw: Any, request: Request) -> Series:
        """Values over time; empty when there are none."""
        ...


class InfluxDB:
    """InfluxQL. Placeholders: {0} aggregate, {1} attribute, {2} period, {3} granularity, {4} retention."""

    def __init__(self, retention_periods: Mapping[str, int] = DEFAULT_RETENTION_PERIODS) -> None:
        if not retention_periods:
            raise InvalidArgument("[grafana_translators] retention_periods is empty.")
        self._retention = sorted(retention_periods.items(), key=lambda item: item[1])

    def build_params(self, request: Request) -> Mapping[str, str]:
        """db, epoch and q."""
        return self._params(request, request.query, request.period_s)

    def extract_result(self, raw: Any, request: Request) -> float:
        """The column named as the aggregate, of the first row."""
        columns, rows = _table(raw)
        for value in (
            row[columns.index(request.aggregate)]
            for row in rows[:1]
            if request.aggregate in columns
        ):
            if isinstance(value, int | float) and math.isfinite(value):
                return float(value)
        raise NoSuchMetricForHost(f"InfluxDB has no value of {request.attribute}.")

    def build_series_params(
        self, request: Request, *, start_s: float, end_s: float
    ) -> Mapping[str, str]:
        """The query's `time > now() - {2}s` becomes the window, in groups of the granularity."""
        window = f"time >= {int(start_s * 1000)}ms AND time < {int(end_s * 1000)}ms"
        query, replaced = _UNTIL_NOW.subn(window, request.query)
        if replaced != 1:
            raise MetricNotAvailable(
                "A series needs a query with `time > now() - {2}s` in it, once."
            )
        grouping = "," if re.search(r"\bgroup\s+by\b", query, re.IGNORECASE) else " GROUP BY"
        query = f"{query.rstrip('; ')}{grouping} time({request.granularity_s or 1}s)"
        return self._params(request, query, math.ceil(end_s - start_s))

    def extract_series(self, raw: Any, request: Request) -> Series:
        """Values by epoch seconds."""
        try:
            columns, rows = _table(raw)
        except NoSuchMetricForHost:
            return {}
        if not {"time", request.aggregate} <= set(columns):
            return {}
        at, value = columns.index("time"), columns.index(request.aggregate)
        return {
            _epoch_s(row[at]): float(row[value])
            for row in rows
            if isinstance(row[value], int | float) and math.isfinite(row[value])
        }

    def _params(self, request: Request, query: str, period_s: int) -> Mapping[str, str]:
        try:
            text = query.format(
                request.aggregate,
                _escaped(request.attribute),
                period_s,
                request.granularity_s or 1,
                self.retention(period_s),
            )
        except (IndexError, KeyError, ValueError) as error:
            raise InvalidArgument(f"Not a query of grafana: {query!r}: {error}.") from None
        return {"db": request.db, "epoch": "ms", "q": text}

    def retention(self, period_s: int) -> str:
        """The shortest that keeps longer than the period; else the longest there is."""
        for name, kept_s in self._retention:
            if kept_s > period_s:
                return name
        name = self._retention[-1][0]
        log.warning("no retention is that long, the longest is taken", period_s=period_s, name=name)
        return name


def _table(raw: Any) -> tuple[list[str], list[list[Any]]]:
    try:
        table = raw["results"][0]["series"][0]
        return list(table["columns"]), list(table["values"])
    except (LookupError, TypeError):
        raise NoSuchMetricForHost("InfluxDB has no such series.") from None


def _escaped(text: str) -> str:
    """Inside a quoted text of InfluxQL."""
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")


def _epoch_s(moment: Any) -> float:
    if isinstance(moment, str):
        return datetime.fromisoformat(moment).timestamp()
    return float(moment) / _MS_PER_S
