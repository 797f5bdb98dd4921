"""The compiled loop: shifts and swaps at a temperature, with room that may be overdrawn at a price.

A hard wall of capacity cuts the placements of a full cluster into islands. So use above the limit
is a cost here, whose price `search` raises where it persists; only placements that overdraw nothing
are kept as best. Separation, spread and dependency are never broken.
"""

from __future__ import annotations

import numpy as np

from trimtab_decision.optimizer.compiled import compiled
from trimtab_decision.optimizer.drawing import below, next_draw
from trimtab_decision.optimizer.reassignment.tables import Floats, State, Tables

COST, PENALTY, BEST, ENTRIES, HELD_PRICE, AWAY_PRICE = 0, 1, 2, 3, 4, 5
NOTHING = 1e-3
MATES_OF_1024 = np.uint64(128)
"""Swaps, of 1024, that propose two servers of one group: they break no rule but capacity, and in a
group as large as its part of the cluster nothing else moves."""


@compiled
def _large(t: Tables, x: np.uint64) -> int:
    """A server, the large ones rather: few decide the cost, and each draw for them is rarely taken.

    The rank is the square of an even draw, so the larger quarter gets half of the draws.
    """
    even = float(x >> np.uint64(11)) / 9007199254740992.0
    return int(t.ranked[int(even * even * len(t.ranked))])


@compiled
def _balance_change(
    t: Tables, s: State, source: int, target: int, give: Floats, take: Floats
) -> float:
    """Cost change when `source` gives the demands `give` and takes `take`."""
    change = 0.0
    for k in range(len(t.balance_first)):
        i, j, ratio = t.balance_first[k], t.balance_second[k], t.balance_ratio[k]
        here = ratio * (t.reserve[source, i] - s.above_safe[source, i]) - (
            t.reserve[source, j] - s.above_safe[source, j]
        )
        there = ratio * (t.reserve[target, i] - s.above_safe[target, i]) - (
            t.reserve[target, j] - s.above_safe[target, j]
        )
        more = ratio * (give[i] - take[i]) - (give[j] - take[j])
        change += t.balance_weight[k] * (
            max(0.0, here + more) - max(0.0, here) + max(0.0, there - more) - max(0.0, there)
        )
    return change


@compiled
def _swap_change(
    t: Tables, s: State, p: int, q: int, source: int, target: int
) -> tuple[float, float]:
    """(cost, penalty) change when p on source and q on target change places. No move costs."""
    cost = 0.0
    penalty = 0.0
    p_leaves_home = 1.0 if t.home[p] == source else 0.0
    p_goes_home = 1.0 if t.home[p] == target else 0.0
    q_leaves_home = 1.0 if t.home[q] == target else 0.0
    q_goes_home = 1.0 if t.home[q] == source else 0.0
    for r in range(t.demand.shape[1]):
        more = t.demand[q, r] - t.demand[p, r]
        here, there = s.above_safe[source, r], s.above_safe[target, r]
        cost += t.weight[r] * (
            max(0.0, here + more) - max(0.0, here) + max(0.0, there - more) - max(0.0, there)
        )
        more_here = more - t.held[q, r] * q_goes_home + t.held[p, r] * p_leaves_home
        more_there = t.held[q, r] * q_leaves_home - t.held[p, r] * p_goes_home - more
        here, there = s.above_limit[source, r], s.above_limit[target, r]
        penalty += s.price[source, r] * (max(0.0, here + more_here) - max(0.0, here))
        penalty += s.price[target, r] * (max(0.0, there + more_there) - max(0.0, there))
    cost += _balance_change(t, s, source, target, t.demand[p], t.demand[q])
    return cost, penalty


@compiled
def _shift_change(t: Tables, s: State, p: int, source: int, target: int) -> tuple[float, float]:
    """(cost, penalty) change when p goes from source to target. No move costs."""
    cost = 0.0
    penalty = 0.0
    leaves_home = 1.0 if t.home[p] == source else 0.0
    goes_home = 1.0 if t.home[p] == target else 0.0
    for r in range(t.demand.shape[1]):
        size, held = t.demand[p, r], t.held[p, r]
        here, there = s.above_safe[source, r], s.above_safe[target, r]
        cost += t.weight[r] * (
            max(0.0, here - size) - max(0.0, here) + max(0.0, there + size) - max(0.0, there)
        )
        here, there = s.above_limit[source, r], s.above_limit[target, r]
        less, more = size - held * leaves_home, size - held * goes_home
        penalty += s.price[source, r] * (max(0.0, here - less) - max(0.0, here))
        penalty += s.price[target, r] * (max(0.0, there + more) - max(0.0, there))
    cost += _balance_change(t, s, source, target, t.demand[p], t.none)
    return cost, penalty


@compiled
def _is_allowed(t: Tables, s: State, p: int, target: int) -> bool:
    """Whether separation, spread and dependency hold after the shift."""
    group, source = t.group[p], s.host[p]
    if s.on_host[group, target] > 0:
        return False
    here, there = t.zone[source], t.zone[target]
    is_last = here != there and s.in_zone[group, here] == 1 and s.in_zone[group, there] > 0
    if is_last and s.n_zones[group] - 1 < t.at_least[group]:
        return False
    here, there = t.area[source], t.area[target]
    if here != there:
        if s.in_area[group, there] == 0:
            for k in range(t.needs_at[group], t.needs_at[group + 1]):
                if s.in_area[t.needs[k], there] == 0:
                    return False
        if s.in_area[group, here] == 1:
            for k in range(t.needed_at[group], t.needed_at[group + 1]):
                if s.in_area[t.needed[k], here] > 0:
                    return False
    return True


@compiled
def _shift(t: Tables, s: State, p: int, target: int) -> None:
    """Carry the shift out on every table; shifting back undoes it."""
    group, source, home = t.group[p], s.host[p], t.home[p]
    leaves_home = 1.0 if home == source else 0.0
    goes_home = 1.0 if home == target else 0.0
    for r in range(t.demand.shape[1]):
        size, held = t.demand[p, r], t.held[p, r]
        s.above_safe[source, r] -= size
        s.above_safe[target, r] += size
        s.above_limit[source, r] -= size - held * leaves_home
        s.above_limit[target, r] += size - held * goes_home
    s.on_host[group, source] -= 1
    s.on_host[group, target] += 1
    here, there = t.zone[source], t.zone[target]
    if here != there:
        s.in_zone[group, here] -= 1
        s.n_zones[group] -= s.in_zone[group, here] == 0
        s.n_zones[group] += s.in_zone[group, there] == 0
        s.in_zone[group, there] += 1
    s.in_area[group, t.area[source]] -= 1
    s.in_area[group, t.area[target]] += 1
    if source == home:
        s.n_away[s.away[group]] -= 1
        s.away[group] += 1
        s.n_away[s.away[group]] += 1
        s.most_away[0] = max(s.most_away[0], s.away[group])
    elif target == home:
        s.n_away[s.away[group]] -= 1
        s.away[group] -= 1
        s.n_away[s.away[group]] += 1
        while s.most_away[0] > 0 and s.n_away[s.most_away[0]] == 0:
            s.most_away[0] -= 1
    s.host[p] = target


@compiled
def _move_cost(t: Tables, p: int, source: int, target: int) -> float:
    home = t.home[p]
    cost = float(t.between_cost[home, target] - t.between_cost[home, source])
    if source == home:
        cost += t.server_cost[p]
    elif target == home:
        cost -= t.server_cost[p]
    return cost


@compiled
def _away_change(t: Tables, s: State, p: int, source: int, target: int) -> float:
    """Change of what it is thought to cost that p is away from home; no part of the true cost."""
    home = t.home[p]
    if home not in (source, target):
        return 0.0
    price = float(s.figures[AWAY_PRICE] + s.figures[HELD_PRICE] * t.held_load[p])
    return price if home == source else -price


@compiled
def _keep_best(s: State) -> None:
    entries = np.int64(s.figures[ENTRIES])
    if entries <= len(s.journal):
        for k in range(entries):
            s.best[s.journal[k]] = s.host[s.journal[k]]
    else:
        for k in range(len(s.best)):
            s.best[k] = s.host[k]
    s.figures[ENTRIES] = 0.0


@compiled
def _note(s: State, p: int) -> None:
    entries = np.int64(s.figures[ENTRIES])
    if entries < len(s.journal):
        s.journal[entries] = p
    s.figures[ENTRIES] = entries + 1.0


@compiled
def anneal(t: Tables, s: State, most_in_group: float, temperature: float, n: int) -> None:
    """Try n moves at this temperature, half of them swaps; `s` holds the end and the best."""
    n_servers, n_hosts = len(t.home), len(t.zone)
    for _ in range(n):
        x = next_draw(s.random)
        allowed = temperature * t.draws[x & np.uint64(4095)]
        y = next_draw(s.random)
        p = below(y, n_servers)
        p = _large(t, y)
        source = s.host[p]
        before = s.most_away[0]
        if x & np.uint64(1 << 40):
            z = next_draw(s.random)
            group = t.group[p]
            first = t.member_at[group]
            n_members = t.member_at[group + 1] - first
            if n_members > 1 and (z & np.uint64(1023)) < MATES_OF_1024:
                q = t.members[first + below(z, n_members)]
            else:
                q = below(z, n_servers)
            target = s.host[q]
            if source == target:
                continue
            are_alike = group == t.group[q]
            if not are_alike and (s.on_host[group, target] or s.on_host[t.group[q], source]):
                continue
            s.counted[0] += 1
            cost, penalty = _swap_change(t, s, p, q, source, target)
            cost += _move_cost(t, p, source, target) + _move_cost(t, q, target, source)
            allowed -= _away_change(t, s, p, source, target)
            allowed -= _away_change(t, s, q, target, source)
            if cost + penalty > allowed or not (are_alike or _is_allowed(t, s, p, target)):
                continue
            _shift(t, s, p, target)
            is_good = are_alike or _is_allowed(t, s, q, source)
            if is_good:
                _shift(t, s, q, source)
                cost += most_in_group * (s.most_away[0] - before)
                if cost + penalty > allowed:
                    _shift(t, s, q, target)
                    is_good = False
            if not is_good:
                _shift(t, s, p, source)
                continue
            _note(s, q)
        else:
            target = t.home[p]
            if ((x >> np.uint64(20)) & np.uint64(15)) >= np.uint64(t.home_of_16[0]):
                target = below(next_draw(s.random), n_hosts)
            if source == target or s.on_host[t.group[p], target] > 0:
                continue
            s.counted[0] += 1
            cost, penalty = _shift_change(t, s, p, source, target)
            cost += _move_cost(t, p, source, target)
            allowed -= _away_change(t, s, p, source, target)
            if cost + penalty > allowed or not _is_allowed(t, s, p, target):
                continue
            _shift(t, s, p, target)
            cost += most_in_group * (s.most_away[0] - before)
            if cost + penalty > allowed:
                _shift(t, s, p, source)
                continue
        s.counted[1] += 1
        _note(s, p)
        s.figures[COST] += cost
        s.figures[PENALTY] += penalty
        if s.figures[PENALTY] < NOTHING and s.figures[COST] < s.figures[BEST] - 0.5:
            s.figures[BEST] = s.figures[COST]
            _keep_best(s)
