"""Action plans and their actions."""

from __future__ import annotations

from trimtab_common.domain import records
from trimtab_common.domain.fields import Field, Ident, Kept, Resource, Since
from trimtab_common.domain.resources._members import (
    LIST,
    NEVER,
    OBJECT,
    SHORT,
    STRING,
    ZONED,
    joined,
    key,
    own,
    row_id,
    state,
    status_message,
    times,
    uuid,
)

ACTION_PLANS = Resource(
    name="action_plan",
    plural="action_plans",
    record=records.ActionPlan,
    fields=(
        row_id(),
        uuid(),
        state(),
        key("audit_id"),
        joined("audit_uuid"),
        joined("audit_name", shown=NEVER),
        key("strategy_id"),
        joined("strategy_uuid"),
        joined("strategy_name"),
        Field(name="efficacy_indicators", type=LIST, shown=SHORT, kept=Kept.JOINED),
        Field(name="global_efficacy", type=LIST, shown=SHORT),
        Field(name="hostname", type=STRING, nullable=True, max_length=255),
        status_message(),
        own("explanation", OBJECT),
        Field(name="updated_at", type=ZONED, shown=SHORT, nullable=True),
        Field(name="created_at", type=ZONED, nullable=True),
        Field(name="deleted_at", type=ZONED, nullable=True),
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
        row_id(),
        uuid(),
        state(),
        key("action_plan_id"),
        joined("action_plan_uuid"),
        Field(name="action_type", type=STRING, shown=SHORT, max_length=255),
        Field(name="parents", type=LIST, shown=SHORT),
        Field(name="description", type=STRING, kept=Kept.COMPUTED),
        Field(name="input_parameters", type=OBJECT),
        status_message(patchable=True),
        own("reason", STRING),
        own("facts", OBJECT),
        own("intent", OBJECT),
        own("result", OBJECT),
        *times(),
    ),
    ident=Ident.UUID,
    marker_must_be_uuid=True,
    filters={"action_plan_uuid": "action_plan_uuid", "audit_uuid": "audit_uuid"},
    page_sort_keys=("action_plan_uuid",),
    patch_since=Since.PATCH_ACTIONS,
)
