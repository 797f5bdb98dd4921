"""From an unordered solution to a graph of actions: the planner's contract.

Planners are pure: the decision service turns indexes into uuids and stores the plan (B-211).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_decision.framework.solution import ProposedAction


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAction:
    """An action with its place. `parents`: indexes of the actions that must end first."""

    index: int
    action: ProposedAction
    parents: tuple[int, ...] = ()


class Planner(Protocol):
    """Orders actions. One instance serves one plan; it keeps no state between plans."""

    name: ClassVar[str]

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """A planner with an operator's options; PlannerMisconfigured when they contradict."""

    def plan(self, actions: Sequence[ProposedAction]) -> tuple[PlannedAction, ...]:
        """The actions in an order in which every parent comes before its children."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How long the migrations of a plan should take, and no order could take less than `bound_s`."""

    makespan_s: float
    bound_s: float
    moves: int
    bypasses: int = 0


@runtime_checkable
class ModelPlanner(Protocol):
    """A planner that looks at the model too: at the room of hosts, say."""

    forecast: Forecast | None
    """Of the plan that it made."""

    def plan_on(
        self, snapshot: ComputeSnapshot, actions: Sequence[ProposedAction]
    ) -> tuple[PlannedAction, ...]:
        """See Planner.plan."""


def planned_by(
    planner: Planner, snapshot: ComputeSnapshot | None, actions: Sequence[ProposedAction]
) -> tuple[PlannedAction, ...]:
    """The actions in order, by a planner of either kind."""
    if snapshot is not None and isinstance(planner, ModelPlanner):
        return planner.plan_on(snapshot, actions)
    return planner.plan(actions)
