"""The service as main wires it: wake-ups over gRPC, descriptions, heartbeat, settings."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fake_nova import FakeNova
from grpc_health.v1 import health_pb2, health_pb2_grpc
from plan_world import nop
from real_parts import actions_of, eventually, plan_of, publish, sqlite_store

from trimtab.applier.v1 import applier_pb2, applier_pb2_grpc
from trimtab_applier.graph import ExecutionRule
from trimtab_applier.main import NAME, build
from trimtab_applier.settings import GROUPS, ApplierSettings, OnRestart, from_conf
from trimtab_common.domain.errors import FailedPrecondition, Unavailable
from trimtab_common.domain.lifecycle import ActionState, PlanState
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.runtime.settings import CommonSettings, load


@pytest.fixture
async def store(tmp_path: Path):
    return await sqlite_store(tmp_path / "trimtab.db")


@pytest.mark.req("A-104", "A-113", "B-230", "B-270")
async def test_the_service_runs_what_the_record_shows_when_it_is_woken(store):
    common = CommonSettings(host="node-1", applier="127.0.0.1:0", metrics_offset=0)
    settings = ApplierSettings(host="node-1", sweep_every_s=3600.0)
    service = await build(common, settings, store=store, nova=FakeNova(SystemClock()))
    await service.start()
    channel = open_channel(f"127.0.0.1:{service.bound_port}")
    try:
        plan = await publish(store, [nop(), nop()], {1: [0]})
        stub = applier_pb2_grpc.ApplierServiceStub(channel)
        await stub.WakePlan(applier_pb2.WakePlanRequest(uuid=plan), timeout=5)
        await stub.WakePlan(applier_pb2.WakePlanRequest(uuid="unknown"), timeout=5)

        async def is_done() -> bool:
            return (await plan_of(store, plan)).state is PlanState.SUCCEEDED

        async def is_described() -> bool:
            async with store.read() as session:
                return bool(await session.action_descriptions.all())

        await eventually(is_done)
        await eventually(is_described)
        assert [a.state for a in await actions_of(store, plan)] == [ActionState.SUCCEEDED] * 2
        async with store.read() as session:
            texts = await session.action_descriptions.all()
            (beat,) = await session.services.list()
            events = [entry.event_type for entry in await session.outbox.unpublished(1000)]
        assert texts["migrate"] == ("Moving a VM instance from source_node to destination_node")
        assert set(texts) >= {"nop", "sleep", "change_nova_service_state", "resize", "stop"}
        assert (beat.name, beat.host) == ("watcher-applier", "node-1")
        assert [e for e in events if "execution" in e] == [
            "action_plan.execution.start",
            *["action.execution.start", "action.execution.end"] * 2,
            "action_plan.execution.end",
        ]
    finally:
        await channel.close()
        await service.stop(grace_s=0)


def settings_of(tmp_path: Path, text: str) -> ApplierSettings:
    path = tmp_path / "trimtab.conf"
    path.write_text(text)
    common, conf = load(["--host", "node-1", "--config-file", str(path)], prog=NAME, groups=GROUPS)
    return from_conf(conf, host=common.host)


@pytest.mark.req("B-231", "B-270", "B-271", "B-274")
def test_settings_come_from_watchers_options(tmp_path: Path):
    settings = settings_of(
        tmp_path,
        """
[watcher_applier]
workers = 3
on_restart = cancel
[watcher_workflow_engines.taskflow]
max_workers = 7
action_execution_rule = dummy:any,basic:ALWAYS
[nova]
migration_max_retries = 10
migration_interval = 0.5
""",
    )
    assert (settings.workers, settings.max_workers, settings.host) == (3, 7, "node-1")
    assert settings.on_restart is OnRestart.CANCEL
    assert settings.rule_of("dummy") is ExecutionRule.ANY
    assert settings.rule_of("other") is ExecutionRule.ALWAYS
    assert settings.nova.migration_timeout_s == 5.0


@pytest.mark.req("B-231")
def test_the_defaults_are_watchers(tmp_path: Path):
    settings = settings_of(tmp_path, "")
    assert settings.workers == 1
    assert settings.nova.migration_timeout_s == 900.0


@pytest.mark.parametrize(
    "text",
    [
        "[watcher_workflow_engines.taskflow]\naction_execution_rule = dummy:SOMETIMES\n",
        "[watcher_applier]\nlease_duration = 10\n[nova]\nwrite_timeout = 10\n",
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path: Path, text: str):
    with pytest.raises(FailedPrecondition):
        settings_of(tmp_path, text)


APPLIER = "trimtab.applier.v1.ApplierService"


@asynccontextmanager
async def served(store, nova):
    common = CommonSettings(host="node-1", applier="127.0.0.1:0", metrics_offset=0)
    settings = ApplierSettings(host="node-1", sweep_every_s=0.1)
    service = await build(common, settings, store=store, nova=nova)
    await service.start()
    channel = open_channel(f"127.0.0.1:{service.bound_port}")
    health = health_pb2_grpc.HealthStub(channel)

    async def says(status: int) -> bool:
        request = health_pb2.HealthCheckRequest(service=APPLIER)
        return (await health.Check(request, timeout=5)).status == status

    try:
        yield service, says
    finally:
        await channel.close()
        await service.stop()


@pytest.mark.req("B-231", "C-163")
async def test_on_a_nova_that_is_too_old_nothing_is_begun_and_the_process_ends(store):
    nova = FakeNova(SystemClock())
    nova.unusable = FailedPrecondition("Nova offers microversion 2.53, 2.56 or newer is needed.")
    async with served(store, nova) as (service, says):
        plan = await publish(store, [nop()])
        await asyncio.wait_for(service.stopping.wait(), 30)
        assert service.given_up is nova.unusable
        await eventually(lambda: says(health_pb2.HealthCheckResponse.NOT_SERVING))
        assert (await plan_of(store, plan)).state is PlanState.PENDING


async def test_while_nova_does_not_answer_plans_wait_and_health_says_so(store):
    nova = FakeNova(SystemClock())
    nova.unusable = Unavailable("compute versions: no answer")
    async with served(store, nova) as (service, says):
        plan = await publish(store, [nop()])
        await eventually(lambda: says(health_pb2.HealthCheckResponse.NOT_SERVING))
        assert (await plan_of(store, plan)).state is PlanState.PENDING
        nova.unusable = None
        await eventually(lambda: says(health_pb2.HealthCheckResponse.SERVING))

        async def is_done() -> bool:
            return (await plan_of(store, plan)).state is PlanState.SUCCEEDED

        await eventually(is_done)
        assert service.given_up is None
