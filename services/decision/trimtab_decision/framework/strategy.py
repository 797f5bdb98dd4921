"""The base of every strategy: what it is called, what it needs, and its three phases (B-016)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from trimtab_decision.framework.context import StrategyContext
from trimtab_decision.framework.solution import Solution

NO_PARAMETERS: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}


class Strategy(ABC):
    """A way to reach a goal: a pure function of a StrategyContext.

    Instances hold no state between executions. `required_metrics` must all come from one
    datasource (B-035); without an `optional_metrics` entry the strategy still works.
    """

    name: ClassVar[str]
    display_name: ClassVar[str]
    goal_name: ClassVar[str]
    planner: ClassVar[str] = "weight"
    parameters_schema: ClassVar[Mapping[str, Any]] = NO_PARAMETERS
    required_metrics: ClassVar[tuple[str, ...]] = ()
    optional_metrics: ClassVar[tuple[str, ...]] = ()
    needs_compute_model: ClassVar[bool] = False

    @classmethod
    def metrics(cls) -> tuple[str, ...]:
        """Every metric worth fetching for this strategy."""
        return (*cls.required_metrics, *cls.optional_metrics)

    def execute(self, context: StrategyContext) -> Solution:
        """Run the three phases in their order and give the solution."""
        solution = Solution(
            goal_name=self.goal_name, strategy_name=self.name, planner_name=self.planner
        )
        self.pre_execute(context)
        self.do_execute(context, solution)
        self.post_execute(context, solution)
        return solution

    def pre_execute(self, context: StrategyContext) -> None:
        """Refuse early what cannot work. By default: a model must be there when one is needed."""
        if self.needs_compute_model:
            _ = context.snapshot

    @abstractmethod
    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Find the actions."""

    def post_execute(self, context: StrategyContext, solution: Solution) -> None:  # noqa: B027, an optional phase
        """Set what is left of the efficacy indicators; by default nothing."""
