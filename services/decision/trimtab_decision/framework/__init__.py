"""The types that goals, strategies and planners are made of; what plug-in authors import."""

from trimtab_decision.framework.context import Scorer, StrategyContext
from trimtab_decision.framework.goal import (
    EfficacySpecification,
    GlobalIndicatorSpec,
    Goal,
    IndicatorSpec,
)
from trimtab_decision.framework.planning import PlannedAction, Planner
from trimtab_decision.framework.registry import Registry
from trimtab_decision.framework.solution import ProposedAction, Solution
from trimtab_decision.framework.strategy import NO_PARAMETERS, Strategy

__all__ = [
    "NO_PARAMETERS",
    "EfficacySpecification",
    "GlobalIndicatorSpec",
    "Goal",
    "IndicatorSpec",
    "PlannedAction",
    "Planner",
    "ProposedAction",
    "Registry",
    "Scorer",
    "Solution",
    "Strategy",
    "StrategyContext",
]
