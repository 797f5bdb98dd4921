"""What the oracle knows of each compute strategy: odd parameters, its measure, its second run."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trimtab_common.domain.snapshot import MEMORY_MIB, VCPU
from trimtab_decision.optimizer.dimensions import dimensions
from trimtab_decision.strategies.workload_stabilization.params import MIN_GAIN_PCT

FOUND_LATER_PCT = 5.0


def _is_empty(promise, first, second, is_limited):
    promise(not second.actions, f"the second run plans {len(second.actions)} more actions")


def _undoes_nothing(promise, first, second, is_limited):
    """For strategies that by their rule take one step at a time."""
    back = _ways(second) & {(server, b, a) for server, a, b in _ways(first)}
    promise(not back, f"the second run moves servers back: {sorted(back)[:3]}")


def _ways(solution):
    return {
        (
            a.input_parameters["resource_id"],
            a.input_parameters["source_node"],
            a.input_parameters.get("destination_node"),
        )
        for a in solution.actions
        if a.action_type == "migrate"
    }


def _empty_unless_relieved(promise, first, second, is_limited):
    """Room that relief sets free counts from the next audit on; it must never undo the first.

    So does memory: a plan counts the flavor's (B-101), the next audit what was measured, which is
    less. That may let it empty a host more, never many.
    """
    _undoes_nothing(promise, first, second, is_limited)
    if not any("overloaded" in action.reason for action in first.actions):
        gained = second.stats.get("gain_pct", 0.0)
        is_small = gained <= FOUND_LATER_PCT or second.stats["hosts_emptied"] <= 1
        promise(is_small, f"the second run gains {gained} %")


def _comes_to_rest(promise, first, second, is_limited):
    """Room that the first plan sets free may let a second one improve, by min_gain at least.

    Every run lowers the deviation by that part, so audits come to rest and never go in circles,
    though a server may go back where there was no room for others before.
    """
    gained = second.stats.get("gain_pct", 100.0)
    promise(not second.actions or gained >= MIN_GAIN_PCT, f"a second run for {gained} %")


@dataclass(frozen=True)
class Subject:
    """measure(snapshot, metrics, checked parameters) -> tuple, smaller is better."""

    parameters: Callable = lambda rng, snapshot: {}
    measure: Callable | None = None
    second_run: Callable = _is_empty


def _in_use(snapshot, metrics, given):
    return (len(np.unique(snapshot.server_host[snapshot.server_host >= 0])),)


def _overload_then_in_use(snapshot, metrics, given):
    """Cores above what hosts have, then hosts in use: relief may need a host more."""
    cc = (given["cc_cpu"], given["cc_ram"], given["cc_disk"])
    excess = dimensions(snapshot, metrics, cc=cc).cpu_excess
    return (float(np.maximum(excess, 0).sum()), *_in_use(snapshot, metrics, given))


def _deviation(snapshot, metrics, given):
    """The weighted deviation over the hosts that are up, enabled and measured."""
    total, counted = 0.0, snapshot.host_up & snapshot.host_enabled
    columns = {}
    for name in given["metrics"]:
        host = metrics.host[given["instance_metrics"][name]]
        axis = VCPU if name == "instance_cpu_usage" else MEMORY_MIB
        host = np.where(snapshot.host_inventory[:, axis] > 0, host, np.nan)
        if name == "instance_cpu_usage":
            columns[name] = host / 100
        else:
            columns[name] = host / 1024 / np.maximum(snapshot.host_inventory[:, MEMORY_MIB], 1)
        counted = counted & ~np.isnan(host)
    for name, load in columns.items():
        weight = given["weights"][f"{name}_weight"]
        total += weight * float(load[counted].std()) if counted.any() else 0.0
    return (total,)


def _some(rng, **choices):
    """Each parameter is given in half of the cases."""
    return {name: value for name, value in choices.items() if rng.random() < 0.5}


def _consolidation(rng, snapshot):
    return _some(rng, cc_cpu=1.0, check_optimize_metadata=bool(rng.random() < 0.3))


def _stabilization(rng, snapshot):
    both = ["instance_cpu_usage", "instance_ram_usage"]
    return _some(
        rng,
        metrics=both[: int(rng.integers(1, 3))],
        check_optimize_metadata=bool(rng.random() < 0.3),
    )


def _maintenance(rng, snapshot):
    names = snapshot.host_name
    return {
        "maintenance_node": str(rng.choice(names)),
        **_some(
            rng,
            backup_node=str(rng.choice(names)),
            disable_live_migration=bool(rng.random() < 0.5),
            disable_cold_migration=bool(rng.random() < 0.5),
        ),
    }


def _with_options(**choices):
    """Parameters in half of the cases, and now and then a limit on the moves."""

    def parameters(rng, snapshot):
        given = _some(rng, **{name: rng.choice(values).item() for name, values in choices.items()})
        if rng.random() < 0.2:
            given["max_migrations"] = int(rng.integers(0, 20))
        if rng.random() < 0.2:
            given["check_optimize_metadata"] = True
        return given

    return parameters


def _empty_unless_limited(promise, first, second, is_limited):
    """A plan that a limit cut short is continued by the next audit."""
    if is_limited:
        _undoes_nothing(promise, first, second, is_limited)
    else:
        _is_empty(promise, first, second, is_limited)


def _zone(rng, snapshot):
    names = list(snapshot.host_name)
    sources = rng.choice(names, size=2, replace=False).tolist()
    nodes = [{"src_node": name} for name in sources]
    for node in nodes:
        if rng.random() < 0.6:
            node["dst_node"] = str(rng.choice([*names, "nowhere"]))
    priority = {
        "project": ["p1"],
        "compute_node": sources[::-1],
        "compute": str(rng.choice(["vcpu_num", "mem_size", "disk_size", "created_at"])),
    }
    return {
        "compute_nodes": nodes,
        **_some(
            rng,
            priority=priority,
            parallel_total=int(rng.integers(0, 30)),
            parallel_per_node=int(rng.integers(0, 20)),
        ),
    }


def _excess(snapshot, metrics, given):
    """Percent points of load above the threshold."""
    name = given["metrics"]
    axis = VCPU if name == "instance_cpu_usage" else MEMORY_MIB
    amount = metrics.server[name]
    if axis == VCPU:
        amount = amount / 100 * snapshot.server_demand[:, VCPU]
    mapped = snapshot.server_host >= 0
    load = np.zeros(snapshot.n_hosts)
    np.add.at(load, snapshot.server_host[mapped], np.nan_to_num(amount)[mapped])
    total = snapshot.host_inventory[:, axis]
    counted = snapshot.host_up & snapshot.host_enabled & (total > 0)
    above = load[counted] / total[counted] * 100 - given["threshold"]
    return (float(above[above > 0].sum()),)


def _anything(promise, first, second, is_limited):
    """Where Nova chooses, or the limits say how far a plan goes, a second plan may be anything."""


SUBJECTS = {
    "basic": Subject(
        parameters=_with_options(migration_attempts=[0, 0, 0, 3]),
        measure=_in_use,
        second_run=_empty_unless_limited,
    ),
    "host_maintenance": Subject(parameters=_maintenance, second_run=_anything),
    "node_resource_consolidation": Subject(
        parameters=_with_options(host_choice=["specify", "specify", "auto"]),
        measure=_in_use,
        second_run=_anything,
    ),
    "noisy_neighbor": Subject(
        parameters=_with_options(cache_threshold=[5.0, 35.0]), second_run=_undoes_nothing
    ),
    "outlet_temperature": Subject(
        parameters=_with_options(threshold=[25.0, 35.0]), second_run=_undoes_nothing
    ),
    "saving_energy": Subject(parameters=lambda rng, snapshot: {}),
    "uniform_airflow": Subject(
        parameters=_with_options(threshold_airflow=[300.0, 400.0, 550.0]),
        second_run=_undoes_nothing,
    ),
    "vm_workload_consolidation": Subject(
        parameters=_consolidation,
        measure=_overload_then_in_use,
        second_run=_empty_unless_relieved,
    ),
    "workload_balance": Subject(
        parameters=_with_options(
            threshold=[10.0, 25.0, 60.0], metrics=["instance_cpu_usage", "instance_ram_usage"]
        ),
        measure=_excess,
        second_run=_undoes_nothing,
    ),
    "workload_stabilization": Subject(
        parameters=_stabilization, measure=_deviation, second_run=_comes_to_rest
    ),
    "zone_migration": Subject(parameters=_zone, second_run=_undoes_nothing),
}
