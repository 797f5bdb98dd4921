"""What follows when a goal or a strategy is replaced or removed (A-038, B-004).

Templates move to the new row; audits and plans that have not ended become CANCELLED, because what
they were made from is gone. What has ended keeps its state.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from trimtab_common.domain.lifecycle import Actor, AuditState, PlanState
from trimtab_common.store import Query, Session, Store

_LIVE_AUDITS = (AuditState.PENDING, AuditState.ONGOING, AuditState.SUSPENDED)
_LIVE_PLANS = (PlanState.RECOMMENDED, PlanState.PENDING)
_GOAL_MESSAGE = "The goal or strategy of this audit was changed or removed."
_PLAN_MESSAGE = "The strategy of this action plan was changed or removed."


async def repoint_goal(session: Session, old_id: int, new_id: int) -> None:
    """Templates, audits and strategies of the old row belong to the new one."""
    for template in await session.audit_templates.list(Query(filters={"goal_id": old_id})):
        await session.audit_templates.update(template.uuid, {"goal_id": new_id})
    for strategy in await session.strategies.list(Query(filters={"goal_id": old_id})):
        await session.strategies.update(strategy.uuid, {"goal_id": new_id})
    await cancel_audits(session, {"goal_id": old_id}, goal_id=new_id)


async def repoint_strategy(session: Session, old_id: int, new_id: int) -> None:
    """Templates, audits and plans of the old row belong to the new one."""
    for template in await session.audit_templates.list(Query(filters={"strategy_id": old_id})):
        await session.audit_templates.update(template.uuid, {"strategy_id": new_id})
    await cancel_audits(session, {"strategy_id": old_id}, strategy_id=new_id)
    await _cancel_plans(session, old_id, strategy_id=new_id)


async def forget_strategy(session: Session, strategy_id: int) -> None:
    """Templates keep their goal and lose the strategy; its audits and plans are cancelled."""
    for template in await session.audit_templates.list(Query(filters={"strategy_id": strategy_id})):
        await session.audit_templates.update(template.uuid, {"strategy_id": None})
    await cancel_audits(session, {"strategy_id": strategy_id})
    await _cancel_plans(session, strategy_id)


async def cancel_audits(session: Session, which: dict[str, Any], **columns: Any) -> None:
    """Every audit that has not ended becomes CANCELLED; `columns` are written to all of them."""
    for audit in await session.audits.list(Query(filters=which)):
        if audit.state in _LIVE_AUDITS:
            await session.audits.transition(
                audit.uuid,
                to=AuditState.CANCELLED,
                actor=Actor.SYNCER,
                status_message=_GOAL_MESSAGE,
                **columns,
            )
        elif columns:
            await session.audits.update(audit.uuid, columns)


async def _cancel_actions(plan_uuid: str, store: Store) -> None:
    await store.cancel_actions_of_plan(plan_uuid, Actor.SYNCER)


async def _cancel_plans(session: Session, of_strategy: int, **columns: Any) -> None:
    """Every plan not yet started becomes CANCELLED; its actions follow after the commit."""
    for plan in await session.action_plans.list(Query(filters={"strategy_id": of_strategy})):
        if plan.state in _LIVE_PLANS:
            await session.action_plans.transition(
                plan.uuid,
                to=PlanState.CANCELLED,
                actor=Actor.SYNCER,
                status_message=_PLAN_MESSAGE,
                **columns,
            )
            session.after_commit(partial(_cancel_actions, plan.uuid))
        elif columns:
            await session.action_plans.update(plan.uuid, columns)
