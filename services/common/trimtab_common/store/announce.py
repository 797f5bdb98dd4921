"""Writes the notification of each save into the outbox, in the transaction of the save.

On the main path: the tables call `saved` after their UPDATE or INSERT, so that the order of rows
per object is the order of its changes. Goals and strategies are read once per process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from trimtab_common.domain.records import (
    Action,
    ActionPlan,
    Audit,
    AuditTemplate,
    Goal,
    Service,
    Strategy,
)
from trimtab_common.notify import payloads
from trimtab_common.notify.events import Event, Priority

if TYPE_CHECKING:
    from trimtab_common.store.session import Session

_KINDS: dict[type, tuple[str, str]] = {
    Audit: ("Audit", "audit"),
    ActionPlan: ("ActionPlan", "action_plan"),
    Action: ("Action", "action"),
}
_WRAPPERS = {
    "audit.strategy": "AuditActionPayload",
    "audit.planner": "AuditActionPayload",
    "action_plan.execution": "ActionPlanActionPayload",
    "action_plan.cancel": "ActionPlanCancelPayload",
    "action.execution": "ActionExecutionPayload",
    "action.cancel": "ActionCancelPayload",
}
"""object.action -> payload; the phase (start, end, error) does not change it."""

Announced = Audit | ActionPlan | Action


class Announcer:
    """Builds events of one session and hands them to its outbox."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # Copies: what a transaction read that is then rolled back must not stay for others.
        self.goals = dict(session.options.goal_cache)
        self.strategies = dict(session.options.strategy_cache)
        self._plans: dict[int, ActionPlan] = {}
        self._audits: dict[int, Audit] = {}

    async def saved(
        self,
        record: object,
        verb: str,
        *,
        old_state: str | None = None,
        plan_id: int | None = None,
    ) -> None:
        """`verb`: create, update or delete. `old_state`: only when the state changed."""
        await self.saved_many([(record, old_state)], verb, plan_id=plan_id)

    async def saved_many(
        self,
        changes: Iterable[tuple[object, str | None]],
        verb: str,
        *,
        plan_id: int | None = None,
    ) -> None:
        """The same for many records, in one INSERT; records of other kinds have no events."""
        events = []
        for record, old_state in changes:
            if type(record) not in _KINDS:
                continue
            known = cast("Announced", record)
            kind, prefix = _KINDS[type(known)]
            extra: dict[str, Any] = {}
            if verb == "update":
                extra["state_update"] = payloads.state_update(
                    kind,
                    old_state=None if old_state is None else str(old_state),
                    state=None if old_state is None else str(known.state),
                    status_message=None if old_state is None else known.status_message,
                )
            wrapper = f"{kind}{verb.capitalize()}Payload"
            payload = await self._payload(wrapper, known, **extra)
            events.append(
                Event(event_type=f"{prefix}.{verb}", object_uuid=known.uuid, payload=payload)
            )
        await self._session.outbox.add_events(events, plan_id=plan_id)

    async def emit(
        self,
        event_type: str,
        record: Announced,
        *,
        priority: str = "INFO",
        fault: dict[str, Any] | None = None,
    ) -> None:
        """An event that is not a save: `audit.strategy.start`, `action.execution.end`, ..."""
        wrapper = _WRAPPERS[event_type.rpartition(".")[0]]
        payload = await self._payload(wrapper, record, fault=fault)
        event = Event(
            event_type=event_type,
            object_uuid=record.uuid,
            payload=payload,
            priority=Priority(priority),
        )
        await self._session.outbox.add_events([event])

    async def search_went_on(self, record: Audit, search: payloads.Payload) -> None:
        """audit.strategy.progress: what the best plan so far is worth; for those who watch."""
        event = Event(
            event_type="audit.strategy.progress",
            object_uuid=record.uuid,
            payload=payloads.audit_progress(record, search),
            is_for_bus=False,
        )
        await self._session.outbox.add_events([event])

    async def service_changed(self, record: Service, *, old_state: str, state: str) -> None:
        """service.update: WARN when it failed, INFO when it is back (A-117)."""
        priority = Priority.WARN if state == "FAILED" else Priority.INFO
        payload = payloads.service_update(record, old_state=old_state, state=state)
        event = Event(
            event_type="service.update",
            object_uuid=f"service-{record.id}",
            payload=payload,
            priority=priority,
        )
        await self._session.outbox.add_events([event])

    async def scope_names_nothing(
        self, record: Audit | AuditTemplate, problems: Sequence[str]
    ) -> None:
        """scope.warning: what a scope names is in no model (C-092)."""
        event = Event(
            event_type="scope.warning",
            object_uuid=record.uuid,
            payload=payloads.scope_warning(record, problems),
            priority=Priority.WARN,
        )
        await self._session.outbox.add_events([event])

    async def _payload(
        self, wrapper: str, record: Announced, **extra: payloads.Payload | None
    ) -> payloads.Payload:
        self._remember(record)
        match record:
            case Audit():
                return payloads.audit(
                    wrapper,
                    record,
                    goal_record=await self._goal(record.goal_id),
                    strategy_record=await self._strategy_or_none(record.strategy_id),
                    **extra,
                )
            case ActionPlan():
                return payloads.action_plan(
                    wrapper,
                    record,
                    audit_record=await self._audit(record.audit_id),
                    strategy_record=await self._strategy(record.strategy_id),
                    **extra,
                )
            case Action():
                plan = await self.plan(record.action_plan_id)
                terse = payloads.terse_action_plan(plan)
                return payloads.action(wrapper, record, terse_plan=terse, **extra)

    def _remember(self, record: Announced) -> None:
        """Later payloads of this transaction show what was just saved."""
        if isinstance(record, ActionPlan):
            self._plans[record.id] = record
        elif isinstance(record, Audit):
            self._audits[record.id] = record

    async def _goal(self, key: int) -> Goal:
        if key not in self.goals:
            self.goals[key] = await self._session.goals.by_id(key)
        return self.goals[key]

    async def _strategy(self, key: int) -> Strategy:
        if key not in self.strategies:
            self.strategies[key] = await self._session.strategies.by_id(key)
        return self.strategies[key]

    def keep_for_others(self) -> None:
        """Called after the commit: goals and strategies are replaced, never changed."""
        self._session.options.goal_cache.update(self.goals)
        self._session.options.strategy_cache.update(self.strategies)

    async def _strategy_or_none(self, key: int | None) -> Strategy | None:
        return None if key is None else await self._strategy(key)

    async def _audit(self, key: int) -> Audit:
        if key not in self._audits:
            self._audits[key] = await self._session.audits.by_id(key)
        return self._audits[key]

    async def plan(self, key: int) -> ActionPlan:
        """As this transaction first saw it, or saved it; its indicators may be missing."""
        if key not in self._plans:
            self._plans[key] = await self._session.action_plans.without_indicators(key)
        return self._plans[key]
