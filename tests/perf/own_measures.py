"""Two plans for one cloud by the strategy's own measure: ours, and Watcher's where that breaks no rule.

A measure is a tuple, the smaller the better, the first member first; it is counted from the cluster file and the actions
by the same code for both. Watcher's plan is put in order by our planner of the name that its strategy names too, and
judged by our verifier.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "oracle"))
from oracle import carried_out
from subjects import SUBJECTS

from trimtab_common.domain.baremetal import NODE, PowerState
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.rules import parameters as rules
from trimtab_decision.framework import PlannedAction
from trimtab_decision.framework.registry import Registry
from trimtab_decision.framework.solution import ProposedAction
from trimtab_decision.verifier import verify

TOLERANCE = 1e-6
Value = tuple[float, ...]


@dataclass(frozen=True)
class Question:
    """What is measured. cloud: (snapshot, metrics, machines); given: checked parameters."""

    strategy: str
    cloud: tuple
    given: dict


@dataclass(frozen=True)
class Measure:
    """words: what the members are. of: the question and a plan -> value."""

    words: str
    of: Callable[[Question, Sequence[PlannedAction]], Value]


def by_oracle(question: Question, planned: Sequence[PlannedAction]) -> Value:
    """As the oracle measures the cloud after the plan."""
    snapshot, metrics, _ = question.cloud
    after = carried_out(snapshot, metrics, planned)
    return SUBJECTS[question.strategy].measure(*after, question.given)


def _uneven(question: Question, planned: Sequence[PlannedAction]) -> Value:
    """It aims below a threshold, with few moves; what is below it is as good as it was asked to be."""
    (deviation,) = by_oracle(question, planned)
    limit = sum(
        question.given["weights"][f"{name}_weight"] * question.given["thresholds"][name]
        for name in question.given["metrics"]
    )
    return max(0.0, deviation - limit), float(len(_moves(planned)))


def _moves(planned: Sequence[PlannedAction]) -> list[dict[str, Any]]:
    return [dict(p.action.input_parameters) for p in planned if p.action.action_type == "migrate"]


def _left_on(names: Sequence[str]) -> Callable[[Question, Sequence[PlannedAction]], Value]:
    def left(question: Question, planned: Sequence[PlannedAction]) -> Value:
        snapshot = question.cloud[0]
        after, _ = carried_out(snapshot, question.cloud[1], planned)
        hosts = [snapshot.host_index(name) for name in names]
        return (float(np.isin(after.server_host, hosts).sum()),)

    return left


def _not_taken(names: Sequence[str]) -> Callable[[Question, Sequence[PlannedAction]], Value]:
    """Servers of these hosts that no action moves: where Nova chooses, nobody knows where they end."""

    def left(question: Question, planned: Sequence[PlannedAction]) -> Value:
        snapshot = question.cloud[0]
        hosts = [snapshot.host_index(name) for name in names]
        there = np.flatnonzero(np.isin(snapshot.server_host, hosts)).tolist()
        taken = {move["resource_id"] for move in _moves(planned)}
        return (float(sum(snapshot.uuid_of(server) not in taken for server in there)),)

    return left


def _spare(question: Question, planned: Sequence[PlannedAction]) -> Value:
    """By how many the free hosts that are on differ from those wanted."""
    snapshot, _, machines = question.cloud
    powered = {node.uuid: node.power_state for node in machines.of(NODE)}
    for step in planned:
        if step.action.action_type == "change_node_power_state":
            inputs = step.action.input_parameters
            powered[inputs["resource_id"]] = PowerState(inputs["state"])
    counts = np.bincount(snapshot.server_host, minlength=snapshot.n_hosts)
    free = snapshot.host_up & (counts == 0)
    on = sum(powered.get(snapshot.host_uuid[h]) is PowerState.ON for h in np.flatnonzero(free))
    used = int((counts > 0).sum())
    percent, least = question.given["free_used_percent"], question.given["min_free_hosts_num"]
    return (float(abs(on - int(max(used * percent / 100.0, least)))),)


def _not_helped(
    metric: str, threshold: str
) -> Callable[[Question, Sequence[PlannedAction]], Value]:
    """Hosts at or above the threshold that no server leaves."""

    def left(question: Question, planned: Sequence[PlannedAction]) -> Value:
        snapshot, metrics, _ = question.cloud
        hot = np.flatnonzero(
            (metrics.host[metric] >= question.given[threshold]) & snapshot.host_up
        ).tolist()
        helped = {move["source_node"] for move in _moves(planned)}
        return (float(sum(snapshot.host_name[host] not in helped for host in hot)),)

    return left


def measure_of(strategy: str, parameters: dict) -> Measure | None:
    """None for strategies without one."""
    sources = [one["src_node"] for one in parameters.get("compute_nodes", ())]
    return {
        "basic": Measure("hosts in use", by_oracle),
        "node_resource_consolidation": Measure("hosts in use", by_oracle),
        "vm_workload_consolidation": Measure("cores over the limit, hosts in use", by_oracle),
        "workload_stabilization": Measure("deviation above the threshold, moves", _uneven),
        "workload_balance": Measure("load above the threshold, points", by_oracle),
        "host_maintenance": Measure(
            "servers left", _left_on([parameters.get("maintenance_node", "")])
        ),
        "zone_migration": Measure("servers not taken along", _not_taken(sources)),
        "saving_energy": Measure("free hosts on, off by", _spare),
        "outlet_temperature": Measure(
            "hot hosts not helped", _not_helped("host_outlet_temp", "threshold")
        ),
        "uniform_airflow": Measure(
            "hosts not helped", _not_helped("host_airflow", "threshold_airflow")
        ),
    }.get(strategy)


def watchers_plan(
    snapshot: ComputeSnapshot, actions: Sequence[dict], registry: Registry, strategy: str
) -> tuple[tuple[PlannedAction, ...], Counter[str]]:
    """(its plan, kind of violation -> how many). A plan that cannot be put in order is one violation."""
    names = dict(zip(snapshot.host_uuid, snapshot.host_name, strict=True))
    proposed = []
    for action in actions:
        inputs = dict(action["input_parameters"])
        for end in ("source_node", "destination_node"):
            if end in inputs:
                inputs[end] = names.get(inputs[end], inputs[end])
        if action["action_type"] == "change_nova_service_state" and "resource_name" not in inputs:
            inputs["resource_name"] = names.get(inputs["resource_id"], inputs["resource_id"])
        proposed.append(
            ProposedAction(
                action_type=action["action_type"],
                input_parameters=inputs,
                resource_id=inputs.get("resource_id"),
            )
        )
    planner = registry.planner(registry.strategy(strategy).planner)
    try:
        planned = planner.plan(proposed)
    except TrimtabError as error:
        return (), Counter([error.message[:60]])
    return planned, Counter(violation.kind.value for violation in verify(snapshot, planned))


def checked(registry: Registry, strategy: str, parameters: dict) -> dict:
    """The parameters with all defaults."""
    return dict(rules.checked(parameters, registry.strategy(strategy).parameters_schema))


def verdict(ours: Value, theirs: Value | None, violations: int) -> str:
    """better, equal or worse than Watcher's plan; `unclean`: that breaks a rule, `none`: there is none."""
    if theirs is None:
        return "none"
    if violations:
        return "unclean"
    for mine, other in zip(ours, theirs, strict=True):
        if abs(mine - other) > TOLERANCE:
            return "better" if mine < other else "worse"
    return "equal"
