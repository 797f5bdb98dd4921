"""The scheduler filters: the visible list (B-055..B-057). Others come by entry point."""

from __future__ import annotations

from trimtab_decision.filters.affinity import (
    DifferentHostFilter,
    SameHostFilter,
    ServerGroupAffinityFilter,
    ServerGroupAntiAffinityFilter,
)
from trimtab_decision.filters.host_state import (
    AggregateInstanceExtraSpecsFilter,
    AllHostsFilter,
    AvailabilityZoneFilter,
    ComputeFilter,
    CoreFilter,
    DiskFilter,
    RamFilter,
)
from trimtab_decision.framework.destinations import SchedulerFilter

FILTERS: tuple[type[SchedulerFilter], ...] = (
    AggregateInstanceExtraSpecsFilter,
    AllHostsFilter,
    AvailabilityZoneFilter,
    ComputeFilter,
    CoreFilter,
    DifferentHostFilter,
    DiskFilter,
    RamFilter,
    SameHostFilter,
    ServerGroupAffinityFilter,
    ServerGroupAntiAffinityFilter,
)
