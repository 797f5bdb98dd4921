"""How good a plan can be at all: bounds that hold whatever is searched, cheap enough for each plan.

Hosts in use: every weighted sum of the resources must be covered by the hosts that stay, so the
weights that ask for most hosts give the bound (the surrogate of the linear program).
Deviation: servers may be split and put anywhere, at most as many as the plan moves; Frank-Wolfe on
that convex problem gives a bound at every step, by its duality gap. With two metrics a server takes both to one
host, and all that moves is first poured out as one fluid, from where few steps are left; small clouds
take the better of that bound and of the one with each metric on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.balancing import Loads
from trimtab_decision.optimizer.closing import N_ALLOCATIONS, ClosingProblem, lower_bound

STEPS = 8
"""Weights are multiples of 1/STEPS."""
EPSILON = 1e-9
WORK = 2_000_000
"""Servers x steps of Frank-Wolfe: a few tenths of a second."""
FEWEST_STEPS, MOST_STEPS = 12, 50
FLUID_STEPS, POURINGS = 12, 3
WORK_BY_PRICES = 4_000_000
"""Servers x steps after that, with two metrics: a quarter of a second at 1,000 hosts, a third at 10,000."""
FEWEST_BY_PRICES, MOST_BY_PRICES = 20, 200
CLOSE_ENOUGH = 0.01
LINE_TRIES = 10
GOLDEN = 0.6180339887
TWO_METRICS = 2
SMALL = 200
"""Servers up to which both bounds are made: with few hosts the steps of the second are too coarse."""


def hosts_bound(problem: ClosingProblem) -> int:
    """Hosts that must stay in use whatever is moved; never below `lower_bound`."""
    most = lower_bound(problem)
    fixed = problem.in_use & ~problem.closable
    options = problem.closable | problem.spare
    whole = (np.maximum(problem.free, 0.0) + problem.load)[options, :N_ALLOCATIONS]
    need = problem.load[problem.closable].sum(axis=0)
    need = need - np.maximum(problem.free[fixed & problem.receivers], 0.0).sum(axis=0)
    need = need[:N_ALLOCATIONS]
    scale = np.maximum(whole.sum(axis=0), EPSILON)
    whole, need = whole / scale, need / scale
    for weights in _simplex(N_ALLOCATIONS):
        wanted = float(need @ weights)
        if wanted <= 0 or (need[weights > 0] <= 0).any():
            continue
        covered = np.cumsum(np.sort(whole @ weights)[::-1])
        count = int(np.searchsorted(covered, wanted * (1 - EPSILON))) + 1
        most = max(most, int(fixed.sum()) + min(count, int(options.sum())))
    return most


def _simplex(axes: int) -> Iterator[NDArray[np.float64]]:
    """All weights in steps that sum to one."""
    for first in range(STEPS + 1):
        for second in range(STEPS + 1 - first):
            yield np.array([first, second, STEPS - first - second], dtype=np.float64)[:axes] / STEPS


def deviation_bound(
    loads: Loads, at: NDArray[np.intp], movable: NDArray[np.bool_], n_moves: int
) -> float:
    """The weighted deviation that no `n_moves` moves get below. at: [V] place in loads.hosts or -1.

    O(servers) for each of at most MOST_STEPS steps.
    """
    usable = movable & (at >= 0) & ~np.isnan(loads.amount).any(axis=1)
    usable &= (loads.amount > 0).any(axis=1)
    servers = np.flatnonzero(usable)
    if n_moves <= 0 or not len(servers):
        return loads.total()
    relaxed = _Relaxed(
        load=loads.load,
        size=loads.size,
        weight=loads.weight,
        at=at[servers],
        amount=loads.amount[servers],
    )
    return relaxed.bound(min(n_moves, len(servers)))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Relaxed:
    """K hosts, N servers, M metrics; a server may move in part, and each metric of it elsewhere."""

    load: NDArray[np.float64]
    size: NDArray[np.float64]
    weight: NDArray[np.float64]
    at: NDArray[np.intp]
    amount: NDArray[np.float64]

    def bound(self, n_moves: int) -> float:
        """The best of the bounds on the way, never below 0."""
        if self.load.shape[1] == TWO_METRICS and (self.amount >= 0).all():
            together = self._together(n_moves)
            return max(together, self._apart(n_moves)) if len(self.at) <= SMALL else together
        return self._apart(n_moves)

    def _apart(self, n_moves: int) -> float:
        """Frank-Wolfe from nothing moved, each metric of a server on its own."""
        moved = np.zeros(len(self.at))
        out, total = self._outflow(moved), moved @ self.amount  # linear: mixed, not counted again
        best = 0.0
        steps = int(np.clip(WORK // len(self.at), FEWEST_STEPS, MOST_STEPS))
        for _ in range(steps):
            load, inflow = self._settled(out, total)
            value, gradient = self._value(load), self._gradient(load)
            gain = self._gains(gradient)
            chosen = np.zeros(len(moved))
            top = np.argpartition(-gain, min(n_moves, len(gain)) - 1)[:n_moves]
            chosen[top[gain[top] > 0]] = 1.0
            # the joint problem: what is moved now, with where it flows, against the best vertex
            now = self._flowing(moved, gradient, inflow)
            best = max(best, value - (float(gain @ chosen) - now))
            if value - best <= CLOSE_ENOUGH * max(value, EPSILON):
                break
            out_there, total_there = self._outflow(chosen), chosen @ self.amount
            step = self._best_step(out, total, out_there - out, total_there - total)
            moved = moved + step * (chosen - moved)
            out, total = out + step * (out_there - out), total + step * (total_there - total)
        return max(0.0, best)

    def _together(self, n_moves: int) -> float:
        """Both metrics of a server to one host: by steps with a fluid, then by small ones without it."""
        load, best = self.load, 0.0
        out, total = np.zeros_like(load), np.zeros(load.shape[1])
        for step in range(FLUID_STEPS):
            bound, moved, _ = self._by_prices(load, n_moves)
            best, part = max(best, bound), 2.0 / (step + 2)
            leaving = self._added(np.zeros_like(load), self.at[moved], moved)
            out = out + part * (leaving - out)
            total = total + part * (self.amount[moved].sum(axis=0) - total)
            load = self._poured(self.load - out, total)
        steps = int(np.clip(WORK_BY_PRICES // len(self.at), FEWEST_BY_PRICES, MOST_BY_PRICES))
        for step in range(steps):
            bound, moved, target = self._by_prices(load, n_moves)
            best = max(best, bound)
            leaving = self._added(np.zeros_like(load), self.at[moved], moved)
            there = self._added(self.load - leaving, target, moved)
            # small steps: `load` is nearly right, and `there` has all that moves on few hosts
            load = load + 2.0 / (step + len(load)) * (there - load)
        return best

    def _by_prices(
        self, load: NDArray[np.float64], n_moves: int
    ) -> tuple[float, NDArray[np.intp], NDArray[np.intp]]:
        """(bound, servers to move, their hosts): the best moves at the prices of these loads.

        The deviation of any loads is at least prices x loads, for prices [K, M] that sum to 0 with norms of at
        most weight / sqrt(K), as the gradient of the deviation has anywhere.
        """
        prices = self._gradient(load)
        slope = prices / self.size
        hosts, turns = _cheapest(slope)
        with np.errstate(divide="ignore"):
            ratio = self.amount[:, 1] / self.amount[:, 0]  # inf: only the second counts
        target = hosts[np.searchsorted(turns, ratio)]
        gain = ((slope[self.at] - slope[target]) * self.amount).sum(axis=1)
        moved = np.argpartition(-gain, n_moves - 1)[:n_moves]
        moved = moved[gain[moved] > 0]
        return float((prices * self.load).sum() - gain[moved].sum()), moved, target[moved]

    def _added(
        self, load: NDArray[np.float64], hosts: NDArray[np.intp], servers: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """The loads with these servers on these hosts too; changes `load`."""
        np.add.at(load, hosts, self.amount[servers] / self.size[hosts])
        return load

    def _poured(self, left: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
        """All that moves as one fluid of its mean mix, where the sum of the deviations grows least."""
        load, rise = left, total / self.size
        if not (rise > 0).any():
            return left
        for _ in range(POURINGS):  # deviations and means as they were after the last one
            scale = self.weight / (len(load) * np.maximum(load.std(axis=0), EPSILON))
            first = ((left - load.mean(axis=0)) * scale * rise).sum(axis=1)
            more = np.maximum((scale * rise * rise).sum(axis=1), EPSILON**2)
            order = np.argsort(first, kind="stable")
            level = (1 + np.cumsum((first / more)[order])) / np.cumsum(1 / more[order])
            count = int(np.argmax(np.append(first[order][1:], np.inf) >= level))
            share = np.maximum(0.0, (level[count] - first) / more)
            load = left + share[:, None] * rise
        return np.asarray(load, dtype=np.float64)

    def _settled(
        self, out: NDArray[np.float64], total: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(load [K, M], inflow [K, M]) with all that moves put where it evens out most."""
        left = self.load - out
        inflow = np.column_stack(
            [_filled(left[:, m], self.size[:, m], total[m]) for m in range(left.shape[1])]
        )
        return left + inflow / self.size, inflow

    def _value(self, load: NDArray[np.float64]) -> float:
        return float(load.std(axis=0) @ self.weight)

    def _gradient(self, load: NDArray[np.float64]) -> NDArray[np.float64]:
        """[K, M] by load."""
        scale = self.weight / (len(load) * np.maximum(load.std(axis=0), EPSILON))
        return np.asarray((load - load.mean(axis=0)) * scale, dtype=np.float64)

    def _outflow(self, moved: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.column_stack(
            [
                np.bincount(self.at, weights=moved * self.amount[:, m], minlength=len(self.load))
                for m in range(self.amount.shape[1])
            ]
        )
        return np.asarray(out / self.size, dtype=np.float64)

    def _gains(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N] what moving a server whole, to the best place for each metric, promises at most."""
        slope = gradient / self.size
        return np.asarray(
            ((slope[self.at] - slope.min(axis=0)) * self.amount).sum(axis=1), dtype=np.float64
        )

    def _flowing(
        self,
        moved: NDArray[np.float64],
        gradient: NDArray[np.float64],
        inflow: NDArray[np.float64],
    ) -> float:
        """The same measure of what is moved already, with where it went."""
        slope = gradient / self.size
        out = float((slope[self.at] * self.amount * moved[:, None]).sum())
        return out - float((slope * inflow).sum())

    def _best_step(
        self,
        out: NDArray[np.float64],
        total: NDArray[np.float64],
        out_more: NDArray[np.float64],
        total_more: NDArray[np.float64],
    ) -> float:
        """Golden section: how far to go, 0..1."""

        def value(step: float) -> float:
            return self._value(self._settled(out + step * out_more, total + step * total_more)[0])

        low, high = 0.0, 1.0
        points = [1.0 - GOLDEN, GOLDEN]
        values = [value(step) for step in points]
        for _ in range(LINE_TRIES):
            if values[0] < values[1]:
                high, points[1], values[1] = points[1], points[0], values[0]
                points[0] = high - GOLDEN * (high - low)
                values[0] = value(points[0])
            else:
                low, points[0], values[0] = points[0], points[1], values[1]
                points[1] = low + GOLDEN * (high - low)
                values[1] = value(points[1])
        return (low + high) / 2


def _cheapest(slope: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Hosts where `amount @ slope` is least for some amount >= 0, and the ratios where the next one is.

    The lower left of the convex hull of slope [K, 2], by the first metric: host i for a server whose second amount
    is turns[i - 1] to turns[i] times its first.
    """
    order = np.lexsort((slope[:, 1], slope[:, 0]))
    second = slope[order, 1]
    falls = np.append(True, second[1:] < np.minimum.accumulate(second)[:-1])
    points = slope[order[falls]].tolist()
    hull: list[int] = []
    turns: list[float] = []
    for i, (x, y) in enumerate(points):
        while hull:
            x0, y0 = points[hull[-1]]
            turn = (x - x0) / (y0 - y)
            if not turns or turn > turns[-1]:
                turns.append(turn)
                break
            hull.pop()
            turns.pop()
        hull.append(i)
    return order[falls][hull], np.array(turns)


def _filled(
    load: NDArray[np.float64], size: NDArray[np.float64], total: float
) -> NDArray[np.float64]:
    """Inflow by host that raises the lowest loads to one level, `total` in all."""
    order = np.argsort(load, kind="stable")
    sorted_load, weight = load[order], np.cumsum(size[order])
    volume = np.cumsum(size[order] * sorted_load)
    # filling the first n hosts to the load of the next one takes load * weight - volume
    needed = np.append(sorted_load[1:], np.inf) * weight - volume
    count = int(np.searchsorted(needed, total))
    level = (total + volume[count]) / weight[count]
    return np.asarray(np.maximum(0.0, level - load) * size, dtype=np.float64)
