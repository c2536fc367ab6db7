"""Claims of rooms whose events one process works on."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from token_api.database.columns import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WAITING = sa.text("state = 'waiting'")


def upgrade() -> None:
    op.create_table(
        "inbox_claims",
        sa.Column("room_name", sa.String(length=256), nullable=False),
        sa.Column("claimed_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("room_name", name=op.f("pk_inbox_claims")),
    )
    op.create_index(
        "ix_webhook_inbox_waiting_room",
        "webhook_inbox",
        ["room_name"],
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )


def downgrade() -> None:
    op.drop_index("ix_webhook_inbox_waiting_room", "webhook_inbox")
    op.drop_table("inbox_claims")
