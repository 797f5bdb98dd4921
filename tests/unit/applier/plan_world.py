"""Builders for the applier's tests: a store with plans, a clock, and runners on them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Iterable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, ClassVar, TypeVar

from fake_nova import FakeNova
from timed_store import TimedStore

from trimtab_applier.actions import ActionTypes, load_action_types
from trimtab_applier.context import RunParts
from trimtab_applier.journal import Journal
from trimtab_applier.lease import LeaseKeeper
from trimtab_applier.moves import MoveWatcher
from trimtab_applier.plan_run import PlanRun
from trimtab_applier.settings import ApplierSettings
from trimtab_common.domain.lifecycle import ActionState, Actor, AuditType, PlanState
from trimtab_common.domain.records import Action, ActionPlan, Audit, Goal, Strategy
from trimtab_common.runtime.clock import FakeClock

T = TypeVar("T")
AUDIT = "33333333-0000-4000-8000-000000000000"
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
    """One store, one clock, any number of runners. `plan` opens the store."""

    step_s = 0.25
    open_ones: ClassVar[list[World]] = []

    def __init__(self, **settings: Any) -> None:
        self.clock = FakeClock()
        self.store: Any = None
        self._first_event = 0
        self.nova: Any = FakeNova(self.clock)
        self.settings = ApplierSettings(host="applier-1", **{"max_workers": 4, **settings})
        self.types: ActionTypes = load_action_types()

    async def plan(
        self,
        *steps: tuple[str, dict[str, Any]],
        parents: dict[int, Iterable[int | str]] | None = None,
        state: PlanState = PlanState.PENDING,
        strategy: str = "dummy",
        facts: dict[int, dict[str, Any]] | None = None,
    ) -> None:
        """Stores one plan whose n-th step has the uuid `uuid_of(n)`."""
        self.store = await TimedStore.open(self.clock)
        self.open_ones.append(self)
        async with self.store.write() as session:
            goal = await session.goals.create(Goal(uuid=AUDIT, name="g", display_name="g"))
            made_by = await session.strategies.create(
                Strategy(uuid=AUDIT, name=strategy, display_name="s", goal_id=goal.id)
            )
            audit = await session.audits.create(
                Audit(
                    uuid=AUDIT,
                    name="a",
                    audit_type=AuditType.ONESHOT,
                    goal_id=goal.id,
                    strategy_id=made_by.id,
                )
            )
            plan = await session.action_plans.create(
                ActionPlan(uuid=PLAN, audit_id=audit.id, strategy_id=made_by.id, state=state)
            )
            for number, (kind, parameters) in enumerate(steps):
                own = (parents or {}).get(number, ())
                await session.actions.create(
                    Action(
                        uuid=uuid_of(number),
                        action_plan_id=plan.id,
                        action_type=kind,
                        input_parameters=parameters,
                        parents=tuple(p if isinstance(p, str) else uuid_of(p) for p in own),
                        facts=(facts or {}).get(number),
                    )
                )
        (newest,) = self._rows("SELECT max(id) AS id FROM outbox")
        self._first_event = newest.id

    async def close(self) -> None:
        """Ends the store."""
        if self in self.open_ones:
            self.open_ones.remove(self)
            await self.store.close()

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

    async def let_run(self) -> None:
        """Everything that is ready runs."""
        await self.store.settle()

    async def request_cancel(self) -> None:
        """What the api does."""
        async with self.store.write() as session:
            await session.action_plans.transition(PLAN, to=PlanState.CANCELLING, actor=Actor.API)

    @property
    def the_plan(self) -> Any:
        """The plan's row."""
        (row,) = self._rows("SELECT * FROM action_plans")
        row.state = PlanState(row.state)
        return row

    def action(self, number: int) -> Any:
        """One action's row."""
        (row,) = self._rows("SELECT * FROM actions WHERE uuid = ?", uuid_of(number))
        row.state = ActionState(row.state)
        row.result = row.result and json.loads(row.result)
        return row

    @property
    def states(self) -> list[ActionState]:
        return [ActionState(row.state) for row in self._rows("SELECT state FROM actions")]

    def events(self, prefix: str = "") -> list[str]:
        """What was announced since the plan was stored."""
        rows = self._rows("SELECT event_type FROM outbox WHERE id > ?", self._first_event)
        return [row.event_type for row in rows if row.event_type.startswith(prefix)]

    @property
    def lease_left_s(self) -> float:
        """How long nobody else can take the plan; 0 when it is free."""
        rows = self._rows("SELECT until_at FROM leases WHERE owner != ''")
        if not rows:
            return 0.0
        until = datetime.fromisoformat(rows[0].until_at).replace(tzinfo=UTC)
        return max(0.0, (until - self.clock.now()).total_seconds())

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        connection = sqlite3.connect(self.store.path)
        try:
            connection.row_factory = sqlite3.Row
            return [SimpleNamespace(**dict(row)) for row in connection.execute(statement, values)]
        finally:
            connection.close()
