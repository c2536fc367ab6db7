"""The life of a stream, as a table: which action leads from which status to which."""

from __future__ import annotations

from enum import StrEnum

from token_api.domain.vocabulary import StreamStatus


class Action(StrEnum):
    """What can be done to a stream's status."""

    GO_LIVE = "go-live"
    PAUSE = "pause"
    RESUME = "resume"
    END = "end"


# What an action does. One that is already done (`_DONE`) changes nothing, and gives the same answer.
_TABLE: dict[Action, dict[StreamStatus, StreamStatus]] = {
    # One that failed may be tried again, in a new session; one that has ended is over.
    Action.GO_LIVE: {StreamStatus.DRAFT: StreamStatus.LIVE, StreamStatus.FAILED: StreamStatus.LIVE},
    Action.PAUSE: {StreamStatus.LIVE: StreamStatus.PAUSED},
    Action.RESUME: {StreamStatus.PAUSED: StreamStatus.LIVE},
    Action.END: {StreamStatus.LIVE: StreamStatus.ENDED, StreamStatus.PAUSED: StreamStatus.ENDED},
}
_DONE = {
    Action.GO_LIVE: StreamStatus.LIVE,
    Action.PAUSE: StreamStatus.PAUSED,
    Action.RESUME: StreamStatus.LIVE,
    Action.END: StreamStatus.ENDED,
}
# In these a stream has a room.
ON_AIR = frozenset({StreamStatus.LIVE, StreamStatus.PAUSED})


class InvalidTransition(Exception):
    """The stream's status does not allow the action."""

    def __init__(self, action: Action, status: StreamStatus) -> None:
        self.action = action
        self.status = status
        allowed = ", ".join(sorted(_TABLE[action]))
        super().__init__(f"{action}: the stream is {status}; allowed: {allowed}")


def after(action: Action, status: StreamStatus) -> StreamStatus:
    """The status that `action` leads to; `status` itself where the action is already done.

    Raises:
        InvalidTransition: the action is not allowed in `status`.
    """
    if status is _DONE[action]:
        return status
    try:
        return _TABLE[action][status]
    except KeyError:
        raise InvalidTransition(action, status) from None


def action_to(wanted: StreamStatus, status: StreamStatus) -> Action | None:
    """The action by which a stream in `status` comes to be `wanted`; None where nobody may wish for it."""
    match wanted:
        case StreamStatus.LIVE:
            return Action.RESUME if status is StreamStatus.PAUSED else Action.GO_LIVE
        case StreamStatus.PAUSED:
            return Action.PAUSE
        case StreamStatus.ENDED:
            return Action.END
        case _:
            return None
