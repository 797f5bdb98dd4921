"""Which strategy serves an audit that names none (A-040, A-151).

On the main path: a recommendation asks `choose`. With `available`, the default, strategies that cannot
work here now are passed over; with `best`, all others make a solution and the goal's own measure decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.records import Audit
from trimtab_common.rules import parameters
from trimtab_decision.execution import Outcome
from trimtab_decision.framework import Goal, Registry, Strategy
from trimtab_decision.metrics import MetricsReader
from trimtab_decision.model import ModelSource
from trimtab_decision.state import best_source


class Selector(StrEnum):
    """How a strategy is selected for an audit that names none."""

    FIRST = "first"
    AVAILABLE = "available"
    BEST = "best"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Strategies to try, best guess first; several only when their solutions are to be compared.

    passed_over: names of those that are not tried, and why.
    """

    strategies: tuple[Strategy, ...]
    passed_over: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Selects with what `main` hands in."""

    registry: Registry
    model: ModelSource
    metrics: MetricsReader
    selector: Selector
    has_elements: bool

    async def choose(self, audit: Audit) -> Choice:
        """The strategy of the audit, else those of its goal that may serve.

        NoAvailableStrategyForGoal; UnknownPlugin for a strategy that is not loaded.
        """
        first = self.registry.select_strategy(audit.goal_name, audit.strategy_name)
        candidates = [kind() for kind in self.registry.strategies_of(audit.goal_name)]
        if audit.strategy_name is not None or self.selector is Selector.FIRST:
            return Choice(strategies=(first,))
        if len(candidates) == 1:
            return Choice(strategies=(first,))
        problems = [(strategy, await self._problem(strategy)) for strategy in candidates]
        able = tuple(strategy for strategy, problem in problems if not problem)
        if not able:
            return Choice(strategies=(first,))  # its own error says what is missing
        if (
            self.selector is Selector.BEST
            and self.registry.goal(audit.goal_name).efficacy.objective
        ):
            return Choice(strategies=able, passed_over=_passed_over(problems))
        before = problems[: candidates.index(able[0])]
        return Choice(strategies=able[:1], passed_over=_passed_over(before))

    async def _problem(self, strategy: Strategy) -> str:
        """Why the strategy cannot work now; empty when nothing speaks against it."""
        try:
            values = parameters.checked({}, strategy.parameters_schema)
        except TrimtabError:
            return "its parameters must be given"
        if strategy.needs_compute_model and not self.model.ready:
            return "there is no compute model"
        if strategy.models(values) and not self.has_elements:
            return "there is no such model"
        return await self._metrics_problem(strategy) if strategy.required_metrics else ""

    async def _metrics_problem(self, strategy: Strategy) -> str:
        try:
            source = best_source(await self.metrics.datasources(), strategy.required_metrics)
        except TrimtabError as error:
            return error.message
        if source is None or not source.is_available:
            return "no datasource answers"
        missing = sorted(set(strategy.required_metrics) - source.metrics)
        return f"no datasource has {', '.join(missing)}" if missing else ""


def better(goal: Goal, outcomes: Sequence[tuple[Strategy, Outcome]]) -> tuple[Strategy, Outcome]:
    """The solution that the goal values most; of equal ones the one with fewest actions, then the first."""
    return max(
        enumerate(outcomes),
        key=lambda entry: (worth(goal, entry[1][1]), -entry[1][1].n_actions, -entry[0]),
    )[1]


def worth(goal: Goal, outcome: Outcome) -> float:
    """What the solution brings the goal nearer, in the goal's own measure; 0 for nothing."""
    objective = goal.efficacy.objective
    values = {one.name: one.value for one in outcome.indicators}
    return objective(values) if objective is not None and values else 0.0


def told(chosen: Strategy, *, n_tried: int, passed_over: Sequence[tuple[str, str]]) -> str:
    """What the operator should know of the choice; empty when there was none."""
    if n_tried == 1 and not passed_over:
        return ""
    of = f" of {n_tried}" if n_tried > 1 else ""
    others = ", ".join(f"{name} ({why.rstrip('.')})" for name, why in passed_over)
    return f"Strategy {chosen.name} was chosen{of}." + (f" Not: {others}." if others else "")


def _passed_over(problems: Sequence[tuple[Strategy, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((strategy.name, problem) for strategy, problem in problems if problem)
