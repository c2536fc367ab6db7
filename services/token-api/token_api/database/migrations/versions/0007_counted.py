"""Viewers and quality are counted when they change, in place of rows that every reader goes through."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from itertools import groupby
from typing import Any

import sqlalchemy as sa
from alembic import op

from token_api.database.columns import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_METRICS = "rtt_ms loss_permille freezes freeze_ms bitrate_kbps frames_per_second frame_height".split()
_SEATED = ("viewer", "guest")
_MILLISECOND = timedelta(milliseconds=1)

_sessions = sa.table(
    "stream_sessions",
    sa.column("id", sa.String),
    sa.column("stream_id", sa.String),
    sa.column("requested_at", UtcDateTime),
    *(sa.column(f"viewers_{what}", sa.Integer) for what in ("now", "peak", "unique", "new")),
    sa.column("viewer_moments", sa.BigInteger),
)
_visits = sa.table(
    "visits",
    sa.column("session_id", sa.String),
    sa.column("livekit_sid", sa.String),
    sa.column("identity", sa.String),
    sa.column("joined_at", UtcDateTime),
    sa.column("left_at", UtcDateTime),
    sa.column("counts", sa.Boolean),
)
_participants = sa.table(
    "participants",
    sa.column("session_id", sa.String),
    sa.column("identity", sa.String),
    sa.column("role", sa.String),
)
_steps = sa.table(
    "audience_steps",
    sa.column("session_id", sa.String),
    sa.column("place", sa.Integer),
    sa.column("change", sa.Integer),
)
_samples = sa.table(
    "qos_samples", sa.column("session_id", sa.String), *(sa.column(name, sa.Integer) for name in _METRICS)
)
_counts = sa.table(
    "quality_counts",
    sa.column("session_id", sa.String),
    sa.column("metric", sa.String),
    sa.column("bucket", sa.Integer),
    sa.column("samples", sa.BigInteger),
)


def upgrade() -> None:
    for name in ("viewers_now", "viewers_peak", "viewers_unique", "viewers_new"):
        op.add_column("stream_sessions", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    op.add_column(
        "stream_sessions", sa.Column("viewer_moments", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column("visits", sa.Column("counts", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.drop_index("ix_visits_session_id_identity", "visits")
    op.create_index(
        "ix_visits_session_id_identity_joined_at", "visits", ["session_id", "identity", "joined_at"]
    )
    op.create_table(
        "audience_steps",
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("change", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["stream_sessions.id"],
            name=op.f("fk_audience_steps_session_id_stream_sessions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", "place", name=op.f("pk_audience_steps")),
    )
    op.create_table(
        "quality_counts",
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("samples", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["stream_sessions.id"],
            name=op.f("fk_quality_counts_session_id_stream_sessions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("session_id", "metric", "bucket", name=op.f("pk_quality_counts")),
    )
    connection = op.get_bind()
    seated = sa.exists().where(
        _participants.c.session_id == _visits.c.session_id,
        _participants.c.identity == _visits.c.identity,
        _participants.c.role.in_(_SEATED),
    )
    connection.execute(sa.update(_visits).where(seated).values(counts=True))
    _count_viewers(connection)
    _count_samples(connection)
    op.drop_table("qos_samples")


def _count_viewers(connection: sa.Connection) -> None:
    seen: dict[str, set[str]] = defaultdict(set)
    columns = (_sessions.c.id, _sessions.c.stream_id, _sessions.c.requested_at)
    for session in connection.execute(sa.select(*columns).order_by(_sessions.c.requested_at)).all():
        steps = _steps_of(connection, session.id)
        viewers = set(
            connection.scalars(
                sa.select(_visits.c.identity)
                .where(_visits.c.session_id == session.id, _visits.c.counts)
                .distinct()
            )
        )
        if not viewers:
            continue
        places: Counter[int] = Counter()
        moments, now, peak = 0, 0, 0
        for at, by in sorted(steps.items()):
            age = at - session.requested_at
            moments += by * (age // _MILLISECOND)
            now += by
            peak = max(peak, now)
            places[_place_of(age)] += by
        earlier = seen[session.stream_id]
        connection.execute(
            sa.update(_sessions)
            .where(_sessions.c.id == session.id)
            .values(
                viewers_now=now,
                viewers_peak=peak,
                viewers_unique=len(viewers),
                viewers_new=len(viewers - earlier),
                viewer_moments=moments,
            )
        )
        earlier |= viewers
        rows = [{"session_id": session.id, "place": place, "change": by} for place, by in places.items()]
        connection.execute(sa.insert(_steps), rows)


def _steps_of(connection: sa.Connection, session_id: str) -> Counter[Any]:
    """Changes of the number of viewers, by when. The next visit of a person ends the one before."""
    columns = (_visits.c.identity, _visits.c.joined_at, _visits.c.left_at, _visits.c.counts)
    visits = connection.execute(
        sa.select(*columns)
        .where(_visits.c.session_id == session_id)
        .order_by(_visits.c.identity, _visits.c.joined_at, _visits.c.livekit_sid)
    ).all()
    steps: Counter[Any] = Counter()
    for _, own in groupby(visits, key=lambda visit: visit.identity):
        following = list(own)
        for number, visit in enumerate(following):
            after = following[number + 1].joined_at if number + 1 < len(following) else None
            ends = [end for end in (visit.left_at, after) if end is not None]
            if visit.counts:
                steps[visit.joined_at] += 1
                if ends:
                    steps[max(visit.joined_at, min(ends))] -= 1
    return steps


def _place_of(age: timedelta) -> int:
    seconds = max(0, int(age.total_seconds()))
    shift = max(0, seconds.bit_length() - 9)
    return seconds >> shift << shift


def _count_samples(connection: sa.Connection) -> None:
    for metric in _METRICS:
        column = _samples.c[metric]
        found = connection.execute(
            sa.select(_samples.c.session_id, column, sa.func.count())
            .where(_samples.c.session_id.is_not(None), column.is_not(None))
            .group_by(_samples.c.session_id, column)
        ).all()
        counts: Counter[tuple[str, int]] = Counter()
        for session_id, value, count in found:
            shift = max(0, value.bit_length() - 6)
            counts[session_id, shift * 32 + (value >> shift)] += count
        rows = [
            {"session_id": session_id, "metric": metric, "bucket": bucket, "samples": count}
            for (session_id, bucket), count in counts.items()
        ]
        if rows:
            connection.execute(sa.insert(_counts), rows)


def downgrade() -> None:
    op.create_table(
        "qos_samples",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("stream_id", sa.String(length=36), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=True),
        sa.Column("user_id", sa.String(length=128), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=True) for name in _METRICS),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["stream_sessions.id"],
            name=op.f("fk_qos_samples_session_id_stream_sessions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["stream_id"], ["streams.id"], name=op.f("fk_qos_samples_stream_id_streams"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_qos_samples")),
    )
    op.create_index("ix_qos_samples_at", "qos_samples", ["at"])
    op.create_index("ix_qos_samples_stream_id_at", "qos_samples", ["stream_id", "at"])
    op.drop_table("quality_counts")
    op.drop_table("audience_steps")
    op.drop_index("ix_visits_session_id_identity_joined_at", "visits")
    op.create_index("ix_visits_session_id_identity", "visits", ["session_id", "identity"])
    op.drop_column("visits", "counts")
    for name in ("viewer_moments", "viewers_new", "viewers_unique", "viewers_peak", "viewers_now"):
        op.drop_column("stream_sessions", name)
