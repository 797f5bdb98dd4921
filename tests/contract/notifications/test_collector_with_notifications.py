"""The whole collector with an operator's file: what the broker carries reaches a replica at once."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager

import aio_pika
import httpx
import openstack
import pytest

from trimtab_collector.main import NAME, build
from trimtab_collector.settings import GROUPS, CollectorSettings
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.settings import load
from trimtab_common.wire.replica import ElementReplica, ModelReplica
from trimtab_fakecloud.running import running_fakecloud
from trimtab_fakecloud.settings import CloudSpec

TOPICS = ("versioned_notifications", "notifications", "ironic_versioned_notifications")


@asynccontextmanager
async def a_collector(rabbitmq_url, tmp_path):
    """A cloud that notifies, and the channel to a collector that hardly polls."""
    name = f"trimtab-test-{uuid.uuid4().hex[:12]}"
    path = tmp_path / "trimtab.conf"
    topics = ",".join(f"{name}.{topic}" for topic in TOPICS)
    path.write_text(
        "[trimtab]\ncollector = 127.0.0.1:0\n"
        "[collector]\npoll_interval = 60\nquiet_poll_interval = 60\nelement_poll_interval = 600\n"
        "collector_plugins = compute,storage,baremetal\n"
        f"notification_queue = {name}\n"
        f"[oslo_messaging_notifications]\ntransport_url = {rabbitmq_url}\n"
        f"[watcher_decision_engine]\nnotification_topics = {topics}\n"
    )
    common, conf = load(["--config-file", str(path)], prog=NAME, groups=GROUPS)
    own = CollectorSettings.from_conf(conf, host=common.host, address=common.collector)
    spec = CloudSpec(hosts=3, servers=6, rabbit_url=rabbitmq_url, notification_exchange=name)
    try:
        async with running_fakecloud(spec) as cloud:
            entry = cloud.entry("admin")
            service = await build(common, own, lambda: openstack.connection.Connection(**entry))
            await service.start()
            channel = open_channel(f"127.0.0.1:{service.bound_port}")
            try:
                yield cloud, channel
            finally:
                await channel.close()
                await service.stop(grace_s=0)
    finally:
        async with await aio_pika.connect(rabbitmq_url) as connection:
            broker = await connection.channel()
            await broker.queue_delete(name)
            await broker.exchange_delete(name)


@asynccontextmanager
async def following(replica):
    task = asyncio.create_task(replica.run())
    try:
        await replica.wait_ready(60)
        yield replica
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.req("C-050", "C-117")
async def test_an_event_reaches_a_replica_within_a_second_while_polls_are_rare(
    rabbitmq_url, tmp_path
):
    async with (
        a_collector(rabbitmq_url, tmp_path) as (cloud, channel),
        following(ModelReplica(channel, heartbeat_s=1)) as replica,
    ):
        async with httpx.AsyncClient(base_url=cloud.base_url, trust_env=False) as control:
            made = await control.post("/control/servers", json={"host": "compute-1"})
        key = made.json()["uuid"]
        await replica.wait_until(lambda model: model.find_server(key) is not None, 1)


@pytest.mark.req("C-049", "C-073", "C-076", "C-083")
async def test_events_of_volumes_and_machines_reach_their_models(rabbitmq_url, tmp_path):
    async with (
        a_collector(rabbitmq_url, tmp_path) as (cloud, channel),
        following(ElementReplica(channel, kind="storage", heartbeat_s=1)) as volumes,
        following(ElementReplica(channel, kind="baremetal", heartbeat_s=1)) as machines,
    ):
        storage = cloud.state.storage
        one = next(iter(storage.volumes.values()))
        pool, size_gb = one.pool, one.size_gb
        storage.attach(one, "server")
        await volumes.wait_until(lambda m: m.find("volume", one.id).status == "in-use", 5)
        assert volumes.model.find("volume", one.id).attachments[0].server == "server"
        storage.detach(one)
        storage.extend(one, size_gb + 7)
        await volumes.wait_until(lambda m: m.find("volume", one.id).size_gb == size_gb + 7, 5)
        counted = volumes.model.find("pool", pool).volumes
        storage.delete(one)
        await volumes.wait_until(lambda m: m.find("volume", one.id) is None, 5)
        await volumes.wait_until(lambda m: m.find("pool", pool).volumes == counted - 1, 10)
        host = cloud.state.hosts["compute-2"]
        host.maintenance_reason = "fan"
        cloud.state.node_changed("maintenance_set.end", host)
        await machines.wait_until(
            lambda m: any(row.maintenance_reason == "fan" for row in m.rows("baremetal_node")), 5
        )
