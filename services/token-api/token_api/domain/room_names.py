"""The names that our rooms and participants have in LiveKit. The server alone makes them."""

from __future__ import annotations

import re

from token_api.domain.vocabulary import StreamKind

PREFIXES = {kind: f"{kind.value}_" for kind in StreamKind}
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_OURS = re.compile(rf"(?:{'|'.join(PREFIXES.values())})({_UUID})_[0-9a-f]{{12}}")
USER_PREFIX = "u:"


def room_name(kind: StreamKind, stream_id: str, session_id: str) -> str:
    """The name of a session's room: by kind, and never used by another session."""
    # 48 random bits among the sessions of one stream; the database refuses a second of the same name.
    return f"{PREFIXES[kind]}{stream_id}_{session_id.replace('-', '')[:12]}"


def is_ours(name: str) -> bool:
    """Whether a room on the shared LiveKit is one of ours: all others are none of our business."""
    return _OURS.fullmatch(name) is not None


def stream_of(name: str) -> str | None:
    """The id of the stream that a room of this name belongs to; None where it is not ours."""
    matched = _OURS.fullmatch(name)
    return matched[1] if matched else None


RESERVED = f"rooms that begin with {' or '.join(PREFIXES.values())} belong to streams"


def has_reserved_prefix(name: str) -> bool:
    """Whether a room's name begins as those of our rooms do."""
    return name.startswith(tuple(PREFIXES.values()))


def is_users(identity: str) -> bool:
    """Whether an identity in LiveKit begins as those of users do, whose rights this service judges."""
    return identity.startswith(USER_PREFIX)


def identity_of(user_id: str) -> str:
    """A user's identity in LiveKit. It is one for all their devices: a second one replaces the first."""
    return USER_PREFIX + user_id
