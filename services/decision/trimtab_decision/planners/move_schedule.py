"""When each move of a plan can start: list scheduling, and the true dependencies that it leaves.

A target is reserved when a move starts, its source is released when it ends. Slots (out of a host, into
a host, of the whole cloud) are chains: who takes a slot waits for who had it. Room is handed over the
same way: a move waits for just those that left the room which it fills. So the graph holds whatever
the durations turn out to be; nothing waits for a whole layer.

Nothing here knows actions. Cost: about O(moves x moves of one host).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-6
WAITING_PER_BYPASS = 64
NOWHERE = -1
"""As a target: Nova chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One move. source, target: hosts; after: indexes of moves that must end first; demand: [R]."""

    server: int
    source: int
    target: int
    demand: tuple[float, ...]
    duration_s: float
    after: tuple[int, ...] = ()
    is_bypass: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Moves at once; 0 is no limit."""

    out_of_host: int = 1
    into_host: int = 1
    in_all: int = 0


@dataclass(slots=True, kw_only=True)
class Schedule:
    """Moves in the order of their starts, bypasses among them. parents: by index of the move.

    stuck: moves that wait for each other, and for which no bypass was found.
    """

    moves: list[Move]
    order: list[int] = field(default_factory=list)
    parents: dict[int, tuple[int, ...]] = field(default_factory=dict)
    makespan_s: float = 0.0
    stuck: tuple[int, ...] = ()


Bypass = Callable[[Move, NDArray[np.float64]], int]
"""(move that is stuck, [H, R] room) -> a host where its server may wait, NOWHERE if there is none."""


def lower_bound(moves: Sequence[Move], limits: Limits) -> float:
    """Seconds that no schedule of these moves can beat: work by slot, and the longest move."""
    out: dict[int, float] = defaultdict(float)
    into: dict[int, float] = defaultdict(float)
    for move in moves:
        out[move.source] += move.duration_s
        into[move.target] += move.duration_s
    into.pop(NOWHERE, None)
    total = sum(move.duration_s for move in moves)
    return max(
        [
            max((move.duration_s for move in moves), default=0.0),
            max(out.values(), default=0.0) / limits.out_of_host if limits.out_of_host else 0.0,
            max(into.values(), default=0.0) / limits.into_host if limits.into_host else 0.0,
            total / limits.in_all if limits.in_all else 0.0,
        ]
    )


def best_schedule(
    moves: Sequence[Move], room: NDArray[np.float64], limits: Limits, bypass: Bypass
) -> Schedule:
    """The shorter one of two: busiest host first, and in the order given. room: [H, R] free now."""
    out: dict[int, float] = defaultdict(float)
    into: dict[int, float] = defaultdict(float)
    for move in moves:
        out[move.source] += move.duration_s
        into[move.target] += move.duration_s
    into[NOWHERE] = 0.0
    busiest = sorted(
        range(len(moves)),
        key=lambda i: (
            -max(out[moves[i].source], into[moves[i].target]),
            -moves[i].duration_s,
            i,
        ),
    )
    bound = lower_bound(moves, limits)
    best: Schedule | None = None
    for order in (list(range(len(moves))), busiest):
        tried = _Scheduler(moves, order, room, limits, bypass).run()
        if best is None or (len(tried.stuck), len(tried.moves), tried.makespan_s) < (
            len(best.stuck),
            len(best.moves),
            best.makespan_s,
        ):
            best = tried
        if not best.stuck and best.makespan_s <= bound * (1 + EPSILON):
            break
    return best if best is not None else Schedule(moves=[])


class _Slots:
    """One row of slots: each remembers who had it last. `limit` 0: there is always another one."""

    __slots__ = ("free", "limit", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self.free: list[int] = []

    @property
    def has_one(self) -> bool:
        return not self.limit or self.taken < self.limit

    def take(self) -> int | None:
        """Who had the slot; None for a fresh one."""
        self.taken += 1
        return self.free.pop() if self.limit and self.free else None

    def give_back(self, move: int) -> None:
        self.taken -= 1
        if self.limit:
            self.free.append(move)


class _Room:
    """Of one host: what was free at first, then what each departure left, in order of the ends."""

    __slots__ = ("first", "is_short", "left", "total")

    def __init__(self, free: NDArray[np.float64]) -> None:
        self.first = free.tolist()
        self.total = list(self.first)
        self.left: list[tuple[int, list[float]]] = []
        self.is_short = any(value < 0 for value in self.first)

    def fits(self, demand: tuple[float, ...]) -> bool:
        return all(
            not want or have + EPSILON >= want
            for want, have in zip(demand, self.total, strict=True)
        )

    def take(self, demand: tuple[float, ...]) -> set[int]:
        """Fills the room; the departures that left it."""
        givers: set[int] = set()
        for axis, want in enumerate(demand):
            self.total[axis] -= want
            rest = want
            if self.first[axis] > 0:
                used = min(rest, self.first[axis])
                self.first[axis] -= used
                rest -= used
            if want and self.is_short:  # it was over-full: what left it first only made that good
                givers.update(giver for giver, _ in self.left)
            for giver, amount in self.left:
                if rest <= EPSILON:
                    break
                if amount[axis] > 0:
                    used = min(rest, amount[axis])
                    amount[axis] -= used
                    rest -= used
                    givers.add(giver)
        return givers

    def give_back(self, move: int, demand: tuple[float, ...]) -> None:
        for axis, amount in enumerate(demand):
            self.total[axis] += amount
        self.left.append((move, list(demand)))


class _Scheduler:
    def __init__(
        self,
        moves: Sequence[Move],
        order: Sequence[int],
        room: NDArray[np.float64],
        limits: Limits,
        bypass: Bypass,
    ) -> None:
        self.schedule = Schedule(moves=list(moves))
        self.limits, self.bypass = limits, bypass
        self.free = room
        self.rooms: dict[int, _Room] = {}
        self.out: dict[int, _Slots] = defaultdict(lambda: _Slots(limits.out_of_host))
        self.into: dict[int, _Slots] = defaultdict(lambda: _Slots(limits.into_host))
        self.all = _Slots(limits.in_all)
        self.rank = {move: place for place, move in enumerate(order)}
        self.of_host: dict[int, list[int]] = defaultdict(list)
        self.behind: dict[int, list[int]] = defaultdict(list)
        self.waiting = dict.fromkeys(order)
        self.ended: set[int] = set()
        self.running: list[tuple[float, int]] = []
        self.now = 0.0
        self.bypassed: set[int] = set()
        for index in order:
            self._enlist(index)

    def run(self) -> Schedule:
        """Starts what can start; on each end looks again at the hosts that it touched."""
        self._start_among(list(self.waiting))
        while self.waiting or self.running:
            if not self.running and not self._break_cycle():
                self.schedule.stuck = tuple(self.waiting)
                break
            self._next_end()
        self.schedule.makespan_s = self.now
        return self.schedule

    def _enlist(self, index: int) -> None:
        move = self.schedule.moves[index]
        self.of_host[move.source].append(index)
        self.of_host[move.target].append(index)
        for earlier in move.after:
            self.behind[earlier].append(index)

    def _start_among(self, candidates: Sequence[int]) -> None:
        moves, waiting, is_limited = self.schedule.moves, self.waiting, self.limits.in_all > 0
        for index in candidates:
            if is_limited and not self.all.has_one:
                return
            if index in waiting and self._can_start(moves[index]):
                self._start(index)

    def _can_start(self, move: Move) -> bool:
        """Asked dozens of times for each move, so what rules most of them out is not a call."""
        slots = self.out[move.source]
        if slots.limit and slots.taken >= slots.limit:
            return False
        if move.after and not self.ended.issuperset(move.after):
            return False
        if move.target == NOWHERE:
            return True
        return self.into[move.target].has_one and self._room(move.target).fits(move.demand)

    def _room(self, host: int) -> _Room:
        found = self.rooms.get(host)
        if found is None:
            found = self.rooms[host] = _Room(self.free[host])
        return found

    def _start(self, index: int) -> None:
        move = self.schedule.moves[index]
        parents = {self.all.take(), self.out[move.source].take()}
        if move.target != NOWHERE:
            parents.add(self.into[move.target].take())
            parents |= self._room(move.target).take(move.demand)
        parents.update(move.after)
        parents.discard(None)
        self.schedule.parents[index] = tuple(sorted(p for p in parents if p is not None))
        self.schedule.order.append(index)
        del self.waiting[index]
        heapq.heappush(self.running, (self.now + move.duration_s, index))

    def _next_end(self) -> None:
        """Ends all that ends now, then looks at what they kept waiting."""
        self.now = self.running[0][0]
        touched: dict[int, None] = {}
        candidates: dict[int, None] = {}
        was_full = not self.all.has_one
        while self.running and self.running[0][0] <= self.now + EPSILON:
            _, index = heapq.heappop(self.running)
            move = self.schedule.moves[index]
            self.ended.add(index)
            self.all.give_back(index)
            self.out[move.source].give_back(index)
            self._room(move.source).give_back(index, move.demand)
            touched[move.source] = None
            candidates.update(
                (other, None) for other in self.behind[index] if other in self.waiting
            )
            if move.target != NOWHERE:
                self.into[move.target].give_back(index)
                touched[move.target] = None
        if was_full:
            self._start_among(list(self.waiting))
            return
        for host in touched:
            live = [index for index in self.of_host[host] if index in self.waiting]
            self.of_host[host] = live
            candidates.update(dict.fromkeys(live))
        self._start_among(sorted(candidates, key=self.rank.__getitem__))

    def _break_cycle(self) -> bool:
        """Everything waits and nothing runs: a server goes out of the way, if one can.

        Of many that wait several go, so that long cycles are cut in more than one place.
        """
        n_wanted = 1 + len(self.waiting) // WAITING_PER_BYPASS
        free = self.free.copy()
        for host, room in self.rooms.items():
            free[host] = room.total
        wanted: dict[int, int] = defaultdict(int)
        for index in self.waiting:
            wanted[self.schedule.moves[index].target] += 1
        # first those whose going makes room for somebody
        for index in sorted(self.waiting, key=lambda i: -wanted[self.schedule.moves[i].source]):
            move = self.schedule.moves[index]
            is_free = self.ended.issuperset(move.after)
            if move.server in self.bypassed or move.target == NOWHERE or not is_free:
                continue
            host = self.bypass(move, free)
            if host in (NOWHERE, move.source, move.target):
                continue
            self._detour(index, host)
            free[host] -= move.demand
            n_wanted -= 1
            if not n_wanted:
                break
        return bool(self.running)

    def _detour(self, index: int, host: int) -> None:
        """The server goes to `host` now, and from there to its target when that has room."""
        move = self.schedule.moves[index]
        self.bypassed.add(move.server)
        first = len(self.schedule.moves)
        self.schedule.moves.append(
            Move(
                server=move.server,
                source=move.source,
                target=host,
                demand=move.demand,
                duration_s=move.duration_s,
                after=move.after,
                is_bypass=True,
            )
        )
        self.schedule.moves[index] = Move(
            server=move.server,
            source=host,
            target=move.target,
            demand=move.demand,
            duration_s=move.duration_s,
            after=(first,),
        )
        self.rank[first] = -1
        self.waiting[first] = None
        self._enlist(first)
        self._enlist(index)
        self._start_among([first])
