"""Typed creates, updates and verbs: masks, etags and request ids over the same rules as REST."""

from __future__ import annotations

import asyncio
import uuid

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from typed_world import refused, serving

from trimtab.audit.v1 import audit_pb2, audit_template_pb2
from trimtab.catalog.v1 import catalog_pb2
from trimtab.plan.v1 import plan_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
ABORTED = grpc.StatusCode.ABORTED
GIVEN = {
    "audits": [
        {"name": "done", "state": "SUCCEEDED"},
        {"name": "hourly", "audit_type": "CONTINUOUS", "interval": "3600", "state": "ONGOING"},
        {"name": "event", "audit_type": "EVENT"},
    ],
    "plans": [{"name": "p", "audit": "done", "actions": ["PENDING", "PENDING"]}],
}


def stable_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


@pytest.fixture
async def typed(make_world):
    async with make_world(GIVEN) as world, serving(world) as stubs:
        yield stubs


async def reason(call) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert info.domain == "trimtab"
    assert info.metadata["request_id"].startswith("req-")
    return info.reason


async def audit(typed, name):
    return await typed.audits.GetAudit(audit_pb2.GetAuditRequest(audit=name), timeout=10)


async def test_a_template_lives_its_whole_life(typed):
    request = audit_template_pb2.CreateAuditTemplateRequest()
    request.audit_template.name = "nightly"
    request.audit_template.goal = "DUMMY"
    request.audit_template.strategy = "dummy"
    request.audit_template.default_parameters.update({"para1": 5})
    made = await typed.templates.CreateAuditTemplate(request, timeout=10)
    assert (made.goal, made.strategy, made.uuid != "") == ("dummy", "dummy", True)

    update = audit_template_pb2.UpdateAuditTemplateRequest()
    update.audit_template.uuid = "nightly"
    update.audit_template.description = "at night"
    changed = await typed.templates.UpdateAuditTemplate(update, timeout=10)
    assert (changed.description, changed.name) == ("at night", "nightly")
    assert json_format.MessageToDict(changed.default_parameters) == {"para1": 5.0}
    assert changed.etag != made.etag

    update.update_mask.paths.append("goal")
    update.audit_template.goal = "server_consolidation"
    assert (await refused(typed.templates.UpdateAuditTemplate(update, timeout=10)))[0] is ABORTED

    delete = audit_template_pb2.DeleteAuditTemplateRequest(audit_template="nightly", etag=made.etag)
    call = typed.templates.DeleteAuditTemplate
    assert await reason(call(delete, timeout=10)) == "ETAG_MISMATCH"
    delete.etag = changed.etag
    await call(delete, timeout=10)
    get = audit_template_pb2.GetAuditTemplateRequest(audit_template="nightly")
    code, _ = await refused(typed.templates.GetAuditTemplate(get, timeout=10))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_an_update_changes_what_its_mask_names_and_nothing_else(typed):
    before = await audit(typed, "hourly")
    request = audit_pb2.UpdateAuditRequest()
    request.audit.uuid = before.uuid
    request.audit.interval = "60"
    request.audit.name = "every minute"
    request.update_mask.paths.append("interval")
    after = await typed.audits.UpdateAudit(request, timeout=10)
    assert (after.interval, after.name) == ("60", "hourly")
    del request.update_mask.paths[:]
    after = await typed.audits.UpdateAudit(request, timeout=10)
    assert (after.interval, after.name) == ("60", "every minute")
    request.update_mask.paths.append("start_at")
    after = await typed.audits.UpdateAudit(request, timeout=10)
    assert not after.HasField("start_at")


@pytest.mark.parametrize(
    ("mask", "fields", "words"),
    [
        (["state"], {}, "'state'"),
        (["colour"], {}, "'colour'"),
        ([], {"state": "CANCELLED"}, "'state'"),
        (["name"], {}, "cannot be empty"),
        (["interval"], {"interval": "never"}, "Invalid interval"),
        (["interval"], {}, "must be specified"),
        (["name"], {"name": "n" * 64}, "63"),
        (["parameters"], {"parameters": {"x": 1}}, "x"),
        (["parameters"], {"parameters": {"para1": float("nan")}}, "JSON"),
    ],
)
async def test_a_wrong_update_is_refused_and_changes_nothing(typed, mask, fields, words):
    before = await audit(typed, "hourly")
    request = audit_pb2.UpdateAuditRequest()
    request.audit.uuid = "hourly"
    request.update_mask.paths.extend(mask)
    parameters = fields.pop("parameters", {})
    if parameters:
        request.audit.parameters.update(parameters)
    for name, value in fields.items():
        setattr(request.audit, name, value)
    code, details = await refused(typed.audits.UpdateAudit(request, timeout=10))
    assert code is INVALID
    assert words in details
    assert await audit(typed, "hourly") == before


@pytest.mark.parametrize("header", [False, True], ids=["field", "If-Match"])
async def test_a_stale_etag_stops_every_change(typed, header):
    plan = stable_uuid("plan p")
    stale, metadata = ("", [("if-match", '"0123"')]) if header else ("0123", [])
    update = audit_pb2.UpdateAuditRequest()
    update.audit.uuid, update.audit.name, update.audit.etag = "hourly", "x", stale
    action = stable_uuid("p action 0")
    for call in (
        typed.audits.UpdateAudit(update, metadata=metadata, timeout=10),
        typed.audits.CancelAudit(
            audit_pb2.CancelAuditRequest(audit="hourly", etag=stale), metadata=metadata, timeout=10
        ),
        typed.audits.SuspendAudit(
            audit_pb2.SuspendAuditRequest(audit="hourly", etag=stale), metadata=metadata, timeout=10
        ),
        typed.audits.DeleteAudit(
            audit_pb2.DeleteAuditRequest(audit="done", etag=stale), metadata=metadata, timeout=10
        ),
        typed.plans.StartActionPlan(
            plan_pb2.StartActionPlanRequest(action_plan=plan, etag=stale),
            metadata=metadata,
            timeout=10,
        ),
        typed.plans.CancelActionPlan(
            plan_pb2.CancelActionPlanRequest(action_plan=plan, etag=stale),
            metadata=metadata,
            timeout=10,
        ),
        typed.plans.DeleteActionPlan(
            plan_pb2.DeleteActionPlanRequest(action_plan=plan, etag=stale),
            metadata=metadata,
            timeout=10,
        ),
        typed.plans.SkipAction(
            plan_pb2.SkipActionRequest(action=action, etag=stale), metadata=metadata, timeout=10
        ),
    ):
        assert await reason(call) == "ETAG_MISMATCH"
    assert typed.world.waker.woken == []
    shown = await typed.plans.GetActionPlan(
        plan_pb2.GetActionPlanRequest(action_plan=plan), timeout=10
    )
    good = plan_pb2.StartActionPlanRequest(action_plan=plan, etag=shown.etag)
    assert (await typed.plans.StartActionPlan(good, timeout=10)).state == "PENDING"


@pytest.mark.req("A-058", "A-061")
async def test_the_verbs_move_an_audit_along_its_states(typed):
    suspended = await typed.audits.SuspendAudit(
        audit_pb2.SuspendAuditRequest(audit="hourly"), timeout=10
    )
    assert suspended.state == "SUSPENDED"
    resume = audit_pb2.ResumeAuditRequest(audit="hourly")
    assert (await typed.audits.ResumeAudit(resume, timeout=10)).state == "ONGOING"
    code, details = await refused(typed.audits.ResumeAudit(resume, timeout=10))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert details == "State transition not allowed: (ONGOING -> ONGOING)"
    await typed.audits.TriggerAudit(audit_pb2.TriggerAuditRequest(audit="event"), timeout=10)
    assert (await audit(typed, "event")).HasField("next_run_at")
    await typed.audits.DeleteAudit(audit_pb2.DeleteAuditRequest(audit="done"), timeout=10)
    code, _ = await refused(audit(typed, "done"))
    assert code is grpc.StatusCode.NOT_FOUND
    code, _ = await refused(
        typed.audits.DeleteAudit(audit_pb2.DeleteAuditRequest(audit="hourly"), timeout=10)
    )
    assert code is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.req("A-066", "A-067", "A-068")
async def test_an_action_is_skipped_with_its_reason(typed):
    request = plan_pb2.SkipActionRequest(action=stable_uuid("p action 0"), reason="not today")
    skipped = await typed.plans.SkipAction(request, timeout=10)
    assert skipped.state == "SKIPPED"
    assert skipped.status_message == "Action skipped by user. Reason: not today"
    assert skipped.description == "Do nothing"
    request.reason = "never"
    reworded = await typed.plans.SkipAction(request, timeout=10)
    assert reworded.status_message == "Action skipped by user. Reason: never"
    async with typed.world.store.write() as session:
        await session.execute(sa.text("UPDATE action_plans SET state = 'ONGOING'"))
    assert (await refused(typed.plans.SkipAction(request, timeout=10)))[0] is ABORTED


@pytest.mark.req("A-065")
async def test_a_deleted_plan_is_gone_with_its_actions(typed):
    plan, action = stable_uuid("plan p"), stable_uuid("p action 0")
    await typed.plans.DeleteActionPlan(
        plan_pb2.DeleteActionPlanRequest(action_plan=plan), timeout=10
    )
    for call in (
        typed.plans.GetActionPlan(plan_pb2.GetActionPlanRequest(action_plan=plan), timeout=10),
        typed.plans.GetAction(plan_pb2.GetActionRequest(action=action), timeout=10),
    ):
        assert (await refused(call))[0] is grpc.StatusCode.NOT_FOUND


def new_audit(**fields):
    request = audit_pb2.CreateAuditRequest(goal="dummy", strategy="dummy", **fields)
    request.parameters.update({"para1": 4})
    return request


async def test_the_same_request_gets_the_same_answer_and_makes_one_audit(typed):
    request = new_audit(request_id=str(uuid.uuid4()), name="once")
    first = await typed.audits.CreateAudit(request, timeout=10)
    await typed.audits.CancelAudit(audit_pb2.CancelAuditRequest(audit=first.uuid), timeout=10)
    assert await typed.audits.CreateAudit(request, timeout=10) == first
    assert [kind for kind, _ in typed.world.waker.woken] == ["audit", "audit"]
    request.force = True
    call = typed.audits.CreateAudit(request, timeout=10)
    assert await reason(call) == "REQUEST_ID_REUSED"
    request.request_id = "no uuid"
    assert (await refused(typed.audits.CreateAudit(request, timeout=10)))[0] is INVALID


async def test_eight_of_the_same_at_once_make_one_audit(typed):
    request = new_audit(request_id=str(uuid.uuid4()))
    answers = await asyncio.gather(
        *(typed.audits.CreateAudit(request, timeout=30) for _ in range(8))
    )
    assert len({answer.uuid for answer in answers}) == 1
    listed = await typed.audits.ListAudits(audit_pb2.ListAuditsRequest(), timeout=10)
    assert len(listed.audits) == len(GIVEN["audits"]) + 1


async def test_a_request_id_is_forgotten_after_a_day_and_is_each_callers_own(make_world):
    async with (
        make_world(auth="keystone") as world,
        serving(world, world.authenticator) as typed,
    ):
        request = new_audit(request_id=str(uuid.uuid4()), name="mine")
        metadata = [("x-auth-token", "admin")]
        await typed.audits.CreateAudit(request, metadata=metadata, timeout=10)
        await typed.audits.CreateAudit(request, metadata=metadata, timeout=10)
        await world.clock.advance(86_401)
        code, _ = await refused(typed.audits.CreateAudit(request, metadata=metadata, timeout=10))
        assert code is grpc.StatusCode.ALREADY_EXISTS


async def test_a_refused_create_keeps_no_answer(typed):
    request = new_audit(request_id=str(uuid.uuid4()), name="done")
    code, _ = await refused(typed.audits.CreateAudit(request, timeout=10))
    assert code is grpc.StatusCode.ALREADY_EXISTS
    request.name = "free"
    assert (await typed.audits.CreateAudit(request, timeout=10)).name == "free"


@pytest.mark.req("A-041")
async def test_the_state_of_a_strategy_is_told(typed):
    request = catalog_pb2.GetStrategyStateRequest(strategy="dummy")
    state = await typed.catalog.GetStrategyState(request, timeout=10)
    assert [(one.type, one.mandatory) for one in state.requirements] == [
        ("Datasource", True),
        ("CDM", True),
    ]
    assert json_format.MessageToDict(state.requirements[1].state) == [
        {"compute_model": "available"}
    ]
    request.strategy = "basic"
    code, _ = await refused(typed.catalog.GetStrategyState(request, timeout=10))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_each_thing_of_the_catalogue_is_shown_alone(typed):
    goal = await typed.catalog.GetGoal(catalog_pb2.GetGoalRequest(goal="DUMMY"), timeout=10)
    strategy = await typed.catalog.GetStrategy(
        catalog_pb2.GetStrategyRequest(strategy="basic"), timeout=10
    )
    engine = await typed.catalog.GetScoringEngine(
        catalog_pb2.GetScoringEngineRequest(scoring_engine="dummy_scorer"), timeout=10
    )
    assert (goal.name, strategy.goal_name, engine.metainfo) == (
        "dummy",
        "server_consolidation",
        "{}",
    )


async def test_a_rollback_passes_the_same_checks(typed):
    plan = stable_uuid("plan p")
    request = plan_pb2.RollbackActionPlanRequest(action_plan=plan, etag="0123")
    assert await reason(typed.plans.RollbackActionPlan(request, timeout=10)) == "ETAG_MISMATCH"
    request.etag = ""
    request.actions.append("no uuid")
    code, _ = await refused(typed.plans.RollbackActionPlan(request, timeout=10))
    assert code is INVALID
