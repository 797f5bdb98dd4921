"""Where each server of the closed hosts goes, checked in every dimension, with the reason.

Best fit, largest first, as the packing promised. Should measured use or a server group rule out what allocation
allowed, the hosts concerned stay open, wholly: no host is ever drained in part.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.dimensions import TOLERANCE
from trimtab_decision.optimizer.packing import Groups, slots
from trimtab_decision.optimizer.state import Placement

REPAIRS = 12
"""How often a set of hosts may shrink before each host is tried on its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One server from `source` to `target`; indexes of the snapshot.

    runner_up: the host that would have been taken next, or None
    ruled_out: (host, dimension) of the nearest tighter host, which had no room, or None
    """

    server: int
    source: int
    target: int
    runner_up: int | None = None
    ruled_out: tuple[int, str] | None = None


class Placer:
    """Empties sets of hosts into the receivers that stay."""

    def __init__(
        self,
        placement: Placement,
        *,
        groups: Groups,
        receivers: NDArray[np.bool_],
        movable: NDArray[np.bool_],
        names: tuple[str, ...],
    ) -> None:
        self.placement = placement
        self.groups = groups
        self.receivers = receivers
        self.names = names
        self.rejections: Counter[str] = Counter()
        self.at = placement.host.copy()
        servers = np.flatnonzero(movable & (self.at >= 0))
        order = servers[np.argsort(self.at[servers], kind="stable")]
        n_hosts = len(receivers)
        starts = np.searchsorted(self.at[order], np.arange(n_hosts + 1))
        self._of_host = [order[starts[h] : starts[h + 1]] for h in range(n_hosts)]

    def empty(self, closed: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], list[Move]]:
        """Empty these hosts, or as many of them as fit; (hosts emptied, moves)."""
        closed = closed.copy()
        for _ in range(REPAIRS):
            mark = self.placement.mark
            moves, unplaced = self._place(closed)
            if not unplaced:
                return closed, moves
            self.placement.undo_to(mark)
            closed[[int(self.at[server]) for server in unplaced]] = False
        return self._one_by_one(closed)

    def _one_by_one(self, closed: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], list[Move]]:
        """Each host on its own, the cheapest first; one that does not empty is left as it was."""
        done = np.zeros(len(closed), dtype=bool)
        moves: list[Move] = []
        for host in sorted(np.flatnonzero(closed), key=lambda h: len(self._of_host[h])):
            mark = self.placement.mark
            one = np.zeros(len(closed), dtype=bool)
            one[host] = True
            made, unplaced = self._place(one, never=closed)
            if unplaced:
                self.placement.undo_to(mark)
            else:
                done[host] = True
                moves.extend(made)
        return done, moves

    def _place(
        self, closed: NDArray[np.bool_], *, never: NDArray[np.bool_] | None = None
    ) -> tuple[list[Move], list[int]]:
        keepers = np.flatnonzero(self.receivers & ~closed & ~(closed if never is None else never))
        hosts = np.flatnonzero(closed)
        if not len(hosts):
            return [], []
        servers = np.concatenate([self._of_host[host] for host in hosts])
        by_group = servers[np.argsort(self.groups.of_server[servers], kind="stable")]
        edges = np.flatnonzero(np.diff(self.groups.of_server[by_group])) + 1
        moves: list[Move] = []
        unplaced: list[int] = []
        for members in np.split(by_group, edges):
            if len(members):
                self._place_group(members, keepers, moves, unplaced)
        return moves, unplaced

    def _place_group(
        self,
        members: NDArray[np.intp],
        keepers: NDArray[np.intp],
        moves: list[Move],
        unplaced: list[int],
    ) -> None:
        placement, group = self.placement, int(self.groups.of_server[members[0]])
        room, demand = placement.free[keepers], placement.demand[members[0]]
        each = np.where(self.groups.hosts[group, keepers], slots(room[:, :3], demand[:3]), 0)
        order = np.argsort(room @ self.groups.weight, kind="stable")
        near_miss = self._near_miss(keepers, room, demand, order, each)
        queue = [int(host) for host in keepers[order[each[order] > 0]]]
        left = [int(count) for count in each[order[each[order] > 0]]]
        first = 0
        for server in members:
            while first < len(queue) and left[first] == 0:
                first += 1
            place = first
            while place < len(queue) and (
                left[place] == 0 or not placement.fits(int(server), queue[place])
            ):
                place += 1
            if place == len(queue):
                unplaced.append(int(server))
                continue
            left[place] -= 1
            placement.move(int(server), queue[place])
            moves.append(
                Move(
                    server=int(server),
                    source=int(self.at[server]),
                    target=queue[place],
                    runner_up=queue[place + 1] if place + 1 < len(queue) else None,
                    ruled_out=near_miss,
                )
            )

    def _near_miss(
        self,
        keepers: NDArray[np.intp],
        room: NDArray[np.float64],
        demand: NDArray[np.float64],
        order: NDArray[np.intp],
        each: NDArray[np.int64],
    ) -> tuple[int, str] | None:
        """The roomiest host that could not take one of this group, and what it lacks."""
        full = order[each[order] == 0]
        if not len(full):
            return None
        lacking = demand > room[full] + TOLERANCE
        for axis in np.flatnonzero(lacking.any(axis=0)):
            self.rejections[self.names[axis]] += int(lacking[:, axis].sum())
        last = lacking[-1]
        name = self.names[int(np.argmax(last))] if last.any() else "availability zone"
        return int(keepers[full[-1]]), name
