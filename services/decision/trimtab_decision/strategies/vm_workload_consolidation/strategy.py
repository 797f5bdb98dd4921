"""VM workload consolidation: the same servers on fewer hosts, for the fewest moves.

Goal: server_consolidation. Metrics (all optional): instance_cpu_usage, instance_ram_usage,
instance_ram_allocated, instance_root_disk_size, host_cpu_usage, host_ram_usage; the flavor stands
in for what was not measured. Overloaded hosts are relieved first; then hosts are emptied wholly or
not at all. Example with numbers: README.md beside this file, which a test runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import VCPU
from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.optimizer.dimensions import dimensions
from trimtab_decision.optimizer.draining import Request
from trimtab_decision.optimizer.relieving import relieve
from trimtab_decision.optimizer.written_order import consolidate_at_least
from trimtab_decision.strategies.board import Board, drop_below_min_gain
from trimtab_decision.strategies.emptying import (
    explain_nothing,
    servers_per_host,
    write_consolidation,
)
from trimtab_decision.strategies.vm_workload_consolidation import params


class VMWorkloadConsolidation(Strategy):
    """Empties whole hosts and disables them."""

    name: ClassVar[str] = "vm_workload_consolidation"
    display_name: ClassVar[str] = "VM Workload Consolidation Strategy"
    goal_name: ClassVar[str] = "server_consolidation"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    optional_metrics: ClassVar[tuple[str, ...]] = (
        "instance_ram_allocated",
        "instance_cpu_usage",
        "instance_ram_usage",
        "instance_root_disk_size",
        "host_cpu_usage",
        "host_ram_usage",
    )
    needs_compute_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Relieve, choose hosts to close, place their servers, write the actions."""
        snapshot, given = context.snapshot, context.parameters
        limits = (given["cc_cpu"], given["cc_ram"], given["cc_disk"])
        dims = dimensions(snapshot, context.metrics, cc=limits)
        board = Board(context, dims=dims)
        placement, masks = board.placement, board.masks
        in_use = servers_per_host(snapshot) > 0
        relief = relieve(placement, dims, masks, in_use, max_moves=board.max_migrations)
        request = Request(
            placement=placement,
            dims=dims,
            masks=masks,
            order=lambda: _by_cpu(board),
            server_score=dims.cpu_cores,
            max_moves=board.moves_left if "max_migrations" in given else None,
            is_over=board.is_out_of_time,
            improved=context.improved("hosts in use"),
        )
        found = consolidate_at_least(request)
        relief = relief.settled(placement, masks)
        relieved = {move.server for move in relief.moves}
        moves = [move for move in found.moves if move.server not in relieved]
        solution.rejections.update(found.rejections)
        after = np.bincount(placement.host[placement.host >= 0], minlength=snapshot.n_hosts)
        write_consolidation(solution, board, moves=moves, after=after, relief=relief)
        for host in relief.remaining:
            solution.note(f"{snapshot.host_name[host]} stays overloaded: no host has room.")
        freed = int((in_use & (after == 0)).sum())
        if not relief.moves:
            gain_pct = 100.0 * freed / max(1, int(in_use.sum()))
            if freed:
                drop_below_min_gain(solution, gain_pct=gain_pct, min_gain_pct=given["min_gain"])
        if not solution.actions:
            explain_nothing(solution, found, int(in_use.sum()))
        after_n = int((after > 0).sum()) if solution.actions else int(in_use.sum())
        solution.set_bound("hosts in use", value=after_n, bound=min(found.bound, after_n))
        solution.stats.update(
            hosts_in_use_before=int(in_use.sum()),
            hosts_in_use_after=int((after > 0).sum()),
            hosts_in_use_bound=found.bound,
            hosts_emptied=int(found.emptied.sum()),
            packings=found.packings,
            passes=found.passes,
        )

    def post_execute(self, context: StrategyContext, solution: Solution) -> None:
        """The indicators of server_consolidation (B-108)."""
        changes = [
            action.input_parameters["state"]
            for action in solution.actions
            if action.action_type == "change_nova_service_state"
        ]
        released = changes.count("disabled") - changes.count("enabled")
        solution.set_indicator("compute_nodes_count", int(context.snapshot.host_up.sum()))
        solution.set_indicator("released_compute_nodes_count", max(0, released))
        solution.set_indicator("instance_migrations_count", solution.count("migrate"))


def _by_cpu(board: Board) -> NDArray[np.intp]:
    """The hosts in use, the most loaded first, with the planned moves done (B-101)."""
    load = board.dims.cpu_excess + board.snapshot.capacity()[:, VCPU] * board.given["cc_cpu"]
    moved = board.placement.host != board.placement.origin
    np.subtract.at(load, board.placement.origin[moved], board.dims.cpu_cores[moved])
    np.add.at(load, board.placement.host[moved], board.dims.cpu_cores[moved])
    hosts = np.flatnonzero(board.in_use() & (board.masks.targets | board.masks.own_disabled))
    return hosts[np.argsort(-load[hosts], kind="stable")]
