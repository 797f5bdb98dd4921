"""What a strategy gives back: actions in the strategy's order, with reasons, and its promises.

Strategy -> Solution -> planner (orders it) -> verifier -> the record.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trimtab_decision.framework.errors import InvalidIndicatorValue, ReservedWord


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedAction:
    """One action that a strategy wants, not yet ordered or stored.

    `input_parameters` holds `resource_id` too when the action has one, as it is stored.
    `reason`: one sentence for the operator. `facts`: what the action relies on, for staleness.
    `after`: of a migration, the servers (resource ids) whose migrations in the same plan leave the room
    that it fills, and so must have ended before it begins. They come before it in the solution.
    """

    action_type: str
    input_parameters: Mapping[str, Any]
    resource_id: str | None = None
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()


def gap_pct(value: float, bound: float) -> float:
    """By how much the value is above the bound, in percent of the value."""
    return max(0.0, 100.0 * (value - bound) / value) if value > 0 else 0.0


class Solution:
    """Collects what one execution of a strategy proposes.

    actions:    in the strategy's order; a planner may rearrange types but keeps this inside one
    indicators: name -> value, in set order
    rejections: constraint -> how many candidates it ruled out
    stats:      numbers about the search (bound, gap, iterations), for people and simulate
    messages:   what the operator should know, each once
    """

    def __init__(self, *, goal_name: str, strategy_name: str, planner_name: str = "weight") -> None:
        self.goal_name = goal_name
        self.strategy_name = strategy_name
        self.planner_name = planner_name
        self.actions: list[ProposedAction] = []
        self.indicators: dict[str, int | float] = {}
        self.rejections: Counter[str] = Counter()
        self.stats: dict[str, int | float | str] = {}
        self.messages: list[str] = []
        self._seen: set[Hashable] = set()

    def add_action(
        self,
        action_type: str,
        *,
        input_parameters: Mapping[str, Any] | None = None,
        resource_id: str | None = None,
        reason: str = "",
        facts: Mapping[str, Any] | None = None,
        after: Sequence[str] = (),
    ) -> None:
        """Append an action; an identical one (type and all inputs) is dropped with a message.

        For `after` see ProposedAction.
        Raises ReservedWord when `input_parameters` itself names `resource_id` (B-037).
        """
        inputs = dict(input_parameters or {})
        if "resource_id" in inputs:
            raise ReservedWord(
                f"Action {action_type}: 'resource_id' is reserved; give it beside the "
                "input parameters, not among them."
            )
        if resource_id is not None:
            inputs["resource_id"] = resource_id
        key = _key(action_type, inputs)
        if key in self._seen:
            shown = json.dumps(inputs, sort_keys=True, default=str)
            self.note(f"An identical action was dropped: {action_type} {shown}")
            return
        self._seen.add(key)
        self.actions.append(
            ProposedAction(
                action_type=action_type,
                input_parameters=inputs,
                resource_id=resource_id,
                reason=reason,
                facts=facts or {},
                after=tuple(after),
            )
        )

    def discard_actions(self) -> None:
        """Plan nothing after all."""
        self.actions.clear()
        self._seen.clear()

    def set_indicator(self, name: str, value: float) -> None:
        """Set an efficacy indicator; InvalidIndicatorValue unless it is a finite number (B-012)."""
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise InvalidIndicatorValue(f"Indicator {name} must be a number, not {value!r}.")
        self.indicators[name] = value

    def set_bound(self, what: str, *, value: float, bound: float) -> None:
        """How good the plan is: `what` it ends with, and what no plan within its limits gets below.

        gap_pct is by how much the plan is above the bound, in percent of the value.
        """
        self.stats["bound_of"] = what
        self.stats["value"] = value if isinstance(value, int) else round(value, 9)
        self.stats["bound"] = bound if isinstance(bound, int) else round(bound, 9)
        self.stats["gap_pct"] = round(gap_pct(value, bound), 3)

    def bound_text(self) -> str:
        """The bound as a sentence; "" when the strategy knows none."""
        if "bound" not in self.stats:
            return ""
        what = str(self.stats["bound_of"])
        return (
            f"{what[0].upper()}{what[1:]}: {_short(self.stats['value'])} after this plan, no plan "
            f"gets below {_short(self.stats['bound'])} (gap {self.stats['gap_pct']} %)."
        )

    def note(self, message: str) -> None:
        """Tell the operator something, once."""
        if message not in self.messages:
            self.messages.append(message)

    def count(self, action_type: str) -> int:
        """How many actions of this type there are."""
        return sum(1 for action in self.actions if action.action_type == action_type)


def _key(action_type: str, inputs: Mapping[str, Any]) -> Hashable:
    """Equal for equal actions only; texts alone, as most inputs are, need no JSON."""
    if all(type(value) is str for value in inputs.values()):
        return (action_type, *sorted(inputs.items()))
    return f"{action_type} {json.dumps(inputs, sort_keys=True, default=str)}"


def _short(number: float | str) -> str:
    return f"{number:.4f}" if isinstance(number, float) else str(number)
