"""Claims of removals: LiveKit gets one request to remove a participant."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from token_api.database.columns import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "removals",
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("livekit_sid", sa.String(length=64), nullable=False),
        sa.Column("claimed_until", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["stream_sessions.id"],
            name=op.f("fk_removals_session_id_stream_sessions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", "livekit_sid", name=op.f("pk_removals")),
    )


def downgrade() -> None:
    op.drop_table("removals")
