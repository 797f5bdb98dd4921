"""The search: a trial, then annealings in rounds, from where everything is, later from the best.

The trial tells what it should cost to be away from home for nothing. A round is one annealing a
thread, each from its own heat; after it the threads go on from the best placement of all. Threads
share nothing else but the problem. Same seed and same number of moves: same answer, whatever the
machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.reassignment import kernel
from trimtab_decision.optimizer.reassignment.bounds import lower_bound
from trimtab_decision.optimizer.reassignment.problem import Reassignment
from trimtab_decision.optimizer.reassignment.tables import state_of, tables_of

CHUNK, CHUNK_S = 20_000, 0.01
"""Most moves between two looks at the clock and at the prices, and how long they take at most."""
LOOKS, LEAST_CHUNK = 10, 200
"""Looks of an annealing, so that the shortest cools too, and the fewest moves between two of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """One annealing a thread.

    part: of the budget;  heats: first temperature of thread 0, 1, 0, ..., as a part of the mean
    load cost of a server;  away: prices of being away for thread 0, 1, 0, ..., of a trial
    """

    part: float
    heats: tuple[float, ...]
    away: tuple[float, ...] = ()
    is_from_home: bool = False


AWAY = (0.0, 6.0)
"""Prices of a server away from home, as a multiple of the heat, of which a trial picks one. Chance
alone sends nearly all servers away while it is hot. Many servers of which few decide the cost then
come home too late, each for the cost of a move; in a small full cluster the price costs far more,
for there the way to a good placement leads over moves that gain nothing."""
TRIAL = 0.1
"""Part of the budget for the trial: one quick annealing with each price, if it is enough to look."""
CLEARLY = 0.5
"""A price is picked where it leaves at most this part of the gap to the bound that none leaves.
Where the bound is near, most of the gap is moves; where it is far, quick trials say little. So a
second thread does without in the first long annealing, and what wins that goes on."""
ROUNDS = (
    _Round(part=0.5, heats=(1.0, 0.3)),
    _Round(part=0.2, heats=(0.1, 0.03)),
    _Round(part=0.2, heats=(0.03, 0.01)),
)
"""Large servers find their hosts at the first heats, small ones at a thousandth of them; one slow
cooling does more than several quick ones, and the cooler rounds better the best.
"""
HELD = (4.0, 10.0)
"""Price of a unit held at home, for thread 0, 1, 0, ..., as a multiple of its load cost and of the
heat. Without it chance sends servers away that gain nothing by it, until what they hold shuts the
cluster; which is best differs between clusters, so threads differ."""
COLD = 2e-4
"""Temperature at which an annealing's quench begins, as a part of the mean load cost."""
QUENCH_FROM, QUENCH = 0.9, 1e-4
"""Part of an annealing after which it cools to this part of what is left: move costs settle."""
FIRST_PRICE, LAST_PRICE = 4.0, 40.0
"""Least price of a unit above the limit, as a multiple of its load cost: low prices let big servers
through, high ones leave nothing overdrawn."""
PRICE_FROM, PRICE_FIXED = 0.3, 0.8
"""Parts of an annealing from which the least price rises, and from which no price falls."""
RISE, FALL = 0.02, 0.01
"""How much a price rises at each look where the limit is passed, and falls at first where not. It
falls ever less: what overdraws at moderate heat mends cheaply, what is left at the end does not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """When to stop: after some seconds, or, repeatably, after some moves a thread.

    is_cpu: seconds of CPU a thread instead of wall
    """

    seconds: float | None = None
    moves: int | None = None
    threads: int = 1
    is_cpu: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answer:
    """The best placement found.

    host: [V];  evaluated: moves looked at by all threads;  costs: the best one after each round
    """

    host: NDArray[np.int64]
    cost: int
    evaluated: int
    cpu_s: float
    costs: tuple[int, ...]


def cost_of(problem: Reassignment, host: NDArray[np.int64]) -> int:
    """What this placement costs, from nothing."""
    capacity, moves = problem.capacity, problem.moves
    used = np.zeros_like(capacity.limit)
    np.add.at(used, host, capacity.demand)
    total = int((np.maximum(0, used - problem.load.safe) * problem.load.weight).sum())
    free = capacity.limit - used
    for one in problem.balances:
        missing = one.ratio * free[:, one.first] - free[:, one.second]
        total += int(np.maximum(0, missing).sum()) * one.weight
    is_away = host != problem.home
    away = np.bincount(problem.separation.group[is_away], minlength=1)
    total += int(moves.server[is_away].sum()) + int(moves.between[problem.home, host].sum())
    return total + moves.most_in_group * int(away.max(initial=0))


def search(
    problem: Reassignment,
    budget: Budget,
    seed: int = 0,
    on_improved: Callable[[int, float], None] | None = None,
) -> Answer:
    """The best placement found within the budget; at worst where everything is now.

    `on_improved(cost, seconds)` is called after each round that bettered the incumbent.
    """
    if not problem.n_servers:
        cost = cost_of(problem, problem.home)
        return Answer(host=problem.home, cost=cost, evaluated=0, cpu_s=0.0, costs=())
    clock = _Clock(budget)
    cpu_before = time.process_time()
    workers = [
        _Annealer(problem, seed * 1000 + k, HELD[k % len(HELD)])
        for k in range(max(1, budget.threads))
    ]
    best, cost = problem.home, workers[0].best_cost
    costs: list[int] = []
    until = 0.0
    bound = lower_bound(problem)
    ends: dict[float, float] = {}
    away = AWAY[0]
    with ThreadPoolExecutor(len(workers)) as pool:
        for one in _rounds(len(workers), clock.moves):
            until += one.part
            if clock.is_past(workers[0], until):
                continue
            prices = one.away or ((away, AWAY[0]) if one.is_from_home else (away,))
            done = [
                pool.submit(
                    worker.anneal,
                    problem.home if one.is_from_home else best,
                    one.heats[k % len(one.heats)],
                    prices[k % len(prices)],
                    clock.ending(worker, until),
                    clock.chunk(one.part),
                )
                for k, worker in enumerate(workers)
            ]
            for each in done:
                each.result()
            winner = min(workers, key=lambda worker: worker.best_cost)
            if winner.best_cost < cost:
                best, cost = winner.best.copy(), winner.best_cost
                away = prices[workers.index(winner) % len(prices)]
                if on_improved:
                    on_improved(cost, clock.spent())
            costs.append(cost)
            if one.away:
                pairs = zip(one.away, workers, strict=False)
                ends |= {price: worker.end_cost() for price, worker in pairs}
                away = picked(ends, bound)
    return Answer(
        host=best,
        cost=cost,
        evaluated=sum(worker.evaluated for worker in workers),
        cpu_s=time.process_time() - cpu_before,
        costs=tuple(costs),
    )


def picked(ends: dict[float, float], bound: float) -> float:
    """The price of being away for the rounds. ends: what the trial of each price ended at."""
    best = min(ends, key=lambda price: ends[price])
    is_clear = ends[best] - bound <= CLEARLY * (ends[AWAY[0]] - bound)
    return best if is_clear else AWAY[0]


def _rounds(n_threads: int, moves: float) -> tuple[_Round, ...]:
    """The trial, one price after the other where there is but one thread, and the rounds.

    Without a trial where the moves of a thread are too few for one: the first round has its part.
    """
    prices = (AWAY,) if n_threads > 1 else tuple((price,) for price in AWAY)
    part = TRIAL / len(prices)
    trials = tuple(_Round(part=part, heats=(1.0,), away=one) for one in prices)
    first = ROUNDS[0]
    if part * moves < LOOKS * LEAST_CHUNK:
        trials, first = (), replace(first, part=TRIAL + first.part)
    return tuple(replace(one, is_from_home=True) for one in (*trials, first)) + ROUNDS[1:]


class _Clock:
    """Seconds of wall, or moves of one thread, whichever the budget counts.

    moves: of a thread in the whole budget; where it is of time, as many as there are at least
    """

    def __init__(self, budget: Budget) -> None:
        if (budget.seconds is None) == (budget.moves is None):
            raise ValueError("a budget is a number of seconds or a number of moves")
        self.by_moves = budget.moves is not None
        self.total = float(budget.moves if budget.moves is not None else budget.seconds or 0.0)
        self.moves = self.total if self.by_moves else self.total / CHUNK_S * CHUNK
        self.share = max(1, budget.threads) if budget.is_cpu else 1
        self.read = time.process_time if budget.is_cpu else time.monotonic
        self.began = self.read()

    def spent(self) -> float:
        """Seconds since the search began, by the budget's clock."""
        return (self.read() - self.began) / self.share

    def used(self, worker: _Annealer) -> float:
        """What the worker has had of the budget."""
        return float(worker.tried) if self.by_moves else self.spent()

    def is_past(self, worker: _Annealer, until: float) -> bool:
        """Whether `until`, a part of the whole budget, is used up."""
        return self.used(worker) >= until * self.total

    def ending(self, worker: _Annealer, until: float) -> Callable[[], float]:
        """A function that tells how much of the time from now to `until` has passed.

        until: part of the whole budget
        """
        first = self.used(worker)
        span = max(until * self.total - first, 1e-3)
        return lambda: (self.used(worker) - first) / span

    def chunk(self, part: float) -> int:
        """Moves between two looks in a round with this part of the budget."""
        return int(min(max(part * self.moves / LOOKS, LEAST_CHUNK), CHUNK))


class _Annealer:
    """One thread's tables, state and best placement."""

    def __init__(self, problem: Reassignment, seed: int, held: float) -> None:
        self.problem = problem
        self.held = held
        self.tables = tables_of(problem, seed)
        self.state = state_of(problem, self.tables, problem.home, seed)
        self.best = problem.home
        self.best_cost = cost_of(problem, problem.home)
        self.tried = 0
        self.evaluated = 0
        self.seed = seed
        unit = np.maximum(self.tables.weight, 1.0)
        unit[problem.capacity.demand.shape[1] :] = 0.0
        self.unit = unit
        loads = self.tables.demand @ self.tables.weight
        self.scale = float(loads.mean()) or float(self.tables.demand.sum(axis=1).mean()) or 1.0

    def anneal(
        self,
        start: NDArray[np.int64],
        heat: float,
        away: float,
        used: Callable[[], float],
        chunk: int,
    ) -> None:
        """One cooling from `heat`, until `used()` is 1. away: one of AWAY."""
        self._begin(start)
        most_in_group = self.problem.moves.most_in_group
        while (part := used()) < 1.0:
            now = heat * (COLD / heat) ** min(1.0, part / QUENCH_FROM)
            now *= QUENCH ** max(0.0, (part - QUENCH_FROM) / (1.0 - QUENCH_FROM))
            self._set_prices(part)
            self.state.figures[kernel.HELD_PRICE] = self.held * now
            self.state.figures[kernel.AWAY_PRICE] = away * now * self.scale
            kernel.anneal(self.tables, self.state, most_in_group, now * self.scale, chunk)
            self.tried += chunk
        self._end()

    def end_cost(self) -> float:
        """What the last annealing ended at, with what it overdraws at the highest least price."""
        over = np.maximum(self.state.above_limit, 0.0) * self.unit
        return float(self.state.figures[kernel.COST] + LAST_PRICE * over.sum())

    def _begin(self, start: NDArray[np.int64]) -> None:
        self.seed += 7919
        self.state = state_of(self.problem, self.tables, start, self.seed)
        self.state.price[:] = self.unit * FIRST_PRICE
        cost = cost_of(self.problem, start)
        if cost < self.best_cost:
            self.best_cost, self.best = cost, start
        figures = self.state.figures
        figures[kernel.COST] = cost
        figures[kernel.BEST] = self.best_cost
        figures[kernel.ENTRIES] = len(self.state.journal) + 1

    def _set_prices(self, part: float) -> None:
        price, above = self.state.price, self.state.above_limit
        rise = max(0.0, (part - PRICE_FROM) / (1.0 - PRICE_FROM))
        least = FIRST_PRICE * (LAST_PRICE / FIRST_PRICE) ** rise * self.unit
        fall = FALL * max(0.0, 1.0 - part / PRICE_FIXED) ** 2
        price[:] = np.where(
            above > 0.0, price * (1.0 + RISE), np.maximum(price * (1.0 - fall), least)
        )
        self.state.figures[kernel.PENALTY] = float((np.maximum(above, 0.0) * price).sum())

    def _end(self) -> None:
        self.evaluated += int(self.state.counted[0])
        found = int(self.state.figures[kernel.BEST])
        if found < self.best_cost:
            self.best_cost, self.best = found, self.state.best.copy()
