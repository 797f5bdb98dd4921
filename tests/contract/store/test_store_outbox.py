from __future__ import annotations

from datetime import timedelta

import pytest

from trimtab_common.domain.lifecycle import ActionState, Actor, AuditState, PlanState
from trimtab_common.notify import payloads
from trimtab_common.store import open_store


def data(payload):
    return payload["watcher_object.data"]


async def entries(world):
    async with world.store.read() as session:
        return await session.outbox.unpublished(1000)


async def test_every_save_of_an_audit_leaves_its_event_in_order(world):
    audit = await world.audit()
    async with world.store.write() as session:
        await session.audits.update(audit.uuid, {"name": "new"})
        await session.audits.transition(
            audit.uuid, to=AuditState.FAILED, actor=Actor.DECISION, status_message="oh"
        )
        await session.audits.soft_delete(audit.uuid)
    created, renamed, failed, going, gone = await entries(world)
    assert [e.event_type for e in (created, renamed, failed, going, gone)] == [
        "audit.create",
        *["audit.update"] * 3,
        "audit.delete",
    ]
    assert {e.object_uuid for e in (created, gone)} == {audit.uuid}
    assert (created.priority, created.publisher) == ("INFO", "node-1")
    assert data(created.payload)["goal"]["watcher_object.name"] == "GoalPayload"
    assert data(data(renamed.payload)["state_update"]) == {
        "old_state": None,
        "state": None,
        "status_message": None,
    }
    assert data(renamed.payload)["name"] == "new"
    assert data(data(failed.payload)["state_update"]) == {
        "old_state": "PENDING",
        "state": "FAILED",
        "status_message": "oh",
    }
    assert data(data(going.payload)["state_update"])["state"] == "DELETED"
    assert data(gone.payload)["deleted_at"] is not None


@pytest.mark.req("B-267")
async def test_plans_and_actions_tell_each_change_with_the_plan_as_it_is_then(world):
    plan = await world.plan(2)
    async with world.store.write() as session:
        await session.action_plans.transition(
            plan.uuid, to=PlanState.ONGOING, actor=Actor.APPLIER, hostname="h"
        )
        (action, other) = await session.actions.list_of_plan(plan.uuid)
        await session.actions.transition(action.uuid, to=ActionState.ONGOING, actor=Actor.APPLIER)
        await session.actions.update(action.uuid, {"intent": {"a": 1}, "result": {}})
        await session.actions.transition_many(
            [other.uuid], ActionState.CANCELLED, Actor.APPLIER, ActionState.PENDING
        )
    found = await entries(world)
    assert [e.event_type for e in found] == [
        "audit.create",
        "action_plan.create",
        "action.create",
        "action.create",
        "action_plan.update",
        "action.update",
        "action.update",
    ]
    started, cancelled = found[5:]
    assert data(data(started.payload)["action_plan"])["state"] == "ONGOING"
    assert data(data(started.payload)["action_plan"])["hostname"] == "h"
    assert data(data(started.payload)["state_update"])["old_state"] == "PENDING"
    assert data(data(cancelled.payload)["state_update"])["state"] == "CANCELLED"


async def test_events_beside_the_saves_carry_their_fault(world):
    plan = await world.plan(1)
    await world.forget_events()
    fault = payloads.fault(exception="NovaError", message="no host")
    async with world.store.write() as session:
        (action,) = await session.actions.list_of_plan(plan.uuid)
        audit = await session.audits.get(plan.audit_id)
        await session.outbox.emit("audit.strategy.start", audit)
        await session.outbox.emit("action_plan.execution.start", plan)
        await session.outbox.emit("action.execution.error", action, priority="ERROR", fault=fault)
    names = [
        (e.event_type, e.priority, e.payload["watcher_object.name"]) for e in await entries(world)
    ]
    assert names == [
        ("audit.strategy.start", "INFO", "AuditActionPayload"),
        ("action_plan.execution.start", "INFO", "ActionPlanActionPayload"),
        ("action.execution.error", "ERROR", "ActionExecutionPayload"),
    ]
    assert data((await entries(world))[2].payload)["fault"] == fault


async def test_a_service_that_fails_is_told_with_warn(world):
    async with world.store.write() as session:
        service = await session.services.beat("watcher-applier", "node-2")
        await session.services.status_changed(service, old_state="ACTIVE", state="FAILED")
    (event,) = await entries(world)
    assert (event.event_type, event.priority) == ("service.update", "WARN")
    assert data(event.payload)["sevice_host"] == "node-2"


async def test_a_save_rolled_back_tells_nothing(world):
    audit = await world.audit()
    await world.forget_events()

    async def half(session):
        await session.audits.update(audit.uuid, {"name": "new"})
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        await world.store.transact(half)
    assert await entries(world) == []


async def test_published_rows_are_not_seen_again_and_go_when_old(world):
    await world.audit()
    await world.audit()
    async with world.store.write() as session:
        (first,) = await session.outbox.unpublished(1)
        await session.outbox.mark_published([first.id])
        (second,) = await session.outbox.unpublished(10)
        assert second.id > first.id
        later = world.clock.now() + timedelta(days=1)
        assert await session.outbox.prune(published_before=world.clock.now()) == 0
        assert await session.outbox.prune(published_before=later) == 1
        assert await session.outbox.unpublished(10) == [second]


@pytest.mark.parametrize(("level", "expected"), [("", []), ("error", ["action.execution.error"])])
async def test_below_the_notification_level_nothing_is_kept(world, database_url, level, expected):
    plan = await world.plan(1)
    await world.forget_events()
    quiet = await open_store(database_url, notification_level=level)
    try:
        async with quiet.write() as session:
            (action,) = await session.actions.list_of_plan(plan.uuid)
            await session.actions.transition(
                action.uuid, to=ActionState.ONGOING, actor=Actor.APPLIER
            )
            await session.outbox.emit("action.execution.start", action)
            await session.outbox.emit("action.execution.error", action, priority="ERROR")
    finally:
        await quiet.close()
    assert [event for event, _ in await world.events()] == expected
