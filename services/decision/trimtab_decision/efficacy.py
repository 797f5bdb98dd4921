"""From a solution's indicators to what the plan promises: validation and global efficacy.

Runs after the strategy and before the planner; a violation ends the audit FAILED (B-011).
"""

from __future__ import annotations

from typing import Any

from trimtab_common.domain.records import EfficacyIndicator
from trimtab_common.rules import schemas
from trimtab_decision.framework.errors import GlobalEfficacyComputationError
from trimtab_decision.framework.goal import EfficacySpecification, Goal
from trimtab_decision.framework.solution import Solution


def validate_indicators(specification: EfficacySpecification, solution: Solution) -> None:
    """Raise GlobalEfficacyComputationError unless the indicators match the specification.

    An empty map skips validation (B-011).
    """
    if not solution.indicators:
        return
    known = {spec.name for spec in specification.indicators}
    for name in solution.indicators:
        if name not in known:
            raise GlobalEfficacyComputationError(
                f"Indicator {name} of strategy {solution.strategy_name} is not part of goal "
                f"{solution.goal_name}."
            )
    problem = schemas.problem_of(dict(solution.indicators), specification.combined_schema())
    if problem is not None:
        raise GlobalEfficacyComputationError(
            f"The indicators of strategy {solution.strategy_name} are not valid: {problem[1]}"
        )


def check_efficacy_indicators(goal: Goal, solution: Solution) -> bool:
    """Whether the indicators match what the goal specifies (B-013)."""
    try:
        validate_indicators(goal.efficacy, solution)
    except GlobalEfficacyComputationError:
        return False
    return True


def global_efficacy(goal: Goal, solution: Solution) -> list[dict[str, Any]]:
    """[{name, description, unit, value}], one per number of the goal; [] for Unclassified.

    Validates first. Values are floats, never rounded (B-014, B-018).
    """
    validate_indicators(goal.efficacy, solution)
    if not solution.indicators:
        return []
    return [
        {
            "name": spec.name,
            "description": spec.description,
            "unit": spec.unit,
            "value": spec.formula(solution.indicators),
        }
        for spec in goal.efficacy.global_indicators
    ]


def indicator_records(goal: Goal, solution: Solution) -> tuple[EfficacyIndicator, ...]:
    """The rows to store with the plan, in set order (B-015). Uuids are the store's business."""
    specs = {spec.name: spec for spec in goal.efficacy.indicators}
    return tuple(
        EfficacyIndicator(
            name=name,
            description=specs[name].description,
            unit=specs[name].unit,
            value=float(value),
        )
        for name, value in solution.indicators.items()
    )
