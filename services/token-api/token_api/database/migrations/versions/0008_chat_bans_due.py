"""Bans that GetStream has to be told of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from token_api.database.columns import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chat_bans_due",
        sa.Column("stream_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=128), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("claimed_until", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["streams.id"],
            name=op.f("fk_chat_bans_due_stream_id_streams"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("stream_id", "user_id", name=op.f("pk_chat_bans_due")),
    )
    op.create_index("ix_chat_bans_due_due_at", "chat_bans_due", ["due_at"])


def downgrade() -> None:
    op.drop_table("chat_bans_due")
