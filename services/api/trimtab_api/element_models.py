"""The storage and baremetal models as rows (C-114). Read from collector, cut to a scope there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from trimtab_common.domain.baremetal import BaremetalNodeRow
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.storage import PoolRow, StorageNodeRow, VolumeRow, node_of

Json = Any


def body(kind: str, snapshot: ElementSnapshot | None) -> bytes:
    """The answer of GET /v1/data_model for this kind; no rows when no model was built yet."""
    return orjson.dumps({"context": [] if snapshot is None else list(_ROWS[kind](snapshot))})


def _storage(snapshot: ElementSnapshot) -> Iterator[dict[str, Json]]:
    """Ordered by name of the pool, then uuid of the volume; volumes in no known pool have no row."""
    nodes: dict[str, StorageNodeRow] = {row.host: row for row in snapshot.rows["storage_node"]}
    volumes: dict[str, list[VolumeRow]] = {}
    for volume in snapshot.rows["volume"]:
        volumes.setdefault(volume.pool, []).append(volume)
    for pool in sorted(snapshot.rows["pool"], key=lambda row: row.name):
        node = nodes.get(node_of(pool.name))
        shared = (_node(node) if node else {}) | _pool(pool)
        yield from (
            shared | _volume(volume)
            for volume in sorted(volumes.get(pool.name, ()), key=lambda row: row.uuid)
        )
        if pool.name not in volumes:
            yield shared


def _node(row: StorageNodeRow) -> dict[str, Json]:
    return {
        "storage_node_host": row.host,
        "storage_node_zone": row.zone,
        "storage_node_status": "enabled" if row.enabled else "disabled",
        "storage_node_disabled_reason": row.disabled_reason or None,
        "storage_node_state": "up" if row.up else "down",
        "storage_node_volume_types": list(row.volume_types),
    }


def _pool(row: PoolRow) -> dict[str, Json]:
    return {
        "pool_name": row.name,
        "pool_total_volumes": row.volumes,
        "pool_total_capacity_gb": row.total_gb,
        "pool_free_capacity_gb": row.free_gb,
        "pool_provisioned_capacity_gb": row.provisioned_gb,
        "pool_allocated_capacity_gb": row.allocated_gb,
        "pool_virtual_free": row.virtual_free_gb,
    }


def _volume(row: VolumeRow) -> dict[str, Json]:
    return {
        "volume_uuid": row.uuid,
        "volume_name": row.name,
        "volume_size": row.size_gb,
        "volume_status": row.status,
        "volume_type": row.volume_type,
        "volume_attachments": [
            {"server_id": one.server, "attachment_id": one.id} for one in row.attachments
        ],
        "volume_multiattach": row.multiattach,
        "volume_snapshot_id": row.snapshot_id or None,
        "volume_project_id": row.project_id,
        "volume_metadata": dict(row.metadata),
        "volume_bootable": row.bootable,
    }


def _baremetal(snapshot: ElementSnapshot) -> Iterator[dict[str, Json]]:
    """Ordered by uuid."""
    machines: tuple[BaremetalNodeRow, ...] = snapshot.rows["baremetal_node"]
    for row in sorted(machines, key=lambda row: row.uuid):
        yield {
            "ironic_node_uuid": row.uuid,
            "ironic_node_human_id": row.human_id,
            "ironic_node_power_state": row.power_text or row.power_state.value,
            "ironic_node_maintenance": row.maintenance,
            "ironic_node_maintenance_reason": row.maintenance_reason or None,
            "ironic_node_extra": dict(row.extra),
            "ironic_node_compute_node_id": row.compute_node_id or None,
        }


_ROWS: Mapping[str, Callable[[ElementSnapshot], Iterator[dict[str, Json]]]] = {
    "storage": _storage,
    "baremetal": _baremetal,
}
KINDS = tuple(_ROWS)
"""What `data_model_type` may be besides compute, from microversion 1.8 on."""
