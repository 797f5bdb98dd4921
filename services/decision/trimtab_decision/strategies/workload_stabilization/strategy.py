"""Workload stabilization: hosts that are about equally loaded, for few live migrations.

Goal: workload_balancing. Metrics: instance_cpu_usage with host_cpu_usage, or instance_ram_usage
with host_ram_usage, or both. Acts only when a metric's standard deviation over the hosts is above
its threshold. Example with numbers: README.md beside this file, which a test runs.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import MEMORY_MIB, VCPU, ComputeSnapshot, MetricsTable
from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.optimizer.balancing import BalancingMove, Loads, balance
from trimtab_decision.optimizer.bounds import deviation_bound
from trimtab_decision.optimizer.dimensions import KIB_PER_MIB
from trimtab_decision.optimizer.eligibility import Eligibility
from trimtab_decision.optimizer.rebalancing import Rebalancing, rebalance
from trimtab_decision.strategies.board import Board, drop_below_min_gain
from trimtab_decision.strategies.moves import add_migration
from trimtab_decision.strategies.workload_stabilization import params

SHOWN = 3
LOOKS = 400
"""Of the descent where a number of moves is given: with many moves annealing gets there in less time."""


class WorkloadStabilization(Strategy):
    """Steepest descent on the weighted standard deviation."""

    name: ClassVar[str] = "workload_stabilization"
    display_name: ClassVar[str] = "Workload stabilization"
    goal_name: ClassVar[str] = "workload_balancing"
    planner: ClassVar[str] = "workload_stabilization"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    required_metrics: ClassVar[tuple[str, ...]] = ("instance_cpu_usage", "host_cpu_usage")
    optional_metrics: ClassVar[tuple[str, ...]] = ("instance_ram_usage", "host_ram_usage")
    needs_compute_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Measure; when a deviation is above its threshold, descend."""
        snapshot, given = context.snapshot, context.parameters
        for name in ("periods", "aggregation_method"):
            if given[name].get("node"):
                solution.note(f"{name}.node is deprecated; use {name}.compute_node.")
        board = Board(context)
        masks = board.masks
        loads = _loads(snapshot, context.metrics, given, masks)
        before = loads.deviation()
        solution.set_indicator("instance_migrations_count", 0)
        solution.set_indicator("instances_count", snapshot.n_servers)
        solution.set_indicator("standard_deviation_before_audit", loads.total())
        solution.set_indicator("standard_deviation_after_audit", loads.total())
        _note_missing(solution, snapshot, loads, masks)
        if not (before > loads.threshold).any():
            shown = [
                f"{name} {value:.4f} of {limit:g}"
                for name, value, limit in zip(
                    given["metrics"], before, loads.threshold, strict=True
                )
            ]
            solution.note(
                f"Every deviation is within its threshold ({', '.join(shown)}); nothing to do."
            )
            return
        found = balance(
            loads,
            board.placement,
            movable=board.live(),
            class_hosts=masks.class_hosts,
            server_class=masks.server_class,
            names=board.dims.names,
            max_moves=board.max_migrations,
            max_looks=LOOKS if "max_migrations" in given else sys.maxsize,
            is_over=board.is_out_of_time,
            improved=context.improved("weighted deviation"),
        )
        if (found.deviation >= loads.threshold).any():
            problem = Rebalancing(
                loads=loads,
                placement=board.placement,
                movable=board.live(),
                class_hosts=masks.class_hosts,
                server_class=masks.server_class,
                max_moves=board.max_migrations if "max_migrations" in given else len(found.moves),
            )
            found = rebalance(found, problem, seed=context.seed, is_over=board.is_out_of_time)
        _write(solution, snapshot, found.moves, given["metrics"][0])
        solution.rejections.update(found.rejections)
        gain_pct = 100.0 * (1.0 - found.total / loads.total()) if loads.total() else 0.0
        if drop_below_min_gain(solution, gain_pct=gain_pct, min_gain_pct=given["min_gain"]):
            return
        place = np.full(snapshot.n_hosts + 1, -1, dtype=np.intp)
        place[loads.hosts] = np.arange(len(loads.hosts))
        bound = deviation_bound(
            loads, place[snapshot.server_host], board.live(), solution.count("migrate")
        )
        what = "weighted deviation with as many migrations"
        solution.set_bound(what, value=found.total, bound=min(bound, found.total))
        solution.set_indicator("instance_migrations_count", solution.count("migrate"))
        solution.set_indicator("standard_deviation_after_audit", found.total)
        solution.stats["candidates"] = found.evaluated
        for name, value, limit in zip(
            given["metrics"], found.deviation, loads.threshold, strict=True
        ):
            if value > limit:
                solution.note(f"No further move lowers {name}: {value:.4f} is above {limit}.")


def _write(
    solution: Solution, snapshot: ComputeSnapshot, moves: Sequence[BalancingMove], metric: str
) -> None:
    """The migrations, each after those that it waits for."""
    behind: dict[int, list[int]] = defaultdict(list)
    for move in moves:
        for other in move.after:
            behind[other].append(move.server)
    for move in moves:
        reason = _why(snapshot, move, behind[move.server], metric)
        add_migration(solution, snapshot, move.server, move.target, reason=reason, after=move.after)


def _loads(
    snapshot: ComputeSnapshot,
    metrics: MetricsTable,
    given: Mapping[str, Any],
    masks: Eligibility,
) -> Loads:
    """The loads of the hosts that count: up, enabled and measured in every metric (B-125)."""
    names = given["metrics"]
    host_load = np.column_stack(
        [_host_load(snapshot, metrics, given["instance_metrics"][name]) for name in names]
    )
    hosts = np.flatnonzero(masks.targets & ~np.isnan(host_load).any(axis=1))
    axis = [VCPU if name == "instance_cpu_usage" else MEMORY_MIB for name in names]
    size = np.maximum(snapshot.host_inventory[:, axis].astype(np.float64), 1.0)
    return Loads(
        hosts=hosts,
        load=host_load[hosts] if len(hosts) else np.zeros((1, len(names))),
        size=size[hosts],
        amount=np.column_stack([_amount(snapshot, metrics, name) for name in names]),
        weight=np.array([_given(given, "weights", f"{name}_weight") for name in names]),
        threshold=np.array([_given(given, "thresholds", name) for name in names]),
    )


def _given(given: Mapping[str, Any], group: str, name: str) -> float:
    value = given[group].get(name)
    if value is None:
        raise InvalidArgument(f"Parameter {group} lacks {name}.")
    return float(value)


def _host_load(snapshot: ComputeSnapshot, metrics: MetricsTable, name: str) -> NDArray[np.float64]:
    """[H] 0..1; NaN where nothing was measured, or there is nothing to load."""
    column = metrics.host.get(name)
    if column is None:
        raise MetricNotAvailable(f"Metric {name} was not delivered for any compute node.")
    total = snapshot.host_inventory[:, VCPU if name == "host_cpu_usage" else MEMORY_MIB]
    measured = np.where(total > 0, column, np.nan)
    if name == "host_cpu_usage":
        return measured / 100.0
    return np.asarray(measured / KIB_PER_MIB / np.maximum(total, 1), dtype=np.float64)


def _amount(snapshot: ComputeSnapshot, metrics: MetricsTable, name: str) -> NDArray[np.float64]:
    """[V] cores or MiB that a server uses; NaN where nothing was measured."""
    column = metrics.server.get(name)
    if column is None:
        return np.full(snapshot.n_servers, np.nan)
    if name == "instance_cpu_usage":
        return np.asarray(column / 100.0 * snapshot.server_demand[:, VCPU], dtype=np.float64)
    return column


def _note_missing(
    solution: Solution, snapshot: ComputeSnapshot, loads: Loads, masks: Eligibility
) -> None:
    """Say once what is left out for want of a measurement (B-042)."""
    hosts = int(masks.targets.sum()) - len(loads.hosts)
    if hosts:
        solution.note(f"{hosts} compute nodes without measurements are left out.")
    running = snapshot.server_state == int(ServerState.ACTIVE)
    servers = int((np.isnan(loads.amount).any(axis=1) & running).sum())
    if servers:
        solution.note(f"{servers} active servers without measurements are not moved.")


def _why(snapshot: ComputeSnapshot, move: BalancingMove, behind: Sequence[int], metric: str) -> str:
    """`behind`: servers that get room from this one."""
    names = snapshot.host_name
    what = "cpu" if metric == "instance_cpu_usage" else "memory"
    text = (
        f"{names[move.source]} is at {move.source_load:.0%} {what}, {names[move.target]} at "
        f"{move.target_load:.0%}; this lowers the deviation from {move.total_before:.4f} to "
        f"{move.total_after:.4f}"
    )
    if move.runner_up is not None:
        text += f"; next best {names[move.runner_up]}"
    if move.after:
        text += f"; needs {_listed(snapshot, move.after)} to leave there first"
    if behind:
        text += f"; makes room for {_listed(snapshot, behind)}"
    return f"{text}."


def _listed(snapshot: ComputeSnapshot, servers: Sequence[int]) -> str:
    shown = ", ".join(snapshot.server_name[server] for server in servers[:SHOWN])
    more = len(servers) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
