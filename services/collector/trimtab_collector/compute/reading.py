"""Reads the compute model from Nova and Placement: in full, or what changed since.

A full read is a handful of bulk lists and one inventory a host, at most 16 at once (C-043). It is
never published half: what is missing is named (C-042), what fails raises.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import structlog

from trimtab_collector.compute.full_read import FullRead
from trimtab_collector.compute.loading import EVERYTHING, Loaded, LoadScope
from trimtab_collector.compute.rows import Inventories, host_row, server_row
from trimtab_collector.reads import IncrementalRead
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
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import (
    DeadlineExceeded,
    NotFound,
    PermissionDenied,
    TrimtabError,
    Unavailable,
)
from trimtab_common.domain.snapshot import Aggregate, ServerGroup
from trimtab_common.openstack.nova import (
    HypervisorRecord,
    NovaReader,
    ServerPage,
    ServerRecord,
    ServiceRecord,
)
from trimtab_common.openstack.placement import PlacementReader

log = structlog.get_logger(__name__)
IRONIC = "ironic"
GONE = frozenset({"deleted", "soft-delete"})
"""States of servers that a whole list leaves out and a list of changes has."""
_INVENTORIES_AT_ONCE = 16
_LISTS_AT_ONCE = 4
_OVERLAP = timedelta(seconds=10)


class ComputeReader:
    """Reads through Nova's and Placement's clients; `model` is what is known, never changed here.

    timeout_s: bound of each waiting step (C-040). loaded: which part of the cloud is read.
    """

    def __init__(
        self,
        nova: NovaReader,
        placement: PlacementReader,
        *,
        extended: bool = False,
        timeout_s: float = 600.0,
        loaded: Loaded | None = None,
    ) -> None:
        self.loaded = loaded or Loaded(EVERYTHING)
        self._nova = nova
        self._placement = placement
        self._extended = extended
        self._timeout_s = timeout_s
        self._strangers: dict[str, int] = {}
        self._unanswered: set[str] = set()
        self._cells_away = False

    async def read_all(self, model: ComputeModel) -> FullRead:
        """All that is to be loaded. Unavailable, DeadlineExceeded...: nothing was read."""
        await self._nova.check_version()
        self._strangers.clear()
        self._unanswered.clear()
        everything = self.loaded.scope is None or self.loaded.scope.is_everything
        async with _step("Nova's lists", self._timeout_s) as step:
            hypervisors = step.create_task(self._nova.hypervisors())
            services = step.create_task(self._nova.services())
            aggregates = step.create_task(self._nova.aggregates())
            groups = step.create_task(self._groups())
            reading = step.create_task(self._pages(None)) if everything else None
            listed = await hypervisors
            names = None if everything else self._resolved(await aggregates, await services)
            found = [row for row in listed if names is None or row.host in names]
            asking = step.create_task(self._inventories(found))
        pages = reading.result() if reading is not None else await self._pages_of(names or ())
        hosts, missing = self._host_rows(
            found,
            [row for row in services.result() if names is None or row.host in names],
            asking.result(),
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
        async with _step("Nova's lists", self._timeout_s) as step:
            services = step.create_task(self._nova.services())
            listing = step.create_task(self._nova.hypervisors())
        pages = await self._pages_of(names)
        hypervisors = [row for row in listing.result() if row.host in names]
        rows, _missing = await self._hosts(hypervisors, services.result(), model)
        changes: list[Change] = [UpsertHost(row) for row in rows if row.hostname in names]
        for page in pages:
            servers = [self._server(record, model) for record in page.servers]
            changes += [UpsertServer(row) for row in servers if row is not None]
        return changes

    async def hosts_of(self, scope: LoadScope) -> frozenset[str]:
        """Names of the hosts in a scope, as Nova tells them now."""
        async with _step("Nova's aggregates and services", self._timeout_s) as step:
            services = step.create_task(self._nova.services())
            aggregates = step.create_task(self._nova.aggregates())
        return scope.hosts(aggregates.result(), services.result())

    async def read_changes(
        self, model: ComputeModel, since: datetime, *, thorough: bool
    ) -> IncrementalRead:
        """What changed since; repeating what is known is harmless.

        thorough: look at aggregates and server groups too, and again at hosts that Placement did not
        answer for.
        """
        async with _step("Nova's changes", self._timeout_s) as step:
            services = step.create_task(self._nova.services())
            reading = step.create_task(self._pages(since))
            indexing = step.create_task(self._nova.aggregates()) if thorough else None
            grouping = step.create_task(self._groups()) if thorough else None
        pages = reading.result()
        changes = (
            await self._joined(indexing.result(), services.result(), model) if indexing else []
        )
        admitted = [row for row in services.result() if self.loaded.admits(row.host)]
        changes += await self._host_changes(admitted, model)
        for page in pages:
            for record in page.servers:
                if record.vm_state in GONE:
                    changes.append(RemoveServer(record.uuid))
                elif (row := self._server(record, model)) is not None:
                    changes.append(UpsertServer(row))
                elif model.find_server(record.uuid) is not None:
                    changes.append(RemoveServer(record.uuid))  # it left what is loaded
        if grouping is not None and (groups := grouping.result()) is not None:
            changes += _group_changes(groups, model)
        if indexing is not None and indexing.result() != model.aggregates:
            changes.append(SetAggregates(indexing.result()))
        if thorough and self._unanswered:
            changes += await self._ask_placement_again(services.result(), model)
        return IncrementalRead(changes=changes, since=pages[0].date - _OVERLAP)

    async def read_elements(
        self, model: ComputeModel, *, servers: Collection[str], hosts: Collection[str]
    ) -> list[Change]:
        """These servers and hosts as they are now; nothing for a host that Nova does not list."""
        changes: list[Change] = []
        async with _step("single elements", self._timeout_s) as step:
            reading = [step.create_task(self._read_server(uuid, model)) for uuid in servers]
            if hosts:
                services = step.create_task(self._nova.services())
                listing = step.create_task(self._nova.hypervisors())
        if hosts:
            hypervisors = [record for record in listing.result() if record.host in hosts]
            rows, _missing = await self._hosts(hypervisors, services.result(), model)
            wanted = {name for name in hosts if self.loaded.admits(name)}
            changes += [UpsertHost(row) for row in rows if row.hostname in wanted]
        return changes + [change for task in reading for change in task.result()]

    async def _read_server(self, uuid: str, model: ComputeModel) -> list[Change]:
        try:
            record = await self._nova.server(uuid)
        except NotFound:
            return [RemoveServer(uuid)]
        if record.vm_state in GONE:
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

    async def _pages_of(self, names: Collection[str]) -> list[ServerPage]:
        """The servers of these hosts, of a few hosts at once."""
        free = asyncio.Semaphore(_LISTS_AT_ONCE)
        pages: list[ServerPage] = []

        async def read(name: str) -> None:
            async with free:
                pages.extend([page async for page in self._nova.servers(host=name)])

        async with _step("servers of hosts", self._timeout_s) as step:
            for name in sorted(names):
                step.create_task(read(name))
        return pages

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
        if record.vm_state in GONE or not self.loaded.admits(record.host):
            return None
        return server_row(record, extended=self._extended)

    async def _hosts(
        self,
        hypervisors: Sequence[HypervisorRecord],
        services: Sequence[ServiceRecord],
        model: ComputeModel,
    ) -> tuple[list[HostRow], tuple[str, ...]]:
        """Rows of the hosts, and the names of those whose capacity is not known."""
        inventories = await self._inventories(hypervisors)
        return self._host_rows(hypervisors, services, inventories, model)

    def _host_rows(
        self,
        hypervisors: Sequence[HypervisorRecord],
        services: Sequence[ServiceRecord],
        inventories: Mapping[str, Inventories],
        model: ComputeModel,
    ) -> tuple[list[HostRow], tuple[str, ...]]:
        wanted = _virtual(hypervisors)
        service_of = {service.host: service for service in services if service.complete}
        self._unanswered -= inventories.keys()
        self._unanswered |= {record.host for record in wanted} - inventories.keys()
        rows: dict[str, HostRow] = {}
        for record in wanted:
            rows[record.host] = host_row(
                record,
                service_of.get(record.host),
                inventories.get(record.host),
                model.find_host(record.host),
            )
        missing = {name for name, row in rows.items() if not any(row.inventory)}
        for service in services:
            known = model.find_host(service.host)
            if not service.complete and service.host not in rows and known is not None:
                rows[service.host] = known  # its cell is away: what is known still holds
                missing.add(service.host)
        return list(rows.values()), tuple(sorted(missing))

    async def _ask_placement_again(
        self, services: Sequence[ServiceRecord], model: ComputeModel
    ) -> list[Change]:
        names = set(self._unanswered)
        hypervisors = [record for record in await self._nova.hypervisors() if record.host in names]
        rows, _missing = await self._hosts(hypervisors, services, model)
        answered = names - self._unanswered
        changes: list[Change] = [UpsertHost(row) for row in rows if row.hostname in answered]
        left = tuple(name for name in model.health.missing_hosts if name not in answered)
        if left != model.health.missing_hosts:
            changes.append(self._health(left))
        return changes

    def _health(self, missing: tuple[str, ...]) -> SetHealth:
        return SetHealth(partial=bool(missing) or self._cells_away, missing_hosts=missing)

    async def _inventories(self, hosts: Sequence[HypervisorRecord]) -> dict[str, Inventories]:
        """By hostname, without those that Placement does not answer for."""
        found: dict[str, Inventories] = {}
        free = asyncio.Semaphore(_INVENTORIES_AT_ONCE)
        failures: list[TrimtabError] = []

        async def read(record: HypervisorRecord) -> None:
            async with free:
                if any(isinstance(error, Unavailable | DeadlineExceeded) for error in failures):
                    return  # it is away: the others would only wait
                try:
                    found[record.host] = await self._placement.inventories(record.uuid)
                except NotFound:
                    log.warning("no resource provider", host=record.host, uuid=record.uuid)
                except TrimtabError as error:
                    failures.append(error)

        async with _step("Placement's inventories", self._timeout_s) as step:
            for record in _virtual(hosts):
                step.create_task(read(record))
        if failures:
            log.warning(
                "Placement does not answer for all hosts, Nova's or known sizes stand in",
                answered=len(found),
                hosts=len(hosts),
                problem=failures[0].message,
            )
        return found

    async def _host_changes(
        self, services: Sequence[ServiceRecord], model: ComputeModel
    ) -> list[Change]:
        changes: list[Change] = []
        new = []
        for service in services:
            known = model.find_host(service.host)
            if known is None:
                new.append(service)
            if known is None or not service.complete:
                continue
            row = dataclasses.replace(
                known,
                up=service.up,
                enabled=service.enabled,
                disabled_reason=None if service.enabled else service.disabled_reason,
                zone=service.zone or known.zone,
            )
            if row != known:
                changes.append(UpsertHost(row))
        changes += await self._new_hosts(new, model)
        if services:  # no service at all is more likely an error than an empty cloud
            alive = {service.host for service in services}
            gone = [row.hostname for row in model.hosts() if row.hostname not in alive]
            changes += [RemoveHost(name) for name in gone]
        return changes

    async def _new_hosts(
        self, services: Sequence[ServiceRecord], model: ComputeModel
    ) -> list[Change]:
        """Hosts whose hypervisor appeared; those without one are asked for ever more rarely."""
        due = []
        for service in services:
            polls = self._strangers[service.host] = self._strangers.get(service.host, 0) + 1
            if polls & (polls - 1) == 0:  # the 1st, 2nd, 4th, 8th ... poll (C-062)
                due.append(service)
        if not due:
            return []
        names = {service.host for service in due}
        hypervisors = [record for record in await self._nova.hypervisors() if record.host in names]
        rows, _missing = await self._hosts(hypervisors, due, model)
        for row in rows:
            self._strangers.pop(row.hostname, None)
        return [UpsertHost(row) for row in rows]


def _group_changes(groups: Sequence[ServerGroup], model: ComputeModel) -> list[Change]:
    named = {row.uuid for row in groups}
    changes: list[Change] = [UpsertGroup(r) for r in groups if model.find_group(r.uuid) != r]
    changes += [RemoveGroup(row.uuid) for row in model.groups() if row.uuid not in named]
    return changes


def _virtual(hypervisors: Sequence[HypervisorRecord]) -> list[HypervisorRecord]:
    """Without those of Ironic, which are whole machines."""
    return [record for record in hypervisors if record.kind.lower() != IRONIC]


@asynccontextmanager
async def _step(what: str, timeout_s: float) -> AsyncIterator[asyncio.TaskGroup]:
    """Things done at once within a time; the first failure ends the rest and is the one raised."""
    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    except TimeoutError:
        raise DeadlineExceeded(f"{what}: not complete within {timeout_s:.0f} s.") from None
