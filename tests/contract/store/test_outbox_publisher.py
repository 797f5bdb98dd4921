"""What consumers of our notifications receive from a real RabbitMQ, and what a broken one costs."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import uuid
from collections import defaultdict
from datetime import timedelta

import aio_pika
import pytest
from aio_pika.exceptions import QueueEmpty
from broker_proxy import Proxy

from trimtab_api.outbox.bus import make_buses
from trimtab_api.outbox.publisher import LEASE_S, OutboxPublisher
from trimtab_api.outbox.settings import OutboxSettings
from trimtab_common.domain.errors import Unavailable
from trimtab_common.domain.lifecycle import ActionState, Actor, AuditState, PlanState
from trimtab_common.notify import payloads
from trimtab_common.store import open_store
from trimtab_decision.membership import Monitor
from trimtab_decision.settings import DecisionSettings

PRIORITIES = ("info", "warn", "error")


class Listener:
    """An exchange and a topic of a test's own, and what was sent there."""

    def __init__(self, url):
        self.url = url
        self.name = f"trimtab-test-{uuid.uuid4().hex[:12]}"

    def settings(self, url=None, **changes):
        values = {
            "drivers": ("messagingv2",),
            "urls": (url or self.url,),
            "exchange": self.name,
            "topics": (self.name,),
        }
        return OutboxSettings(**{**values, **changes})

    async def received(self, topic=None):
        """(routing key, message) of all that waits in the queues of a topic, each queue in order."""
        found = []
        async with await aio_pika.connect(self.url) as connection:
            for priority in PRIORITIES:
                channel = await connection.channel()
                key = f"{topic or self.name}.{priority}"
                try:
                    queue = await channel.declare_queue(key, passive=True)
                except aio_pika.exceptions.ChannelNotFoundEntity:
                    continue
                while True:
                    try:
                        message = await queue.get(no_ack=True)
                    except QueueEmpty:
                        break
                    found.append((key, message))
        return found

    async def messages(self):
        """What is inside the envelopes."""
        return [opened(message) for _, message in await self.received()]

    async def delete(self):
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            for priority in PRIORITIES:
                for topic in (self.name, f"{self.name}-2"):
                    await channel.queue_delete(f"{topic}.{priority}")
            await channel.exchange_delete(self.name)


async def eventually_waiting(listener, number):
    """Until so many messages wait in the queue of INFO."""
    async with await aio_pika.connect(listener.url) as connection, asyncio.timeout(10):
        channel = await connection.channel()
        while True:
            queue = await channel.declare_queue(f"{listener.name}.info", passive=True)
            if queue.declaration_result.message_count >= number:
                return


def opened(message):
    body = json.loads(message.body)
    assert body["oslo.version"] == "2.0"
    return json.loads(body["oslo.message"])


def data(payload):
    return payload["watcher_object.data"]


@pytest.fixture
async def listener(rabbitmq_url):
    listener = Listener(rabbitmq_url)
    yield listener
    await listener.delete()


@pytest.fixture
async def publisher_of(world):
    """Makes publishers on the world's store; closes their buses at the end."""
    buses = []

    def make(settings, owner="api-1"):
        bus = make_buses(settings)
        if bus is not None:
            buses.append(bus)
        return OutboxPublisher(world.store, bus, clock=world.clock, owner=owner)

    yield make
    for bus in buses:
        await bus.close()


async def waiting(world):
    async with world.store.read() as session:
        return await session.outbox.unpublished(10_000)


@pytest.mark.req("A-118", "A-120", "A-123", "A-124")
async def test_the_saves_of_an_audit_arrive_in_order_as_watcher_sends_them(
    world, listener, publisher_of
):
    audit = await world.audit()
    async with world.store.write() as session:
        await session.audits.transition(
            audit.uuid, to=AuditState.FAILED, actor=Actor.DECISION, status_message="oh"
        )
        await session.audits.soft_delete(audit.uuid)
    rows = await waiting(world)
    assert await publisher_of(listener.settings()).publish_once() == 4
    received = await listener.received()
    assert {key for key, _ in received} == {f"{listener.name}.info"}
    first = received[0][1]
    assert (first.content_type, first.delivery_mode) == ("application/json", 2)
    created, failed, going, gone = (opened(message) for _, message in received)
    assert [one["message_id"] for one in (created, failed, going, gone)] == [
        row.uuid for row in rows
    ]
    assert first.message_id == created["message_id"]
    assert (created["event_type"], created["priority"]) == ("audit.create", "INFO")
    assert created["publisher_id"] == "infra-optim:node-1"
    assert data(failed["payload"])["state_update"]["watcher_object.data"] == {
        "old_state": "PENDING",
        "state": "FAILED",
        "status_message": "oh",
    }
    assert data(data(going["payload"])["state_update"])["state"] == "DELETED"
    assert (going["event_type"], gone["event_type"]) == ("audit.update", "audit.delete")
    assert data(gone["payload"])["deleted_at"] is not None
    assert await waiting(world) == []


@pytest.mark.req("A-123", "A-124")
async def test_plans_and_actions_are_told_and_an_error_goes_to_its_own_key_with_its_fault(
    world, listener, publisher_of
):
    plan = await world.plan(1)
    async with world.store.write() as session:
        await session.action_plans.transition(
            plan.uuid, to=PlanState.ONGOING, actor=Actor.APPLIER, hostname="h"
        )
        (action,) = await session.actions.list_of_plan(plan.uuid)
        await session.actions.transition(action.uuid, to=ActionState.ONGOING, actor=Actor.APPLIER)
        fault = payloads.fault(exception="NovaError", message="no host")
        await session.outbox.emit("action.execution.error", action, priority="ERROR", fault=fault)
    await publisher_of(listener.settings()).publish_once()
    received = await listener.received()
    told = [opened(message)["event_type"] for _, message in received]
    # in order for each object; different objects are sent beside each other
    assert [name for name in told if name.startswith("audit.")] == ["audit.create"]
    plans = [name for name in told if name.startswith("action_plan.")]
    assert plans == ["action_plan.create", "action_plan.update"]
    actions = [item for item in received if opened(item[1])["event_type"].startswith("action.")]
    names = [opened(message)["event_type"] for _, message in actions]
    assert names == ["action.create", "action.update", "action.execution.error"]
    assert len(told) == 6
    key, error = actions[-1][0], opened(actions[-1][1])
    assert (key, error["priority"]) == (f"{listener.name}.error", "ERROR")
    assert data(error["payload"])["fault"] == fault
    updated = data(opened(actions[-2][1])["payload"])
    assert data(updated["state_update"])["old_state"] == "PENDING"
    assert data(updated["action_plan"])["state"] == "ONGOING"


@pytest.mark.req("A-117")
async def test_a_service_known_alive_that_falls_silent_is_told_once_and_again_when_it_is_back(
    world, listener, publisher_of
):
    settings = DecisionSettings(host="node-1", service_down_time_s=90)
    monitor = Monitor(world.store, clock=world.clock, settings=settings)
    publisher = publisher_of(listener.settings())

    async def beat(*services):
        async with world.store.write() as session:
            for name, host in services:
                await session.services.beat(name, host)

    me, other = ("watcher-decision-engine", "node-1"), ("watcher-applier", "node-2")
    await beat(me, other)
    await monitor.look()  # new to the monitor: nothing to tell
    await world.clock.advance(91)
    await beat(me)
    await monitor.look()
    await monitor.look()
    await beat(me, other)
    await monitor.look()
    await publisher.publish_once()
    back, failed = sorted(await listener.received(), key=lambda one: one[0])
    assert (back[0], failed[0]) == (f"{listener.name}.info", f"{listener.name}.warn")
    told = opened(failed[1])
    assert (told["event_type"], told["priority"]) == ("service.update", "WARN")
    assert data(told["payload"])["sevice_host"] == "node-2"
    assert data(data(told["payload"])["status_update"]) == {
        "old_state": "ACTIVE",
        "state": "FAILED",
    }


async def test_only_the_leader_of_the_monitors_tells(world):
    async def beat(*hosts):
        async with world.store.write() as session:
            for host in hosts:
                await session.services.beat("watcher-decision-engine", host)

    monitors = [
        Monitor(world.store, clock=world.clock, settings=DecisionSettings(host=host))
        for host in ("a", "b", "c")
    ]

    async def look():
        for monitor in monitors:
            await monitor.look()
        return [data(entry.payload)["sevice_host"] for entry in await waiting(world)]

    await beat("a", "b", "c")
    assert await look() == []
    await world.clock.advance(91)
    await beat("a", "b")
    assert await look() == ["c"]
    await world.clock.advance(91)
    await beat("b")
    assert await look() == ["c", "a"]


@pytest.mark.req("A-119")
@pytest.mark.parametrize(("level", "expected"), [("", []), ("error", ["action.execution.error"])])
async def test_below_the_notification_level_nothing_is_sent(
    world, database_url, listener, publisher_of, level, expected
):
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
    await publisher_of(listener.settings()).publish_once()
    assert [message["event_type"] for message in await listener.messages()] == expected


@pytest.mark.req("A-120")
async def test_every_topic_and_driver_of_the_operator_gets_the_message(
    world, listener, publisher_of
):
    await world.audit()
    settings = listener.settings(
        topics=(listener.name, f"{listener.name}-2"), drivers=("messagingv2", "messaging")
    )
    await publisher_of(settings).publish_once()
    for topic in settings.topics:
        wrapped, bare = [message for _, message in await listener.received(topic)]
        plain = json.loads(bare.body)
        assert "oslo.message" not in plain
        assert plain["message_id"] == opened(wrapped)["message_id"]


async def test_while_the_broker_is_away_rows_wait_and_then_come_in_order(
    world, listener, publisher_of, rabbitmq_url
):
    async with Proxy(rabbitmq_url) as proxy:
        publisher = publisher_of(listener.settings(proxy.url))
        first = await world.audit()
        assert await publisher.publish_once() == 1
        proxy.is_open = False
        proxy.cut()
        for number in range(3):
            async with world.store.write() as session:
                await session.audits.update(first.uuid, {"name": f"name {number}"})
        with pytest.raises(Unavailable, match="message bus"):
            await publisher.publish_once()
        assert len(await waiting(world)) == 3
        proxy.is_open = True
        assert await publisher.publish_once() == 3
    names = [data(message["payload"])["name"] for message in await listener.messages()]
    assert names == [first.name, "name 0", "name 1", "name 2"]


async def test_a_lost_confirmation_sends_the_same_message_id_again_and_keeps_the_order(
    world, listener, publisher_of, rabbitmq_url
):
    async with Proxy(rabbitmq_url) as proxy:
        publisher = publisher_of(listener.settings(proxy.url))
        audits = [await world.audit() for _ in range(3)]
        assert await publisher.publish_once() == 3
        for number in range(2):
            for audit in audits:
                async with world.store.write() as session:
                    await session.audits.update(audit.uuid, {"name": f"{audit.uuid[:8]} {number}"})
        proxy.is_mute = True
        sending = asyncio.create_task(publisher.publish_once())
        await eventually_waiting(listener, 6)  # the broker has them; nobody will ever hear of it
        proxy.is_open = False
        proxy.cut()
        with pytest.raises(Unavailable):
            await sending
        assert len(await waiting(world)) == 6
        proxy.is_open, proxy.is_mute = True, False
        assert await publisher.publish_once() == 6
    messages = (await listener.messages())[3:]
    assert len(messages) == 9  # the first of each object twice
    names = defaultdict(dict)
    for message in messages:
        one = data(message["payload"])
        names[one["uuid"]].setdefault(message["message_id"], one["name"])
    assert all([name[-1] for name in ids.values()] == ["0", "1"] for ids in names.values())
    assert await waiting(world) == []


async def test_a_queue_that_somebody_deletes_is_made_again_and_nothing_is_lost(
    world, listener, publisher_of
):
    publisher = publisher_of(listener.settings())
    await world.audit()
    await publisher.publish_once()
    async with await aio_pika.connect(listener.url) as connection:
        channel = await connection.channel()
        await channel.queue_delete(f"{listener.name}.info")
    await world.audit()
    with pytest.raises(Unavailable):
        await publisher.publish_once()
    assert await publisher.publish_once() == 1
    assert len(await listener.messages()) == 1


async def test_one_of_many_publishers_sends_and_another_goes_on_at_the_end_of_its_lease(
    world, listener, publisher_of
):
    first, second = (publisher_of(listener.settings(), owner) for owner in ("api-1", "api-2"))
    await world.audit()
    assert [await first.publish_once(), await second.publish_once()] == [1, 0]
    await world.audit()
    assert await second.publish_once() == 0
    await world.clock.advance(LEASE_S + 1)
    assert await second.publish_once() == 1
    await world.audit()
    assert [await first.publish_once(), await second.publish_once()] == [0, 1]
    assert len(await listener.messages()) == 3


async def test_a_running_publisher_sends_by_itself_and_gives_its_lease_back(
    world, listener, publisher_of
):
    publisher = publisher_of(listener.settings())
    running = asyncio.create_task(publisher.run())
    await world.audit()
    async with asyncio.timeout(10):
        while await waiting(world):
            await world.clock.advance(1)
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    async with world.store.read() as session:
        assert await session.leases.get("outbox", "publisher") is None


async def test_without_a_driver_rows_are_marked_as_not_sent_and_go_after_a_week(
    world, publisher_of
):
    publisher = publisher_of(OutboxSettings())
    await world.audit()
    assert await publisher.publish_once() == 1
    assert await waiting(world) == []
    await world.clock.advance(timedelta(days=7).total_seconds() + 1)
    async with world.store.write() as session:
        assert await session.outbox.prune(published_before=world.clock.now()) == 1


async def test_what_waits_for_the_broker_stays_however_old_it_is(world, publisher_of, listener):
    settings = dataclasses.replace(listener.settings(), urls=("amqp://127.0.0.1:1/",))
    publisher = publisher_of(settings)
    await world.audit()
    running = asyncio.create_task(publisher.run())
    for _ in range(30):
        await world.clock.advance(timedelta(days=1).total_seconds())
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(await waiting(world)) == 1
