"""Filters that look at the host alone: its service, its zone, its aggregates, its room.

Names and decisions are Nova's (B-057); https://docs.openstack.org/nova/latest/admin/scheduling.html
describes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import DISK_GIB, MEMORY_MIB, VCPU, ComputeSnapshot
from trimtab_decision.framework.destinations import ALL_HOSTS_FILTER, Planned, SchedulerFilter

_SCOPE = "aggregate_instance_extra_specs"
_TOLERANCE = 1e-6


class AllHostsFilter(SchedulerFilter):
    """Passes everything; the default of every strategy (B-056)."""

    name: ClassVar[str] = ALL_HOSTS_FILTER

    def restricted(self, snapshot: ComputeSnapshot) -> NDArray[np.bool_]:
        """Nobody."""
        return np.zeros(snapshot.n_servers, dtype=bool)

    def passing(self, planned: Planned, server: int) -> NDArray[np.bool_]:  # noqa: ARG002, of the contract
        """Every host."""
        return np.ones(planned.snapshot.n_hosts, dtype=bool)


class AvailabilityZoneFilter(SchedulerFilter):
    """A server that was asked for in a zone stays in it."""

    name: ClassVar[str] = "AvailabilityZoneFilter"

    def restricted(self, snapshot: ComputeSnapshot) -> NDArray[np.bool_]:
        """The servers pinned to a zone."""
        return _marked(snapshot, snapshot.server_pinned_zone)

    def passing(self, planned: Planned, server: int) -> NDArray[np.bool_]:
        """The hosts of its zone."""
        snapshot = planned.snapshot
        zone = snapshot.server_pinned_zone.get(server)
        if not zone:
            return np.ones(snapshot.n_hosts, dtype=bool)
        index = snapshot.zones.index(zone) if zone in snapshot.zones else -2
        return np.asarray(snapshot.host_zone == index, dtype=np.bool_)


class ComputeFilter(SchedulerFilter):
    """The compute service is enabled and up."""

    name: ClassVar[str] = "ComputeFilter"

    def passing(self, planned: Planned, server: int) -> NDArray[np.bool_]:  # noqa: ARG002, of the contract
        """The hosts whose service works."""
        return planned.snapshot.host_up & planned.snapshot.host_enabled


class AggregateInstanceExtraSpecsFilter(SchedulerFilter):
    """Extra specs of the flavor match the metadata of the host's aggregates.

    A spec counts with the scope `aggregate_instance_extra_specs:` or without any; a host passes
    when each such key is among the metadata of its aggregates with a value that matches.
    """

    name: ClassVar[str] = "AggregateInstanceExtraSpecsFilter"

    def restricted(self, snapshot: ComputeSnapshot) -> NDArray[np.bool_]:
        """The servers whose flavor has such specs."""
        wanted = (i for i, specs in snapshot.server_extra_specs.items() if _unscoped(specs))
        return _marked(snapshot, wanted)

    def passing(self, planned: Planned, server: int) -> NDArray[np.bool_]:
        """The hosts whose aggregates say what the flavor asks."""
        snapshot = planned.snapshot
        result = np.ones(snapshot.n_hosts, dtype=bool)
        wanted = _unscoped(snapshot.server_extra_specs.get(server, {}))
        if not wanted:
            return result
        place = {name: i for i, name in enumerate(snapshot.host_name)}
        for key, requirement in wanted.items():
            good = np.zeros(snapshot.n_hosts, dtype=bool)
            for aggregate in snapshot.aggregates:
                values = aggregate.metadata.get(key)
                if values is None:
                    continue
                if any(matches(value.strip(), requirement) for value in values.split(",")):
                    good[[place[name] for name in aggregate.hosts if name in place]] = True
            result &= good
        return result


def matches(value: str, requirement: str) -> bool:
    """Nova's operators of extra specs: `<or>`, `<in>`, numbers with =, ==, >= ..., s==, or equal."""
    operator, *rest = requirement.split() or [""]
    if operator == "<or>":
        return value in {word for word in rest if word != "<or>"}
    if operator in {"<in>", "<all-in>"}:
        return bool(rest) and all(word in value for word in rest if word != operator)
    if operator in _TEXT and rest:
        return _TEXT[operator](value, rest[0])
    if operator in _NUMBERS and rest:
        numbers = _numbers(value, rest[0])
        return numbers is not None and _NUMBERS[operator](*numbers)
    return value == requirement


def _numbers(value: str, wanted: str) -> tuple[float, float] | None:
    try:
        return float(value), float(wanted)
    except ValueError:
        return None


_TEXT: Mapping[str, Callable[[str, str], bool]] = {
    "s==": lambda a, b: a == b,
    "s!=": lambda a, b: a != b,
    "s<": lambda a, b: a < b,
    "s<=": lambda a, b: a <= b,
    "s>": lambda a, b: a > b,
    "s>=": lambda a, b: a >= b,
}
_NUMBERS: Mapping[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}


def _unscoped(specs: Mapping[str, object]) -> dict[str, str]:
    found = {}
    for key, value in specs.items():
        scope, colon, rest = key.partition(":")
        if not colon:
            found[key] = str(value)
        elif scope == _SCOPE:
            found[rest] = str(value)
    return found


def _marked(snapshot: ComputeSnapshot, servers: Iterable[int]) -> NDArray[np.bool_]:
    result = np.zeros(snapshot.n_servers, dtype=bool)
    result[list(servers)] = True
    return result


class _Room(SchedulerFilter):
    """Room in one resource, planned moves counted."""

    is_static: ClassVar[bool] = False
    axis: ClassVar[int]

    def restricted(self, snapshot: ComputeSnapshot) -> NDArray[np.bool_]:
        """Nobody: the strategies count room in every resource themselves."""
        return np.zeros(snapshot.n_servers, dtype=bool)

    def passing(self, planned: Planned, server: int) -> NDArray[np.bool_]:
        """The hosts with room, and where it is."""
        fits = planned.free[:, self.axis] + _TOLERANCE >= planned.demand[server, self.axis]
        if planned.host[server] >= 0:
            fits[planned.host[server]] = True
        return np.asarray(fits, dtype=np.bool_)


class CoreFilter(_Room):
    """Enough vCPUs."""

    name: ClassVar[str] = "CoreFilter"
    axis: ClassVar[int] = VCPU


class RamFilter(_Room):
    """Enough memory."""

    name: ClassVar[str] = "RamFilter"
    axis: ClassVar[int] = MEMORY_MIB


class DiskFilter(_Room):
    """Enough disk."""

    name: ClassVar[str] = "DiskFilter"
    axis: ClassVar[int] = DISK_GIB
