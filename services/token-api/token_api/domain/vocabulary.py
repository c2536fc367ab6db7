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
    """How the picture is arranged, and on which background: the layouts of LiveKit's own recorder.

    A layout without a suffix is dark.
    """

    SPEAKER = "speaker"
    SPEAKER_LIGHT = "speaker-light"
    SPEAKER_DARK = "speaker-dark"
    GRID = "grid"
    GRID_LIGHT = "grid-light"
    GRID_DARK = "grid-dark"
    SINGLE_SPEAKER = "single-speaker"
    SINGLE_SPEAKER_LIGHT = "single-speaker-light"
    SINGLE_SPEAKER_DARK = "single-speaker-dark"


class AutoRecordingState(StrEnum):
    """What became of a session's automatic recording.

    armed: waits for the creator's first track. never-started: no recording began. waiting: the creator
    publishes, but LiveKit has not taken the recording. started: LiveKit has taken one.
    """

    ARMED = "armed"
    NEVER_STARTED = "never-started"
    WAITING = "waiting"
    STARTED = "started"


class StreamRecordingState(StrEnum):
    """The state of a stream's latest recording, or why an automatic one has not begun."""

    ARMED = AutoRecordingState.ARMED.value
    NEVER_STARTED = AutoRecordingState.NEVER_STARTED.value
    WAITING = AutoRecordingState.WAITING.value
    REQUESTED = RecordingStatus.REQUESTED.value
    STARTING = RecordingStatus.STARTING.value
    ACTIVE = RecordingStatus.ACTIVE.value
    ENDING = RecordingStatus.ENDING.value
    COMPLETE = RecordingStatus.COMPLETE.value
    FAILED = RecordingStatus.FAILED.value
    ABORTED = RecordingStatus.ABORTED.value


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
