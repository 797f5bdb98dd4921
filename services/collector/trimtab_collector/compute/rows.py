"""Nova's and Placement's records as rows of the compute model (C §3)."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab_common.domain.changes import HostRow, ServerRow
from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.snapshot import RESOURCES
from trimtab_common.openstack.nova import HypervisorRecord, ServerRecord, ServiceRecord
from trimtab_common.openstack.placement import Inventory

_MIB_PER_GIB = 1024
Inventories = Mapping[str, Inventory]


def server_row(record: ServerRecord, *, extended: bool) -> ServerRow:
    """The row of a complete server record.

    Disk counts the root disk only when the server boots from an image (C-033); swap rounds up to
    whole GiB. extended: keep pinned zone, extra specs and scheduler hints (C-035, C-037).
    """
    root_gib = record.root_gib if record.boots_from_image else 0
    disk_gib = root_gib + record.ephemeral_gib + -(-record.swap_mib // _MIB_PER_GIB)
    state = ServerState.from_nova(record.vm_state)
    return ServerRow(
        uuid=record.uuid,
        name=record.name,
        hostname=record.host,
        demand=(record.vcpus, record.memory_mib, disk_gib),
        state=state,
        state_text=record.vm_state if state is ServerState.UNKNOWN else "",
        locked=record.locked,
        project_id=record.project_id,
        metadata=record.metadata,
        pinned_zone=record.pinned_zone if extended else "",
        extra_specs=record.extra_specs if extended else {},
        created_at_s=int(record.created_at.timestamp()) if record.created_at else 0,
        scheduler_hints=record.scheduler_hints if extended else {},
        in_flux=record.task_state is not None,
    )


def host_row(
    hypervisor: HypervisorRecord,
    service: ServiceRecord | None,
    inventories: Inventories | None,
    known: HostRow | None,
) -> HostRow:
    """The row of a hypervisor.

    inventories: None when Placement did not answer; then, and for a class that Placement lacks,
    Nova's total stands in, or the last known values, or nothing fits there (C-031, C-032).
    known: the row that the model has now.
    """
    sizes = (hypervisor.vcpus, hypervisor.memory_mib, hypervisor.disk_gib)
    found = [(inventories or {}).get(resource) for resource in RESOURCES]
    values = [
        _values(found[i], sizes[i], i, known if inventories is None else None) for i in range(3)
    ]
    state = service or hypervisor
    return HostRow(
        uuid=hypervisor.uuid,
        hostname=hypervisor.host,
        inventory=(values[0].total, values[1].total, values[2].total),
        reserved=(values[0].reserved, values[1].reserved, values[2].reserved),
        ratio=(values[0].ratio, values[1].ratio, values[2].ratio),
        up=state.up,
        enabled=state.enabled,
        disabled_reason=None if state.enabled else state.disabled_reason,
        zone=service.zone if service else (known.zone if known else ""),
        capacity_from_nova=None in found,
    )


def _values(
    found: Inventory | None, size: int | None, resource: int, known: HostRow | None
) -> Inventory:
    if found is not None:
        return found
    if known is not None:
        return Inventory(known.inventory[resource], known.reserved[resource], known.ratio[resource])
    return Inventory(size or 0, 0, 1.0)
