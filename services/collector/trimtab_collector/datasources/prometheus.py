"""Prometheus: node_exporter's hosts and Ceilometer's servers, one query per metric (C-145..C-152).

"max" and "min" are over time, of the mean over a host's processors or a server's series (C-149);
the mean is Watcher's. A server that moved has two series for one period: they are combined by its
label, never one of them picked (C-151).
"""

from __future__ import annotations

import math
import re
import ssl
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from trimtab_collector import counters
from trimtab_collector.datasources.interface import Aggregate, MetricQuery
from trimtab_common.domain.errors import InvalidArgument, TrimtabError, Unavailable
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import Clock

log = structlog.get_logger(__name__)
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_NS_PER_S = 1e9
_SHORTEST_WINDOW_S = 60
_FINAL = frozenset({400, 401, 403, 404, 422})
_SOURCE = {
    "host_cpu_usage": "node_cpu_seconds_total",
    "host_ram_usage": "node_memory_MemAvailable_bytes",
    "instance_cpu_usage": "ceilometer_cpu",
    "instance_ram_usage": "ceilometer_memory_usage",
}
_FROM_MODEL = {"instance_ram_allocated": 1, "instance_root_disk_size": 2}
_OPPOSITE = {Aggregate.MAX: "min", Aggregate.MIN: "max"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSettings:
    """Where it is and how its series are labelled."""

    host: str
    port: int = 9090
    fqdn_label: str = "fqdn"
    instance_uuid_label: str = "resource"
    username: str | None = None
    password: str | None = None
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    timeout_s: float = 30.0
    max_retries: int = 10
    retry_interval_s: float = 1.0

    def __post_init__(self) -> None:
        for label in (self.fqdn_label, self.instance_uuid_label):
            if not _LABEL.fullmatch(label):
                raise InvalidArgument(f"[prometheus_client]: {label!r} is not a label's name.")
        if self.certfile and not self.cafile:
            raise InvalidArgument("[prometheus_client] certfile needs cafile.")


class Prometheus:
    """A `Datasource` over Prometheus' HTTP API."""

    name = "prometheus"
    metrics = frozenset({*_SOURCE, *_FROM_MODEL})

    def __init__(self, settings: PrometheusSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._client = httpx.AsyncClient(
            base_url=f"{'https' if settings.cafile else 'http'}://{settings.host}:{settings.port}",
            auth=(settings.username, settings.password or "") if settings.username else None,
            verify=_tls(settings),
            timeout=settings.timeout_s,
            trust_env=False,  # a proxy for the internet is not the way to one's own Prometheus
        )

    async def problem(self) -> str:
        """Empty when it answers."""
        try:
            await self._get("/api/v1/status/runtimeinfo", {}, retries=0)
        except TrimtabError as error:
            return error.message
        return ""

    async def found_metrics(self) -> frozenset[str]:
        """The metrics whose series it has."""
        names = set(await self._get("/api/v1/label/__name__/values", {}))
        found = {metric for metric, series in _SOURCE.items() if series in names}
        return frozenset(found | set(_FROM_MODEL))

    async def query(self, query: MetricQuery, snapshot: ComputeSnapshot) -> Mapping[str, float]:
        """Values of all hosts or servers by one query."""
        if (resource := _FROM_MODEL.get(query.metric)) is not None:
            demand = snapshot.server_demand[:, resource].tolist()
            return {snapshot.uuid_of(i): float(value) for i, value in enumerate(demand)}
        expression = promql(query, self._settings)
        data = await self._get("/api/v1/query", {"query": expression})
        is_host = query.metric.startswith("host_")
        settings = self._settings
        label = settings.fqdn_label if is_host else settings.instance_uuid_label
        values = dict(_samples(data, label))
        if is_host:
            return _by_hostname(values, snapshot.host_name, query.metric)
        servers = {snapshot.uuid_of(i): i for i in range(snapshot.n_servers)}
        values = {key: value for key, value in values.items() if key in servers}
        if query.metric != "instance_cpu_usage":
            return values
        vcpus = snapshot.server_demand[:, 0].tolist()
        return {
            key: min(100.0, value * 100.0 / max(vcpus[servers[key]], 1))
            for key, value in values.items()
        }

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()

    async def _get(
        self, path: str, params: Mapping[str, str], *, retries: int | None = None
    ) -> Any:
        tries = (self._settings.max_retries if retries is None else retries) + 1
        for attempt in range(tries):
            try:
                data = await self._get_once(path, params)
            except Unavailable as error:
                counters.METRIC_QUERIES.labels(self.name, "failed").inc()
                if attempt == tries - 1 or error.details.get("final"):
                    raise
                log.warning("trying again", datasource=self.name, problem=error.message)
                await self._clock.sleep(self._settings.retry_interval_s)
            else:
                counters.METRIC_QUERIES.labels(self.name, "ok").inc()
                return data
        raise AssertionError  # the loop returns or raises

    async def _get_once(self, path: str, params: Mapping[str, str]) -> Any:
        try:
            response = await self._client.get(path, params=dict(params))
            answer = response.json()
        except httpx.HTTPError as error:
            words = str(error) or type(error).__name__
            raise Unavailable(f"Prometheus at {self._client.base_url}: {words}.") from error
        except ValueError:
            answer = {"error": response.text[:200]}
        if response.is_success and isinstance(answer, dict) and answer.get("status") == "success":
            return answer["data"]
        error_text = answer.get("error") if isinstance(answer, dict) else ""
        raise Unavailable(
            f"Prometheus at {self._client.base_url} answers {response.status_code}: {error_text}.",
            **({"final": "yes"} if response.status_code in _FINAL else {}),
        )


def promql(query: MetricQuery, settings: PrometheusSettings) -> str:
    """The query for a metric of all hosts or servers.

    Counters are turned into rates over a fifth of the period (60 s at least) when the extreme over
    time is wanted.
    """
    period, aggregate = query.period_s, query.aggregate
    window = max(_SHORTEST_WINDOW_S, period // 5)
    host, server = settings.fqdn_label, settings.instance_uuid_label
    over_time = aggregate.value if aggregate in _OPPOSITE else "avg"
    against = _OPPOSITE.get(aggregate, "avg")  # idle and available shrink where usage grows
    match query.metric:
        case "host_cpu_usage":
            idle = 'node_cpu_seconds_total{mode="idle"}'
            rate = f"avg by ({host}) (rate({idle}[{period}s]))"
            if aggregate in _OPPOSITE:
                short = f"avg by ({host}) (rate({idle}[{window}s]))"
                rate = f"{against}_over_time(({short})[{period}s:{window}s])"
            return f"100 - {rate} * 100"
        case "host_ram_usage":
            available = f"{against}_over_time(node_memory_MemAvailable_bytes[{period}s])"
            return f"avg by ({host}) (node_memory_MemTotal_bytes - {available}) / 1024"
        case "instance_cpu_usage":
            rate = f"avg by ({server}) (rate(ceilometer_cpu[{period}s]))"
            if aggregate in _OPPOSITE:
                short = f"avg by ({server}) (rate(ceilometer_cpu[{window}s]))"
                rate = f"{over_time}_over_time(({short})[{period}s:{window}s])"
            return f"{rate} / {_NS_PER_S:.0f}"
        case "instance_ram_usage":
            used = f"{over_time}_over_time(ceilometer_memory_usage[{period}s])"
            return f"{over_time} by ({server}) ({used})"
    raise InvalidArgument(f"Prometheus has no {query.metric}.")


def _samples(data: Mapping[str, Any], label: str) -> Iterable[tuple[str, float]]:
    for sample in data.get("result", ()):
        name = sample["metric"].get(label)
        value = float(sample["value"][1])
        if name and math.isfinite(value):
            yield name, value


def _by_hostname(
    values: Mapping[str, float], hostnames: Iterable[str], metric: str
) -> dict[str, float]:
    """By the model's hostnames: the label itself, or the one whose first part it is (C-150)."""
    by_short: dict[str, list[str]] = defaultdict(list)
    for label in values:
        by_short[label.partition(".")[0]].append(label)
    found: dict[str, float] = {}
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
