"""Sends unpublished rows of the outbox, in order for each object, and marks what was confirmed.

On the main path: every save left its row; whichever api holds the lease sends it within a second.
At least once: a process that dies between the confirmation and the mark leaves rows which its
successor sends again, with the same message_id. Without a way to send them rows are marked as not
to be sent, so that the table does not grow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog

from trimtab_api.outbox import metrics
from trimtab_common.domain.errors import Conflict, Unavailable
from trimtab_common.domain.records import Lease, OutboxEntry
from trimtab_common.notify import Notifier
from trimtab_common.notify.events import envelope
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Session, Store

log = structlog.get_logger(__name__)
KIND, NAME = "outbox", "publisher"
LEASE_S = 20.0
BATCH, UNREAD_BATCH = 100, 2000
"""Rows to be sent, and rows that nobody wants, at once."""
POLL_S = 1.0
_PAUSES_S = (1.0, 2.0, 5.0, 10.0)
_MARGIN_S = 12.0  # a send may take this long: it must not outlive the lease by much
_PRUNE_EVERY_S = 600.0
_KEPT = timedelta(days=7)
_PRUNED_AT_ONCE = 500


class OutboxPublisher:
    """One task runs `run`. `bus` None: nothing is sent."""

    def __init__(self, store: Store, bus: Notifier | None, *, clock: Clock, owner: str) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._owner = owner
        self._lease: Lease | None = None
        self._held_until = 0.0
        self._pruned_at: float | None = None
        self._failures = 0

    async def run(self) -> None:
        """Publishes until cancelled, whenever the lease is ours."""
        try:
            while True:
                await self._clock.sleep(await self._turn())
        finally:
            await self._release()

    async def publish_once(self) -> int:
        """Sends and marks the oldest rows; how many. 0 when there are none or another sends them.

        Unavailable when the bus or the database does not answer; what was confirmed is marked.
        """
        lease = await self._hold()
        if lease is None:
            return 0
        if self._bus is None:
            return await self._mark_unread(lease)
        async with self._store.read() as session:
            entries = await session.outbox.unpublished(BATCH)
        metrics.WAITING.set(len(entries))
        age = (self._clock.now() - entries[0].created_at).total_seconds() if entries else 0.0
        metrics.OLDEST_SECONDS.set(max(0.0, age))
        if not entries:
            return 0
        sent, problem = await self._send(self._bus, entries)
        if sent:
            await self._mark(lease, sent)
            metrics.PUBLISHED.labels("sent").inc(len(sent))
        if problem is not None:
            raise problem
        return len(sent)

    async def _turn(self) -> float:
        """One batch; the seconds to wait before the next."""
        try:
            number = await self.publish_once()
            if self._lease is not None:
                await self._prune()
        except Conflict:
            self._lease = None  # somebody took over while we slept or the database did
            return POLL_S
        except Unavailable as error:
            pause_s = _PAUSES_S[min(self._failures, len(_PAUSES_S) - 1)]
            self._failures += 1
            metrics.FAILURES.inc()
            log.warning("notifications wait", problem=error.message, next_try_s=pause_s)
            return pause_s
        self._failures = 0
        return 0.0 if number >= BATCH else POLL_S

    async def _hold(self) -> Lease | None:
        """Our lease with time enough for a batch; None while another api holds it."""
        began = self._clock.monotonic()
        lease = self._lease
        if lease is not None and self._held_until - began > _MARGIN_S:
            return lease
        if lease is not None:
            held = lease
            self._lease = await self._store.transact(lambda s: s.leases.renew(held, LEASE_S))
        if self._lease is None:
            self._lease = await self._store.transact(
                lambda s: s.leases.acquire(KIND, NAME, self._owner, LEASE_S)
            )
        self._held_until = began + LEASE_S
        return self._lease

    async def _mark_unread(self, lease: Lease) -> int:
        """A large plan leaves a row for each action: without a bus they cost next to nothing."""

        async def mark(session: Session) -> int:
            await session.leases.check(lease)
            return await session.outbox.mark_unwanted(UNREAD_BATCH)

        number = await self._store.transact(mark)
        metrics.WAITING.set(0)
        metrics.OLDEST_SECONDS.set(0.0)
        metrics.PUBLISHED.labels("not_wanted").inc(number)
        return number

    async def _send(
        self, bus: Notifier, entries: Sequence[OutboxEntry]
    ) -> tuple[list[int], Unavailable | None]:
        """Ids that the bus confirmed. After a failure the rest of that object waits for its turn."""
        chains: dict[str, list[OutboxEntry]] = {}
        for entry in entries:
            chains.setdefault(entry.object_uuid, []).append(entry)
        sent: list[int] = []

        async def follow(chain: Sequence[OutboxEntry]) -> None:
            for entry in chain:
                await bus.send(envelope(entry))
                sent.append(entry.id)

        results = await asyncio.gather(*map(follow, chains.values()), return_exceptions=True)
        problem: Unavailable | None = None
        for result in results:
            if isinstance(result, Unavailable):
                problem = result
            elif isinstance(result, BaseException):
                raise result
        return sent, problem

    async def _mark(self, lease: Lease, ids: Sequence[int]) -> None:
        async def mark(session: Session) -> None:
            await session.leases.check(lease)
            await session.outbox.mark_published(ids)

        await self._store.transact(mark)

    async def _prune(self) -> None:
        """Removes rows that were marked a week ago. What waits for the bus stays, however old."""
        now = self._clock.monotonic()
        if self._pruned_at is not None and now - self._pruned_at < _PRUNE_EVERY_S:
            return
        before = self._clock.now() - _KEPT
        removed = await self._store.transact(
            lambda s: s.outbox.prune(published_before=before, limit=_PRUNED_AT_ONCE)
        )
        if removed < _PRUNED_AT_ONCE:
            self._pruned_at = now
        if removed:
            log.info("old notifications removed", count=removed)

    async def _release(self) -> None:
        """Lets another api go on at once; when that fails it goes on at the lease's end."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        try:
            await self._store.transact(lambda s: s.leases.release(lease))
        except Unavailable as error:
            log.info("the lease runs out by itself", problem=error.message)
