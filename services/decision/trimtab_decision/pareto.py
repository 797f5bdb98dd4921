"""What a migration budget buys: the same strategy with ever more migrations allowed.

Each point is a whole plan, checked by the verifier; nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trimtab_common.domain.errors import InvalidArgument
from trimtab_decision.framework import Strategy
from trimtab_decision.simulate import SimulationReport

PARTS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
"""Of the migrations of the plan without a limit."""

Simulate = Callable[[Mapping[str, Any]], SimulationReport]
"""Parameters -> the report."""


def curve(
    simulate: Simulate, strategy: type[Strategy], parameters: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Points by growing budget. InvalidArgument for a strategy without `max_migrations`."""
    if "max_migrations" not in strategy.parameters_schema.get("properties", {}):
        raise InvalidArgument(
            f"Strategy {strategy.name} has no parameter max_migrations: there is no curve to draw."
        )
    whole = simulate(parameters)
    budgets = sorted({max(1, math.ceil(part * whole.migrations)) for part in PARTS})
    points = [
        _point(budget, simulate({**parameters, "max_migrations": budget}))
        for budget in budgets
        if budget < whole.migrations
    ]
    return _marked([*points, _point(whole.migrations, whole)] if whole.migrations else [])


def _point(budget: int, report: SimulationReport) -> dict[str, Any]:
    explanation = report.explanation()
    return {
        "max_migrations": budget,
        "migrations": report.migrations,
        "memory_mib": explanation["cost"]["memory_mib"],
        "hosts_in_use": report.hosts_in_use_after,
        "hosts_freed": report.hosts_in_use_before - report.hosts_in_use_after,
        "cpu_load_sd": report.cpu_load_sd_after,
        "gain_pct": explanation["gain_pct"],
        "value": explanation["value"],
        "bound": explanation["bound"],
        "gap_pct": explanation["gap_pct"],
        "violations": len(report.violations),
        "cpu_s": round(report.cpu_s, 3),
    }


def _marked(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """`is_worth_it`: no cheaper point is as good, so the point is on the front."""
    best = math.inf
    marked = []
    for point in points:
        value = point["value"] if point["value"] is not None else point["hosts_in_use"]
        marked.append({**point, "is_worth_it": value < best})
        best = min(best, value)
    return marked
