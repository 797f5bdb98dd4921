"""The one description of each resource against the records, the tables and the messages."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from trimtab.audit.v1 import audit_pb2, audit_template_pb2
from trimtab.catalog.v1 import catalog_pb2
from trimtab.ops.v1 import ops_pb2
from trimtab.plan.v1 import plan_pb2
from trimtab_common.domain.resources import (
    ACTION_PLANS,
    ACTIONS,
    AUDIT_TEMPLATES,
    AUDITS,
    BY_PLURAL,
    DATA_MODEL,
    GOALS,
    MAX_MINOR,
    SCORING_ENGINES,
    SERVICES,
    STORED,
    STRATEGIES,
    Field,
    JsonType,
    Kept,
    Resource,
    Shown,
)
from trimtab_common.store import tables
from trimtab_common.store.types import JsonText, StateText, UtcDateTime

by_resource = pytest.mark.parametrize("resource", STORED, ids=lambda resource: resource.name)

# Columns that no description names, because no reader may see them, with the reason.
HIDDEN_COLUMNS = {
    "deleted": "the soft-delete marker; readers see deleted_at",
    "visible": "false while a plan is being stored",
    "actions_follow": "true until the actions of a cancelled or deleted plan followed",
}

MESSAGES: dict[str, Descriptor] = {
    "goal": catalog_pb2.Goal.DESCRIPTOR,
    "strategy": catalog_pb2.Strategy.DESCRIPTOR,
    "scoring_engine": catalog_pb2.ScoringEngine.DESCRIPTOR,
    "audit_template": audit_template_pb2.AuditTemplate.DESCRIPTOR,
    "audit": audit_pb2.Audit.DESCRIPTOR,
    "action_plan": plan_pb2.ActionPlan.DESCRIPTOR,
    "action": plan_pb2.Action.DESCRIPTOR,
    "service": ops_pb2.Service.DESCRIPTOR,
}

# Reviewed: message field -> field of the description, where AIP style names it otherwise.
RENAMED = {
    ("audit_template", "goal"): "goal_name",
    ("audit_template", "strategy"): "strategy_name",
    ("audit", "goal"): "goal_name",
    ("audit", "strategy"): "strategy_name",
    ("audit", "next_run_at"): "next_run_time",
    ("audit", "start_at"): "start_time",
    ("audit", "end_at"): "end_time",
    ("action_plan", "audit"): "audit_uuid",
    ("action_plan", "strategy"): "strategy_name",
    ("action", "action_plan"): "action_plan_uuid",
    ("service", "last_seen_at"): "last_seen_up",
}
# Reviewed: message fields that only the typed API has.
ONLY_TYPED = {
    ("action_plan", "progress"),
    ("action_plan", "expected_end_at"),
    ("audit", "expected_end_at"),
    *((name, "etag") for name in MESSAGES),
}
# Reviewed: fields of details that the typed API does not show, with the reason.
ONLY_REST = {
    **{
        (name, "deleted_at"): "soft-deleted resources are not shown"
        for name in MESSAGES
        if name not in {"strategy", "scoring_engine"}
    },
    **{("service", f): "a heartbeat has one time" for f in ("created_at", "updated_at")},
}

JSON_OF_PROTO = {
    FieldDescriptor.TYPE_STRING: {JsonType.STRING},
    FieldDescriptor.TYPE_BOOL: {JsonType.BOOLEAN},
    FieldDescriptor.TYPE_INT32: {JsonType.INTEGER},
    FieldDescriptor.TYPE_DOUBLE: {JsonType.NUMBER},
}
JSON_OF_MESSAGE = {
    "google.protobuf.Struct": {JsonType.OBJECT},
    "google.protobuf.ListValue": {JsonType.LIST},
    "google.protobuf.Timestamp": {JsonType.ZONED_TIME, JsonType.NAIVE_TIME},
}


def column_types(field: Field) -> tuple[type[Any], ...]:
    return {
        JsonType.STRING: (sa.String, sa.Text, StateText),
        JsonType.INTEGER: (sa.Integer,),
        JsonType.NUMBER: (sa.Double,),
        JsonType.BOOLEAN: (sa.Boolean,),
        JsonType.OBJECT: (JsonText,),
        JsonType.LIST: (JsonText,),
        JsonType.ZONED_TIME: (UtcDateTime,),
        JsonType.NAIVE_TIME: (UtcDateTime,),
    }[field.type]


@by_resource
def test_the_record_has_exactly_the_stored_fields(resource: Resource):
    described = {f.name for f in resource.fields if f.kept in {Kept.COLUMN, Kept.JOINED}}
    assert described == {field.name for field in dataclasses.fields(resource.record)}


@by_resource
def test_the_table_has_exactly_the_columns_with_their_types_and_lengths(resource: Resource):
    table = tables.metadata.tables[resource.plural]
    assert set(resource.columns) == {c.name for c in table.columns} - set(HIDDEN_COLUMNS)
    for name in resource.columns:
        field, column = resource.by_name[name], table.columns[name]
        assert isinstance(column.type, column_types(field)), name
        length = getattr(column.type, "length", None) or getattr(
            getattr(column.type, "impl", None), "length", None
        )
        assert length == field.max_length, name
        if name != "created_at":
            assert column.nullable == field.nullable, name


@by_resource
def test_a_record_may_be_null_where_the_description_says_so(resource: Resource):
    hints = {field.name: str(field.type) for field in dataclasses.fields(resource.record)}
    for field in resource.fields:
        if field.kept not in {Kept.COLUMN, Kept.JOINED}:
            continue
        # A strategy without a schema is read as {} (the column may be NULL in older databases).
        if (resource.name, field.name) == ("strategy", "parameters_spec"):
            continue
        assert ("None" in hints[field.name]) == field.nullable, field.name


@pytest.mark.parametrize("name", MESSAGES)
def test_the_message_has_exactly_the_shown_fields_but_for_the_reviewed_exceptions(name: str):
    resource = next(r for r in STORED if r.name == name)
    shown = {f.name for f in resource.detailed(minor=MAX_MINOR)}
    own = {"action": {"reason"}, "action_plan": {"explanation"}}.get(name, set())  # Trimtab's own
    carried = {
        RENAMED.get((name, f.name), f.name)
        for f in MESSAGES[name].fields
        if (name, f.name) not in ONLY_TYPED
    }
    left_out = {field for (of, field) in ONLY_REST if of == name}
    assert carried - own == shown - left_out
    assert own <= carried
    assert not (left_out & carried), "no longer an exception"


@pytest.mark.parametrize("name", MESSAGES)
def test_the_message_types_carry_what_the_json_types_say(name: str):
    resource = next(r for r in STORED if r.name == name)
    for proto in MESSAGES[name].fields:
        if (name, proto.name) in ONLY_TYPED:
            continue
        field = resource.by_name[RENAMED.get((name, proto.name), proto.name)]
        if proto.is_repeated:
            assert field.type is JsonType.LIST, proto.name
        elif proto.message_type is not None:
            assert field.type in JSON_OF_MESSAGE[proto.message_type.full_name], proto.name
        else:
            assert field.type in JSON_OF_PROTO[proto.type], proto.name


def names(fields: tuple[Field, ...]) -> set[str]:
    return {field.name for field in fields}


TIMES = {"created_at", "updated_at", "deleted_at"}
TEMPLATE_LIST = {
    *("uuid", "name", "goal_uuid", "goal_name", "strategy_uuid", "strategy_name", "scope"),
}
AUDIT_LIST = {
    *("uuid", "name", "audit_type", "state", "goal_uuid", "goal_name", "strategy_uuid"),
    *("strategy_name", "interval", "scope", "auto_trigger", "next_run_time"),
}
PLAN_LIST = {
    *("uuid", "state", "audit_uuid", "strategy_uuid", "strategy_name", "efficacy_indicators"),
    *("global_efficacy", "updated_at"),
}
GOAL_LIST = {"uuid", "name", "display_name", "efficacy_specification"}
STRATEGY_LIST = {"uuid", "name", "display_name", "goal_uuid", "goal_name"}
ACTION_LIST = {"uuid", "state", "action_plan_uuid", "action_type", "parents"}


# The table of requirements A §3, written a second time by hand.
@pytest.mark.req("A-006")
@pytest.mark.parametrize(
    ("resource", "listed", "detailed", "gated"),
    [
        (GOALS, GOAL_LIST, GOAL_LIST | TIMES, {}),
        (STRATEGIES, STRATEGY_LIST, STRATEGY_LIST | {"parameters_spec"}, {}),
        (
            AUDIT_TEMPLATES,
            TEMPLATE_LIST,
            TEMPLATE_LIST | {"description"} | TIMES,
            {7: {"default_parameters"}},
        ),
        (
            AUDITS,
            AUDIT_LIST,
            AUDIT_LIST | {"parameters", "hostname"} | TIMES,
            {1: {"start_time", "end_time"}, 2: {"force"}, 5: {"status_message"}},
        ),
        (
            ACTION_PLANS,
            PLAN_LIST,
            PLAN_LIST | {"created_at", "deleted_at", "hostname"},
            {5: {"status_message"}},
        ),
        (
            ACTIONS,
            ACTION_LIST,
            ACTION_LIST | {"description", "input_parameters"} | TIMES,
            {5: {"status_message"}},
        ),
        (SCORING_ENGINES, {"uuid", "name", "description"}, None, {}),
        (
            SERVICES,
            {"id", "name", "host", "status"},
            {"id", "name", "host", "status", "last_seen_up"} | TIMES,
            {},
        ),
        (DATA_MODEL, None, None, {6: {"server_pinned_az", "server_flavor_extra_specs"}}),
    ],
    ids=lambda value: value.name if isinstance(value, Resource) else "",
)
def test_each_microversion_shows_the_fields_of_the_requirement(resource, listed, detailed, gated):
    if listed is not None:
        assert names(resource.listed(minor=MAX_MINOR)) == listed
    if detailed is not None:
        assert names(resource.detailed(minor=0)) == detailed
    new = {
        minor: names(resource.detailed(minor=minor)) - names(resource.detailed(minor=minor - 1))
        for minor in range(1, MAX_MINOR + 1)
    }
    assert {minor: fields for minor, fields in new.items() if fields} == gated


@pytest.mark.req("A-059", "A-063", "A-066")
def test_what_may_be_patched():
    audit = {"name", "interval", "parameters", "scope", "auto_trigger", "force", "state"}
    assert AUDITS.patchable == audit | {"start_time", "end_time"}
    assert ACTION_PLANS.patchable == {"state"}
    assert ACTIONS.patchable == {"state", "status_message"}
    template = {"name", "goal", "strategy", "description", "scope", "default_parameters"}
    assert AUDIT_TEMPLATES.patchable == AUDIT_TEMPLATES.on_create == template
    for resource in (GOALS, STRATEGIES, SCORING_ENGINES, SERVICES):
        assert not resource.patchable


@pytest.mark.req("A-008")
def test_what_an_audit_may_be_created_with():
    assert AUDITS.on_create == {
        *("name", "audit_type", "goal", "strategy", "audit_template_uuid", "interval"),
        *("parameters", "auto_trigger", "start_time", "end_time", "force"),
    }


@by_resource
def test_sort_keys_are_columns_and_page_sort_keys_are_not(resource: Resource):
    assert {"id", "created_at"} <= resource.sort_keys <= set(resource.columns)
    for key in resource.page_sort_keys:
        assert resource.by_name[key].kept is Kept.JOINED
    assert BY_PLURAL[resource.plural] is resource
    assert all(f.shown is Shown.NEVER for f in resource.fields if f.kept is Kept.BODY)
