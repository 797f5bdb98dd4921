"""Runs audits: claims what the record asks for, plans it, publishes the plan, ends the audit.

On the main path: `sweep` runs at start and every two seconds; a wake-up only makes it run at once.
The order of writes makes every crash harmless: the plan becomes visible in one step, then it is
launched if the audit wants that, then the audit ends. A run that is repeated finds the plan of its
own first attempt by its uuid and only does what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import structlog

from trimtab_common.domain.errors import Conflict, NotFound, TrimtabError
from trimtab_common.domain.lifecycle import Actor, AuditState, AuditType, PlanState
from trimtab_common.domain.records import ActionPlan, Audit, Lease
from trimtab_common.runtime import failpoints
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import (
    Query,
    Session,
    Store,
    StoreBusy,
    StoreUnreachable,
    running_plan_beside,
)
from trimtab_decision import counters, schedule
from trimtab_decision.claims import Claim, Claims
from trimtab_decision.errors import AuditGone
from trimtab_decision.recommendation import Recommendation, Recommender, plan_uuid
from trimtab_decision.settings import DecisionSettings

log = structlog.get_logger(__name__)

WakePlan = Callable[[str], Awaitable[None]]
"""Tells applier that a plan may be runnable; must not raise."""

_RENEWALS_PER_LEASE = 4


class AuditRunner:
    """Runs at most `max_audit_workers` audits at a time, each in a task of its own."""

    def __init__(
        self,
        *,
        store: Store,
        claims: Claims,
        recommender: Recommender,
        wake_plan: WakePlan,
        clock: Clock,
        settings: DecisionSettings,
    ) -> None:
        self._store = store
        self._claims = claims
        self._recommender = recommender
        self._wake_plan = wake_plan
        self._clock = clock
        self._settings = settings
        self._running: dict[str, asyncio.Task[None]] = {}
        self._held: dict[str, Claim] = {}
        self._sweeping = asyncio.Lock()
        self._has_backlog = False
        self._room = asyncio.Event()

    async def follow(self) -> None:
        """Sweeps for ever: every `sweep_interval_s`, and as soon as work waits and a run ends."""
        while True:
            self._room.clear()
            await self.sweep()
            pause = asyncio.create_task(self._clock.sleep(self._settings.sweep_interval_s))
            room = asyncio.create_task(self._room.wait())
            try:
                await asyncio.wait({pause, room}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
                room.cancel()

    async def sweep(self) -> None:
        """Starts every ONESHOT and EVENT audit that asks for it, as far as there are workers."""
        async with self._store.read() as session:
            found = await session.audits.list(
                Query(
                    filters={
                        "audit_type__in": [AuditType.ONESHOT, AuditType.EVENT],
                        "state__in": [AuditState.PENDING, AuditState.ONGOING],
                    }
                )
            )
            found += await session.audits.list(
                Query(
                    filters={
                        "audit_type": AuditType.EVENT,
                        "state": AuditState.SUCCEEDED,
                        "next_run_time__lte": self._clock.now(),
                    }
                )
            )
            # a look costs less than a claim: those of other replicas are not even tried
            free = [audit for audit in found if not await self._claims.is_held(session, audit)]
        await self.start(free)

    async def wake(self, uuid: str) -> None:
        """Looks at this audit now."""
        try:
            async with self._store.read() as session:
                audit = await session.audits.get(uuid)
        except NotFound:
            return
        if audit.audit_type is not AuditType.CONTINUOUS:  # those have a loop of their own
            await self.start([audit])

    async def start(self, audits: Iterable[Audit]) -> None:
        """Claims those that are due while there are free workers, and runs them."""
        now = self._clock.now()
        async with self._sweeping:
            self._has_backlog = False
            for audit in audits:
                if len(self._running) >= self._settings.max_audit_workers:
                    self._has_backlog = True
                    return
                if audit.uuid in self._running:
                    continue
                if not (schedule.is_due(audit, now) or self._claims.is_orphan(audit)):
                    continue
                claim = await self._claims.take(audit.uuid)
                if claim is not None:
                    self._launch(claim)

    def _launch(self, claim: Claim) -> None:
        uuid = claim.audit.uuid
        self._held[uuid] = claim
        task = asyncio.create_task(self._run(claim), name=f"audit-{uuid}")
        self._running[uuid] = task
        task.add_done_callback(lambda _: self._ended(uuid))

    def _ended(self, uuid: str) -> None:
        self._running.pop(uuid, None)
        if self._has_backlog:
            self._room.set()

    async def drain(self) -> None:
        """Returns when no audit runs any more."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    async def close(self) -> None:
        """Stops every run; the audits stay ONGOING and are resumed by whoever comes next."""
        for task in list(self._running.values()):
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        for claim in list(self._held.values()):  # those whose task had not taken its first step
            await self._let_go(claim)

    async def _run(self, claim: Claim) -> None:
        work = asyncio.create_task(self._plan(claim))
        keeper = asyncio.create_task(self._keep(claim, work))
        try:
            await work
        except asyncio.CancelledError:
            current = asyncio.current_task()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            if current is not None and current.cancelling():
                raise
        except Exception:  # the runner must live on; what is unknown here is left to a resume
            log.exception("audit run ended in an unexpected way", audit=claim.audit.uuid)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            await self._let_go(claim)

    async def _let_go(self, claim: Claim) -> None:
        self._held.pop(claim.audit.uuid, None)
        try:
            await self._claims.release(claim)
        except TrimtabError as error:
            log.warning("lease not released, it will end by itself", problem=error.message)

    async def _keep(self, claim: Claim, work: asyncio.Task[None]) -> None:
        """Renews the lease; stops the work when it is lost, or nobody wants it any more."""
        kept = claim
        while True:
            await self._clock.sleep(self._settings.lease_s / _RENEWALS_PER_LEASE)
            try:
                renewed = await self._claims.renew(kept)
            except TrimtabError as error:
                log.warning("lease not renewed, trying again", problem=error.message)
                continue
            if renewed is None:
                log.warning("audit is not ours any more", audit=claim.audit.uuid)
                work.cancel()
                return
            kept = renewed

    async def _plan(self, claim: Claim) -> None:
        structlog.contextvars.bind_contextvars(audit=claim.audit.uuid)
        failpoints.reach("decision.claim.after")
        if claim.audit.state is not AuditState.ONGOING:
            return
        try:
            message = None
            plan = await self._published(claim)
            if plan is None:
                with counters.PLANNING_S.time():
                    made = await self._recommender.recommend(claim.audit)
                    plan = await self._publish(claim, made)
                message = "; ".join(made.messages) or None
            plan = await self._launch_plan(claim, plan)
            failpoints.reach("decision.launch.after")
            await self._succeed(claim, plan, message)
        except (Conflict, StoreBusy, StoreUnreachable) as error:
            # not ours any more, or to be resumed by whoever reaches the record again
            counters.AUDIT_RUNS.labels("given_up").inc()
            log.warning("audit run given up", problem=error.message)
        except TrimtabError as error:
            await self._fail(claim, error)
        except Exception as error:
            log.exception("audit run ended in an unexpected way")
            unknown = f"Internal error: {type(error).__name__}. decision's log on "
            unknown += f"{self._settings.host} has the trace."
            await self._fail(claim, TrimtabError(unknown))

    async def _published(self, claim: Claim) -> ActionPlan | None:
        """The plan that an earlier attempt of this run published before it died."""
        try:
            async with self._store.read() as session:
                # deleted ones too: what somebody threw away meanwhile is not planned again
                return await session.action_plans.get(plan_uuid(claim.audit), show_deleted=True)
        except NotFound:
            return None

    async def _publish(self, claim: Claim, recommendation: Recommendation) -> ActionPlan:
        is_empty = not recommendation.actions
        await self._check_wanted(claim)
        failpoints.reach("decision.publish.before")
        plan = await self._store.publish_plan(
            recommendation.plan,
            recommendation.actions,
            cancel_recommended_of_audit=claim.audit.audit_type is AuditType.CONTINUOUS,
            state=PlanState.SUCCEEDED if is_empty else PlanState.RECOMMENDED,
            fence=claim.lease,
        )
        failpoints.reach("decision.publish.after")
        log.info("plan published", plan=plan.uuid, actions=len(recommendation.actions))
        return plan

    async def _check_wanted(self, claim: Claim) -> None:
        async with self._store.read() as session:
            audit = await session.audits.get(claim.audit.uuid, show_deleted=True)
        if audit.state is not AuditState.ONGOING:
            raise AuditGone(f"Audit {audit.uuid} is {audit.state}; its plan is thrown away.")

    async def _launch_plan(self, claim: Claim, plan: ActionPlan) -> ActionPlan:
        """A-085: PENDING, for applier to take; A-086: SUPERSEDED beside a running plan."""
        if not claim.audit.auto_trigger or plan.state is not PlanState.RECOMMENDED:
            return plan

        async def launch(session: Session) -> ActionPlan:
            audit = await session.audits.get(claim.audit.uuid, show_deleted=True)
            if audit.state is not AuditState.ONGOING:
                raise AuditGone(f"Audit {audit.uuid} is {audit.state}; its plan is not launched.")
            failpoints.reach("decision.launch.before")
            running = await running_plan_beside(session, plan)
            if running is None:
                return await self._move(session, plan, PlanState.PENDING, claim.lease)
            message = f"An action plan is currently running: {running.uuid}"
            return await self._move(session, plan, PlanState.SUPERSEDED, claim.lease, message)

        return await self._store.transact(launch)

    async def _move(
        self,
        session: Session,
        plan: ActionPlan,
        target: PlanState,
        lease: Lease,
        message: str | None = None,
    ) -> ActionPlan:
        return await session.action_plans.transition(
            plan.uuid,
            to=target,
            actor=Actor.DECISION,
            source=PlanState.RECOMMENDED,
            fence=lease,
            status_message=message,
        )

    async def _succeed(self, claim: Claim, plan: ActionPlan, message: str | None) -> None:
        """The audit's run is over. `message`: what the strategy has to say, in no way an error."""
        audit = claim.audit

        async def end(session: Session) -> None:
            if audit.audit_type is AuditType.CONTINUOUS:
                # as it is now: its interval may have been changed while it ran
                current = await session.audits.get(audit.uuid, show_deleted=True)
                following = schedule.next_run(current, self._clock.now())
                await session.audits.update(
                    audit.uuid,
                    {"next_run_time": following, "status_message": message},
                    fence=claim.lease,
                )
            else:
                await session.audits.transition(
                    audit.uuid,
                    to=AuditState.SUCCEEDED,
                    actor=Actor.DECISION,
                    source=AuditState.ONGOING,
                    fence=claim.lease,
                    next_run_time=None,
                    status_message=message,
                )

        await self._store.transact(end)
        failpoints.reach("decision.audit.succeeded")
        counters.AUDIT_RUNS.labels("succeeded").inc()
        log.info("audit run succeeded", plan=plan.uuid, plan_state=str(plan.state))
        if plan.state is PlanState.PENDING:
            await self._wake_plan(plan.uuid)

    async def _fail(self, claim: Claim, error: TrimtabError) -> None:
        counters.AUDIT_RUNS.labels("failed").inc()
        trace = error.details.get("trace")
        log.error("audit failed", reason=error.reason, problem=error.message, trace=trace)

        async def end(session: Session) -> None:
            await session.audits.transition(
                claim.audit.uuid,
                to=AuditState.FAILED,
                actor=Actor.DECISION,
                source=AuditState.ONGOING,
                fence=claim.lease,
                status_message=error.message,
                next_run_time=None,
            )

        try:
            await self._store.transact(end)
        except Conflict as lost:
            log.info("audit run given up", problem=lost.message)
