"""Action plans: with their efficacy indicators, and with the actions that go when they go.

On the main path: api lists and deletes plans, applier claims them. Storing a whole plan is
`publish`, which needs several transactions.
"""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import sqlalchemy as sa

from trimtab_common.domain import lifecycle
from trimtab_common.domain.lifecycle import Actor, PlanState
from trimtab_common.domain.records import ActionPlan, EfficacyIndicator
from trimtab_common.store import look_up, shapes, tables
from trimtab_common.store.look_up import By
from trimtab_common.store.stateful_table import StatefulTable

if TYPE_CHECKING:
    from trimtab_common.store.session import Session

_ACTIONS_FOLLOW = {PlanState.CANCELLED, PlanState.DELETED}
_PLANS_PER_STATEMENT = 5000
"""PostgreSQL takes at most 32767 parameters; a page of the API is at most 1000."""


class PlanTable(StatefulTable[ActionPlan]):
    """The action plans of one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(
            session,
            shapes.ACTION_PLANS,
            transitions=lifecycle.PLAN,
            deleted=PlanState.DELETED,
        )
        self._visible = True

    async def create(self, record: ActionPlan, *, notify: bool = True) -> ActionPlan:
        """A plan without actions, visible at once; with them it is `Store.publish_plan`."""
        stored = await super().create(record, notify=False)
        await self.add_indicators(stored.id, record.efficacy_indicators)
        stored = await self.by_id(stored.id)
        if notify:
            await self._session.announcer.saved(stored, "create")
        return stored

    async def create_invisible(self, record: ActionPlan) -> ActionPlan:
        """A plan that no read shows until `publish` is done with it."""
        self._visible = False
        try:
            stored = await super().create(record, notify=False)
        finally:
            self._visible = True
        await self.add_indicators(stored.id, record.efficacy_indicators)
        return await self.by_id(stored.id)

    async def add_indicators(self, plan_id: int, indicators: Sequence[EfficacyIndicator]) -> None:
        """Stores the indicators of a plan."""
        if not indicators:
            return
        now = self._session.now()
        rows = [
            {
                "uuid": indicator.uuid or str(uuid4()),
                "name": indicator.name,
                "description": indicator.description,
                "unit": indicator.unit,
                "data": indicator.value,
                "action_plan_id": plan_id,
                "created_at": now,
            }
            for indicator in indicators
        ]
        await self._session.execute(sa.insert(tables.efficacy_indicators), rows)

    async def note(
        self, uuid: str, message: str, *, while_in: Collection[PlanState]
    ) -> ActionPlan | None:
        """Writes a status message unless the plan left these states or says so already."""
        table = tables.action_plans
        changed = await self._session.execute(
            sa.update(table)
            .where(table.c.uuid == uuid, table.c.state.in_([str(state) for state in while_in]))
            .where(table.c.deleted == 0)
            .where(sa.or_(table.c.status_message.is_(None), table.c.status_message != message))
            .values(status_message=message, updated_at=self._session.now())
        )
        if changed.rowcount != 1:
            return None
        noted = await self._after_write(uuid)
        await self._session.announcer.saved(noted, "update")
        return noted

    async def without_indicators(self, key: int) -> ActionPlan:
        """By id, whatever its state, in one statement. NotFound."""
        statement = look_up.any_row(self.shape, By.ID)
        row = (await self._session.execute(statement, {look_up.KEY: key})).mappings().first()
        if row is None:
            raise self._not_found(str(key))
        return self.shape.build(dict(row))

    async def state(self, uuid: str) -> PlanState:
        """Of a plan that is not deleted, in one statement. NotFound."""
        table = tables.action_plans
        statement = sa.select(table.c.state).where(table.c.uuid == uuid, table.c.deleted == 0)
        state = (await self._session.execute(statement)).scalar_one_or_none()
        if state is None:
            raise self._not_found(uuid)
        return PlanState(state)

    async def soft_delete(self, uuid: str, *, actor: Actor = Actor.API) -> None:
        """Its indicators go with it at once, its actions after the commit, in chunks (A-065).

        They are hidden with the plan; `Store.sweep` finishes what a crash left.
        """
        plan = await self._find(uuid)
        await super().soft_delete(uuid, actor=actor)
        if plan is None:
            return
        now, table = self._session.now(), tables.efficacy_indicators
        await self._session.execute(
            sa.update(table)
            .where(table.c.action_plan_id == plan.id, table.c.deleted == 0)
            .values(deleted=table.c.id, deleted_at=now, updated_at=now)
        )
        self._session.after_commit(lambda store: store.delete_actions_of_plan(plan.id))

    async def _completed(self, records: builtins.list[ActionPlan]) -> builtins.list[ActionPlan]:
        """One more statement for the indicators of all plans of a page."""
        found: dict[int, builtins.list[EfficacyIndicator]] = {}
        for start in range(0, len(records), _PLANS_PER_STATEMENT):
            part = records[start : start + _PLANS_PER_STATEMENT]
            await self._read_indicators([plan.id for plan in part], found)
        return [
            dataclasses.replace(plan, efficacy_indicators=tuple(found[plan.id]))
            if plan.id in found
            else plan
            for plan in records
        ]

    async def _read_indicators(
        self,
        plan_ids: builtins.list[int],
        found: dict[int, builtins.list[EfficacyIndicator]],
    ) -> None:
        table = tables.efficacy_indicators
        statement = (
            sa.select(
                table.c.action_plan_id,
                table.c.uuid,
                table.c.name,
                table.c.description,
                table.c.unit,
                table.c.data,
            )
            .where(table.c.action_plan_id.in_(plan_ids))
            .order_by(table.c.id)
        )
        for row in await self._session.execute(statement):
            found.setdefault(row.action_plan_id, []).append(
                EfficacyIndicator(
                    uuid=row.uuid,
                    name=row.name,
                    description=row.description or "",
                    unit=row.unit,
                    value=row.data,
                )
            )

    def _extra_on_insert(self) -> dict[str, Any]:
        return {"visible": self._visible, "actions_follow": False}

    def _extra_on_transition(self, to: StrEnum) -> dict[str, Any]:
        return {"actions_follow": True} if to in _ACTIONS_FOLLOW else {}
