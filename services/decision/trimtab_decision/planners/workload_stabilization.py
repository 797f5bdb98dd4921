"""The planner of the balancing strategies: everything in parallel that does not depend (B-218).

One action per server at a time: a resize waits for the earlier actions of its server; powering a
host down waits for what leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from trimtab_decision.framework.errors import UnsupportedActionType
from trimtab_decision.framework.planning import PlannedAction
from trimtab_decision.framework.solution import ProposedAction
from trimtab_decision.planners.weight import integers

WEIGHTS: Mapping[str, int] = {
    "turn_host_to_acpi_s3_state": 0,
    "change_node_power_state": 0,
    "resize": 1,
    "migrate": 2,
    "stop": 2,
    "volume_migrate": 2,
    "sleep": 3,
    "change_nova_service_state": 4,
    "nop": 5,
}
POWER_DOWN = frozenset({"turn_host_to_acpi_s3_state", "change_node_power_state"})
PER_SERVER = frozenset({"migrate", "stop", "resize"})


class WorkloadStabilizationPlanner:
    """Sorts by weight (stable) and links only true dependencies."""

    name: ClassVar[str] = "workload_stabilization"

    def __init__(self, *, weights: Mapping[str, Any] | None = None) -> None:
        self._weights = {**WEIGHTS, **integers("weights", weights or {})}

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """A planner with the options of [watcher_planners.workload_stabilization]."""
        return cls(weights=options.get("weights"))

    def plan(self, actions: Sequence[ProposedAction]) -> tuple[PlannedAction, ...]:
        """The actions sorted by weight, descending; UnsupportedActionType for others."""
        for action in actions:
            if action.action_type not in self._weights:
                raise UnsupportedActionType(
                    f"Planner {self.name} cannot order actions of type '{action.action_type}'."
                )
        ordered = sorted(actions, key=lambda action: -self._weights[action.action_type])
        links = _Links()
        return tuple(
            PlannedAction(index=index, action=action, parents=links.parents(index, action))
            for index, action in enumerate(ordered)
        )


class _Links:
    """Remembers what each server and each host still waits for."""

    def __init__(self) -> None:
        self._server: dict[str, int] = {}
        self._leaving: dict[str, list[int]] = {}
        self._host_of: dict[str, str] = {}
        self._enabled: dict[str, int] = {}

    def parents(self, index: int, action: ProposedAction) -> tuple[int, ...]:
        """The parents of this action; to be asked in plan order."""
        kind, inputs = action.action_type, action.input_parameters
        resource = str(inputs.get("resource_id", ""))
        if kind == "change_nova_service_state":
            for name in (inputs.get("resource_name"), resource):
                self._enabled[str(name)] = index
            return ()
        if kind in POWER_DOWN:
            name = str(inputs.get("resource_name", resource))
            return tuple(self._leaving.get(name, ()))
        if kind not in PER_SERVER:
            return ()
        found = self._of_server(index, resource, inputs)
        if kind == "migrate":
            ends = (inputs.get("source_node"), inputs.get("destination_node"))
            found |= {self._enabled[str(end)] for end in ends if str(end) in self._enabled}
        return tuple(sorted(found))

    def _of_server(self, index: int, server: str, inputs: Mapping[str, Any]) -> set[int]:
        """Chain the actions of one server; a host waits for the last action of each chain."""
        previous = self._server.get(server)
        self._server[server] = index
        host = str(inputs.get("source_node") or self._host_of.get(server, ""))
        self._host_of[server] = host
        leaving = self._leaving.setdefault(host, [])
        if previous is None:
            leaving.append(index)
            return set()
        if previous in leaving:
            leaving.remove(previous)
        leaving.append(index)
        return {previous}
