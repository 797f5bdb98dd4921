"""Strategies see how metrics went: what they ask for, how it is aligned, and the example of the guide."""

from __future__ import annotations

import math
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
import numpy as np
import pytest
from decision_world import InlineThinker
from test_triggers import with_hosts, with_servers

from trimtab.model.v1 import metrics_pb2, metrics_pb2_grpc
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import MetricsTable
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.clock import FakeClock
from trimtab_decision.collector_metrics import CollectorMetrics
from trimtab_decision.execution import Desk, Execution
from trimtab_decision.framework import History, Registry, Solution, Strategy, StrategyContext
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.goals import GOALS
from trimtab_decision.parcel import pack, unpack
from trimtab_decision.plugins import PLANNERS

GUIDE = Path(__file__).parents[3] / "docs" / "plugin-guide.md"
HOUR, NOW = 3600, datetime(2026, 1, 10, 12, 30, tzinfo=UTC)
END = datetime(2026, 1, 10, 12, tzinfo=UTC).timestamp()


class Collector(metrics_pb2_grpc.MetricsServiceServicer):
    """Answers with these series; keeps what was asked."""

    def __init__(self, series):
        self.series = series
        self.asked = []

    async def QuerySeries(self, request, context):  # noqa: N802, gRPC's name
        self.asked.append(request)
        if request.metric not in self.series:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nobody keeps it")
        for resource, values in self.series[request.metric].items():
            yield metrics_pb2.QuerySeriesResponse(
                metric=request.metric,
                datasource="static",
                resource=resource,
                at_s=list(values),
                value=list(values.values()),
            )


@asynccontextmanager
async def reading(series):
    servicer, server = Collector(series), grpc.aio.server()
    metrics_pb2_grpc.add_MetricsServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = open_channel(f"127.0.0.1:{port}")
    yield CollectorMetrics(channel, timeout_s=10, clock=FakeClock(NOW)), servicer
    await channel.close()
    await server.stop(None)


@pytest.mark.req("B-070", "C-176")
async def test_the_past_is_aligned_with_the_model_whole_steps_back_from_now():
    model = with_servers(with_hosts("h1", "h2"), 1, 2)
    series = {
        "host_cpu_usage": {
            "h2": {END - 3 * HOUR: 1.0, END - HOUR: 3.0, END: 99.0, END - 9 * HOUR: 99.0},
            "stranger": {END - HOUR: 5.0},
        },
        "instance_cpu_usage": {model.uuid_of(1): {END - 2 * HOUR: 7.0}},
    }
    wanted = [
        History(metric="host_cpu_usage", span_s=3 * HOUR, aggregate="max"),
        History(metric="instance_cpu_usage", span_s=3 * HOUR),
    ]
    async with reading(series) as (metrics, collector):
        table = await metrics.history(model, wanted, ["static"])
    nan = math.nan
    np.testing.assert_equal(table.host["host_cpu_usage_history"], [[nan] * 3, [1.0, nan, 3.0]])
    found = table.server["instance_cpu_usage_history"]
    np.testing.assert_equal(found, [[nan] * 3, [nan, 7.0, nan]])
    asked = collector.asked[0]
    assert (asked.start_s, asked.end_s, asked.granularity_s) == (END - 3 * HOUR, END, HOUR)
    assert (asked.aggregate, list(asked.datasources)) == ("max", ["static"])
    context = StrategyContext(compute=model, metrics=table)
    assert context.series(wanted[0], 0) is None
    assert context.series(wanted[0], 1).values == (1.0, 2.0, 3.0)
    assert context.series(wanted[1], 1).values == (7.0,)


@pytest.mark.req("B-070")
async def test_a_history_that_nobody_keeps_fails_the_run_unless_it_is_optional():
    model = with_hosts("h1")
    wanted = History(metric="host_power", span_s=2 * HOUR)
    async with reading({}) as (metrics, _):
        with pytest.raises(MetricNotAvailable, match="nobody keeps it"):
            await metrics.history(model, [wanted])
        table = await metrics.history(model, [replace(wanted, is_optional=True)])
    with pytest.raises(MetricNotAvailable, match="was not delivered"):
        StrategyContext(compute=model, metrics=table).series(wanted, 0)


@pytest.mark.req("B-072")
async def test_more_than_memory_should_hold_is_refused_before_anything_is_asked():
    model = with_hosts(*(f"h{n}" for n in range(1000)))
    async with reading({"host_power": {}}) as (metrics, collector):
        with pytest.raises(InvalidArgument, match="coarser granularity"):
            await metrics.history(
                model, [History(metric="host_power", span_s=3_000_000, granularity_s=60)]
            )
    assert collector.asked == []


@pytest.mark.req("B-070")
@pytest.mark.parametrize(("span_s", "step_s"), [(60, 60), (0, 60), (600, 0)])
def test_a_history_that_cannot_be_is_refused(span_s, step_s):
    with pytest.raises(InvalidArgument, match="at least two steps"):
        History(metric="host_power", span_s=span_s, granularity_s=step_s)


def example():
    """The strategy of the guide, as its text has it."""
    text = GUIDE.read_text()
    (block,) = re.findall(
        r"    from trimtab_common\.domain\.time_series.*?(?=\n\n[^ ])", text, re.DOTALL
    )
    names = {}
    source = "\n".join(line.removeprefix("    ") for line in block.splitlines())
    exec(compile(source, str(GUIDE), "exec"), names)
    return names["DailyPeak"]


def two_weeks(noon_pct):
    """Hourly values around 30 % that reach 30 + noon_pct each day at noon."""
    wave = [
        30 + noon_pct * max(0.0, math.sin((hour % 24 - 6) * math.pi / 12)) for hour in range(336)
    ]
    return np.array(wave)


@pytest.mark.req("B-070", "B-071", "C-176")
def test_the_example_of_the_guide_tells_a_daily_peak_from_a_steady_load():
    strategy = example()
    model = with_hosts("calm", "busy", "dark")
    past = np.vstack([two_weeks(0), two_weeks(60), np.full(336, np.nan)])
    registry = Registry(goals=GOALS, strategies=[strategy], planners=PLANNERS)
    question = Execution(
        strategy=strategy.name,
        parameters={"threshold": 80.0},
        compute=model,
        metrics=MetricsTable(host={"host_cpu_usage_history": past}),
        scope=[{"compute": [{"exclude": [{"compute_nodes": [{"name": "calm"}]}]}]}],
    )
    parcel = iter(list(pack(question)))
    outcome = Desk(registry).execute(
        unpack(lambda: next(parcel))
    )  # as in a worker, cut by the scope
    (message,) = [text for text in outcome.messages if "%" in text]
    assert message.startswith("busy reaches ")
    assert 85 < float(re.search(r"reaches (\d+)", message)[1]) <= 92
    assert "calm" not in message


class Patterns(Strategy):
    name = "patterns"
    display_name = "Patterns"
    goal_name = "dummy"
    needs_compute_model = True

    @classmethod
    def histories(cls, parameters):  # noqa: ARG003, as the base has it
        return [History(metric="host_cpu_usage", span_s=48 * HOUR)]

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        series = context.series(self.histories({})[0], 0)
        solution.note(
            f"{len(series.values)} values, stationary: {series.stationarity().is_stationary}"
        )


@pytest.mark.req("B-070", "C-176")
async def test_an_audit_reads_the_history_that_its_strategy_asks_for(world):
    world.registry = Registry(goals=GOALS, strategies=[Patterns], planners=PLANNERS)
    world.thinker = InlineThinker(world.registry)
    await world.syncer(registry=world.registry).sync()
    world.model.now = with_hosts("h1")
    asked = []

    async def history(compute, histories, datasources=()):
        asked.append((compute.host_name, list(histories), list(datasources)))
        return MetricsTable(host={histories[0].column: np.full((1, 48), 20.0)}, source="fake")

    world.metrics.history = history
    audit = await world.add_audit("dummy", "patterns")
    ended = await world.run(audit, datasources={"patterns": ("static",)})
    assert ended.status_message == "48 values, stationary: True", ended
    assert asked == [(("h1",), list(Patterns.histories({})), ["static"])]
