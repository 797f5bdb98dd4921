"""Notifications over a real RabbitMQ: what a broker can do to a collector, and none is lost for good.

A proxy stands between the two, so that a test can cut its own connection and no other's. Exchanges
and queues have names of their own and are deleted.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from urllib.parse import urlsplit

import aio_pika
import httpx
import openstack
import pytest
from broker_proxy import Proxy, eventually
from notification_builders import SERVER, Desk, a_host, a_server, enveloped, instance_event
from structlog.testing import capture_logs

from trimtab_collector.compute.full_read import FullRead
from trimtab_collector.compute.reading import ComputeReader
from trimtab_collector.compute.sync import ComputeSync, SyncSettings
from trimtab_collector.notifications.consumer import Consumer
from trimtab_collector.notifications.rereads import Rereads
from trimtab_collector.notifications.settings import NotificationSettings, Topic
from trimtab_common.domain.changes import SetHealth
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import Conflict, InvalidArgument
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.placement import Placement
from trimtab_common.openstack.session import CloudSession, RetryPolicy
from trimtab_common.runtime.clock import SystemClock
from trimtab_fakecloud.running import running_fakecloud
from trimtab_fakecloud.settings import CloudSpec


class Bus:
    """The broker as Nova and as its operator sees it."""

    def __init__(self, url):
        self.url = url
        self.exchange = f"trimtab-test-{uuid.uuid4().hex[:12]}"
        self.queues = set()
        self.connection = None

    async def __aenter__(self):
        self.connection = await aio_pika.connect(self.url)
        return self

    async def __aexit__(self, *_):
        for name in self.queues:
            await self.do(lambda channel, name=name: channel.queue_delete(name))
        await self.do(lambda channel: channel.exchange_delete(self.exchange))
        await self.connection.close()

    async def do(self, work):
        async with self.connection.channel() as channel:
            return await work(channel)

    async def declare(self, **flags):
        kind = aio_pika.ExchangeType.TOPIC
        return await self.do(lambda c: c.declare_exchange(self.exchange, kind, **flags))

    async def publish(self, *messages, priority="info"):
        async with self.connection.channel() as channel:
            exchange = await channel.get_exchange(self.exchange, ensure=False)
            for message in messages:
                await exchange.publish(
                    aio_pika.Message(enveloped(message)), f"versioned_notifications.{priority}"
                )

    def settings(self, url=None, **changed):
        name = changed.pop("queue", f"{self.exchange}-{len(self.queues)}")
        self.queues.add(name)
        return NotificationSettings(
            urls=(url or self.url,),
            queue=name,
            topics=(Topic(self.exchange, "versioned_notifications"),),
            **changed,
        )


class Collector(Desk):
    """An inbox that a consumer feeds."""

    def __init__(self, settings, *rows, **kind):
        super().__init__(*(rows or (a_host("a"), a_host("b"))), **kind)
        self.consumer = Consumer(settings, self.inbox, SystemClock())
        self._running = None

    async def __aenter__(self):
        self._running = asyncio.create_task(self.consumer.run())
        await self.consumer.tried()
        return self

    async def __aexit__(self, *_):
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)


@pytest.fixture
async def bus(rabbitmq_url):
    async with Bus(rabbitmq_url) as bus:
        yield bus


@pytest.fixture
async def proxy(rabbitmq_url):
    async with Proxy(rabbitmq_url) as proxy:
        yield proxy


def created(number, host="a"):
    return instance_event("instance.create.end", host, server=str(uuid.UUID(int=number)))


@pytest.mark.req("C-049", "C-050", "C-052")
async def test_every_collector_sees_every_event_and_the_exchange_is_made_when_missing(bus):
    async with Collector(bus.settings()) as first, Collector(bus.settings()) as second:
        await bus.publish(*(created(number) for number in range(1, 120)))
        for collector in (first, second):
            await eventually(lambda c=collector: c.model.n_servers == 119)
            assert collector.inbox.flowing
    await bus.declare(durable=False)  # would raise, had it been made durable


async def test_an_exchange_that_is_there_is_taken_as_it_is(bus):
    await bus.declare(durable=True)
    async with Collector(bus.settings(durable_exchange=False)) as collector:
        await bus.publish(created(1))
        await eventually(lambda: collector.model.n_servers == 1)


@pytest.mark.parametrize("how", ["provoke", "cut"])
async def test_a_lost_connection_is_made_again_and_what_came_meanwhile_arrives(bus, proxy, how):
    async with Collector(bus.settings(proxy.url)) as collector:
        await bus.publish(created(1))
        await eventually(lambda: collector.model.n_servers == 1)
        proxy.is_open = False
        getattr(proxy, how)()
        await eventually(lambda: not collector.inbox.flowing)
        await bus.publish(created(2))
        proxy.is_open = True
        await eventually(lambda: collector.inbox.flowing)
        assert collector.inbox.resyncs_asked == 2
        await bus.publish(created(3))
        await eventually(lambda: collector.model.n_servers == 3)


async def test_an_exchange_that_vanished_with_the_broker_is_made_again(bus, proxy):
    async with Collector(bus.settings(proxy.url)) as collector:
        proxy.is_open = False
        proxy.cut()
        await bus.do(lambda channel: channel.exchange_delete(bus.exchange))
        proxy.is_open = True
        await eventually(lambda: collector.inbox.resyncs_asked == 2)
        await bus.publish(created(1))
        await eventually(lambda: collector.model.n_servers == 1)


async def test_a_queue_that_somebody_deletes_is_made_again(bus):
    settings = bus.settings()
    async with Collector(settings) as collector:
        await bus.do(lambda channel: channel.queue_delete(settings.queue))
        await eventually(lambda: collector.inbox.resyncs_asked == 2)
        await bus.publish(created(1))
        await eventually(lambda: collector.model.n_servers == 1)


async def test_a_queue_of_other_settings_is_made_anew(bus):
    async with Collector(bus.settings(queue=f"{bus.exchange}-x", queue_length=1000)):
        pass
    async with Collector(bus.settings(queue=f"{bus.exchange}-x", queue_length=2000)) as collector:
        assert collector.inbox.resyncs_asked == 1


class Batches:
    """Counts what is handed over at a time."""

    def __init__(self):
        self.sizes = []

    def connected(self):
        pass

    def disconnected(self):
        pass

    def ask_resync(self):
        pass

    def receive(self, bodies):
        self.sizes.append(len(list(bodies)))


async def test_what_waits_in_a_long_queue_is_handed_over_many_at_a_time(bus):
    """Each hand-over has all watchers written to: a collector that is behind would stay behind."""
    settings = bus.settings()
    async with Collector(settings):
        pass  # makes the queue
    await bus.publish(*(created(number) for number in range(1, 1001)))
    batches = Batches()
    running = asyncio.create_task(Consumer(settings, batches, SystemClock()).run())
    try:
        await eventually(lambda: sum(batches.sizes) == 1000, within_s=60)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(batches.sizes) <= 60, batches.sizes


@pytest.mark.req("C-050")
async def test_two_collectors_never_share_a_queue(bus):
    name = f"{bus.exchange}-same"
    settings = bus.settings(queue=name)
    async with Collector(settings) as first, Collector(settings) as second:
        assert second.inbox.resyncs_asked == 0
        await bus.publish(created(1), created(2))
        await eventually(lambda: first.model.n_servers == 2)
        assert second.model.n_servers == 0


async def test_a_backlog_near_its_bound_is_thrown_away_for_a_full_read(bus):
    settings = bus.settings(queue_length=100)
    async with Collector(settings):
        pass
    await bus.publish(*(created(number) for number in range(1, 82)))
    async with Collector(settings) as collector:
        assert collector.inbox.resyncs_asked == 1
        await bus.publish(created(500))
        await eventually(lambda: collector.model.n_servers > 0)
        assert collector.model.n_servers == 1


async def test_a_backlog_that_grows_while_connected_forces_a_full_read(bus):
    settings = bus.settings(queue_length=100)
    async with Collector(settings) as collector:
        pass
    await bus.publish(*(created(number) for number in range(1, 80)))
    watching = asyncio.create_task(collector.consumer._watch_depth(bus.connection))
    await asyncio.wait([watching], timeout=0.2)
    assert collector.inbox.resyncs_asked == 1  # of the connect before: 79 are not 80 %
    watching.cancel()
    await bus.publish(created(80))
    watching = asyncio.create_task(collector.consumer._watch_depth(bus.connection))
    await eventually(lambda: collector.inbox.resyncs_asked == 2)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    queue = await bus.do(lambda channel: channel.declare_queue(settings.queue, passive=True))
    assert queue.declaration_result.message_count == 0


async def test_a_broker_that_refuses_or_is_away_is_tried_again_and_no_secret_is_logged(bus, proxy):
    parts = urlsplit(proxy.url)
    wrong = parts._replace(netloc=parts.netloc.replace("guest@", "hush-hush@")).geturl()
    with capture_logs() as logs:
        async with Collector(bus.settings(wrong)) as collector:
            assert not collector.inbox.flowing
            assert collector.inbox.resyncs_asked == 0
        proxy.is_open = False
        async with Collector(bus.settings(wrong)) as collector:
            await eventually(lambda: collector.consumer._attempts >= 2)
    assert len(logs) >= 2
    assert "hush" not in str(logs)
    assert "hush" not in repr(bus.settings(wrong))


@pytest.mark.req("C-008")
async def test_what_arrives_while_the_cloud_is_read_is_replayed(bus):
    began, go = asyncio.Event(), asyncio.Event()
    rows = [a_host("a"), a_host("b")], [a_server()]

    class Slow:
        async def read_all(self, _model):
            began.set()
            await go.wait()
            start = SystemClock().now().replace(year=2025)
            return FullRead(
                hosts=rows[0], servers=rows[1], aggregates=(), health=SetHealth(), since=start
            )

    collector = Collector(bus.settings(), a_host("a"), built=False)
    clock = SystemClock()
    sync = ComputeSync(collector.live, Slow(), clock, SyncSettings(), collector.inbox)
    async with collector:
        step = asyncio.create_task(sync.step())
        await began.wait()
        await bus.publish(instance_event("instance.live_migration_post_dest.end", "b"), created(7))
        await eventually(lambda: collector.inbox.flowing)
        waiting = next(iter(collector.inbox._readings))
        await eventually(lambda: len(waiting._kept) == 2)
        go.set()
        await step
        assert collector.server(SERVER).hostname == "b"
        assert collector.model.n_servers == 2


# -- with a cloud -------------------------------------------------------------------------------


class Whole:
    """A fake cloud that notifies, and a collector without polls."""

    def __init__(self, cloud, collector):
        self.cloud = cloud
        self.collector = collector
        entry = cloud.entry("admin")
        self.session = CloudSession(
            lambda: openstack.connection.Connection(**entry), retry=RetryPolicy(retries=0)
        )
        self.reader = ComputeReader(Nova(self.session), Placement(self.session))
        settings = SyncSettings(poll_interval_s=3600, quiet_poll_interval_s=3600)
        live, inbox, clock = collector.live, collector.inbox, SystemClock()
        self.sync = ComputeSync(live, self.reader, clock, settings, inbox)
        self.rereads = Rereads(live, self.reader, inbox, clock)
        self.control = httpx.AsyncClient(base_url=f"{cloud.base_url}/control", trust_env=False)

    async def act(self, server, body, version="2.30"):
        await self.session.send(
            "POST", "compute", f"/servers/{server}/action", body=body, microversion=version
        )

    async def differences(self):
        read = await self.reader.read_all(ComputeModel())
        return self.collector.model.changes_to(read.hosts, read.servers, read.aggregates)


@pytest.fixture
async def whole(bus):
    spec = CloudSpec(
        hosts=5,
        servers=20,
        migration_s=0.05,
        rabbit_url=bus.url,
        notification_exchange=bus.exchange,
    )
    collector = Collector(bus.settings(), built=False)
    async with running_fakecloud(spec) as cloud, collector:
        whole = Whole(cloud, collector)
        running = [asyncio.create_task(f()) for f in (whole.sync.run, whole.rereads.run)]
        await eventually(lambda: collector.model.n_servers == 20)
        yield whole
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await whole.control.aclose()
        await whole.session.close()


@pytest.mark.req("C-057", "C-060")
async def test_what_happens_in_the_cloud_shows_within_a_second_without_polls(whole):
    model, state = whole.collector.model, whole.cloud.state
    server = next(s for s in state.servers.values() if s.vm_state == "active")
    target = next(n for n in state.hosts if n != server.host)
    await whole.act(server.id, {"os-migrateLive": {"host": target, "block_migration": "auto"}})
    await eventually(lambda: server.host == target)
    await eventually(lambda: model.find_server(server.id).hostname == target, within_s=1)
    service = state.hosts[target].service_uuid
    await whole.session.send(
        "PUT",
        "compute",
        f"/os-services/{service}",
        body={"status": "disabled", "disabled_reason": "watcher_disabled"},
        microversion="2.53",
    )
    await eventually(
        lambda: model.find_host(target).disabled_reason == "watcher_disabled", within_s=1
    )


@pytest.mark.req("C-054", "C-057")
async def test_after_many_operations_the_model_equals_a_fresh_read(whole):
    rng, state = random.Random(7), whole.cloud.state
    resize_to = list(state.flavors)[1]
    actions = {
        "pause": {"pause": None},
        "unpause": {"unpause": None},
        "stop": {"os-stop": None},
        "start": {"os-start": None},
        "lock": {"lock": None},
        "unlock": {"unlock": None},
        "live": {"os-migrateLive": {"host": None, "block_migration": "auto"}},
        "cold": {"migrate": None},
        "resize": {"resize": {"flavorRef": resize_to}},
        "confirm": {"confirmResize": None},
        "revert": {"revertResize": None},
    }
    done = refused = 0
    for _ in range(150):
        living = [s for s in state.servers.values() if not s.is_deleted]
        kind = rng.choice([*actions, "confirm", "revert", "create", "delete"])
        try:
            if kind == "create":
                await whole.control.post("/servers", json={"name": f"new-{done}"})
            elif kind == "delete":
                await whole.control.delete(f"/servers/{rng.choice(living).id}")
            else:
                await whole.act(rng.choice(living).id, actions[kind])
        except (Conflict, InvalidArgument):  # many are refused in the state that a server is in
            refused += 1
        else:
            done += 1
    assert done > 40
    await eventually(lambda: not any(s.task_state for s in state.servers.values()))
    await eventually(lambda: not whole.rereads._later and not whole.collector.inbox.wanted.servers)
    async with asyncio.timeout(8):
        while await whole.differences():  # noqa: ASYNC110, it asks the cloud
            await asyncio.sleep(0.05)  # the last events are on their way
    assert whole.sync._polls == 0


async def test_a_fake_cloud_without_its_broker_says_so_at_the_start():
    spec = CloudSpec(hosts=1, servers=0, rabbit_url="amqp://guest:hush-hush@127.0.0.1:1/")
    with pytest.raises(OSError, match="no RabbitMQ") as refused:
        async with running_fakecloud(spec):
            pass
    assert "hush" not in str(refused.value)
