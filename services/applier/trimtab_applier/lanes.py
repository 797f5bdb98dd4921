"""Limits on what runs at once, beside `max_workers`: moves in all, and out of or into one host.

An action enters all its lanes or waits at the first full one. Waiters go before newcomers, in
the order in which they came.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping


class Lanes:
    """Counts who is in which lane. A lane's kind is what stands before the colon of its name."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._inside: Counter[str] = Counter()
        self._lanes_of: dict[str, tuple[str, ...]] = {}
        self._waiting: defaultdict[str, deque[str]] = defaultdict(deque)
        self._freed: set[str] = set()

    def enter(self, uuid: str, lanes: tuple[str, ...]) -> bool:
        """Takes a place in each lane; else queues at a full one and gives False."""
        full = next((lane for lane in lanes if self._is_full(lane)), None)
        if full is not None:
            self._waiting[full].append(uuid)
            return False
        self.hold(uuid, lanes)
        return True

    def hold(self, uuid: str, lanes: tuple[str, ...]) -> None:
        """Takes a place in each lane, full or not: what was running before a restart still is."""
        self._inside.update(lanes)
        self._lanes_of[uuid] = lanes

    def leave(self, uuid: str) -> None:
        """Gives the places back."""
        for lane in self._lanes_of.pop(uuid, ()):
            self._inside[lane] -= 1
            if self._waiting.get(lane):
                self._freed.add(lane)

    def next_waiter(self) -> str | None:
        """Takes a waiter whose lane has a place again; it may find another lane full."""
        while self._freed:
            lane = min(self._freed)
            if self._waiting[lane] and not self._is_full(lane):
                return self._waiting[lane].popleft()
            self._freed.discard(lane)
        return None

    def _is_full(self, lane: str) -> bool:
        limit = self._limits.get(lane.partition(":")[0], 0)
        return bool(limit) and self._inside[lane] >= limit
