"""The compute model at one instant, as columns: what collector streams and strategies read.

A snapshot is immutable and cheap to take; strategies work on copies of the few arrays they change.
Hosts are sorted by hostname and servers by uuid, so that equal clouds give equal plans (B-043).
"""

from __future__ import annotations

import uuid as uuid_module
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.compute_terms import Aggregate, ServerGroup, ServerState
from trimtab_common.domain.errors import NotFound

VCPU, MEMORY_MIB, DISK_GIB = 0, 1, 2
"""The order of the resource axis everywhere."""
RESOURCES = ("VCPU", "MEMORY_MB", "DISK_GB")
"""Placement's names of the resource axis."""
NO_HOST = -1
"""`server_host` of a server that is on no known host."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ComputeSnapshot:
    """Hosts and servers as columns. H hosts, V servers; arrays are read-only.

    host_inventory: [H, 3] total, Placement's units (vCPU, MiB, GiB)
    host_reserved:  [H, 3] reserved, same units
    host_ratio:     [H, 3] allocation ratios
    host_up, host_enabled: [H] bool;  host_zone: [H] index into `zones`, -1 unknown
    server_uuid:    [V, 16] uint8, big-endian bytes of the uuid
    server_host:    [V] int32 index of the host, NO_HOST when unmapped
    server_demand:  [V, 3] int64 flavor vcpus, memory, disk as counted by the model
    server_state:   [V] int8 of ServerState;  server_locked, server_excluded: [V] bool
    server_project: [V] index into `projects`
    server_created_at_s: [V] int64 epoch seconds, 0 unknown; empty when not kept at all
    server_in_flux: [V] bool, Nova is doing something with it now; empty when not kept at all
    host_capacity_from_nova: [H] bool, Placement did not answer; empty when not kept at all
    server_name:    [V] a tuple, or `ServerNames`, which reads like one
    server_metadata and the other mappings: sparse attributes by index of the server;
    server_missing_host: the hostname that Nova names for a server whose host is not in the model
    """

    epoch: str
    revision: int
    taken_at: datetime
    host_uuid: tuple[str, ...]
    host_name: tuple[str, ...]
    host_inventory: NDArray[np.int64]
    host_reserved: NDArray[np.int64]
    host_ratio: NDArray[np.float64]
    host_up: NDArray[np.bool_]
    host_enabled: NDArray[np.bool_]
    host_disabled_reason: tuple[str | None, ...]
    host_zone: NDArray[np.int32]
    server_uuid: NDArray[np.uint8]
    server_name: Sequence[str]
    server_host: NDArray[np.int32]
    server_demand: NDArray[np.int64]
    server_state: NDArray[np.int8]
    server_locked: NDArray[np.bool_]
    server_excluded: NDArray[np.bool_]
    server_project: NDArray[np.int32]
    projects: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()
    server_metadata: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    server_state_text: Mapping[int, str] = field(default_factory=dict)
    server_pinned_zone: Mapping[int, str] = field(default_factory=dict)
    server_extra_specs: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    server_scheduler_hints: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    server_missing_host: Mapping[int, str] = field(default_factory=dict)
    groups: tuple[ServerGroup, ...] = ()
    server_in_flux: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    server_created_at_s: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    host_capacity_from_nova: NDArray[np.bool_] = field(
        default_factory=lambda: np.zeros(0, np.bool_)
    )
    partial: bool = False
    stale_reason: str = ""
    missing_hosts: tuple[str, ...] = ()

    @property
    def n_hosts(self) -> int:
        """H."""
        return len(self.host_name)

    @property
    def n_servers(self) -> int:
        """V."""
        return len(self.server_name)

    def capacity(self) -> NDArray[np.float64]:
        """(total - reserved) * ratio: [H, 3] (C-029)."""
        free = (self.host_inventory - self.host_reserved).astype(np.float64)
        return np.asarray(free * self.host_ratio, dtype=np.float64)

    def used(self) -> NDArray[np.int64]:
        """Sum of the demand of all servers mapped to each host, whatever their state: [H, 3]."""
        result = np.zeros((self.n_hosts, 3), dtype=np.int64)
        mapped = self.server_host >= 0
        np.add.at(result, self.server_host[mapped], self.server_demand[mapped])
        return result

    def uuid_of(self, server: int) -> str:
        """The uuid text of the server at this index."""
        digits = self.server_uuid[server].tobytes().hex()  # a quarter of what uuid.UUID costs
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def find_server(self, uuid: str) -> int | None:
        """Index of the server with this uuid, None when there is none; O(log V)."""
        try:
            wanted = uuid_module.UUID(uuid).bytes
        except ValueError:
            return None
        column = self.server_uuid
        place = bisect_left(range(len(column)), wanted, key=lambda i: column[i].tobytes())
        found = place < len(column) and column[place].tobytes() == wanted
        return place if found else None

    def state_text(self, server: int) -> str:
        """Nova's vm_state text of the server at this index, future ones kept as they came."""
        text = self.server_state_text.get(server)
        return text if text is not None else ServerState(int(self.server_state[server])).text

    def host_index(self, name: str) -> int:
        """Index of the host with this hostname; NotFound when the snapshot has none."""
        try:
            return self.host_name.index(name)
        except ValueError:
            raise NotFound(f"Compute node {name} could not be found.") from None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MetricsTable:
    """Measured load, aligned with one snapshot; NaN where nothing was measured.

    host: metric -> [H] (host_cpu_usage %, host_ram_usage KiB, ...)
    server: metric -> [V] (instance_cpu_usage % of its own vcpus, instance_ram_usage MiB, ...)
    """

    host: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    server: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    source: str = ""
