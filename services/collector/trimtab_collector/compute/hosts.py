"""Reads hosts: Nova's hypervisors and services, and Placement's inventories, a few at once."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from trimtab_collector.compute.rows import Inventories, host_row
from trimtab_collector.compute.steps import step
from trimtab_common.domain.changes import Change, HostRow, RemoveHost, UpsertHost
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    TrimtabError,
    Unavailable,
)
from trimtab_common.openstack.nova import HypervisorRecord, NovaReader, ServiceRecord
from trimtab_common.openstack.placement import PlacementReader

log = structlog.get_logger(__name__)
IRONIC = "ironic"


async def _nothing(_host: str) -> None:
    """What follows a host by default."""


class HostReading:
    """Rows of hosts. at_once: how many of them are asked for at the same time.

    Remembers between reads which hosts Placement did not answer for, and which services have no
    hypervisor yet.
    """

    def __init__(
        self, nova: NovaReader, placement: PlacementReader, *, at_once: int, timeout_s: float
    ) -> None:
        self._nova = nova
        self._placement = placement
        self._free = asyncio.Semaphore(at_once)
        self._timeout_s = timeout_s
        self._strangers: dict[str, int] = {}
        self._unanswered: set[str] = set()
        self._strange_to_placement: set[str] = set()

    @property
    def some_unanswered(self) -> bool:
        """Whether there are hosts that Placement did not answer for."""
        return bool(self._unanswered)

    def forget(self) -> None:
        """Before a full read, which asks for all of them."""
        self._strangers.clear()
        self._unanswered.clear()

    async def rows(
        self,
        hypervisors: Sequence[HypervisorRecord],
        services: Sequence[ServiceRecord],
        model: ComputeModel,
        *,
        then: Callable[[str], Awaitable[None]] = _nothing,
    ) -> tuple[list[HostRow], tuple[str, ...]]:
        """Rows of the hosts, and the names of those whose capacity is not known."""
        inventories = await self.inventories(hypervisors, then=then)
        return self.joined(hypervisors, services, inventories, model)

    async def inventories(
        self,
        hypervisors: Sequence[HypervisorRecord],
        *,
        then: Callable[[str], Awaitable[None]] = _nothing,
    ) -> dict[str, Inventories]:
        """By hostname, without those that Placement does not answer for.

        then: what follows as soon as one host is done, beside the others (B-067).
        """
        found: dict[str, Inventories] = {}
        failures: list[TrimtabError] = []

        async def read(record: HypervisorRecord) -> None:
            async with self._free:
                await self._inventory(record, found, failures)
            await then(record.host)

        wanted = virtual(hypervisors)
        async with step("Placement's inventories", self._timeout_s) as group:
            for record in wanted:
                group.create_task(read(record))
        if failures:
            log.warning(
                "Placement does not answer for all hosts, Nova's or known sizes stand in",
                answered=len(found),
                hosts=len(wanted),
                problem=failures[0].message,
            )
        return found

    def joined(
        self,
        hypervisors: Sequence[HypervisorRecord],
        services: Sequence[ServiceRecord],
        inventories: Mapping[str, Inventories],
        model: ComputeModel,
    ) -> tuple[list[HostRow], tuple[str, ...]]:
        """What was read of hosts as rows, and the names of those whose capacity is not known."""
        wanted = virtual(hypervisors)
        service_of = {service.host: service for service in services if service.complete}
        self._unanswered -= inventories.keys()
        self._unanswered |= {record.host for record in wanted} - inventories.keys()
        rows: dict[str, HostRow] = {}
        missing: set[str] = set()
        for record in wanted:
            service, known = service_of.get(record.host), model.find_host(record.host)
            try:
                row = host_row(record, service, inventories.get(record.host), known)
            except InvalidArgument as error:
                log.warning("a host makes no sense, what is known stays", problem=error.message)
                missing.add(record.host)
                if known is None:
                    continue
                row = known
            rows[record.host] = row
        # sizes that are known from before, or from Nova, stand in, but the model says so
        refused = self._unanswered - self._strange_to_placement
        missing |= {n for n, row in rows.items() if n in refused or not any(row.inventory)}
        for service in services:
            known = model.find_host(service.host)
            if not service.complete and service.host not in rows and known is not None:
                rows[service.host] = known  # its cell is away: what is known still holds
                missing.add(service.host)
        return list(rows.values()), tuple(sorted(missing))

    async def unanswered(
        self, services: Sequence[ServiceRecord], model: ComputeModel
    ) -> tuple[list[HostRow], set[str]]:
        """Asks again for the hosts that Placement did not answer for: their rows, and who has one."""
        names = set(self._unanswered)
        hypervisors = [record for record in await self._nova.hypervisors() if record.host in names]
        rows, _missing = await self.rows(hypervisors, services, model)
        answered = names - self._unanswered
        return [row for row in rows if row.hostname in answered], answered

    async def changes(self, services: Sequence[ServiceRecord], model: ComputeModel) -> list[Change]:
        """What the services say of the hosts; new hosts are read."""
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
        changes += await self._new(new, model)
        if services:  # no service at all is more likely an error than an empty cloud
            alive = {service.host for service in services}
            gone = [row.hostname for row in model.hosts() if row.hostname not in alive]
            changes += [RemoveHost(name) for name in gone]
        return changes

    async def _new(self, services: Sequence[ServiceRecord], model: ComputeModel) -> list[Change]:
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
        rows, _missing = await self.rows(hypervisors, due, model)
        for row in rows:
            self._strangers.pop(row.hostname, None)
        return [UpsertHost(row) for row in rows]

    async def _inventory(
        self,
        record: HypervisorRecord,
        found: dict[str, Inventories],
        failures: list[TrimtabError],
    ) -> None:
        self._strange_to_placement.discard(record.host)
        if any(isinstance(error, Unavailable | DeadlineExceeded) for error in failures):
            return  # it is away: the others would only wait
        try:
            found[record.host] = await self._placement.inventories(record.uuid)
        except NotFound:
            self._strange_to_placement.add(record.host)
            log.warning("no resource provider", host=record.host, uuid=record.uuid)
        except TrimtabError as error:
            failures.append(error)


def virtual(hypervisors: Sequence[HypervisorRecord]) -> list[HypervisorRecord]:
    """Without those of Ironic, which are whole machines."""
    return [record for record in hypervisors if record.kind.lower() != IRONIC]
