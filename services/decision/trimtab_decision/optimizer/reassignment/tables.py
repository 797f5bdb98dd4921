"""The problem and the state of a search as flat arrays for the kernel.

Resources are padded to a multiple of four, so that the kernel's loops fill vector registers.
All amounts are whole numbers in float64: exact, and compared and added four at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.reassignment.problem import Reassignment

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.int16]
LANES = 4
N_DRAWS = 4096
LEAST_WEIGHT = 1e-3
"""What a unit without load cost weighs when servers are ranked by size."""
HOME_OF_16_HELD, HOME_OF_16 = 8, 1
"""Shifts, of 16, that propose the server's own home, where moved servers hold room and where not:
few servers away leave room in what is held."""


class Tables(NamedTuple):
    """What never changes. Q resources after padding, B balances.

    needs_at, needs, needed_at, needed: dependencies as CSR, forward and backward
    draws: [4096] -ln(u) of evenly spaced u, shuffled: acceptance without a logarithm;  none: [Q] zeros
    ranked: [V] servers, the largest load first;  held_load: [V] load cost of what a server that
    moved holds at home;  member_at, members: servers of each group as CSR
    home_of_16: [1] shifts, of 16, that propose the server's own home
    """

    home: Ints
    group: Ints
    zone: Ints
    area: Ints
    at_least: Ints
    demand: Floats
    held: Floats
    weight: Floats
    reserve: Floats
    balance_first: Ints
    balance_second: Ints
    balance_ratio: Floats
    balance_weight: Floats
    server_cost: Floats
    between_cost: Floats
    needs_at: Ints
    needs: Ints
    needed_at: Ints
    needed: Ints
    draws: Floats
    none: Floats
    ranked: Ints
    held_load: Floats
    member_at: Ints
    members: Ints
    home_of_16: Ints


class State(NamedTuple):
    """What moves change.

    host: [V];  above_safe, above_limit: [H, Q] use less the safe use, less the limit (with what
    moved servers still hold);  price: [H, Q] cost of a unit above the limit
    on_host, in_zone, in_area: [G, .] members there;  n_zones: [G];  away: [G] members not at home;
    n_away: [.] groups by that number;  most_away: [1]
    best: [V];  journal: servers moved since best;  figures: cost, penalty, best cost, journal
    entries, price of room held and of being away;  random: [1] state of the generator;  counted: evaluated, accepted
    """

    host: Ints
    above_safe: Floats
    above_limit: Floats
    price: Floats
    on_host: Counts
    in_zone: Counts
    in_area: Counts
    n_zones: Ints
    away: Ints
    n_away: Ints
    most_away: Ints
    best: Ints
    journal: Ints
    figures: Floats
    random: NDArray[np.uint64]
    counted: Ints


def tables_of(problem: Reassignment, seed: int) -> Tables:
    """The constant arrays. `seed` orders the table of draws."""
    n_groups = problem.separation.n_groups
    draws = -np.log((np.arange(N_DRAWS) + 0.5) / N_DRAWS)
    np.random.default_rng(seed).shuffle(draws)
    demand = _padded(problem.capacity.demand)
    is_held = np.zeros(demand.shape[1])
    is_held[: len(problem.capacity.is_held)] = problem.capacity.is_held
    weight = np.zeros(demand.shape[1])
    weight[: len(problem.load.weight)] = problem.load.weight
    needs_at, needs = _csr(problem.dependency.needs, n_groups)
    backward = tuple((there, here) for here, there in problem.dependency.needs)
    needed_at, needed = _csr(backward, n_groups)
    balances = problem.balances
    group = problem.separation.group.astype(np.int64)
    load = demand @ np.maximum(weight, LEAST_WEIGHT)
    member_at = np.zeros(n_groups + 1, dtype=np.int64)
    np.cumsum(np.bincount(group, minlength=n_groups), out=member_at[1:])
    home_of_16 = HOME_OF_16_HELD if is_held.any() else HOME_OF_16
    return Tables(
        home=problem.home.astype(np.int64),
        group=group,
        zone=problem.spread.zone.astype(np.int64),
        area=problem.dependency.area.astype(np.int64),
        at_least=problem.spread.at_least.astype(np.int64),
        demand=demand,
        held=demand * is_held,
        weight=weight,
        reserve=_padded(problem.capacity.limit - problem.load.safe),
        balance_first=np.array([one.first for one in balances], dtype=np.int64),
        balance_second=np.array([one.second for one in balances], dtype=np.int64),
        balance_ratio=np.array([one.ratio for one in balances], dtype=np.float64),
        balance_weight=np.array([one.weight for one in balances], dtype=np.float64),
        server_cost=problem.moves.server.astype(np.float64),
        between_cost=problem.moves.between.astype(np.float64),
        needs_at=needs_at,
        needs=needs,
        needed_at=needed_at,
        needed=needed,
        draws=draws,
        none=np.zeros(demand.shape[1]),
        ranked=np.argsort(-load, kind="stable").astype(np.int64),
        held_load=(demand * is_held) @ np.maximum(weight, 1.0),
        member_at=member_at,
        members=np.argsort(group, kind="stable").astype(np.int64),
        home_of_16=np.array([home_of_16], dtype=np.int64),
    )


def state_of(problem: Reassignment, tables: Tables, host: Ints, seed: int) -> State:
    """The state with servers on these hosts, nothing counted, the best one unknown."""
    n_hosts, n_groups = problem.n_hosts, problem.separation.n_groups
    group = tables.group
    used = np.zeros((n_hosts, tables.demand.shape[1]))
    np.add.at(used, host, tables.demand)
    has_moved = host != tables.home
    still_held = np.zeros_like(used)
    np.add.at(still_held, tables.home[has_moved], tables.held[has_moved])
    limit = _padded(problem.capacity.limit)
    away = np.bincount(group[has_moved], minlength=n_groups).astype(np.int64)
    largest = int(np.bincount(group, minlength=n_groups).max(initial=0))
    in_zone = _counted(group, tables.zone[host], n_groups, int(tables.zone.max()) + 1)
    mixed = (seed + 1) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
    return State(
        host=host.astype(np.int64),
        above_safe=used - _padded(problem.load.safe),
        above_limit=used + still_held - limit,
        price=np.ones_like(used),
        on_host=_counted(group, host, n_groups, n_hosts),
        in_zone=in_zone,
        in_area=_counted(group, tables.area[host], n_groups, int(tables.area.max()) + 1),
        n_zones=(in_zone > 0).sum(axis=1).astype(np.int64),
        away=away,
        n_away=np.bincount(away, minlength=largest + 2).astype(np.int64),
        most_away=np.array([away.max(initial=0)], dtype=np.int64),
        best=host.astype(np.int64),
        journal=np.zeros(max(1000, len(host) // 4), dtype=np.int64),
        figures=np.zeros(6),
        random=np.array([mixed], dtype=np.uint64),
        counted=np.zeros(2, dtype=np.int64),
    )


def _padded(amounts: Ints) -> Floats:
    width = -(-amounts.shape[1] // LANES) * LANES
    result = np.zeros((amounts.shape[0], width))
    result[:, : amounts.shape[1]] = amounts
    return result


def _counted(group: Ints, place: Ints, n_groups: int, n_places: int) -> Counts:
    result = np.zeros((n_groups, n_places), dtype=np.int16)
    np.add.at(result, (group, place), 1)
    return result


def _csr(pairs: tuple[tuple[int, int], ...], n_groups: int) -> tuple[Ints, Ints]:
    rows: list[list[int]] = [[] for _ in range(n_groups)]
    for here, there in pairs:
        if here != there:
            rows[here].append(there)
    starts = np.zeros(n_groups + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=starts[1:])
    return starts, np.array([one for row in rows for one in row], dtype=np.int64)
