"""The compute model's rows while events are replayed on them, and the keys of what changes name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trimtab_common.domain.changes import (
    Change,
    HostRow,
    RemoveGroup,
    RemoveHost,
    RemoveServer,
    ServerRow,
    SetAggregates,
    SetHealth,
    UpsertGroup,
    UpsertHost,
    UpsertServer,
)
from trimtab_common.domain.compute_terms import Aggregate, ServerGroup

HOST, AGGREGATE, GROUP = "host ", "aggregate ", "group "
"""How the keys of these elements begin; a server's key is its uuid."""


class ComputeRows:
    """The rows of a full read, as handlers look at them and change them."""

    def __init__(
        self,
        hosts: Iterable[HostRow],
        servers: Iterable[ServerRow],
        aggregates: tuple[Aggregate, ...],
        groups: Iterable[ServerGroup] | None,
        made: Callable[[ComputeRows], Any],
    ) -> None:
        self.hosts = {row.hostname: row for row in hosts}
        self.servers = {row.uuid: row for row in servers}
        self.aggregates = aggregates
        self.groups = {row.uuid: row for row in groups or ()}
        self._made = made

    def read(self) -> Any:
        """A full read of the rows as they are now."""
        return self._made(self)

    def find_host(self, hostname: str) -> HostRow | None:
        """The host with this hostname, or None."""
        return self.hosts.get(hostname)

    def find_server(self, uuid: str) -> ServerRow | None:
        """The server with this uuid, or None."""
        return self.servers.get(uuid)

    def find_group(self, uuid: str) -> ServerGroup | None:
        """The server group with this uuid, or None."""
        return self.groups.get(uuid)

    def apply(self, changes: Sequence[Change]) -> None:
        """Takes over changes."""
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
                case UpsertGroup(group):
                    self.groups[group.uuid] = group
                case RemoveGroup(uuid):
                    self.groups.pop(uuid, None)
                case SetAggregates(aggregates):
                    self.aggregates = aggregates
                case SetHealth():
                    pass  # no event tells of the health of a read


def key_of(change: Change) -> str | None:  # noqa: PLR0911, one for each kind of change
    """The key of the element that a change is about."""
    match change:
        case UpsertServer(server):
            return server.uuid
        case RemoveServer(uuid):
            return uuid
        case UpsertHost(host):
            return HOST + host.hostname
        case RemoveHost(hostname):
            return HOST + hostname
        case UpsertGroup(group):
            return GROUP + group.uuid
        case RemoveGroup(uuid):
            return GROUP + uuid
        case SetAggregates():
            return AGGREGATE
        case SetHealth():
            return None
