"""Hands what comes from the bus to the inbox of the model that it is for, in order of arrival."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trimtab_collector.notifications.envelope import peek
from trimtab_collector.notifications.inbox import Inbox


class Mailroom:
    """All inboxes of a collector, to its consumer like one. What nobody wants goes to the first."""

    def __init__(self, inboxes: Sequence[Inbox]) -> None:
        self._inboxes = list(inboxes)
        self._by_type = {
            event_type: inbox
            for inbox in reversed(self._inboxes)
            for event_type in inbox.dialect.table
        }

    def connected(self) -> None:
        """The queue is bound from now on; what came before may have been missed."""
        for inbox in self._inboxes:
            inbox.connected()

    def disconnected(self) -> None:
        """Nothing comes until further notice."""
        for inbox in self._inboxes:
            inbox.disconnected()

    def ask_resync(self) -> None:
        """Wants the cloud to be read in full."""
        for inbox in self._inboxes:
            inbox.ask_resync()

    def receive(self, bodies: Iterable[bytes]) -> None:
        """Gives each inbox its share of a batch."""
        shares: dict[int, list[bytes]] = {}
        for body in bodies:
            inbox = self._by_type.get(peek(body) or "", self._inboxes[0])
            shares.setdefault(self._inboxes.index(inbox), []).append(body)
        for index, share in shares.items():
            self._inboxes[index].receive(share)
