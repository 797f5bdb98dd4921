"""Basic offline consolidation: active servers off whole hosts, which are then disabled.

Goal: server_consolidation. Metrics (optional): host_cpu_usage, instance_cpu_usage; what is not
measured counts as 100 %. Hosts are tried one by one, the least loaded first (B-091); without
`migration_attempts` the shared search then empties what that walk could not. Example with
numbers: README.md beside this file, which a test runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.optimizer.draining import Request, drain_one_by_one, empty_to_the_last
from trimtab_decision.strategies.basic import params
from trimtab_decision.strategies.board import Board, drop_below_min_gain
from trimtab_decision.strategies.emptying import (
    explain_nothing,
    servers_per_host,
    write_consolidation,
)


class Basic(Strategy):
    """Empties whole hosts, the least loaded first."""

    name: ClassVar[str] = "basic"
    display_name: ClassVar[str] = "Basic offline consolidation"
    goal_name: ClassVar[str] = "server_consolidation"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    optional_metrics: ClassVar[tuple[str, ...]] = ("host_cpu_usage", "instance_cpu_usage")
    needs_compute_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Find the hosts to empty, and write the actions."""
        snapshot, given = context.snapshot, context.parameters
        board = Board(context)
        masks = dataclasses.replace(board.masks, movable=board.active())
        in_use = servers_per_host(snapshot) > 0
        score = _score(context.metrics.server, "instance_cpu_usage", snapshot.n_servers)
        if given["migration_attempts"]:
            moves, tried = drain_one_by_one(
                board.placement,
                masks,
                order=_by_load(context, board, in_use),
                server_score=score,
                max_failures=int(given["migration_attempts"]),
                max_moves=board.max_migrations,
            )
            solution.stats["hosts_tried"] = tried
        else:
            found = empty_to_the_last(
                Request(
                    placement=board.placement,
                    dims=board.dims,
                    masks=masks,
                    order=lambda: _by_load(context, board, board.in_use()),
                    server_score=score,
                    max_moves=board.max_migrations if "max_migrations" in given else None,
                    is_over=board.is_out_of_time,
                    improved=context.improved("hosts in use"),
                )
            )
            moves = found.moves
            solution.rejections.update(found.rejections)
            solution.stats["hosts_in_use_bound"] = found.bound
            if not moves:
                explain_nothing(solution, found, int(in_use.sum()))
        after = np.bincount(
            board.placement.host[board.placement.host >= 0], minlength=snapshot.n_hosts
        )
        write_consolidation(solution, board, moves=moves, after=after, only_emptied=True)
        released = int((in_use & (after == 0)).sum())
        gain_pct = 100.0 * released / max(1, int(in_use.sum()))
        drop_below_min_gain(solution, gain_pct=gain_pct, min_gain_pct=given["min_gain"])
        bound = solution.stats.get("hosts_in_use_bound")
        if isinstance(bound, int):
            left = int(in_use.sum()) - (released if solution.actions else 0)
            solution.set_bound("hosts in use", value=left, bound=min(bound, left))
        solution.stats["hosts_in_use_before"] = int(in_use.sum())
        solution.stats["hosts_in_use_after"] = int(in_use.sum()) - (
            released if solution.actions else 0
        )

    def post_execute(self, context: StrategyContext, solution: Solution) -> None:
        """The indicators of server_consolidation."""
        snapshot = context.snapshot
        before = solution.stats["hosts_in_use_before"]
        released = int(before) - int(solution.stats["hosts_in_use_after"])
        enabled = snapshot.host_up & snapshot.host_enabled
        solution.set_indicator("compute_nodes_count", int(enabled.sum()))
        solution.set_indicator("released_compute_nodes_count", released)
        solution.set_indicator("instance_migrations_count", solution.count("migrate"))


def _score(
    columns: Mapping[str, NDArray[np.float64]], name: str, length: int
) -> NDArray[np.float64]:
    """(cpu % / 100) / 3, not measured counts as 100 % (B-090)."""
    measured = columns.get(name, np.full(length, np.nan))
    return np.where(np.isnan(measured), 100.0, measured) / 100.0 / 3.0


def _by_load(context: StrategyContext, board: Board, in_use: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The hosts that count, the most loaded first, with the planned moves done."""
    score = _score(context.metrics.host, "host_cpu_usage", context.snapshot.n_hosts)
    score = score + board.moved_cpu(context.metrics) / 3.0
    hosts = np.flatnonzero(in_use & (board.masks.targets | board.masks.own_disabled))
    return hosts[np.argsort(-score[hosts], kind="stable")]
