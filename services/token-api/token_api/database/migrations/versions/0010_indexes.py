"""Indexes: bans in force, streams that a user may see, and participants who take a seat."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NOT_LIFTED = "lifted_at IS NULL"
_WITHOUT_END = "lifted_at IS NULL AND until IS NULL"
_IS_IN = "joined_at IS NOT NULL AND left_at IS NULL"
# By name: the table, the columns, and the rows that are in it, where these are not all.
_ADDED: dict[str, tuple[str, list[str], str | None]] = {
    "ix_streams_experience_id_created_at": ("streams", ["experience_id", "created_at", "id"], None),
    "ix_team_members_user_id": ("team_members", ["user_id", "space_id"], None),
    "ix_bans_user_id_until": ("bans", ["user_id", "until"], _NOT_LIFTED),
    "ix_bans_stream_id_user_id": ("bans", ["stream_id", "user_id", "until"], _NOT_LIFTED),
    "ix_bans_space_id_user_id": ("bans", ["space_id", "user_id", "until"], _NOT_LIFTED),
    "ix_bans_stream_id_until": ("bans", ["stream_id", "until"], _NOT_LIFTED),
    "ix_bans_space_id_until": ("bans", ["space_id", "until"], _NOT_LIFTED),
    "ix_bans_stream_id_created_at": ("bans", ["stream_id", "created_at", "id"], _WITHOUT_END),
    "ix_bans_space_id_created_at": ("bans", ["space_id", "created_at", "id"], _WITHOUT_END),
    "ix_participants_present": ("participants", ["session_id", "joined_at", "identity"], _IS_IN),
    "ix_participants_reserved": ("participants", ["session_id", "reserved_until"], "removed_at IS NULL"),
}


def upgrade() -> None:
    for name, (table, columns, condition) in _ADDED.items():
        rows = sa.text(condition) if condition is not None else None
        op.create_index(name, table, columns, sqlite_where=rows, postgresql_where=rows)
    op.drop_index("ix_bans_user_id", "bans")


def downgrade() -> None:
    op.create_index("ix_bans_user_id", "bans", ["user_id"])
    for name, (table, _, _) in _ADDED.items():
        op.drop_index(name, table)
