"""Watch streams: snapshot, changes, tokens, heartbeats, rights; what is told is whole, once, in order."""

from __future__ import annotations

import asyncio
import random
import uuid
from datetime import timedelta

import grpc
import pytest
from typed_world import refused, serving

from trimtab.audit.v1 import audit_pb2
from trimtab.plan.v1 import plan_pb2
from trimtab_api import changes
from trimtab_common.domain.errors import Unauthenticated
from trimtab_common.domain.lifecycle import ActionState, Actor, AuditState, PlanState
from trimtab_common.domain.records import Action, ActionPlan

LIMIT_S = 20
GIVEN = {
    "audits": [
        {"name": "done", "state": "SUCCEEDED"},
        {"name": "waiting"},
        {"name": "other", "goal": "server_consolidation", "strategy": "basic"},
    ],
    "plans": [
        {"name": "p", "audit": "done", "state": "ONGOING", "actions": ["PENDING"] * 4},
        {"name": "old", "audit": "done", "state": "SUCCEEDED"},
    ],
}


def stable_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


@pytest.fixture
async def typed(make_world):
    async with make_world(GIVEN) as world, serving(world) as stubs:
        yield stubs


class Watcher:
    """One open stream, read message by message; heartbeats are left out unless asked for."""

    def __init__(self, call):
        self.call = call
        self.token = ""

    async def next(self, *, with_heartbeats=False):
        async with asyncio.timeout(LIMIT_S):
            while True:
                message = await self.call.read()
                assert message is not grpc.aio.EOF, "the stream ended"
                self.token = message.resume_token or self.token
                if with_heartbeats or message.WhichOneof("event") != "heartbeat":
                    return message

    async def snapshot(self) -> list:
        begin = await self.next()
        assert begin.WhichOneof("event") == "begin"
        shown = []
        while (message := await self.next()).WhichOneof("event") != "end":
            assert message.resume_token == ""
            shown.append(message.audit if message.WhichOneof("event") == "audit" else message)
        assert message.end.count == len(shown)
        return shown

    async def change(self):
        message = await self.next()
        assert message.WhichOneof("event") == "change", message
        return message.change


def watch_audits(typed, metadata=(), **fields) -> Watcher:
    request = audit_pb2.WatchAuditsRequest(**fields)
    return Watcher(typed.audits.WatchAudits(request, metadata=metadata, timeout=60))


def watch_plans(typed, **fields) -> Watcher:
    request = plan_pb2.WatchActionPlansRequest(**fields)
    return Watcher(typed.plans.WatchActionPlans(request, timeout=60))


async def create(typed, name):
    request = audit_pb2.CreateAuditRequest(name=name, goal="dummy", strategy="dummy")
    return await typed.audits.CreateAudit(request, timeout=10)


async def move(typed, name, to, actor=Actor.DECISION, **columns):
    async with typed.world.store.write() as session:
        audit = await session.audits.get(name)
        await session.audits.transition(audit.uuid, to=to, actor=actor, **columns)


async def test_a_watch_shows_what_is_then_each_change(typed):
    watcher = watch_audits(typed)
    assert [audit.name for audit in await watcher.snapshot()] == ["done", "waiting", "other"]
    made = await create(typed, "new")
    change = await watcher.change()
    assert (change.event_type, change.audit.uuid) == ("audit.create", made.uuid)
    async with typed.world.store.write() as session:  # two changes before anybody can look
        audit = await session.audits.get("new")
        for state in (AuditState.ONGOING, AuditState.SUCCEEDED):
            await session.audits.transition(
                audit.uuid, to=state, actor=Actor.DECISION, status_message=f"now {state}"
            )
    told = [await watcher.change(), await watcher.change()]
    assert [(one.old_state, one.audit.state, one.audit.status_message) for one in told] == [
        ("PENDING", "ONGOING", "now ONGOING"),
        ("ONGOING", "SUCCEEDED", "now SUCCEEDED"),
    ]
    await typed.audits.DeleteAudit(audit_pb2.DeleteAuditRequest(audit="new"), timeout=10)
    gone = [await watcher.change(), await watcher.change()]
    assert [(one.event_type, one.audit.state) for one in gone] == [
        ("audit.update", "DELETED"),
        ("audit.delete", "DELETED"),
    ]


async def test_a_search_that_goes_on_is_told(typed):
    watcher = watch_audits(typed, audits=["waiting"])
    await watcher.snapshot()
    search = {
        "measure": "hosts in use",
        "incumbent": 16.0,
        "bound": 10.0,
        "gap_pct": 37.5,
        "moves": 4,
    }
    async with typed.world.store.write() as session:
        audit = await session.audits.get("waiting")
        await session.announcer.search_went_on(audit, {**search, "seconds": 2.0})
        await session.announcer.search_went_on(
            audit, {"measure": "x", "incumbent": 1.0, "of_a_newer_release": {"a": 1}}
        )
    told = await watcher.change()
    assert (told.event_type, told.audit.name) == ("audit.strategy.progress", "waiting")
    assert told.search == audit_pb2.SearchProgress(**search, seconds=2.0)
    unbound = (await watcher.change()).search
    assert not unbound.HasField("bound")
    assert not unbound.HasField("gap_pct")
    await move(typed, "waiting", AuditState.ONGOING)
    assert not (await watcher.change()).HasField("search")


async def test_only_what_is_named_is_told(typed):
    by_goal = watch_audits(typed, goal="SERVER_CONSOLIDATION")
    by_name = watch_audits(typed, audits=["waiting"])
    active = watch_audits(typed, active_only=True)
    assert [audit.name for audit in await by_goal.snapshot()] == ["other"]
    assert [audit.name for audit in await by_name.snapshot()] == ["waiting"]
    assert [audit.name for audit in await active.snapshot()] == ["waiting", "other"]
    await move(typed, "waiting", AuditState.ONGOING)
    await move(typed, "other", AuditState.ONGOING)
    assert (await by_goal.change()).audit.name == "other"
    assert (await by_name.change()).audit.name == "waiting"
    code, _ = await refused(watch_audits(typed, audits=["nobody"]).next())
    assert code is grpc.StatusCode.NOT_FOUND


async def test_a_stream_goes_on_where_it_was(typed):
    watcher = watch_audits(typed)
    await watcher.snapshot()
    await move(typed, "waiting", AuditState.ONGOING)
    assert (await watcher.change()).audit.state == "ONGOING"
    watcher.call.cancel()
    await move(typed, "waiting", AuditState.SUCCEEDED)
    await create(typed, "meanwhile")
    again = watch_audits(typed, resume_token=watcher.token)
    told = [await again.change(), await again.change()]
    assert [(one.audit.name, one.audit.state) for one in told] == [
        ("waiting", "SUCCEEDED"),
        ("meanwhile", "PENDING"),
    ]
    await create(typed, "later")
    assert (await again.change()).audit.name == "later"


async def test_a_token_that_is_too_old_gets_a_snapshot_again(typed):
    watcher = watch_audits(typed)
    await watcher.snapshot()
    await create(typed, "a")
    await watcher.change()
    watcher.call.cancel()
    await create(typed, "b")
    async with typed.world.store.write() as session:
        rows = await session.outbox.unpublished(100)
        await session.outbox.mark_published([row.id for row in rows])
        next_week = typed.world.clock.now() + timedelta(days=7)
        await session.outbox.prune(published_before=next_week)
    await create(typed, "c")
    again = watch_audits(typed, resume_token=watcher.token)
    begin = await again.next()
    assert begin.begin.reason == "token_too_old"


@pytest.mark.parametrize("token", ["x", "WzEsW11d!", "WzEsWyJhIl1d", "ünsinn", "e30="])
async def test_a_token_of_nobody_is_refused(typed, token):
    code, _ = await refused(watch_audits(typed, resume_token=token).next())
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_quiet_stream_beats_with_a_token_and_ends_when_it_is_old(make_world):
    async with make_world(GIVEN) as world, serving(world, max_stream_age_s=1.5) as typed:
        watcher = watch_audits(typed, heartbeat_s=1)
        await watcher.snapshot()
        first = await watcher.next(with_heartbeats=True)
        second = await watcher.next(with_heartbeats=True)
        assert first.WhichOneof("event") == second.WhichOneof("event") == "heartbeat"
        assert first.resume_token
        assert await watcher.call.read() is grpc.aio.EOF
        assert await watcher.call.code() is grpc.StatusCode.OK
        code, _ = await refused(watch_audits(typed, heartbeat_s=61).next())
        assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_rights_are_looked_at_again_with_each_heartbeat(make_world):
    async with (
        make_world(GIVEN, auth="keystone") as world,
        serving(world, world.authenticator) as typed,
    ):
        watcher = watch_audits(typed, metadata=[("x-auth-token", "admin")], heartbeat_s=1)
        await watcher.snapshot()
        await watcher.next(with_heartbeats=True)

        async def revoked(_headers):
            raise Unauthenticated("The request you have made requires authentication.")

        world.authenticator.identify = revoked
        code, _ = await refused(watcher.next())
        assert code is grpc.StatusCode.UNAUTHENTICATED


async def eventually(check):
    async with asyncio.timeout(LIMIT_S):
        while not check():  # noqa: ASYNC110, nobody tells when a stream has gone
            await asyncio.sleep(0.01)


async def test_whoever_goes_leaves_nothing_behind(typed):
    watchers = [watch_audits(typed) for _ in range(3)]
    for watcher in watchers:
        await watcher.snapshot()
    assert typed.feed.watchers == 3
    for watcher in watchers:
        watcher.call.cancel()
    await eventually(lambda: typed.feed.watchers == 0)


async def test_too_many_watchers_and_too_slow_ones_are_told(typed, monkeypatch):
    monkeypatch.setattr(changes, "MAX_WATCHERS", 1)
    monkeypatch.setattr(changes, "MAX_WAITING", 0)
    watcher = watch_audits(typed)
    await watcher.snapshot()
    code, _ = await refused(watch_audits(typed).next())
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    await create(typed, "more than it takes")
    code, details = await refused(watcher.change())
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "Resume with the last token" in details
    monkeypatch.undo()
    again = watch_audits(typed, resume_token=watcher.token)
    assert (await again.change()).audit.name == "more than it takes"


async def test_a_plan_tells_its_progress_and_when_it_may_end(typed):
    plan = stable_uuid("plan p")
    watcher = watch_plans(typed, action_plans=[plan], active_only=True)
    begin, shown, _ = [await watcher.next() for _ in range(3)]
    assert begin.begin.reason == "initial"
    assert dict(shown.action_plan.progress) == {"PENDING": 4}
    assert not shown.action_plan.HasField("expected_end_at")
    async with typed.world.store.write() as session:
        await session.action_plans.update(plan, {"hostname": "alpha"})
    assert (await watcher.change()).event_type == "action_plan.update"
    await typed.world.clock.advance(60)
    async with typed.world.store.write() as session:
        for number in range(3):
            action = stable_uuid(f"p action {number}")
            await session.actions.transition(action, to=ActionState.ONGOING, actor=Actor.APPLIER)
            await session.actions.transition(action, to=ActionState.SUCCEEDED, actor=Actor.APPLIER)
    change = await watcher.change()
    assert change.event_type == "action_plan.progress"
    assert dict(change.action_plan.progress) == {"PENDING": 1, "SUCCEEDED": 3}
    left = change.action_plan.expected_end_at.seconds - int(typed.world.clock.now().timestamp())
    assert left == 20  # three took 60 s
    async with typed.world.store.write() as session:
        await session.action_plans.transition(plan, to=PlanState.SUCCEEDED, actor=Actor.APPLIER)
    change = await watcher.change()
    assert (change.old_state, change.action_plan.state) == ("ONGOING", "SUCCEEDED")
    assert not change.action_plan.HasField("expected_end_at")


async def test_a_plan_is_told_when_it_is_whole(typed):
    watcher = watch_plans(typed, audit="waiting")
    assert await watcher.snapshot() == []
    async with typed.world.store.read() as session:
        audit = await session.audits.get("waiting")
    plan = ActionPlan(uuid=str(uuid.uuid4()), audit_id=audit.id, strategy_id=audit.strategy_id)
    moves = [
        Action(uuid=str(uuid.uuid4()), action_plan_id=0, action_type="nop") for _ in range(1200)
    ]
    await typed.world.store.publish_plan(plan, moves)
    change = await watcher.change()
    assert (change.event_type, change.action_plan.uuid) == ("action_plan.create", plan.uuid)
    assert dict(change.action_plan.progress) == {"PENDING": 1200}


async def test_an_audit_may_end_when_those_before_it_did(typed):
    async with typed.world.store.write() as session:
        done = await session.audits.get("done")
        await session.audits.update(done.uuid, {"hostname": "alpha"})
    await typed.world.clock.advance(30)
    for _ in range(3):
        name = f"earlier-{uuid.uuid4()}"
        await create(typed, name)
        await move(typed, name, AuditState.ONGOING)
        await typed.world.clock.advance(10)
        await move(typed, name, AuditState.SUCCEEDED)
    made = await create(typed, "mine")
    shown = await typed.audits.GetAudit(audit_pb2.GetAuditRequest(audit="mine"), timeout=10)
    assert shown.expected_end_at.seconds - made.created_at.seconds == 10


async def test_the_watch_needs_no_notifications(typed):
    object.__setattr__(typed.world.store.options, "notification_level", "")
    watcher = watch_audits(typed)
    await watcher.snapshot()
    await create(typed, "silent")
    assert (await watcher.change()).audit.name == "silent"
    async with typed.world.store.read() as session:
        unpublished = await session.outbox.unpublished(100)
    assert "silent" not in str([one.payload for one in unpublished])


async def test_whatever_breaks_the_streams_every_change_is_told_once_and_in_order(typed):
    """Eight writers, six watchers that break off at random and resume by their last token."""
    names = [f"audit-{number}" for number in range(8)]
    goal = {name: [] for name in names}

    async def write(name):
        made = await create(typed, name)
        goal[name].append("PENDING")
        await move(typed, name, AuditState.ONGOING)
        goal[name].append("ONGOING")
        for _ in range(6):
            state = AuditState.SUSPENDED
            await move(typed, name, state, Actor.API)
            await move(typed, name, AuditState.ONGOING, Actor.API)
            goal[name] += ["SUSPENDED", "ONGOING"]
        await move(typed, name, AuditState.SUCCEEDED)
        goal[name].append("SUCCEEDED")
        return made

    async def follow(seed):
        chance = random.Random(seed)
        watcher = watch_audits(typed)
        await watcher.snapshot()
        ready.release()
        seen = {name: [] for name in names}
        while any(not told or told[-1] != "SUCCEEDED" for told in seen.values()):
            change = await watcher.change()
            seen[change.audit.name].append(change.audit.state)
            if chance.random() < 0.2:
                watcher.call.cancel()
                watcher = watch_audits(typed, resume_token=watcher.token)
        return seen

    ready = asyncio.Semaphore(0)
    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        followers = [group.create_task(follow(seed)) for seed in range(6)]
        for _ in followers:
            await ready.acquire()
        for name in names:
            group.create_task(write(name))
    for follower in followers:
        assert follower.result() == goal
