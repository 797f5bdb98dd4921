"""Fewer differences between hosts, move by move: steepest descent on the weighted deviation.

The population standard deviation of every metric follows from the sum and the sum of squares of
the loads, so a candidate move costs O(1). All servers of the hottest hosts are tried on the
coldest hosts at once, as arrays.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.dimensions import TOLERANCE
from trimtab_decision.optimizer.incumbents import Improved, not_watched
from trimtab_decision.optimizer.state import Placement

HOT_HOSTS = 16
COLD_HOSTS = 64
MIN_GAIN = 1e-9
LARGE = 2000
BATCH = 16
BATCH_PART = 0.5
"""On clusters of more than LARGE hosts one look may make up to BATCH moves between different hosts,
as long as each gains this part of what the best one gains: a look costs milliseconds there."""
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
    """One move with what it changed. Hosts are indexes of the snapshot.

    after: servers that have to have left its target before
    """

    server: int
    source: int
    target: int
    source_load: float
    target_load: float
    total_before: float
    total_after: float
    runner_up: int | None
    after: tuple[int, ...] = ()


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
    max_moves: int = sys.maxsize,
    max_looks: int = sys.maxsize,
    is_over: Callable[[], bool] = lambda: False,
    improved: Improved = not_watched,
) -> Balance:
    """Move servers until every deviation is below its threshold, or no move improves.

    `movable` [V]; targets have room in every dimension. A server that is moved again makes one
    migration, to where it ends. Deterministic. `max_moves`: servers that end elsewhere.
    `improved`: told the weighted deviation after each step. `max_looks`: steps, each one move or on large clusters several.
    """
    search = _Descent(loads, placement, movable, (class_hosts, server_class), names)
    last: dict[int, BalancingMove] = {}
    looks = 0
    while not search.is_done() and len(last) < max_moves and looks < max_looks and not is_over():
        looks += 1
        made = search.step(max_moves - len(last))
        if not made:
            break
        for move in made:
            last.pop(move.server, None)
            if placement.host[move.server] != placement.origin[move.server]:
                last[move.server] = move
        improved(search.total, None, len(last))
    deviation = np.asarray(search.load.std(axis=0), dtype=np.float64)  # exact, not by the sums
    return Balance(
        moves=[
            replace(move, source=int(placement.origin[server])) for server, move in last.items()
        ],
        deviation=deviation,
        total=float(deviation @ loads.weight),
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
        self.at = place[placement.host]
        candidates = movable & (self.at >= 0) & ~np.isnan(loads.amount).any(axis=1)
        candidates &= (loads.amount > 0).any(axis=1)
        chosen = np.flatnonzero(candidates)
        order = chosen[np.argsort(self.at[chosen], kind="stable")]
        edges = np.searchsorted(self.at[order], np.arange(len(loads.hosts) + 1))
        self.servers = [order[a:b] for a, b in pairwise(edges)]
        self.has_servers = np.array([len(servers) > 0 for servers in self.servers], dtype=bool)
        self._measure()

    def _measure(self) -> None:
        """Keep what every candidate needs: sums, deviations and their weighted sum."""
        self.sums = self.load.sum(axis=0)
        self.squares = (self.load * self.load).sum(axis=0)
        self._derive()

    def _derive(self) -> None:
        n = len(self.load)
        self.mean = self.sums / n
        variance = np.maximum(self.squares / n - self.mean**2, 0.0)
        self.deviation = np.asarray(np.sqrt(variance), dtype=np.float64)
        self.total = float(self.deviation @ self.loads.weight)

    def is_done(self) -> bool:
        """Every metric is below its threshold, not only one (B-129)."""
        return bool((self.deviation < self.loads.threshold * MARGIN).all())

    def step(self, most: int) -> list[BalancingMove]:
        """Make the move that lowers the total most, on large clusters several; [] when none does."""
        self._measure()
        batch = min(most, BATCH if len(self.load) > LARGE else 1)
        for hot, cold in self._neighbourhoods():
            made = self._best(hot, cold, batch)
            if made:
                return made
        return []

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

    def _best(
        self, hot: NDArray[np.intp], cold: NDArray[np.intp], batch: int
    ) -> list[BalancingMove]:
        if not len(cold):
            return []
        servers = np.concatenate([self.servers[host] for host in hot])
        total = self._totals(servers, cold)
        self.evaluated += total.size
        room = self.placement.free[self.loads.hosts[cold]]
        fits = self._fits(servers, cold, room)
        masked = np.where(fits, total, np.inf)
        made: list[BalancingMove] = []
        wanted = MIN_GAIN
        while len(made) < batch and not (made and self.is_done()):
            row, column = divmod(int(np.argmin(masked)), len(cold))
            if not np.isfinite(masked[row, column]):
                break
            server, target = int(servers[row]), int(cold[column])
            before, after = self.total, self._total_after(server, target)
            if not after < before - wanted:
                break
            if not made:
                wanted = max(MIN_GAIN, BATCH_PART * (before - after))
                demand = self.placement.demand[server]
                self._count_refusals(total[row], fits[row], after, demand, room)
            other = self._runner_up(masked[row], column, before)
            runner_up = None if other is None else int(self.loads.hosts[cold[other]])
            source = self.at[server]
            made.append(self._make(server, target, (before, after), runner_up))
            masked[:, column] = np.inf
            masked[:, cold == source] = np.inf
            masked[self.at[servers] == source] = np.inf
            masked[row] = np.inf
        return made

    def _fits(
        self, servers: NDArray[np.intp], cold: NDArray[np.intp], room: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """[S, T] whether the server may go to the host and has room there."""
        demand = self.placement.demand[servers]
        fits = self.allowed[self.server_class[servers]][:, cold] & (
            self.at[servers][:, None] != cold[None, :]
        )
        if self.placement.restrictions is not None:
            for line in np.flatnonzero(self.placement.restrictions.restricted[servers]):
                fits[line] &= self.placement.passing(int(servers[line]))[self.loads.hosts[cold]]
        for axis in range(demand.shape[1]):
            fits &= demand[:, axis][:, None] <= room[:, axis][None, :] + TOLERANCE
        return np.asarray(fits, dtype=np.bool_)

    @staticmethod
    def _runner_up(row: NDArray[np.float64], column: int, before: float) -> int | None:
        """The column that would have been taken next, if it would have improved."""
        second = row.copy()
        second[column] = np.inf
        other = int(np.argmin(second))
        return other if second[other] < before else None

    def _total_after(self, server: int, target: int) -> float:
        """The weighted total after one move, exactly."""
        n, source = len(self.load), self.at[server]
        down = self.loads.amount[server] / self.loads.size[source]
        up = self.loads.amount[server] / self.loads.size[target]
        sums = self.sums + up - down
        squares = (
            self.squares
            + down * (down - 2.0 * self.load[source])
            + up * (up + 2.0 * self.load[target])
        )
        variance = np.maximum(squares / n - (sums / n) ** 2, 0.0)
        return float(np.sqrt(variance) @ self.loads.weight)

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
            sums = self.sums[metric] + up - down[:, None]
            squares = (
                self.squares[metric]
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
        for host, change in ((source, -amount / size[source]), (target, amount / size[target])):
            self.sums = self.sums + change
            self.squares = self.squares + change * (change + 2.0 * self.load[host])
            self.load[host] += change
        self.placement.move(server, move.target)
        self.at[server] = target
        self.servers[source] = self.servers[source][self.servers[source] != server]
        self.servers[target] = np.append(self.servers[target], server)
        self.has_servers[source] = len(self.servers[source]) > 0
        self.has_servers[target] = True
        self._derive()
        return move
