"""The outbox: notifications written with the save, sent later by one leased publisher.

On the main path: `announce` adds rows; the publisher of api reads `unpublished`, sends in order,
then `mark_published`. Rows of a plan still being stored stay back until it is visible. What the
notification level keeps from the bus is stored too, as published already: `tail` reads all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import sqlalchemy as sa

from trimtab_common.domain.records import OutboxEntry
from trimtab_common.notify.events import Event, is_enabled
from trimtab_common.runtime import failpoints
from trimtab_common.store import look_up, tables
from trimtab_common.store.query import MAX_IN

if TYPE_CHECKING:
    from trimtab_common.domain.records import Action, ActionPlan, Audit
    from trimtab_common.store.session import Session

_T = tables.outbox


class Outbox:
    """The outbox within one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._unwritten: list[dict[str, Any]] = []

    async def flush(self) -> None:
        """Writes what was added, in one INSERT; the store does it before it commits."""
        rows, self._unwritten = self._unwritten, []
        if rows:
            failpoints.reach("store.outbox.add")
            await self._session.execute(look_up.insert_into(_T), rows)

    async def add(
        self,
        event_type: str,
        priority: str,
        object_uuid: str,
        payload: Mapping[str, Any],
        publisher: str | None = None,
    ) -> None:
        """One row, whatever the notification level. `publisher`: a host, default ours."""
        row = self._row(event_type, priority, object_uuid, payload, publisher=publisher)
        self._unwritten.append(row)

    async def add_events(self, events: Sequence[Event], *, plan_id: int | None = None) -> None:
        """Added in this order; with `plan_id` they wait until that plan is visible."""
        level, now = self._session.options.notification_level, self._session.now()
        for event in events:
            row = self._row(
                event.event_type, event.priority, event.object_uuid, event.payload, plan_id=plan_id
            )
            if not (event.is_for_bus and is_enabled(event.priority, level=level)):
                row["published_at"] = now  # for those who watch, not for the bus
            self._unwritten.append(row)

    async def emit(
        self,
        event_type: str,
        subject: Audit | ActionPlan | Action,
        *,
        priority: str = "INFO",
        fault: dict[str, Any] | None = None,
    ) -> None:
        """An event that is not a save, such as `action_plan.execution.start`."""
        await self._session.announcer.emit(event_type, subject, priority=priority, fault=fault)

    async def unpublished(self, limit: int) -> list[OutboxEntry]:
        """The oldest rows not yet marked, in order of writing."""
        await self.flush()
        plans = tables.action_plans
        statement = (
            sa.select(
                _T.c.id,
                _T.c.uuid,
                _T.c.event_type,
                _T.c.priority,
                _T.c.object_uuid,
                _T.c.publisher,
                _T.c.payload,
                _T.c.created_at,
                _T.c.published_at,
            )
            .select_from(_T.outerjoin(plans, plans.c.id == _T.c.plan_id))
            .where(_T.c.published_at.is_(None))
            .where(sa.or_(_T.c.plan_id.is_(None), plans.c.visible == sa.true()))
            .order_by(_T.c.id)
            .limit(limit)
        )
        rows = (await self._session.execute(statement)).mappings()
        return [OutboxEntry(**row) for row in rows]

    async def mark_published(self, ids: Sequence[int]) -> None:
        """Confirmed by the bus."""
        now = self._session.now()
        for start in range(0, len(ids), MAX_IN):
            chunk = list(ids[start : start + MAX_IN])
            await self._session.execute(
                sa.update(_T).where(_T.c.id.in_(chunk)).values(published_at=now, sent=True)
            )

    async def mark_unwanted(self, limit: int) -> int:
        """The oldest rows are done with, unread, where there is no bus; how many."""
        await self.flush()
        waiting = _T.c.published_at.is_(None)
        statement = sa.select(_T.c.id).where(waiting).order_by(_T.c.id).limit(limit)
        ids = list((await self._session.execute(statement)).scalars())
        if ids:
            some = sa.and_(waiting, _T.c.id.between(ids[0], ids[-1]))
            done = {"published_at": self._session.now(), "sent": False}
            await self._session.execute(sa.update(_T).where(some).values(**done))
        return len(ids)

    async def prune(self, *, published_before: datetime, limit: int = MAX_IN) -> int:
        """Removes rows that were done with long ago; returns how many."""
        condition = _T.c.published_at < published_before
        statement = sa.select(_T.c.id).where(condition).order_by(_T.c.id).limit(limit)
        ids = list((await self._session.execute(statement)).scalars())
        if ids:
            await self._session.execute(sa.delete(_T).where(_T.c.id.in_(ids)))
        return len(ids)

    def _row(
        self,
        event_type: str,
        priority: str,
        object_uuid: str,
        payload: Mapping[str, Any],
        *,
        publisher: str | None = None,
        plan_id: int | None = None,
    ) -> dict[str, Any]:
        return {
            "uuid": str(uuid4()),
            "event_type": event_type,
            "priority": str(priority),
            "object_uuid": object_uuid,
            "publisher": publisher or self._session.options.host,
            "payload": payload,
            "plan_id": plan_id,
            "created_at": self._session.now(),
            "sent": False,
            "published_at": None,
        }
