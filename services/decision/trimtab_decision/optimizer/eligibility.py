"""Which hosts may receive or be emptied and which servers may move: the hard rules, as masks.

First step of every compute strategy. Nothing later may widen these masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.snapshot import NO_HOST, ComputeSnapshot
from trimtab_decision.framework.destinations import Planned, SchedulerFilter
from trimtab_decision.optimizer.restrictions import bound_together

OWN_DISABLED_REASONS = frozenset(
    {"watcher_disabled", "Watcher node resource consolidation strategy"}
)
"""Hosts disabled for these reasons were disabled by us, and only they may be enabled (B-041)."""
LIVE_STATES = (ServerState.ACTIVE, ServerState.PAUSED)
COLD_STATES = (ServerState.STOPPED,)
_TRUTHY = frozenset({"1", "t", "true", "on", "y", "yes"})


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Eligibility:
    """The masks. H hosts, V servers, C placement classes.

    targets:      [H] up and enabled: may receive without further ado
    own_disabled: [H] up and disabled by us: may receive after an enable action
    movable:      [V] mapped to an up host that others did not disable, in a state that Nova can
                  migrate, neither excluded nor locked, opted in where that is asked
    server_class: [V] index into class_hosts
    class_hosts:  [C, H] hosts on which servers of the class may run: pinned zone, static filters
    """

    targets: NDArray[np.bool_]
    own_disabled: NDArray[np.bool_]
    movable: NDArray[np.bool_]
    server_class: NDArray[np.int32]
    class_hosts: NDArray[np.bool_]


def eligibility(
    snapshot: ComputeSnapshot,
    *,
    check_optimize_metadata: bool = False,
    move_locked: bool = False,
    filters: Sequence[SchedulerFilter] = (),
) -> Eligibility:
    """The masks for this snapshot. Linear in hosts and servers, unless filters restrict many."""
    own_reason = np.array(
        [reason in OWN_DISABLED_REASONS for reason in snapshot.host_disabled_reason], dtype=bool
    )
    targets = snapshot.host_up & snapshot.host_enabled
    own_disabled = snapshot.host_up & ~snapshot.host_enabled & own_reason
    server_class, class_hosts = _classes(snapshot, filters)
    movable = may_migrate(snapshot, check_optimize_metadata=check_optimize_metadata)
    mapped = snapshot.server_host != NO_HOST
    inside = np.append(targets | own_disabled, False)
    movable &= mapped & inside[snapshot.server_host]
    if not move_locked:
        movable &= ~snapshot.server_locked
        movable &= ~bound_together(snapshot)
    return Eligibility(
        targets=targets,
        own_disabled=own_disabled,
        movable=movable,
        server_class=server_class,
        class_hosts=class_hosts,
    )


def may_migrate(
    snapshot: ComputeSnapshot, *, check_optimize_metadata: bool = False
) -> NDArray[np.bool_]:
    """[V] Nova can migrate it now, it is not excluded, and it is opted in (B-040)."""
    states = [int(state) for state in (*LIVE_STATES, *COLD_STATES)]
    result = np.isin(snapshot.server_state, states) & ~snapshot.server_excluded
    if len(snapshot.server_in_flux):
        result &= ~snapshot.server_in_flux
    if check_optimize_metadata:
        for server, metadata in snapshot.server_metadata.items():
            if metadata and metadata.get("optimize", "").strip().lower() not in _TRUTHY:
                result[server] = False
    return np.asarray(result, dtype=np.bool_)


def migration_type(snapshot: ComputeSnapshot, server: int) -> str:
    """`live` for active and paused servers, `cold` for stopped ones (B-106)."""
    return "live" if int(snapshot.server_state[server]) in LIVE_STATES else "cold"


def _classes(
    snapshot: ComputeSnapshot, filters: Sequence[SchedulerFilter]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Servers with the same allowed hosts share a class; class 0 may run anywhere."""
    server_class = np.zeros(snapshot.n_servers, dtype=np.int32)
    rows = [np.ones(snapshot.n_hosts, dtype=bool)]
    known: dict[bytes, int] = {rows[0].tobytes(): 0}
    zone = {name: snapshot.host_zone == index for index, name in enumerate(snapshot.zones)}
    nowhere = np.zeros(snapshot.n_hosts, dtype=bool)
    allowed: dict[int, NDArray[np.bool_]] = {
        server: zone.get(name, nowhere)
        for server, name in snapshot.server_pinned_zone.items()
        if name
    }
    for one in filters:
        _restrict(snapshot, one, allowed)
    seen: dict[int, int] = {}  # zones share one mask: 200,000 servers are not 200,000 texts
    for server, mask in sorted(allowed.items()):
        if id(mask) not in seen:
            key = mask.tobytes()
            if key not in known:
                known[key] = len(rows)
                rows.append(mask)
            seen[id(mask)] = known[key]
        server_class[server] = seen[id(mask)]
    return server_class, np.array(rows, dtype=bool).reshape(len(rows), snapshot.n_hosts)


def _restrict(
    snapshot: ComputeSnapshot, one: SchedulerFilter, allowed: dict[int, NDArray[np.bool_]]
) -> None:
    """Narrow the allowed hosts of the servers that a static filter restricts."""
    if not one.is_static:
        return
    planned = Planned(
        snapshot=snapshot,
        host=snapshot.server_host,
        free=snapshot.capacity() - snapshot.used(),
        demand=snapshot.server_demand.astype(np.float64),
    )
    for server in np.flatnonzero(one.restricted(snapshot)).tolist():
        mask = one.passing(planned, server)
        allowed[server] = mask & allowed[server] if server in allowed else mask
