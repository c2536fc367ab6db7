"""Tokens as GetStream's server SDKs make them, and the names of channels."""

from __future__ import annotations

import re
from datetime import datetime

import jwt

CHANNEL_TYPE = "livestream"
# A clock here that runs ahead of theirs would make a token that is not valid yet.
_CLOCK_TOLERANCE_SECONDS = 10
_USER_ID = re.compile(r"[A-Za-z0-9@_-]{1,255}")


def takes(user_id: str) -> bool:
    """Whether GetStream takes `user_id`: letters, digits, @, _ and -."""
    return _USER_ID.fullmatch(user_id) is not None


def user_token(secret: str, user_id: str, *, now: datetime, expires_at: datetime) -> str:
    """A token with which `user_id` connects, until `expires_at`. `secret` is the app's."""
    claims = {
        "user_id": user_id,
        "iat": int(now.timestamp()) - _CLOCK_TOLERANCE_SECONDS,
        "exp": int(expires_at.timestamp()),
    }
    return jwt.encode(claims, secret, algorithm="HS256")


def server_token(secret: str) -> str:
    """A token with which a server calls GetStream's API. `secret` is the app's."""
    return jwt.encode({"server": True}, secret, algorithm="HS256")


def channel_of(stream_id: str) -> str:
    """The cid of a stream's channel: its type and its id."""
    return f"{CHANNEL_TYPE}:{stream_id}"
