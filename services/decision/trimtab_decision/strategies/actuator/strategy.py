"""Actuator: puts exactly the given actions into a plan (B-083).

Goal: unclassified. Metrics: none. Example: `{"actions": [{"action_type": "nop",
"input_parameters": {"message": "hi"}}]}` gives one nop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.strategies.actuator import params


class Actuator(Strategy):
    """Copies the parameter `actions` into the solution, unchanged and in order."""

    name: ClassVar[str] = "actuator"
    display_name: ClassVar[str] = "Actuator"
    goal_name: ClassVar[str] = "unclassified"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Copy the actions."""
        for entry in context.parameters["actions"]:
            solution.add_action(
                entry["action_type"],
                input_parameters=entry["input_parameters"],
                resource_id=entry.get("resource_id"),
                reason="Asked for by the audit's parameters.",
            )
