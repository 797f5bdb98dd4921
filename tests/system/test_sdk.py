"""The SDK beside openstacksdk, through Envoy: what a Python program of an operator does."""

from __future__ import annotations

import openstack
import pytest
from openstack import exceptions

from trimtab_sdk import connected

pytestmark = [
    pytest.mark.req("C-169"),
    # of openstacksdk's own code, whatever the resource
    pytest.mark.filterwarnings("ignore::openstack.warnings._RemovedInSDKWarning"),
]


@pytest.fixture(scope="module")
def optim(system):
    connection = connected(
        openstack.connection.Connection(auth_type="none", infra_optim_endpoint_override=system.url)
    )
    yield connection.infra_optim
    connection.close()


@pytest.fixture
def audit(optim):
    made = optim.create_audit(
        audit_type="ONESHOT", goal="dummy", strategy="dummy", parameters={"para1": 1.5}
    )
    return optim.wait_for_audit(made, every_s=0.1, wait_s=30)


def test_an_audit_is_made_and_its_plan_carried_out(optim, audit):
    assert (audit.state, audit.goal_name, audit.parameters["para1"]) == ("SUCCEEDED", "dummy", 1.5)
    (plan,) = optim.action_plans(audit_uuid=audit.id)
    assert (plan.state, plan.audit_id) == ("RECOMMENDED", audit.id)
    actions = list(optim.actions(action_plan_uuid=plan.id))
    assert {action.action_type for action in actions} == {"nop", "sleep"}
    nop = next(action for action in actions if action.action_type == "nop")
    skipped = optim.skip_action(nop, reason="not today")
    assert (skipped.state, skipped.id) == ("SKIPPED", nop.id)
    assert "not today" in optim.get_action(nop).status_message
    assert optim.start_action_plan(plan).state in ("PENDING", "ONGOING", "SUCCEEDED")
    assert optim.wait_for_action_plan(plan, every_s=0.1, wait_s=60).state == "SUCCEEDED"
    optim.delete_action_plan(plan)
    with pytest.raises(exceptions.NotFoundException):
        optim.get_action_plan(plan.id)


def test_an_audit_that_goes_on_is_changed_cancelled_and_deleted(optim):
    audit = optim.create_audit(
        name="by-the-sdk", audit_type="CONTINUOUS", goal="dummy", strategy="dummy", interval="3600"
    )
    changed = optim.patch_audit(
        "by-the-sdk", [{"op": "replace", "path": "/interval", "value": "600"}]
    )
    assert (changed.id, changed.interval) == (audit.id, "600")
    assert audit.id in {found.id for found in optim.audits(goal="dummy")}
    assert optim.cancel_audit(audit).state == "CANCELLED"
    with pytest.raises(exceptions.ResourceFailure):
        optim.wait_for_audit(audit, wait_s=5)
    optim.delete_audit(audit)
    optim.delete_audit(audit)  # it is missing, and that is all right
    with pytest.raises(exceptions.NotFoundException):
        optim.delete_audit(audit, ignore_missing=False)


def test_a_plan_is_cancelled_before_its_start_and_a_second_start_is_refused(optim, audit):
    (plan,) = optim.action_plans(audit_uuid=audit.id)
    assert optim.cancel_action_plan(plan.id).state == "CANCELLED"
    with pytest.raises(exceptions.BadRequestException, match="CANCELLED"):
        optim.start_action_plan(plan.id)
    with pytest.raises(exceptions.HttpException):
        optim.rollback_action_plan(plan.id)


def test_a_wait_for_another_end_than_the_one_that_came_fails_at_once(optim, audit):
    with pytest.raises(exceptions.ResourceFailure):
        optim.wait_for_audit(audit.id, status="CANCELLED", wait_s=10)
    (plan,) = optim.action_plans(audit_uuid=audit.id)
    optim.start_action_plan(plan)
    assert optim.wait_for_action_plan(plan.id, every_s=0.1, wait_s=60).state == "SUCCEEDED"
    with pytest.raises(exceptions.ResourceFailure):
        optim.wait_for_action_plan(plan, status="CANCELLED", wait_s=10)


def test_a_rollback_gives_the_plan_that_undoes(optim, audit):
    (plan,) = optim.action_plans(audit_uuid=audit.id)
    optim.start_action_plan(plan)
    optim.wait_for_action_plan(plan, every_s=0.1, wait_s=60)
    undoing = optim.rollback_action_plan(plan)
    assert undoing.id != plan.id
    assert optim.wait_for_action_plan(undoing, every_s=0.1, wait_s=60).state == "SUCCEEDED"


def test_a_template_and_what_there_is_to_choose_from(optim):
    goal = optim.get_goal("dummy")
    assert goal.display_name
    strategies = {one.name: one for one in optim.strategies(goal="dummy")}
    assert strategies["dummy"].goal_id == goal.id
    assert optim.get_strategy("dummy").parameters_spec["properties"]["para1"]
    assert {row["type"] for row in optim.get_strategy_state("basic")} >= {"CDM"}
    made = optim.create_audit_template(name="by-the-sdk", goal="dummy", strategy="dummy")
    patch = [{"op": "replace", "path": "/description", "value": "of the SDK"}]
    assert optim.patch_audit_template(made, patch).description == "of the SDK"
    assert optim.get_audit_template("by-the-sdk").description == "of the SDK"
    audit = optim.create_audit(audit_type="ONESHOT", audit_template_id=made.id)
    assert audit.strategy_name == "dummy"
    optim.delete_audit_template(made)
    assert made.id not in {one.id for one in optim.audit_templates()}


def test_lists_are_read_page_by_page_short_and_whole(optim):
    assert len({goal.id for goal in optim.goals(limit=2)}) == len(list(optim.goals())) > 4
    short = next(optim.scoring_engines(details=False))
    assert (short.name, short.metainfo) != (None, "")
    assert optim.get_scoring_engine(short.name).metainfo is not None
    names = {service.name for service in optim.services()}
    assert names == {"watcher-applier", "watcher-decision-engine"}
    first = next(optim.services())
    assert optim.get_service(first.id).last_seen_up
    assert len(optim.get_data_model()["context"]) >= 24


def test_errors_are_those_of_openstacksdk_with_the_words_of_the_api(optim):
    with pytest.raises(exceptions.BadRequestException, match="para1: 0 is less than"):
        optim.create_audit(
            audit_type="ONESHOT", goal="dummy", strategy="dummy", parameters={"para1": 0}
        )
    with pytest.raises(exceptions.NotFoundException, match="Goal nonsense"):
        optim.create_audit(audit_type="ONESHOT", goal="nonsense")
    with pytest.raises(exceptions.NotFoundException):
        optim.get_audit("nobody")
    with pytest.raises(exceptions.NotFoundException):
        optim.trigger_audit("nobody")
