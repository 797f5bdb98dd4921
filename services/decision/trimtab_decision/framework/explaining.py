"""Why a plan is empty, in words: what was forbidden, who may not move, what ruled the others out.

Each strategy says what its own rule found; this adds what every strategy shares, so that no plan is
empty without a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.snapshot import NO_HOST, ComputeSnapshot
from trimtab_decision.framework.solution import Solution

SHOWN = 4
IN_THE_WAY = "stood in the way"
_MOVABLE = (int(ServerState.ACTIVE), int(ServerState.PAUSED), int(ServerState.STOPPED))
_TRUTHY = frozenset({"1", "t", "true", "on", "y", "yes"})


def explain_empty(
    solution: Solution, snapshot: ComputeSnapshot | None, parameters: Mapping[str, Any]
) -> None:
    """Notes on a solution without actions; nothing for one that has some."""
    if solution.actions:
        return
    if parameters.get("max_migrations") == 0:
        solution.note("max_migrations is 0: no server may move.")
    if solution.rejections and not any(IN_THE_WAY in text for text in solution.messages):
        most = solution.rejections.most_common(SHOWN)
        shown = ", ".join(f"{name} ({count})" for name, count in most)
        solution.note(f"What {IN_THE_WAY} of candidates: {shown}.")
    if snapshot is not None and (text := _who_may_not_move(snapshot, parameters)):
        solution.note(text)
    if not solution.messages:
        solution.note("By this strategy's rule and parameters nothing has to change.")


def _who_may_not_move(snapshot: ComputeSnapshot, parameters: Mapping[str, Any]) -> str:
    """How many servers were no candidates, by the first reason that holds; "" when all were."""
    host = snapshot.server_host
    open_hosts = np.append(snapshot.host_up & snapshot.host_enabled, False)
    reasons = {
        "on no host of the model": host == NO_HOST,
        "on hosts that are down or disabled": (host != NO_HOST) & ~open_hosts[host],
        "excluded": snapshot.server_excluded,
        "locked": snapshot.server_locked,
        "in a state that cannot migrate": ~np.isin(snapshot.server_state, _MOVABLE),
    }
    if len(snapshot.server_in_flux):
        reasons["busy"] = snapshot.server_in_flux
    if parameters.get("check_optimize_metadata"):
        opted = np.zeros(snapshot.n_servers, dtype=bool)
        for server, metadata in snapshot.server_metadata.items():
            opted[server] = metadata.get("optimize", "").strip().lower() in _TRUTHY
        reasons["not opted in (check_optimize_metadata)"] = ~opted
    left = np.ones(snapshot.n_servers, dtype=bool)
    parts = []
    for name, mask in reasons.items():
        if count := int((mask & left).sum()):
            parts.append(f"{count} {name}")
        left &= ~mask
    barred = snapshot.n_servers - int(left.sum())
    if not barred:
        return ""
    return f"Of {snapshot.n_servers} servers {barred} were no candidates: {', '.join(parts)}."
