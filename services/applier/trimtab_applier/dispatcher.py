"""Finds plans to run and runs them: the queue of the applier is the record itself.

PENDING plans are new; ONGOING and CANCELLING ones without an owner are taken over. A wake-up only
makes the look earlier: what runs is decided by the record and by the lease.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta

import structlog

from trimtab_applier import metrics
from trimtab_applier.actions import ActionTypes
from trimtab_applier.beyond import Beyond
from trimtab_applier.context import RunParts
from trimtab_applier.errors import LeaseLost
from trimtab_applier.journal import Journal
from trimtab_applier.lease import KIND, LeaseKeeper
from trimtab_applier.moves import MoveWatcher
from trimtab_applier.plan_run import PlanRun
from trimtab_applier.settings import ApplierSettings
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.lifecycle import PlanState
from trimtab_common.domain.records import ActionPlan, Lease
from trimtab_common.openstack.nova_writes import NovaWrites
from trimtab_common.runtime import failpoints
from trimtab_common.runtime.clock import Clock
from trimtab_common.runtime.identity import host_of
from trimtab_common.store import Query, Store

log = structlog.get_logger(__name__)
RUNNABLE = (PlanState.PENDING, PlanState.ONGOING, PlanState.CANCELLING)
PAGE = 200
RETRY_AFTER_S = (1.0, 5.0, 30.0)
"""A plan whose run broke is tried again after these pauses."""
MISSED_RENEWALS = 2.5
"""After the time of so many an applier counts as silent."""
SOON_S = 0.1


class Dispatcher:
    """Runs up to `workers` plans at once."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        nova: NovaWrites,
        types: ActionTypes,
        settings: ApplierSettings,
        owner: str,
        beyond: Beyond | None = None,
    ) -> None:
        self._beyond = beyond or Beyond()
        self._store = store
        self._clock = clock
        self._nova = nova
        self._types = types
        self._settings = settings
        self._owner = owner
        self._moves = MoveWatcher(nova, clock, poll_s=settings.nova.poll_s)
        self._runs: dict[str, PlanRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._breaks: dict[str, tuple[int, float]] = {}  # plan: how often, not before
        self._told: dict[str, datetime] = {}  # plan: the take-over that its message names
        self._next_look_s = settings.sweep_every_s
        self._woken = asyncio.Event()

    @property
    def running(self) -> frozenset[str]:
        """The plans that run here now."""
        return frozenset(self._runs)

    def wake(self, uuid: str) -> None:
        """The record may hold news about this plan."""
        if uuid in self._runs:
            self._runs[uuid].wake()
        self._woken.set()

    async def run(self) -> None:
        """Looks for plans until it is cancelled; then lets go of those that run here."""
        try:
            while True:
                self._woken.clear()
                try:
                    await self.sweep()
                except TrimtabError as error:
                    log.warning("plans not looked for", problem=error.message)
                await self._pause()
        finally:
            await self._let_go()

    async def sweep(self) -> None:
        """Claims what it has a place for; tells of plans whose applier is silent."""
        self._next_look_s = self._settings.sweep_every_s
        async with self._store.read() as session:
            plans = await session.action_plans.list(
                Query(filters={"state__in": [str(state) for state in RUNNABLE]}, limit=PAGE)
            )
            others = [plan for plan in plans if plan.uuid not in self._runs]
            held = await session.leases.held(KIND, [plan.uuid for plan in others])
            now = await session.leases.now() if held else self._clock.now()
        if len(plans) < PAGE:
            self._forget_all_but({plan.uuid for plan in plans})
        for plan in others:
            if plan.uuid in held:
                await self._watch_silence(plan, held[plan.uuid], now)
            elif len(self._runs) < self._settings.workers and not self._is_paused(plan.uuid):
                await self._claim(plan)

    def _is_paused(self, uuid: str) -> bool:
        _, not_before = self._breaks.get(uuid, (0, 0.0))
        return self._clock.monotonic() < not_before

    def _forget_all_but(self, uuids: AbstractSet[str]) -> None:
        for known in (self._breaks, self._told):
            for uuid in known.keys() - uuids:
                del known[uuid]

    async def _watch_silence(self, plan: ActionPlan, lease: Lease, now: datetime) -> None:
        """A plan whose applier missed its renewals says so, and until when it waits (A-116)."""
        terms = self._settings.lease_terms
        left_s = (lease.until_at - now).total_seconds()
        if terms.stored_s - left_s < MISSED_RENEWALS * terms.renew_every_s:
            return
        self._next_look_s = min(self._next_look_s, max(left_s, 0.0) + SOON_S)
        if self._told.get(plan.uuid) == lease.until_at:
            return
        heard_at = lease.until_at - timedelta(seconds=terms.stored_s)
        message = (
            f"Waiting for a take-over: the applier on {host_of(lease.owner)} was last heard of at "
            f"{heard_at:%H:%M:%S} UTC; another one goes on at {lease.until_at:%H:%M:%S} UTC."
        )
        log.warning("plan waits for a take-over", plan=plan.uuid, until=lease.until_at.isoformat())
        await self._store.transact(
            lambda session: session.action_plans.note(plan.uuid, message, while_in=RUNNABLE)
        )
        self._told[plan.uuid] = lease.until_at

    async def _claim(self, plan: ActionPlan) -> None:
        failpoints.reach("applier.claim.before")
        keeper = await LeaseKeeper.acquire(
            self._store,
            self._clock,
            self._settings.lease_terms,
            uuid=plan.uuid,
            owner=self._owner,
        )
        if keeper is None:
            return
        failpoints.reach("applier.claim.after")
        parts = RunParts(
            journal=Journal(self._store, keeper, plan.uuid),
            keeper=keeper,
            clock=self._clock,
            nova=self._nova,
            moves=self._moves,
            limits=self._settings.nova,
            beyond=self._beyond,
        )
        run = PlanRun(parts=parts, types=self._types, settings=self._settings)
        self._runs[plan.uuid] = run
        task = asyncio.create_task(self._run(plan.uuid, run, keeper), name=f"plan {plan.uuid}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, uuid: str, run: PlanRun, keeper: LeaseKeeper) -> None:
        log.info("plan claimed", plan=uuid, fence=keeper.lease.fence)
        metrics.PLANS_RUNNING.inc()
        try:
            await run.run()
            failpoints.reach("applier.plan.ended")
            self._breaks.pop(uuid, None)
        except* LeaseLost as group:
            log.warning("lease lost", plan=uuid, cause=str(group.exceptions[0]))
        except* Exception:
            times = self._breaks.get(uuid, (0, 0.0))[0]
            pause_s = RETRY_AFTER_S[min(times, len(RETRY_AFTER_S) - 1)]
            self._breaks[uuid] = (times + 1, self._clock.monotonic() + pause_s)
            log.exception("plan run broke, its record is kept", plan=uuid, again_after_s=pause_s)
        finally:
            metrics.PLANS_RUNNING.dec()
            del self._runs[uuid]
            await self._release(keeper)
            self._woken.set()

    async def _release(self, keeper: LeaseKeeper) -> None:
        """Every write that the run began has ended, so the next owner need not wait."""
        try:
            await keeper.release()
        except TrimtabError as error:
            log.warning("lease not released", plan=keeper.lease.uuid, problem=error.message)

    async def _pause(self) -> None:
        timer = asyncio.create_task(self._clock.sleep(self._next_look_s))
        woken = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({timer, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            woken.cancel()

    async def _let_go(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
