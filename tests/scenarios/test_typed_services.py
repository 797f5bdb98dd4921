"""The typed services over a real gRPC server: the same record and rules as the REST dialogues."""

from __future__ import annotations

import uuid

import grpc
import pytest
from google.protobuf import json_format
from typed_world import refused, serving

from trimtab.audit.v1 import audit_pb2
from trimtab.catalog.v1 import catalog_pb2
from trimtab.ops.v1 import ops_pb2
from trimtab.plan.v1 import plan_pb2

GIVEN = {
    "audits": [{"name": f"audit-{n}", "state": "SUCCEEDED"} for n in range(5)],
    "plans": [
        {"name": "p", "audit": "audit-0", "actions": ["PENDING", "SKIPPED", "PENDING"]},
        {"name": "running", "audit": "audit-1", "state": "ONGOING", "actions": ["ONGOING"]},
    ],
}


def stable_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


@pytest.fixture
async def typed(make_world):
    async with make_world(GIVEN) as world, serving(world) as stubs:
        yield stubs


async def test_goals_and_strategies_come_as_declared(typed):
    goals = await typed.catalog.ListGoals(catalog_pb2.ListGoalsRequest(), timeout=10)
    assert [goal.name for goal in goals.goals] == ["dummy", "server_consolidation"]
    assert goals.goals[0].efficacy_specification[0].unit == "%"
    strategies = await typed.catalog.ListStrategies(
        catalog_pb2.ListStrategiesRequest(goal="DUMMY"), timeout=10
    )
    assert [one.name for one in strategies.strategies] == ["dummy", "dummy_bare"]
    spec = json_format.MessageToDict(strategies.strategies[0].parameters_spec)
    assert spec["properties"]["para2"]["default"] == "hello"


async def test_an_audit_is_created_shown_and_cancelled(typed):
    request = audit_pb2.CreateAuditRequest(goal="dummy", strategy="dummy")
    request.parameters.update({"para1": 4})
    request.scope.extend([])
    audit = await typed.audits.CreateAudit(request, timeout=10)
    assert (audit.state, audit.audit_type, audit.goal) == ("PENDING", "ONESHOT", "dummy")
    assert json_format.MessageToDict(audit.parameters) == {"para1": 4.0, "para2": "hello"}
    assert typed.world.waker.woken == [("audit", audit.uuid)]
    shown = await typed.audits.GetAudit(audit_pb2.GetAuditRequest(audit=audit.name), timeout=10)
    shown.ClearField("expected_end_at")
    assert shown == audit
    cancel = audit_pb2.CancelAuditRequest(audit=audit.uuid)
    assert (await typed.audits.CancelAudit(cancel, timeout=10)).state == "CANCELLED"
    assert await refused(typed.audits.CancelAudit(cancel, timeout=10)) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "State transition not allowed: (CANCELLED -> CANCELLED)",
    )


async def test_whole_numbers_stay_integers_in_the_record(typed):
    request = audit_pb2.CreateAuditRequest(goal="dummy", strategy="dummy", name="n")
    request.parameters.update({"para1": 4})
    await typed.audits.CreateAudit(request, timeout=10)
    async with typed.world.store.read() as session:
        value = (await session.audits.get("n")).parameters["para1"]
    assert (type(value), value) == (int, 4)


@pytest.mark.parametrize(
    ("request_fields", "code"),
    [
        ({"goal": "nothing"}, grpc.StatusCode.NOT_FOUND),
        ({}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"goal": "dummy", "audit_type": "CONTINUOUS"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"goal": "dummy", "name": "audit-1"}, grpc.StatusCode.ALREADY_EXISTS),
        ({"goal": "dummy", "name": "n" * 64}, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_the_same_rules_refuse_audits(typed, request_fields, code):
    request = audit_pb2.CreateAuditRequest(**request_fields)
    assert (await refused(typed.audits.CreateAudit(request, timeout=10)))[0] is code
    assert typed.world.waker.woken == []


async def test_pages_end_and_tokens_are_opaque(typed):
    names, token = [], ""
    for _ in range(3):
        request = audit_pb2.ListAuditsRequest(page_size=2, page_token=token, goal="dummy")
        page = await typed.audits.ListAudits(request, timeout=10)
        names += [audit.name for audit in page.audits]
        token = page.next_page_token
        assert "audit" not in token
    assert names == [f"audit-{n}" for n in range(5)]
    assert token == ""


@pytest.mark.parametrize(
    "fields",
    [{"page_size": -1}, {"page_token": "x"}, {"page_token": "ünsinn"}, {"page_token": "MQ=="}],
)
async def test_bad_pages_are_refused(typed, fields):
    call = typed.audits.ListAudits(audit_pb2.ListAuditsRequest(**fields), timeout=10)
    assert (await refused(call))[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.req("A-064")
async def test_a_plan_is_started_then_cancelled_with_its_actions(typed):
    plan = stable_uuid("plan p")
    shown = await typed.plans.GetActionPlan(
        plan_pb2.GetActionPlanRequest(action_plan=plan), timeout=10
    )
    assert dict(shown.progress) == {"PENDING": 2, "SKIPPED": 1}
    request = plan_pb2.StartActionPlanRequest(action_plan=plan)
    assert (await typed.plans.StartActionPlan(request, timeout=10)).state == "PENDING"
    assert typed.world.waker.woken == [("plan", plan)]
    assert (await refused(typed.plans.StartActionPlan(request, timeout=10)))[0] is (
        grpc.StatusCode.FAILED_PRECONDITION
    )
    cancelled = await typed.plans.CancelActionPlan(
        plan_pb2.CancelActionPlanRequest(action_plan=plan), timeout=10
    )
    assert cancelled.state == "CANCELLED"
    assert dict(cancelled.progress) == {"CANCELLED": 2, "SKIPPED": 1}


async def test_a_running_plan_is_asked_to_stop(typed):
    request = plan_pb2.CancelActionPlanRequest(action_plan=stable_uuid("plan running"))
    assert (await typed.plans.CancelActionPlan(request, timeout=10)).state == "CANCELLING"
    assert [kind for kind, _ in typed.world.waker.woken] == ["plan"]


async def test_actions_are_listed_in_order(typed):
    request = plan_pb2.ListActionsRequest(action_plan=stable_uuid("plan p"), page_size=2)
    first = await typed.plans.ListActions(request, timeout=10)
    request.page_token = first.next_page_token
    second = await typed.plans.ListActions(request, timeout=10)
    actions = [*first.actions, *second.actions]
    assert [action.state for action in actions] == ["PENDING", "SKIPPED", "PENDING"]
    assert list(actions[1].parents) == [actions[0].uuid]
    unknown = plan_pb2.ListActionsRequest(action_plan=str(uuid.uuid4()))
    call = typed.plans.ListActions(unknown, timeout=10)
    assert (await refused(call))[0] is grpc.StatusCode.NOT_FOUND


@pytest.mark.req("A-043")
async def test_services_are_shown_with_their_status(typed):
    found = await typed.ops.ListServices(ops_pb2.ListServicesRequest(), timeout=10)
    assert [(one.name, one.status) for one in found.services] == [("watcher-applier", "ACTIVE")]


@pytest.mark.req("A-033", "A-034")
@pytest.mark.parametrize(
    ("token", "code"),
    [(None, grpc.StatusCode.UNAUTHENTICATED), ("member", grpc.StatusCode.PERMISSION_DENIED)],
)
async def test_typed_calls_pass_the_same_gate(make_world, token, code):
    async with make_world(auth="keystone") as world, serving(world, world.authenticator) as stubs:
        metadata = [("x-auth-token", token)] if token else []
        call = stubs.audits.ListAudits(audit_pb2.ListAuditsRequest(), metadata=metadata, timeout=10)
        assert (await refused(call))[0] is code
