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

from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.optimizer.closing import ClosingProblem, hosts_to_close
from trimtab_decision.optimizer.dimensions import Dimensions, dimensions
from trimtab_decision.optimizer.eligibility import Eligibility, eligibility
from trimtab_decision.optimizer.packing import group_servers, scarcity
from trimtab_decision.optimizer.placing import Move, Placer
from trimtab_decision.optimizer.relieving import Relief, relieve
from trimtab_decision.optimizer.state import Placement
from trimtab_decision.strategies.moves import add_host_state, add_migration
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
        masks = eligibility(snapshot, check_optimize_metadata=given["check_optimize_metadata"])
        limits = (given["cc_cpu"], given["cc_ram"], given["cc_disk"])
        dims = dimensions(snapshot, context.metrics, cc=limits)
        placement = Placement(dims, snapshot.server_host)
        relief = relieve(placement, dims, masks, _servers_on(snapshot) > 0)
        problem = _problem(snapshot, masks, dims, placement)
        closing = hosts_to_close(problem)
        placer = Placer(
            placement,
            groups=problem.groups,
            receivers=problem.receivers,
            movable=masks.movable,
            names=dims.names,
        )
        closed, moves = placer.empty(closing.closed)
        solution.rejections.update(placer.rejections)
        after = np.bincount(placement.host[placement.host >= 0], minlength=snapshot.n_hosts)
        _write(solution, snapshot, relief=relief, moves=moves, after=after, masks=masks)
        for host in relief.remaining:
            solution.note(f"{snapshot.host_name[host]} stays overloaded: no host has room.")
        solution.stats.update(
            hosts_in_use_before=int((_servers_on(snapshot) > 0).sum()),
            hosts_in_use_after=int((after > 0).sum()),
            hosts_in_use_bound=closing.bound,
            hosts_emptied=int(closed.sum()),
            packings=closing.packings,
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


def _servers_on(snapshot: ComputeSnapshot) -> NDArray[np.intp]:
    hosts = snapshot.server_host[snapshot.server_host >= 0]
    return np.bincount(hosts, minlength=snapshot.n_hosts)


def _problem(
    snapshot: ComputeSnapshot, masks: Eligibility, dims: Dimensions, placement: Placement
) -> ClosingProblem:
    """What may be closed once overloaded hosts were relieved.

    A host that received one of their servers stays open, since no server moves twice.
    """
    n_hosts = snapshot.n_hosts
    stayed = placement.host == placement.origin
    mapped = snapshot.server_host >= 0
    staying = np.bincount(snapshot.server_host[stayed & mapped], minlength=n_hosts)
    can_go = masks.movable & stayed
    going = np.bincount(snapshot.server_host[can_go], minlength=n_hosts)
    received = np.zeros(n_hosts, dtype=bool)
    received[placement.host[~stayed]] = True
    in_use = (staying > 0) | received
    load = np.zeros_like(dims.free)
    np.add.at(load, snapshot.server_host[can_go], dims.demand[can_go])
    receivers = masks.targets & in_use & ~dims.overloaded
    groups = group_servers(
        dims.demand,
        server_class=masks.server_class,
        class_hosts=masks.class_hosts,
        server_host=snapshot.server_host,
        considered=can_go,
        weight=scarcity(placement.free[receivers], load),
    )
    return ClosingProblem(
        groups=groups,
        free=placement.free,
        load=load,
        receivers=receivers,
        closable=(staying > 0) & (staying == going) & ~received,
        in_use=in_use,
        spare=masks.targets & ~in_use,
    )


def _write(
    solution: Solution,
    snapshot: ComputeSnapshot,
    *,
    relief: Relief,
    moves: list[Move],
    after: NDArray[np.intp],
    masks: Eligibility,
) -> None:
    """Enable, disable, then migrate: host by host, so that a plan cut short has emptied some."""
    names = snapshot.host_name
    for host in sorted(relief.enabled):
        reason = "Room is needed to relieve an overloaded host."
        add_host_state(solution, snapshot, host, enable=True, reason=reason)
    before = _servers_on(snapshot)
    for host in np.flatnonzero(masks.targets & (after == 0)).tolist():
        reason = f"{names[host]} is {'emptied by this plan' if before[host] else 'empty'}."
        add_host_state(solution, snapshot, host, enable=False, reason=reason)
    for move in relief.moves:
        reason = f"{names[move.source]} is overloaded; {names[move.target]} has room."
        add_migration(solution, snapshot, move.server, move.target, reason=reason)
    for move in sorted(moves, key=lambda m: (before[m.source], m.source, m.server)):
        reason = _why(names, move, int(before[move.source]))
        add_migration(solution, snapshot, move.server, move.target, reason=reason)


def _why(names: tuple[str, ...], move: Move, servers: int) -> str:
    parts = [
        f"{names[move.source]} can be emptied with {servers} moves",
        f"{names[move.target]} is the tightest fit",
    ]
    if move.runner_up is not None:
        parts.append(f"next best {names[move.runner_up]}")
    if move.ruled_out is not None:
        parts.append(f"{names[move.ruled_out[0]]} lacks {move.ruled_out[1]}")
    return "; ".join(parts) + "."
