"""Events that arrive while the cloud is read: which parts of the read they outdate (C-008)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from trimtab_collector.notifications.envelope import Notification
from trimtab_collector.notifications.outcome import Outcome
from trimtab_collector.reads import FullRead

AGGREGATE = "aggregate "
"""How the keys of aggregates begin: one change sets their whole index."""
Handle = Callable[[Notification, Any], Outcome]
"""What an event means for these rows."""


def floor_of(since: datetime) -> str:
    """The time from which on events are newer than a read, in the form of `Notification.at`."""
    return since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


class Reading:
    """One read of the cloud under way, and the events that came since it began."""

    def __init__(self, key_of: Callable[[Any], str | None]) -> None:
        self._key_of = key_of
        self._touched: set[str] = set()
        self._kept: list[tuple[Notification, Handle]] = []

    def note(self, key: str, event: Notification, handle: Handle, outcome: Outcome) -> None:
        """Keeps an event that was believed."""
        if outcome.changes:
            self._touched.add(AGGREGATE if key.startswith(AGGREGATE) else key)
        self._kept.append((event, handle))

    def untouched(self, changes: Iterable[Any]) -> list[Any]:
        """The changes of a poll or re-read that no event of meanwhile outdates."""
        return [change for change in changes if self._key_of(change) not in self._touched]

    def outdated(self, changes: Iterable[Any]) -> set[str]:
        """The keys of the other changes."""
        keys = {self._key_of(change) for change in changes}
        return {key for key in keys if key is not None and key in self._touched}

    def replayed(self, read: FullRead) -> tuple[FullRead, list[Outcome]]:
        """A full read as it would be had it ended now, and what came of each event.

        Events older than the beginning of the read are in it already.
        """
        floor = floor_of(read.since)
        rows = read.rows()
        outcomes = []
        for event, handle in self._kept:
            if not event.at or event.at >= floor:
                outcome = handle(event, rows)
                rows.apply(outcome.changes)
                outcomes.append(outcome)
        return (rows.read() if outcomes else read), outcomes
