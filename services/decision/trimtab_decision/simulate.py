"""Runs a strategy without any cloud, on a saved model or a cluster file: `trimtab simulate`.

Strategy, planner and verifier are those of every audit; only the cloud is missing.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.scope import scoped
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.rules import parameters as rules
from trimtab_decision.efficacy import global_efficacy, indicator_records
from trimtab_decision.explanation import described
from trimtab_decision.framework import (
    ModelPlanner,
    PlannedAction,
    Registry,
    Solution,
    StrategyContext,
    planned_by,
)
from trimtab_decision.load_after import cpu_load_sd, hosts_after, hosts_in_use
from trimtab_decision.plugins import load_registry
from trimtab_decision.verifier import Violation, verify

KIB_PER_MIB = 1024.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationReport:
    """What a plan would do. `as_dict` is the object that `trimtab simulate -o json` prints."""

    goal: str
    strategy: str
    seed: int
    cpu_s: float
    peak_mib: float
    hosts_in_use_before: int
    hosts_in_use_after: int
    cpu_load_sd_before: float | None
    cpu_load_sd_after: float | None
    violations: tuple[Violation, ...]
    efficacy: list[dict[str, Any]]
    efficacy_indicators: list[dict[str, Any]]
    planned: tuple[PlannedAction, ...]
    solution: Solution

    @property
    def migrations(self) -> int:
        """How many servers move."""
        return self.solution.count("migrate")

    def explanation(self) -> dict[str, Any]:
        """Why the plan is what it is: JSON-ready.

        bound, gap_pct: what no plan gets below, and how far above it this one ends, both of
        `bound_of`; None where the strategy knows no bound. cost: migrations, and the memory that they carry over.
        ruled_out: constraint -> how many candidates it ruled out.
        """
        return {
            **described(self.solution),
            "moves": [
                {
                    "action_type": action.action_type,
                    "resource": action.input_parameters.get("resource_name"),
                    "source": action.input_parameters.get("source_node"),
                    "destination": action.input_parameters.get("destination_node"),
                    "reason": action.reason,
                }
                for action in (step.action for step in self.planned)
            ],
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready. `violations` and `actions` are counts; the lists stand beside them."""
        return {
            "goal": self.goal,
            "strategy": self.strategy,
            "seed": self.seed,
            "cpu_s": round(self.cpu_s, 6),
            "peak_mib": round(self.peak_mib, 1),
            "hosts_in_use_before": self.hosts_in_use_before,
            "hosts_in_use_after": self.hosts_in_use_after,
            "cpu_load_sd_before": self.cpu_load_sd_before,
            "cpu_load_sd_after": self.cpu_load_sd_after,
            "violations": len(self.violations),
            "violation_details": [
                {"kind": v.kind.value, "action": v.index, "detail": v.detail}
                for v in self.violations
            ],
            "migrations": self.migrations,
            "actions": len(self.planned),
            "efficacy": self.efficacy,
            "efficacy_indicators": self.efficacy_indicators,
            "rejections": dict(self.solution.rejections),
            "stats": dict(self.solution.stats),
            "messages": list(self.solution.messages),
            "moves": [
                {
                    "action_type": step.action.action_type,
                    "input_parameters": dict(step.action.input_parameters),
                    "parents": list(step.parents),
                    "reason": step.action.reason,
                }
                for step in self.planned
            ],
        }


def simulate(
    snapshot: ComputeSnapshot,
    metrics: MetricsTable,
    goal: str,
    strategy: str | None = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    scope: Sequence[Mapping[str, Any]] = (),
    registry: Registry | None = None,
    baremetal: ElementSnapshot | None = None,
    storage: ElementSnapshot | None = None,
    planner: str | None = None,
    planner_options: Mapping[str, Any] | None = None,
) -> SimulationReport:
    """Plan and verify as an audit would. Raises what an audit would fail with.

    `cpu_s` is the process time of strategy, efficacy and planner; `peak_mib` the highest resident
    memory of this process so far.
    """
    plugins = registry or load_registry()
    chosen = plugins.select_strategy(goal, strategy)
    if chosen.goal_name != goal:
        raise InvalidArgument(
            f"Strategy {chosen.name} does not serve the goal {goal}; it serves {chosen.goal_name}."
        )
    checked = rules.checked(parameters or {}, chosen.parameters_schema)
    if scope:
        snapshot, metrics = _scoped(snapshot, metrics, scope, checked)
    began, started = time.monotonic(), time.process_time()
    context = StrategyContext(
        compute=snapshot,
        metrics=metrics,
        parameters=checked,
        seed=checked.get("seed", seed),
        baremetal=baremetal,
        storage=storage,
        elapsed_s=lambda: time.monotonic() - began,
    )
    solution = chosen.execute(context)
    the_goal = plugins.goal(chosen.goal_name)
    efficacy = global_efficacy(the_goal, solution)
    chosen_planner = plugins.planner(planner or solution.planner_name, planner_options)
    planned = planned_by(chosen_planner, snapshot, solution.actions)
    if isinstance(chosen_planner, ModelPlanner) and chosen_planner.forecast is not None:
        forecast = chosen_planner.forecast
        solution.stats["makespan_s"] = round(forecast.makespan_s, 1)
        solution.stats["makespan_bound_s"] = round(forecast.bound_s, 1)
        solution.stats["bypasses"] = forecast.bypasses
    cpu_s = time.process_time() - started
    after = hosts_after(snapshot, planned)
    return SimulationReport(
        goal=the_goal.name,
        strategy=chosen.name,
        seed=seed,
        cpu_s=cpu_s,
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB,
        hosts_in_use_before=hosts_in_use(snapshot.server_host),
        hosts_in_use_after=hosts_in_use(after),
        cpu_load_sd_before=cpu_load_sd(snapshot, metrics, snapshot.server_host),
        cpu_load_sd_after=cpu_load_sd(snapshot, metrics, after),
        violations=tuple(verify(snapshot, planned)),
        efficacy=efficacy,
        efficacy_indicators=[
            {"name": r.name, "description": r.description, "unit": r.unit, "value": r.value}
            for r in indicator_records(the_goal, solution)
        ],
        planned=planned,
        solution=solution,
    )


def _scoped(
    snapshot: ComputeSnapshot,
    metrics: MetricsTable,
    scope: Sequence[Mapping[str, Any]],
    parameters: Mapping[str, Any],
) -> tuple[ComputeSnapshot, MetricsTable]:
    opted = bool(parameters.get("check_optimize_metadata", False))
    result = scoped(snapshot, scope, check_optimize_metadata=opted)
    return result.snapshot, result.align(metrics)
