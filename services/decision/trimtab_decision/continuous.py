"""CONTINUOUS audits: finds those whose time has come and hands them to the runner (A-088..A-095).

The schedule is `next_run_time` in the record, so a restart loads nothing and loses nothing.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from trimtab_common.domain.errors import Conflict, InvalidArgument
from trimtab_common.domain.lifecycle import Actor, AuditState, AuditType
from trimtab_common.domain.records import Audit
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Session, Store
from trimtab_decision import membership, schedule
from trimtab_decision.audits import AuditRunner
from trimtab_decision.settings import DecisionSettings

log = structlog.get_logger(__name__)


class ContinuousAudits:
    """One look at all of them; `main` repeats it every `continuous_audit_interval`."""

    def __init__(
        self, *, store: Store, runner: AuditRunner, clock: Clock, settings: DecisionSettings
    ) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock
        self._settings = settings

    async def look(self) -> None:
        """Ends those past their window, dates the new ones, starts those that are due and ours."""
        down = timedelta(seconds=self._settings.service_down_time_s)
        async with self._store.read() as session:
            audits = await session.audits.list(
                Query(
                    filters={
                        "audit_type": AuditType.CONTINUOUS,
                        "state__in": [AuditState.PENDING, AuditState.ONGOING],
                    }
                )
            )
            alive = await membership.alive_hosts(session, self._clock.now() - down)
        due = []
        for audit in audits:
            dated = await self._dated(audit)
            if dated is not None and self._is_ours(dated, alive):
                due.append(dated)
        await self._runner.start(due)

    def _is_ours(self, audit: Audit, alive: frozenset[str]) -> bool:
        """A-094: its own host runs it, anybody when that is gone."""
        others = alive - {self._settings.host}
        return audit.hostname is None or audit.hostname not in others

    async def _dated(self, audit: Audit) -> Audit | None:
        """The audit with a `next_run_time`; None when it has just ended."""
        now = self._clock.now()
        if not schedule.is_over(audit, now) and audit.next_run_time is not None:
            return audit
        try:
            return await self._store.transact(lambda session: self._write(session, audit))
        except Conflict:
            return None  # changed meanwhile: the next look sees how

    async def _write(self, session: Session, audit: Audit) -> Audit | None:
        now = self._clock.now()
        if schedule.is_over(audit, now):
            await session.audits.transition(
                audit.uuid,
                to=AuditState.SUCCEEDED,
                actor=Actor.DECISION,
                source=audit.state,
                next_run_time=None,
            )
            return None
        try:
            first = schedule.first_run(audit, now)
        except InvalidArgument as error:
            await session.audits.transition(
                audit.uuid,
                to=AuditState.FAILED,
                actor=Actor.DECISION,
                source=audit.state,
                status_message=error.message,
            )
            return None
        return await session.audits.update(audit.uuid, {"next_run_time": first})
