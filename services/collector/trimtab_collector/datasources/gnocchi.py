"""Gnocchi: Ceilometer's measures, one request for a metric of 2,000 resources (C-142..C-144).

A server's resource has its uuid; a host's is found by the original id <hostname>_<hostname>. The
value is that of the last measure in the period. Gnocchi refuses a whole request when one metric of
it keeps no such granularity or aggregate: the rest is then asked for in halves.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from trimtab_collector.datasources.interface import Aggregate, MetricQuery, Series, SeriesQuery
from trimtab_collector.datasources.json_http import Door, JsonHttp, Refused
from trimtab_collector.datasources.retrying import Tries, together, understood
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import Clock

log = structlog.get_logger(__name__)
NAMES: Mapping[str, str] = {
    "host_cpu_usage": "compute.node.cpu.percent",
    "host_ram_usage": "hardware.memory.used",
    "host_outlet_temp": "hardware.ipmi.node.outlet_temperature",
    "host_inlet_temp": "hardware.ipmi.node.temperature",
    "host_airflow": "hardware.ipmi.node.airflow",
    "host_power": "hardware.ipmi.node.power",
    "instance_cpu_usage": "cpu",
    "instance_ram_usage": "memory.resident",
    "instance_ram_allocated": "memory",
    "instance_l3_cache_usage": "cpu_l3_cache",
    "instance_root_disk_size": "disk.root.size",
}
_RESOURCES_PER_REQUEST = 2000
_REQUESTS_AT_ONCE = 4
_MAX_SPLITS = 40
_RATE = "rate:mean"
_NS_PER_S = 1e9
_AIRFLOW_PER_RAW = 10
_BAD_REQUEST, _NOT_FOUND = 400, 404

Measures = Sequence[tuple[str, float, float]]
"""[timestamp, granularity, value], oldest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GnocchiSettings:
    """[gnocchi_client]. `username`: for a Gnocchi with auth_mode basic; else Keystone's token."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    tries: Tries = field(default_factory=Tries)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is asked of each resource."""

    metric: str
    name: str
    method: str
    start_s: float
    stop_s: float
    granularity_s: int


class Gnocchi:
    """A `Datasource` over Gnocchi's API."""

    name = "gnocchi"

    def __init__(
        self,
        settings: GnocchiSettings,
        door: Door,
        clock: Clock,
        names: Mapping[str, str] = NAMES,
    ) -> None:
        self._names = dict(names)
        self.metrics = frozenset(self._names)
        self._clock = clock
        self._http = JsonHttp(
            door,
            clock,
            name=self.name,
            what="Gnocchi",
            tries=settings.tries,
            timeout_s=settings.timeout_s,
            auth=(settings.username, settings.password or "") if settings.username else None,
        )
        self._few = asyncio.Semaphore(_REQUESTS_AT_ONCE)

    async def problem(self) -> str:
        """Empty when it answers and takes our credentials."""
        return await self._http.problem("/v1/metric", {"limit": "1"})

    async def found_metrics(self) -> frozenset[str]:
        """The metrics that at least one resource has; one small request for each."""

        async def has(name: str) -> bool:
            async with self._few:
                return bool(
                    await self._http.ask("GET", "/v1/metric", params={"name": name, "limit": "1"})
                )

        found = await together(has(name) for name in self._names.values())
        return frozenset(m for m, is_there in zip(self._names, found, strict=True) if is_there)

    async def query(self, query: MetricQuery, snapshot: ComputeSnapshot) -> Mapping[str, float]:
        """The last measure of the period, of each host or server."""
        stop_s = self._clock.now().timestamp()
        wanted = _Wanted(
            metric=query.metric,
            name=self._names[query.metric],
            method=_method(query.metric, query.aggregate),
            start_s=stop_s - query.period_s,
            stop_s=stop_s,
            granularity_s=query.granularity_s,
        )
        keys = _keys(query.metric, snapshot)
        measures = await self._measures(keys, wanted)
        with understood(self.name):
            return await asyncio.to_thread(_last, measures, wanted, snapshot)

    async def series(self, query: SeriesQuery, snapshot: ComputeSnapshot) -> Mapping[str, Series]:
        """Every measure between the two times."""
        wanted = _Wanted(
            metric=query.metric,
            name=self._names[query.metric],
            method=_method(query.metric, query.aggregate),
            start_s=query.start_s,
            stop_s=query.end_s,
            granularity_s=query.granularity_s,
        )
        keys = {k: v for k, v in _keys(query.metric, snapshot).items() if query.wants(v)}
        measures = await self._measures(keys, wanted)
        with understood(self.name):
            return await asyncio.to_thread(_all, measures, wanted, snapshot)

    async def close(self) -> None:
        """Ends its connections."""
        await self._http.close()

    async def _measures(self, keys: Mapping[str, str], wanted: _Wanted) -> dict[str, Measures]:
        """By hostname or uuid. `keys`: Gnocchi's id or original id, to ours."""
        ids = list(keys)
        chunks = [
            ids[start : start + _RESOURCES_PER_REQUEST]
            for start in range(0, len(ids), _RESOURCES_PER_REQUEST)
        ]
        splits = [_MAX_SPLITS]
        parts = await together(self._chunk(chunk, wanted, splits) for chunk in chunks)
        found = {
            keys[key]: measures for part in parts for key, measures in part.items() if key in keys
        }
        if len(found) < len(keys):
            log.info(
                "some have no measures",
                datasource=self.name,
                metric=wanted.metric,
                without=len(keys) - len(found),
                of=len(keys),
            )
        return found

    async def _chunk(
        self, ids: Sequence[str], wanted: _Wanted, splits: list[int]
    ) -> dict[str, Measures]:
        attribute = "original_resource_id" if wanted.metric.startswith("host_") else "id"
        try:
            async with self._few:
                answer = await self._http.ask(
                    "POST",
                    "/v1/aggregates",
                    params={
                        "start": repr(wanted.start_s),
                        "stop": repr(wanted.stop_s),
                        "granularity": str(wanted.granularity_s),
                        "details": "true",
                    },
                    body={
                        "operations": ["metric", wanted.name, wanted.method],
                        "resource_type": "generic",
                        "search": {"in": {attribute: list(ids)}},
                    },
                )
        except Refused as error:
            if error.status not in {_BAD_REQUEST, _NOT_FOUND}:
                raise
            return await self._around(ids, wanted, error, splits)
        with understood(self.name):
            return await asyncio.to_thread(_by_key, answer, wanted, attribute)

    async def _around(
        self, ids: Sequence[str], wanted: _Wanted, error: Refused, splits: list[int]
    ) -> dict[str, Measures]:
        """What the halves of a refused request give; nothing where no half can help."""
        blamed = _blamed(error.answer)
        if blamed is None:
            log.debug("nobody has it", metric=wanted.metric, problem=error.message)
            return {}
        if len(ids) == 1 or blamed >= len(ids) or splits[0] <= 0:
            log.warning(
                "the archive policy keeps no such measures",
                metric=wanted.name,
                aggregate=wanted.method,
                granularity_s=wanted.granularity_s,
                resources=len(ids),
                problem=error.message,
            )
            return {}
        splits[0] -= 1
        half = len(ids) // 2
        left, right = await together(
            self._chunk(part, wanted, splits) for part in (ids[:half], ids[half:])
        )
        return left | right


def _method(metric: str, aggregate: Aggregate) -> str:
    """Gnocchi's aggregation method; a counter has the rate's mean only (C-143)."""
    if metric == "instance_cpu_usage":
        if aggregate is not Aggregate.MEAN:
            log.warning("only the mean is known, it is taken", metric=metric, asked=aggregate.value)
        return _RATE
    if aggregate is Aggregate.COUNT:
        log.warning("count is not a value of a resource, the mean is taken", metric=metric)
        return Aggregate.MEAN.value
    return aggregate.value


def _keys(metric: str, snapshot: ComputeSnapshot) -> dict[str, str]:
    if metric.startswith("host_"):
        return {f"{name}_{name}": name for name in snapshot.host_name}
    return {uuid: uuid for uuid in map(snapshot.uuid_of, range(snapshot.n_servers))}


def _blamed(answer: Any) -> int | None:
    """How many metrics Gnocchi names as the reason; None when simply nobody has the metric."""
    reason = answer.get("description") if isinstance(answer, dict) else None
    if not isinstance(reason, dict):
        return None
    detail = reason.get("detail")
    return len(detail) if isinstance(detail, list) else 1


def _by_key(answer: Any, wanted: _Wanted, attribute: str) -> dict[str, Measures]:
    key_of = {row["id"]: row[attribute] for row in answer["references"]}
    found: dict[str, Measures] = {}
    for resource, metrics in answer["measures"].items():
        measures = metrics.get(wanted.name, {}).get(wanted.method)
        if measures and resource in key_of:
            found[key_of[resource]] = measures
    return found


def _values(
    measures: Iterable[tuple[str, float, float]], wanted: _Wanted, vcpus: int
) -> Iterable[tuple[str, float]]:
    for moment, granularity_s, value in measures:
        if not math.isfinite(value):
            continue
        if wanted.metric == "instance_cpu_usage":
            busy = max(0.0, value) * 100.0 / (granularity_s * _NS_PER_S)
            yield moment, min(100.0, busy / max(vcpus, 1))
        elif wanted.metric == "host_airflow":
            yield moment, value * _AIRFLOW_PER_RAW
        else:
            yield moment, value


def _vcpus(snapshot: ComputeSnapshot, wanted: _Wanted) -> dict[str, int]:
    if wanted.metric != "instance_cpu_usage":
        return {}
    vcpus = snapshot.server_demand[:, 0].tolist()
    if none := sum(1 for count in vcpus if not count):
        log.warning("servers without vCPUs count as having one", servers=none)
    return {snapshot.uuid_of(i): count for i, count in enumerate(vcpus)}


def _last(
    measures: Mapping[str, Measures], wanted: _Wanted, snapshot: ComputeSnapshot
) -> dict[str, float]:
    vcpus = _vcpus(snapshot, wanted)
    found: dict[str, float] = {}
    for key, rows in measures.items():
        for _moment, value in _values(rows[-1:], wanted, vcpus.get(key, 1)):
            found[key] = value
    return found


def _all(
    measures: Mapping[str, Measures], wanted: _Wanted, snapshot: ComputeSnapshot
) -> dict[str, Series]:
    vcpus = _vcpus(snapshot, wanted)
    return {
        key: {_epoch_s(moment): value for moment, value in _values(rows, wanted, vcpus.get(key, 1))}
        for key, rows in measures.items()
    }


def _epoch_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
