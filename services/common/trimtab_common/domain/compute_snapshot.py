"""Rows and columns of a compute model as a snapshot: nothing in it is shared with the model but rows."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.changes import HostRow
from trimtab_common.domain.columns import frozen, table
from trimtab_common.domain.server_table import (
    CREATED,
    DEMAND,
    IN_FLUX,
    LOCKED,
    PROJECT,
    STATE,
    Attributes,
    ServerTable,
)
from trimtab_common.domain.snapshot import NO_HOST, ComputeSnapshot


def snapshot_of(
    *, hosts: Sequence[HostRow], servers: ServerTable, places: NDArray[np.int32], **told: Any
) -> ComputeSnapshot:
    """A snapshot of hosts by name and servers by uuid.

    places: by slot of a host its index in `hosts`, NO_HOST in the end. told: what it says of itself.
    """
    zones = tuple(sorted({row.zone for row in hosts if row.zone}))
    zone_index = {zone: i for i, zone in enumerate(zones)} | {"": -1}
    order = servers.by_uuid()
    numbers, place = servers.numbers[order], places[servers.host[order]]
    codes = np.flatnonzero(np.bincount(numbers[:, PROJECT], minlength=len(servers.projects)))
    by_name = sorted(codes.tolist(), key=servers.projects.__getitem__)
    rank = np.zeros(len(servers.projects), np.int32)
    rank[by_name] = np.arange(len(by_name), dtype=np.int32)
    more = _by_index(servers, order)
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
        server_uuid=frozen(servers.uuid_bytes(order)),
        server_name=tuple(map(servers.names.__getitem__, order.tolist())),
        server_host=frozen(place),
        server_demand=frozen(np.ascontiguousarray(numbers[:, DEMAND])),
        server_state=frozen(numbers[:, STATE].astype(np.int8)),
        server_locked=frozen(numbers[:, LOCKED].astype(np.bool_)),
        server_excluded=frozen(np.zeros(len(order), np.bool_)),
        server_project=frozen(rank[numbers[:, PROJECT]]),
        server_created_at_s=frozen(numbers[:, CREATED].copy()),
        server_in_flux=frozen(numbers[:, IN_FLUX].astype(np.bool_)),
        projects=tuple([servers.projects[code] for code in by_name]),
        zones=zones,
        server_metadata={i: row.metadata for i, row in more if row.metadata},
        server_state_text={i: row.state_text for i, row in more if row.state_text},
        server_pinned_zone={i: row.pinned_zone for i, row in more if row.pinned_zone},
        server_extra_specs={i: row.extra_specs for i, row in more if row.extra_specs},
        server_scheduler_hints={i: row.scheduler_hints for i, row in more if row.scheduler_hints},
        server_missing_host={
            i: hostname
            for i in np.flatnonzero(place == NO_HOST).tolist()
            if (hostname := servers.hostname(order[i]))
        },
        **told,
    )


def _by_index(servers: ServerTable, order: NDArray[np.intp]) -> list[tuple[int, Attributes]]:
    index = np.empty(len(order), np.intp)
    index[order] = np.arange(len(order))
    slots = list(servers.attributes)
    found = zip(index[slots].tolist(), servers.attributes.values(), strict=True)
    return sorted(found, key=itemgetter(0))
