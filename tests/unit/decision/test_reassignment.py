"""The compiled search against plain Python: same cost, no rule broken, same seed same answer."""

import random

import numpy as np
import pytest

from tests.perf.instance_builders import write_roadef
from tests.perf.roadef_checker import official_cost, violations
from tests.perf.roadef_instances import problem_of, read_instance
from trimtab_decision.optimizer.reassignment import (
    Budget,
    Capacity,
    Dependency,
    Load,
    MoveCost,
    Reassignment,
    Separation,
    Spread,
    kernel,
    lower_bound,
    search,
)
from trimtab_decision.optimizer.reassignment.search import cost_of, picked
from trimtab_decision.optimizer.reassignment.tables import state_of, tables_of

SEEDS = range(6)


def an_instance(folder, seed):
    return read_instance(*write_roadef(folder, seed))


@pytest.mark.parametrize("seed", SEEDS)
def test_what_moves_change_equals_what_is_counted_from_nothing(tmp_path, seed):
    problem = problem_of(an_instance(tmp_path, seed))
    instance = an_instance(tmp_path, seed)
    tables = tables_of(problem, seed)
    state = state_of(problem, tables, problem.home, seed)
    state.figures[kernel.COST] = official_cost(instance, instance.assignment)
    state.figures[kernel.BEST] = state.figures[kernel.COST]
    state.figures[kernel.HELD_PRICE] = 0.5
    for temperature in (1e4, 1e3, 10.0):
        kernel.anneal(tables, state, problem.moves.most_in_group, temperature, 5_000)
    again = state_of(problem, tables, state.host, seed)
    for name in ("above_safe", "above_limit", "on_host", "in_zone", "in_area", "n_zones"):
        assert np.array_equal(getattr(state, name), getattr(again, name)), name
    assert np.array_equal(state.away, again.away)
    assert state.most_away[0] == again.most_away[0]
    penalty = (np.maximum(0, again.above_limit) * state.price).sum()
    assert state.figures[kernel.PENALTY] == penalty
    assert state.figures[kernel.COST] == official_cost(instance, state.host.tolist())
    assert state.figures[kernel.BEST] == official_cost(instance, state.best.tolist())
    assert not violations(instance, state.best.tolist())
    assert state.counted[1] > 100


@pytest.mark.parametrize("seed", SEEDS)
def test_the_answer_breaks_no_rule_and_costs_less(tmp_path, seed):
    instance = an_instance(tmp_path, seed)
    assert not violations(instance, instance.assignment)
    found = search(problem_of(instance), Budget(moves=400_000), seed)
    host = found.host.tolist()
    assert not violations(instance, host)
    assert found.cost == official_cost(instance, host)
    assert found.cost < official_cost(instance, instance.assignment)
    assert found.cost >= lower_bound(problem_of(instance))


def test_the_same_seed_and_number_of_moves_give_the_same_answer(tmp_path):
    problem = problem_of(an_instance(tmp_path, 1))
    first = search(problem, Budget(moves=400_000, threads=2), 7)
    second = search(problem, Budget(moves=400_000, threads=2), 7)
    assert np.array_equal(first.host, second.host)
    assert first.evaluated == second.evaluated


def test_members_of_a_group_as_large_as_the_cluster_change_places():
    n = 4
    sizes = np.arange(1, n + 1)[:, None]
    nothing = np.zeros(n, dtype=np.int64)
    problem = Reassignment(
        home=np.arange(n),
        capacity=Capacity(
            limit=np.full((n, 1), 10), demand=sizes, is_held=np.zeros(1, dtype=np.bool_)
        ),
        separation=Separation(group=nothing, n_groups=1),
        spread=Spread(zone=nothing, at_least=np.ones(1, dtype=np.int64)),
        dependency=Dependency(area=nothing),
        load=Load(safe=sizes[::-1].copy(), weight=np.array([100])),
        moves=MoveCost(server=nothing, between=np.zeros((n, n), dtype=np.int64), most_in_group=0),
    )
    assert cost_of(problem, problem.home) == 400
    found = search(problem, Budget(moves=100_000), 1)
    assert found.cost == 0
    assert found.host.tolist() == [3, 2, 1, 0]


def test_a_price_of_room_held_keeps_servers_home_that_gain_nothing_elsewhere(tmp_path):
    problem = problem_of(an_instance(tmp_path, 1))
    assert problem.capacity.is_held.any()
    away = []
    for price in (0.0, 100.0):
        tables = tables_of(problem, 1)
        state = state_of(problem, tables, problem.home, 1)
        state.figures[kernel.HELD_PRICE] = price
        kernel.anneal(tables, state, 0.0, 1e3, 50_000)
        away.append(int((state.host != problem.home).sum()))
    assert away[1] < away[0] / 2


def a_slack_cluster(n_hosts=20, per_host=40):
    """Host 0 is four servers over its safe use, all others have room; each move costs 10 or more."""
    n = n_hosts * per_host
    nothing = np.zeros(n, dtype=np.int64)
    safe = np.full((n_hosts, 1), per_host + 4)
    safe[0] = per_host - 4
    return Reassignment(
        home=np.repeat(np.arange(n_hosts), per_host),
        capacity=Capacity(
            limit=np.full((n_hosts, 1), 2 * per_host),
            demand=np.ones((n, 1), dtype=np.int64),
            is_held=np.zeros(1, dtype=np.bool_),
        ),
        separation=Separation(group=np.arange(n), n_groups=n),
        spread=Spread(zone=np.zeros(n_hosts, dtype=np.int64), at_least=nothing),
        dependency=Dependency(area=np.zeros(n_hosts, dtype=np.int64)),
        load=Load(safe=safe, weight=np.array([10_000])),
        moves=MoveCost(
            server=nothing + 10,
            between=np.zeros((n_hosts, n_hosts), dtype=np.int64),
            most_in_group=0,
        ),
    )


def test_a_price_of_being_away_keeps_servers_home_where_nothing_is_held():
    problem = a_slack_cluster()
    away = []
    for price in (0.0, 6.0):
        tables = tables_of(problem, 1)
        state = state_of(problem, tables, problem.home, 1)
        state.figures[kernel.AWAY_PRICE] = price * 1e4
        kernel.anneal(tables, state, 0.0, 1e4, 100_000)
        away.append(int((state.host != problem.home).sum()))
    assert away[1] < away[0] / 4


@pytest.mark.parametrize("threads", [1, 2])
def test_a_trial_finds_that_servers_of_a_slack_cluster_stay_home(threads):
    problem = a_slack_cluster()
    found = search(problem, Budget(moves=1_000_000, threads=threads), 1)
    assert int((found.host != problem.home).sum()) == 4
    assert found.cost == 40


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("moves", [40_000, 100_000, 400_000])
def test_a_trial_tells_that_with_few_moves_too(moves, seed):
    """One more server away costs 10: annealings this short still cool, and so do the trial's."""
    assert search(a_slack_cluster(), Budget(moves=moves), seed).cost <= 70


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("moves", [1, 1_000, 20_000, 100_000])
def test_a_used_up_budget_ends_the_search(moves, threads):
    found = search(a_slack_cluster(), Budget(moves=moves, threads=threads), 1)
    assert 0 < found.evaluated <= threads * max(moves, 200)
    assert found.cost < 40_000


@pytest.mark.parametrize(("moves", "rounds"), [(30_000, 3), (60_000, 5)])
def test_moves_too_few_for_a_trial_are_left_to_the_rounds(moves, rounds):
    found = search(a_slack_cluster(), Budget(moves=moves), 1)
    assert len(found.costs) == rounds
    assert found.evaluated > 0.9 * moves


@pytest.mark.parametrize("budget", [Budget(moves=0), Budget(seconds=0.0)])
def test_without_a_budget_all_stay_where_they_are(budget):
    problem = a_slack_cluster()
    found = search(problem, budget, 1)
    assert found.host.tolist() == problem.home.tolist()
    assert (found.cost, found.evaluated, found.costs) == (40_000, 0, ())


@pytest.mark.parametrize(
    ("ends", "price"),
    [
        ({0.0: 200.0, 6.0: 140.0}, 6.0),
        ({0.0: 200.0, 6.0: 160.0}, 0.0),
        ({0.0: 200.0, 6.0: 300.0}, 0.0),
        ({0.0: 100.0, 6.0: 100.0}, 0.0),
        ({0.0: 200.0}, 0.0),
    ],
)
def test_a_price_of_being_away_is_picked_where_it_halves_the_gap_to_the_bound(ends, price):
    assert picked(ends, 100.0) == price


def test_each_round_goes_on_from_the_best_of_all_threads(tmp_path):
    instance = an_instance(tmp_path, 2)
    told = []
    found = search(
        problem_of(instance),
        Budget(moves=400_000, threads=2),
        3,
        lambda cost, _: told.append(cost),
    )
    assert list(found.costs) == sorted(found.costs, reverse=True)
    assert told == sorted(set(found.costs), reverse=True)
    assert found.costs[-1] == found.cost


def test_the_cost_of_the_core_is_the_official_one_for_any_placement(tmp_path):
    instance = an_instance(tmp_path, 3)
    problem = problem_of(instance)
    draw = random.Random(5)
    for _ in range(20):
        host = [draw.randrange(problem.n_hosts) for _ in range(problem.n_servers)]
        assert cost_of(problem, np.array(host)) == official_cost(instance, host)


def test_the_checker_finds_each_kind_of_broken_rule(tmp_path):
    instance = an_instance(tmp_path, 2)
    crowded = [0] * len(instance.assignment)
    found = " ".join(violations(instance, crowded))
    assert "resource" in found
    assert "processes of service" in found
    spread = [1] * len(instance.spread_min)
    needs = [[] for _ in instance.spread_min]
    needs[0] = [len(needs) - 1]
    first = [m for s, m in zip(instance.service, instance.assignment, strict=True) if s == 0]
    spread[0] = len(first) + 1
    import dataclasses

    stricter = dataclasses.replace(instance, spread_min=spread, dependencies=needs)
    here = next(m for m, area in enumerate(instance.neighbourhood) if area == 0)
    there = next(m for m, area in enumerate(instance.neighbourhood) if area == 1)
    apart = [here if s == 0 else there for s in instance.service]
    found = " ".join(violations(stricter, apart))
    assert "locations of" in found
    assert "without" in found


def test_a_moved_process_holds_its_transient_resources_at_home_too(tmp_path):
    import dataclasses

    instance = an_instance(tmp_path, 4)
    home = instance.assignment[0]
    used = sum(
        r[1] for r, m in zip(instance.requirement, instance.assignment, strict=True) if m == home
    )
    capacity = [list(row) for row in instance.capacity]
    capacity[home][1] = used
    full = dataclasses.replace(instance, capacity=capacity)
    other = next(
        p for p, m in enumerate(full.assignment) if m != home and full.service[p] != full.service[0]
    )
    swapped = list(full.assignment)
    swapped[0], swapped[other] = swapped[other], home
    assert any(f"machine {home} uses" in one for one in violations(full, swapped))


def test_a_budget_is_either_of_time_or_of_moves(tmp_path):
    problem = problem_of(an_instance(tmp_path, 0))
    with pytest.raises(ValueError, match="seconds or a number of moves"):
        search(problem, Budget())
