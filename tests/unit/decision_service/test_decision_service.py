"""The wired service on real sockets, real workers and SQLite; its neighbours are small fakes."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import grpc
import pytest

from trimtab.applier.v1 import applier_pb2, applier_pb2_grpc
from trimtab.decision.v1 import decision_pb2 as pb
from trimtab.decision.v1 import decision_pb2_grpc
from trimtab.model.v1 import metrics_pb2, metrics_pb2_grpc
from trimtab_common.domain.lifecycle import AuditState, AuditType, PlanState
from trimtab_common.domain.records import Audit
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.errors import from_rpc_error
from trimtab_common.runtime.settings import CommonSettings, load
from trimtab_common.store import Query, open_store
from trimtab_decision.collector_metrics import CollectorMetrics
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.main import build
from trimtab_decision.metrics import MetricQuery
from trimtab_decision.settings import DecisionSettings, OnRestart, groups
from trimtab_scoring.main import build as build_scoring


class FakeApplier(applier_pb2_grpc.ApplierServiceServicer):
    def __init__(self):
        self.woken = asyncio.Queue()

    async def WakePlan(self, request, context):  # noqa: ARG002, N802, gRPC's signature
        self.woken.put_nowait(request.uuid)
        return applier_pb2.WakePlanResponse()


class FakeMetricsService(metrics_pb2_grpc.MetricsServiceServicer):
    def __init__(self):
        self.n_asked = 0

    async def QueryMetrics(self, request, context):  # noqa: N802, gRPC's signature
        self.n_asked += 1
        for query in request.queries:
            if query.metric == "host_power":
                await context.abort(
                    grpc.StatusCode.FAILED_PRECONDITION, "no datasource supplies host_power"
                )
            yield metrics_pb2.QueryMetricsResponse(
                metric=query.metric,
                datasource="prometheus",
                resource=["host-b", "stranger"],
                value=[float(query.period_s), 1.0],
            )

    async def ListDatasources(self, request, context):  # noqa: ARG002, N802, gRPC's signature
        return metrics_pb2.ListDatasourcesResponse(
            datasources=[
                metrics_pb2.Datasource(
                    name="prometheus", available=True, metrics=["host_cpu_usage"]
                )
            ]
        )


@pytest.fixture
async def neighbours():
    server = grpc.aio.server()
    applier = FakeApplier()
    applier_pb2_grpc.add_ApplierServiceServicer_to_server(applier, server)
    metrics = FakeMetricsService()
    metrics_pb2_grpc.add_MetricsServiceServicer_to_server(metrics, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield applier, metrics, f"127.0.0.1:{port}"
    await server.stop(0)


async def eventually(check):
    async with asyncio.timeout(30):
        while not (found := await check()):  # noqa: ASYNC110, the record has no event to wait for
            await asyncio.sleep(0.02)
    return found


@pytest.mark.req("A-113", "A-057", "A-085", "B-003", "A-037")
async def test_the_service_syncs_beats_plans_and_wakes_the_applier(url, neighbours):
    applier, _, address = neighbours
    common = CommonSettings(host="t", scoring="127.0.0.1:0", metrics_offset=0)
    scoring = await build_scoring(common)
    await scoring.start()
    common = CommonSettings(
        host="t",
        decision="127.0.0.1:0",
        collector=address,
        applier=address,
        scoring=f"127.0.0.1:{scoring.bound_port}",
        metrics_offset=0,
        database=url,
    )
    store = await open_store(url)
    service = await build(common, DecisionSettings(host="t", sweep_interval_s=30))
    await service.start()
    try:

        async def engines():
            async with store.read() as session:
                return len(await session.scoring_engines.list()) == 4

        await eventually(engines)
        async with store.write() as session:
            strategy = await session.strategies.get("dummy")
            audit = await session.audits.create(
                Audit(
                    uuid=str(uuid4()),
                    name="first",
                    audit_type=AuditType.ONESHOT,
                    goal_id=strategy.goal_id,
                    auto_trigger=True,
                )
            )
        async with open_channel(f"127.0.0.1:{service.bound_port}") as channel:
            stub = decision_pb2_grpc.DecisionServiceStub(channel)
            await stub.WakeAudit(pb.WakeAuditRequest(uuid=audit.uuid), timeout=10)
            woken = await asyncio.wait_for(applier.woken.get(), timeout=30)
            state = await stub.GetStrategyState(
                pb.GetStrategyStateRequest(strategy="dummy"), timeout=10
            )
            assert [row.type for row in state.requirements] == [
                "Datasource",
                "Metrics",
                "CDM",
                "Name",
            ]
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetStrategyState(
                    pb.GetStrategyStateRequest(strategy="nobody"), timeout=10
                )
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert from_rpc_error(caught.value).details["reason"] == "UNKNOWN_PLUGIN"
        async with store.read() as session:
            (plan,) = await session.action_plans.list()
            assert (plan.uuid, plan.state) == (woken, PlanState.PENDING)
            assert (await session.audits.get(audit.uuid)).state is AuditState.SUCCEEDED
            beats = await session.services.list(Query())
            assert [(one.name, one.host) for one in beats] == [("watcher-decision-engine", "t")]
    finally:
        await service.stop(grace_s=0)
        await scoring.stop(grace_s=0)
        await store.close()


async def test_metrics_of_collector_are_aligned_with_the_model(world, neighbours):
    _, _, address = neighbours
    async with open_channel(address) as channel:
        metrics = CollectorMetrics(channel, timeout_s=10)
        table = await metrics.read(
            world.model.snapshot(), [MetricQuery(metric="host_cpu_usage", period_s=60)]
        )
        assert str(table.host["host_cpu_usage"].tolist()) == "[nan, 60.0]"
        assert table.source == "prometheus"
        (source,) = await metrics.datasources()
        assert (source.name, source.is_available, source.metrics) == (
            "prometheus",
            True,
            frozenset({"host_cpu_usage"}),
        )
        with pytest.raises(MetricNotAvailable, match="no datasource supplies host_power"):
            await metrics.read(world.model.snapshot(), [MetricQuery(metric="host_power")])


async def test_audits_that_ask_the_same_at_once_share_one_reading(world, neighbours):
    _, asked, address = neighbours
    snapshot = world.model.snapshot()
    queries = [MetricQuery(metric="host_cpu_usage", period_s=60)]
    async with open_channel(address) as channel:
        metrics = CollectorMetrics(channel, timeout_s=10)
        first = asyncio.create_task(metrics.read(snapshot, queries))
        others = [asyncio.create_task(metrics.read(snapshot, queries)) for _ in range(3)]
        other_period = metrics.read(snapshot, [MetricQuery(metric="host_cpu_usage", period_s=90)])
        await asyncio.sleep(0)
        first.cancel()  # who asked first hangs up
        tables = await asyncio.gather(*others, other_period)
        assert [float(t.host["host_cpu_usage"][1]) for t in tables] == [60.0, 60.0, 60.0, 90.0]
        assert asked.n_asked == 2
        await metrics.read(snapshot, queries)  # nothing is remembered
        assert asked.n_asked == 3


@pytest.mark.req("B-034", "B-035", "B-210", "B-216")
def test_settings_come_from_an_operators_file_under_watchers_names(tmp_path):
    path = tmp_path / "trimtab.conf"
    path.write_text(
        "[watcher_decision_engine]\nmax_audit_workers = 5\naction_plan_expiry = 48\n"
        "check_periodic_interval = 60\ncontinuous_audit_interval = 3\non_restart = cancel\n"
        "[watcher_planner]\nplanner = other\n"
        "[watcher_planners.weight]\nweights = nop:70,migrate:9\n"
        "[watcher_strategies.basic]\ndatasources = gnocchi,prometheus\n"
    )
    names = ("basic", "dummy")
    _, conf = load(["--config-file", str(path)], prog="test", groups=groups(names))
    settings = DecisionSettings.from_conf(conf, host="h", strategies=names)
    assert settings.datasources == {"basic": ("gnocchi", "prometheus"), "dummy": ()}
    assert (settings.host, settings.max_audit_workers, settings.action_plan_expiry_h) == (
        "h",
        5,
        48,
    )
    assert (settings.check_periodic_interval_s, settings.continuous_audit_interval_s) == (60, 3)
    assert (settings.on_restart, settings.default_planner) == (OnRestart.CANCEL, "other")
    assert settings.planner_options["weight"] == {
        "weights": {"nop": "70", "migrate": "9"},
        "parallelization": {},
    }
