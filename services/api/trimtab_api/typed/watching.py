"""Watch streams: a snapshot, then every change, with tokens to resume by and heartbeats between.

On the main path: the servicer yields what `Watches.run` yields. A message is sent once and in the
order of its object's changes; after a break the client goes on with its last token. What a token
stands for: all up to a position, but for a few rows that were still open.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import orjson

from trimtab_api.changes import Batch, Change, ChangeFeed, Progress, Subscription
from trimtab_api.typed.gate import Context, Gate, metadata
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.records import ActionPlan
from trimtab_common.runtime.clock import Clock

Message = Any
"""WatchAuditsResponse or WatchActionPlansResponse."""
DEFAULT_HEARTBEAT_S = 5
MAX_HEARTBEAT_S = 60
MAX_NAMED = 100
_MAX_ID = 2**62
_MAX_OPEN = 2000


class Cursor:
    """How far a reader is: all up to `high` was sent, but the `open_ids` below it."""

    def __init__(self, high: int, open_ids: Iterable[int] = ()) -> None:
        self.high = high
        self.open_ids = {key for key in open_ids if key <= high}

    @classmethod
    def parse(cls, token: str) -> Cursor:
        """InvalidArgument for a token that is none of ours."""
        try:
            high, open_ids = orjson.loads(
                base64.b64decode(token.encode(), altchars=b"-_", validate=True)
            )
            ids: list[Any] = [high, *open_ids]
        except (binascii.Error, TypeError, ValueError):
            ids = [None]
        if len(ids) > _MAX_OPEN or not all(type(one) is int and 0 <= one <= _MAX_ID for one in ids):
            raise InvalidArgument("resume_token is not one that this service gave.")
        return cls(ids[0], ids[1:])

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(orjson.dumps([self.high, sorted(self.open_ids)])).decode()

    def covers(self, key: int) -> bool:
        """Whether this row was passed already."""
        return key <= self.high and key not in self.open_ids

    def pass_over(self, key: int, open_ids: Iterable[int]) -> None:
        """All up to this row was sent, but what was open before and `open_ids`."""
        self.open_ids.discard(key)
        if key > self.high:
            self.open_ids |= {one for one in open_ids if self.high < one < key}
            self.high = key

    def reach(self, batch: Batch) -> None:
        """The whole batch was sent."""
        if batch.read_to >= self.high:
            self.high = batch.read_to
            self.open_ids = {key for key in batch.open_ids if key <= self.high}


class Watch(Protocol):
    """One kind of resource as a caller wants to watch it; stateful, one per stream."""

    resume_token: str
    heartbeat_s: int

    async def prepare(self) -> None:
        """Resolves what the request names. InvalidArgument, NotFound."""
        ...

    def snapshot(self) -> AsyncIterator[Sequence[Any]]:
        """Pages of records that the caller wants."""
        ...

    def accepts(self, record: Any) -> bool:
        """Whether the caller wants to hear of this one."""
        ...

    async def begin(self, reason: str) -> Message:
        """Opens a snapshot."""
        ...

    async def item(self, record: Any) -> Message:
        """One resource of the snapshot."""
        ...

    async def end(self, count: int, token: str) -> Message:
        """Closes a snapshot."""
        ...

    async def change(self, change: Change, token: str) -> Message:
        """One change."""
        ...

    async def moved(self, plan: ActionPlan, progress: Progress, token: str) -> Message | None:
        """Only actions moved on; None when that does not matter here."""
        ...

    async def heartbeat(self, token: str) -> Message:
        """Nothing happened."""
        ...


class Watches:
    """Runs the streams of one process."""

    def __init__(
        self, feed: ChangeFeed, gate: Gate, clock: Clock, *, max_stream_age_s: float
    ) -> None:
        self._feed = feed
        self._gate = gate
        self._clock = clock
        self._max_stream_age_s = max_stream_age_s

    async def run(self, watch: Watch, context: Context, rule: str) -> AsyncIterator[Message]:
        """The messages of one stream, until it is old, its caller loses his rights, or he ends it."""
        headers = metadata(context)
        await self._gate.check_headers(headers, rule)
        heartbeat_s = watch.heartbeat_s or DEFAULT_HEARTBEAT_S
        if not 1 <= heartbeat_s <= MAX_HEARTBEAT_S:
            raise InvalidArgument(f"heartbeat_s must be 1 to {MAX_HEARTBEAT_S}, is {heartbeat_s}.")
        cursor = Cursor.parse(watch.resume_token) if watch.resume_token else None
        await watch.prepare()
        end_at = self._clock.monotonic() + self._max_stream_age_s
        async with self._feed.subscribe() as subscription:
            stream = _Stream(self._feed, watch, subscription)
            async for message in stream.start(cursor):
                yield message
            beat_at = self._clock.monotonic()
            while (now := self._clock.monotonic()) < end_at:
                if now >= beat_at:
                    await self._gate.check_headers(headers, rule)
                    beat_at = now + heartbeat_s
                    yield await watch.heartbeat(str(stream.cursor))
                for batch in subscription.take():
                    async for message in stream.told(batch):
                        yield message
                await _wait(subscription.arrived, min(beat_at, end_at) - self._clock.monotonic())


class _Stream:
    """The position of one stream, and what it says next."""

    def __init__(self, feed: ChangeFeed, watch: Watch, subscription: Subscription) -> None:
        self._feed = feed
        self._watch = watch
        self._subscription = subscription
        self._shown: Mapping[str, datetime | None] = {}
        self._shown_to = 0
        self.cursor = Cursor(subscription.read_to, subscription.open_ids)

    async def start(self, cursor: Cursor | None) -> AsyncIterator[Message]:
        """What was missed since the token; a snapshot without one, or when that is gone."""
        if cursor is not None and await self._feed.reaches_back_to(cursor.high):
            self.cursor = cursor
            missed = self._feed.missed(cursor.high, sorted(cursor.open_ids), self._subscription)
            async for batch in missed:
                async for message in self.told(batch):
                    yield message
            return
        shown: dict[str, datetime | None] = {}
        yield await self._watch.begin("initial" if cursor is None else "token_too_old")
        async for page in self._watch.snapshot():
            for record in page:
                shown[record.uuid] = record.updated_at or record.created_at
                yield await self._watch.item(record)
        # What happened while the snapshot was read may be in it already, and is not told again.
        self._shown, self._shown_to = shown, await self._feed.newest()
        yield await self._watch.end(len(shown), str(self.cursor))

    async def told(self, batch: Batch) -> AsyncIterator[Message]:
        """The messages of a batch."""
        for change in batch.changes:
            if self.cursor.covers(change.id):
                continue
            self.cursor.pass_over(change.id, batch.open_ids)
            if self._watch.accepts(change.record) and not self._was_shown(change):
                yield await self._watch.change(change, str(self.cursor))
        self.cursor.reach(batch)
        if self._shown and min((*batch.open_ids, batch.read_to)) >= self._shown_to:
            self._shown = {}
        for plan, progress in batch.moved:
            if self._watch.accepts(plan):
                message = await self._watch.moved(plan, progress, str(self.cursor))
                if message is not None:
                    yield message

    def _was_shown(self, change: Change) -> bool:
        seen = self._shown.get(change.record.uuid)
        at = change.record.updated_at or change.record.created_at
        return change.id <= self._shown_to and None not in (seen, at) and at <= seen  # type: ignore[operator]  # neither is None


async def _wait(arrived: asyncio.Event, timeout_s: float) -> None:
    if timeout_s <= 0:
        return
    try:
        async with asyncio.timeout(timeout_s):
            await arrived.wait()
    except TimeoutError:
        return
