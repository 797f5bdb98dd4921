"""When something may be done, judged by how it has gone so far. Estimates, never promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median

from trimtab_common.domain.lifecycle import ActionState, AuditState, AuditType, PlanState
from trimtab_common.domain.records import ActionPlan, Audit
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Store

_DONE = (ActionState.SUCCEEDED, ActionState.FAILED, ActionState.CANCELLED)
_LEFT = (ActionState.PENDING, ActionState.ONGOING, ActionState.CANCELLING)
_EARLIER = 20
_REMEMBERED_S = 30.0
_MAX_REMEMBERED = 200


def plan_end(
    plan: ActionPlan, progress: Mapping[ActionState, int], now: datetime
) -> datetime | None:
    """`now` plus the time that the actions left take, if they go as fast as those done.

    Example: ONGOING since 60 s, 3 of 9 actions done: 20 s each, so 120 s more. None while nothing is
    done or nothing runs. The plan's row last changed when it became ONGOING.
    """
    if plan.state is not PlanState.ONGOING or plan.updated_at is None:
        return None
    done = sum(progress.get(state, 0) for state in _DONE)
    left = sum(progress.get(state, 0) for state in _LEFT)
    if not done:
        return None
    return now + max(now - plan.updated_at, timedelta(0)) / done * left


def audit_end(audit: Audit, earlier: Sequence[Audit]) -> datetime | None:
    """Its creation plus the median of what `earlier` audits took from creation to end."""
    took = [
        (one.updated_at - one.created_at).total_seconds()
        for one in earlier
        if one.updated_at and one.created_at
    ]
    if not took or audit.created_at is None:
        return None
    return audit.created_at + timedelta(seconds=median(took))


class AuditEstimates:
    """Looks at the last audits of the same goal and strategy; remembers them for half a minute."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[tuple[int, int | None], tuple[float, Sequence[Audit]]] = {}

    async def end_of(self, audit: Audit) -> datetime | None:
        """None unless it is a ONESHOT audit that waits or runs, and others came before it."""
        is_open = audit.state in (AuditState.PENDING, AuditState.ONGOING)
        if not is_open or audit.audit_type is not AuditType.ONESHOT:
            return None
        key, now = (audit.goal_id, audit.strategy_id), self._clock.monotonic()
        known = self._known.get(key)
        if known is None or known[0] <= now:
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            known = (now + _REMEMBERED_S, await self._earlier(*key))
            self._known[key] = known
        return audit_end(audit, known[1])

    async def _earlier(self, goal_id: int, strategy_id: int | None) -> Sequence[Audit]:
        filters = {
            "state": AuditState.SUCCEEDED,
            "audit_type": AuditType.ONESHOT,
            "goal_id": goal_id,
            "strategy_id": strategy_id,
        }
        query = Query(filters=filters, limit=_EARLIER, sort_dir="desc")
        async with self._store.read() as session:
            return await session.audits.list(query)
