"""Balancing plans in which servers go where others leave: safe with every planner, and only by what they wait for."""

import dataclasses

import numpy as np
import pytest
from cluster_builders import cloud, host, plan, run, server, uuid_of

from trimtab_decision.framework import PlannedAction, planned_by
from trimtab_decision.plugins import load_registry
from trimtab_decision.simulate import hosts_after
from trimtab_decision.verifier import verify

BOTH = ["instance_cpu_usage", "instance_ram_usage"]
PLANNERS = ["workload_stabilization", "weight", "critical_path", "node_resource_consolidation"]
SEEDS = range(24)


def cold_and_full():
    """Host b is idle and has no memory left: one of a's servers can go there when `idle` has gone to c."""
    return cloud(
        [host("a", cpu_pct=75), host("b", cpu_pct=0), host("c", memory=131072, cpu_pct=25)],
        [
            server("hot-1", "a", vcpus=4, memory=16384, cpu_pct=100),
            server("hot-2", "a", vcpus=4, memory=8192, cpu_pct=100),
            server("hot-3", "a", vcpus=4, memory=8192, cpu_pct=100),
            server("idle", "b", vcpus=4, memory=32768, cpu_pct=1),
            server("warm", "c", vcpus=4, memory=32768, cpu_pct=100),
        ],
    )


def balanced(clouds, **parameters):
    given = {"thresholds": dict.fromkeys(BOTH, 0.0), "min_gain": 0, **parameters}
    return run("workload_stabilization", clouds, **given)


def kinds(clouds, planned):
    return {violation.kind.value for violation in verify(clouds[0], planned)}


def without_waits(solution):
    planner = load_registry(entry_points=False).planner(solution.planner_name)
    return planner.plan(solution.actions)


def test_a_server_goes_where_another_one_leaves_and_says_so():
    clouds = cold_and_full()
    solution = balanced(clouds, max_migrations=2)
    first, second = solution.actions
    assert (first.after, second.after) == ((), (uuid_of("idle"),))
    hot = second.input_parameters["resource_name"]
    assert first.reason.endswith(f"; makes room for {hot}.")
    assert second.reason.endswith("; needs idle to leave there first.")
    assert verify(clouds[0], plan(solution)) == []
    assert kinds(clouds, without_waits(solution)) == {"over_capacity"}
    assert solution.indicators["standard_deviation_after_audit"] < 0.15


def crowded(seed):
    """3 to 12 hosts of different sizes, many of them full in one resource and idle in another."""
    rng = np.random.default_rng(seed)
    hosts, servers = [], []
    for n in range(int(rng.integers(3, 13))):
        vcpus, memory = int(rng.choice([8, 16, 32])), int(rng.choice([8, 16, 32, 64])) * 1024
        heat, cores, ram_mib, room = rng.uniform(5, 100), 0.0, 0.0, np.array([vcpus, memory, 300])
        for k in range(int(rng.integers(2, 20))):
            flavor = np.array(
                [rng.choice([1, 2, 4, 8]), 1024 * rng.choice([1, 2, 4, 8, 16]), rng.choice([0, 30])]
            )
            if (flavor > room).any() and rng.random() > 0.02:  # a few hosts are over-full
                continue
            room -= flavor
            cpu_pct = float(min(100, heat * rng.uniform(0.2, 1.8)))
            used_mib = float(flavor[1] * rng.uniform(0.2, 1))
            cores, ram_mib = cores + flavor[0] * cpu_pct, ram_mib + used_mib
            servers.append(
                server(
                    f"s{n}-{k}",
                    f"h{n:02}",
                    vcpus=int(flavor[0]),
                    memory=int(flavor[1]),
                    disk=int(flavor[2]),
                    cpu_pct=cpu_pct,
                    ram_mib=used_mib,
                )
            )
        hosts.append(
            host(
                f"h{n:02}",
                vcpus=vcpus,
                memory=memory,
                disk=300,
                cpu_pct=min(100, cores / vcpus),
                ram_kib=ram_mib * 1024,
            )
        )
    return cloud(hosts, servers)


def crowded_plan(seed):
    clouds = crowded(seed)
    return clouds, balanced(clouds, metrics=BOTH, max_migrations=5 + seed)


@pytest.mark.parametrize("name", PLANNERS)
def test_the_plans_are_clean_with_every_planner(name):
    waiting = 0
    for seed in SEEDS:
        (snapshot, _), solution = crowded_plan(seed)
        planner = load_registry(entry_points=False).planner(name)
        assert verify(snapshot, planned_by(planner, snapshot, solution.actions)) == []
        waiting += any(action.after for action in solution.actions)
    assert waiting > len(SEEDS) / 2


def test_without_what_they_wait_for_the_verifier_refuses_them():
    refused = 0
    for seed in SEEDS:
        clouds, solution = crowded_plan(seed)
        if any(action.after for action in solution.actions):
            assert kinds(clouds, without_waits(solution)) == {"over_capacity"}
            refused += 1
    assert refused


@pytest.mark.req("B-043")
def test_the_same_seed_gives_the_same_waits():
    for seed in (1, 2, 3):
        first, second = crowded_plan(seed)[1], crowded_plan(seed)[1]
        assert first.actions == second.actions


def test_run_backwards_the_plans_are_clean_too():
    """A rollback reverses every move and every parent."""
    for seed in SEEDS:
        (snapshot, _), solution = crowded_plan(seed)
        if (snapshot.used() > snapshot.capacity()).any():
            continue  # what was over-full at first would be so again
        planned = plan(solution)
        after = dataclasses.replace(snapshot, server_host=hosts_after(snapshot, planned))
        assert verify(after, backwards(planned)) == []


def backwards(planned):
    last = len(planned) - 1
    children = [[] for _ in planned]
    for step in planned:
        for parent in step.parents:
            children[parent].append(last - step.index)
    steps = []
    for step in reversed(planned):
        inputs = dict(step.action.input_parameters)
        inputs["source_node"], inputs["destination_node"] = (
            inputs["destination_node"],
            inputs["source_node"],
        )
        action = dataclasses.replace(step.action, input_parameters=inputs, after=())
        parents = tuple(sorted(children[step.index]))
        steps.append(PlannedAction(index=last - step.index, action=action, parents=parents))
    return steps
