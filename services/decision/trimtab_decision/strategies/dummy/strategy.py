"""Dummy: proves that the whole chain works without touching anything (B-080).

Goal: dummy. Metrics: none. Example: with its defaults it gives nop "hello World", nop "hello" and
sleep 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.strategies.dummy import params


class Dummy(Strategy):
    """Two messages and a sleep."""

    name: ClassVar[str] = "dummy"
    display_name: ClassVar[str] = "Dummy strategy"
    goal_name: ClassVar[str] = "dummy"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Emit the three actions."""
        reason = "The dummy strategy always does this."
        for message in ("hello World", context.parameters["para2"]):
            solution.add_action("nop", input_parameters={"message": message}, reason=reason)
        solution.add_action(
            "sleep", input_parameters={"duration": context.parameters["para1"]}, reason=reason
        )
