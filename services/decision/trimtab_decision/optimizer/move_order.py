"""In which order moves run that need room which other moves of the same plan leave, and what each waits for.

`rebalancing` looks only at where servers end. Here an order is found in which every target has room when its turn comes,
and of that order just what has to hold however long each move takes.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.dimensions import TOLERANCE
from trimtab_decision.optimizer.state import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveOrder:
    """Servers by index. `after`: of those that wait, the servers that have to have left before.

    stuck: servers that never find room, because they wait for each other; they are in no other member.
    """

    servers: list[int]
    after: dict[int, tuple[int, ...]] = field(default_factory=dict)
    stuck: list[int] = field(default_factory=list)


def room_at_end(placement: Placement) -> NDArray[np.float64]:
    """[H, D] room when all planned moves are done.

    Infinite on hosts that are over-full now: they get nobody, and who has left one may always come back.
    """
    room = _room_now(placement)
    is_over = (room < -TOLERANCE).any(axis=1)
    moved = np.flatnonzero(placement.host != placement.origin)
    np.add.at(room, placement.origin[moved], placement.demand[moved])
    np.subtract.at(room, placement.host[moved], placement.demand[moved])
    room[is_over] = np.inf
    return room


def _room_now(placement: Placement) -> NDArray[np.float64]:
    room = placement.free.copy()
    moved = np.flatnonzero(placement.host != placement.origin)
    np.add.at(room, placement.host[moved], placement.demand[moved])
    return room


def move_order(placement: Placement, wanted: Sequence[int]) -> MoveOrder:
    """Orders the moves of all servers away from home. `wanted`: those servers, the most urgent first.

    Each takes its turn as soon as its target has room, the most urgent first. Then, on every host and in every
    dimension, what is free now and what each departure leaves is handed out once, in order: an arrival waits for
    those departures only of which it gets a part. So whatever runs at the same time, what has started on a host fills
    room that was free or is left already, each bit of it once; and the plan run backwards is as safe. A departure that
    gives something was before the arrival in the order, so nothing waits in a circle.
    Where the plan fits in any order nothing waits. Deterministic; about O(moves) and O(moves of a host squared).
    """
    moves = list(wanted)
    if (placement.free[placement.host[moves]] >= -TOLERANCE).all():
        return MoveOrder(servers=moves)
    turns = _Turns(placement, moves)
    turns.run()
    taken = set(turns.order)
    return MoveOrder(
        servers=turns.order,
        after=_handed_out(placement, turns.order),
        stuck=[server for server in moves if server not in taken],
    )


class _Turns:
    """Lets each move take its turn. Lists, because one element of an array costs several of a list."""

    def __init__(self, placement: Placement, moves: Sequence[int]) -> None:
        self.room: list[list[float]] = _room_now(placement).tolist()
        self.demand = dict(zip(moves, placement.demand[moves].tolist(), strict=True))
        self.source = dict(zip(moves, placement.origin[moves].tolist(), strict=True))
        self.target = dict(zip(moves, placement.host[moves].tolist(), strict=True))
        self.waiting: dict[int, list[int]] = defaultdict(list)
        self.order: list[int] = []

    def run(self) -> None:
        for server in self.target:
            if self._fits(server):
                self._take(server)
            else:
                self.waiting[self.target[server]].append(server)

    def _fits(self, server: int) -> bool:
        room = self.room[self.target[server]]
        return all(
            want <= have + TOLERANCE for want, have in zip(self.demand[server], room, strict=True)
        )

    def _take(self, server: int) -> None:
        """This one, and all that it makes room for."""
        self._settle(server)
        left = deque([self.source[server]])
        while left:
            host = left.popleft()
            still = []
            for waiting in self.waiting.pop(host, ()):
                if self._fits(waiting):
                    self._settle(waiting)
                    left.append(self.source[waiting])
                else:
                    still.append(waiting)
            if still:
                self.waiting[host] = still

    def _settle(self, server: int) -> None:
        self.order.append(server)
        source, target = self.room[self.source[server]], self.room[self.target[server]]
        for axis, amount in enumerate(self.demand[server]):
            source[axis] += amount
            target[axis] -= amount


def _handed_out(placement: Placement, order: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Who waits for whom, in turn."""
    coming: dict[int, list[int]] = defaultdict(list)
    leaving: dict[int, list[int]] = defaultdict(list)
    for server in order:
        coming[int(placement.host[server])].append(server)
        leaving[int(placement.origin[server])].append(server)
    first = _room_now(placement)
    after: dict[int, set[int]] = defaultdict(set)
    for host, arrivals in coming.items():
        needed = placement.demand[arrivals].sum(axis=0)
        for axis in np.flatnonzero(needed > first[host] + TOLERANCE).tolist():
            departures = leaving[host]
            wants, gives = placement.demand[arrivals, axis], placement.demand[departures, axis]
            for arrival, parts in zip(
                arrivals, _parts(float(first[host, axis]), wants, gives), strict=True
            ):
                after[arrival].update(departures[part] for part in parts)
    turn = {server: place for place, server in enumerate(order)}
    return {
        server: tuple(sorted(found, key=turn.__getitem__))
        for server, found in after.items()
        if found
    }


def _parts(free: float, wants: NDArray[np.float64], gives: NDArray[np.float64]) -> list[list[int]]:
    """Of each arrival the departures of which it gets a part, where first `free` is handed out, then `gives`."""
    ends, until = np.cumsum(wants), free + np.cumsum(gives)
    # a departure gives what lies between the end of the one before it and its own
    begin = np.searchsorted(until, ends - wants + TOLERANCE, side="right")
    end = np.searchsorted(until, ends - TOLERANCE, side="left") + 1
    needs = (wants > 0) & (ends > free + TOLERANCE)
    return [
        [part for part in range(a, min(b, len(gives))) if gives[part] > 0] if need else []
        for a, b, need in zip(begin.tolist(), end.tolist(), needs.tolist(), strict=True)
    ]
