"""The weight planner: heavier action types first, each type in chunks that run in parallel.

Watcher's default planner, with its values (B-215, B-216). A chunk waits for the whole chunk before
it, so at most `parallelization` actions of a type run at once, cluster-wide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from trimtab_decision.framework.errors import PlannerMisconfigured
from trimtab_decision.framework.planning import PlannedAction
from trimtab_decision.framework.solution import ProposedAction

WEIGHTS: Mapping[str, int] = {
    "nop": 70,
    "volume_migrate": 60,
    "change_nova_service_state": 50,
    "sleep": 40,
    "stop": 35,
    "migrate": 30,
    "resize": 20,
    "turn_host_to_acpi_s3_state": 10,
    "change_node_power_state": 9,
}
PARALLELIZATION: Mapping[str, int] = {
    "nop": 1,
    "volume_migrate": 2,
    "change_nova_service_state": 1,
    "sleep": 1,
    "stop": 2,
    "migrate": 2,
    "resize": 2,
    "turn_host_to_acpi_s3_state": 2,
    "change_node_power_state": 2,
}
UNKNOWN_WEIGHT = 0
"""Types that nobody gave a weight come last, one at a time, in the solution's order."""
UNKNOWN_PARALLELIZATION = 1


def integers(option: str, values: Mapping[str, Any]) -> dict[str, int]:
    """An operator's dict with values as integers; PlannerMisconfigured names the wrong one."""
    result = {}
    for name, value in values.items():
        try:
            result[name] = int(value)
        except (TypeError, ValueError):
            raise PlannerMisconfigured(
                f"[watcher_planners] {option}: '{name}' must be an integer, not {value!r}."
            ) from None
    return result


class WeightPlanner:
    """Chunks by weight. Options `weights` and `parallelization` are merged over the defaults."""

    name: ClassVar[str] = "weight"

    def __init__(
        self,
        *,
        weights: Mapping[str, Any] | None = None,
        parallelization: Mapping[str, Any] | None = None,
    ) -> None:
        self._weights = {**WEIGHTS, **integers("weights", weights or {})}
        self._parallel = {
            **PARALLELIZATION,
            **integers("parallelization", parallelization or {}),
        }
        owner: dict[int, str] = {}
        for action_type, weight in self._weights.items():
            other = owner.setdefault(weight, action_type)
            if other != action_type:
                raise PlannerMisconfigured(
                    f"[watcher_planners.weight] weights: '{other}' and '{action_type}' share "
                    f"the weight {weight}; give each type its own."
                )

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """A planner with the options of [watcher_planners.weight]."""
        return cls(weights=options.get("weights"), parallelization=options.get("parallelization"))

    def plan(self, actions: Sequence[ProposedAction]) -> tuple[PlannedAction, ...]:
        """Every action of a chunk has all actions of the chunk before it as parents (B-215)."""
        planned: list[PlannedAction] = []
        parents: tuple[int, ...] = ()
        for chunk in self._chunks(actions):
            first = len(planned)
            planned.extend(
                PlannedAction(index=first + place, action=action, parents=parents)
                for place, action in enumerate(chunk)
            )
            parents = tuple(range(first, len(planned)))
        return tuple(planned)

    def _chunks(self, actions: Sequence[ProposedAction]) -> Iterator[list[ProposedAction]]:
        known: dict[str, list[ProposedAction]] = {}
        unknown: list[ProposedAction] = []
        for action in actions:
            if action.action_type in self._weights:
                known.setdefault(action.action_type, []).append(action)
            else:
                unknown.append(action)
        groups = [(self._weights[kind], kind, group) for kind, group in known.items()]
        if unknown:
            groups.append((UNKNOWN_WEIGHT, "", unknown))
        for _, kind, group in sorted(groups, key=lambda entry: -entry[0]):
            size = max(1, self._parallel.get(kind, UNKNOWN_PARALLELIZATION))
            for start in range(0, len(group), size):
                yield group[start : start + size]
