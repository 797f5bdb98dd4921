"""The base of every strategy: what it is called, what it needs, and its three phases (B-016)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from trimtab_decision.framework.context import StrategyContext
from trimtab_decision.framework.destinations import Planned
from trimtab_decision.framework.explaining import explain_empty
from trimtab_decision.framework.history import History
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
    `double_period_metrics` come a second time, over twice the period, named NAME_2p.
    """

    name: ClassVar[str]
    display_name: ClassVar[str]
    goal_name: ClassVar[str]
    planner: ClassVar[str] = "weight"
    parameters_schema: ClassVar[Mapping[str, Any]] = NO_PARAMETERS
    required_metrics: ClassVar[tuple[str, ...]] = ()
    optional_metrics: ClassVar[tuple[str, ...]] = ()
    double_period_metrics: ClassVar[tuple[str, ...]] = ()
    needs_compute_model: ClassVar[bool] = False
    needs_baremetal_model: ClassVar[bool] = False
    needs_storage_model: ClassVar[bool] = False

    @classmethod
    def get_config_opts(cls) -> Sequence[Any]:
        """oslo.config options of `[watcher_strategies.NAME]`; values come as `context.options`."""
        return []

    @classmethod
    def metrics(cls) -> tuple[str, ...]:
        """Every metric worth fetching for this strategy."""
        return (*cls.required_metrics, *cls.optional_metrics)

    @classmethod
    def histories(cls, parameters: Mapping[str, Any]) -> Sequence[History]:  # noqa: ARG003, for those that override it
        """Which metrics a run with these parameters wants as they went; read by `context.series`."""
        return ()

    @classmethod
    def models(cls, parameters: Mapping[str, Any]) -> frozenset[str]:  # noqa: ARG003, for those that override it
        """Which of the models `storage` and `baremetal` a run with these parameters needs."""
        wanted = {"storage": cls.needs_storage_model, "baremetal": cls.needs_baremetal_model}
        return frozenset(kind for kind, is_needed in wanted.items() if is_needed)

    def execute(self, context: StrategyContext) -> Solution:
        """Run the three phases in their order and give the solution; an empty one says why."""
        solution = Solution(
            goal_name=self.goal_name, strategy_name=self.name, planner_name=self.planner
        )
        self.pre_execute(context)
        self.do_execute(context, solution)
        self.post_execute(context, solution)
        moves_servers = "max_migrations" in self.parameters_schema.get("properties", {})
        explain_empty(solution, context.compute if moves_servers else None, context.parameters)
        return solution

    def pre_execute(self, context: StrategyContext) -> None:
        """Refuse early what cannot work. By default: a model must be there when one is needed."""
        if self.needs_compute_model:
            _ = context.snapshot

    @staticmethod
    def verify_destination(context: StrategyContext, server: int, host: int) -> bool:
        """Whether every enabled filter lets this server go to this host (B-055, B-059)."""
        snapshot = context.snapshot
        planned = Planned(
            snapshot=snapshot,
            host=snapshot.server_host,
            free=snapshot.capacity() - snapshot.used(),
            demand=snapshot.server_demand.astype(np.float64),
        )
        return all(bool(one.passing(planned, server)[host]) for one in context.filters)

    @abstractmethod
    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Find the actions."""

    def post_execute(self, context: StrategyContext, solution: Solution) -> None:  # noqa: B027, an optional phase
        """Set what is left of the efficacy indicators; by default nothing."""
