"""The first schema: Watcher's tables, and Trimtab's leases and outbox.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from trimtab_common.store.types import JsonText, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {
    **{
        f"{dialect}_{option}": value
        for dialect in ("mysql", "mariadb")
        for option, value in (
            ("engine", "InnoDB"),
            ("charset", "utf8mb4"),
            ("collate", "utf8mb4_bin"),
        )
    },
    "sqlite_autoincrement": True,
}


def _create(name: str, *items: sa.schema.SchemaItem) -> None:
    op.create_table(name, *items, **_OPTIONS)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), autoincrement=True, nullable=False)


def _stamps() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("created_at", UtcDateTime()),
        sa.Column("updated_at", UtcDateTime()),
        sa.Column("deleted_at", UtcDateTime()),
        sa.Column("deleted", sa.Integer(), nullable=False, server_default="0"),
    )


def upgrade() -> None:
    """Creates everything, parents before children."""
    _create(
        "action_descriptions",
        _id(),
        sa.Column("action_type", sa.String(255), nullable=False),
        sa.Column("description", sa.String(255), nullable=False),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("action_type", name="uq_action_descriptions_action_type"),
    )
    _create(
        "goals",
        _id(),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(63), nullable=False),
        sa.Column("efficacy_specification", JsonText(), nullable=False),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", "deleted", name="uq_goals_name_deleted"),
        sa.UniqueConstraint("uuid", name="uq_goals_uuid"),
    )
    _create(
        "leases",
        _id(),
        sa.Column("kind", sa.String(63), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("until_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "uuid", name="uq_leases_kind_uuid"),
    )
    _create(
        "outbox",
        _id(),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("event_type", sa.String(63), nullable=False),
        sa.Column("priority", sa.String(16), nullable=False),
        sa.Column("object_uuid", sa.String(36), nullable=False),
        sa.Column("publisher", sa.String(255), nullable=False),
        sa.Column("payload", JsonText(), nullable=False),
        sa.Column("plan_id", sa.Integer()),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("published_at", UtcDateTime()),
        sa.Column("sent", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid", name="uq_outbox_uuid"),
    )
    op.create_index("ix_outbox_plan_id", "outbox", ["plan_id"])
    op.create_index("ix_outbox_published_at_id", "outbox", ["published_at", "id"])
    _create(
        "requests",
        _id(),
        sa.Column("caller", sa.String(255), nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("answer", JsonText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("caller", "request_id", name="uq_requests_caller_request_id"),
    )
    op.create_index("ix_requests_created_at", "requests", ["created_at"])
    _create(
        "scoring_engines",
        _id(),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("description", sa.String(255), nullable=False),
        sa.Column("metainfo", sa.Text(), nullable=False),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", "deleted", name="uq_scoring_engines_name_deleted"),
        sa.UniqueConstraint("uuid", name="uq_scoring_engines_uuid"),
    )
    _create(
        "services",
        _id(),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("last_seen_up", UtcDateTime()),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("host", "name", "deleted", name="uq_services_host_name_deleted"),
    )
    _create(
        "strategies",
        _id(),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("display_name", sa.String(63), nullable=False),
        sa.Column("goal_id", sa.Integer(), nullable=False),
        sa.Column("parameters_spec", JsonText()),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["goal_id"], ["goals.id"], name="fk_strategies_goal_id"),
        sa.UniqueConstraint("name", "deleted", name="uq_strategies_name_deleted"),
        sa.UniqueConstraint("uuid", name="uq_strategies_uuid"),
    )
    op.create_index("ix_strategies_goal_id", "strategies", ["goal_id"])
    _create(
        "audit_templates",
        _id(),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("description", sa.String(255)),
        sa.Column("goal_id", sa.Integer(), nullable=False),
        sa.Column("strategy_id", sa.Integer()),
        sa.Column("scope", JsonText(), nullable=False),
        sa.Column("default_parameters", JsonText()),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["goal_id"], ["goals.id"], name="fk_audit_templates_goal_id"),
        sa.ForeignKeyConstraint(
            ["strategy_id"], ["strategies.id"], name="fk_audit_templates_strategy_id"
        ),
        sa.UniqueConstraint("name", "deleted", name="uq_audit_templates_name_deleted"),
        sa.UniqueConstraint("uuid", name="uq_audit_templates_uuid"),
    )
    op.create_index("ix_audit_templates_goal_id", "audit_templates", ["goal_id"])
    op.create_index("ix_audit_templates_strategy_id", "audit_templates", ["strategy_id"])
    _create(
        "audits",
        _id(),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("audit_type", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("parameters", JsonText(), nullable=False),
        sa.Column("interval", sa.String(36)),
        sa.Column("goal_id", sa.Integer(), nullable=False),
        sa.Column("strategy_id", sa.Integer()),
        sa.Column("scope", JsonText(), nullable=False),
        sa.Column("auto_trigger", sa.Boolean(), nullable=False),
        sa.Column("next_run_time", UtcDateTime()),
        sa.Column("hostname", sa.String(255)),
        sa.Column("start_time", UtcDateTime()),
        sa.Column("end_time", UtcDateTime()),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("status_message", sa.String(255)),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["goal_id"], ["goals.id"], name="fk_audits_goal_id"),
        sa.ForeignKeyConstraint(["strategy_id"], ["strategies.id"], name="fk_audits_strategy_id"),
        sa.UniqueConstraint("name", "deleted", name="uq_audits_name_deleted"),
        sa.UniqueConstraint("uuid", name="uq_audits_uuid"),
    )
    op.create_index("ix_audits_goal_id", "audits", ["goal_id"])
    op.create_index("ix_audits_state_deleted", "audits", ["state", "deleted"])
    op.create_index("ix_audits_strategy_id", "audits", ["strategy_id"])
    _create(
        "action_plans",
        _id(),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("audit_id", sa.Integer(), nullable=False),
        sa.Column("strategy_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("global_efficacy", JsonText(), nullable=False),
        sa.Column("hostname", sa.String(255)),
        sa.Column("status_message", sa.String(255)),
        sa.Column("visible", sa.Boolean(), nullable=False),
        sa.Column("actions_follow", sa.Boolean(), nullable=False),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["audit_id"], ["audits.id"], name="fk_action_plans_audit_id"),
        sa.ForeignKeyConstraint(
            ["strategy_id"], ["strategies.id"], name="fk_action_plans_strategy_id"
        ),
        sa.UniqueConstraint("uuid", name="uq_action_plans_uuid"),
    )
    op.create_index("ix_action_plans_audit_id", "action_plans", ["audit_id"])
    op.create_index("ix_action_plans_state_deleted", "action_plans", ["state", "deleted"])
    op.create_index("ix_action_plans_strategy_id", "action_plans", ["strategy_id"])
    op.create_index("ix_action_plans_visible", "action_plans", ["visible"])
    op.create_index("ix_action_plans_actions_follow", "action_plans", ["actions_follow"])
    _create(
        "actions",
        _id(),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("action_plan_id", sa.Integer(), nullable=False),
        sa.Column("action_type", sa.String(255), nullable=False),
        sa.Column("input_parameters", JsonText(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("parents", JsonText(), nullable=False),
        sa.Column("status_message", sa.String(255)),
        sa.Column("reason", sa.Text()),
        sa.Column("facts", JsonText()),
        sa.Column("intent", JsonText()),
        sa.Column("result", JsonText()),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(
            ["action_plan_id"], ["action_plans.id"], name="fk_actions_action_plan_id"
        ),
        sa.UniqueConstraint("uuid", name="uq_actions_uuid"),
    )
    op.create_index("ix_actions_action_plan_id", "actions", ["action_plan_id"])
    _create(
        "efficacy_indicators",
        _id(),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("description", sa.String(255)),
        sa.Column("unit", sa.String(63)),
        sa.Column("value", sa.Numeric(18, 3)),
        sa.Column("data", sa.Double(), nullable=False),
        sa.Column("action_plan_id", sa.Integer(), nullable=False),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(
            ["action_plan_id"], ["action_plans.id"], name="fk_efficacy_indicators_action_plan_id"
        ),
        sa.UniqueConstraint("uuid", name="uq_efficacy_indicators_uuid"),
    )
    op.create_index(
        "ix_efficacy_indicators_action_plan_id", "efficacy_indicators", ["action_plan_id"]
    )


def downgrade() -> None:
    """Removes everything, children before parents."""
    for name in (
        "efficacy_indicators",
        "actions",
        "action_plans",
        "audits",
        "audit_templates",
        "strategies",
        "services",
        "scoring_engines",
        "requests",
        "outbox",
        "leases",
        "goals",
        "action_descriptions",
    ):
        op.drop_table(name)
