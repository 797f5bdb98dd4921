"""The whole service, wired as in main: from the operator's file to a replica that follows."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager

import grpc.aio
import httpx
import numpy as np
import openstack
import pytest
from openstack.exceptions import ServiceDisabledException

from trimtab.model.v1 import metrics_pb2, metrics_pb2_grpc, model_pb2, model_pb2_grpc
from trimtab_collector.datasources.selection import DatasourceConfigConflict
from trimtab_collector.main import NAME, build, main
from trimtab_collector.settings import GROUPS, CollectorSettings
from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument
from trimtab_common.openstack.connect import connector
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.settings import load
from trimtab_common.wire import metrics_codec
from trimtab_common.wire.replica import ElementReplica, ModelReplica
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
    assert (own.datasources.order, own.datasources.prometheus) == ((), None)


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
    assert (own.datasources.prometheus.host, own.datasources.prometheus.port) == ("prom", 9999)
    assert own.datasources.prometheus.fqdn_label == "node"
    assert own.datasources.order == ("static", "prometheus")


@pytest.mark.req("C-132")
def test_the_order_of_datasources_is_the_operators(tmp_path):
    text = "[watcher_datasources]\ndatasources = gnocchi, prometheus\n"
    with pytest.raises(InvalidArgument, match=r"prometheus_client\] host"):
        settings_of(tmp_path, text)
    _, _, own = settings_of(tmp_path, text + "[prometheus_client]\nhost = p\n")
    assert own.datasources.order == ("gnocchi", "prometheus")


@pytest.mark.req("C-135")
def test_prometheus_and_aetos_together_stop_the_start(tmp_path):
    text = "[watcher_datasources]\ndatasources = aetos, prometheus\n[prometheus_client]\nhost = p\n"
    with pytest.raises(DatasourceConfigConflict):
        settings_of(tmp_path, text)


@pytest.mark.req("C-144", "C-153")
def test_gnocchi_and_aetos_are_found_by_interface_and_region(tmp_path):
    text = """
[gnocchi_client]
endpoint_type = internalURL
region_name = two
[aetos_client]
interface = adminURL
region_name = one
fqdn_label = node
instance_uuid_label = uuid
"""
    _, _, usual = settings_of(tmp_path)
    assert (usual.datasources.gnocchi_interface, usual.datasources.gnocchi_region) == (
        "public",
        None,
    )
    assert usual.datasources.aetos.interface == "public"
    _, _, own = settings_of(tmp_path, text)
    gnocchi, aetos = own.datasources, own.datasources.aetos
    assert (gnocchi.gnocchi_interface, gnocchi.gnocchi_region) == ("internal", "two")
    assert (aetos.interface, aetos.region_name) == ("admin", "one")
    assert (aetos.fqdn_label, aetos.instance_uuid_label) == ("node", "uuid")


@pytest.mark.req("C-140", "C-155", "C-156")
def test_grafanas_maps_come_from_the_options_and_the_file_wins(tmp_path):
    names = tmp_path / "map.yaml"
    names.write_text(
        "grafana:\n  - host_cpu_usage: {project: '2', db: b, attribute: uuid,"
        " translator: influxdb, query: q2}\n"
    )
    text = f"""
[watcher_decision_engine]
metric_map_path = {names}
[grafana_client]
token = t
base_url = http://grafana/api/datasources/proxy/
project_id_map = host_cpu_usage:1,host_power:1
database_map = host_power:db
attribute_map = host_power:hostname
translator_map = host_power:influxdb
query_map = host_power:SELECT {{0}}(value) FROM power WHERE host='{{1}}'
"""
    _, _, own = settings_of(tmp_path, text)
    assert own.datasources.order == ("grafana",)
    maps = own.datasources.grafana.maps
    assert maps["host_cpu_usage"]["query"] == "q2"
    assert maps["host_power"] == {
        "project": "1",
        "db": "db",
        "attribute": "hostname",
        "translator": "influxdb",
        "query": "SELECT {0}(value) FROM power WHERE host='{1}'",
    }
    _, _, without_token = settings_of(tmp_path, text.replace("token = t", ""))
    assert without_token.datasources.grafana is None


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


@pytest.mark.req("C-161", "C-162")
def test_old_groups_of_clients_count_where_the_new_ones_are_silent(tmp_path):
    _, conf, _ = settings_of(
        tmp_path,
        """
[watcher_clients_auth]
auth_type = password
[nova_client]
endpoint_type = internalURL
region_name = old
api_version = 2.56
[cinder_client]
endpoint_type = adminURL
region_name = old
[cinder]
valid_interfaces = public
region_name = new
[placement_client]
endpoint_type = internal
[ironic_client]
region_name = metal
[keystone_client]
interface = admin
""",
    )
    connector(conf, None)
    found = {
        group: (conf[group].valid_interfaces, conf[group].region_name)
        for group in ("nova", "cinder", "placement", "ironic", "keystone")
    }
    assert found == {
        "nova": (["internal"], "old"),
        "cinder": (["public"], "new"),
        "placement": (["internal"], None),
        "ironic": (None, "metal"),
        "keystone": (["admin"], None),
    }


def nova_endpoint(conf):
    return connector(conf, None)().compute.get_endpoint()


@pytest.mark.req("C-161")
async def test_the_region_of_an_old_group_decides_which_nova_is_asked(tmp_path):
    async with running_fakecloud(CloudSpec(hosts=2, servers=3)) as cloud:
        auth = cloud.entry("admin")["auth"]
        options = "\n".join(f"{name} = {value}" for name, value in auth.items())

        def asked_in(region):
            _, conf, _ = settings_of(
                tmp_path,
                f"[nova_client]\nendpoint_type = publicURL\nregion_name = {region}\n"
                f"[watcher_clients_auth]\nauth_type = password\n{options}\n",
            )
            return asyncio.to_thread(nova_endpoint, conf)

        assert await asked_in("RegionOne")
        with pytest.raises(ServiceDisabledException, match="compute service in Elsewhere region"):
            await asked_in("Elsewhere")


@pytest.mark.req("C-161", "C-163")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[nova_client]\napi_version = 2.55", "speaks 2.56 or newer"),
        ("[nova_client]\napi_version = 3.0", "speaks 2.56 or newer"),
        ("[cinder_client]\napi_version = 2", "speaks 3 or newer"),
        ("[placement_client]\napi_version = latest", "no version; leave it out"),
    ],
)
def test_an_old_group_that_wants_too_old_an_api_refuses_the_start(tmp_path, text, words):
    _, conf, _ = settings_of(tmp_path, f"[watcher_clients_auth]\nauth_type = password\n{text}\n")
    with pytest.raises(InvalidArgument, match=words):
        connector(conf, None)


@pytest.mark.req("B-065")
def test_the_general_pool_has_its_own_size_whatever_the_audit_workers(tmp_path):
    assert settings_of(tmp_path)[2].general_workers == 4
    many = "[watcher_decision_engine]\nmax_audit_workers = 9\n"
    assert settings_of(tmp_path, many)[2].general_workers == 4
    assert settings_of(tmp_path, f"{many}max_general_workers = 7\n")[2].general_workers == 7
    with pytest.raises(ValueError, match="max_general_workers"):
        settings_of(tmp_path, f"{many}max_general_workers = 0\n")


@pytest.mark.req("C-040")
def test_a_step_of_a_read_has_at_least_half_a_minute(tmp_path):
    text = "[collector]\ncompute_resources_collector_timeout = {}\n"
    assert settings_of(tmp_path, text.format(45))[2].read_timeout_s == 45
    with pytest.raises(ValueError, match="compute_resources_collector_timeout"):
        settings_of(tmp_path, text.format(29))


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
async def following(channel, kind="compute", **options):
    if kind == "compute":
        replica = ModelReplica(channel, heartbeat_s=1, **options)
    else:
        replica = ElementReplica(channel, kind=kind, heartbeat_s=1, **options)
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


@pytest.mark.req("C-001", "C-002", "C-004", "C-117")
async def test_storage_and_baremetal_are_watched_like_compute(tmp_path):
    async with running_fakecloud(CloudSpec(hosts=3, servers=3)) as cloud:
        entry = cloud.entry("admin")
        common, _, own = settings_of(
            tmp_path,
            "[trimtab]\ncollector = 127.0.0.1:0\n[collector]\nelement_poll_interval = 0.1\n"
            "collector_plugins = compute,storage,baremetal\n",
        )
        connection = lambda: openstack.connection.Connection(**entry)  # noqa: E731
        async with (
            a_collector(common, own, connection) as channel,
            following(channel, "storage") as volumes,
            following(channel, "baremetal") as machines,
        ):
            await volumes.wait_ready(30)
            await machines.wait_ready(30)
            counts = {"storage_node": 2, "pool": 3, "volume": 12, "volume_type": 3}
            assert volumes.model.counts == counts
            assert machines.model.counts == {"baremetal_node": 3}
            victim = next(iter(cloud.state.storage.volumes.values()))
            cloud.state.storage.delete(victim)
            await volumes.wait_until(lambda m: m.find("volume", victim.id) is None, 20)
            stub = model_pb2_grpc.ModelServiceStub(channel)
            listed = await stub.ListModels(model_pb2.ListModelsRequest(), timeout=5)
            kinds = {info.kind: info for info in listed.models}
            assert kinds.keys() == {"compute", "storage", "baremetal"}
            assert kinds["storage"].counts["volume"] == 11
            assert '"volume_types"' in kinds["storage"].scope_schema_json
            assert '"ironic_nodes"' in kinds["baremetal"].scope_schema_json
            await stub.Refresh(model_pb2.RefreshRequest(kind="baremetal"), timeout=10)


@pytest.mark.req("C-044", "C-045", "C-048", "A-109")
async def test_a_collector_that_loads_on_request_reads_what_is_asked_for(tmp_path):
    async with running_fakecloud(CloudSpec(hosts=4, servers=8)) as cloud:
        entry = cloud.entry("admin")
        common, _, own = settings_of(
            tmp_path,
            "[trimtab]\ncollector = 127.0.0.1:0\n[collector]\nload = on_request\n"
            "collector_plugins = compute\n",
        )
        connection = lambda: openstack.connection.Connection(**entry)  # noqa: E731
        async with a_collector(common, own, connection) as channel, following(channel) as replica:
            stub = model_pb2_grpc.ModelServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError, match="not defined"):
                async for _ in stub.GetModel(model_pb2.GetModelRequest(), timeout=5):
                    pass
            scope = '[{"compute": [{"availability_zones": [{"name": "az1"}]}]}]'
            await stub.LoadModel(model_pb2.LoadModelRequest(scope_json=scope), timeout=20)
            await replica.wait_ready(20)
            assert replica.snapshot().host_name == ("compute-1", "compute-3")
            await stub.LoadModel(model_pb2.LoadModelRequest(), timeout=20)
            await replica.wait_until(lambda model: model.n_hosts == 4, 20)
            with pytest.raises(grpc.aio.AioRpcError, match="no JSON"):
                await stub.LoadModel(model_pb2.LoadModelRequest(scope_json="{"), timeout=5)


@pytest.mark.req("C-119")
async def test_a_subscriber_fails_over_to_another_collector_and_back(tmp_path):
    async with running_fakecloud(CloudSpec(hosts=3, servers=5)) as cloud:
        entry = cloud.entry("admin")
        common, _, own = settings_of(
            tmp_path,
            "[trimtab]\ncollector = 127.0.0.1:0\n[collector]\npoll_interval = 0.1\n"
            "collector_plugins = compute\n",
        )
        connection = lambda: openstack.connection.Connection(**entry)  # noqa: E731
        services = [await build(common, own, connection) for _ in range(2)]
        for service in services:
            await service.start()
        channels = [open_channel(f"127.0.0.1:{one.bound_port}") for one in services]
        try:
            async with following(channels[0], others=channels[1:]) as replica:
                await replica.wait_ready(30)
                epoch = replica.epoch
                epochs = [await epoch_of(channel) for channel in channels]
                await services[epochs.index(epoch)].stop(grace_s=0)
                victim = next(iter(cloud.state.servers.values()))
                cloud.state.remove(victim)
                await replica.wait_until(lambda model: model.find_server(victim.id) is None, 30)
                assert replica.epoch in set(epochs) - {epoch}
                assert replica.model.n_servers == 4
        finally:
            for channel in channels:
                await channel.close()
            for service in services:
                await service.stop(grace_s=0)


async def epoch_of(channel):
    stub = model_pb2_grpc.ModelServiceStub(channel)
    listed = await stub.ListModels(model_pb2.ListModelsRequest(), timeout=5)
    return listed.models[0].position.epoch
