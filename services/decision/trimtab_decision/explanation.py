"""Why a plan is what it is, as it is stored with the plan: bound, gap, cost, curve, what was ruled out.

Strategy -> Solution -> this -> the record. The curve is that of this very plan cut short, in the
strategy's own order; `trimtab simulate --pareto` plans anew for each budget.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_decision.framework import PlannedAction, Solution
from trimtab_decision.load_after import cpu_load_sd, hosts_along, hosts_in_use

PARTS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Of the migrations of the plan."""
MOST_RULED_OUT = 20
ACTION = "migrate"


def explain(
    solution: Solution, snapshot: ComputeSnapshot | None, metrics: MetricsTable
) -> dict[str, Any]:
    """What `described` tells, and the curve of gain against migrations.

    One walk over the actions gives at most eight points of the curve.
    """
    curve = [] if snapshot is None else _curve(solution, snapshot, metrics)
    return {**described(solution), "curve": curve}


def described(solution: Solution) -> dict[str, Any]:
    """JSON-ready.

    bound, gap_pct: what no plan gets below, and how far above it this one ends, both of `bound_of`;
    None where the strategy knows no bound. cost: migrations and the memory they carry over.
    ruled_out: constraint -> how many candidates it ruled out. messages: what the strategy says.
    """
    stats = solution.stats
    return {
        "bound_of": stats.get("bound_of"),
        "value": stats.get("value"),
        "bound": stats.get("bound"),
        "gap_pct": stats.get("gap_pct"),
        "gain_pct": stats.get("gain_pct"),
        "cost": cost(solution),
        "messages": list(solution.messages),
        "ruled_out": dict(solution.rejections.most_common(MOST_RULED_OUT)),
    }


def cost(solution: Solution) -> dict[str, int]:
    """Migrations of the plan, and the memory that they carry over."""
    memory = sum(
        int(action.facts.get("memory_mib", 0))
        for action in solution.actions
        if action.action_type == ACTION
    )
    return {"migrations": solution.count(ACTION), "memory_mib": memory}


def _curve(
    solution: Solution, snapshot: ComputeSnapshot, metrics: MetricsTable
) -> list[dict[str, Any]]:
    whole = [
        PlannedAction(index=index, action=action) for index, action in enumerate(solution.actions)
    ]
    moves = [place for place, step in enumerate(whole) if step.action.action_type == ACTION]
    if not moves:
        return []
    budgets = sorted({max(1, math.ceil(part * len(moves))) for part in PARTS})
    cuts = [0, *(moves[budget - 1] + 1 for budget in budgets)]
    return [
        _point(budget, after, snapshot, metrics)
        for budget, after in zip([0, *budgets], hosts_along(snapshot, whole, cuts), strict=True)
    ]


def _point(
    migrations: int,
    after: NDArray[np.int32],
    snapshot: ComputeSnapshot,
    metrics: MetricsTable,
) -> dict[str, Any]:
    deviation = cpu_load_sd(snapshot, metrics, after)
    return {
        "migrations": migrations,
        "hosts_in_use": hosts_in_use(after),
        "cpu_load_sd": None
        if deviation is None or np.isnan(deviation)
        else round(float(deviation), 6),
    }
