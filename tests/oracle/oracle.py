"""The oracle: whatever the cloud looks like, every compute strategy keeps these promises.

- the independent verifier finds nothing wrong at any step of the plan;
- the strategy's own measure is never worse afterwards; the same seed gives the same plan;
- the planner critical_path orders it without a violation too, whatever the strategy's own planner;
- an empty plan says why; excluded servers never move; a second run on the result is empty, or brings less than it must.

    python tests/oracle/oracle.py --pairs-per-strategy 2000 --first-seed 0 [--strategy NAME]
        [--record FILE]

FILE gets a line of JSON for every 100 pairs; the same command with the same file goes on where it was stopped.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections import Counter
from functools import lru_cache
from pathlib import Path

import numpy as np
from random_clouds import random_cloud
from subjects import SUBJECTS

from trimtab_common.domain.baremetal import NODE, PowerState
from trimtab_common.domain.snapshot import VCPU, MetricsTable
from trimtab_common.rules import parameters as rules
from trimtab_decision.framework import StrategyContext, planned_by
from trimtab_decision.framework.errors import MetricNotAvailable, NoFeasiblePlan
from trimtab_decision.plugins import load_registry
from trimtab_decision.simulate import hosts_after
from trimtab_decision.verifier import verify

REGISTRY = load_registry(entry_points=False)
REFUSALS = (NoFeasiblePlan, MetricNotAvailable)
TOLERANCE = 1e-7
CHUNK = 100
cloud_of = lru_cache(CHUNK)(random_cloud)


class BrokenPromise(AssertionError):
    """Says which strategy, seed and promise."""


def check(name, seed):
    """One pair. BrokenPromise, or what happened: planned, empty, refused."""
    cloud = cloud_of(seed)
    subject = SUBJECTS[name]
    given = subject.parameters(np.random.default_rng(seed + 1), cloud.snapshot)
    try:
        solution, planned = run(name, cloud.snapshot, cloud.metrics, given, seed, cloud.baremetal)
    except REFUSALS:
        return "refused"

    def promise(kept, what):
        if not kept:
            raise BrokenPromise(f"{name}, seed {seed}, {given}: {what}")

    violations = verify(cloud.snapshot, planned)
    promise(not violations, violations[:3])
    promise(solution.actions or solution.messages, "an empty plan that says nothing")
    unbarred = REGISTRY.planner("critical_path").plan_on(cloud.snapshot, solution.actions)
    violations = verify(cloud.snapshot, unbarred)
    promise(not violations, f"by critical_path: {violations[:3]}")
    again, _ = run(name, cloud.snapshot, cloud.metrics, given, seed, cloud.baremetal)
    promise(_actions(again) == _actions(solution), "the same seed gives another plan")
    promise(not _touched_excluded(cloud.snapshot, planned), "an excluded server is touched")
    if given.get("max_migrations") is not None:
        allowed = given["max_migrations"]
        promise(solution.count("migrate") <= allowed, "more migrations than allowed")
    snapshot, metrics = carried_out(cloud.snapshot, cloud.metrics, planned)
    checked = rules.checked(given, REGISTRY.strategy(name).parameters_schema)
    if subject.measure is not None:
        before = subject.measure(cloud.snapshot, cloud.metrics, checked)
        after = subject.measure(snapshot, metrics, checked)
        promise(_is_no_worse(after, before), f"worse: {before} became {after}")
    try:
        powered = _powered(cloud.baremetal, planned)
        second, _ = run(name, snapshot, metrics, given, seed, powered)
    except REFUSALS:
        return "planned" if planned else "empty"
    is_limited = any(given.get(name) for name in ("max_migrations", "migration_attempts"))
    subject.second_run(promise, solution, second, is_limited)
    return "planned" if solution.actions else "empty"


def run(name, snapshot, metrics, given, seed, baremetal=None):
    """(solution, planned actions)."""
    strategy = REGISTRY.strategy(name)
    checked = rules.checked(given, strategy.parameters_schema)
    context = StrategyContext(
        compute=snapshot,
        metrics=metrics,
        parameters=checked,
        seed=seed,
        baremetal=baremetal,
    )
    solution = strategy.execute(context)
    return solution, planned_by(REGISTRY.planner(solution.planner_name), snapshot, solution.actions)


def carried_out(snapshot, metrics, planned):
    """The cloud and its load after the plan: servers moved, services switched."""
    after = hosts_after(snapshot, planned)
    enabled, reason = snapshot.host_enabled.copy(), list(snapshot.host_disabled_reason)
    state = snapshot.server_state.copy()
    servers = {snapshot.uuid_of(i): i for i in range(snapshot.n_servers)}
    for step in planned:
        inputs = step.action.input_parameters
        if step.action.action_type == "change_nova_service_state":
            host = snapshot.host_index(inputs["resource_name"])
            enabled[host] = inputs["state"] == "enabled"
            reason[host] = inputs.get("disabled_reason")
        if step.action.action_type == "stop":
            state[servers[inputs["resource_id"]]] = 5
    moved = np.flatnonzero((after != snapshot.server_host) & (snapshot.server_host >= 0))
    changed = dataclasses.replace(
        snapshot,
        server_host=after,
        host_enabled=enabled,
        host_disabled_reason=tuple(reason),
        server_state=state,
    )
    return changed, _moved_load(snapshot, metrics, moved, after)


def _powered(baremetal, planned):
    """The machines after the plan."""
    wanted = {
        step.action.input_parameters["resource_id"]: step.action.input_parameters["state"]
        for step in planned
        if step.action.action_type == "change_node_power_state"
    }
    nodes = (
        dataclasses.replace(node, power_state=PowerState(wanted[node.uuid]))
        if node.uuid in wanted
        else node
        for node in baremetal.of(NODE)
    )
    return dataclasses.replace(baremetal, rows={NODE: tuple(nodes)})


def _moved_load(snapshot, metrics, moved, after):
    host = {name: column.copy() for name, column in metrics.host.items()}
    source, target = snapshot.server_host[moved], after[moved]
    cpu, ram = metrics.server.get("instance_cpu_usage"), metrics.server.get("instance_ram_usage")
    if cpu is not None and "host_cpu_usage" in host:
        cores = np.nan_to_num(cpu[moved]) / 100 * snapshot.server_demand[moved, VCPU] * 100
        vcpus = np.maximum(snapshot.host_inventory[:, VCPU], 1)
        np.subtract.at(host["host_cpu_usage"], source, cores / vcpus[source])
        np.add.at(host["host_cpu_usage"], target, cores / vcpus[target])
    if ram is not None and "host_ram_usage" in host:
        np.subtract.at(host["host_ram_usage"], source, np.nan_to_num(ram[moved]) * 1024)
        np.add.at(host["host_ram_usage"], target, np.nan_to_num(ram[moved]) * 1024)
    server = dict(metrics.server)
    if "instance_l3_cache_usage_2p" in server and "instance_l3_cache_usage" in server:
        steady = server["instance_l3_cache_usage_2p"].copy()
        steady[moved] = server["instance_l3_cache_usage"][moved]
        server["instance_l3_cache_usage_2p"] = steady
    return MetricsTable(host=host, server=server)


def _is_no_worse(after, before):
    """Lexicographic: a later member counts only where the earlier ones are equal."""
    for a, b in zip(after, before, strict=True):
        if abs(a - b) > TOLERANCE:
            return a < b
    return True


def _actions(solution):
    return [(a.action_type, dict(a.input_parameters), a.reason) for a in solution.actions]


def _touched_excluded(snapshot, planned):
    excluded = {snapshot.uuid_of(int(i)) for i in np.flatnonzero(snapshot.server_excluded)}
    return any(step.action.input_parameters.get("resource_id") in excluded for step in planned)


def pairs(name, seeds, keep_going, record=None):
    """Outcomes of one strategy on some clouds, and a line of the record."""
    began, counts, errors = time.process_time(), Counter(), []
    for seed in seeds:
        try:
            counts[check(name, seed)] += 1
        except BrokenPromise as error:
            counts["broken"] += 1
            errors.append(str(error))
            print(error, flush=True)
            if not keep_going:
                return counts
    if record is not None:
        line = {"commit": _commit(), "strategy": name, "first_seed": seeds.start}
        line |= {"pairs": len(seeds), **counts, "errors": errors}
        line["cpu_s"] = round(time.process_time() - began, 1)
        with record.open("a") as file:
            file.write(json.dumps(line) + "\n")
    return counts


def _commit():
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def first_open(name, seeds, record):
    """The seed after the last one that the record tells of, within `seeds`."""
    if record is None or not record.exists():
        return seeds.start
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    ends = [
        line["first_seed"] + line["pairs"]
        for line in lines
        if line["strategy"] == name and line["first_seed"] in seeds
    ]
    return max(ends, default=seeds.start)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--pairs-per-strategy", type=int, default=2000)
    options.add_argument("--first-seed", type=int, default=0)
    options.add_argument("--strategy", action="append", choices=sorted(SUBJECTS))
    options.add_argument("--keep-going", action="store_true")
    options.add_argument("--record", type=Path)
    asked = options.parse_args()
    broken = 0
    names = asked.strategy or sorted(SUBJECTS)
    seeds = range(asked.first_seed, asked.first_seed + asked.pairs_per_strategy)
    first = {name: first_open(name, seeds, asked.record) for name in names}
    totals = {name: Counter() for name in names}
    for start in range(
        min(first.values()), seeds.stop, CHUNK
    ):  # all of a chunk see the same clouds
        chunk = range(start, min(start + CHUNK, seeds.stop))
        for name in names:
            if start >= first[name]:
                totals[name] += pairs(name, chunk, asked.keep_going, asked.record)
                broken += totals[name]["broken"]
            if broken and not asked.keep_going:
                return 1
    for name, counts in totals.items():
        print(f"{name}: {dict(counts)}", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
