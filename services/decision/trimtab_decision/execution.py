"""What one planning worker does: run the strategy, verify its plan, measure it, order it.

Runs in a worker process, so everything that goes in and out can be pickled, and nothing here
knows the store, the network or the clock.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.records import EfficacyIndicator
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_decision import efficacy
from trimtab_decision.errors import StrategyFailed
from trimtab_decision.framework import PlannedAction, Registry, Scorer, Solution, StrategyContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The question to a worker."""

    strategy: str
    parameters: Mapping[str, Any]
    compute: ComputeSnapshot | None = None
    metrics: MetricsTable = field(default_factory=MetricsTable)
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The answer: a solution that passed the verifier, and what it promises."""

    solution: Solution
    indicators: tuple[EfficacyIndicator, ...]
    global_efficacy: list[dict[str, Any]]


def execute(registry: Registry, execution: Execution, score: Scorer | None = None) -> Outcome:
    """Runs the strategy and checks what it gives.

    Raises what the strategy raises of our errors; StrategyFailed for anything else, with the
    trace in its details; PlanRefused when the verifier finds a violation.
    """
    strategy = registry.strategy(execution.strategy)
    scorer = {} if score is None else {"score": score}
    context = StrategyContext(
        compute=execution.compute,
        metrics=execution.metrics,
        parameters=execution.parameters,
        seed=execution.seed,
        **scorer,
    )
    try:
        solution = strategy.execute(context)
    except TrimtabError:
        raise
    except Exception as error:  # noqa: BLE001, a plug-in may raise anything; it is recorded
        raise StrategyFailed(
            f"Strategy {execution.strategy} failed: {type(error).__name__}: {error}. "
            "This is a defect of the strategy; decision's log has the trace.",
            trace=traceback.format_exc(),
        ) from None
    goal = registry.goal(strategy.goal_name)
    return Outcome(
        solution=solution,
        global_efficacy=efficacy.global_efficacy(goal, solution),
        indicators=efficacy.indicator_records(goal, solution),
    )


def order(
    registry: Registry, solution: Solution, *, planner: str, options: Mapping[str, Any]
) -> tuple[PlannedAction, ...]:
    """The actions with their parents, by the planner of this name."""
    return registry.planner(planner, options).plan(solution.actions)
