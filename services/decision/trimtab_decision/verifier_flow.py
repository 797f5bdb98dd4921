"""The verifier's minimum cut: how much of what arrives at a host must have made room for itself.

Arrivals draw on departures that have to end before them. The largest flow from the one to the other
(augmenting paths) is what departures surely cover, whichever arrivals have started.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

EPSILON = 1e-6
_Hop = tuple[int, int, int]
"""(arrival, departure that it reaches, departure from which it was reached or -1)."""


def most_covered(
    weights: Sequence[float], costs: Sequence[float], needs: Sequence[Sequence[int]]
) -> float:
    """The largest flow. weights: of arrivals; costs: of departures; needs: departures by arrival."""
    network = _Network(list(weights), list(costs), needs)
    total = 0.0
    while path := network.path():
        total += network.push(path)
    return total


class _Network:
    def __init__(
        self, left: list[float], room: list[float], needs: Sequence[Sequence[int]]
    ) -> None:
        self.left, self.room, self.needs = left, room, needs
        self.flow: list[dict[int, float]] = [defaultdict(float) for _ in needs]

    def path(self) -> list[_Hop]:
        """From a departure with room back to an arrival that has something left; [] for none."""
        came: dict[int, _Hop] = {}
        queue = [(arrival, -1) for arrival, rest in enumerate(self.left) if rest > EPSILON]
        seen = {arrival for arrival, _ in queue}
        for arrival, origin in queue:  # grows while it is walked
            for departure in self.needs[arrival]:
                if departure in came:
                    continue
                came[departure] = (arrival, departure, origin)
                if self.room[departure] > EPSILON:
                    return _back(came, departure)
                for other in self._through(departure) - seen:
                    seen.add(other)
                    queue.append((other, departure))
        return []

    def _through(self, departure: int) -> set[int]:
        return {a for a, flow in enumerate(self.flow) if flow.get(departure, 0.0) > EPSILON}

    def push(self, path: Sequence[_Hop]) -> float:
        """Sends what fits along a path."""
        end, first = path[0][1], path[-1][0]
        amount = min(self.room[end], self.left[first])
        amount = min([amount, *(self.flow[a][origin] for a, _, origin in path if origin >= 0)])
        for arrival, departure, origin in path:
            self.flow[arrival][departure] += amount
            if origin >= 0:
                self.flow[arrival][origin] -= amount
        self.room[end] -= amount
        self.left[first] -= amount
        return amount


def _back(came: dict[int, _Hop], departure: int) -> list[_Hop]:
    path = []
    while departure >= 0:
        path.append(came[departure])
        departure = came[departure][2]
    return path
