"""One row of each data model."""

from __future__ import annotations

from trimtab_common.domain.fields import Field, JsonType, Kept, Resource
from trimtab_common.domain.resources._members import BOOLEAN, LIST, NUMBER, OBJECT, SHORT, STRING


def _cell(name: str, type_: JsonType, *, nullable: bool = False, since: int = 0) -> Field:
    return Field(
        name=name, type=type_, shown=SHORT, kept=Kept.COMPUTED, nullable=nullable, since=since
    )


_NODE_NUMBERS = (
    *("memory", "memory_mb_reserved", "disk", "disk_gb_reserved", "vcpus", "vcpu_reserved"),
    *("memory_ratio", "vcpu_ratio", "disk_ratio"),
)
_CAPACITIES = ("total", "free", "provisioned", "allocated")

DATA_MODEL = Resource(
    name="data_model",
    plural="context",
    record=None,
    fields=(
        _cell("node_uuid", STRING),
        _cell("node_hostname", STRING),
        _cell("node_status", STRING),
        _cell("node_disabled_reason", STRING, nullable=True),
        _cell("node_state", STRING),
        *(_cell(f"node_{name}", NUMBER) for name in _NODE_NUMBERS),
        _cell("server_uuid", STRING),
        _cell("server_name", STRING),
        _cell("server_state", STRING),
        _cell("server_vcpus", NUMBER),
        _cell("server_memory", NUMBER),
        _cell("server_disk", NUMBER),
        _cell("server_metadata", OBJECT),
        _cell("server_project_id", STRING),
        _cell("server_locked", BOOLEAN),
        _cell("server_watcher_exclude", BOOLEAN),
        _cell("server_pinned_az", STRING, nullable=True, since=6),
        _cell("server_flavor_extra_specs", OBJECT, since=6),
    ),
)
"""One row of the data model; a node without servers has only the node_* fields (A-071)."""

STORAGE_MODEL = Resource(
    name="storage_model",
    plural="context",
    record=None,
    fields=(
        _cell("storage_node_host", STRING),
        _cell("storage_node_zone", STRING),
        _cell("storage_node_status", STRING),
        _cell("storage_node_disabled_reason", STRING, nullable=True),
        _cell("storage_node_state", STRING),
        _cell("storage_node_volume_types", LIST),
        _cell("pool_name", STRING),
        _cell("pool_total_volumes", NUMBER),
        *(_cell(f"pool_{name}_capacity_gb", NUMBER, nullable=True) for name in _CAPACITIES),
        _cell("pool_virtual_free", NUMBER),
        _cell("volume_uuid", STRING),
        _cell("volume_name", STRING),
        _cell("volume_size", NUMBER),
        _cell("volume_status", STRING),
        _cell("volume_type", STRING),
        _cell("volume_attachments", LIST),
        _cell("volume_multiattach", BOOLEAN),
        _cell("volume_snapshot_id", STRING, nullable=True),
        _cell("volume_project_id", STRING),
        _cell("volume_metadata", OBJECT),
        _cell("volume_bootable", BOOLEAN),
    ),
)
"""A volume in its pool; a pool without volumes has only the storage_node_* and pool_* fields (C-114)."""

BAREMETAL_MODEL = Resource(
    name="baremetal_model",
    plural="context",
    record=None,
    fields=(
        _cell("ironic_node_uuid", STRING),
        _cell("ironic_node_human_id", STRING),
        _cell("ironic_node_power_state", STRING),
        _cell("ironic_node_maintenance", BOOLEAN),
        _cell("ironic_node_maintenance_reason", STRING, nullable=True),
        _cell("ironic_node_extra", OBJECT),
        _cell("ironic_node_compute_node_id", STRING, nullable=True),
    ),
)
"""A machine; those of MaaS are shown in the same words (C-114)."""
