"""Now and then: old plans expire, leftovers of crashes are removed (A-096)."""

from __future__ import annotations

from datetime import timedelta

import structlog

from trimtab_common.domain.lifecycle import PlanState
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Store
from trimtab_decision.settings import DecisionSettings
from trimtab_decision.superseding import supersede

log = structlog.get_logger(__name__)

_PAGE = 200
_UNPUBLISHED_AFTER = timedelta(hours=1)
"""Storing a plan takes seconds; what is older was left by a process that died."""
_LEASES_KEPT = timedelta(hours=1)
"""Work that goes on renews its lease every few seconds."""


async def expire_plans(store: Store, *, settings: DecisionSettings, clock: Clock) -> int:
    """RECOMMENDED plans older than `action_plan_expiry` become SUPERSEDED; how many did."""
    if settings.action_plan_expiry_h == 0:
        return 0
    before = clock.now() - timedelta(hours=settings.action_plan_expiry_h)
    query = Query(filters={"state": PlanState.RECOMMENDED, "created_at__lt": before}, limit=_PAGE)
    expired = 0
    while True:
        async with store.read() as session:
            plans = await session.action_plans.list(query)
        for plan in plans:
            expired += await supersede(store, plan.uuid)
        if len(plans) < _PAGE:
            return expired


async def remove_leftovers(store: Store, *, clock: Clock) -> None:
    """What processes that died left half done."""
    plans = await store.sweep_unpublished(clock.now() - _UNPUBLISHED_AFTER)
    actions = await store.sweep_actions()
    before = clock.now() - _LEASES_KEPT
    while await store.transact(lambda session: session.leases.prune(ended_before=before)):
        pass
    if plans or actions:
        log.info("removed leftovers", plans=plans, actions=actions)
