from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from trimtab_common.domain.errors import AlreadyExists, Bug, Conflict, NotFound
from trimtab_common.domain.lifecycle import Actor, PlanState
from trimtab_common.store import Query, sweeps, tables
from trimtab_common.store.publish import ROWS_PER_TRANSACTION, publish_plan

OWNED = (tables.action_plans, tables.actions, tables.efficacy_indicators)


async def rows_of(store):
    async with store.read() as session:
        counts = []
        for table in OWNED:
            statement = sa.select(sa.func.count()).select_from(table)
            counts.append((await session.execute(statement)).scalar_one())
    return counts


async def test_a_large_plan_is_never_seen_in_part(world):
    audit = await world.audit()
    number = 2 * ROWS_PER_TRANSACTION + 1
    seen = set()
    done = asyncio.Event()

    async def watch():
        while not done.is_set():
            async with world.store.read() as session:
                plans = await session.action_plans.list()
                actions = await session.actions.count()
                events = await session.outbox.unpublished(5000)
                created = [e for e in events if e.event_type.startswith("action")]
            seen.add((len(plans), actions, len(created)))
            await asyncio.sleep(0)

    watcher = asyncio.create_task(watch())
    await world.store.publish_plan(world.plan_of(audit), world.actions(number))
    done.set()
    await watcher
    # One reader's statements may straddle the publication: each alone is all or nothing.
    for position, whole in enumerate((1, number, number + 1)):
        assert {part[position] for part in seen} <= {0, whole}
    async with world.store.read() as session:
        assert await session.actions.count() == number


async def test_no_transaction_writes_more_than_its_share_of_rows(world):
    audit = await world.audit()
    written = []
    engine = world.store._engine.sync_engine

    def note(_connection, _cursor, statement, parameters, _context, executemany):
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            written.append(len(parameters) if executemany else 1)

    def commit(_connection):
        written.append("commit")

    sa.event.listen(engine, "before_cursor_execute", note)
    sa.event.listen(engine, "commit", commit)
    await world.store.publish_plan(world.plan_of(audit), world.actions(1200))
    sums = [0]
    for entry in written:
        if entry == "commit":
            sums.append(0)
        else:
            sums[-1] += entry
    assert sum(sums) == 2404
    assert max(sums) <= ROWS_PER_TRANSACTION


async def test_a_plan_that_cannot_be_stored_whole_leaves_nothing(world):
    audit = await world.audit()
    actions = world.actions(600)
    twice = [*actions, actions[0]]
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        await world.store.publish_plan(world.plan_of(audit), twice)
    assert await rows_of(world.store) == [0, 0, 0]
    events = await world.events()
    assert [event for event, _ in events] == ["audit.create"]


async def test_a_plan_whose_uuid_is_taken_harms_the_first_one_not(world):
    audit = await world.audit()
    plan = world.plan_of(audit)
    await world.store.publish_plan(plan, world.actions(2))
    with pytest.raises(AlreadyExists):
        await world.store.publish_plan(plan, world.actions(2))
    assert await rows_of(world.store) == [1, 2, 1]


async def test_what_a_dead_process_left_of_a_plan_makes_room_for_its_next_attempt(world):
    audit = await world.audit()
    plan = world.plan_of(audit)
    async with world.store.write() as session:
        await session.action_plans.create_invisible(plan)
    await world.store.publish_plan(plan, world.actions(2))
    assert await rows_of(world.store) == [1, 2, 1]


async def test_an_owner_that_lost_its_lease_leaves_the_next_ones_plan_alone(world):
    """Both store the same plan by the same uuid: the first pauses after its first chunk."""
    audit = await world.audit()
    plan = world.plan_of(audit)
    async with world.store.write() as session:
        lost = await session.leases.acquire("audit", audit.uuid, "first", 1.0)
    store, transactions = world.store, 0
    transact = store.transact

    class Paused(type(store)):
        async def transact(self, work):
            nonlocal transactions
            transactions += 1
            if transactions == 2:  # the plan's row is stored, its actions are not
                await take_over()
            return await transact(work)

    async def take_over():
        await world.clock.advance(2.0)
        async with store.write() as session:
            held.append(await session.leases.acquire("audit", audit.uuid, "second", 60.0))
        await sweeps.remove_plan(store, plan.uuid)
        async with store.write() as session:
            await session.action_plans.create_invisible(plan)

    held = []
    with pytest.raises(Conflict):
        await publish_plan(
            Paused(store._engine, store.options),
            plan,
            world.actions(2),
            cancel_recommended=False,
            state=PlanState.RECOMMENDED,
            fence=lost,
        )
    assert held != [None]
    assert (await rows_of(store))[0] == 1


async def test_leftovers_of_a_dead_process_are_invisible_and_swept_when_old(world):
    audit = await world.audit()
    plan = world.plan_of(audit, created_at=world.clock.now())
    async with world.store.write() as session:
        left = await session.action_plans.create_invisible(plan)
        for action in world.actions(3):
            values = {
                "uuid": action.uuid,
                "action_plan_id": left.id,
                "action_type": "nop",
                "input_parameters": {},
                "state": "PENDING",
                "parents": [],
            }
            await session.execute(sa.insert(tables.actions).values(values))
        await session.announcer.saved(left, "create", plan_id=left.id)
    async with world.store.read() as session:
        assert await session.action_plans.list(Query(show_deleted=True)) == []
        assert await session.actions.list(Query(show_deleted=True)) == []
        with pytest.raises(NotFound):
            await session.action_plans.get(plan.uuid)
    assert "action_plan.create" not in [event for event, _ in await world.events()]
    assert await world.store.sweep_unpublished(world.clock.now()) == 0
    assert await world.store.sweep_unpublished(world.clock.now() + timedelta(seconds=1)) == 1
    assert await rows_of(world.store) == [0, 0, 0]
    async with world.store.read() as session:
        waiting = sa.select(sa.func.count()).where(tables.outbox.c.plan_id.is_not(None))
        assert (await session.execute(waiting)).scalar_one() == 0


@pytest.mark.req("A-093")
async def test_a_newer_plan_cancels_older_recommended_ones_of_its_audit_with_their_actions(world):
    audit, other_audit = await world.audit(), await world.audit()
    publish = world.store.publish_plan
    other = await publish(world.plan_of(other_audit), world.actions(1))
    old = await publish(world.plan_of(audit), world.actions(3))
    new = await publish(world.plan_of(audit), world.actions(2), cancel_recommended_of_audit=True)
    async with world.store.read() as session:
        states = {plan.uuid: plan.state for plan in await session.action_plans.list()}
        progress = await session.actions.count_by_state(old.uuid)
    assert states == {other.uuid: "RECOMMENDED", old.uuid: "CANCELLED", new.uuid: "RECOMMENDED"}
    assert progress == {"CANCELLED": 3}


async def test_a_plan_without_actions_is_published_succeeded(world):
    audit = await world.audit()
    await world.forget_events()
    plan = await world.store.publish_plan(world.plan_of(audit), [], state=PlanState.SUCCEEDED)
    assert plan.state is PlanState.SUCCEEDED
    assert [e for e, _ in await world.events()] == ["action_plan.create", "action_plan.update"]
    with pytest.raises(Bug):
        await world.store.publish_plan(world.plan_of(audit), [], state=PlanState.ONGOING)


async def test_what_a_dead_process_left_of_a_cancellation_is_finished(world):
    plan = await world.plan(3)
    async with world.store.write() as session:
        await session.action_plans.transition(plan.uuid, to=PlanState.CANCELLED, actor=Actor.API)
    assert await world.store.sweep_actions() == 3
    assert await world.store.sweep_actions() == 0


async def test_what_a_dead_process_left_of_a_deletion_is_finished(world):
    plan = await world.plan(3)
    async with world.store.write() as session:
        await session.action_plans.soft_delete(plan.uuid)
        session.work_after_commit.clear()  # the process dies here
    assert await world.store.sweep_actions() == 3
    assert await world.store.sweep_actions() == 0


async def test_the_sweep_looks_at_no_plan_that_is_done_with(world):
    for _ in range(3):
        plan = await world.plan(2)
        async with world.store.write() as session:
            await session.action_plans.soft_delete(plan.uuid)
    cancelled = await world.plan(2)
    async with world.store.write() as session:
        await session.action_plans.transition(
            cancelled.uuid, to=PlanState.CANCELLED, actor=Actor.API
        )
    await world.store.cancel_actions_of_plan(cancelled.uuid, Actor.API)
    table = tables.action_plans
    async with world.store.read() as session:
        query = sa.select(table.c.id).where(table.c.actions_follow == sa.true())
        assert (await session.execute(query)).all() == []
