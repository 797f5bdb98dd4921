"""The right to run an audit: a lease, and the state ONGOING with this host's name.

On the main path: the sweep takes a claim, the run keeps it alive, its end gives it back. A claim
is one transaction: two replicas never run the same audit, and a paused one that wakes up finds
its fence out of date.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from trimtab_common.domain.errors import Conflict, NotFound
from trimtab_common.domain.lifecycle import Actor, AuditState, AuditType, PlanState
from trimtab_common.domain.records import Audit, Lease
from trimtab_common.rules.intervals import IntervalRefused
from trimtab_common.runtime import failpoints
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Session, Store
from trimtab_decision import schedule
from trimtab_decision.settings import DecisionSettings, OnRestart

KIND = "audit"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An audit that this process may run until the lease ends."""

    audit: Audit
    lease: Lease


class Claims:
    """Takes, keeps and gives back claims."""

    def __init__(
        self, *, store: Store, settings: DecisionSettings, clock: Clock, owner: str
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._owner = owner

    async def take(self, uuid: str) -> Claim | None:
        """The claim; None when the record does not ask for a run, or another replica has it."""
        try:
            failpoints.reach("decision.claim.before")
            return await self._store.transact(lambda session: self._take(session, uuid))
        except (Conflict, NotFound):
            return None  # somebody was faster

    async def _take(self, session: Session, uuid: str) -> Claim | None:
        audit = await session.audits.get(uuid)
        is_due = schedule.is_due(audit, self._clock.now())
        if not is_due and not self.is_orphan(audit):
            return None
        lease = await session.leases.acquire(KIND, uuid, self._owner, self._settings.lease_s)
        if lease is None:
            return None
        if is_due:
            started = await self._start(session, audit, lease)
        elif self._settings.on_restart is OnRestart.CANCEL:
            started = None
            await self._cancel(
                session,
                audit,
                lease,
                f"Audit has been cancelled because the decision engine on {audit.hostname} "
                "was restarted while it ran.",
            )
        else:
            log.info("resuming an audit", audit=uuid, host_before=audit.hostname)
            started = await session.audits.update(uuid, {"hostname": self._settings.host})
        if started is None:
            await session.leases.release(lease)
            return None
        return Claim(audit=started, lease=lease)

    def is_orphan(self, audit: Audit) -> bool:
        """Whether a decision service started this audit and may have died before its end.

        The lease tells whether it did. CONTINUOUS audits stay ONGOING between runs, and what an
        administrator sets ONGOING by hand has no host.
        """
        return (
            audit.audit_type is not AuditType.CONTINUOUS
            and audit.state is AuditState.ONGOING
            and audit.hostname is not None
        )

    async def is_held(self, session: Session, audit: Audit) -> bool:
        """Whether some replica, this one included, runs the audit now."""
        if audit.state is not AuditState.ONGOING:
            return False
        return bool(await session.leases.held(KIND, [audit.uuid]))

    async def _start(self, session: Session, audit: Audit, lease: Lease) -> Audit | None:
        if not audit.force:
            running = await session.action_plans.list(
                Query(filters={"state": PlanState.ONGOING}, limit=1)
            )
            if running:
                await self._blocked(session, audit, lease, running[0].uuid)
                return None
        if audit.state is AuditState.ONGOING:  # the next run of a CONTINUOUS audit
            if audit.hostname == self._settings.host:
                return audit
            return await session.audits.update(audit.uuid, {"hostname": self._settings.host})
        return await session.audits.transition(
            audit.uuid,
            to=AuditState.ONGOING,
            actor=Actor.DECISION,
            source=audit.state,
            fence=lease,
            hostname=self._settings.host,
            status_message=None,
        )

    async def _blocked(self, session: Session, audit: Audit, lease: Lease, plan_uuid: str) -> None:
        """A-082: ONESHOT is cancelled; the other types skip this run and keep their state."""
        message = (
            f"Action Plan {plan_uuid} is currently running. "
            "Create the audit again when it has ended, or set force to plan beside it."
        )
        log.info("audit is not run beside a running plan", audit=audit.uuid, plan=plan_uuid)
        if audit.audit_type is AuditType.ONESHOT:
            await self._cancel(session, audit, lease, message)
            return
        following = None
        if audit.audit_type is AuditType.CONTINUOUS:
            try:
                following = schedule.next_run(audit, self._clock.now())
            except IntervalRefused as error:
                await session.audits.transition(
                    audit.uuid,
                    to=AuditState.FAILED,
                    actor=Actor.DECISION,
                    source=audit.state,
                    fence=lease,
                    status_message=error.message,
                    next_run_time=None,
                )
                return
        await session.audits.update(audit.uuid, {"next_run_time": following})

    async def _cancel(self, session: Session, audit: Audit, lease: Lease, message: str) -> None:
        await session.audits.transition(
            audit.uuid,
            to=AuditState.CANCELLED,
            actor=Actor.DECISION,
            source=audit.state,
            fence=lease,
            status_message=message,
        )

    async def renew(self, claim: Claim) -> Claim | None:
        """The claim with a later end; None when it was lost or the audit is no longer ONGOING."""

        async def work(session: Session) -> Claim | None:
            lease = await session.leases.renew(claim.lease, self._settings.lease_s)
            if lease is None:
                return None
            audit = await session.audits.get(claim.audit.uuid, show_deleted=True)
            return replace(claim, lease=lease) if audit.state is AuditState.ONGOING else None

        return await self._store.transact(work)

    async def release(self, claim: Claim) -> None:
        """Lets another replica take it at once."""
        await self._store.transact(lambda session: session.leases.release(claim.lease))
