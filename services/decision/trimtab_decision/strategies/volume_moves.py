"""How the storage strategies write their actions."""

from __future__ import annotations

from typing import Any

from trimtab_common.domain.storage import VolumeRow
from trimtab_decision.framework import Solution


def add_volume_move(
    solution: Solution, volume: VolumeRow, *, kind: str, target: str, reason: str
) -> None:
    """A volume_migrate action. `kind`: `migrate` to a pool, or `retype` to a type."""
    inputs: dict[str, Any] = {
        "migration_type": kind,
        "destination_node" if kind == "migrate" else "destination_type": target,
        "resource_name": volume.name,
    }
    solution.add_action(
        "volume_migrate",
        input_parameters=inputs,
        resource_id=volume.uuid,
        reason=reason,
        facts={
            "pool": volume.pool,
            "type": volume.volume_type,
            "status": volume.status,
            "servers": [attachment.server for attachment in volume.attachments],
        },
    )
