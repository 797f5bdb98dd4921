"""Runs a strategy without any cloud, on a saved model or a cluster file: `trimtab simulate`.

Strategy, planner and verifier are those of every audit; only the cloud is missing.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.scope import scoped
from trimtab_common.domain.snapshot import MEMORY_MIB, VCPU, ComputeSnapshot, MetricsTable
from trimtab_common.rules import parameters as rules
from trimtab_decision.efficacy import global_efficacy, indicator_records
from trimtab_decision.framework import (
    ModelPlanner,
    PlannedAction,
    Registry,
    Solution,
    StrategyContext,
    planned_by,
)
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
        stats = self.solution.stats
        moves = [step.action for step in self.planned]
        memory = sum(
            int(action.facts.get("memory_mib", 0))
            for action in moves
            if action.action_type == "migrate"
        )
        return {
            "bound_of": stats.get("bound_of"),
            "value": stats.get("value"),
            "bound": stats.get("bound"),
            "gap_pct": stats.get("gap_pct"),
            "gain_pct": self.solution.stats.get("gain_pct"),
            "cost": {"migrations": self.migrations, "memory_mib": memory},
            "messages": list(self.solution.messages),
            "ruled_out": dict(self.solution.rejections.most_common()),
            "moves": [
                {
                    "action_type": action.action_type,
                    "resource": action.input_parameters.get("resource_name"),
                    "source": action.input_parameters.get("source_node"),
                    "destination": action.input_parameters.get("destination_node"),
                    "reason": action.reason,
                }
                for action in moves
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
        hosts_in_use_before=_in_use(snapshot.server_host),
        hosts_in_use_after=_in_use(after),
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


def hosts_after(snapshot: ComputeSnapshot, planned: Sequence[PlannedAction]) -> NDArray[np.int32]:
    """[V] the host of each server after the plan; where Nova chooses, the roomiest that fits."""
    after = snapshot.server_host.copy()
    hosts = {name: i for i, name in enumerate(snapshot.host_name)}
    raw = np.ascontiguousarray(snapshot.server_uuid).tobytes()
    servers = {raw[i * 16 : i * 16 + 16]: i for i in range(snapshot.n_servers)}
    free = snapshot.capacity() - snapshot.used()
    open_hosts = snapshot.host_up & snapshot.host_enabled
    for step in planned:
        inputs = step.action.input_parameters
        if step.action.action_type == "change_nova_service_state":
            host = hosts.get(inputs.get("resource_name") or inputs.get("resource_id", ""), -1)
            if host >= 0:
                open_hosts[host] = inputs.get("state") == "enabled"
        if step.action.action_type != "migrate":
            continue
        server = servers.get(_uuid_bytes(inputs.get("resource_id", "")), -1)
        if server < 0:  # the actuator may name anything; the applier would skip it
            continue
        demand = snapshot.server_demand[server]
        target = hosts.get(inputs.get("destination_node", ""), -1)
        if target < 0:
            fitting = np.flatnonzero(open_hosts & (free >= demand).all(axis=1))
            fitting = fitting[fitting != after[server]]
            if not len(fitting):
                continue
            target = int(fitting[np.argmax(free[fitting, MEMORY_MIB])])
        free[after[server]] += demand
        free[target] -= demand
        after[server] = target
    return after


def _uuid_bytes(text: str) -> bytes:
    """The bytes of a uuid, empty for what is none."""
    try:
        return UUID(text).bytes
    except (ValueError, TypeError, AttributeError):
        return b""


def _in_use(server_host: NDArray[np.int32]) -> int:
    return len(np.unique(server_host[server_host >= 0]))


def cpu_load_sd(
    snapshot: ComputeSnapshot, metrics: MetricsTable, server_host: NDArray[np.int32]
) -> float | None:
    """Population sd of the cpu load (0..1) of the hosts now up and enabled; None if not measured.

    A moved server takes its measured cores along; the same hosts count before and after.
    """
    measured = metrics.host.get("host_cpu_usage")
    if measured is None:
        return None
    vcpus = np.maximum(snapshot.host_inventory[:, VCPU].astype(np.float64), 1.0)
    usage = metrics.server.get("instance_cpu_usage")
    load = measured / 100.0
    moved = np.flatnonzero(server_host != snapshot.server_host)
    if usage is not None and len(moved):
        cores = np.nan_to_num(usage[moved]) / 100.0 * snapshot.server_demand[moved, VCPU]
        load = load.copy()
        source, target = snapshot.server_host[moved], server_host[moved]
        np.subtract.at(load, source, cores / vcpus[source])
        np.add.at(load, target, cores / vcpus[target])
    counted = snapshot.host_up & snapshot.host_enabled & ~np.isnan(measured)
    return float(load[counted].std()) if counted.any() else None
