"""Rooms of POST /v1/token, which are made again while somebody may join them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from token_api.database.columns import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "call_rooms",
        sa.Column("room_name", sa.String(length=128), nullable=False),
        sa.Column("wanted_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("room_name", name=op.f("pk_call_rooms")),
    )


def downgrade() -> None:
    op.drop_table("call_rooms")
