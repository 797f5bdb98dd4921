"""Grafana as a proxy of a time series database: one request for each resource (C-155..C-158)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import structlog

from trimtab_collector.datasources.interface import Aggregate, MetricQuery, Series, SeriesQuery
from trimtab_collector.datasources.json_http import JsonHttp, OpenDoor, Refused
from trimtab_collector.datasources.retrying import Tries, together, understood
from trimtab_collector.datasources.translators import (
    DEFAULT_RETENTION_PERIODS,
    InfluxDB,
    NoSuchMetricForHost,
    Request,
    Translator,
)
from trimtab_common.domain.errors import Unavailable
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import Clock

log = structlog.get_logger(__name__)
_REQUESTS_AT_ONCE = 16
_FIELDS = ("project", "db", "attribute", "translator", "query")
_HOST_ATTRIBUTES = frozenset({"hostname", "uuid"})
_SERVER_ATTRIBUTES = frozenset({"uuid", "name"})
_BAD_QUERY, _BAD_TOKEN, _NOT_FOUND = 400, 401, 404


@dataclass(frozen=True, slots=True, kw_only=True)
class GrafanaSettings:
    """[grafana_client]. `maps`: Watcher's metric to {project, db, attribute, translator, query}."""

    base_url: str
    token: str = field(repr=False)
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    retention_periods: Mapping[str, int] = field(
        default_factory=lambda: dict(DEFAULT_RETENTION_PERIODS)
    )
    timeout_s: float = 60.0
    tries: Tries = field(default_factory=Tries)


class DatasourceNotAvailable(Unavailable):
    """It answers, and does not accept what is asked or who asks."""

    reason = "DATASOURCE_NOT_AVAILABLE"


class Grafana:
    """A `Datasource` over Grafana's datasource proxy."""

    name = "grafana"

    def __init__(self, settings: GrafanaSettings, clock: Clock) -> None:
        self._translators: Mapping[str, Translator] = {
            "influxdb": InfluxDB(settings.retention_periods)
        }
        self._maps = {
            metric: row
            for metric, row in settings.maps.items()
            if _is_complete(metric, row, self._translators)
        }
        self.metrics = frozenset(self._maps)
        self._http = JsonHttp(
            OpenDoor(settings.base_url, (("Authorization", f"Bearer {settings.token}"),)),
            clock,
            name=self.name,
            what="Grafana",
            tries=settings.tries,
            timeout_s=settings.timeout_s,
        )
        self._few = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def problem(self) -> str:
        """Empty when the project of each metric answers."""
        if not self._maps:
            return (
                "Grafana: no metric has all of project, database, attribute, translator and query."
            )
        for project in sorted({row["project"] for row in self._maps.values()}):
            row = next(row for row in self._maps.values() if row["project"] == project)
            params = {"db": row["db"], "q": "SHOW DATABASES"}
            if problem := await self._http.problem(_path(project), params):
                return problem
        return ""

    async def found_metrics(self) -> frozenset[str]:
        """What is configured: a proxy cannot tell what is behind it."""
        return self.metrics

    async def query(self, query: MetricQuery, snapshot: ComputeSnapshot) -> Mapping[str, float]:
        """One value for each resource, asked one by one, a few at a time."""
        row = self._maps[query.metric]
        translator = self._translators[row["translator"]]

        async def value(request: Request) -> float | None:
            raw = await self._asked(row, translator.build_params(request))
            try:
                with understood(self.name):
                    return translator.extract_result(raw, request)
            except NoSuchMetricForHost:
                return None

        aggregate = _aggregate(query.metric, query.aggregate)
        requests = {
            key: _request(row, attribute, aggregate, query.period_s, query.granularity_s)
            for key, attribute in _attributes(query.metric, row["attribute"], snapshot).items()
        }
        values = await together(map(value, requests.values()))
        return {k: v for k, v in zip(requests, values, strict=True) if v is not None}

    async def series(self, query: SeriesQuery, snapshot: ComputeSnapshot) -> Mapping[str, Series]:
        """Values over time, asked one by one."""
        row = self._maps[query.metric]
        translator = self._translators[row["translator"]]
        aggregate = _aggregate(query.metric, query.aggregate)
        period_s = max(1, int(query.end_s - query.start_s))

        async def values(attribute: str) -> Series:
            request = _request(row, attribute, aggregate, period_s, query.granularity_s)
            params = translator.build_series_params(
                request, start_s=query.start_s, end_s=query.end_s
            )
            raw = await self._asked(row, params)
            with understood(self.name):
                return translator.extract_series(raw, request)

        attributes = {
            key: attribute
            for key, attribute in _attributes(query.metric, row["attribute"], snapshot).items()
            if query.wants(key)
        }
        found = await together(map(values, attributes.values()))
        return {key: series for key, series in zip(attributes, found, strict=True) if series}

    async def close(self) -> None:
        """Ends its connections."""
        await self._http.close()

    async def _asked(self, row: Mapping[str, str], params: Mapping[str, str]) -> Any:
        try:
            async with self._few:
                return await self._http.ask("GET", _path(row["project"]), params=params)
        except Refused as error:
            if error.status == _NOT_FOUND:
                return None
            reason = {_BAD_QUERY: "invalid query", _BAD_TOKEN: "bad token"}.get(error.status)
            if reason is None:
                raise
            raise DatasourceNotAvailable(f"{error.message} ({reason})", final="yes") from None


def _path(project: str) -> str:
    return f"/{quote(project.strip('/'))}/query"


def _is_complete(
    metric: str, row: Mapping[str, str], translators: Mapping[str, Translator]
) -> bool:
    missing = [name for name in _FIELDS if not row.get(name)]
    known = _HOST_ATTRIBUTES if metric.startswith("host_") else _SERVER_ATTRIBUTES
    problem = ""
    if missing:
        problem = f"no {', '.join(missing)}"
    elif row["translator"] not in translators:
        problem = f"unknown translator {row['translator']}"
    elif row["attribute"] not in known:
        problem = f"unknown attribute {row['attribute']}; known are {', '.join(sorted(known))}"
    if problem:
        log.warning("grafana cannot supply a metric", metric=metric, problem=problem)
    return not problem


def _attributes(metric: str, attribute: str, snapshot: ComputeSnapshot) -> dict[str, str]:
    """What names a resource in the database, by what names it here."""
    named: Sequence[str]
    if metric.startswith("host_"):
        keys = list(snapshot.host_name)
        named = keys if attribute == "hostname" else snapshot.host_uuid
    else:
        keys = [snapshot.uuid_of(i) for i in range(snapshot.n_servers)]
        named = keys if attribute == "uuid" else snapshot.server_name
    return {key: name for key, name in zip(keys, named, strict=True) if name}


def _aggregate(metric: str, aggregate: Aggregate) -> str:
    if aggregate is Aggregate.COUNT:
        log.warning("count is not a value of a resource, the mean is taken", metric=metric)
        return Aggregate.MEAN.value
    return aggregate.value


def _request(
    row: Mapping[str, str], attribute: str, aggregate: str, period_s: int, granularity_s: int
) -> Request:
    return Request(
        db=row["db"],
        query=row["query"],
        aggregate=aggregate,
        attribute=attribute,
        period_s=period_s,
        granularity_s=granularity_s,
    )
