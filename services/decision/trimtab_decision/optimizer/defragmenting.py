"""Room in pieces that a large server can use: few moves that leave the least cores in fragments.

A NUMA node with 22 free cores takes one server of 16; the other 6 are a fragment. The search anneals
over sets of at most `max_moves` moves: a server goes elsewhere, comes home, or gives its place in
the budget to another one. Moves are then put in an order in which each fits when its turn comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer import defragmenting_kernel as kernel

CHUNK = 50_000
FIRST_HEAT, LAST_HEAT = 0.4, 0.015
"""Temperatures as parts of the piece wanted: moves change the fragments by up to two pieces."""
ANNEALINGS = 3
"""Annealings within the budget, each from where everything is; the best one counts."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Fragmentation:
    """N nodes in pairs (node 2h and 2h+1 belong to host h), V servers.

    cores, memory: [N] free;  place: [V] node, the even one for servers on both;  need_cores,
    need_memory: [V] of each node it is on;  is_double: [V];  movable: [V];  piece: cores wanted
    in one node
    """

    cores: NDArray[np.int64]
    memory: NDArray[np.int64]
    place: NDArray[np.int64]
    need_cores: NDArray[np.int64]
    need_memory: NDArray[np.int64]
    is_double: NDArray[np.bool_]
    movable: NDArray[np.bool_]
    piece: int

    def fragments(self) -> int:
        """Free cores that no whole piece can use."""
        return int((self.cores % self.piece).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Defragmentation:
    """(server, node) in an order in which each move fits; fragments that are left; CPU seconds.

    bound: no plan of that many moves leaves fewer;  evaluated: candidate moves looked at
    """

    moves: tuple[tuple[int, int], ...]
    fragments: int
    bound: int
    evaluated: int
    cpu_s: float


def lower_bound(problem: Fragmentation, max_moves: int) -> int:
    """Fragments that remain whatever is moved.

    A move changes the remainders of two nodes, or of four for a server on both. Where c cores come
    free at most piece - c leave the fragments, where they are taken at most c: one piece a node
    pair, nothing when c is a multiple. The sum stays at least the free cores modulo the piece.
    """
    remainder = np.sort(problem.cores % problem.piece)[::-1]
    touched = 4 if problem.is_double.any() else 2
    kept = int(remainder[touched * max_moves :].sum())
    gain = np.where(problem.need_cores % problem.piece == 0, 0, problem.piece)
    gain = np.sort((gain * (1 + problem.is_double))[problem.movable])[::-1]
    kept = max(kept, problem.fragments() - int(gain[:max_moves].sum()))
    return max(kept, int(problem.cores.sum()) % problem.piece)


def defragment(
    problem: Fragmentation,
    *,
    max_moves: int,
    seed: int = 0,
    seconds: float | None = None,
    tries: int | None = None,
) -> Defragmentation:
    """The best ordered plan found in `seconds` of CPU, or, repeatably, in that many tries."""
    began = time.process_time()
    best: Defragmentation | None = None
    evaluated = 0
    for number in range(ANNEALINGS):
        search = _Search(problem, max_moves, seed * ANNEALINGS + number)
        start = time.process_time()
        search.run(_progress(search, start, seconds, tries))
        evaluated += search.tried
        moves = in_order(problem, search.best)
        left = _fragments_after(problem, moves)
        if best is None or (left, len(moves)) < (best.fragments, len(best.moves)):
            best = Defragmentation(
                moves=moves,
                fragments=left,
                bound=lower_bound(problem, max_moves),
                evaluated=evaluated,
                cpu_s=time.process_time() - began,
            )
    if best is None:
        raise AssertionError("at least one annealing is made")
    return Defragmentation(
        moves=best.moves,
        fragments=best.fragments,
        bound=best.bound,
        evaluated=evaluated,
        cpu_s=time.process_time() - began,
    )


def in_order(problem: Fragmentation, target: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """The moves to `target` [V], each one possible when its turn comes.

    What waits in a circle stays where it is, and with it what needs its room.
    """
    cores, memory = problem.cores.copy(), problem.memory.copy()
    waiting = [int(v) for v in np.flatnonzero(target != problem.place)]
    done: list[tuple[int, int]] = []
    while True:
        rest = []
        for server in waiting:
            node, home = int(target[server]), int(problem.place[server])
            ends = slice(node, node + 1 + int(problem.is_double[server]))
            starts = slice(home, home + 1 + int(problem.is_double[server]))
            need, size = problem.need_cores[server], problem.need_memory[server]
            if (cores[ends] >= need).all() and (memory[ends] >= size).all():
                cores[ends] -= need
                memory[ends] -= size
                cores[starts] += need
                memory[starts] += size
                done.append((server, node))
            else:
                rest.append(server)
        if len(rest) == len(waiting):
            return tuple(done)
        waiting = rest


def _fragments_after(problem: Fragmentation, moves: tuple[tuple[int, int], ...]) -> int:
    cores = problem.cores.copy()
    for server, node in moves:
        home, width = int(problem.place[server]), 1 + int(problem.is_double[server])
        cores[home : home + width] += problem.need_cores[server]
        cores[node : node + width] -= problem.need_cores[server]
    return int((cores % problem.piece).sum())


def _progress(
    search: _Search, start: float, seconds: float | None, tries: int | None
) -> Callable[[], float]:
    if tries is not None:
        return lambda: search.tried / max(1.0, tries / ANNEALINGS)
    share = max((seconds or 1.0) / ANNEALINGS, 1e-3)
    return lambda: (time.process_time() - start) / share


class _Search:
    def __init__(self, problem: Fragmentation, max_moves: int, seed: int) -> None:
        self.max_moves = max_moves
        self.piece = problem.piece
        self.tried = 0
        draws = -np.log((np.arange(kernel.N_DRAWS) + 0.5) / kernel.N_DRAWS)
        self.tables = kernel.Tables(
            home=problem.place,
            need=problem.need_cores,
            size=problem.need_memory,
            is_double=problem.is_double,
            candidates=np.flatnonzero(problem.movable).astype(np.int64),
            draws=np.random.default_rng(seed).permutation(draws),
        )
        n_nodes = len(problem.cores)
        most = int(problem.cores.max(initial=0)) + _most_used(problem)
        before = problem.fragments()
        self.state = kernel.State(
            place=problem.place.copy(),
            best=problem.place.copy(),
            cores=problem.cores.copy(),
            memory=problem.memory.copy(),
            by_cores=np.zeros((most + 1, n_nodes), dtype=np.int32),
            n_by_cores=np.zeros(most + 1, dtype=np.int64),
            at=np.zeros(n_nodes, dtype=np.int64),
            moved=np.zeros(max(1, max_moves), dtype=np.int64),
            place_of_moved=np.full(len(problem.place), -1, dtype=np.int64),
            figures=np.array([before, 0, before], dtype=np.int64),
            random=np.array([(seed + 1) * 0x9E3779B97F4A7C15 % 2**64], dtype=np.uint64),
        )
        for node, free in enumerate(problem.cores):
            self.state.at[node] = self.state.n_by_cores[free]
            self.state.by_cores[free, self.state.at[node]] = node
            self.state.n_by_cores[free] += 1

    @property
    def best(self) -> NDArray[np.int64]:
        """[V] the best placement found."""
        return self.state.best

    def run(self, progress: Callable[[], float]) -> None:
        """Cool down while `progress` goes from 0 to 1."""
        if not len(self.tables.candidates) or self.max_moves < 1:
            return
        while (part := progress()) < 1.0:
            heat = self.piece * FIRST_HEAT * (LAST_HEAT / FIRST_HEAT) ** part
            kernel.anneal(self.tables, self.state, (self.piece, self.max_moves, CHUNK), heat)
            self.tried += CHUNK


def _most_used(problem: Fragmentation) -> int:
    """Most cores that servers use on one node."""
    used = np.zeros(len(problem.cores), dtype=np.int64)
    np.add.at(used, problem.place, problem.need_cores)
    double = problem.is_double
    np.add.at(used, problem.place[double] + 1, problem.need_cores[double])
    return int(used.max(initial=0))
