"""From an unordered solution to a graph of actions: the planner's contract.

Planners are pure: the decision service turns indexes into uuids and stores the plan (B-211).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from trimtab_common.domain.errors import Bug
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_decision.framework.errors import PlannerMisconfigured
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
    """The actions in order, by a planner of either kind; all of them wait for what they must.

    A planner that sees the model finds out itself who makes room for whom; for the others it is what the
    actions say (`ProposedAction.after`).
    """
    if snapshot is not None and isinstance(planner, ModelPlanner):
        return planner.plan_on(snapshot, actions)
    return _waiting(planner.plan(actions))


def _waiting(planned: tuple[PlannedAction, ...]) -> tuple[PlannedAction, ...]:
    """The plan with the parents that `after` names, in an order in which they come first.

    Bug: one of them is not in the plan. PlannerMisconfigured: the planner's own parents forbid it.
    """
    if not any(step.action.after for step in planned):
        return planned
    migrations = {
        s.action.resource_id: s.index for s in planned if s.action.action_type == "migrate"
    }
    parents = [{*step.parents, *_named(step.action, migrations)} for step in planned]
    order = _parents_first(parents)
    if len(order) < len(planned):
        raise PlannerMisconfigured(
            "This planner lets migrations wait for others that need the room which they leave; "
            "plans of this strategy need another planner."
        )
    place = {index: new for new, index in enumerate(order)}
    return tuple(
        replace(planned[index], index=new, parents=tuple(sorted(place[p] for p in parents[index])))
        for new, index in enumerate(order)
    )


def _named(action: ProposedAction, migrations: Mapping[str | None, int]) -> Iterator[int]:
    for name in action.after:
        if name not in migrations:
            raise Bug(
                f"The migration of {action.resource_id} waits for {name}, which does not migrate."
            )
        yield migrations[name]


def _parents_first(parents: Sequence[set[int]]) -> list[int]:
    """An order with every parent before its children, else by index; without what waits in a circle."""
    children: dict[int, list[int]] = defaultdict(list)
    for index, found in enumerate(parents):
        for parent in found:
            children[parent].append(index)
    open_parents = [len(found) for found in parents]
    ready = [index for index, count in enumerate(open_parents) if not count]
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for child in children[order[-1]]:
            open_parents[child] -= 1
            if not open_parents[child]:
                heapq.heappush(ready, child)
    return order
