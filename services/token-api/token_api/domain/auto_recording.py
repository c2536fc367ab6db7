"""When a session's automatic recording is tried, and when it counts as never started: pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from token_api.domain.vocabulary import AutoRecordingState

# After so long on air without a track of the creator, the host is told that no recording began.
NEVER_STARTED_AFTER = timedelta(minutes=10)
# After a start that LiveKit did not take: 5 s, 10 s, 20 s, 40 s, and a minute from then on.
_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(seconds=60)
_DOUBLINGS = 4


def pause_after(attempts: int) -> timedelta:
    """How long the next start waits after `attempts` (at least 1) that LiveKit did not take."""
    doublings: int = 2 ** min(attempts - 1, _DOUBLINGS)
    return min(_FIRST_PAUSE * doublings, _LONGEST_PAUSE)


def is_overdue(state: AutoRecordingState, armed_at: datetime, now: datetime) -> bool:
    """Whether an armed session has been without a track for too long."""
    return state is AutoRecordingState.ARMED and now - armed_at >= NEVER_STARTED_AFTER
