"""The visible list of everything built in; other distributions add theirs by entry points."""

from __future__ import annotations

from trimtab_decision.destinations.capacity import CapacitySelector
from trimtab_decision.filters import FILTERS
from trimtab_decision.framework import Planner, Registry, SelectDestinations, Strategy
from trimtab_decision.goals import GOALS
from trimtab_decision.planners.critical_path import CriticalPathPlanner
from trimtab_decision.planners.node_resource_consolidation import (
    NodeResourceConsolidationPlanner,
)
from trimtab_decision.planners.weight import WeightPlanner
from trimtab_decision.planners.workload_stabilization import WorkloadStabilizationPlanner
from trimtab_decision.strategies.actuator.strategy import Actuator
from trimtab_decision.strategies.basic.strategy import Basic
from trimtab_decision.strategies.dummy.strategy import Dummy
from trimtab_decision.strategies.dummy_with_resize.strategy import DummyWithResize
from trimtab_decision.strategies.dummy_with_scorer.strategy import DummyWithScorer
from trimtab_decision.strategies.host_maintenance.strategy import HostMaintenance
from trimtab_decision.strategies.node_resource_consolidation.strategy import (
    NodeResourceConsolidation,
)
from trimtab_decision.strategies.noisy_neighbor.strategy import NoisyNeighbor
from trimtab_decision.strategies.outlet_temperature.strategy import OutletTemperature
from trimtab_decision.strategies.saving_energy.strategy import SavingEnergy
from trimtab_decision.strategies.storage_capacity_balance.strategy import StorageCapacityBalance
from trimtab_decision.strategies.uniform_airflow.strategy import UniformAirflow
from trimtab_decision.strategies.vm_workload_consolidation.strategy import (
    VMWorkloadConsolidation,
)
from trimtab_decision.strategies.workload_balance.strategy import WorkloadBalance
from trimtab_decision.strategies.workload_stabilization.strategy import WorkloadStabilization
from trimtab_decision.strategies.zone_migration.strategy import ZoneMigration

STRATEGIES: tuple[type[Strategy], ...] = (
    Actuator,
    Basic,
    Dummy,
    DummyWithResize,
    DummyWithScorer,
    HostMaintenance,
    NodeResourceConsolidation,
    NoisyNeighbor,
    OutletTemperature,
    SavingEnergy,
    StorageCapacityBalance,
    UniformAirflow,
    VMWorkloadConsolidation,
    WorkloadBalance,
    WorkloadStabilization,
    ZoneMigration,
)

PLANNERS: tuple[type[Planner], ...] = (
    CriticalPathPlanner,
    NodeResourceConsolidationPlanner,
    WeightPlanner,
    WorkloadStabilizationPlanner,
)


SELECTORS: tuple[type[SelectDestinations], ...] = (CapacitySelector,)


def load_registry(*, entry_points: bool = True) -> Registry:
    """The built-in plug-ins, and by default those of installed distributions."""
    registry = Registry(
        goals=GOALS,
        strategies=STRATEGIES,
        planners=PLANNERS,
        filters=FILTERS,
        selectors=SELECTORS,
    )
    if entry_points:
        registry.load_entry_points()
    return registry
