"""The compute model as rows, one per server (A §4.7). Read from collector, cut to a scope."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from trimtab_api import idents, scopes
from trimtab_api.ports import Deps
from trimtab_common.domain.errors import InvalidArgument, NotFound
from trimtab_common.domain.resources import AUDITS
from trimtab_common.domain.snapshot import DISK_GIB, MEMORY_MIB, VCPU, ComputeSnapshot

Json = Any


async def of_audit(deps: Deps, audit: str | None) -> ComputeSnapshot | None:
    """The whole model, or what one audit's scope sees of it; None when none was built yet.

    InvalidArgument: no such audit. Unavailable: collector does not answer.
    """
    scope: list[Json] = []
    if audit is not None:
        async with deps.store.read() as session:
            try:
                scope = (await session.audits.get(idents.parse(AUDITS, audit))).scope
            except NotFound:
                raise InvalidArgument(f"Audit {audit} could not be found.") from None
    snapshot = await deps.models.compute()
    if snapshot is None or not scope:
        return snapshot
    return scopes.cut(snapshot, scope)


def rows(snapshot: ComputeSnapshot, *, with_extended: bool) -> Iterator[dict[str, Json]]:
    """Ordered by node uuid, then server uuid; a node without servers is one row (A-071).

    `with_extended`: the fields of microversion 1.6. Servers on no known host have no row.
    """
    servers_of = _servers_by_host(snapshot)
    for host in sorted(range(snapshot.n_hosts), key=snapshot.host_uuid.__getitem__):
        node = _node(snapshot, host)
        servers = servers_of.get(host, ())
        if not servers:
            yield node
        for server in servers:
            yield {**node, **_server(snapshot, server, with_extended=with_extended)}


def _servers_by_host(snapshot: ComputeSnapshot) -> Mapping[int, list[int]]:
    """Servers are sorted by uuid in the snapshot, so each list is too."""
    result: dict[int, list[int]] = {}
    for server, host in enumerate(snapshot.server_host.tolist()):
        if host >= 0:
            result.setdefault(host, []).append(server)
    return result


def _node(snapshot: ComputeSnapshot, host: int) -> dict[str, Json]:
    total = snapshot.host_inventory[host]
    reserved = snapshot.host_reserved[host]
    ratio = snapshot.host_ratio[host]
    return {
        "node_uuid": snapshot.host_uuid[host],
        "node_hostname": snapshot.host_name[host],
        "node_status": "enabled" if snapshot.host_enabled[host] else "disabled",
        "node_disabled_reason": snapshot.host_disabled_reason[host],
        "node_state": "up" if snapshot.host_up[host] else "down",
        "node_memory": int(total[MEMORY_MIB]),
        "node_memory_mb_reserved": int(reserved[MEMORY_MIB]),
        "node_disk": int(total[DISK_GIB]),
        "node_disk_gb_reserved": int(reserved[DISK_GIB]),
        "node_vcpus": int(total[VCPU]),
        "node_vcpu_reserved": int(reserved[VCPU]),
        "node_memory_ratio": float(ratio[MEMORY_MIB]),
        "node_vcpu_ratio": float(ratio[VCPU]),
        "node_disk_ratio": float(ratio[DISK_GIB]),
    }


def _server(snapshot: ComputeSnapshot, server: int, *, with_extended: bool) -> dict[str, Json]:
    vcpus, memory, disk = (int(amount) for amount in np.asarray(snapshot.server_demand[server]))
    project = int(snapshot.server_project[server])
    result: dict[str, Json] = {
        "server_uuid": snapshot.uuid_of(server),
        "server_name": snapshot.server_name[server],
        "server_state": snapshot.state_text(server),
        "server_vcpus": vcpus,
        "server_memory": memory,
        "server_disk": disk,
        "server_metadata": dict(snapshot.server_metadata.get(server, {})),
        "server_project_id": snapshot.projects[project] if project >= 0 else None,
        "server_locked": bool(snapshot.server_locked[server]),
        "server_watcher_exclude": bool(snapshot.server_excluded[server]),
    }
    if with_extended:
        result["server_pinned_az"] = snapshot.server_pinned_zone.get(server)
        result["server_flavor_extra_specs"] = dict(snapshot.server_extra_specs.get(server, {}))
    return result
