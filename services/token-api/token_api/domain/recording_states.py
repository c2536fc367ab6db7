"""The life of a recording: it goes on, never back, whatever the order in which LiveKit's news come."""

from __future__ import annotations

from token_api.domain.vocabulary import RecordingStatus

_ORDER = (
    RecordingStatus.REQUESTED,
    RecordingStatus.STARTING,
    RecordingStatus.ACTIVE,
    RecordingStatus.ENDING,
)
FINAL = frozenset({RecordingStatus.COMPLETE, RecordingStatus.FAILED, RecordingStatus.ABORTED})
RUNNING = frozenset(_ORDER)

_FROM_LIVEKIT = {
    "starting": RecordingStatus.STARTING,
    "active": RecordingStatus.ACTIVE,
    "ending": RecordingStatus.ENDING,
    "complete": RecordingStatus.COMPLETE,
    # The file is whole up to the limit.
    "limit_reached": RecordingStatus.COMPLETE,
    "failed": RecordingStatus.FAILED,
    "aborted": RecordingStatus.ABORTED,
}


def status_of(livekit_status: str) -> RecordingStatus | None:
    """Our word for LiveKit's; None for one that is not known here, which changes nothing."""
    return _FROM_LIVEKIT.get(livekit_status)


def goes_on(before: RecordingStatus, after: RecordingStatus, *, given_up: bool = False) -> bool:
    """Whether a recording that is `before` may become `after`.

    Args:
        given_up: `before` is final only because no recorder reported in time. Then LiveKit's final status
            replaces it.
    """
    if before in FINAL:
        return given_up and after in FINAL
    return after in FINAL or _ORDER.index(after) > _ORDER.index(before)
