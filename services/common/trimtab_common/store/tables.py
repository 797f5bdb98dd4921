"""The tables: Watcher's columns (requirements A §9) and Trimtab's own.

On the main path: `specs` builds its statements from these; `migrations` makes them. Watcher's
table of scheduled jobs is absent: the schedule is `audits.next_run_time`.
`deleted` is 0 for a live row and the row's id after a soft delete, so that names can be reused.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from trimtab_common.store.types import JsonText, StateText, UtcDateTime

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

# A binary collation, because SQLite and PostgreSQL tell A from a; look-ups fold case themselves.
_OPTIONS: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
    "sqlite_autoincrement": True,
}


def _table(name: str, *items: sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(name, metadata, *items, **_OPTIONS)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer, primary_key=True, autoincrement=True)


def _uuid() -> sa.Column[str]:
    return sa.Column("uuid", sa.String(36), nullable=False, unique=True)


def _name(length: int = 63) -> sa.Column[str]:
    return sa.Column("name", sa.String(length), nullable=False)


def _key(name: str, *, nullable: bool = False) -> sa.Column[int]:
    target = {"action_plan_id": "action_plans", "strategy_id": "strategies"}.get(
        name, f"{name.removesuffix('_id')}s"
    )
    return sa.Column(name, sa.Integer, sa.ForeignKey(f"{target}.id"), nullable=nullable, index=True)


def _stamps() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("created_at", UtcDateTime),
        sa.Column("updated_at", UtcDateTime),
        sa.Column("deleted_at", UtcDateTime),
        sa.Column("deleted", sa.Integer, nullable=False, server_default="0"),
    )


goals = _table(
    "goals",
    _id(),
    _uuid(),
    _name(),
    sa.Column("display_name", sa.String(63), nullable=False),
    sa.Column("efficacy_specification", JsonText, nullable=False),
    *_stamps(),
    sa.UniqueConstraint("name", "deleted"),
)

strategies = _table(
    "strategies",
    _id(),
    _uuid(),
    _name(),
    sa.Column("display_name", sa.String(63), nullable=False),
    _key("goal_id"),
    sa.Column("parameters_spec", JsonText),
    *_stamps(),
    sa.UniqueConstraint("name", "deleted"),
)

audit_templates = _table(
    "audit_templates",
    _id(),
    _uuid(),
    _name(),
    sa.Column("description", sa.String(255)),
    _key("goal_id"),
    _key("strategy_id", nullable=True),
    sa.Column("scope", JsonText, nullable=False),
    sa.Column("default_parameters", JsonText),
    *_stamps(),
    sa.UniqueConstraint("name", "deleted"),
)

audits = _table(
    "audits",
    _id(),
    _uuid(),
    _name(),
    sa.Column("audit_type", StateText(20), nullable=False),
    sa.Column("state", StateText(20), nullable=False),
    sa.Column("parameters", JsonText, nullable=False),
    sa.Column("interval", sa.String(36)),
    _key("goal_id"),
    _key("strategy_id", nullable=True),
    sa.Column("scope", JsonText, nullable=False),
    sa.Column("auto_trigger", sa.Boolean, nullable=False),
    sa.Column("next_run_time", UtcDateTime),
    sa.Column("hostname", sa.String(255)),
    sa.Column("start_time", UtcDateTime),
    sa.Column("end_time", UtcDateTime),
    sa.Column("force", sa.Boolean, nullable=False),
    sa.Column("status_message", sa.String(255)),
    *_stamps(),
    sa.UniqueConstraint("name", "deleted"),
    sa.Index(None, "state", "deleted"),
)

action_plans = _table(
    "action_plans",
    _id(),
    _uuid(),
    _key("audit_id"),
    _key("strategy_id"),
    sa.Column("state", StateText(20), nullable=False),
    sa.Column("global_efficacy", JsonText, nullable=False),
    sa.Column("hostname", sa.String(255)),
    sa.Column("status_message", sa.String(255)),
    sa.Column("explanation", JsonText),
    # False while its actions are being stored in chunks: no read shows it.
    sa.Column("visible", sa.Boolean, nullable=False),
    # True from its deletion or cancelling until its actions have followed: the sweep looks here.
    sa.Column("actions_follow", sa.Boolean, nullable=False),
    *_stamps(),
    sa.Index(None, "state", "deleted"),
    sa.Index(None, "visible"),
    sa.Index(None, "actions_follow"),
)

actions = _table(
    "actions",
    _id(),
    _uuid(),
    _key("action_plan_id"),
    sa.Column("action_type", sa.String(255), nullable=False),
    sa.Column("input_parameters", JsonText, nullable=False),
    sa.Column("state", StateText(20), nullable=False),
    sa.Column("parents", JsonText, nullable=False),
    sa.Column("status_message", sa.String(255)),
    sa.Column("reason", sa.Text),
    sa.Column("facts", JsonText),
    sa.Column("intent", JsonText),
    sa.Column("result", JsonText),
    *_stamps(),
)

efficacy_indicators = _table(
    "efficacy_indicators",
    _id(),
    _uuid(),
    _name(),
    sa.Column("description", sa.String(255)),
    sa.Column("unit", sa.String(63)),
    # Watcher's deprecated column, never filled; `data` is the value.
    sa.Column("value", sa.Numeric(18, 3)),
    sa.Column("data", sa.Double, nullable=False),
    _key("action_plan_id"),
    *_stamps(),
)

scoring_engines = _table(
    "scoring_engines",
    _id(),
    _uuid(),
    _name(),
    sa.Column("description", sa.String(255), nullable=False),
    sa.Column("metainfo", sa.Text, nullable=False),
    *_stamps(),
    sa.UniqueConstraint("name", "deleted"),
)

services = _table(
    "services",
    _id(),
    _name(255),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("last_seen_up", UtcDateTime),
    *_stamps(),
    sa.UniqueConstraint("host", "name", "deleted"),
)

action_descriptions = _table(
    "action_descriptions",
    _id(),
    sa.Column("action_type", sa.String(255), nullable=False, unique=True),
    sa.Column("description", sa.String(255), nullable=False),
    *_stamps(),
)

# A released lease keeps its row, so that its fence only ever grows. owner '' = free.
leases = _table(
    "leases",
    _id(),
    sa.Column("kind", sa.String(63), nullable=False),
    sa.Column("uuid", sa.String(36), nullable=False),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("until_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint("kind", "uuid"),
)

# plan_id: the row waits until that plan is visible.
outbox = _table(
    "outbox",
    _id(),
    _uuid(),
    sa.Column("event_type", sa.String(63), nullable=False),
    sa.Column("priority", sa.String(16), nullable=False),
    sa.Column("object_uuid", sa.String(36), nullable=False),
    sa.Column("publisher", sa.String(255), nullable=False),
    sa.Column("payload", JsonText, nullable=False),
    sa.Column("plan_id", sa.Integer, index=True),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("published_at", UtcDateTime),
    sa.Column("sent", sa.Boolean, nullable=False),
    sa.Index(None, "published_at", "id"),
)

# What a create with a request id answered, so that the same request gets the same answer again.
requests = _table(
    "requests",
    _id(),
    sa.Column("caller", sa.String(255), nullable=False),
    sa.Column("request_id", sa.String(36), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("answer", JsonText, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    sa.UniqueConstraint("caller", "request_id"),
)
