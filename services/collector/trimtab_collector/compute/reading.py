"""Reads the compute model from Nova and Placement: in full, or what changed since.

A full read is a handful of bulk lists and one inventory a host, a few at once (C-040, C-043). It is
never published half: what is missing is named (C-042), what fails raises.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from trimtab_collector.compute.full_read import FullRead
from trimtab_collector.compute.hosts import HostReading, virtual
from trimtab_collector.compute.loading import EVERYTHING, Loaded, LoadScope
from trimtab_collector.compute.rows import Inventories, server_row
from trimtab_collector.compute.steps import step
from trimtab_collector.reads import IncrementalRead
from trimtab_common.domain.changes import (
    Change,
    RemoveGroup,
    RemoveServer,
    ServerRow,
    SetAggregates,
    SetHealth,
    UpsertGroup,
    UpsertHost,
    UpsertServer,
)
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.compute_terms import Aggregate, ServerGroup
from trimtab_common.domain.errors import (
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from trimtab_common.openstack.nova import (
    HypervisorRecord,
    NovaReader,
    ServerPage,
    ServerRecord,
    ServiceRecord,
)
from trimtab_common.openstack.placement import PlacementReader
from trimtab_common.runtime.general_pool import DEFAULT_WORKERS

log = structlog.get_logger(__name__)
GONE = frozenset({"deleted", "soft-delete"})
"""States of servers that a whole list leaves out and a list of changes has."""
_OVERLAP = timedelta(seconds=10)


class ComputeReader:
    """Reads through Nova's and Placement's clients; `model` is what is known, never changed here.

    timeout_s: bound of each waiting step (C-040). loaded: which part of the cloud is read. at_once: how
    many hosts are read at the same time.
    """

    def __init__(
        self,
        nova: NovaReader,
        placement: PlacementReader,
        *,
        extended: bool = False,
        timeout_s: float = 600.0,
        loaded: Loaded | None = None,
        at_once: int = DEFAULT_WORKERS,
    ) -> None:
        self.loaded = loaded or Loaded(EVERYTHING)
        self._nova = nova
        self._extended = extended
        self._timeout_s = timeout_s
        self._lists_at_once = asyncio.Semaphore(at_once)
        self._hosts = HostReading(nova, placement, at_once=at_once, timeout_s=timeout_s)
        self._cells_away = False

    async def read_all(self, model: ComputeModel) -> FullRead:
        """All that is to be loaded. Unavailable, DeadlineExceeded...: nothing was read.

        The whole cloud comes as lists. Of a part, each host is asked for what is on it as soon as its own
        capacity is known, while others are still asked for theirs (B-067).
        """
        await self._nova.check_version()
        self._hosts.forget()
        everything = self.loaded.scope is None or self.loaded.scope.is_everything
        async with step("Nova's lists", self._timeout_s) as group:
            hypervisors = group.create_task(self._nova.hypervisors())
            services = group.create_task(self._nova.services())
            aggregates = group.create_task(self._nova.aggregates())
            groups = group.create_task(self._groups())
            reading = group.create_task(self._pages(None)) if everything else None
            names = None if everything else self._resolved(await aggregates, await services)
            if names is None:
                found = await hypervisors
                asking = group.create_task(self._hosts.inventories(found))
        if reading is None:
            found = [row for row in hypervisors.result() if row.host in (names or ())]
            inventories, pages = await self._hosts_and_servers(found, names or ())
        else:
            inventories, pages = asking.result(), reading.result()
        hosts, missing = self._hosts.joined(
            found,
            [row for row in services.result() if names is None or row.host in names],
            inventories,
            model,
        )
        self.loaded.brought(names)
        servers: dict[str, ServerRow] = {}
        self._cells_away = False
        for page in pages:
            for record in page.servers:
                row = self._server(record, model)
                self._cells_away = self._cells_away or not record.complete
                if row is not None:
                    servers[row.uuid] = row
            await asyncio.sleep(0)  # a page is 10 ms of work; others want the loop too
        return FullRead(
            hosts=hosts,
            servers=list(servers.values()),
            aggregates=aggregates.result(),
            health=self._health(missing),
            since=min((page.date for page in pages), default=datetime.now(UTC)) - _OVERLAP,
            groups=groups.result(),
        )

    async def read_hosts(self, model: ComputeModel, names: Collection[str]) -> list[Change]:
        """These hosts and what is on them, to be added to the model (C-046)."""
        async with step("Nova's lists", self._timeout_s) as group:
            services = group.create_task(self._nova.services())
            listing = group.create_task(self._nova.hypervisors())
        hypervisors = [row for row in listing.result() if row.host in names]
        inventories, pages = await self._hosts_and_servers(hypervisors, names)
        rows, _missing = self._hosts.joined(hypervisors, services.result(), inventories, model)
        changes: list[Change] = [UpsertHost(row) for row in rows if row.hostname in names]
        for page in pages:
            servers = [self._server(record, model) for record in page.servers]
            changes += [UpsertServer(row) for row in servers if row is not None]
        return changes

    async def hosts_of(self, scope: LoadScope) -> frozenset[str]:
        """Names of the hosts in a scope, as Nova tells them now."""
        async with step("Nova's aggregates and services", self._timeout_s) as group:
            services = group.create_task(self._nova.services())
            aggregates = group.create_task(self._nova.aggregates())
        return scope.hosts(aggregates.result(), services.result())

    async def read_changes(
        self, model: ComputeModel, since: datetime, *, thorough: bool
    ) -> IncrementalRead:
        """What changed since; repeating what is known is harmless.

        thorough: look at aggregates and server groups too, and again at hosts that Placement did not
        answer for.
        """
        async with step("Nova's changes", self._timeout_s) as group:
            services = group.create_task(self._nova.services())
            reading = group.create_task(self._pages(since))
            indexing = group.create_task(self._nova.aggregates()) if thorough else None
            grouping = group.create_task(self._groups()) if thorough else None
        pages = reading.result()
        changes = (
            await self._joined(indexing.result(), services.result(), model) if indexing else []
        )
        admitted = [row for row in services.result() if self.loaded.admits(row.host)]
        changes += await self._hosts.changes(admitted, model)
        for page in pages:
            for record in page.servers:
                if is_gone(record):
                    changes.append(RemoveServer(record.uuid))
                elif (row := self._server(record, model)) is not None:
                    changes.append(UpsertServer(row))
                elif model.find_server(record.uuid) is not None:
                    changes.append(RemoveServer(record.uuid))  # it left what is loaded
        if grouping is not None and (groups := grouping.result()) is not None:
            changes += _group_changes(groups, model)
        if indexing is not None and indexing.result() != model.aggregates:
            changes.append(SetAggregates(indexing.result()))
        if thorough and self._hosts.some_unanswered:
            changes += await self._ask_placement_again(services.result(), model)
        return IncrementalRead(changes=changes, since=pages[0].date - _OVERLAP)

    async def read_elements(
        self, model: ComputeModel, *, servers: Collection[str], hosts: Collection[str]
    ) -> list[Change]:
        """These servers and hosts as they are now; nothing for a host that Nova does not list."""
        changes: list[Change] = []
        async with step("single elements", self._timeout_s) as group:
            reading = [group.create_task(self._read_server(uuid, model)) for uuid in servers]
            if hosts:
                services = group.create_task(self._nova.services())
                listing = group.create_task(self._nova.hypervisors())
        if hosts:
            hypervisors = [record for record in listing.result() if record.host in hosts]
            rows, _missing = await self._hosts.rows(hypervisors, services.result(), model)
            wanted = {name for name in hosts if self.loaded.admits(name)}
            changes += [UpsertHost(row) for row in rows if row.hostname in wanted]
        return changes + [change for task in reading for change in task.result()]

    async def _read_server(self, uuid: str, model: ComputeModel) -> list[Change]:
        try:
            record = await self._nova.server(uuid)
        except NotFound:
            return [RemoveServer(uuid)]
        if is_gone(record):
            return [RemoveServer(uuid)]
        row = self._server(record, model)
        if row is not None:
            return [UpsertServer(row)]
        return [RemoveServer(uuid)] if record.complete else []

    def _resolved(
        self, aggregates: Sequence[Aggregate], services: Sequence[ServiceRecord]
    ) -> frozenset[str]:
        names = (self.loaded.scope or EVERYTHING).hosts(aggregates, services)
        if not names:
            log.warning("the scope contains no host, the model is empty", scope=self.loaded.scope)
        return names

    async def _joined(
        self,
        aggregates: Sequence[Aggregate],
        services: Sequence[ServiceRecord],
        model: ComputeModel,
    ) -> list[Change]:
        """Hosts that came into an aggregate or zone that is loaded, with what is on them."""
        loaded = self.loaded
        if loaded.hosts is None or loaded.scope is None:
            return []
        new = loaded.scope.hosts(aggregates, services) - loaded.hosts
        if not new:
            return []
        loaded.hosts |= new
        return await self.read_hosts(model, new)

    async def _hosts_and_servers(
        self, hypervisors: Sequence[HypervisorRecord], names: Collection[str]
    ) -> tuple[dict[str, Inventories], list[ServerPage]]:
        """Capacities of these hosts, and the servers of all that are named."""
        pages: list[ServerPage] = []

        async def servers_of(name: str) -> None:
            async with self._lists_at_once:
                pages.extend([page async for page in self._nova.servers(host=name)])

        without = set(names) - {record.host for record in virtual(hypervisors)}
        async with step("hosts and what is on them", self._timeout_s) as group:
            for name in sorted(without):  # a service whose hypervisor is not to be seen
                group.create_task(servers_of(name))
            asking = group.create_task(self._hosts.inventories(hypervisors, then=servers_of))
        return asking.result(), pages

    async def _groups(self) -> list[ServerGroup] | None:
        try:
            return await self._nova.server_groups()
        except (NotFound, PermissionDenied) as error:
            log.warning("no server groups: affinity is not known", problem=error.message)
            return None

    async def _pages(self, since: datetime | None) -> list[ServerPage]:
        return [page async for page in self._nova.servers(since)]

    def _server(self, record: ServerRecord, model: ComputeModel) -> ServerRow | None:
        if not record.complete:
            return model.find_server(record.uuid)  # its cell is away: what is known still holds
        if is_gone(record) or not self.loaded.admits(record.host):
            return None
        try:
            return server_row(record, extended=self._extended)
        except InvalidArgument as error:
            log.warning("a server makes no sense, what is known stays", problem=error.message)
            return model.find_server(record.uuid)

    async def _ask_placement_again(
        self, services: Sequence[ServiceRecord], model: ComputeModel
    ) -> list[Change]:
        rows, answered = await self._hosts.unanswered(services, model)
        changes: list[Change] = [UpsertHost(row) for row in rows]
        left = tuple(name for name in model.health.missing_hosts if name not in answered)
        if left != model.health.missing_hosts:
            changes.append(self._health(left))
        return changes

    def _health(self, missing: tuple[str, ...]) -> SetHealth:
        return SetHealth(partial=bool(missing) or self._cells_away, missing_hosts=missing)


def is_gone(record: ServerRecord) -> bool:
    """Whether Nova lists it no longer, unless asked for what changed."""
    return record.terminated or record.vm_state in GONE


def _group_changes(groups: Sequence[ServerGroup], model: ComputeModel) -> list[Change]:
    named = {row.uuid for row in groups}
    changes: list[Change] = [UpsertGroup(r) for r in groups if model.find_group(r.uuid) != r]
    changes += [RemoveGroup(row.uuid) for row in model.groups() if row.uuid not in named]
    return changes
