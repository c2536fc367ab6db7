"""The tables. A change here needs a migration: `tests/unit/token_api/test_migrations.py` compares the two."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from token_api.database.columns import (
    Base,
    HostId,
    Id,
    Json,
    MaybeHostId,
    MaybeTime,
    Time,
    one_of,
)
from token_api.domain.roles import StreamRole
from token_api.domain.vocabulary import (
    AutoRecordingState,
    DeliveryState,
    GrantScope,
    InboxState,
    RecordingLayout,
    RecordingStatus,
    SessionState,
    StageRequestState,
    StreamKind,
    StreamStatus,
    TeamRole,
)


def _stream_id() -> Mapped[str]:
    return mapped_column(String(36), ForeignKey("streams.id", ondelete="CASCADE"))


def _session_id() -> Mapped[str]:
    return mapped_column(String(36), ForeignKey("stream_sessions.id", ondelete="CASCADE"))


def _layout(name: str) -> Mapped[RecordingLayout]:
    default = RecordingLayout.SPEAKER
    return mapped_column(one_of(RecordingLayout, name), default=default, server_default=default.value)


def _unique_while(name: str, column: str, condition: str) -> Index:
    """At most one row with the same `column` among those that meet `condition`."""
    return Index(name, column, unique=True, sqlite_where=text(condition), postgresql_where=text(condition))


def _index_while(name: str, columns: str | tuple[str, ...], condition: str) -> Index:
    """Finds the few rows that meet `condition` among the many that do not (anymore)."""
    names = (columns,) if isinstance(columns, str) else columns
    return Index(name, *names, sqlite_where=text(condition), postgresql_where=text(condition))


class Stream(Base):
    """What a creator plans, sends, and ends. `version` grows with every change of the row."""

    __tablename__ = "streams"
    __table_args__ = (
        Index("ix_streams_owner_id_created_at", "owner_id", "created_at", "id"),
        Index("ix_streams_space_id_created_at", "space_id", "created_at", "id"),
        Index("ix_streams_experience_id_created_at", "experience_id", "created_at", "id"),
        Index("ix_streams_created_at", "created_at", "id"),
        CheckConstraint("capacity IS NULL OR capacity > 0", name="capacity"),
    )

    id: Mapped[Id]
    kind: Mapped[StreamKind] = mapped_column(one_of(StreamKind, "kind"))
    title: Mapped[str] = mapped_column(String(200))
    owner_id: Mapped[HostId]
    space_id: Mapped[HostId]
    experience_id: Mapped[MaybeHostId]
    # The host application's own, as JSON text.
    details: Mapped[str] = mapped_column("metadata", Text, default="{}")
    capacity: Mapped[int | None]
    status: Mapped[StreamStatus] = mapped_column(one_of(StreamStatus, "status"), default=StreamStatus.DRAFT)
    started_at: Mapped[MaybeTime]
    ended_at: Mapped[MaybeTime]
    created_at: Mapped[Time]
    updated_at: Mapped[Time]
    version: Mapped[int] = mapped_column(default=1)
    chat_enabled: Mapped[bool] = mapped_column(default=True)
    chat_slow_mode_seconds: Mapped[int] = mapped_column(default=0)
    chat_max_length: Mapped[int] = mapped_column(default=500)
    # The last revision that the chat gave: grows with each message, deletion, and change of settings.
    chat_revision: Mapped[int] = mapped_column(BigInteger, default=0)
    # Whether its sessions are recorded, and in which layout: see `use_cases.auto_recording`.
    record: Mapped[bool] = mapped_column(default=False, server_default=false())
    record_layout: Mapped[RecordingLayout] = _layout("record_layout")


class StreamSession(Base):
    """One go-live: one LiveKit room, whose name is never used again."""

    __tablename__ = "stream_sessions"
    __table_args__ = (
        _unique_while("uq_stream_sessions_one_open", "stream_id", "closed_at IS NULL"),
        Index("ix_stream_sessions_state", "state"),
    )

    id: Mapped[Id]
    stream_id: Mapped[str] = _stream_id()
    room_name: Mapped[str] = mapped_column(String(128), unique=True)
    state: Mapped[SessionState] = mapped_column(one_of(SessionState, "state"), default=SessionState.OPENING)
    # When go-live was asked for; `opened_at` is when LiveKit had the room.
    requested_at: Mapped[Time]
    opened_at: Mapped[MaybeTime]
    closed_at: Mapped[MaybeTime]
    # Since when the creator is not in the room; NULL while they are, or were never.
    creator_left_at: Mapped[MaybeTime]
    # Viewers and guests, counted when they come and go: see `use_cases.viewers`.
    viewers_now: Mapped[int] = mapped_column(default=0, server_default="0")
    viewers_peak: Mapped[int] = mapped_column(default=0, server_default="0")
    viewers_unique: Mapped[int] = mapped_column(default=0, server_default="0")
    # Of them, those who were in no earlier session of the stream.
    viewers_new: Mapped[int] = mapped_column(default=0, server_default="0")
    # The sum of each change of `viewers_now` times its moment, in ms since `requested_at`.
    viewer_moments: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")


class AccessGrant(Base):
    """A pass that a user bought or was given. Its status is computed: see `domain.access`."""

    __tablename__ = "access_grants"
    __table_args__ = (
        Index("ix_access_grants_user_scope", "user_id", "scope", "scope_id"),
        Index("ix_access_grants_expires_at", "expires_at"),
        _index_while(
            "ix_access_grants_expiry_untold",
            "expires_at",
            "expires_at IS NOT NULL AND expiry_told_at IS NULL AND cancelled_at IS NULL",
        ),
        Index("ix_access_grants_created_at", "created_at", "id"),
    )

    id: Mapped[Id]
    user_id: Mapped[HostId]
    scope: Mapped[GrantScope] = mapped_column(one_of(GrantScope, "scope"))
    scope_id: Mapped[HostId]
    starts_at: Mapped[MaybeTime]
    expires_at: Mapped[MaybeTime]
    cancelled_at: Mapped[MaybeTime]
    created_at: Mapped[Time]
    # When the host was told that it has expired.
    expiry_told_at: Mapped[MaybeTime]


class TeamMember(Base):
    """Who works for a space: they get into all its streams."""

    __tablename__ = "team_members"
    __table_args__ = (Index("ix_team_members_user_id", "user_id", "space_id"),)

    space_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    role: Mapped[TeamRole] = mapped_column(one_of(TeamRole, "role"))
    created_at: Mapped[Time]


_WITHOUT_END = "lifted_at IS NULL AND until IS NULL"


class Ban(Base):
    """A user kept out of one stream (`stream_id`) or of a whole space (`space_id`): one of the two is set."""

    __tablename__ = "bans"
    __table_args__ = (
        CheckConstraint("(stream_id IS NULL) <> (space_id IS NULL)", name="one_scope"),
        Index("ix_bans_stream_id", "stream_id"),
        # Bans of a user. Each ends with `until`, so that reading it skips bans that are over.
        _index_while("ix_bans_user_id_until", ("user_id", "until"), "lifted_at IS NULL"),
        _index_while("ix_bans_stream_id_user_id", ("stream_id", "user_id", "until"), "lifted_at IS NULL"),
        _index_while("ix_bans_space_id_user_id", ("space_id", "user_id", "until"), "lifted_at IS NULL"),
        # Lists of bans: those that end, and those that do not.
        _index_while("ix_bans_stream_id_until", ("stream_id", "until"), "lifted_at IS NULL"),
        _index_while("ix_bans_space_id_until", ("space_id", "until"), "lifted_at IS NULL"),
        _index_while("ix_bans_stream_id_created_at", ("stream_id", "created_at", "id"), _WITHOUT_END),
        _index_while("ix_bans_space_id_created_at", ("space_id", "created_at", "id"), _WITHOUT_END),
    )

    id: Mapped[Id]
    stream_id: Mapped[str | None] = mapped_column(String(36), ForeignKey("streams.id", ondelete="CASCADE"))
    space_id: Mapped[MaybeHostId]
    user_id: Mapped[HostId]
    reason: Mapped[str] = mapped_column(String(500), default="")
    banned_by: Mapped[HostId]
    # The host application made it: it also keeps out owner and team, and only the host application lifts it.
    by_host: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[Time]
    until: Mapped[MaybeTime]
    lifted_at: Mapped[MaybeTime]


_IS_IN = "joined_at IS NOT NULL AND left_at IS NULL"


class Participant(Base):
    """Who was given a token for a session, and whether they are in it. See `use_cases.seats`."""

    __tablename__ = "participants"
    __table_args__ = (
        Index("ix_participants_user_id", "user_id"),
        # Those who may take a seat.
        _index_while("ix_participants_present", ("session_id", "joined_at", "identity"), _IS_IN),
        _index_while("ix_participants_reserved", ("session_id", "reserved_until"), "removed_at IS NULL"),
    )

    session_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("stream_sessions.id", ondelete="CASCADE"), primary_key=True
    )
    identity: Mapped[str] = mapped_column(String(130), primary_key=True)
    # NULL in rows of releases in which the host application named identities of its own.
    user_id: Mapped[MaybeHostId]
    name: Mapped[str] = mapped_column(String(128), default="")
    role: Mapped[StreamRole] = mapped_column(one_of(StreamRole, "role"))
    # Until when the last token handed out can be used: the seat is theirs until then, and while they are in.
    reserved_until: Mapped[Time]
    first_issued_at: Mapped[Time]
    joined_at: Mapped[MaybeTime]
    left_at: Mapped[MaybeTime]
    promoted_at: Mapped[MaybeTime]
    # Since their last token: when they were put out, and when permissions beyond their role were taken back.
    removed_at: Mapped[MaybeTime]
    permissions_reset_at: Mapped[MaybeTime]
    # The sum of the visits that are over, each rounded to a second.
    watched_seconds: Mapped[int] = mapped_column(default=0)
    livekit_sid: Mapped[str | None] = mapped_column(String(64))


class Visit(Base):
    """One time that a participant was in the room: a row for each sid that LiveKit gave them.

    `Participant.joined_at` and `left_at` are those of the latest visit, whatever the order in which LiveKit's
    events came: see `use_cases.visits`.
    """

    __tablename__ = "visits"
    __table_args__ = (
        Index("ix_visits_session_id_identity_joined_at", "session_id", "identity", "joined_at"),
        _index_while("ix_visits_not_over", "session_id", "left_at IS NULL"),
    )

    session_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("stream_sessions.id", ondelete="CASCADE"), primary_key=True
    )
    livekit_sid: Mapped[str] = mapped_column(String(64), primary_key=True)
    identity: Mapped[str] = mapped_column(String(130))
    joined_at: Mapped[Time]
    left_at: Mapped[MaybeTime]
    # Whether it counts as a viewer's. A role that changes later changes nothing about it.
    counts: Mapped[bool] = mapped_column(default=False, server_default=false())


class AudienceStep(Base):
    """By how much the number of a session's viewers changed at `place`: see `domain.audience.place_of`."""

    __tablename__ = "audience_steps"

    session_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("stream_sessions.id", ondelete="CASCADE"), primary_key=True
    )
    place: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    change: Mapped[int]


class Removal(Base):
    """The removal of a participant: one row per sid, written before the request to LiveKit.

    It ensures that LiveKit gets one request: see `use_cases.removals`. Deleted when the session is closed.
    """

    __tablename__ = "removals"

    session_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("stream_sessions.id", ondelete="CASCADE"), primary_key=True
    )
    livekit_sid: Mapped[str] = mapped_column(String(64), primary_key=True)
    # The end of the current claim; NULL if no request is under way.
    claimed_until: Mapped[MaybeTime]
    # The number of claims so far.
    attempts: Mapped[int]
    # When LiveKit had removed the participant, or no longer had them.
    done_at: Mapped[MaybeTime]


class StageRequest(Base):
    """A raised hand."""

    __tablename__ = "stage_requests"
    __table_args__ = (
        Index("ix_stage_requests_session_id_state_created_at", "session_id", "state", "created_at"),
        Index("ix_stage_requests_session_id_user_id", "session_id", "user_id"),
        Index(
            "uq_stage_requests_one_waiting",
            "session_id",
            "user_id",
            unique=True,
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
    )

    id: Mapped[Id]
    session_id: Mapped[str] = _session_id()
    user_id: Mapped[HostId]
    state: Mapped[StageRequestState] = mapped_column(
        one_of(StageRequestState, "state"), default=StageRequestState.WAITING
    )
    created_at: Mapped[Time]
    decided_at: Mapped[MaybeTime]
    decided_by: Mapped[MaybeHostId]


class Recording(Base):
    """One recording of a session; at most one at a time is not final."""

    __tablename__ = "recordings"
    __table_args__ = (
        _unique_while(
            "uq_recordings_one_active",
            "session_id",
            "status IN ('requested', 'starting', 'active', 'ending')",
        ),
        Index("ix_recordings_stream_id_created_at", "stream_id", "created_at", "id"),
    )

    id: Mapped[Id]
    stream_id: Mapped[str] = _stream_id()
    session_id: Mapped[str] = _session_id()
    # NULL until LiveKit has answered.
    egress_id: Mapped[str | None] = mapped_column(String(64), unique=True)
    status: Mapped[RecordingStatus] = mapped_column(
        one_of(RecordingStatus, "status"), default=RecordingStatus.REQUESTED
    )
    object_key: Mapped[str] = mapped_column(String(512), unique=True)
    layout: Mapped[RecordingLayout] = _layout("layout")
    error: Mapped[str] = mapped_column(String(500), default="")
    # Whether the file is in the store. That of a recording that failed holds all until the failure.
    has_file: Mapped[bool] = mapped_column(default=False, server_default=false())
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    duration_seconds: Mapped[int | None]
    # An actor, as in the audit log.
    requested_by: Mapped[str] = mapped_column(String(160))
    created_at: Mapped[Time]
    started_at: Mapped[MaybeTime]
    stop_requested_at: Mapped[MaybeTime]
    ended_at: Mapped[MaybeTime]
    updated_at: Mapped[Time]
    # Since when its recorder is missed although it is active: see `domain.recorder_silence`.
    recorder_absent_since: Mapped[MaybeTime]
    # The service ended it, because no recorder reported. A later report of its end replaces that.
    given_up: Mapped[bool] = mapped_column(default=False, server_default=false())


class AutoRecording(Base):
    """That a session is to be recorded, from the creator's first track on.

    Made when the stream goes live, in the transaction that opens the session. It is armed again if a
    recording ends early.
    """

    __tablename__ = "auto_recordings"
    __table_args__ = (
        Index("ix_auto_recordings_stream_id_armed_at", "stream_id", "armed_at"),
        _index_while("ix_auto_recordings_next_at", "next_at", "next_at IS NOT NULL"),
    )

    session_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("stream_sessions.id", ondelete="CASCADE"), primary_key=True
    )
    stream_id: Mapped[str] = _stream_id()
    state: Mapped[AutoRecordingState] = mapped_column(
        one_of(AutoRecordingState, "state"), default=AutoRecordingState.ARMED
    )
    armed_at: Mapped[Time]
    # When it is looked at next; NULL when nothing is left to do.
    next_at: Mapped[MaybeTime]
    # Starts that LiveKit did not take.
    attempts: Mapped[int] = mapped_column(default=0)


class ChatMessage(Base):
    """What somebody wrote. A deleted one keeps its row, without being shown.

    `sequence` is its place in the chat, `revision` what the chat's revision was when it last changed.
    """

    __tablename__ = "chat_messages"
    __table_args__ = (
        Index("uq_chat_messages_stream_id_sequence", "stream_id", "sequence", unique=True),
        Index("uq_chat_messages_stream_id_revision", "stream_id", "revision", unique=True),
        Index("ix_chat_messages_stream_id_user_id_sent_at", "stream_id", "user_id", "sent_at"),
    )

    id: Mapped[Id]
    stream_id: Mapped[str] = _stream_id()
    session_id: Mapped[str | None] = mapped_column(
        String(36), ForeignKey("stream_sessions.id", ondelete="CASCADE")
    )
    user_id: Mapped[HostId]
    name: Mapped[str] = mapped_column(String(128), default="")
    # What they were to the stream when they wrote it.
    role: Mapped[StreamRole] = mapped_column(one_of(StreamRole, "role"))
    text: Mapped[str] = mapped_column(Text)
    sequence: Mapped[int] = mapped_column(BigInteger)
    revision: Mapped[int] = mapped_column(BigInteger)
    sent_at: Mapped[Time]
    deleted_at: Mapped[MaybeTime]
    deleted_by: Mapped[MaybeHostId]


class ChatRelay(Base):
    """What the room is still to be told of its chat, in the order of `position`."""

    __tablename__ = "chat_relays"
    __table_args__ = (Index("ix_chat_relays_session_id", "session_id"),)

    position: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    session_id: Mapped[str] = _session_id()
    payload: Mapped[Json]
    created_at: Mapped[Time]
    # Whoever sends it holds it until then.
    claimed_until: Mapped[MaybeTime]


class WebhookInbox(Base):
    """LiveKit's events, each once, whatever the order in which they came."""

    __tablename__ = "webhook_inbox"
    __table_args__ = (
        Index("ix_webhook_inbox_state", "state", "next_at"),
        _index_while("ix_webhook_inbox_waiting_room", "room_name", "state = 'waiting'"),
    )

    event_id: Mapped[str] = mapped_column(String(256), primary_key=True)
    event_type: Mapped[str] = mapped_column(String(64))
    room_name: Mapped[str | None] = mapped_column(String(256))
    body: Mapped[Json]
    happened_at: Mapped[MaybeTime]
    received_at: Mapped[Time]
    state: Mapped[InboxState] = mapped_column(one_of(InboxState, "state"), default=InboxState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[Time]
    processed_at: Mapped[MaybeTime]
    # Why it was tried again, or in the end was given up.
    error: Mapped[str] = mapped_column(String(500), default="")


class InboxClaim(Base):
    """A room whose LiveKit events one process works on, until it is done: see `use_cases.webhooks_in`."""

    __tablename__ = "inbox_claims"

    room_name: Mapped[str] = mapped_column(String(256), primary_key=True)
    claimed_until: Mapped[Time]


class CallRoom(Base):
    """A room of POST /v1/token: see `use_cases.call_rooms`.

    LiveKit must have it until `wanted_until`. After the host application removed it, LiveKit must not have it
    until `removed_until`.
    """

    __tablename__ = "call_rooms"

    room_name: Mapped[str] = mapped_column(String(128), primary_key=True)
    wanted_until: Mapped[Time]
    removed_until: Mapped[MaybeTime]


class ChatBanDue(Base):
    """At `due_at` GetStream is told whether a user is banned from a stream: see `use_cases.chat_bans`.

    `version` grows with each change, the last one at `since`. `claimed_until`: one process is telling it.
    """

    __tablename__ = "chat_bans_due"
    __table_args__ = (Index("ix_chat_bans_due_due_at", "due_at"),)

    stream_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("streams.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[HostId] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(default=1)
    since: Mapped[Time]
    due_at: Mapped[Time]
    claimed_until: Mapped[MaybeTime]


class Outbox(Base):
    """Our own events, written together with the change that they tell of. `position` is their order."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_fanned_out_at", "fanned_out_at", "position"),)

    position: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    id: Mapped[str] = mapped_column(String(36), unique=True)
    event_type: Mapped[str] = mapped_column(String(64))
    stream_id: Mapped[str | None] = mapped_column(String(36))
    payload: Mapped[Json]
    created_at: Mapped[Time]
    # When its deliveries were made.
    fanned_out_at: Mapped[MaybeTime]


class WebhookEndpoint(Base):
    """Where the host application wants our events. `event_types` is a JSON list; an empty one means all."""

    __tablename__ = "webhook_endpoints"
    __table_args__ = (Index("ix_webhook_endpoints_created_at", "created_at", "id"),)

    id: Mapped[Id]
    url: Mapped[str] = mapped_column(String(2048))
    description: Mapped[str] = mapped_column(String(200), default="")
    event_types: Mapped[str] = mapped_column(Text, default="[]")
    secret: Mapped[str] = mapped_column(String(128))
    # Also signed with, until then, after the secret was changed.
    previous_secret: Mapped[str | None] = mapped_column(String(128))
    previous_secret_until: Mapped[MaybeTime]
    enabled: Mapped[bool] = mapped_column(default=True)
    # Why the service itself disabled it: gone (it answered 410), or failing.
    disabled_reason: Mapped[str | None] = mapped_column(String(32))
    # Since when nothing got through; NULL after what got through.
    failing_since: Mapped[MaybeTime]
    # Until then it wants nothing: it said so by Retry-After.
    paused_until: Mapped[MaybeTime]
    created_at: Mapped[Time]
    updated_at: Mapped[Time]


class WebhookDelivery(Base):
    """One event on its way to one endpoint."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("outbox_id", "endpoint_id"),
        Index("ix_webhook_deliveries_due", "state", "next_at"),
        Index("ix_webhook_deliveries_endpoint_id_created_at", "endpoint_id", "created_at", "id"),
    )

    id: Mapped[Id]
    outbox_id: Mapped[str] = mapped_column(String(36), ForeignKey("outbox.id", ondelete="CASCADE"))
    endpoint_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("webhook_endpoints.id", ondelete="CASCADE")
    )
    state: Mapped[DeliveryState] = mapped_column(
        one_of(DeliveryState, "state"), default=DeliveryState.WAITING
    )
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[Time]
    # Whoever sends it holds it until then; a sender that dies lets go of it by the time.
    claimed_until: Mapped[MaybeTime]
    last_status: Mapped[int | None]
    last_error: Mapped[str] = mapped_column(String(500), default="")
    created_at: Mapped[Time]
    delivered_at: Mapped[MaybeTime]


class AuditEntry(Base):
    """Who did what to which stream, when. It outlives the stream, and is kept for a year (`retention`)."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_stream_id_at", "stream_id", "at"),
        Index("ix_audit_log_at", "at"),
    )

    id: Mapped[Id]
    at: Mapped[Time]
    # `user:<id>`, `service`, `service:<user id>` for a user, or `reconciler`, `livekit`.
    actor: Mapped[str] = mapped_column(String(160))
    action: Mapped[str] = mapped_column(String(64))
    stream_id: Mapped[str | None] = mapped_column(String(36))
    details: Mapped[Json]


class IdempotencyKey(Base):
    """The answer that was given to a request with an Idempotency-Key. `status` 0: not yet answered."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    caller: Mapped[str] = mapped_column(String(160), primary_key=True)
    key: Mapped[str] = mapped_column(String(128), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(default=0)
    headers: Mapped[str] = mapped_column(Text, default="{}")
    body: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[Time]


class QualityCount(Base):
    """How many values of `metric` clients told in a session, by size: see `domain.histogram.bucket_of`."""

    __tablename__ = "quality_counts"

    session_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("stream_sessions.id", ondelete="CASCADE"), primary_key=True
    )
    metric: Mapped[str] = mapped_column(String(32), primary_key=True)
    bucket: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    samples: Mapped[int] = mapped_column(BigInteger)


class TelemetrySender(Base):
    """When somebody's samples were last taken: they may not come more often than allowed."""

    __tablename__ = "telemetry_senders"
    __table_args__ = (Index("ix_telemetry_senders_last_at", "last_at"),)

    stream_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("streams.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    last_at: Mapped[Time]


class JoinFailure(Base):
    """How often nobody got in, by why: the service refused a token, or a client could not connect."""

    __tablename__ = "join_failures"

    stream_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("streams.id", ondelete="CASCADE"), primary_key=True
    )
    # Empty where the stream had no session. Not a foreign key: it is part of the primary key.
    session_id: Mapped[str] = mapped_column(String(36), primary_key=True)
    reason: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int]
    last_at: Mapped[Time]
