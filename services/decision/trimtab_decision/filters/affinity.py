"""Filters that look at which servers share a host: hints and server groups (B-057).

Planned moves count as done, as the requirement asks: `Planned.host` says where everybody will be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.compute_terms import ServerGroup
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_decision.framework.destinations import Planned, SchedulerFilter, find_servers


class _Hint(SchedulerFilter):
    """Scheduler hints that name servers."""

    is_static: ClassVar[bool] = False
    hint: ClassVar[str]

    def restricted(self, snapshot: ComputeSnapshot) -> NDArray[np.bool_]:
        """The servers with the hint."""
        result = np.zeros(snapshot.n_servers, dtype=bool)
        for server, hints in snapshot.server_scheduler_hints.items():
            result[server] = bool(hinted(hints, self.hint))
        return result

    def hosts_of_hinted(self, planned: Planned, server: int) -> NDArray[np.bool_] | None:
        """[H] the hosts on which a named server is; None without the hint."""
        snapshot = planned.snapshot
        named = hinted(snapshot.server_scheduler_hints.get(server, {}), self.hint)
        if not named:
            return None
        return _hosts_of(planned, named)


class DifferentHostFilter(_Hint):
    """`different_host`: no listed server is on the host."""

    name: ClassVar[str] = "DifferentHostFilter"
    hint: ClassVar[str] = "different_host"

    def passing(self, planned: Planned, server: int) -> NDArray[np.bool_]:
        """The hosts without any of them."""
        occupied = self.hosts_of_hinted(planned, server)
        if occupied is None:
            return np.ones(planned.snapshot.n_hosts, dtype=bool)
        return ~occupied


class SameHostFilter(_Hint):
    """`same_host`: one of the listed servers is on the host."""

    name: ClassVar[str] = "SameHostFilter"
    hint: ClassVar[str] = "same_host"

    def passing(self, planned: Planned, server: int) -> NDArray[np.bool_]:
        """The hosts with one of them."""
        occupied = self.hosts_of_hinted(planned, server)
        return np.ones(planned.snapshot.n_hosts, dtype=bool) if occupied is None else occupied


class _Group(SchedulerFilter):
    """Server groups of one policy."""

    is_static: ClassVar[bool] = False
    policy: ClassVar[str]

    def restricted(self, snapshot: ComputeSnapshot) -> NDArray[np.bool_]:
        """The members of groups with this policy."""
        result = np.zeros(snapshot.n_servers, dtype=bool)
        groups = (group for group in snapshot.groups if group.policy == self.policy)
        result[find_servers(snapshot, (m for group in groups for m in group.members))] = True
        return result

    def group_of(self, planned: Planned, server: int) -> ServerGroup | None:
        """The group of this policy that the server is a member of."""
        uuid = planned.snapshot.uuid_of(server)
        for group in planned.snapshot.groups:
            if group.policy == self.policy and uuid in group.members:
                return group
        return None


class ServerGroupAntiAffinityFilter(_Group):
    """At most `max_server_per_host` members of the group on a host, this one included."""

    name: ClassVar[str] = "ServerGroupAntiAffinityFilter"
    policy: ClassVar[str] = "anti-affinity"

    def passing(self, planned: Planned, server: int) -> NDArray[np.bool_]:
        """The hosts that may take one more member."""
        group = self.group_of(planned, server)
        if group is None:
            return np.ones(planned.snapshot.n_hosts, dtype=bool)
        others = group.members - {planned.snapshot.uuid_of(server)}
        return _count(planned, others) < (group.max_per_host or 1)


class ServerGroupAffinityFilter(_Group):
    """All members of the group on one host."""

    name: ClassVar[str] = "ServerGroupAffinityFilter"
    policy: ClassVar[str] = "affinity"

    def passing(self, planned: Planned, server: int) -> NDArray[np.bool_]:
        """The hosts where the other members are; every host when there is no other."""
        group = self.group_of(planned, server)
        if group is None:
            return np.ones(planned.snapshot.n_hosts, dtype=bool)
        occupied = _count(planned, group.members - {planned.snapshot.uuid_of(server)}) > 0
        return occupied if occupied.any() else ~occupied


def hinted(hints: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The uuids that a hint names: one text or a list of texts."""
    value = hints.get(name) or ()
    return (value,) if isinstance(value, str) else tuple(str(item) for item in value)


def _count(planned: Planned, uuids: Iterable[str]) -> NDArray[np.intp]:
    """[H] how many of these servers are planned to be on each host."""
    hosts = planned.host[find_servers(planned.snapshot, uuids)]
    return np.bincount(hosts[hosts >= 0], minlength=planned.snapshot.n_hosts)


def _hosts_of(planned: Planned, uuids: Iterable[str]) -> NDArray[np.bool_]:
    return np.asarray(_count(planned, uuids) > 0, dtype=np.bool_)
