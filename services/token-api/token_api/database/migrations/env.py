"""What Alembic runs: in the connection, and in the transaction, of `database.migrate`."""

from __future__ import annotations

from alembic import context

from token_api.database import tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.Stream.metadata,
    # SQLite's ALTER TABLE knows little: a changed table is copied.
    render_as_batch=True,
    # All or nothing, on both databases: `migrate` holds the transaction.
    transactional_ddl=True,
    compare_type=True,
)
context.run_migrations()
