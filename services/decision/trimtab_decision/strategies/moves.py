"""How the compute strategies write their actions: the same inputs, facts and words everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trimtab_common.domain.snapshot import DISK_GIB, MEMORY_MIB, VCPU, ComputeSnapshot
from trimtab_decision.framework import Solution
from trimtab_decision.optimizer.eligibility import migration_type

DISABLED_BY_US = "watcher_disabled"
MAINTENANCE = "watcher_maintaining"


def server_facts(snapshot: ComputeSnapshot, server: int, target: int | None) -> dict[str, Any]:
    """What a migration relies on: host, state and flavor of the server, status of the target."""
    source = int(snapshot.server_host[server])
    demand = snapshot.server_demand[server]
    facts: dict[str, Any] = {
        "host": snapshot.host_name[source],
        "state": snapshot.state_text(server),
        "vcpus": int(demand[VCPU]),
        "memory_mib": int(demand[MEMORY_MIB]),
        "disk_gib": int(demand[DISK_GIB]),
    }
    if target is not None:
        facts["destination_status"] = status_text(snapshot, target)
        facts["destination_state"] = "up" if snapshot.host_up[target] else "down"
    return facts


def status_text(snapshot: ComputeSnapshot, host: int) -> str:
    """Nova's word for whether the host is enabled."""
    return "enabled" if snapshot.host_enabled[host] else "disabled"


def add_migration(
    solution: Solution,
    snapshot: ComputeSnapshot,
    server: int,
    target: int | None,
    *,
    reason: str,
    kind: str | None = None,
    after: Sequence[int] = (),
) -> None:
    """A migrate action (B-038); without a target Nova chooses. `kind`: live or cold.

    `after`: servers whose migrations, written before, leave the room that this one fills.
    """
    inputs: dict[str, Any] = {
        "migration_type": kind or migration_type(snapshot, server),
        "source_node": snapshot.host_name[int(snapshot.server_host[server])],
    }
    if target is not None:
        inputs["destination_node"] = snapshot.host_name[target]
    inputs["resource_name"] = snapshot.server_name[server]
    solution.add_action(
        "migrate",
        input_parameters=inputs,
        resource_id=snapshot.uuid_of(server),
        reason=reason,
        facts=server_facts(snapshot, server, target),
        after=[snapshot.uuid_of(other) for other in after],
    )


def add_host_state(
    solution: Solution,
    snapshot: ComputeSnapshot,
    host: int,
    *,
    enable: bool,
    reason: str,
    disabled_reason: str = DISABLED_BY_US,
) -> None:
    """A change_nova_service_state action for this host."""
    inputs: dict[str, Any] = {
        "state": "enabled" if enable else "disabled",
        "resource_name": snapshot.host_name[host],
    }
    if not enable:
        inputs["disabled_reason"] = disabled_reason
    facts: Mapping[str, Any] = {
        "host": snapshot.host_name[host],
        "status": status_text(snapshot, host),
        "state": "up" if snapshot.host_up[host] else "down",
        "disabled_reason": snapshot.host_disabled_reason[host],
    }
    solution.add_action(
        "change_nova_service_state",
        input_parameters=inputs,
        resource_id=snapshot.host_uuid[host],
        reason=reason,
        facts=facts,
    )
