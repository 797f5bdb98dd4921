"""Optional: recommended plans become SUPERSEDED when the cloud they were made for has changed (A-097).

Off by default. Beside the main path: a plan that succeeded has moved what other plans count on, and so
has a host that came, went or was switched. A look needs no memory of plans that ended: what ended
after a recommendation was made is in the record. Changes of hosts are those since the look before.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import structlog

from trimtab_common.domain.errors import Conflict, InvalidArgument
from trimtab_common.domain.lifecycle import Actor, PlanState
from trimtab_common.domain.records import ActionPlan, Audit
from trimtab_common.domain.scope import scoped
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Session, Store
from trimtab_decision.model import ModelSource

log = structlog.get_logger(__name__)
SHOWN = 3


class Supersede(StrEnum):
    """Which recommended plans an event supersedes."""

    NONE = "none"
    ALL = "all"
    SCOPE = "scope"


class Superseding:
    """One look; `main` repeats it where a policy is on."""

    def __init__(
        self,
        *,
        store: Store,
        model: ModelSource,
        clock: Clock,
        on_success: Supersede = Supersede.NONE,
        on_change: Supersede = Supersede.NONE,
    ) -> None:
        self._store = store
        self._model = model
        self._clock = clock
        self._on_success = on_success
        self._on_change = on_change
        self._before: ComputeSnapshot | None = None
        self._looked_at: datetime | None = None

    @property
    def is_on(self) -> bool:
        """Whether there is anything to look for."""
        return {self._on_success, self._on_change} != {Supersede.NONE}

    async def look(self) -> int:
        """Supersede what the policies say; how many plans that were."""
        changed = self._changed_hosts()
        before, looked_at = self._before, self._looked_at
        self._before = self._model.snapshot() if self._model.ready else None
        self._looked_at = self._clock.now()
        async with self._store.read() as session:
            plans = await session.action_plans.list(Query(filters={"state": PlanState.RECOMMENDED}))
            reasons = await self._by_success(session, plans)
            if changed and before is not None and looked_at is not None:
                older = [p for p in plans if p.created_at is None or p.created_at <= looked_at]
                reasons |= await self._by_change(session, older, changed, before)
        done = 0
        for uuid, reason in reasons.items():
            done += await supersede(self._store, uuid, reason)
        return done

    async def _by_success(self, session: Session, plans: list[ActionPlan]) -> dict[str, str]:
        made = [plan.created_at for plan in plans if plan.created_at is not None]
        if self._on_success is Supersede.NONE or not made:
            return {}
        ended = await session.action_plans.list(
            Query(filters={"state": PlanState.SUCCEEDED, "updated_at__gt": min(made)})
        )
        found: dict[str, str] = {}
        for plan in plans:
            for other in ended:
                if _ended_later(other, plan) and await self._is_meant(session, plan, other):
                    found[plan.uuid] = f"Action plan {other.uuid} succeeded after this was made."
                    break
        return found

    async def _is_meant(self, session: Session, plan: ActionPlan, other: ActionPlan) -> bool:
        if self._on_success is Supersede.ALL:
            return True
        mine, its = [await _audit(session, one) for one in (plan, other)]
        return mine.scope == its.scope

    async def _by_change(
        self,
        session: Session,
        plans: list[ActionPlan],
        changed: frozenset[str],
        before: ComputeSnapshot,
    ) -> dict[str, str]:
        names = sorted(changed)
        shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
        reason = f"Changed after this was made: {shown}."
        found: dict[str, str] = {}
        for plan in plans:
            if self._on_change is Supersede.ALL:
                found[plan.uuid] = reason
                continue
            audit = await _audit(session, plan)
            now = self._before
            if any(changed & _hosts(one, audit) for one in (before, now) if one is not None):
                found[plan.uuid] = reason
        return found

    def _changed_hosts(self) -> frozenset[str]:
        """Hosts that came, went, or are not as they were at the look before."""
        if self._on_change is Supersede.NONE or self._before is None or not self._model.ready:
            return frozenset()
        now = self._model.snapshot()
        if (now.epoch, now.revision) == (self._before.epoch, self._before.revision):
            return frozenset()
        then, new = _features(self._before), _features(now)
        return frozenset(
            name for name in then.keys() | new.keys() if then.get(name) != new.get(name)
        )


async def supersede(store: Store, uuid: str, reason: str | None = None) -> int:
    """1 when the plan is SUPERSEDED by this; 0 when it was started or deleted meanwhile.

    Without a reason its message stays as it is.
    """
    columns: dict[str, Any] = {} if reason is None else {"status_message": reason}
    try:
        await store.transact(
            lambda session: session.action_plans.transition(
                uuid,
                to=PlanState.SUPERSEDED,
                actor=Actor.DECISION,
                source=PlanState.RECOMMENDED,
                **columns,
            )
        )
    except Conflict:
        return 0
    log.info("action plan superseded", plan=uuid, reason=reason)
    return 1


def _ended_later(other: ActionPlan, plan: ActionPlan) -> bool:
    """Whether `other` was carried out to its end after `plan` was made; an empty one never was."""
    ended_at, made_at = other.updated_at, plan.created_at
    if other.hostname is None or ended_at is None or made_at is None:
        return False
    return ended_at > made_at


def _features(snapshot: ComputeSnapshot) -> Mapping[str, tuple[Any, ...]]:
    """What makes a host another one to a plan: state, status, capacity."""
    return {
        name: (
            bool(snapshot.host_up[i]),
            bool(snapshot.host_enabled[i]),
            *snapshot.host_inventory[i].tolist(),
            *snapshot.host_reserved[i].tolist(),
            *snapshot.host_ratio[i].tolist(),
        )
        for i, name in enumerate(snapshot.host_name)
    }


def _hosts(snapshot: ComputeSnapshot, audit: Audit) -> frozenset[str]:
    try:
        return frozenset(scoped(snapshot, audit.scope).snapshot.host_name)
    except InvalidArgument:
        return frozenset(snapshot.host_name)  # an unreadable scope is taken for the whole cloud


async def _audit(session: Session, plan: ActionPlan) -> Audit:
    return await session.audits.get(plan.audit_id, show_deleted=True)
