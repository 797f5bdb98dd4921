"""Measured load to and from messages: collector sends names and values, readers align them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from trimtab.model.v1 import metrics_pb2
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable

_VALUES_PER_MESSAGE = 10_000
_UUID_TEXT, _UUID_BYTES = 36, 16
_ODD = np.uint64(0x9E3779B97F4A7C15)


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
    hosts, servers = _Places(snapshot.host_name), _ServerPlaces(snapshot)
    host: dict[str, NDArray[np.float64]] = {}
    server: dict[str, NDArray[np.float64]] = {}
    source = ""
    for message in values:
        source = source or message.datasource
        if message.metric.startswith("host_"):
            place, columns, length = hosts.of(message.resource), host, snapshot.n_hosts
        else:
            place, columns, length = servers.of(message.resource), server, snapshot.n_servers
        column = columns.setdefault(message.metric, np.full(length, np.nan))
        value = np.array(message.value, np.float64)
        column[place[place >= 0]] = value[place >= 0]
    for column in (*host.values(), *server.values()):
        column.setflags(write=False)
    return MetricsTable(host=host, server=server, source=source)


class _Places:
    """Index of each name."""

    def __init__(self, names: Iterable[str]) -> None:
        self._index = {name: i for i, name in enumerate(names)}

    def of(self, resources: Sequence[str]) -> NDArray[np.intp]:
        """[resources] the index of each, -1 for strangers."""
        return np.array([self._index.get(resource, -1) for resource in resources], np.intp)


class _ServerPlaces:
    """Index of each server, found by the bytes of uuids: a fifth of what 200,000 texts cost."""

    def __init__(self, snapshot: ComputeSnapshot) -> None:
        self._snapshot = snapshot
        self._uuid = np.ascontiguousarray(snapshot.server_uuid).reshape(-1, _UUID_BYTES)
        keys = _keys(self._uuid)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._is_clear = bool(len(keys)) and not (self._keys[1:] == self._keys[:-1]).any()

    def of(self, resources: Sequence[str]) -> NDArray[np.intp]:
        """[resources] the index of each, -1 for strangers."""
        names = list(resources)
        wanted = _uuid_bytes(names) if self._is_clear else None
        if wanted is None:
            return self._by_text.of(names)
        place = np.searchsorted(self._keys, _keys(wanted))
        found = self._order[np.minimum(place, len(self._keys) - 1)]
        return np.where((self._uuid[found] == wanted).all(axis=1), found, -1)

    @cached_property
    def _by_text(self) -> _Places:
        """For names that are no uuids, and uuids that share a key."""
        return _Places(self._snapshot.uuid_of(i) for i in range(self._snapshot.n_servers))


def _keys(uuids: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """One number for each uuid [N, 16]: either half alone may be the same for many."""
    halves = uuids.view(np.uint64)
    return np.asarray(halves[:, 0] * _ODD ^ halves[:, 1], dtype=np.uint64)


def _uuid_bytes(names: Sequence[str]) -> NDArray[np.uint8] | None:
    """[N, 16] the bytes of uuids, wherever their dashes are; None when one of them is none."""
    if set(map(len, names)) != {_UUID_TEXT}:
        return None
    try:
        together = bytes.fromhex("".join(names).replace("-", ""))
    except ValueError:
        return None
    if len(together) != _UUID_BYTES * len(names):
        return None
    return np.frombuffer(together, dtype=np.uint8).reshape(-1, _UUID_BYTES)
