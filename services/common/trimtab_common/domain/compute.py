"""The live compute model: what collector keeps current and decision mirrors.

Rows live in growing numpy columns, so that a change costs O(1) and a snapshot is a few array
gathers. Hosts keep their slot for life (holes are refilled); `ServerTable` keeps the servers. Not
thread-safe: one owner changes it, snapshots are what others read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    hash_aggregate,
    hash_group,
    hash_host,
)
from trimtab_common.domain.columns import grown
from trimtab_common.domain.compute_snapshot import columns_of_hosts, snapshot_of
from trimtab_common.domain.compute_terms import Aggregate, ServerGroup
from trimtab_common.domain.errors import InvalidArgument, NotFound
from trimtab_common.domain.server_groups import ServerGroups
from trimtab_common.domain.server_table import DEMAND, ServerColumns, ServerTable, columns_of
from trimtab_common.domain.snapshot import NO_HOST, ComputeSnapshot

_MASK = (1 << 128) - 1
_FIRST_SIZE = 64
DIGEST_AT_ONCE = 5_000
"""Servers that `digest_some` may take while an event loop waits: about 20 ms."""


class ComputeModel:
    """A mutable compute model with exact per-host totals and a cheap snapshot.

    >>> model = ComputeModel(epoch="e1")
    >>> model.apply([UpsertHost(HostRow(uuid="u", hostname="h", inventory=(8, 1024, 10)))])
    1
    >>> model.snapshot().host_name
    ('h',)
    """

    def __init__(self, *, epoch: str = "", revision: int = 0) -> None:
        self.epoch = epoch
        self.revision = revision
        self.taken_at = datetime.now(UTC)
        self.aggregates: tuple[Aggregate, ...] = ()
        self.health = SetHealth()
        self._hosts: dict[str, HostRow] = {}
        self._host_slot: dict[str, int] = {}
        self._free_slots: list[int] = []
        self._used = np.zeros((_FIRST_SIZE, 3), np.int64)
        self._servers = ServerTable()
        self._on_host: dict[str, set[str]] = {}
        self._groups = ServerGroups()
        self._host_of_uuid: dict[str, str] = {}
        self._of_project: dict[str, set[str]] | None = None
        self._cached: ComputeSnapshot | None = None
        self._host_columns: tuple[dict[str, Any], NDArray[np.int32]] | None = None
        self._unhashed: set[tuple[str, str]] = set()
        self._hashes: dict[tuple[str, str], int] = {}
        self._sum = 0

    @classmethod
    def from_rows(
        cls,
        hosts: Iterable[HostRow],
        servers: Iterable[ServerRow],
        *,
        epoch: str = "",
        revision: int = 0,
    ) -> ComputeModel:
        """A model of these rows. InvalidArgument when a key comes twice."""
        rows = list(servers)
        return cls._of(hosts, columns_of(rows), rows, epoch=epoch, revision=revision)

    @classmethod
    def from_columns(
        cls, hosts: Iterable[HostRow], servers: ServerColumns, *, epoch: str = ""
    ) -> ComputeModel:
        """A model of these, equal to one `from_rows`. InvalidArgument when a key comes twice."""
        return cls._of(hosts, servers, [], epoch=epoch, revision=0)

    @classmethod
    def _of(
        cls,
        hosts: Iterable[HostRow],
        servers: ServerColumns,
        rows: Sequence[ServerRow],
        *,
        epoch: str,
        revision: int,
    ) -> ComputeModel:
        model = cls(epoch=epoch, revision=revision)
        for host in hosts:
            if host.hostname in model._hosts:
                raise InvalidArgument(f"Host {host.hostname} comes twice.")
            model._upsert_host(host)
        table, there = model._servers, model._on_host
        table.fill(servers, rows)
        for hostname, uuid in zip(servers.hostnames, servers.uuids, strict=True):
            if hostname in there:
                there[hostname].add(uuid)
            elif hostname:
                there[hostname] = {uuid}
        place, count = model._host_slot.get, len(table)
        table.host[:count] = [place(hostname, NO_HOST) for hostname in servers.hostnames]
        on_host = np.flatnonzero(table.host[:count] != NO_HOST)
        np.add.at(model._used, table.host[on_host], table.numbers[on_host, DEMAND])
        return model

    # -- reading --------------------------------------------------------------------------------

    @property
    def n_hosts(self) -> int:
        """How many hosts there are."""
        return len(self._hosts)

    @property
    def n_servers(self) -> int:
        """How many servers there are."""
        return len(self._servers)

    def hosts(self) -> Iterable[HostRow]:
        """All hosts, in no order."""
        return self._hosts.values()

    def servers(self) -> Iterable[ServerRow]:
        """All servers, in no order."""
        return self._servers.rows()

    def find_host(self, hostname: str) -> HostRow | None:
        """The host with this hostname, or None."""
        return self._hosts.get(hostname)

    def find_host_by_uuid(self, uuid: str) -> HostRow | None:
        """The host whose hypervisor has this uuid, or None."""
        return self._hosts.get(self._host_of_uuid.get(uuid, ""))

    def find_server(self, uuid: str) -> ServerRow | None:
        """The server with this uuid, or None."""
        slot = self._servers.slot.get(uuid)
        return None if slot is None else self._servers.row(slot)

    def groups(self) -> Iterable[ServerGroup]:
        """All server groups, in no order."""
        return self._groups.all()

    def find_group(self, uuid: str) -> ServerGroup | None:
        """The server group with this uuid, or None."""
        return self._groups.find(uuid)

    def groups_of(self, server: str) -> list[ServerGroup]:
        """The groups that a server is a member of; Nova allows one."""
        return self._groups.of(server)

    def servers_on(self, hostname: str) -> frozenset[str]:
        """Uuids of the servers that Nova places on this host."""
        return frozenset(self._on_host.get(hostname, ()))

    def servers_of_project(self, project_id: str) -> frozenset[str]:
        """Uuids of the servers of a project; the first call makes the index, later ones cost the result."""
        if self._of_project is None:
            self._of_project = {}
            for row in self._servers.rows():
                self._of_project.setdefault(row.project_id, set()).add(row.uuid)
        return frozenset(self._of_project.get(project_id, ()))

    def used_by_host(self, hostname: str) -> tuple[int, int, int]:
        """Sum of the demand of the servers on this host: vCPUs, MiB, GiB. NotFound."""
        slot = self._host_slot.get(hostname)
        if slot is None:
            raise NotFound(f"Compute node {hostname} could not be found.")
        vcpus, memory, disk = self._used[slot].tolist()
        return vcpus, memory, disk

    def digest(self) -> str:
        """Hex digest of the content, whatever the order of its making; O(changes since last)."""
        for key in self._unhashed:
            self._sum -= self._hashes.pop(key, 0)
            kind, name = key
            if kind == "host" and name in self._hosts:
                self._hashes[key] = hash_host(self._hosts[name])
            elif kind == "group" and (group := self._groups.find(name)) is not None:
                self._hashes[key] = hash_group(group)
            self._sum += self._hashes.get(key, 0)
        self._unhashed.clear()
        total = self._sum + self._servers.hash_sum + sum(map(hash_aggregate, self.aggregates))
        return f"{total & _MASK:032x}"

    def digest_some(self, most: int) -> bool:
        """A part of the work of `digest`, so many servers of it; whether there is more to do.

        The first digest of 200,000 servers takes half a second: an event loop does it in parts.
        """
        self._servers.hash_some(most)
        return self._servers.unhashed > 0

    # -- changing -------------------------------------------------------------------------------

    def apply(self, changes: Iterable[Change]) -> int:
        """Apply changes in order; how many of them changed anything."""
        applied = sum(self._apply_one(change) for change in changes)
        if applied:
            self._cached = None
        return applied

    def move_to(self, *, revision: int, at: datetime) -> None:
        """Say which revision this content is, and when it was true."""
        self.revision = revision
        self.taken_at = at
        self._cached = None

    def changes_to(
        self,
        hosts: Sequence[HostRow],
        servers: Sequence[ServerRow],
        aggregates: tuple[Aggregate, ...] | None = None,
        health: SetHealth | None = None,
        groups: Sequence[ServerGroup] | None = None,
    ) -> list[Change]:
        """The fewest changes that make this model equal to these rows; nothing is applied.

        Hosts come before the servers that need them, removals of hosts last. None leaves
        aggregates, health or groups as they are.
        """
        changes: list[Change] = [UpsertHost(r) for r in hosts if self._hosts.get(r.hostname) != r]
        wanted = {row.uuid for row in servers}
        changes += [RemoveServer(uuid) for uuid in self._servers.slot if uuid not in wanted]
        changes += [UpsertServer(row) for row in servers if self.find_server(row.uuid) != row]
        keep = {row.hostname for row in hosts}
        changes += [RemoveHost(name) for name in self._hosts if name not in keep]
        if groups is not None:
            changes += [UpsertGroup(row) for row in groups if self.find_group(row.uuid) != row]
            named = {row.uuid for row in groups}
            changes += [RemoveGroup(row.uuid) for row in self.groups() if row.uuid not in named]
        if aggregates is not None and aggregates != self.aggregates:
            changes.append(SetAggregates(aggregates))
        if health is not None and health != self.health:
            changes.append(health)
        return changes

    def _apply_one(self, change: Change) -> bool:  # noqa: PLR0911, one for each kind of change
        match change:
            case UpsertServer(row):
                return self._upsert_server(row)
            case RemoveServer(uuid):
                return self._remove_server(uuid)
            case UpsertHost(host):
                return self._upsert_host(host)
            case RemoveHost(hostname):
                return self._remove_host(hostname)
            case UpsertGroup(group):
                return self._touched_group(group.uuid, changed=self._groups.upsert(group))
            case RemoveGroup(uuid):
                return self._touched_group(uuid, changed=self._groups.remove(uuid))
            case SetAggregates(aggregates):
                changed = aggregates != self.aggregates
                self.aggregates = aggregates
                return changed
            case SetHealth():
                changed = change != self.health
                self.health = change
                return changed

    def _upsert_host(self, row: HostRow) -> bool:
        known = self._hosts.get(row.hostname)
        if known == row:
            return False
        if known is not None:
            self._host_of_uuid.pop(known.uuid, None)
        self._host_of_uuid[row.uuid] = row.hostname
        self._hosts[row.hostname] = row
        self._host_columns = None
        self._unhashed.add(("host", row.hostname))
        if known is None:
            slot = self._free_slots.pop() if self._free_slots else len(self._host_slot)
            if slot == len(self._used):
                self._used = grown(self._used)
            self._host_slot[row.hostname] = slot
            slots = self._slots_on(row.hostname)
            self._servers.host[slots] = slot
            self._used[slot] = self._servers.numbers[slots, DEMAND].sum(axis=0)
        return True

    def _remove_host(self, hostname: str) -> bool:
        slot = self._host_slot.pop(hostname, None)
        if slot is None:
            return False
        self._host_of_uuid.pop(self._hosts.pop(hostname).uuid, None)
        self._host_columns = None
        self._unhashed.add(("host", hostname))
        self._free_slots.append(slot)
        self._servers.host[self._slots_on(hostname)] = NO_HOST
        return True

    def _slots_on(self, hostname: str) -> list[int]:
        return [self._servers.slot[uuid] for uuid in self._on_host.get(hostname, ())]

    def _upsert_server(self, row: ServerRow) -> bool:
        table = self._servers
        slot = table.slot.get(row.uuid)
        if slot is None:
            slot = table.add(row)
        elif table.row(slot) == row:
            return False
        else:
            self._leave_host(slot)
            self._leave_project(table.row(slot))
            table.put(slot, row)
        host = self._host_slot.get(row.hostname, NO_HOST)
        table.host[slot] = host
        if host != NO_HOST:
            self._used[host] += row.demand
        if row.hostname:
            self._on_host.setdefault(row.hostname, set()).add(row.uuid)
        if self._of_project is not None:
            self._of_project.setdefault(row.project_id, set()).add(row.uuid)
        return True

    def _leave_host(self, slot: int) -> None:
        row = self._servers.row(slot)
        host = self._servers.host[slot]
        if host != NO_HOST:
            self._used[host] -= row.demand
        if row.hostname:
            there = self._on_host[row.hostname]
            there.discard(row.uuid)
            if not there:
                del self._on_host[row.hostname]

    def _leave_project(self, row: ServerRow) -> None:
        if self._of_project is not None:
            there = self._of_project[row.project_id]
            there.discard(row.uuid)
            if not there:
                del self._of_project[row.project_id]

    def _remove_server(self, uuid: str) -> bool:
        slot = self._servers.slot.get(uuid)
        if slot is None:
            return False
        self._leave_host(slot)
        self._leave_project(self._servers.row(slot))
        self._servers.remove(slot)
        self._unhashed |= {("group", group) for group in self._groups.drop_member(uuid)}
        return True

    def _touched_group(self, uuid: str, *, changed: bool) -> bool:
        if changed:
            self._unhashed.add(("group", uuid))
        return changed

    # -- snapshot -------------------------------------------------------------------------------

    def snapshot(self) -> ComputeSnapshot:
        """The content now, immutable: hosts by name, servers by uuid.

        The same object until something changes; then some 0.1 ms a thousand servers, and what hosts
        are, names and sparse attributes are shared with the last one where they are the same.
        """
        if self._cached is None:
            self._cached = self._take()
        return self._cached

    def _take(self) -> ComputeSnapshot:
        if self._host_columns is None:
            self._host_columns = columns_of_hosts(self._hosts, self._host_slot, len(self._used))
        hosts, places = self._host_columns
        return snapshot_of(
            hosts=hosts,
            servers=self._servers,
            places=places,
            epoch=self.epoch,
            revision=self.revision,
            taken_at=self.taken_at,
            groups=tuple(sorted(self._groups.all(), key=lambda row: row.uuid)),
            aggregates=self.aggregates,
            partial=self.health.partial,
            stale_reason=self.health.stale_reason,
            missing_hosts=self.health.missing_hosts,
        )
