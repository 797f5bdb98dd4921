"""What each resource looks like from outside: one description that every face and table obeys.

On the main path: `api` renders and validates by it, the store sorts by it, and a test proves that
the protobuf messages, the tables and the records agree with it. Requirements A §1.3, §2, §3, §4.

    AUDITS.listed(minor=4)      the fields of the short list at microversion 1.4
    AUDITS.detailed(minor=4)    the fields of show, create and PATCH answers
    AUDITS.sort_keys            what the store sorts by
    AUDITS.page_sort_keys       what is sorted within the page only (joined names)
"""

from __future__ import annotations

from trimtab_common.domain import records
from trimtab_common.domain.fields import (
    MAX_MINOR,
    Below,
    Field,
    Ident,
    JsonType,
    Kept,
    Resource,
    Shown,
)

_S, _D, _N = Shown.SHORT, Shown.DETAIL, Shown.NEVER
_STRING, _OBJECT, _LIST = JsonType.STRING, JsonType.OBJECT, JsonType.LIST
_INTEGER, _BOOLEAN, _NUMBER = JsonType.INTEGER, JsonType.BOOLEAN, JsonType.NUMBER
_NAIVE, _ZONED = JsonType.NAIVE_TIME, JsonType.ZONED_TIME


def _uuid() -> Field:
    return Field(name="uuid", type=_STRING, shown=_S, max_length=36)


def _id(*, shown: Shown = _N) -> Field:
    return Field(name="id", type=_INTEGER, shown=shown)


def _times(*, shown: Shown = _D) -> tuple[Field, Field, Field]:
    return (
        Field(name="created_at", type=_ZONED, shown=shown, nullable=True),
        Field(name="updated_at", type=_ZONED, shown=shown, nullable=True),
        Field(name="deleted_at", type=_ZONED, shown=shown, nullable=True),
    )


def _joined(name: str, *, nullable: bool = False, shown: Shown = _S) -> Field:
    return Field(name=name, type=_STRING, shown=shown, kept=Kept.JOINED, nullable=nullable)


def _key(name: str, *, nullable: bool = False) -> Field:
    return Field(name=name, type=_INTEGER, shown=_N, nullable=nullable)


def _state() -> Field:
    return Field(name="state", type=_STRING, shown=_S, patchable=True, max_length=20)


def _status_message(*, patchable: bool = False) -> Field:
    return Field(
        name="status_message",
        type=_STRING,
        nullable=True,
        since=5,
        patchable=patchable,
        max_length=255,
    )


def _body(name: str, *, patchable: bool = False, removable: bool = False) -> Field:
    return Field(
        name=name,
        type=_STRING,
        shown=_N,
        kept=Kept.BODY,
        nullable=True,
        on_create=True,
        patchable=patchable,
        removable=removable,
    )


def _own(name: str, type_: JsonType) -> Field:
    """A column that Watcher's API does not know."""
    return Field(name=name, type=type_, shown=_N, nullable=True, sortable=False)


GOALS = Resource(
    name="goal",
    plural="goals",
    record=records.Goal,
    fields=(
        _id(),
        _uuid(),
        Field(name="name", type=_STRING, shown=_S, max_length=63),
        Field(name="display_name", type=_STRING, shown=_S, max_length=63),
        Field(name="efficacy_specification", type=_LIST, shown=_S),
        *_times(),
    ),
)

STRATEGIES = Resource(
    name="strategy",
    plural="strategies",
    record=records.Strategy,
    fields=(
        _id(),
        _uuid(),
        Field(name="name", type=_STRING, shown=_S, max_length=63),
        Field(name="display_name", type=_STRING, shown=_S, max_length=63),
        _key("goal_id"),
        _joined("goal_uuid"),
        _joined("goal_name"),
        Field(name="parameters_spec", type=_OBJECT, nullable=True),
        *_times(shown=_N),
    ),
    filters={"goal": "goal"},
    page_sort_keys=("goal_uuid", "goal_name"),
)

AUDIT_TEMPLATES = Resource(
    name="audit_template",
    plural="audit_templates",
    record=records.AuditTemplate,
    fields=(
        _id(),
        _uuid(),
        Field(
            name="name",
            type=_STRING,
            shown=_S,
            on_create=True,
            required=True,
            patchable=True,
            max_length=63,
        ),
        _key("goal_id"),
        _joined("goal_uuid"),
        _joined("goal_name"),
        _key("strategy_id", nullable=True),
        _joined("strategy_uuid", nullable=True),
        _joined("strategy_name", nullable=True),
        Field(name="scope", type=_LIST, shown=_S, on_create=True, patchable=True, removable=True),
        Field(
            name="description",
            type=_STRING,
            nullable=True,
            on_create=True,
            patchable=True,
            removable=True,
            max_length=255,
        ),
        Field(
            name="default_parameters",
            type=_OBJECT,
            nullable=True,
            since=7,
            on_create=True,
            patchable=True,
            removable=True,
        ),
        _body("goal", patchable=True),
        _body("strategy", patchable=True, removable=True),
        *_times(),
    ),
    marker_must_be_uuid=True,
    filters={"goal": "goal", "strategy": "strategy"},
    page_sort_keys=("goal_uuid", "goal_name", "strategy_uuid", "strategy_name"),
)

AUDITS = Resource(
    name="audit",
    plural="audits",
    record=records.Audit,
    fields=(
        _id(),
        _uuid(),
        Field(name="name", type=_STRING, shown=_S, on_create=True, patchable=True, max_length=63),
        Field(
            name="audit_type",
            type=_STRING,
            shown=_S,
            on_create=True,
            required=True,
            max_length=20,
        ),
        _state(),
        _key("goal_id"),
        _joined("goal_uuid"),
        _joined("goal_name"),
        _key("strategy_id", nullable=True),
        _joined("strategy_uuid", nullable=True),
        _joined("strategy_name", nullable=True),
        Field(
            name="interval",
            type=_STRING,
            shown=_S,
            nullable=True,
            on_create=True,
            patchable=True,
            removable=True,
            max_length=36,
        ),
        Field(name="scope", type=_LIST, shown=_S, patchable=True, removable=True),
        Field(name="auto_trigger", type=_BOOLEAN, shown=_S, on_create=True, patchable=True),
        Field(name="next_run_time", type=_NAIVE, shown=_S, nullable=True),
        Field(name="parameters", type=_OBJECT, on_create=True, patchable=True, removable=True),
        Field(name="hostname", type=_STRING, nullable=True, max_length=255),
        Field(
            name="start_time",
            type=_NAIVE,
            nullable=True,
            since=1,
            on_create=True,
            patchable=True,
            removable=True,
        ),
        Field(
            name="end_time",
            type=_NAIVE,
            nullable=True,
            since=1,
            on_create=True,
            patchable=True,
            removable=True,
        ),
        Field(
            name="force",
            type=_BOOLEAN,
            since=2,
            below=Below.ACCEPTED,
            on_create=True,
            patchable=True,
        ),
        _status_message(),
        _body("goal"),
        _body("strategy"),
        _body("audit_template_uuid"),
        *_times(),
    ),
    marker_must_be_uuid=True,
    filters={"goal": "goal", "strategy": "strategy"},
    page_sort_keys=("goal_uuid", "goal_name", "strategy_uuid", "strategy_name"),
)

ACTION_PLANS = Resource(
    name="action_plan",
    plural="action_plans",
    record=records.ActionPlan,
    fields=(
        _id(),
        _uuid(),
        _state(),
        _key("audit_id"),
        _joined("audit_uuid"),
        _joined("audit_name", shown=_N),
        _key("strategy_id"),
        _joined("strategy_uuid"),
        _joined("strategy_name"),
        Field(name="efficacy_indicators", type=_LIST, shown=_S, kept=Kept.JOINED),
        Field(name="global_efficacy", type=_LIST, shown=_S),
        Field(name="hostname", type=_STRING, nullable=True, max_length=255),
        _status_message(),
        Field(name="updated_at", type=_ZONED, shown=_S, nullable=True),
        Field(name="created_at", type=_ZONED, nullable=True),
        Field(name="deleted_at", type=_ZONED, nullable=True),
    ),
    ident=Ident.UUID,
    marker_must_be_uuid=True,
    filters={"audit_uuid": "audit_uuid", "strategy": "strategy"},
    page_sort_keys=("audit_uuid", "strategy_uuid", "strategy_name"),
)

ACTIONS = Resource(
    name="action",
    plural="actions",
    record=records.Action,
    fields=(
        _id(),
        _uuid(),
        _state(),
        _key("action_plan_id"),
        _joined("action_plan_uuid"),
        Field(name="action_type", type=_STRING, shown=_S, max_length=255),
        Field(name="parents", type=_LIST, shown=_S),
        Field(name="description", type=_STRING, kept=Kept.COMPUTED),
        Field(name="input_parameters", type=_OBJECT),
        _status_message(patchable=True),
        _own("reason", _STRING),
        _own("facts", _OBJECT),
        _own("intent", _OBJECT),
        _own("result", _OBJECT),
        *_times(),
    ),
    ident=Ident.UUID,
    marker_must_be_uuid=True,
    filters={"action_plan_uuid": "action_plan_uuid", "audit_uuid": "audit_uuid"},
    page_sort_keys=("action_plan_uuid",),
    patch_since=5,
)

SCORING_ENGINES = Resource(
    name="scoring_engine",
    plural="scoring_engines",
    record=records.ScoringEngine,
    fields=(
        _id(),
        _uuid(),
        Field(name="name", type=_STRING, shown=_S, max_length=63),
        Field(name="description", type=_STRING, shown=_S, max_length=255),
        Field(name="metainfo", type=_STRING),
        *_times(shown=_N),
    ),
)

SERVICES = Resource(
    name="service",
    plural="services",
    record=records.Service,
    fields=(
        _id(shown=_S),
        Field(name="name", type=_STRING, shown=_S, max_length=255),
        Field(name="host", type=_STRING, shown=_S, max_length=255),
        Field(name="status", type=_STRING, shown=_S, kept=Kept.COMPUTED),
        Field(name="last_seen_up", type=_NAIVE, nullable=True),
        *_times(),
    ),
    ident=Ident.ID_NAME,
)


def _cell(name: str, type_: JsonType, *, nullable: bool = False, since: int = 0) -> Field:
    return Field(
        name=name, type=type_, shown=_S, kept=Kept.COMPUTED, nullable=nullable, since=since
    )


_NODE_NUMBERS = (
    *("memory", "memory_mb_reserved", "disk", "disk_gb_reserved", "vcpus", "vcpu_reserved"),
    *("memory_ratio", "vcpu_ratio", "disk_ratio"),
)

DATA_MODEL = Resource(
    name="data_model",
    plural="context",
    record=None,
    fields=(
        _cell("node_uuid", _STRING),
        _cell("node_hostname", _STRING),
        _cell("node_status", _STRING),
        _cell("node_disabled_reason", _STRING, nullable=True),
        _cell("node_state", _STRING),
        *(_cell(f"node_{name}", _NUMBER) for name in _NODE_NUMBERS),
        _cell("server_uuid", _STRING),
        _cell("server_name", _STRING),
        _cell("server_state", _STRING),
        _cell("server_vcpus", _NUMBER),
        _cell("server_memory", _NUMBER),
        _cell("server_disk", _NUMBER),
        _cell("server_metadata", _OBJECT),
        _cell("server_project_id", _STRING),
        _cell("server_locked", _BOOLEAN),
        _cell("server_watcher_exclude", _BOOLEAN),
        _cell("server_pinned_az", _STRING, nullable=True, since=6),
        _cell("server_flavor_extra_specs", _OBJECT, since=6),
    ),
)
"""One row of the data model; a node without servers has only the node_* fields (A-071)."""

__all__ = [
    "ACTIONS",
    "ACTION_PLANS",
    "AUDITS",
    "AUDIT_TEMPLATES",
    "BY_PLURAL",
    "DATA_MODEL",
    "GOALS",
    "MAX_MINOR",
    "SCORING_ENGINES",
    "SERVICES",
    "STORED",
    "STRATEGIES",
    "Below",
    "Field",
    "Ident",
    "JsonType",
    "Kept",
    "Resource",
    "Shown",
]

STORED = (
    GOALS,
    STRATEGIES,
    AUDIT_TEMPLATES,
    AUDITS,
    ACTION_PLANS,
    ACTIONS,
    SCORING_ENGINES,
    SERVICES,
)
"""The resources that have a table, parents before children."""
BY_PLURAL = {resource.plural: resource for resource in STORED}
