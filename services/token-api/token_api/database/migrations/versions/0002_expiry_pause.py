"""Expired grants are told of, endpoints want a pause, and visits that are not over are found."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from token_api.database.columns import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UNTOLD = "expires_at IS NOT NULL AND expiry_told_at IS NULL AND cancelled_at IS NULL"
_NOT_OVER = "left_at IS NULL"


def upgrade() -> None:
    op.add_column("access_grants", sa.Column("expiry_told_at", UtcDateTime(), nullable=True))
    # Those of years ago are no news.
    grants = sa.table(
        "access_grants", sa.column("expires_at", UtcDateTime()), sa.column("expiry_told_at", UtcDateTime())
    )
    op.execute(
        grants.update()
        .where(grants.c.expires_at <= datetime.now(UTC))
        .values(expiry_told_at=grants.c.expires_at)
    )
    _index("ix_access_grants_expiry_untold", "access_grants", "expires_at", _UNTOLD)
    _index("ix_visits_not_over", "visits", "session_id", _NOT_OVER)
    op.add_column("webhook_endpoints", sa.Column("paused_until", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("webhook_endpoints", "paused_until")
    op.drop_index("ix_visits_not_over", "visits")
    op.drop_index("ix_access_grants_expiry_untold", "access_grants")
    op.drop_column("access_grants", "expiry_told_at")


def _index(name: str, table: str, column: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)
