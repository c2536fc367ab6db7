"""Tokens of our own chat: for one user, one stream, and ten minutes at most.

A token says who its holder is, so that a page need not hold the host's JWT. What they may do is looked
up at each request: a ban bites at once, whatever role the token names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jwt
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from token_api.domain.roles import StreamRole
from token_api.several_keys import by_any

ISSUER = "token-api"
AUDIENCE = "token-api/chat"
# Another secret than the one it is made from: whoever learns it learns nothing about that one.
_PURPOSE = b"livekit-platform/token-api/chat-token/v1"


class NoChatToken(Exception):
    """It is no chat token of ours, or none that is valid now."""


@dataclass(frozen=True)
class ChatIdentity:
    """Who the holder of a token is."""

    stream_id: str
    user_id: str
    name: str
    role: StreamRole


def key_from(service_key: str) -> bytes:
    """The key that chat tokens are signed with, derived from the service's own secret."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(service_key.encode())


def user_token(key: bytes, holder: ChatIdentity, *, now: datetime, expires_at: datetime) -> str:
    """A token for `holder`, until `expires_at`."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": holder.user_id,
        "stream_id": holder.stream_id,
        "name": holder.name,
        "role": holder.role.value,
        "iat": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
    }
    return jwt.encode(claims, key, algorithm="HS256")


def read_token(keys: Sequence[bytes], token: str, now: datetime) -> ChatIdentity:
    """The holder of `token`, which one of `keys` signed.

    Raises:
        NoChatToken: it is none, of another maker, or over.
    """
    return by_any(keys, lambda key: _read(key, token, now), NoChatToken)


def _read(key: bytes, token: str, now: datetime) -> ChatIdentity:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["HS256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            # The time by our clock, below.
            options={
                "require": ["iss", "aud", "sub", "exp", "stream_id", "name", "role"],
                "verify_exp": False,
                "verify_iat": False,
            },
        )
        if claims["exp"] <= now.timestamp():
            raise NoChatToken("expired")
        return ChatIdentity(claims["stream_id"], claims["sub"], claims["name"], StreamRole(claims["role"]))
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise NoChatToken(type(error).__name__) from error
