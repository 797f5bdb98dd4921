"""The search: short trials find the temperature, long annealing from there finds the placement.

A problem's right temperature depends on how full, how large and how bound it is, so a fifth of the
budget tries several, and the two best are gone on with. Threads share nothing but the problem.
Same seed and same number of moves: same answer, whatever the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.reassignment import kernel
from trimtab_decision.optimizer.reassignment.problem import Reassignment
from trimtab_decision.optimizer.reassignment.tables import state_of, tables_of

CHUNK = 100_000
"""Moves between two looks at the clock and at the prices: about 10 ms."""
TRIALS_PART = 0.2
"""Part of the budget that the trials of all temperatures take together."""
HEATS = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Temperatures that a trial starts at, as parts of the mean load cost of a server."""
COOLING = 1e-5
"""Last temperature as a part of the first one."""
FIRST_PRICE, LAST_PRICE = 4.0, 40.0
"""Least price of a unit above the limit, as a multiple of its load cost: low prices let big servers
through, high ones leave nothing overdrawn."""
PRICE_FROM, PRICE_FIXED = 0.3, 0.8
"""Parts of an annealing from which the least price rises, and from which no price falls."""
DEARER, CHEAPER = 1.02, 0.99
"""What a price is multiplied by at each look, where the limit is passed and where it is not."""
COLD_FROM, FROZEN_AFTER = 0.6, 0.1
"""After the first part of its time, at a thousandth of its heat, an annealing is over when it found
nothing for the second part."""
NO_NEWS = 1e-5
"""Part of the cost that does not count as something found."""
REHEATS = (1.0, 0.3, 0.1)
"""Heat of the annealings after the first one, each from the best placement, as parts of it."""
HOTTER = (10.0, 3.0)
"""The long annealings start at the best trial's heat times these, thread by thread: slow cooling
profits from more heat than a short trial does."""


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

    host: [V];  evaluated: moves looked at by all threads;  heat: where the best trial began
    """

    host: NDArray[np.int64]
    cost: int
    evaluated: int
    cpu_s: float
    heat: float


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

    `on_improved(cost, seconds)` is called after each stage that bettered the incumbent.
    """
    clock = _Clock(budget)
    cpu_before = time.process_time()
    threads = max(1, budget.threads)
    workers = [_Annealer(problem, seed * 1000 + k) for k in range(max(threads, len(HEATS)))]
    best, cost = problem.home, cost_of(problem, problem.home)
    trials = [(workers[k], heat) for k, heat in enumerate(HEATS)]
    with ThreadPoolExecutor(threads) as pool:
        share = clock.total * TRIALS_PART / len(HEATS)
        if not clock.by_moves:
            share *= min(threads, len(HEATS))

        def trial(at: tuple[_Annealer, float]) -> tuple[int, float]:
            worker, heat = at
            worker.anneal(problem.home, heat, clock.ending(worker, share))
            return worker.best_cost, heat

        results = sorted(pool.map(trial, trials))
        for worker in workers:
            if worker.best_cost < cost:
                best, cost = worker.best.copy(), worker.best_cost
        if on_improved:
            on_improved(cost, clock.spent())
        heat = results[0][1]
        chosen = [min(max(HEATS), heat * HOTTER[k % len(HOTTER)]) for k in range(threads)]

        def long(at: tuple[_Annealer, float]) -> None:
            worker, heat = at
            worker.cycles(best, heat, clock)

        list(pool.map(long, zip(workers[:threads], chosen, strict=True)))
    for worker in workers:
        if worker.best_cost < cost:
            best, cost = worker.best.copy(), worker.best_cost
    if on_improved:
        on_improved(cost, clock.spent())
    return Answer(
        host=best,
        cost=cost,
        evaluated=sum(worker.evaluated for worker in workers),
        cpu_s=time.process_time() - cpu_before,
        heat=heat,
    )


class _Clock:
    """Seconds of wall, or moves of one thread, whichever the budget counts."""

    def __init__(self, budget: Budget) -> None:
        if (budget.seconds is None) == (budget.moves is None):
            raise ValueError("a budget is a number of seconds or a number of moves")
        self.by_moves = budget.moves is not None
        self.total = float(budget.moves if budget.moves is not None else budget.seconds or 0.0)
        self.share = max(1, budget.threads) if budget.is_cpu else 1
        self.read = time.process_time if budget.is_cpu else time.monotonic
        self.began = self.read()

    def spent(self) -> float:
        """Seconds since the search began, by the budget's clock."""
        return (self.read() - self.began) / self.share

    def ending(self, worker: _Annealer, share: float) -> Callable[[], float]:
        """A function that tells which part of the share from now on is used up."""
        if self.by_moves:
            first = worker.tried
            return lambda: (worker.tried - first) / max(share, 1.0)
        first_s = self.spent()
        return lambda: (self.spent() - first_s) / max(share, 1e-3)

    def left(self, worker: _Annealer, used: float) -> float:
        """What this worker may still use, in the unit of the budget."""
        return self.total - used - (worker.tried if self.by_moves else self.spent())


class _Annealer:
    """One thread's tables, state and best placement."""

    def __init__(self, problem: Reassignment, seed: int) -> None:
        self.problem = problem
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

    def cycles(self, start: NDArray[np.int64], heat: float, clock: _Clock) -> None:
        """Anneal until the budget is used up, anew from the best and less hot when frozen."""
        used = clock.total * TRIALS_PART - self.tried if clock.by_moves else 0.0
        self.anneal(start, heat, clock.ending(self, clock.left(self, used)))
        round_ = 0
        while clock.left(self, used) > 0.02 * clock.total:
            factor = REHEATS[round_ % len(REHEATS)]
            self.anneal(self.best, heat * factor, clock.ending(self, clock.left(self, used)))
            round_ += 1

    def anneal(self, start: NDArray[np.int64], heat: float, used: Callable[[], float]) -> None:
        """One cooling from `heat`, until `used()` is 1 or nothing changes any more."""
        self._begin(start)
        first = heat * self.scale
        improved_at, known = 0.0, self.best_cost
        while (part := used()) < 1.0:
            temperature = first * COOLING**part
            self._set_prices(part)
            kernel.anneal(
                self.tables, self.state, self.problem.moves.most_in_group, temperature, CHUNK
            )
            self.tried += CHUNK
            found = int(self.state.figures[kernel.BEST])
            if known - found > NO_NEWS * known:
                known, improved_at = found, part
                continue
            is_frozen = part > COLD_FROM and part - improved_at > FROZEN_AFTER
            if is_frozen and self.state.figures[kernel.PENALTY] < kernel.NOTHING:
                break
        self._end()

    def _begin(self, start: NDArray[np.int64]) -> None:
        self.seed += 7919
        self.state = state_of(self.problem, self.tables, start, self.seed)
        self.state.price[:] = self.unit * FIRST_PRICE
        figures = self.state.figures
        figures[kernel.COST] = cost_of(self.problem, start)
        figures[kernel.BEST] = self.best_cost
        figures[kernel.ENTRIES] = len(self.state.journal) + 1

    def _set_prices(self, part: float) -> None:
        price, above = self.state.price, self.state.above_limit
        rise = max(0.0, (part - PRICE_FROM) / (1.0 - PRICE_FROM))
        least = FIRST_PRICE * (LAST_PRICE / FIRST_PRICE) ** rise * self.unit
        cheaper = CHEAPER if part < PRICE_FIXED else 1.0
        price[:] = np.where(above > 0.0, price * DEARER, np.maximum(price * cheaper, least))
        self.state.figures[kernel.PENALTY] = float((np.maximum(above, 0.0) * price).sum())

    def _end(self) -> None:
        self.evaluated += int(self.state.counted[0])
        found = int(self.state.figures[kernel.BEST])
        if found < self.best_cost:
            self.best_cost, self.best = found, self.state.best.copy()
