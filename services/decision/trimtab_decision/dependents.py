"""What follows when a goal or a strategy is replaced or removed (A-038, B-004).

Templates move to the new row; audits and plans that have not ended become CANCELLED, because what
they were made from is gone. What has ended keeps its state.

Everything is found by the row it still points to and done in chunks, a transaction each: a sync
that dies in the middle is finished by the next one, and no transaction is long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from trimtab_common.domain.lifecycle import Actor, AuditState, PlanState
from trimtab_common.store import Query, Session, Store

CHUNK = 25
"""Rows of each kind in a transaction: with their notifications it stays below 50 ms or so."""
_LIVE_AUDITS = (AuditState.PENDING, AuditState.ONGOING, AuditState.SUSPENDED)
_LIVE_PLANS = (PlanState.RECOMMENDED, PlanState.PENDING)
_GOAL_MESSAGE = "The goal or strategy of this audit was changed or removed."
_PLAN_MESSAGE = "The strategy of this action plan was changed or removed."

Heirs = Mapping[int, int | None]
"""Ids of rows that are gone, with the rows that stand in their place; None where none does."""


async def follow_goals(session: Session, heirs: Heirs) -> int:
    """Moves up to CHUNK rows of each kind that point to a goal that is gone; how many there were.

    Templates of a goal without an heir stay and are reported (B-005); so do strategies, which the
    sync of strategies moves or removes.
    """
    replaced = _replaced(heirs)
    done = 0
    for table in (session.audit_templates, session.strategies):
        for row in await table.list(_pointing("goal_id", replaced)):
            await table.update(row.uuid, {"goal_id": heirs[row.goal_id]})
            done += 1
    return done + await _follow_audits(session, "goal_id", heirs)


async def follow_strategies(session: Session, heirs: Heirs) -> int:
    """As `follow_goals`; templates of a strategy without an heir keep their goal alone."""
    done = 0
    for template in await session.audit_templates.list(_pointing("strategy_id", list(heirs))):
        heir = heirs[_known(template.strategy_id)]
        await session.audit_templates.update(template.uuid, {"strategy_id": heir})
        done += 1
    done += await _follow_audits(session, "strategy_id", heirs)
    return done + await _follow_plans(session, heirs)


async def _follow_audits(session: Session, key: str, heirs: Heirs) -> int:
    """Every audit that has not ended becomes CANCELLED; all move to the heir, if there is one."""
    found = await session.audits.list(_pointing(key, _replaced(heirs)))
    found += await session.audits.list(_pointing(key, _removed(heirs), state__in=_LIVE_AUDITS))
    for audit in found:
        heir = heirs[_known(getattr(audit, key))]
        columns: dict[str, Any] = {} if heir is None else {key: heir}
        if audit.state in _LIVE_AUDITS:
            await session.audits.transition(
                audit.uuid,
                to=AuditState.CANCELLED,
                actor=Actor.SYNCER,
                status_message=_GOAL_MESSAGE,
                **columns,
            )
        else:
            await session.audits.update(audit.uuid, columns)
    return len(found)


async def _follow_plans(session: Session, heirs: Heirs) -> int:
    """Every plan not yet started becomes CANCELLED; its actions follow after the commit."""
    key = "strategy_id"
    found = await session.action_plans.list(_pointing(key, _replaced(heirs)))
    found += await session.action_plans.list(_pointing(key, _removed(heirs), state__in=_LIVE_PLANS))
    for plan in found:
        heir = heirs[plan.strategy_id]
        columns: dict[str, Any] = {} if heir is None else {key: heir}
        if plan.state in _LIVE_PLANS:
            await session.action_plans.transition(
                plan.uuid,
                to=PlanState.CANCELLED,
                actor=Actor.SYNCER,
                status_message=_PLAN_MESSAGE,
                **columns,
            )
            session.after_commit(partial(_cancel_actions, plan.uuid))
        else:
            await session.action_plans.update(plan.uuid, columns)
    return len(found)


async def _cancel_actions(plan_uuid: str, store: Store) -> None:
    await store.cancel_actions_of_plan(plan_uuid, Actor.SYNCER)


def _pointing(key: str, ids: Sequence[int], **more: Any) -> Query:
    return Query(filters={f"{key}__in": ids, **more}, limit=CHUNK)


def _replaced(heirs: Heirs) -> list[int]:
    return [old for old, heir in heirs.items() if heir is not None]


def _removed(heirs: Heirs) -> list[int]:
    return [old for old, heir in heirs.items() if heir is None]


def _known(key: int | None) -> int:
    assert key is not None  # noqa: S101, the query asked for rows that have it
    return key
