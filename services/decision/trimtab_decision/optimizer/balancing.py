"""Fewer differences between hosts, move by move: steepest descent on the weighted deviation.

The population standard deviation of every metric follows from the sum and the sum of squares of
the loads, so a candidate move costs O(1). All servers of the hottest hosts are tried on the
coldest hosts at once, as arrays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.dimensions import TOLERANCE
from trimtab_decision.optimizer.state import Placement

HOT_HOSTS = 16
COLD_HOSTS = 64
MIN_GAIN = 1e-9
MARGIN = 0.99
"""Go on until this part of the threshold, so that the next small drift starts nothing."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Loads:
    """K hosts that count, V servers, M metrics.

    hosts:  [K] indexes of the snapshot
    load:   [K, M] load of a host, 0..1
    size:   [K, M] what a server's amount is divided by on that host
    amount: [V, M] cores or MiB; NaN where nothing was measured
    weight, threshold: [M]
    """

    hosts: NDArray[np.intp]
    load: NDArray[np.float64]
    size: NDArray[np.float64]
    amount: NDArray[np.float64]
    weight: NDArray[np.float64]
    threshold: NDArray[np.float64]

    def deviation(self) -> NDArray[np.float64]:
        """[M] population standard deviations (B-126)."""
        return np.asarray(self.load.std(axis=0), dtype=np.float64)

    def total(self) -> float:
        """The weighted sum that is minimised (B-127)."""
        return float(self.deviation() @ self.weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancingMove:
    """One move with what it changed. Hosts are indexes of the snapshot."""

    server: int
    source: int
    target: int
    source_load: float
    target_load: float
    total_before: float
    total_after: float
    runner_up: int | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Balance:
    """The moves, and the deviations [M] after them. `evaluated`: candidate moves looked at."""

    moves: list[BalancingMove]
    deviation: NDArray[np.float64]
    total: float
    rejections: Counter[str]
    evaluated: int


def balance(
    loads: Loads,
    placement: Placement,
    *,
    movable: NDArray[np.bool_],
    class_hosts: NDArray[np.bool_],
    server_class: NDArray[np.int32],
    names: tuple[str, ...],
) -> Balance:
    """Move servers until every deviation is below its threshold, or no move improves.

    `movable` [V]; a server moves once; targets have room in every dimension. Deterministic.
    """
    search = _Descent(loads, placement, movable, (class_hosts, server_class), names)
    moves: list[BalancingMove] = []
    while not search.is_done():
        move = search.step()
        if move is None:
            break
        moves.append(move)
    return Balance(
        moves=moves,
        deviation=search.deviation,
        total=search.total,
        rejections=search.rejections,
        evaluated=search.evaluated,
    )


class _Descent:
    """Loads that change with every move. Host indexes here are 0..K-1."""

    def __init__(
        self,
        loads: Loads,
        placement: Placement,
        movable: NDArray[np.bool_],
        classes: tuple[NDArray[np.bool_], NDArray[np.int32]],
        names: tuple[str, ...],
    ) -> None:
        self.loads = loads
        self.placement = placement
        self.allowed, self.server_class = classes[0][:, loads.hosts], classes[1]
        self.names = names
        self.load = loads.load.copy()
        self.rejections: Counter[str] = Counter()
        self.evaluated = 0
        place = np.full(placement.free.shape[0] + 1, -1, dtype=np.intp)
        place[loads.hosts] = np.arange(len(loads.hosts))
        self.at = place[placement.origin]
        candidates = movable & (self.at >= 0) & ~np.isnan(loads.amount).any(axis=1)
        candidates &= (loads.amount > 0).any(axis=1)
        chosen = np.flatnonzero(candidates)
        order = chosen[np.argsort(self.at[chosen], kind="stable")]
        edges = np.searchsorted(self.at[order], np.arange(len(loads.hosts) + 1))
        self.servers = [order[a:b] for a, b in pairwise(edges)]
        self.has_servers = np.array([len(servers) > 0 for servers in self.servers], dtype=bool)
        self._measure()

    def _measure(self) -> None:
        """Keep what every candidate needs: means, deviations and their weighted sum."""
        self.mean = self.load.mean(axis=0)
        self.deviation = np.asarray(self.load.std(axis=0), dtype=np.float64)
        self.total = float(self.deviation @ self.loads.weight)

    def is_done(self) -> bool:
        """Every metric is below its threshold, not only one (B-129)."""
        return bool((self.deviation < self.loads.threshold * MARGIN).all())

    def step(self) -> BalancingMove | None:
        """Make the move that lowers the total most, or None when none lowers it."""
        for hot, cold in self._neighbourhoods():
            move = self._best(hot, cold)
            if move is not None:
                return move
        return None

    def _neighbourhoods(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Hottest hosts against coldest first; everything, in pieces, only when that finds none."""
        weight = self.loads.weight / np.maximum(self.deviation, 1e-12)
        heat = (self.load - self.mean) @ weight
        order = np.argsort(-heat, kind="stable")
        sources = order[self.has_servers[order]]
        if not len(sources):
            return
        cold = order[::-1]
        near = cold[: 4 * COLD_HOSTS]
        roomy = near[(self.placement.free[self.loads.hosts[near]] > 0).all(axis=1)]
        yield sources[:HOT_HOSTS], roomy[:COLD_HOSTS]
        for start in range(0, len(sources), HOT_HOSTS):
            yield sources[start : start + HOT_HOSTS], cold

    def _best(self, hot: NDArray[np.intp], cold: NDArray[np.intp]) -> BalancingMove | None:
        servers = np.concatenate([self.servers[host] for host in hot])
        if not len(cold):
            return None
        total = self._totals(servers, cold)
        self.evaluated += total.size
        demand = self.placement.demand[servers]
        room = self.placement.free[self.loads.hosts[cold]]
        fits = self.allowed[self.server_class[servers]][:, cold] & (
            self.at[servers][:, None] != cold[None, :]
        )
        for axis in range(demand.shape[1]):
            fits &= demand[:, axis][:, None] <= room[:, axis][None, :] + TOLERANCE
        masked = np.where(fits, total, np.inf)
        flat = int(np.argmin(masked))
        row, column = divmod(flat, len(cold))
        before = self.total
        after = float(masked[row, column])
        if not after < before - MIN_GAIN:
            return None
        self._count_refusals(total[row], fits[row], after, demand[row], room)
        second = masked[row].copy()
        second[column] = np.inf
        other = int(np.argmin(second))
        runner_up = int(self.loads.hosts[cold[other]]) if second[other] < before else None
        return self._make(int(servers[row]), int(cold[column]), (before, after), runner_up)

    def _totals(self, servers: NDArray[np.intp], cold: NDArray[np.intp]) -> NDArray[np.float64]:
        """[S, T] the weighted total after moving each server to each host."""
        n = len(self.load)
        source = self.at[servers]
        result = np.zeros((len(servers), len(cold)))
        for metric, weight in enumerate(self.loads.weight):
            x = self.load[:, metric]
            amount, size = self.loads.amount[servers, metric], self.loads.size[:, metric]
            down = amount / size[source]
            up = amount[:, None] / size[cold][None, :]
            sums = x.sum() + up - down[:, None]
            squares = (
                (x @ x)
                + (down * (down - 2.0 * x[source]))[:, None]
                + up * (up + 2.0 * x[cold][None, :])
            )
            variance = squares / n - (sums / n) ** 2
            result += weight * np.sqrt(np.maximum(variance, 0.0))
        return result

    def _count_refusals(
        self,
        total: NDArray[np.float64],
        fits: NDArray[np.bool_],
        chosen: float,
        demand: NDArray[np.float64],
        room: NDArray[np.float64],
    ) -> None:
        """Which dimension kept better targets from being taken."""
        better = np.flatnonzero(~fits & (total < chosen))
        for axis, name in enumerate(self.names):
            lacking = int((demand[axis] > room[better, axis] + TOLERANCE).sum())
            if lacking:
                self.rejections[name] += lacking

    def _make(
        self, server: int, target: int, totals: tuple[float, float], runner_up: int | None
    ) -> BalancingMove:
        source = int(self.at[server])
        amount, size = self.loads.amount[server], self.loads.size
        move = BalancingMove(
            server=server,
            source=int(self.loads.hosts[source]),
            target=int(self.loads.hosts[target]),
            source_load=float(self.load[source, 0]),
            target_load=float(self.load[target, 0]),
            total_before=totals[0],
            total_after=totals[1],
            runner_up=runner_up,
        )
        self.load[source] -= amount / size[source]
        self.load[target] += amount / size[target]
        self.placement.move(server, move.target)
        self.servers[source] = self.servers[source][self.servers[source] != server]
        self.has_servers[source] = len(self.servers[source]) > 0
        self._measure()
        return move
