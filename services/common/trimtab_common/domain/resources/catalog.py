"""Goals, strategies, scoring engines and services: what the services declare, read-only here."""

from __future__ import annotations

from trimtab_common.domain import records
from trimtab_common.domain.fields import Field, Ident, Kept, Resource
from trimtab_common.domain.resources._members import (
    LIST,
    NAIVE,
    NEVER,
    OBJECT,
    SHORT,
    STRING,
    joined,
    key,
    row_id,
    times,
    uuid,
)

GOALS = Resource(
    name="goal",
    plural="goals",
    record=records.Goal,
    fields=(
        row_id(),
        uuid(),
        Field(name="name", type=STRING, shown=SHORT, max_length=63),
        Field(name="display_name", type=STRING, shown=SHORT, max_length=63),
        Field(name="efficacy_specification", type=LIST, shown=SHORT),
        *times(),
    ),
)

STRATEGIES = Resource(
    name="strategy",
    plural="strategies",
    record=records.Strategy,
    fields=(
        row_id(),
        uuid(),
        Field(name="name", type=STRING, shown=SHORT, max_length=63),
        Field(name="display_name", type=STRING, shown=SHORT, max_length=63),
        key("goal_id"),
        joined("goal_uuid"),
        joined("goal_name"),
        Field(name="parameters_spec", type=OBJECT, nullable=True),
        *times(shown=NEVER),
    ),
    filters={"goal": "goal"},
    page_sort_keys=("goal_uuid", "goal_name"),
)

SCORING_ENGINES = Resource(
    name="scoring_engine",
    plural="scoring_engines",
    record=records.ScoringEngine,
    fields=(
        row_id(),
        uuid(),
        Field(name="name", type=STRING, shown=SHORT, max_length=63),
        Field(name="description", type=STRING, shown=SHORT, max_length=255),
        Field(name="metainfo", type=STRING),
        *times(shown=NEVER),
    ),
)

SERVICES = Resource(
    name="service",
    plural="services",
    record=records.Service,
    fields=(
        row_id(shown=SHORT),
        Field(name="name", type=STRING, shown=SHORT, max_length=255),
        Field(name="host", type=STRING, shown=SHORT, max_length=255),
        Field(name="status", type=STRING, shown=SHORT, kept=Kept.COMPUTED),
        Field(name="last_seen_up", type=NAIVE, nullable=True),
        *times(),
    ),
    ident=Ident.ID_NAME,
)
