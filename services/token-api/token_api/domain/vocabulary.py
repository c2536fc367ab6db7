"""The words that states, scopes and roles are written in: in the database, in answers, in events."""

from __future__ import annotations

from enum import StrEnum


class StreamKind(StrEnum):
    """What a stream is: one to many, or a few with each other."""

    STREAM = "stream"
    CONSULTATION = "consultation"


class StreamStatus(StrEnum):
    """Where a stream is in its life."""

    DRAFT = "draft"
    LIVE = "live"
    PAUSED = "paused"
    ENDED = "ended"
    FAILED = "failed"


class SessionState(StrEnum):
    """Where a session (one LiveKit room) is.

    opening and closing are intents that LiveKit has not yet confirmed: whoever finds one carries it on.
    """

    OPENING = "opening"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class GrantScope(StrEnum):
    """What a grant opens: one stream, all of an experience, or all of a space."""

    STREAM = "stream"
    EXPERIENCE = "experience"
    SPACE = "space"


class TeamRole(StrEnum):
    """What a member of a space's team is."""

    OWNER = "owner"
    MODERATOR = "moderator"


class RecordingStatus(StrEnum):
    """Where a recording is; the last three are final."""

    REQUESTED = "requested"
    STARTING = "starting"
    ACTIVE = "active"
    ENDING = "ending"
    COMPLETE = "complete"
    FAILED = "failed"
    ABORTED = "aborted"


class RecordingLayout(StrEnum):
    """How those in the room are arranged in the picture: LiveKit's own layouts."""

    SPEAKER = "speaker"
    GRID = "grid"
    SINGLE_SPEAKER = "single-speaker"


class InboxState(StrEnum):
    """Where an event of LiveKit's is."""

    WAITING = "waiting"
    DONE = "done"
    IGNORED = "ignored"
    FAILED = "failed"


class DeliveryState(StrEnum):
    """Where the delivery of one event to one endpoint is."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given-up"


class StageRequestState(StrEnum):
    """Where a raised hand is."""

    WAITING = "waiting"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
