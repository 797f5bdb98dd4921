"""vm_workload_consolidation against its documented rule, which is written again for this purpose."""

import itertools
import time
from collections import Counter

import numpy as np
import pytest
from against_the_rule import NAME, compare
from documented_consolidation import Rule
from oracle import run
from random_clouds import random_cloud

from tests.perf.synthetic_clouds import synthetic_cloud
from trimtab_decision.simulate import simulate

CPU_S = 10.0
FEWEST = 20
HARD_ONES = (27, 84, 282)
"""On these the search alone leaves a host open that the documented order empties."""


def worse(seed):
    outcome = compare(seed)
    return outcome.word == "worse" and outcome.our_moves > 0, outcome.word


@pytest.mark.timeout(300)
@pytest.mark.req("B-104", "B-105")
def test_no_plan_is_worse_than_by_the_documented_order():
    started, words = time.process_time(), Counter()
    for seed in itertools.chain(HARD_ONES, itertools.count(3000)):
        if words.total() >= FEWEST and time.process_time() - started > CPU_S:
            break
        is_worse, word = worse(seed)
        assert not is_worse, f"seed {seed}: the documented rule ends better"
        words[word] += 1
    assert words["better"] >= 2
    assert words["equal"] >= 2


@pytest.mark.parametrize(("seed", "cheap_ones"), [(1, 38), (3, 39), (4, 39), (5, 41)])
def test_dear_hosts_are_freed_while_all_cost_no_more_moves_each_than_by_the_documented_order(
    seed, cheap_ones
):
    """cheap_ones: what the search frees where it may not close dear hosts."""
    snapshot, metrics = synthetic_cloud(100, 2000, seed)
    rule = Rule(snapshot, metrics)
    moves = rule.run()
    found = simulate(snapshot, metrics, "server_consolidation", NAME)
    freed = found.hosts_in_use_before - found.hosts_in_use_after
    freed_by_rule = found.hosts_in_use_before - len({host for host in rule.host if host >= 0})
    assert freed > cheap_ones
    assert found.migrations / freed <= len(moves) / freed_by_rule


@pytest.mark.req("B-107")
def test_a_server_moves_once_and_no_host_is_enabled_in_vain():
    planned = enabled = 0
    for seed in range(3000, 3040):
        cloud = random_cloud(seed)
        solution, _ = run(NAME, cloud.snapshot, cloud.metrics, {}, seed)
        inputs = [a.input_parameters for a in solution.actions if a.action_type == "migrate"]
        servers = [one["resource_id"] for one in inputs]
        assert len(servers) == len(set(servers))
        assert all(one["source_node"] != one["destination_node"] for one in inputs)
        switched_on = {
            a.input_parameters["resource_name"]
            for a in solution.actions
            if a.input_parameters.get("state") == "enabled"
        }
        assert switched_on <= {one["destination_node"] for one in inputs}
        planned, enabled = planned + len(servers), enabled + len(switched_on)
    assert planned > 100


@pytest.mark.parametrize("seed", [0, 11, 23])
def test_the_rule_written_again_keeps_its_own_books(seed):
    cloud = random_cloud(seed)
    rule = Rule(cloud.snapshot, cloud.metrics)
    moves = rule.run()
    allocated = np.zeros((cloud.snapshot.n_hosts, 3))
    for server, host in enumerate(rule.host):
        if host >= 0:
            allocated[host] += cloud.snapshot.server_demand[server]
    assert np.allclose(allocated, rule.allocated)
    assert all(rule.host[server] == host for server, host in moves.items())
