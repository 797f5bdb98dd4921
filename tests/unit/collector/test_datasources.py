"""Datasources: bulk queries, units, selection, and the errors of each thing that can be missing."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx
import pytest

from trimtab.model.v1 import metrics_pb2, metrics_pb2_grpc
from trimtab_collector.datasources.cache import Cached
from trimtab_collector.datasources.interface import (
    Aggregate,
    MetricNotAvailable,
    MetricQuery,
    NoDatasourceAvailable,
    SeriesQuery,
)
from trimtab_collector.datasources.prometheus import (
    Prometheus,
    PrometheusSettings,
    _by_hostname,
    _samples,
)
from trimtab_collector.datasources.promql import NAMES, Labels, aggregation, matcher
from trimtab_collector.datasources.selection import DatasourceConfigConflict, Datasources
from trimtab_collector.datasources.static import Static
from trimtab_collector.live_model import Delta, LiveModel
from trimtab_collector.metrics_servicer import SERVICE, MetricsServicer
from trimtab_common.domain.changes import HostRow, ServerRow, UpsertHost, UpsertServer
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import InvalidArgument, Unavailable
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.clock import FakeClock
from trimtab_common.runtime.service import Service
from trimtab_common.runtime.settings import CommonSettings
from trimtab_fakecloud.running import running_fakecloud
from trimtab_fakecloud.settings import CloudSpec


def rows_of(cloud):
    hosts = [
        HostRow(uuid=host.uuid, hostname=host.name, inventory=(host.vcpus, 1, 1))
        for host in cloud.state.hosts.values()
    ]
    servers = [
        ServerRow(
            uuid=server.id,
            name=server.name,
            hostname=server.host,
            demand=(server.flavor.vcpus, server.flavor.memory_mib, server.flavor.disk_gib),
        )
        for server in cloud.state.servers.values()
    ]
    return hosts, servers


@asynccontextmanager
async def prometheus_of(cloud):
    source = Prometheus.direct(
        PrometheusSettings(
            host="127.0.0.1", port=int(cloud.base_url.rpartition(":")[2]), max_retries=0
        ),
        FakeClock(),
    )
    yield source
    await source.close()


@pytest.mark.req("B-044", "C-131", "C-146", "C-147", "C-148")
async def test_prometheus_gives_each_metric_of_all_by_one_query_in_the_right_unit():
    spec = CloudSpec(cluster_file=None, hosts=4, servers=12)
    async with running_fakecloud(spec) as cloud, prometheus_of(cloud) as source:
        hosts, servers = rows_of(cloud)
        snapshot = ComputeModel.from_rows(hosts, servers).snapshot()
        got = {
            metric: await source.query(MetricQuery(metric=metric), snapshot)
            for metric in source.metrics
        }
        state = cloud.state
        for host in state.hosts.values():
            running = [s for s in state.servers_on(host.name) if s.is_running]
            busy = sum(s.flavor.vcpus * s.cpu_pct / 100 for s in running)
            cpu_pct = min(100.0, 100 * busy / host.vcpus + 1)
            assert got["host_cpu_usage"][host.name] == pytest.approx(cpu_pct, abs=0.01)
            used_mib = sum(s.memory_used_mib for s in running) + 2048
            assert got["host_ram_usage"][host.name] == pytest.approx(used_mib * 1024, rel=1e-3)
        for server in state.servers.values():
            key = server.id
            assert got["instance_ram_allocated"][key] == server.flavor.memory_mib
            assert got["instance_root_disk_size"][key] == server.flavor.disk_gib
            assert (key in got["instance_cpu_usage"]) is server.is_running
            if server.is_running:
                assert got["instance_cpu_usage"][key] == pytest.approx(server.cpu_pct, abs=0.01)
                used = got["instance_ram_usage"][key]
                assert used == pytest.approx(server.memory_used_mib, rel=1e-3)
        assert await source.problem() == ""
        assert await source.found_metrics() == source.metrics


@pytest.mark.req("C-149")
async def test_extremes_are_over_time():
    async with running_fakecloud(CloudSpec(hosts=2, servers=4)) as cloud:
        hosts, servers = rows_of(cloud)
        snapshot = ComputeModel.from_rows(hosts, servers).snapshot()
        async with prometheus_of(cloud) as source:
            for metric in ("host_cpu_usage", "host_ram_usage", "instance_cpu_usage"):
                low, mean, high = [
                    await source.query(MetricQuery(metric=metric, aggregate=each), snapshot)
                    for each in (Aggregate.MIN, Aggregate.MEAN, Aggregate.MAX)
                ]
                assert low.keys() == mean.keys() == high.keys()
                for key, value in mean.items():
                    assert low[key] - 1e-6 <= value <= high[key] + 1e-6


def test_the_mean_of_a_host_is_watchers_query_without_a_matcher():
    query = MetricQuery(metric="host_cpu_usage", period_s=600)
    assert aggregation(query, Labels(), NAMES) == (
        '100 - avg by (fqdn) (rate(node_cpu_seconds_total{mode="idle"}[600s])) * 100'
    )


@pytest.mark.req("C-149")
def test_the_highest_usage_is_the_lowest_idle_time():
    query = MetricQuery(metric="host_cpu_usage", period_s=600, aggregate=Aggregate.MAX)
    assert aggregation(query, Labels(), NAMES) == (
        '100 - min_over_time((avg by (fqdn) (rate(node_cpu_seconds_total{mode="idle"}[120s])))'
        "[600s:120s]) * 100"
    )


@pytest.mark.req("C-128")
def test_count_degrades_to_the_mean():
    queries = [
        MetricQuery(metric="instance_cpu_usage", aggregate=aggregate)
        for aggregate in (Aggregate.COUNT, Aggregate.MEAN)
    ]
    assert aggregation(queries[0], Labels(), NAMES) == aggregation(queries[1], Labels(), NAMES)


@pytest.mark.req("C-150")
def test_a_hostname_is_the_label_or_its_first_part_and_an_ambiguous_one_is_nobody():
    values = {"a": 1.0, "b.one.example": 2.0, "c.one.example": 3.0, "c.two.example": 4.0}
    assert _by_hostname(values, ["a", "b", "c", "d"], "host_cpu_usage") == {"a": 1.0, "b": 2.0}


@pytest.mark.req("C-127")
def test_nan_is_no_value_and_zero_is_one():
    rows = [
        {"metric": {"fqdn": name}, "value": [0, text]}
        for name, text in [("a", "NaN"), ("b", "+Inf"), ("c", "0")]
    ]
    rows.append({"metric": {}, "value": [0, "5"]})
    assert dict(_samples({"result": rows}, "fqdn")) == {"c": 0.0}


@pytest.mark.parametrize(
    "fields", [{"metric": "host_colour"}, {"metric": "host_power", "period_s": 0}]
)
def test_a_query_that_cannot_be_is_refused(fields):
    with pytest.raises(InvalidArgument):
        MetricQuery(**fields)


def test_a_label_that_is_no_name_is_refused():
    with pytest.raises(InvalidArgument, match="label's name"):
        PrometheusSettings(host="h", fqdn_label="a}b")


async def test_a_prometheus_that_does_not_answer_is_unavailable_and_says_where():
    source = Prometheus.direct(
        PrometheusSettings(host="127.0.0.1", port=1, max_retries=0), FakeClock()
    )
    assert "Prometheus at http://127.0.0.1:1" in await source.problem()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await source.query(MetricQuery(metric="host_cpu_usage"), ComputeModel().snapshot())
    await source.close()


class Fixed:
    """A datasource of these metrics."""

    def __init__(self, name, *metrics, problem=""):
        self.name, self.metrics, self.trouble = name, frozenset(metrics), problem

    async def problem(self):
        return self.trouble


CPU, POWER = MetricQuery(metric="host_cpu_usage"), MetricQuery(metric="host_power")


def these(*sources):
    return Datasources([s.name for s in sources], {s.name: s for s in sources})


@pytest.mark.req("C-133", "C-134", "B-035")
async def test_the_first_that_has_every_metric_and_answers_is_chosen():
    one = Fixed("one", "host_cpu_usage")
    away = Fixed("away", "host_cpu_usage", "host_power", problem="away")
    all_ = Fixed("all", "host_cpu_usage", "host_power")
    known = these(one, away, all_)
    assert await known.choose([CPU]) is one
    assert await known.choose([CPU, POWER]) is all_
    assert await known.choose([CPU], ["nobody", "all"]) is all_
    optional = MetricQuery(metric="host_power", optional=True)
    assert await known.choose([CPU, optional]) is one


@pytest.mark.req("C-133")
@pytest.mark.parametrize(
    ("sources", "queries", "error"),
    [
        ([Fixed("one", "host_cpu_usage")], [POWER], MetricNotAvailable),
        ([Fixed("one", "host_power", problem="away")], [POWER], Unavailable),
        ([], [POWER], NoDatasourceAvailable),
        ([Fixed("one", "host_power")], [], InvalidArgument),
    ],
)
async def test_when_none_can_be_chosen_the_error_says_which_way(sources, queries, error):
    with pytest.raises(error):
        await these(*sources).choose(queries)


@pytest.mark.req("C-135")
def test_prometheus_and_aetos_exclude_each_other():
    with pytest.raises(DatasourceConfigConflict):
        Datasources(["prometheus", "aetos"], {})


async def test_static_values_come_from_the_file_as_it_is_now(tmp_path):
    path = tmp_path / "metrics.json"
    source = Static(path)
    assert "Cannot read" in await source.problem()
    path.write_text(json.dumps({"hosts": {"a": {"host_power": 3}, "b": {"host_power": None}}}))
    assert await source.query(POWER, ComputeModel().snapshot()) == {"a": 3.0}
    assert await source.found_metrics() == {"host_power"}
    path.write_text(json.dumps({"hosts": {"a": {"host_power": 4}}}))
    assert await source.query(POWER, ComputeModel().snapshot()) == {"a": 4.0}


@asynccontextmanager
async def a_metrics_service(path: Path):
    live = LiveModel(FakeClock())
    host = HostRow(uuid="u", hostname="a", inventory=(1, 1, 1))
    server = ServerRow(uuid=str(uuid.UUID(int=1)), name="", hostname="a", demand=(1, 1, 1))
    live.publish([Delta(changes=[UpsertHost(host), UpsertServer(server)], cause="sync")])
    live.mark_built()
    service = Service("collector", "127.0.0.1:0", settings=CommonSettings(host="h"))
    sources = Datasources(["static"], {"static": Static(path)})
    service.add(
        MetricsServicer(sources, live),
        metrics_pb2_grpc.add_MetricsServiceServicer_to_server,
        SERVICE,
    )
    await service.start()
    channel = open_channel(f"127.0.0.1:{service.bound_port}")
    yield metrics_pb2_grpc.MetricsServiceStub(channel)
    await channel.close()
    await service.stop(grace_s=0)


async def test_metrics_over_grpc(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"hosts": {"a": {"host_power": 3}}}))
    queries = [metrics_pb2.MetricQuery(metric=name) for name in ("host_power", "host_cpu_usage")]
    async with a_metrics_service(path) as stub:
        request = metrics_pb2.QueryMetricsRequest(queries=queries)
        found = {
            message.metric: dict(zip(message.resource, message.value, strict=True))
            async for message in stub.QueryMetrics(request, timeout=5)
        }
        assert found == {"host_power": {"a": 3.0}, "host_cpu_usage": {}}
        (source,) = (
            await stub.ListDatasources(metrics_pb2.ListDatasourcesRequest(), timeout=5)
        ).datasources
        assert (source.name, source.available, source.metrics) == ("static", True, ["host_power"])


@pytest.mark.req("C-176", "B-070")
async def test_series_over_grpc(tmp_path):
    path = tmp_path / "metrics.json"
    rows = [[0, 1], [300, 2], [600, 3]]
    path.write_text(json.dumps({"series": {"host_power": {"a": rows, "stranger": rows}}}))
    async with a_metrics_service(path) as stub:
        request = metrics_pb2.QuerySeriesRequest(metric="host_power", start_s=0, end_s=600)
        (message,) = [message async for message in stub.QuerySeries(request, timeout=5)]
        assert (message.resource, message.datasource) == ("a", "static")
        assert dict(zip(message.at_s, message.value, strict=True)) == {0.0: 1.0, 300.0: 2.0}
        for wrong, code in (
            ({"end_s": 0}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"aggregate": "median"}, grpc.StatusCode.INVALID_ARGUMENT),
            ({"metric": "host_airflow"}, grpc.StatusCode.FAILED_PRECONDITION),
        ):
            given = {"metric": "host_power", "start_s": 0, "end_s": 600} | wrong
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.QuerySeries(metrics_pb2.QuerySeriesRequest(**given), timeout=5).read()
            assert raised.value.code() is code


@pytest.mark.req("C-124", "C-151", "B-070")
async def test_prometheus_series_of_some_resources_are_one_query():
    async with running_fakecloud(CloudSpec(cluster_file=None, hosts=3, servers=6)) as cloud:
        hosts, servers = rows_of(cloud)
        snapshot = ComputeModel.from_rows(hosts, servers).snapshot()
        end = cloud.state.now()
        async with prometheus_of(cloud) as source:
            for metric, key in (
                ("host_cpu_usage", hosts[0].hostname),
                ("instance_ram_allocated", servers[0].uuid),
            ):
                query = SeriesQuery(
                    metric=metric,
                    start_s=end - 600,
                    end_s=end,
                    granularity_s=60,
                    resources=frozenset({key}),
                )
                got = await source.series(query, snapshot)
                assert got.keys() == {key}
                assert 8 <= len(got[key]) <= 11


@pytest.mark.req("C-151")
def test_what_stands_in_a_label_cannot_end_the_matcher():
    assert matcher("fqdn", ['a"b', "c.d"]) == r'fqdn=~"a\"b|c\\.d"'


@pytest.mark.req("C-141")
def test_a_gauge_that_only_the_map_names_is_asked_for():
    names = {**NAMES, "host_power": "power_watt", "instance_cpu_usage": "my_cpu"}
    assert aggregation(POWER, Labels(), names) == "avg by (fqdn) (avg_over_time(power_watt[300s]))"
    cpu = MetricQuery(metric="instance_cpu_usage")
    assert "rate(my_cpu[300s])" in aggregation(cpu, Labels(), names)
    source = Prometheus.direct(
        PrometheusSettings(host="h"), FakeClock(), names | {"host_airflow": "no name{}"}
    )
    assert "host_power" in source.metrics
    assert "host_airflow" not in source.metrics


@pytest.mark.req("C-122")
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"metric": "host_colour"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"metric": "host_power", "aggregate": "median"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"metric": "host_power", "period_s": -1}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"metric": "host_power"}, grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_errors_over_grpc(tmp_path, query, code):
    async with a_metrics_service(tmp_path / "none") as stub:
        request = metrics_pb2.QueryMetricsRequest(queries=[metrics_pb2.MetricQuery(**query)])
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.QueryMetrics(request, timeout=5).read()
        assert raised.value.code() is code


@pytest.mark.req("C-130")
async def test_a_query_is_tried_again_while_it_may_help_and_not_when_it_cannot():
    async with running_fakecloud(CloudSpec(hosts=1, servers=1)) as cloud:
        hosts, servers = rows_of(cloud)
        snapshot = ComputeModel.from_rows(hosts, servers).snapshot()
        source = Prometheus.direct(
            PrometheusSettings(
                host="127.0.0.1",
                port=int(cloud.base_url.rpartition(":")[2]),
                max_retries=2,
                retry_interval_s=0,
            ),
            FakeClock(),
        )
        async with httpx.AsyncClient(base_url=cloud.base_url, trust_env=False) as control:

            async def fail(**fault):
                order = {"requests": [{"service": "prometheus"} | fault]}
                (await control.put("/control/faults", json=order)).raise_for_status()

            query = MetricQuery(metric="host_cpu_usage")
            await fail(status=503, remaining=2)
            assert await source.query(query, snapshot)
            await fail(status=503, remaining=3)
            with pytest.raises(Unavailable, match="503"):
                await source.query(query, snapshot)
            await fail(status=404, remaining=1)
            with pytest.raises(Unavailable, match="404"):
                await source.query(query, snapshot)
            assert await source.query(query, snapshot)
        await source.close()


class Counting(Fixed):
    """A datasource that counts what it is asked."""

    def __init__(self, values):
        super().__init__("counting", "host_cpu_usage", "host_power")
        self.values, self.asked = values, 0

    async def query(self, _query, _snapshot):
        self.asked += 1
        return dict(self.values)


@pytest.mark.req("C-129")
async def test_what_was_read_is_not_asked_again_also_when_there_was_nothing():
    backend, snapshot = Counting({"a": 1.0}), ComputeModel().snapshot()
    cached = Cached(backend)
    await asyncio.gather(*(cached.query(CPU, snapshot) for _ in range(5)))
    assert await cached.query(CPU, snapshot) == {"a": 1.0}
    assert backend.asked == 1
    longer = MetricQuery(metric="host_cpu_usage", period_s=600)
    assert await cached.query(longer, snapshot) == {"a": 1.0}
    assert backend.asked == 2
    nothing = Cached(empty := Counting({}))
    assert await nothing.query(CPU, snapshot) == await nothing.query(CPU, snapshot) == {}
    assert empty.asked == 1


@pytest.mark.req("C-129")
async def test_values_can_be_put_in_taken_out_and_simulated_ones_cleared():
    backend, snapshot = Counting({"a": 1.0, "b": 2.0}), ComputeModel().snapshot()
    cached = Cached(backend)
    cached.inject_metric("a", CPU, 9.0)
    cached.inject_metric("b", CPU, None)
    cached.inject_metric("c", CPU, 3.0, simulated=True)
    assert await cached.query(CPU, snapshot) == {"a": 9.0, "c": 3.0}
    assert await cached.query(POWER, snapshot) == {"a": 1.0, "b": 2.0}
    cached.clear_simulated()
    assert await cached.query(CPU, snapshot) == {"a": 9.0}
    cached.remove("a", "host_power")
    assert await cached.query(CPU, snapshot) == {"a": 9.0}
    cached.remove("a")
    assert await cached.query(CPU, snapshot) == {"a": 1.0}
    cached.clear()
    assert await cached.query(CPU, snapshot) == {"a": 1.0, "b": 2.0}
    assert backend.asked == 4
