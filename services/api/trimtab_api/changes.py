"""What happened to audits and plans, as the outbox tells it: read once, handed to all who watch.

One task polls while anybody watches. Row ids are given in order but commit out of order, so an id
that is missing is asked for again until no transaction can still hold it: it is open so long. So are rows
of a plan still being stored, until it is visible.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from trimtab_common.domain.errors import ResourceExhausted, TrimtabError
from trimtab_common.domain.lifecycle import ActionState, AuditState, PlanState
from trimtab_common.domain.records import ActionPlan, Audit
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Session, Store
from trimtab_common.store.tail import TailRow

log = structlog.get_logger(__name__)
POLL_S = 0.25
GAP_S = 35.0
"""A statement may take 30 s, so a transaction that holds an id is over by then."""
ROWS_AT_ONCE = 500
MAX_MISSING = 500
MAX_WAITING = 4000
"""Changes that a reader may be behind: some megabytes."""
MAX_WATCHERS = 200
Progress = Mapping[ActionState, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One row of the outbox. `record`: state, status message and times are those of this change.

    search: the best plan so far, where the row tells of one.
    """

    id: int
    event_type: str
    record: Audit | ActionPlan
    old_state: str
    changed_at: datetime
    progress: Progress | None = None
    search: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Changes by rising id, then plans of which only actions moved on.

    After it all up to `read_to` is told but the `open_ids`.
    """

    changes: Sequence[Change]
    moved: Sequence[tuple[ActionPlan, Progress]]
    read_to: int
    open_ids: frozenset[int]


class Subscription:
    """What one watcher has not taken yet; bounded."""

    def __init__(self, *, read_to: int, open_ids: frozenset[int]) -> None:
        self.read_to = read_to
        self.open_ids = open_ids
        self.arrived = asyncio.Event()
        self._waiting: list[Batch] = []
        self._size = 0
        self._problem: TrimtabError | None = None

    def give(self, batch: Batch) -> None:
        """Adds a batch; too many end the subscription at the next `take`."""
        self._size += len(batch.changes) + len(batch.moved)
        if self._size > MAX_WAITING:
            self.end(
                ResourceExhausted(
                    f"This reader is more than {MAX_WAITING} changes behind. Resume with the last "
                    "token, and read faster."
                )
            )
            return
        self._waiting.append(batch)
        self.arrived.set()

    def end(self, problem: TrimtabError) -> None:
        """`take` raises this from now on."""
        self._problem = problem
        self._waiting.clear()
        self.arrived.set()

    def take(self) -> list[Batch]:
        """All that waits, perhaps nothing."""
        if self._problem is not None:
            raise self._problem
        taken, self._waiting, self._size = self._waiting, [], 0
        self.arrived.clear()
        return taken


class ChangeFeed:
    """Follows the outbox for all watchers of this process."""

    def __init__(self, store: Store, clock: Clock, *, poll_s: float = POLL_S) -> None:
        self._store = store
        self._clock = clock
        self._poll_s = poll_s
        self._subscriptions: set[Subscription] = set()
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._is_primed = False
        self._read_to = 0
        self._missing: dict[int, float] = {}
        self._held: set[int] = set()

    @property
    def watchers(self) -> int:
        """How many watch now."""
        return len(self._subscriptions)

    async def run(self) -> None:
        """Polls while anybody watches; `main` keeps this running."""
        while True:
            await self._wanted.wait()
            try:
                async with self._turn:
                    if self._subscriptions:
                        await self._poll()
                    else:
                        self._is_primed = False
                        self._wanted.clear()
            except TrimtabError as error:
                log.warning("the outbox cannot be followed", problem=error.message)
                self._is_primed = False
                for subscription in tuple(self._subscriptions):
                    subscription.end(error)
            await self._clock.sleep(self._poll_s)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """From now on. ResourceExhausted when too many watch; Unavailable without the database."""
        if len(self._subscriptions) >= MAX_WATCHERS:
            raise ResourceExhausted(
                f"{MAX_WATCHERS} streams are open already. Close some, or ask another replica."
            )
        async with self._turn:
            if not self._is_primed:
                await self._prime()
            subscription = Subscription(read_to=self._read_to, open_ids=self._open_ids())
            self._subscriptions.add(subscription)
        self._wanted.set()
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def missed(
        self, after: int, open_ids: Sequence[int], subscription: Subscription
    ) -> AsyncIterator[Batch]:
        """What was written after `after` and before the subscription, and those open then."""
        open_now = subscription.open_ids
        async with self._store.read() as session:
            late = await session.tail.ids([one for one in open_ids if one not in open_now])
            batch = await _batch(session, late, after, open_now)
        yield batch
        while after < subscription.read_to:
            async with self._store.read() as session:
                rows = await session.tail.since(after, ROWS_AT_ONCE, up_to=subscription.read_to)
                after = rows[-1].id if len(rows) == ROWS_AT_ONCE else subscription.read_to
                known = [row for row in rows if row.id not in open_now]
                batch = await _batch(session, known, after, open_now)
            yield batch

    async def reaches_back_to(self, position: int) -> bool:
        """Whether what came after this position can still be told."""
        if position > self._read_to:
            return False
        async with self._store.read() as session:
            return await session.tail.reaches_back_to(position)

    async def newest(self) -> int:
        """The last id that is visible now."""
        async with self._store.read() as session:
            return max(await session.tail.newest_ids(1), default=0)

    def _open_ids(self) -> frozenset[int]:
        return frozenset(self._missing) | self._held

    async def _prime(self) -> None:
        async with self._store.read() as session:
            ids = await session.tail.newest_ids(MAX_MISSING)
            self._held = set(await session.tail.hidden_ids(ROWS_AT_ONCE))
        self._read_to = ids[-1] if ids else 0
        now = self._clock.monotonic()
        holes = set(range(ids[0], ids[-1])) - set(ids) if ids else set()
        self._missing = dict.fromkeys(sorted(holes)[-MAX_MISSING:], now)
        self._is_primed = True

    async def _poll(self) -> None:
        now = self._clock.monotonic()
        self._missing = {i: since for i, since in self._missing.items() if now - since < GAP_S}
        asked = [*self._missing, *self._held][:ROWS_AT_ONCE]
        async with self._store.read() as session:
            rows = await session.tail.ids(asked)
            new = await session.tail.since(self._read_to, ROWS_AT_ONCE)
            self._note(asked, rows, new, now)
            shown = [row for row in (*rows, *new) if row.id not in self._held]
            batch = await _batch(session, shown, self._read_to, self._open_ids())
        for subscription in tuple(self._subscriptions):
            subscription.give(batch)

    def _note(
        self, asked: Sequence[int], rows: Sequence[TailRow], new: Sequence[TailRow], now: float
    ) -> None:
        """Which ids are still open after these rows."""
        self._held -= set(asked)  # a row that is gone belonged to a plan that was never published
        for row in rows:
            self._missing.pop(row.id, None)
        for row in new:
            for hole in range(max(self._read_to + 1, row.id - MAX_MISSING), row.id):
                self._missing[hole] = now
            self._read_to = row.id
        while len(self._missing) > MAX_MISSING:
            self._missing.pop(next(iter(self._missing)))
        self._held |= {row.id for row in (*rows, *new) if row.is_hidden and not row.is_of_action}


async def _batch(
    session: Session, rows: Sequence[TailRow], read_to: int, open_ids: frozenset[int]
) -> Batch:
    """The rows with the records that they tell of, in a constant number of statements."""
    shown = sorted(
        (row for row in rows if not row.is_hidden or row.is_of_action), key=lambda row: row.id
    )
    of_audits = [row for row in shown if row.event_type.startswith("audit.")]
    of_plans = [row for row in shown if row.event_type.startswith("action_plan.")]
    moved_ids = {
        row.plan_id
        for row in shown
        if row.event_type == "action.update" and row.plan_id is not None
    }
    audits: dict[str, Any] = {}
    plans: dict[str, Any] = {}
    if of_audits:
        uuids = sorted({row.object_uuid for row in of_audits})
        query = Query(filters={"uuid__in": uuids}, show_deleted=True)
        audits = {one.uuid: one for one in await session.audits.list(query)}
    if of_plans:
        uuids = sorted({row.object_uuid for row in of_plans})
        query = Query(filters={"uuid__in": uuids}, show_deleted=True)
        plans = {one.uuid: one for one in await session.action_plans.list(query)}
    moved = []
    if moved_ids:
        query = Query(filters={"id__in": sorted(moved_ids)})
        moved = [one for one in await session.action_plans.list(query) if one.uuid not in plans]
    counted = await session.actions.counts_by_state([*plans, *(one.uuid for one in moved)])
    changes = []
    for row in (*of_audits, *of_plans):
        record = (audits if row.event_type.startswith("audit.") else plans).get(row.object_uuid)
        if record is not None and row.payload is not None:
            changes.append(_change(row, record, counted.get(row.object_uuid)))
    return Batch(
        changes=sorted(changes, key=lambda change: change.id),
        moved=[(one, counted.get(one.uuid, {})) for one in moved],
        read_to=read_to,
        open_ids=open_ids,
    )


def _change(row: TailRow, record: Audit | ActionPlan, progress: Progress | None) -> Change:
    data = (row.payload or {})["watcher_object.data"]
    if "search" in data:  # no change of the record: it is shown as it is
        return Change(
            id=row.id,
            event_type=row.event_type,
            record=record,
            old_state="",
            changed_at=row.created_at,
            search=data["search"],
        )
    state_type: Any = AuditState if isinstance(record, Audit) else PlanState
    updated_at, update = data.get("updated_at"), data.get("state_update")
    told = update["watcher_object.data"] if update else {}
    then = dataclasses.replace(
        record,
        state=state_type(data["state"]),
        status_message=data.get("status_message"),
        updated_at=None if updated_at is None else datetime.fromisoformat(updated_at),
    )
    return Change(
        id=row.id,
        event_type=row.event_type,
        record=then,
        old_state=told.get("old_state") or "",
        changed_at=row.created_at,
        progress=progress,
    )
