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


def with_capacity(home, *, limit, demand, safe, weight, move=0, group=None):
    """No rule but capacity, and separation where groups are given. move: cost of each, or [V]."""
    n_hosts, n = len(limit), len(home)
    return Reassignment(
        home=np.asarray(home),
        capacity=Capacity(
            limit=np.array(limit),
            demand=np.array(demand),
            is_held=np.zeros(len(weight), dtype=np.bool_),
        ),
        separation=Separation(group=np.arange(n) if group is None else group, n_groups=n),
        spread=Spread(zone=np.zeros(n_hosts, dtype=np.int64), at_least=np.zeros(n, dtype=np.int64)),
        dependency=Dependency(area=np.zeros(n_hosts, dtype=np.int64)),
        load=Load(safe=np.array(safe), weight=np.array(weight)),
        moves=MoveCost(
            server=np.zeros(n, dtype=np.int64) + move,
            between=np.zeros((n_hosts, n_hosts), dtype=np.int64),
            most_in_group=0,
        ),
    )


def a_slack_cluster(n_hosts=20, per_host=40):
    """Host 0 is four servers over its safe use, all others have room; each move costs 10 or more."""
    safe = np.full((n_hosts, 1), per_host + 4)
    safe[0] = per_host - 4
    return with_capacity(
        np.repeat(np.arange(n_hosts), per_host),
        limit=np.full((n_hosts, 1), 2 * per_host),
        demand=np.ones((n_hosts * per_host, 1), dtype=np.int64),
        safe=safe,
        weight=[10_000],
        move=10,
    )


def a_slack_cluster_with_exchanges(n_pairs=8, n_small=6):
    """Besides, a large server that should change places with six small ones, in eight pairs of full hosts.

    Resources: load of the slack part, room of the pairs, and what an exchange gains, 300.
    """
    slack = a_slack_cluster()
    n_hosts, n_servers = slack.n_hosts + 2 * n_pairs, slack.n_servers
    home, demand = list(slack.home), [[1, 0, 0]] * n_servers
    limit, safe = np.zeros((n_hosts, 3), dtype=np.int64), np.zeros((n_hosts, 3), dtype=np.int64)
    limit[: slack.n_hosts, :1], safe[: slack.n_hosts, :1] = slack.capacity.limit, slack.load.safe
    for first in range(slack.n_hosts, n_hosts, 2):
        limit[first : first + 2] = 0, n_small, 1
        safe[first : first + 2] = (0, n_small, 0), (0, n_small, 1)
        home += [first] + [first + 1] * n_small
        demand += [[0, n_small, 1]] + [[0, 1, 0]] * n_small
    move = np.where(np.arange(len(home)) < n_servers, 10, 0)
    return with_capacity(
        home, limit=limit, demand=demand, safe=safe, weight=[10_000, 0, 300], move=move
    )


def a_wrong_turn(n_idle=2000):
    """Servers 0 and 1 want the one place on host 1; where 0 took it, 2 takes its old place, for good.

    2 may not be beside 0. Idle servers on host 3 make the mean load, and the heat, next to nothing.
    """
    home = np.full(3 + n_idle, 3)
    home[:3] = 0, 0, 2
    demand = np.zeros((len(home), 3), dtype=np.int64)
    demand[:3] = (10, 100, 0), (50, 100, 0), (0, 0, 5)
    group = np.arange(len(home))
    group[2] = 0
    return with_capacity(
        home,
        limit=[[60, 200, 10], [60, 100, 0], [0, 0, 10], [0, 0, 0]],
        demand=demand,
        safe=[[0, 200, 10], [60, 100, 0], [0, 0, 0], [0, 0, 0]],
        weight=[1, 0, 1],
        group=group,
    )


def a_full_cluster(n_hosts=8, n_servers=80):
    """Two units of one resource are free on each host; the other one, of which 30 are paid a unit, is slack."""
    draw = np.random.default_rng(791656)
    demand = draw.integers(1, 30, (n_servers, 2))
    home = draw.integers(0, n_hosts, n_servers)
    used = np.zeros((n_hosts, 2), dtype=np.int64)
    np.add.at(used, home, demand)
    limit = np.column_stack([used[:, 0] * 3 + 50, used[:, 1] + 2])
    safe = limit.copy()
    safe[:, 0] = int(used[:, 0].mean() * 0.9)
    return with_capacity(home, limit=limit, demand=demand, safe=safe, weight=[30, 0], move=20)


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


def test_without_servers_there_is_nothing_to_search():
    """The kernel would draw one of none."""
    nothing = np.zeros((0, 1), dtype=np.int64)
    problem = with_capacity(
        nothing[:, 0], limit=[[1], [1]], demand=nothing, safe=[[0], [0]], weight=[1]
    )
    found = search(problem, Budget(moves=1_000, threads=2), 1)
    assert (found.host.tolist(), found.cost, found.evaluated) == ([], 0, 0)


@pytest.mark.parametrize("budget", [Budget(moves=0), Budget(seconds=0.0)])
def test_without_a_budget_all_stay_where_they_are(budget):
    problem = a_slack_cluster()
    found = search(problem, budget, 1)
    assert found.host.tolist() == problem.home.tolist()
    assert (found.cost, found.evaluated, found.costs) == (40_000, 0, ())


def test_one_annealing_goes_without_the_price_that_the_trial_picked():
    """The price keeps the small servers home, without which the large one has no room: 2,440 is left."""
    problem = a_slack_cluster_with_exchanges()
    assert cost_of(problem, problem.home) == 40_000 + 8 * 300
    for seed in (0, 1):
        assert search(problem, Budget(moves=1_000_000, threads=2), seed).cost < 1_000


@pytest.mark.parametrize(("seed", "has_price"), [(0, False), (1, False), (2, True)])
def test_the_rounds_go_on_with_the_price_of_the_winner(seed, has_price):
    """Where more servers are at home, fewer of the moves that go home are any; one in 16 shifts does."""
    found = search(a_slack_cluster_with_exchanges(), Budget(moves=1_000_000, threads=2), seed)
    assert found.evaluated == pytest.approx(1_882_500 if has_price else 1_900_000, abs=4_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_wrong_turn_of_the_trial_is_kept_to(seed):
    assert search(a_wrong_turn(), Budget(moves=100_000), seed).cost == 15


def test_what_is_overdrawn_in_the_end_of_a_trial_or_a_round_costs_ten_times_the_first_price():
    """At the first price, or if trials that overdraw looked as good as they cost, it is twice as much and more."""
    problem = a_full_cluster()
    found = [search(problem, Budget(moves=200_000), seed).cost for seed in range(8)]
    assert sum(found) / 8 - lower_bound(problem) < 300


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
