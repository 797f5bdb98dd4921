from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from trimtab_common.domain.errors import (
    Bug,
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from trimtab_common.domain.lifecycle import (
    ActionState,
    Actor,
    AuditState,
    AuditType,
    PlanState,
    TransitionNotAllowed,
)
from trimtab_common.domain.records import Audit, Goal
from trimtab_common.store import Query


async def test_a_transition_changes_the_state_and_columns_in_one_write(world):
    audit = await world.audit()
    await world.clock.advance(5)
    async with world.store.write() as session:
        moved = await session.audits.transition(
            audit.uuid, to=AuditState.ONGOING, actor=Actor.DECISION, hostname="node-7"
        )
    async with world.store.read() as session:
        assert await session.audits.get(audit.uuid) == moved
    assert (moved.state, moved.hostname) == (AuditState.ONGOING, "node-7")
    assert moved.updated_at == world.clock.now()


async def test_a_transition_that_no_table_allows_is_refused_and_changes_nothing(world):
    audit = await world.audit()
    with pytest.raises(
        TransitionNotAllowed, match=r"State transition not allowed: \(PENDING -> SUSPENDED\)"
    ):
        async with world.store.write() as session:
            await session.audits.transition(
                audit.uuid, to=AuditState.SUSPENDED, actor=Actor.API, hostname="x"
            )
    async with world.store.read() as session:
        assert await session.audits.get(audit.uuid) == audit


async def test_a_source_that_the_state_is_not_in_is_a_conflict(world):
    plan = await world.plan(1)
    with pytest.raises(Conflict, match="is RECOMMENDED, not PENDING"):
        async with world.store.write() as session:
            await session.action_plans.transition(
                plan.uuid, to=PlanState.ONGOING, actor=Actor.APPLIER, source=PlanState.PENDING
            )
    async with world.store.write() as session:
        moved = await session.action_plans.transition(
            plan.uuid,
            to=PlanState.ONGOING,
            actor=Actor.APPLIER,
            source=[PlanState.PENDING, PlanState.RECOMMENDED],
        )
    assert moved.efficacy_indicators == plan.efficacy_indicators


async def test_of_many_that_claim_one_audit_exactly_one_wins(world):
    audit = await world.audit()

    async def claim(number):
        async def work(session):
            return await session.audits.transition(
                audit.uuid,
                to=AuditState.ONGOING,
                actor=Actor.DECISION,
                source=AuditState.PENDING,
                hostname=f"node-{number}",
            )

        try:
            return await world.store.transact(work)
        except Conflict:
            return None

    won = [audit for audit in await asyncio.gather(*map(claim, range(8))) if audit]
    assert len(won) == 1
    async with world.store.read() as session:
        assert await session.audits.get(audit.uuid) == won[0]
    assert [event for event, _ in await world.events()].count("audit.update") == 1


@pytest.mark.req("A-131")
async def test_a_status_message_too_long_is_cut_and_does_not_stop_the_change(world):
    audit = await world.audit()
    async with world.store.write() as session:
        await session.audits.transition(
            audit.uuid, to=AuditState.FAILED, actor=Actor.DECISION, status_message="ß" * 300
        )
        await session.audits.update(audit.uuid, {"status_message": "y" * 300})
    async with world.store.read() as session:
        assert (await session.audits.get(audit.uuid)).status_message == "y" * 255


async def test_update_changes_plain_columns_only(world):
    audit = await world.audit()
    await world.clock.advance(1)
    async with world.store.write() as session:
        changed = await session.audits.update(audit.uuid, {"name": "new", "parameters": {"a": 1}})
        assert (changed.name, changed.parameters) == ("new", {"a": 1})
        assert changed.updated_at == world.clock.now()
        for wrong in ("state", "uuid", "goal_name", "colour", "deleted"):
            with pytest.raises(Bug):
                await session.audits.update(audit.uuid, {wrong: "x"})
        with pytest.raises(NotFound):
            await session.audits.update("00000000-0000-4000-8000-000000000000", {"name": "x"})


@pytest.mark.req("A-061", "A-065", "A-017")
async def test_only_some_states_can_be_deleted_and_the_message_names_the_state(world):
    audit = await world.audit()
    with pytest.raises(FailedPrecondition, match=r"Couldn't delete when state is 'PENDING'\."):
        async with world.store.write() as session:
            await session.audits.soft_delete(audit.uuid)
    async with world.store.write() as session:
        await session.audits.transition(audit.uuid, to=AuditState.CANCELLED, actor=Actor.API)
    async with world.store.write() as session:
        await session.audits.soft_delete(audit.uuid)
    async with world.store.read() as session:
        gone = await session.audits.get(audit.uuid, show_deleted=True)
        assert gone.state is AuditState.DELETED
        assert gone.deleted_at is not None
        with pytest.raises(NotFound):
            await session.audits.get(audit.uuid)


@pytest.mark.req("A-065")
async def test_deleting_a_plan_hides_and_deletes_its_actions(world):
    plan = await world.plan(600)
    async with world.store.write() as session:
        await session.action_plans.soft_delete(plan.uuid)
        assert await session.actions.list_of_plan(plan.uuid) == []
    async with world.store.read() as session:
        assert await session.actions.list() == []
        gone = await session.actions.list_of_plan(plan.uuid, show_deleted=True)
    assert {action.state for action in gone} == {ActionState.DELETED}
    assert all(action.deleted_at for action in gone)
    assert len(gone) == 600


@pytest.mark.req("A-064")
async def test_cancelling_the_actions_of_a_plan_leaves_skipped_ones(world):
    plan = await world.plan(4)
    async with world.store.write() as session:
        first, second, *_ = await session.actions.list_of_plan(plan.uuid)
        await session.actions.transition(first.uuid, to=ActionState.SKIPPED, actor=Actor.API)
        assert await session.actions.count_by_state(plan.uuid) == {"PENDING": 3, "SKIPPED": 1}
    assert await world.store.cancel_actions_of_plan(plan.uuid, Actor.API, "why") == 3
    assert await world.store.cancel_actions_of_plan(plan.uuid, Actor.API) == 0
    async with world.store.read() as session:
        actions = await session.actions.list_of_plan(plan.uuid)
    assert [action.state for action in actions] == ["SKIPPED", *["CANCELLED"] * 3]
    assert actions[1].status_message == "why"
    assert actions[1].uuid == second.uuid


async def test_transition_many_moves_only_those_in_its_source(world):
    plan = await world.plan(3)
    async with world.store.write() as session:
        uuids = [action.uuid for action in await session.actions.list_of_plan(plan.uuid)]
        await session.actions.transition(uuids[0], to=ActionState.ONGOING, actor=Actor.APPLIER)
        moved = await session.actions.transition_many(
            uuids, ActionState.CANCELLED, Actor.APPLIER, ActionState.PENDING
        )
        assert moved == 2
        with pytest.raises(TransitionNotAllowed):
            await session.actions.transition_many(
                uuids, ActionState.SUCCEEDED, Actor.APPLIER, ActionState.PENDING
            )
        states = [action.state for action in await session.actions.list_of_plan(plan.uuid)]
    assert states == ["ONGOING", "CANCELLED", "CANCELLED"]


async def test_the_actions_of_a_plan_come_in_order_with_all_they_carry(world):
    audit = await world.audit()
    made = world.actions(5)
    plan = await world.store.publish_plan(world.plan_of(audit), made)
    async with world.store.write() as session:
        actions = await session.actions.list_of_plan(plan.uuid)
        assert [action.uuid for action in actions] == [action.uuid for action in made]
        assert [action.parents for action in actions] == [action.parents for action in made]
        last = await session.actions.update(actions[0].uuid, {"intent": {"host": "a"}})
    assert last.intent == {"host": "a"}
    assert (last.reason, last.facts, last.result) == ("because", {"host": "a"}, None)
    assert last.input_parameters == {"message": "hé"}


async def test_services_beat_and_keep_one_row_each(world):
    async with world.store.write() as session:
        first = await session.services.beat("watcher-applier", "a")
    await world.clock.advance(60)
    async with world.store.write() as session:
        again = await session.services.beat("watcher-applier", "a")
        await session.services.beat("watcher-applier", "b")
        services = await session.services.list(Query(filters={"host": "a"}))
        by_name = await session.services.get("watcher-applier")
    assert services == [again]
    assert again.id == first.id == by_name.id
    assert again.last_seen_up == world.clock.now()


@pytest.mark.req("A-104")
async def test_descriptions_are_added_and_changed_and_others_stay(world):
    async with world.store.write() as session:
        await session.action_descriptions.sync({"nop": "old", "sleep": "s"})
        await session.action_descriptions.sync({"nop": "new", "migrate": "x" * 300})
        assert await session.action_descriptions.all() == {
            "nop": "new",
            "sleep": "s",
            "migrate": "x" * 255,
        }


async def test_texts_that_some_database_would_refuse_are_refused_by_all(world):
    for name in ("x" * 64, "nul\0", "half \ud800"):
        with pytest.raises(InvalidArgument, match=r"^name "):
            await world.audit(name=name)
    audit = await world.audit(name="ß🙂" * 31 + "x")
    with pytest.raises(InvalidArgument, match=r"interval is longer than 36"):
        async with world.store.write() as session:
            await session.audits.update(audit.uuid, {"interval": "1" * 37})


async def test_a_write_inside_read_is_a_bug_of_ours(world):
    audit = await world.audit()
    async with world.store.read() as session:
        with pytest.raises(Bug, match=r"inside store\.read"):
            await session.audits.update(audit.uuid, {"name": "new"})


async def test_what_a_rolled_back_transaction_saw_is_not_told_later(world):
    def goal(name):
        return Goal(uuid=str(uuid4()), name=name, display_name=name)

    def audit_of(goal):
        return Audit(uuid="", name="a", audit_type=AuditType.EVENT, goal_id=goal.id)

    async def undone(session):
        await session.audits.create(audit_of(await session.goals.create(goal("undone"))))
        raise RuntimeError("stop")

    async def done(session):
        await session.audits.create(audit_of(await session.goals.create(goal("done"))))

    with pytest.raises(RuntimeError, match="stop"):
        await world.store.transact(undone)
    await world.store.transact(done)
    async with world.store.read() as session:
        (entry,) = await session.outbox.unpublished(10)
    told = entry.payload["watcher_object.data"]["goal"]["watcher_object.data"]["name"]
    assert told == "done"
