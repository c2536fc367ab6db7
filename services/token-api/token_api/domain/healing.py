"""What the reconciler does with a session, given what LiveKit has: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from token_api.domain.vocabulary import SessionState

# A go-live that is this old is nobody's anymore who waits; one that is older yet is not wanted anymore.
STUCK = timedelta(seconds=20)
GIVEN_UP = timedelta(seconds=120)


class Healing(StrEnum):
    """What was put right; the names of metrics and audit entries."""

    ROOM_DELETED = "room-without-session"
    ROOM_RECREATED = "room-recreated"
    METADATA = "room-metadata"
    OPENED = "opening-completed"
    OPENING_GIVEN_UP = "opening-given-up"
    CLOSED = "closing-completed"
    CREATOR_GONE = "creator-gone"
    NOBODY_CAME = "nobody-came"
    NO_SESSION = "stream-without-session"
    VISIT = "visit"


@dataclass(frozen=True)
class SessionFacts:
    """A session that is not closed. `sender_left_at`: since when nobody is in who sends; None: one is.

    `sender_came`: whether anybody who sends was ever in.
    """

    state: SessionState
    requested_at: datetime
    opened_at: datetime | None
    has_room: bool
    sender_left_at: datetime | None
    sender_came: bool


@dataclass(frozen=True)
class Patience:
    """How long a stream is kept for a creator who is gone, and for one who never came."""

    gone: timedelta
    never_came: timedelta


def diagnose(facts: SessionFacts, patience: Patience, now: datetime) -> Healing | None:
    """What a session needs. A room that is gone is made again as long as its creator may come back.

    LiveKit drops a room for being empty, and all of them when it restarts: in the first case the creator
    has been gone for long, in the second everybody comes back by the tokens that they have.
    """
    if facts.state is SessionState.CLOSING:
        return Healing.CLOSED
    if facts.state is SessionState.OPENING:
        age = now - facts.requested_at
        if age >= GIVEN_UP:
            return Healing.OPENING_GIVEN_UP
        return Healing.OPENED if age >= STUCK else None
    ends = _deadline(facts, patience)
    if ends is not None and ends <= now:
        return Healing.CREATOR_GONE if facts.sender_came else Healing.NOBODY_CAME
    return None if facts.has_room else Healing.ROOM_RECREATED


def _deadline(facts: SessionFacts, patience: Patience) -> datetime | None:
    """When the stream is ended, unless somebody who sends comes; None while one is in."""
    if not facts.sender_came:
        return (facts.opened_at or facts.requested_at) + patience.never_came
    return facts.sender_left_at + patience.gone if facts.sender_left_at is not None else None
