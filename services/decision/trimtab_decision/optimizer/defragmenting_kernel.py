"""The compiled loop of `defragmenting`: shifts, returns and exchanges within a number of moves.

Nodes are listed by their free cores, so that a draw of free cores, not of a node, finds the few
nodes that a server would fill without a rest, however many nodes there are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.compiled import compiled
from trimtab_decision.optimizer.drawing import below, next_draw

N_DRAWS = 4096
FRAGMENTS, AWAY, FEWEST = 0, 1, 2
Ints = NDArray[np.int64]


class Tables(NamedTuple):
    """What never changes. draws: [4096] -ln(u), shuffled; the others as in Fragmentation."""

    home: Ints
    need: Ints
    size: Ints
    is_double: NDArray[np.bool_]
    candidates: Ints
    draws: NDArray[np.float64]


class State(NamedTuple):
    """What moves change.

    by_cores: [free cores, .] nodes;  n_by_cores: how many;  at: [N] place of a node in its list
    moved: servers away from home;  place_of_moved: [V] their place in it, or -1
    figures: fragments, servers away, fewest fragments;  random: [1] state of the generator
    """

    place: Ints
    best: Ints
    cores: Ints
    memory: Ints
    by_cores: NDArray[np.int32]
    n_by_cores: Ints
    at: Ints
    moved: Ints
    place_of_moved: Ints
    figures: Ints
    random: NDArray[np.uint64]


@compiled
def _set_cores(s: State, node: int, value: int) -> None:
    """Change the free cores of a node, and its place in the lists by free cores."""
    old = s.cores[node]
    last = s.by_cores[old, s.n_by_cores[old] - 1]
    s.by_cores[old, s.at[node]] = last
    s.at[last] = s.at[node]
    s.n_by_cores[old] -= 1
    s.at[node] = s.n_by_cores[value]
    s.by_cores[value, s.at[node]] = node
    s.n_by_cores[value] += 1
    s.cores[node] = value


@compiled
def _shift(t: Tables, s: State, server: int, target: int, piece: int) -> int:
    """Move the server; how many cores more lie in fragments."""
    source, need, change = s.place[server], t.need[server], 0
    for k in range(1 + int(t.is_double[server])):
        here, there = s.cores[source + k], s.cores[target + k]
        change += (here + need) % piece - here % piece
        change += (there - need) % piece - there % piece
        _set_cores(s, source + k, here + need)
        _set_cores(s, target + k, there - need)
        s.memory[source + k] += t.size[server]
        s.memory[target + k] -= t.size[server]
    s.place[server] = target
    return int(change)


@compiled
def _fits(t: Tables, s: State, server: int, target: int) -> bool:
    if s.place[server] // 2 == target // 2:
        return False
    for k in range(1 + int(t.is_double[server])):
        if s.cores[target + k] < t.need[server] or s.memory[target + k] < t.size[server]:
            return False
    return True


@compiled
def _track(t: Tables, s: State, server: int) -> None:
    """Keep the list of servers away from home true after this one was moved."""
    is_away = s.place[server] != t.home[server]
    was_away = s.place_of_moved[server] >= 0
    if is_away and not was_away:
        s.moved[s.figures[AWAY]] = server
        s.place_of_moved[server] = s.figures[AWAY]
        s.figures[AWAY] += 1
    elif was_away and not is_away:
        s.figures[AWAY] -= 1
        last = s.moved[s.figures[AWAY]]
        s.moved[s.place_of_moved[server]] = last
        s.place_of_moved[last] = s.place_of_moved[server]
        s.place_of_moved[server] = -1


@compiled
def _target(t: Tables, s: State, server: int) -> int:
    """A node by its free cores, -1 when the draw finds none or the other node of its own host."""
    need = t.need[server]
    value = need + below(next_draw(s.random), max(1, len(s.n_by_cores) - need))
    if value >= len(s.n_by_cores) or s.n_by_cores[value] == 0:
        return -1
    target = int(s.by_cores[value, below(next_draw(s.random), s.n_by_cores[value])])
    if t.is_double[server]:
        target -= target & 1
    if target != t.home[server] and target // 2 == t.home[server] // 2:
        return -1
    return target


@compiled
def anneal(t: Tables, s: State, sizes: tuple[int, int, int], heat: float) -> None:
    """Tries at this temperature. sizes: the piece wanted, most servers away, number of tries."""
    piece, max_moves, n = sizes
    for _ in range(n):
        x = next_draw(s.random)
        allowed = heat * t.draws[x & np.uint64(4095)]
        kind = (x >> np.uint64(12)) & np.uint64(7)
        away = s.figures[AWAY]
        if away > 0 and kind < np.uint64(3):
            server = s.moved[below(next_draw(s.random), away)]
        else:
            server = t.candidates[below(next_draw(s.random), len(t.candidates))]
        home = t.home[server]
        target = home if kind == np.uint64(0) else _target(t, s, server)
        if target < 0 or not _fits(t, s, server, target):
            continue
        change = 0
        returned, came_from = -1, -1
        if away >= max_moves and s.place[server] == home:
            returned = s.moved[below(next_draw(s.random), away)]
            came_from = s.place[returned]
            if not _fits(t, s, returned, t.home[returned]):
                continue
            change += _shift(t, s, returned, t.home[returned], piece)
            if not _fits(t, s, server, target):
                _shift(t, s, returned, came_from, piece)
                continue
        source = s.place[server]
        change += _shift(t, s, server, target, piece)
        if change > allowed:
            _shift(t, s, server, source, piece)
            if returned >= 0:
                _shift(t, s, returned, came_from, piece)
            continue
        if returned >= 0:
            _track(t, s, returned)
        _track(t, s, server)
        s.figures[FRAGMENTS] += change
        if s.figures[FRAGMENTS] < s.figures[FEWEST]:
            s.figures[FEWEST] = s.figures[FRAGMENTS]
            for k in range(len(s.best)):
                s.best[k] = s.place[k]
