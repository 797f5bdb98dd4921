"""Which events may still be believed: order within an element, duplicates, what is dead (C-064).

Clocks of two hosts do not compare, so a time orders events of one publisher only. Between two
publishers the later arrival wins, and is doubted when its time is the earlier one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from trimtab_collector.notifications.envelope import Notification

TOMBSTONE_S = 600.0
_PUBLISHERS = 8


class Verdict(Enum):
    """What to do with an event. DOUBTED: apply it and ask Nova."""

    GOOD = auto()
    DOUBTED = auto()
    OLD = auto()
    DEAD = auto()


@dataclass(slots=True)
class _Seen:
    message_id: str = ""
    newest: str = ""
    by_publisher: dict[str, str] = field(default_factory=dict)


class Ordering:
    """Remembers, for each element, the newest event of each publisher."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._floor = ""
        self._seen: dict[str, _Seen] = {}
        self._graves: dict[str, tuple[float, str]] = {}  # oldest first

    def judge(
        self, key: str, event: Notification, *, revives: bool = False, partial: bool = False
    ) -> Verdict:
        """Whether the event is newer than what is known; if so it is remembered.

        partial: it does not say all of the element, so that an older one still has something to add.
        """
        if event.at and event.at < self._floor:
            return Verdict.OLD
        grave = self._grave(key)
        if grave is not None:
            if not revives or (event.at and event.at < grave):
                return Verdict.DEAD
            del self._graves[key]
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen()
        if event.message_id and event.message_id == seen.message_id:
            return Verdict.OLD
        if event.at < seen.by_publisher.get(event.publisher_id, "") and event.at:
            return Verdict.OLD
        seen.message_id = event.message_id
        verdict = Verdict.DOUBTED if event.at and event.at < seen.newest else Verdict.GOOD
        if event.at:
            if not partial:
                seen.by_publisher.pop(event.publisher_id, None)
                seen.by_publisher[event.publisher_id] = event.at
            seen.newest = max(seen.newest, event.at)
            if len(seen.by_publisher) > _PUBLISHERS:
                del seen.by_publisher[next(iter(seen.by_publisher))]
        return verdict

    def bury(self, key: str, at: str = "") -> None:
        """The element is gone: for ten minutes no late event brings it back."""
        self._seen.pop(key, None)
        self._graves.pop(key, None)
        self._graves[key] = (self._monotonic() + TOMBSTONE_S, at)
        while self._graves:
            oldest = next(iter(self._graves))
            if self._graves[oldest][0] > self._monotonic():
                break
            del self._graves[oldest]

    def raise_dead(self, key: str) -> None:
        """Nova itself lists the element: it lives."""
        self._graves.pop(key, None)

    def start_from(self, floor: str, is_known: Callable[[str], bool]) -> None:
        """The cloud was read in full at `floor`: what is older is in the read."""
        self._floor = max(self._floor, floor)
        self._seen = {key: seen for key, seen in self._seen.items() if is_known(key)}
        self._graves = {key: grave for key, grave in self._graves.items() if not is_known(key)}

    def _grave(self, key: str) -> str | None:
        grave = self._graves.get(key)
        return grave[1] if grave is not None and grave[0] > self._monotonic() else None
