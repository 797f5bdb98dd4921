"""The whole service, wired as in main: from the operator's file to a replica that follows."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager

import httpx
import numpy as np
import openstack
import pytest

from trimtab.model.v1 import metrics_pb2, metrics_pb2_grpc
from trimtab_collector.main import NAME, build, main
from trimtab_collector.settings import GROUPS, CollectorSettings
from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument
from trimtab_common.openstack.connect import connector
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.settings import load
from trimtab_common.wire import metrics_codec
from trimtab_common.wire.replica import ModelReplica
from trimtab_fakecloud.running import running_fakecloud
from trimtab_fakecloud.settings import CloudSpec


def settings_of(tmp_path, text=""):
    path = tmp_path / "trimtab.conf"
    path.write_text(text)
    common, conf = load(["--config-file", str(path)], prog=NAME, groups=GROUPS)
    return common, conf, CollectorSettings.from_conf(conf)


def test_the_defaults_are_watchers(tmp_path):
    _, _, own = settings_of(tmp_path)
    assert (own.sync.period_s, own.sync.poll_interval_s) == (3600, 2.0)
    assert (own.retry.retries, own.retry.interval_s) == (10, 1)
    assert (own.read_timeout_s, own.extended) == (600, False)
    assert (own.datasources, own.prometheus) == ((), None)


@pytest.mark.req("C-016", "C-152")
def test_an_operators_file_is_read(tmp_path):
    _, _, own = settings_of(
        tmp_path,
        """
[collector]
api_call_retries = 4
[watcher_cluster_data_model_collectors.compute]
period = 60
[compute_model]
enable_extended_attributes = true
[prometheus_client]
host = prom
port = 9999
fqdn_label = node
[static_datasource]
path = /values.json
""",
    )
    assert (own.retry.retries, own.sync.period_s, own.extended) == (4, 60, True)
    assert (own.prometheus.host, own.prometheus.port) == ("prom", 9999)
    assert own.prometheus.fqdn_label == "node"
    assert own.datasources == ("static", "prometheus")


@pytest.mark.req("C-132")
def test_the_order_of_datasources_is_the_operators(tmp_path):
    text = "[watcher_datasources]\ndatasources = gnocchi, prometheus\n"
    _, _, own = settings_of(tmp_path, text)
    assert own.datasources == ("gnocchi", "prometheus")


@pytest.mark.req("C-152")
def test_a_certificate_without_authority_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match="certfile needs cafile"):
        settings_of(tmp_path, "[prometheus_client]\nhost = p\ncertfile = c\n")


@pytest.mark.req("C-160")
def test_without_a_cloud_it_refuses_to_start_and_says_what_to_do(tmp_path, capsys):
    _, conf, _ = settings_of(tmp_path)
    with pytest.raises(FailedPrecondition, match="No cloud to work on"):
        connector(conf, None)
    (tmp_path / "c.conf").write_text("")
    assert main(["--config-file", str(tmp_path / "c.conf")]) == 2
    assert "clouds.yaml" in capsys.readouterr().err


@pytest.mark.req("C-160")
async def test_a_connection_from_the_operators_groups_falls_back_to_watcher_clients_auth(tmp_path):
    async with running_fakecloud(CloudSpec(hosts=2, servers=3)) as cloud:
        auth = cloud.entry("admin")["auth"]
        options = "\n".join(f"{name} = {value}" for name, value in auth.items())
        common, conf, own = settings_of(
            tmp_path,
            f"[trimtab]\ncollector = 127.0.0.1:0\n[nova]\nregion_name = RegionOne\n"
            f"[watcher_clients_auth]\nauth_type = password\n{options}\n",
        )
        connection = connector(conf, None)
        async with a_collector(common, own, connection) as channel, following(channel) as replica:
            await replica.wait_ready(20)
            assert replica.snapshot().n_hosts == 2


@asynccontextmanager
async def a_collector(common, own, connection):
    service = await build(common, own, connection)
    await service.start()
    channel = open_channel(f"127.0.0.1:{service.bound_port}")
    try:
        yield channel
    finally:
        await channel.close()
        await service.stop(grace_s=0)


@asynccontextmanager
async def following(channel):
    replica = ModelReplica(channel, heartbeat_s=1)
    task = asyncio.create_task(replica.run())
    try:
        yield replica
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.req("C-117", "C-131")
async def test_a_server_made_behind_its_back_reaches_a_replica_with_its_load(tmp_path):
    async with running_fakecloud(CloudSpec(hosts=3, servers=6)) as cloud:
        entry, port = cloud.entry("watcher"), cloud.base_url.rpartition(":")[2]
        common, _, own = settings_of(
            tmp_path,
            "[trimtab]\ncollector = 127.0.0.1:0\n[collector]\npoll_interval = 0.1\n"
            f"[prometheus_client]\nhost = 127.0.0.1\nport = {port}\n",
        )
        connection = lambda: openstack.connection.Connection(**entry)  # noqa: E731
        async with a_collector(common, own, connection) as channel, following(channel) as replica:
            await replica.wait_ready(20)
            async with httpx.AsyncClient(base_url=cloud.base_url, trust_env=False) as control:
                made = await control.post("/control/servers", json={"host": "compute-1"})
            key = made.json()["uuid"]
            await replica.wait_until(lambda model: model.find_server(key) is not None, 10)
            assert replica.age_s < 10
            stub = metrics_pb2_grpc.MetricsServiceStub(channel)
            request = metrics_pb2.QueryMetricsRequest(
                queries=[
                    metrics_pb2.MetricQuery(metric=metric)
                    for metric in ("host_cpu_usage", "instance_ram_allocated")
                ]
            )
            messages = [message async for message in stub.QueryMetrics(request, timeout=10)]
            table = metrics_codec.table(replica.snapshot(), messages)
            assert table.source == "prometheus"
            assert not np.isnan(table.host["host_cpu_usage"]).any()
            assert len(table.server["instance_ram_allocated"]) == 7


def test_importing_the_service_does_not_import_the_sdk():
    code = (
        "import sys, trimtab_collector.main\n"
        "found = [m for m in ('openstack', 'requests') if m in sys.modules]\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
