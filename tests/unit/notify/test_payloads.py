from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trimtab_common.domain.lifecycle import AuditType
from trimtab_common.domain.records import (
    Action,
    ActionPlan,
    Audit,
    Goal,
    OutboxEntry,
    Service,
    Strategy,
)
from trimtab_common.notify import payloads
from trimtab_common.notify.events import envelope, is_enabled

AT = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
GOAL = Goal(uuid="g", name="dummy", display_name="Dummy goal", created_at=AT)
STRATEGY = Strategy(uuid="s", name="dummy", display_name="Dummy", goal_id=1)
AUDIT = Audit(
    uuid="a", name="n", audit_type=AuditType.CONTINUOUS, goal_id=1, goal_uuid="g", interval="60"
)
PLAN = ActionPlan(uuid="p", audit_id=1, strategy_id=1, audit_uuid="a", strategy_uuid="s")
ACTION = Action(uuid="x", action_plan_id=1, action_type="nop", action_plan_uuid="p", parents=("y",))

TIMES = {"created_at", "updated_at", "deleted_at"}
AUDIT_FIELDS = {
    *("uuid", "name", "audit_type", "state", "parameters", "interval", "scope", "goal_uuid"),
    *("strategy_uuid", "auto_trigger", "next_run_time", "status_message", *TIMES),
    *("hostname", "start_time", "end_time", "force"),
}
PLAN_FIELDS = {
    *("uuid", "state", "global_efficacy", "audit_uuid", "strategy_uuid", "status_message"),
    *("hostname", "audit_name", *TIMES),
}
ACTION_FIELDS = {
    *("uuid", "action_type", "input_parameters", "state", "parents", "action_plan"),
    *("action_plan_uuid", "status_message", *TIMES),
}


def shape(payload):
    assert payload["watcher_object.namespace"] == "watcher"
    return (
        payload["watcher_object.name"],
        payload["watcher_object.version"],
        set(payload["watcher_object.data"]),
    )


@pytest.mark.req("A-118", "A-125")
@pytest.mark.parametrize(
    ("payload", "name", "version", "fields"),
    [
        (payloads.goal(GOAL), "GoalPayload", "1.0",
         {"uuid", "name", "display_name", "efficacy_specification", *TIMES}),
        (payloads.strategy(STRATEGY), "StrategyPayload", "1.0",
         {"uuid", "name", "display_name", "parameters_spec", *TIMES}),
        (payloads.terse_audit(AUDIT), "TerseAuditPayload", "1.4", AUDIT_FIELDS),
        (payloads.audit("AuditCreatePayload", AUDIT, goal_record=GOAL, strategy_record=None),
         "AuditCreatePayload", "1.3", AUDIT_FIELDS | {"goal", "strategy"}),
        (payloads.terse_action_plan(PLAN), "TerseActionPlanPayload", "1.3", PLAN_FIELDS),
        (payloads.action_plan("ActionPlanDeletePayload", PLAN, audit_record=AUDIT,
                              strategy_record=STRATEGY),
         "ActionPlanDeletePayload", "1.3", PLAN_FIELDS | {"audit", "strategy"}),
        (payloads.action("ActionExecutionPayload", ACTION, fault=None,
                         terse_plan=payloads.terse_action_plan(PLAN)),
         "ActionExecutionPayload", "1.1", ACTION_FIELDS | {"fault"}),
        (payloads.state_update("Action", old_state=None, state=None, status_message=None),
         "ActionStateUpdatePayload", "1.1", {"old_state", "state", "status_message"}),
        (payloads.fault(exception="E", message="m"), "ExceptionPayload", "1.0",
         {"module_name", "function_name", "exception", "exception_message"}),
        (payloads.service_update(Service(name="n", host="h"), old_state="ACTIVE", state="FAILED"),
         "ServiceUpdatePayload", "1.0", {"sevice_host", "name", "last_seen_up", "status_update"}),
    ],
    ids=lambda value: value if isinstance(value, str) and value.endswith("Payload") else "",
)  # fmt: skip
def test_a_payload_has_the_published_name_version_and_fields(payload, name, version, fields):
    assert shape(payload) == (name, version, fields)


@pytest.mark.req("A-118")
def test_times_end_in_z_and_states_are_plain_text():
    payload = payloads.audit(
        "AuditUpdatePayload", AUDIT, goal_record=GOAL, strategy_record=STRATEGY
    )["watcher_object.data"]
    assert payload["goal"]["watcher_object.data"]["created_at"] == "2026-03-04T05:06:07Z"
    assert (type(payload["state"]), payload["state"]) == (str, "PENDING")
    assert payload["interval"] == "60"
    assert payload["strategy"]["watcher_object.name"] == "StrategyPayload"


@pytest.mark.req("A-118")
def test_the_envelope_names_the_publisher_and_the_time_as_oslo_writes_it():
    entry = OutboxEntry(
        id=1,
        uuid="m",
        event_type="audit.create",
        priority="INFO",
        object_uuid="a",
        publisher="node-1",
        payload={"a": 1},
        created_at=AT,
    )
    assert envelope(entry) == {
        "event_type": "audit.create",
        "publisher_id": "infra-optim:node-1",
        "priority": "INFO",
        "timestamp": "2026-03-04 05:06:07.000089",
        "message_id": "m",
        "payload": {"a": 1},
    }


@pytest.mark.parametrize(
    ("priority", "level", "expected"),
    [
        ("INFO", "info", True),
        ("INFO", "", False),
        ("INFO", "warning", False),
        ("WARN", "warning", True),
        ("ERROR", "critical", False),
        ("DEBUG", "debug", True),
    ],
)
def test_the_level_decides_what_is_sent(priority, level, expected):
    assert is_enabled(priority, level=level) is expected
