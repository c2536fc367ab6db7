"""Rooms of POST /v1/token that were removed stay removed; indexes for raised hands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from token_api.database.columns import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_OLD_INDEX = "ix_stage_requests_session_id_created_at"
_NEW_INDEXES = {
    "ix_stage_requests_session_id_state_created_at": ["session_id", "state", "created_at"],
    "ix_stage_requests_session_id_user_id": ["session_id", "user_id"],
}


def upgrade() -> None:
    op.add_column("call_rooms", sa.Column("removed_until", UtcDateTime(), nullable=True))
    for name, columns in _NEW_INDEXES.items():
        op.create_index(name, "stage_requests", columns)
    op.drop_index(_OLD_INDEX, "stage_requests")


def downgrade() -> None:
    op.create_index(_OLD_INDEX, "stage_requests", ["session_id", "created_at"])
    for name in _NEW_INDEXES:
        op.drop_index(name, "stage_requests")
    op.drop_column("call_rooms", "removed_until")
