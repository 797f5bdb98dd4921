"""The same load in every real backend: the same answers, and few requests (issue 6, must-show 3).

`make test-datasources`; TRIMTAB_HOSTS and TRIMTAB_SERVERS change the size (100 and 2,000).
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aetos_backend
import gnocchi_backend
import influx_backend
import load as loads
import prometheus_backend
import pytest

from trimtab_collector.datasources import aetos as aetos_source
from trimtab_collector.datasources.gnocchi import Gnocchi, GnocchiSettings
from trimtab_collector.datasources.grafana import Grafana, GrafanaSettings
from trimtab_collector.datasources.interface import Aggregate, MetricQuery, SeriesQuery
from trimtab_collector.datasources.json_http import OpenDoor
from trimtab_collector.datasources.prometheus import Prometheus, PrometheusSettings
from trimtab_collector.datasources.retrying import Tries
from trimtab_common.openstack.session import CloudSession
from trimtab_common.runtime.clock import SystemClock
from trimtab_fakecloud.running import running_fakecloud
from trimtab_fakecloud.settings import CloudSpec

N_HOSTS = int(os.environ.get("TRIMTAB_HOSTS", "100"))
N_SERVERS = int(os.environ.get("TRIMTAB_SERVERS", "2000"))
PERIOD_S, GRANULARITY_S = 300, 60
MAX_DIFFERENCE = 0.01
MAX_REQUESTS = 10
TRIES = Tries(max_retries=3, interval_s=0.2)
ALL = ("prometheus", "aetos", "gnocchi", "grafana")
pytestmark = [pytest.mark.timeout(1500)]


@dataclass
class World:
    load: Any
    prometheus_port: int
    gnocchi_url: str
    influx_url: str
    grafana_url: str
    proxy: Any
    folder: Path

    @asynccontextmanager
    async def source(self, name):
        clock = SystemClock()
        async with self._cloud(name) as session:
            made = {
                "prometheus": lambda: Prometheus.direct(
                    PrometheusSettings(host="127.0.0.1", port=self.prometheus_port), clock
                ),
                "aetos": lambda: aetos_source.build(
                    session, aetos_source.AetosSettings(tries=TRIES), clock
                ),
                "gnocchi": lambda: Gnocchi(
                    GnocchiSettings(username="admin", tries=TRIES),
                    OpenDoor(self.gnocchi_url),
                    clock,
                ),
                "grafana": lambda: Grafana(
                    GrafanaSettings(
                        base_url=self.grafana_url,
                        token=influx_backend.TOKEN,
                        maps=influx_backend.maps(),
                        tries=TRIES,
                    ),
                    clock,
                ),
            }[name]()
            yield made
            await made.close()

    @asynccontextmanager
    async def _cloud(self, name):
        """A session whose catalogue has a real Aetos, which checks its tokens with Keystone."""
        if name != "aetos":
            yield None
            return
        import openstack

        port = aetos_backend.free_port()
        spec = CloudSpec(hosts=1, servers=0, metric_storage_url=f"http://127.0.0.1:{port}")
        async with running_fakecloud(spec) as cloud:
            keystone = {
                "auth_url": cloud.auth_url,
                "www_authenticate_uri": cloud.auth_url,
                **aetos_backend.keystone_options(cloud.entry("admin")["auth"]),
            }
            with ExitStack() as stack:
                await asyncio.to_thread(
                    stack.enter_context,
                    aetos_backend.aetos(self.folder, port, self.prometheus_port, keystone),
                )
                connection = openstack.connection.Connection(**cloud.entry("watcher"))
                session = CloudSession(lambda: connection)
                yield session
                await session.close()
                connection.session.session.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    load = loads.made_up(N_HOSTS, N_SERVERS)
    folders = {name: tmp_path_factory.mktemp(name) for name in (*ALL, "influx")}
    with ExitStack() as stack:
        began = time.monotonic()
        port = stack.enter_context(prometheus_backend.prometheus(folders["prometheus"], load))
        influx = stack.enter_context(influx_backend.influxdb(folders["influx"], load))
        proxy, grafana_url = stack.enter_context(influx_backend.grafana(influx))
        gnocchi = stack.enter_context(gnocchi_backend.gnocchi(folders["gnocchi"]))
        gnocchi_backend.write(gnocchi, load)
        print(f"\n{N_HOSTS}/{N_SERVERS} written to all in {time.monotonic() - began:.0f} s")
        yield World(load, port, gnocchi, influx, grafana_url, proxy, folders["aetos"])


def expected(load, metric, aggregate):
    values = {
        "host_cpu_usage": load.host_cpu,
        "host_ram_usage": load.host_ram,
        "instance_cpu_usage": load.server_cpu,
        "instance_ram_usage": load.server_ram,
    }[metric]
    swing = {Aggregate.MAX: loads.SWING, Aggregate.MIN: -loads.SWING}.get(aggregate, 0.0)
    factor = 1 + (swing if metric.endswith("ram_usage") else 0)
    return {key: value * factor for key, value in values.items()}


METRICS = ("host_cpu_usage", "host_ram_usage", "instance_cpu_usage", "instance_ram_usage")


@pytest.mark.req(
    "C-131",
    "C-142",
    "C-143",
    "C-146",
    "C-147",
    "C-148",
    "C-149",
    "C-153",
    "C-154",
    "C-155",
    "C-157",
)
@pytest.mark.parametrize("name", ALL)
async def test_every_backend_gives_the_load_within_one_per_cent_and_few_requests(world, name):
    snapshot = world.load.snapshot()
    async with world.source(name) as source:
        assert await source.problem() == ""
        assert set(METRICS) <= await source.found_metrics()
        requests = Counted(source)
        worst = {}
        for metric in METRICS:
            for aggregate in (Aggregate.MEAN, Aggregate.MAX, Aggregate.MIN):
                requests.forget_unless(aggregate is Aggregate.MEAN)
                began = time.monotonic()
                query = MetricQuery(
                    metric=metric,
                    aggregate=aggregate,
                    period_s=PERIOD_S,
                    granularity_s=GRANULARITY_S,
                )
                got = await source.query(query, snapshot)
                took_s = time.monotonic() - began
                right = expected(world.load, metric, aggregate)
                assert got.keys() == right.keys(), (metric, aggregate)
                off = max(abs(got[key] / value - 1) for key, value in right.items())
                worst[metric, aggregate.value] = off
                assert off <= MAX_DIFFERENCE, (metric, aggregate, off)
                print(f"{name:<11}{metric:<19}{aggregate.value:<5}{off:9.5%} off {took_s:6.2f} s")
        print(f"{name}: {requests.of_an_audit} HTTP requests for the means of four metrics")
        if name != "grafana":
            assert requests.of_an_audit <= MAX_REQUESTS


@pytest.mark.req("C-124", "B-070")
@pytest.mark.parametrize("name", ALL)
async def test_every_backend_tells_how_a_metric_went(world, name):
    snapshot = world.load.snapshot()
    host, server = next(iter(world.load.host_cpu)), next(iter(world.load.server_ram))
    end = world.load.began_s
    async with world.source(name) as source:
        for metric, key, granularity_s in (
            ("instance_ram_usage", server, 300),  # a shorter window has too few samples for 1 %
            ("instance_cpu_usage", server, 60),
            ("host_cpu_usage", host, 60),
        ):
            query = SeriesQuery(
                metric=metric,
                start_s=end - 600,
                end_s=end,
                granularity_s=granularity_s,
                resources=frozenset({key}),
            )
            found = await source.series(query, snapshot)
            assert found.keys() == {key}, metric
            series = found[key]
            assert len(series) == pytest.approx(600 / granularity_s, abs=1), (metric, series)
            assert all(end - 600 - granularity_s <= at < end for at in series)
            right = expected(world.load, metric, Aggregate.MEAN)[key]
            assert all(abs(value / right - 1) <= MAX_DIFFERENCE for value in series.values())


class Counted:
    """The requests that leave, counted where each source sends them."""

    def __init__(self, source):
        self._count = 0
        self._counting = True
        inner = getattr(source, "_api", None)
        if inner is not None:
            self._wrap(inner, "get")
        else:
            self._wrap(source._http, "_sent")

    @property
    def of_an_audit(self):
        return self._count

    def forget_unless(self, counting):
        self._counting = counting

    def _wrap(self, owner, name):
        call = getattr(owner, name)

        async def counted(*args, **options):
            self._count += self._counting
            return await call(*args, **options)

        setattr(owner, name, counted)
