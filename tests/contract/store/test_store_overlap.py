"""Two api replicas, each with connections of its own, never launch plans that overlap (A-087)."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace

import pytest

from trimtab_api import action_plans, audits
from trimtab_common.domain.errors import Conflict, FailedPrecondition
from trimtab_common.domain.lifecycle import Actor, AuditState, AuditType, PlanState
from trimtab_common.store import Query, open_store, running_plan_beside

SERVER = "5a5a5a5a-0000-4000-8000-000000000001"


@pytest.fixture
async def replicas(database_url, world):
    """Use cases of two replicas."""
    other = await open_store(database_url, host="node-2", now=world.clock.now)
    waker = SimpleNamespace(wake_plan=lambda _uuid: None, wake_audit=lambda _uuid: None)
    try:
        yield [
            SimpleNamespace(store=store, waker=waker, clock=world.clock)
            for store in (world.store, other)
        ]
    finally:
        await other.close()


async def a_plan(world):
    audit = await world.audit()
    actions = [
        dataclasses.replace(action, input_parameters={"resource_id": SERVER})
        for action in world.actions(2)
    ]
    return await world.store.publish_plan(world.plan_of(audit), actions)


@pytest.mark.req("A-087")
async def test_who_looks_second_waits_for_the_first_and_sees_its_plan(world, replicas):
    mine, other = [await a_plan(world) for _ in replicas]
    looked = asyncio.Event()

    async def second(session):
        running = await running_plan_beside(session, other)
        looked.set()
        return running

    async with replicas[0].store.write() as session:
        assert await running_plan_beside(session, mine) is None
        looking = asyncio.create_task(replicas[1].store.transact(second))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(looked.wait(), 0.5)
        await session.action_plans.transition(mine.uuid, to=PlanState.PENDING, actor=Actor.API)
    assert (await asyncio.wait_for(looking, 10)).uuid == mine.uuid


@pytest.mark.req("A-087", "C-120")
async def test_of_plans_that_overlap_exactly_one_is_launched_however_often_it_is_tried(
    world, replicas
):
    for _ in range(15):
        plans = [await a_plan(world) for _ in range(4)]
        answers = await asyncio.gather(
            *(
                action_plans.start(replicas[number % 2], plan.uuid)
                for number, plan in enumerate(plans)
            ),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, Conflict)]
        assert len(refused) == 3, answers
        async with world.store.read() as session:
            (launched,) = await session.action_plans.list(
                Query(filters={"state": PlanState.PENDING})
            )
        await action_plans.set_state(replicas[0], launched.uuid, "CANCELLED")


@pytest.mark.req("A-073")
async def test_a_webhook_that_meets_a_claim_is_refused_and_never_lost(world, replicas):
    """Decision claims the audit between the look of api and its write."""
    audit = await world.audit(audit_type=AuditType.EVENT)
    triggered = asyncio.Event()

    async def trigger():
        triggered.set()
        await audits.trigger(replicas[1], audit.uuid)

    async with replicas[0].store.write() as session:
        await session.audits.transition(audit.uuid, to=AuditState.ONGOING, actor=Actor.DECISION)
        task = asyncio.create_task(trigger())
        await triggered.wait()
        await asyncio.wait([task], timeout=0.3)  # it has looked, or waits for the writer
    with pytest.raises(FailedPrecondition, match="can not be triggered in state ONGOING"):
        await asyncio.wait_for(task, 10)
    async with world.store.read() as session:
        assert (await session.audits.get(audit.uuid)).next_run_time is None
