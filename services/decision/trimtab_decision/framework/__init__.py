"""The types that goals, strategies and planners are made of; what plug-in authors import."""

from trimtab_decision.framework.context import RowsScorer, Scorer, StrategyContext
from trimtab_decision.framework.destinations import Planned, SchedulerFilter, SelectDestinations
from trimtab_decision.framework.goal import (
    EfficacySpecification,
    GlobalIndicatorSpec,
    Goal,
    IndicatorSpec,
)
from trimtab_decision.framework.history import History
from trimtab_decision.framework.planning import (
    Forecast,
    ModelPlanner,
    PlannedAction,
    Planner,
    planned_by,
)
from trimtab_decision.framework.registry import Registry
from trimtab_decision.framework.solution import ProposedAction, Solution
from trimtab_decision.framework.strategy import NO_PARAMETERS, Strategy
from trimtab_decision.framework.workloads import Workloads

__all__ = [
    "NO_PARAMETERS",
    "EfficacySpecification",
    "Forecast",
    "GlobalIndicatorSpec",
    "Goal",
    "History",
    "IndicatorSpec",
    "ModelPlanner",
    "Planned",
    "PlannedAction",
    "Planner",
    "ProposedAction",
    "Registry",
    "RowsScorer",
    "SchedulerFilter",
    "Scorer",
    "SelectDestinations",
    "Solution",
    "Strategy",
    "StrategyContext",
    "Workloads",
    "planned_by",
]
