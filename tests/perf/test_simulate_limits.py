"""The compute strategies at size: results and CPU time within the limits of simulate.toml."""

import time
import tomllib
from functools import cache
from pathlib import Path

import pytest
from synthetic_clouds import synthetic_cloud

from trimtab_common.domain.scope import scoped
from trimtab_decision.simulate import simulate

LIMITS = tomllib.loads((Path(__file__).parent / "simulate.toml").read_text())
SEEDS = (5, 6)

cloud_of = cache(synthetic_cloud)


def limit_and_cloud(name, seed):
    limit = LIMITS[name]
    return limit, cloud_of(limit["hosts"], limit["servers"], seed)


@pytest.mark.slow
@pytest.mark.req("B-109")
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["consolidation_100", "consolidation_1000", "consolidation_10000"])
def test_consolidation(name, seed):
    limit, cloud = limit_and_cloud(name, seed)
    report = simulate(*cloud, "server_consolidation", "vm_workload_consolidation")
    freed = report.hosts_in_use_before - report.hosts_in_use_after
    bound = report.solution.stats["hosts_in_use_bound"]
    assert report.violations == ()
    assert report.hosts_in_use_after <= limit["max_over_bound"] * bound
    assert report.migrations <= limit["max_moves_per_host"] * freed
    assert report.cpu_s <= limit["max_cpu_s"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strategy", ["basic", "node_resource_consolidation"])
def test_consolidation_to_the_last_host(strategy, seed):
    limit, cloud = limit_and_cloud(f"{strategy}_1000", seed)
    report = simulate(*cloud, "server_consolidation", strategy)
    released = report.efficacy[0]["value"]
    assert report.violations == ()
    assert released > 25  # a run without enough to do is void
    assert report.migrations <= limit["max_moves_per_host"] * released / 100 * limit["hosts"]
    assert report.cpu_s <= limit["max_cpu_s"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("goal", "strategy", "parameters"),
    [
        ("workload_balancing", "workload_balance", {}),
        ("cluster_maintaining", "host_maintenance", {"maintenance_node": "host-00005"}),
        (
            "hardware_maintenance",
            "zone_migration",
            {"compute_nodes": [{"src_node": "host-00005", "dst_node": "host-00006"}]},
        ),
    ],
)
def test_strategies_of_one_step(goal, strategy, parameters):
    limit, cloud = limit_and_cloud("steps_1000", SEEDS[0])
    report = simulate(*cloud, goal, strategy, parameters=parameters)
    assert report.violations == ()
    assert report.cpu_s <= limit["max_cpu_s"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["stabilisation_1000", "stabilisation_10000"])
def test_stabilisation(name, seed):
    limit, cloud = limit_and_cloud(name, seed)
    report = simulate(*cloud, "workload_balancing", "workload_stabilization")
    assert report.violations == ()
    assert report.cpu_load_sd_before > 0.15  # a run without enough load is void
    assert report.cpu_load_sd_after <= 0.0998
    assert report.migrations <= limit["max_moves_ratio"] * cloud[0].n_servers
    assert report.cpu_s <= limit["max_cpu_s"]


@pytest.mark.slow
@pytest.mark.req("C-105")
def test_scope():
    limit, (snapshot, metrics) = limit_and_cloud("scope_1000", SEEDS[0])
    names = [{"name": name} for name in snapshot.host_name[100:]]
    rules = [{"compute": [{"exclude": [{"compute_nodes": names}]}]}]
    started = time.process_time()
    result = scoped(snapshot, rules)
    result.align(metrics)
    assert time.process_time() - started <= limit["max_cpu_s"]
    assert result.snapshot.n_hosts == 100
