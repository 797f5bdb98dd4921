"""Queries for Prometheus: a metric of all hosts or servers in one (C-146..C-151).

"max" and "min" are over time, of the mean over a host's processors or a server's series (C-149);
the mean is Watcher's. A server that moved has two series for one period: they are combined by its
label, never one of them picked (C-151).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trimtab_collector.datasources.interface import Aggregate, MetricQuery, SeriesQuery
from trimtab_common.domain.errors import InvalidArgument

NAMES: Mapping[str, str] = {
    "host_cpu_usage": "node_cpu_seconds_total",
    "host_ram_usage": "node_memory_MemAvailable_bytes",
    "instance_cpu_usage": "ceilometer_cpu",
    "instance_ram_usage": "ceilometer_memory_usage",
}
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_NS_PER_S = 1e9
_SHORTEST_WINDOW_S = 60
_OPPOSITE = {Aggregate.MAX: "min", Aggregate.MIN: "max"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Which label names a host, and which a server."""

    host: str = "fqdn"
    server: str = "resource"

    def __post_init__(self) -> None:
        for label in (self.host, self.server):
            if not _LABEL.fullmatch(label):
                raise InvalidArgument(f"[prometheus_client]: {label!r} is not a label's name.")

    def of(self, metric: str) -> str:
        """The label that names a resource of this metric."""
        return self.host if metric.startswith("host_") else self.server


def is_name(text: str) -> bool:
    """Whether Prometheus can have a metric of this name."""
    return _METRIC.fullmatch(text) is not None


def matcher(label: str, values: Iterable[str], *, or_longer: bool = False) -> str:
    """Matches any of the values, whatever characters they have (C-151).

    or_longer: also what has more behind a dot, as a full name has behind the short one.
    """
    either = "|".join(re.escape(value) for value in sorted(values))
    if or_longer:
        either = f"(?:{either})(?:\\..*)?"
    text = either.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{label}=~"{text}"'


def aggregation(query: MetricQuery, labels: Labels, names: Mapping[str, str]) -> str:
    """The query for a metric of all hosts or servers.

    Counters are turned into rates over a fifth of the period (60 s at least) when the extreme over
    time is wanted.
    """
    return _text(
        query.metric,
        query.aggregate,
        query.period_s,
        max(_SHORTEST_WINDOW_S, query.period_s // 5),
        (labels, names, ""),
    )


def series(query: SeriesQuery, labels: Labels, names: Mapping[str, str]) -> str:
    """An instant query at the end that gives a value for each step: Aetos has no query_range."""
    only = ""
    if query.resources:
        only = matcher(labels.of(query.metric), query.resources, or_longer=query.is_of_hosts)
    step = query.granularity_s
    window = max(_SHORTEST_WINDOW_S, step // 5)
    inner = _text(query.metric, query.aggregate, step, window, (labels, names, only))
    return f"({inner})[{max(1, int(query.end_s - query.start_s))}s:{step}s]"


def _text(
    metric: str,
    aggregate: Aggregate,
    period: int,
    window: int,
    context: tuple[Labels, Mapping[str, str], str],
) -> str:
    labels, names, only = context
    name, by = names[metric], labels.of(metric)
    over_time = aggregate.value if aggregate in _OPPOSITE else "avg"
    against = _OPPOSITE.get(aggregate, "avg")  # idle and available shrink where usage grows
    where = f"{{{only}}}" if only else ""
    match metric:
        case "host_cpu_usage":
            matchers = ",".join(filter(None, ['mode="idle"', only]))
            idle = f"{name}{{{matchers}}}"
            rate = f"avg by ({by}) (rate({idle}[{period}s]))"
            if aggregate in _OPPOSITE:
                short = f"avg by ({by}) (rate({idle}[{window}s]))"
                rate = f"{against}_over_time(({short})[{period}s:{window}s])"
            return f"100 - {rate} * 100"
        case "host_ram_usage":
            available = f"{against}_over_time({name}{where}[{period}s])"
            total = f"node_memory_MemTotal_bytes{where}"
            return f"avg by ({by}) ({total} - {available}) / 1024"
        case "instance_cpu_usage":
            rate = f"avg by ({by}) (rate({name}{where}[{period}s]))"
            if aggregate in _OPPOSITE:
                short = f"avg by ({by}) (rate({name}{where}[{window}s]))"
                rate = f"{over_time}_over_time(({short})[{period}s:{window}s])"
            return f"{rate} / {_NS_PER_S:.0f}"
    # a gauge, whether known or named in the operator's metric map
    used = f"{over_time}_over_time({name}{where}[{period}s])"
    return f"{over_time} by ({by}) ({used})"
