"""Rows and columns of a compute model as a snapshot: nothing in it is shared with the model but rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.changes import HostRow, ServerRow
from trimtab_common.domain.columns import frozen, table
from trimtab_common.domain.snapshot import NO_HOST, ComputeSnapshot


def snapshot_of(
    *,
    hosts: Sequence[HostRow],
    servers: Sequence[ServerRow],
    uuids: NDArray[np.uint8],
    places: NDArray[np.int32],
    numbers: NDArray[np.int64],
    projects: Sequence[str],
    **told: Any,
) -> ComputeSnapshot:
    """A snapshot of hosts by name and servers by uuid. The arrays become its own.

    uuids: [V, 16]. places: [V] index of each server's host or NO_HOST. numbers: [V, 8] demand (3), state,
    locked, code of the project in `projects`, created_at_s, in_flux. told: what it says of itself.
    """
    zones = tuple(sorted({row.zone for row in hosts if row.zone}))
    zone_index = {zone: i for i, zone in enumerate(zones)} | {"": -1}
    codes, back = np.unique(numbers[:, 5], return_inverse=True)
    used = [projects[code] for code in codes.tolist()]
    by_name = np.argsort(np.array(used, dtype=object), kind="stable")
    rank = np.empty(len(by_name), np.int32)
    rank[by_name] = np.arange(len(by_name))
    return ComputeSnapshot(
        host_uuid=tuple([row.uuid for row in hosts]),
        host_name=tuple([row.hostname for row in hosts]),
        host_inventory=table([row.inventory for row in hosts], np.int64),
        host_reserved=table([row.reserved for row in hosts], np.int64),
        host_ratio=table([row.ratio for row in hosts], np.float64),
        host_up=frozen(np.array([row.up for row in hosts], np.bool_)),
        host_enabled=frozen(np.array([row.enabled for row in hosts], np.bool_)),
        host_disabled_reason=tuple([row.disabled_reason for row in hosts]),
        host_zone=frozen(np.array([zone_index[row.zone] for row in hosts], np.int32)),
        host_capacity_from_nova=frozen(np.array([r.capacity_from_nova for r in hosts], np.bool_)),
        server_uuid=frozen(uuids),
        server_name=tuple([row.name for row in servers]),
        server_host=frozen(places),
        server_demand=frozen(np.ascontiguousarray(numbers[:, :3])),
        server_state=frozen(numbers[:, 3].astype(np.int8)),
        server_locked=frozen(numbers[:, 4].astype(np.bool_)),
        server_excluded=frozen(np.zeros(len(servers), np.bool_)),
        server_project=frozen(rank[back].astype(np.int32)),
        server_created_at_s=frozen(numbers[:, 6].copy()),
        server_in_flux=frozen(numbers[:, 7].astype(np.bool_)),
        projects=tuple([used[i] for i in by_name.tolist()]),
        zones=zones,
        server_metadata={i: row.metadata for i, row in enumerate(servers) if row.metadata},
        server_state_text={i: r.state_text for i, r in enumerate(servers) if r.state_text},
        server_pinned_zone={i: r.pinned_zone for i, r in enumerate(servers) if r.pinned_zone},
        server_extra_specs={i: r.extra_specs for i, r in enumerate(servers) if r.extra_specs},
        server_scheduler_hints={
            i: row.scheduler_hints for i, row in enumerate(servers) if row.scheduler_hints
        },
        server_missing_host={
            i: servers[i].hostname
            for i in np.flatnonzero(places == NO_HOST).tolist()
            if servers[i].hostname
        },
        **told,
    )
