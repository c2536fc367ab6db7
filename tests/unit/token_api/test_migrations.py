"""The tables' history: up and down, from nothing and from a filled database, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Engine, bindparam, create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from tests.unit.token_api.support import LATEST_REVISION
from token_api.database.columns import Base, UtcDateTime
from token_api.database.engine import database_url, prepare_sqlite
from token_api.database.migrate import migrate
from token_api.database.tables import (
    AccessGrant,
    AudienceStep,
    QualityCount,
    Recording,
    Stream,
    StreamSession,
)
from token_api.domain.vocabulary import StreamKind

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, UTC)


def engine_of(url: str) -> Engine:
    made = create_engine(database_url(url, driver=False))
    if made.dialect.name == "sqlite":
        prepare_sqlite(made)
    return made


def tables(url: str) -> set[str]:
    engine = engine_of(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_up_makes_the_tables_that_the_code_has(empty_database: str) -> None:
    assert migrate(empty_database) == (None, LATEST_REVISION)
    engine = engine_of(empty_database)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_down_takes_all_away_also_when_filled(empty_database: str) -> None:
    migrate(empty_database)
    engine = engine_of(empty_database)
    with Session(engine) as session:
        stream = Stream(
            kind=StreamKind.STREAM, title="a", owner_id="u", space_id="s", created_at=NOW, updated_at=NOW
        )
        session.add(stream)
        session.flush()
        session.add(StreamSession(stream_id=stream.id, room_name="r", requested_at=NOW))
        session.commit()
        assert session.scalars(select(Stream.created_at)).one() == NOW
    engine.dispose()
    assert migrate(empty_database, "base") == (LATEST_REVISION, None)
    assert tables(empty_database) <= {"alembic_version"}
    assert migrate(empty_database) == (None, LATEST_REVISION)
    assert migrate(empty_database) == (LATEST_REVISION, LATEST_REVISION)


def test_grants_that_expired_before_there_was_an_event_for_it_are_no_news(empty_database: str) -> None:
    assert migrate(empty_database, "0001") == (None, "0001")
    ends = {"over": NOW - timedelta(days=3650), "later": NOW + timedelta(days=3650), "never": None}
    engine = engine_of(empty_database)
    columns = "id, user_id, scope, scope_id, expires_at, created_at"
    insert = text(
        f"INSERT INTO access_grants ({columns}) VALUES (:id, 'u', 'space', 's', :end, :now)"  # noqa: S608
    ).bindparams(bindparam("end", type_=UtcDateTime), bindparam("now", NOW, type_=UtcDateTime))
    told = select(AccessGrant.id, AccessGrant.expiry_told_at)
    with engine.begin() as connection:
        connection.execute(insert, [{"id": grant, "end": end} for grant, end in ends.items()])
    for _ in range(2):
        assert migrate(empty_database) == ("0001", LATEST_REVISION)
        with engine.begin() as connection:
            found = {row.id: row.expiry_told_at for row in connection.execute(told)}
        assert found == {"over": ends["over"], "later": None, "never": None}
        assert migrate(empty_database, "0001") == (LATEST_REVISION, "0001")
    with engine.begin() as connection:
        kept = connection.execute(select(AccessGrant.id, AccessGrant.expires_at))
        assert {row.id: row.expires_at for row in kept} == ends
    engine.dispose()


def test_what_was_kept_row_by_row_is_counted(empty_database: str) -> None:
    assert migrate(empty_database, "0006") == (None, "0006")
    moment = {
        "now": NOW,
        **{f"at{seconds}": NOW + timedelta(seconds=seconds) for seconds in (10, 20, 30, 40)},
    }
    before = """
        INSERT INTO streams (id, title, kind, status, owner_id, space_id, metadata, created_at, updated_at,
            version, chat_slow_mode_seconds, chat_max_length, chat_enabled, chat_revision)
        VALUES ('s', 't', 'stream', 'live', 'c', 'space', '{}', :now, :now, 1, 0, 500, TRUE, 0);
        INSERT INTO stream_sessions (id, stream_id, room_name, state, requested_at)
        VALUES ('a', 's', 'stream_a', 'open', :now);
        INSERT INTO participants (session_id, identity, name, role, reserved_until, first_issued_at,
            watched_seconds)
        VALUES ('a', 'u:v', '', 'viewer', :now, :now, 0), ('a', 'u:c', '', 'creator', :now, :now, 0);
        INSERT INTO visits (session_id, livekit_sid, identity, joined_at, left_at)
        VALUES ('a', 'P1', 'u:v', :at10, :at30), ('a', 'P2', 'u:v', :at20, :at40),
            ('a', 'P3', 'u:c', :at10, NULL);
        INSERT INTO qos_samples (id, stream_id, session_id, user_id, at, rtt_ms)
        VALUES ('q1', 's', 'a', 'v', :now, 7), ('q2', 's', 'a', 'v', :now, 7), ('q3', 's', NULL, 'v', :now, 8)
    """
    engine = engine_of(empty_database)
    with engine.begin() as connection:
        for statement in before.split(";"):
            given = [name for name in moment if f":{name}" in statement]
            bound = [bindparam(name, moment[name], type_=UtcDateTime) for name in given]
            connection.execute(text(statement).bindparams(*bound))
    assert migrate(empty_database) == ("0006", LATEST_REVISION)
    with Session(engine) as session:
        counted = session.scalars(select(StreamSession)).one()
        steps = {step.place: step.change for step in session.scalars(select(AudienceStep)) if step.change}
        samples = [(one.metric, one.bucket, one.samples) for one in session.scalars(select(QualityCount))]
    assert (counted.viewers_now, counted.viewers_peak) == (0, 1)
    assert (counted.viewers_unique, counted.viewers_new) == (1, 1)
    # The area below the curve: 30 s.
    assert -counted.viewer_moments == 30_000
    assert (steps, samples) == ({10: 1, 40: -1}, [("rtt_ms", 7, 2)])
    engine.dispose()
    assert migrate(empty_database, "0006") == (LATEST_REVISION, "0006")


def test_recordings_of_earlier_releases_have_the_files_that_they_had(empty_database: str) -> None:
    assert migrate(empty_database, "0008") == (None, "0008")
    statements = [
        "INSERT INTO streams (id, title, kind, status, owner_id, space_id, metadata, created_at, updated_at,"
        " version, chat_slow_mode_seconds, chat_max_length, chat_enabled, chat_revision)"
        " VALUES ('s', 't', 'stream', 'ended', 'c', 'space', '{}', :now, :now, 1, 0, 500, TRUE, 0)",
        "INSERT INTO stream_sessions (id, stream_id, room_name, state, requested_at)"
        " VALUES ('a', 's', 'stream_a', 'closed', :now)",
        *(
            "INSERT INTO recordings (id, stream_id, session_id, status, object_key, error, size_bytes,"  # noqa: S608
            f" requested_by, created_at, updated_at) VALUES ('{name}', 's', 'a', '{status}', '{name}', '',"
            f" {size}, 'service', :now, :now)"
            for name, status, size in (
                ("whole", "complete", 7),
                ("partial", "failed", 7),
                ("nothing", "failed", 0),
                ("unknown", "aborted", "NULL"),
            )
        ),
    ]
    engine = engine_of(empty_database)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement).bindparams(bindparam("now", NOW, type_=UtcDateTime)))
    assert migrate(empty_database) == ("0008", LATEST_REVISION)
    with Session(engine) as session:
        found = {recording.id: recording for recording in session.scalars(select(Recording))}
    assert {name for name, recording in found.items() if recording.has_file} == {"whole", "partial"}
    assert {recording.layout.value for recording in found.values()} == {"speaker"}
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(text("UPDATE recordings SET layout = 'melted'"))
    engine.dispose()
    assert migrate(empty_database, "0008") == (LATEST_REVISION, "0008")
    assert migrate(empty_database) == ("0008", LATEST_REVISION)


def test_many_at_once_are_as_one(empty_database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: migrate(empty_database), range(4)))
    assert sorted(found, key=str) == [(LATEST_REVISION, LATEST_REVISION)] * 3 + [(None, LATEST_REVISION)]


def test_an_unknown_revision_is_refused_and_nothing_is_changed(empty_database: str) -> None:
    with pytest.raises(CommandError):
        migrate(empty_database, "7777")
    assert tables(empty_database) == set()


def test_the_database_itself_refuses_what_must_not_be(empty_database: str) -> None:
    migrate(empty_database)
    engine = engine_of(empty_database)
    columns = "id, kind, title, owner_id, space_id, metadata, status, created_at, updated_at, version"
    columns += ", chat_enabled, chat_slow_mode_seconds, chat_max_length, chat_revision"
    at = "'2030-01-01T00:00:00.000000Z'"
    row = "('{id}', '{kind}', 't', 'o', 's', '{{}}', 'draft', " + f"{at}, {at}, 1, true, 0, 500, 0)"
    insert = f"INSERT INTO streams ({columns}) VALUES "  # noqa: S608
    session = (
        "INSERT INTO stream_sessions (id, stream_id, room_name, state, requested_at) "  # noqa: S608
        f"VALUES ('{{id}}', '{{stream}}', 'room-{{id}}', 'opening', {at})"
    )
    with engine.begin() as connection:
        connection.execute(text(insert + row.format(id="1", kind="stream")))
        connection.execute(text(session.format(id="a", stream="1")))
    for wrong in (
        insert + row.format(id="2", kind="film"),
        session.format(id="b", stream="1"),
        session.format(id="c", stream="none"),
    ):
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(text(wrong))
    engine.dispose()


def test_a_database_that_is_away_is_an_error_of_the_database() -> None:
    with pytest.raises(OperationalError):
        migrate("postgresql://nobody:none@127.0.0.1:1/nothing")
