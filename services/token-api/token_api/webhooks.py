"""LiveKit's webhooks: that one comes from LiveKit, and what it says. Pure functions over the raw bytes.

Not livekit-api's WebhookReceiver: it holds a single key, wants the body decoded before it is
verified, accepts a token without `nbf`, and compares digests in a time that depends on them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from enum import StrEnum

import jwt
from pydantic import BaseModel, Field

# Clocks of hosts differ; LiveKit grants the same minute to tokens made elsewhere.
LEEWAY_SECONDS = 60


class Reason(StrEnum):
    """Why a webhook was refused."""

    MISSING = "missing"
    MALFORMED = "malformed"
    KEY_UNKNOWN = "key-unknown"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    BODY = "body"


class BadSignature(Exception):
    """The webhook is not, or not provably, LiveKit's."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason.value)


class Room(BaseModel):
    """The part of LiveKit's room that a webhook is filed under."""

    name: str = ""


class Egress(BaseModel):
    """The same of a recording."""

    room_name: str = Field("", alias="roomName")


class Event(BaseModel):
    """The part of LiveKit's WebhookEvent that it is filed under; the rest is read when it is processed."""

    id: str = Field(max_length=256, pattern=r"^[!-~]+$")
    event: str = Field(max_length=64, pattern=r"^[!-~]+$")
    room: Room | None = None
    egress: Egress | None = Field(None, alias="egressInfo")
    # Seconds since 1970, to the end of the year 9999; as text, as protobuf's JSON has 64-bit numbers.
    created_at: int | None = Field(None, alias="createdAt", ge=0, le=253_402_300_799)

    @property
    def room_name(self) -> str:
        """The room that it happened in; empty where it happened in none."""
        return (self.room.name if self.room else "") or (self.egress.room_name if self.egress else "")


def verify(body: bytes, authorization: str | None, secrets: Mapping[str, str]) -> None:
    """Make sure that `body` was signed by the holder of one of `secrets` (API key → secret).

    LiveKit sends a JWT, without "Bearer", whose `sha256` claim is the body's digest in base64.

    Raises:
        BadSignature: for whatever is not a current HS256 token of a known key over exactly this body.
    """
    if not authorization:
        raise BadSignature(Reason.MISSING)
    claims = _claims(authorization.removeprefix("Bearer "), secrets)
    if not hmac.compare_digest(_digest(claims.get("sha256")), hashlib.sha256(body).digest()):
        raise BadSignature(Reason.BODY)


def _claims(token: str, secrets: Mapping[str, str]) -> dict[str, object]:
    try:
        issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        secret = secrets.get(issuer) if isinstance(issuer, str) else None
        if secret is None:
            raise BadSignature(Reason.KEY_UNKNOWN)
        claims: dict[str, object] = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "nbf", "iss", "sha256"]},
        )
    except jwt.ExpiredSignatureError as error:
        raise BadSignature(Reason.EXPIRED) from error
    except jwt.ImmatureSignatureError as error:
        raise BadSignature(Reason.NOT_YET_VALID) from error
    except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as error:
        raise BadSignature(Reason.SIGNATURE) from error
    except jwt.InvalidTokenError as error:
        raise BadSignature(Reason.MALFORMED) from error
    return claims


def _digest(claim: object) -> bytes:
    try:
        return base64.b64decode(claim, validate=True) if isinstance(claim, str) else b""
    except (binascii.Error, ValueError) as error:
        raise BadSignature(Reason.MALFORMED) from error
