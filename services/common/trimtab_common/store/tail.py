"""Reading the outbox forward, for those who follow audits and plans.

On the main path: the change feed of api polls `since`. Ids are given in order but commit out of
order, so the feed asks again for `ids` that it saw no row of. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trimtab_common.store import tables

if TYPE_CHECKING:
    from trimtab_common.store.session import Session

_T, _PLANS, _ACTIONS = tables.outbox, tables.action_plans, tables.actions
OF_ACTIONS = "action."
SURELY_KEPT = timedelta(days=6)
"""The publisher removes what was sent a week ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TailRow:
    """One row. `payload` None: an event of an action, whose plan is `plan_id`.

    `is_hidden`: its plan is still being stored.
    """

    id: int
    event_type: str
    object_uuid: str
    created_at: datetime
    payload: dict[str, Any] | None
    plan_id: int | None
    is_hidden: bool

    @property
    def is_of_action(self) -> bool:
        """Whether it tells of an action and not of an audit, plan or service."""
        return self.event_type.startswith(OF_ACTIONS)


class Tail:
    """The outbox within one transaction, oldest first."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def since(self, after: int, limit: int, *, up_to: int | None = None) -> list[TailRow]:
        """Rows with an id above `after`, not above `up_to`."""
        statement = self._rows().where(_T.c.id > after)
        if up_to is not None:
            statement = statement.where(_T.c.id <= up_to)
        return await self._read(statement.limit(limit))

    async def ids(self, ids: Sequence[int]) -> list[TailRow]:
        """Those of these rows that are there by now. Hand in at most 500."""
        return await self._read(self._rows().where(_T.c.id.in_(list(ids)))) if ids else []

    async def newest_ids(self, limit: int) -> list[int]:
        """The last ids, rising."""
        statement = sa.select(_T.c.id).order_by(_T.c.id.desc()).limit(limit)
        return sorted((await self._session.execute(statement)).scalars())

    async def hidden_ids(self, limit: int) -> list[int]:
        """Rows of plans that are still being stored, without those of their actions."""
        statement = (
            sa.select(_T.c.id)
            .join_from(_T, _PLANS, _PLANS.c.id == _T.c.plan_id)
            .where(_PLANS.c.visible == sa.false(), _T.c.event_type.like("action_plan.%"))
            .order_by(_T.c.id)
            .limit(limit)
        )
        return list((await self._session.execute(statement)).scalars())

    async def reaches_back_to(self, position: int) -> bool:
        """Whether everything after this id is still kept: a row at or before it, or right after.

        Rows that wait for the bus outlive younger ones that it has taken; old ones prove nothing.
        """
        young = _T.c.created_at > self._session.now() - SURELY_KEPT
        proof = sa.or_(_T.c.published_at.is_not(None), young)
        statement = sa.select(_T.c.id).where(_T.c.id <= position + 1, proof).limit(1)
        return (await self._session.execute(statement)).first() is not None

    def _rows(self) -> sa.Select[Any]:
        of_action = _T.c.event_type.like(f"{OF_ACTIONS}%")
        moved = sa.and_(_T.c.event_type == "action.update", _ACTIONS.c.uuid == _T.c.object_uuid)
        # The payload of an action's event is never looked at, and a large plan has many.
        payload = sa.case((of_action, None), else_=_T.c.payload)
        return (
            sa.select(
                _T.c.id,
                _T.c.event_type,
                _T.c.object_uuid,
                _T.c.created_at,
                sa.type_coerce(payload, _T.c.payload.type).label("payload"),
                sa.func.coalesce(_ACTIONS.c.action_plan_id, _T.c.plan_id).label("plan_id"),
                (_PLANS.c.visible == sa.false()).label("is_hidden"),
            )
            .select_from(
                _T.outerjoin(_PLANS, _PLANS.c.id == _T.c.plan_id).outerjoin(_ACTIONS, moved)
            )
            .order_by(_T.c.id)
        )

    async def _read(self, statement: sa.Select[Any]) -> list[TailRow]:
        rows = (await self._session.execute(statement)).mappings()
        return [TailRow(**{**row, "is_hidden": bool(row["is_hidden"])}) for row in rows]
