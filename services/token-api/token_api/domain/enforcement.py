"""What is to be done with somebody who is in a room: pure, from what LiveKit shows and what we know."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from token_api.domain.access import Admitted, Refused
from token_api.domain.roles import ALL_SOURCES, Permissions, StreamRole, permissions_of

# LiveKit's own helpers, which only a holder of the API secret can send in.
HELPERS = frozenset({"egress", "agent"})
# LiveKit shows changed permissions a moment after it has taken them.
SETTLING = timedelta(seconds=5)


class Ejection(StrEnum):
    """Why somebody is put out, beside the refusals of `domain.access`."""

    UNKNOWN = "unknown-identity"
    HIDDEN = "hidden"
    REMOVED = "removed"
    PERMISSIONS = "excess-permissions"
    NO_SEAT = "room-full"


@dataclass(frozen=True)
class Seen:
    """Somebody in a room, as LiveKit shows them."""

    kind: str
    permissions: Permissions
    hidden: bool


@dataclass(frozen=True)
class Known:
    """What we know of a participant: what they are now, and what happened since their last token.

    `seatless`: they come in by a token whose seat somebody else has by now.
    """

    decision: Admitted | Refused
    removed: bool = False
    reset_at: datetime | None = None
    seatless: bool = False


@dataclass(frozen=True)
class Stay:
    """They may be there, as they are."""


@dataclass(frozen=True)
class Put:
    """They may be there with other permissions: `excess` tells that they had more than their role."""

    role: StreamRole
    permissions: Permissions
    excess: bool


@dataclass(frozen=True)
class Eject:
    """They have to go. `reason`: an Ejection, or a Refusal."""

    reason: str


def judge(seen: Seen, known: Known | None, now: datetime) -> Stay | Put | Eject:
    """What is to be done with somebody. `known` is None for one who never got a token from us.

    More permission than their role has is taken back once, for a role may have changed. Whoever has it
    again came by an old or a foreign token, and is put out.
    """
    if seen.kind in HELPERS:
        return Stay()
    if known is None:
        return Eject(Ejection.UNKNOWN.value)
    if isinstance(known.decision, Refused):
        return Eject(known.decision.reason.value)
    role = known.decision.role
    allowed = permissions_of(role)
    excess = exceeds(seen.permissions, allowed)
    came_again = known.reset_at is not None and known.reset_at + SETTLING < now
    for wrong, reason in (
        (known.removed, Ejection.REMOVED),
        (known.seatless, Ejection.NO_SEAT),
        (seen.hidden, Ejection.HIDDEN),
        (excess and came_again, Ejection.PERMISSIONS),
    ):
        if wrong:
            return Eject(reason.value)
    # A promotion that LiveKit was not told of. Other roles grow by a new token only.
    lacks = role is StreamRole.GUEST and not set(allowed.publish_sources) <= _sources(seen.permissions)
    return Put(role, allowed, excess) if excess or lacks else Stay()


def exceeds(given: Permissions, allowed: Permissions) -> bool:
    """Whether `given` permits anything to send that `allowed` does not."""
    if given.publish_data and not allowed.publish_data:
        return True
    return not _sources(given) <= set(allowed.publish_sources)


def _sources(permissions: Permissions) -> set[str]:
    return set(ALL_SOURCES) if "any" in permissions.publish_sources else set(permissions.publish_sources)
