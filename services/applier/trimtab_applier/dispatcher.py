"""Finds plans to run and runs them: the queue of the applier is the record itself.

PENDING plans are new; ONGOING and CANCELLING ones without an owner are taken over. A wake-up only
makes the look earlier: what runs is decided by the record and by the lease.
"""

from __future__ import annotations

import asyncio

import structlog

from trimtab_applier import metrics
from trimtab_applier.actions import ActionTypes
from trimtab_applier.context import RunParts
from trimtab_applier.errors import LeaseLost
from trimtab_applier.journal import Journal
from trimtab_applier.lease import KIND, LeaseKeeper
from trimtab_applier.moves import MoveWatcher
from trimtab_applier.plan_run import PlanRun
from trimtab_applier.settings import ApplierSettings
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.lifecycle import PlanState
from trimtab_common.domain.records import ActionPlan
from trimtab_common.openstack.nova_writes import NovaWrites
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Store

log = structlog.get_logger(__name__)
RUNNABLE = (PlanState.PENDING, PlanState.ONGOING, PlanState.CANCELLING)
PAGE = 200
RETRY_AFTER_S = (1.0, 5.0, 30.0)
"""A plan whose run broke is tried again after these pauses."""


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
    ) -> None:
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
        """Claims what it has a place for."""
        if len(self._runs) >= self._settings.workers:
            return
        async with self._store.read() as session:
            plans = await session.action_plans.list(
                Query(filters={"state__in": [str(state) for state in RUNNABLE]}, limit=PAGE)
            )
        for plan in plans:
            if len(self._runs) >= self._settings.workers:
                return
            if plan.uuid not in self._runs and await self._is_free(plan):
                await self._claim(plan)

    async def _is_free(self, plan: ActionPlan) -> bool:
        """A look without a write; the claim itself decides."""
        _, not_before = self._breaks.get(plan.uuid, (0, 0.0))
        if self._clock.monotonic() < not_before:
            return False
        async with self._store.read() as session:
            lease = await session.leases.get(KIND, plan.uuid)
            return lease is None or lease.until_at <= await session.leases.now()

    async def _claim(self, plan: ActionPlan) -> None:
        keeper = await LeaseKeeper.acquire(
            self._store,
            self._clock,
            self._settings.lease_terms,
            uuid=plan.uuid,
            owner=self._owner,
        )
        if keeper is None:
            return
        parts = RunParts(
            journal=Journal(self._store, keeper, plan.uuid),
            keeper=keeper,
            clock=self._clock,
            nova=self._nova,
            moves=self._moves,
            limits=self._settings.nova,
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
        timer = asyncio.create_task(self._clock.sleep(self._settings.sweep_every_s))
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
