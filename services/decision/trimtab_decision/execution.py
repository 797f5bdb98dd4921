"""What one planning worker does: cut to scope, run the strategy, measure, order, verify.

Runs in a worker process, so everything that goes in and out can be pickled, and nothing here
knows the store, the network or the clock. The same strategy, planner and verifier as in simulate.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.errors import Bug, TrimtabError
from trimtab_common.domain.records import EfficacyIndicator
from trimtab_common.domain.scope import scoped
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_decision import efficacy
from trimtab_decision.errors import PlanRefused, StrategyFailed, UnknownActionType
from trimtab_decision.explanation import explain
from trimtab_decision.framework import (
    PlannedAction,
    Registry,
    Solution,
    Strategy,
    StrategyContext,
    planned_by,
)
from trimtab_decision.framework.context import (
    Incumbent,
    Tell,
    no_rows_scorer,
    no_scorer,
    tell_nobody,
)
from trimtab_decision.framework.destinations import DEFAULT_SELECTOR
from trimtab_decision.verifier import Violation, verify

_VIOLATIONS_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The question: `compute` and `metrics` are the whole model, aligned; the scope cuts both.

    filters, destinations: names of plug-ins (B-050, B-056). failed_servers: uuids of servers whose
    migration failed in earlier plans of the same audit (B-117). options: of the strategy (A-107).
    """

    strategy: str
    parameters: Mapping[str, Any]
    compute: ComputeSnapshot | None = None
    metrics: MetricsTable = field(default_factory=MetricsTable)
    baremetal: ElementSnapshot | None = None
    storage: ElementSnapshot | None = None
    scope: Sequence[Any] = ()
    seed: int = 0
    filters: tuple[str, ...] = ()
    destinations: str = DEFAULT_SELECTOR
    failed_servers: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the strategy promises. The actions stay on the desk until they are ordered."""

    n_actions: int
    indicators: tuple[EfficacyIndicator, ...]
    global_efficacy: list[dict[str, Any]]
    messages: tuple[str, ...]
    rejections: Mapping[str, int]
    explanation: Mapping[str, Any] = field(default_factory=dict)


class Scoring(Protocol):
    """Who answers a strategy's questions to scoring engines."""

    def begin(self) -> None:
        """A new plan begins."""

    def row(self, engine: str, features: Sequence[float]) -> Sequence[float]:
        """See StrategyContext.score."""

    def rows(self, engine: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """See StrategyContext.score_rows."""


TELL_AFTER_S, TELL_EVERY_S = 0.25, 0.25
"""Searches that are over at once tell nothing, long ones seldom: each word costs the record a row."""


class _Seldom:
    """A `Tell` that passes on only what comes late enough."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._next_s = TELL_AFTER_S

    def __call__(self, incumbent: Incumbent) -> None:
        if incumbent.elapsed_s >= self._next_s:
            self._next_s = incumbent.elapsed_s + TELL_EVERY_S
            self._tell(incumbent)


class Desk:
    """Where one plan is worked out: `execute`, then `order`."""

    def __init__(self, registry: Registry, scoring: Scoring | None = None) -> None:
        self._registry = registry
        self._scoring = scoring
        self._compute: ComputeSnapshot | None = None
        self._solution: Solution | None = None

    def execute(self, question: Execution, tell: Tell = tell_nobody) -> Outcome:
        """Runs the strategy and measures what it gives. `tell`: takes the best plan so far, now and then.

        Raises what the strategy raises of our errors; StrategyFailed for anything else, with the
        trace in its details; the errors of efficacy.
        """
        strategy = self._registry.strategy(question.strategy)
        compute, metrics, warnings = _cut(question)
        if self._scoring is not None:
            self._scoring.begin()
        started = time.monotonic()
        context = StrategyContext(
            compute=compute,
            metrics=metrics,
            parameters=question.parameters,
            seed=question.seed,
            score=no_scorer if self._scoring is None else self._scoring.row,
            score_rows=no_rows_scorer if self._scoring is None else self._scoring.rows,
            baremetal=question.baremetal,
            storage=question.storage,
            filters=self._registry.filters_named(question.filters),
            selector=self._registry.selector(question.destinations),
            failed_servers=question.failed_servers,
            options=question.options,
            elapsed_s=lambda: time.monotonic() - started,
            tell=_Seldom(tell),
        )
        solution = _run(strategy, context)
        for warning in warnings:
            solution.note(warning)
        if solution.actions and (bound := solution.bound_text()):
            solution.note(bound)
        goal = self._registry.goal(strategy.goal_name)
        self._compute, self._solution = compute, solution
        return Outcome(
            n_actions=len(solution.actions),
            global_efficacy=efficacy.global_efficacy(goal, solution),
            indicators=efficacy.indicator_records(goal, solution),
            messages=tuple(solution.messages),
            rejections=dict(solution.rejections),
            explanation=explain(solution, compute, metrics),
        )

    def order(
        self, planner: str, options: Mapping[str, Any], runnable: frozenset[str] = frozenset()
    ) -> tuple[PlannedAction, ...]:
        """The actions with their parents, by the planner of this name. Clears the desk.

        runnable: the types that appliers can carry out; none where no applier has told yet.
        PlanRefused when the verifier finds a violation; UnknownActionType.
        """
        solution, compute = self._solution, self._compute
        self._solution = self._compute = None
        if solution is None:
            raise Bug("order was asked for before execute")
        chosen = self._registry.planner(planner, options)
        planned = planned_by(chosen, compute, solution.actions)
        violations = [] if compute is None else verify(compute, planned)
        if violations:
            raise PlanRefused(_refusal(solution.strategy_name, violations))
        _refuse_unknown_actions(planned, runnable)
        return planned


def _cut(question: Execution) -> tuple[ComputeSnapshot | None, MetricsTable, tuple[str, ...]]:
    """Model and metrics as the audit's scope lets the strategy see them."""
    if question.compute is None:
        return None, question.metrics, ()
    cut = scoped(
        question.compute,
        question.scope,
        check_optimize_metadata=bool(question.parameters.get("check_optimize_metadata", False)),
    )
    return cut.snapshot, cut.align(question.metrics), cut.warnings


def _run(strategy: Strategy, context: StrategyContext) -> Solution:
    try:
        return strategy.execute(context)
    except TrimtabError:
        raise
    except Exception as error:  # noqa: BLE001, a plug-in may raise anything; it is recorded
        raise StrategyFailed(
            f"Strategy {strategy.name} failed: {type(error).__name__}: {error}. "
            "This is a defect of the strategy; decision's log has the trace.",
            trace=traceback.format_exc(),
        ) from None


def _refuse_unknown_actions(planned: Sequence[PlannedAction], runnable: frozenset[str]) -> None:
    unknown = sorted({step.action.action_type for step in planned} - runnable)
    if runnable and unknown:
        raise UnknownActionType(
            f"No applier can carry out actions of type {', '.join(unknown)}; known are "
            f"{', '.join(sorted(runnable))}. Install the action's plug-in where applier runs and "
            "restart applier, then create the audit again."
        )


def _refusal(strategy: str, violations: Sequence[Violation]) -> str:
    shown = "; ".join(
        f"{v.kind} by action {v.index}: {v.detail}" for v in violations[:_VIOLATIONS_SHOWN]
    )
    return (
        f"The plan of strategy {strategy} breaks {len(violations)} rules and was thrown away "
        f"({shown}). This is a defect of the strategy."
    )
