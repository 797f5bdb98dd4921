"""Outlet temperature: one active server off the hottest host, to the coolest with room.

Goal: thermal_optimization. Metric: host_outlet_temp, degrees Celsius. Example with numbers:
README.md beside this file, which a test runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.strategies.board import Board, drop_below_min_gain
from trimtab_decision.strategies.moves import add_migration
from trimtab_decision.strategies.outlet_temperature import params
from trimtab_decision.strategies.readings import host_readings


class OutletTemperature(Strategy):
    """One migration from hot to cool."""

    name: ClassVar[str] = "outlet_temperature"
    display_name: ClassVar[str] = "Outlet temperature based strategy"
    goal_name: ClassVar[str] = "thermal_optimization"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    required_metrics: ClassVar[tuple[str, ...]] = ("host_outlet_temp",)
    needs_compute_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """The first server of the hottest host that the coolest host can take (B-160)."""
        board, threshold = Board(context), float(context.parameters["threshold"])
        temperature = host_readings(context, "host_outlet_temp")
        known = board.masks.targets & ~np.isnan(temperature)
        sources = np.flatnonzero(known & (temperature >= threshold))
        targets = np.flatnonzero(known & (temperature < threshold))
        targets = targets[np.argsort(temperature[targets], kind="stable")]
        if not len(sources):
            hottest = (
                f", the hottest is at {temperature[known].max():.1f} °C" if known.any() else ""
            )
            solution.note(f"No host is at or above {threshold:g} °C{hottest}; nothing to do.")
            return
        if board.moves_left < 1:
            return
        names, active = board.snapshot.host_name, board.active()
        for source in sources[np.argsort(-temperature[sources], kind="stable")].tolist():
            for server in board.servers_of(source)[active[board.servers_of(source)]].tolist():
                fitting = board.destinations(server, targets)
                if not len(fitting):
                    board.count_refusals(solution, server, targets)
                    continue
                target = int(fitting[0])
                other = board.others(server, targets, fitting)
                reason = (
                    f"{names[source]} is at {temperature[source]:.1f} °C, at or above "
                    f"{threshold:g} °C; {names[target]} at {temperature[target]:.1f} °C is the "
                    f"coolest with room{other}."
                )
                add_migration(solution, board.snapshot, server, target, reason=reason)
                drop_below_min_gain(
                    solution,
                    gain_pct=100.0 / len(sources),
                    min_gain_pct=context.parameters["min_gain"],
                )
                return
        solution.note("No server of a hot host has a place on a cool one.")
