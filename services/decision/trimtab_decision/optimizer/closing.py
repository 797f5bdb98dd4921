"""Which hosts to empty: as few hosts left in use as is worth it, for the fewest moves.

A host counts only when it is emptied wholly, and emptying it costs as many moves as it has servers.
So the question is a knapsack: capacity given up against room left elsewhere. An order by
(scarce capacity + price x servers) gives its relaxation; the price is found by bisection; swaps of
one closed for one cheaper open host then lower the moves. Every candidate set is checked by a full
packing, so nothing is closed on averages alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.dimensions import TOLERANCE
from trimtab_decision.optimizer.packing import Groups, left_over

GAP_TARGET = 0.02
"""Close enough to the lower bound: the last hosts cost several times the moves of the first."""
SMALL_CLUSTER = 20.0
"""Below this many hosts in the bound the gap target is exact; it grows to two hosts at twice it."""
FEW_HOSTS = 200
"""Below this many hosts in the bound one dear host shows in the average; see `_drop_dear`."""
DEAR_AVERAGE, DEAR_LAST = 0.6, 1.5
"""A last host is dear when it costs this many times the mean servers of a host, while the average
move count of all closed hosts is already above that part of the mean."""
MAX_DROPPED = 3
FAIR_AVERAGE = 0.62
"""Hosts beyond that are closed only while all of them cost less than this part of the mean servers of a host, each on average:
what is left after a plan holds so many servers that the next audit finds nothing as cheap."""
PRICE_STEPS = 18
SWAP_CANDIDATES = 512
SWAP_TRIES = 24
PACK_BUDGET = 6_000_000
"""Work units (groups x hosts) that the swaps may spend on packings: about 2 s."""
N_ALLOCATIONS = 3


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClosingProblem:
    """H hosts, G groups, D dimensions.

    receivers: [H] may receive, and stay in use unless closed
    closable:  [H] in use, and every server on it can move
    in_use:    [H] has servers
    spare:     [H] empty hosts that could receive; they only enter the bound
    free:      [H, D] room left;  load: [H, D] demand of the servers that would have to move
    new_moves: [H] moves that closing a host adds to the plan
    """

    groups: Groups
    free: NDArray[np.float64]
    load: NDArray[np.float64]
    receivers: NDArray[np.bool_]
    closable: NDArray[np.bool_]
    in_use: NDArray[np.bool_]
    spare: NDArray[np.bool_]
    new_moves: NDArray[np.int64]

    @property
    def cost(self) -> NDArray[np.int64]:
        """[H] moves that closing a host takes."""
        return np.asarray(self.groups.per_host.sum(axis=1), dtype=np.int64)

    def fits(self, closed: NDArray[np.bool_]) -> bool:
        """Whether all servers of these hosts find a place on the receivers that stay."""
        items = self.groups.per_host[closed].sum(axis=0)
        keepers = np.flatnonzero(self.receivers & ~closed)
        return left_over(self.groups, items, self.free, keepers) == 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Closing:
    """The hosts to close, and how good that is. `bound`: hosts in use, never fewer possible."""

    closed: NDArray[np.bool_]
    bound: int
    packings: int


def lower_bound(problem: ClosingProblem) -> int:
    """Hosts that must stay in use whatever is moved: each allocation on its own, largest first."""
    fixed = problem.in_use & ~problem.closable
    options = problem.closable | problem.spare
    whole = np.where(options[:, None], np.maximum(problem.free, 0.0) + problem.load, 0.0)
    need = problem.load[problem.closable].sum(axis=0)
    need = need - np.maximum(problem.free[fixed & problem.receivers], 0.0).sum(axis=0)
    most = 0
    for axis in range(N_ALLOCATIONS):
        if need[axis] <= 0:
            continue
        covered = np.cumsum(np.sort(whole[options, axis])[::-1])
        most = max(most, int(np.searchsorted(covered, need[axis] - 1e-6)) + 1)
    return int(fixed.sum()) + min(most, int(options.sum()))


def hosts_to_close(
    problem: ClosingProblem,
    *,
    max_moves: int | None = None,
    is_over: Callable[[], bool] = lambda: False,
    to_the_last: bool = False,
    fair: float | None = None,
) -> Closing:
    """The set to close; deterministic. Cost: some tens of packings, then swaps within a budget.

    `max_moves`: the most moves that the set may add. `is_over`: no more swaps are tried.
    `to_the_last`: as many hosts as possible, even where the last ones are dear.
    `fair`: on small clouds dear hosts too, while a closed host costs no more moves on average.
    """
    bound = lower_bound(problem)
    slack = int(max(GAP_TARGET * bound, min(2.0, bound / SMALL_CLUSTER)))
    wanted = int(problem.in_use.sum()) - bound - slack
    search = _Search(problem, is_over)
    if max_moves is None:
        closed = search.best(wanted + slack if to_the_last else wanted)
        if bound < FEW_HOSTS and not to_the_last:
            closed = search.drop_dear(closed)
            if fair is not None:
                closed = search.add_fair(closed, fair)
    else:
        closed = search.within(int(problem.in_use.sum()) - bound, max_moves)
    return Closing(closed=closed, bound=bound, packings=search.packings)


class _Search:
    def __init__(self, problem: ClosingProblem, is_over: Callable[[], bool]) -> None:
        self.problem = problem
        self.is_over = is_over
        self.packings = 0
        self.cost = problem.cost
        room = np.where(problem.receivers[:, None], np.maximum(problem.free, 0.0), 0.0)
        self.given_up = (room + problem.load)[:, :N_ALLOCATIONS]
        self.room = room.sum(axis=0)[:N_ALLOCATIONS]
        self.hosts = np.flatnonzero(problem.closable)
        size = self.given_up @ problem.groups.weight[:N_ALLOCATIONS]
        self.size = size / max(float(size[self.hosts].mean()), 1e-9) if len(self.hosts) else size
        self.mean_cost = float(self.cost[self.hosts].mean()) if len(self.hosts) else 1.0
        self.relative_cost = self.cost / max(self.mean_cost, 1e-9)

    def fits(self, closed: NDArray[np.bool_]) -> bool:
        """Quick refusal on sums, then a packing."""
        if (self.given_up[closed].sum(axis=0) > self.room + 1e-6).any():
            return False
        self.packings += 1
        return self.problem.fits(closed)

    def best(self, wanted: int) -> NDArray[np.bool_]:
        """The `wanted` hosts, or as many as can be closed, for the fewest moves found."""
        if wanted <= 0 or not len(self.hosts):
            return np.zeros(len(self.problem.in_use), dtype=bool)
        closed = self.start(wanted)
        return self.swap(closed) if closed.any() else closed

    def within(self, wanted: int, max_moves: int) -> NDArray[np.bool_]:
        """As many hosts as can be closed with this many moves; `wanted` at most."""
        cheapest = np.sort(self.problem.new_moves[self.hosts])
        affordable = int(np.searchsorted(np.cumsum(cheapest), max_moves, side="right"))
        low, high = 0, min(wanted, affordable)
        best = np.zeros(len(self.problem.in_use), dtype=bool)
        first = True
        while low < high:
            count = high if first else (low + high + 1) // 2
            first = False
            closed = self._affordable(count, max_moves)
            if closed is None:
                high = count - 1
            else:
                low, best = count, closed
        return best

    def _affordable(self, count: int, max_moves: int) -> NDArray[np.bool_] | None:
        closed = self.start(count)
        if int(closed.sum()) < count:
            return None
        if int(self.problem.new_moves[closed].sum()) > max_moves:
            closed = self.swap(closed)
        return closed if int(self.problem.new_moves[closed].sum()) <= max_moves else None

    def drop_dear(self, closed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Leave a few last hosts open when each costs far more moves than hosts do on average."""
        for _ in range(MAX_DROPPED):
            count, cost = int(closed.sum()), int(self.cost[closed].sum())
            if cost <= DEAR_AVERAGE * self.mean_cost * count:
                break
            fewer = self.best(count - 1)
            if cost - int(self.cost[fewer].sum()) <= DEAR_LAST * self.mean_cost:
                break
            closed = fewer
        return closed

    def add_fair(self, closed: NDArray[np.bool_], fair: float) -> NDArray[np.bool_]:
        """One more host after the other while the average stays within `fair` moves a host."""
        fair = min(fair, FAIR_AVERAGE * self.mean_cost)
        while not self.is_over():
            more = self.best(int(closed.sum()) + 1)
            count = int(more.sum())
            if count <= int(closed.sum()) or int(self.cost[more].sum()) > fair * count + TOLERANCE:
                break
            closed = more
        return closed

    def start(self, wanted: int) -> NDArray[np.bool_]:
        """The `wanted` hosts, or as many as can be closed, at the highest price that still works."""
        count = min(wanted, self._most(0.0))
        low, high = 0.0, 8.0
        best = self._prefix(0.0, count)
        if not count or self._try(high, count):
            return self._prefix(high, count) if count else best
        for _ in range(PRICE_STEPS):
            price = (low + high) / 2
            if self._try(price, count):
                low, best = price, self._prefix(price, count)
            else:
                high = price
        return best

    def swap(self, closed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Trade a closed host for an open one with fewer servers, the best trade first."""
        problem = self.problem
        each = max(1, problem.groups.n * int(problem.receivers.sum()))
        budget = self.packings + max(8, PACK_BUDGET // each)
        refused: set[tuple[int, int]] = set()
        while self.packings < budget and not self.is_over():
            pair = self._best_swap(closed, refused, budget)
            if pair is None:
                break
            closed[pair[0]], closed[pair[1]] = False, True
        return closed

    def _best_swap(
        self, closed: NDArray[np.bool_], refused: set[tuple[int, int]], budget: int
    ) -> tuple[int, int] | None:
        """(to reopen, to close) that saves most moves and still packs."""
        inside = self._dearest(np.flatnonzero(closed))
        outside = self._cheapest(np.flatnonzero(self.problem.closable & ~closed))
        if not len(inside) or not len(outside):
            return None
        slack = self.room - self.given_up[closed].sum(axis=0)
        saved = self.cost[inside][:, None] - self.cost[outside][None, :]
        possible = saved > 0
        for axis in range(N_ALLOCATIONS):
            give = self.given_up[outside, axis][None, :] - self.given_up[inside, axis][:, None]
            possible &= give <= slack[axis] + 1e-6
        growth = self.size[outside][None, :] - self.size[inside][:, None]
        rank = np.where(possible, saved - 0.01 * growth, -np.inf).ravel()
        top = _first(-rank, SWAP_TRIES + len(refused))
        tried = 0
        for flat in top:
            if not np.isfinite(rank[flat]) or tried >= SWAP_TRIES or self.packings >= budget:
                return None
            pair = (int(inside[flat // len(outside)]), int(outside[flat % len(outside)]))
            if pair in refused:
                continue
            tried += 1
            trial = closed.copy()
            trial[pair[0]], trial[pair[1]] = False, True
            if self.fits(trial):
                return pair
            refused.add(pair)
        return None

    def _dearest(self, hosts: NDArray[np.intp]) -> NDArray[np.intp]:
        return hosts[np.argsort(-self.cost[hosts], kind="stable")][:SWAP_CANDIDATES]

    def _cheapest(self, hosts: NDArray[np.intp]) -> NDArray[np.intp]:
        return hosts[np.argsort(self.cost[hosts], kind="stable")][:SWAP_CANDIDATES]

    def _prefix(self, price: float, count: int) -> NDArray[np.bool_]:
        key = self.size[self.hosts] + price * self.relative_cost[self.hosts]
        closed = np.zeros(len(self.problem.in_use), dtype=bool)
        closed[self.hosts[np.argsort(key, kind="stable")][:count]] = True
        return closed

    def _try(self, price: float, count: int) -> bool:
        return self.fits(self._prefix(price, count))

    def _most(self, price: float) -> int:
        """How many hosts of the order by this price can be closed."""
        low, high = 0, len(self.hosts)
        while low < high:
            middle = (low + high + 1) // 2
            if self._try(price, middle):
                low = middle
            else:
                high = middle - 1
        return low


def _first(key: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """The positions of the smallest keys in order, as a stable sort of all would give them."""
    if count < len(key):
        near = np.flatnonzero(key <= np.partition(key, count - 1)[count - 1])
    else:
        near = np.arange(len(key))
    return np.asarray(near[np.argsort(key[near], kind="stable")][:count], dtype=np.intp)
