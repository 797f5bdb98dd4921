"""From an unordered solution to a graph of actions: the planner's contract.

Planners are pure: the decision service turns indexes into uuids and stores the plan (B-211).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

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
