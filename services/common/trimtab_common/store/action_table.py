"""Actions: one by one like every stateful resource, and many at once for whole plans.

On the main path: applier reads `list_of_plan`, moves actions one by one, and sweeps with
`transition_many`; api cancels the actions of a plan that never ran.
"""

from __future__ import annotations

import builtins
import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trimtab_common.domain import lifecycle
from trimtab_common.domain.inverses import reason_for
from trimtab_common.domain.lifecycle import ActionState, Actor
from trimtab_common.domain.records import Action, ActionPlan, Lease
from trimtab_common.store import shapes, tables
from trimtab_common.store.query import MAX_IN, Query
from trimtab_common.store.resource_table import truncated
from trimtab_common.store.stateful_table import StatefulTable, as_states

if TYPE_CHECKING:
    from trimtab_common.store.session import Session


class ActionTable(StatefulTable[Action]):
    """The actions of one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(
            session, shapes.ACTIONS, transitions=lifecycle.ACTION, deleted=ActionState.DELETED
        )

    async def list_of_plan(
        self, plan_uuid: str, *, show_deleted: bool = False
    ) -> builtins.list[Action]:
        """All actions of one plan, in the order of their ids."""
        filters = {"action_plan_uuid": plan_uuid}
        return await self.list(Query(filters=filters, show_deleted=show_deleted))

    async def undoing(self, plan: ActionPlan) -> builtins.list[Action]:
        """The actions of plans that roll back this one, as `domain.inverses` names them."""
        table, plans = tables.actions, tables.action_plans
        later = (
            sa.select(plans.c.id)
            .where(plans.c.audit_id == plan.audit_id)
            .where(plans.c.id > plan.id)
            .where(plans.c.deleted == 0)
        )
        return await self._records(
            self.shape.select()
            .where(table.c.action_plan_id.in_(later))
            .where(table.c.reason.like(reason_for("%", plan.uuid)))
            .where(table.c.deleted == 0)
            .order_by(table.c.id)
        )

    async def transition_many(
        self,
        uuids: Sequence[str],
        to: ActionState,
        actor: Actor,
        source: ActionState | Iterable[ActionState],
        fence: Lease | None = None,
        **columns: Any,
    ) -> int:
        """Moves those that are in `source`, leaves the others; returns how many moved.

        The rows are locked first, so that the events tell what happened. Hand in at most 500
        (`Store.cancel_actions_of_plan` does whole plans in several transactions).
        """
        self._check_columns(columns)
        await self._session.leases.check(fence)
        states = as_states(source)
        for state in states:
            lifecycle.check(self.transitions, state, to, actor)
        values = {
            **truncated(columns),
            "state": str(to),
            "updated_at": self._session.now(),
        }
        moved = 0
        for start in range(0, len(uuids), MAX_IN):
            chunk = list(uuids[start : start + MAX_IN])
            moved += await self._transition_chunk(chunk, to, states, values)
        return moved

    async def _transition_chunk(
        self,
        uuids: builtins.list[str],
        to: ActionState,
        states: frozenset[Any],
        values: dict[str, Any],
    ) -> int:
        table = tables.actions
        matches = sa.and_(
            table.c.uuid.in_(uuids),
            table.c.state.in_([str(state) for state in states]),
            table.c.deleted == 0,
        )
        locked = (
            await self._session.execute(
                sa.select(table.c.id).where(matches).order_by(table.c.id).with_for_update()
            )
        ).scalars()
        keys = list(locked)
        if not keys:
            return 0
        before = await self._records(
            self.shape.select().where(table.c.id.in_(keys)).order_by(table.c.id)
        )
        await self._session.execute(sa.update(table).where(table.c.id.in_(keys)).values(values))
        shown = {name: value for name, value in values.items() if name in self.shape.columns}
        await self._session.announcer.saved_many(
            [
                (dataclasses.replace(action, **{**shown, "state": to}), str(action.state))
                for action in before
            ],
            "update",
        )
        return len(keys)

    async def soft_delete_many(self, keys: Sequence[int]) -> None:
        """The actions of a deleted plan, which the caller has locked (A-065, A-123)."""
        if not keys:
            return
        table, now = self.shape.table, self._session.now()
        matches = table.c.id.in_(list(keys))
        before = await self._records(self.shape.select().where(matches).order_by(table.c.id))
        await self._session.execute(
            sa.update(table)
            .where(matches)
            .values(
                state=str(ActionState.DELETED), deleted=table.c.id, deleted_at=now, updated_at=now
            )
        )
        gone = [
            (
                dataclasses.replace(
                    action, state=ActionState.DELETED, deleted_at=now, updated_at=now
                ),
                str(action.state),
            )
            for action in before
        ]
        await self._session.announcer.saved_many(gone, "update")
        await self._session.announcer.saved_many(gone, "delete")

    async def count_by_state(self, plan_uuid: str) -> dict[ActionState, int]:
        """How many actions of a plan stand in each state: its progress."""
        return (await self.counts_by_state([plan_uuid])).get(plan_uuid, {})

    async def counts_by_state(self, plan_uuids: Sequence[str]) -> dict[str, dict[ActionState, int]]:
        """The same of several plans in one statement; plans without actions are absent."""
        found: dict[str, dict[ActionState, int]] = {}
        if not plan_uuids:
            return found
        table, plans = tables.actions, tables.action_plans
        statement = (
            sa.select(plans.c.uuid, table.c.state, sa.func.count().label("number"))
            .select_from(table.join(plans, plans.c.id == table.c.action_plan_id))
            .where(plans.c.uuid.in_(list(plan_uuids)), table.c.deleted == 0)
            .group_by(plans.c.uuid, table.c.state)
        )
        for row in (await self._session.execute(statement)).mappings():
            found.setdefault(row["uuid"], {})[ActionState(row["state"])] = int(row["number"])
        return found
