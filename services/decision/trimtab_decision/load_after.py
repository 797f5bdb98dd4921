"""The cloud after a plan, as a model sees it: who is where, how many hosts are in use, how even it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import MEMORY_MIB, VCPU, ComputeSnapshot, MetricsTable
from trimtab_decision.framework import PlannedAction

_LOOKS = 32
"""Hosts with most room that are looked at one by one before all are, as arrays."""


def hosts_after(snapshot: ComputeSnapshot, planned: Sequence[PlannedAction]) -> NDArray[np.int32]:
    """[V] the host of each server after the plan; where Nova chooses, the roomiest that fits."""
    (after,) = hosts_along(snapshot, planned, [len(planned)])
    return after


def hosts_along(
    snapshot: ComputeSnapshot, planned: Sequence[PlannedAction], cuts: Sequence[int]
) -> Iterator[NDArray[np.int32]]:
    """The same for the plan cut short after so many steps, for each of `cuts`, which rise; one walk."""
    walk = _Walk(snapshot)
    done = 0
    for cut in cuts:
        for step in planned[done:cut]:
            walk.take(step)
        done = cut
        yield walk.after.copy()


class _Walk:
    def __init__(self, snapshot: ComputeSnapshot) -> None:
        self.after = snapshot.server_host.copy()
        self._demand = snapshot.server_demand
        self._hosts = {name: i for i, name in enumerate(snapshot.host_name)}
        raw = np.ascontiguousarray(snapshot.server_uuid).tobytes()
        self._servers = {raw[i * 16 : i * 16 + 16]: i for i in range(snapshot.n_servers)}
        self._free = snapshot.capacity() - snapshot.used()
        self._open = snapshot.host_up & snapshot.host_enabled
        self._by_room: list[tuple[float, int]] | None = None

    def take(self, step: PlannedAction) -> None:
        """One step, as if the ones before it had ended."""
        inputs = step.action.input_parameters
        if step.action.action_type == "change_nova_service_state":
            host = self._hosts.get(inputs.get("resource_name") or inputs.get("resource_id", ""), -1)
            if host >= 0:
                self._open[host] = inputs.get("state") == "enabled"
                self._room_changed(host)
        if step.action.action_type != "migrate":
            return
        server = self._servers.get(_uuid_bytes(inputs.get("resource_id", "")), -1)
        if server < 0:  # the actuator may name anything; the applier would skip it
            return
        demand = self._demand[server]
        target = self._hosts.get(inputs.get("destination_node", ""), -1)
        source = int(self.after[server])
        if target < 0 and (target := self._roomiest(demand, source)) < 0:
            return
        self._free[source] += demand
        self._free[target] -= demand
        self.after[server] = target
        self._room_changed(source)
        self._room_changed(target)

    def _roomiest(self, demand: NDArray[np.int64], source: int) -> int:
        """The open host with most free memory that fits, -1 for none; most often the first of the heap."""
        if self._by_room is None:
            rooms = self._free[:, MEMORY_MIB].tolist()
            self._by_room = [(-room, host) for host, room in enumerate(rooms)]
            heapify(self._by_room)
        passed: list[tuple[float, int]] = []
        found = -1
        while self._by_room and len(passed) < _LOOKS:
            entry = heappop(self._by_room)
            host = entry[1]
            if not self._open[host] or -entry[0] != self._free[host, MEMORY_MIB]:
                continue  # closed, or an old entry: what changes is put in again
            passed.append(entry)
            if host != source and (self._free[host] >= demand).all():
                found = host
                break
        for entry in passed:
            heappush(self._by_room, entry)
        return self._roomiest_of_all(demand, source) if found < 0 else found

    def _roomiest_of_all(self, demand: NDArray[np.int64], source: int) -> int:
        fitting = np.flatnonzero(self._open & (self._free >= demand).all(axis=1))
        fitting = fitting[fitting != source]
        return int(fitting[np.argmax(self._free[fitting, MEMORY_MIB])]) if len(fitting) else -1

    def _room_changed(self, host: int) -> None:
        if self._by_room is not None and self._open[host]:
            heappush(self._by_room, (-float(self._free[host, MEMORY_MIB]), host))


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
