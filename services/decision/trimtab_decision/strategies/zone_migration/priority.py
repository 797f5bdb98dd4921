"""Who comes first: stable sorts in a fixed precedence (B-186).

project before compute_node before compute; project before storage_pool before storage. JSON objects
have no order, so none is read into them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trimtab_common.domain.snapshot import DISK_GIB, MEMORY_MIB, VCPU, ComputeSnapshot
from trimtab_common.domain.storage import VolumeRow

_AXES = {
    "vcpu_num": VCPU,
    "cpu_num": VCPU,
    "mem_size": MEMORY_MIB,
    "memory_size": MEMORY_MIB,
    "disk_size": DISK_GIB,
}


def ordered_servers(
    snapshot: ComputeSnapshot, servers: Sequence[int], priority: Mapping[str, Any]
) -> list[int]:
    """Indexes of servers, the most urgent first."""

    def value(criterion: str) -> Callable[[int], float]:
        if criterion == "created_at":
            return lambda server: -_created_s(snapshot, server)
        return lambda server: float(snapshot.server_demand[server, _AXES[criterion]])

    def project(server: int) -> str:
        code = int(snapshot.server_project[server])
        return snapshot.projects[code] if code >= 0 else ""

    result = list(servers)
    for criterion in reversed(_as_list(priority.get("compute"))):
        key = value(criterion)
        result.sort(key=lambda server, key=key: -key(server))  # type: ignore[misc]
    rank = _ranks(priority.get("compute_node"))
    result.sort(key=lambda s: rank(snapshot.host_name[int(snapshot.server_host[s])]))
    rank_project = _ranks(priority.get("project"))
    result.sort(key=lambda s: rank_project(project(s)))
    return result


def ordered_volumes(volumes: Sequence[VolumeRow], priority: Mapping[str, Any]) -> list[VolumeRow]:
    """The volumes, the most urgent first."""
    result = list(volumes)
    for criterion in reversed(_as_list(priority.get("storage"))):
        if criterion == "size":
            result.sort(key=lambda volume: -volume.size_gb)
        else:
            result.sort(key=lambda volume: volume.created_at_s)
    rank_pool = _ranks(priority.get("storage_pool"))
    result.sort(key=lambda volume: rank_pool(volume.pool))
    rank_project = _ranks(priority.get("project"))
    result.sort(key=lambda volume: rank_project(volume.project_id))
    return result


def _created_s(snapshot: ComputeSnapshot, server: int) -> float:
    created = snapshot.server_created_at_s
    return float(created[server]) if len(created) else 0.0


def _as_list(value: str | Sequence[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _ranks(names: Sequence[str] | None) -> Callable[[str], int]:
    """Name -> place in the list; names that are not listed come after, as they were."""
    place = {name: index for index, name in reversed(list(enumerate(names or ())))}
    return lambda name: place.get(name, len(place))
