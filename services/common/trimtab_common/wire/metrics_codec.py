"""Measured load to and from messages: collector sends names and values, readers align them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from trimtab.model.v1 import metrics_pb2
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable

_VALUES_PER_MESSAGE = 10_000


def value_messages(
    metric: str, datasource: str, values: Sequence[tuple[str, float]]
) -> Iterator[metrics_pb2.QueryMetricsResponse]:
    """One metric's values in messages below 1 MB; one empty message when there are none."""
    for start in range(0, max(len(values), 1), _VALUES_PER_MESSAGE):
        part = values[start : start + _VALUES_PER_MESSAGE]
        yield metrics_pb2.QueryMetricsResponse(
            metric=metric,
            datasource=datasource,
            resource=[resource for resource, _ in part],
            value=[value for _, value in part],
        )


def messages(
    snapshot: ComputeSnapshot, metrics: MetricsTable
) -> Iterator[metrics_pb2.QueryMetricsResponse]:
    """A table as messages, values that are not there left out."""
    servers = [snapshot.uuid_of(i) for i in range(snapshot.n_servers)]
    for names, columns in ((snapshot.host_name, metrics.host), (servers, metrics.server)):
        for metric, column in columns.items():
            here = np.flatnonzero(~np.isnan(column))
            values = [
                (names[i], value)
                for i, value in zip(here.tolist(), column[here].tolist(), strict=True)
            ]
            yield from value_messages(metric, metrics.source, values)


def table(
    snapshot: ComputeSnapshot, values: Iterable[metrics_pb2.QueryMetricsResponse]
) -> MetricsTable:
    """The values aligned with a snapshot; NaN where there is none, strangers are dropped."""
    host_of = {name: i for i, name in enumerate(snapshot.host_name)}
    server_of: dict[str, int] = {}
    host: dict[str, NDArray[np.float64]] = {}
    server: dict[str, NDArray[np.float64]] = {}
    source = ""
    for message in values:
        source = source or message.datasource
        if message.metric.startswith("host_"):
            where, columns, length = host_of, host, snapshot.n_hosts
        else:
            server_of = server_of or _server_index(snapshot)
            where, columns, length = server_of, server, snapshot.n_servers
        column = columns.setdefault(message.metric, np.full(length, np.nan))
        place = np.array([where.get(resource, -1) for resource in message.resource], np.intp)
        value = np.array(message.value, np.float64)
        column[place[place >= 0]] = value[place >= 0]
    for column in (*host.values(), *server.values()):
        column.setflags(write=False)
    return MetricsTable(host=host, server=server, source=source)


def _server_index(snapshot: ComputeSnapshot) -> dict[str, int]:
    return {snapshot.uuid_of(i): i for i in range(snapshot.n_servers)}
