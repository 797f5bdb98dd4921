"""The live compute model: what collector keeps current and decision mirrors.

Rows live in growing numpy columns, so that a change costs O(1) and a snapshot is a few array
gathers. Hosts keep their slot for life (holes are refilled); servers are removed by moving the last
one into the hole. Not thread-safe: one owner changes it, snapshots are what others read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

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
    hash_server,
    uuid_bytes,
)
from trimtab_common.domain.errors import InvalidArgument, NotFound
from trimtab_common.domain.snapshot import NO_HOST, Aggregate, ComputeSnapshot, ServerGroup

_MASK = (1 << 128) - 1
_FIRST_SIZE = 64
_T = TypeVar("_T", bound=np.generic)


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
        self._servers: list[ServerRow] = []
        self._slot: dict[str, int] = {}
        self._on_host: dict[str, set[str]] = {}
        self._uuid = np.zeros((_FIRST_SIZE, 16), np.uint8)
        self._host = np.full(_FIRST_SIZE, NO_HOST, np.int32)
        self._numbers = np.zeros((_FIRST_SIZE, 8), np.int64)
        self._groups: dict[str, ServerGroup] = {}
        self._groups_of: dict[str, set[str]] = {}
        self._projects: list[str] = []
        self._project_code: dict[str, int] = {}
        self._server_order: NDArray[np.intp] | None = None
        self._cached: ComputeSnapshot | None = None
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
        model = cls(epoch=epoch, revision=revision)
        for host in hosts:
            if host.hostname in model._hosts:
                raise InvalidArgument(f"Host {host.hostname} comes twice.")
            model._upsert_host(host)
        for server in servers:
            if server.uuid in model._slot:
                raise InvalidArgument(f"Server {server.uuid} comes twice.")
            model._upsert_server(server)
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
        return iter(self._servers)

    def find_host(self, hostname: str) -> HostRow | None:
        """The host with this hostname, or None."""
        return self._hosts.get(hostname)

    def find_server(self, uuid: str) -> ServerRow | None:
        """The server with this uuid, or None."""
        slot = self._slot.get(uuid)
        return None if slot is None else self._servers[slot]

    def groups(self) -> Iterable[ServerGroup]:
        """All server groups, in no order."""
        return self._groups.values()

    def find_group(self, uuid: str) -> ServerGroup | None:
        """The server group with this uuid, or None."""
        return self._groups.get(uuid)

    def groups_of(self, server: str) -> list[ServerGroup]:
        """The groups that a server is a member of; Nova allows one."""
        return [self._groups[uuid] for uuid in sorted(self._groups_of.get(server, ()))]

    def servers_on(self, hostname: str) -> frozenset[str]:
        """Uuids of the servers that Nova places on this host."""
        return frozenset(self._on_host.get(hostname, ()))

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
            elif kind == "server" and name in self._slot:
                self._hashes[key] = hash_server(self._servers[self._slot[name]])
            elif kind == "group" and name in self._groups:
                self._hashes[key] = hash_group(self._groups[name])
            self._sum += self._hashes.get(key, 0)
        self._unhashed.clear()
        total = self._sum + sum(hash_aggregate(row) for row in self.aggregates)
        return f"{total & _MASK:032x}"

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
        changes += [RemoveServer(row.uuid) for row in self._servers if row.uuid not in wanted]
        changes += [UpsertServer(row) for row in servers if self.find_server(row.uuid) != row]
        keep = {row.hostname for row in hosts}
        changes += [RemoveHost(name) for name in self._hosts if name not in keep]
        if groups is not None:
            changes += [UpsertGroup(row) for row in groups if self._groups.get(row.uuid) != row]
            named = {row.uuid for row in groups}
            changes += [RemoveGroup(uuid) for uuid in self._groups if uuid not in named]
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
                return self._upsert_group(group)
            case RemoveGroup(uuid):
                return self._remove_group(uuid)
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
        self._hosts[row.hostname] = row
        self._unhashed.add(("host", row.hostname))
        if known is None:
            slot = self._free_slots.pop() if self._free_slots else len(self._host_slot)
            if slot == len(self._used):
                self._used = _grown(self._used)
            self._host_slot[row.hostname] = slot
            slots = [self._slot[uuid] for uuid in self._on_host.get(row.hostname, ())]
            self._host[slots] = slot
            self._used[slot] = self._numbers[slots, :3].sum(axis=0)
        return True

    def _remove_host(self, hostname: str) -> bool:
        slot = self._host_slot.pop(hostname, None)
        if slot is None:
            return False
        del self._hosts[hostname]
        self._unhashed.add(("host", hostname))
        self._free_slots.append(slot)
        self._host[[self._slot[uuid] for uuid in self._on_host.get(hostname, ())]] = NO_HOST
        return True

    def _upsert_server(self, row: ServerRow) -> bool:
        slot = self._slot.get(row.uuid)
        if slot is None:
            slot = self._add_slot(row)
        elif self._servers[slot] == row:
            return False
        else:
            self._leave_host(slot)
            self._servers[slot] = row
        self._unhashed.add(("server", row.uuid))
        project = self._project_code.setdefault(row.project_id, len(self._projects))
        if project == len(self._projects):
            self._projects.append(row.project_id)
        self._numbers[slot] = (
            *row.demand, row.state, row.locked, project, row.created_at_s, row.in_flux,
        )  # fmt: skip
        host = self._host_slot.get(row.hostname, NO_HOST)
        self._host[slot] = host
        if host != NO_HOST:
            self._used[host] += row.demand
        if row.hostname:
            self._on_host.setdefault(row.hostname, set()).add(row.uuid)
        return True

    def _add_slot(self, row: ServerRow) -> int:
        slot = len(self._servers)
        if slot == len(self._host):
            self._host, self._numbers = _grown(self._host), _grown(self._numbers)
            self._uuid = _grown(self._uuid)
        self._uuid[slot] = np.frombuffer(uuid_bytes(row.uuid), np.uint8)
        self._slot[row.uuid] = slot
        self._servers.append(row)
        self._server_order = None
        return slot

    def _leave_host(self, slot: int) -> None:
        row = self._servers[slot]
        host = self._host[slot]
        if host != NO_HOST:
            self._used[host] -= row.demand
        if row.hostname:
            there = self._on_host[row.hostname]
            there.discard(row.uuid)
            if not there:
                del self._on_host[row.hostname]

    def _remove_server(self, uuid: str) -> bool:
        slot = self._slot.get(uuid)
        if slot is None:
            return False
        self._leave_host(slot)
        del self._slot[uuid]
        self._unhashed.add(("server", uuid))
        last = self._servers.pop()
        if last.uuid != uuid:
            end = len(self._servers)
            self._servers[slot] = last
            self._slot[last.uuid] = slot
            for column in (self._uuid, self._host, self._numbers):
                column[slot] = column[end]
        self._server_order = None
        for group in self.groups_of(uuid):  # its deletion is how a member leaves
            self._upsert_group(replace(group, members=group.members - {uuid}))
        return True

    def _upsert_group(self, row: ServerGroup) -> bool:
        known = self._groups.get(row.uuid)
        if known == row:
            return False
        self._groups[row.uuid] = row
        self._unhashed.add(("group", row.uuid))
        before = known.members if known is not None else frozenset[str]()
        self._leave_group(row.uuid, before - row.members)
        for server in row.members - before:
            self._groups_of.setdefault(server, set()).add(row.uuid)
        return True

    def _leave_group(self, uuid: str, servers: Iterable[str]) -> None:
        for server in servers:
            self._groups_of[server].discard(uuid)
            if not self._groups_of[server]:
                del self._groups_of[server]

    def _remove_group(self, uuid: str) -> bool:
        group = self._groups.pop(uuid, None)
        if group is None:
            return False
        self._unhashed.add(("group", uuid))
        self._leave_group(uuid, group.members)
        return True

    # -- snapshot -------------------------------------------------------------------------------

    def snapshot(self) -> ComputeSnapshot:
        """The content now, immutable: hosts by name, servers by uuid.

        The same object until something changes; then about 1 ms a thousand servers.
        """
        if self._cached is None:
            self._cached = self._take()
        return self._cached

    def _take(self) -> ComputeSnapshot:
        names = sorted(self._hosts)
        hosts = [self._hosts[name] for name in names]
        position = np.full(len(self._used) + 1, NO_HOST, np.int32)  # the last entry is for NO_HOST
        position[[self._host_slot[name] for name in names]] = np.arange(len(names))
        zones = tuple(sorted({row.zone for row in hosts if row.zone}))
        zone_index = {zone: i for i, zone in enumerate(zones)} | {"": -1}
        order = self._order()
        servers = [self._servers[slot] for slot in order.tolist()]
        numbers = self._numbers[order]
        server_host = position[self._host[order]]
        codes, back = np.unique(numbers[:, 5], return_inverse=True)
        used_projects = [self._projects[code] for code in codes.tolist()]
        by_name = np.argsort(np.array(used_projects, dtype=object), kind="stable")
        rank = np.empty(len(by_name), np.int32)
        rank[by_name] = np.arange(len(by_name))
        return ComputeSnapshot(
            epoch=self.epoch,
            revision=self.revision,
            taken_at=self.taken_at,
            host_uuid=tuple([row.uuid for row in hosts]),
            host_name=tuple(names),
            host_inventory=_table([row.inventory for row in hosts], np.int64),
            host_reserved=_table([row.reserved for row in hosts], np.int64),
            host_ratio=_table([row.ratio for row in hosts], np.float64),
            host_up=_frozen(np.array([row.up for row in hosts], np.bool_)),
            host_enabled=_frozen(np.array([row.enabled for row in hosts], np.bool_)),
            host_disabled_reason=tuple([row.disabled_reason for row in hosts]),
            host_zone=_frozen(np.array([zone_index[row.zone] for row in hosts], np.int32)),
            host_capacity_from_nova=_frozen(
                np.array([row.capacity_from_nova for row in hosts], np.bool_)
            ),
            server_uuid=_frozen(self._uuid[order]),
            server_name=tuple([row.name for row in servers]),
            server_host=_frozen(server_host),
            server_demand=_frozen(np.ascontiguousarray(numbers[:, :3])),
            server_state=_frozen(numbers[:, 3].astype(np.int8)),
            server_locked=_frozen(numbers[:, 4].astype(np.bool_)),
            server_excluded=_frozen(np.zeros(len(servers), np.bool_)),
            server_project=_frozen(rank[back].astype(np.int32)),
            server_created_at_s=_frozen(numbers[:, 6].copy()),
            server_in_flux=_frozen(numbers[:, 7].astype(np.bool_)),
            groups=tuple(sorted(self._groups.values(), key=lambda row: row.uuid)),
            projects=tuple([used_projects[i] for i in by_name.tolist()]),
            zones=zones,
            aggregates=self.aggregates,
            server_metadata={i: row.metadata for i, row in enumerate(servers) if row.metadata},
            server_state_text={i: r.state_text for i, r in enumerate(servers) if r.state_text},
            server_pinned_zone={i: r.pinned_zone for i, r in enumerate(servers) if r.pinned_zone},
            server_extra_specs={i: r.extra_specs for i, r in enumerate(servers) if r.extra_specs},
            server_scheduler_hints={
                i: row.scheduler_hints for i, row in enumerate(servers) if row.scheduler_hints
            },
            server_missing_host={
                i: servers[i].hostname
                for i in np.flatnonzero(server_host == NO_HOST).tolist()
                if servers[i].hostname
            },
            partial=self.health.partial,
            stale_reason=self.health.stale_reason,
            missing_hosts=self.health.missing_hosts,
        )

    def _order(self) -> NDArray[np.intp]:
        if self._server_order is None:
            halves = self._uuid[: len(self._servers)].view(">u8")
            self._server_order = np.lexsort((halves[:, 1], halves[:, 0]))
        return self._server_order


def _grown(column: NDArray[_T]) -> NDArray[_T]:
    return np.concatenate([column, np.zeros_like(column)])


def _frozen(array: NDArray[_T]) -> NDArray[_T]:
    array.setflags(write=False)
    return array


def _table(
    rows: list[tuple[int, int, int]] | list[tuple[float, float, float]], kind: type[_T]
) -> NDArray[_T]:
    return _frozen(np.array(rows, kind).reshape(-1, 3))
