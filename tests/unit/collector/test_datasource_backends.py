"""Gnocchi, Grafana and Aetos before fakes: names, units, refusals, and how few requests are sent."""

from __future__ import annotations

import json
import random
import uuid
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from fake_gnocchi import FakeGnocchi, FakeGrafana, served
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from trimtab_collector.datasources import aetos
from trimtab_collector.datasources.catalogue import CatalogueDoor
from trimtab_collector.datasources.gnocchi import NAMES, Gnocchi, GnocchiSettings
from trimtab_collector.datasources.grafana import DatasourceNotAvailable, Grafana, GrafanaSettings
from trimtab_collector.datasources.interface import (
    Aggregate,
    MetricNotAvailable,
    MetricQuery,
    SeriesQuery,
)
from trimtab_collector.datasources.json_http import JsonHttp, OpenDoor
from trimtab_collector.datasources.metric_map import overridden, read
from trimtab_collector.datasources.prometheus import Prometheus, PrometheusSettings
from trimtab_collector.datasources.retrying import ONCE, Tries
from trimtab_collector.datasources.selection import Datasources
from trimtab_collector.datasources.static import Static
from trimtab_collector.datasources.translators import InfluxDB, Request
from trimtab_common.domain.changes import HostRow, ServerRow
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import InvalidArgument, TrimtabError, Unavailable
from trimtab_common.openstack.session import CloudSession
from trimtab_common.runtime.clock import FakeClock
from trimtab_fakecloud.running import running_fakecloud
from trimtab_fakecloud.settings import CloudSpec

HOSTS = ("alpha", "beta", "gamma")
SERVERS = tuple(str(uuid.UUID(int=i + 1)) for i in range(3))
VCPUS = (1, 2, 0)


def a_snapshot():
    hosts = [HostRow(uuid=f"uuid-{name}", hostname=name, inventory=(8, 1, 1)) for name in HOSTS]
    servers = [
        ServerRow(uuid=key, name=f"o'{i}", hostname=HOSTS[i], demand=(VCPUS[i], 512, 10))
        for i, key in enumerate(SERVERS)
    ]
    return ComputeModel.from_rows(hosts, servers).snapshot()


@asynccontextmanager
async def a_gnocchi(fake, **tries):
    clock = FakeClock()
    async with served(fake.app) as url:
        source = Gnocchi(
            GnocchiSettings(username="admin", tries=Tries(interval_s=0, **tries)),
            OpenDoor(url),
            clock,
        )
        yield source, clock.now().timestamp()
        await source.close()


@pytest.mark.req("C-131", "C-142")
async def test_gnocchi_gives_the_last_measure_of_all_hosts_by_one_request():
    fake = FakeGnocchi()
    async with a_gnocchi(fake) as (source, now):
        for i, name in enumerate(HOSTS[:2]):
            fake.add(f"{name}_{name}", NAMES["host_cpu_usage"], [(now - 120, 99), (now - 60, i)])
        query = MetricQuery(metric="host_cpu_usage", granularity_s=60)
        assert await source.query(query, a_snapshot()) == {"alpha": 0.0, "beta": 1.0}
        assert len(fake.requests) == 1
        assert await source.found_metrics() == {"host_cpu_usage"}
        assert await source.problem() == ""


@pytest.mark.req("C-143", "C-154", "B-167")
async def test_gnocchis_processor_time_is_a_percentage_of_all_vcpus_and_airflow_is_tenfold():
    fake = FakeGnocchi()
    async with a_gnocchi(fake) as (source, now):
        for key, busy_s in zip(SERVERS, (30, 60, -1), strict=True):
            fake.add(key, "cpu", [(now - 60, busy_s * 1e9)], method="rate:mean")
        fake.add("beta_beta", NAMES["host_airflow"], [(now - 60, 7)])
        for aggregate in (Aggregate.MEAN, Aggregate.MAX):
            query = MetricQuery(metric="instance_cpu_usage", aggregate=aggregate, granularity_s=60)
            got = await source.query(query, a_snapshot())
            assert got == {SERVERS[0]: 50.0, SERVERS[1]: 50.0, SERVERS[2]: 0.0}
        query = MetricQuery(metric="host_airflow", granularity_s=60)
        assert await source.query(query, a_snapshot()) == {"beta": 70.0}


@pytest.mark.req("C-127", "C-131")
async def test_one_resource_whose_policy_keeps_no_such_granularity_does_not_take_the_rest_along():
    fake = FakeGnocchi()
    async with a_gnocchi(fake) as (source, now):
        for key, granularity in zip(SERVERS, (60, 300, 60), strict=True):
            rows = [(now - 60, 5)]
            fake.add(key, "memory.resident", rows, granularity=granularity)
        query = MetricQuery(metric="instance_ram_usage", granularity_s=60)
        assert set(await source.query(query, a_snapshot())) == {SERVERS[0], SERVERS[2]}
        assert len(fake.requests) <= 5
        nobody = MetricQuery(metric="instance_ram_usage", granularity_s=77)
        fake.requests.clear()
        assert await source.query(nobody, a_snapshot()) == {}
        assert len(fake.requests) == 1, "all are blamed: halves cannot help"
        unknown = MetricQuery(metric="host_power", granularity_s=60)
        assert await source.query(unknown, a_snapshot()) == {}


@pytest.mark.req("C-130")
async def test_gnocchi_is_asked_again_while_it_may_help():
    fake = FakeGnocchi()
    async with a_gnocchi(fake, max_retries=2) as (source, now):
        fake.add(SERVERS[0], "memory", [(now - 60, 5)])
        query = MetricQuery(metric="instance_ram_allocated", granularity_s=60)
        fake.refuse = [503, 503]
        assert await source.query(query, a_snapshot()) == {SERVERS[0]: 5.0}
        fake.refuse = [503, 503, 503]
        with pytest.raises(Unavailable, match="answers 503"):
            await source.query(query, a_snapshot())
        fake.refuse = [401]  # the door is asked for new headers, once
        assert await source.query(query, a_snapshot()) == {SERVERS[0]: 5.0}
        fake.refuse = [403]
        assert "403" in await source.problem()


@pytest.mark.req("C-124", "B-070")
async def test_gnocchis_series_are_every_measure_between_two_times():
    fake = FakeGnocchi()
    async with a_gnocchi(fake) as (source, now):
        fake.add(SERVERS[0], "memory.resident", [(now - 120, 4), (now - 60, 5)])
        fake.add(SERVERS[1], "memory.resident", [(now - 60, 6)])
        query = SeriesQuery(
            metric="instance_ram_usage",
            start_s=now - 300,
            end_s=now,
            granularity_s=60,
            resources=frozenset({SERVERS[0]}),
        )
        got = await source.series(query, a_snapshot())
        assert got == {SERVERS[0]: {now - 120: 4.0, now - 60: 5.0}}


@pytest.mark.req("B-070")
@pytest.mark.parametrize(
    "wrong", [{"start_s": 5.0, "end_s": 5.0}, {"granularity_s": 0}, {"start_s": float("nan")}]
)
def test_a_series_that_cannot_be_is_refused(wrong):
    given = {"metric": "host_power", "start_s": 0.0, "end_s": 9.0} | wrong
    with pytest.raises(InvalidArgument):
        SeriesQuery(**given)


def a_row(name, attribute, **changes):
    row = {
        "project": "7",
        "db": "load",
        "attribute": attribute,
        "translator": "influxdb",
        "query": FakeGrafana.QUERY.replace("NAME", name),
    }
    return row | changes


@asynccontextmanager
async def a_grafana(fake, maps, token="good"):
    async with served(fake.app) as url:
        settings = GrafanaSettings(base_url=f"{url}/proxy/", token=token, maps=maps, tries=ONCE)
        source = Grafana(settings, FakeClock())
        yield source
        await source.close()


@pytest.mark.req("C-151", "C-155", "C-157", "C-158")
async def test_grafana_is_asked_for_each_resource_with_its_attribute_escaped():
    fake = FakeGrafana()
    fake.values = {
        ("cpu", "alpha"): {"mean": 12.5, "max": 50},
        ("cpu", "beta"): {"mean": 0},
        ("ram", "o'1"): {"mean": 512},
    }
    maps = {"host_cpu_usage": a_row("cpu", "hostname"), "instance_ram_usage": a_row("ram", "name")}
    async with a_grafana(fake, maps) as source:
        assert await source.problem() == ""
        assert source.metrics == await source.found_metrics() == set(maps)
        got = await source.query(MetricQuery(metric="host_cpu_usage"), a_snapshot())
        assert got == {"alpha": 12.5, "beta": 0.0}
        assert "one_week" in fake.asked[0]
        assert "300s" in fake.asked[0]
        query = MetricQuery(metric="host_cpu_usage", aggregate=Aggregate.MAX)
        assert await source.query(query, a_snapshot()) == {"alpha": 50.0}
        got = await source.query(MetricQuery(metric="instance_ram_usage"), a_snapshot())
        assert got == {SERVERS[1]: 512.0}
        query = SeriesQuery(metric="host_cpu_usage", start_s=0, end_s=900, granularity_s=300)
        got = await source.series(query, a_snapshot())
        assert got["alpha"] == {0.0: 12.5, 300.0: 12.5, 600.0: 12.5}


@pytest.mark.req("C-155")
async def test_grafanas_refusals_say_what_is_wrong():
    maps = {"host_cpu_usage": a_row("cpu", "hostname", query="SELECT nonsense {1}")}
    query = MetricQuery(metric="host_cpu_usage")
    async with a_grafana(FakeGrafana(), maps) as source:
        with pytest.raises(DatasourceNotAvailable, match="invalid query"):
            await source.query(query, a_snapshot())
        series = SeriesQuery(metric="host_cpu_usage", start_s=0, end_s=9)
        with pytest.raises(MetricNotAvailable, match="now"):
            await source.series(series, a_snapshot())
    async with a_grafana(FakeGrafana(), maps, token="bad") as source:
        assert "401" in await source.problem()
        with pytest.raises(DatasourceNotAvailable, match="bad token"):
            await source.query(query, a_snapshot())


@pytest.mark.req("C-156")
@pytest.mark.parametrize(
    "change", [{"db": ""}, {"query": ""}, {"translator": "other"}, {"attribute": "colour"}]
)
async def test_a_metric_of_grafana_counts_only_when_all_of_it_is_set(change):
    maps = {"host_cpu_usage": a_row("cpu", "hostname") | change}
    async with a_grafana(FakeGrafana(), maps) as source:
        assert source.metrics == frozenset()
        assert "no metric" in await source.problem()


@pytest.mark.req("C-158")
@pytest.mark.parametrize(
    ("period_s", "name"), [(300, "one_week"), (604_800, "one_month"), (9**12, "five_years")]
)
def test_the_shortest_retention_that_keeps_the_period_is_taken(period_s, name):
    assert InfluxDB().retention(period_s) == name


@pytest.mark.req("C-157", "C-158")
def test_every_placeholder_is_filled_and_all_but_granularity_is_required():
    whole = Request(
        db="d", query="{0} {1} {2} {3} {4}", aggregate="max", attribute="a", period_s=60
    )
    assert InfluxDB().build_params(whole)["q"] == "max a 60 1 one_week"
    for name in ("db", "query", "aggregate", "attribute"):
        fields = {"db": "d", "query": "q", "aggregate": "max", "attribute": "a", "period_s": 60}
        with pytest.raises(InvalidArgument, match=name):
            Request(**(fields | {name: ""}))


@asynccontextmanager
async def an_aetos(user="watcher", **settings):
    import openstack

    async with running_fakecloud(CloudSpec(cluster_file=None, hosts=2, servers=4)) as cloud:
        connection = openstack.connection.Connection(**cloud.entry(user))
        session = CloudSession(lambda: connection)
        made = aetos.AetosSettings(tries=ONCE, **settings)
        yield aetos.build(session, made, FakeClock()), cloud.state
        await session.close()
        connection.session.session.close()  # the SDK leaves its sockets to the collector of garbage


@pytest.mark.req("C-153", "C-131")
async def test_aetos_is_prometheus_through_keystones_catalogue():
    async with an_aetos() as (source, state):
        assert source.name == "aetos"
        assert await source.problem() == ""
        assert await source.found_metrics() == source.metrics
        hosts = [
            HostRow(uuid=h.uuid, hostname=h.name, inventory=(h.vcpus, 1, 1))
            for h in state.hosts.values()
        ]
        snapshot = ComputeModel.from_rows(hosts, []).snapshot()
        got = await source.query(MetricQuery(metric="host_cpu_usage"), snapshot)
        assert got.keys() == set(state.hosts)


@pytest.mark.req("C-153")
async def test_an_aetos_that_the_catalogue_does_not_have_says_so():
    async with an_aetos(region_name="elsewhere") as (source, _):
        assert "metric-storage" in await source.problem()


@pytest.mark.req("C-144")
async def test_a_service_of_the_catalogue_is_asked_with_a_token_that_can_be_renewed():
    import openstack

    async with running_fakecloud(CloudSpec(cluster_file=None, hosts=1, servers=0)) as cloud:
        connection = openstack.connection.Connection(**cloud.entry("watcher"))
        session = CloudSession(lambda: connection)
        door = CatalogueDoor(session, "metric-storage", interface="internal")
        assert await door.endpoint() == cloud.prometheus_url
        first = await door.headers()
        assert await door.headers() == first
        cloud.state.identity.revoke_user("watcher")
        http = JsonHttp(door, FakeClock(), name="n", what="It", tries=ONCE, timeout_s=10)
        answer = await http.ask("GET", "/api/v1/query", params={"query": "1"})
        assert answer["status"] == "success", "a refused token is replaced within the call"
        assert await door.headers() != first
        nowhere = CatalogueDoor(session, "metric", region_name="elsewhere")
        with pytest.raises(Unavailable, match=r"public endpoint (for|of) metric .*in elsewhere"):
            await nowhere.endpoint()
        await http.close()
        await session.close()
        connection.session.session.close()


@pytest.mark.req("C-138", "C-139", "C-141")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("gnocchi: {instance_cpu_usage: vm}", {"gnocchi": {"instance_cpu_usage": "vm"}}),
        ("gnocchi:\n- instance_cpu_usage: vm", {"gnocchi": {"instance_cpu_usage": "vm"}}),
        ("gnocchi: {host_colour: red}\nnobody: {a: b}", {"gnocchi": {}}),
        ("gnocchi: {host_power: }", {"gnocchi": {"host_power": None}}),
        ("", {}),
        ("{", {}),
        ("- a", {}),
        ("gnocchi: 5", {}),
    ],
)
def test_the_metric_map_is_read_in_both_forms_and_what_is_wrong_is_left_out(tmp_path, text, found):
    path = tmp_path / "map.yaml"
    path.write_text(text)
    assert read(path) == found
    assert read(tmp_path / "none.yaml") == {}


@pytest.mark.req("C-141")
def test_an_override_changes_nothing_but_what_it_returns():
    before = dict(NAMES)
    merged = overridden(NAMES, {"host_power": None, "host_cpu_usage": "mine", "host_airflow": 3})
    assert merged["host_cpu_usage"] == "mine"
    assert "host_power" not in merged
    assert merged["host_airflow"] == NAMES["host_airflow"]
    assert before == NAMES


@pytest.mark.req("C-137")
@pytest.mark.parametrize("name", ["ceilometer", "monasca"])
async def test_a_removed_datasource_says_what_to_use(name, tmp_path):
    query = MetricQuery(metric="host_cpu_usage")
    known = Datasources([name], {})
    with pytest.raises(MetricNotAvailable, match=f"{name} was removed.*gnocchi or aetos"):
        await known.choose([query])
    (listed,) = known.all()
    assert "removed" in await listed.problem()
    static = Static(tmp_path / "m.json")
    (tmp_path / "m.json").write_text("{}")
    both = Datasources([name, "static"], {"static": static})
    assert await both.choose([query]) is static


@pytest.mark.req("C-124", "B-070")
async def test_static_series_are_combined_by_steps(tmp_path):
    path = tmp_path / "m.json"
    path.write_text('{"series": {"host_power": {"a": [[0, 1], [30, 3], [60, 5], [900, 9]]}}}')
    source = Static(path)
    query = SeriesQuery(metric="host_power", start_s=0, end_s=120, granularity_s=60)
    assert await source.series(query, a_snapshot()) == {"a": {0.0: 2.0, 60.0: 5.0}}
    query = SeriesQuery(metric="host_airflow", start_s=0, end_s=120)
    with pytest.raises(MetricNotAvailable):
        await source.series(query, a_snapshot())


def damaged(document, rng):
    """The same document with one of its parts replaced, taken away or doubled."""
    junk = [None, -1, "x", [], {}, [[]], "NaN", 1e309, True]
    if rng.random() < 0.15 or not isinstance(document, dict | list) or not document:
        return rng.choice(junk)
    if isinstance(document, list):
        i = rng.randrange(len(document))
        return [*document[:i], damaged(document[i], rng), *document[i + 1 :]]
    key = rng.choice(sorted(document))
    rest = {k: v for k, v in document.items() if k != key}
    return rest if rng.random() < 0.3 else {**rest, key: damaged(document[key], rng)}


GOOD = {
    "prometheus": {
        "status": "success",
        "data": {
            "result": [{"metric": {"fqdn": "alpha"}, "value": [0, "1"], "values": [[5, "1"]]}]
        },
    },
    "gnocchi": {
        "measures": {
            "r": {NAMES["host_cpu_usage"]: {"mean": [["2026-01-01T00:00:00+00:00", 60, 1]]}}
        },
        "references": [{"id": "r", "original_resource_id": "alpha_alpha"}],
    },
    "grafana": {"results": [{"series": [{"columns": ["time", "mean"], "values": [[5000, 1]]}]}]},
}


@pytest.mark.parametrize("name", sorted(GOOD))
async def test_a_damaged_answer_is_an_error_of_ours_or_no_value(name):
    rng, clock = random.Random(3), FakeClock()
    answer = GOOD[name]

    async def say(_request):
        text = json.dumps(answer, allow_nan=True)
        return Response(text[: rng.randrange(len(text))] if rng.random() < 0.1 else text)

    app = Starlette(routes=[Route("/{path:path}", say, methods=["GET", "POST"])])
    async with served(app) as url:
        maps = {"host_cpu_usage": a_row("cpu", "hostname")}
        port = int(url.rpartition(":")[2])
        again = Tries(max_retries=2, interval_s=0)  # a kept connection may end at any time
        source = {
            "prometheus": lambda: Prometheus.direct(
                PrometheusSettings(host="127.0.0.1", port=port, max_retries=2, retry_interval_s=0),
                clock,
            ),
            "gnocchi": lambda: Gnocchi(GnocchiSettings(tries=again), OpenDoor(url), clock),
            "grafana": lambda: Grafana(
                GrafanaSettings(base_url=url, token="t", maps=maps, tries=again), clock
            ),
        }[name]()
        query = MetricQuery(metric="host_cpu_usage")
        series = SeriesQuery(metric="host_cpu_usage", start_s=0, end_s=60, granularity_s=60)
        assert await source.query(query, a_snapshot())
        outcomes = Counter()
        for _ in range(60):
            answer = damaged(GOOD[name], rng)
            for call in (
                source.query(query, a_snapshot()),
                source.series(series, a_snapshot()),
                source.found_metrics(),
            ):
                try:
                    await call
                except TrimtabError:
                    outcomes["refused"] += 1
                else:
                    outcomes["taken"] += 1
        assert outcomes["refused"], outcomes
        answer = GOOD[name]
        assert await source.query(query, a_snapshot()), "it works again"
        await source.close()
