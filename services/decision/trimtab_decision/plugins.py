"""The visible list of everything built in; other distributions add theirs by entry points."""

from __future__ import annotations

from trimtab_decision.framework import Planner, Registry, Strategy
from trimtab_decision.goals import GOALS
from trimtab_decision.planners.weight import WeightPlanner
from trimtab_decision.planners.workload_stabilization import WorkloadStabilizationPlanner
from trimtab_decision.strategies.actuator.strategy import Actuator
from trimtab_decision.strategies.dummy.strategy import Dummy
from trimtab_decision.strategies.host_maintenance.strategy import HostMaintenance
from trimtab_decision.strategies.vm_workload_consolidation.strategy import (
    VMWorkloadConsolidation,
)
from trimtab_decision.strategies.workload_stabilization.strategy import WorkloadStabilization

STRATEGIES: tuple[type[Strategy], ...] = (
    Actuator,
    Dummy,
    HostMaintenance,
    VMWorkloadConsolidation,
    WorkloadStabilization,
)

PLANNERS: tuple[type[Planner], ...] = (
    WeightPlanner,
    WorkloadStabilizationPlanner,
)


def load_registry(*, entry_points: bool = True) -> Registry:
    """The built-in plug-ins, and by default those of installed distributions."""
    registry = Registry(goals=GOALS, strategies=STRATEGIES, planners=PLANNERS)
    if entry_points:
        registry.load_entry_points()
    return registry
