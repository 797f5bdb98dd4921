"""How the consolidation strategies write their plans: who is disabled, who moves where, and why."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_decision.framework import Solution
from trimtab_decision.optimizer.consolidating import Consolidation
from trimtab_decision.optimizer.placing import Move
from trimtab_decision.optimizer.relieving import Relief
from trimtab_decision.strategies.board import Board
from trimtab_decision.strategies.moves import add_host_state, add_migration


def servers_per_host(snapshot: ComputeSnapshot) -> NDArray[np.intp]:
    """[H] how many servers each host has, whatever their state."""
    hosts = snapshot.server_host[snapshot.server_host >= 0]
    return np.bincount(hosts, minlength=snapshot.n_hosts)


def write_consolidation(
    solution: Solution,
    board: Board,
    *,
    moves: list[Move],
    after: NDArray[np.intp],
    relief: Relief | None = None,
    only_emptied: bool = False,
) -> None:
    """Enable, disable, then migrate: host by host, so that a plan cut short has emptied some.

    `after`: [H] servers on each host at the end. `only_emptied`: hosts that were empty before are
    not disabled.
    """
    snapshot, names = board.snapshot, board.snapshot.host_name
    relief = relief or Relief()
    for host in sorted(relief.enabled):
        reason = "Room is needed to relieve an overloaded host."
        add_host_state(solution, snapshot, host, enable=True, reason=reason)
    counts = servers_per_host(snapshot)
    before = counts.tolist()
    disabled = board.masks.targets & (after == 0) & ((counts > 0) | (not only_emptied))
    for host in np.flatnonzero(disabled).tolist():
        reason = f"{names[host]} is {'emptied by this plan' if before[host] else 'empty'}."
        add_host_state(solution, snapshot, host, enable=False, reason=reason)
    for move in relief.moves:
        reason = f"{names[move.source]} is overloaded; {names[move.target]} has room."
        add_migration(solution, snapshot, move.server, move.target, reason=reason)
    for move in sorted(moves, key=lambda m: (before[m.source], m.source, m.server)):
        add_migration(
            solution,
            snapshot,
            move.server,
            move.target,
            reason=_why(names, move, before[move.source]),
        )


def explain_nothing(solution: Solution, found: Consolidation, in_use: int) -> None:
    """Why a consolidation plans nothing: the bound that is reached, or what stopped it."""
    if in_use <= found.bound:
        solution.note(
            f"{in_use} hosts are in use, and no placement needs fewer: nothing to consolidate."
        )
        return
    most = found.rejections.most_common(3)
    shown = ", ".join(f"{name} ({count})" for name, count in most) or "too few whole hosts to gain"
    solution.note(
        f"{in_use} hosts are in use, the lower bound is {found.bound}; no further host can be "
        f"emptied wholly. What stood in the way: {shown}."
    )


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
