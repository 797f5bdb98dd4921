"""The cloud after a plan, as a model sees it: who is where, how many hosts are in use, how even it is."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import MEMORY_MIB, VCPU, ComputeSnapshot, MetricsTable
from trimtab_decision.framework import PlannedAction


def hosts_after(snapshot: ComputeSnapshot, planned: Sequence[PlannedAction]) -> NDArray[np.int32]:
    """[V] the host of each server after the plan; where Nova chooses, the roomiest that fits."""
    after = snapshot.server_host.copy()
    hosts = {name: i for i, name in enumerate(snapshot.host_name)}
    raw = np.ascontiguousarray(snapshot.server_uuid).tobytes()
    servers = {raw[i * 16 : i * 16 + 16]: i for i in range(snapshot.n_servers)}
    free = snapshot.capacity() - snapshot.used()
    open_hosts = snapshot.host_up & snapshot.host_enabled
    for step in planned:
        inputs = step.action.input_parameters
        if step.action.action_type == "change_nova_service_state":
            host = hosts.get(inputs.get("resource_name") or inputs.get("resource_id", ""), -1)
            if host >= 0:
                open_hosts[host] = inputs.get("state") == "enabled"
        if step.action.action_type != "migrate":
            continue
        server = servers.get(_uuid_bytes(inputs.get("resource_id", "")), -1)
        if server < 0:  # the actuator may name anything; the applier would skip it
            continue
        demand = snapshot.server_demand[server]
        target = hosts.get(inputs.get("destination_node", ""), -1)
        if target < 0:
            fitting = np.flatnonzero(open_hosts & (free >= demand).all(axis=1))
            fitting = fitting[fitting != after[server]]
            if not len(fitting):
                continue
            target = int(fitting[np.argmax(free[fitting, MEMORY_MIB])])
        free[after[server]] += demand
        free[target] -= demand
        after[server] = target
    return after


def _uuid_bytes(text: str) -> bytes:
    """The bytes of a uuid, empty for what is none."""
    try:
        return UUID(text).bytes
    except (ValueError, TypeError, AttributeError):
        return b""


def hosts_in_use(server_host: NDArray[np.int32]) -> int:
    """How many hosts have servers."""
    return len(np.unique(server_host[server_host >= 0]))


def cpu_load_sd(
    snapshot: ComputeSnapshot, metrics: MetricsTable, server_host: NDArray[np.int32]
) -> float | None:
    """Population sd of the cpu load (0..1) of the hosts now up and enabled; None if not measured.

    A moved server takes its measured cores along; the same hosts count before and after.
    """
    measured = metrics.host.get("host_cpu_usage")
    if measured is None:
        return None
    vcpus = np.maximum(snapshot.host_inventory[:, VCPU].astype(np.float64), 1.0)
    usage = metrics.server.get("instance_cpu_usage")
    load = measured / 100.0
    moved = np.flatnonzero(server_host != snapshot.server_host)
    if usage is not None and len(moved):
        cores = np.nan_to_num(usage[moved]) / 100.0 * snapshot.server_demand[moved, VCPU]
        load = load.copy()
        source, target = snapshot.server_host[moved], server_host[moved]
        np.subtract.at(load, source, cores / vcpus[source])
        np.add.at(load, target, cores / vcpus[target])
    counted = snapshot.host_up & snapshot.host_enabled & ~np.isnan(measured)
    return float(load[counted].std()) if counted.any() else None
