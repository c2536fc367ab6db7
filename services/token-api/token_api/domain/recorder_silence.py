"""When a recording counts as one whose recorder is gone: pure.

A recorder reports when a recording begins, ends, or fails, and at no interval. LiveKit repeats the last
report of a recorder that was killed, for ever (livekit/egress#950). So other signs show that one is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from token_api.domain.vocabulary import RecordingStatus

# After so long without a sign of its recorder, a recording is given up.
SILENCE = timedelta(minutes=10)
# These last as long as the recorder needs to begin, or to put the file into the store.
_PASSING = frozenset({RecordingStatus.REQUESTED, RecordingStatus.STARTING, RecordingStatus.ENDING})


@dataclass(frozen=True)
class Signs:
    """What shows whether the recorder of a recording is there. The recording is not final.

    Attributes:
        status: of the recording.
        changed_at: when the recording last changed.
        reported_at: when the recorder last reported to LiveKit, by its own clock; None if that is unknown.
        unwanted_at: when the session ended, or somebody asked to stop; None if the recording is to go on.
        absent_since: since when LiveKit does not know of the recording, or its recorder is not in the room.
    """

    status: RecordingStatus
    changed_at: datetime
    reported_at: datetime | None
    unwanted_at: datetime | None
    absent_since: datetime | None


def silent_since(signs: Signs) -> datetime | None:
    """Since when a report of the recorder is due; None if none is."""
    due = [at for at in (signs.unwanted_at, signs.absent_since) if at is not None]
    if signs.status in _PASSING:
        due.append(signs.changed_at)
    if not due:
        return None
    return max(min(due), signs.reported_at) if signs.reported_at is not None else min(due)


def is_gone(signs: Signs, now: datetime) -> bool:
    """Whether the recorder has been silent for too long."""
    since = silent_since(signs)
    return since is not None and now - since >= SILENCE
