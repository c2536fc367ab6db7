"""Bans by the host application, which also keep out a stream's owner and team."""

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


def downgrade() -> None:
    op.drop_column("bans", "by_host")
