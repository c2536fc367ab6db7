"""Streams that are recorded by themselves; layouts; recordings that failed with a file, or were given up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from token_api.database.columns import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_LAYOUTS = [
    f"{layout}{background}"
    for layout in ("speaker", "grid", "single-speaker")
    for background in ("", "-light", "-dark")
]
_recordings = sa.table(
    "recordings",
    sa.column("status", sa.String),
    sa.column("size_bytes", sa.BigInteger),
    sa.column("has_file", sa.Boolean),
)


def upgrade() -> None:
    op.add_column("streams", sa.Column("record", sa.Boolean(), nullable=False, server_default=sa.false()))
    _add_layout("streams", "record_layout")
    _add_layout("recordings", "layout")
    for name in ("has_file", "given_up"):
        op.add_column("recordings", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("recordings", sa.Column("recorder_absent_since", UtcDateTime(), nullable=True))
    over = _recordings.c.status.in_(["complete", "failed", "aborted"])
    op.execute(
        sa.update(_recordings)
        .where((_recordings.c.status == "complete") | (over & (_recordings.c.size_bytes > 0)))
        .values(has_file=True)
    )
    states = ("armed", "never-started", "waiting", "started")
    op.create_table(
        "auto_recordings",
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("stream_id", sa.String(length=36), nullable=False),
        sa.Column(
            "state",
            sa.Enum(*states, name="state", native_enum=False, create_constraint=True, length=32),
            nullable=False,
        ),
        sa.Column("armed_at", UtcDateTime(), nullable=False),
        sa.Column("next_at", UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["stream_sessions.id"],
            name=op.f("fk_auto_recordings_session_id_stream_sessions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["stream_id"],
            ["streams.id"],
            name=op.f("fk_auto_recordings_stream_id_streams"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_auto_recordings")),
    )
    op.create_index("ix_auto_recordings_stream_id_armed_at", "auto_recordings", ["stream_id", "armed_at"])
    due = sa.text("next_at IS NOT NULL")
    op.create_index(
        "ix_auto_recordings_next_at", "auto_recordings", ["next_at"], sqlite_where=due, postgresql_where=due
    )


def _add_layout(table: str, column: str) -> None:
    # Not by `add_column`, which would add the check apart: SQLite knows it only within the column.
    allowed = ", ".join(f"'{layout}'" for layout in _LAYOUTS)
    op.execute(
        f"ALTER TABLE {table} ADD COLUMN {column} VARCHAR(32) DEFAULT 'speaker' NOT NULL "
        f"CONSTRAINT ck_{table}_{column} CHECK ({column} IN ({allowed}))"
    )


def downgrade() -> None:
    op.drop_table("auto_recordings")
    for name in ("recorder_absent_since", "given_up", "has_file", "layout"):
        op.drop_column("recordings", name)
    op.drop_column("streams", "record_layout")
    op.drop_column("streams", "record")
