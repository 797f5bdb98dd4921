"""A balance made better with no more moves than are allowed: exchanges, swaps and returns.

`balancing` goes down one move at a time and stops where no single one helps, or where the moves are used up. From
there this anneals at low temperature: a server goes home so that a better one may go, two servers change places.
Then moves that are not needed for what was reached are left out, and the others are put in order: room is counted at
the plan's end here, so a server may fill what another one leaves, and says that it waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.balancing import Balance, Loads
from trimtab_decision.optimizer.move_order import room_at_end
from trimtab_decision.optimizer.settling import Settled
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

    def load_now(self) -> NDArray[np.float64]:
        """[K, M] with all that is planned."""
        loads, placement, place = self.loads, self.placement, self.place
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


def rebalance(
    found: Balance,
    problem: Rebalancing,
    *,
    seed: int,
    is_over: Callable[[], bool] = lambda: False,
) -> Balance:
    """The better of `found` and what annealing makes of it; changes the placement.

    Moves come in an order in which they can run, each with what it waits for; after that `placement.free` is below
    zero where somebody waits. Deterministic by seed, unless time runs out.
    """
    loads, placement, usable = problem.loads, problem.placement, problem.usable()
    servers = np.flatnonzero(usable)
    others = int(((placement.host != placement.origin) & ~usable).sum())
    if problem.max_moves <= others or not len(servers) or is_over():
        return found
    gain = (loads.total() - found.total) / max(1, len(found.moves)) or found.total / len(servers)
    search = _Search(
        problem=problem,
        servers=servers,
        max_moves=problem.max_moves - others,
        heat=gain * (HEAT_USED_UP if len(found.moves) >= problem.max_moves else HEAT_OPEN),
        seed=seed,
        is_over=is_over,
    )
    mark = placement.mark
    settled = search.run(makes_room=True)
    if settled.had_stuck or not settled.is_better_than(found):
        settled = _better(settled, search, mark)
    if not settled.is_better_than(found):
        placement.undo_to(mark)
        return found
    kept = {move.server: move for move in found.moves}
    moves = {move.server: move for move in settled.moves(kept)}
    moves |= {server: move for server, move in kept.items() if not usable[server]}
    after = settled.order.after
    return replace(
        found,
        moves=[replace(moves[i], after=after.get(i, ())) for i in settled.order.servers],
        deviation=settled.load.std(axis=0),
        total=settled.total,
    )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Search:
    """Annealing of these servers. max_moves: how many of them may end elsewhere; heat: to begin with."""

    problem: Rebalancing
    servers: NDArray[np.intp]
    max_moves: int
    heat: float
    seed: int
    is_over: Callable[[], bool]

    def run(self, *, makes_room: bool) -> Settled:
        """Changes the placement. `makes_room`: servers may fill what others leave."""
        _anneal(self, makes_room=makes_room)
        settled = Settled(self.problem, self.servers)
        settled.put_in_order()
        return settled


def _better(settled: Settled, search: _Search, mark: int) -> Settled:
    """That, or what is found from `mark` on without filling what others leave; the placement is the better's."""
    placement = search.problem.placement
    hosts = placement.host.copy()
    placement.undo_to(mark)
    other = search.run(makes_room=False)
    if other.rank() < settled.rank():
        return other
    placement.undo_to(mark)
    for server in np.flatnonzero(placement.host != hosts).tolist():
        placement.move(server, int(hosts[server]))
    return settled


def _anneal(search: _Search, *, makes_room: bool) -> None:
    from trimtab_decision.optimizer import balancing_kernel as kernel  # noqa: PLC0415, compiles

    problem, servers = search.problem, search.servers
    loads, placement, place = problem.loads, problem.placement, problem.place
    home, at = place[placement.origin[servers]], place[placement.host[servers]]
    first, n_metrics = at.copy(), loads.load.shape[1]
    room = (room_at_end(placement) if makes_room else placement.free)[loads.hosts]
    rng = np.random.default_rng(search.seed)
    tables = kernel.Tables(
        home=home,
        demand=np.ascontiguousarray(placement.demand[servers]),
        amount=np.ascontiguousarray(loads.amount[servers]),
        per_size=np.ascontiguousarray(1.0 / loads.size),
        weight=np.ascontiguousarray(loads.weight),
        allowed=problem.class_hosts[:, loads.hosts] & np.isfinite(room).all(axis=1),
        of_class=problem.server_class[servers].astype(np.int64),
        makes_room=np.array([makes_room]),
        draws=rng.permutation(-np.log((np.arange(kernel.N_DRAWS) + 0.5) / kernel.N_DRAWS)),
    )
    away = np.flatnonzero(at != home)
    moved, place_of_moved = np.zeros(len(servers), np.int64), np.full(len(servers), -1, np.int64)
    moved[: len(away)], place_of_moved[away] = away, np.arange(len(away))
    state = kernel.State(
        at=at,
        load=problem.load_now(),
        free=room,
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
        if search.is_over():
            break
        kernel.refresh(tables, state)
        temperature = 0.0 if number >= ROUNDS else search.heat * COOLING ** (number / ROUNDS)
        kernel.anneal(tables, state, search.max_moves, tries // (ROUNDS + COLD_ROUNDS), temperature)
    for i in np.flatnonzero(at != first).tolist():
        placement.move(int(servers[i]), int(loads.hosts[at[i]]))
