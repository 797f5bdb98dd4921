"""Reads the baremetal model: all machines, in one list (C-082)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from trimtab_collector.element_reads import ElementRead
from trimtab_collector.reads import IncrementalRead
from trimtab_common.domain.baremetal import NODE, BaremetalNodeRow
from trimtab_common.domain.changes import SetHealth
from trimtab_common.domain.elements import ElementModel, Remove, Upsert
from trimtab_common.domain.errors import DeadlineExceeded, NotFound
from trimtab_common.openstack.ironic import MachineReader, MachineRecord

log = structlog.get_logger(__name__)
_OVERLAP = timedelta(seconds=10)


class BaremetalReader:
    """Reads through Ironic's or MaaS's client."""

    def __init__(self, source: MachineReader, *, timeout_s: float = 600.0) -> None:
        self._source = source
        self._timeout_s = timeout_s
        self._warned: frozenset[str] = frozenset()

    async def read_all(self, model: ElementModel) -> ElementRead:  # noqa: ARG002, the protocol's name
        """All machines. Unavailable, DeadlineExceeded...: nothing was read."""
        since = datetime.now(UTC) - _OVERLAP
        try:
            async with asyncio.timeout(self._timeout_s):
                records = await self._source.machines()
        except TimeoutError:
            raise DeadlineExceeded(
                f"The list of machines: not complete within {self._timeout_s:.0f} s."
            ) from None
        rows = [machine_row(record) for record in records]
        nameless = frozenset([row.uuid for row in rows if not row.compute_node_id])
        if nameless - self._warned:
            log.warning(
                "machines without extra.compute_node_id cannot be switched on or off",
                machines=sorted(nameless)[:10],
            )
        self._warned = nameless
        return ElementRead(elements=rows, health=SetHealth(), since=since)

    async def read_changes(
        self,
        model: ElementModel,
        since: datetime,  # noqa: ARG002, there is no list of what changed since
        *,
        thorough: bool,  # noqa: ARG002, same
    ) -> IncrementalRead:
        """What changed: all is read and compared."""
        read = await self.read_all(model)
        return IncrementalRead(changes=read.changes_to(model), since=read.since)

    async def read_elements(
        self,
        model: ElementModel,  # noqa: ARG002, the protocol's name
        *,
        servers: Collection[str],
        hosts: Collection[str],  # noqa: ARG002, machines are known by uuid alone
    ) -> list[Any]:
        """These machines as they are now."""
        changes: list[Any] = []
        for uuid in servers:
            try:
                changes.append(Upsert(machine_row(await self._source.machine(uuid))))
            except NotFound:
                changes.append(Remove(NODE, uuid))
        return changes


def machine_row(record: MachineRecord) -> BaremetalNodeRow:
    """The row of a machine."""
    return BaremetalNodeRow(
        uuid=record.uuid,
        human_id=record.name,
        power_state=record.power_state,
        power_text=record.power_text,
        maintenance=record.maintenance,
        maintenance_reason=record.maintenance_reason,
        compute_node_id=record.compute_node_id,
        instance_uuid=record.instance_uuid,
        extra=record.extra,
        up_when_off=record.up_when_off,
        fault=record.fault,
        can_boot_from_volume=record.can_boot_from_volume,
    )
