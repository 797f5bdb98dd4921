"""What `rebalancing` has found, made fit to be done: without moves that it does not need, and in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.balancing import MARGIN, MIN_GAIN, Balance, BalancingMove
from trimtab_decision.optimizer.dimensions import TOLERANCE
from trimtab_decision.optimizer.move_order import MoveOrder, move_order, room_at_end

if TYPE_CHECKING:
    from trimtab_decision.optimizer.rebalancing import Rebalancing


class Settled:
    """The placement after the search, without what it does not need."""

    def __init__(self, problem: Rebalancing, servers: NDArray[np.intp]) -> None:
        self.problem = problem
        self.load = problem.load_now()
        placement = problem.placement
        self.room = room_at_end(placement)
        is_away = placement.host != placement.origin
        self.away = servers[is_away[servers]]
        is_away[servers] = False
        self.others = np.flatnonzero(is_away)
        self.order = MoveOrder(servers=[])
        self.had_stuck = False

    @property
    def total(self) -> float:
        """The weighted deviation."""
        return float(self.load.std(axis=0) @ self.problem.loads.weight)

    def is_done(self) -> bool:
        """Every metric is below its threshold."""
        return bool((self.load.std(axis=0) < self.problem.loads.threshold * MARGIN).all())

    def is_better_than(self, found: Balance) -> bool:
        """By the total, or by being done, which `found` is not."""
        return self.total < found.total - MIN_GAIN or self.is_done()

    def rank(self) -> tuple[bool, float]:
        """Less is better: done, for the fewest moves, or else the lowest total."""
        return (False, len(self.away)) if self.is_done() else (True, self.total)

    def put_in_order(self) -> None:
        """Finds an order, without what is not needed and without what never finds room.

        Servers that are not this search's come first: what was free at first is enough for them.
        """
        while True:
            self.drop_unneeded()
            wanted = [*self.others.tolist(), *self._by_gain()]
            self.order = move_order(self.problem.placement, wanted)
            if not self.order.stuck:
                return
            self.had_stuck = True
            for server in self.order.stuck:
                self._send_home(int(np.flatnonzero(self.away == server)[0]))

    def drop_unneeded(self) -> None:
        """Servers go home that gain nothing, or that the thresholds can do without, the least first.

        Only where home has still room.
        """
        was_done = self.is_done()
        while len(self.away):
            without = self._deviation_without()
            gain = without @ self.problem.loads.weight - self.total
            gain[~self._has_room_at_home()] = np.inf
            least = int(np.argmin(gain))
            stays_done = was_done and (without[least] < self.problem.loads.threshold * MARGIN).all()
            if np.isinf(gain[least]) or (gain[least] > MIN_GAIN and not stays_done):
                return
            self._send_home(least)

    def _has_room_at_home(self) -> NDArray[np.bool_]:
        """[away] Whether the server could go back."""
        placement = self.problem.placement
        room = self.room[placement.origin[self.away]]
        return np.asarray((placement.demand[self.away] <= room + TOLERANCE).all(axis=1))

    def _by_gain(self) -> list[int]:
        """Servers away from home, what gains most first."""
        without = self._deviation_without() @ self.problem.loads.weight
        return [int(server) for server in self.away[np.argsort(-without, kind="stable")]]

    def moves(self, kept: Mapping[int, BalancingMove]) -> list[BalancingMove]:
        """Of the servers away from home; `kept`: moves that were explained already."""
        loads, placement, place = self.problem.loads, self.problem.placement, self.problem.place
        without, total = self._deviation_without() @ loads.weight, self.total
        result = []
        for i, server in enumerate(self.away.tolist()):
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
        self.room[placement.host[server]] += placement.demand[server]
        self.room[placement.origin[server]] -= placement.demand[server]
        placement.move(server, int(placement.origin[server]))
        self.away = np.delete(self.away, which)
