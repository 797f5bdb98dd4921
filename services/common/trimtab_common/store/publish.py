"""Storing a whole plan: in chunks that nobody sees, published by one compare-and-set.

On the main path: decision calls `Store.publish_plan` at the end of every audit. A plan of 10,000
actions would hold SQLite's only write lock for seconds if it were one transaction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import sqlalchemy as sa

from trimtab_common.domain.errors import AlreadyExists, Bug, Conflict, TrimtabError
from trimtab_common.domain.lifecycle import ActionState, Actor, PlanState
from trimtab_common.domain.records import Action, ActionPlan, Lease
from trimtab_common.runtime import failpoints
from trimtab_common.store import sweeps, tables
from trimtab_common.store.query import Query
from trimtab_common.store.resource_table import truncated

if TYPE_CHECKING:
    from trimtab_common.store.session import Session
    from trimtab_common.store.store import Store

ROWS_PER_TRANSACTION = 500
ACTIONS_PER_TRANSACTION = ROWS_PER_TRANSACTION // 2
"""Each action brings its notification row."""


async def publish_plan(
    store: Store,
    plan: ActionPlan,
    actions: Sequence[Action],
    *,
    cancel_recommended: bool,
    state: PlanState,
    fence: Lease | None,
) -> ActionPlan:
    """See `Store.publish_plan`."""
    if state not in {PlanState.RECOMMENDED, PlanState.SUCCEEDED}:
        message = f"A plan is published RECOMMENDED or SUCCEEDED, not {state}"
        raise Bug(message)
    plan = dataclasses.replace(
        plan,
        state=PlanState.RECOMMENDED,
        uuid=plan.uuid or str(uuid4()),
        # One time for all attempts: the sweep of leftovers goes by it.
        created_at=plan.created_at or store.options.now(),
    )
    try:
        plan_id = await store.transact(lambda session: _store_plan(session, plan, fence))
    except AlreadyExists:
        # Half of this very plan may be left of a process that died; the lease was ours just now.
        await sweeps.remove_plan(store, plan.uuid)
        plan_id = await store.transact(lambda session: _store_plan(session, plan, fence))
    failpoints.reach("store.publish.stored")
    stored = dataclasses.replace(plan, id=plan_id)
    try:
        for start in range(0, len(actions), ACTIONS_PER_TRANSACTION):
            chunk = actions[start : start + ACTIONS_PER_TRANSACTION]
            await store.transact(partial(_store_actions, plan=stored, actions=chunk, fence=fence))
            failpoints.reach("store.publish.chunk")
        failpoints.reach("store.publish.show")
        published, cancelled = await store.transact(
            lambda session: _publish(session, stored, state, fence, cancel=cancel_recommended)
        )
    except Exception:
        # By the id of our own row: when the lease is lost, the next owner may be storing the same
        # plan, by the same uuid, right now.
        with suppress(TrimtabError):  # else the sweep of leftovers does it
            await sweeps.remove_plan(store, plan_id)
        raise
    for old in cancelled:
        await sweeps.cancel_actions(store, old.uuid, Actor.DECISION, None)
    return published


async def _store_plan(session: Session, plan: ActionPlan, fence: Lease | None) -> int:
    await session.leases.check(fence)
    stored = await session.action_plans.create_invisible(plan)
    await session.announcer.saved(stored, "create", plan_id=stored.id)
    return stored.id


async def _store_actions(
    session: Session, *, plan: ActionPlan, actions: Sequence[Action], fence: Lease | None
) -> None:
    await session.leases.check(fence)
    now = session.now()
    filled = [
        dataclasses.replace(
            action,
            uuid=action.uuid or str(uuid4()),
            action_plan_id=plan.id,
            action_plan_uuid=plan.uuid,
            state=ActionState.PENDING,
            created_at=now,
        )
        for action in actions
    ]
    await session.execute(sa.insert(tables.actions), [_row(action) for action in filled])
    await session.announcer.saved_many(
        [(action, None) for action in filled], "create", plan_id=plan.id
    )


async def _publish(
    session: Session, plan: ActionPlan, state: PlanState, fence: Lease | None, *, cancel: bool
) -> tuple[ActionPlan, list[ActionPlan]]:
    await session.leases.check(fence)
    plans = session.action_plans
    cancelled = []
    if cancel:
        older = Query(filters={"audit_id": plan.audit_id, "state": PlanState.RECOMMENDED})
        for old in await plans.list(older):
            gone = await plans.transition(
                old.uuid, to=PlanState.CANCELLED, actor=Actor.DECISION, fence=fence
            )
            cancelled.append(gone)
    table = tables.action_plans
    shown = await session.execute(
        sa.update(table)
        .where(table.c.id == plan.id, table.c.visible == sa.false())
        .values(visible=True)
    )
    if shown.rowcount != 1:
        raise Conflict(f"ActionPlan {plan.uuid} was swept before it was complete.")
    if state is PlanState.RECOMMENDED:
        return await plans.by_id(plan.id), cancelled
    published = await plans.transition(plan.uuid, to=state, actor=Actor.DECISION, fence=fence)
    return published, cancelled


_COLUMNS = tuple(
    column.name
    for column in tables.actions.columns
    if column.name not in {"id", "deleted", "deleted_at", "updated_at"}
)


def _row(action: Action) -> dict[str, Any]:
    return truncated({name: getattr(action, name) for name in _COLUMNS})
