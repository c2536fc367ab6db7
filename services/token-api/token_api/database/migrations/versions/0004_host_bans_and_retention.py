"""Bans by the host application, and an index by which old audit entries are removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Bans of earlier releases never kept out owner and team, so none of them is one of the new kind.
    op.add_column("bans", sa.Column("by_host", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_audit_log_at", "audit_log", ["at"])


def downgrade() -> None:
    op.drop_index("ix_audit_log_at", "audit_log")
    op.drop_column("bans", "by_host")
