"""Uniform airflow: servers off the host whose fans blow most, to hosts where they blow least.

Goal: airflow_optimization. Metrics of compute nodes: host_airflow (0.1 CFM, like its threshold),
host_inlet_temp, host_power. A host that blows hard while it is cool and draws little power is
suspected to be broken, and all its servers go; else one does. Example with numbers: README.md
beside this file, which a test runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import VCPU
from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.strategies.board import Board, drop_below_min_gain
from trimtab_decision.strategies.moves import add_migration
from trimtab_decision.strategies.readings import host_readings
from trimtab_decision.strategies.uniform_airflow import params


class UniformAirflow(Strategy):
    """One server, or all of them, off the host with the most airflow."""

    name: ClassVar[str] = "uniform_airflow"
    display_name: ClassVar[str] = "Uniform airflow migration strategy"
    goal_name: ClassVar[str] = "airflow_optimization"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    required_metrics: ClassVar[tuple[str, ...]] = ("host_airflow",)
    optional_metrics: ClassVar[tuple[str, ...]] = ("host_inlet_temp", "host_power")
    needs_compute_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """The first source with suitable servers; all of them find a place, or nothing moves."""
        board, given = Board(context), context.parameters
        airflow = host_readings(context, "host_airflow")
        known = board.masks.targets & ~np.isnan(airflow)
        is_source = known & (airflow >= given["threshold_airflow"])
        sources = np.flatnonzero(is_source)
        targets = np.flatnonzero(known & ~is_source)
        targets = targets[np.argsort(airflow[targets], kind="stable")]
        if not len(sources):
            most = f", the most is {airflow[known].max():.0f}" if known.any() else ""
            solution.note(
                f"No host is at or above {given['threshold_airflow']:g} (0.1 CFM){most}; nothing to do."
            )
            return
        for source in sources[np.argsort(-airflow[sources], kind="stable")].tolist():
            servers = _leaving(context, board, source)
            if len(servers):
                _move_all(solution, board, servers, targets, airflow)
                break
        else:
            solution.note("Hosts are above the threshold, but none of their servers may move.")
        drop_below_min_gain(solution, gain_pct=100.0 / len(sources), min_gain_pct=given["min_gain"])


def _leaving(context: StrategyContext, board: Board, source: int) -> NDArray[np.intp]:
    """All that can move when the hardware is suspect, else the first active one (B-165)."""
    servers, given = board.servers_of(source), context.parameters
    nothing = np.full(board.snapshot.n_hosts, np.nan)
    inlet = context.metrics.host.get("host_inlet_temp", nothing)[source]
    power = context.metrics.host.get("host_power", nothing)[source]
    if inlet < given["threshold_inlet_t"] and power < given["threshold_power"]:
        return servers[board.masks.movable[servers]]
    return servers[board.active()[servers]][:1]


def _move_all(
    solution: Solution,
    board: Board,
    servers: NDArray[np.intp],
    targets: NDArray[np.intp],
    airflow: NDArray[np.float64],
) -> None:
    """Most vCPUs first, each to the first target with room; nothing when one has none (B-166)."""
    snapshot, names = board.snapshot, board.snapshot.host_name
    order = servers[np.argsort(-snapshot.server_demand[servers, VCPU], kind="stable")]
    if len(order) > board.max_migrations:
        solution.note(
            f"{len(order)} servers would have to move, max_migrations allows "
            f"{board.max_migrations}; nothing is planned."
        )
        return
    chosen = []
    for server in order.tolist():
        fitting = board.destinations(server, targets)
        if not len(fitting):
            board.count_refusals(solution, server, targets)
            source = names[int(snapshot.server_host[server])]
            solution.note(
                f"{snapshot.server_name[server]} of {source} has no place on a host with less "
                "airflow; nothing is planned."
            )
            return
        target, other = int(fitting[0]), board.others(server, targets, fitting)
        board.placement.move(server, target)
        chosen.append((server, target, other))
    for server, target, other in chosen:
        home = int(snapshot.server_host[server])
        reason = (
            f"{names[home]} blows {airflow[home]:.0f}, {names[target]} {airflow[target]:.0f} "
            f"(0.1 CFM){other}."
        )
        add_migration(solution, snapshot, server, target, reason=reason)
