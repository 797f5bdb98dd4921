"""Builders for the applier's tests: a store with plans, a clock, and runners on them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

from fake_nova import FakeNova
from memory_store import MemoryStore

from trimtab_applier.actions import ActionTypes, load_action_types
from trimtab_applier.context import RunParts
from trimtab_applier.journal import Journal
from trimtab_applier.lease import LeaseKeeper
from trimtab_applier.moves import MoveWatcher
from trimtab_applier.plan_run import PlanRun
from trimtab_applier.settings import ApplierSettings
from trimtab_common.domain.lifecycle import ActionState, Actor, PlanState
from trimtab_common.domain.records import Action, ActionPlan
from trimtab_common.runtime.clock import FakeClock

T = TypeVar("T")
PLAN = "11111111-0000-4000-8000-000000000000"


def uuid_of(number: int) -> str:
    return f"22222222-0000-4000-8000-{number:012d}"


def nop(**parameters: Any) -> tuple[str, dict[str, Any]]:
    return "nop", {"message": "hello", **parameters}


def sleep(duration: float) -> tuple[str, dict[str, Any]]:
    return "sleep", {"duration": duration}


def migrate(
    server: str, source: str, destination: str | None = None, kind: str = "live"
) -> tuple[str, dict[str, Any]]:
    parameters = {"resource_id": server, "migration_type": kind, "source_node": source}
    return "migrate", {**parameters, **({"destination_node": destination} if destination else {})}


class World:
    """One store, one clock, any number of runners."""

    step_s = 0.25

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.store: Any = MemoryStore(self.clock)
        self.nova: Any = FakeNova(self.clock)
        self.settings = ApplierSettings(host="applier-1", **{"max_workers": 4, **settings})
        self.types: ActionTypes = load_action_types()

    async def plan(
        self,
        *steps: tuple[str, dict[str, Any]],
        parents: dict[int, Iterable[int | str]] | None = None,
        state: PlanState = PlanState.PENDING,
        strategy: str = "dummy",
    ) -> None:
        """Stores one plan whose n-th step has the uuid `uuid_of(n)`."""
        async with self.store.write() as session:
            await session.action_plans.create(
                ActionPlan(
                    uuid=PLAN, audit_id=1, strategy_id=1, state=state, strategy_name=strategy
                )
            )
            for number, (kind, parameters) in enumerate(steps):
                own = (parents or {}).get(number, ())
                await session.actions.create(
                    Action(
                        uuid=uuid_of(number),
                        action_plan_id=1,
                        action_plan_uuid=PLAN,
                        action_type=kind,
                        input_parameters=parameters,
                        parents=tuple(p if isinstance(p, str) else uuid_of(p) for p in own),
                    )
                )

    async def runner(
        self, owner: str = "a", *, store: Any = None, nova: Any = None
    ) -> tuple[PlanRun, LeaseKeeper]:
        """A runner that holds the lease on the plan."""
        store, nova = store or self.store, nova or self.nova
        keeper = await LeaseKeeper.acquire(
            store, self.clock, self.settings.lease_terms, uuid=PLAN, owner=owner
        )
        assert keeper is not None
        limits = self.settings.nova
        parts = RunParts(
            journal=Journal(store, keeper, PLAN),
            keeper=keeper,
            clock=self.clock,
            nova=nova,
            moves=MoveWatcher(nova, self.clock, poll_s=limits.poll_s),
            limits=limits,
        )
        return PlanRun(parts=parts, types=self.types, settings=self.settings), keeper

    async def run(self) -> None:
        """Runs the plan to its end, with time flying."""
        runner, _ = await self.runner()
        await self.until(runner.run())

    async def until(self, work: Awaitable[T], limit_s: float = 10_000.0) -> T:
        """Moves the clock until the work is done."""
        task = asyncio.ensure_future(work)
        while not task.done():
            if self.clock.monotonic() > limit_s:
                task.cancel()
                raise TimeoutError(f"not done after {limit_s} s of fake time")
            await self.let_run()
            await self.clock.advance(self.step_s)
        return await task

    async def passes(self, seconds: float) -> None:
        """Time passes, slowly enough for everything that is due to happen."""
        step_s = self.step_s if self.step_s > 1 else 0.1
        for _ in range(round(seconds / step_s)):
            await self.let_run()
            await self.clock.advance(step_s)

    @staticmethod
    async def let_run() -> None:
        """Everything that is ready runs."""
        for _ in range(60):
            await asyncio.sleep(0)

    async def request_cancel(self) -> None:
        """What the api does."""
        async with self.store.write() as session:
            await session.action_plans.transition(PLAN, to=PlanState.CANCELLING, actor=Actor.API)

    @property
    def the_plan(self) -> ActionPlan:
        return self.store.tables.plans[PLAN]

    def action(self, number: int) -> Action:
        return self.store.tables.actions[uuid_of(number)]

    @property
    def states(self) -> list[ActionState]:
        return [action.state for action in self.store.tables.actions.values()]

    def events(self, prefix: str = "") -> list[str]:
        return [name for name, _ in self.store.tables.events if name.startswith(prefix)]
