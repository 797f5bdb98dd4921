"""A decision service without processes and network: the real store, runner and syncer over fakes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np

from trimtab_common.domain.errors import Unavailable
from trimtab_common.domain.lifecycle import Actor, AuditState, AuditType, PlanState
from trimtab_common.domain.records import Action, ActionPlan, Audit
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.store import Query
from trimtab_decision.audits import AuditRunner
from trimtab_decision.claims import Claims
from trimtab_decision.continuous import ContinuousAudits
from trimtab_decision.execution import Desk
from trimtab_decision.recommendation import Recommender
from trimtab_decision.settings import DecisionSettings
from trimtab_decision.syncer import Engine, Syncer


def snapshot(stale_reason=""):
    """Two hosts, no servers."""
    return ComputeSnapshot(
        epoch="test",
        revision=1,
        taken_at=datetime(2026, 1, 1, tzinfo=UTC),
        host_uuid=("a", "b"),
        host_name=("host-a", "host-b"),
        host_inventory=np.full((2, 3), 16, dtype=np.int64),
        host_reserved=np.zeros((2, 3), dtype=np.int64),
        host_ratio=np.ones((2, 3)),
        host_up=np.ones(2, dtype=np.bool_),
        host_enabled=np.ones(2, dtype=np.bool_),
        host_disabled_reason=(None, None),
        host_zone=np.full(2, -1, dtype=np.int32),
        server_uuid=np.zeros((0, 16), dtype=np.uint8),
        server_name=(),
        server_host=np.zeros(0, dtype=np.int32),
        server_demand=np.zeros((0, 3), dtype=np.int64),
        server_state=np.zeros(0, dtype=np.int8),
        server_locked=np.zeros(0, dtype=np.bool_),
        server_excluded=np.zeros(0, dtype=np.bool_),
        server_project=np.zeros(0, dtype=np.int32),
        server_created_at_s=np.zeros(0, dtype=np.int64),
        host_capacity_from_nova=np.zeros(2, dtype=np.bool_),
        stale_reason=stale_reason,
    )


class FakeModel:
    def __init__(self):
        self.now = snapshot()
        self.age_s = 0.0
        self.problem = "not connected to collector yet"

    @property
    def ready(self):
        return self.now is not None

    def snapshot(self):
        return self.now


class FakeMetrics:
    def __init__(self):
        self.asked = []
        self.sources = []
        self.error = None
        self.read_error = None
        self.value = 50.0

    async def read(self, compute, queries, datasources=()):
        self.asked.append(list(queries))
        self.preferred = list(datasources)
        if error := self.error or self.read_error:
            raise error
        return MetricsTable(
            host={q.metric: np.full(compute.n_hosts, self.value) for q in queries},
            source="fake",
        )

    async def datasources(self):
        if self.error:
            raise self.error
        return self.sources


class InlineThinker:
    """Thinks in this process. `before`: awaited before each strategy runs."""

    def __init__(self, registry):
        self.registry = registry
        self.questions = []
        self.before = None

    @asynccontextmanager
    async def thinking(self):
        yield InlineThinking(self)


class InlineThinking:
    def __init__(self, thinker):
        self.thinker = thinker
        self.desk = Desk(thinker.registry)

    async def execute(self, question, tell):
        self.thinker.questions.append(question)
        if self.thinker.before is not None:
            await self.thinker.before()
        return self.desk.execute(question, tell)

    async def order(self, planner, options, runnable):
        return self.desk.order(planner, options, runnable)


class FakeScoring:
    def __init__(self):
        self.known = [Engine(name="dummy_scorer", description="d", metainfo="{}")]
        self.is_up = True

    async def engines(self):
        if not self.is_up:
            raise Unavailable("scoring does not answer")
        return self.known


class World:
    def __init__(self, *, store, clock, registry):
        self.store = store
        self.clock = clock
        self.registry = registry
        self.model = FakeModel()
        self.metrics = FakeMetrics()
        self.scoring = FakeScoring()
        self.thinker = InlineThinker(registry)
        self.woken = []
        self.runners = []
        self.settings = DecisionSettings(host="node-1")

    def syncer(self, **changes):
        registry = changes.pop("registry", self.registry)
        return Syncer(
            store=self.store,
            registry=registry,
            scoring=self.scoring,
            settings=replace(self.settings, **changes),
            clock=self.clock,
            owner="syncer-1",
        )

    def claims(self, owner="me", **changes):
        settings = replace(self.settings, **changes)
        return Claims(store=self.store, settings=settings, clock=self.clock, owner=owner)

    def recommender(self, **changes):
        return Recommender(
            store=self.store,
            registry=self.registry,
            thinker=self.thinker,
            model=self.model,
            metrics=self.metrics,
            settings=replace(self.settings, **changes),
        )

    def runner(self, *, owner="me", **changes):
        async def wake(uuid):
            self.woken.append(uuid)

        made = AuditRunner(
            store=self.store,
            claims=self.claims(owner, **changes),
            recommender=self.recommender(**changes),
            wake_plan=wake,
            clock=self.clock,
            settings=replace(self.settings, **changes),
        )
        self.runners.append(made)
        return made

    def continuous(self, runner=None, **changes):
        return ContinuousAudits(
            store=self.store,
            runner=runner or self.runner(**changes),
            clock=self.clock,
            settings=replace(self.settings, **changes),
        )

    async def close(self):
        for runner in self.runners:
            await runner.close()

    async def add_audit(self, goal="dummy", strategy="dummy", **fields):
        async with self.store.write() as session:
            goal_row = await session.goals.get(goal)
            strategy_row = await session.strategies.get(strategy) if strategy else None
            defaults = {
                "uuid": str(uuid4()),
                "audit_type": AuditType.ONESHOT,
                "goal_id": goal_row.id,
                "strategy_id": strategy_row.id if strategy_row else None,
            }
            values = {**defaults, **fields}
            return await session.audits.create(Audit(name=values["uuid"], **values))

    async def add_plan(self, state=PlanState.RECOMMENDED, *, resource=None, audit=None):
        """A plan of some other audit with one action, moved to `state` as its owners do."""
        audit = audit or await self.add_audit(state=AuditState.SUCCEEDED)
        async with self.store.read() as session:
            strategy = await session.strategies.get(audit.strategy_id)
        inputs = {"resource_id": resource} if resource else {}
        plan = await self.store.publish_plan(
            ActionPlan(uuid=str(uuid4()), audit_id=audit.id, strategy_id=strategy.id),
            [
                Action(
                    uuid=str(uuid4()), action_plan_id=0, action_type="nop", input_parameters=inputs
                )
            ],
        )
        path = {
            PlanState.RECOMMENDED: (),
            PlanState.PENDING: ((PlanState.PENDING, Actor.API),),
            PlanState.ONGOING: ((PlanState.ONGOING, Actor.APPLIER),),
        }[state]
        for target, actor in path:
            async with self.store.write() as session:
                plan = await session.action_plans.transition(plan.uuid, to=target, actor=actor)
        return plan

    async def audit(self, uuid):
        async with self.store.read() as session:
            return await session.audits.get(uuid)

    async def plans(self, audit):
        async with self.store.read() as session:
            return await session.action_plans.list(Query(filters={"audit_id": audit.id}))

    async def actions(self, plan):
        async with self.store.read() as session:
            return await session.actions.list_of_plan(plan.uuid)

    async def events(self, uuid):
        async with self.store.read() as session:
            rows = await session.outbox.unpublished(1000)
        return [(row.event_type, row.priority) for row in rows if row.object_uuid == uuid]

    async def run(self, audit, **changes):
        """Sweeps once and gives the audit afterwards."""
        runner = self.runner(**changes)
        await runner.sweep()
        await runner.drain()
        return await self.audit(audit.uuid)
