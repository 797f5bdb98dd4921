"""Node resource consolidation: servers of the least used nodes onto the others.

Goal: server_consolidation. Metrics: none. A node is emptied wholly or not at all. With `auto` the
nodes to empty, and those that are empty, are disabled meanwhile so that Nova cannot choose them.
Example with numbers: README.md beside this file, which a test runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import DISK_GIB, VCPU
from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.framework.destinations import find_servers
from trimtab_decision.optimizer.consolidating import Consolidation
from trimtab_decision.optimizer.draining import Request, empty_to_the_last
from trimtab_decision.strategies.board import Board, drop_below_min_gain
from trimtab_decision.strategies.emptying import explain_nothing, servers_per_host
from trimtab_decision.strategies.moves import add_host_state, add_migration
from trimtab_decision.strategies.node_resource_consolidation import params

DISABLED_REASON = "Watcher node resource consolidation strategy"


class NodeResourceConsolidation(Strategy):
    """Empties the least used nodes."""

    name: ClassVar[str] = "node_resource_consolidation"
    display_name: ClassVar[str] = "Node Resource Consolidation strategy"
    goal_name: ClassVar[str] = "server_consolidation"
    planner: ClassVar[str] = "node_resource_consolidation"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    needs_compute_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Group the nodes, then move the servers of the source group."""
        snapshot, given = context.snapshot, context.parameters
        board = Board(context)
        in_use = servers_per_host(snapshot) > 0
        found = empty_to_the_last(
            Request(
                placement=board.placement,
                dims=board.dims,
                masks=board.masks,
                order=lambda: _by_use(board),
                server_score=snapshot.server_demand[:, VCPU].astype(np.float64),
                keep=_troubled(context),
                max_moves=board.max_migrations if "max_migrations" in given else None,
                is_over=board.is_out_of_time,
                improved=context.improved("hosts in use"),
            )
        )
        solution.rejections.update(found.rejections)
        solution.stats["hosts_in_use_bound"] = found.bound
        solution.stats["released"] = int(found.emptied.sum())
        if not found.moves:
            explain_nothing(solution, found, int(in_use.sum()))
            return
        if given["host_choice"] == "auto":
            _leave_it_to_nova(solution, board, found, in_use)
        else:
            for server, target in _by_source(board, found):
                _move(solution, board, server, target)
        gain_pct = 100.0 * int(found.emptied.sum()) / max(1, int(in_use.sum()))
        if drop_below_min_gain(solution, gain_pct=gain_pct, min_gain_pct=given["min_gain"]):
            solution.stats["released"] = 0
        left = int(in_use.sum()) - int(solution.stats["released"])
        solution.set_bound("hosts in use", value=left, bound=min(found.bound, left))

    def post_execute(self, context: StrategyContext, solution: Solution) -> None:
        """The indicators of server_consolidation (B-120)."""
        solution.set_indicator("compute_nodes_count", context.snapshot.n_hosts)
        solution.set_indicator("released_compute_nodes_count", int(solution.stats["released"]))
        solution.set_indicator("instance_migrations_count", solution.count("migrate"))


def _troubled(context: StrategyContext) -> NDArray[np.bool_]:
    """[H] nodes with a server whose migration failed in an earlier plan of this audit (B-117)."""
    snapshot = context.snapshot
    hosts = snapshot.server_host[find_servers(snapshot, context.failed_servers)]
    result = np.zeros(snapshot.n_hosts, dtype=bool)
    result[hosts[hosts >= 0]] = True
    return result


def _by_use(board: Board) -> NDArray[np.intp]:
    """Nodes in use, the most used first: mean percent of vCPU and memory (B-115)."""
    capacity = np.maximum(board.snapshot.capacity()[:, :DISK_GIB], 1.0)
    used_pct = (1.0 - board.settled_free()[:, :DISK_GIB] / capacity).mean(axis=1)
    hosts = np.flatnonzero(board.in_use() & (board.masks.targets | board.masks.own_disabled))
    return hosts[np.argsort(-used_pct[hosts], kind="stable")]


def _by_source(board: Board, found: Consolidation) -> list[tuple[int, int]]:
    """(server, target): node by node in the model's order, most vCPUs first (B-118)."""
    vcpus = board.snapshot.server_demand[:, VCPU]
    ordered = sorted(found.moves, key=lambda m: (m.source, -int(vcpus[m.server]), m.server))
    return [(move.server, move.target) for move in ordered]


def _leave_it_to_nova(
    solution: Solution, board: Board, found: Consolidation, in_use: NDArray[np.bool_]
) -> None:
    """Disable free and source nodes, migrate without destination, enable what was disabled."""
    free = board.masks.targets & ~in_use
    hosts = np.flatnonzero(board.masks.targets & (free | found.emptied)).tolist()
    names = board.snapshot.host_name
    for host in hosts:
        what = "is emptied" if found.emptied[host] else "is empty"
        add_host_state(
            solution,
            board.snapshot,
            host,
            enable=False,
            reason=f"{names[host]} {what}: Nova must not choose it meanwhile.",
            disabled_reason=DISABLED_REASON,
        )
    for server, _ in _by_source(board, found):
        _move(solution, board, server, None)
    for host in hosts:
        reason = f"{names[host]} was disabled only while servers moved."
        add_host_state(solution, board.snapshot, host, enable=True, reason=reason)


def _move(solution: Solution, board: Board, server: int, target: int | None) -> None:
    names, source = board.snapshot.host_name, int(board.snapshot.server_host[server])
    where = "Nova chooses the target" if target is None else f"{names[target]} is the tightest fit"
    reason = f"{names[source]} is little used and can be emptied wholly; {where}."
    add_migration(solution, board.snapshot, server, target, reason=reason)
