from __future__ import annotations

import asyncio

import pytest

from trimtab_common.domain.lifecycle import Actor, AuditState, PlanState
from trimtab_common.store import Store
from trimtab_decision.settings import OnRestart


@pytest.mark.req("A-083", "A-111", "B-211", "B-080", "C-120")
async def test_a_pending_audit_becomes_a_plan_with_its_actions(world):
    audit = await world.add_audit(parameters={"para1": 2.5, "para2": "bye"})
    done = await world.run(audit)
    assert (done.state, done.hostname, done.status_message) == (
        AuditState.SUCCEEDED,
        "node-1",
        None,
    )
    (plan,) = await world.plans(audit)
    assert plan.state is PlanState.RECOMMENDED
    assert plan.strategy_name == "dummy"
    actions = await world.actions(plan)
    assert sorted((a.action_type, str(a.input_parameters)) for a in actions) == [
        ("nop", "{'message': 'bye'}"),
        ("nop", "{'message': 'hello World'}"),
        ("sleep", "{'duration': 2.5}"),
    ]
    assert all(a.reason for a in actions)
    assert world.woken == []


@pytest.mark.req("B-031")
async def test_defaults_are_filled_in_when_the_audit_runs(world):
    await world.run(await world.add_audit())
    assert world.thinker.questions[0].parameters == {"para1": 3.2, "para2": "hello"}


@pytest.mark.req("A-040", "B-030")
async def test_an_audit_without_strategy_gets_the_first_of_its_goal(world):
    audit = await world.add_audit(strategy=None)
    assert (await world.run(audit)).state is AuditState.SUCCEEDED
    (plan,) = await world.plans(audit)
    assert plan.strategy_name == "dummy"


@pytest.mark.req("B-031")
async def test_parameters_that_break_the_schema_fail_the_audit(world):
    audit = await world.add_audit(parameters={"para1": 100})
    done = await world.run(audit)
    assert done.state is AuditState.FAILED
    assert "para1" in done.status_message
    assert "100" in done.status_message


@pytest.mark.req("B-211")
async def test_a_solution_without_actions_is_a_plan_that_succeeded(world):
    audit = await world.add_audit(
        goal="unclassified", strategy="actuator", parameters={"actions": []}, auto_trigger=True
    )
    assert (await world.run(audit)).state is AuditState.SUCCEEDED
    (plan,) = await world.plans(audit)
    assert plan.state is PlanState.SUCCEEDED
    assert world.woken == []


@pytest.mark.req("A-085")
async def test_auto_trigger_launches_the_plan_and_wakes_the_applier(world):
    audit = await world.add_audit(auto_trigger=True)
    await world.run(audit)
    (plan,) = await world.plans(audit)
    assert plan.state is PlanState.PENDING
    assert world.woken == [plan.uuid]


def actuate(resource):
    return {
        "actions": [
            {"action_type": "nop", "input_parameters": {"message": "x"}, "resource_id": resource}
        ]
    }


@pytest.mark.req("A-086")
@pytest.mark.parametrize(
    ("resource", "state"), [("server-1", PlanState.SUPERSEDED), ("server-2", PlanState.PENDING)]
)
async def test_an_auto_triggered_plan_yields_to_a_running_one_on_the_same_resource(
    world, resource, state
):
    await world.add_plan(PlanState.ONGOING, resource="server-1")
    audit = await world.add_audit(
        goal="unclassified",
        strategy="actuator",
        parameters=actuate(resource),
        auto_trigger=True,
        force=True,
    )
    assert (await world.run(audit)).state is AuditState.SUCCEEDED
    (plan,) = await world.plans(audit)
    assert plan.state is state
    if state is PlanState.SUPERSEDED:
        assert plan.status_message.startswith("An action plan is currently running")
        assert world.woken == []


@pytest.mark.req("A-082", "B-292")
async def test_an_audit_without_force_is_cancelled_beside_a_running_plan(world):
    running = await world.add_plan(PlanState.ONGOING)
    audit = await world.add_audit()
    done = await world.run(audit)
    assert done.state is AuditState.CANCELLED
    assert done.status_message.startswith(f"Action Plan {running.uuid} is currently running")
    forced = await world.add_audit(force=True)
    assert (await world.run(forced)).state is AuditState.SUCCEEDED


@pytest.mark.req("A-081")
async def test_a_cancelled_audit_never_starts(world):
    audit = await world.add_audit()
    async with world.store.write() as session:
        await session.audits.transition(audit.uuid, to=AuditState.CANCELLED, actor=Actor.API)
    runner = world.runner()
    await runner.wake(audit.uuid)
    await runner.sweep()
    await runner.drain()
    assert world.thinker.questions == []
    assert await world.plans(audit) == []


@pytest.mark.req("A-081")
async def test_a_wake_up_carries_no_authority(world):
    audit = await world.add_audit()
    runner = world.runner()
    await runner.wake("00000000-0000-0000-0000-000000000001")
    await runner.wake(audit.uuid)
    await runner.wake(audit.uuid)
    await runner.drain()
    await runner.wake(audit.uuid)
    await runner.drain()
    assert len(await world.plans(audit)) == 1


async def test_an_audit_cancelled_while_it_is_planned_publishes_nothing(world):
    audit = await world.add_audit()

    async def cancel():
        async with world.store.write() as session:
            await session.audits.transition(audit.uuid, to=AuditState.CANCELLED, actor=Actor.API)

    world.thinker.before = cancel
    assert (await world.run(audit)).state is AuditState.CANCELLED
    assert await world.plans(audit) == []


@pytest.mark.req("A-083")
async def test_no_more_audits_run_at_a_time_than_there_are_workers(world):
    for _ in range(3):
        await world.add_audit()
    gate = asyncio.Event()
    world.thinker.before = gate.wait
    runner = world.runner(max_audit_workers=2)
    await runner.sweep()
    await asyncio.sleep(0)
    async with world.store.read() as session:
        states = [audit.state for audit in await session.audits.list()]
    assert states == [AuditState.ONGOING, AuditState.ONGOING, AuditState.PENDING]
    gate.set()
    await runner.drain()
    await runner.sweep()
    await runner.drain()
    async with world.store.read() as session:
        assert {audit.state for audit in await session.audits.list()} == {AuditState.SUCCEEDED}


async def test_waiting_audits_start_as_soon_as_a_worker_is_free(world):
    audits = [await world.add_audit() for _ in range(5)]
    runner = world.runner(max_audit_workers=2)
    following = asyncio.create_task(runner.follow())
    async with asyncio.timeout(30):  # the clock stands still: no second sweep by time
        while len(world.thinker.questions) < len(audits):
            await runner.drain()
            await asyncio.sleep(0)
    await runner.drain()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert [len(await world.plans(audit)) for audit in audits] == [1] * 5


@pytest.mark.req("A-110", "A-094")
async def test_two_replicas_never_run_the_same_audit(world):
    audit = await world.add_audit()
    replicas = [world.runner(owner=f"replica-{n}") for n in range(3)]
    await asyncio.gather(*(replica.sweep() for replica in replicas))
    await asyncio.gather(*(replica.drain() for replica in replicas))
    assert len(world.thinker.questions) == 1
    assert len(await world.plans(audit)) == 1


async def test_after_a_crash_the_audit_is_planned_again_once_its_lease_has_ended(world):
    audit = await world.add_audit()
    await world.claims("dead").take(audit.uuid)
    assert (await world.run(audit)).state is AuditState.ONGOING
    await world.clock.advance(world.settings.lease_s + 1)
    assert (await world.run(audit)).state is AuditState.SUCCEEDED
    assert len(await world.plans(audit)) == 1


@pytest.mark.req("A-084")
async def test_after_a_crash_the_audit_is_cancelled_when_the_operator_wants_watchers_way(world):
    audit = await world.add_audit()
    await world.claims("dead").take(audit.uuid)
    await world.clock.advance(world.settings.lease_s + 1)
    done = await world.run(audit, on_restart=OnRestart.CANCEL)
    assert done.state is AuditState.CANCELLED
    assert "node-1" in done.status_message
    assert await world.plans(audit) == []


async def test_a_crash_between_plan_and_end_leaves_one_plan(world):
    audit = await world.add_audit(auto_trigger=True)
    claim = await world.claims("dead").take(audit.uuid)
    made = await world.recommender().recommend(claim.audit)
    await world.store.publish_plan(made.plan, made.actions, fence=claim.lease)
    await world.clock.advance(world.settings.lease_s + 1)
    assert (await world.run(audit)).state is AuditState.SUCCEEDED
    (plan,) = await world.plans(audit)
    assert plan.state is PlanState.PENDING
    assert world.woken == [plan.uuid]
    assert len(world.thinker.questions) == 1


async def test_a_crash_while_the_plan_is_stored_leaves_one_whole_plan(world):
    audit = await world.add_audit()
    claim = await world.claims("dead").take(audit.uuid)
    made = await world.recommender().recommend(claim.audit)
    async with world.store.write() as session:
        await session.action_plans.create_invisible(made.plan)
    await world.clock.advance(world.settings.lease_s + 1)
    assert (await world.run(audit)).state is AuditState.SUCCEEDED
    (plan,) = await world.plans(audit)
    assert len(await world.actions(plan)) == 3


async def test_an_audit_stopped_with_its_service_is_resumed_at_once_by_the_next(world):
    audit = await world.add_audit()
    gate = asyncio.Event()
    world.thinker.before = gate.wait
    runner = world.runner(owner="stopping")
    await runner.sweep()
    await runner.close()
    assert (await world.audit(audit.uuid)).state is AuditState.ONGOING
    gate.set()
    assert (await world.run(audit)).state is AuditState.SUCCEEDED


async def test_an_administrators_ongoing_audit_is_left_alone(world):
    audit = await world.add_audit()
    async with world.store.write() as session:
        await session.audits.transition(audit.uuid, to=AuditState.ONGOING, actor=Actor.API)
    assert (await world.run(audit)).state is AuditState.ONGOING
    assert world.thinker.questions == []


async def test_a_lease_lost_while_planning_ends_the_run_without_a_plan(world):
    audit = await world.add_audit()
    gate = asyncio.Event()
    world.thinker.before = gate.wait
    runner = world.runner(owner="paused")
    await runner.sweep()

    async with world.store.write() as session:
        lease = await session.leases.get("audit", audit.uuid)
        await session.leases.release(lease)
        assert await session.leases.acquire("audit", audit.uuid, "other", 60) is not None
    gate.set()
    await runner.drain()
    assert await world.plans(audit) == []
    assert (await world.audit(audit.uuid)).state is AuditState.ONGOING


@pytest.mark.req("B-047", "A-095")
async def test_strategy_and_planner_announce_start_and_end(world):
    audit = await world.add_audit()
    await world.run(audit)
    events = await world.events(audit.uuid)
    assert [e for e in events if e[0] not in ("audit.create", "audit.update")] == [
        ("audit.strategy.start", "INFO"),
        ("audit.strategy.end", "INFO"),
        ("audit.planner.start", "INFO"),
        ("audit.planner.end", "INFO"),
    ]


@pytest.mark.req("B-047")
async def test_a_strategy_that_fails_announces_an_error(world):
    audit = await world.add_audit(parameters={"para1": -1})
    await world.run(audit)
    events = await world.events(audit.uuid)
    assert ("audit.strategy.error", "ERROR") in events
    assert ("audit.planner.start", "INFO") not in events


async def test_an_audit_cancelled_while_its_plan_is_stored_launches_nothing(world):
    audit = await world.add_audit(auto_trigger=True)

    class CancelledMeanwhile(Store):
        async def publish_plan(self, *arguments, **options):
            plan = await super().publish_plan(*arguments, **options)
            async with self.write() as session:
                await session.audits.transition(
                    audit.uuid, to=AuditState.CANCELLED, actor=Actor.API
                )
            return plan

    world.store = CancelledMeanwhile(world.store._engine, world.store.options)
    assert (await world.run(audit)).state is AuditState.CANCELLED
    (plan,) = await world.plans(audit)
    assert plan.state is PlanState.RECOMMENDED
    assert world.woken == []
