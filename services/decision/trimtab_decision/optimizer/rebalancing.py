"""A balance made better with no more moves than are allowed: exchanges, swaps and returns.

`balancing` goes down one move at a time and stops where no single one helps, or where the moves are used up. From
there this anneals at low temperature: a server goes home so that a better one may go, two servers change places.
Then moves that are not needed for what was reached are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.balancing import MARGIN, MIN_GAIN, Balance, BalancingMove, Loads
from trimtab_decision.optimizer.state import Placement

ROUNDS, COLD_ROUNDS = 40, 8
"""Temperatures from the first to a thousandth of it, then some at zero."""
TRIES_A_SERVER, FEWEST_TRIES, MOST_TRIES = 3_000, 60_000, 12_000_000
"""Tries in all: a few seconds of one core at most."""
HEAT_USED_UP, HEAT_OPEN, COOLING = 0.03, 0.1, 1e-3
"""First temperature, by what a move gained on average so far, where all moves are used up and where some are left;
and the part of it that is the last."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rebalancing:
    """What is to be made better: as `balance` left it. H hosts, V servers, C classes.

    movable: [V];  class_hosts: [C, H];  server_class: [V];  max_moves: servers that end elsewhere
    Servers with more rules than room stay where they are.
    """

    loads: Loads
    placement: Placement
    movable: NDArray[np.bool_]
    class_hosts: NDArray[np.bool_]
    server_class: NDArray[np.int32]
    max_moves: int

    @property
    def place(self) -> NDArray[np.int64]:
        """[H + 1] place of each host among those that count, or -1."""
        place = np.full(len(self.placement.free) + 1, -1, dtype=np.int64)
        place[self.loads.hosts] = np.arange(len(self.loads.hosts))
        return place

    def usable(self) -> NDArray[np.bool_]:
        """[V] servers that may be moved here."""
        amount, placement = self.loads.amount, self.placement
        usable = self.movable & ~np.isnan(amount).any(axis=1) & (amount > 0).any(axis=1)
        usable &= self.place[placement.origin] >= 0
        if placement.restrictions is not None:
            usable &= ~placement.restrictions.restricted
        return usable


def rebalance(
    found: Balance,
    problem: Rebalancing,
    *,
    seed: int,
    is_over: Callable[[], bool] = lambda: False,
) -> Balance:
    """The better of `found` and what annealing makes of it; changes the placement.

    Deterministic by seed, unless time runs out.
    """
    loads, placement, usable = problem.loads, problem.placement, problem.usable()
    servers = np.flatnonzero(usable)
    others = int(((placement.host != placement.origin) & ~usable).sum())
    if problem.max_moves <= others or not len(servers) or is_over():
        return found
    mark = placement.mark
    gain = (loads.total() - found.total) / max(1, len(found.moves)) or found.total / len(servers)
    heat = gain * (HEAT_USED_UP if len(found.moves) >= problem.max_moves else HEAT_OPEN)
    left = problem.max_moves - others
    _anneal(problem, servers, max_moves=left, heat=heat, seed=seed, is_over=is_over)
    kept = {move.server: move for move in found.moves}
    settled = _Settled(problem, servers)
    settled.drop_unneeded()
    if settled.total >= found.total - MIN_GAIN and not settled.is_done():
        placement.undo_to(mark)
        return found
    moves = [move for server, move in kept.items() if not usable[server]]
    return replace(
        found,
        moves=[*moves, *settled.moves(kept)],
        deviation=settled.load.std(axis=0),
        total=settled.total,
    )


def _anneal(
    problem: Rebalancing,
    servers: NDArray[np.intp],
    *,
    max_moves: int,
    heat: float,
    seed: int,
    is_over: Callable[[], bool],
) -> None:
    from trimtab_decision.optimizer import balancing_kernel as kernel  # noqa: PLC0415, compiles

    loads, placement, place = problem.loads, problem.placement, problem.place
    home, at = place[placement.origin[servers]], place[placement.host[servers]]
    first, n_metrics = at.copy(), loads.load.shape[1]
    rng = np.random.default_rng(seed)
    tables = kernel.Tables(
        home=home,
        demand=np.ascontiguousarray(placement.demand[servers]),
        amount=np.ascontiguousarray(loads.amount[servers]),
        per_size=np.ascontiguousarray(1.0 / loads.size),
        weight=np.ascontiguousarray(loads.weight),
        allowed=np.ascontiguousarray(problem.class_hosts[:, loads.hosts]),
        of_class=problem.server_class[servers].astype(np.int64),
        draws=rng.permutation(-np.log((np.arange(kernel.N_DRAWS) + 0.5) / kernel.N_DRAWS)),
    )
    away = np.flatnonzero(at != home)
    moved, place_of_moved = np.zeros(len(servers), np.int64), np.full(len(servers), -1, np.int64)
    moved[: len(away)], place_of_moved[away] = away, np.arange(len(away))
    state = kernel.State(
        at=at,
        load=_load(problem),
        free=np.ascontiguousarray(placement.free[loads.hosts]),
        heat=np.zeros(len(loads.hosts)),
        sums=np.zeros(n_metrics),
        squares=np.zeros(n_metrics),
        moved=moved,
        place_of_moved=place_of_moved,
        figures=np.array([len(away)], dtype=np.int64),
        value=np.zeros(1),
        random=rng.integers(1, 2**63, size=1, dtype=np.uint64),
    )
    tries = int(np.clip(TRIES_A_SERVER * len(servers), FEWEST_TRIES, MOST_TRIES))
    for number in range(ROUNDS + COLD_ROUNDS):
        if is_over():
            break
        kernel.refresh(tables, state)
        temperature = 0.0 if number >= ROUNDS else heat * COOLING ** (number / ROUNDS)
        kernel.anneal(tables, state, max_moves, tries // (ROUNDS + COLD_ROUNDS), temperature)
    for i in np.flatnonzero(at != first).tolist():
        placement.move(int(servers[i]), int(loads.hosts[at[i]]))


def _load(problem: Rebalancing) -> NDArray[np.float64]:
    """[K, M] with all that is planned."""
    loads, placement, place = problem.loads, problem.placement, problem.place
    load = loads.load.copy()
    moved = np.flatnonzero(placement.host != placement.origin)
    amount = np.nan_to_num(loads.amount[moved])
    for hosts, sign in (
        (place[placement.origin[moved]], -1.0),
        (place[placement.host[moved]], 1.0),
    ):
        counted = hosts >= 0
        np.add.at(load, hosts[counted], sign * amount[counted] / loads.size[hosts[counted]])
    return np.ascontiguousarray(load)


class _Settled:
    """The placement after the search, without what it does not need."""

    def __init__(self, problem: Rebalancing, servers: NDArray[np.intp]) -> None:
        self.problem = problem
        self.load = _load(problem)
        placement = problem.placement
        self.away = servers[placement.host[servers] != placement.origin[servers]]

    @property
    def total(self) -> float:
        """The weighted deviation."""
        return float(self.load.std(axis=0) @ self.problem.loads.weight)

    def is_done(self) -> bool:
        """Every metric is below its threshold."""
        return bool((self.load.std(axis=0) < self.problem.loads.threshold * MARGIN).all())

    def drop_unneeded(self) -> None:
        """Servers go home that gain nothing, or that the thresholds can do without, the least first."""
        was_done = self.is_done()
        while len(self.away):
            without = self._deviation_without()
            gain = without @ self.problem.loads.weight - self.total
            least = int(np.argmin(gain))
            stays_done = was_done and (without[least] < self.problem.loads.threshold * MARGIN).all()
            if gain[least] > MIN_GAIN and not stays_done:
                return
            self._send_home(least)

    def moves(self, kept: Mapping[int, BalancingMove]) -> list[BalancingMove]:
        """What gains most first; `kept`: moves that were explained already."""
        loads, placement, place = self.problem.loads, self.problem.placement, self.problem.place
        without, total = self._deviation_without() @ loads.weight, self.total
        result = []
        for i in np.argsort(-without, kind="stable").tolist():
            server = int(self.away[i])
            source, target = int(placement.origin[server]), int(placement.host[server])
            known = kept.get(server)
            move = BalancingMove(
                server=server,
                source=source,
                target=target,
                source_load=float(loads.load[place[source], 0]),
                target_load=float(loads.load[place[target], 0]),
                total_before=float(without[i]),
                total_after=total,
                runner_up=None,
            )
            result.append(known if known is not None and known.target == target else move)
        return result

    def _deviation_without(self) -> NDArray[np.float64]:
        """[away, M] the deviations if one of the servers stayed at home."""
        loads, placement, place = self.problem.loads, self.problem.placement, self.problem.place
        home, at = place[placement.origin[self.away]], place[placement.host[self.away]]
        n, amount = len(self.load), loads.amount[self.away]
        down, up = amount / loads.size[at], amount / loads.size[home]
        mean = (self.load.sum(axis=0) + up - down) / n
        squares = (self.load * self.load).sum(axis=0) + down * (down - 2.0 * self.load[at])
        squares = squares + up * (up + 2.0 * self.load[home])
        return np.asarray(np.sqrt(np.maximum(squares / n - mean * mean, 0.0)), dtype=np.float64)

    def _send_home(self, which: int) -> None:
        loads, placement, place = self.problem.loads, self.problem.placement, self.problem.place
        server = int(self.away[which])
        source, target = place[placement.origin[server]], place[placement.host[server]]
        self.load[target] -= loads.amount[server] / loads.size[target]
        self.load[source] += loads.amount[server] / loads.size[source]
        placement.move(server, int(placement.origin[server]))
        self.away = np.delete(self.away, which)
