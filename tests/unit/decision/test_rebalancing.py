"""Rebalancing: what exchanges and swaps add to a descent, within the same rules."""

import numpy as np
import pytest
from cluster_builders import cloud, host, migrations, plan, run, server

from trimtab_decision.optimizer.balancing import Loads, balance
from trimtab_decision.optimizer.dimensions import allocations
from trimtab_decision.optimizer.rebalancing import Rebalancing, rebalance
from trimtab_decision.optimizer.state import Placement
from trimtab_decision.verifier import verify

THRESHOLD = {"thresholds": {"instance_cpu_usage": 0.01}, "min_gain": 0}


def unequal_pairs():
    """9 and 7 cores in use: no single server makes that better, 5 against 4 makes it 8 and 8."""
    return cloud(
        [host("a", cpu_pct=900 / 16), host("b", cpu_pct=700 / 16)],
        [
            server("five", "a", vcpus=5, cpu_pct=100),
            server("four", "a", vcpus=4, cpu_pct=100),
            server("other-four", "b", vcpus=4, cpu_pct=100),
            server("three", "b", vcpus=3, cpu_pct=100),
        ],
    )


@pytest.mark.req("B-127", "B-131")
def test_two_servers_change_places_where_no_single_move_helps():
    clouds = unequal_pairs()
    solution = run("workload_stabilization", clouds, max_migrations=2, **THRESHOLD)
    assert verify(clouds[0], plan(solution)) == []
    assert len(migrations(solution)) == 2
    assert solution.indicators["standard_deviation_after_audit"] == pytest.approx(0.0, abs=1e-9)


def test_one_migration_is_too_few_for_a_swap():
    solution = run("workload_stabilization", unequal_pairs(), max_migrations=1, **THRESHOLD)
    assert migrations(solution) == {}


def crowd(seed, n_hosts=40, n_servers=600):
    """(loads, placement): two metrics, room on most hosts."""
    rng = np.random.default_rng(seed)
    at = rng.choice(n_hosts, n_servers, p=rng.dirichlet(np.full(n_hosts, 3.0)))
    hosts = [host(f"h{n}", vcpus=96, memory=400_000, disk=4000) for n in range(n_hosts)]
    flavors = rng.integers(1, 9, n_servers)
    servers = [
        server(f"s{n}", f"h{at[n]}", vcpus=int(flavors[n]), memory=2048 * int(flavors[n]))
        for n in range(n_servers)
    ]
    snapshot, _ = cloud(hosts, servers)
    demand = snapshot.server_demand
    amount = np.column_stack(
        [demand[:, 0] * rng.random(n_servers), demand[:, 1] * rng.uniform(0.3, 1, n_servers)]
    )
    size = np.tile([96.0, 400_000.0], (n_hosts, 1))
    load = np.zeros((n_hosts, 2))
    np.add.at(load, snapshot.server_host, amount / size[snapshot.server_host])
    loads = Loads(
        hosts=np.arange(n_hosts),
        load=load,
        size=size,
        amount=amount,
        weight=np.ones(2),
        threshold=np.full(2, 1e-6),
    )
    return loads, Placement(allocations(snapshot), snapshot.server_host)


def improved(seed, max_moves):
    """(by the descent alone, rebalanced, loads, placement)."""
    loads, placement = crowd(seed)
    n_servers, n_hosts = len(placement.host), len(placement.free)
    rules = {
        "movable": np.ones(n_servers, dtype=bool),
        "class_hosts": np.ones((1, n_hosts), dtype=bool),
        "server_class": np.zeros(n_servers, dtype=np.int32),
    }
    found = balance(loads, placement, names=("a", "b", "c"), max_moves=max_moves, **rules)
    problem = Rebalancing(loads=loads, placement=placement, max_moves=max_moves, **rules)
    return found, rebalance(found, problem, seed=seed), loads, placement


def worst_room(moves, placement):
    """The least room of a target when each move starts as early as it may and all others end late."""
    worst = np.inf
    for move in moves:
        room = placement.free[move.target].copy()
        for other in moves:
            if other.target == move.target:
                room -= placement.demand[other.server]
                if other is move:
                    break
        left = {server for other in moves[: moves.index(move) + 1] for server in other.after}
        room += placement.demand[[s for s in left if placement.origin[s] == move.target]].sum(
            axis=0
        )
        worst = min(worst, room.min())
    return worst


@pytest.mark.req("B-127")
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("max_moves", [12, 120])
def test_it_is_better_with_no_more_moves_and_within_the_room(seed, max_moves):
    found, better, loads, placement = improved(seed, max_moves)
    assert better.total <= found.total
    assert better.total < found.total or max_moves < 100  # few moves are found best by the descent
    assert len(better.moves) == placement.n_moved() <= max_moves
    assert worst_room(better.moves, crowd(seed)[1]) >= -1e-6
    load = loads.load.copy()
    for move in better.moves:
        load[move.source] -= loads.amount[move.server] / loads.size[move.source]
        load[move.target] += loads.amount[move.server] / loads.size[move.target]
        assert placement.host[move.server] == move.target
    assert load.std(axis=0) == pytest.approx(better.deviation)
    assert better.total == pytest.approx(better.deviation.sum())


@pytest.mark.req("B-043")
def test_the_same_seed_gives_the_same_moves():
    first, second = improved(4, 40)[1], improved(4, 40)[1]
    assert [(m.server, m.target) for m in first.moves] == [
        (m.server, m.target) for m in second.moves
    ]


def test_moves_beyond_what_the_thresholds_ask_for_are_left_out():
    loads, placement = crowd(5)
    threshold = np.full(2, 0.05)
    loads = Loads(
        hosts=loads.hosts,
        load=loads.load,
        size=loads.size,
        amount=loads.amount,
        weight=loads.weight,
        threshold=threshold,
    )
    rules = {
        "movable": np.ones(len(placement.host), dtype=bool),
        "class_hosts": np.ones((1, len(placement.free)), dtype=bool),
        "server_class": np.zeros(len(placement.host), dtype=np.int32),
    }
    found = balance(loads, placement, names=("a", "b", "c"), max_looks=3, **rules)
    problem = Rebalancing(loads=loads, placement=placement, max_moves=300, **rules)
    better = rebalance(found, problem, seed=1)
    assert (better.deviation < threshold).all()
    assert len(better.moves) < 150
