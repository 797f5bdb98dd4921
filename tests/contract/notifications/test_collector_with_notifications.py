"""The whole collector with an operator's file: what the broker carries reaches a replica at once."""

from __future__ import annotations

import asyncio
import uuid

import aio_pika
import httpx
import openstack
import pytest

from trimtab_collector.main import NAME, build
from trimtab_collector.settings import GROUPS, CollectorSettings
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.settings import load
from trimtab_common.wire.replica import ModelReplica
from trimtab_fakecloud.running import running_fakecloud
from trimtab_fakecloud.settings import CloudSpec


@pytest.mark.req("C-050", "C-117")
async def test_an_event_reaches_a_replica_within_a_second_while_polls_are_rare(
    rabbitmq_url, tmp_path
):
    name = f"trimtab-test-{uuid.uuid4().hex[:12]}"
    path = tmp_path / "trimtab.conf"
    path.write_text(
        "[trimtab]\ncollector = 127.0.0.1:0\n"
        "[collector]\npoll_interval = 60\nquiet_poll_interval = 60\n"
        f"notification_queue = {name}\n"
        f"[oslo_messaging_notifications]\ntransport_url = {rabbitmq_url}\n"
        f"[watcher_decision_engine]\nnotification_topics = {name}.versioned_notifications\n"
    )
    common, conf = load(["--config-file", str(path)], prog=NAME, groups=GROUPS)
    own = CollectorSettings.from_conf(conf, host=common.host, address=common.collector)
    spec = CloudSpec(hosts=3, servers=6, rabbit_url=rabbitmq_url, notification_exchange=name)
    try:
        async with running_fakecloud(spec) as cloud:
            entry = cloud.entry("watcher")
            service = await build(common, own, lambda: openstack.connection.Connection(**entry))
            await service.start()
            channel = open_channel(f"127.0.0.1:{service.bound_port}")
            replica = ModelReplica(channel, heartbeat_s=1)
            following = asyncio.create_task(replica.run())
            try:
                await replica.wait_ready(20)
                async with httpx.AsyncClient(base_url=cloud.base_url, trust_env=False) as control:
                    made = await control.post("/control/servers", json={"host": "compute-1"})
                key = made.json()["uuid"]
                await replica.wait_until(lambda model: model.find_server(key) is not None, 1)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await channel.close()
                await service.stop(grace_s=0)
    finally:
        async with await aio_pika.connect(rabbitmq_url) as connection:
            broker = await connection.channel()
            await broker.queue_delete(name)
            await broker.exchange_delete(name)
