"""When a session's automatic recording is tried, and when it counts as never started: pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from token_api.domain.vocabulary import AutoRecordingState

# After so long on air without a track of the creator, the host is told that no recording began.
NEVER_STARTED_AFTER = timedelta(minutes=10)
_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE_BEFORE_START = timedelta(minutes=1)
_LONGEST_PAUSE_BEFORE_NEXT = timedelta(minutes=10)
# 2 to this power of the first pause is longer than the longest one.
_DOUBLINGS = 7


def pause_after(attempts: int) -> timedelta:
    """How long the next start waits after `attempts` (at least 1) that LiveKit did not take."""
    return _doubled(attempts, _LONGEST_PAUSE_BEFORE_START)


def pause_before_next(recordings: int) -> timedelta:
    """How long a session waits for its next recording after `recordings` (at least 1).

    It grows, so that a fault that ends every recording does not fill the list, nor the host's inbox.
    """
    return _doubled(recordings, _LONGEST_PAUSE_BEFORE_NEXT)


def _doubled(times: int, longest: timedelta) -> timedelta:
    """5 s, 10 s, 20 s, and so on up to `longest`."""
    doublings: int = 2 ** min(times - 1, _DOUBLINGS)
    return min(_FIRST_PAUSE * doublings, longest)


def is_overdue(state: AutoRecordingState, armed_at: datetime, now: datetime) -> bool:
    """Whether an armed session has been without a track for too long."""
    return state is AutoRecordingState.ARMED and now - armed_at >= NEVER_STARTED_AFTER
