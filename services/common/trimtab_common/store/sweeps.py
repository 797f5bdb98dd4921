"""Work on many rows, in transactions of at most 500: cancelling, deleting, removing leftovers.

On the main path: after a plan is cancelled or deleted its actions follow here; decision sweeps at
its start and then now and then what crashed processes left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trimtab_common.domain.lifecycle import ActionState, Actor, PlanState
from trimtab_common.store import tables

if TYPE_CHECKING:
    from trimtab_common.store.session import Session
    from trimtab_common.store.store import Store

CHUNK = 250
"""Rows changed per transaction; each may bring a notification row or two."""


async def cancel_actions(
    store: Store, plan_uuid: str, actor: Actor, status_message: str | None
) -> int:
    """See `Store.cancel_actions_of_plan`."""
    columns: dict[str, Any] = {} if status_message is None else {"status_message": status_message}
    actions, plans = tables.actions, tables.action_plans

    async def chunk(session: Session) -> int:
        statement = (
            sa.select(actions.c.uuid)
            .join_from(actions, plans, plans.c.id == actions.c.action_plan_id)
            .where(plans.c.uuid == plan_uuid, actions.c.state == ActionState.PENDING)
            .where(actions.c.deleted == 0)
            .order_by(actions.c.id)
            .limit(CHUNK)
        )
        uuids = list((await session.execute(statement)).scalars())
        if not uuids:
            await _followed(session, plans.c.uuid == plan_uuid, PlanState.CANCELLED)
        return await session.actions.transition_many(
            uuids, ActionState.CANCELLED, actor, ActionState.PENDING, **columns
        )

    return await _repeat(store, chunk)


async def delete_actions(store: Store, plan_id: int) -> int:
    """See `Store.delete_actions_of_plan`: each emits update and delete like a deletion by hand."""

    async def chunk(session: Session) -> int:
        table = tables.actions
        statement = (
            sa.select(table.c.id)
            .where(table.c.action_plan_id == plan_id, table.c.deleted == 0)
            .order_by(table.c.id)
            .limit(CHUNK)
            .with_for_update()
        )
        keys = list((await session.execute(statement)).scalars())
        if not keys:
            await _followed(session, tables.action_plans.c.id == plan_id, PlanState.DELETED)
        await session.actions.soft_delete_many(keys)
        return len(keys)

    return await _repeat(store, chunk)


async def _followed(session: Session, is_plan: sa.ColumnElement[bool], state: PlanState) -> None:
    """Nothing is left to do for this plan, unless its state changed meanwhile."""
    plans = tables.action_plans
    await session.execute(
        sa.update(plans)
        .where(is_plan, plans.c.state == state, plans.c.actions_follow == sa.true())
        .values(actions_follow=False)
    )


async def finish_actions(store: Store) -> int:
    """See `Store.sweep_actions`. Costs what is left to do, however many plans there were."""
    plans = tables.action_plans
    async with store.read() as session:
        left = (
            await session.execute(
                sa.select(plans.c.id, plans.c.uuid, plans.c.deleted)
                .where(plans.c.actions_follow == sa.true())
                .order_by(plans.c.id)
            )
        ).all()
    total = 0
    for plan in left:
        if plan.deleted:
            total += await delete_actions(store, plan.id)
        else:
            total += await cancel_actions(store, plan.uuid, Actor.DECISION, None)
    return total


async def remove_unpublished(store: Store, older_than: datetime) -> int:
    """See `Store.sweep_unpublished`."""
    plans = tables.action_plans
    async with store.read() as session:
        found = await session.execute(
            sa.select(plans.c.uuid).where(
                plans.c.visible == sa.false(), plans.c.created_at < older_than
            )
        )
        uuids = list(found.scalars())
    for uuid in uuids:
        await remove_plan(store, uuid)
    return len(uuids)


async def remove_plan(store: Store, ident: str | int) -> None:
    """Removes an invisible plan and all that was stored of it; a visible one is left alone.

    `ident`: its uuid, or the id of its row. The plan row goes last, so that an interrupted removal
    is found and finished by the next.
    """
    plans = tables.action_plans
    key = plans.c.uuid if isinstance(ident, str) else plans.c.id
    async with store.read() as session:
        statement = sa.select(plans.c.id).where(key == ident, plans.c.visible == sa.false())
        plan_id = (await session.execute(statement)).scalar_one_or_none()
    if plan_id is None:
        return
    owned = (
        (tables.outbox, tables.outbox.c.plan_id),
        (tables.actions, tables.actions.c.action_plan_id),
        (tables.efficacy_indicators, tables.efficacy_indicators.c.action_plan_id),
    )
    for table, key in owned:

        async def chunk(
            session: Session,
            table: sa.Table = table,
            key: sa.Column[int] = key,
        ) -> int:
            ids = sa.select(table.c.id).where(key == plan_id).limit(CHUNK)
            found = list((await session.execute(ids)).scalars())
            if found:
                await session.execute(sa.delete(table).where(table.c.id.in_(found)))
            return len(found)

        await _repeat(store, chunk)

    async def last(session: Session) -> None:
        await session.execute(
            sa.delete(plans).where(plans.c.id == plan_id, plans.c.visible == sa.false())
        )

    await store.transact(last)


async def _repeat(store: Store, chunk: Callable[[Session], Awaitable[int]]) -> int:
    """Transactions until one finds nothing left to do."""
    total = 0
    while number := await store.transact(chunk):
        total += number
    return total
