"""Dummy with resize: migrations and a resize of servers that exist in no cloud (B-081).

Goal: dummy. Metrics: none. Without parameters it plans two nops, a sleep of 5 s, two migrations
and a resize.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.strategies.dummy_with_resize import params

SERVERS = ("b199db0c-1408-4d52-b5a5-5ca14de0ff36", "8db1b3c1-7938-4c34-8c03-6de14b874f8f")
SLEEP_S = 5.0


class DummyWithResize(Strategy):
    """Always the same six actions."""

    name: ClassVar[str] = "dummy_with_resize"
    display_name: ClassVar[str] = "Dummy strategy with resize"
    goal_name: ClassVar[str] = "dummy"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:  # noqa: ARG002, it always does the same
        """Emit the actions."""
        reason = "The dummy strategy with resize always does this."
        for message in ("hello World", "Welcome"):
            solution.add_action("nop", input_parameters={"message": message}, reason=reason)
        solution.add_action("sleep", input_parameters={"duration": SLEEP_S}, reason=reason)
        for server in SERVERS:
            solution.add_action(
                "migrate",
                input_parameters={
                    "migration_type": "live",
                    "source_node": "compute2",
                    "destination_node": "compute3",
                    "resource_name": server,
                },
                resource_id=server,
                reason=reason,
            )
        solution.add_action(
            "resize", input_parameters={"flavor": "x2"}, resource_id=SERVERS[1], reason=reason
        )
