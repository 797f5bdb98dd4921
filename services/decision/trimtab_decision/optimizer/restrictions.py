"""What bars a server from a host besides room and the static masks: server groups, filters, selection.

Server groups always count, whatever filters are configured: Nova would refuse such a move. Until a
plan has run a member may be at either end of its move, so both ends count as occupied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import NO_HOST, ComputeSnapshot
from trimtab_decision.framework.destinations import (
    Planned,
    SchedulerFilter,
    SelectDestinations,
    find_servers,
)

if TYPE_CHECKING:
    from trimtab_decision.optimizer.state import Placement

_APART = frozenset({"anti-affinity", "soft-anti-affinity"})
_TOGETHER = "affinity"


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    members: NDArray[np.intp]
    limit: int
    is_apart: bool


class Restrictions:
    """Answers for the few servers that need it; `restricted` [V] says which."""

    def __init__(
        self,
        snapshot: ComputeSnapshot,
        *,
        filters: Sequence[SchedulerFilter] = (),
        selector: SelectDestinations | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._selector = selector
        self._groups = server_groups(snapshot)
        self.restricted = np.zeros(snapshot.n_servers, dtype=bool)
        self.restricted[list(self._groups)] = True
        self._filters = []
        for one in filters:
            if not one.is_static:
                concerned = one.restricted(snapshot)
                self._filters.append((one, concerned))
                self.restricted |= concerned
        if selector is not None:
            self.restricted[:] = True

    def passing(self, server: int, placement: Placement) -> NDArray[np.bool_]:
        """[H] the hosts that this server may go to with the moves planned so far."""
        result = np.ones(self._snapshot.n_hosts, dtype=bool)
        for group in self._groups.get(server, ()):
            result &= _group_allows(group, server, placement)
        planned = Planned(
            snapshot=self._snapshot,
            host=placement.host,
            free=placement.free,
            demand=placement.demand,
        )
        for one, concerned in self._filters:
            if concerned[server]:
                result &= one.passing(planned, server)
        if self._selector is not None:
            chosen = self._selector.select(planned, [server], np.flatnonzero(result))
            result = np.zeros_like(result)
            result[chosen] = True
        return result


def server_groups(snapshot: ComputeSnapshot) -> dict[int, list[_Group]]:
    """The groups of each member that bar it from hosts."""
    found: dict[int, list[_Group]] = {}
    for group in snapshot.groups:
        if group.policy not in _APART and group.policy != _TOGETHER:
            continue
        members = find_servers(snapshot, group.members)
        one = _Group(members, max(1, group.max_per_host or 1), group.policy in _APART)
        for server in members if len(members) > 1 else ():
            found.setdefault(int(server), []).append(one)
    return found


def bound_together(snapshot: ComputeSnapshot) -> NDArray[np.bool_]:
    """[V] members of an affinity group that share their host: Nova lets none of them go alone."""
    result = np.zeros(snapshot.n_servers, dtype=bool)
    for server, groups in server_groups(snapshot).items():
        host = snapshot.server_host[server]
        for group in groups:
            if not group.is_apart and host != NO_HOST:
                sharing = (snapshot.server_host[group.members] == host).sum()
                result[server] |= bool(sharing > 1)
    return result


def _group_allows(group: _Group, server: int, placement: Placement) -> NDArray[np.bool_]:
    others = group.members[group.members != server]
    before, after = placement.origin[others], placement.host[others]
    n_hosts = len(placement.free)
    if group.is_apart:
        ends = np.concatenate([before, after[after != before]])
        return np.bincount(ends[ends >= 0], minlength=n_hosts) < group.limit
    settled = after[(after == before) & (after >= 0)]
    allowed = np.ones(n_hosts, dtype=bool)
    if (after >= 0).any():
        allowed[:] = False
        allowed[settled] = True
    return allowed
