"""Watches all moves in flight together: one list of Nova's migrations a tick, servers as needed.

Actions do not poll by themselves. Each says which server it waits for; once a tick (1 s) one read
serves them all, and each is given what Nova shows of its move.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from trimtab_common.domain.errors import TrimtabError, Unavailable
from trimtab_common.openstack.nova_writes import MigrationView, NovaWrites, ServerView
from trimtab_common.runtime.clock import Clock

log = structlog.get_logger(__name__)
CLOCK_SKEW = timedelta(minutes=5)
"""How far Nova's clock may be from ours."""
SERVER_EVERY = 10
"""Looks until the server is read although its migration runs: Nova may have given the move up."""
LIVE_ENDS = frozenset({"completed", "failed", "error", "cancelled"})
COLD_ENDS = frozenset({"finished", "done", "confirmed", "reverted", "failed", "error", "cancelled"})


@dataclass(frozen=True, slots=True)
class MoveView:
    """What Nova shows of one move.

    `migration`: the newest that is newer than the one before the move, None when there is none.
    `server` is read when there is no migration or it has ended, and now and then in between; None
    with `gone` False means that it was not read.
    """

    migration: MigrationView | None
    server: ServerView | None
    gone: bool = False

    @property
    def is_in_progress(self) -> bool:
        """A migration is there and has not ended."""
        return self.migration is not None and not has_ended(self.migration)


def has_ended(migration: MigrationView) -> bool:
    """Whether Nova needs nothing or somebody else to go on."""
    ends = LIVE_ENDS if migration.kind == "live-migration" else COLD_ENDS
    return migration.status in ends


class MoveWatch:
    """What one action waits on."""

    def __init__(self, server: str, *, after: int, since: datetime) -> None:
        self.server = server
        self.after = after
        self.since = since
        self.looks = 0
        self._waiters: list[asyncio.Future[MoveView]] = []

    async def next(self) -> MoveView:
        """What the next read shows; a read that began after this call.

        Raises:
            TrimtabError: the read failed.
        """
        waiter: asyncio.Future[MoveView] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return await waiter

    def take_waiters(self) -> list[asyncio.Future[MoveView]]:
        """Those that the next read serves."""
        taken, self._waiters = self._waiters, []
        return taken


class MoveWatcher:
    """Reads for all watches. Shared by all plans of the process."""

    def __init__(self, nova: NovaWrites, clock: Clock, *, poll_s: float) -> None:
        self._nova = nova
        self._clock = clock
        self._poll_s = poll_s
        self._watches: list[MoveWatch] = []
        self._polling: asyncio.Task[None] | None = None

    @contextmanager
    def watching(self, server: str, *, after: int, since: datetime) -> Iterator[MoveWatch]:
        """A watch on the moves of a server with numbers above `after`, begun at `since`."""
        watch = MoveWatch(server, after=after, since=since)
        self._watches.append(watch)
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll(), name="moves")
        try:
            yield watch
        finally:
            self._watches.remove(watch)

    async def _poll(self) -> None:
        while self._watches:
            await self._clock.sleep(self._poll_s)
            served = [(watch, watch.take_waiters()) for watch in self._watches]
            served = [(watch, waiters) for watch, waiters in served if waiters]
            if not served:
                continue
            try:
                views = await self._read([watch for watch, _ in served])
            except TrimtabError as error:
                _answer(served, error)
            except Exception as error:  # an answer that no Nova gives; it is recorded
                log.exception("moves not read")
                _answer(
                    served, Unavailable(f"Nova's answer cannot be read: {type(error).__name__}")
                )
            else:
                _answer(served, views)

    async def _read(self, watches: list[MoveWatch]) -> list[MoveView]:
        since = min(watch.since for watch in watches) - CLOCK_SKEW
        newest: dict[str, MigrationView] = {}
        for migration in await self._nova.migrations(since=since):
            known = newest.get(migration.server)
            if known is None or known.number < migration.number:
                newest[migration.server] = migration
        seen = [newest.get(watch.server) for watch in watches]
        moves = [
            migration if migration is not None and migration.number > watch.after else None
            for watch, migration in zip(watches, seen, strict=True)
        ]
        for watch in watches:
            watch.looks += 1
        settled = {
            watch.server
            for watch, move in zip(watches, moves, strict=True)
            if move is None or has_ended(move) or watch.looks % SERVER_EVERY == 0
        }
        servers = await self._nova.servers(settled, since=since) if settled else {}
        return [
            MoveView(
                migration=move,
                server=servers.get(watch.server),
                gone=watch.server in settled and watch.server not in servers,
            )
            for watch, move in zip(watches, moves, strict=True)
        ]


def _answer(
    served: list[tuple[MoveWatch, list[asyncio.Future[MoveView]]]],
    outcome: list[MoveView] | TrimtabError,
) -> None:
    for place, (_, waiters) in enumerate(served):
        for waiter in waiters:
            if waiter.done():
                continue
            if isinstance(outcome, TrimtabError):
                waiter.set_exception(outcome)
            else:
                waiter.set_result(outcome[place])
