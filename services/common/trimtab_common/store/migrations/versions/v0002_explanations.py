"""Action plans keep why they are what they are.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from trimtab_common.store.types import JsonText

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Plans made before explain nothing."""
    op.add_column("action_plans", sa.Column("explanation", JsonText()))


def downgrade() -> None:
    """Explanations are lost."""
    with op.batch_alter_table("action_plans") as table:
        table.drop_column("explanation")
