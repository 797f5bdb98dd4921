"""One question for every datasource and every metric (C-123, C-126)."""

from __future__ import annotations

import dataclasses
import inspect
import json

import grpc
import pytest
from test_datasources import a_metrics_service

from trimtab.model.v1 import metrics_pb2
from trimtab_collector.datasources.cache import Cached
from trimtab_collector.datasources.gnocchi import Gnocchi
from trimtab_collector.datasources.grafana import Grafana
from trimtab_collector.datasources.interface import (
    METRICS,
    Aggregate,
    Datasource,
    MetricQuery,
    SeriesQuery,
)
from trimtab_collector.datasources.prometheus import Prometheus
from trimtab_collector.datasources.selection import Removed
from trimtab_collector.datasources.static import Static
from trimtab_common.domain.errors import InvalidArgument

WATCHERS = {
    "host_cpu_usage", "host_ram_usage", "host_outlet_temp", "host_inlet_temp", "host_airflow",
    "host_power", "instance_cpu_usage", "instance_ram_usage", "instance_ram_allocated",
    "instance_l3_cache_usage", "instance_root_disk_size",
}  # fmt: skip
SERVER = "00000000-0000-4000-8000-000000000001"


@pytest.mark.req("C-123")
@pytest.mark.parametrize("kind", [Cached, Gnocchi, Grafana, Prometheus, Removed, Static])
@pytest.mark.parametrize("what", ["query", "series", "found_metrics", "problem"])
def test_every_datasource_takes_the_same_question(kind, what):
    asked = list(inspect.signature(getattr(kind, what)).parameters)
    assert asked == list(inspect.signature(getattr(Datasource, what)).parameters)


@pytest.mark.req("C-123")
def test_what_is_not_said_is_watchers_default():
    query = MetricQuery(metric="host_cpu_usage")
    assert dataclasses.asdict(query) == {
        "metric": "host_cpu_usage",
        "aggregate": Aggregate.MEAN,
        "period_s": 300,
        "granularity_s": 300,
        "optional": False,
    }
    series = SeriesQuery(metric="host_cpu_usage", start_s=0, end_s=1)
    assert (series.granularity_s, series.aggregate) == (300, Aggregate.MEAN)


@pytest.mark.req("C-123")
@pytest.mark.parametrize(
    "wrong",
    [{"metric": "node_cpu_seconds_total"}, {"period_s": 0}, {"granularity_s": 0}, {"period_s": -5}],
)
def test_backends_own_names_and_impossible_times_are_refused(wrong):
    with pytest.raises(InvalidArgument):
        MetricQuery(**({"metric": "host_cpu_usage"} | wrong))


@pytest.mark.req("C-126", "C-123")
async def test_each_metric_is_asked_for_alike_and_answers_for_its_kind_of_resource(tmp_path):
    assert METRICS == WATCHERS
    path = tmp_path / "metrics.json"
    values = {name: float(number) for number, name in enumerate(sorted(METRICS))}
    path.write_text(
        json.dumps(
            {
                "hosts": {"a": {k: v for k, v in values.items() if k.startswith("host_")}},
                "servers": {SERVER: {k: v for k, v in values.items() if not k.startswith("host_")}},
            }
        )
    )
    async with a_metrics_service(path) as stub:
        for name in METRICS:
            query = metrics_pb2.MetricQuery(
                metric=name, aggregate="max", period_s=600, granularity_s=60
            )
            request = metrics_pb2.QueryMetricsRequest(queries=[query])
            (answer,) = [message async for message in stub.QueryMetrics(request, timeout=5)]
            resource = "a" if name.startswith("host_") else SERVER
            assert dict(zip(answer.resource, answer.value, strict=True)) == {resource: values[name]}
        for wrong in ({"metric": "cpu_util"}, {"metric": "host_power", "aggregate": "avg"}):
            request = metrics_pb2.QueryMetricsRequest(queries=[metrics_pb2.MetricQuery(**wrong)])
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                _ = [message async for message in stub.QueryMetrics(request, timeout=5)]
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
