"""The resources that a placement must respect: allocations, and measured use where it can bind.

Allocation is B-045; measured use is B-100..B-102 (which names the formulas). A measured dimension
that allocation already dominates is left out, which makes everything after this faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import (
    DISK_GIB,
    MEMORY_MIB,
    RESOURCES,
    VCPU,
    ComputeSnapshot,
    MetricsTable,
)

TOLERANCE = 1e-6
"""Slack for sums of floats; far below one unit of any resource."""
KIB_PER_MIB = 1024.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dimensions:
    """H hosts, V servers, D dimensions; the first three are the allocations of RESOURCES.

    names:      what a dimension is called when it rules a host out
    free:       [H, D] room left; negative on hosts that are already over
    demand:     [V, D] what a server takes
    overloaded: [H] measured cpu above capacity x cc_cpu
    cpu_cores:  [V] measured cpu in cores
    cpu_excess: [H] cores above that limit (negative: below)
    """

    names: tuple[str, ...]
    free: NDArray[np.float64]
    demand: NDArray[np.float64]
    overloaded: NDArray[np.bool_]
    cpu_cores: NDArray[np.float64]
    cpu_excess: NDArray[np.float64]


def server_utilisation(snapshot: ComputeSnapshot, metrics: MetricsTable) -> NDArray[np.float64]:
    """[V, 3] cores, MiB, GiB in use; the flavor where nothing was measured (B-100)."""
    flavor = snapshot.server_demand.astype(np.float64)
    cpu_pct = _server(snapshot, metrics, "instance_cpu_usage")
    cores = flavor[:, VCPU] * cpu_pct / 100.0
    cores = np.where(np.isnan(cpu_pct) | (cpu_pct == 0), flavor[:, VCPU], cores)
    memory = _first(
        _server(snapshot, metrics, "instance_ram_usage"),
        _server(snapshot, metrics, "instance_ram_allocated"),
        flavor[:, MEMORY_MIB],
    )
    disk = _first(_server(snapshot, metrics, "instance_root_disk_size"), flavor[:, DISK_GIB])
    return np.column_stack([cores, memory, disk])


def dimensions(
    snapshot: ComputeSnapshot, metrics: MetricsTable, *, cc: Sequence[float] = (1.0, 1.0, 1.0)
) -> Dimensions:
    """Everything a placement has to respect. `cc`: usable part of capacity, cpu, ram, disk."""
    limits = np.asarray(cc, dtype=np.float64)
    capacity = snapshot.capacity()
    flavor = snapshot.server_demand.astype(np.float64)
    use = server_utilisation(snapshot, metrics)
    summed = _sum_by_host(snapshot, use)
    host_cpu, host_memory = _host_part(snapshot, metrics)
    usable = capacity * limits
    free = capacity - snapshot.used()
    names, frees, demands = list(RESOURCES), [free], [flavor]
    free[:, MEMORY_MIB] = np.minimum(free[:, MEMORY_MIB], usable[:, MEMORY_MIB] - host_memory)
    if host_cpu.any():
        names.append("measured host cpu")
        frees.append((usable[:, VCPU] - host_cpu)[:, None])
        demands.append(use[:, VCPU][:, None])
    for axis, what in enumerate(("cpu", "memory", "disk")):
        if limits[axis] < 1.0 or (use[:, axis] > flavor[:, axis] + TOLERANCE).any():
            names.append(f"measured {what}")
            frees.append((usable[:, axis] - summed[:, axis])[:, None])
            demands.append(use[:, axis][:, None])
    excess = np.maximum(summed[:, VCPU], host_cpu) - usable[:, VCPU]
    return Dimensions(
        names=tuple(names),
        free=np.ascontiguousarray(np.hstack(frees)),
        demand=np.ascontiguousarray(np.hstack(demands)),
        overloaded=np.asarray(excess > TOLERANCE, dtype=np.bool_),
        cpu_cores=use[:, VCPU],
        cpu_excess=excess,
    )


def allocations(snapshot: ComputeSnapshot) -> Dimensions:
    """The three allocations alone, for strategies that look at nothing measured but their load."""
    return Dimensions(
        names=RESOURCES,
        free=snapshot.capacity() - snapshot.used(),
        demand=snapshot.server_demand.astype(np.float64),
        overloaded=np.zeros(snapshot.n_hosts, dtype=bool),
        cpu_cores=snapshot.server_demand[:, VCPU].astype(np.float64),
        cpu_excess=np.zeros(snapshot.n_hosts),
    )


def _host_part(
    snapshot: ComputeSnapshot, metrics: MetricsTable
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """([H] cores, [H] MiB) measured on the hosts; 0 where nothing was measured (B-101)."""
    zero = np.zeros(snapshot.n_hosts)
    cpu_pct = np.nan_to_num(metrics.host.get("host_cpu_usage", zero), nan=0.0)
    memory_kib = np.nan_to_num(metrics.host.get("host_ram_usage", zero), nan=0.0)
    return cpu_pct * snapshot.host_inventory[:, VCPU] / 100.0, memory_kib / KIB_PER_MIB


def _sum_by_host(snapshot: ComputeSnapshot, values: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.zeros((snapshot.n_hosts, values.shape[1]))
    mapped = snapshot.server_host >= 0
    np.add.at(result, snapshot.server_host[mapped], values[mapped])
    return result


def _server(snapshot: ComputeSnapshot, metrics: MetricsTable, name: str) -> NDArray[np.float64]:
    found = metrics.server.get(name)
    return np.full(snapshot.n_servers, np.nan) if found is None else found


def _first(*columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first value of each row that is a number."""
    result = columns[0]
    for column in columns[1:]:
        result = np.where(np.isnan(result), column, result)
    return result
