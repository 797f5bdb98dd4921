"""Host maintenance: empty one compute node and keep new servers away from it.

Goal: cluster_maintaining. Metrics: none. Servers go to the backup node when one is given that has
room, else wherever Nova puts them. The operator enables the node again (B-200). Example with
numbers: README.md beside this file, which a test runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.snapshot import RESOURCES, ComputeSnapshot
from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.framework.errors import NoFeasiblePlan
from trimtab_decision.optimizer.eligibility import (
    COLD_STATES,
    LIVE_STATES,
    Eligibility,
    may_migrate,
)
from trimtab_decision.strategies.board import Board
from trimtab_decision.strategies.host_maintenance import params
from trimtab_decision.strategies.moves import (
    MAINTENANCE,
    add_host_state,
    add_migration,
    server_facts,
)

NAMED_IN_MESSAGES = 5


class Way(Enum):
    """What happens to a server of the node."""

    LIVE = "live"
    COLD = "cold"
    STOP = "stop"
    STAY = "stay"


class HostMaintenance(Strategy):
    """Disables a node and moves its servers away."""

    name: ClassVar[str] = "host_maintenance"
    display_name: ClassVar[str] = "Host Maintenance Strategy"
    goal_name: ClassVar[str] = "cluster_maintaining"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    needs_compute_model: ClassVar[bool] = True

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """NotFound for an unknown node; NoFeasiblePlan when the servers cannot go anywhere."""
        snapshot, given = context.snapshot, context.parameters
        node = snapshot.host_index(given["maintenance_node"])
        name = snapshot.host_name[node]
        backup = given.get("backup_node")
        backup_node = None if backup is None else snapshot.host_index(backup)
        ways = {int(s): _way(snapshot, int(s), given) for s in _servers_of(snapshot, node)}
        touchable = may_migrate(snapshot, check_optimize_metadata=given["check_optimize_metadata"])
        keeps = [
            server
            for server in ways
            if not touchable[server] and _is_barred(snapshot, server, given)
        ]
        acting = {s: way for s, way in ways.items() if s not in keeps and way is not Way.STAY}
        moving = np.array([s for s, way in acting.items() if way is not Way.STOP], dtype=np.intp)
        _refuse_down(snapshot, node, moving)
        board = Board(context, move_locked=True)
        masks = board.masks
        target = self._backup(solution, board, node=node, backup=backup_node, moving=moving)
        if target is None:
            _refuse_without_room(snapshot, node, moving, masks)
        elif not snapshot.host_enabled[target]:
            reason = f"{snapshot.host_name[target]} takes the servers of {name}."
            add_host_state(solution, snapshot, target, enable=True, reason=reason)
        self._disable(solution, snapshot, node, keeps)
        for server, way in acting.items():
            _act(solution, snapshot, server, way, target)
        _note_staying(solution, snapshot, ways, keeps)

    @staticmethod
    def _backup(
        solution: Solution,
        board: Board,
        *,
        node: int,
        backup: int | None,
        moving: NDArray[np.intp],
    ) -> int | None:
        """The backup node when it may and can take everything, else None with a message (B-197)."""
        if backup is None or not len(moving):
            return None
        refusal = _refusal_of_backup(solution, board, node, backup, moving)
        if refusal:
            name = board.snapshot.host_name[backup]
            solution.note(f"{refusal.format(name=name)}; Nova chooses the targets.")
            return None
        return backup

    @staticmethod
    def _disable(
        solution: Solution, snapshot: ComputeSnapshot, node: int, keeps: list[int]
    ) -> None:
        """Disable the node unless it is in maintenance already or must keep servers (B-039)."""
        name = snapshot.host_name[node]
        if keeps:
            solution.note(
                f"{name} is not disabled: it keeps {_named(snapshot, keeps)}, which the audit "
                "must not touch."
            )
            return
        in_maintenance = snapshot.host_disabled_reason[node] == MAINTENANCE
        if in_maintenance and not snapshot.host_enabled[node]:
            return
        reason = f"Maintenance of {name} was asked for."
        add_host_state(
            solution, snapshot, node, enable=False, reason=reason, disabled_reason=MAINTENANCE
        )


def _refusal_of_backup(
    solution: Solution, board: Board, node: int, backup: int, moving: NDArray[np.intp]
) -> str:
    """Why the backup node cannot take all these servers; "" when it can (B-059, B-197)."""
    snapshot, masks = board.snapshot, board.masks
    if backup == node:
        return "{name} cannot be its own backup"
    if not masks.targets[backup] and not masks.own_disabled[backup]:
        state = "down" if not snapshot.host_up[backup] else "disabled by somebody else"
        return f"Backup node {{name}} is {state}"
    if not masks.class_hosts[masks.server_class[moving], backup].all():
        solution.rejections["availability zone"] += 1
        return (
            "Backup node {name} is outside the availability zone, or a filter, that a server is "
            "bound to"
        )
    free = (snapshot.capacity() - snapshot.used())[backup]
    lacking = np.flatnonzero(snapshot.server_demand[moving].sum(axis=0) > free)
    if len(lacking):
        solution.rejections.update(RESOURCES[axis] for axis in lacking)
        return f"Backup node {{name}} has not enough {', '.join(RESOURCES[a] for a in lacking)}"
    for server in moving.tolist():
        if not board.placement.fits(server, backup):
            solution.rejections["server group or filter"] += 1
            return (
                "Backup node {name} is barred for a server, such as "
                f"{snapshot.uuid_of(server)}, by a server group or a filter"
            )
        board.placement.move(server, backup)
    return ""


def _servers_of(snapshot: ComputeSnapshot, node: int) -> NDArray[np.intp]:
    return np.flatnonzero(snapshot.server_host == node)


def _way(snapshot: ComputeSnapshot, server: int, given: Mapping[str, Any]) -> Way:
    """What the switches allow for a server in its state (B-199)."""
    state = ServerState(int(snapshot.server_state[server]))
    no_live, no_cold = given["disable_live_migration"], given["disable_cold_migration"]
    if state is ServerState.ACTIVE:
        if not no_live:
            return Way.LIVE
        return Way.STOP if no_cold else Way.COLD
    if state in LIVE_STATES:
        return Way.STAY if no_live or no_cold else Way.LIVE
    if state in COLD_STATES:
        return Way.STAY if no_cold else Way.COLD
    return Way.STAY


def _is_barred(snapshot: ComputeSnapshot, server: int, given: Mapping[str, Any]) -> bool:
    """Whether the audit must not touch the server, as opposed to Nova not being able to."""
    if snapshot.server_excluded[server]:
        return True
    return bool(given["check_optimize_metadata"]) and bool(snapshot.server_metadata.get(server))


def _act(
    solution: Solution, snapshot: ComputeSnapshot, server: int, way: Way, target: int | None
) -> None:
    name = snapshot.host_name[int(snapshot.server_host[server])]
    where = (
        "Nova chooses the target" if target is None else f"{snapshot.host_name[target]} takes it"
    )
    if way is Way.STOP:
        solution.add_action(
            "stop",
            input_parameters={"resource_name": snapshot.server_name[server]},
            resource_id=snapshot.uuid_of(server),
            reason=f"{name} goes into maintenance, and both kinds of migration are disabled.",
            facts=server_facts(snapshot, server, None),
        )
        return
    reason = f"{name} goes into maintenance; {where}."
    add_migration(solution, snapshot, server, target, reason=reason, kind=way.value)


def _refuse_down(snapshot: ComputeSnapshot, node: int, moving: NDArray[np.intp]) -> None:
    if len(moving) and not snapshot.host_up[node]:
        raise NoFeasiblePlan(
            f"Compute node {snapshot.host_name[node]} is down: its {len(moving)} servers cannot "
            "be migrated. Evacuate them, or bring the node up first."
        )


def _refuse_without_room(
    snapshot: ComputeSnapshot, node: int, moving: NDArray[np.intp], masks: Eligibility
) -> None:
    """NoFeasiblePlan unless the other enabled nodes can hold the servers (B-198).

    Best fit, largest first, as a witness; names the servers that find no place.
    """
    if not len(moving):
        return
    free = snapshot.capacity() - snapshot.used()
    open_hosts = masks.targets.copy()
    open_hosts[node] = False
    scale = np.maximum(free[open_hosts].sum(axis=0), 1.0)
    size = (snapshot.server_demand[moving] / scale).max(axis=1)
    homeless = []
    for server in moving[np.argsort(-size, kind="stable")]:
        demand = snapshot.server_demand[server]
        allowed = open_hosts & masks.class_hosts[masks.server_class[server]]
        fitting = np.flatnonzero(allowed & (free >= demand).all(axis=1))
        if not len(fitting):
            homeless.append(int(server))
            continue
        free[fitting[np.argmin((free[fitting] / scale).sum(axis=1))]] -= demand
    if homeless:
        raise NoFeasiblePlan(
            f"The other compute nodes cannot hold the servers of {snapshot.host_name[node]}: "
            f"no room for {_named(snapshot, homeless)}. Nothing was planned."
        )


def _note_staying(
    solution: Solution, snapshot: ComputeSnapshot, ways: Mapping[int, Way], keeps: list[int]
) -> None:
    staying = [server for server, way in ways.items() if way is Way.STAY and server not in keeps]
    if staying:
        solution.note(
            f"{_named(snapshot, staying)} cannot be moved in the present state or with the "
            "migrations that are allowed."
        )


def _named(snapshot: ComputeSnapshot, servers: list[int]) -> str:
    names = [f"{snapshot.server_name[s]} ({snapshot.uuid_of(s)})" for s in servers]
    rest = len(names) - NAMED_IN_MESSAGES
    return ", ".join(names[:NAMED_IN_MESSAGES]) + (f" and {rest} more" if rest > 0 else "")
