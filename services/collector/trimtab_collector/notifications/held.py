"""Events that arrive while the cloud is read: which parts of the read they outdate (C-008)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from trimtab_collector.compute.reading import FullRead
from trimtab_collector.notifications.envelope import Notification
from trimtab_collector.notifications.nova_events import Outcome, Rule
from trimtab_common.domain.changes import (
    Change,
    HostRow,
    RemoveHost,
    RemoveServer,
    ServerRow,
    SetAggregates,
    SetHealth,
    UpsertHost,
    UpsertServer,
)
from trimtab_common.domain.snapshot import Aggregate

HOST, AGGREGATE = "host ", "aggregate "
"""How the keys of these elements begin; a server's key is its uuid."""


def floor_of(since: datetime) -> str:
    """The time from which on events are newer than a read, in the form of `Notification.at`."""
    return since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


class Reading:
    """One read of the cloud under way, and the events that came since it began."""

    def __init__(self, *, extended: bool) -> None:
        self._extended = extended
        self._touched: set[str] = set()
        self._kept: list[tuple[Notification, Rule]] = []

    def note(self, key: str, event: Notification, rule: Rule, outcome: Outcome) -> None:
        """Keeps an event that was believed."""
        if outcome.changes:
            self._touched.add(AGGREGATE if key.startswith(AGGREGATE) else key)
        self._kept.append((event, rule))

    def untouched(self, changes: Iterable[Change]) -> list[Change]:
        """The changes of a poll or re-read that no event of meanwhile outdates."""
        return [change for change in changes if _key(change) not in self._touched]

    def replayed(self, read: FullRead) -> tuple[FullRead, list[Outcome]]:
        """A full read as it would be had it ended now, and what came of each event.

        Events older than the beginning of the read are in it already.
        """
        floor = floor_of(read.since)
        rows = _Rows(read)
        outcomes = []
        for event, rule in self._kept:
            if not event.at or event.at >= floor:
                outcome = rule.handler(event, rows, self._extended)
                rows.apply(outcome.changes)
                outcomes.append(outcome)
        if not outcomes:
            return read, []
        changed = dataclasses.replace(
            read,
            hosts=list(rows.hosts.values()),
            servers=list(rows.servers.values()),
            aggregates=rows.aggregates,
        )
        return changed, outcomes


class _Rows:
    """The rows of a full read, as handlers look at them and change them."""

    def __init__(self, read: FullRead) -> None:
        self.hosts = {row.hostname: row for row in read.hosts}
        self.servers = {row.uuid: row for row in read.servers}
        self.aggregates: tuple[Aggregate, ...] = read.aggregates

    def find_host(self, hostname: str) -> HostRow | None:
        return self.hosts.get(hostname)

    def find_server(self, uuid: str) -> ServerRow | None:
        return self.servers.get(uuid)

    def apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            match change:
                case UpsertServer(server):
                    self.servers[server.uuid] = server
                case RemoveServer(uuid):
                    self.servers.pop(uuid, None)
                case UpsertHost(host):
                    self.hosts[host.hostname] = host
                case RemoveHost(hostname):
                    self.hosts.pop(hostname, None)
                case SetAggregates(aggregates):
                    self.aggregates = aggregates
                case SetHealth():
                    pass  # no event tells of the health of a read


def _key(change: Change) -> str | None:
    match change:
        case UpsertServer(server):
            return server.uuid
        case RemoveServer(uuid):
            return uuid
        case UpsertHost(host):
            return HOST + host.hostname
        case RemoveHost(hostname):
            return HOST + hostname
        case SetAggregates():
            return AGGREGATE
        case SetHealth():
            return None
