"""The planner of node_resource_consolidation: disable, then a chain per source node, then enable.

B-220: disables have no parents; the first migration of a node waits for all disables, each next one
also for the one before; enables wait for the last migration of every chain. With more than
MOST_WAITED_FOR of them one action waits for all and the others for that one: nothing runs earlier for it,
but 54,000 moves would name 260 million parents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from trimtab_decision.framework.errors import UnsupportedActionType
from trimtab_decision.framework.planning import PlannedAction
from trimtab_decision.framework.solution import ProposedAction
from trimtab_decision.planners.action_links import MOST_WAITED_FOR


class NodeResourceConsolidationPlanner:
    """Chains migrations by source node."""

    name: ClassVar[str] = "node_resource_consolidation"

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:  # noqa: ARG003, it has none
        """A planner; there are no options."""
        return cls()

    def plan(self, actions: Sequence[ProposedAction]) -> tuple[PlannedAction, ...]:
        """The actions with their parents; UnsupportedActionType for other types."""
        disables: list[ProposedAction] = []
        enables: list[ProposedAction] = []
        chains: dict[str, list[ProposedAction]] = {}
        for action in actions:
            if action.action_type == "migrate":
                chains.setdefault(str(action.input_parameters.get("source_node")), []).append(
                    action
                )
            elif action.action_type == "change_nova_service_state":
                is_enable = action.input_parameters.get("state") == "enabled"
                (enables if is_enable else disables).append(action)
            else:
                raise UnsupportedActionType(
                    f"Planner {self.name} cannot order actions of type '{action.action_type}'; "
                    "it knows migrate and change_nova_service_state."
                )
        planned = [PlannedAction(index=i, action=action) for i, action in enumerate(disables)]
        gate = everyone = tuple(range(len(planned)))
        if len(everyone) > MOST_WAITED_FOR:
            *others, last = everyone
            planned[last] = replace(planned[last], parents=tuple(others))
            gate, everyone = (last,), ()
        ends = []
        for chain in chains.values():
            parents = gate
            for action in chain:
                planned.append(PlannedAction(index=len(planned), action=action, parents=parents))
                parents = (*everyone, len(planned) - 1)
            ends.append(len(planned) - 1)
        parents = tuple(ends) or gate
        for action in enables:
            planned.append(PlannedAction(index=len(planned), action=action, parents=parents))
            if len(parents) > MOST_WAITED_FOR:
                parents = (len(planned) - 1,)
        return tuple(planned)
