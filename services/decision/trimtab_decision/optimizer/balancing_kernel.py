"""The compiled loop of `rebalancing`: shifts, returns, exchanges and swaps within a number of moves.

The heat of a host says how much the weighted deviation rises with its load. Servers are drawn from hot
hosts and targets among cold ones by small tournaments, so that most tries are worth a look.

Room is counted in one of two ways: as it is when all moves are done, so that whoever leaves makes room (`move_order` then
finds who waits for whom), or as if nobody left before all have come, so that the moves can run in any order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.compiled import compiled
from trimtab_decision.optimizer.dimensions import TOLERANCE
from trimtab_decision.optimizer.drawing import below, next_draw

N_DRAWS = 4096
AWAY = 0
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Tables(NamedTuple):
    """What never changes. N servers, K hosts, D dimensions of room, M metrics, C classes.

    home: [N];  demand: [N, D];  amount: [N, M];  per_size: [K, M] 1 / size;  weight: [M]
    allowed: [C, K];  of_class: [N];  draws: [4096] -ln(u), shuffled
    makes_room: [1] whether who leaves home makes room there
    """

    home: Ints
    demand: Floats
    amount: Floats
    per_size: Floats
    weight: Floats
    allowed: NDArray[np.bool_]
    of_class: Ints
    draws: Floats
    makes_room: NDArray[np.bool_]


class State(NamedTuple):
    """What moves change.

    at: [N];  load: [K, M];  free: [K, D];  heat: [K];  sums, squares: [M] of the loads
    moved: servers away from home;  place_of_moved: [N] their place in it, or -1
    figures: [1] servers away;  value: [1] the weighted deviation;  random: [1]
    """

    at: Ints
    load: Floats
    free: Floats
    heat: Floats
    sums: Floats
    squares: Floats
    moved: Ints
    place_of_moved: Ints
    figures: Ints
    value: Floats
    random: NDArray[np.uint64]


@compiled
def _fits(t: Tables, s: State, server: int, target: int) -> bool:
    """Home is always allowed, but where leaving makes room another one may have come."""
    is_home = target == t.home[server]
    if target == s.at[server]:
        return False
    if is_home and not t.makes_room[0]:
        return True
    if not is_home and not t.allowed[t.of_class[server], target]:
        return False
    for d in range(t.demand.shape[1]):
        if t.demand[server, d] > s.free[target, d] + TOLERANCE:
            return False
    return True


@compiled
def _after(t: Tables, s: State, server: int, target: int) -> float:
    """The weighted deviation after one shift."""
    n, source, value = s.load.shape[0], s.at[server], 0.0
    for m in range(t.weight.shape[0]):
        down = t.amount[server, m] * t.per_size[source, m]
        up = t.amount[server, m] * t.per_size[target, m]
        mean = (s.sums[m] + up - down) / n
        squares = s.squares[m] + down * (down - 2.0 * s.load[source, m])
        squares += up * (up + 2.0 * s.load[target, m])
        value += t.weight[m] * np.sqrt(max(squares / n - mean * mean, 0.0))
    return value


@compiled
def _shift(t: Tables, s: State, server: int, target: int, value: float) -> None:
    """Move the server; `value`: the deviation that is known to follow."""
    source, home = s.at[server], t.home[server]
    for m in range(t.weight.shape[0]):
        down = t.amount[server, m] * t.per_size[source, m]
        up = t.amount[server, m] * t.per_size[target, m]
        s.sums[m] += up - down
        s.squares[m] += down * (down - 2.0 * s.load[source, m])
        s.squares[m] += up * (up + 2.0 * s.load[target, m])
        s.load[source, m] -= down
        s.load[target, m] += up
    for d in range(t.demand.shape[1]):
        if t.makes_room[0] or source != home:
            s.free[source, d] += t.demand[server, d]
        if t.makes_room[0] or target != home:
            s.free[target, d] -= t.demand[server, d]
    s.at[server] = target
    s.value[0] = value
    if source == home:
        s.moved[s.figures[AWAY]] = server
        s.place_of_moved[server] = s.figures[AWAY]
        s.figures[AWAY] += 1
    elif target == home:
        s.figures[AWAY] -= 1
        last = s.moved[s.figures[AWAY]]
        s.moved[s.place_of_moved[server]] = last
        s.place_of_moved[last] = s.place_of_moved[server]
        s.place_of_moved[server] = -1


@compiled
def _server(s: State, tries: int, sign: float) -> int:
    """Of some servers the one on the hottest host, or with sign -1 on the coldest."""
    best = below(next_draw(s.random), s.at.shape[0])
    for _ in range(tries - 1):
        other = below(next_draw(s.random), s.at.shape[0])
        if sign * s.heat[s.at[other]] > sign * s.heat[s.at[best]]:
            best = other
    return best


@compiled
def _cold_host(s: State, tries: int) -> int:
    best = below(next_draw(s.random), s.heat.shape[0])
    for _ in range(tries - 1):
        other = below(next_draw(s.random), s.heat.shape[0])
        if s.heat[other] < s.heat[best]:
            best = other
    return best


@compiled
def refresh(t: Tables, s: State) -> None:
    """Sums, value and heat, exactly; the loop lets them drift and grow old."""
    n = s.load.shape[0]
    s.value[0] = 0.0
    for h in range(n):
        s.heat[h] = 0.0
    for m in range(t.weight.shape[0]):
        s.sums[m], s.squares[m] = 0.0, 0.0
        for h in range(n):
            s.sums[m] += s.load[h, m]
            s.squares[m] += s.load[h, m] * s.load[h, m]
        mean = s.sums[m] / n
        deviation = np.sqrt(max(s.squares[m] / n - mean * mean, 0.0))
        s.value[0] += t.weight[m] * deviation
        for h in range(n):
            s.heat[h] += t.weight[m] * (s.load[h, m] - mean) / max(deviation, 1e-12)


@compiled
def anneal(t: Tables, s: State, max_moves: int, tries: int, temperature: float) -> None:
    """Tries at this temperature; never more than `max_moves` servers away from home."""
    for _ in range(tries):
        x = next_draw(s.random)
        limit = s.value[0] + temperature * t.draws[x & np.uint64(N_DRAWS - 1)]
        kind = (x >> np.uint64(12)) & np.uint64(7)
        draws = 1 << int((x >> np.uint64(15)) & np.uint64(3))
        away = s.figures[AWAY]
        before = s.value[0]
        if away > 0 and kind < np.uint64(2):
            server = s.moved[below(next_draw(s.random), away)]
        else:
            server = _server(s, draws, 1.0)
        if kind == np.uint64(0):
            target = t.home[server]
        elif kind >= np.uint64(5):
            other = _server(s, draws, -1.0)
            target = s.at[other]
        else:
            target = _cold_host(s, draws)
        source = s.at[server]
        if not _fits(t, s, server, target):
            continue
        if kind >= np.uint64(5):  # swap
            new = int(source == t.home[server] and target != t.home[server])
            new += int(target == t.home[other] and source != t.home[other])
            if away + new > max_moves:
                continue
            _shift(t, s, server, target, _after(t, s, server, target))
            if _fits(t, s, other, source):
                value = _after(t, s, other, source)
                if value < limit:
                    _shift(t, s, other, source, value)
                    continue
            _shift(t, s, server, source, before)
            continue
        if away >= max_moves and source == t.home[server]:  # another one stays at home instead
            returned = s.moved[below(next_draw(s.random), away)]
            came_from = s.at[returned]
            if not _fits(t, s, returned, t.home[returned]):
                continue
            _shift(t, s, returned, t.home[returned], _after(t, s, returned, t.home[returned]))
            if _fits(t, s, server, target):
                value = _after(t, s, server, target)
                if value < limit:
                    _shift(t, s, server, target, value)
                    continue
            _shift(t, s, returned, came_from, before)
            continue
        value = _after(t, s, server, target)
        if value < limit:
            _shift(t, s, server, target, value)
