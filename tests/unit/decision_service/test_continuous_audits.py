from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from trimtab_common.domain.lifecycle import Actor, AuditState, AuditType, PlanState
from trimtab_common.domain.records import Audit
from trimtab_common.rules import intervals
from trimtab_common.store import Store
from trimtab_decision import membership, schedule


def audit_at(due, interval="3600", **fields):
    values = {"state": AuditState.ONGOING, **fields}
    return Audit(
        uuid="u",
        name="n",
        audit_type=AuditType.CONTINUOUS,
        goal_id=1,
        interval=interval,
        next_run_time=due,
        **values,
    )


def at(hour, minute=0):
    return datetime(2026, 1, 1, hour, minute, tzinfo=UTC)


@pytest.mark.req("A-090")
@pytest.mark.parametrize(
    ("due", "interval", "now", "expected"),
    [
        (at(7, 30), "3600", at(9, 0), at(9, 30)),
        (at(9, 0), "3600", at(9, 0), at(10, 0)),
        (at(9, 0), "60", at(9, 0), at(9, 1)),
        (at(7, 30), "*/15 * * * *", at(9, 1), at(9, 15)),
        (at(9, 0), "0 0 * * *", at(9, 0), datetime(2026, 1, 2, tzinfo=UTC)),
    ],
)
def test_the_next_run_keeps_the_grid_after_downtime(due, interval, now, expected):
    assert schedule.next_run(audit_at(due, interval), now) == expected


@pytest.mark.parametrize("interval", [None, "", "0", "-5", "x", "1 2 3"])
def test_an_interval_that_is_neither_seconds_nor_cron_is_refused(interval):
    with pytest.raises(intervals.IntervalRefused, match="positive number of seconds or cron"):
        intervals.seconds_of(interval)


@pytest.mark.req("A-091", "A-092")
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"state": AuditState.PENDING}, True),
        *(
            ({"state": state}, False)
            for state in (
                AuditState.SUSPENDED,
                AuditState.CANCELLED,
                AuditState.FAILED,
                AuditState.SUCCEEDED,
                AuditState.DELETED,
            )
        ),
        ({"start_time": at(10)}, False),
        ({"start_time": at(8)}, True),
    ],
)
def test_only_live_audits_inside_their_window_are_due(fields, expected):
    assert schedule.is_due(audit_at(at(9), **fields), at(9)) is expected


async def add(world, interval="600", **fields):
    return await world.add_audit(audit_type=AuditType.CONTINUOUS, interval=interval, **fields)


async def look(world, owner="me", **changes):
    runner = world.runner(owner=owner, **changes)
    await world.continuous(runner, **changes).look()
    await runner.drain()


@pytest.mark.req("A-088", "A-089", "A-093", "A-090", "B-292")
async def test_it_runs_at_once_then_each_interval_and_keeps_one_recommended_plan(world):
    audit = await add(world)
    start = world.clock.now()
    await look(world)
    first = await world.audit(audit.uuid)
    assert (first.state, first.hostname) == (AuditState.ONGOING, "node-1")
    assert first.next_run_time == start + timedelta(seconds=600)
    await world.clock.advance(590)
    await look(world)
    assert len(await world.plans(audit)) == 1
    await world.clock.advance(15)
    await look(world)
    plans = await world.plans(audit)
    assert [plan.state for plan in plans] == [PlanState.CANCELLED, PlanState.RECOMMENDED]
    assert {action.state for action in await world.actions(plans[0])} == {"CANCELLED"}
    second = await world.audit(audit.uuid)
    assert second.next_run_time == start + timedelta(seconds=1200)


@pytest.mark.req("A-089")
async def test_a_cron_audit_waits_for_its_time(world):
    audit = await add(world, interval="30 * * * *")
    await look(world)
    assert await world.plans(audit) == []
    assert (await world.audit(audit.uuid)).next_run_time == at(0, 30)
    await world.clock.advance(1801)
    await look(world)
    assert len(await world.plans(audit)) == 1
    assert (await world.audit(audit.uuid)).next_run_time == at(1, 30)


@pytest.mark.req("A-089")
async def test_a_run_that_fails_ends_the_audit(world):
    audit = await add(world, parameters={"para1": 99})
    await look(world)
    done = await world.audit(audit.uuid)
    assert (done.state, done.next_run_time) == (AuditState.FAILED, None)


@pytest.mark.parametrize(
    ("interval", "fields"),
    [
        ("0 0 30 2 *", {}),
        ("0 0 * * * 0 1999", {}),
        ("0 0 1 1 *", {"start_time": datetime(9999, 12, 31, tzinfo=UTC)}),
    ],
)
async def test_a_time_that_never_comes_fails_its_audit_and_no_other(world, interval, fields):
    never = await add(world, interval=interval, **fields)
    other = await add(world)
    await look(world)
    done = await world.audit(never.uuid)
    assert (done.state, done.next_run_time) == (AuditState.FAILED, None)
    assert "no time after" in done.status_message
    assert len(await world.plans(other)) == 1


async def test_the_last_time_of_a_cron_text_that_ends_fails_only_its_audit(world):
    await world.add_plan(PlanState.ONGOING)
    last = await add(world, interval="0 0 1 1 * 0 1999", next_run_time=world.clock.now())
    other = await add(world)
    await look(world)
    assert (await world.audit(last.uuid)).state is AuditState.FAILED
    assert (await world.audit(other.uuid)).next_run_time is not None


@pytest.mark.req("A-092")
@pytest.mark.parametrize("has_run", [True, False])
async def test_after_its_end_time_it_succeeds_and_never_runs_again(world, has_run):
    end = world.clock.now() + timedelta(seconds=100)
    audit = await add(world, end_time=end)
    if has_run:
        await look(world)
    await world.clock.advance(1000)
    await look(world)
    done = await world.audit(audit.uuid)
    assert (done.state, done.next_run_time) == (AuditState.SUCCEEDED, None)
    assert len(await world.plans(audit)) == int(has_run)


@pytest.mark.req("A-082", "B-292")
async def test_beside_a_running_plan_a_run_is_skipped_and_the_state_kept(world):
    await world.add_plan(PlanState.ONGOING)
    audit = await add(world)
    await look(world)
    skipped = await world.audit(audit.uuid)
    assert skipped.state is AuditState.PENDING
    assert skipped.next_run_time == world.clock.now() + timedelta(seconds=600)
    assert await world.plans(audit) == []


@pytest.mark.req("A-094", "A-115", "C-120")
async def test_only_the_recorded_host_runs_it_until_that_host_is_dead(world):
    await membership.beat(world.store, "node-1")
    audit = await add(world)
    await look(world)
    await world.clock.advance(601)
    await membership.beat(world.store, "node-1")
    await look(world, host="node-2", owner="second")
    assert len(await world.plans(audit)) == 1
    await world.clock.advance(91)
    await look(world, host="node-2", owner="second")
    assert len(await world.plans(audit)) == 2
    assert (await world.audit(audit.uuid)).hostname == "node-2"


@pytest.mark.req("A-091")
async def test_a_suspended_audit_resumes_when_it_is_ongoing_again(world):
    audit = await add(world)
    await look(world)
    async with world.store.write() as session:
        await session.audits.transition(audit.uuid, to=AuditState.SUSPENDED, actor=Actor.API)
    await world.clock.advance(1000)
    await look(world)
    assert len(await world.plans(audit)) == 1
    async with world.store.write() as session:
        await session.audits.transition(audit.uuid, to=AuditState.ONGOING, actor=Actor.API)
    await look(world)
    assert len(await world.plans(audit)) == 2


async def test_an_interval_changed_while_it_runs_counts_from_now_on(world):
    audit = await add(world, interval="604800")
    start = world.clock.now()

    class ChangedMeanwhile(Store):
        async def publish_plan(self, *arguments, **options):
            plan = await super().publish_plan(*arguments, **options)
            changes = {"interval": "60", "next_run_time": start + timedelta(seconds=60)}
            async with self.write() as session:
                await session.audits.update(audit.uuid, changes)
            return plan

    world.store = ChangedMeanwhile(world.store._engine, world.store.options)
    await look(world)
    assert (await world.audit(audit.uuid)).next_run_time == start + timedelta(seconds=60)


async def called(world, audit):
    """What api does when the webhook of an EVENT audit is called."""
    async with world.store.write() as session:
        await session.audits.update(audit.uuid, {"next_run_time": world.clock.now()})


@pytest.mark.req("A-074", "A-057")
async def test_an_event_audit_runs_each_time_its_webhook_is_called(world):
    audit = await world.add_audit(audit_type=AuditType.EVENT)
    assert (await world.run(audit)).state is AuditState.PENDING
    for count in (1, 2):
        await world.clock.advance(5)
        await called(world, audit)
        done = await world.run(audit)
        assert (done.state, done.next_run_time) == (AuditState.SUCCEEDED, None)
        assert len(await world.plans(audit)) == count
        assert (await world.run(audit)).state is AuditState.SUCCEEDED
        assert len(await world.plans(audit)) == count


@pytest.mark.req("A-082")
async def test_an_event_audit_beside_a_running_plan_keeps_its_state(world):
    await world.add_plan(PlanState.ONGOING)
    audit = await world.add_audit(audit_type=AuditType.EVENT)
    await called(world, audit)
    skipped = await world.run(audit)
    assert (skipped.state, skipped.next_run_time) == (AuditState.PENDING, None)
