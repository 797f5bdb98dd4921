"""Prometheus: node_exporter's hosts and Ceilometer's servers, one query per metric (C-145..C-152)."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import httpx
import structlog

from trimtab_collector.datasources import promql
from trimtab_collector.datasources.interface import MetricQuery, Series, SeriesQuery
from trimtab_collector.datasources.retrying import ONCE, Tries, tried, unavailable, understood
from trimtab_common.domain.errors import InvalidArgument, TrimtabError, Unavailable
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import Clock

log = structlog.get_logger(__name__)
_FROM_MODEL = {"instance_ram_allocated": 1, "instance_root_disk_size": 2}
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSettings:
    """Where it is and how its series are labelled."""

    host: str
    port: int = 9090
    fqdn_label: str = "fqdn"
    instance_uuid_label: str = "resource"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    timeout_s: float = 30.0
    max_retries: int = 10
    retry_interval_s: float = 1.0

    def __post_init__(self) -> None:
        promql.Labels(host=self.fqdn_label, server=self.instance_uuid_label)
        if self.certfile and not self.cafile:
            raise InvalidArgument("[prometheus_client] certfile needs cafile.")


class PrometheusApi(Protocol):
    """One call of Prometheus' HTTP API, whoever carries it."""

    async def get(self, path: str, params: Mapping[str, str]) -> Any:
        """The `data` of the answer, asked once. Unavailable, final when asking again is no use."""
        ...

    async def close(self) -> None:
        """Ends its connections."""
        ...


class DirectApi:
    """A `PrometheusApi` over HTTP."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._client = httpx.AsyncClient(
            base_url=f"{'https' if settings.cafile else 'http'}://{settings.host}:{settings.port}",
            auth=(settings.username, settings.password or "") if settings.username else None,
            verify=_tls(settings),
            timeout=settings.timeout_s,
            trust_env=False,  # a proxy for the internet is not the way to one's own Prometheus
        )

    async def get(self, path: str, params: Mapping[str, str]) -> Any:
        """See PrometheusApi."""
        try:
            response = await self._client.get(path, params=dict(params))
            answer = await asyncio.to_thread(response.json)
        except httpx.HTTPError as error:
            words = str(error) or type(error).__name__
            raise Unavailable(f"Prometheus at {self._client.base_url}: {words}.") from error
        except ValueError:
            answer = {"error": response.text[:200]}
        if response.is_success and isinstance(answer, dict) and answer.get("status") == "success":
            with understood(f"Prometheus at {self._client.base_url}"):
                return answer["data"]
        error_text = answer.get("error") if isinstance(answer, dict) else ""
        raise unavailable(
            f"Prometheus at {self._client.base_url} answers {response.status_code}: {error_text}.",
            response.status_code,
        )

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()


class Prometheus:
    """A `Datasource` over Prometheus' HTTP API; `name`: aetos when Aetos carries it."""

    def __init__(
        self,
        api: PrometheusApi,
        clock: Clock,
        *,
        labels: promql.Labels | None = None,
        names: Mapping[str, str] = promql.NAMES,
        tries: Tries | None = None,
        name: str = "prometheus",
    ) -> None:
        self.name = name
        self._api = api
        self._clock = clock
        self._labels = labels or promql.Labels()
        self._tries = tries or Tries()
        self._names: dict[str, str] = {}
        for metric, series in names.items():
            if promql.is_name(series):
                self._names[metric] = series
            else:
                log.warning("not a name of a metric, ignored", metric=metric, name=series)
        self.metrics = frozenset({*self._names, *_FROM_MODEL})

    @classmethod
    def direct(
        cls,
        settings: PrometheusSettings,
        clock: Clock,
        names: Mapping[str, str] = promql.NAMES,
    ) -> Prometheus:
        """The one that is asked directly."""
        return cls(
            DirectApi(settings),
            clock,
            labels=promql.Labels(host=settings.fqdn_label, server=settings.instance_uuid_label),
            names=names,
            tries=Tries(max_retries=settings.max_retries, interval_s=settings.retry_interval_s),
        )

    async def problem(self) -> str:
        """Empty when it answers."""
        try:
            await self._get("/api/v1/status/runtimeinfo", {}, tries=ONCE)
        except TrimtabError as error:
            return error.message
        return ""

    async def found_metrics(self) -> frozenset[str]:
        """The metrics whose series it has."""
        with understood(self.name):
            names = set(await self._get("/api/v1/label/__name__/values", {}))
        found = {metric for metric, series in self._names.items() if series in names}
        return frozenset(found | set(_FROM_MODEL))

    async def query(self, query: MetricQuery, snapshot: ComputeSnapshot) -> Mapping[str, float]:
        """Values of all hosts or servers by one query.

        What grows with the cloud is done in a thread: the event loop serves the model's watchers.
        """
        if query.metric not in self._names:
            return await asyncio.to_thread(_from_model, snapshot, query.metric)
        text = promql.aggregation(query, self._labels, self._names)
        data = await self._get("/api/v1/query", {"query": text})
        with understood(self.name):
            values = await asyncio.to_thread(
                self._named, _samples(data, self._labels.of(query.metric)), query.metric, snapshot
            )
        if data.get("result") and not values and query.metric.startswith("host_"):
            await self._tell_labels(query.metric)
        return await asyncio.to_thread(_percents, values, query.metric, snapshot)

    async def series(self, query: SeriesQuery, snapshot: ComputeSnapshot) -> Mapping[str, Series]:
        """Values over time by one query."""
        if query.metric not in self._names:
            return await asyncio.to_thread(_constant, snapshot, query)
        data = await self._get(
            "/api/v1/query",
            {
                "query": promql.series(query, self._labels, self._names),
                "time": repr(query.end_s),
            },
        )
        with understood(self.name):
            return await asyncio.to_thread(self._series_of, data, query, snapshot)

    async def close(self) -> None:
        """Ends its connections."""
        await self._api.close()

    def _series_of(
        self, data: Mapping[str, Any], query: SeriesQuery, snapshot: ComputeSnapshot
    ) -> dict[str, Series]:
        label = self._labels.of(query.metric)
        rows = {
            row["metric"][label]: {
                float(at): float(value)
                for at, value in row["values"]
                if math.isfinite(float(value)) and query.start_s <= float(at) < query.end_s
            }
            for row in data.get("result", ())
            if row["metric"].get(label)
        }
        named = self._named(rows.items(), query.metric, snapshot)
        if query.metric != "instance_cpu_usage":
            return {k: v for k, v in named.items() if v and query.wants(k)}
        scale = _vcpus(snapshot)
        return {
            key: {at: min(100.0, value * 100.0 / scale[key]) for at, value in values.items()}
            for key, values in named.items()
            if values and query.wants(key)
        }

    def _named(
        self, values: Iterable[tuple[str, _T]], metric: str, snapshot: ComputeSnapshot
    ) -> dict[str, _T]:
        """By hostname or by uuid, of what is in the model."""
        if metric.startswith("host_"):
            return _by_hostname(dict(values), snapshot.host_name, metric)
        servers = {snapshot.uuid_of(i) for i in range(snapshot.n_servers)}
        return {key: value for key, value in values if key in servers}

    async def _tell_labels(self, metric: str) -> None:
        """Names the labels that the active targets have: the configured one fits no host."""
        try:
            data = await self._get("/api/v1/targets", {"state": "active"}, tries=ONCE)
            with understood(self.name):
                targets = data.get("activeTargets", ())
                labels = {name for target in targets for name in target["labels"]}
        except Unavailable:
            return
        log.error(
            "no host of the model has a value: is the label of hosts the right one?",
            datasource=self.name,
            metric=metric,
            fqdn_label=self._labels.host,
            labels_of_targets=sorted(labels),
        )

    async def _get(
        self, path: str, params: Mapping[str, str], *, tries: Tries | None = None
    ) -> Any:
        def call() -> Any:
            return self._api.get(path, params)

        answer: Callable[[], Any] = call
        return await tried(answer, name=self.name, clock=self._clock, tries=tries or self._tries)


def _from_model(snapshot: ComputeSnapshot, metric: str) -> dict[str, float]:
    demand = snapshot.server_demand[:, _FROM_MODEL[metric]].tolist()
    return {snapshot.uuid_of(i): float(value) for i, value in enumerate(demand)}


def _constant(snapshot: ComputeSnapshot, query: SeriesQuery) -> dict[str, Series]:
    """What the model says, at each step: a flavor has no history here."""
    first = math.ceil(query.start_s / query.granularity_s) * query.granularity_s
    times = range(first, math.ceil(query.end_s), query.granularity_s)
    return {
        key: {float(at): value for at in times}
        for key, value in _from_model(snapshot, query.metric).items()
        if query.wants(key)
    }


def _vcpus(snapshot: ComputeSnapshot) -> dict[str, int]:
    counts = snapshot.server_demand[:, 0].tolist()
    return {snapshot.uuid_of(i): max(count, 1) for i, count in enumerate(counts)}


def _percents(
    values: Mapping[str, float], metric: str, snapshot: ComputeSnapshot
) -> dict[str, float]:
    """Busy processors of a server as a percentage of all its own."""
    if metric != "instance_cpu_usage":
        return dict(values)
    vcpus = _vcpus(snapshot)
    return {key: min(100.0, value * 100.0 / vcpus[key]) for key, value in values.items()}


def _samples(data: Mapping[str, Any], label: str) -> Iterable[tuple[str, float]]:
    for sample in data.get("result", ()):
        name = sample["metric"].get(label)
        value = float(sample["value"][1])
        if name and math.isfinite(value):
            yield name, value


def _by_hostname(values: Mapping[str, _T], hostnames: Iterable[str], metric: str) -> dict[str, _T]:
    """By the model's hostnames: the label itself, or the one whose first part it is (C-150)."""
    by_short: dict[str, list[str]] = defaultdict(list)
    for label in values:
        by_short[label.partition(".")[0]].append(label)
    found: dict[str, _T] = {}
    ambiguous: dict[str, list[str]] = {}
    for hostname in hostnames:
        labels = [hostname] if hostname in values else by_short.get(hostname, [])
        if len(labels) == 1:
            found[hostname] = values[labels[0]]
        elif labels:
            ambiguous[hostname] = sorted(labels)
    if ambiguous:
        log.error("short names fit several hosts, none is taken", metric=metric, hosts=ambiguous)
    return found


def _tls(settings: PrometheusSettings) -> ssl.SSLContext | bool:
    if not settings.cafile:
        return True
    context = ssl.create_default_context(cafile=settings.cafile)
    if settings.certfile:
        context.load_cert_chain(settings.certfile, settings.keyfile)
    return context
